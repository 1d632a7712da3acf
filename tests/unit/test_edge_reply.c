/* Links: PkgConfig::JANSSON */
#include "reply.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/json_out.h"
#include "request.h"
#include "tillwire/body.h"
#include "unit.h"

static const char        date[] = "Mon, 23 Nov 2026 10:00:00 GMT";
static struct tw_reply   reply;
static struct tw_buf     out;
static struct tw_request request = {.path = {"/v1/\"cart\"", 10}, .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"};

static int setup(void **state)
{
    (void)state;
    tw_reply_reset(&reply);
    tw_buf_clear(&out);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reply_done(&reply);
    tw_buf_done(&out);
    return 0;
}

static const char *rendered(bool head_only, bool http_1_0)
{
    tw_buf_clear(&out);
    tw_reply_render(&reply, date, head_only, http_1_0, &out);
    tw_buf_add(&out, "", 1);
    return out.ptr;
}

static void answer__is_one_run_of_head_and_body(void **state)
{
    struct tw_json json = {&reply.body, false};

    (void)state;
    tw_reply_json(&reply, 200);
    tw_json_open(&json, '{');
    tw_json_close(&json, '}');
    tw_reply_field(&reply, "X-More", TW_STR("1"));
    assert_string_equal(
        rendered(false, false),
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nX-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\n"
        "Cache-Control: no-store\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n"
        "X-More: 1\r\n\r\n{}");
}

static void head__tells_the_length_and_has_no_body(void **state)
{
    (void)state;
    tw_reply_json(&reply, 200);
    reply.fixed_body = TW_STR("{\"a\":1}");
    assert_non_null(strstr(rendered(true, false), "Content-Length: 7\r\n"));
    assert_null(strstr(out.ptr, "{"));
}

static void policy__of_a_page_stands_instead_of_the_usual_one_and_not_in_a_problem(void **state)
{
    (void)state;
    tw_reply_json(&reply, 200);
    reply.policy = TW_STR("default-src 'self'");
    assert_non_null(strstr(rendered(false, false), "Content-Security-Policy: default-src 'self'\r\n"));
    assert_null(strstr(out.ptr, "'none'"));
    tw_reply_refuse(&reply, &request, TW_PROBLEM_NOT_FOUND, "");
    assert_non_null(strstr(rendered(false, false), "Content-Security-Policy: default-src 'none'\r\n"));
}

static void not_modified__keeps_its_fields_and_tells_no_length(void **state)
{
    struct tw_json json = {&reply.body, false};

    (void)state;
    tw_reply_json(&reply, 200);
    tw_json_int(&json, 1);
    tw_reply_field(&reply, "ETag", TW_STR("\"1.ab\""));
    tw_reply_not_modified(&reply);
    const char *text = rendered(false, false);
    assert_non_null(strstr(text, "HTTP/1.1 304 Not Modified\r\n"));
    assert_non_null(strstr(text, "\r\nETag: \"1.ab\"\r\n"));
    assert_null(strstr(text, "Content-Length"));
    assert_null(strstr(text, "\r\nContent-Type"));
    assert_string_equal(text + strlen(text) - 4, "\r\n\r\n");
}

static void no_content__has_neither_body_nor_length(void **state)
{
    (void)state;
    tw_buf_add(&reply.body, "left over", 9);
    tw_reply_empty(&reply);
    assert_null(strstr(rendered(false, false), "Content-Length"));
    assert_null(strstr(out.ptr, "\r\nContent-Type:"));
    assert_null(strstr(out.ptr, "left over"));
}

static void nothing(struct tw_request *of, void *self, const struct tw_stream_out *to)
{
    (void)of, (void)self, (void)to;
}

/** Its end is that of the connection. */
static void stream__tells_no_length(void **state)
{
    (void)state;
    reply.status = 200;
    reply.content_type = "text/event-stream";
    reply.stream = nothing;
    reply.close = true;
    assert_null(strstr(rendered(false, false), "Content-Length"));
    assert_non_null(strstr(rendered(false, false), "Connection: close\r\n"));
    tw_reply_reset(&reply);
    assert_null(reply.stream);
}

static void connection__is_spoken_of_only_when_it_differs_from_the_version(void **state)
{
    (void)state;
    tw_reply_json(&reply, 200);
    assert_null(strstr(rendered(false, false), "Connection"));
    assert_non_null(strstr(rendered(false, true), "Connection: keep-alive\r\n"));
    reply.close = true;
    assert_non_null(strstr(rendered(false, true), "Connection: close\r\n"));
}

static void every_problem__has_its_status_line(void **state)
{
    (void)state;
#define X(name, code, http, title)                                                       \
    if (TW_PROBLEM_##name != TW_PROBLEM_NONE) {                                          \
        char expected[32];                                                               \
        snprintf(expected, sizeof(expected), "HTTP/1.1 %d ", http);                      \
        tw_reply_reset(&reply);                                                          \
        tw_reply_problem(&reply, &request, TW_PROBLEM_##name, (struct tw_str){0}, NULL); \
        assert_memory_equal(rendered(false, false), expected, strlen(expected));         \
    }
    TW_PROBLEM_MAP(X)
#undef X
}

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void problem__is_a_document_of_rfc_9457(void **state)
{
    struct tw_field_errors errors = {.count = 1,
                                     .items = {{TW_STR("/quantity"), TW_STR("out-of-range"), TW_STR("must be \"1\"")}}};

    (void)state;
    tw_buf_add(&reply.body, "half written", 12);
    tw_reply_problem(&reply, &request, TW_PROBLEM_INVALID_BODY, TW_STR("no \"good\"\n"), &errors);
    json_t *document = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    assert_non_null(document);
    assert_string_equal(reply.content_type, "application/problem+json");
    assert_string_equal(text(document, "type"), "/problems/invalid-body");
    assert_string_equal(text(document, "title"), "The body does not fit the schema");
    assert_int_equal(json_integer_value(json_object_get(document, "status")), 422);
    assert_string_equal(text(document, "detail"), "no \"good\"\n");
    assert_string_equal(text(document, "instance"), "/v1/\"cart\"");
    assert_string_equal(text(document, "code"), "invalid-body");
    assert_string_equal(text(document, "trace_id"), request.trace_id);
    const json_t *error = json_array_get(json_object_get(document, "errors"), 0);
    assert_string_equal(text(error, "pointer"), "/quantity");
    assert_string_equal(text(error, "detail"), "must be \"1\"");
    json_decref(document);
}

static void path_that_is_no_text__is_left_out_of_the_problem(void **state)
{
    struct tw_request broken = {.path = {"/\xff", 2}};

    (void)state;
    tw_reply_refuse(&reply, &broken, TW_PROBLEM_MALFORMED_REQUEST, "x");
    tw_buf_add(&reply.body, "", 1);
    assert_non_null(strstr(reply.body.ptr, "\"instance\":\"\""));
}

static void unauthenticated__names_the_scheme(void **state)
{
    (void)state;
    tw_reply_refuse(&reply, &request, TW_PROBLEM_UNAUTHENTICATED, "");
    assert_non_null(strstr(rendered(false, false), "WWW-Authenticate: Bearer\r\n"));
}

static void json__gets_its_commas_and_escapes(void **state)
{
    struct tw_json json = {&out, false};

    (void)state;
    tw_json_open(&json, '{');
    tw_json_key(&json, "a");
    tw_json_open(&json, '[');
    tw_json_int(&json, -1);
    tw_json_bool(&json, true);
    tw_json_null(&json);
    tw_json_open(&json, '[');
    tw_json_close(&json, ']');
    tw_json_close(&json, ']');
    tw_json_key_text(&json, TW_STR("b\""));
    tw_json_text(&json, TW_STR("\\\"\n\x01\x7f/\xc3\xa9"));
    tw_json_key(&json, "m");
    tw_json_money(&json, 19900);
    tw_json_key(&json, "t");
    tw_json_time(&json, 0);
    tw_json_close(&json, '}');
    assert_str(tw_buf_str(&out), "{\"a\":[-1,true,null,[]],\"b\\\"\":\"\\\\\\\"\\u000a\\u0001\\u007f/\xc3\xa9\","
                                 "\"m\":\"199.00\",\"t\":\"1970-01-01T00:00:00.000Z\"}");
}

static void buffer__that_one_large_answer_blew_up_is_let_go(void **state)
{
    char bytes[4096] = {0};

    (void)state;
    tw_buf_clear(&out);
    tw_buf_add(&out, bytes, sizeof(bytes));
    tw_reply_let_go(&out);
    assert_int_equal(out.len, sizeof(bytes));
    while (out.len <= 262144)
        tw_buf_add(&out, bytes, sizeof(bytes));
    tw_reply_let_go(&out);
    assert_int_equal(out.cap, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answer__is_one_run_of_head_and_body),
        TEST(head__tells_the_length_and_has_no_body),
        TEST(policy__of_a_page_stands_instead_of_the_usual_one_and_not_in_a_problem),
        TEST(not_modified__keeps_its_fields_and_tells_no_length),
        TEST(no_content__has_neither_body_nor_length),
        TEST(stream__tells_no_length),
        TEST(connection__is_spoken_of_only_when_it_differs_from_the_version),
        TEST(every_problem__has_its_status_line),
        TEST(problem__is_a_document_of_rfc_9457),
        TEST(path_that_is_no_text__is_left_out_of_the_problem),
        TEST(unauthenticated__names_the_scheme),
        TEST(json__gets_its_commas_and_escapes),
        TEST(buffer__that_one_large_answer_blew_up_is_let_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
