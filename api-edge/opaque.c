/*
 * Fixed layouts, big endian, then a SipHash-2-4-128 over them: two short keyed hashes per write, on the fastest path
 * there is. A first byte tells the kinds apart, so that one can never be taken for the other.
 *
 * location:    kind 1 | type 2 | partition 2 | offset 6 | time 6 | caller 16 | hash 16   = 49 bytes, 66 characters
 * consistency: kind 1 | domain 1 | partition 2 | offset 7 | hash 16          = 27 bytes, 36 characters
 * cursor:      kind 1 | position | hash 16                                   as long as its list's position
 */
#include "opaque.h"

#include <sodium.h>
#include <string.h>

enum {
    KIND_LOCATION = 'L',
    KIND_CONSISTENCY = 'C',
    KIND_CURSOR = 'P',
    HASH = 16,
    LOCATION_BYTES = 33,
    CONSISTENCY_BYTES = 11,
    CURSOR_TEXT_MAX = 1024
};

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == TW_OPAQUE_KEY_BYTES, "key length");
_Static_assert(crypto_shorthash_siphashx24_BYTES == HASH, "hash length");
_Static_assert(((LOCATION_BYTES + HASH) * 4 + 2) / 3 == TW_LOCATION_TEXT, "without padding");
_Static_assert((CONSISTENCY_BYTES + HASH) / 3 * 4 == TW_CONSISTENCY_TEXT, "no padding");

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)(value & 0xff);
    return at + bytes;
}

static uint64_t get(const uint8_t **at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = (value << 8) | *(*at)++;
    return value;
}

static void text_of(const uint8_t *bytes, size_t len, char *ret_text, size_t size)
{
    sodium_bin2base64(ret_text, size, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static bool bytes_of(struct tw_str text, uint8_t *ret_bytes, size_t len, size_t text_len)
{
    size_t got = 0;

    return text.len == text_len &&
           sodium_base642bin(ret_bytes, len, text.ptr, text.len, NULL, &got, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           got == len;
}

/** Hash of the layout and the command, which is not in the text. */
static void location_hash(const uint8_t *key, const uint8_t *layout, struct tw_uuid command_id, uint8_t ret_hash[HASH])
{
    uint8_t bytes[LOCATION_BYTES + sizeof(command_id.bytes)];

    memcpy(bytes, layout, LOCATION_BYTES);
    memcpy(bytes + LOCATION_BYTES, command_id.bytes, sizeof(command_id.bytes));
    crypto_shorthash_siphashx24(ret_hash, bytes, sizeof(bytes), key);
}

void tw_location_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_uuid command_id, struct tw_uuid caller,
                      const struct tw_location *location, char ret_text[TW_LOCATION_TEXT + 1])
{
    uint8_t  bytes[LOCATION_BYTES + HASH];
    uint8_t *at = put(bytes, KIND_LOCATION, 1);

    at = put(at, location->type, 2);
    at = put(at, (uint64_t)location->partition, 2);
    at = put(at, (uint64_t)location->offset, 6);
    at = put(at, (uint64_t)location->submitted_ms, 6);
    memcpy(at, caller.bytes, sizeof(caller.bytes));
    location_hash(key, bytes, command_id, at + sizeof(caller.bytes));
    text_of(bytes, sizeof(bytes), ret_text, TW_LOCATION_TEXT + 1);
}

bool tw_location_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_uuid command_id, struct tw_str text,
                      struct tw_uuid *ret_caller, struct tw_location *ret_location)
{
    uint8_t        bytes[LOCATION_BYTES + HASH];
    uint8_t        hash[HASH];
    const uint8_t *at = bytes;

    if (!bytes_of(text, bytes, sizeof(bytes), TW_LOCATION_TEXT) || get(&at, 1) != KIND_LOCATION)
        return false;
    location_hash(key, bytes, command_id, hash);
    if (sodium_memcmp(hash, bytes + LOCATION_BYTES, HASH) != 0)
        return false;
    ret_location->type = (uint16_t)get(&at, 2);
    ret_location->partition = (int32_t)get(&at, 2);
    ret_location->offset = (int64_t)get(&at, 6);
    ret_location->submitted_ms = (int64_t)get(&at, 6);
    memcpy(ret_caller->bytes, at, sizeof(ret_caller->bytes));
    return true;
}

void tw_consistency_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], const struct tw_consistency *consistency,
                         char ret_text[TW_CONSISTENCY_TEXT + 1])
{
    uint8_t  bytes[CONSISTENCY_BYTES + HASH];
    uint8_t *at = put(bytes, KIND_CONSISTENCY, 1);

    at = put(at, (uint64_t)consistency->domain, 1);
    at = put(at, (uint64_t)consistency->partition, 2);
    at = put(at, (uint64_t)consistency->offset, 7);
    crypto_shorthash_siphashx24(at, bytes, CONSISTENCY_BYTES, key);
    text_of(bytes, sizeof(bytes), ret_text, TW_CONSISTENCY_TEXT + 1);
}

bool tw_consistency_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str text,
                         struct tw_consistency *ret_consistency)
{
    uint8_t        bytes[CONSISTENCY_BYTES + HASH];
    uint8_t        hash[HASH];
    const uint8_t *at = bytes;

    if (!bytes_of(text, bytes, sizeof(bytes), TW_CONSISTENCY_TEXT) || get(&at, 1) != KIND_CONSISTENCY)
        return false;
    crypto_shorthash_siphashx24(hash, bytes, CONSISTENCY_BYTES, key);
    if (sodium_memcmp(hash, bytes + CONSISTENCY_BYTES, HASH) != 0)
        return false;
    ret_consistency->domain = (enum tw_domain_number)get(&at, 1);
    ret_consistency->partition = (int32_t)get(&at, 2);
    ret_consistency->offset = (int64_t)get(&at, 7);
    return true;
}

/** Hash of the position and the list; the latter is not in the text. Its length stands first, so that neither can borrow
 *  from the other. */
static void cursor_hash(const uint8_t *key, struct tw_str list, const uint8_t *layout, size_t layout_len,
                        struct tw_arena *arena, uint8_t ret_hash[HASH])
{
    size_t   len = 4 + list.len + layout_len;
    uint8_t *bytes = tw_arena_alloc(arena, len);
    uint8_t *at = put(bytes, list.len, 4);

    memcpy(at, list.ptr, list.len);
    memcpy(at + list.len, layout, layout_len);
    crypto_shorthash_siphashx24(ret_hash, bytes, len, key);
}

struct tw_str tw_cursor_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str list, struct tw_str position,
                             struct tw_arena *arena)
{
    size_t   len = 1 + position.len;
    uint8_t *bytes = tw_arena_alloc(arena, len + HASH);
    size_t   size = sodium_base64_encoded_len(len + HASH, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char    *text = tw_arena_alloc(arena, size);

    memcpy(put(bytes, KIND_CURSOR, 1), position.ptr, position.len);
    cursor_hash(key, list, bytes, len, arena, bytes + len);
    text_of(bytes, len + HASH, text, size);
    return (struct tw_str){text, size - 1};
}

bool tw_cursor_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str list, struct tw_str text,
                    struct tw_arena *arena, struct tw_str *ret_position)
{
    size_t   len = text.len / 4 * 3 + (text.len % 4 ? text.len % 4 - 1 : 0);
    uint8_t *bytes = tw_arena_alloc(arena, len);
    uint8_t  hash[HASH];

    if (text.len > CURSOR_TEXT_MAX || len < 1 + HASH || !bytes_of(text, bytes, len, text.len) ||
        bytes[0] != KIND_CURSOR)
        return false;
    cursor_hash(key, list, bytes, len - HASH, arena, hash);
    if (sodium_memcmp(hash, bytes + len - HASH, HASH) != 0)
        return false;
    *ret_position = (struct tw_str){(const char *)bytes + 1, len - 1 - HASH};
    return true;
}
