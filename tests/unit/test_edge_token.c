/* Links: PkgConfig::JANSSON PkgConfig::SODIUM */
#include "auth/token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

/* Tokens are crafted here from text, so that each can be wrong in exactly one way. */

#define NOW         INT64_C(1795432108)
#define GOOD_HEADER "{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}"
#define SUB         "3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11"
#define JTI         "7d0b1e52-43aa-8f0e-b1c5-91f3e7a4c820"
#define GOOD_PAYLOAD                                                                                    \
    "{\"iss\":\"tillwire\",\"aud\":\"api\",\"sub\":\"" SUB "\",\"jti\":\"" JTI "\",\"iat\":1795432100," \
    "\"exp\":1795432700,\"scope\":\"products:write commands:read\"}"

static struct tw_token_keys  keys;
static struct tw_token_rules rules = {&keys, "tillwire", "api"};

static int setup(void **state)
{
    (void)state;
    return (int)tw_token_keys_parse(TW_TOKEN_HS256,
                                    tw_str_of("k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
                                              "# the one before\n"
                                              "k0:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"),
                                    &keys, NULL);
}

static void encode(const void *bytes, size_t len, char *text, size_t size)
{
    sodium_bin2base64(text, size, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/** HMAC-SHA-256 by libsodium's streaming interface, which takes keys of any length. */
static void sign_with(const void *key, size_t key_len, const char *text, uint8_t mac[32])
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, strlen(text));
    crypto_auth_hmacsha256_final(&state, mac);
}

static void craft(const char *header, const char *payload, const void *key, size_t key_len, char token[8192])
{
    uint8_t mac[32];

    encode(header, strlen(header), token, 4096);
    strcat(token, ".");
    encode(payload, strlen(payload), token + strlen(token), 4000);
    sign_with(key, key_len, token, mac);
    strcat(token, ".");
    encode(mac, sizeof(mac), token + strlen(token), 64);
}

static enum tw_rc verify_at(const char *token, int64_t now_s)
{
    struct tw_token_claims claims;

    return tw_token_verify(&rules, tw_str_of(token), now_s, &claims, NULL);
}

static enum tw_rc crafted(const char *header, const char *payload)
{
    char token[8192];

    craft(header, payload, keys.keys[0].secret, keys.keys[0].secret_len, token);
    return verify_at(token, NOW);
}

static void token__is_read_back_as_it_was_signed(void **state)
{
    struct tw_token_claims claims = {.issued_s = NOW, .expires_s = NOW + 600, .scope = "products:write"};
    struct tw_token_claims read;
    struct tw_err          err;
    char                  *token = NULL;

    (void)state;
    tw_uuid_parse(tw_str_of(SUB), &claims.subject);
    tw_uuid_parse(tw_str_of(JTI), &claims.token_id);
    assert_rc(tw_token_sign(&rules, &claims, &token, &err), TW_OK, err);
    assert_rc(tw_token_verify(&rules, tw_str_of(token), NOW, &read, &err), TW_OK, err);
    assert_memory_equal(&read, &claims, sizeof(claims));
    free(token);
}

static void crafted_token__is_good_when_nothing_is_wrong(void **state)
{
    (void)state;
    assert_int_equal(crafted(GOOD_HEADER, GOOD_PAYLOAD), TW_OK);
}

static void older_key__still_verifies(void **state)
{
    char token[8192];

    (void)state;
    craft("{\"alg\":\"HS256\",\"kid\":\"k0\",\"typ\":\"JWT\"}", GOOD_PAYLOAD, keys.keys[1].secret,
          keys.keys[1].secret_len, token);
    assert_int_equal(verify_at(token, NOW), TW_OK);
}

static void algorithm__must_be_the_one_we_sign_with(void **state)
{
    static const char *const algorithms[] = {"none", "None", "hs256", "HS384", "HS512", "RS256", "ES256", ""};
    char                     header[128];

    (void)state;
    for (size_t i = 0; i < TW_LEN(algorithms); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"k1\",\"typ\":\"JWT\"}", algorithms[i]);
        assert_int_equal(crafted(header, GOOD_PAYLOAD), TW_INVALID);
    }
}

static void unsigned_token__is_refused(void **state)
{
    char token[8192];

    (void)state;
    craft("{\"alg\":\"none\",\"typ\":\"JWT\"}", GOOD_PAYLOAD, "", 0, token);
    strrchr(token, '.')[1] = '\0';
    assert_int_equal(verify_at(token, NOW), TW_INVALID);
}

static void empty_key__verifies_nothing(void **state)
{
    char token[8192];

    (void)state;
    craft(GOOD_HEADER, GOOD_PAYLOAD, "", 0, token);
    assert_int_equal(verify_at(token, NOW), TW_INVALID);
}

static void key_id__only_picks_from_the_table(void **state)
{
    (void)state;
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"../../dev/null\",\"typ\":\"JWT\"}", GOOD_PAYLOAD),
                     TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"k0\",\"typ\":\"JWT\"}", GOOD_PAYLOAD), TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":1,\"typ\":\"JWT\"}", GOOD_PAYLOAD), TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", GOOD_PAYLOAD), TW_INVALID);
}

static void header__may_have_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\",\"crit\":[\"x\"]}", GOOD_PAYLOAD),
                     TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\",\"crit\":\"x\"}", GOOD_PAYLOAD),
                     TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\",\"jku\":\"http://x\"}", GOOD_PAYLOAD),
                     TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"at+jwt\"}", GOOD_PAYLOAD), TW_INVALID);
    assert_int_equal(crafted("{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", GOOD_PAYLOAD),
                     TW_INVALID);
}

static void time__is_checked_with_thirty_seconds_of_grace(void **state)
{
    char token[8192];

    (void)state;
    craft(GOOD_HEADER, GOOD_PAYLOAD, keys.keys[0].secret, keys.keys[0].secret_len, token);
    assert_int_equal(verify_at(token, 1795432700 + 29), TW_OK);
    assert_int_equal(verify_at(token, 1795432700 + 30), TW_INVALID);
    assert_int_equal(verify_at(token, 1795432100 - 30), TW_OK);
    assert_int_equal(verify_at(token, 1795432100 - 31), TW_INVALID);
}

#define PAYLOAD_WITH(more) "{\"iss\":\"tillwire\",\"aud\":\"api\",\"sub\":\"" SUB "\",\"jti\":\"" JTI "\"" more "}"

static void claims__must_all_be_there_and_ours(void **state)
{
    static const char *const wrong[] = {
        "{\"aud\":\"api\",\"sub\":\"" SUB "\",\"jti\":\"" JTI
        "\",\"iat\":1795432100,\"exp\":1795432700,\"scope\":\"\"}",
        "{\"iss\":\"other\",\"aud\":\"api\",\"sub\":\"" SUB "\",\"jti\":\"" JTI
        "\",\"iat\":1795432100,\"exp\":1795432700,"
        "\"scope\":\"\"}",
        "{\"iss\":\"tillwire\",\"aud\":\"other\",\"sub\":\"" SUB "\",\"jti\":\"" JTI "\",\"iat\":1795432100,"
        "\"exp\":1795432700,\"scope\":\"\"}",
        "{\"iss\":\"tillwire\",\"aud\":\"api\",\"sub\":\"admin\",\"jti\":\"" JTI
        "\",\"iat\":1795432100,\"exp\":1795432700,"
        "\"scope\":\"\"}",
        PAYLOAD_WITH(",\"iat\":1795432100,\"scope\":\"\""),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":\"1795432700\",\"scope\":\"\""),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700.5,\"scope\":\"\""),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1e99,\"scope\":\"\""),
        PAYLOAD_WITH(",\"exp\":1795432700,\"scope\":\"\""),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700"),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700,\"scope\":\"\",\"nbf\":1795432200"),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700,\"scope\":\"\",\"sub\":\"" JTI "\""),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700,\"scope\":[\"products:write\"]"),
        PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700,\"scope\":\"\",\"x\":{}"),
        "[]",
        "\"text\"",
        "",
    };

    (void)state;
    assert_int_equal(crafted(GOOD_HEADER, PAYLOAD_WITH(",\"iat\":1795432100,\"exp\":1795432700,\"scope\":\"\"")),
                     TW_OK);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        if (crafted(GOOD_HEADER, wrong[i]) != TW_INVALID)
            fail_msg("was taken: %s", wrong[i]);
    }
}

static void deep_json__never_reaches_a_recursive_parser(void **state)
{
    char deep[2800];

    (void)state;
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(crafted(GOOD_HEADER, deep), TW_INVALID);
    assert_int_equal(crafted(deep, GOOD_PAYLOAD), TW_INVALID);
}

static void signature__has_one_spelling(void **state)
{
    static const char *const tails[] = {"=", "==", "!", "\n", " ", "A", "."};
    static const char        alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char                     token[8192];
    char                     other[8192];
    size_t                   len;
    int                      taken = 0;

    (void)state;
    craft(GOOD_HEADER, GOOD_PAYLOAD, keys.keys[0].secret, keys.keys[0].secret_len, token);
    len = strlen(token);
    for (size_t i = 0; i < TW_LEN(tails); i++) {
        strcpy(other, token);
        strcat(other, tails[i]);
        assert_int_equal(verify_at(other, NOW), TW_INVALID);
    }
    strcpy(other, token);
    for (size_t i = 0; i < sizeof(alphabet) - 1; i++) {
        other[len - 1] = alphabet[i];
        taken += verify_at(other, NOW) == TW_OK;
    }
    assert_int_equal(taken, 1);
    other[len - 1] = '\0';
    assert_int_equal(verify_at(other, NOW), TW_INVALID);
}

/** Spare bits in the last character of a part: signed as it stands, and still not a second spelling. */
static void parts__have_one_spelling(void **state)
{
    char    token[8192];
    uint8_t mac[32];

    (void)state;
    encode(GOOD_HEADER, strlen(GOOD_HEADER), token, 4096);
    token[strlen(token) - 1]++;
    strcat(token, ".");
    encode(GOOD_PAYLOAD, strlen(GOOD_PAYLOAD), token + strlen(token), 4000);
    sign_with(keys.keys[0].secret, keys.keys[0].secret_len, token, mac);
    strcat(token, ".");
    encode(mac, sizeof(mac), token + strlen(token), 64);
    assert_int_equal(verify_at(token, NOW), TW_INVALID);
}

static void every_changed_character__is_noticed(void **state)
{
    char token[8192];

    (void)state;
    craft(GOOD_HEADER, GOOD_PAYLOAD, keys.keys[0].secret, keys.keys[0].secret_len, token);
    for (size_t i = 0; token[i]; i++) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(verify_at(token, NOW), TW_INVALID);
        token[i] = kept;
    }
    assert_int_equal(verify_at(token, NOW), TW_OK);
}

static void long_token__is_refused_before_it_is_looked_at(void **state)
{
    char *token = tw_alloc_zeroed(1, TW_TOKEN_MAX_BYTES + 2);

    (void)state;
    memset(token, 'A', TW_TOKEN_MAX_BYTES + 1);
    assert_int_equal(verify_at(token, NOW), TW_INVALID);
    token[TW_TOKEN_MAX_BYTES] = '\0';
    token[10] = token[20] = '.';
    assert_int_equal(verify_at(token, NOW), TW_INVALID);
    free(token);
}

static void token__is_not_read_beyond_its_end(void **state)
{
    struct tw_token_claims claims;
    char                   token[8192];

    (void)state;
    craft(GOOD_HEADER, GOOD_PAYLOAD, keys.keys[0].secret, keys.keys[0].secret_len, token);
    for (size_t len = 0; len <= strlen(token); len += 7) {
        struct tw_str guarded = tw_guarded((struct tw_str){token, len});
        tw_token_verify(&rules, guarded, NOW, &claims, NULL);
        tw_guarded_free(guarded);
    }
}

static void keys__are_refused_when_short_repeated_or_malformed(void **state)
{
    static const char *const wrong[] = {
        "",
        "# nothing\n",
        "k1:00\n",
        "k1:\n",
        "k1\n",
        ":000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "k 1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e\n",
        "k1:xx0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        ("k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
         "k1:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"),
    };
    struct tw_token_keys parsed;

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_int_equal(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(wrong[i]), &parsed, NULL), TW_INVALID);
}

static void scope__is_matched_as_a_whole_word(void **state)
{
    (void)state;
    assert_true(tw_token_has_scope("products:write", "products:write"));
    assert_true(tw_token_has_scope("a products:write b", "products:write"));
    assert_false(tw_token_has_scope("products:writer", "products:write"));
    assert_false(tw_token_has_scope("xproducts:write", "products:write"));
    assert_false(tw_token_has_scope("", "products:write"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token__is_read_back_as_it_was_signed),
        cmocka_unit_test(crafted_token__is_good_when_nothing_is_wrong),
        cmocka_unit_test(older_key__still_verifies),
        cmocka_unit_test(algorithm__must_be_the_one_we_sign_with),
        cmocka_unit_test(unsigned_token__is_refused),
        cmocka_unit_test(empty_key__verifies_nothing),
        cmocka_unit_test(key_id__only_picks_from_the_table),
        cmocka_unit_test(header__may_have_nothing_else),
        cmocka_unit_test(time__is_checked_with_thirty_seconds_of_grace),
        cmocka_unit_test(claims__must_all_be_there_and_ours),
        cmocka_unit_test(deep_json__never_reaches_a_recursive_parser),
        cmocka_unit_test(signature__has_one_spelling),
        cmocka_unit_test(parts__have_one_spelling),
        cmocka_unit_test(every_changed_character__is_noticed),
        cmocka_unit_test(long_token__is_refused_before_it_is_looked_at),
        cmocka_unit_test(token__is_not_read_beyond_its_end),
        cmocka_unit_test(keys__are_refused_when_short_repeated_or_malformed),
        cmocka_unit_test(scope__is_matched_as_a_whole_word),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
