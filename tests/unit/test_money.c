#include "tillwire/money.h"

#include <string.h>

#include "unit.h"

static void parse__reads_whole_numbers_and_up_to_two_places(void **state)
{
    static const struct {
        const char *text;
        int64_t     minor;
    } rows[] = {
        {"0", 0},       {"0.0", 0},       {"0.01", 1},       {"0.1", 10},     {"1", 100},
        {"199", 19900}, {"199.5", 19950}, {"199.00", 19900}, {"10.09", 1009}, {"9999999999.99", TW_MONEY_MAX_MINOR},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(rows[i].text));
        int64_t       minor = -1;

        assert_true(tw_money_parse(guarded, &minor));
        assert_int_equal(minor, rows[i].minor);
        tw_guarded_free(guarded);
    }
}

static void parse__refuses_everything_else(void **state)
{
    static const char *const texts[] = {
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1.005",
        "1,00",
        "1e2",
        " 1",
        "1 ",
        "01",
        "00",
        "00.1",
        "1.0.0",
        "0x1",
        "10000000000",
        "10000000000.00",
        "NaN",
        "1.a",
        "1.1a",
        "٣",
        "1_000",
        "1.000",
        "99999999999999999999999999",
        "9999999999.999",
    };
    int64_t minor = 7;

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(texts[i]));

        assert_false(tw_money_parse(guarded, &minor));
        assert_int_equal(minor, 7);
        tw_guarded_free(guarded);
    }
}

static void format__always_has_two_places(void **state)
{
    static const struct {
        int64_t     minor;
        const char *text;
    } rows[] = {
        {0, "0.00"},
        {1, "0.01"},
        {10, "0.10"},
        {100, "1.00"},
        {19900, "199.00"},
        {TW_MONEY_MAX_MINOR, "9999999999.99"},
        {-1, "-0.01"},
        {-250, "-2.50"},
        {INT64_MAX, "92233720368547758.07"},
        {INT64_MIN, "-92233720368547758.08"},
    };
    char text[TW_MONEY_TEXT];

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        assert_int_equal(tw_money_format(rows[i].minor, text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
    }
}

static void format_and_parse__are_inverse(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t minor = (int64_t)(tw_random(&random) % (uint64_t)(TW_MONEY_MAX_MINOR + 1)) >> (tw_random(&random) % 40);
        int64_t back = -1;
        char    text[TW_MONEY_TEXT];
        size_t  len = tw_money_format(minor, text);

        assert_true(tw_money_parse((struct tw_str){text, len}, &back));
        assert_int_equal(back, minor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__reads_whole_numbers_and_up_to_two_places),
        cmocka_unit_test(parse__refuses_everything_else),
        cmocka_unit_test(format__always_has_two_places),
        cmocka_unit_test(format_and_parse__are_inverse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
