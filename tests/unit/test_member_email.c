/* The rules of a change of e-mail address: members, the identities of addresses, and what must follow at each step. */
#include "member_fixture.h"

/* --- given, when -------------------------------------------------------------------------------------------------- */

/* An address and its identity. Bo and Cy are people with addresses of their own; new_home is nobody's. */
struct address {
    struct tw_uuid id;
    const char    *typed;
    const char    *folded;
};

static const struct address anas_own = {ANA, "ANA.lim@Example.com", "ana.lim@example.com"};
static const struct address new_home = {{{0x4e, [15] = 9}}, "Ana@New.example", "ana@new.example"};
static const struct address elsewhere = {{{0x5e, [15] = 9}}, "ana@else.example", "ana@else.example"};

static void given_registered(struct tw_turn *turn, struct tw_uuid id, const char *folded)
{
    struct tw_member_register body = registration;

    body.member_id = id;
    body.email = body.email_folded = tw_str_of(folded);
    assert_int_equal(decide(turn, &tw_member_register_type, &body, AT_MS)->http_status, 201);
}

static const struct tw_outcome *ask_of(struct tw_turn *turn, struct tw_uuid member_id, const struct address *address)
{
    struct tw_member_change_email body = {
        .member_id = member_id,
        .credential_version = 1,
        .email = tw_str_of(address->typed),
        .email_folded = tw_str_of(address->folded),
        .claim_id = address->id,
    };

    if (member_of(turn, member_id))
        body.credential_version = member_of(turn, member_id)->credential_version;
    return decide(turn, &tw_member_change_email_type, &body, AT_MS + 10);
}

/* Ana asks; returns the change. */
static struct tw_uuid ask(struct tw_turn *turn, const struct address *address)
{
    ask_of(turn, ana, address);
    return command_id(turn->command_number - 1);
}

static const struct tw_outcome *claim(struct tw_turn *turn, const struct address *address, struct tw_uuid member_id,
                                      struct tw_uuid change_id)
{
    struct tw_member_claim_email body = {
        .claim_id = address->id,
        .member_id = member_id,
        .change_id = change_id,
    };

    return decide(turn, &tw_member_claim_email_type, &body, AT_MS + 20);
}

static const struct tw_outcome *complete_of(struct tw_turn *turn, struct tw_uuid member_id, struct tw_uuid change_id,
                                            bool granted)
{
    struct tw_member_complete_email_change body = {.member_id = member_id, .change_id = change_id, .granted = granted};

    return decide(turn, &tw_member_complete_email_change_type, &body, AT_MS + 30);
}

static const struct tw_outcome *complete(struct tw_turn *turn, struct tw_uuid change_id, bool granted)
{
    return complete_of(turn, ana, change_id, granted);
}

/* What the policy does with the last claim's answer. */
static bool was_granted(const struct tw_turn *turn)
{
    const struct tw_member_email_claim_decided *event = event_of(turn, &tw_member_email_claim_decided_type);

    assert_non_null(event);
    return event->granted;
}

/* Ana's whole way to an address; it must be hers to have. */
static void move_to(struct tw_turn *turn, const struct address *address)
{
    struct tw_uuid change = ask(turn, address);

    claim(turn, address, ana, change);
    complete(turn, change, was_granted(turn));
    assert_str(member(turn)->email_folded, address->folded);
}

/* --- then --------------------------------------------------------------------------------------------------------- */

static const struct tw_member_claim *claim_of(struct tw_turn *turn, const struct address *address)
{
    return entity_of(turn, &(struct tw_key){.kind = 1, .id = address->id})->before;
}

static bool is_claimed_by(struct tw_turn *turn, const struct address *address, struct tw_uuid member_id)
{
    const struct tw_member_claim *known = claim_of(turn, address);

    return known && tw_uuid_eq(known->member_id, member_id);
}

/* The last command ended the change @p change_id of a member, whose record had @p offset, with @p problem. */
static void assert_finished(const struct tw_turn *turn, struct tw_uuid change_id, struct tw_uuid member_id,
                            int64_t offset, enum tw_problem problem)
{
    assert_true(turn->has_finished);
    assert_true(tw_uuid_eq(turn->finished.command_id, change_id));
    assert_true(tw_uuid_eq(turn->finished.caller, member_id));
    assert_int_equal(turn->finished.fingerprint[0], change_id.bytes[12]); /* the fixture's command number */
    assert_int_equal(turn->finished.offset, offset);
    assert_true(turn->finished.submitted_ms == AT_MS + 10 - SUBMITTED_MS);
    assert_string_equal(turn->finished.type, "member.change_email");
    if (problem != TW_PROBLEM_NONE) {
        assert_problem(&turn->finished_outcome, problem);
        return;
    }
    assert_int_equal(turn->finished_outcome.status, TW_SUCCEEDED);
    assert_int_equal(turn->finished_outcome.http_status, 200);
    assert_str(turn->finished_outcome.resource, "/v1/members/me");
}

/* Ana has the address she registered with and nothing is under way. */
static void assert_unmoved(const struct tw_turn *turn)
{
    assert_str(member(turn)->email, "Ana.Lim@example.com");
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
    assert_false(member(turn)->has_email_change);
}

/* --- change_email ------------------------------------------------------------------------------------------------- */

static void change_email__is_pending_and_asks_for_the_address(void **state)
{
    struct tw_turn                            *turn = *state;
    struct tw_uuid                             change;
    const struct tw_member_email_change_asked *event;

    given_member(turn);
    change = ask(turn, &new_home);
    assert_int_equal(turn->outcome.status, TW_PENDING);
    assert_int_equal(turn->outcome.http_status, 202);
    assert_str(turn->outcome.resource, "/v1/members/me");
    assert_false(turn->has_finished);
    assert_int_equal(turn->event_count, 1);
    event = event_of(turn, &tw_member_email_change_asked_type);
    assert_non_null(event);
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_true(tw_uuid_eq(event->change_id, change));
    assert_true(tw_uuid_eq(event->claim_id, new_home.id));
}

static void change_email__changes_nothing_of_the_member_before_its_end(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    ask(turn, &new_home);
    assert_true(member(turn)->has_email_change);
    assert_str(member(turn)->email, "Ana.Lim@example.com");
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_true(member(turn)->updated_at_ms == AT_MS);
    assert_int_equal(live_tokens(turn), 2);
}

static void change_email__to_the_own_address_in_another_spelling_is_done_at_once(void **state)
{
    struct tw_turn                       *turn = *state;
    const struct tw_member_email_changed *event;

    given_member(turn);
    ask(turn, &anas_own);
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_int_equal(turn->outcome.http_status, 200);
    assert_str(turn->outcome.resource, "/v1/members/me");
    assert_str(member(turn)->email, "ANA.lim@Example.com");
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
    assert_false(member(turn)->has_email_change);
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 1); /* logins find the member as before */
    assert_int_equal(turn->event_count, 1);
    event = event_of(turn, &tw_member_email_changed_type);
    assert_non_null(event);
    assert_int_equal(event->version, 2);
}

static void change_email__to_a_claimed_own_address_in_another_spelling_is_done_at_once(void **state)
{
    static const struct address respelled = {{{0x4e, [15] = 9}}, "ANA@new.EXAMPLE", "ana@new.example"};
    struct tw_turn             *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    ask(turn, &respelled);
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_str(member(turn)->email, "ANA@new.EXAMPLE");
    assert_int_equal(member(turn)->credential_version, 2);
}

static void change_email__back_to_the_address_of_the_registration_is_done_at_once(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    ask(turn, &anas_own);
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
    assert_int_equal(member(turn)->credential_version, 3);
    assert_int_equal(member(turn)->version, 3);
    assert_true(is_claimed_by(turn, &new_home, ana)); /* and stays hers */
}

static void change_email__is_refused_unless_the_credentials_are_those_the_edge_saw(void **state)
{
    struct tw_turn               *turn = *state;
    struct tw_member_change_email body = {
        .member_id = ana,
        .credential_version = 1,
        .email = TW_STR("Ana@New.example"),
        .email_folded = TW_STR("ana@new.example"),
        .claim_id = {{0x4e, [15] = 9}},
    };

    given_member(turn);
    change_password(turn, "$new", 1, tw_uuid_nil, AT_MS);
    assert_problem(decide(turn, &tw_member_change_email_type, &body, AT_MS), TW_PROBLEM_STALE_CREDENTIALS);
    assert_unmoved(turn);
}

static void change_email__is_refused_for_a_service_member(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_problem(ask_of(turn, ana, &new_home), TW_PROBLEM_STALE_CREDENTIALS);
}

/* --- claim_email -------------------------------------------------------------------------------------------------- */

static void claim_email__of_nobodys_address_is_granted(void **state)
{
    struct tw_turn                             *turn = *state;
    const struct tw_member_email_claim_decided *event;

    assert_int_equal(claim(turn, &new_home, ana, command_id(7))->http_status, 200);
    assert_true(is_claimed_by(turn, &new_home, ana));
    assert_true(tw_uuid_eq(claim_of(turn, &new_home)->claim_id, new_home.id));
    assert_true(claim_of(turn, &new_home)->created_at_ms == AT_MS + 20);
    assert_null(member_of(turn, new_home.id));
    assert_int_equal(turn->event_count, 1);
    event = event_of(turn, &tw_member_email_claim_decided_type);
    assert_non_null(event);
    assert_true(event->granted);
    assert_true(tw_uuid_eq(event->claim_id, new_home.id));
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_true(tw_uuid_eq(event->change_id, command_id(7)));
}

static void claim_email__of_the_address_of_a_registered_member_is_refused(void **state)
{
    struct tw_turn      *turn = *state;
    const struct address bos = {bo, "bo@example.com", "bo@example.com"};

    given_registered(turn, bo, bos.folded);
    assert_int_equal(claim(turn, &bos, ana, command_id(7))->http_status, 200);
    assert_false(was_granted(turn));
    assert_null(claim_of(turn, &bos));
}

static void claim_email__of_an_address_its_member_left_behind_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    claim(turn, &anas_own, bo, command_id(7));
    assert_false(was_granted(turn));
    set_status(turn, TW_MEMBER_STATUS_INACTIVE, AT_MS);
    claim(turn, &new_home, bo, command_id(8));
    assert_false(was_granted(turn));
}

static void claim_email__again_gets_the_same_answer_and_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;
    int64_t         guard;

    claim(turn, &new_home, ana, command_id(7));
    guard = entity_of(turn, &(struct tw_key){.kind = 1, .id = new_home.id})->before_guard;
    claim(turn, &new_home, ana, command_id(7));
    assert_true(was_granted(turn));
    claim(turn, &new_home, bo, command_id(8));
    assert_false(was_granted(turn));
    claim(turn, &new_home, ana, command_id(9)); /* she may ask for it another time, too */
    assert_true(was_granted(turn));
    assert_int_equal(entity_of(turn, &(struct tw_key){.kind = 1, .id = new_home.id})->before_guard, guard);
}

static void registrations__with_a_claimed_address_are_refused(void **state)
{
    struct tw_turn                   *turn = *state;
    struct tw_member_register         person = registration;
    struct tw_member_register_service service = service_registration;

    claim(turn, &new_home, ana, command_id(7));
    person.member_id = service.member_id = new_home.id;
    assert_problem(decide(turn, &tw_member_register_type, &person, AT_MS), TW_PROBLEM_EMAIL_TAKEN);
    assert_problem(decide(turn, &tw_member_register_service_type, &service, AT_MS), TW_PROBLEM_EMAIL_TAKEN);
    assert_null(member_of(turn, new_home.id));
}

/* --- complete_email_change ---------------------------------------------------------------------------------------- */

static void complete_email_change__when_granted_takes_the_address_and_ends_the_command(void **state)
{
    struct tw_turn                       *turn = *state;
    struct tw_uuid                        change;
    int64_t                               offset;
    const struct tw_member_email_changed *event;

    given_member(turn);
    offset = turn->offset;
    change = ask(turn, &new_home);
    assert_int_equal(complete(turn, change, true)->http_status, 200);
    assert_str(member(turn)->email, "Ana@New.example");
    assert_str(member(turn)->email_folded, "ana@new.example");
    assert_false(member(turn)->has_email_change);
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 2);
    assert_true(member(turn)->updated_at_ms == AT_MS + 30);
    assert_int_equal(turn->event_count, 1);
    event = event_of(turn, &tw_member_email_changed_type);
    assert_non_null(event);
    assert_int_equal(event->version, 2);
    assert_finished(turn, change, ana, offset, TW_PROBLEM_NONE);
}

static void a_login__that_found_the_member_by_the_old_address_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    assert_problem(login(turn, AT_MS + 40, DAY_MS), TW_PROBLEM_STALE_CREDENTIALS);
}

static void complete_email_change__when_refused_leaves_the_address_and_ends_the_command(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  change;
    int64_t         offset;

    given_member(turn);
    offset = turn->offset;
    change = ask(turn, &new_home);
    assert_int_equal(complete(turn, change, false)->status, TW_SUCCEEDED);
    assert_unmoved(turn);
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_int_equal(turn->event_count, 0);
    assert_finished(turn, change, ana, offset, TW_PROBLEM_EMAIL_TAKEN);
}

static void complete_email_change__twice_is_once(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  change;

    given_member(turn);
    change = ask(turn, &new_home);
    complete(turn, change, true);
    complete(turn, change, true);
    assert_nothing_happened(turn, 200);
    complete(turn, change, false);
    assert_nothing_happened(turn, 200);
    assert_str(member(turn)->email_folded, "ana@new.example");
}

static void complete_email_change__of_one_nobody_asked_for_does_nothing(void **state)
{
    struct tw_turn *turn = *state;

    complete(turn, command_id(7), true);
    assert_nothing_happened(turn, 200);
    given_member(turn);
    complete(turn, command_id(7), true);
    assert_nothing_happened(turn, 200);
    assert_unmoved(turn);
}

static void complete_email_change__of_a_member_who_left_meanwhile_leaves_the_address(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  change;
    int64_t         offset;

    given_member(turn);
    offset = turn->offset;
    change = ask(turn, &new_home);
    claim(turn, &new_home, ana, change);
    set_status(turn, TW_MEMBER_STATUS_INACTIVE, AT_MS + 25);
    complete(turn, change, true);
    assert_unmoved(turn);
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 2);
    assert_finished(turn, change, ana, offset, TW_PROBLEM_MEMBER_NOT_ACTIVE);
    assert_true(is_claimed_by(turn, &new_home, ana));
}

static void complete_email_change__of_a_member_who_left_and_was_refused_says_that_it_is_taken(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  change;
    int64_t         offset;

    given_member(turn);
    offset = turn->offset;
    change = ask(turn, &new_home);
    set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS + 25);
    complete(turn, change, false);
    assert_unmoved(turn);
    assert_finished(turn, change, ana, offset, TW_PROBLEM_EMAIL_TAKEN);
}

static void complete_email_change__works_whatever_else_the_member_did_meanwhile(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_profile profile = {.member_id = ana, .has_full_name = true, .full_name = TW_STR("Ana L.")};
    struct tw_uuid                  change;

    given_member(turn);
    change = ask(turn, &new_home);
    decide(turn, &tw_member_change_profile_type, &profile, AT_MS + 25);
    login(turn, AT_MS + 26, DAY_MS);
    assert_true(member(turn)->has_email_change);
    complete(turn, change, true);
    assert_str(member(turn)->email_folded, "ana@new.example");
    assert_str(member(turn)->full_name, "Ana L.");
    assert_int_equal(live_tokens(turn), 2);
}

/* --- more than one change ----------------------------------------------------------------------------------------- */

static void change_email__takes_the_place_of_one_that_is_under_way(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first, second;
    int64_t         offset;

    given_member(turn);
    offset = turn->offset;
    first = ask(turn, &new_home);
    second = ask(turn, &elsewhere);
    assert_int_equal(turn->outcome.status, TW_PENDING);
    assert_finished(turn, first, ana, offset, TW_PROBLEM_SUPERSEDED);
    claim(turn, &new_home, ana, first); /* late */
    assert_true(was_granted(turn));
    complete(turn, first, true);
    assert_nothing_happened(turn, 200);
    assert_true(member(turn)->has_email_change);
    claim(turn, &elsewhere, ana, second);
    complete(turn, second, true);
    assert_finished(turn, second, ana, offset + 1, TW_PROBLEM_NONE);
    assert_str(member(turn)->email_folded, "ana@else.example");
}

static void change_email__to_the_own_address_ends_one_that_is_under_way(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first;
    int64_t         offset;

    given_member(turn);
    offset = turn->offset;
    first = ask(turn, &new_home);
    ask(turn, &anas_own);
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_finished(turn, first, ana, offset, TW_PROBLEM_SUPERSEDED);
    complete(turn, first, true);
    assert_nothing_happened(turn, 200);
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
}

static void change_email__for_the_same_address_again_is_another_change(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first, second;

    given_member(turn);
    first = ask(turn, &new_home);
    second = ask(turn, &new_home);
    claim(turn, &new_home, ana, first);
    complete(turn, first, true);
    assert_nothing_happened(turn, 200);
    claim(turn, &new_home, ana, second);
    assert_true(was_granted(turn));
    complete(turn, second, true);
    assert_str(member(turn)->email_folded, "ana@new.example");
}

static void change_email__that_is_refused_leaves_one_under_way_alone(void **state)
{
    struct tw_turn               *turn = *state;
    struct tw_member_change_email stale = {.member_id = ana, .credential_version = 9};
    struct tw_uuid                first;

    given_member(turn);
    first = ask(turn, &new_home);
    assert_problem(decide(turn, &tw_member_change_email_type, &stale, AT_MS + 15), TW_PROBLEM_STALE_CREDENTIALS);
    complete(turn, first, true);
    assert_str(member(turn)->email_folded, "ana@new.example");
}

static void a_claim__that_came_to_nothing_stays_the_members_for_ever(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first;

    given_member(turn);
    first = ask(turn, &new_home);
    ask(turn, &elsewhere);
    claim(turn, &new_home, ana, first);
    claim(turn, &new_home, bo, command_id(77));
    assert_false(was_granted(turn));
    move_to(turn, &new_home);
}

static void members__can_move_on_and_come_back_to_any_address_that_was_theirs(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    move_to(turn, &elsewhere);
    claim(turn, &new_home, bo, command_id(77));
    assert_false(was_granted(turn));
    move_to(turn, &new_home);
    assert_int_equal(member(turn)->version, 4);
    assert_int_equal(member(turn)->credential_version, 4);
}

/* --- races -------------------------------------------------------------------------------------------------------- */

/* Two members and one address: who claims first has it, in whatever order the rest comes. */
static void race_of_two(struct tw_turn *turn, const struct tw_uuid claimants[2], const struct tw_uuid completing[2])
{
    struct tw_uuid changes[2]; /* by claimant */

    given_member(turn);
    given_registered(turn, bo, "bo@example.com");
    for (int i = 0; i < 2; i++) {
        ask_of(turn, claimants[i], &new_home);
        changes[i] = command_id(turn->command_number - 1);
    }
    for (int i = 0; i < 2; i++) {
        claim(turn, &new_home, claimants[i], changes[i]);
        assert_int_equal(was_granted(turn), i == 0);
    }
    for (int i = 0; i < 2; i++) {
        int which = tw_uuid_eq(completing[i], claimants[1]);

        complete_of(turn, completing[i], changes[which], which == 0);
        assert_int_equal(turn->finished_outcome.problem, which ? TW_PROBLEM_EMAIL_TAKEN : TW_PROBLEM_NONE);
    }
    assert_true(tw_str_is(member_of(turn, claimants[0])->email_folded, "ana@new.example"));
    assert_false(tw_str_is(member_of(turn, claimants[1])->email_folded, "ana@new.example"));
}

static void members_who_race_for_an_address__have_one_winner_the_first_to_claim(void **state)
{
    const struct tw_uuid orders[2][2] = {{ana, bo}, {bo, ana}};

    for (int i = 0; i < 4; i++) {
        forget_stored(*state);
        race_of_two(*state, orders[i / 2], orders[i % 2]);
    }
}

static void a_registration_that_races_a_claim__wins_when_it_is_first(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  change;

    given_member(turn);
    change = ask(turn, &new_home);
    given_registered(turn, new_home.id, new_home.folded);
    claim(turn, &new_home, ana, change);
    assert_false(was_granted(turn));
    complete(turn, change, false);
    assert_unmoved(turn);
}

static void an_address_left_behind__cannot_be_registered_again(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    move_to(turn, &new_home);
    assert_problem(decide(turn, &tw_member_register_type, &registration, AT_MS + 40), TW_PROBLEM_EMAIL_TAKEN);
    assert_str(member(turn)->email_folded, "ana@new.example");
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, no_members, turn_done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(change_email__is_pending_and_asks_for_the_address),
        RULE(change_email__changes_nothing_of_the_member_before_its_end),
        RULE(change_email__to_the_own_address_in_another_spelling_is_done_at_once),
        RULE(change_email__to_a_claimed_own_address_in_another_spelling_is_done_at_once),
        RULE(change_email__back_to_the_address_of_the_registration_is_done_at_once),
        RULE(change_email__is_refused_unless_the_credentials_are_those_the_edge_saw),
        RULE(change_email__is_refused_for_a_service_member),
        RULE(claim_email__of_nobodys_address_is_granted),
        RULE(claim_email__of_the_address_of_a_registered_member_is_refused),
        RULE(claim_email__of_an_address_its_member_left_behind_is_refused),
        RULE(claim_email__again_gets_the_same_answer_and_changes_nothing),
        RULE(registrations__with_a_claimed_address_are_refused),
        RULE(complete_email_change__when_granted_takes_the_address_and_ends_the_command),
        RULE(a_login__that_found_the_member_by_the_old_address_is_refused),
        RULE(complete_email_change__when_refused_leaves_the_address_and_ends_the_command),
        RULE(complete_email_change__twice_is_once),
        RULE(complete_email_change__of_one_nobody_asked_for_does_nothing),
        RULE(complete_email_change__of_a_member_who_left_meanwhile_leaves_the_address),
        RULE(complete_email_change__of_a_member_who_left_and_was_refused_says_that_it_is_taken),
        RULE(complete_email_change__works_whatever_else_the_member_did_meanwhile),
        RULE(change_email__takes_the_place_of_one_that_is_under_way),
        RULE(change_email__to_the_own_address_ends_one_that_is_under_way),
        RULE(change_email__for_the_same_address_again_is_another_change),
        RULE(change_email__that_is_refused_leaves_one_under_way_alone),
        RULE(a_claim__that_came_to_nothing_stays_the_members_for_ever),
        RULE(members__can_move_on_and_come_back_to_any_address_that_was_theirs),
        RULE(members_who_race_for_an_address__have_one_winner_the_first_to_claim),
        RULE(a_registration_that_races_a_claim__wins_when_it_is_first),
        RULE(an_address_left_behind__cannot_be_registered_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
