/*
 * Time and its RFC 3339 form. Calendar arithmetic after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
 * (https://howardhinnant.github.io/date_algorithms.html, public domain): exact over the whole range, no time zone
 * database and no locale, so every machine says the same.
 */
#include "tillwire/clock.h"

#include <time.h>

enum { MS_PER_SECOND = 1000, SECONDS_PER_DAY = 86400 };

static const int64_t ms_per_day = INT64_C(86400000);
static const int64_t first_ms = INT64_C(-62135596800000); /* 0001-01-01T00:00:00.000Z */
static const int64_t last_ms = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z */

int64_t tw_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * MS_PER_SECOND + now.tv_nsec / 1000000;
}

int64_t tw_monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct date {
    int year, month, day;
};

/* Hinnant's civil_from_days, for years from 0 on: years begin in March, so the leap day is the last of its year. */
static struct date date_of_days(int64_t days_since_1970)
{
    int64_t days = days_since_1970 + 719468; /* since 0000-03-01 */
    int64_t era = days / 146097;             /* 400 years */
    int     day_of_era = (int)(days % 146097);
    int     year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int     day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int     month_from_march = (5 * day_of_year + 2) / 153;
    int     month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;

    return (struct date){
        .year = (int)era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
    };
}

/* Hinnant's days_from_civil, for years from 1 on. */
static int64_t days_of_date(struct date date)
{
    int  year = date.year - (date.month <= 2);
    int  era = year / 400;
    long year_of_era = year % 400;
    int  month_from_march = date.month > 2 ? date.month - 3 : date.month + 9;
    int  day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;

    return (int64_t)era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool             leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static char *put_digits(char *at, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + digits;
}

void tw_time_format(int64_t time_ms, char ret_text[TW_TIME_TEXT + 1])
{
    int64_t     clamped = time_ms < first_ms ? first_ms : time_ms > last_ms ? last_ms : time_ms;
    int64_t     from_first = clamped - first_ms; /* not negative: division rounds down */
    int         ms_of_day = (int)(from_first % ms_per_day);
    struct date date = date_of_days(from_first / ms_per_day + first_ms / ms_per_day);
    char       *at = ret_text;

    at = put_digits(at, date.year, 4);
    *at++ = '-';
    at = put_digits(at, date.month, 2);
    *at++ = '-';
    at = put_digits(at, date.day, 2);
    *at++ = 'T';
    at = put_digits(at, ms_of_day / 3600000, 2);
    *at++ = ':';
    at = put_digits(at, ms_of_day / 60000 % 60, 2);
    *at++ = ':';
    at = put_digits(at, ms_of_day / MS_PER_SECOND % 60, 2);
    *at++ = '.';
    at = put_digits(at, ms_of_day % MS_PER_SECOND, 3);
    *at++ = 'Z';
    *at = '\0';
}

/* Readers of one part each: they take it off the front of `rest`, or say false. */
static bool take_char(struct tw_str *rest, char c)
{
    if (rest->len == 0 || *rest->ptr != c)
        return false;
    rest->ptr++;
    rest->len--;
    return true;
}

static bool take_number(struct tw_str *rest, size_t digits, int low, int high, int *ret_value)
{
    int value = 0;

    if (rest->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (rest->ptr[i] < '0' || rest->ptr[i] > '9')
            return false;
        value = value * 10 + (rest->ptr[i] - '0');
    }
    if (value < low || value > high)
        return false;
    rest->ptr += digits;
    rest->len -= digits;
    *ret_value = value;
    return true;
}

static bool take_date(struct tw_str *rest, struct date *ret_date)
{
    return take_number(rest, 4, 1, 9999, &ret_date->year) && take_char(rest, '-') &&
           take_number(rest, 2, 1, 12, &ret_date->month) && take_char(rest, '-') &&
           take_number(rest, 2, 1, days_in_month(ret_date->year, ret_date->month), &ret_date->day);
}

/* Digits beyond the third are cut off. */
static bool take_fraction(struct tw_str *rest, int *ret_ms)
{
    int ms = 0;
    int digits = 0;

    if (!take_char(rest, '.'))
        return true;
    for (int digit; digits < 9 && take_number(rest, 1, 0, 9, &digit); digits++)
        ms = digits < 3 ? ms * 10 + digit : ms;
    for (int i = digits; i < 3; i++)
        ms *= 10;
    *ret_ms = ms;
    return digits > 0;
}

static bool take_offset(struct tw_str *rest, int *ret_offset_minutes)
{
    bool west;
    int  hours;
    int  minutes;

    if (take_char(rest, 'Z') || take_char(rest, 'z'))
        return true;
    west = take_char(rest, '-');
    if ((!west && !take_char(rest, '+')) || !take_number(rest, 2, 0, 23, &hours) || !take_char(rest, ':') ||
        !take_number(rest, 2, 0, 59, &minutes))
        return false;
    *ret_offset_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

bool tw_time_parse(struct tw_str text, int64_t *ret_time_ms)
{
    struct tw_str rest = text;
    struct date   date = {0};
    int           hour, minute, second;
    int           ms = 0;
    int           offset_minutes = 0;
    int64_t       seconds, time_ms;

    if (!take_date(&rest, &date) || (!take_char(&rest, 'T') && !take_char(&rest, 't')) ||
        !take_number(&rest, 2, 0, 23, &hour) || !take_char(&rest, ':') || !take_number(&rest, 2, 0, 59, &minute) ||
        !take_char(&rest, ':') || !take_number(&rest, 2, 0, 60, &second) || !take_fraction(&rest, &ms) ||
        !take_offset(&rest, &offset_minutes) || rest.len > 0)
        return false;
    seconds = days_of_date(date) * SECONDS_PER_DAY + hour * 3600L + (minute - offset_minutes) * 60L + second;
    /* A leap second ends a day in UTC; as POSIX time it is the first second of the next. */
    if (second == 60 && seconds % SECONDS_PER_DAY != 0)
        return false;
    time_ms = seconds * MS_PER_SECOND + ms;
    if (time_ms < first_ms || time_ms > last_ms)
        return false;
    *ret_time_ms = time_ms;
    return true;
}
