#include "conditional.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

_Static_assert(crypto_shorthash_KEYBYTES == TW_ETAG_KEY_BYTES, "key length");

void tw_etag_format(const uint8_t key[TW_ETAG_KEY_BYTES], int64_t version, struct tw_str body,
                    char ret_etag[TW_ETAG_TEXT])
{
    uint8_t hash[crypto_shorthash_BYTES];
    char    hex[2 * sizeof(hash) + 1];

    crypto_shorthash(hash, (const unsigned char *)body.ptr, body.len, key);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    snprintf(ret_etag, TW_ETAG_TEXT, "\"%lld.%s\"", (long long)version, hex);
}

/** The next member of a list of tags: its text with quotes, without `W/`. False: the list ends, or is no list of tags
 *  from here on. */
static bool next_tag(struct tw_str *rest, struct tw_str *ret_tag, bool *ret_weak)
{
    while (rest->len > 0 && strchr(", \t", rest->ptr[0]))
        *rest = (struct tw_str){rest->ptr + 1, rest->len - 1};
    *ret_weak = rest->len >= 2 && memcmp(rest->ptr, "W/", 2) == 0;
    if (*ret_weak)
        *rest = (struct tw_str){rest->ptr + 2, rest->len - 2};
    const char *close = rest->len >= 2 && rest->ptr[0] == '"' ? memchr(rest->ptr + 1, '"', rest->len - 1) : NULL;
    if (!close)
        return false;
    *ret_tag = (struct tw_str){rest->ptr, (size_t)(close + 1 - rest->ptr)};
    *rest = (struct tw_str){close + 1, rest->len - ret_tag->len};
    return true;
}

bool tw_etag_is_among(struct tw_str field, struct tw_str etag)
{
    struct tw_str tag;
    bool          weak;

    if (tw_str_is(field, "*"))
        return true;
    while (next_tag(&field, &tag, &weak)) {
        if (tw_str_eq(tag, etag))
            return true;
    }
    return false;
}

/** `"12.9f86…"` -> 12. */
static bool version_of(struct tw_str tag, int64_t *ret_version)
{
    const char *dot = memchr(tag.ptr, '.', tag.len);

    return dot && tag.ptr[1] != '-' &&
           tw_str_to_int((struct tw_str){tag.ptr + 1, (size_t)(dot - tag.ptr - 1)}, ret_version);
}

bool tw_if_match_version(struct tw_str field, int64_t *ret_version)
{
    struct tw_str tag;
    bool          weak;
    int64_t       newest = -1;
    int64_t       version = -1;

    if (tw_str_is(field, "*")) {
        *ret_version = -1;
        return true;
    }
    while (next_tag(&field, &tag, &weak)) {
        if (!weak && version_of(tag, &version) && version > newest) /* a weak tag never fits a write */
            newest = version;
    }
    if (newest < 0)
        return false;
    *ret_version = newest;
    return true;
}
