#include "auth/refresh_token.h"

#include <sodium.h>
#include <string.h>

enum { SECRET_BYTES = 32 };

_Static_assert(TW_TOKEN_HASH_BYTES == crypto_hash_sha256_BYTES, "SHA-256");

void tw_refresh_token_make(struct tw_uuid token_id, char ret_text[TW_REFRESH_TEXT + 1])
{
    uint8_t secret[SECRET_BYTES];

    randombytes_buf(secret, sizeof(secret));
    tw_uuid_format(token_id, ret_text);
    ret_text[TW_UUID_TEXT] = '.';
    sodium_bin2base64(ret_text + TW_UUID_TEXT + 1, TW_REFRESH_SECRET_TEXT + 1, secret, sizeof(secret),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof(secret));
}

static bool is_base64url(struct tw_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

bool tw_refresh_token_parse(struct tw_str text, struct tw_uuid *ret_token_id)
{
    if (text.len != TW_REFRESH_TEXT || text.ptr[TW_UUID_TEXT] != '.')
        return false;
    return is_base64url((struct tw_str){text.ptr + TW_UUID_TEXT + 1, TW_REFRESH_SECRET_TEXT}) &&
           tw_uuid_parse((struct tw_str){text.ptr, TW_UUID_TEXT}, ret_token_id);
}

void tw_token_hash(struct tw_str text, uint8_t ret_hash[TW_TOKEN_HASH_BYTES])
{
    crypto_hash_sha256(ret_hash, (const unsigned char *)text.ptr, text.len);
}

bool tw_token_hash_is_of(const uint8_t hash[TW_TOKEN_HASH_BYTES], struct tw_str text)
{
    uint8_t other[TW_TOKEN_HASH_BYTES];

    tw_token_hash(text, other);
    return sodium_memcmp(hash, other, sizeof(other)) == 0;
}
