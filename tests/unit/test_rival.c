#include "rival.h"

#include <string.h>

#include "unit.h"

enum { S = 1000000 };

static void rival__is_near_for_a_while_after_it_was_seen(void **unused)
{
    struct tw_rival rival = {0};

    (void)unused;
    assert_false(tw_rival_is_near(&rival, 5 * S));
    assert_int_equal(tw_rival_seen(&rival, 100 * S, "member-0", NULL), TW_OK);
    assert_true(tw_rival_is_near(&rival, 109 * S));
    assert_false(tw_rival_is_near(&rival, 111 * S));
}

static void rival_that_comes_again_and_again__wins(void **unused)
{
    struct tw_rival rival = {0};
    struct tw_err   err = {0};

    (void)unused;
    for (int i = 1; i < TW_RIVAL_WINS; i++)
        assert_int_equal(tw_rival_seen(&rival, (100 + 10 * i) * (int64_t)S, "member-0", &err), TW_OK);
    assert_int_equal(tw_rival_seen(&rival, INT64_C(150) * S, "member-0", &err), TW_FENCED);
    assert_non_null(strstr(err.msg, "'member-0'"));
    assert_non_null(strstr(err.msg, "instance_id"));
}

/* A broker that restarts now and then takes a member for its rival each time. */
static void rivals_with_a_quiet_time_between__are_forgotten(void **unused)
{
    struct tw_rival rival = {0};

    (void)unused;
    for (int i = 1; i <= 3 * TW_RIVAL_WINS; i++)
        assert_int_equal(tw_rival_seen(&rival, i * INT64_C(61) * S, "member-0", NULL), TW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rival__is_near_for_a_while_after_it_was_seen),
        cmocka_unit_test(rival_that_comes_again_and_again__wins),
        cmocka_unit_test(rivals_with_a_quiet_time_between__are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
