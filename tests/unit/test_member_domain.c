/* The rules of the member domain: a member, a command, and what must follow. */
#include "workers/member/member_domain.h"

#include <string.h>

#include "domain_fixture.h"
#include "tillwire/gen/member_messages.h"

/* --- given, when -------------------------------------------------------------------------------------------------- */

#define ANA                \
    {                      \
        {                  \
            0x3e, [15] = 1 \
        }                  \
    }

static const struct tw_uuid ana = ANA;

static int setup(void **state)
{
    return given_nothing_stored(state, &tw_member_domain);
}

/* Decides one command in a batch of its own. */
static const struct tw_outcome *decide(struct tw_turn *turn, const struct tw_type *type, const void *body,
                                       int64_t at_ms)
{
    const struct tw_entity *entity = &turn->entities[0];

    when(turn, type, body, at_ms);
    assert_int_equal(turn->entity_count, 1);
    assert_true(tw_uuid_eq(entity->key.id, ana));
    if (turn->outcome.status == TW_SUCCEEDED) {
        assert_true(entity->changed);
        assert_int_equal(turn->event_count, 1);
    } else {
        assert_false(entity->changed);
        assert_int_equal(turn->event_count, 0);
    }
    next_batch(turn);
    return &turn->outcome;
}

static const struct tw_member *member(const struct tw_turn *turn)
{
    return newest(turn);
}

/* For facts that no command makes yet. */
static struct tw_member *change_member(struct tw_turn *turn)
{
    return alter(turn);
}

static const struct tw_member_register registration = {
    .member_id = ANA,
    .email = {"Ana.Lim@example.com", 19},
    .email_folded = {"ana.lim@example.com", 19},
    .password_hash = {"$argon2id$x", 11},
    .full_name = {"Ana Lim", 7},
    .has_phone_number = true,
    .phone_number = {"+6281234567890", 14},
};

static const struct tw_member_register_service service_registration = {
    .member_id = ANA,
    .email = {"Import@example.com", 18},
    .email_folded = {"import@example.com", 18},
    .full_name = {"Import job", 10},
};

static void given_member(struct tw_turn *turn)
{
    assert_int_equal(decide(turn, &tw_member_register_type, &registration, AT_MS)->http_status, 201);
}

static void given_service(struct tw_turn *turn)
{
    assert_int_equal(decide(turn, &tw_member_register_service_type, &service_registration, AT_MS)->http_status, 201);
}

/* A session whose access token ends an hour after @p at_ms and whose refresh token ends @p life_ms after it. */
static struct tw_member_start_session session(int64_t at_ms, int64_t life_ms)
{
    struct tw_member_start_session body = {
        .member_id = ana,
        .credential_version = 1,
        .access_expires_at_ms = at_ms + HOUR_MS,
        .refresh_expires_at_ms = at_ms + life_ms,
    };

    memset(body.access_token_hash, 0xac, sizeof(body.access_token_hash));
    memset(body.refresh_token_hash, 0xef, sizeof(body.refresh_token_hash));
    return body;
}

static const struct tw_outcome *login(struct tw_turn *turn, int64_t at_ms, int64_t life_ms)
{
    struct tw_member_start_session body = session(at_ms, life_ms);

    return decide(turn, &tw_member_start_session_type, &body, at_ms);
}

static const struct tw_outcome *issue(struct tw_turn *turn, int64_t at_ms, int64_t life_ms)
{
    struct tw_member_issue_token body = {
        .member_id = ana,
        .expires_at_ms = at_ms + life_ms,
        .scope = TW_STR("products:write"),
        .label = TW_STR("import job"),
    };

    memset(body.token_hash, 0x5e, sizeof(body.token_hash));
    return decide(turn, &tw_member_issue_token_type, &body, at_ms);
}

static void assert_oldest_first(const struct tw_member *of)
{
    for (uint32_t i = 1; i < of->tokens_len; i++) {
        const struct tw_member_token *a = &of->tokens[i - 1];
        const struct tw_member_token *b = &of->tokens[i];

        assert_true(a->created_at_ms < b->created_at_ms ||
                    (a->created_at_ms == b->created_at_ms && tw_uuid_cmp(a->token_id, b->token_id) < 0));
    }
}

static const struct tw_member_token *find_token(const struct tw_member *of, struct tw_uuid id)
{
    for (uint32_t i = 0; i < of->tokens_len; i++)
        if (tw_uuid_eq(of->tokens[i].token_id, id))
            return &of->tokens[i];
    return NULL;
}

/* The token, which must be there. */
static const struct tw_member_token *token_of(const struct tw_member *of, struct tw_uuid id)
{
    static const struct tw_member_token none;
    const struct tw_member_token       *token = find_token(of, id);

    assert_non_null(token);
    return token ? token : &none;
}

/* --- register ----------------------------------------------------------------------------------------------------- */

static void register__makes_an_active_member_of_version_1(void **state)
{
    struct tw_turn                    *turn = *state;
    const struct tw_member_registered *event;

    decide(turn, &tw_member_register_type, &registration, AT_MS);
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
    decide(turn, &tw_member_register_type, &body, AT_MS);
    assert_false(member(turn)->has_phone_number);
}

static void register__is_refused_when_the_address_is_taken(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    assert_problem(decide(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
    assert_problem(decide(turn, &tw_member_register_service_type, &service_registration, AT_MS + 1),
                   TW_PROBLEM_EMAIL_TAKEN);
    assert_true(member(turn)->created_at_ms == AT_MS);
}

static void register__is_refused_when_a_service_has_the_address(void **state)
{
    struct tw_turn *turn = *state;

    given_service(turn);
    assert_problem(decide(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
}

static void register__of_an_address_whose_member_left_is_refused(void **state)
{
    struct tw_turn *turn = *state;

    given_member(turn);
    change_member(turn)->status = TW_MEMBER_STATUS_INACTIVE;
    assert_problem(decide(turn, &tw_member_register_type, &registration, AT_MS + 1), TW_PROBLEM_EMAIL_TAKEN);
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
    decide(turn, &tw_member_start_session_type, &body, AT_MS + 5);
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
    decide(turn, &tw_member_start_session_type, &body, AT_MS);
    turn->command_number = 9;
    assert_problem(decide(turn, &tw_member_start_session_type, &body, AT_MS + 2 * HOUR_MS), TW_PROBLEM_KEY_REUSED);
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

static void tokens__never_exceed_400_rows_and_the_oldest_ended_goes_first(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_uuid  first, second;

    given_member(turn);
    first = tw_derived_id(command_id(turn->command_number), ana, "refresh");
    second = tw_derived_id(command_id(turn->command_number + 1), ana, "refresh");
    for (int i = 0; i < 200; i++) { /* each ends before the next begins, and stays as a row */
        login(turn, AT_MS + i, 14 * DAY_MS);
        for (uint32_t k = 0; k < member(turn)->tokens_len; k++)
            change_member(turn)->tokens[k].is_revoked = true;
    }
    assert_int_equal(member(turn)->tokens_len, 400);
    assert_int_equal(login(turn, AT_MS + 200, DAY_MS)->http_status, 200);
    assert_int_equal(member(turn)->tokens_len, 400);
    assert_null(find_token(member(turn), first));
    assert_non_null(find_token(member(turn), second));
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
    while (count < 1000 && decide(turn, &tw_member_start_session_type, &body, AT_MS)->status == TW_SUCCEEDED)
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

/* --- the domain --------------------------------------------------------------------------------------------------- */

static void domain__knows_every_released_command_by_its_member(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_key   keys[TW_KEYS_MAX];

    assert_int_equal(tw_member_domain.command_count, tw_member_command_count);
    for (size_t i = 0; i < tw_member_command_count; i++) {
        void             *body = tw_arena_alloc(&turn->arena, tw_member_domain.commands[i]->size);
        struct tw_command cmd = {.type = tw_member_domain.commands[i], .body = body};

        memcpy(body, ana.bytes, sizeof(ana.bytes)); /* in every command `member_id` comes first */
        assert_int_equal(tw_member_domain.keys(&cmd, keys), 1);
        assert_int_equal(keys[0].kind, 0);
        assert_true(tw_uuid_eq(keys[0].id, ana));
        assert_true(tw_uuid_is_nil(keys[0].sub));
    }
}

static void domain__has_version_0_for_nobody(void **state)
{
    struct tw_member known = {.version = 7};

    (void)state;
    assert_int_equal(tw_member_domain.version(NULL, 0), 0);
    assert_int_equal(tw_member_domain.version(&known, 0), 7);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, turn_done)

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
        RULE(start_session__adds_two_tokens_of_one_family),
        RULE(start_session__sets_the_last_login_and_moves_no_version),
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
        RULE(tokens__are_dropped_a_day_after_their_end),
        RULE(tokens__revoked_or_not_are_kept_until_then),
        RULE(tokens__never_exceed_400_rows_and_the_oldest_ended_goes_first),
        RULE(tokens__that_are_live_are_never_dropped_for_room),
        RULE(tokens__of_a_requeued_command_take_their_place_by_age),
        RULE(start_session__of_a_requeued_command_is_not_the_last_login),
        RULE(sessions_that_ended__do_not_count_for_a_requeued_command),
        RULE(states__with_the_most_tokens_fit_their_schema),
        RULE(domain__knows_every_released_command_by_its_member),
        RULE(domain__has_version_0_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
