/* /v1/auth: a password becomes a session of two tokens. */
#include "routes/routes.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/email.h"
#include "tillwire/gen/bodies.h"
#include "tillwire/log.h"

enum { SESSION_MS = 5000, REFRESH_SECRET_BYTES = 32, REFRESH_SECRET_TEXT = 43 };

/** What a login hands out; the log gets only hashes. */
struct tokens {
    struct tw_str access;                                              /* in the arena */
    char          refresh[TW_UUID_TEXT + 1 + REFRESH_SECRET_TEXT + 1]; /* "<row id>.<secret>" */
};

static void sha256(struct tw_str text, uint8_t ret_hash[crypto_hash_sha256_BYTES])
{
    crypto_hash_sha256(ret_hash, (const unsigned char *)text.ptr, text.len);
}

static bool make_access(struct tw_request *request, struct tw_uuid command_id, struct tw_uuid member_id, int64_t now_ms,
                        struct tokens *ret_tokens)
{
    struct tw_err          err = {0};
    char                  *token = NULL;
    struct tw_token_claims claims = {
        .subject = member_id,
        .token_id = tw_derived_id(command_id, member_id, "access"),
        .issued_s = now_ms / 1000,
        .expires_s = now_ms / 1000 + request->edge->settings->access_ttl_s,
    };

    if (tw_token_sign(&request->edge->token_rules, &claims, &token, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, "cannot sign a token", &err, NULL);
        return false;
    }
    ret_tokens->access = tw_arena_copy(request->arena, tw_str_of(token));
    free(token);
    return true;
}

static void make_refresh(struct tw_uuid command_id, struct tw_uuid member_id, struct tokens *ret_tokens)
{
    uint8_t secret[REFRESH_SECRET_BYTES];

    randombytes_buf(secret, sizeof(secret));
    tw_uuid_format(tw_derived_id(command_id, member_id, "refresh"), ret_tokens->refresh);
    ret_tokens->refresh[TW_UUID_TEXT] = '.';
    sodium_bin2base64(ret_tokens->refresh + TW_UUID_TEXT + 1, REFRESH_SECRET_TEXT + 1, secret, sizeof(secret),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void write_tokens(const struct tw_request *request, const struct tokens *tokens, struct tw_uuid member_id,
                         struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "access_token");
    tw_json_text(&json, tokens->access);
    tw_json_key(&json, "token_type");
    tw_json_text(&json, TW_STR("Bearer"));
    tw_json_key(&json, "expires_in");
    tw_json_int(&json, request->edge->settings->access_ttl_s);
    tw_json_key(&json, "refresh_token");
    tw_json_text(&json, tw_str_of(tokens->refresh));
    tw_json_key(&json, "member_id");
    tw_json_uuid(&json, member_id);
    tw_json_close(&json, '}');
}

/** Whatever became of the member since the password was checked looks to the client like a wrong password. */
static void reply_refused(const struct tw_request *request, const struct tw_outcome *outcome, struct tw_reply *reply)
{
    if (outcome->problem == TW_PROBLEM_SESSION_LIMIT)
        tw_reply_problem(reply, request, outcome->problem, outcome->detail, NULL);
    else if (outcome->status == TW_DEAD_LETTERED)
        tw_reply_refuse(reply, request, TW_PROBLEM_DEAD_LETTERED, "");
    else
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
}

static void start_session(struct tw_request *request, const struct tw_member *member, struct tw_reply *reply)
{
    const struct tw_edge_settings *settings = request->edge->settings;
    int64_t                        now_ms = tw_now_ms();
    struct tokens                  tokens;
    struct tw_told                 told;
    struct tw_submission           submission = {
                  .type = &tw_member_start_session_type,
                  .domain = TW_DOMAIN_MEMBER,
                  .aggregate = member->member_id,
                  .ignores_key = true,
    };
    struct tw_member_start_session command = {
        .member_id = member->member_id,
        .credential_version = member->credential_version,
        .access_expires_at_ms = (now_ms / 1000 + settings->access_ttl_s) * 1000,
        .refresh_expires_at_ms = (now_ms / 1000 + settings->refresh_ttl_s) * 1000,
    };

    tw_command_prepare(request, &submission, reply);
    if (!make_access(request, submission.id, member->member_id, now_ms, &tokens)) {
        tw_reply_refuse(reply, request, TW_PROBLEM_INTERNAL, "");
        return;
    }
    make_refresh(submission.id, member->member_id, &tokens);
    sha256(tokens.access, command.access_token_hash);
    sha256(tw_str_of(tokens.refresh), command.refresh_token_hash);
    if (!tw_command_finish(request, &submission, &command, SESSION_MS, &told, reply))
        return;
    if (told.outcome.status == TW_SUCCEEDED)
        write_tokens(request, &tokens, member->member_id, reply);
    else
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

static const struct tw_limit per_address = {"login-address", 20, 60};
static const struct tw_limit per_account = {"login-account", 5, 60};

/** What is no address at all is looked up like one: to the client that is one and the same as an unknown account. */
static struct tw_str account_of(struct tw_request *request, struct tw_str email)
{
    struct tw_str trimmed;
    struct tw_str folded;

    return tw_email_fold(email, request->arena, &trimmed, &folded, NULL) == TW_OK ? folded : email;
}

static void login(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_auth_login_body body = {0};
    struct tw_member          member = {0};
    struct tw_err             err = {0};
    bool                      matches = false;

    if (!read_login(request, &body, reply))
        return;
    struct tw_str account = account_of(request, body.email);
    if (!tw_route_within(request, &per_address, request->address, reply) ||
        !tw_route_within(request, &per_account, account, reply))
        return;
    enum tw_rc rc = tw_members_by_email(request->edge->members, account, request->arena, &member, &err);
    if (rc != TW_OK && rc != TW_NOT_FOUND) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    /* Always one verification of the same cost: the time tells nothing about who has an account. */
    const char *hash = member.has_password_hash ? member.password_hash.ptr : NULL;
    if (tw_passwords_verify(request->edge->passwords, body.password, hash, &matches, &err) != TW_OK)
        tw_reply_unavailable(reply, request, "too many registrations and logins at once");
    else if (!matches || member.status != TW_MEMBER_STATUS_ACTIVE)
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
    else
        start_session(request, &member, reply);
}

const struct tw_route tw_routes_auth[] = {
    {TW_METHOD_POST, "/v1/auth/login", TW_ACCESS_PUBLIC, NULL, login},
    {0},
};
