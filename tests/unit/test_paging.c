/* Links: PkgConfig::JANSSON */
#include "paging.h"

#include <string.h>

#include "edge.h"
#include "router.h"
#include "unit.h"

static struct tw_edge        edge = {.opaque_key = {1, 2, 3}};
static const struct tw_route route = {.pattern = "/v1/things"};
static struct tw_arena       arena;
static struct tw_reply       reply;
static struct tw_request     request;

static int setup(void **state)
{
    (void)state;
    tw_reply_reset(&reply);
    request = (struct tw_request){.edge = &edge, .arena = &arena, .route = &route};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reply_done(&reply);
    tw_arena_done(&arena);
    return 0;
}

static bool read_page(const char *query, struct tw_page *ret_page)
{
    request.query = tw_str_of(query);
    return tw_page_read(&request, TW_STR("things"), ret_page, &reply);
}

static void limit__is_20_or_what_is_asked_for_up_to_100(void **state)
{
    static const char *const wrong[] = {
        "limit=0", "limit=101", "limit=-1", "limit=", "limit=x", "limit=2x", "limit=%4"};
    struct tw_page page;

    (void)state;
    assert_true(read_page("", &page));
    assert_int_equal(page.limit, 20);
    assert_null(page.after.ptr);
    assert_true(read_page("limit=1", &page));
    assert_int_equal(page.limit, 1);
    assert_true(read_page("a=b&limit=100", &page));
    assert_int_equal(page.limit, 100);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        reply.status = 0;
        assert_false(read_page(wrong[i], &page));
        assert_int_equal(reply.status, 400);
    }
}

/* "Link: <URI>; …" -> the query of URI. */
static const char *next_query(void)
{
    const char *question;
    char       *end;

    tw_buf_add(&reply.fields, "", 1);
    assert_memory_equal(reply.fields.ptr, "Link: </v1/things?", 18);
    question = reply.fields.ptr + 18;
    end = strchr(reply.fields.ptr, '>');
    assert_non_null(end);
    assert_string_equal(end, ">; rel=\"next\"\r\n");
    *end = '\0';
    return question;
}

static void end_page(const char *query, struct tw_str last)
{
    struct tw_json json = {&reply.body, false};
    struct tw_page page;

    assert_true(read_page(query, &page));
    tw_json_open(&json, '{');
    tw_page_end(&request, &page, last, &json, &reply);
    tw_json_close(&json, '}');
}

static void next_page__begins_behind_the_last_item(void **state)
{
    struct tw_page page;

    (void)state;
    end_page("status=A&cursor_=1&limit=2", TW_STR("place 7"));
    const char *query = next_query();
    assert_memory_equal(query, "status=A&cursor_=1&limit=2&cursor=", 34);
    assert_true(read_page(query, &page));
    assert_str(page.after, "place 7");
    assert_int_equal(page.limit, 2);
    tw_buf_add(&reply.body, "", 1);
    assert_non_null(strstr(reply.body.ptr, query + 34)); /* next_cursor is the same */
}

static void next_page__replaces_the_cursor(void **state)
{
    char           first[128];
    struct tw_page page;

    (void)state;
    end_page("", TW_STR("place 7"));
    strcpy(first, next_query());
    tw_reply_reset(&reply);
    end_page(first, TW_STR("place 9"));
    assert_true(read_page(next_query(), &page));
    assert_str(page.after, "place 9");
}

static void last_page__has_a_null_cursor_and_no_link(void **state)
{
    (void)state;
    end_page("", (struct tw_str){0});
    assert_str(tw_buf_str(&reply.body), "{\"next_cursor\":null}");
    assert_int_equal(reply.fields.len, 0);
}

static void link__has_nothing_in_it_that_could_end_it(void **state)
{
    (void)state;
    end_page("a=>;\"x\"<&b=%3E+\\", TW_STR("place"));
    assert_memory_equal(next_query(), "a=%3E%3B%22x%22%3C&b=%3E+%5C&cursor=", 36);
}

static void cursor__of_another_list_or_nobody_is_refused(void **state)
{
    static const char *const wrong[] = {"cursor=", "cursor=abc", "cursor=%zz"};
    char                     first[128];
    struct tw_page           page;

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        reply.status = 0;
        assert_false(read_page(wrong[i], &page));
        assert_int_equal(reply.status, 400);
    }
    tw_reply_reset(&reply);
    end_page("", TW_STR("place 7"));
    strcpy(first, next_query());
    request.query = tw_str_of(first);
    assert_true(tw_page_read(&request, TW_STR("things"), &page, &reply));
    assert_false(tw_page_read(&request, TW_STR("things of another filter"), &page, &reply));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(limit__is_20_or_what_is_asked_for_up_to_100),
        TEST(next_page__begins_behind_the_last_item),
        TEST(next_page__replaces_the_cursor),
        TEST(last_page__has_a_null_cursor_and_no_link),
        TEST(link__has_nothing_in_it_that_could_end_it),
        TEST(cursor__of_another_list_or_nobody_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
