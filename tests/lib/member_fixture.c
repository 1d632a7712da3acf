/* See member_fixture.h. */
#include "member_fixture.h"

#include <string.h>

/* --- given -------------------------------------------------------------------------------------------------------- */

const struct tw_uuid ana = ANA;
const struct tw_uuid bo = {{0xb0, [15] = 2}};
const struct tw_uuid cy = {{0xc1, [15] = 3}};

const struct tw_member_register registration = {
    .member_id = ANA,
    .email = {"Ana.Lim@example.com", 19},
    .email_folded = {"ana.lim@example.com", 19},
    .password_hash = {"$argon2id$x", 11},
    .full_name = {"Ana Lim", 7},
    .has_phone_number = true,
    .phone_number = {"+6281234567890", 14},
};

const struct tw_member_register_service service_registration = {
    .member_id = ANA,
    .email = {"Import@example.com", 18},
    .email_folded = {"import@example.com", 18},
    .full_name = {"Import job", 10},
};

int no_members(void **state)
{
    return given_nothing_stored(state, &tw_member_domain);
}

void given_member(struct tw_turn *turn)
{
    assert_int_equal(decide_plain(turn, &tw_member_register_type, &registration, AT_MS)->http_status, 201);
}

void given_service(struct tw_turn *turn)
{
    assert_int_equal(decide_plain(turn, &tw_member_register_service_type, &service_registration, AT_MS)->http_status,
                     201);
}

void given_inactive(struct tw_turn *turn)
{
    given_member(turn);
    set_status(turn, TW_MEMBER_STATUS_INACTIVE, AT_MS);
    assert_int_equal(member(turn)->status, TW_MEMBER_STATUS_INACTIVE);
}

const struct tw_member *member(const struct tw_turn *turn)
{
    return newest(turn);
}

const struct tw_member *member_of(struct tw_turn *turn, struct tw_uuid member_id)
{
    const struct tw_entity *entity = entity_of(turn, &(struct tw_key){.id = member_id});

    return entity->state ? entity->state : entity->before;
}

struct tw_member *change_member(struct tw_turn *turn)
{
    return alter(turn);
}

/* --- when --------------------------------------------------------------------------------------------------------- */

const struct tw_outcome *decide(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms)
{
    when(turn, type, body, at_ms);
    next_batch(turn);
    return &turn->outcome;
}

const struct tw_outcome *decide_plain(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms)
{
    when(turn, type, body, at_ms);
    assert_true(tw_uuid_eq(turn->entities[0].key.id, ana));
    assert_int_equal(turn->entities[0].key.kind, 0);
    for (size_t i = 1; i < turn->entity_count; i++)
        assert_false(turn->entities[i].changed);
    assert_int_equal(turn->entities[0].changed, turn->outcome.status == TW_SUCCEEDED);
    assert_int_equal(turn->event_count, turn->outcome.status == TW_SUCCEEDED);
    next_batch(turn);
    return &turn->outcome;
}

struct tw_member_start_session session(int64_t at_ms, int64_t life_ms)
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

const struct tw_outcome *login(struct tw_turn *turn, int64_t at_ms, int64_t life_ms)
{
    struct tw_member_start_session body = session(at_ms, life_ms);

    return decide_plain(turn, &tw_member_start_session_type, &body, at_ms);
}

const struct tw_outcome *issue(struct tw_turn *turn, int64_t at_ms, int64_t life_ms)
{
    struct tw_member_issue_token body = {
        .member_id = ana,
        .expires_at_ms = at_ms + life_ms,
        .scope = TW_STR("products:write"),
        .label = TW_STR("import job"),
    };

    memset(body.token_hash, 0x5e, sizeof(body.token_hash));
    return decide_plain(turn, &tw_member_issue_token_type, &body, at_ms);
}

const struct tw_outcome *set_status(struct tw_turn *turn, enum tw_member_status status, int64_t at_ms)
{
    struct tw_member_set_status body = {.member_id = ana, .status = status, .reason = TW_STR("asked for")};

    return decide(turn, &tw_member_set_status_type, &body, at_ms);
}

const struct tw_outcome *change_password(struct tw_turn *turn, const char *hash, int64_t credential_version,
                                         struct tw_uuid kept, int64_t at_ms)
{
    struct tw_member_change_password body = {
        .member_id = ana,
        .credential_version = credential_version,
        .password_hash = tw_str_of(hash),
        .keep_session_id = kept,
    };

    return decide(turn, &tw_member_change_password_type, &body, at_ms);
}

static struct tw_uuid last_made(const struct tw_turn *turn, const char *what)
{
    return tw_derived_id(command_id(turn->command_number - 1), ana, what);
}

struct tw_uuid last_access(const struct tw_turn *turn)
{
    return last_made(turn, "access");
}

struct tw_uuid last_refresh(const struct tw_turn *turn)
{
    return last_made(turn, "refresh");
}

struct tw_uuid last_family(const struct tw_turn *turn)
{
    return last_made(turn, "family");
}

/* --- then --------------------------------------------------------------------------------------------------------- */

const struct tw_member_token *find_token(const struct tw_member *of, struct tw_uuid id)
{
    for (uint32_t i = 0; i < of->tokens_len; i++)
        if (tw_uuid_eq(of->tokens[i].token_id, id))
            return &of->tokens[i];
    return NULL;
}

const struct tw_member_token *token_of(const struct tw_member *of, struct tw_uuid id)
{
    static const struct tw_member_token none;
    const struct tw_member_token       *token = find_token(of, id);

    assert_non_null(token);
    return token ? token : &none;
}

static bool lives(const struct tw_turn *turn, const struct tw_member_token *token)
{
    return !token->is_revoked && token->expires_at_ms > turn->clock_ms;
}

bool is_live(const struct tw_turn *turn, struct tw_uuid token_id)
{
    return lives(turn, token_of(member(turn), token_id));
}

uint32_t live_tokens(const struct tw_turn *turn)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < member(turn)->tokens_len; i++)
        count += lives(turn, &member(turn)->tokens[i]);
    return count;
}

static const struct tw_revoked_token *find_revoked(const struct tw_member_tokens_revoked *event, struct tw_uuid id)
{
    for (uint32_t i = 0; i < event->tokens_len; i++)
        if (tw_uuid_eq(event->tokens[i].token_id, id))
            return &event->tokens[i];
    return NULL;
}

void assert_revoked(const struct tw_turn *turn, const struct tw_uuid *ids, uint32_t count)
{
    const struct tw_member_tokens_revoked *event = event_of(turn, &tw_member_tokens_revoked_type);

    assert_non_null(event);
    assert_true(tw_uuid_eq(event->member_id, ana));
    assert_int_equal(event->version, member(turn)->version);
    assert_int_equal(event->tokens_len, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_revoked_token *revoked = find_revoked(event, ids[i]);

        assert_non_null(revoked);
        assert_true(revoked->expires_at_ms == token_of(member(turn), ids[i])->expires_at_ms);
        assert_true(token_of(member(turn), ids[i])->is_revoked);
    }
}

void assert_nothing_revoked(const struct tw_turn *turn)
{
    assert_null(event_of(turn, &tw_member_tokens_revoked_type));
}

void assert_nothing_happened(const struct tw_turn *turn, int http_status)
{
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_int_equal(turn->outcome.http_status, http_status);
    assert_int_equal(turn->event_count, 0);
    assert_false(turn->has_finished);
    for (size_t i = 0; i < turn->entity_count; i++) {
        assert_int_not_equal(turn->entities[i].guard, turn->offset - 1);
        assert_int_not_equal(turn->entities[i].before_guard, turn->offset - 1);
    }
}
