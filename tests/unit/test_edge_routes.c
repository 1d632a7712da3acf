/* routes/all.c: the steps that many handlers share. */
/* Links: PkgConfig::JANSSON */
#include "routes/routes.h"

#include <jansson.h>
#include <string.h>

#include "unit.h"

static struct tw_edge    edge = {.opaque_key = {1, 2, 3}};
static struct tw_arena   arena;
static struct tw_reply   reply;
static struct tw_request request;

static int setup(void **state)
{
    (void)state;
    tw_reply_reset(&reply);
    request = (struct tw_request){.edge = &edge, .arena = &arena, .method = TW_METHOD_GET};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reply_done(&reply);
    tw_arena_done(&arena);
    return 0;
}

/* Answers with a body of version 7; returns its ETag. */
static const char *answer(int status)
{
    static char etag[64];
    const char *at;

    tw_reply_reset(&reply);
    tw_reply_json(&reply, status);
    tw_buf_add_str(&reply.body, TW_STR("{\"a\":1}"));
    tw_route_etag(&request, 7, &reply);
    tw_buf_add(&reply.fields, "", 1);
    at = strstr(reply.fields.ptr, "ETag: ");
    if (!at)
        return NULL;
    memcpy(etag, at + 6, strcspn(at + 6, "\r"));
    etag[strcspn(at + 6, "\r")] = '\0';
    return etag;
}

static void etag__of_a_read_that_knows_it_makes_a_304(void **state)
{
    (void)state;
    const char *etag = answer(200);
    assert_memory_equal(etag, "\"7.", 3);
    assert_int_equal(reply.status, 200);
    request.fields[TW_HEADER_IF_NONE_MATCH] = tw_arena_copy(&arena, tw_str_of(etag));
    assert_string_equal(answer(200), request.fields[TW_HEADER_IF_NONE_MATCH].ptr);
    assert_int_equal(reply.status, 304);
    assert_int_equal(reply.body.len, 0);
    request.method = TW_METHOD_HEAD;
    answer(200);
    assert_int_equal(reply.status, 304);
    request.fields[TW_HEADER_IF_NONE_MATCH] = TW_STR("\"6.00\"");
    answer(200);
    assert_int_equal(reply.status, 200);
}

static void etag__of_a_write_never_makes_a_304(void **state)
{
    (void)state;
    request.method = TW_METHOD_PATCH;
    request.fields[TW_HEADER_IF_NONE_MATCH] = TW_STR("*");
    assert_non_null(answer(200));
    assert_int_equal(reply.status, 200);
}

static void etag__is_not_given_to_a_refusal(void **state)
{
    (void)state;
    request.fields[TW_HEADER_IF_NONE_MATCH] = TW_STR("*");
    assert_null(answer(404));
    assert_int_equal(reply.status, 404);
}

static void faults_of(const char *body, struct tw_field_errors *errors)
{
    static const char *const clearable[] = {"line1", "line2", NULL};

    json_t *json = json_loads(body, JSON_DECODE_ANY, NULL);

    assert_non_null(json);
    tw_route_refuse_nulls(&request, json, clearable, errors);
    json_decref(json);
}

static void nulls__are_faults_unless_they_clear(void **state)
{
    struct tw_field_errors errors = {.count = 0};

    (void)state;
    faults_of("{\"line1\":null,\"line2\":null,\"city\":\"x\"}", &errors);
    assert_int_equal(errors.count, 0);
    faults_of("{\"city\":null,\"line2\":\"x\"}", &errors);
    assert_int_equal(errors.count, 1);
    assert_str(errors.items[0].pointer, "/city");
    assert_str(errors.items[0].code, TW_BODY_WRONG_TYPE);
}

static void nulls__that_are_faulty_already_are_told_once(void **state)
{
    struct tw_field_errors errors = {.count = 0};

    (void)state;
    tw_field_errors_add(&errors, &arena, TW_STR("/other"), TW_BODY_UNKNOWN, "is no member of this body");
    faults_of("{\"other\":null,\"a/b~c\":null}", &errors);
    assert_int_equal(errors.count, 1);
    faults_of("[null]", &errors);
    faults_of("null", &errors);
    assert_int_equal(errors.count, 1);
}

static int status_of_bodiless_write(const char *body)
{
    request.body = tw_str_of(body);
    request.fields[TW_HEADER_CONTENT_TYPE] = TW_STR("application/json");
    tw_reply_reset(&reply);
    return tw_route_no_members(&request, &reply) ? 200 : reply.status;
}

static void write_that_takes_no_body__refuses_what_it_would_pass_over(void **state)
{
    (void)state;
    assert_int_equal(status_of_bodiless_write(""), 200);
    assert_int_equal(status_of_bodiless_write("{}"), 200);
    assert_int_equal(status_of_bodiless_write("{\"a\":1}"), 422);
    assert_int_equal(status_of_bodiless_write("[]"), 422);
    assert_int_equal(status_of_bodiless_write("{"), 400);
}

static void query__that_is_badly_encoded_is_a_400_and_none_is_none(void **state)
{
    struct tw_str value;

    (void)state;
    request.query = TW_STR("a=1&b=%zz&c=");
    assert_true(tw_route_query(&request, "a", &value, &reply));
    assert_str(value, "1");
    assert_true(tw_route_query(&request, "c", &value, &reply));
    assert_non_null(value.ptr);
    assert_int_equal(value.len, 0);
    assert_true(tw_route_query(&request, "d", &value, &reply));
    assert_null(value.ptr);
    assert_false(tw_route_query(&request, "b", &value, &reply));
    assert_int_equal(reply.status, 400);
}

static void query__that_is_refused_is_named_and_pointed_at(void **state)
{
    static const struct {
        const char *query;
        const char *code;
        const char *detail;
    } rows[] = {
        {"sort=%zz", TW_BODY_FORMAT, "sort is badly encoded"},
        {"sort", TW_BODY_FORMAT, "sort has no ="},
        {"sort=a&x=1&sort=a", TW_BODY_REPEATED, "sort may be given once"},
    };
    struct tw_str value;

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        request.query = tw_str_of(rows[i].query);
        assert_false(tw_route_query(&request, "sort", &value, &reply));
        json_t *problem = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
        json_t *error = json_array_get(json_object_get(problem, "errors"), 0);
        assert_string_equal(json_string_value(json_object_get(problem, "detail")), rows[i].detail);
        assert_string_equal(json_string_value(json_object_get(error, "pointer")), "/sort");
        assert_string_equal(json_string_value(json_object_get(error, "code")), rows[i].code);
        json_decref(problem);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(etag__of_a_read_that_knows_it_makes_a_304),
        TEST(etag__of_a_write_never_makes_a_304),
        TEST(etag__is_not_given_to_a_refusal),
        TEST(nulls__are_faults_unless_they_clear),
        TEST(nulls__that_are_faulty_already_are_told_once),
        TEST(write_that_takes_no_body__refuses_what_it_would_pass_over),
        TEST(query__that_is_badly_encoded_is_a_400_and_none_is_none),
        TEST(query__that_is_refused_is_named_and_pointed_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
