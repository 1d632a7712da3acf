/* Links: tw_program */
#include "progress_bar.h"

#include <string.h>

#include "unit.h"

struct shown {
    int64_t all;
    int64_t done;
    int64_t seconds; /* since it began, and since it was shown last */
    bool    is_terminal;
};

static int show(void *arg)
{
    const struct shown    *shown = arg;
    struct tw_progress_bar bar;

    tw_progress_bar_begin(&bar, "member", "records", shown->all);
    if (bar.is_terminal) /* it is a pipe */
        return 1;
    bar.is_terminal = shown->is_terminal;
    bar.began_us -= shown->seconds * 1000000;
    bar.shown_us -= shown->seconds * 1000000;
    tw_progress_bar_show(&bar, shown->done);
    tw_progress_bar_show(&bar, shown->done); /* too early to be shown again */
    tw_progress_bar_end(&bar);
    return 0;
}

/* The rate and the rest of the time are taken from a clock that goes on: a row of seconds is enough to be within. */
static const char *shown_by(struct shown shown)
{
    static struct tw_child child;

    tw_child_run(show, &shown, &child);
    assert_int_equal(child.exit_code, 0);
    assert_string_equal(child.out, "");
    return child.err;
}

static void assert_begins(const char *text, const char *expected)
{
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("'%s' does not begin with '%s'", text, expected);
}

static void nothing__is_shown_of_what_takes_no_time(void **state)
{
    (void)state;
    assert_string_equal(shown_by((struct shown){1000, 500, 0, false}), "");
}

static void elsewhere__it_is_a_line(void **state)
{
    const char *text = shown_by((struct shown){10000000, 1234567, 1000000, false});

    (void)state;
    assert_string_equal(text, "member: 1,234,567 of 10,000,000 records, 1 a second, 8,765,434 s left\n");
}

static void without_a_known_end__it_tells_what_is_done(void **state)
{
    (void)state;
    assert_string_equal(shown_by((struct shown){0, 12, 1000, false}), "member: 12 records, 0 a second\n");
}

static void more_than_was_to_be_done__has_no_time_left(void **state)
{
    (void)state;
    assert_string_equal(shown_by((struct shown){100, 123000, 1000, false}),
                        "member: 123,000 of 100 records, 122 a second\n");
}

static void on_a_terminal__it_is_one_line_that_goes_away(void **state)
{
    const char *text = shown_by((struct shown){100, 7, 1000, true});

    (void)state;
    assert_begins(text, "\rmember: 7 of 100 records, ");
    assert_null(strchr(text, '\n'));
    assert_string_equal(text + strlen(text) - 7, "\033[K\r\033[K");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing__is_shown_of_what_takes_no_time),
        cmocka_unit_test(elsewhere__it_is_a_line),
        cmocka_unit_test(without_a_known_end__it_tells_what_is_done),
        cmocka_unit_test(more_than_was_to_be_done__has_no_time_left),
        cmocka_unit_test(on_a_terminal__it_is_one_line_that_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
