/*
 * Sessions and tokens. A token is live while it is neither revoked nor past its end by the partition's clock, also when
 * a requeued command is decided at its original time. Ended rows stay for a day and are then dropped by the member's
 * next change, and by nothing else: the stored rows are a function of the log alone, which is why the store's sweep
 * leaves tokens be.
 *
 * Sessions and tokens move neither `version` nor `updated_at`: a login on one device must not fail an If-Match on
 * another.
 */
#include "member_rules.h"

#include <assert.h>
#include <string.h>

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static bool is_live(const struct tw_member_token *token, int64_t clock_ms)
{
    return !token->is_revoked && token->expires_at_ms > clock_ms;
}

/* Might an edge take it if it did not know better? Edges judge access and issued tokens by what is written in them, with
 * some leeway; refresh tokens are only ever good by their row. Such a row must stay, revoked or not: an edge that starts
 * learns what is revoked from the rows. */
static bool is_needed(const struct tw_member_token *token, int64_t clock_ms)
{
    return token->kind == TW_MEMBER_TOKEN_KIND_REFRESH ? is_live(token, clock_ms)
                                                       : token->expires_at_ms + TW_MEMBER_TOKEN_LEEWAY_MS > clock_ms;
}

static bool is_revocable(const struct tw_member_token *token, int64_t clock_ms)
{
    return !token->is_revoked && is_needed(token, clock_ms);
}

/* One live token of these kinds is one session: a refresh token that was spent is revoked. */
static bool holds_session(const struct tw_member_token *token)
{
    return token->kind != TW_MEMBER_TOKEN_KIND_ACCESS;
}

static const struct tw_member_token *find_token(const struct tw_member *member, struct tw_uuid token_id)
{
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].token_id, token_id))
            return &member->tokens[i];
    return NULL;
}

/* May @p member get @p sessions more sessions and @p rows more rows? The second limit keeps the state within its schema
 * whatever a command says. */
static bool has_room(const struct tw_member *member, uint32_t sessions, uint32_t rows, int64_t clock_ms)
{
    uint32_t live_sessions = 0, needed = 0;

    for (uint32_t i = 0; i < member->tokens_len; i++) {
        needed += is_needed(&member->tokens[i], clock_ms);
        live_sessions += is_live(&member->tokens[i], clock_ms) && holds_session(&member->tokens[i]);
    }
    return live_sessions + sessions <= TW_MEMBER_SESSIONS_MAX && needed + rows <= TW_MEMBER_TOKENS_MAX;
}

/* Drops what ended a day ago, then the oldest of what nobody needs until @p wanted more rows fit. */
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
        if (excess && !is_needed(&member->tokens[i], clock_ms))
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

/* The session that @p cmd makes. */
static struct tw_uuid family_of(const struct tw_command *cmd)
{
    return tw_derived_id(cmd->envelope->command_id, cmd->key_id, TW_MEMBER_ID_FAMILY);
}

static struct tw_member_token make_token(const struct tw_command *cmd, enum tw_member_token_kind kind,
                                         struct tw_uuid family_id, int64_t expires_at_ms, const uint8_t hash[32])
{
    static const char *const names[] = {
        [TW_MEMBER_TOKEN_KIND_ACCESS] = TW_MEMBER_ID_ACCESS,
        [TW_MEMBER_TOKEN_KIND_REFRESH] = TW_MEMBER_ID_REFRESH,
        [TW_MEMBER_TOKEN_KIND_SERVICE] = TW_MEMBER_ID_SERVICE,
    };
    struct tw_member_token token = {
        .token_id = tw_derived_id(cmd->envelope->command_id, cmd->key_id, names[kind]),
        .family_id = family_id,
        .kind = kind,
        .expires_at_ms = expires_at_ms,
        .created_at_ms = cmd->at_ms,
    };

    memcpy(token.token_hash, hash, sizeof(token.token_hash));
    return token;
}

/* --- revoking ----------------------------------------------------------------------------------------------------- */

static void emit_revoked(struct tw_decision *d, const struct tw_member *member, struct tw_revoked_token *tokens,
                         uint32_t count)
{
    tw_emit(d, &tw_member_tokens_revoked_type,
            &(struct tw_member_tokens_revoked){
                .member_id = member->member_id, .tokens = tokens, .tokens_len = count, .version = member->version});
}

uint32_t tw_member_revoke(struct tw_decision *d, const struct tw_command *cmd, struct tw_uuid family,
                          struct tw_uuid spared)
{
    const struct tw_member  *known = tw_state(d, TW_MEMBER_ENTITY);
    struct tw_revoked_token *revoked = TW_NEW_ARRAY(d->arena, known->tokens_len, struct tw_revoked_token);
    struct tw_member        *member = NULL;
    uint32_t                 count = 0;

    for (uint32_t i = 0; i < known->tokens_len; i++) {
        const struct tw_member_token *token = &known->tokens[i];

        if (!is_revocable(token, cmd->clock_ms) || tw_uuid_eq(token->family_id, spared) ||
            (!tw_uuid_is_nil(family) && !tw_uuid_eq(token->family_id, family)))
            continue;
        revoked[count++] = (struct tw_revoked_token){token->token_id, token->expires_at_ms};
        if (!member)
            member = tw_state_change(d, TW_MEMBER_ENTITY);
        member->tokens[i].is_revoked = true;
    }
    if (count)
        emit_revoked(d, member, revoked, count);
    return count;
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

/* A command id that made tokens more than a day ago and comes again would make the same ids again. */
static struct tw_outcome id_used_before(void)
{
    return tw_rejected(TW_PROBLEM_KEY_REUSED, "this command id made a session before");
}

static struct tw_outcome too_many_sessions(void)
{
    return tw_rejected(TW_PROBLEM_SESSION_LIMIT, "the member has 100 live sessions");
}

struct tw_outcome tw_member_decide_start_session(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_start_session *body = cmd->body;
    struct tw_outcome                     refusal;
    const struct tw_member               *known = tw_member_with_credentials(d, body->credential_version, &refusal);
    struct tw_member_token                access = make_token(cmd, TW_MEMBER_TOKEN_KIND_ACCESS, family_of(cmd),
                                                              body->access_expires_at_ms, body->access_token_hash);
    struct tw_member_token                refresh = make_token(cmd, TW_MEMBER_TOKEN_KIND_REFRESH, access.family_id,
                                                               body->refresh_expires_at_ms, body->refresh_token_hash);
    struct tw_member                     *member;

    if (!known)
        return refusal;
    if (find_token(known, access.token_id) || find_token(known, refresh.token_id))
        return id_used_before();
    if (!has_room(known, 1, 2, cmd->clock_ms))
        return too_many_sessions();

    member = tw_state_change(d, TW_MEMBER_ENTITY);
    make_room(member, 2, cmd->clock_ms);
    add_token(member, d->arena, &access);
    add_token(member, d->arena, &refresh);
    if (body->has_password_hash) /* the same password: no credentials moved */
        member->password_hash = body->password_hash;
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
    return tw_succeeded(200, tw_member_path(d->arena, "/v1/auth/sessions", access.family_id));
}

/* Rotation. A spent token that comes again was stolen, from the member or by the member's thief: nobody can tell who
 * shows it, so the whole session ends (RFC 9700, 4.14.2). That refusal is the one that has an effect. */
struct tw_outcome tw_member_decide_refresh_session(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_refresh_session *body = cmd->body;
    struct tw_outcome                       refusal;
    const struct tw_member                 *known = tw_member_active(d, &refusal);
    const struct tw_member_token           *spent;
    struct tw_member_token                  access, refresh;
    struct tw_member                       *member;

    if (!known)
        return refusal;
    spent = find_token(known, body->refresh_token_id);
    refusal = tw_rejected(TW_PROBLEM_UNAUTHENTICATED, "the refresh token is not good");
    if (!spent || spent->kind != TW_MEMBER_TOKEN_KIND_REFRESH)
        return refusal;
    if (spent->is_revoked) {
        refusal.has_effect = tw_member_revoke(d, cmd, spent->family_id, tw_uuid_nil) > 0;
        return refusal;
    }
    if (!is_live(spent, cmd->clock_ms))
        return refusal;
    access = make_token(cmd, TW_MEMBER_TOKEN_KIND_ACCESS, spent->family_id, body->access_expires_at_ms,
                        body->access_token_hash);
    refresh = make_token(cmd, TW_MEMBER_TOKEN_KIND_REFRESH, spent->family_id, body->refresh_expires_at_ms,
                         body->new_refresh_token_hash);
    if (find_token(known, access.token_id) || find_token(known, refresh.token_id))
        return id_used_before();
    if (!has_room(known, 0, 2, cmd->clock_ms))
        return too_many_sessions();

    member = tw_state_change(d, TW_MEMBER_ENTITY);
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].token_id, body->refresh_token_id))
            member->tokens[i].is_revoked = true;
    make_room(member, 2, cmd->clock_ms);
    add_token(member, d->arena, &access);
    add_token(member, d->arena, &refresh);
    tw_emit(d, &tw_member_session_refreshed_type,
            &(struct tw_member_session_refreshed){
                .member_id = member->member_id,
                .access_token_id = access.token_id,
                .refresh_token_id = refresh.token_id,
                .access_expires_at_ms = access.expires_at_ms,
                .refresh_expires_at_ms = refresh.expires_at_ms,
                .version = member->version,
            });
    return tw_succeeded(200, tw_member_path(d->arena, "/v1/auth/sessions", refresh.family_id));
}

static bool has_session(const struct tw_member *member, struct tw_uuid family_id)
{
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].family_id, family_id))
            return true;
    return false;
}

struct tw_outcome tw_member_decide_end_session(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_end_session *body = cmd->body;
    const struct tw_member             *known = tw_state(d, TW_MEMBER_ENTITY);

    if (!known || !has_session(known, body->session_id))
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such session");
    tw_member_revoke(d, cmd, body->session_id, tw_uuid_nil);
    return tw_succeeded(204, (struct tw_str){0});
}

struct tw_outcome tw_member_decide_end_all_sessions(struct tw_decision *d, const struct tw_command *cmd)
{
    if (!tw_state(d, TW_MEMBER_ENTITY))
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such member");
    tw_member_revoke(d, cmd, tw_uuid_nil, tw_uuid_nil);
    return tw_succeeded(204, (struct tw_str){0});
}

/* --- issued tokens ------------------------------------------------------------------------------------------------ */

struct tw_outcome tw_member_decide_issue_token(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_issue_token *body = cmd->body;
    const struct tw_member             *known = tw_state(d, TW_MEMBER_ENTITY);
    struct tw_member_token              token =
        make_token(cmd, TW_MEMBER_TOKEN_KIND_SERVICE, family_of(cmd), body->expires_at_ms, body->token_hash);
    struct tw_member *member;

    if (!known || !known->is_service)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such service member");
    if (known->status != TW_MEMBER_STATUS_ACTIVE)
        return tw_rejected(TW_PROBLEM_MEMBER_NOT_ACTIVE, "tokens are issued to active members only");
    if (find_token(known, token.token_id))
        return id_used_before();
    if (!has_room(known, 1, 1, cmd->clock_ms))
        return too_many_sessions();

    token.scope = body->scope;
    token.label = body->label;
    member = tw_state_change(d, TW_MEMBER_ENTITY);
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
    return tw_succeeded(201, tw_member_path(d->arena, "/v1/auth/sessions", token.family_id));
}

struct tw_outcome tw_member_decide_revoke_token(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_member_revoke_token *body = cmd->body;
    const struct tw_member              *known = tw_state(d, TW_MEMBER_ENTITY);
    const struct tw_member_token        *token = known ? find_token(known, body->token_id) : NULL;
    struct tw_revoked_token              revoked;
    struct tw_member                    *member;

    if (!token)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such token");
    if (!is_revocable(token, cmd->clock_ms))
        return tw_succeeded(204, (struct tw_str){0});
    revoked = (struct tw_revoked_token){token->token_id, token->expires_at_ms};
    member = tw_state_change(d, TW_MEMBER_ENTITY);
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (tw_uuid_eq(member->tokens[i].token_id, body->token_id))
            member->tokens[i].is_revoked = true;
    emit_revoked(d, member, &revoked, 1);
    return tw_succeeded(204, (struct tw_str){0});
}
