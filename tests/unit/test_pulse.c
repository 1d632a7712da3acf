/* With a monotonic clock that the test sets. */
#include "tillwire/pulse.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

static time_t ahead_s; /* of the real clock */

/* In place of the C library's, for the whole program. */
int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ret_time);

    if (id == CLOCK_MONOTONIC)
        ret_time->tv_sec += ahead_s;
    return rc;
}

static int tear_down(void **unused)
{
    (void)unused;
    tw_pulse_end();
    return 0;
}

static void thread__is_late_when_it_said_nothing_for_so_long(void **unused)
{
    char text[TW_PULSE_TEXT] = "";

    (void)unused;
    tw_pulse_begin("loop 1");
    tw_pulse("commit to PostgreSQL");
    ahead_s += 3;
    assert_false(tw_pulse_is_late(4000000, text));
    assert_string_equal(text, "");
    ahead_s += 2;
    assert_true(tw_pulse_is_late(4000000, text));
    assert_string_equal(text, "loop 1 has been silent for 5 s: commit to PostgreSQL");
    tw_pulse("folding");
    assert_false(tw_pulse_is_late(4000000, text));
}

static void thread_that_rests_or_ended__is_never_late(void **unused)
{
    char text[TW_PULSE_TEXT];

    (void)unused;
    tw_pulse_begin("pool");
    ahead_s += 3600;
    assert_false(tw_pulse_is_late(0, text));
    tw_pulse("hashing");
    tw_pulse_rest();
    ahead_s += 3600;
    assert_false(tw_pulse_is_late(0, text));
    tw_pulse("hashing");
    tw_pulse_end();
    ahead_s += 3600;
    assert_false(tw_pulse_is_late(0, text));
    tw_pulse("nobody's"); /* says nothing, and does no harm */
    assert_false(tw_pulse_is_late(0, text));
}

static void *beat_once(void *unused)
{
    (void)unused;
    tw_pulse_begin("other");
    tw_pulse("something else");
    return NULL; /* without an end: like one that hangs */
}

static void of_several__the_one_silent_longest_is_named(void **unused)
{
    pthread_t other;
    char      text[TW_PULSE_TEXT];

    (void)unused;
    tw_pulse_begin("ours");
    tw_pulse("waiting");
    ahead_s += 1;
    assert_int_equal(pthread_create(&other, NULL, beat_once, NULL), 0);
    pthread_join(other, NULL);
    ahead_s += 7;
    assert_true(tw_pulse_is_late(1000000, text));
    assert_string_equal(text, "ours has been silent for 8 s: waiting");
    tw_pulse("going on");
    assert_true(tw_pulse_is_late(1000000, text));
    assert_string_equal(text, "other has been silent for 7 s: something else");
}

static void more_threads_than_places__are_not_watched_and_do_no_harm(void **unused)
{
    struct tw_pulse_view views[TW_PULSES_MAX];
    pthread_t            thread;
    size_t               count = 0;

    (void)unused;
    for (int i = 0; i < TW_PULSES_MAX + 3; i++) {
        assert_int_equal(pthread_create(&thread, NULL, beat_once, NULL), 0);
        pthread_join(thread, NULL);
    }
    assert_int_equal(tw_pulse_look(views), TW_PULSES_MAX);
    for (size_t i = 0; i < TW_PULSES_MAX; i++)
        count += views[i].what != NULL;
    assert_int_equal(count, TW_PULSES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(thread__is_late_when_it_said_nothing_for_so_long, tear_down),
        cmocka_unit_test_teardown(thread_that_rests_or_ended__is_never_late, tear_down),
        cmocka_unit_test_teardown(of_several__the_one_silent_longest_is_named, tear_down),
        cmocka_unit_test_teardown(more_threads_than_places__are_not_watched_and_do_no_harm,
                                  tear_down), /* the last one */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
