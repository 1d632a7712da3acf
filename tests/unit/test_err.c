#include "tillwire/err.h"

#include <string.h>

#include "unit.h"

static void table__gives_each_code_its_policy(void **state)
{
    (void)state;
    assert_string_equal(tw_rc_name(TW_OK), "OK");
    assert_int_equal(tw_rc_action(TW_OK), TW_GO_ON);
    assert_string_equal(tw_rc_name(TW_UNREACHED), "UNREACHED");
    assert_int_equal(tw_rc_action(TW_UNREACHED), TW_RETRY);
    assert_int_equal(tw_rc_http(TW_UNREACHED), 503);
    assert_int_equal(tw_rc_action(TW_UNKNOWN), TW_REREAD);
    assert_int_equal(tw_rc_action(TW_FENCED), TW_REREAD);
    assert_int_equal(tw_rc_action(TW_REFUSED), TW_BISECT);
    assert_int_equal(tw_rc_action(TW_BROKEN), TW_STOP);
    assert_string_equal(tw_rc_text(TW_BROKEN), "an invariant is violated");
    assert_int_equal(tw_rc_http(TW_INVALID), 422);
}

static void fail__fills_the_error_and_returns_its_code(void **state)
{
    struct tw_err err = {0};

    (void)state;
    assert_int_equal(tw_fail(&err, TW_REFUSED, "cart.store.commit", 23505, "row %d", 7), TW_REFUSED);
    assert_int_equal(err.rc, TW_REFUSED);
    assert_string_equal(err.where, "cart.store.commit");
    assert_int_equal(err.native, 23505);
    assert_string_equal(err.msg, "row 7");
}

static void fail__takes_null(void **state)
{
    (void)state;
    assert_int_equal(tw_fail(NULL, TW_BROKEN, "x", 0, "%s", "y"), TW_BROKEN);
}

static void fail__cuts_long_messages(void **state)
{
    struct tw_err err = {0};

    (void)state;
    tw_fail(&err, TW_INVALID, "x", 0, "%0500d", 1);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void fail__may_quote_the_message_it_replaces(void **state)
{
    struct tw_err err = {0};

    (void)state;
    tw_fail(&err, TW_INVALID, "x", 0, "inner");
    tw_fail(&err, TW_BROKEN, "y", 0, "outer: %s", err.msg);
    assert_string_equal(err.msg, "outer: inner");
}

static enum tw_rc give(enum tw_rc rc)
{
    return rc;
}

static enum tw_rc try_it(enum tw_rc rc, int *ret_went_on)
{
    TW_TRY(give(rc));
    *ret_went_on = 1;
    return TW_OK;
}

static void try__returns_early_on_failure_only(void **state)
{
    int went_on = 0;

    (void)state;
    assert_int_equal(try_it(TW_FENCED, &went_on), TW_FENCED);
    assert_int_equal(went_on, 0);
    assert_int_equal(try_it(TW_OK, &went_on), TW_OK);
    assert_int_equal(went_on, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table__gives_each_code_its_policy),
        cmocka_unit_test(fail__fills_the_error_and_returns_its_code),
        cmocka_unit_test(fail__takes_null),
        cmocka_unit_test(fail__cuts_long_messages),
        cmocka_unit_test(fail__may_quote_the_message_it_replaces),
        cmocka_unit_test(try__returns_early_on_failure_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
