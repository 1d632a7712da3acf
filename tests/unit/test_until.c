/* `--until` (workers/replay/until.c). */
#include "until.h"

#include <string.h>

#include "unit.h"

enum { PARTITIONS = 3 };

static struct tw_fold_end ends[PARTITIONS];
static struct tw_err      err;

/* What the live store has folded so far. */
static int begin(void **state)
{
    (void)state;
    for (int32_t p = 0; p < PARTITIONS; p++)
        ends[p] = (struct tw_fold_end){100, INT64_MAX};
    return 0;
}

static void assert_refused(const char *text, const char *words)
{
    assert_rc(tw_until_apply(text, ends, PARTITIONS, &err), TW_INVALID, err);
    if (!strstr(err.msg, words))
        fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void a_time__holds_for_all_partitions(void **state)
{
    (void)state;
    assert_rc(tw_until_apply("2026-11-23T10:00:00Z", ends, PARTITIONS, &err), TW_OK, err);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(ends[p].offset, 100);
        assert_int_equal(ends[p].time_ms, INT64_C(1795428000000));
    }
}

static void offsets__hold_for_the_partitions_they_name(void **state)
{
    (void)state;
    assert_rc(tw_until_apply("0:0,2:100", ends, PARTITIONS, &err), TW_OK, err);
    assert_int_equal(ends[0].offset, 0);
    assert_int_equal(ends[1].offset, 100);
    assert_int_equal(ends[2].offset, 100);
    assert_int_equal(ends[0].time_ms, INT64_MAX);
    assert_rc(tw_until_apply("1:98", ends, PARTITIONS, &err), TW_OK, err);
    assert_int_equal(ends[1].offset, 98);
}

static void what_cannot_be_read__is_named(void **state)
{
    static const char *const wrong[] = {
        "yesterday", "2026-11-23", "2026-13-23T10:00:00Z",  "0", ":5", "0:", "0:x", "0:-1",
        "x:1",       "0:1:2",      "0:99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_refused(wrong[i], wrong[i]);
    assert_refused("0:1,,1:2", "'' is neither");
    assert_refused("0:1,1:", "'1:' is neither");
    assert_refused("0:1,", "'' is neither");
    assert_refused(",", "'' is neither");
}

static void a_partition_that_is_not_there__is_named(void **state)
{
    (void)state;
    assert_refused("3:1", "there is no partition 3, only 0 to 2");
    assert_refused("-1:1", "there is no partition -1");
    assert_refused("4294967296:1", "there is no partition 4294967296");
}

static void an_offset_that_is_not_folded_yet__is_named(void **state)
{
    (void)state;
    assert_refused("1:101", "partition 1 is folded up to 100 so far, not 101");
}

static void a_partition_that_is_named_twice__is_refused(void **state)
{
    (void)state;
    assert_refused("1:5,0:3,1:7", "partition 1 is named twice");
    begin(NULL);
    assert_refused("1:100,1:100", "partition 1 is named twice");
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

static void a_store_that_is_further__is_refused_with_its_partition(void **state)
{
    const struct tw_progress at[PARTITIONS] = {{.next_offset = 10, .clock_ms = INT64_C(1795428000000)},
                                               {.next_offset = 98, .clock_ms = INT64_C(1795428000001)}};

    (void)state;
    assert_rc(tw_until_check(ends, at, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_apply("1:98", ends, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_check(ends, at, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_apply("1:97", ends, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_check(ends, at, PARTITIONS, &err), TW_REFUSED, err);
    assert_non_null(strstr(err.msg, "partition 1 up to 98, which was at 2026-11-23T10:00:00.001Z"));
    begin(NULL);
    assert_rc(tw_until_apply("2026-11-23T10:00:00Z", ends, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_check(ends, at, PARTITIONS, &err), TW_REFUSED, err);
    assert_rc(tw_until_apply("2026-11-23T10:00:00.001Z", ends, PARTITIONS, &err), TW_OK, err);
    assert_rc(tw_until_check(ends, at, PARTITIONS, &err), TW_OK, err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_time__holds_for_all_partitions),
        TEST(offsets__hold_for_the_partitions_they_name),
        TEST(what_cannot_be_read__is_named),
        TEST(a_partition_that_is_not_there__is_named),
        TEST(an_offset_that_is_not_folded_yet__is_named),
        TEST(a_partition_that_is_named_twice__is_refused),
        TEST(a_store_that_is_further__is_refused_with_its_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
