/* Links: PkgConfig::SODIUM */
/* ES256: keys by the openssl program, tokens and coordinates by Python's cryptography; none of it by our code. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"
#include "auth/token.h"
#include "unit.h"

#define NOW INT64_C(1795432108)

/* openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 */
static const char private_a[] = "-----BEGIN PRIVATE KEY-----\n"
                                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkFHmlE3IlyQ3sulB\n"
                                "wDL9lkOmxIjcJPtO7p3eL1RGqcKhRANCAARQFkV9TlsGgaYfnTeL+oGneHn2q9n9\n"
                                "nChDNaRLJSF9p5WOPAl2k3LOzLgK+ITqwE3O4JTDsTG37SEby9tg+z6s\n"
                                "-----END PRIVATE KEY-----\n";

static const char public_a[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUBZFfU5bBoGmH503i/qBp3h59qvZ\n"
                               "/ZwoQzWkSyUhfaeVjjwJdpNyzsy4CviE6sBNzuCUw7Ext+0hG8vbYPs+rA==\n"
                               "-----END PUBLIC KEY-----\n";

/* the older form: openssl ecparam -name prime256v1 -genkey -noout */
static const char private_c[] = "-----BEGIN EC PRIVATE KEY-----\n"
                                "MHcCAQEEIP6lh5Z25R0n8mr/V30xTnqTST/i2IIssByLJoHuM7RHoAoGCCqGSM49\n"
                                "AwEHoUQDQgAEUjDbNAbMWMJimIp9z5pw12lKjNyup9GrsEsinWhFrdIu20Csz+o3\n"
                                "sD12f0SQex7tj3lFut4BB095eLHrLSDsqA==\n"
                                "-----END EC PRIVATE KEY-----\n";

static const char public_c[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUjDbNAbMWMJimIp9z5pw12lKjNyu\n"
                               "p9GrsEsinWhFrdIu20Csz+o3sD12f0SQex7tj3lFut4BB095eLHrLSDsqA==\n"
                               "-----END PUBLIC KEY-----\n";

static const char p384[] = "-----BEGIN PRIVATE KEY-----\n"
                           "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAZxK/1vYXP8PRTbc99\n"
                           "uUpUQyhd7/YSamnGd6x8yPqHDvRo5CAJ+W41VZW4w9kUsFihZANiAATAR9HaNhSM\n"
                           "MOHrVNo/k+hENiPUJRIdHoCmyzZvJkxpFcDQ6k0abYqgVjo+s+pBVXKi+cTMCOSv\n"
                           "0K2b9GqjY9IAnK7ZxXYI/0kvcluOsGpH+s/V/LvsBRzbHhO1TpdR31E=\n"
                           "-----END PRIVATE KEY-----\n";

static const char secp256k1[] = "-----BEGIN EC PRIVATE KEY-----\n"
                                "MHQCAQEEIAI7gsZDBDYxA/CSrvhTSXF/gcOKTsidI066w4CW59KloAcGBSuBBAAK\n"
                                "oUQDQgAE9Bl1CaBpIJaRFnvQqu6vF02cA257GLTy3MayZHGQ5Vk11fjB1XU5H8m3\n"
                                "qq8U7PD+zsYp2yS5g2yL5bjg3rFoBQ==\n"
                                "-----END EC PRIVATE KEY-----\n";

static const char ed25519[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEILqBSnOY9r7KIk0cP+Fupz6eTKv90IwsaX6yRs1VxQBJ\n"
                              "-----END PRIVATE KEY-----\n";

/* key A behind a passphrase */
static const char encrypted[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiTwE84b3LcEQICCAAw\n"
                                "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEELZn24FsMMpCtG42SrPfctMEgZDa\n"
                                "xiEjfq9POtFo3UB2bPT1bNa5ahzYldarj3DOa4Te4KkZ/qUhZJBvn5Po7aqzS44j\n"
                                "dWuh2SSeHYUg8xL/qAL12ezM8ll1QzY+rMWTV0Dh+z0fbYLzg5oX6+m/8NrqcJP9\n"
                                "oti+wTHE6WPXMbCJw2tXwrhUKthq9ZOQnC/fAoFM1lZUjepBHjGGKSgHyVCWkao=\n"
                                "-----END ENCRYPTED PRIVATE KEY-----\n";

static const char rsa_public[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjASuEcbW7gLWVKRprNWT\n"
                                 "Wi3ZhvuOfgyZkaM63yJdlpHWrd1zr06y/DdT519PYXjBniBt4jIDzJSpyVjJ1BIG\n"
                                 "MthZWh9u/AXlE5jJxIxdS5FKuaL2MYJKmPGjDAmQ4SWNItdolVsa5CCUguuqu0aO\n"
                                 "9L/JeNRzoXxvrx9dci84aueTjS9gTnQ8AaYPsr+xqi0W6GoieN597yM58dGaLLIz\n"
                                 "Z8cRVVoswbZr5vAAd1RQ/RKNn3arrXfRokSaL2F5u8mlchm1i1h5FfHRK7SmAuTr\n"
                                 "0KIovV1veTRVXwdnWqzUPzVzlpCxt4o4jN3CAy5VKEwCGzYQSKejT90t4h9QS0O8\n"
                                 "owIDAQAB\n"
                                 "-----END PUBLIC KEY-----\n";

/* kid e1 */
static const char signed_by_a[] =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJ0aWxsd2lyZSIsImF1ZCI6ImFwaSIsInN1YiI6"
    "IjNlN2MyYjdhLTFmNjAtOGM1ZC05YTMxLTViMGY2YzJkOWUxMSIsImp0aSI6IjdkMGIxZTUyLTQzYWEtOGYwZS1iMWM1LTkxZjNl"
    "N2E0YzgyMCIsImlhdCI6MTc5NTQzMjEwMCwiZXhwIjoxNzk1NDMyNzAwLCJzY29wZSI6InByb2R1Y3RzOndyaXRlIn0.7LnCGkXD"
    "pS0bNpc2Qi9OBBQrG0S4KkAI34wn8nEa3LfbXcEnfJx1nlvlauU9Xa8kJXC2jkbEexnr5Wql4hmCeg";

/* kid e2 */
static const char signed_by_c[] =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUyIiwidHlwIjoiSldUIn0.eyJpc3MiOiJ0aWxsd2lyZSIsImF1ZCI6ImFwaSIsInN1YiI6"
    "IjNlN2MyYjdhLTFmNjAtOGM1ZC05YTMxLTViMGY2YzJkOWUxMSIsImp0aSI6IjdkMGIxZTUyLTQzYWEtOGYwZS1iMWM1LTkxZjNl"
    "N2E0YzgyMCIsImlhdCI6MTc5NTQzMjEwMCwiZXhwIjoxNzk1NDMyNzAwLCJzY29wZSI6InByb2R1Y3RzOndyaXRlIn0.JZTOQy1I"
    "k28stzG6_4Ara5ftsjEcsc3nO5ZYZWC62_wLle-A50itlA20GSqYwhrU1aWDCbevxy3i9OLz3mCuZA";

/* kid e1, by a key nobody knows */
static const char signed_by_b[] =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJ0aWxsd2lyZSIsImF1ZCI6ImFwaSIsInN1YiI6"
    "IjNlN2MyYjdhLTFmNjAtOGM1ZC05YTMxLTViMGY2YzJkOWUxMSIsImp0aSI6IjdkMGIxZTUyLTQzYWEtOGYwZS1iMWM1LTkxZjNl"
    "N2E0YzgyMCIsImlhdCI6MTc5NTQzMjEwMCwiZXhwIjoxNzk1NDMyNzAwLCJzY29wZSI6InByb2R1Y3RzOndyaXRlIn0._fMaUuTN"
    "2EqzpYl2mdqf8psd_E4TkHggz82LTv4RFT443FviZrqELWCc9tKrj2IM54VKHxMUiqtyJ9HtblTXtA";

/* by key A, kid e1, the signature in DER as openssl makes it */
static const char signed_der[] =
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJ0aWxsd2lyZSIsImF1ZCI6ImFwaSIsInN1YiI6"
    "IjNlN2MyYjdhLTFmNjAtOGM1ZC05YTMxLTViMGY2YzJkOWUxMSIsImp0aSI6IjdkMGIxZTUyLTQzYWEtOGYwZS1iMWM1LTkxZjNl"
    "N2E0YzgyMCIsImlhdCI6MTc5NTQzMjEwMCwiZXhwIjoxNzk1NDMyNzAwLCJzY29wZSI6InByb2R1Y3RzOndyaXRlIn0.MEUCIQDd"
    "D3uCCuq_It7V9umJgNuKWt4H-Ch-T_hS2vUpYR3tYwIgeCifqxdElYconqp8fhbw6vmDmUtOX4UM6CQ7_SyhOYs";

#define X_A "UBZFfU5bBoGmH503i_qBp3h59qvZ_ZwoQzWkSyUhfac"
#define Y_A "lY48CXaTcs7MuAr4hOrATc7glMOxMbftIRvL22D7Pqw"
#define X_C "UjDbNAbMWMJimIp9z5pw12lKjNyup9GrsEsinWhFrdI"
#define Y_C "LttArM_qN7A9dn9EkHse7Y95RbreAQdPeXix6y0g7Kg"

static struct tw_token_keys  keys; /* e1: key A; e2: key C, public only */
static struct tw_token_rules rules = {&keys, "tillwire", "api"};

static enum tw_rc parse(struct tw_token_keys *ret_keys, struct tw_err *reterr, const char *const *texts)
{
    struct tw_buf text = {0};

    for (; *texts; texts++)
        tw_buf_add_str(&text, tw_str_of(*texts));
    enum tw_rc rc = tw_token_keys_parse(TW_TOKEN_ES256, tw_buf_str(&text), ret_keys, reterr);
    tw_buf_done(&text);
    return rc;
}
#define PARSE(ret_keys, reterr, ...) parse((ret_keys), (reterr), (const char *const[]){__VA_ARGS__, NULL})

static int setup(void **state)
{
    struct tw_err err = {0};

    (void)state;
    assert_rc(PARSE(&keys, &err, "# signs\nkid: e1\n", private_a, "\n# verifies\nkid: e2\n", public_c), TW_OK, err);
    return 0;
}

static enum tw_rc verify(const char *token)
{
    struct tw_token_claims claims;

    return tw_token_verify(&rules, tw_str_of(token), NOW, &claims, NULL);
}

static void tokens_of_others__are_verified_by_the_key_they_name(void **state)
{
    struct tw_token_claims claims;
    struct tw_err          err;

    (void)state;
    assert_rc(tw_token_verify(&rules, tw_str_of(signed_by_a), NOW, &claims, &err), TW_OK, err);
    assert_string_equal(claims.scope, "products:write");
    assert_int_equal(claims.expires_s, 1795432700);
    assert_int_equal(verify(signed_by_c), TW_OK);
    assert_int_equal(verify(signed_by_b), TW_INVALID);
}

static void signature__is_of_two_numbers_not_der(void **state)
{
    (void)state;
    assert_int_equal(verify(signed_der), TW_INVALID);
}

static void token__is_read_back_as_it_was_signed(void **state)
{
    struct tw_token_claims claims = {
        .subject = {{1}}, .token_id = {{2}}, .issued_s = NOW, .expires_s = NOW + 600, .scope = "a:b"};
    struct tw_token_claims read;
    struct tw_err          err;
    char                  *token = NULL;

    (void)state;
    for (int i = 0; i < 50; i++) { /* also with numbers that begin with zeros */
        assert_rc(tw_token_sign(&rules, &claims, &token, &err), TW_OK, err);
        assert_rc(tw_token_verify(&rules, tw_str_of(token), NOW, &read, &err), TW_OK, err);
        assert_memory_equal(&read, &claims, sizeof(claims));
        assert_int_equal(strlen(strrchr(token, '.') + 1), 86);
        free(token);
    }
}

static void every_changed_character__is_noticed(void **state)
{
    char token[sizeof(signed_by_a)];

    (void)state;
    memcpy(token, signed_by_a, sizeof(token));
    for (size_t i = 0; token[i]; i++) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(verify(token), TW_INVALID);
        token[i] = kept;
    }
    assert_int_equal(verify(token), TW_OK);
}

/** libjwt alone takes 16 last characters and any tail. */
static void signature__has_one_spelling(void **state)
{
    static const char *const tails[] = {"=", "==", "!", "\n", " ", "A", "."};
    static const char        alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char                     token[sizeof(signed_by_a) + 8];
    size_t                   len = strlen(signed_by_a);
    int                      taken = 0;

    (void)state;
    for (size_t i = 0; i < TW_LEN(tails); i++) {
        strcpy(token, signed_by_a);
        strcat(token, tails[i]);
        assert_int_equal(verify(token), TW_INVALID);
    }
    strcpy(token, signed_by_a);
    for (size_t i = 0; i < sizeof(alphabet) - 1; i++) {
        token[len - 1] = alphabet[i];
        taken += verify(token) == TW_OK;
    }
    assert_int_equal(taken, 1);
}

static void sign_hs256(const char *header, const char *key, char token[1024])
{
    crypto_auth_hmacsha256_state hmac;
    unsigned char                mac[32];
    const char                  *payload = strchr(signed_by_a, '.');
    size_t                       payload_len = (size_t)(strrchr(signed_by_a, '.') - payload);

    sodium_bin2base64(token, 512, (const unsigned char *)header, strlen(header),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    strncat(token, payload, payload_len);
    crypto_auth_hmacsha256_init(&hmac, (const unsigned char *)key, strlen(key));
    crypto_auth_hmacsha256_update(&hmac, (const unsigned char *)token, strlen(token));
    crypto_auth_hmacsha256_final(&hmac, mac);
    strcat(token, ".");
    sodium_bin2base64(token + strlen(token), 64, mac, sizeof(mac), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/** The public key is known to everybody; it must be no secret of an HMAC. */
static void public_key__verifies_no_hmac(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\",\"kid\":\"e1\",\"typ\":\"JWT\"}",
                                          "{\"alg\":\"ES256\",\"kid\":\"e1\",\"typ\":\"JWT\"}"};
    char                     token[1024];

    (void)state;
    for (size_t i = 0; i < TW_LEN(headers); i++) {
        sign_hs256(headers[i], keys.keys[0].public_pem, token);
        assert_int_equal(verify(token), TW_INVALID);
        sign_hs256(headers[i], public_a, token);
        assert_int_equal(verify(token), TW_INVALID);
    }
}

static void token_of_the_other_algorithm__is_refused_either_way(void **state)
{
    static const char      secret[] = "s1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    struct tw_token_keys   secrets;
    struct tw_token_rules  secret_rules = {&secrets, "tillwire", "api"};
    struct tw_token_claims claims = {.subject = {{1}}, .token_id = {{2}}, .issued_s = NOW, .expires_s = NOW + 600};
    char                  *token = NULL;

    (void)state;
    assert_int_equal(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(secret), &secrets, NULL), TW_OK);
    assert_int_equal(tw_token_sign(&secret_rules, &claims, &token, NULL), TW_OK);
    assert_int_equal(verify(token), TW_INVALID);
    free(token);
    memcpy(secrets.keys[0].kid, "e1", 3);
    assert_int_equal(tw_token_verify(&secret_rules, tw_str_of(signed_by_a), NOW, &claims, NULL), TW_INVALID);
}

static void older_form_of_a_key__signs_too(void **state)
{
    struct tw_token_keys   others;
    struct tw_token_rules  other_rules = {&others, "tillwire", "api"};
    struct tw_token_claims claims = {.subject = {{1}}, .token_id = {{2}}, .issued_s = NOW, .expires_s = NOW + 600};
    struct tw_err          err;
    char                  *token = NULL;

    (void)state;
    assert_rc(PARSE(&others, &err, "  kid:e2  \r\n", private_c), TW_OK, err);
    assert_rc(tw_token_sign(&other_rules, &claims, &token, &err), TW_OK, err);
    assert_int_equal(verify(token), TW_OK); /* by the public half */
    free(token);
}

static void key_file__is_refused_with_the_line(void **state)
{
    const struct {
        const char *texts[5];
        const char *sentence;
    } wrong[] = {
        {{""}, "there is no token key"},
        {{"# nothing\n"}, "there is no token key"},
        {{"kid: e1\n"}, "the kid of line 1 of the token keys has no key"},
        {{"kid: e1\nkid: e2\n", private_a}, "line 2 of the token keys begins no key"},
        {{private_a}, "line 1 of the token keys is not kid: NAME"},
        {{"kid: e 1\n", private_a}, "line 1 of the token keys has a bad or repeated kid"},
        {{"kid:\n", private_a}, "line 1 of the token keys has a bad or repeated kid"},
        {{"kid: e1\n", private_a, "kid: e1\n", public_c}, "line 7 of the token keys has a bad or repeated kid"},
        {{"kid: e1\n", public_a}, "the first token key signs and must be a private one"},
        {{"kid: e1\n-----BEGIN PRIVATE KEY-----\nMIGH\n"}, "the token key of line 2 has no end"},
        {{"kid: e1\n-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"},
         "line 2 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"},
         "line 2 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n", p384}, "line 2 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n", secp256k1}, "line 2 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n", ed25519}, "line 2 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n", private_a, "kid: e2\n", rsa_public}, "line 8 of the token keys begins no plain key of P-256"},
        {{"kid: e1\n", encrypted},
         "line 2 of the token keys begins neither a PRIVATE KEY, an EC PRIVATE KEY nor a PUBLIC KEY"},
        {{"k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"},
         "line 1 of the token keys is not kid: NAME"},
    };
    struct tw_token_keys parsed;

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        struct tw_err err = {0};

        assert_int_equal(parse(&parsed, &err, wrong[i].texts), TW_INVALID);
        assert_string_equal(err.msg, wrong[i].sentence);
    }
}

static void key_of_the_wrong_point__is_refused(void **state)
{
    char          torn[sizeof(public_c)];
    struct tw_err err;

    (void)state;
    memcpy(torn, public_c, sizeof(torn));
    strstr(torn, "jDbN")[0] = 'k'; /* not on the curve any more */
    assert_int_equal(PARSE(&keys, &err, "kid: e1\n", private_a, "kid: e2\n", torn), TW_INVALID);
}

static void hs256_file__is_not_read_as_es256_nor_the_other_way_round(void **state)
{
    struct tw_token_keys parsed;
    struct tw_err        err;

    (void)state;
    assert_int_equal(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of("kid: e1\n"), &parsed, &err), TW_INVALID);
    assert_string_equal(err.msg, "line 1 of the token keys is not a key of 32 to 64 bytes in hex");
}

static void jwks__holds_the_public_points_and_nothing_else(void **state)
{
    struct tw_buf text = {0};

    (void)state;
    tw_jwks_write(&keys, &text);
    assert_str(tw_buf_str(&text),
               "{\"keys\":["
               "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":\"e1\",\"x\":\"" X_A
               "\",\"y\":\"" Y_A "\"},"
               "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":\"e2\",\"x\":\"" X_C
               "\",\"y\":\"" Y_C "\"}]}");
    tw_buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_others__are_verified_by_the_key_they_name),
        cmocka_unit_test(signature__is_of_two_numbers_not_der),
        cmocka_unit_test(token__is_read_back_as_it_was_signed),
        cmocka_unit_test(every_changed_character__is_noticed),
        cmocka_unit_test(signature__has_one_spelling),
        cmocka_unit_test(public_key__verifies_no_hmac),
        cmocka_unit_test(token_of_the_other_algorithm__is_refused_either_way),
        cmocka_unit_test(older_form_of_a_key__signs_too),
        cmocka_unit_test(key_file__is_refused_with_the_line),
        cmocka_unit_test(key_of_the_wrong_point__is_refused),
        cmocka_unit_test(hs256_file__is_not_read_as_es256_nor_the_other_way_round),
        cmocka_unit_test(jwks__holds_the_public_points_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
