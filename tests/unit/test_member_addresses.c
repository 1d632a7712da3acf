/* The rules of postal addresses: a member, a command, and what must follow. */
#include "member_fixture.h"

/* --- given, when -------------------------------------------------------------------------------------------------- */

static struct tw_member_add_address home(void)
{
    return (struct tw_member_add_address){
        .member_id = ana,
        .label = TW_STR("Home"),
        .address_line1 = TW_STR("Jl. Sudirman 1"),
        .has_address_line2 = true,
        .address_line2 = TW_STR("Lantai 3"),
        .city = TW_STR("Jakarta"),
        .province = TW_STR("DKI Jakarta"),
        .postal_code = TW_STR("10220"),
    };
}

static const struct tw_outcome *add(struct tw_turn *turn, int64_t at_ms)
{
    struct tw_member_add_address body = home();

    return decide_plain(turn, &tw_member_add_address_type, &body, at_ms);
}

static const struct tw_outcome *add_as(struct tw_turn *turn, bool is_default, int64_t at_ms)
{
    struct tw_member_add_address body = home();

    body.has_is_default = true;
    body.is_default = is_default;
    return decide_plain(turn, &tw_member_add_address_type, &body, at_ms);
}

static struct tw_uuid last_address(const struct tw_turn *turn)
{
    return tw_derived_id(command_id(turn->command_number - 1), ana, "address");
}

/* Adds one a second after the one before and returns its id. */
static struct tw_uuid given_address(struct tw_turn *turn, int second)
{
    assert_int_equal(add(turn, AT_MS + 1000 * second)->http_status, 201);
    return last_address(turn);
}

static const struct tw_outcome *change(struct tw_turn *turn, const struct tw_member_change_address *body)
{
    return decide_plain(turn, &tw_member_change_address_type, body, AT_MS + HOUR_MS);
}

static const struct tw_outcome *remove_address(struct tw_turn *turn, struct tw_uuid address_id)
{
    struct tw_member_remove_address body = {.member_id = ana, .address_id = address_id};

    return decide_plain(turn, &tw_member_remove_address_type, &body, AT_MS + HOUR_MS);
}

static const struct tw_outcome *set_default(struct tw_turn *turn, struct tw_uuid address_id)
{
    struct tw_member_set_default_address body = {.member_id = ana, .address_id = address_id};

    return decide(turn, &tw_member_set_default_address_type, &body, AT_MS + HOUR_MS);
}

/* --- then --------------------------------------------------------------------------------------------------------- */

/* The one default address; there must be exactly one. */
static struct tw_uuid default_of(const struct tw_turn *turn)
{
    struct tw_uuid id = tw_uuid_nil;
    int            count = 0;

    for (uint32_t i = 0; i < member(turn)->addresses_len; i++) {
        if (!member(turn)->addresses[i].is_default)
            continue;
        id = member(turn)->addresses[i].address_id;
        count++;
    }
    assert_int_equal(count, 1);
    return id;
}

static void assert_default(const struct tw_turn *turn, struct tw_uuid address_id)
{
    assert_true(tw_uuid_eq(default_of(turn), address_id));
}

/* The three events say the same things. */
static void assert_event(const struct tw_turn *turn, const struct tw_type *type, struct tw_uuid address_id)
{
    const struct tw_member_address_changed *event = event_of(turn, type);

    assert_non_null(event);
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_true(tw_uuid_eq(event->address_id, address_id));
    assert_int_equal(event->version, member(turn)->version);
    assert_int_equal(event->has_default_address_id, member(turn)->addresses_len > 0);
    if (event->has_default_address_id)
        assert_default(turn, event->default_address_id);
}

static const struct tw_member_address *address_of(const struct tw_turn *turn, struct tw_uuid address_id)
{
    for (uint32_t i = 0; i < member(turn)->addresses_len; i++)
        if (tw_uuid_eq(member(turn)->addresses[i].address_id, address_id))
            return &member(turn)->addresses[i];
    fail_msg("the address is not there");
    return NULL;
}

/* --- add_address -------------------------------------------------------------------------------------------------- */

static void add_address__keeps_all_of_it_under_an_id_of_the_command(void **state)
{
    struct tw_turn                 *turn = *state;
    const struct tw_member_address *address;

    given_member(turn);
    assert_int_equal(add(turn, AT_MS + 5)->http_status, 201);
    assert_path(turn->outcome.resource, "/v1/members/me/addresses", last_address(turn));
    address = address_of(turn, last_address(turn));
    assert_str(address->label, "Home");
    assert_str(address->address_line1, "Jl. Sudirman 1");
    assert_true(address->has_address_line2);
    assert_str(address->address_line2, "Lantai 3");
    assert_str(address->city, "Jakarta");
    assert_str(address->province, "DKI Jakarta");
    assert_str(address->postal_code, "10220");
    assert_true(address->created_at_ms == AT_MS + 5);
    assert_event(turn, &tw_member_address_added_type, last_address(turn));
}

static void addresses__move_version_and_time_but_no_credentials(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana};
    struct tw_uuid                  second;

    given_member(turn);
    body.address_id = given_address(turn, 0);
    assert_int_equal(member(turn)->version, 2);
    second = given_address(turn, 1);
    assert_int_equal(member(turn)->version, 3);
    change(turn, &body);
    assert_int_equal(member(turn)->version, 4);
    set_default(turn, second);
    assert_int_equal(member(turn)->version, 5);
    remove_address(turn, second);
    assert_int_equal(member(turn)->version, 6);
    assert_true(member(turn)->updated_at_ms == AT_MS + HOUR_MS);
    assert_int_equal(member(turn)->credential_version, 1);
}

static void add_address__makes_the_first_the_default_whatever_it_says(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    add_as(turn, false, AT_MS);
    assert_default(turn, last_address(turn));
}

static void add_address__leaves_the_default_where_it_is_unless_it_asks_for_it(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first;

    given_member(turn);
    first = given_address(turn, 0);
    given_address(turn, 1);
    assert_default(turn, first);
    add_as(turn, false, AT_MS + 2000);
    assert_default(turn, first);
    add_as(turn, true, AT_MS + 3000);
    assert_default(turn, last_address(turn));
    assert_event(turn, &tw_member_address_added_type, last_address(turn));
}

static void add_address__is_refused_at_the_21st(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  last = tw_uuid_nil;

    given_member(turn);
    for (int i = 0; i < 20; i++)
        last = given_address(turn, i);
    assert_problem(add(turn, AT_MS + HOUR_MS), TW_PROBLEM_ADDRESSES_LIMIT);
    assert_int_equal(member(turn)->addresses_len, 20);
    remove_address(turn, last);
    assert_int_equal(add(turn, AT_MS + HOUR_MS)->http_status, 201);
    assert_problem(add(turn, AT_MS + HOUR_MS), TW_PROBLEM_ADDRESSES_LIMIT);
}

static void add_address__with_an_id_that_made_one_before_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    given_address(turn, 0);
    turn->command_number--;
    assert_problem(add(turn, AT_MS + 2 * DAY_MS), TW_PROBLEM_KEY_REUSED);
}

static void add_address__of_a_requeued_command_takes_its_place_by_age(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  at_10, at_5, at_7;

    given_member(turn);
    at_10 = given_address(turn, 10);
    at_5 = given_address(turn, 5);
    at_7 = given_address(turn, 7);
    assert_true(tw_uuid_eq(member(turn)->addresses[0].address_id, at_5));
    assert_true(tw_uuid_eq(member(turn)->addresses[1].address_id, at_7));
    assert_true(tw_uuid_eq(member(turn)->addresses[2].address_id, at_10));
    assert_default(turn, at_10); /* it was there first */
    assert_true(member(turn)->updated_at_ms == AT_MS + 10000);
    add_as(turn, true, AT_MS + 6000);
    assert_default(turn, last_address(turn));
    assert_true(tw_uuid_eq(member(turn)->addresses[1].address_id, last_address(turn)));
}

static void addresses__of_one_instant_stand_in_the_order_of_their_ids(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    for (int i = 0; i < 20; i++)
        add(turn, AT_MS);
    for (uint32_t i = 1; i < 20; i++)
        assert_true(tw_uuid_cmp(member(turn)->addresses[i - 1].address_id, member(turn)->addresses[i].address_id) < 0);
}

/* --- change_address ----------------------------------------------------------------------------------------------- */

static void change_address__changes_what_is_named_and_leaves_the_rest(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana, .has_city = true, .city = TW_STR("Bandung")};
    const struct tw_member_address *address;

    given_member(turn);
    body.address_id = given_address(turn, 0);
    assert_int_equal(change(turn, &body)->http_status, 200);
    assert_path(turn->outcome.resource, "/v1/members/me/addresses", body.address_id);
    assert_event(turn, &tw_member_address_changed_type, body.address_id);
    address = address_of(turn, body.address_id);
    assert_str(address->city, "Bandung");
    assert_str(address->label, "Home");
    assert_str(address->address_line1, "Jl. Sudirman 1");
    assert_str(address->address_line2, "Lantai 3");
    assert_str(address->province, "DKI Jakarta");
    assert_str(address->postal_code, "10220");
    assert_true(address->created_at_ms == AT_MS);
}

static void change_address__can_change_every_line(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {
        .member_id = ana,
        .has_label = true,
        .label = TW_STR("Office"),
        .has_address_line1 = true,
        .address_line1 = TW_STR("Jl. Thamrin 2"),
        .has_address_line2 = true,
        .address_line2 = TW_STR("Lantai 9"),
        .has_city = true,
        .city = TW_STR("Bandung"),
        .has_province = true,
        .province = TW_STR("Jawa Barat"),
        .has_postal_code = true,
        .postal_code = TW_STR("40111"),
    };
    const struct tw_member_address *address;

    given_member(turn);
    given_address(turn, 0);
    body.address_id = given_address(turn, 1);
    change(turn, &body);
    address = address_of(turn, body.address_id);
    assert_str(address->label, "Office");
    assert_str(address->address_line1, "Jl. Thamrin 2");
    assert_str(address->address_line2, "Lantai 9");
    assert_str(address->city, "Bandung");
    assert_str(address->province, "Jawa Barat");
    assert_str(address->postal_code, "40111");
    assert_str(member(turn)->addresses[0].label, "Home"); /* the other one is as it was */
}

static void change_address__of_null_clears_the_second_line(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana, .clear_address_line2 = true};

    given_member(turn);
    body.address_id = given_address(turn, 0);
    change(turn, &body);
    assert_false(address_of(turn, body.address_id)->has_address_line2);
    assert_str(address_of(turn, body.address_id)->address_line1, "Jl. Sudirman 1");
}

static void change_address__may_take_the_default(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana, .has_is_default = true, .is_default = true};

    given_member(turn);
    given_address(turn, 0);
    body.address_id = given_address(turn, 1);
    change(turn, &body);
    assert_default(turn, body.address_id);
    assert_event(turn, &tw_member_address_changed_type, body.address_id);
}

static void change_address__cannot_give_the_default_up(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {
        .member_id = ana, .has_is_default = true, .has_city = true, .city = TW_STR("Bandung")};

    given_member(turn);
    body.address_id = given_address(turn, 0);
    given_address(turn, 1);
    assert_problem(change(turn, &body), TW_PROBLEM_DEFAULT_ADDRESS);
    assert_default(turn, body.address_id);
    assert_str(address_of(turn, body.address_id)->city, "Jakarta");
}

static void change_address__may_say_that_another_is_not_the_default(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana, .has_is_default = true};
    struct tw_uuid                  first;

    given_member(turn);
    first = given_address(turn, 0);
    body.address_id = given_address(turn, 1);
    assert_int_equal(change(turn, &body)->http_status, 200);
    assert_default(turn, first);
}

/* --- remove_address, set_default_address -------------------------------------------------------------------------- */

static void remove_address__of_the_default_passes_it_to_the_oldest_left(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  newest_one, oldest, middle;

    given_member(turn);
    newest_one = given_address(turn, 10);
    oldest = given_address(turn, 5);
    middle = given_address(turn, 7);
    assert_default(turn, newest_one);
    assert_int_equal(remove_address(turn, newest_one)->http_status, 204);
    assert_int_equal(member(turn)->addresses_len, 2);
    assert_default(turn, oldest);
    assert_event(turn, &tw_member_address_removed_type, newest_one);
    remove_address(turn, oldest);
    assert_default(turn, middle);
    remove_address(turn, middle);
    assert_int_equal(member(turn)->addresses_len, 0);
    assert_event(turn, &tw_member_address_removed_type, middle);
}

static void remove_address__of_another_leaves_the_default_and_the_order(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  ids[3];

    given_member(turn);
    for (int i = 0; i < 3; i++)
        ids[i] = given_address(turn, i);
    set_default(turn, ids[2]);
    remove_address(turn, ids[1]);
    assert_default(turn, ids[2]);
    assert_true(tw_uuid_eq(member(turn)->addresses[0].address_id, ids[0]));
    assert_true(tw_uuid_eq(member(turn)->addresses[1].address_id, ids[2]));
}

static void add_address__after_the_last_was_removed_is_the_first_again(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    remove_address(turn, given_address(turn, 0));
    add_as(turn, false, AT_MS + HOUR_MS);
    assert_default(turn, last_address(turn));
}

static void set_default_address__moves_the_default(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  second;

    given_member(turn);
    given_address(turn, 0);
    second = given_address(turn, 1);
    assert_int_equal(set_default(turn, second)->http_status, 200);
    assert_path(turn->outcome.resource, "/v1/members/me/addresses", second);
    assert_default(turn, second);
    assert_int_equal(turn->event_count, 1);
    assert_event(turn, &tw_member_address_changed_type, second);
}

static void set_default_address__of_the_default_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first;

    given_member(turn);
    first = given_address(turn, 0);
    given_address(turn, 1);
    set_default(turn, first);
    assert_nothing_happened(turn, 200);
    assert_path(turn->outcome.resource, "/v1/members/me/addresses", first);
}

static void addresses__the_member_does_not_have_are_refused(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_address body = {.member_id = ana, .address_id = bo};

    given_member(turn);
    given_address(turn, 0);
    assert_problem(change(turn, &body), TW_PROBLEM_NOT_FOUND);
    assert_problem(remove_address(turn, bo), TW_PROBLEM_NOT_FOUND);
    assert_problem(set_default(turn, bo), TW_PROBLEM_NOT_FOUND);
    assert_int_equal(member(turn)->version, 2);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, no_members, turn_done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(add_address__keeps_all_of_it_under_an_id_of_the_command),
        RULE(addresses__move_version_and_time_but_no_credentials),
        RULE(add_address__makes_the_first_the_default_whatever_it_says),
        RULE(add_address__leaves_the_default_where_it_is_unless_it_asks_for_it),
        RULE(add_address__is_refused_at_the_21st),
        RULE(add_address__with_an_id_that_made_one_before_is_refused),
        RULE(add_address__of_a_requeued_command_takes_its_place_by_age),
        RULE(addresses__of_one_instant_stand_in_the_order_of_their_ids),
        RULE(change_address__changes_what_is_named_and_leaves_the_rest),
        RULE(change_address__can_change_every_line),
        RULE(change_address__of_null_clears_the_second_line),
        RULE(change_address__may_take_the_default),
        RULE(change_address__cannot_give_the_default_up),
        RULE(change_address__may_say_that_another_is_not_the_default),
        RULE(remove_address__of_the_default_passes_it_to_the_oldest_left),
        RULE(remove_address__of_another_leaves_the_default_and_the_order),
        RULE(add_address__after_the_last_was_removed_is_the_first_again),
        RULE(set_default_address__moves_the_default),
        RULE(set_default_address__of_the_default_changes_nothing),
        RULE(addresses__the_member_does_not_have_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
