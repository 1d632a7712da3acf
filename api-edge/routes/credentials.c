/* /v1/members/me/password and /v1/members/me/email: what a member must know the password for. */
#include "routes/routes.h"

#include <jansson.h>

#include "rates.h"
#include "stores/sessions.h"
#include "tillwire/email.h"
#include "tillwire/gen/bodies.h"

static const char busy[] = "too many registrations and logins at once";

static bool is_within(const struct tw_request *request, const struct tw_limit *limit, struct tw_reply *reply)
{
    char member_id[TW_UUID_TEXT + 1];

    tw_uuid_format(request->caller.member_id, member_id);
    return tw_rate_within(request, limit, tw_str_of(member_id), reply);
}

/** A stolen token must not be good for trying passwords. */
static bool may_try_password(const struct tw_request *request, struct tw_reply *reply)
{
    const struct tw_limit per_member = {"password-member", request->edge->settings->password_limit};

    return is_within(request, &per_member, reply);
}

/** Nor any token for asking which addresses are taken. */
static bool may_try_address(const struct tw_request *request, struct tw_reply *reply)
{
    const struct tw_limit per_member = {"email-member", request->edge->settings->email_change_limit};

    return is_within(request, &per_member, reply);
}

/** 422 that points at the member of the body: a 401 would say that the token is bad. */
static void reply_wrong_password(const struct tw_request *request, struct tw_str pointer, struct tw_reply *reply)
{
    struct tw_field_errors errors = {.count = 0};

    tw_field_errors_add(&errors, request->arena, pointer, TW_BODY_PASSWORD, "is not the member's password");
    tw_reply_problem(reply, request, TW_PROBLEM_WRONG_PASSWORD, (struct tw_str){0}, &errors);
}

/** Looks the caller up and compares the password. What is read here (credential_version) goes into the command, so that
 *  the worker can tell when it has moved since. False: the answer is complete. */
static bool check_password(const struct tw_request *request, struct tw_str password, struct tw_str pointer,
                           struct tw_member *ret_member, struct tw_reply *reply)
{
    struct tw_err err = {0};
    bool          matches = false;
    enum tw_rc    rc =
        tw_members_by_id(request->edge->members, request->caller.member_id, request->arena, ret_member, &err);

    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return false;
    }
    const char *hash = ret_member->has_password_hash ? ret_member->password_hash.ptr : NULL;
    if (tw_passwords_verify(request->edge->passwords, password, hash, &matches, &err) != TW_OK)
        tw_reply_unavailable(reply, request, busy);
    else if (!matches)
        reply_wrong_password(request, pointer, reply);
    return matches;
}

/** @p shows: the answer has the member. */
static struct tw_submission submission_of(const struct tw_request *request, const struct tw_type *type, bool shows)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = request->caller.member_id,
        .resource = TW_STR("/v1/members/me"),
        .show = shows ? tw_route_show_member : NULL,
        .has_etag = true,
    };
}

/* --- password ----------------------------------------------------------------------------------------------------- */

static bool read_password_change(struct tw_request *request, struct tw_member_change_password_body *ret_body,
                                 struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    if (tw_member_change_password_body_from_json(json, request->arena, ret_body, &errors) == TW_OK &&
        tw_password_is_common(ret_body->new_password))
        tw_field_errors_add(&errors, request->arena, TW_STR("/new_password"), TW_BODY_VALUE,
                            "is one of the passwords that are tried first");
    return tw_route_valid(request, &errors, reply);
}

/** The session that goes on. Its token was good a moment ago; without a row it is not any more. */
static bool find_session(const struct tw_request *request, struct tw_uuid *ret_session_id, struct tw_reply *reply)
{
    struct tw_member_token token;
    struct tw_uuid         member_id;
    struct tw_err          err = {0};
    enum tw_rc rc = tw_sessions_token(request->edge->sessions, request->caller.token_id, &member_id, &token, &err);

    if (rc == TW_OK)
        *ret_session_id = token.family_id;
    if (rc == TW_NOT_FOUND)
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
    else if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}

/* A key that was used is looked for first: its repeat shows the password that was the current one. */
static void change_password(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member_change_password_body body = {0};
    struct tw_member                      member;
    char                                  hash[TW_PASSWORD_HASH_MAX];
    struct tw_submission                  submission = submission_of(request, &tw_member_change_password_type, false);
    struct tw_member_change_password      command = {.member_id = request->caller.member_id};

    if (!read_password_change(request, &body, reply) || !may_try_password(request, reply) ||
        !tw_command_prepare(request, &submission, reply) ||
        !check_password(request, body.current_password, TW_STR("/current_password"), &member, reply) ||
        !find_session(request, &command.keep_session_id, reply))
        return;
    if (tw_passwords_hash(request->edge->passwords, body.new_password, hash, NULL) != TW_OK) {
        tw_reply_unavailable(reply, request, busy);
        return;
    }
    command.credential_version = member.credential_version;
    command.password_hash = tw_str_of(hash);
    tw_command_submit(request, &submission, &command, reply);
}

/* --- e-mail ------------------------------------------------------------------------------------------------------- */

static bool read_email_change(struct tw_request *request, struct tw_member_change_email_body *ret_body,
                              struct tw_member_change_email *ret_command, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};
    struct tw_err                    err = {0};

    if (!tw_route_json(request, &json, reply))
        return false;
    if (tw_member_change_email_body_from_json(json, request->arena, ret_body, &errors) == TW_OK &&
        tw_email_fold(ret_body->email, request->arena, &ret_command->email, &ret_command->email_folded, &err) != TW_OK)
        tw_field_errors_add(&errors, request->arena, TW_STR("/email"), TW_BODY_FORMAT, err.msg);
    return tw_route_valid(request, &errors, reply);
}

static void change_email(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member_change_email_body body = {0};
    struct tw_member                   member;
    struct tw_submission               submission = submission_of(request, &tw_member_change_email_type, true);
    struct tw_member_change_email      command = {.member_id = request->caller.member_id};

    if (!read_email_change(request, &body, &command, reply) || !may_try_password(request, reply) ||
        !may_try_address(request, reply) || !tw_command_prepare(request, &submission, reply) ||
        !check_password(request, body.password, TW_STR("/password"), &member, reply))
        return;
    command.credential_version = member.credential_version;
    command.claim_id = tw_member_id(request->edge->id_key, command.email_folded);
    tw_command_submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_credentials[] = {
    {TW_METHOD_POST, "/v1/members/me/password", TW_ACCESS_BEARER, NULL, change_password},
    {TW_METHOD_POST, "/v1/members/me/email", TW_ACCESS_BEARER, NULL, change_email},
    {0},
};
