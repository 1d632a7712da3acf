#include "stall.h"

#include <string.h>

#include "unit.h"

enum { S = 1000000 };

static struct tw_partition partition;
static struct tw_stall     stall;
static char                text[TW_STALL_TEXT];

static int set_up(void **unused)
{
    (void)unused;
    partition = (struct tw_partition){.number = 3, .state = TW_PARTITION_RUNNING, .progress = {.next_offset = 100}};
    stall = (struct tw_stall){0};
    text[0] = '\0';
    return 0;
}

static bool look(int64_t log_end, int64_t now_s)
{
    return tw_stall_look(&stall, &partition, log_end, now_s * S, text);
}

static void partition_with_nothing_to_do__comes_on(void **unused)
{
    (void)unused;
    assert_false(look(100, 10));
    assert_false(look(100, 1000));
    assert_false(look(-1, 2000)); /* where the log ends is not known yet */
    assert_false(look(101, 2001));
    assert_false(look(101, 2003));
}

static void records_that_do_not_come__are_a_stall_within_five_seconds(void **unused)
{
    (void)unused;
    assert_false(look(101, 10));
    assert_true(look(101, 15));
    assert_string_equal(text, "partition 3 has not come on for 5 s: no records come, though its log has some");
    partition.progress.next_offset = 101;
    assert_false(look(101, 16));
}

static void watermark_that_moves__is_no_stall_however_long_the_queue(void **unused)
{
    (void)unused;
    partition.lane_len = 7;
    for (int64_t i = 0; i < 100; i++, partition.progress.next_offset++)
        assert_false(look(1000, 10 + i));
}

static void commit_that_is_not_made__is_a_stall(void **unused)
{
    (void)unused;
    partition.lane_len = 7;
    assert_false(look(107, 10));
    assert_true(look(107, 15));
    assert_non_null(strstr(text, "its batch is not committed"));
}

static void events_nobody_acknowledges__are_a_stall_also_when_nothing_else_waits(void **unused)
{
    (void)unused;
    partition.flight.count = 2;
    partition.flight.reported = 1;
    assert_false(look(100, 10));
    assert_true(look(100, 15));
    assert_non_null(strstr(text, "does not acknowledge its events or dead letters"));
    partition.flight.reported = 2;
    assert_false(look(100, 16));
}

/* Between two tries it is RUNNING for a moment, and looks as if all were well. */
static void turn_that_failed__is_told_at_once_until_another_works(void **unused)
{
    (void)unused;
    partition.lane_len = 7;
    tw_fail(&partition.last_error, TW_UNREACHED, "test", 0, "disk full");
    assert_true(look(107, 10));
    assert_string_equal(text, "partition 3 tries again: disk full");
    partition.lane_len = 0;
    assert_false(look(100, 11)); /* there is nothing to try it with */
    partition.lane_len = 7;
    partition.last_error = (struct tw_err){0};
    assert_false(look(107, 12));
}

static void partition_that_recovers__is_told_by_its_state_and_begins_anew(void **unused)
{
    (void)unused;
    partition.lane_len = 7;
    assert_false(look(107, 10));
    partition.state = TW_PARTITION_RECOVERING;
    assert_false(look(107, 100));
    partition.state = TW_PARTITION_RUNNING;
    assert_false(look(107, 101));
    assert_true(look(107, 106));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(partition_with_nothing_to_do__comes_on, set_up),
        cmocka_unit_test_setup(records_that_do_not_come__are_a_stall_within_five_seconds, set_up),
        cmocka_unit_test_setup(watermark_that_moves__is_no_stall_however_long_the_queue, set_up),
        cmocka_unit_test_setup(commit_that_is_not_made__is_a_stall, set_up),
        cmocka_unit_test_setup(events_nobody_acknowledges__are_a_stall_also_when_nothing_else_waits, set_up),
        cmocka_unit_test_setup(turn_that_failed__is_told_at_once_until_another_works, set_up),
        cmocka_unit_test_setup(partition_that_recovers__is_told_by_its_state_and_begins_anew, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
