#include "router.h"

#include <string.h>

#include "unit.h"

static void handler(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    (void)reply;
}

static const struct tw_route table[] = {
    {TW_METHOD_GET, "/v1/members/{id}", TW_ACCESS_BEARER, "members:read", handler},
    {TW_METHOD_GET, "/v1/members/me", TW_ACCESS_BEARER, NULL, handler},
    {TW_METHOD_POST, "/v1/members", TW_ACCESS_PUBLIC, NULL, handler},
    {TW_METHOD_PUT, "/v1/cart/items/{product_id}", TW_ACCESS_BEARER, NULL, handler},
    {TW_METHOD_DELETE, "/v1/cart/items/{product_id}", TW_ACCESS_BEARER, NULL, handler},
    {TW_METHOD_POST, "/v1/products:batch", TW_ACCESS_BEARER, NULL, handler},
    {0},
};

static struct tw_router router;
static char             allow[TW_ALLOW_TEXT];

static int setup(void **state)
{
    (void)state;
    memset(&router, 0, sizeof(router));
    tw_router_add(&router, table);
    return 0;
}

static const struct tw_route *find(enum tw_method method, const char *const *segments, size_t count)
{
    struct tw_request request = {.method = method, .segment_count = count};

    for (size_t i = 0; i < count; i++)
        request.segments[i] = tw_str_of(segments[i]);
    return tw_router_find(&router, &request, allow);
}
#define FIND(method, ...) \
    find(method, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void route__is_found_by_method_and_path(void **state)
{
    (void)state;
    assert_ptr_equal(FIND(TW_METHOD_PUT, "v1", "cart", "items", "x"), &table[3]);
    assert_ptr_equal(FIND(TW_METHOD_DELETE, "v1", "cart", "items", "x"), &table[4]);
    assert_ptr_equal(FIND(TW_METHOD_POST, "v1", "products:batch"), &table[5]);
}

static void written_segment__goes_before_a_parameter(void **state)
{
    (void)state;
    assert_ptr_equal(FIND(TW_METHOD_GET, "v1", "members", "me"), &table[1]);
    assert_ptr_equal(FIND(TW_METHOD_GET, "v1", "members", "you"), &table[0]);
}

static void head__finds_the_get_row(void **state)
{
    (void)state;
    assert_ptr_equal(FIND(TW_METHOD_HEAD, "v1", "members", "me"), &table[1]);
    assert_null(FIND(TW_METHOD_HEAD, "v1", "members"));
}

static void unknown_path__allows_nothing(void **state)
{
    (void)state;
    assert_null(FIND(TW_METHOD_GET, "v1", "nothing"));
    assert_string_equal(allow, "");
    assert_null(FIND(TW_METHOD_GET, "v1", "members", "me", ""));
    assert_string_equal(allow, "");
    assert_null(FIND(TW_METHOD_GET, "v1", "members", ""));
    assert_string_equal(allow, "");
}

static void other_method__is_told_which_ones_there_are(void **state)
{
    (void)state;
    assert_null(FIND(TW_METHOD_GET, "v1", "cart", "items", "x"));
    assert_string_equal(allow, "PUT, DELETE");
    assert_null(FIND(TW_METHOD_OPTIONS, "v1", "members", "me"));
    assert_string_equal(allow, "GET, HEAD");
    assert_null(FIND(TW_METHOD_OTHER, "v1", "members"));
    assert_string_equal(allow, "POST");
}

static void batch__may_be_larger_than_other_bodies(void **state)
{
    (void)state;
    assert_true(tw_router_takes_batch(&table[5]));
    assert_false(tw_router_takes_batch(&table[2]));
    assert_false(tw_router_takes_batch(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(route__is_found_by_method_and_path, setup),
        cmocka_unit_test_setup(written_segment__goes_before_a_parameter, setup),
        cmocka_unit_test_setup(head__finds_the_get_row, setup),
        cmocka_unit_test_setup(unknown_path__allows_nothing, setup),
        cmocka_unit_test_setup(other_method__is_told_which_ones_there_are, setup),
        cmocka_unit_test_setup(batch__may_be_larger_than_other_bodies, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
