/* Links: tw_edge */
/*
 * Hostile access tokens and key files. The first byte says what the rest is:
 *
 *   0, 1  (digits) a token, under HS256 or ES256: whatever it is, it is read within its bounds
 *   2     header, newline, payload of a token that is signed rightly: gets to the claims
 *   3, 4  a file of keys, of HS256 or ES256
 *
 * A token that is taken must be one of ours: known issuer and audience, not over, and of one spelling only.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"
#include "auth/token.h"
#include "fuzz.h"

#define NOW INT64_C(1795432108)

enum { PART_MAX = 1400 };

static struct tw_token_keys secrets;
static struct tw_token_keys pairs;

static const char secret_file[] = "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
static const char pair_file[] = "kid: e1\n"
                                "-----BEGIN EC PRIVATE KEY-----\n"
                                "MHcCAQEEIP6lh5Z25R0n8mr/V30xTnqTST/i2IIssByLJoHuM7RHoAoGCCqGSM49\n"
                                "AwEHoUQDQgAEUjDbNAbMWMJimIp9z5pw12lKjNyup9GrsEsinWhFrdIu20Csz+o3\n"
                                "sD12f0SQex7tj3lFut4BB095eLHrLSDsqA==\n"
                                "-----END EC PRIVATE KEY-----\n";

static void prepare(void)
{
    if (secrets.count > 0)
        return;
    must(sodium_init() >= 0);
    must(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(secret_file), &secrets, NULL) == TW_OK);
    must(tw_token_keys_parse(TW_TOKEN_ES256, tw_str_of(pair_file), &pairs, NULL) == TW_OK);
}

static void must_be_ours(const struct tw_token_rules *rules, struct tw_str token, const struct tw_token_claims *claims)
{
    struct tw_token_claims again;
    char                  *other = strndup(token.ptr, token.len);

    must(claims->expires_s > NOW - TW_TOKEN_SKEW_S && claims->issued_s <= NOW + TW_TOKEN_SKEW_S);
    must(strlen(claims->scope) <= TW_TOKEN_SCOPE_MAX);
    other[token.len - 1] = other[token.len - 1] == 'A' ? 'E' : 'A';
    must(tw_token_verify(rules, (struct tw_str){other, token.len}, NOW, &again, NULL) == TW_INVALID);
    free(other);
}

static void verify(const struct tw_token_keys *keys, struct tw_str token)
{
    struct tw_token_rules  rules = {keys, "tillwire", "api"};
    struct tw_token_claims claims;

    if (tw_token_verify(&rules, token, NOW, &claims, NULL) == TW_OK)
        must_be_ours(&rules, token, &claims);
}

static void add_base64url(struct tw_buf *out, const void *bytes, size_t len)
{
    char text[2 * PART_MAX];

    sodium_bin2base64(text, sizeof(text), bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    tw_buf_add_str(out, tw_str_of(text));
}

static void verify_signed(struct tw_str parts)
{
    const char                  *newline = memchr(parts.ptr, '\n', parts.len);
    struct tw_buf                token = {0};
    crypto_auth_hmacsha256_state state;
    uint8_t                      mac[crypto_auth_hmacsha256_BYTES];

    if (!newline || parts.len > PART_MAX)
        return;
    add_base64url(&token, parts.ptr, (size_t)(newline - parts.ptr));
    tw_buf_add_str(&token, TW_STR("."));
    add_base64url(&token, newline + 1, parts.len - (size_t)(newline - parts.ptr) - 1);
    crypto_auth_hmacsha256_init(&state, secrets.keys[0].secret, secrets.keys[0].secret_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)token.ptr, token.len);
    crypto_auth_hmacsha256_final(&state, mac);
    tw_buf_add_str(&token, TW_STR("."));
    add_base64url(&token, mac, sizeof(mac));
    verify(&secrets, tw_buf_str(&token));
    tw_buf_done(&token);
}

static void read_keys(enum tw_token_algorithm algorithm, struct tw_str text)
{
    static struct tw_token_keys keys;
    struct tw_buf               document = {0};

    if (tw_token_keys_parse(algorithm, text, &keys, NULL) != TW_OK)
        return;
    must(keys.count >= 1 && keys.count <= TW_TOKEN_KEYS_MAX && keys.algorithm == algorithm);
    must(algorithm == TW_TOKEN_HS256 ? keys.keys[0].secret_len >= TW_TOKEN_KEY_MIN_BYTES
                                     : strlen(keys.keys[0].private_pem) > 0);
    if (algorithm == TW_TOKEN_ES256)
        tw_jwks_write(&keys, &document);
    tw_buf_done(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    prepare();
    if (len == 0)
        return 0;
    struct tw_str rest = {(const char *)bytes + 1, len - 1};
    switch (bytes[0]) {
    case '0':
        verify(&secrets, rest);
        break;
    case '1':
        verify(&pairs, rest);
        break;
    case '2':
        verify_signed(rest);
        break;
    case '3':
        read_keys(TW_TOKEN_HS256, rest);
        break;
    case '4':
        read_keys(TW_TOKEN_ES256, rest);
        break;
    default:
        return -1; /* not worth keeping */
    }
    return 0;
}
