#include "tillwire/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

static void of__takes_null_for_empty(void **state)
{
    (void)state;
    assert_int_equal(tw_str_of(NULL).len, 0);
    assert_int_equal(tw_str_of("abc").len, 3);
}

static void eq__compares_bytes_also_nul(void **state)
{
    (void)state;
    assert_true(tw_str_eq(TW_STR("a\0b"), TW_STR("a\0b")));
    assert_false(tw_str_eq(TW_STR("a\0b"), TW_STR("a\0c")));
    assert_false(tw_str_eq(TW_STR("a"), TW_STR("ab")));
    assert_true(tw_str_eq(TW_STR(""), (struct tw_str){NULL, 0}));
    assert_true(tw_str_is(TW_STR("cart"), "cart"));
    assert_false(tw_str_is(TW_STR("cart"), "car"));
}

static void cmp__orders_bytes_unsigned_and_prefixes_first(void **state)
{
    (void)state;
    assert_true(tw_str_cmp(TW_STR("a"), TW_STR("b")) < 0);
    assert_true(tw_str_cmp(TW_STR("a"), TW_STR("ab")) < 0);
    assert_true(tw_str_cmp(TW_STR("\xff"), TW_STR("z")) > 0);
    assert_int_equal(tw_str_cmp(TW_STR("a"), TW_STR("a")), 0);
    assert_true(tw_str_cmp((struct tw_str){NULL, 0}, TW_STR("a")) < 0);
}

/* By the definition of RFC 3629: decode by the bit patterns, then ask whether it is the shortest form of a scalar. */
static size_t step_by_definition(const unsigned char *p, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : (p[0] & 0xE0) == 0xC0 ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : (p[0] & 0xF8) == 0xF0 ? 4 : 0;
    uint32_t c = n == 1 ? p[0] : n ? p[0] & (0xFFU >> (n + 1)) : 0;

    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    return c < least[n] || (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF ? 0 : n;
}

static void utf8_step__agrees_with_the_definition_on_every_start(void **state)
{
    static const unsigned char tails[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};

    (void)state;
    for (unsigned int start = 0; start < 0x10000; start++) {
        for (size_t i = 0; i < sizeof(tails) * sizeof(tails); i++) {
            unsigned char bytes[4] = {(unsigned char)(start >> 8), (unsigned char)start, tails[i / sizeof(tails)],
                                      tails[i % sizeof(tails)]};

            for (size_t len = 1; len <= 4; len++)
                assert_int_equal(tw_str_utf8_step((struct tw_str){(char *)bytes, len}), step_by_definition(bytes, len));
        }
    }
    assert_int_equal(tw_str_utf8_step(TW_STR("")), 0);
}

static void is_utf8__reads_no_byte_beyond_the_end(void **state)
{
    static const char *const cut[] = {"\xC3", "\xE2\x82", "\xF0\x9F\x98", "a\xF0\x9F"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(cut); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(cut[i]));

        assert_false(tw_str_is_utf8(guarded));
        tw_guarded_free(guarded);
    }
}

static void is_utf8__refuses_nul_and_takes_the_empty_text(void **state)
{
    (void)state;
    assert_true(tw_str_is_utf8(TW_STR("")));
    assert_true(tw_str_is_utf8(TW_STR("Grüße, 😀")));
    assert_false(tw_str_is_utf8(TW_STR("a\0b")));
    assert_false(tw_str_is_utf8(TW_STR("\xED\xA0\x80")));
}

static void to_int__reads_the_whole_range(void **state)
{
    static const int64_t numbers[] = {0, 1, -1, 42, INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1};
    int64_t              value;

    (void)state;
    for (size_t i = 0; i < TW_LEN(numbers); i++) {
        char text[32];

        snprintf(text, sizeof(text), "%" PRId64, numbers[i]);
        assert_true(tw_str_to_int(tw_str_of(text), &value));
        assert_true(value == numbers[i]);
    }
}

static void to_int__refuses_everything_else(void **state)
{
    static const char *const texts[] = {"",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "0x10",
                                        "1e3",
                                        "--1",
                                        "a",
                                        "1a",
                                        "-a",
                                        "1-",
                                        "/",
                                        ":",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999"};
    int64_t                  value = 7;

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        assert_false(tw_str_to_int(tw_str_of(texts[i]), &value));
        assert_int_equal(value, 7);
    }
    assert_false(tw_str_to_int((struct tw_str){"1\0", 2}, &value));
}

static void buf__grows_and_keeps_what_it_has(void **state)
{
    struct tw_buf buf = {0};

    (void)state;
    for (unsigned int i = 0; i < 10000; i++)
        tw_buf_printf(&buf, "%04u", i);
    assert_int_equal(buf.len, 40000);
    assert_memory_equal(buf.ptr + 4 * 1234, "1234", 4);
    assert_memory_equal(buf.ptr + 4 * 9999, "9999", 4);
    assert_false(buf.overflow);
    tw_buf_done(&buf);
    assert_null(buf.ptr);
}

static void buf__prints_texts_longer_than_its_first_try(void **state)
{
    struct tw_buf buf = {0};

    (void)state;
    tw_buf_printf(&buf, "<%2000d>", 5);
    assert_int_equal(buf.len, 2002);
    assert_int_equal(buf.ptr[2000], '5');
    assert_int_equal(buf.ptr[2001], '>');
    tw_buf_done(&buf);
}

static void buf__drops_what_exceeds_its_ceiling_and_says_so(void **state)
{
    struct tw_buf buf = {.max_bytes = 10};
    char          text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    tw_buf_add_str(&buf, TW_STR("0123456789"));
    assert_false(buf.overflow);
    tw_buf_add_str(&buf, TW_STR("a"));
    assert_true(buf.overflow);
    assert_str(tw_buf_str(&buf), "0123456789");
    tw_buf_clear(&buf);
    assert_false(buf.overflow);
    tw_buf_printf(&buf, "%s", text);
    assert_true(buf.overflow);
    tw_buf_add_str(&buf, TW_STR("b")); /* nothing follows a hole */
    assert_int_equal(buf.len, 0);
    tw_buf_done(&buf);
    assert_int_equal(buf.max_bytes, 10);
}

static void buf__takes_nothing_and_null(void **state)
{
    struct tw_buf buf = {0};

    (void)state;
    tw_buf_add(&buf, NULL, 0);
    assert_int_equal(tw_buf_str(&buf).len, 0);
    tw_buf_done(&buf);
    tw_buf_done(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of__takes_null_for_empty),
        cmocka_unit_test(eq__compares_bytes_also_nul),
        cmocka_unit_test(cmp__orders_bytes_unsigned_and_prefixes_first),
        cmocka_unit_test(utf8_step__agrees_with_the_definition_on_every_start),
        cmocka_unit_test(is_utf8__reads_no_byte_beyond_the_end),
        cmocka_unit_test(is_utf8__refuses_nul_and_takes_the_empty_text),
        cmocka_unit_test(to_int__reads_the_whole_range),
        cmocka_unit_test(to_int__refuses_everything_else),
        cmocka_unit_test(buf__grows_and_keeps_what_it_has),
        cmocka_unit_test(buf__prints_texts_longer_than_its_first_try),
        cmocka_unit_test(buf__drops_what_exceeds_its_ceiling_and_says_so),
        cmocka_unit_test(buf__takes_nothing_and_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
