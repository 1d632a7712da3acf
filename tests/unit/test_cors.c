#include "cors.h"

#include <string.h>

#include "unit.h"

static struct tw_cors    cors;
static struct tw_reply   reply;
static struct tw_request request;

static int setup(void **state)
{
    struct tw_err err = {0};

    (void)state;
    tw_reply_reset(&reply);
    request = (struct tw_request){.method = TW_METHOD_GET};
    assert_rc(tw_cors_parse("https://shop.example, http://localhost:3000", &cors, &err), TW_OK, err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reply_done(&reply);
    return 0;
}

static bool has(const char *text)
{
    return reply.fields.len > 0 && memmem(reply.fields.ptr, reply.fields.len, text, strlen(text));
}

static void come_from(const char *origin)
{
    request.fields[TW_HEADER_ORIGIN] = tw_str_of(origin);
}

static void ask_before(const char *method)
{
    request.method = TW_METHOD_OPTIONS;
    request.fields[TW_HEADER_REQUEST_METHOD] = tw_str_of(method);
}

static void listed_origin__may_read_the_answer_and_its_fields(void **state)
{
    (void)state;
    come_from("http://localhost:3000");
    tw_cors_fields(&cors, &request, &reply);
    assert_true(has("Vary: Origin\r\n"));
    assert_true(has("Access-Control-Allow-Origin: http://localhost:3000\r\n"));
    assert_true(has("Access-Control-Expose-Headers: Location, ETag, Link, Retry-After, Consistency-Token, Consistency, "
                    "Idempotent-Replayed, Preference-Applied, Age, RateLimit, RateLimit-Policy"));
    assert_false(has("Credentials"));
}

static void other_origins__get_no_field_but_vary(void **state)
{
    static const char *const others[] = {
        "https://shop.example.evil.example",
        "https://evil-shop.example",
        "http://shop.example",
        "https://shop.example:1",
        "https://shop.example/",
        "https://SHOP.example",
        "https://shop.exampl",
        "null",
        "*",
        "",
        "http://localhost:3000, https://shop.example",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(others); i++) {
        tw_reply_reset(&reply);
        come_from(others[i]);
        tw_cors_fields(&cors, &request, &reply);
        assert_str(tw_buf_str(&reply.fields), "Vary: Origin\r\n");
    }
    tw_reply_reset(&reply);
    come_from(NULL);
    tw_cors_fields(&cors, &request, &reply);
    assert_str(tw_buf_str(&reply.fields), "Vary: Origin\r\n");
}

static void preflight__of_a_listed_origin_is_answered(void **state)
{
    (void)state;
    come_from("https://shop.example");
    ask_before("PUT");
    assert_true(tw_cors_preflight(&cors, &request, "PUT, DELETE", &reply));
    tw_cors_fields(&cors, &request, &reply);
    assert_int_equal(reply.status, 204);
    assert_true(has("Access-Control-Allow-Origin: https://shop.example\r\n"));
    assert_true(has("Access-Control-Allow-Methods: PUT, DELETE\r\n"));
    assert_true(has("Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, If-Match, "
                    "If-None-Match, Prefer, Consistency-Token, Last-Event-ID"));
    assert_true(has("Access-Control-Max-Age: 600\r\n"));
    assert_true(has("Vary: Origin\r\n"));
}

static void preflight__of_others_and_plain_options_are_not(void **state)
{
    (void)state;
    come_from("https://evil.example");
    ask_before("PUT");
    assert_false(tw_cors_preflight(&cors, &request, "PUT", &reply));
    come_from("https://shop.example");
    ask_before(NULL);
    assert_false(tw_cors_preflight(&cors, &request, "PUT", &reply));
    ask_before("PUT");
    request.method = TW_METHOD_GET;
    assert_false(tw_cors_preflight(&cors, &request, "PUT", &reply));
    assert_int_equal(reply.fields.len, 0);
}

static void nothing__is_said_when_no_origin_is_listed(void **state)
{
    struct tw_err err = {0};

    (void)state;
    assert_rc(tw_cors_parse("", &cors, &err), TW_OK, err);
    come_from("https://shop.example");
    tw_cors_fields(&cors, &request, &reply);
    ask_before("GET");
    assert_false(tw_cors_preflight(&cors, &request, "GET", &reply));
    assert_int_equal(reply.fields.len, 0);
}

static void wrong__lists_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *list, *message;
    } rows[] = {
        {"*", "'*' does not start with https:// or http:// and a host (a list is exact: there is no '*')"},
        {"null", "'null' does not start with https:// or http:// and a host (a list is exact: there is no '*')"},
        {"https://",
         "'https://' does not start with https:// or http:// and a host (a list is exact: there is no '*')"},
        {"https://a.example,", NULL},
        {"https://a.example,,b",
         "'' does not start with https:// or http:// and a host (a list is exact: there is no '*')"},
        {"https://*.a.example", "'https://*.a.example' has more than a scheme, a host in lower case and a port"},
        {"https://a.example/", "'https://a.example/' has more than a scheme, a host in lower case and a port"},
        {"https://A.example", "'https://A.example' has more than a scheme, a host in lower case and a port"},
        {"https://a.example https://b",
         "'https://a.example https://b' has more than a scheme, a host in lower case and a port"},
        {"https://a.example:443", "'https://a.example:443' names its scheme's own port, which browsers leave out"},
        {"http://a.example:80", "'http://a.example:80' names its scheme's own port, which browsers leave out"},
        {"http://a.example:443", NULL},
        {"http://[::1]:3000", NULL},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_err err = {0};
        enum tw_rc    rc = tw_cors_parse(rows[i].list, &cors, &err);
        assert_int_equal(rc, rows[i].message ? TW_INVALID : TW_OK);
        if (rows[i].message)
            assert_string_equal(err.msg, rows[i].message);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(listed_origin__may_read_the_answer_and_its_fields), TEST(other_origins__get_no_field_but_vary),
        TEST(preflight__of_a_listed_origin_is_answered),         TEST(preflight__of_others_and_plain_options_are_not),
        TEST(nothing__is_said_when_no_origin_is_listed),         TEST(wrong__lists_are_refused_with_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
