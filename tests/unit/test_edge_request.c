/* Links: tw_test PkgConfig::JANSSON */
#include "request.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_cut.h"
#include "tillwire/clock.h"
#include "unit.h"

static struct tw_arena    arena;
static struct tw_http_cut head_cut; /* the head, cut as the HTTP library cuts it */

static const struct tw_request_limits limits = {
    .uri_bytes = 2048, .headers_bytes = 8192, .body_bytes = 65536, .batch_bytes = 1048576, .deadline_ms = 10000};

static int setup(void **state)
{
    (void)state;
    head_cut = (struct tw_http_cut){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_http_cut_done(&head_cut);
    tw_arena_done(&arena);
    return 0;
}

/** What the HTTP library refuses by itself is answered alike. */
static enum tw_problem parse_within(const char *head, const struct tw_request_limits *within,
                                    struct tw_request *ret_request, const char **ret_detail)
{
    tw_http_cut_done(&head_cut);
    tw_arena_reset(&arena);
    *ret_request = (struct tw_request){.limits = within, .arena = &arena};
    if (!tw_http_cut(tw_str_of(head), &head_cut))
        return TW_PROBLEM_MALFORMED_REQUEST;
    return tw_request_parse(&head_cut.raw, ret_request, ret_detail);
}

static enum tw_problem parse(const char *head, struct tw_request *ret_request)
{
    const char *detail = NULL;

    return parse_within(head, &limits, ret_request, &detail);
}

static void assert_refused(const char *head, enum tw_problem expected)
{
    struct tw_request request;
    enum tw_problem   problem = parse(head, &request);

    if (problem != expected)
        fail_msg("'%s' for %s", tw_problem_code(problem), head);
}

#define HEAD(line) line " HTTP/1.1\r\nHost: a\r\n\r\n"

/* --- framing ------------------------------------------------------------------------------------------------------ */

static void plain_request__is_taken(void **state)
{
    struct tw_request request;

    (void)state;
    assert_int_equal(parse("POST /v1/cart/items?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n"
                           "Content-Type: application/json  \r\n\r\n",
                           &request),
                     TW_PROBLEM_NONE);
    assert_int_equal(request.method, TW_METHOD_POST);
    assert_str(request.path, "/v1/cart/items");
    assert_str(request.query, "a=b");
    assert_int_equal(request.segment_count, 3);
    assert_str(request.segments[2], "items");
    assert_int_equal(request.content_length, 12);
    assert_str(request.fields[TW_HEADER_CONTENT_TYPE], "application/json");
    assert_true(request.keep_alive);
}

static void unclear_length__is_refused(void **state)
{
    static const char *const lengths[] = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 1,1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length : 1\r\n",
    };
    char head[256];

    (void)state;
    for (size_t i = 0; i < TW_LEN(lengths); i++) {
        snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", lengths[i]);
        assert_refused(head, TW_PROBLEM_MALFORMED_REQUEST);
    }
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TW_PROBLEM_MALFORMED_REQUEST);
    assert_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", TW_PROBLEM_TOO_LARGE);
}

static void host__must_stand_once(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1\r\nX: a\r\n\r\n", TW_PROBLEM_MALFORMED_REQUEST);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", TW_PROBLEM_MALFORMED_REQUEST);
    assert_refused("GET / HTTP/1.0\r\nX: a\r\n\r\n", TW_PROBLEM_NONE);
    assert_refused("GET / HTTP/1.0\r\n\r\n", TW_PROBLEM_NONE);
}

static void host__is_a_host_and_perhaps_a_port(void **state)
{
    static const char *const good[] = {"a", "shop.example:8443", "127.0.0.1:8080", "[::1]:8080", "a_b.example"};
    static const char *const bad[] = {"", "a b", "a,b", "a/b", "u@a", "a?b", "a#b", "a\\b", "\xc3\xa4", "a\x7f"};
    char                     head[200];

    (void)state;
    for (size_t i = 0; i < TW_LEN(good); i++) {
        struct tw_request request;
        snprintf(head, sizeof(head), "GET /v1/cart HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        assert_int_equal(parse(head, &request), TW_PROBLEM_NONE);
    }
    for (size_t i = 0; i < TW_LEN(bad); i++) {
        snprintf(head, sizeof(head), "GET /v1/cart HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        assert_refused(head, TW_PROBLEM_MALFORMED_REQUEST);
    }
}

static void field_names__are_tokens(void **state)
{
    struct tw_request request;

    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nX-1_!#$%&'*+.^`|~: b\r\n\r\n", &request), TW_PROBLEM_NONE);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nX(a): b\r\n\r\n", TW_PROBLEM_MALFORMED_REQUEST);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length/: 5\r\n\r\n", TW_PROBLEM_MALFORMED_REQUEST);
}

static void absolute_uri__names_a_host_and_a_path_in_front_of_its_query(void **state)
{
    static const char *const bad[] = {"http://a?b/v1/cart", "http://a?b:8080/v1/cart", "http://u@a/v1/cart",
                                      "http:///v1/cart", "http://a#/v1/cart"};
    struct tw_request        request;
    char                     head[200];

    (void)state;
    assert_int_equal(parse("GET http://a:8080/v1/cart?b=/c HTTP/1.1\r\nHost: a\r\n\r\n", &request), TW_PROBLEM_NONE);
    assert_str(request.path, "/v1/cart");
    assert_str(request.query, "b=/c");
    for (size_t i = 0; i < TW_LEN(bad); i++) {
        snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", bad[i]);
        assert_refused(head, TW_PROBLEM_MALFORMED_REQUEST);
    }
}

static void credentials__must_not_stand_twice(void **state)
{
    (void)state;
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n",
                   TW_PROBLEM_MALFORMED_REQUEST);
}

static void bare_line_feeds_and_folds__are_seen_in_what_the_library_left(void **state)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\nContent-Length: 5\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /?a  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n:b\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.0\r\n:b\r\nContent-Length: 5\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(heads); i++)
        assert_refused(heads[i], TW_PROBLEM_MALFORMED_REQUEST);
}

static char *head_with(size_t field_count, size_t value_len)
{
    struct tw_buf head = {0};

    tw_buf_printf(&head, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < field_count; i++)
        tw_buf_printf(&head, "X: %0*d\r\n", (int)value_len, 0);
    tw_buf_add(&head, "\r\n", 3);
    return head.ptr;
}

static void fields__are_64_and_8_kib_at_most(void **state)
{
    struct {
        size_t          count;
        size_t          len;
        enum tw_problem expected;
    } cases[] = {
        {63, 1, TW_PROBLEM_NONE},
        {64, 1, TW_PROBLEM_HEADERS_TOO_LARGE},
        {8, 1000, TW_PROBLEM_NONE},
        {9, 1000, TW_PROBLEM_HEADERS_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(cases); i++) {
        char *head = head_with(cases[i].count, cases[i].len);
        assert_refused(head, cases[i].expected);
        free(head);
    }
}

static void spaces_in_front_of_a_value__are_counted(void **state)
{
    char head[9000];

    (void)state;
    snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: a\r\nX: %8200s\r\n\r\n", "");
    assert_refused(head, TW_PROBLEM_HEADERS_TOO_LARGE);
}

static void uri__has_2_kib_at_most(void **state)
{
    char head[4096];

    (void)state;
    snprintf(head, sizeof(head), "GET /%02047d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    assert_refused(head, TW_PROBLEM_NONE);
    snprintf(head, sizeof(head), "GET /%02048d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    assert_refused(head, TW_PROBLEM_URI_TOO_LONG);
    snprintf(head, sizeof(head), "GET /?%02047d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    assert_refused(head, TW_PROBLEM_URI_TOO_LONG);
}

static void limits__are_those_of_the_settings_and_are_told(void **state)
{
    static const struct tw_request_limits small = {.uri_bytes = 10, .headers_bytes = 50};
    static const struct {
        const char     *head;
        enum tw_problem problem;
        const char     *detail;
    } rows[] = {
        {"GET /123456789 HTTP/1.1\r\nHost: a\r\n\r\n", TW_PROBLEM_NONE, ""},
        {"GET /123?56789 HTTP/1.1\r\nHost: a\r\n\r\n", TW_PROBLEM_NONE, ""},
        {"GET /123?567890 HTTP/1.1\r\nHost: a\r\n\r\n", TW_PROBLEM_URI_TOO_LONG, "a URI has at most 10 bytes"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890123456789012345678901234567\r\n\r\n", TW_PROBLEM_HEADERS_TOO_LARGE,
         "the header fields take more than 50 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_request request;
        const char       *detail = "";
        assert_int_equal(parse_within(rows[i].head, &small, &request, &detail), rows[i].problem);
        assert_string_equal(detail, rows[i].detail);
    }
}

static void connection__is_kept_as_the_version_and_the_client_say(void **state)
{
    struct tw_request request;

    (void)state;
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &request);
    assert_false(request.keep_alive);
    parse("GET / HTTP/1.0\r\nHost: a\r\n\r\n", &request);
    assert_false(request.keep_alive);
    parse("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", &request);
    assert_true(request.keep_alive);
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, keep-alive\r\n\r\n", &request);
    assert_true(request.keep_alive);
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: not-keep-alive\r\n\r\n", &request);
    assert_false(request.keep_alive);
    parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n", &request);
    assert_false(request.keep_alive);
}

/* --- path --------------------------------------------------------------------------------------------------------- */

static void segments__are_decoded_one_by_one(void **state)
{
    struct tw_request request;

    (void)state;
    assert_int_equal(parse(HEAD("GET /v1/%63art/a%20b/%C3%A9/"), &request), TW_PROBLEM_NONE);
    assert_int_equal(request.segment_count, 5);
    assert_str(request.segments[1], "cart");
    assert_str(request.segments[2], "a b");
    assert_str(request.segments[3], "\xc3\xa9");
    assert_str(request.segments[4], "");
}

static void dangerous_paths__are_refused(void **state)
{
    static const char *const lines[] = {
        HEAD("GET /v1/../cart"),   HEAD("GET /v1/./cart"), HEAD("GET /v1/%2e%2e/cart"), HEAD("GET /v1/.%2E/cart"),
        HEAD("GET /v1%2Fcart"),    HEAD("GET /v1%2fcart"), HEAD("GET /v1/%00"),         HEAD("GET /v1/%0d%0aX"),
        HEAD("GET /v1/%"),         HEAD("GET /v1/%4"),     HEAD("GET /v1/%4g"),         HEAD("GET /v1/%c3"),
        HEAD("GET /v1/%ed%a0%80"), HEAD("GET v1/cart"),    HEAD("GET /v1/cart/.."),     HEAD("GET /v1/%7f"),
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(lines); i++)
        assert_refused(lines[i], TW_PROBLEM_MALFORMED_REQUEST);
    assert_refused(HEAD("GET /1/2/3/4/5/6/7/8/9"), TW_PROBLEM_NOT_FOUND);
}

static void query__is_found_by_name_and_decoded(void **state)
{
    struct tw_request request;
    struct tw_str     value;

    (void)state;
    parse(HEAD("GET /?xat=1&at=a%2Fb+c&empty=&bad=%4&&"), &request);
    assert_int_equal(tw_request_query(&request, "at", &value), TW_QUERY_OK);
    assert_str(value, "a/b c");
    assert_int_equal(tw_request_query(&request, "xat", &value), TW_QUERY_OK);
    assert_int_equal(tw_request_query(&request, "empty", &value), TW_QUERY_OK);
    assert_int_equal(value.len, 0);
    assert_int_equal(tw_request_query(&request, "t", &value), TW_QUERY_ABSENT);
    assert_int_equal(tw_request_query(&request, "a", &value), TW_QUERY_ABSENT);
    assert_int_equal(tw_request_query(&request, "bad", &value), TW_QUERY_BAD_ENCODING);
    parse(HEAD("GET /"), &request);
    assert_int_equal(tw_request_query(&request, "at", &value), TW_QUERY_ABSENT);
}

static void query__that_stands_twice_or_has_no_value_is_told(void **state)
{
    struct tw_request request;
    struct tw_str     value;

    (void)state;
    parse(HEAD("GET /?a=1&b&a=1&c=1&c&d&d=1"), &request);
    assert_int_equal(tw_request_query(&request, "a", &value), TW_QUERY_REPEATED);
    assert_int_equal(tw_request_query(&request, "b", &value), TW_QUERY_NO_VALUE);
    assert_int_equal(tw_request_query(&request, "c", &value), TW_QUERY_REPEATED);
    assert_int_equal(tw_request_query(&request, "d", &value), TW_QUERY_NO_VALUE);
}

/* --- body --------------------------------------------------------------------------------------------------------- */

struct source {
    const char *text;
    size_t      at;
    size_t      longest; /* read asked for */
    bool        fails;
};

static int read_source(void *self, void *to, size_t len)
{
    struct source *source = self;
    size_t         left = strlen(source->text) - source->at;
    size_t         n = len < left ? len : left;

    source->longest = len > source->longest ? len : source->longest;
    if (n == 0)
        return source->fails ? -1 : 0;
    memcpy(to, source->text + source->at, n);
    source->at += n;
    return (int)n;
}

static enum tw_problem read_body(struct tw_request *request, struct source *source, int64_t length, size_t max)
{
    const char *detail = NULL;

    tw_arena_reset(&arena);
    *request = (struct tw_request){
        .limits = &limits, .arena = &arena, .content_length = length, .start_us = tw_monotonic_us()};
    return tw_request_read_body(request, max, read_source, source, &detail);
}

static void body__is_read_whole_up_to_its_cap(void **state)
{
    struct tw_request request;

    (void)state;
    assert_int_equal(read_body(&request, &(struct source){.text = "0123456789rest"}, 10, 10), TW_PROBLEM_NONE);
    assert_str(request.body, "0123456789");
    assert_int_equal(read_body(&request, &(struct source){.text = "01234567890"}, 11, 10), TW_PROBLEM_TOO_LARGE);
    assert_int_equal(read_body(&request, &(struct source){.text = "0123"}, 10, 10), TW_PROBLEM_MALFORMED_REQUEST);
    assert_int_equal(read_body(&request, &(struct source){.text = "0123456789"}, -1, 10), TW_PROBLEM_NONE);
    assert_str(request.body, "0123456789");
    assert_int_equal(read_body(&request, &(struct source){.text = "01234567890"}, -1, 10), TW_PROBLEM_TOO_LARGE);
    assert_int_equal(read_body(&request, &(struct source){.text = "0", .fails = true}, -1, 10),
                     TW_PROBLEM_MALFORMED_REQUEST);
}

static void body__is_not_waited_for_beyond_the_deadline(void **state)
{
    struct tw_request request = {.limits = &limits, .arena = &arena, .content_length = 3};
    struct source     source = {.text = "abc"};
    const char       *detail = NULL;

    (void)state;
    request.start_us = tw_monotonic_us() - INT64_C(1000) * limits.deadline_ms - 1;
    assert_int_equal(tw_request_read_body(&request, 10, read_source, &source, &detail), TW_PROBLEM_REQUEST_TIMEOUT);
    assert_int_equal(source.at, 0);
}

static int read_slowly(void *self, void *to, size_t len)
{
    struct timespec pause = {0, 5000000};

    nanosleep(&pause, NULL);
    return read_source(self, to, len);
}

static void dripping_client__is_asked_for_one_byte_at_a_time(void **state)
{
    struct tw_request request = {
        .limits = &limits, .arena = &arena, .content_length = 20, .start_us = tw_monotonic_us()};
    struct source source = {.text = "01234567890123456789"};
    const char   *detail = NULL;

    (void)state;
    assert_int_equal(tw_request_read_body(&request, 100, read_slowly, &source, &detail), TW_PROBLEM_NONE);
    assert_int_equal(source.longest, 1);
}

static enum tw_problem json_by(enum tw_method method, const char *type, const char *body)
{
    struct tw_request request = {.limits = &limits, .arena = &arena, .method = method, .body = tw_str_of(body)};
    json_t           *json = NULL;
    const char       *detail = NULL;

    request.fields[TW_HEADER_CONTENT_TYPE] = tw_str_of(type);
    enum tw_problem problem = tw_request_json(&request, &json, &detail);
    json_decref(json);
    return problem;
}

static enum tw_problem json_of(const char *type, const char *body)
{
    return json_by(TW_METHOD_POST, type, body);
}

static void json__is_taken_only_when_it_is_json_in_utf8(void **state)
{
    static const char *const wrong[] = {
        "{\"a\":1,\"a\":2}", "{} x",      "{\"a\":\"\xff\"}", "{\"a\":\"\\u0000\"}", "", "{", "1", "\"x\"",
        "{'a':1}",           "{\"a\":01}"};
    char deep[80];

    (void)state;
    assert_int_equal(json_of("application/json", "{\"a\":[1]}"), TW_PROBLEM_NONE);
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_int_equal(json_of("application/json", wrong[i]), TW_PROBLEM_MALFORMED_REQUEST);
    snprintf(deep, sizeof(deep), "%.32s%.32s", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
             "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    assert_int_equal(json_of("application/json", deep), TW_PROBLEM_NONE);
    snprintf(deep, sizeof(deep), "%.33s%.33s", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
             "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    assert_int_equal(json_of("application/json", deep), TW_PROBLEM_MALFORMED_REQUEST);
}

/* The value that is read at `a` of a body that is read. */
static json_t *member_of(const char *body)
{
    struct tw_request request = {.limits = &limits, .arena = &arena, .body = tw_str_of(body)};
    json_t           *json = NULL;
    const char       *detail = "";

    request.fields[TW_HEADER_CONTENT_TYPE] = TW_STR("application/json");
    assert_int_equal(tw_request_json(&request, &json, &detail), TW_PROBLEM_NONE);
    json_t *member = json_incref(json_object_get(json, "a"));
    json_decref(json);
    return member;
}

static void number__that_nothing_holds_is_read_as_one_that_nothing_takes(void **state)
{
    static const char *const bodies[] = {"{\"a\":1e400}", "{\"b\":\"\\\"1e400\",\"a\":-1E+400}",
                                         "{\"a\":99999999999999999999}", "{\"a\": 1.5e999 ,\"b\":[1e999]}"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(bodies); i++) {
        json_t *member = member_of(bodies[i]);
        assert_true(json_is_real(member));
        json_decref(member);
    }
    json_t *member = member_of("{\"b\":1e400,\"a\":\"12345678901234567890 1e5 \\\\\"}");
    assert_string_equal(json_string_value(member), "12345678901234567890 1e5 \\"); /* texts stay */
    json_decref(member);
    assert_int_equal(json_of("application/json", "{\"a\":1e400"), TW_PROBLEM_MALFORMED_REQUEST);
    assert_int_equal(json_of("application/json", "{\"a\":1e400}{"), TW_PROBLEM_MALFORMED_REQUEST);
    assert_int_equal(json_of("application/json", "[1e400,\"\\"), TW_PROBLEM_MALFORMED_REQUEST);
}

static void content_type__must_be_json(void **state)
{
    (void)state;
    assert_int_equal(json_of("Application/JSON; charset=UTF-8", "{}"), TW_PROBLEM_NONE);
    assert_int_equal(json_of("application/json;charset=\"utf-8\"", "{}"), TW_PROBLEM_NONE);
    assert_int_equal(json_of("application/jsonx", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(json_of("application/jsoncharset=utf-8", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(json_of("application/json; charset=latin1", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(json_of("text/plain", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(json_of("", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
}

static void merge_patch__is_a_content_type_of_patch_only(void **state)
{
    (void)state;
    assert_int_equal(json_by(TW_METHOD_PATCH, "application/merge-patch+json", "{}"), TW_PROBLEM_NONE);
    assert_int_equal(json_by(TW_METHOD_PATCH, "application/merge-patch+json; charset=utf-8", "{}"), TW_PROBLEM_NONE);
    assert_int_equal(json_by(TW_METHOD_PATCH, "application/json", "{}"), TW_PROBLEM_NONE);
    assert_int_equal(json_by(TW_METHOD_PATCH, "application/json-patch+json", "[]"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    assert_int_equal(json_of("application/merge-patch+json", "{}"), TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE);
}

/* --- smaller things ----------------------------------------------------------------------------------------------- */

static int wait_of(const char *prefer)
{
    struct tw_request request = {0};

    request.fields[TW_HEADER_PREFER] = tw_str_of(prefer);
    return tw_request_wait_s(&request);
}

static void preference__is_read_as_rfc_7240_says(void **state)
{
    (void)state;
    assert_int_equal(wait_of("wait=5"), 5);
    assert_int_equal(wait_of("respond-async, WAIT=3; foo"), 3);
    assert_int_equal(wait_of("wait=0"), 0);
    assert_int_equal(wait_of("wait=10"), 10);
    assert_int_equal(wait_of("wait=11"), 10);
    assert_int_equal(wait_of("wait=2, wait=9"), 2);
    assert_int_equal(wait_of("wait=99999999999999999999"), -1);
    assert_int_equal(wait_of("wait=\"5\""), 5);
    assert_int_equal(wait_of("wait=\"\""), -1);
    assert_int_equal(wait_of("wait=\""), -1);
    assert_int_equal(wait_of("wait=5\""), -1);
    assert_int_equal(wait_of("wait=-1"), -1);
    assert_int_equal(wait_of("wait=x"), -1);
    assert_int_equal(wait_of("wait"), -1);
    assert_int_equal(wait_of("nowait=5"), -1);
    assert_int_equal(wait_of(NULL), -1);
}

static void trace__goes_on_when_the_client_began_a_good_one(void **state)
{
    static const char        given[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const later[] = {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0b-what-will-be"};
    static const char *const wrong[] = {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                        "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                                        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
                                        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                        "",
                                        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"};
    struct tw_request        request = {0};

    (void)state;
    request.fields[TW_HEADER_TRACEPARENT] = tw_str_of(given);
    tw_request_trace(&request, (uint64_t[3]){1, 2, 0x123});
    assert_string_equal(request.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_string_equal(request.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000123-01");
    for (size_t i = 0; i < TW_LEN(later); i++) {
        request.fields[TW_HEADER_TRACEPARENT] = tw_str_of(later[i]);
        tw_request_trace(&request, (uint64_t[3]){1, 2, 0x123});
        assert_string_equal(request.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000123-01");
    }
    request.fields[TW_HEADER_TRACEPARENT] = TW_STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe");
    tw_request_trace(&request, (uint64_t[3]){1, 2, 0x123});
    assert_string_equal(request.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000123-00");
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        request.fields[TW_HEADER_TRACEPARENT] = tw_str_of(wrong[i]);
        tw_request_trace(&request, (uint64_t[3]){0xab, 0xcd, 0xef});
        assert_string_equal(request.traceparent, "00-00000000000000ab00000000000000cd-00000000000000ef-00");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(plain_request__is_taken),
        TEST(unclear_length__is_refused),
        TEST(host__must_stand_once),
        TEST(host__is_a_host_and_perhaps_a_port),
        TEST(field_names__are_tokens),
        TEST(absolute_uri__names_a_host_and_a_path_in_front_of_its_query),
        TEST(credentials__must_not_stand_twice),
        TEST(bare_line_feeds_and_folds__are_seen_in_what_the_library_left),
        TEST(fields__are_64_and_8_kib_at_most),
        TEST(spaces_in_front_of_a_value__are_counted),
        TEST(uri__has_2_kib_at_most),
        TEST(limits__are_those_of_the_settings_and_are_told),
        TEST(connection__is_kept_as_the_version_and_the_client_say),
        TEST(segments__are_decoded_one_by_one),
        TEST(dangerous_paths__are_refused),
        TEST(query__is_found_by_name_and_decoded),
        TEST(query__that_stands_twice_or_has_no_value_is_told),
        TEST(body__is_read_whole_up_to_its_cap),
        TEST(body__is_not_waited_for_beyond_the_deadline),
        TEST(dripping_client__is_asked_for_one_byte_at_a_time),
        TEST(json__is_taken_only_when_it_is_json_in_utf8),
        TEST(number__that_nothing_holds_is_read_as_one_that_nothing_takes),
        TEST(content_type__must_be_json),
        TEST(merge_patch__is_a_content_type_of_patch_only),
        TEST(preference__is_read_as_rfc_7240_says),
        TEST(trace__goes_on_when_the_client_began_a_good_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
