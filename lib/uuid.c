/*
 * UUIDs and the ids that follow from natural keys; see tillwire/uuid.h. Layouts, pinned like all data:
 *
 *   command id   48 bits time (version 7) or digest (version 8) | version | domain:2 partition:10 | variant | 62 bits
 *   product id   ObjectId[0..5] | 8ca7 | a109 | ObjectId[6..11]
 *                The constant in the middle holds version 8 and the variant; its other 26 bits ("ca7a109", catalogue)
 *                let people see the kind of id and make an accidental match with another UUIDv8 one in 67 million.
 *   others       the first 16 bytes of a digest, version 8 and variant put in
 */
#include "tillwire/uuid.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION_TIME = 7, VERSION_OURS = 8, PARTITION_BITS = 10, PARTITION_MASK = (1 << PARTITION_BITS) - 1 };

static const uint8_t product_mark[4] = {0x8C, 0xA7, 0xA1, 0x09};

const struct tw_uuid tw_uuid_nil = {{0}};

/* Random bytes are safe on many threads, and hashing takes the fastest code for this processor, only after this. A
 * constructor, so that tests and tools cannot forget it. */
__attribute__((constructor)) static void start_sodium(void)
{
    if (sodium_init() < 0)
        abort();
}

bool tw_uuid_eq(struct tw_uuid a, struct tw_uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0; /* inline, unlike an order */
}

bool tw_uuid_is_nil(struct tw_uuid id)
{
    return tw_uuid_eq(id, tw_uuid_nil);
}

int tw_uuid_cmp(struct tw_uuid a, struct tw_uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

/* A hyphen stands before these bytes. */
static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void tw_uuid_format(struct tw_uuid id, char ret_text[TW_UUID_TEXT + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        if (hyphen_before(i))
            *ret_text++ = '-';
        *ret_text++ = digits[id.bytes[i] >> 4];
        *ret_text++ = digits[id.bytes[i] & 15];
    }
    *ret_text = '\0';
}

/* One more than the digit's value; 0: it is no digit. Ids are parsed on the way of every record: a table, no questions. */
static const uint8_t hex_digits[UINT8_MAX + 1] = {
    ['0'] = 1,  2,  3,  4,  5,  6,  7, 8, 9, 10, /* to '9' */
    ['A'] = 11, 12, 13, 14, 15, 16,              /* to 'F' */
    ['a'] = 11, 12, 13, 14, 15, 16,
};

static unsigned int hex_digit(char c)
{
    return hex_digits[(uint8_t)c];
}

bool tw_uuid_parse(struct tw_str text, struct tw_uuid *ret_id)
{
    static const uint8_t places[] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    const char          *p = text.ptr;
    struct tw_uuid       id;

    if (text.len != TW_UUID_TEXT || p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-')
        return false;
    for (size_t i = 0; i < sizeof(id.bytes); i++) {
        unsigned int high = hex_digit(p[places[i]]), low = hex_digit(p[places[i] + 1]);

        if (!high || !low)
            return false;
        id.bytes[i] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    *ret_id = id;
    return true;
}

static void put_version(struct tw_uuid *id, unsigned int version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0F) | version << 4);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3F) | 0x80);
}

static unsigned int version_of(struct tw_uuid id)
{
    return id.bytes[6] >> 4;
}

/* The 12 bits behind the version. */
static void put_address(struct tw_uuid *id, enum tw_domain_number domain, int32_t partition)
{
    unsigned int address = (unsigned int)domain << PARTITION_BITS | (unsigned int)partition;

    assert(domain >= TW_DOMAIN_MEMBER && domain <= TW_DOMAIN_CART);
    assert(partition >= 0 && partition <= PARTITION_MASK);
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0xF0) | address >> 8);
    id->bytes[7] = (uint8_t)(address & 0xFF);
}

static unsigned int address_of(struct tw_uuid id)
{
    return (id.bytes[6] & 0x0FU) << 8 | id.bytes[7];
}

static void put_time(struct tw_uuid *id, int64_t time_ms)
{
    for (size_t i = 0; i < 6; i++)
        id->bytes[i] = (uint8_t)(time_ms >> (40 - 8 * i));
}

struct tw_uuid tw_command_id_new(int64_t now_ms, enum tw_domain_number domain, int32_t partition)
{
    struct tw_uuid id;

    randombytes_buf(id.bytes + 8, 8);
    put_time(&id, now_ms);
    put_address(&id, domain, partition);
    put_version(&id, VERSION_TIME);
    return id;
}

struct tw_uuid tw_command_id_unkeyed(const uint8_t digest[16], int64_t time_ms, enum tw_domain_number domain,
                                     int32_t partition)
{
    struct tw_uuid id;

    memcpy(id.bytes, digest, sizeof(id.bytes));
    put_time(&id, time_ms);
    put_address(&id, domain, partition);
    put_version(&id, VERSION_TIME);
    return id;
}

struct tw_uuid tw_command_id_keyed(const uint8_t digest[16], enum tw_domain_number domain, int32_t partition)
{
    struct tw_uuid id;

    memcpy(id.bytes, digest, sizeof(id.bytes));
    put_address(&id, domain, partition);
    put_version(&id, VERSION_OURS);
    return id;
}

bool tw_command_id_is_keyed(struct tw_uuid id)
{
    return version_of(id) == VERSION_OURS;
}

enum tw_domain_number tw_command_id_domain(struct tw_uuid id)
{
    return (enum tw_domain_number)(address_of(id) >> PARTITION_BITS);
}

int32_t tw_command_id_partition(struct tw_uuid id)
{
    return (int32_t)(address_of(id) & PARTITION_MASK);
}

int64_t tw_command_id_time_ms(struct tw_uuid id)
{
    int64_t time_ms = 0;

    if (version_of(id) != VERSION_TIME)
        return -1;
    for (size_t i = 0; i < 6; i++)
        time_ms = time_ms << 8 | id.bytes[i];
    return time_ms;
}

struct tw_uuid tw_command_id_ledger(struct tw_uuid id)
{
    id.bytes[6] &= (uint8_t) ~(PARTITION_MASK >> 8);
    id.bytes[7] = 0;
    return id;
}

/* UUIDv8 of the first half of a SHA-256 or HMAC-SHA-256. */
static struct tw_uuid of_digest(const uint8_t digest[32])
{
    struct tw_uuid id;

    memcpy(id.bytes, digest, sizeof(id.bytes));
    put_version(&id, VERSION_OURS);
    return id;
}

struct tw_uuid tw_derived_id(struct tw_uuid command_id, struct tw_uuid owner, const char *tag)
{
    static const char        space[] = "tillwire/derived/v1";
    crypto_hash_sha256_state hash;
    uint8_t                  digest[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_init(&hash);
    crypto_hash_sha256_update(&hash, (const uint8_t *)space, strlen(space));
    crypto_hash_sha256_update(&hash, (const uint8_t *)tag, strlen(tag));
    crypto_hash_sha256_update(&hash, command_id.bytes, sizeof(command_id.bytes));
    crypto_hash_sha256_update(&hash, owner.bytes, sizeof(owner.bytes));
    crypto_hash_sha256_final(&hash, digest);
    return of_digest(digest);
}

void tw_product_object_id(struct tw_str sku, uint8_t ret_object_id[12])
{
    static const char        space[] = "tillwire/product/v1"; /* its NUL is hashed, too */
    crypto_hash_sha256_state hash;
    uint8_t                  digest[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_init(&hash);
    crypto_hash_sha256_update(&hash, (const uint8_t *)space, sizeof(space));
    crypto_hash_sha256_update(&hash, (const uint8_t *)sku.ptr, sku.len);
    crypto_hash_sha256_final(&hash, digest);
    memcpy(ret_object_id, digest, 12);
}

struct tw_uuid tw_product_id(const uint8_t object_id[12])
{
    struct tw_uuid id;

    memcpy(id.bytes, object_id, 6);
    memcpy(id.bytes + 6, product_mark, sizeof(product_mark));
    memcpy(id.bytes + 10, object_id + 6, 6);
    return id;
}

struct tw_uuid tw_product_id_of_sku(struct tw_str sku)
{
    uint8_t object_id[12];

    tw_product_object_id(sku, object_id);
    return tw_product_id(object_id);
}

bool tw_product_id_to_object_id(struct tw_uuid id, uint8_t ret_object_id[12])
{
    if (memcmp(id.bytes + 6, product_mark, sizeof(product_mark)) != 0)
        return false;
    memcpy(ret_object_id, id.bytes, 6);
    memcpy(ret_object_id + 6, id.bytes + 10, 6);
    return true;
}

static void keyed_digest(const uint8_t key[TW_ID_KEY_BYTES], struct tw_str space, struct tw_str text,
                         uint8_t ret_digest[crypto_auth_hmacsha256_BYTES])
{
    crypto_auth_hmacsha256_state hmac;

    crypto_auth_hmacsha256_init(&hmac, key, TW_ID_KEY_BYTES);
    crypto_auth_hmacsha256_update(&hmac, (const uint8_t *)space.ptr, space.len);
    crypto_auth_hmacsha256_update(&hmac, (const uint8_t *)text.ptr, text.len);
    crypto_auth_hmacsha256_final(&hmac, ret_digest);
}

struct tw_uuid tw_member_id(const uint8_t id_key[TW_ID_KEY_BYTES], struct tw_str folded_email)
{
    uint8_t digest[crypto_auth_hmacsha256_BYTES];

    keyed_digest(id_key, TW_STR("tillwire/member/v1\0"), folded_email, digest);
    return of_digest(digest);
}

void tw_id_key_check(const uint8_t id_key[TW_ID_KEY_BYTES], char ret_hex[17])
{
    uint8_t digest[crypto_auth_hmacsha256_BYTES];

    keyed_digest(id_key, TW_STR("tillwire/id-key-check/v1"), TW_STR(""), digest);
    sodium_bin2hex(ret_hex, 17, digest, 8);
}
