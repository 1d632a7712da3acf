/* Links: tw_ctl */
#include "token_words.h"
#include "unit.h"

static struct tw_arena arena;

static int forget(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

/* --- how long ----------------------------------------------------------------------------------------------------- */

static void assert_ttl(const char *text, int64_t seconds)
{
    struct tw_err err = {0};
    int64_t       read = -1;

    assert_rc(tw_ctl_ttl_parse(tw_str_of(text), &read, &err), TW_OK, err);
    assert_int_equal(read, seconds);
}

static void assert_no_ttl(const char *text)
{
    struct tw_err err = {0};
    int64_t       read;

    assert_rc(tw_ctl_ttl_parse(tw_str_of(text), &read, &err), TW_INVALID, err);
}

static void ttl__has_four_units(void **state)
{
    (void)state;
    assert_ttl("45s", 45);
    assert_ttl("30m", 1800);
    assert_ttl("12h", 43200);
    assert_ttl("90d", 7776000);
}

static void ttl__ends_at_ten_years(void **state)
{
    (void)state;
    assert_ttl("3650d", 315360000);
    assert_no_ttl("3651d");
    assert_no_ttl("315360001s");
    assert_no_ttl("9223372036854775807d");
}

static void ttl__is_a_positive_number_and_a_unit(void **state)
{
    static const char *const wrong[] = {"", "d", "90", "0d", "-1d", "90 d", "1.5d", "90w", "90D", "90dd", "d90"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_no_ttl(wrong[i]);
}

/* --- for what ----------------------------------------------------------------------------------------------------- */

static void assert_scope(const char *text, const char *expected)
{
    struct tw_err err = {0};
    struct tw_str scope = {0};

    assert_rc(tw_ctl_scope_parse(tw_str_of(text), &arena, &scope, &err), TW_OK, err);
    assert_str(scope, expected);
}

static void assert_no_scope(const char *text)
{
    struct tw_err err = {0};
    struct tw_str scope;

    assert_rc(tw_ctl_scope_parse(tw_str_of(text), &arena, &scope, &err), TW_INVALID, err);
}

static void scopes__are_joined_by_single_spaces(void **state)
{
    (void)state;
    assert_scope("products:write", "products:write");
    assert_scope("products:write,commands:read", "products:write commands:read");
    assert_scope(" products:write , commands:read,", "products:write commands:read");
}

static void scopes__stand_once(void **state)
{
    (void)state;
    assert_scope("b:c,a:b,b:c,a:b", "b:c a:b");
    assert_scope("a:bc,a:b", "a:bc a:b");
}

static void scopes__are_two_words_and_a_colon(void **state)
{
    static const char *const wrong[] = {"",      ",",   "products", "products:", ":write",
                                        "a:b:c", "A:b", "a:b;c:d",  "a:\"b\"",   "a:b,c"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_no_scope(wrong[i]);
}

/* --- for whom ----------------------------------------------------------------------------------------------------- */

static void service_member__has_an_address_nobody_can_receive_mail_at(void **state)
{
    struct tw_err err = {0};
    struct tw_str email;

    (void)state;
    assert_rc(tw_ctl_service_email(TW_STR("shop-1"), &arena, &email, &err), TW_OK, err);
    assert_str(email, "shop-1@service.tillwire.invalid");
}

static void service_member__has_a_plain_name(void **state)
{
    static const char *const wrong[] = {
        "", "Shop", "a b", "a@b", "\xc3\xa9", "1234567890123456789012345678901234567890123456789012345678901234x"};
    struct tw_err err = {0};
    struct tw_str email;

    (void)state;
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_rc(tw_ctl_service_email(tw_str_of(wrong[i]), &arena, &email, &err), TW_INVALID, err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ttl__has_four_units),
        cmocka_unit_test(ttl__ends_at_ten_years),
        cmocka_unit_test(ttl__is_a_positive_number_and_a_unit),
        cmocka_unit_test_teardown(scopes__are_joined_by_single_spaces, forget),
        cmocka_unit_test_teardown(scopes__stand_once, forget),
        cmocka_unit_test_teardown(scopes__are_two_words_and_a_colon, forget),
        cmocka_unit_test_teardown(service_member__has_an_address_nobody_can_receive_mail_at, forget),
        cmocka_unit_test_teardown(service_member__has_a_plain_name, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
