/* Ids of a policy's commands: what they depend on, and what not. */
#include "policy_id.h"

#include "tillwire/gen/cart_messages.h"
#include "unit.h"

static const struct tw_policy_cause cause = {.id = TW_STR("product-3-17"), .time_ms = 1750000000000};

static struct tw_policy_command command_of(const struct tw_type *type)
{
    return (struct tw_policy_command){
        .cause = &cause, .type = type, .domain = TW_DOMAIN_CART, .aggregate = {{0x3e}}, .caller = {{0x3e}}};
}

static struct tw_uuid id_of(const struct tw_policy_command *command, const char *body)
{
    return tw_policy_command_id("a-policy", command, tw_str_of(body), 5);
}

static void a_command__has_the_same_id_whenever_it_is_written(void **state)
{
    const struct tw_type *const types[] = {&tw_cart_reprice_type, &tw_cart_clear_type};

    (void)state;
    for (size_t i = 0; i < TW_LEN(types); i++) {
        const struct tw_policy_command command = command_of(types[i]);

        assert_true(tw_uuid_eq(id_of(&command, "body"), id_of(&command, "body")));
        assert_int_equal(tw_command_id_is_keyed(id_of(&command, "body")), !types[i]->quiet);
    }
}

static void a_command__of_another_policy_event_type_or_aggregate_has_another_id(void **state)
{
    const struct tw_policy_cause   other_cause = {.id = TW_STR("product-3-18"), .time_ms = cause.time_ms};
    const struct tw_policy_command command = command_of(&tw_cart_clear_type);
    struct tw_policy_command       other = command;

    (void)state;
    assert_false(
        tw_uuid_eq(id_of(&command, ""), tw_policy_command_id("another-policy", &command, (struct tw_str){0}, 5)));
    other.cause = &other_cause;
    assert_false(tw_uuid_eq(id_of(&command, ""), id_of(&other, "")));
    other = command;
    other.type = &tw_cart_acknowledge_type;
    assert_false(tw_uuid_eq(id_of(&command, ""), id_of(&other, "")));
    other = command;
    other.aggregate.bytes[15] = 1;
    assert_false(tw_uuid_eq(id_of(&command, ""), id_of(&other, "")));
}

/* What a look-up finds may be another thing when its event comes again. */
static void a_quiet_command__with_another_body_has_another_id(void **state)
{
    const struct tw_policy_command command = command_of(&tw_cart_reprice_type);

    (void)state;
    assert_true(tw_cart_reprice_type.quiet);
    assert_false(tw_uuid_eq(id_of(&command, "version 7"), id_of(&command, "version 8")));
}

/* The ledger knows it by its id and refuses another body. */
static void a_command_that_the_ledger_knows__has_one_id_whatever_its_body(void **state)
{
    const struct tw_policy_command command = command_of(&tw_cart_clear_type);

    (void)state;
    assert_false(tw_cart_clear_type.quiet);
    assert_true(tw_uuid_eq(id_of(&command, "a"), id_of(&command, "b")));
}

/* Released ids stay: a command that was written before an update is the same command after it. */
static void an_id__is_what_it_was(void **state)
{
    const struct tw_policy_command command = command_of(&tw_cart_clear_type);
    char                           text[TW_UUID_TEXT + 1];

    (void)state;
    tw_uuid_format(id_of(&command, ""), text);
    assert_string_equal(text, "4ef141b5-6aaf-8c05-a8a6-e4fe6c70d756");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command__has_the_same_id_whenever_it_is_written),
        cmocka_unit_test(a_command__of_another_policy_event_type_or_aggregate_has_another_id),
        cmocka_unit_test(a_quiet_command__with_another_body_has_another_id),
        cmocka_unit_test(a_command_that_the_ledger_knows__has_one_id_whatever_its_body),
        cmocka_unit_test(an_id__is_what_it_was),
    };

    return cmocka_run_group_tests_name("policy_id", tests, NULL, NULL);
}
