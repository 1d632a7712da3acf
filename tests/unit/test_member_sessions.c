/* The rules of sessions and tokens: a member, a command, and what must follow. */
#include <string.h>

#include "member_fixture.h"

static void assert_oldest_first(const struct tw_member *of)
{
    for (uint32_t i = 1; i < of->tokens_len; i++) {
        const struct tw_member_token *a = &of->tokens[i - 1];
        const struct tw_member_token *b = &of->tokens[i];

        assert_true(a->created_at_ms < b->created_at_ms ||
                    (a->created_at_ms == b->created_at_ms && tw_uuid_cmp(a->token_id, b->token_id) < 0));
    }
}

/* --- start_session ------------------------------------------------------------------------------------------------ */

static void start_session__adds_two_tokens_of_one_family(void **state)
{
    struct tw_turn                         *turn = *state;
    struct tw_uuid                          id = command_id(77);
    struct tw_uuid                          family = tw_derived_id(id, ana, "family");
    struct tw_member_start_session          body = session(AT_MS + 5, 14 * DAY_MS);
    const struct tw_member_token           *access, *refresh;
    const struct tw_member_session_started *event;

    given_member(turn);
    turn->command_number = 77;
    decide_plain(turn, &tw_member_start_session_type, &body, AT_MS + 5);
    assert_int_equal(turn->outcome.http_status, 200);
    assert_path(turn->outcome.resource, "/v1/auth/sessions", family);
    assert_int_equal(member(turn)->tokens_len, 2);
    access = token_of(member(turn), tw_derived_id(id, ana, "access"));
    refresh = token_of(member(turn), tw_derived_id(id, ana, "refresh"));
    assert_int_equal(access->kind, TW_MEMBER_TOKEN_KIND_ACCESS);
    assert_int_equal(refresh->kind, TW_MEMBER_TOKEN_KIND_REFRESH);
    assert_true(tw_uuid_eq(access->family_id, family) && tw_uuid_eq(refresh->family_id, family));
    assert_memory_equal(access->token_hash, body.access_token_hash, sizeof(access->token_hash));
    assert_memory_equal(refresh->token_hash, body.refresh_token_hash, sizeof(refresh->token_hash));
    assert_true(access->expires_at_ms == body.access_expires_at_ms);
    assert_true(refresh->expires_at_ms == body.refresh_expires_at_ms);
    assert_true(access->created_at_ms == AT_MS + 5 && refresh->created_at_ms == AT_MS + 5);
    assert_false(access->is_revoked || refresh->is_revoked);
    assert_ptr_equal(turn->event_type, &tw_member_session_started_type);
    event = turn->event;
    assert_true(tw_uuid_eq(event->access_token_id, access->token_id));
    assert_true(tw_uuid_eq(event->refresh_token_id, refresh->token_id));
    assert_true(event->access_expires_at_ms == access->expires_at_ms);
    assert_true(event->refresh_expires_at_ms == refresh->expires_at_ms);
    assert_int_equal(event->version, 1);
}

static void start_session__sets_the_last_login_and_moves_no_version(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS + 5, DAY_MS);
    assert_true(member(turn)->has_last_login_at && member(turn)->last_login_at_ms == AT_MS + 5);
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
    assert_true(member(turn)->updated_at_ms == AT_MS);
}

static void start_session__takes_the_password_hashed_anew_and_no_credentials_move(void **state)
{
    struct tw_turn                *turn = *state;
    struct tw_member_start_session body = session(AT_MS + 5, DAY_MS);

    given_member(turn);
    login(turn, AT_MS + 4, DAY_MS);
    assert_str(member(turn)->password_hash, "$argon2id$x");
    body.has_password_hash = true;
    body.password_hash = TW_STR("$argon2id$stronger");
    decide_plain(turn, &tw_member_start_session_type, &body, AT_MS + 5);
    assert_str(member(turn)->password_hash, "$argon2id$stronger");
    assert_int_equal(member(turn)->credential_version, 1);
    assert_int_equal(login(turn, AT_MS + 6, DAY_MS)->http_status, 200); /* was checked before */
}

static void start_session__is_refused_for_an_unknown_member(void **state)
{
    assert_problem(login(*state, AT_MS, DAY_MS), TW_PROBLEM_NOT_FOUND);
}

static void start_session__is_refused_unless_the_member_is_active(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    change_member(turn)->status = TW_MEMBER_STATUS_SUSPENDED;
    assert_problem(login(turn, AT_MS, DAY_MS), TW_PROBLEM_MEMBER_NOT_ACTIVE);
    change_member(turn)->status = TW_MEMBER_STATUS_INACTIVE;
    assert_problem(login(turn, AT_MS, DAY_MS), TW_PROBLEM_MEMBER_NOT_ACTIVE);
}

static void start_session__is_refused_for_a_service_member(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_problem(login(turn, AT_MS, DAY_MS), TW_PROBLEM_STALE_CREDENTIALS);
}

static void start_session__is_refused_when_the_credentials_moved(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    change_member(turn)->credential_version = 2;
    assert_problem(login(turn, AT_MS, DAY_MS), TW_PROBLEM_STALE_CREDENTIALS);
}

static void start_session__is_refused_at_the_101st_live_session(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    for (int i = 0; i < 100; i++)
        assert_int_equal(login(turn, AT_MS + i, DAY_MS)->http_status, 200);
    assert_problem(login(turn, AT_MS + 100, DAY_MS), TW_PROBLEM_SESSION_LIMIT);
    assert_int_equal(member(turn)->tokens_len, 200);
}

static void start_session__does_not_count_sessions_that_ended(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    for (int i = 0; i < 100; i++)
        login(turn, AT_MS, DAY_MS + i);
    assert_problem(login(turn, AT_MS + DAY_MS - 1, DAY_MS), TW_PROBLEM_SESSION_LIMIT);
    assert_int_equal(login(turn, AT_MS + DAY_MS, DAY_MS)->http_status, 200); /* the first ended at this instant */
    assert_problem(login(turn, AT_MS + DAY_MS, DAY_MS), TW_PROBLEM_SESSION_LIMIT);
}

static void start_session__does_not_count_revoked_sessions(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    for (int i = 0; i < 100; i++)
        login(turn, AT_MS + i, DAY_MS);
    change_member(turn)->tokens[0].is_revoked = true;
    change_member(turn)->tokens[1].is_revoked = true;
    assert_int_equal(login(turn, AT_MS + 100, DAY_MS)->http_status, 200);
    assert_problem(login(turn, AT_MS + 101, DAY_MS), TW_PROBLEM_SESSION_LIMIT);
}

static void start_session__with_an_id_that_made_one_before_is_refused(void **state)
{
    struct tw_turn                *turn = *state;
    struct tw_member_start_session body = session(AT_MS, 14 * DAY_MS);

    given_member(turn);
    turn->command_number = 9;
    decide_plain(turn, &tw_member_start_session_type, &body, AT_MS);
    turn->command_number = 9;
    assert_problem(decide_plain(turn, &tw_member_start_session_type, &body, AT_MS + 2 * HOUR_MS),
                   TW_PROBLEM_KEY_REUSED);
}

/* --- issue_token -------------------------------------------------------------------------------------------------- */

static void issue_token__adds_a_scoped_token(void **state)
{
    struct tw_turn                      *turn = *state;
    struct tw_uuid                       id = command_id(1); /* the second command */
    const struct tw_member_token        *token;
    const struct tw_member_token_issued *event;

    given_service(turn);
    assert_int_equal(issue(turn, AT_MS + 5, 365 * DAY_MS)->http_status, 201);
    assert_path(turn->outcome.resource, "/v1/auth/sessions", tw_derived_id(id, ana, "family"));
    assert_int_equal(member(turn)->tokens_len, 1);
    token = &member(turn)->tokens[0];
    assert_true(tw_uuid_eq(token->token_id, tw_derived_id(id, ana, "service")));
    assert_int_equal(token->kind, TW_MEMBER_TOKEN_KIND_SERVICE);
    assert_str(token->scope, "products:write");
    assert_str(token->label, "import job");
    assert_int_equal(token->token_hash[31], 0x5e);
    assert_true(token->expires_at_ms == AT_MS + 5 + 365 * DAY_MS);
    assert_false(member(turn)->has_last_login_at);
    assert_ptr_equal(turn->event_type, &tw_member_token_issued_type);
    event = turn->event;
    assert_true(tw_uuid_eq(event->token_id, token->token_id));
    assert_str(event->scope, "products:write");
}

static void issue_token__is_refused_for_people_and_strangers(void **state)
{
    struct tw_turn *turn = *state;

    assert_problem(issue(turn, AT_MS, DAY_MS), TW_PROBLEM_NOT_FOUND);
    given_member(turn);
    assert_problem(issue(turn, AT_MS, DAY_MS), TW_PROBLEM_NOT_FOUND);
}

static void issue_token__is_refused_unless_the_service_is_active(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    change_member(turn)->status = TW_MEMBER_STATUS_SUSPENDED;
    assert_problem(issue(turn, AT_MS, DAY_MS), TW_PROBLEM_MEMBER_NOT_ACTIVE);
}

static void issue_token__is_refused_at_the_101st_live_token(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    for (int i = 0; i < 100; i++)
        assert_int_equal(issue(turn, AT_MS + i, DAY_MS)->http_status, 201);
    assert_problem(issue(turn, AT_MS + 100, DAY_MS), TW_PROBLEM_SESSION_LIMIT);
}

static void issue_token__with_an_id_that_made_one_before_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    issue(turn, AT_MS, 10 * DAY_MS);
    turn->command_number--;
    assert_problem(issue(turn, AT_MS + 2 * DAY_MS, 10 * DAY_MS), TW_PROBLEM_KEY_REUSED);
}

/* --- refresh_session ---------------------------------------------------------------------------------------------- */

static struct tw_member_refresh_session rotation(struct tw_uuid refresh_token_id, int64_t at_ms)
{
    struct tw_member_refresh_session body = {
        .member_id = ana,
        .refresh_token_id = refresh_token_id,
        .access_expires_at_ms = at_ms + HOUR_MS,
        .refresh_expires_at_ms = at_ms + 14 * DAY_MS,
    };

    memset(body.access_token_hash, 0xa2, sizeof(body.access_token_hash));
    memset(body.new_refresh_token_hash, 0xe2, sizeof(body.new_refresh_token_hash));
    return body;
}

static const struct tw_outcome *refresh(struct tw_turn *turn, struct tw_uuid refresh_token_id, int64_t at_ms)
{
    struct tw_member_refresh_session body = rotation(refresh_token_id, at_ms);

    return decide(turn, &tw_member_refresh_session_type, &body, at_ms);
}

/* One session: what a login made. */
struct pair {
    struct tw_uuid family, access, refresh;
};

static struct pair given_session(struct tw_turn *turn, int64_t at_ms, int64_t life_ms)
{
    assert_int_equal(login(turn, at_ms, life_ms)->http_status, 200);
    return (struct pair){last_family(turn), last_access(turn), last_refresh(turn)};
}

/* Refused like anything that is no good as a refresh token. */
static void assert_no_good(const struct tw_turn *turn)
{
    assert_problem(&turn->outcome, TW_PROBLEM_UNAUTHENTICATED);
    assert_false(turn->outcome.has_effect);
    assert_int_equal(turn->event_count, 0);
}

static void refresh_session__gives_a_new_pair_of_the_same_session_and_spends_the_token(void **state)
{
    struct tw_turn                           *turn = *state;
    struct pair                               old;
    const struct tw_member_token             *access, *next;
    const struct tw_member_session_refreshed *event;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    assert_int_equal(refresh(turn, old.refresh, AT_MS + 9)->http_status, 200);
    assert_path(turn->outcome.resource, "/v1/auth/sessions", old.family);
    access = token_of(member(turn), last_access(turn));
    next = token_of(member(turn), last_refresh(turn));
    assert_true(tw_uuid_eq(access->family_id, old.family) && tw_uuid_eq(next->family_id, old.family));
    assert_int_equal(access->kind, TW_MEMBER_TOKEN_KIND_ACCESS);
    assert_int_equal(next->kind, TW_MEMBER_TOKEN_KIND_REFRESH);
    assert_int_equal(access->token_hash[0], 0xa2);
    assert_int_equal(next->token_hash[0], 0xe2);
    assert_true(access->created_at_ms == AT_MS + 9 && access->expires_at_ms == AT_MS + 9 + HOUR_MS);
    assert_true(next->created_at_ms == AT_MS + 9 && next->expires_at_ms == AT_MS + 9 + 14 * DAY_MS);
    assert_false(is_live(turn, old.refresh));
    assert_true(is_live(turn, old.access)); /* it ends by itself */
    assert_int_equal(live_tokens(turn), 3);
    assert_int_equal(turn->event_count, 1);
    event = event_of(turn, &tw_member_session_refreshed_type);
    assert_non_null(event);
    assert_true(tw_uuid_eq(event->access_token_id, access->token_id));
    assert_true(tw_uuid_eq(event->refresh_token_id, next->token_id));
    assert_true(event->access_expires_at_ms == access->expires_at_ms);
    assert_true(event->refresh_expires_at_ms == next->expires_at_ms);
}

static void refresh_session__is_no_login_and_moves_no_version(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, old.refresh, AT_MS + 9);
    assert_true(member(turn)->last_login_at_ms == AT_MS);
    assert_true(member(turn)->updated_at_ms == AT_MS);
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
}

static void refresh_session__with_a_spent_token_ends_its_session_and_no_other(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     stolen, other;
    struct tw_uuid  ended[3];

    given_member(turn);
    stolen = given_session(turn, AT_MS, DAY_MS);
    other = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, stolen.refresh, AT_MS + 1);
    ended[0] = stolen.access;
    ended[1] = last_access(turn);
    ended[2] = last_refresh(turn);
    assert_problem(refresh(turn, stolen.refresh, AT_MS + 2), TW_PROBLEM_UNAUTHENTICATED);
    assert_true(turn->outcome.has_effect);
    assert_int_equal(turn->event_count, 1);
    assert_revoked(turn, ended, 3);
    assert_true(is_live(turn, other.access) && is_live(turn, other.refresh));
    assert_int_equal(member(turn)->version, 1);
    refresh(turn, ended[2], AT_MS + 3); /* what the thief or the member got meanwhile is worth nothing */
    assert_no_good(turn);
}

static void refresh_session__with_a_spent_token_of_a_session_that_is_over_has_no_effect(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, old.refresh, AT_MS + 1);
    refresh(turn, old.refresh, AT_MS + 2);
    refresh(turn, old.refresh, AT_MS + 3);
    assert_no_good(turn);
}

static void refresh_session__with_a_spent_token_past_its_end_still_ends_the_session(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, old.refresh, AT_MS + 1);
    refresh(turn, old.refresh, AT_MS + DAY_MS + HOUR_MS);
    assert_true(turn->outcome.has_effect);
    assert_int_equal(live_tokens(turn), 0);
}

static void refresh_session__is_refused_from_the_end_of_the_token_on(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, old.refresh, AT_MS + DAY_MS);
    assert_no_good(turn);
    assert_int_equal(refresh(turn, given_session(turn, AT_MS + DAY_MS, DAY_MS).refresh, AT_MS + 2 * DAY_MS - 1)->status,
                     TW_SUCCEEDED);
}

static void refresh_session__of_a_requeued_command_finds_the_token_ended_by_the_clock(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    turn->clock_ms = AT_MS + DAY_MS; /* at the command's own time it was good */
    refresh(turn, old.refresh, AT_MS + 1);
    assert_no_good(turn);
}

static void refresh_session__takes_nothing_but_a_refresh_token_of_the_member(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    refresh(turn, given_session(turn, AT_MS, DAY_MS).access, AT_MS + 1);
    assert_no_good(turn);
    refresh(turn, bo, AT_MS + 1);
    assert_no_good(turn);
    assert_int_equal(live_tokens(turn), 2);
}

static void refresh_session__does_not_take_a_token_that_was_issued_to_a_service(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    issue(turn, AT_MS, DAY_MS);
    refresh(turn, member(turn)->tokens[0].token_id, AT_MS + 1);
    assert_no_good(turn);
}

static void refresh_session__works_at_100_sessions(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     last = {0};

    given_member(turn);
    for (int i = 0; i < 100; i++)
        last = given_session(turn, AT_MS, DAY_MS);
    assert_int_equal(refresh(turn, last.refresh, AT_MS + 1)->http_status, 200);
    assert_problem(login(turn, AT_MS + 2, DAY_MS), TW_PROBLEM_SESSION_LIMIT); /* one for one */
    refresh(turn, last.refresh, AT_MS + 3);
    assert_true(turn->outcome.has_effect);
    assert_int_equal(login(turn, AT_MS + 4, DAY_MS)->http_status, 200); /* and that was one less */
}

static void refresh_session__with_an_id_that_made_one_before_is_refused(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     old;

    given_member(turn);
    old = given_session(turn, AT_MS, DAY_MS);
    turn->command_number--;
    assert_problem(refresh(turn, old.refresh, AT_MS + 1), TW_PROBLEM_KEY_REUSED);
    assert_true(is_live(turn, old.refresh));
}

/* --- end_session, end_all_sessions -------------------------------------------------------------------------------- */

static const struct tw_outcome *end_session(struct tw_turn *turn, struct tw_uuid session_id, int64_t at_ms)
{
    struct tw_member_end_session body = {.member_id = ana, .session_id = session_id};

    return decide(turn, &tw_member_end_session_type, &body, at_ms);
}

static const struct tw_outcome *end_all(struct tw_turn *turn, int64_t at_ms)
{
    struct tw_member_end_all_sessions body = {.member_id = ana};

    return decide(turn, &tw_member_end_all_sessions_type, &body, at_ms);
}

static void end_session__revokes_all_that_is_live_of_it_and_nothing_else(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     one, other;
    struct tw_uuid  ended[3];

    given_member(turn);
    one = given_session(turn, AT_MS, DAY_MS);
    other = given_session(turn, AT_MS, DAY_MS);
    refresh(turn, one.refresh, AT_MS + 1);
    ended[0] = one.access;
    ended[1] = last_access(turn);
    ended[2] = last_refresh(turn);
    assert_int_equal(end_session(turn, one.family, AT_MS + 2)->http_status, 204);
    assert_int_equal(turn->event_count, 1);
    assert_revoked(turn, ended, 3);
    assert_true(is_live(turn, other.access) && is_live(turn, other.refresh));
    assert_int_equal(member(turn)->version, 1);
    assert_int_equal(member(turn)->credential_version, 1);
}

static void end_session__of_one_that_is_over_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     one;

    given_member(turn);
    one = given_session(turn, AT_MS, DAY_MS);
    end_session(turn, one.family, AT_MS + 1);
    end_session(turn, one.family, AT_MS + 2);
    assert_nothing_happened(turn, 204);
}

static void end_session__of_one_the_member_does_not_have_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    assert_problem(end_session(turn, bo, AT_MS), TW_PROBLEM_NOT_FOUND);
    given_member(turn);
    given_session(turn, AT_MS, DAY_MS);
    assert_problem(end_session(turn, bo, AT_MS), TW_PROBLEM_NOT_FOUND);
    assert_problem(end_session(turn, tw_uuid_nil, AT_MS), TW_PROBLEM_NOT_FOUND); /* which is not "all" */
    assert_int_equal(live_tokens(turn), 2);
}

static void end_session__ends_a_token_issued_to_a_service(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    issue(turn, AT_MS, DAY_MS);
    issue(turn, AT_MS, DAY_MS);
    end_session(turn, last_family(turn), AT_MS + 1);
    assert_int_equal(live_tokens(turn), 1);
}

static void end_all_sessions__leaves_none_and_says_so_once(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    given_session(turn, AT_MS, DAY_MS);
    given_session(turn, AT_MS, DAY_MS);
    assert_int_equal(end_all(turn, AT_MS + 1)->http_status, 204);
    assert_int_equal(turn->event_count, 1);
    assert_revoked(turn,
                   (const struct tw_uuid[]){member(turn)->tokens[0].token_id, member(turn)->tokens[1].token_id,
                                            member(turn)->tokens[2].token_id, member(turn)->tokens[3].token_id},
                   4);
    assert_int_equal(live_tokens(turn), 0);
    end_all(turn, AT_MS + 2);
    assert_nothing_happened(turn, 204);
}

static void end_all_sessions__of_nobody_is_refused(void **state)
{
    assert_problem(end_all(*state, AT_MS), TW_PROBLEM_NOT_FOUND);
}

/* --- revoke_token ------------------------------------------------------------------------------------------------- */

static const struct tw_outcome *revoke(struct tw_turn *turn, struct tw_uuid token_id, int64_t at_ms)
{
    struct tw_member_revoke_token body = {.member_id = ana, .token_id = token_id};

    return decide(turn, &tw_member_revoke_token_type, &body, at_ms);
}

static void revoke_token__ends_that_one_alone(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first, second;

    given_service(turn);
    issue(turn, AT_MS, DAY_MS);
    first = member(turn)->tokens[0].token_id;
    issue(turn, AT_MS + 1, DAY_MS);
    second = member(turn)->tokens[1].token_id;
    assert_int_equal(revoke(turn, first, AT_MS + 2)->http_status, 204);
    assert_int_equal(turn->event_count, 1);
    assert_revoked(turn, &first, 1);
    assert_true(is_live(turn, second));
}

static void revoke_token__of_one_that_has_ended_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  token;

    given_service(turn);
    issue(turn, AT_MS, DAY_MS);
    token = member(turn)->tokens[0].token_id;
    revoke(turn, token, AT_MS + 1);
    revoke(turn, token, AT_MS + 2);
    assert_nothing_happened(turn, 204);
    issue(turn, AT_MS + 3, HOUR_MS);
    revoke(turn, tw_derived_id(command_id(turn->command_number - 1), ana, "service"), AT_MS + DAY_MS);
    assert_nothing_happened(turn, 204);
}

static void revoke_token__the_member_does_not_have_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    assert_problem(revoke(turn, bo, AT_MS), TW_PROBLEM_NOT_FOUND);
    given_service(turn);
    assert_problem(revoke(turn, bo, AT_MS), TW_PROBLEM_NOT_FOUND);
}

/* --- what readers with leeway still take -------------------------------------------------------------------------- */

#define ACCESS_END (AT_MS + HOUR_MS)

static void revoking__names_an_access_token_that_ended_so_lately_that_some_still_take_it(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     one;

    given_member(turn);
    one = given_session(turn, AT_MS, HOUR_MS); /* both end at the same instant; a refresh token has no leeway */
    end_all(turn, ACCESS_END + TW_MEMBER_TOKEN_LEEWAY_MS - 1);
    assert_revoked(turn, &one.access, 1);
}

static void revoking__does_not_name_what_nobody_takes_any_more(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    given_session(turn, AT_MS, HOUR_MS);
    end_all(turn, ACCESS_END + TW_MEMBER_TOKEN_LEEWAY_MS);
    assert_nothing_happened(turn, 204);
}

static void revoke_token__reaches_into_the_leeway_too(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     one;

    given_member(turn);
    one = given_session(turn, AT_MS, DAY_MS);
    revoke(turn, one.access, ACCESS_END + TW_MEMBER_TOKEN_LEEWAY_MS - 1);
    assert_revoked(turn, &one.access, 1);
}

/* --- rows that are kept ------------------------------------------------------------------------------------------- */

static void tokens__are_dropped_a_day_after_their_end(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  access;

    given_member(turn);
    access = tw_derived_id(command_id(turn->command_number), ana, "access");
    login(turn, AT_MS, 14 * DAY_MS);
    login(turn, AT_MS + HOUR_MS + DAY_MS - 1, DAY_MS);
    assert_non_null(find_token(member(turn), access));
    login(turn, AT_MS + HOUR_MS + DAY_MS, DAY_MS);
    assert_null(find_token(member(turn), access));
    assert_int_equal(member(turn)->tokens_len, 5);
}

static void tokens__revoked_or_not_are_kept_until_then(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS, 14 * DAY_MS);
    change_member(turn)->tokens[0].is_revoked = true;
    change_member(turn)->tokens[1].is_revoked = true;
    login(turn, AT_MS + 1, DAY_MS);
    assert_int_equal(member(turn)->tokens_len, 4);
}

static void tokens__never_exceed_400_rows_and_the_oldest_that_is_not_needed_goes_first(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  refresh_tokens[3];

    given_member(turn);
    for (uint32_t i = 0; i < 3; i++)
        refresh_tokens[i] = tw_derived_id(command_id(turn->command_number + i), ana, "refresh");
    for (int i = 0; i < 200; i++) { /* each ends before the next begins, and stays as a row */
        login(turn, AT_MS + i, 14 * DAY_MS);
        for (uint32_t k = 0; k < member(turn)->tokens_len; k++)
            change_member(turn)->tokens[k].is_revoked = true;
    }
    assert_int_equal(member(turn)->tokens_len, 400);
    assert_int_equal(login(turn, AT_MS + 200, DAY_MS)->http_status, 200);
    assert_int_equal(member(turn)->tokens_len, 400);
    assert_null(find_token(member(turn), refresh_tokens[0]));
    assert_null(find_token(member(turn), refresh_tokens[1]));
    assert_non_null(find_token(member(turn), refresh_tokens[2]));
    assert_oldest_first(member(turn));
}

static void tokens__that_are_live_are_never_dropped_for_room(void **state)
{
    struct tw_turn                *turn = *state;
    struct tw_member_start_session body = session(AT_MS, 0);
    int                            count = 0;

    given_member(turn);
    body.access_expires_at_ms = AT_MS + DAY_MS; /* outlives its refresh token: no session, but a live row */
    body.refresh_expires_at_ms = AT_MS;
    while (count < 1000 && decide_plain(turn, &tw_member_start_session_type, &body, AT_MS)->status == TW_SUCCEEDED)
        count++;
    assert_problem(&turn->outcome, TW_PROBLEM_SESSION_LIMIT);
    assert_int_equal(count, 399); /* the 399th adds two rows to 398 live ones */
    assert_int_equal(member(turn)->tokens_len, 400);
}

static void tokens__of_a_requeued_command_take_their_place_by_age(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS + 10, DAY_MS);
    login(turn, AT_MS + 5, DAY_MS);
    login(turn, AT_MS + 10, DAY_MS);
    assert_int_equal(member(turn)->tokens_len, 6);
    assert_oldest_first(member(turn));
    assert_true(member(turn)->tokens[0].created_at_ms == AT_MS + 5);
}

static void start_session__of_a_requeued_command_is_not_the_last_login(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    login(turn, AT_MS + 10, DAY_MS);
    login(turn, AT_MS + 5, DAY_MS);
    assert_true(member(turn)->last_login_at_ms == AT_MS + 10);
}

static void sessions_that_ended__do_not_count_for_a_requeued_command(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    for (int i = 0; i < 100; i++)
        login(turn, AT_MS, DAY_MS);
    turn->clock_ms = AT_MS + DAY_MS; /* by now all have ended; at the requeued command's time none had */
    assert_int_equal(login(turn, AT_MS + 1, 14 * DAY_MS)->http_status, 200);
    assert_int_equal(member(turn)->tokens_len, 202);
    turn->clock_ms = AT_MS + 2 * DAY_MS;
    assert_int_equal(login(turn, AT_MS + 2, 14 * DAY_MS)->http_status, 200);
    assert_int_equal(member(turn)->tokens_len, 3); /* and by now all but the refresh token are dropped */
    assert_true(member(turn)->last_login_at_ms == AT_MS + 2);
}

static void states__with_the_most_tokens_fit_their_schema(void **state)
{
    struct tw_turn  *turn = *state;
    struct tw_buf    packed = {0};
    struct tw_member back;
    struct tw_err    err = {0};

    given_member(turn);
    for (int i = 0; i < 250; i++) {
        login(turn, AT_MS + i, 14 * DAY_MS);
        for (uint32_t k = 0; k < member(turn)->tokens_len; k++)
            change_member(turn)->tokens[k].is_revoked = true;
    }
    tw_member_type.pack(member(turn), &packed);
    assert_rc(tw_member_type.unpack(tw_buf_str(&packed), &turn->arena, &back, &err), TW_OK, err);
    assert_int_equal(back.tokens_len, TW_MEMBER_TOKENS_MAX);
    tw_buf_done(&packed);
}

/* 200 logins and logouts within the life of an access token: 400 rows, the access tokens' among them needed. */
static void given_200_ended_sessions(struct tw_turn *turn)
{
    given_member(turn);
    for (int i = 0; i < 200; i++)
        end_session(turn, given_session(turn, AT_MS, DAY_MS).family, AT_MS);
    assert_int_equal(member(turn)->tokens_len, 400);
}

static uint32_t rows_of_kind(const struct tw_turn *turn, enum tw_member_token_kind kind)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < member(turn)->tokens_len; i++)
        count += member(turn)->tokens[i].kind == kind;
    return count;
}

static void tokens__revoked_before_their_end_keep_their_rows_while_somebody_might_take_them(void **state)
{
    struct tw_turn *turn = *state;

    given_200_ended_sessions(turn);
    for (int i = 0; i < 100; i++)
        end_session(turn, given_session(turn, AT_MS + 1, DAY_MS).family, AT_MS + 1);
    assert_int_equal(member(turn)->tokens_len, 400);
    assert_int_equal(rows_of_kind(turn, TW_MEMBER_TOKEN_KIND_ACCESS), 300); /* room came from spent refresh tokens */
}

static void tokens__that_must_stay_leave_no_room_for_a_401st_row(void **state)
{
    struct tw_turn *turn = *state;
    struct pair     live;
    int             count = 0;

    given_200_ended_sessions(turn);
    live = given_session(turn, AT_MS + 1, DAY_MS);
    while (count < 1000 && refresh(turn, live.refresh, AT_MS + 2)->status == TW_SUCCEEDED) {
        live.refresh = last_refresh(turn);
        count++;
    }
    assert_problem(&turn->outcome, TW_PROBLEM_SESSION_LIMIT);
    assert_int_equal(rows_of_kind(turn, TW_MEMBER_TOKEN_KIND_ACCESS), 201 + count);
    assert_true(count > 190);
    assert_true(is_live(turn, live.refresh)); /* the refusal spends nothing */
    assert_int_equal(refresh(turn, live.refresh, AT_MS + 2 + HOUR_MS + TW_MEMBER_TOKEN_LEEWAY_MS)->http_status, 200);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, no_members, turn_done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(start_session__adds_two_tokens_of_one_family),
        RULE(start_session__sets_the_last_login_and_moves_no_version),
        RULE(start_session__takes_the_password_hashed_anew_and_no_credentials_move),
        RULE(start_session__is_refused_for_an_unknown_member),
        RULE(start_session__is_refused_unless_the_member_is_active),
        RULE(start_session__is_refused_for_a_service_member),
        RULE(start_session__is_refused_when_the_credentials_moved),
        RULE(start_session__is_refused_at_the_101st_live_session),
        RULE(start_session__does_not_count_sessions_that_ended),
        RULE(start_session__does_not_count_revoked_sessions),
        RULE(start_session__with_an_id_that_made_one_before_is_refused),
        RULE(issue_token__adds_a_scoped_token),
        RULE(issue_token__is_refused_for_people_and_strangers),
        RULE(issue_token__is_refused_unless_the_service_is_active),
        RULE(issue_token__is_refused_at_the_101st_live_token),
        RULE(issue_token__with_an_id_that_made_one_before_is_refused),
        RULE(refresh_session__gives_a_new_pair_of_the_same_session_and_spends_the_token),
        RULE(refresh_session__is_no_login_and_moves_no_version),
        RULE(refresh_session__with_a_spent_token_ends_its_session_and_no_other),
        RULE(refresh_session__with_a_spent_token_of_a_session_that_is_over_has_no_effect),
        RULE(refresh_session__with_a_spent_token_past_its_end_still_ends_the_session),
        RULE(refresh_session__is_refused_from_the_end_of_the_token_on),
        RULE(refresh_session__of_a_requeued_command_finds_the_token_ended_by_the_clock),
        RULE(refresh_session__takes_nothing_but_a_refresh_token_of_the_member),
        RULE(refresh_session__does_not_take_a_token_that_was_issued_to_a_service),
        RULE(refresh_session__works_at_100_sessions),
        RULE(refresh_session__with_an_id_that_made_one_before_is_refused),
        RULE(end_session__revokes_all_that_is_live_of_it_and_nothing_else),
        RULE(end_session__of_one_that_is_over_changes_nothing),
        RULE(end_session__of_one_the_member_does_not_have_is_refused),
        RULE(end_session__ends_a_token_issued_to_a_service),
        RULE(end_all_sessions__leaves_none_and_says_so_once),
        RULE(end_all_sessions__of_nobody_is_refused),
        RULE(revoke_token__ends_that_one_alone),
        RULE(revoke_token__of_one_that_has_ended_changes_nothing),
        RULE(revoke_token__the_member_does_not_have_is_refused),
        RULE(revoking__names_an_access_token_that_ended_so_lately_that_some_still_take_it),
        RULE(revoking__does_not_name_what_nobody_takes_any_more),
        RULE(revoke_token__reaches_into_the_leeway_too),
        RULE(tokens__are_dropped_a_day_after_their_end),
        RULE(tokens__revoked_or_not_are_kept_until_then),
        RULE(tokens__never_exceed_400_rows_and_the_oldest_that_is_not_needed_goes_first),
        RULE(tokens__that_are_live_are_never_dropped_for_room),
        RULE(tokens__of_a_requeued_command_take_their_place_by_age),
        RULE(start_session__of_a_requeued_command_is_not_the_last_login),
        RULE(sessions_that_ended__do_not_count_for_a_requeued_command),
        RULE(states__with_the_most_tokens_fit_their_schema),
        RULE(tokens__revoked_before_their_end_keep_their_rows_while_somebody_might_take_them),
        RULE(tokens__that_must_stay_leave_no_room_for_a_401st_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
