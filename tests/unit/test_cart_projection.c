/* What readers find, byte by byte, and what a change of a cart changes of it. */
#include "workers/cart/cart_projection.h"

#include <string.h>

#include "unit.h"

static const struct tw_uuid product = {
    {0x01, 0x92, 0xf5, 0xc0, 0x7b, 0x1e, 0x8d, 0x3a, 0x8f, 0x27, 0x6c, 0x1d, 0x2e, 0x3f, 0x4a, 0x5b}};

static struct tw_cart_line a_line(uint8_t n)
{
    struct tw_cart_line line = {
        .product_id = product,
        .product_name = TW_STR("Socks"),
        .price_minor = 495,
        .quantity = 2,
        .added_at_ms = INT64_C(1795428000123),
        .product_version = 3,
        .available = true,
    };

    line.product_id.bytes[15] = n;
    return line;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void item_value__is_the_data_models_json(void **state)
{
    struct tw_cart_line line = a_line(0x5b);
    struct tw_buf       out = {0};

    (void)state;
    tw_cart_item_value(&line, &out);
    assert_str(tw_buf_str(&out), "{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"product_name\":\"Socks\","
                                 "\"price\":4.95,\"quantity\":2,\"added_at\":\"2026-11-23T10:00:00.123Z\"}");
    tw_buf_done(&out);
}

static void item_value__writes_prices_with_two_decimals(void **state)
{
    static const struct {
        int64_t     minor;
        const char *member;
    } prices[] = {{0, "\"price\":0.00,"},
                  {5, "\"price\":0.05,"},
                  {19900, "\"price\":199.00,"},
                  {INT64_C(999999999999), "\"price\":9999999999.99,"}};
    struct tw_buf out = {0};

    (void)state;
    for (size_t i = 0; i < TW_LEN(prices); i++) {
        struct tw_cart_line line = a_line(0);
        line.price_minor = prices[i].minor;
        tw_cart_item_value(&line, &out);
        tw_buf_add(&out, "", 1);
        assert_non_null(strstr(out.ptr, prices[i].member));
    }
    tw_buf_done(&out);
}

static void item_value__escapes_what_json_forbids_and_nothing_else(void **state)
{
    struct tw_cart_line line = a_line(0x5b);
    struct tw_buf       out = {0};

    (void)state;
    line.product_name = TW_STR("12\" \\ caf\xc3\xa9\n\x01/\x7f");
    tw_cart_item_value(&line, &out);
    assert_str(tw_buf_str(&out), "{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"product_name\":"
                                 "\"12\\\" \\\\ caf\xc3\xa9\\u000a\\u0001/\x7f\","
                                 "\"price\":4.95,\"quantity\":2,\"added_at\":\"2026-11-23T10:00:00.123Z\"}");
    tw_buf_done(&out);
}

static void summary_value__is_the_data_models_json_of_the_available_lines(void **state)
{
    struct tw_cart_line lines[] = {a_line(1), a_line(2), a_line(3)};
    struct tw_cart      cart = {.lines = lines, .lines_len = TW_LEN(lines), .updated_at_ms = INT64_C(1795428000007)};
    struct tw_buf       out = {0};

    (void)state;
    lines[1].available = false;
    lines[2].price_minor = 100000;
    tw_buf_add(&out, "old", 3);
    tw_cart_summary_value(&cart, &out);
    assert_str(tw_buf_str(&out), "{\"total_items\":4,\"total_price\":2009.90,"
                                 "\"updated_at\":\"2026-11-23T10:00:00.007Z\"}");
    tw_buf_done(&out);
}

static void reads_the_same__compares_what_readers_see(void **state)
{
    struct tw_cart_line line = a_line(1), other = line;

    (void)state;
    other.product_version++;
    other.available = false;
    other.has_previous_price = true;
    assert_true(tw_cart_reads_the_same(&line, &other));
    other = line, other.price_minor++;
    assert_false(tw_cart_reads_the_same(&line, &other));
    other = line, other.quantity++;
    assert_false(tw_cart_reads_the_same(&line, &other));
    other = line, other.added_at_ms++;
    assert_false(tw_cart_reads_the_same(&line, &other));
    other = line, other.product_name = TW_STR("Socke");
    assert_false(tw_cart_reads_the_same(&line, &other));
}

/* --- pairs -------------------------------------------------------------------------------------------------------- */

/* Pairs up carts of lines by one letter each, as text: `a` stays, `-a` went, `+a` came. */
static const char *pairs_of(const char *before, const char *after)
{
    static char              text[4 * TW_CART_PAIRS_MAX];
    struct tw_cart_line      lines[2][TW_CART_LINES_MAX];
    struct tw_cart           carts[2] = {{.lines = lines[0]}, {.lines = lines[1]}};
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];
    size_t                   len = 0;

    for (const char *name = before; name && *name; name++)
        lines[0][carts[0].lines_len++] = a_line((uint8_t)*name);
    for (const char *name = after; *name; name++)
        lines[1][carts[1].lines_len++] = a_line((uint8_t)*name);
    struct tw_cart_change change = {.before = before ? &carts[0] : NULL, .after = &carts[1]};
    size_t                count = tw_cart_pair_lines(&change, pairs);
    for (size_t i = 0; i < count; i++) {
        const struct tw_cart_line *line = pairs[i].after ? pairs[i].after : pairs[i].before;

        if (!pairs[i].after)
            text[len++] = '-';
        if (!pairs[i].before)
            text[len++] = '+';
        if (line)
            text[len++] = (char)line->product_id.bytes[15];
    }
    text[len] = '\0';
    return text;
}

static void pair_lines__tells_what_stays_goes_and_comes(void **state)
{
    (void)state;
    assert_string_equal(pairs_of(NULL, ""), "");
    assert_string_equal(pairs_of(NULL, "ab"), "+a+b");
    assert_string_equal(pairs_of("ab", "ab"), "ab");
    assert_string_equal(pairs_of("ab", "abc"), "ab+c");
    assert_string_equal(pairs_of("abc", "ac"), "a-bc");
    assert_string_equal(pairs_of("abc", "cd"), "-a-bc+d");
    assert_string_equal(pairs_of("ab", ""), "-a-b");
}

static void pair_lines__lets_a_line_that_came_back_go_before_it_comes(void **state)
{
    (void)state;
    assert_string_equal(pairs_of("ab", "ba"), "-ab+a");
    assert_string_equal(pairs_of("abc", "xa"), "-a-b-c+x+a");
}

static void pair_lines__of_full_carts_fit(void **state)
{
    struct tw_cart_line      lines[2][TW_CART_LINES_MAX];
    struct tw_cart           before = {.lines = lines[0], .lines_len = TW_CART_LINES_MAX};
    struct tw_cart           after = {.lines = lines[1], .lines_len = TW_CART_LINES_MAX};
    struct tw_cart_change    change = {.before = &before, .after = &after};
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];

    (void)state;
    for (uint8_t n = 0; n < TW_CART_LINES_MAX; n++) {
        lines[0][n] = a_line(n);
        lines[1][n] = a_line((uint8_t)(TW_CART_LINES_MAX + n));
    }
    assert_int_equal(tw_cart_pair_lines(&change, pairs), TW_CART_PAIRS_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(item_value__is_the_data_models_json),
        cmocka_unit_test(item_value__writes_prices_with_two_decimals),
        cmocka_unit_test(item_value__escapes_what_json_forbids_and_nothing_else),
        cmocka_unit_test(summary_value__is_the_data_models_json_of_the_available_lines),
        cmocka_unit_test(reads_the_same__compares_what_readers_see),
        cmocka_unit_test(pair_lines__tells_what_stays_goes_and_comes),
        cmocka_unit_test(pair_lines__lets_a_line_that_came_back_go_before_it_comes),
        cmocka_unit_test(pair_lines__of_full_carts_fit),
    };

    return cmocka_run_group_tests_name("cart_projection", tests, NULL, NULL);
}
