/* How far stores can be read, with a store of our own. */
#include "watermarks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "unit.h"

enum { PARTITION = 2, MS = 1000, LONG_US = 10000000 };

static atomic_llong next_offset; /* of every partition */
static atomic_int   questions;
static atomic_int   asking;
static atomic_int   most_asking;
static atomic_bool  is_away;
static atomic_int   answer_us;

static struct tw_watermarks *watermarks;

static enum tw_rc read_next(void *self, enum tw_domain_number domain, int32_t partition, int64_t *ret_next_offset,
                            struct tw_err *reterr)
{
    int now = atomic_fetch_add(&asking, 1) + 1;

    (void)self, (void)domain, (void)partition;
    if (now > atomic_load(&most_asking))
        atomic_store(&most_asking, now);
    atomic_fetch_add(&questions, 1);
    *ret_next_offset = atomic_load(&next_offset);
    usleep((useconds_t)atomic_load(&answer_us));
    atomic_fetch_sub(&asking, 1);
    return atomic_load(&is_away) ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&next_offset, 5);
    atomic_store(&questions, 0);
    atomic_store(&most_asking, 0);
    atomic_store(&is_away, false);
    atomic_store(&answer_us, 0);
    watermarks = tw_watermarks_new(&(struct tw_watermarks_source){.read = read_next});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_watermarks_free(watermarks);
    return 0;
}

static enum tw_rc look(int64_t offset)
{
    return tw_watermarks_look(watermarks, TW_DOMAIN_CART, PARTITION, offset, NULL);
}

static enum tw_rc await(int64_t offset, int64_t for_us)
{
    return tw_watermarks_await(watermarks, TW_DOMAIN_CART, PARTITION, offset, tw_monotonic_us() + for_us, NULL);
}

static void look__says_what_the_store_says(void **state)
{
    (void)state;
    assert_int_equal(look(4), TW_OK);
    assert_int_equal(look(5), TW_NOT_FOUND);
    atomic_store(&is_away, true);
    assert_int_equal(look(5), TW_UNREACHED);
}

static void look__asks_once_a_second_for_what_could_be_read_already(void **state)
{
    int64_t start_us = tw_monotonic_us();
    int     asked;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(look(i), TW_OK);
    asked = atomic_load(&questions);
    assert_in_range(asked, 1, 1 + (tw_monotonic_us() - start_us) / (1000 * MS));
    assert_int_equal(tw_watermarks_look(watermarks, TW_DOMAIN_CART, PARTITION + 1, 4, NULL), TW_OK);
    assert_int_equal(tw_watermarks_look(watermarks, TW_DOMAIN_MEMBER, PARTITION, 4, NULL), TW_OK);
    assert_int_equal(atomic_load(&questions), asked + 2); /* each partition is known for itself */
    usleep(1000 * MS);
    atomic_store(&next_offset, 3); /* the store lost its tail */
    assert_int_equal(look(4), TW_NOT_FOUND);
    assert_int_equal(look(2), TW_OK);
}

static void wait__ends_when_the_time_is_up(void **state)
{
    int64_t start_us = tw_monotonic_us();

    (void)state;
    assert_int_equal(await(5, 300 * MS), TW_NOT_FOUND);
    assert_true(tw_monotonic_us() - start_us >= 300 * MS);
    assert_in_range(atomic_load(&questions), 1, 20); /* the pauses grow */
    assert_int_equal(await(5, -1), TW_NOT_FOUND);
}

static void wait__ends_at_once_when_the_store_is_away(void **state)
{
    (void)state;
    atomic_store(&is_away, true);
    assert_int_equal(await(5, LONG_US), TW_UNREACHED);
}

struct waiter {
    pthread_t  thread;
    int64_t    offset;
    enum tw_rc rc;
};

static void *waiter_main(void *self)
{
    struct waiter *waiter = self;

    waiter->rc = await(waiter->offset, LONG_US);
    return NULL;
}

static void start(struct waiter *waiters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
    while (!tw_watermarks_are_awaited(watermarks))
        usleep(MS);
    usleep(100 * MS);
}

static void finish(struct waiter *waiters, size_t count, enum tw_rc expected)
{
    for (size_t i = 0; i < count; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].rc, expected);
    }
    assert_false(tw_watermarks_are_awaited(watermarks));
}

static void wait__sees_a_command_without_events_by_asking_again(void **state)
{
    struct waiter waiter = {.offset = 7};

    (void)state;
    start(&waiter, 1);
    atomic_store(&next_offset, 8);
    finish(&waiter, 1, TW_OK);
}

static void many_who_wait__ask_one_at_a_time(void **state)
{
    struct waiter waiters[16];
    int64_t       start_us = tw_monotonic_us();

    (void)state;
    atomic_store(&answer_us, 2 * MS);
    for (int i = 0; i < 16; i++)
        waiters[i] = (struct waiter){.offset = 6 + i % 3};
    start(waiters, 16);
    atomic_store(&next_offset, 7);
    usleep(100 * MS);
    atomic_store(&next_offset, 9);
    finish(waiters, 16, TW_OK);
    assert_int_equal(atomic_load(&most_asking), 1);
    assert_in_range(atomic_load(&questions), 2, 60 + (tw_monotonic_us() - start_us) / (50 * MS));
}

/* With pauses so long that nothing but the event can end the wait. */
static void event__makes_the_store_be_asked_at_once(void **state)
{
    struct waiter waiter = {.offset = 7};

    (void)state;
    tw_watermarks_free(watermarks);
    watermarks = tw_watermarks_new(
        &(struct tw_watermarks_source){.read = read_next, .pause_min_us = LONG_US, .pause_max_us = LONG_US});
    start(&waiter, 1);
    for (int64_t offset = 0; offset < 7; offset++)
        tw_watermarks_moved(watermarks, TW_DOMAIN_CART, PARTITION, offset);
    tw_watermarks_moved(watermarks, TW_DOMAIN_CART, PARTITION + 1, 7);
    tw_watermarks_moved(watermarks, TW_DOMAIN_MEMBER, PARTITION, 7);
    tw_watermarks_moved(watermarks, TW_DOMAIN_CART, 1000, 7);
    usleep(50 * MS);
    assert_int_equal(atomic_load(&questions), 0); /* none of that is what is waited for */
    atomic_store(&next_offset, 9);
    tw_watermarks_moved(watermarks, TW_DOMAIN_CART, PARTITION, 8);
    finish(&waiter, 1, TW_OK);
    assert_int_equal(atomic_load(&questions), 1);
}

/* The answer under way was made before the event's effect. Again, no pause may end the wait. */
static void event_while_the_store_answers__makes_it_be_asked_again(void **state)
{
    struct waiter waiter = {.offset = 7};

    (void)state;
    tw_watermarks_free(watermarks);
    watermarks = tw_watermarks_new(
        &(struct tw_watermarks_source){.read = read_next, .pause_min_us = LONG_US, .pause_max_us = LONG_US});
    atomic_store(&answer_us, 100 * MS);
    start(&waiter, 1);
    tw_watermarks_moved(watermarks, TW_DOMAIN_CART, PARTITION, 7);
    while (atomic_load(&questions) < 1)
        usleep(MS);
    usleep(20 * MS); /* it has read 5 */
    atomic_store(&next_offset, 9);
    tw_watermarks_moved(watermarks, TW_DOMAIN_CART, PARTITION, 8);
    finish(&waiter, 1, TW_OK);
}

static void wait__ends_when_the_edge_goes_down(void **state)
{
    struct waiter waiters[2] = {{.offset = 7}, {.offset = 8}};

    (void)state;
    start(waiters, 2);
    tw_watermarks_drain(watermarks);
    finish(waiters, 2, TW_NOT_FOUND);
    assert_int_equal(await(7, LONG_US), TW_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(look__says_what_the_store_says),
        TEST(look__asks_once_a_second_for_what_could_be_read_already),
        TEST(wait__ends_when_the_time_is_up),
        TEST(wait__ends_at_once_when_the_store_is_away),
        TEST(wait__sees_a_command_without_events_by_asking_again),
        TEST(many_who_wait__ask_one_at_a_time),
        TEST(event__makes_the_store_be_asked_at_once),
        TEST(event_while_the_store_answers__makes_it_be_asked_again),
        TEST(wait__ends_when_the_edge_goes_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
