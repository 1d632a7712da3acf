#include "http_metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "router.h"
#include "tillwire/metrics.h"
#include "unit.h"

enum { THREADS = 4, STATUSES = 40, TIMES = 50 };

static const struct tw_route cart = {.method = TW_METHOD_GET, .pattern = "/v1/cart"};
static const struct tw_route product = {.method = TW_METHOD_GET, .pattern = "/v1/products/{product_id}"};
static size_t                count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (; (text = strstr(text, what)); text++)
        count++;
    return count;
}

static void answer(const struct tw_route *route, enum tw_method method, const char *path, int status)
{
    struct tw_request request = {.route = route, .method = method, .path = tw_str_of(path)};

    tw_http_metrics_observe(&request, status, 1000);
}

static void each_route_method_and_status__has_its_series(void **state)
{
    (void)state;
    answer(&cart, TW_METHOD_GET, "/v1/cart", 200);
    answer(&cart, TW_METHOD_GET, "/v1/cart", 200);
    answer(&cart, TW_METHOD_HEAD, "/v1/cart", 200);
    answer(&cart, TW_METHOD_GET, "/v1/cart", 401);
    answer(&product, TW_METHOD_GET, "/v1/products/1", 200);
    answer(&product, TW_METHOD_GET, "/v1/products/2", 200);
    const char *text = tw_metrics_page();
#define COUNT "http_server_request_duration_seconds_count{http_request_method="
    assert_non_null(strstr(text, COUNT "\"GET\",http_response_status_code=\"200\",http_route=\"/v1/cart\"} 2\n"));
    assert_non_null(strstr(text, COUNT "\"HEAD\",http_response_status_code=\"200\",http_route=\"/v1/cart\"} 1\n"));
    assert_non_null(strstr(text, COUNT "\"GET\",http_response_status_code=\"401\",http_route=\"/v1/cart\"} 1\n"));
    assert_non_null(
        strstr(text, COUNT "\"GET\",http_response_status_code=\"200\",http_route=\"/v1/products/{product_id}\"} 2\n"));
    assert_int_equal(count_of(text, COUNT), 4);
}

static void paths_without_a_route__share_one_series(void **state)
{
    (void)state;
    answer(NULL, TW_METHOD_GET, "/a", 404);
    answer(NULL, TW_METHOD_GET, "/b", 404);
    answer(NULL, TW_METHOD_OTHER, "/c", 404);
    answer(NULL, TW_METHOD_OTHER, "/d", 404);
    assert_non_null(strstr(tw_metrics_page(), COUNT "\"GET\",http_response_status_code=\"404\"} 2\n"));
    assert_non_null(strstr(tw_metrics_page(), COUNT "\"_OTHER\",http_response_status_code=\"404\"} 2\n"));
}

static void *answer_much(void *unused)
{
    (void)unused;
    for (int i = 0; i < TIMES; i++)
        for (int status = 0; status < STATUSES; status++)
            answer(&cart, TW_METHOD_PUT, "/v1/cart", 500 + status);
    return NULL;
}

static void threads__make_each_series_once_and_lose_nothing(void **state)
{
    pthread_t threads[THREADS];
    char      line[200];

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, answer_much, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const char *text = tw_metrics_page();
    assert_int_equal(count_of(text, COUNT "\"PUT\""), STATUSES);
    for (int status = 0; status < STATUSES; status++) {
        snprintf(line, sizeof(line), COUNT "\"PUT\",http_response_status_code=\"%d\",http_route=\"/v1/cart\"} %d\n",
                 500 + status, THREADS * TIMES);
        assert_non_null(strstr(text, line));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_method_and_status__has_its_series),
        cmocka_unit_test(paths_without_a_route__share_one_series),
        cmocka_unit_test(threads__make_each_series_once_and_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
