/*
 * `twctl token issue`: a service member by command, then its token by command. Nothing is written beside the log. The
 * token's `jti` follows from the command's id, which is made beforehand, so the hash of the finished token can stand in
 * the command. It is printed only once its row is there: what is printed works, and what was lost opens nothing.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/token.h"
#include "member_commands.h"
#include "ctl.h"
#include "member_domain.h"
#include "tillwire/clock.h"
#include "tillwire/email.h"
#include "tillwire/gen/member_messages.h"
#include "token_words.h"

#define WHERE "twctl.token"

struct issuing {
    const struct tw_ctl_settings     *settings;
    const char                       *part; /* that is being asked, for the sentence of a failure; NULL: none */
    struct tw_arena                   arena;
    uint8_t                           id_key[TW_ID_KEY_BYTES];
    struct tw_token_keys              keys;
    struct tw_member_register_service member;
    struct tw_str                     scope;
    int64_t                           ttl_s;
    PGconn                           *pg;
    struct tw_ctl_commands            commands;
    char                             *token;
};

static void issuing_done(struct issuing *issuing)
{
    free(issuing->token);
    tw_ctl_commands_close(&issuing->commands);
    tw_ctl_pg_close(&issuing->pg);
    sodium_memzero(&issuing->keys, sizeof(issuing->keys));
    sodium_memzero(issuing->id_key, sizeof(issuing->id_key));
    tw_arena_done(&issuing->arena);
}

/* --- before anything is sent -------------------------------------------------------------------------------------- */

static enum tw_rc read_words(struct issuing *issuing, struct tw_err *reterr)
{
    const struct tw_ctl_settings      *settings = issuing->settings;
    struct tw_member_register_service *member = &issuing->member;
    struct tw_str                      email;

    TW_TRY(tw_ctl_ttl_parse(tw_str_of(settings->ttl), &issuing->ttl_s, reterr));
    TW_TRY(tw_ctl_scope_parse(tw_str_of(settings->scope), &issuing->arena, &issuing->scope, reterr));
    TW_TRY(tw_ctl_service_email(tw_str_of(settings->name), &issuing->arena, &email, reterr));
    TW_TRY(tw_ctl_id_key_read(settings->id_key_file, issuing->id_key, reterr));
    TW_TRY(tw_token_keys_read(tw_token_algorithm_of(settings->jwt_algorithm), settings->jwt_keys_file, &issuing->keys,
                              reterr));
    TW_TRY(tw_email_fold(email, &issuing->arena, &member->email, &member->email_folded, reterr));
    member->full_name = tw_str_of(settings->name);
    member->member_id = tw_member_id(issuing->id_key, member->email_folded);
    return TW_OK;
}

/* Commands made with another id key would only become dead letters. */
static enum tw_rc check_pins(struct issuing *issuing, struct tw_err *reterr)
{
    struct tw_ctl_meta meta;
    const char        *conflict;

    TW_TRY(tw_ctl_pg_meta_needed(issuing->pg, &meta, reterr));
    conflict = tw_ctl_meta_conflict(&meta, issuing->id_key);
    return conflict ? tw_fail(reterr, TW_BROKEN, WHERE, 0, "%s", conflict) : TW_OK;
}

static enum tw_rc connect(struct issuing *issuing, struct tw_err *reterr)
{
    const struct tw_ctl_settings *settings = issuing->settings;

    issuing->part = "PostgreSQL";
    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &issuing->pg, reterr));
    TW_TRY(check_pins(issuing, reterr));
    issuing->part = "Kafka";
    return tw_ctl_commands_open(settings->kafka, (int)settings->broker_timeout_ms, &issuing->commands, reterr);
}

/* --- the two commands --------------------------------------------------------------------------------------------- */

static enum tw_rc ask(struct issuing *issuing, const struct tw_type *type, struct tw_uuid id, const void *body,
                      struct tw_outcome *ret_outcome, struct tw_err *reterr)
{
    issuing->part = "Kafka";
    TW_TRY(tw_ctl_command_send(&issuing->commands, type, id, issuing->member.member_id, body, reterr));
    issuing->part = NULL;
    return tw_ctl_command_wait(issuing->pg, id, 1000 * issuing->settings->wait_s, &issuing->arena, ret_outcome, reterr);
}

static enum tw_rc register_member(struct issuing *issuing, struct tw_err *reterr)
{
    struct tw_uuid    id = tw_ctl_command_id(issuing->member.member_id);
    struct tw_outcome outcome;

    TW_TRY(ask(issuing, &tw_member_register_service_type, id, &issuing->member, &outcome, reterr));
    if (outcome.problem == TW_PROBLEM_EMAIL_TAKEN) /* made before */
        return TW_OK;
    return tw_ctl_command_accepted(&outcome, reterr);
}

/* Signs the token that command @p id is to record. */
static enum tw_rc sign(struct issuing *issuing, struct tw_uuid id, struct tw_member_issue_token *ret_body,
                       struct tw_err *reterr)
{
    const struct tw_token_rules rules = {&issuing->keys, issuing->settings->jwt_issuer,
                                         issuing->settings->jwt_audience};
    struct tw_token_claims      claims = {
             .subject = issuing->member.member_id,
             .token_id = tw_derived_id(id, issuing->member.member_id, TW_MEMBER_ID_SERVICE),
             .issued_s = tw_now_ms() / 1000,
    };

    if (issuing->scope.len > TW_TOKEN_SCOPE_MAX)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the scopes take more than %d bytes", TW_TOKEN_SCOPE_MAX);
    claims.expires_s = claims.issued_s + issuing->ttl_s;
    snprintf(claims.scope, sizeof(claims.scope), "%.*s", TW_STR_ARG(issuing->scope));
    TW_TRY(tw_token_sign(&rules, &claims, &issuing->token, reterr));
    *ret_body = (struct tw_member_issue_token){
        .member_id = issuing->member.member_id,
        .expires_at_ms = 1000 * claims.expires_s,
        .scope = issuing->scope,
        .label = tw_str_of(issuing->settings->label),
    };
    crypto_hash_sha256(ret_body->token_hash, (const unsigned char *)issuing->token, tw_str_of(issuing->token).len);
    return TW_OK;
}

static enum tw_rc issue(struct issuing *issuing, struct tw_err *reterr)
{
    struct tw_uuid               id = tw_ctl_command_id(issuing->member.member_id);
    struct tw_member_issue_token body;
    struct tw_outcome            outcome;

    TW_TRY(sign(issuing, id, &body, reterr));
    TW_TRY(ask(issuing, &tw_member_issue_token_type, id, &body, &outcome, reterr));
    return tw_ctl_command_accepted(&outcome, reterr);
}

static enum tw_rc run(struct issuing *issuing, struct tw_err *reterr)
{
    TW_TRY(read_words(issuing, reterr));
    TW_TRY(connect(issuing, reterr));
    TW_TRY(register_member(issuing, reterr));
    return issue(issuing, reterr);
}

enum tw_ctl_exit tw_ctl_token_issue(const struct tw_ctl_settings *settings)
{
    TW_AUTO(issuing_done) struct issuing issuing = {.settings = settings};
    struct tw_err                        err = {0};

    if (run(&issuing, &err) != TW_OK)
        return tw_ctl_failed(issuing.part, &err);
    puts(issuing.token);
    return TW_CTL_DONE;
}
