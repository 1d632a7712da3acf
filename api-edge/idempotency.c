#include "idempotency.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"
#include "request.h"

_Static_assert(crypto_auth_hmacsha256_KEYBYTES == TW_IDEMPOTENCY_KEY_BYTES, "key length");

bool tw_idempotency_key_read(struct tw_str field, struct tw_str *ret_key)
{
    if (field.len >= 2 && field.ptr[0] == '"' && field.ptr[field.len - 1] == '"')
        field = (struct tw_str){field.ptr + 1, field.len - 2};
    if (field.len == 0 || field.len > TW_IDEMPOTENCY_KEY_TEXT_MAX)
        return false;
    for (size_t i = 0; i < field.len; i++) {
        unsigned char c = (unsigned char)field.ptr[i];
        if (c < 0x20 || c > 0x7e)
            return false;
    }
    *ret_key = field;
    return true;
}

static void add(crypto_auth_hmacsha256_state *state, struct tw_str text)
{
    crypto_auth_hmacsha256_update(state, (const unsigned char *)text.ptr, text.len);
}

/** Its length first, so that neighbours cannot be shifted into each other. */
static void add_sized(crypto_auth_hmacsha256_state *state, struct tw_str text)
{
    uint8_t len[4] = {(uint8_t)(text.len >> 24), (uint8_t)(text.len >> 16), (uint8_t)(text.len >> 8),
                      (uint8_t)text.len};

    crypto_auth_hmacsha256_update(state, len, sizeof(len));
    add(state, text);
}

/** Not what nests deeper than any body may: nobody has looked at it before, and the parser recurses. */
static json_t *parse(struct tw_str body)
{
    return body.len > 0 && tw_json_depth(body) <= TW_JSON_MAX_DEPTH
               ? json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, NULL)
               : NULL;
}

void tw_fingerprint(const uint8_t key[TW_IDEMPOTENCY_KEY_BYTES], struct tw_str body,
                    uint8_t ret_fingerprint[TW_FINGERPRINT_BYTES])
{
    crypto_auth_hmacsha256_state state;
    uint8_t                      hash[crypto_auth_hmacsha256_BYTES];
    json_t                      *json = parse(body);
    char                        *canonical = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    crypto_auth_hmacsha256_init(&state, key, TW_IDEMPOTENCY_KEY_BYTES);
    add_sized(&state, TW_STR("tillwire/fingerprint/v1"));
    add(&state, canonical ? tw_str_of(canonical) : body);
    crypto_auth_hmacsha256_final(&state, hash);
    memcpy(ret_fingerprint, hash, TW_FINGERPRINT_BYTES);
    if (canonical)
        sodium_memzero(canonical, strlen(canonical));
    free(canonical);
    json_decref(json);
}

void tw_idempotency_digest(const uint8_t key[TW_IDEMPOTENCY_KEY_BYTES], const struct tw_idempotency *request,
                           uint8_t ret_digest[16])
{
    crypto_auth_hmacsha256_state state;
    uint8_t                      hash[crypto_auth_hmacsha256_BYTES];

    crypto_auth_hmacsha256_init(&state, key, TW_IDEMPOTENCY_KEY_BYTES);
    add_sized(&state, TW_STR("tillwire/command-id/v1"));
    crypto_auth_hmacsha256_update(&state, request->caller.bytes, sizeof(request->caller.bytes));
    add_sized(&state, request->method);
    add_sized(&state, request->path);
    add_sized(&state, request->key);
    if (tw_uuid_is_nil(request->caller))
        crypto_auth_hmacsha256_update(&state, request->fingerprint, TW_FINGERPRINT_BYTES);
    crypto_auth_hmacsha256_final(&state, hash);
    memcpy(ret_digest, hash, 16);
}
