#include "tillwire/outcome.h"

#include "unit.h"

static void table__is_found_by_code_again(void **state)
{
    (void)state;
    for (int i = 0; i <= TW_PROBLEM_ENQUEUE_TIMEOUT; i++) {
        enum tw_problem problem = (enum tw_problem)i;

        assert_int_equal(tw_problem_of_code(tw_str_of(tw_problem_code(problem))), problem);
    }
}

static void table__knows_status_and_title(void **state)
{
    (void)state;
    assert_string_equal(tw_problem_code(TW_PROBLEM_EMAIL_TAKEN), "email-taken");
    assert_int_equal(tw_problem_http(TW_PROBLEM_EMAIL_TAKEN), 409);
    assert_string_equal(tw_problem_title(TW_PROBLEM_CART_LINES_LIMIT), "A cart holds at most 100 lines");
    assert_int_equal(tw_problem_http(TW_PROBLEM_NONE), 200);
}

static void of_code__gives_internal_for_an_unknown_one(void **state)
{
    (void)state;
    assert_int_equal(tw_problem_of_code(TW_STR("of-tomorrow")), TW_PROBLEM_INTERNAL);
    assert_int_equal(tw_problem_of_code((struct tw_str){NULL, 0}), TW_PROBLEM_NONE);
}

static void succeeded__carries_status_and_resource(void **state)
{
    struct tw_outcome outcome = tw_succeeded(201, TW_STR("/v1/cart"));

    (void)state;
    assert_int_equal(outcome.status, TW_SUCCEEDED);
    assert_int_equal(outcome.http_status, 201);
    assert_int_equal(outcome.problem, TW_PROBLEM_NONE);
    assert_str(outcome.resource, "/v1/cart");
    assert_int_equal(outcome.detail.len, 0);
}

static void rejected__takes_its_status_from_the_table(void **state)
{
    struct tw_outcome outcome = tw_rejected(TW_PROBLEM_LINE_QUANTITY_LIMIT, "a line holds 999 pieces");

    (void)state;
    assert_int_equal(outcome.status, TW_REJECTED);
    assert_int_equal(outcome.http_status, 422);
    assert_int_equal(outcome.problem, TW_PROBLEM_LINE_QUANTITY_LIMIT);
    assert_str(outcome.detail, "a line holds 999 pieces");
    assert_int_equal(outcome.resource.len, 0);
}

static void pending__is_accepted_and_no_refusal(void **state)
{
    struct tw_outcome outcome = tw_pending(TW_STR("/v1/members/me"));

    (void)state;
    assert_int_equal(outcome.status, TW_PENDING);
    assert_int_equal(outcome.http_status, 202);
    assert_int_equal(outcome.problem, TW_PROBLEM_NONE);
    assert_str(outcome.resource, "/v1/members/me");
    assert_false(outcome.has_effect);
}

static void status_names__are_those_of_the_edge(void **state)
{
    (void)state;
    assert_string_equal(tw_status_name(TW_SUCCEEDED), "succeeded");
    assert_string_equal(tw_status_name(TW_REJECTED), "rejected");
    assert_string_equal(tw_status_name(TW_DEAD_LETTERED), "dead_lettered");
    assert_string_equal(tw_status_name(TW_PENDING), "accepted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table__is_found_by_code_again),
        cmocka_unit_test(table__knows_status_and_title),
        cmocka_unit_test(of_code__gives_internal_for_an_unknown_one),
        cmocka_unit_test(succeeded__carries_status_and_resource),
        cmocka_unit_test(rejected__takes_its_status_from_the_table),
        cmocka_unit_test(pending__is_accepted_and_no_refusal),
        cmocka_unit_test(status_names__are_those_of_the_edge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
