/*
 * kind 1 | number of places 2 | offsets as LEB128, the first as it is and each other as its difference to the one before
 * (zigzag) | SipHash-2-4 of all that, 8 bytes. Partitions of one topic grow alike, so differences are short.
 */
#include "streams/bookmark.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/gen/topics.h"

enum { KIND = 'B', HEAD = 3, HASH = crypto_shorthash_BYTES, VARINT_MAX = 10 };

_Static_assert(crypto_shorthash_KEYBYTES == TW_BOOKMARK_KEY_BYTES, "key length");

size_t tw_bookmark_places(void)
{
    size_t count = 0;

    for (size_t i = 0; i < tw_topic_count; i++)
        count += tw_topics[i].kind == TW_TOPIC_EVENTS ? (size_t)tw_topics[i].partitions : 0;
    return count;
}

size_t tw_bookmark_place(const char *topic, int32_t partition)
{
    size_t before = 0;

    for (size_t i = 0; i < tw_topic_count; i++) {
        if (tw_topics[i].kind != TW_TOPIC_EVENTS)
            continue;
        if (strcmp(tw_topics[i].name, topic) == 0)
            return partition >= 0 && partition < tw_topics[i].partitions ? before + (size_t)partition
                                                                         : tw_bookmark_places();
        before += (size_t)tw_topics[i].partitions;
    }
    return before;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/** False: it does not end before @p end, or is longer than 64 bits. */
static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (int shift = 0; *at < end && shift < 63; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static void add_base64(struct tw_buf *out, const uint8_t *bytes, size_t len)
{
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char  *text = tw_alloc(size);

    sodium_bin2base64(text, size, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    tw_buf_add(out, text, size - 1);
    free(text);
}

void tw_bookmark_seal(const uint8_t key[TW_BOOKMARK_KEY_BYTES], const int64_t *next, struct tw_buf *out)
{
    size_t   places = tw_bookmark_places();
    uint8_t *bytes = tw_alloc(HEAD + places * VARINT_MAX + HASH);
    uint8_t *at = bytes;
    int64_t  before = 0;

    *at++ = KIND;
    *at++ = (uint8_t)(places >> 8);
    *at++ = (uint8_t)places;
    for (size_t i = 0; i < places; i++) {
        at = put_varint(at, zigzag(next[i] - before));
        before = next[i];
    }
    crypto_shorthash(at, bytes, (unsigned long long)(at - bytes), key);
    add_base64(out, bytes, (size_t)(at - bytes) + HASH);
    free(bytes);
}

static bool read_places(const uint8_t *at, const uint8_t *end, size_t places, int64_t *ret_next)
{
    int64_t before = 0;

    for (size_t i = 0; i < places; i++) {
        uint64_t difference = 0;
        if (!get_varint(&at, end, &difference))
            return false;
        before = (int64_t)((uint64_t)before + (uint64_t)unzigzag(difference));
        ret_next[i] = before;
    }
    return at == end;
}

static bool is_ours(const uint8_t *key, const uint8_t *bytes, size_t len, size_t places)
{
    uint8_t hash[HASH];

    if (len < HEAD + HASH || bytes[0] != KIND || (size_t)bytes[1] << 8 != (places & 0xff00) ||
        bytes[2] != (places & 0xff))
        return false;
    crypto_shorthash(hash, bytes, len - HASH, key);
    return sodium_memcmp(hash, bytes + len - HASH, HASH) == 0;
}

bool tw_bookmark_open(const uint8_t key[TW_BOOKMARK_KEY_BYTES], struct tw_str text, int64_t *ret_next)
{
    size_t   places = tw_bookmark_places();
    size_t   cap = HEAD + places * VARINT_MAX + HASH;
    size_t   len = 0;
    uint8_t *bytes = tw_alloc(cap);
    int64_t *next = tw_alloc_zeroed(places, sizeof(*next));
    bool     good = text.len > 0 &&
                sodium_base642bin(bytes, cap, text.ptr, text.len, NULL, &len, NULL,
                                  sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
                is_ours(key, bytes, len, places) && read_places(bytes + HEAD, bytes + len - HASH, places, next);

    if (good)
        memcpy(ret_next, next, places * sizeof(*next));
    free(next);
    free(bytes);
    return good;
}
