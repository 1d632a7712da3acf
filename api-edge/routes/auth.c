/*
 * /v1/auth: a password becomes a session of two tokens, a refresh token the next two, and sessions end. Whether a token
 * is still good, and whether a spent one betrays a thief, the worker decides; what a refused caller is told is always
 * the same.
 */
#include "routes/routes.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "auth/refresh_token.h"
#include "rates.h"
#include "tillwire/clock.h"
#include "tillwire/email.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/bodies.h"
#include "tillwire/log.h"
#include "tillwire/member_ids.h"

enum { OUTCOME_MS = 5000 };

/* --- tokens ------------------------------------------------------------------------------------------------------- */

/** A new pair; the log gets only hashes. */
struct pair {
    struct tw_str access; /* in the arena */
    char          refresh[TW_REFRESH_TEXT + 1];
    int64_t       access_expires_ms;
    int64_t       refresh_expires_ms;
};

static bool sign_access(struct tw_request *request, const struct tw_token_claims *claims, struct tw_str *ret_token)
{
    struct tw_err err = {0};
    char         *token = NULL;

    if (tw_key_ring_sign(request->edge->keys, claims, &token, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, "cannot sign a token", &err, NULL);
        return false;
    }
    *ret_token = tw_arena_copy(request->arena, tw_str_of(token));
    free(token);
    return true;
}

/** False: the answer is complete. */
static bool make_pair(struct tw_request *request, const struct tw_submission *submission, struct pair *ret_pair,
                      struct tw_reply *reply)
{
    const struct tw_edge_settings *settings = request->edge->settings;
    struct tw_uuid                 member_id = submission->aggregate;
    int64_t                        now_s = tw_now_ms() / 1000;
    struct tw_token_claims         claims = {
                .subject = member_id,
                .token_id = tw_derived_id(submission->id, member_id, TW_MEMBER_ID_ACCESS),
                .issued_s = now_s,
                .expires_s = now_s + settings->access_ttl_s,
    };

    if (!sign_access(request, &claims, &ret_pair->access)) {
        tw_reply_refuse(reply, request, TW_PROBLEM_INTERNAL, "");
        return false;
    }
    tw_refresh_token_make(tw_derived_id(submission->id, member_id, TW_MEMBER_ID_REFRESH), ret_pair->refresh);
    ret_pair->access_expires_ms = claims.expires_s * 1000;
    ret_pair->refresh_expires_ms = (now_s + settings->refresh_ttl_s) * 1000;
    return true;
}

static void reply_pair(const struct tw_request *request, const struct pair *pair, struct tw_uuid member_id,
                       struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "access_token");
    tw_json_text(&json, pair->access);
    tw_json_key(&json, "token_type");
    tw_json_text(&json, TW_STR("Bearer"));
    tw_json_key(&json, "expires_in");
    tw_json_int(&json, request->edge->settings->access_ttl_s);
    tw_json_key(&json, "refresh_token");
    tw_json_text(&json, tw_str_of(pair->refresh));
    tw_json_key(&json, "member_id");
    tw_json_uuid(&json, member_id);
    tw_json_close(&json, '}');
}

static void refuse_caller(const struct tw_request *request, struct tw_reply *reply)
{
    tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
}

/** A session's end or renewal that came to nothing: our own failure is said, everything else is one and the same. */
static void reply_refused(const struct tw_request *request, const struct tw_outcome *outcome, struct tw_reply *reply)
{
    if (outcome->status == TW_DEAD_LETTERED)
        tw_reply_refuse(reply, request, TW_PROBLEM_DEAD_LETTERED, "");
    else
        refuse_caller(request, reply);
}

/* --- login -------------------------------------------------------------------------------------------------------- */

/** The password once more, by parameters that grew since its hash was made; NULL: there is no need, or no time now. */
static const char *hash_anew(const struct tw_request *request, const struct tw_member *member, struct tw_str password,
                             char room[TW_PASSWORD_HASH_MAX])
{
    if (!tw_password_hash_is_outdated(member->password_hash.ptr) ||
        tw_passwords_hash(request->edge->passwords, password, room, NULL) != TW_OK)
        return NULL;
    return room;
}

static void start_session(struct tw_request *request, const struct tw_member *member, struct tw_str password,
                          struct tw_reply *reply)
{
    char                 room[TW_PASSWORD_HASH_MAX];
    const char          *new_hash = hash_anew(request, member, password, room);
    struct pair          pair;
    struct tw_told       told;
    struct tw_submission submission = {
        .type = &tw_member_start_session_type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = member->member_id,
        .ignores_key = true,
    };
    struct tw_member_start_session command = {
        .member_id = member->member_id,
        .credential_version = member->credential_version,
        .has_password_hash = new_hash != NULL,
        .password_hash = tw_str_of(new_hash ? new_hash : ""),
    };

    if (!tw_command_prepare(request, &submission, reply) || !make_pair(request, &submission, &pair, reply))
        return;
    command.access_expires_at_ms = pair.access_expires_ms;
    command.refresh_expires_at_ms = pair.refresh_expires_ms;
    tw_token_hash(pair.access, command.access_token_hash);
    tw_token_hash(tw_str_of(pair.refresh), command.refresh_token_hash);
    if (!tw_command_finish(request, &submission, &command, OUTCOME_MS, &told, reply))
        return;
    if (told.outcome.status == TW_SUCCEEDED)
        reply_pair(request, &pair, member->member_id, reply);
    else if (told.outcome.problem == TW_PROBLEM_SESSION_LIMIT)
        tw_reply_problem(reply, request, told.outcome.problem, told.outcome.detail, NULL);
    else /* whatever became of the member since the password was checked looks like a wrong password */
        reply_refused(request, &told.outcome, reply);
}

static bool read_login(struct tw_request *request, struct tw_auth_login_body *ret_body, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    tw_auth_login_body_from_json(json, request->arena, ret_body, &errors);
    return tw_route_valid(request, &errors, reply);
}

/** What is no address at all is looked up like one: to the client that is one and the same as an unknown account. */
static struct tw_str account_of(struct tw_request *request, struct tw_str email)
{
    struct tw_str trimmed;
    struct tw_str folded;

    return tw_email_fold(email, request->arena, &trimmed, &folded, NULL) == TW_OK ? folded : email;
}

/** The address first: what it may not try does not count against an account. */
static bool may_try(const struct tw_request *request, struct tw_str account, struct tw_reply *reply)
{
    const struct tw_limit per_address = {"login-address", request->edge->settings->login_address_limit};
    const struct tw_limit per_account = {"login-account", request->edge->settings->login_account_limit};

    return tw_rate_within(request, &per_address, request->network, reply) &&
           tw_rate_within(request, &per_account, account, reply);
}

#define TOO_MANY "too many registrations and logins at once"

static void login(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_auth_login_body body = {0};
    struct tw_member          member = {0};
    struct tw_err             err = {0};
    bool                      matches = false;

    if (!read_login(request, &body, reply))
        return;
    if (tw_failpoint("mutant_password_logged"))
        tw_log(TW_LOG_WARN, "login", TW_F_STR("password", body.password));
    struct tw_str account = account_of(request, body.email);
    if (!may_try(request, account, reply))
        return;
    if (!tw_passwords_have_room(request->edge->passwords)) {
        tw_reply_unavailable(reply, request, TOO_MANY);
        return;
    }
    enum tw_rc rc = tw_members_by_email(request->edge->members, account, request->arena, &member, &err);
    if (rc != TW_OK && rc != TW_NOT_FOUND) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    /* Always one verification of the same cost: the time tells nothing about who has an account. */
    const char *hash = member.has_password_hash ? member.password_hash.ptr : NULL;
    if (tw_passwords_verify(request->edge->passwords, body.password, hash, &matches, &err) != TW_OK)
        tw_reply_unavailable(reply, request, TOO_MANY);
    else if (!matches || member.status != TW_MEMBER_STATUS_ACTIVE)
        refuse_caller(request, reply);
    else
        start_session(request, &member, body.password, reply);
}

/* --- refresh ------------------------------------------------------------------------------------------------------ */

static bool read_refresh(struct tw_request *request, struct tw_auth_refresh_body *ret_body, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    tw_auth_refresh_body_from_json(json, request->arena, ret_body, &errors);
    return tw_route_valid(request, &errors, reply);
}

static bool is_over(const struct tw_member_token *token)
{
    return token->expires_at_ms + INT64_C(1000) * TW_TOKEN_SKEW_S < tw_now_ms();
}

/** The row of a token that was handed out just so. A spent one is let through, whatever its age: its session is not its
 *  owner's alone any more, and the worker must learn of it. False: the answer is complete. */
static bool find_refresh(struct tw_request *request, struct tw_str text, struct tw_uuid *ret_member_id,
                         struct tw_member_token *ret_token, struct tw_reply *reply)
{
    struct tw_uuid token_id;
    struct tw_err  err = {0};

    if (!tw_refresh_token_parse(text, &token_id)) {
        refuse_caller(request, reply);
        return false;
    }
    enum tw_rc rc = tw_sessions_token(request->edge->sessions, token_id, ret_member_id, ret_token, &err);
    if (rc != TW_OK && rc != TW_NOT_FOUND) {
        tw_route_store_failed(request, rc, &err, reply);
        return false;
    }
    if (rc == TW_OK && ret_token->kind == TW_MEMBER_TOKEN_KIND_REFRESH &&
        tw_token_hash_is_of(ret_token->token_hash, text) && (ret_token->is_revoked || !is_over(ret_token)))
        return true;
    refuse_caller(request, reply);
    return false;
}

static void refresh_session(struct tw_request *request, struct tw_uuid member_id, const struct tw_member_token *shown,
                            struct tw_reply *reply)
{
    struct pair          pair;
    struct tw_told       told;
    struct tw_submission submission = {
        .type = &tw_member_refresh_session_type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = member_id,
        .ignores_key = true,
    };
    struct tw_member_refresh_session command = {.member_id = member_id, .refresh_token_id = shown->token_id};

    if (!tw_command_prepare(request, &submission, reply) || !make_pair(request, &submission, &pair, reply))
        return;
    command.access_expires_at_ms = pair.access_expires_ms;
    command.refresh_expires_at_ms = pair.refresh_expires_ms;
    tw_token_hash(pair.access, command.access_token_hash);
    tw_token_hash(tw_str_of(pair.refresh), command.new_refresh_token_hash);
    if (!tw_command_finish(request, &submission, &command, OUTCOME_MS, &told, reply))
        return;
    if (told.outcome.status == TW_SUCCEEDED)
        reply_pair(request, &pair, member_id, reply);
    else
        reply_refused(request, &told.outcome, reply);
}

static void refresh(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_auth_refresh_body body = {0};
    struct tw_uuid              member_id;
    struct tw_member_token      token;

    if (read_refresh(request, &body, reply) && find_refresh(request, body.refresh_token, &member_id, &token, reply))
        refresh_session(request, member_id, &token, reply);
}

/* --- logout ------------------------------------------------------------------------------------------------------- */

/** Sends a command that ends sessions, waits for it, and says so. */
static void end_sessions(struct tw_request *request, const struct tw_type *type, const void *command,
                         struct tw_reply *reply)
{
    struct tw_told       told;
    struct tw_submission submission = {
        .type = type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = request->caller.member_id,
        .ignores_key = true,
    };

    if (!tw_command_prepare(request, &submission, reply) ||
        !tw_command_finish(request, &submission, command, OUTCOME_MS, &told, reply))
        return;
    if (told.outcome.status == TW_SUCCEEDED)
        tw_reply_empty(reply);
    else
        reply_refused(request, &told.outcome, reply);
}

static void logout(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_uuid         member_id;
    struct tw_member_token token;
    struct tw_err          err = {0};
    enum tw_rc rc = tw_sessions_token(request->edge->sessions, request->caller.token_id, &member_id, &token, &err);

    if (rc == TW_OK) {
        struct tw_member_end_session command = {.member_id = request->caller.member_id, .session_id = token.family_id};
        end_sessions(request, &tw_member_end_session_type, &command, reply);
    } else if (rc == TW_NOT_FOUND) { /* a store that is being refilled */
        refuse_caller(request, reply);
    } else {
        tw_route_store_failed(request, rc, &err, reply);
    }
}

static void logout_all(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member_end_all_sessions command = {.member_id = request->caller.member_id};

    end_sessions(request, &tw_member_end_all_sessions_type, &command, reply);
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

static void write_session(struct tw_json *json, const struct tw_session *session)
{
    tw_json_open(json, '{');
    tw_json_key(json, "id");
    tw_json_uuid(json, session->session_id);
    tw_json_key(json, "kind");
    tw_json_text(json, session->is_issued ? TW_STR("service") : TW_STR("login"));
    if (session->is_issued) {
        tw_json_key(json, "label");
        tw_json_text(json, session->label);
        tw_json_key(json, "scope");
        tw_json_text(json, session->scope);
    }
    tw_json_key(json, "created_at");
    tw_json_time(json, session->created_at_ms);
    tw_json_key(json, "expires_at");
    tw_json_time(json, session->expires_at_ms);
    tw_json_key(json, "current");
    tw_json_bool(json, session->is_current);
    tw_json_close(json, '}');
}

static void list_sessions(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_session *sessions = NULL;
    size_t             count = 0;
    struct tw_err      err = {0};
    struct tw_json     json = {&reply->body, false};

    if (!tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply))
        return;
    enum tw_rc rc = tw_sessions_live(request->edge->sessions, request->caller.member_id, request->caller.token_id,
                                     tw_now_ms(), request->arena, &sessions, &count, &err);
    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < count; i++)
        write_session(&json, &sessions[i]);
    tw_json_close(&json, ']');
    tw_json_close(&json, '}');
}

/** Another member's session is as little there as one that never was. */
static bool session_is_ones_own(const struct tw_request *request, struct tw_uuid session_id, struct tw_reply *reply)
{
    struct tw_err err = {0};
    enum tw_rc    rc = tw_sessions_has(request->edge->sessions, request->caller.member_id, session_id, &err);

    if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}

static void end_session(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member_end_session command = {.member_id = request->caller.member_id};
    struct tw_submission         submission = {
                .type = &tw_member_end_session_type,
                .domain = TW_DOMAIN_MEMBER,
                .aggregate = request->caller.member_id,
                .resource = tw_arena_copy(request->arena, request->path),
    };

    if (tw_route_uuid(request, 3, &command.session_id, reply) && tw_command_prepare(request, &submission, reply) &&
        session_is_ones_own(request, command.session_id, reply))
        tw_command_submit(request, &submission, &command, reply);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void get_jwks(struct tw_request *request, struct tw_reply *reply)
{
    tw_reply_json(reply, 200);
    if (tw_key_ring_jwks(request->edge->keys, &reply->body))
        reply->cache = TW_CACHE_PUBLIC;
    else
        tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "the tokens of this service are for itself alone");
}

const struct tw_route tw_routes_auth[] = {
    {TW_METHOD_POST, "/v1/auth/login", TW_ACCESS_PUBLIC, NULL, login},
    {TW_METHOD_POST, "/v1/auth/refresh", TW_ACCESS_PUBLIC, NULL, refresh},
    {TW_METHOD_POST, "/v1/auth/logout", TW_ACCESS_BEARER, NULL, logout},
    {TW_METHOD_POST, "/v1/auth/logout-all", TW_ACCESS_BEARER, NULL, logout_all},
    {TW_METHOD_GET, "/v1/auth/sessions", TW_ACCESS_BEARER, NULL, list_sessions},
    {TW_METHOD_DELETE, "/v1/auth/sessions/{session_id}", TW_ACCESS_BEARER, NULL, end_session},
    {TW_METHOD_GET, "/.well-known/jwks.json", TW_ACCESS_PUBLIC, NULL, get_jwks},
    {0},
};
