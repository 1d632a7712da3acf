#include "tillwire/clock.h"

#include <stdio.h>
#include <time.h>

#include "unit.h"

static const int64_t first_ms = INT64_C(-62135596800000);
static const int64_t last_ms = INT64_C(253402300799999);

/* Computed with date(1). */
static const struct {
    int64_t     ms;
    const char *text;
} known[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {-1, "1969-12-31T23:59:59.999Z"},
    {-1000, "1969-12-31T23:59:59.000Z"},
    {951782400000, "2000-02-29T00:00:00.000Z"},
    {-2208988800000, "1900-01-01T00:00:00.000Z"},
    {1709164800001, "2024-02-29T00:00:00.001Z"},
    {4107542399000, "2100-02-28T23:59:59.000Z"},
    {1700000000123, "2023-11-14T22:13:20.123Z"},
    {INT64_C(-62135596800000), "0001-01-01T00:00:00.000Z"},
    {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
};

static int64_t parsed(const char *text)
{
    int64_t time_ms = INT64_MIN;

    assert_true(tw_time_parse(tw_str_of(text), &time_ms));
    return time_ms;
}

static void known_times__are_written_and_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_LEN(known); i++) {
        char text[TW_TIME_TEXT + 1];

        tw_time_format(known[i].ms, text);
        assert_string_equal(text, known[i].text);
        assert_int_equal(parsed(known[i].text), known[i].ms);
    }
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void every_day_of_the_range__agrees_with_counting_days(void **state)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t          noon_ms = first_ms + 43200000;

    (void)state;
    for (int year = 1; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= days[month - 1] + (month == 2 && is_leap(year)); day++, noon_ms += 86400000) {
                char    text[TW_TIME_TEXT + 1];
                int64_t back;
                int     value = 0;

                tw_time_format(noon_ms, text);
                for (int i = 0; i < 4; i++)
                    value = value * 10 + text[i] - '0';
                if (value != year || (text[5] - '0') * 10 + text[6] - '0' != month ||
                    (text[8] - '0') * 10 + text[9] - '0' != day || !tw_time_parse(tw_str_of(text), &back) ||
                    back != noon_ms)
                    fail_msg("%04d-%02d-%02d became %s", year, month, day, text);
            }
        }
    }
    assert_int_equal(noon_ms, last_ms + 1 + 43200000);
}

static void random_times__agree_with_the_c_library(void **state)
{
    uint64_t random = 5;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        int64_t   time_ms = first_ms + (int64_t)(tw_random(&random) % (uint64_t)(last_ms - first_ms + 1));
        int64_t   ms = (time_ms % 1000 + 1000) % 1000;
        time_t    seconds = (time_ms - ms) / 1000;
        char      text[TW_TIME_TEXT + 1];
        char      expected[64];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
        tw_time_format(time_ms, text);
        assert_string_equal(text, expected);
        assert_int_equal(parsed(text), time_ms);
    }
}

static void format__clamps_to_years_1_to_9999(void **state)
{
    static const int64_t beyond[] = {INT64_MAX, INT64_C(253402300800000)};
    static const int64_t before[] = {INT64_MIN, INT64_C(-62135596800001)};
    char                 text[TW_TIME_TEXT + 1];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        tw_time_format(beyond[i], text);
        assert_string_equal(text, "9999-12-31T23:59:59.999Z");
        tw_time_format(before[i], text);
        assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    }
}

static void parse__reads_offsets_fractions_and_small_letters(void **state)
{
    int64_t base = parsed("2026-11-23T10:00:00Z");

    (void)state;
    assert_int_equal(parsed("2026-11-23t10:00:00z"), base);
    assert_int_equal(parsed("2026-11-23T12:30:00+02:30"), base);
    assert_int_equal(parsed("2026-11-22T23:00:00-11:00"), base);
    assert_int_equal(parsed("2026-11-23T10:00:00-00:00"), base);
    assert_int_equal(parsed("2026-11-23T10:00:00.5Z"), base + 500);
    assert_int_equal(parsed("2026-11-23T10:00:00.05Z"), base + 50);
    assert_int_equal(parsed("2026-11-23T10:00:00.123999999Z"), base + 123);
    assert_int_equal(parsed("1969-12-31T23:59:59.5Z"), -500);
}

static void parse__takes_a_leap_second_only_where_one_can_be(void **state)
{
    int64_t time_ms;

    (void)state;
    assert_int_equal(parsed("2016-12-31T23:59:60Z"), parsed("2017-01-01T00:00:00Z"));
    assert_int_equal(parsed("2016-12-31T15:59:60-08:00"), parsed("2017-01-01T00:00:00Z"));
    assert_false(tw_time_parse(TW_STR("2016-12-31T23:58:60Z"), &time_ms));
    assert_false(tw_time_parse(TW_STR("2016-12-31T23:59:60+01:00"), &time_ms));
}

static void parse__refuses_everything_else(void **state)
{
    static const char *const texts[] = {
        "",
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-11-23T10:00Z",
        "2026-11-23 10:00:00Z",
        "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00.1234567890Z",
        "2026-11-23T10:00:00,5Z",
        "2026-11-23T10:00:00Z ",
        " 2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00ZZ",
        "2026-11-23T10:00:00+0200",
        "2026-11-23T10:00:00+02",
        "2026-11-23T10:00:00+24:00",
        "2026-11-23T10:00:00+02:60",
        "2026-11-23T24:00:00Z",
        "2026-11-23T10:60:00Z",
        "2026-11-23T10:00:61Z",
        "2026-00-23T10:00:00Z",
        "2026-13-23T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "+2026-11-23T10:00:00Z",
        "-026-11-23T10:00:00Z",
        "20261-11-23T10:00:00Z",
        "2026-1-23T10:00:00Z",
        "2026-11-23T1:00:00Z",
    };
    int64_t time_ms = 7;

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(texts[i]));

        if (tw_time_parse(guarded, &time_ms))
            fail_msg("took '%s'", texts[i]);
        assert_int_equal(time_ms, 7);
        tw_guarded_free(guarded);
    }
}

static void now__is_what_the_c_library_says(void **state)
{
    int64_t before_us = tw_monotonic_us();
    int64_t difference = tw_now_ms() / 1000 - (int64_t)time(NULL);

    (void)state;
    assert_in_range(difference + 1, 0, 2);
    assert_true(tw_monotonic_us() >= before_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times__are_written_and_read),
        cmocka_unit_test(every_day_of_the_range__agrees_with_counting_days),
        cmocka_unit_test(random_times__agree_with_the_c_library),
        cmocka_unit_test(format__clamps_to_years_1_to_9999),
        cmocka_unit_test(parse__reads_offsets_fractions_and_small_letters),
        cmocka_unit_test(parse__takes_a_leap_second_only_where_one_can_be),
        cmocka_unit_test(parse__refuses_everything_else),
        cmocka_unit_test(now__is_what_the_c_library_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
