/*
 * What member commands mean. A member is one aggregate with its addresses and tokens; its id follows from the folded
 * e-mail it registered with, so two registrations for one address meet in one partition and the second finds the first.
 *
 * A token is live while it is neither revoked nor past its end by the partition's clock, also when a requeued command
 * is decided at its original time. Ended rows stay for a day and are then dropped by the member's next change, and by
 * nothing else: the stored rows are a function of the log alone, which is why the store's sweep leaves tokens be.
 *
 * `version` and `updated_at` belong to what a member may edit. A login on one device must not fail an If-Match on
 * another, so sessions and tokens move neither.
 */
#include "member_domain.h"

#include <assert.h>
#include <string.h>

#include "tillwire/gen/member_messages.h"

enum { MEMBER = 0 }; /* position and kind of the only entity a command touches */

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static bool is_live(const struct tw_member_token *token, int64_t clock_ms)
{
    return !token->is_revoked && token->expires_at_ms > clock_ms;
}

/* One live token of these kinds is one session: a refresh token that was spent is revoked. */
static bool holds_session(const struct tw_member_token *token)
{
    return token->kind != TW_MEMBER_TOKEN_KIND_ACCESS;
}

static bool has_token(const struct tw_member *member, struct tw_uuid token_id)
{
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].token_id, token_id))
            return true;
    return false;
}

/* May @p member get one more session of @p wanted tokens? The second limit matters only to sessions whose refresh token
 * ends before the access token: it keeps the state within its schema whatever a command says. */
static bool has_room(const struct tw_member *member, uint32_t wanted, int64_t clock_ms)
{
    uint32_t sessions = 0, live = 0;

    for (uint32_t i = 0; i < member->tokens_len; i++) {
        if (!is_live(&member->tokens[i], clock_ms))
            continue;
        live++;
        sessions += holds_session(&member->tokens[i]);
    }
    return sessions < TW_MEMBER_SESSIONS_MAX && live + wanted <= TW_MEMBER_TOKENS_MAX;
}

/* Drops what ended a day ago, then the oldest of what else has ended until @p wanted more rows fit. */
static void make_room(struct tw_member *member, uint32_t wanted, int64_t clock_ms)
{
    uint32_t kept = 0, excess;

    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (member->tokens[i].expires_at_ms + TW_MEMBER_TOKEN_KEEP_MS > clock_ms)
            member->tokens[kept++] = member->tokens[i];
    excess = kept + wanted > TW_MEMBER_TOKENS_MAX ? kept + wanted - TW_MEMBER_TOKENS_MAX : 0;
    member->tokens_len = kept;
    kept = 0;
    for (uint32_t i = 0; i < member->tokens_len; i++) {
        if (excess && !is_live(&member->tokens[i], clock_ms))
            excess--;
        else
            member->tokens[kept++] = member->tokens[i];
    }
    assert(!excess); /* has_room() */
    member->tokens_len = kept;
}

static bool is_older(const struct tw_member_token *a, const struct tw_member_token *b)
{
    if (a->created_at_ms != b->created_at_ms)
        return a->created_at_ms < b->created_at_ms;
    return tw_uuid_cmp(a->token_id, b->token_id) < 0;
}

/* Keeps the list oldest first, ties by id: the order a store gives back. A requeued command may come with an old time,
 * so the end of the list is not always the place. */
static void add_token(struct tw_member *member, struct tw_arena *arena, const struct tw_member_token *token)
{
    uint32_t place = member->tokens_len;

    member->tokens =
        tw_arena_grow(arena, member->tokens, member->tokens_len, &member->tokens_cap, sizeof(*member->tokens));
    for (; place && is_older(token, &member->tokens[place - 1]); place--)
        member->tokens[place] = member->tokens[place - 1];
    member->tokens[place] = *token;
    member->tokens_len++;
}

static struct tw_str path_of(struct tw_arena *arena, const char *folder, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    return tw_arena_printf(arena, "%s/%s", folder, text);
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static struct tw_outcome email_taken(void)
{
    return tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "a member with this e-mail address exists");
}

static struct tw_outcome decide_register(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_register *body = cmd->body;
    struct tw_member                *member;

    if (tw_state(d, MEMBER))
        return email_taken();
    member = tw_state_change(d, MEMBER);
    *member = (struct tw_member){
        .member_id = body->member_id,
        .email = body->email,
        .email_folded = body->email_folded,
        .has_password_hash = true,
        .password_hash = body->password_hash,
        .full_name = body->full_name,
        .has_phone_number = body->has_phone_number,
        .phone_number = body->phone_number,
        .status = TW_MEMBER_STATUS_ACTIVE,
        .created_at_ms = cmd->at_ms,
        .updated_at_ms = cmd->at_ms,
        .version = 1,
        .credential_version = 1,
    };
    tw_emit(d, &tw_member_registered_type,
            &(struct tw_member_registered){
                .member_id = member->member_id, .status = member->status, .version = member->version});
    return tw_succeeded(201, TW_STR("/v1/members/me"));
}

static struct tw_outcome decide_register_service(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_register_service *body = cmd->body;
    struct tw_member                        *member;

    if (tw_state(d, MEMBER))
        return email_taken();
    member = tw_state_change(d, MEMBER);
    *member = (struct tw_member){
        .member_id = body->member_id,
        .email = body->email,
        .email_folded = body->email_folded,
        .full_name = body->full_name,
        .status = TW_MEMBER_STATUS_ACTIVE,
        .created_at_ms = cmd->at_ms,
        .updated_at_ms = cmd->at_ms,
        .version = 1,
        .credential_version = 1,
        .is_service = true,
    };
    tw_emit(d, &tw_member_service_registered_type,
            &(struct tw_member_service_registered){
                .member_id = member->member_id, .status = member->status, .version = member->version});
    return tw_succeeded(201, path_of(d->arena, "/v1/members", member->member_id));
}

/* A command id that made tokens more than a day ago and comes again would make the same ids again. */
static struct tw_outcome id_used_before(void)
{
    return tw_rejected(TW_PROBLEM_KEY_REUSED, "this command id made a session before");
}

static struct tw_outcome too_many_sessions(void)
{
    return tw_rejected(TW_PROBLEM_SESSION_LIMIT, "the member has 100 live sessions");
}

static struct tw_outcome decide_start_session(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_start_session *body = cmd->body;
    const struct tw_member               *known = tw_state(d, MEMBER);
    struct tw_uuid                        command_id = cmd->envelope->command_id;
    struct tw_member_token                access = {
                       .token_id = tw_derived_id(command_id, cmd->key_id, TW_MEMBER_ID_ACCESS),
                       .family_id = tw_derived_id(command_id, cmd->key_id, TW_MEMBER_ID_FAMILY),
                       .kind = TW_MEMBER_TOKEN_KIND_ACCESS,
                       .expires_at_ms = body->access_expires_at_ms,
                       .created_at_ms = cmd->at_ms,
    };
    struct tw_member_token refresh = {
        .token_id = tw_derived_id(command_id, cmd->key_id, TW_MEMBER_ID_REFRESH),
        .family_id = access.family_id,
        .kind = TW_MEMBER_TOKEN_KIND_REFRESH,
        .expires_at_ms = body->refresh_expires_at_ms,
        .created_at_ms = cmd->at_ms,
    };
    struct tw_member *member;

    if (!known)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such member");
    if (known->status != TW_MEMBER_STATUS_ACTIVE)
        return tw_rejected(TW_PROBLEM_MEMBER_NOT_ACTIVE, "only active members log in");
    if (known->is_service)
        return tw_rejected(TW_PROBLEM_STALE_CREDENTIALS, "a service member has no password");
    if (known->credential_version != body->credential_version)
        return tw_rejected(TW_PROBLEM_STALE_CREDENTIALS, "password, e-mail or status changed after the check");
    if (has_token(known, access.token_id) || has_token(known, refresh.token_id))
        return id_used_before();
    if (!has_room(known, 2, cmd->clock_ms))
        return too_many_sessions();

    memcpy(access.token_hash, body->access_token_hash, sizeof(access.token_hash));
    memcpy(refresh.token_hash, body->refresh_token_hash, sizeof(refresh.token_hash));
    member = tw_state_change(d, MEMBER);
    make_room(member, 2, cmd->clock_ms);
    add_token(member, d->arena, &access);
    add_token(member, d->arena, &refresh);
    if (!member->has_last_login_at || member->last_login_at_ms < cmd->at_ms) { /* a requeued login is not the last */
        member->has_last_login_at = true;
        member->last_login_at_ms = cmd->at_ms;
    }
    tw_emit(d, &tw_member_session_started_type,
            &(struct tw_member_session_started){
                .member_id = member->member_id,
                .access_token_id = access.token_id,
                .refresh_token_id = refresh.token_id,
                .access_expires_at_ms = access.expires_at_ms,
                .refresh_expires_at_ms = refresh.expires_at_ms,
                .version = member->version,
            });
    return tw_succeeded(200, path_of(d->arena, "/v1/auth/sessions", access.family_id));
}

static struct tw_outcome decide_issue_token(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_issue_token *body = cmd->body;
    const struct tw_member             *known = tw_state(d, MEMBER);
    struct tw_uuid                      command_id = cmd->envelope->command_id;
    struct tw_member_token              token = {
                     .token_id = tw_derived_id(command_id, cmd->key_id, TW_MEMBER_ID_SERVICE),
                     .family_id = tw_derived_id(command_id, cmd->key_id, TW_MEMBER_ID_FAMILY),
                     .kind = TW_MEMBER_TOKEN_KIND_SERVICE,
                     .scope = body->scope,
                     .label = body->label,
                     .expires_at_ms = body->expires_at_ms,
                     .created_at_ms = cmd->at_ms,
    };
    struct tw_member *member;

    if (!known || !known->is_service)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such service member");
    if (known->status != TW_MEMBER_STATUS_ACTIVE)
        return tw_rejected(TW_PROBLEM_MEMBER_NOT_ACTIVE, "tokens are issued to active members only");
    if (has_token(known, token.token_id))
        return id_used_before();
    if (!has_room(known, 1, cmd->clock_ms))
        return too_many_sessions();

    memcpy(token.token_hash, body->token_hash, sizeof(token.token_hash));
    member = tw_state_change(d, MEMBER);
    make_room(member, 1, cmd->clock_ms);
    add_token(member, d->arena, &token);
    tw_emit(d, &tw_member_token_issued_type,
            &(struct tw_member_token_issued){
                .member_id = member->member_id,
                .token_id = token.token_id,
                .scope = token.scope,
                .expires_at_ms = token.expires_at_ms,
                .version = member->version,
            });
    return tw_succeeded(201, path_of(d->arena, "/v1/auth/sessions", token.family_id));
}

/* --- the domain --------------------------------------------------------------------------------------------------- */

static const struct {
    size_t member_id_offset; /* in the command's struct */
    struct tw_outcome (*decide)(struct tw_decision *d, const struct tw_command *cmd);
} handlers[] = {
    [TW_MEMBER_REGISTER] = {offsetof(struct tw_member_register, member_id), decide_register},
    [TW_MEMBER_REGISTER_SERVICE] = {offsetof(struct tw_member_register_service, member_id), decide_register_service},
    [TW_MEMBER_START_SESSION] = {offsetof(struct tw_member_start_session, member_id), decide_start_session},
    [TW_MEMBER_ISSUE_TOKEN] = {offsetof(struct tw_member_issue_token, member_id), decide_issue_token},
};

static size_t member_keys(const struct tw_command *cmd, struct tw_key ret_keys[TW_KEYS_MAX])
{
    const char *body = cmd->body;

    ret_keys[MEMBER] = (struct tw_key){.kind = MEMBER};
    memcpy(&ret_keys[MEMBER].id, body + handlers[cmd->type->number].member_id_offset, sizeof(ret_keys[MEMBER].id));
    return 1;
}

/* That `email_folded` is the folding of `email` is the promise of the edge: folding needs Unicode tables, which a
 * domain does not link. */
static bool member_owns_its_id(const struct tw_command *cmd, const uint8_t id_key[TW_ID_KEY_BYTES])
{
    if (cmd->type == &tw_member_register_type) {
        const struct tw_member_register *body = cmd->body;

        return tw_uuid_eq(body->member_id, tw_member_id(id_key, body->email_folded));
    }
    if (cmd->type == &tw_member_register_service_type) {
        const struct tw_member_register_service *body = cmd->body;

        return tw_uuid_eq(body->member_id, tw_member_id(id_key, body->email_folded));
    }
    return true;
}

static struct tw_outcome member_decide(struct tw_decision *d, const struct tw_command *cmd)
{
    return handlers[cmd->type->number].decide(d, cmd);
}

static int64_t member_version(const void *state, int64_t clock_ms)
{
    (void)clock_ms; /* nothing ends here */
    const struct tw_member *member = state;

    return member ? member->version : 0;
}

static const struct tw_type *const member_states[] = {[MEMBER] = &tw_member_type};

const struct tw_domain tw_member_domain = {
    .name = "member",
    .number = TW_DOMAIN_MEMBER,
    .commands = tw_member_commands,
    .command_count = TW_LEN(handlers),
    .states = member_states,
    .state_count = TW_LEN(member_states),
    .keys = member_keys,
    .owns_its_id = member_owns_its_id,
    .decide = member_decide,
    .version = member_version,
};
