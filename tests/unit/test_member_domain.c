/* The rules of the member domain: a member, a command, and what must follow. Here: registering, profile, password,
 * status, and the domain as the runtime sees it. */
#include "workers/member/member_domain.h"

#include <string.h>

#include "member_fixture.h"

/* --- register ----------------------------------------------------------------------------------------------------- */

static void register__makes_an_active_member_of_version_1(void **state)
{
    struct tw_turn                    *turn = *state;
    const struct tw_member_registered *event;

    decide_plain(turn, &tw_member_register_type, &registration, AT_MS);
    assert_int_equal(turn->outcome.http_status, 201);
    assert_str(turn->outcome.resource, "/v1/members/me");
    assert_true(tw_uuid_eq(member(turn)->member_id, ana));
    assert_str(member(turn)->email, "Ana.Lim@example.com");
    assert_str(member(turn)->email_folded, "ana.lim@example.com");
    assert_true(member(turn)->has_password_hash);
    assert_str(member(turn)->password_hash, "$argon2id$x");
    assert_str(member(turn)->full_name, "Ana Lim");
    assert_str(member(turn)->phone_number, "+6281234567890");
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_ACTIVE);
    assert_true(member(turn)->created_at_ms == AT_MS && member(turn)->updated_at_ms == AT_MS);
    assert_false(member(turn)->has_last_login_at);
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_false(member(turn)->is_service);
    assert_ptr_equal(turn->event_type, &tw_member_registered_type);
    event = turn->event;
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_int_equal(event->version, 1);
}

static void register__without_a_phone_number_has_none(void **state)
{
    struct tw_turn           *turn = *state;
    struct tw_member_register body = registration;

    body.has_phone_number = false;
    decide_plain(turn, &tw_member_register_type, &body, AT_MS);
    assert_false(member(turn)->has_phone_number);
}

static void register__is_refused_when_the_address_is_taken(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    assert_problem(decide_plain(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
    assert_problem(decide_plain(turn, &tw_member_register_service_type, &service_registration, AT_MS + 1),
                   TW_PROBLEM_EMAIL_TAKEN);
    assert_true(member(turn)->created_at_ms == AT_MS);
}

static void register__is_refused_when_a_service_has_the_address(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_problem(decide_plain(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
}

static void register__of_an_address_whose_member_left_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    change_member(turn)->status = TW_MEMBER_STATUS_INACTIVE;
    assert_problem(decide_plain(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
}

static void register_service__makes_a_member_without_password(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_path(turn->outcome.resource, "/v1/members", ana);
    assert_true(member(turn)->is_service);
    assert_false(member(turn)->has_password_hash);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_ACTIVE);
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_ptr_equal(turn->event_type, &tw_member_service_registered_type);
}

static void registrations__own_only_the_id_of_their_folded_address(void **state)
{
    static const uint8_t              id_key[TW_ID_KEY_BYTES] = {7};
    static const uint8_t              other_key[TW_ID_KEY_BYTES] = {8};
    struct tw_member_register         person = registration;
    struct tw_member_register_service service = service_registration;
    struct tw_command                 person_cmd = {.type = &tw_member_register_type, .body = &person};
    struct tw_command                 service_cmd = {.type = &tw_member_register_service_type, .body = &service};

    (void)state;
    assert_false(tw_member_domain.owns_its_id(&person_cmd, id_key));
    assert_false(tw_member_domain.owns_its_id(&service_cmd, id_key));
    person.member_id = tw_member_id(id_key, person.email_folded);
    service.member_id = tw_member_id(id_key, service.email_folded);
    assert_true(tw_member_domain.owns_its_id(&person_cmd, id_key));
    assert_true(tw_member_domain.owns_its_id(&service_cmd, id_key));
    assert_false(tw_member_domain.owns_its_id(&person_cmd, other_key));
    assert_false(tw_member_domain.owns_its_id(&service_cmd, other_key));
}

static void a_wish_for_an_address__names_the_identity_that_follows_from_it(void **state)
{
    static const uint8_t          id_key[TW_ID_KEY_BYTES] = {7};
    struct tw_str                 folded = TW_STR("ana.lim@example.org");
    struct tw_member_change_email change = {.member_id = ana, .email_folded = folded, .claim_id = bo};
    struct tw_command             change_cmd = {.type = &tw_member_change_email_type, .body = &change};

    (void)state;
    assert_false(tw_member_domain.owns_its_id(&change_cmd, id_key));
    change.claim_id = tw_member_id(id_key, folded);
    assert_true(tw_member_domain.owns_its_id(&change_cmd, id_key));
}
/* --- profile ------------------------------------------------------------------------------------------------------ */

static const struct tw_outcome *change_profile(struct tw_turn *turn, const struct tw_member_change_profile *body,
                                               int64_t at_ms)
{
    return decide_plain(turn, &tw_member_change_profile_type, body, at_ms);
}

static void change_profile__changes_what_is_named_and_leaves_the_rest(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_profile name = {.member_id = ana, .has_full_name = true, .full_name = TW_STR("Ana L.")};
    struct tw_member_change_profile number = {
        .member_id = ana, .has_phone_number = true, .phone_number = TW_STR("+62811")};

    given_member(turn);
    assert_int_equal(change_profile(turn, &name, AT_MS + 1)->http_status, 200);
    assert_str(turn->outcome.resource, "/v1/members/me");
    assert_str(member(turn)->full_name, "Ana L.");
    assert_str(member(turn)->phone_number, "+6281234567890");
    change_profile(turn, &number, AT_MS + 2);
    assert_str(member(turn)->full_name, "Ana L.");
    assert_true(member(turn)->has_phone_number);
    assert_str(member(turn)->phone_number, "+62811");
    assert_str(member(turn)->email, "Ana.Lim@example.com");
}

static void change_profile__of_null_clears_the_phone_number(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_profile body = {.member_id = ana, .clear_phone_number = true};

    given_member(turn);
    change_profile(turn, &body, AT_MS + 1);
    assert_false(member(turn)->has_phone_number);
    assert_str(member(turn)->full_name, "Ana Lim");
}

static void change_profile__moves_version_and_time_but_no_credentials(void **state)
{
    struct tw_turn                         *turn = *state;
    struct tw_member_change_profile         body = {.member_id = ana, .has_full_name = true, .full_name = TW_STR("A")};
    const struct tw_member_profile_changed *event;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    change_profile(turn, &body, AT_MS + 7);
    assert_int_equal(member(turn)->version, 2);
    assert_true(member(turn)->updated_at_ms == AT_MS + 7 && member(turn)->created_at_ms == AT_MS);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_int_equal(live_tokens(turn), 2);
    event = event_of(turn, &tw_member_profile_changed_type);
    assert_non_null(event);
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_int_equal(event->version, 2);
}

static void change_profile__of_a_requeued_command_does_not_set_the_time_back(void **state)
{
    struct tw_turn                 *turn = *state;
    struct tw_member_change_profile body = {.member_id = ana, .has_full_name = true, .full_name = TW_STR("A")};

    given_member(turn);
    change_profile(turn, &body, AT_MS + 10);
    change_profile(turn, &body, AT_MS + 5);
    assert_true(member(turn)->updated_at_ms == AT_MS + 10);
    assert_int_equal(member(turn)->version, 3);
}

/* --- password ----------------------------------------------------------------------------------------------------- */

static void change_password__takes_the_new_hash_and_moves_both_versions(void **state)
{
    struct tw_turn                          *turn = *state;
    const struct tw_member_password_changed *event;

    given_member(turn);
    assert_int_equal(change_password(turn, "$new", 1, tw_uuid_nil, AT_MS + 7)->http_status, 204);
    assert_int_equal(turn->outcome.resource.len, 0);
    assert_str(member(turn)->password_hash, "$new");
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 2);
    assert_true(member(turn)->updated_at_ms == AT_MS + 7);
    event = event_of(turn, &tw_member_password_changed_type);
    assert_non_null(event);
    assert_int_equal(event->version, 2);
    assert_nothing_revoked(turn);
}

static void change_password__keeps_the_session_that_asks_and_ends_all_others(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  kept, kept_tokens[2], ended[4];

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    ended[0] = last_access(turn);
    ended[1] = last_refresh(turn);
    login(turn, AT_MS, DAY_MS);
    kept = last_family(turn);
    kept_tokens[0] = last_access(turn);
    kept_tokens[1] = last_refresh(turn);
    login(turn, AT_MS, DAY_MS);
    ended[2] = last_access(turn);
    ended[3] = last_refresh(turn);
    change_password(turn, "$new", 1, kept, AT_MS + 1);
    assert_revoked(turn, ended, 4);
    assert_true(is_live(turn, kept_tokens[0]) && is_live(turn, kept_tokens[1]));
    assert_ptr_equal(turn->events[0].type, &tw_member_password_changed_type);
    assert_int_equal(turn->event_count, 2);
}

static void change_password__from_no_session_or_an_unknown_one_ends_all(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    change_password(turn, "$new", 1, tw_uuid_nil, AT_MS + 1);
    assert_int_equal(live_tokens(turn), 0);
    change_member(turn)->credential_version = 1;
    login(turn, AT_MS, DAY_MS);
    change_password(turn, "$newer", 1, bo, AT_MS + 2);
    assert_int_equal(live_tokens(turn), 0);
}

static void change_password__names_only_tokens_that_somebody_might_still_take(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  named[1];

    given_member(turn);
    login(turn, AT_MS, 2 * DAY_MS); /* its access token is long over when the password changes */
    named[0] = last_refresh(turn);
    login(turn, AT_MS, HOUR_MS);    /* all over */
    login(turn, AT_MS, 2 * DAY_MS); /* ended before */
    for (uint32_t i = 0; i < 6; i++)
        change_member(turn)->tokens[i].is_revoked = tw_uuid_eq(member(turn)->tokens[i].family_id, last_family(turn));
    change_password(turn, "$new", 1, tw_uuid_nil, AT_MS + DAY_MS);
    assert_revoked(turn, named, 1);
}

static void change_password__is_refused_unless_the_credentials_are_those_the_edge_saw(void **state)
{
    struct tw_turn *turn = *state;

    assert_problem(change_password(turn, "$new", 1, tw_uuid_nil, AT_MS), TW_PROBLEM_NOT_FOUND);
    given_member(turn);
    assert_problem(change_password(turn, "$new", 2, tw_uuid_nil, AT_MS), TW_PROBLEM_STALE_CREDENTIALS);
    change_password(turn, "$new", 1, tw_uuid_nil, AT_MS);
    assert_problem(change_password(turn, "$newer", 1, tw_uuid_nil, AT_MS), TW_PROBLEM_STALE_CREDENTIALS);
    assert_str(member(turn)->password_hash, "$new");
    set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS);
    assert_problem(change_password(turn, "$newer", 3, tw_uuid_nil, AT_MS), TW_PROBLEM_MEMBER_NOT_ACTIVE);
}

static void change_password__is_refused_for_a_service_member(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_problem(change_password(turn, "$new", 1, tw_uuid_nil, AT_MS), TW_PROBLEM_STALE_CREDENTIALS);
    assert_false(member(turn)->has_password_hash);
}

/* Two changes of password and a login that hashes the old one anew; the edge checked all three against the same
 * credentials. In each order of arrival, in one batch or in three. */
struct race {
    struct tw_turn *turn;
    struct tw_uuid  asking[2]; /* the sessions the two changes come from */
    int             winner;    /* -1: none yet */
};

static const char *const race_hashes[] = {"$first", "$second"};

static void race_login(struct race *race)
{
    struct tw_member_start_session body = session(AT_MS + 1, DAY_MS);

    body.has_password_hash = true;
    body.password_hash = TW_STR("$old-hashed-anew");
    when(race->turn, &tw_member_start_session_type, &body, AT_MS + 1);
    if (race->winner < 0)
        assert_int_equal(race->turn->outcome.http_status, 200);
    else
        assert_problem(&race->turn->outcome, TW_PROBLEM_STALE_CREDENTIALS);
}

static void race_change(struct race *race, int which)
{
    struct tw_member_change_password body = {
        .member_id = ana,
        .credential_version = 1,
        .password_hash = tw_str_of(race_hashes[which]),
        .keep_session_id = race->asking[which],
    };

    when(race->turn, &tw_member_change_password_type, &body, AT_MS + 1);
    if (race->winner >= 0) {
        assert_problem(&race->turn->outcome, TW_PROBLEM_STALE_CREDENTIALS);
        return;
    }
    assert_int_equal(race->turn->outcome.http_status, 204);
    race->winner = which;
}

static void run_race(struct race *race, const int order[3], bool one_batch)
{
    for (int i = 0; i < 2; i++) {
        login(race->turn, AT_MS, DAY_MS);
        race->asking[i] = last_family(race->turn);
    }
    for (int i = 0; i < 3; i++) {
        if (order[i] == 2)
            race_login(race);
        else
            race_change(race, order[i]);
        if (!one_batch)
            next_batch(race->turn);
    }
}

static void assert_won(const struct race *race)
{
    const struct tw_member *known = member(race->turn);

    assert_str(known->password_hash, race_hashes[race->winner]);
    assert_int_equal(known->credential_version, 2);
    assert_int_equal(known->version, 2);
    assert_int_equal(live_tokens(race->turn), 2);
    for (uint32_t i = 0; i < known->tokens_len; i++)
        assert_int_equal(known->tokens[i].is_revoked,
                         !tw_uuid_eq(known->tokens[i].family_id, race->asking[race->winner]));
}

static void password_changes_that_race__have_one_winner_and_no_session_of_the_old_password_survives(void **state)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (size_t i = 0; i < 2 * TW_LEN(orders); i++) {
        struct race race = {.turn = *state, .winner = -1};

        forget_stored(race.turn);
        given_member(race.turn);
        run_race(&race, orders[i / 2], i % 2);
        assert_won(&race);
    }
}

/* --- status ------------------------------------------------------------------------------------------------------- */

static void set_status__off_active_ends_every_session(void **state)
{
    struct tw_turn                        *turn = *state;
    struct tw_uuid                         ended[2];
    const struct tw_member_status_changed *event;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    ended[0] = last_access(turn);
    ended[1] = last_refresh(turn);
    assert_int_equal(set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS + 7)->http_status, 200);
    assert_path(turn->outcome.resource, "/v1/members", ana);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_SUSPENDED);
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 2);
    assert_true(member(turn)->updated_at_ms == AT_MS + 7);
    assert_int_equal(turn->event_count, 2);
    event = event_of(turn, &tw_member_status_changed_type);
    assert_non_null(event);
    assert_int_equal(event->status, TW_MEMBER_STATUS_SUSPENDED);
    assert_int_equal(event->version, 2);
    assert_revoked(turn, ended, 2);
}

static void set_status__off_active_ends_the_tokens_of_a_service(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    issue(turn, AT_MS, DAY_MS);
    set_status(turn, TW_MEMBER_STATUS_INACTIVE, AT_MS + 1);
    assert_int_equal(live_tokens(turn), 0);
    assert_non_null(event_of(turn, &tw_member_tokens_revoked_type));
}

static void set_status__back_to_active_revives_no_session(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    set_status(turn, TW_MEMBER_STATUS_INACTIVE, AT_MS + 1);
    set_status(turn, TW_MEMBER_STATUS_ACTIVE, AT_MS + 2);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_ACTIVE);
    assert_int_equal(member(turn)->version, 3);
    assert_int_equal(turn->event_count, 1);
    assert_int_equal(live_tokens(turn), 0);
}

static void set_status__between_two_that_are_not_active_is_a_change(void **state)
{
    struct tw_turn *turn = *state;

    given_inactive(turn);
    set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS + 1);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_SUSPENDED);
    assert_int_equal(member(turn)->version, 3);
}

static void set_status__to_the_same_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    set_status(turn, TW_MEMBER_STATUS_ACTIVE, AT_MS + 1);
    assert_nothing_happened(turn, 200);
    assert_path(turn->outcome.resource, "/v1/members", ana);
    set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS + 2);
    set_status(turn, TW_MEMBER_STATUS_SUSPENDED, AT_MS + 3);
    assert_nothing_happened(turn, 200);
}

static void set_status__of_nobody_is_refused(void **state)
{
    assert_problem(set_status(*state, TW_MEMBER_STATUS_SUSPENDED, AT_MS), TW_PROBLEM_NOT_FOUND);
}

static const struct tw_outcome *deactivate(struct tw_turn *turn, int64_t at_ms)
{
    return decide(turn, &tw_member_deactivate_type, &(struct tw_member_deactivate){.member_id = ana}, at_ms);
}

static void deactivate__makes_the_member_inactive_and_ends_all_sessions(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, DAY_MS);
    assert_int_equal(deactivate(turn, AT_MS + 1)->http_status, 204);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_INACTIVE);
    assert_int_equal(member(turn)->version, 2);
    assert_int_equal(member(turn)->credential_version, 2);
    assert_int_equal(live_tokens(turn), 0);
    assert_non_null(event_of(turn, &tw_member_status_changed_type));
    assert_non_null(event_of(turn, &tw_member_tokens_revoked_type));
}

static void a_login__that_was_checked_before_the_member_left_and_came_back_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_inactive(turn);
    set_status(turn, TW_MEMBER_STATUS_ACTIVE, AT_MS);
    assert_problem(login(turn, AT_MS + 1, DAY_MS), TW_PROBLEM_STALE_CREDENTIALS);
}

/* What a member does, with credentials as they are after one change of status. */
static const struct {
    const struct tw_type *type;
    const void           *body;
} deeds[] = {
    {&tw_member_change_profile_type, &(const struct tw_member_change_profile){.member_id = ANA}},
    {&tw_member_change_password_type,
     &(const struct tw_member_change_password){.member_id = ANA, .credential_version = 2}},
    {&tw_member_deactivate_type, &(const struct tw_member_deactivate){.member_id = ANA}},
    {&tw_member_change_email_type, &(const struct tw_member_change_email){.member_id = ANA, .credential_version = 2}},
    {&tw_member_add_address_type, &(const struct tw_member_add_address){.member_id = ANA}},
    {&tw_member_change_address_type, &(const struct tw_member_change_address){.member_id = ANA}},
    {&tw_member_remove_address_type, &(const struct tw_member_remove_address){.member_id = ANA}},
    {&tw_member_set_default_address_type, &(const struct tw_member_set_default_address){.member_id = ANA}},
    {&tw_member_start_session_type, &(const struct tw_member_start_session){.member_id = ANA, .credential_version = 2}},
    {&tw_member_refresh_session_type, &(const struct tw_member_refresh_session){.member_id = ANA}},
};

static void commands__of_a_member_who_is_not_active_are_refused(void **state)
{
    static const enum tw_member_status statuses[] = {TW_MEMBER_STATUS_INACTIVE, TW_MEMBER_STATUS_SUSPENDED};
    struct tw_turn                    *turn = *state;

    given_member(turn);
    for (size_t i = 0; i < TW_LEN(statuses); i++) {
        set_status(turn, statuses[i], AT_MS);
        change_member(turn)->credential_version = 2;
        for (size_t k = 0; k < TW_LEN(deeds); k++)
            assert_problem(decide_plain(turn, deeds[k].type, deeds[k].body, AT_MS), TW_PROBLEM_MEMBER_NOT_ACTIVE);
    }
}

static void commands__of_nobody_are_refused(void **state)
{
    for (size_t k = 0; k < TW_LEN(deeds); k++)
        assert_problem(decide_plain(*state, deeds[k].type, deeds[k].body, AT_MS), TW_PROBLEM_NOT_FOUND);
}

/* --- the domain --------------------------------------------------------------------------------------------------- */

static bool asks_for_an_address(const struct tw_type *type)
{
    return type == &tw_member_register_type || type == &tw_member_register_service_type ||
           type == &tw_member_claim_email_type;
}

static void domain__knows_every_released_command_by_its_member(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_key   keys[TW_KEYS_MAX];

    assert_int_equal(tw_member_domain.command_count, tw_member_command_count);
    for (size_t i = 0; i < tw_member_command_count; i++) {
        void             *body = tw_arena_alloc(&turn->arena, tw_member_domain.commands[i]->size);
        struct tw_command cmd = {.type = tw_member_domain.commands[i], .body = body};

        memcpy(body, ana.bytes, sizeof(ana.bytes)); /* in every command the aggregate's id comes first */
        assert_int_equal(tw_member_domain.keys(&cmd, keys), asks_for_an_address(cmd.type) ? 2 : 1);
        assert_int_equal(keys[0].kind, 0);
        assert_true(tw_uuid_eq(keys[0].id, ana));
        assert_true(tw_uuid_is_nil(keys[0].sub));
        if (!asks_for_an_address(cmd.type))
            continue;
        assert_ptr_equal(tw_member_domain.states[keys[1].kind], &tw_member_claim_type);
        assert_true(tw_uuid_eq(keys[1].id, ana));
        assert_true(tw_uuid_is_nil(keys[1].sub));
    }
}

static void domain__has_version_0_for_nobody(void **state)
{
    struct tw_member known = {.version = 7};

    (void)state;
    assert_int_equal(tw_member_domain.version(NULL, 0), 0);
    assert_int_equal(tw_member_domain.version(&known, 0), 7);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, no_members, turn_done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(register__makes_an_active_member_of_version_1),
        RULE(register__without_a_phone_number_has_none),
        RULE(register__is_refused_when_the_address_is_taken),
        RULE(register__is_refused_when_a_service_has_the_address),
        RULE(register__of_an_address_whose_member_left_is_refused),
        RULE(register_service__makes_a_member_without_password),
        RULE(registrations__own_only_the_id_of_their_folded_address),
        RULE(a_wish_for_an_address__names_the_identity_that_follows_from_it),
        RULE(change_profile__changes_what_is_named_and_leaves_the_rest),
        RULE(change_profile__of_null_clears_the_phone_number),
        RULE(change_profile__moves_version_and_time_but_no_credentials),
        RULE(change_profile__of_a_requeued_command_does_not_set_the_time_back),
        RULE(change_password__takes_the_new_hash_and_moves_both_versions),
        RULE(change_password__keeps_the_session_that_asks_and_ends_all_others),
        RULE(change_password__from_no_session_or_an_unknown_one_ends_all),
        RULE(change_password__names_only_tokens_that_somebody_might_still_take),
        RULE(change_password__is_refused_unless_the_credentials_are_those_the_edge_saw),
        RULE(change_password__is_refused_for_a_service_member),
        RULE(password_changes_that_race__have_one_winner_and_no_session_of_the_old_password_survives),
        RULE(set_status__off_active_ends_every_session),
        RULE(set_status__off_active_ends_the_tokens_of_a_service),
        RULE(set_status__back_to_active_revives_no_session),
        RULE(set_status__between_two_that_are_not_active_is_a_change),
        RULE(set_status__to_the_same_changes_nothing),
        RULE(set_status__of_nobody_is_refused),
        RULE(deactivate__makes_the_member_inactive_and_ends_all_sessions),
        RULE(a_login__that_was_checked_before_the_member_left_and_came_back_is_refused),
        RULE(commands__of_a_member_who_is_not_active_are_refused),
        RULE(commands__of_nobody_are_refused),
        RULE(domain__knows_every_released_command_by_its_member),
        RULE(domain__has_version_0_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
