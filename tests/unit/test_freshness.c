#include "freshness.h"

#include "unit.h"

/* Two partitions; times are made up. */

#define SECOND INT64_C(1000000)

static struct tw_freshness *freshness;

static int setup(void **state)
{
    (void)state;
    freshness = tw_freshness_new(2);
    tw_freshness_begin(freshness, (int64_t[]){10, 20});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_freshness_free(freshness);
    return 0;
}

static void reader__is_not_fresh_before_ends_were_asked_for(void **state)
{
    (void)state;
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
}

static void reader_at_the_ends__is_fresh_for_a_second(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){10, 20});
    assert_true(tw_freshness_holds(freshness, 5 * SECOND));
    assert_true(tw_freshness_holds(freshness, 6 * SECOND));
    assert_false(tw_freshness_holds(freshness, 6 * SECOND + 1));
}

static void every_partition__must_be_at_its_end(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){11, 21});
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
    tw_freshness_read(freshness, 0, 11);
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
    tw_freshness_read(freshness, 1, 21);
    assert_true(tw_freshness_holds(freshness, 5 * SECOND));
}

static void ends__count_from_when_they_were_asked_for_not_from_when_they_were_reached(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){11, 20});
    tw_freshness_read(freshness, 0, 11); /* at 5.9 s, say */
    assert_true(tw_freshness_holds(freshness, 6 * SECOND));
    assert_false(tw_freshness_holds(freshness, 6 * SECOND + 1));
}

/** Else a reader that is always a little behind would never count as fresh. */
static void older_ends__still_count_while_newer_ones_are_ahead(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){15, 20});
    tw_freshness_ends(freshness, 5 * SECOND + SECOND / 4, (int64_t[]){99, 20});
    tw_freshness_read(freshness, 0, 15);
    assert_true(tw_freshness_holds(freshness, 6 * SECOND));
    assert_false(tw_freshness_holds(freshness, 6 * SECOND + 1));
    tw_freshness_read(freshness, 0, 99);
    assert_true(tw_freshness_holds(freshness, 6 * SECOND + SECOND / 4));
}

static void older_ends__that_come_late_take_nothing_back(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 7 * SECOND, (int64_t[]){10, 20});
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){10, 20});
    assert_true(tw_freshness_holds(freshness, 8 * SECOND));
}

static void many_ends_ahead__are_no_more_than_a_few(void **state)
{
    (void)state;
    for (int i = 1; i <= 100; i++)
        tw_freshness_ends(freshness, i * SECOND, (int64_t[]){10 + i, 20});
    tw_freshness_read(freshness, 0, 50); /* ends nobody remembers */
    assert_false(tw_freshness_holds(freshness, 40 * SECOND));
    tw_freshness_read(freshness, 0, 110);
    assert_true(tw_freshness_holds(freshness, 101 * SECOND));
}

static void reader_that_stopped__is_not_fresh(void **state)
{
    (void)state;
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){10, 20});
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){11, 20}); /* not reached */
    tw_freshness_end(freshness);
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){10, 20}); /* an answer that was still on its way */
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
    tw_freshness_begin(freshness, (int64_t[]){11, 20});
    assert_false(tw_freshness_holds(freshness, 5 * SECOND));
    tw_freshness_ends(freshness, 6 * SECOND, (int64_t[]){11, 20});
    assert_true(tw_freshness_holds(freshness, 6 * SECOND));
}

static void partition_of_nobody__is_ignored(void **state)
{
    (void)state;
    tw_freshness_read(freshness, 2, 1);
    tw_freshness_read(freshness, -1, 1);
    tw_freshness_ends(freshness, 5 * SECOND, (int64_t[]){10, 20});
    assert_true(tw_freshness_holds(freshness, 5 * SECOND));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reader__is_not_fresh_before_ends_were_asked_for),
        TEST(reader_at_the_ends__is_fresh_for_a_second),
        TEST(every_partition__must_be_at_its_end),
        TEST(ends__count_from_when_they_were_asked_for_not_from_when_they_were_reached),
        TEST(older_ends__still_count_while_newer_ones_are_ahead),
        TEST(older_ends__that_come_late_take_nothing_back),
        TEST(many_ends_ahead__are_no_more_than_a_few),
        TEST(reader_that_stopped__is_not_fresh),
        TEST(partition_of_nobody__is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
