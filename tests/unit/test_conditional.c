#include "conditional.h"

#include <string.h>

#include "unit.h"

static const uint8_t key[TW_ETAG_KEY_BYTES] = {1, 2, 3};

static struct tw_str etag_of(int64_t version, const char *body)
{
    static char etag[TW_ETAG_TEXT];

    tw_etag_format(key, version, tw_str_of(body), etag);
    return tw_str_of(etag);
}

static void etag__is_version_and_hash_in_quotes(void **state)
{
    (void)state;
    /* SipHash-2-4 of "{}" under 010203 00…, computed by another program. */
    assert_str(etag_of(12, "{}"), "\"12.f396e4906d01dd40\"");
    assert_int_equal(etag_of(INT64_MAX, "{}").len + 1, 2 + 19 + 1 + 16 + 1);
}

static void etag__changes_with_version_and_body(void **state)
{
    char before[TW_ETAG_TEXT];

    (void)state;
    memcpy(before, etag_of(12, "{}").ptr, TW_ETAG_TEXT);
    assert_string_not_equal(before, etag_of(13, "{}").ptr);
    assert_string_not_equal(before, etag_of(12, "{ }").ptr);
    assert_string_equal(before, etag_of(12, "{}").ptr);
}

static bool is_among(const char *field)
{
    return tw_etag_is_among(tw_str_of(field), TW_STR("\"3.ab\""));
}

static void if_none_match__names_whole_tags_weak_or_strong(void **state)
{
    (void)state;
    assert_true(is_among("\"3.ab\""));
    assert_true(is_among("W/\"3.ab\""));
    assert_true(is_among("\"1.00\", W/\"2.00\" ,\t\"3.ab\""));
    assert_true(is_among("*"));
    assert_false(is_among("\"3.ac\""));
    assert_false(is_among("\"3.ab"));
    assert_false(is_among("3.ab"));
    assert_false(is_among("\"x, \"3.ab\""));
    assert_false(is_among(""));
    assert_false(is_among("W/"));
    assert_false(is_among("\""));
}

/* -2: nothing can fit. */
static int64_t if_match(const char *field)
{
    int64_t version = -7;

    if (tw_if_match_version(tw_str_of(field), &version))
        return version;
    assert_int_equal(version, -7);
    return -2;
}

static void if_match__asks_for_the_version_alone(void **state)
{
    (void)state;
    assert_int_equal(if_match("\"3.ab\""), 3);
    assert_int_equal(if_match("\"3.of another day\""), 3);
    assert_int_equal(if_match("\"0.ab\""), 0);
    assert_int_equal(if_match("*"), -1);
}

static void if_match__of_several_tags_takes_the_newest(void **state)
{
    (void)state;
    assert_int_equal(if_match("\"3.ab\", \"7.cd\", \"5.ef\""), 7);
    assert_int_equal(if_match("\"of somebody else\", \"3.ab\""), 3);
}

static void if_match__without_a_tag_of_ours_fits_nothing(void **state)
{
    static const char *const fields[] = {
        "",       "3", "\"\"", "\"3\"", "\"x.ab\"", "\".ab\"", "\"-1.ab\"", "W/\"3.ab\"", "\"99999999999999999999.ab\"",
        "\"3.ab",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(fields); i++)
        assert_int_equal(if_match(fields[i]), -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(etag__is_version_and_hash_in_quotes),
        cmocka_unit_test(etag__changes_with_version_and_body),
        cmocka_unit_test(if_none_match__names_whole_tags_weak_or_strong),
        cmocka_unit_test(if_match__asks_for_the_version_alone),
        cmocka_unit_test(if_match__of_several_tags_takes_the_newest),
        cmocka_unit_test(if_match__without_a_tag_of_ours_fits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
