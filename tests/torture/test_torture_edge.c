/* Links: tw_torture tw_edge PkgConfig::JANSSON */
/* What the edge does with a request (api-edge/), with failing allocations: from its bytes to the record, and back. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"
#include "auth/passwords.h"
#include "auth/token.h"
#include "idempotency.h"
#include "json_scan.h"
#include "opaque.h"
#include "reply.h"
#include "request.h"
#include "tillwire/gen/bodies.h"
#include "tillwire/gen/cart_messages.h"
#include "torture.h"

#define NOW INT64_C(1795432108)

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static const char secrets[] = "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

/* openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 */
static const char pairs[] = "kid: e1\n"
                            "-----BEGIN PRIVATE KEY-----\n"
                            "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkFHmlE3IlyQ3sulB\n"
                            "wDL9lkOmxIjcJPtO7p3eL1RGqcKhRANCAARQFkV9TlsGgaYfnTeL+oGneHn2q9n9\n"
                            "nChDNaRLJSF9p5WOPAl2k3LOzLgK+ITqwE3O4JTDsTG37SEby9tg+z6s\n"
                            "-----END PRIVATE KEY-----\n";

struct tokens {
    struct tw_token_keys  keys;
    struct tw_token_rules rules;
    char                 *token;
};

static enum tw_rc sign(struct tokens *tokens, struct tw_err *reterr)
{
    struct tw_token_claims claims = {
        .subject = {{1}}, .token_id = {{2}}, .issued_s = NOW, .expires_s = NOW + 600, .scope = "products:write"};

    return tw_token_sign(&tokens->rules, &claims, &tokens->token, reterr);
}

static void *make_tokens(enum tw_token_algorithm algorithm, const char *keys)
{
    struct tokens *tokens = tw_alloc_zeroed(1, sizeof(*tokens));

    tokens->rules = (struct tw_token_rules){&tokens->keys, "tillwire", "api"};
    if (tw_token_keys_parse(algorithm, tw_str_of(keys), &tokens->keys, NULL) != TW_OK)
        abort();
    return tokens;
}

static void *hs256(void)
{
    return make_tokens(TW_TOKEN_HS256, secrets);
}

static void *es256(void)
{
    return make_tokens(TW_TOKEN_ES256, pairs);
}

static void *signed_tokens(struct tokens *tokens)
{
    if (sign(tokens, NULL) != TW_OK)
        abort();
    return tokens;
}

static void *signed_hs256(void)
{
    return signed_tokens(hs256());
}

static void *signed_es256(void)
{
    return signed_tokens(es256());
}

/* Another signature of the right form. */
static void *forged_hs256(void)
{
    struct tokens *tokens = signed_hs256();
    char          *signature = strrchr(tokens->token, '.') + 1;

    *signature = *signature == 'A' ? 'B' : 'A';
    return tokens;
}

static void free_tokens(void *world)
{
    struct tokens *tokens = world;

    free(tokens->token);
    free(tokens);
}

/* An ES256 signature is another one each time. */
static enum tw_rc sign_token(void *world, struct tw_err *reterr)
{
    struct tokens *tokens = world;

    TW_TRY(sign(tokens, reterr));
    if (tokens->keys.algorithm == TW_TOKEN_HS256)
        tw_torture_answer(tw_str_of(tokens->token));
    return TW_OK;
}

static enum tw_rc verify_token(void *world, struct tw_err *reterr)
{
    struct tokens         *tokens = world;
    struct tw_token_claims claims = {0};

    TW_TRY(tw_token_verify(&tokens->rules, tw_str_of(tokens->token), NOW, &claims, reterr));
    tw_torture_answer((struct tw_str){(const char *)&claims, sizeof(claims)});
    return TW_OK;
}

static void token__is_signed_or_not(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){
        .name = "signing HS256", .before = hs256, .run = sign_token, .after = free_tokens, .warm = true});
    tw_torture(&(struct tw_torture){
        .name = "signing ES256", .before = es256, .run = sign_token, .after = free_tokens, .warm = true});
}

static void good_token__is_never_called_bad(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "verifying HS256",
                                    .before = signed_hs256,
                                    .run = verify_token,
                                    .after = free_tokens,
                                    .warm = true,
                                    .places = 70});
    tw_torture(&(struct tw_torture){
        .name = "verifying ES256", .before = signed_es256, .run = verify_token, .after = free_tokens, .warm = true});
}

static void bad_token__is_never_called_good(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "verifying a forgery",
                                    .gives = TW_INVALID,
                                    .before = forged_hs256,
                                    .run = verify_token,
                                    .after = free_tokens,
                                    .warm = true});
}

static enum tw_rc read_keys(void *world, struct tw_err *reterr)
{
    struct tw_token_keys               keys;
    TW_AUTO(tw_buf_done) struct tw_buf out = {0};

    TW_TRY(tw_token_keys_parse(TW_TOKEN_ES256, tw_str_of(world), &keys, reterr));
    tw_jwks_write(&keys, &out);
    tw_torture_answer(tw_buf_str(&out));
    return TW_OK;
}

static void *key_file(void)
{
    return memcpy(tw_alloc(sizeof(pairs)), pairs, sizeof(pairs));
}

static void keys__are_read_and_published_or_not(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "keys", .before = key_file, .run = read_keys, .after = free, .warm = true});
}

/* --- passwords ---------------------------------------------------------------------------------------------------- */

/* Made by Python's cryptography, with numbers smaller than ours: of "correct horse". */
static const char hash[] =
    "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk";

static enum tw_rc check_password(void *world, struct tw_err *reterr)
{
    bool       right = false, wrong = false;
    enum tw_rc rc = tw_passwords_verify(world, TW_STR("correct horse"), hash, &right, reterr);

    if (rc == TW_OK)
        rc = tw_passwords_verify(world, TW_STR("correct hare"), hash, &wrong, reterr);
    tw_torture_answer(right ? TW_STR("right") : TW_STR("wrong"));
    tw_torture_answer(wrong ? TW_STR("right") : TW_STR("wrong"));
    return rc;
}

/* Once before, so that its thread has begun. */
static void *new_passwords(void)
{
    struct tw_passwords *passwords = tw_passwords_new(1, 4);
    bool                 matches;

    if (tw_passwords_verify(passwords, TW_STR("x"), hash, &matches, NULL) != TW_OK)
        abort();
    return passwords;
}

static void free_passwords(void *world)
{
    tw_passwords_free(world);
}

static void right_password__is_never_called_wrong(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){
        .name = "passwords", .before = new_passwords, .run = check_password, .after = free_passwords});
}

/* --- from a request to a record ----------------------------------------------------------------------------------- */

static const struct tw_request_limits limits = {
    .uri_bytes = 2048, .headers_bytes = 8192, .body_bytes = 65536, .batch_bytes = 1048576, .deadline_ms = 10000};

/* As civetweb hands it over: cut by NULs where words end. */
static const char head[] = "POST\0"
                           "/v1/cart/items\0"
                           "a=b%20c\0"
                           "HTTP/1.1\0\0"
                           "Host\0 shop.example\0\0"
                           "Content-Type\0 application/json\0\0"
                           "Content-Length\0 66\0\0\r";

/* The next word, without what stands before it. */
static const char *next_word(const char **at)
{
    const char *word;

    while (**at == '\0' || **at == ' ')
        ++*at;
    word = *at;
    *at += strlen(word);
    return word;
}

static enum tw_problem parse_head(struct tw_request *request, const char **ret_detail)
{
    const char           *at = head;
    struct tw_raw_field   fields[3];
    struct tw_raw_request raw = {.fields = fields, .field_count = TW_LEN(fields)};

    raw.method = next_word(&at);
    raw.uri = raw.path = next_word(&at);
    raw.query = next_word(&at);
    raw.version = next_word(&at) + strlen("HTTP/");
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        fields[i].name = next_word(&at);
        fields[i].value = next_word(&at);
    }
    return tw_request_parse(&raw, request, ret_detail);
}

static enum tw_rc problem(enum tw_problem problem, const char *detail, struct tw_err *reterr)
{
    return problem == TW_PROBLEM_NONE
               ? TW_OK
               : tw_fail(reterr, TW_INVALID, "test", 0, "%s: %s", tw_problem_code(problem), detail);
}

static enum tw_rc read_item(struct tw_request *request, struct tw_cart_add_item_body *ret_item, struct tw_err *reterr)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    const char                      *detail = "";
    struct tw_field_errors           errors;

    TW_TRY(problem(tw_request_json(request, &json, &detail), detail, reterr));
    if (tw_cart_add_item_body_from_json(json, request->arena, ret_item, &errors) != TW_OK)
        return tw_fail(reterr, TW_INVALID, "test", 0, "the body is wrong");
    return TW_OK;
}

static void answer_record(struct tw_request *request, const struct tw_cart_add_item_body *item)
{
    const struct tw_cart_add_item command = {.member_id = {{9}},
                                             .product_id = item->product_id,
                                             .quantity = item->quantity,
                                             .product_name = TW_STR("Tee"),
                                             .price_minor = 19900,
                                             .product_version = 1};
    struct tw_envelope            envelope = {
                   .type = tw_str_of(tw_cart_add_item_type.ce_type), .command_id = {{7}}, .if_version = -1, .original_ms = -1};
    const struct tw_header            *headers;
    size_t                             count;
    static const uint8_t               key[TW_IDEMPOTENCY_KEY_BYTES] = {3};
    TW_AUTO(tw_buf_done) struct tw_buf packed = {0};

    tw_fingerprint(key, request->body, envelope.fingerprint);
    tw_envelope_write(&envelope, "/tillwire/edge", request->arena, &headers, &count);
    tw_cart_add_item_type.pack(&command, &packed);
    for (size_t i = 0; i < count; i++)
        tw_torture_answer(headers[i].value);
    tw_torture_answer(tw_buf_str(&packed));
}

static enum tw_rc request_to_record(void *world, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_request                      request = {.limits = &limits, .arena = &arena};
    const char                            *detail = "";
    struct tw_cart_add_item_body           item;
    struct tw_str                          value = {NULL, 0};

    TW_TRY(problem(parse_head(&request, &detail), detail, reterr));
    if (tw_request_query(&request, "a", &value) != TW_QUERY_OK)
        return tw_fail(reterr, TW_INVALID, "test", 0, "the query is wrong");
    tw_torture_answer(value);
    request.body = tw_str_of(world);
    TW_TRY(read_item(&request, &item, reterr));
    answer_record(&request, &item);
    return TW_OK;
}

static void *item_body(void)
{
    return tw_strdup("{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"quantity\":2}");
}

/* Its number fits nowhere: the body is read once more to say where it stands. */
static void *huge_number(void)
{
    return tw_strdup("{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"quantity\":1e999}");
}

static void good_request__becomes_its_record_or_none(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "a request", .before = item_body, .run = request_to_record, .after = free});
    tw_torture(&(struct tw_torture){.name = "a number that is too large",
                                    .gives = TW_INVALID,
                                    .before = huge_number,
                                    .run = request_to_record,
                                    .after = free});
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

typedef enum tw_rc (*read_fn)(const json_t *json, struct tw_arena *arena, void *ret_body,
                              struct tw_field_errors *ret_errors);

#define BODY(name, text)         \
    {                            \
#name, read_##name, text \
    }
#define READER(name)                                                                          \
    static enum tw_rc read_##name(const json_t *json, struct tw_arena *arena, void *ret_body, \
                                  struct tw_field_errors *ret_errors)                         \
    {                                                                                         \
        return tw_##name##_body_from_json(json, arena, ret_body, ret_errors);                 \
    }

READER(cart_add_item)
READER(cart_set_item)
READER(member_add_address)
READER(member_change_address)
READER(member_change_email)
READER(member_change_password)
READER(member_change_profile)
READER(member_register)
READER(member_set_status)
READER(product_change)
READER(product_create)
READER(product_rate)
READER(auth_login)
READER(auth_refresh)

static const struct body {
    const char *name;
    read_fn     read;
    const char *text;
} bodies[] = {
    BODY(cart_add_item, "{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"quantity\":2}"),
    BODY(cart_set_item, "{\"quantity\":0}"),
    BODY(member_add_address,
         "{\"label\":\"Home\",\"address_line1\":\"1 Way\",\"city\":\"Bogor\",\"province\":\"West Java\","
         "\"postal_code\":\"1\",\"is_default\":true}"),
    BODY(member_change_address, "{\"label\":\"Home\",\"address_line2\":null,\"city\":\"Bogor\"}"),
    BODY(member_change_email, "{\"email\":\"a@b.example\",\"password\":\"correct horse\"}"),
    BODY(member_change_password, "{\"current_password\":\"correct horse\",\"new_password\":\"correct hare\"}"),
    BODY(member_change_profile, "{\"full_name\":\"A B\",\"phone_number\":null}"),
    BODY(member_register, "{\"email\":\"a@b.example\",\"password\":\"correct horse\",\"full_name\":\"A B\"}"),
    BODY(member_set_status, "{\"status\":\"SUSPENDED\",\"reason\":\"why\"}"),
    BODY(product_change, "{\"name\":\"Tee\",\"discount_price\":null,\"tags\":[\"a\",\"b\"],"
                         "\"images\":{\"front\":\"https://a/b.jpg\",\"back\":null}}"),
    BODY(product_create,
         "{\"sku\":\"TEE\",\"name\":\"Tee\",\"price\":\"199.00\",\"category\":\"shirts\",\"slug\":\"tee\","
         "\"description\":\"caf\\u00e9\",\"tags\":[\"a\",\"b\"],\"images\":{\"front\":\"https://a/b.jpg\"}}"),
    BODY(product_rate, "{\"stars\":5}"),
    BODY(auth_login, "{\"email\":\"a@b.example\",\"password\":\"correct horse\"}"),
    BODY(auth_refresh, "{\"refresh_token\":\"abc\"}"),
};

static const struct body *one; /* of the scenario */

static enum tw_rc read_body(void *world, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_request                      request = {.limits = &limits,
                                                      .arena = &arena,
                                                      .method = TW_METHOD_POST,
                                                      .fields[TW_HEADER_CONTENT_TYPE] = TW_STR("application/json"),
                                                      .body = tw_str_of(world)};
    TW_AUTO(tw_json_release) json_t       *json = NULL;
    const char                            *detail = "";
    struct tw_field_errors                 errors = {.count = 0};
    char                                   body[1024];

    TW_TRY(problem(tw_request_json(&request, &json, &detail), detail, reterr));
    if (one->read(json, &arena, body, &errors) == TW_OK)
        return TW_OK;
    for (size_t i = 0; i < errors.count; i++)
        tw_torture_answer(errors.items[i].pointer);
    return tw_fail(reterr, TW_INVALID, "test", 0, "%.*s %.*s", TW_STR_ARG(errors.items[0].pointer),
                   TW_STR_ARG(errors.items[0].detail));
}

static void *body_text(void)
{
    return tw_strdup(one->text);
}

static void body_of_every_kind__is_read_or_not(void **state)
{
    (void)state;
    for (one = bodies; one < bodies + TW_LEN(bodies); one++)
        tw_torture(&(struct tw_torture){.name = one->name, .before = body_text, .run = read_body, .after = free});
}

static void wrong_body__is_told_all_that_is_wrong(void **state)
{
    static const struct body wrong = {
        "a wrong body", read_product_create,
        "{\"sku\":\"\",\"price\":1.5,\"category\":\"shirts\",\"tags\":[1],\"no~/such\":1}"};

    (void)state;
    one = &wrong;
    tw_torture(&(struct tw_torture){
        .name = one->name, .gives = TW_INVALID, .before = body_text, .run = read_body, .after = free});
}

/* --- and back ----------------------------------------------------------------------------------------------------- */

static enum tw_rc write_reply(void *world, struct tw_err *reterr)
{
    static const uint8_t                   key[TW_OPAQUE_KEY_BYTES] = {1};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    TW_AUTO(tw_buf_done) struct tw_buf     out = {0};
    TW_AUTO(tw_reply_done) struct tw_reply reply = {0};
    struct tw_request                      request = {.path = TW_STR("/v1/\"cart\""), .arena = &arena};
    struct tw_field_errors                 errors = {.count = 0};

    (void)world;
    (void)reterr;
    tw_field_errors_add(&errors, &arena, TW_STR("/quantity"), TW_BODY_OUT_OF_RANGE, "must be 1 to 999");
    tw_reply_reset(&reply);
    tw_reply_problem(&reply, &request, TW_PROBLEM_MALFORMED_REQUEST, TW_STR("a detail"), &errors);
    tw_reply_field(&reply, "X-More", tw_cursor_seal(key, TW_STR("list"), TW_STR("position"), &arena));
    tw_reply_render(&reply, "Mon, 23 Nov 2026 10:00:00 GMT", false, false, &out);
    tw_torture_answer((struct tw_str){out.ptr, 12}); /* a cursor is sealed with another nonce each time */
    return TW_OK;
}

static void reply__is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "a reply", .run = write_reply});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token__is_signed_or_not),
        cmocka_unit_test(good_token__is_never_called_bad),
        cmocka_unit_test(bad_token__is_never_called_good),
        cmocka_unit_test(keys__are_read_and_published_or_not),
        cmocka_unit_test(right_password__is_never_called_wrong),
        cmocka_unit_test(good_request__becomes_its_record_or_none),
        cmocka_unit_test(body_of_every_kind__is_read_or_not),
        cmocka_unit_test(wrong_body__is_told_all_that_is_wrong),
        cmocka_unit_test(reply__is_written_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
