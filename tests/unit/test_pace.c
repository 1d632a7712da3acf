/* A bounded rate, by a clock of the test's own. */
#include "pace.h"

#include "unit.h"

#define SECOND_US INT64_C(1000000)

/* Takes whatever is allowed, whenever something is, for so long; returns how much. */
static int64_t take_all(struct tw_pace *pace, int64_t *now_us, int64_t for_us)
{
    int64_t end_us = *now_us + for_us, taken = 0;

    while (*now_us < end_us) {
        int64_t allowed = tw_pace_allows(pace, *now_us);

        tw_pace_spend(pace, allowed);
        taken += allowed;
        *now_us += 1000;
    }
    return taken;
}

static void a_pace__lets_its_rate_through_and_no_more_than_a_bucket_above(void **state)
{
    static const int64_t rates[] = {1, 7, 20, 1000, 2000, 100000};

    (void)state;
    for (size_t i = 0; i < TW_LEN(rates); i++) {
        struct tw_pace pace;
        int64_t        now_us = 12345, bucket = rates[i] < 20 ? 1 : rates[i] / 20;

        tw_pace_init(&pace, rates[i], now_us);
        int64_t taken = take_all(&pace, &now_us, 10 * SECOND_US);
        assert_in_range(taken, 10 * rates[i] - bucket - 1, 10 * rates[i] + bucket);
    }
}

static void a_pace__lets_pages_through_and_not_one_by_one(void **state)
{
    struct tw_pace pace;
    int64_t        now_us = 0;

    (void)state;
    tw_pace_init(&pace, 2000, now_us);
    assert_int_equal(tw_pace_allows(&pace, now_us), 100);
    tw_pace_spend(&pace, 100);
    for (now_us = 500; now_us < 25000; now_us += 500)
        assert_int_equal(tw_pace_allows(&pace, now_us), 0);
    assert_int_equal(tw_pace_allows(&pace, 25000), 50);
}

static void a_debt__is_paid_before_anything_goes_again(void **state)
{
    struct tw_pace pace;

    (void)state;
    tw_pace_init(&pace, 1000, 0);
    tw_pace_spend(&pace, 1050); /* a page that was larger than asked for */
    assert_int_equal(tw_pace_allows(&pace, SECOND_US), 0);
    assert_int_equal(tw_pace_wait_us(&pace, SECOND_US), 25000);
    assert_int_equal(tw_pace_allows(&pace, SECOND_US + 24999), 0);
    assert_int_equal(tw_pace_allows(&pace, SECOND_US + 25000), 25);
    assert_int_equal(tw_pace_wait_us(&pace, SECOND_US + 25000), 0);
}

static void a_long_silence__fills_one_bucket_only(void **state)
{
    struct tw_pace pace;

    (void)state;
    tw_pace_init(&pace, 2000, 0);
    tw_pace_spend(&pace, 100);
    assert_int_equal(tw_pace_allows(&pace, INT64_MAX / 2), 100);
}

static void a_clock_that_stands_or_goes_back__gives_nothing(void **state)
{
    struct tw_pace pace;

    (void)state;
    tw_pace_init(&pace, 2000, SECOND_US);
    tw_pace_spend(&pace, 100);
    assert_int_equal(tw_pace_allows(&pace, SECOND_US), 0);
    assert_int_equal(tw_pace_allows(&pace, 0), 0);
    assert_int_equal(tw_pace_allows(&pace, SECOND_US + 25000), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pace__lets_its_rate_through_and_no_more_than_a_bucket_above),
        cmocka_unit_test(a_pace__lets_pages_through_and_not_one_by_one),
        cmocka_unit_test(a_debt__is_paid_before_anything_goes_again),
        cmocka_unit_test(a_long_silence__fills_one_bucket_only),
        cmocka_unit_test(a_clock_that_stands_or_goes_back__gives_nothing),
    };

    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
