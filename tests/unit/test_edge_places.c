/* The places of a pool: who waits, for how long, and what a failure closes. */
#include "stores/places.h"

#include <unistd.h>

#include "tillwire/clock.h"
#include "unit.h"

static char one[] = "one", two[] = "two"; /* connections */

static int   finished;
static void *last_finished;

static void finish(void *connection)
{
    finished++;
    last_finished = connection;
}

static void *take(struct tw_places *places)
{
    struct tw_err err = {0};
    void         *connection = one;

    assert_rc(tw_places_take(places, 0, "test", &connection, &err), TW_OK, err);
    return connection;
}

static void taking__gives_places_to_connect_and_then_what_was_given_back_last(void **state)
{
    struct tw_places places;

    (void)state;
    tw_places_init(&places, 2);
    assert_null(take(&places));
    assert_null(take(&places));
    tw_places_give(&places, one);
    tw_places_give(&places, two);
    assert_ptr_equal(take(&places), two);
    assert_ptr_equal(take(&places), one);
    tw_places_give(&places, two);
    tw_places_give(&places, one);
    tw_places_done(&places, finish);
}

static void taking__is_refused_when_no_place_comes_free_in_time(void **state)
{
    struct tw_places places;
    struct tw_err    err = {0};
    void            *connection = two;
    int64_t          start_us = tw_monotonic_us();

    (void)state;
    tw_places_init(&places, 1);
    take(&places);
    assert_rc(tw_places_take(&places, 30, "test", &connection, &err), TW_UNREACHED, err);
    assert_string_equal(err.msg, "all connections are busy");
    assert_ptr_equal(connection, two);
    assert_true(tw_monotonic_us() - start_us >= 30000);
    tw_places_give(&places, one);
    assert_ptr_equal(take(&places), one);
    tw_places_give(&places, one);
    tw_places_done(&places, finish);
}

static void *give_later(void *places)
{
    usleep(20000);
    tw_places_give(places, one);
    return NULL;
}

static void taking__waits_for_a_place_that_comes_free(void **state)
{
    struct tw_places places;
    struct tw_err    err = {0};
    void            *connection = NULL;
    pthread_t        thread;

    (void)state;
    tw_places_init(&places, 1);
    take(&places);
    assert_int_equal(pthread_create(&thread, NULL, give_later, &places), 0);
    assert_rc(tw_places_take(&places, 60000, "test", &connection, &err), TW_OK, err);
    assert_ptr_equal(connection, one);
    pthread_join(thread, NULL);
    tw_places_give(&places, one);
    tw_places_done(&places, finish);
}

static void failure__closes_places_without_a_connection_for_a_moment(void **state)
{
    struct tw_places places;
    struct tw_err    err = {0};
    void            *connection = two;
    int64_t          start_us = tw_monotonic_us();

    (void)state;
    tw_places_init(&places, 2);
    take(&places);
    take(&places);
    tw_places_give(&places, NULL);
    assert_true(places.closed_until_us > start_us);
    places.closed_until_us += INT64_C(60000000); /* a longer moment, for machines that are busy */
    assert_rc(tw_places_take(&places, 60000, "test", &connection, &err), TW_UNREACHED, err);
    assert_string_equal(err.msg, "the server did not answer a moment ago");
    tw_places_give(&places, one); /* one that lives is used, whatever became of the other */
    assert_ptr_equal(take(&places), one);
    tw_places_give(&places, one);
    places.closed_until_us = tw_monotonic_us(); /* the moment is over */
    assert_ptr_equal(take(&places), one);
    assert_null(take(&places));
    tw_places_give(&places, NULL);
    tw_places_give(&places, NULL);
    tw_places_done(&places, finish);
}

static void end__finishes_every_connection_that_is_left(void **state)
{
    struct tw_places places;

    (void)state;
    tw_places_init(&places, 3);
    take(&places);
    tw_places_give(&places, one);
    finished = 0;
    tw_places_done(&places, finish);
    assert_int_equal(finished, 1);
    assert_ptr_equal(last_finished, one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taking__gives_places_to_connect_and_then_what_was_given_back_last),
        cmocka_unit_test(taking__is_refused_when_no_place_comes_free_in_time),
        cmocka_unit_test(taking__waits_for_a_place_that_comes_free),
        cmocka_unit_test(failure__closes_places_without_a_connection_for_a_moment),
        cmocka_unit_test(end__finishes_every_connection_that_is_left),
    };

    return cmocka_run_group_tests_name("edge_places", tests, NULL, NULL);
}
