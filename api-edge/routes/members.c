/* /v1/members: registration, and what members read of themselves. */
#include "routes/routes.h"

#include <jansson.h>

#include "tillwire/email.h"
#include "tillwire/gen/bodies.h"

static const char *status_name(enum tw_member_status status)
{
    static const char *const names[] = {
        [TW_MEMBER_STATUS_ACTIVE] = "ACTIVE",
        [TW_MEMBER_STATUS_INACTIVE] = "INACTIVE",
        [TW_MEMBER_STATUS_SUSPENDED] = "SUSPENDED",
    };

    return names[status];
}

/** Never the password hash. */
static void write_member(const struct tw_member *member, struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "id");
    tw_json_uuid(&json, member->member_id);
    tw_json_key(&json, "email");
    tw_json_text(&json, member->email);
    tw_json_key(&json, "full_name");
    tw_json_text(&json, member->full_name);
    tw_json_key(&json, "phone_number");
    if (member->has_phone_number)
        tw_json_text(&json, member->phone_number);
    else
        tw_json_null(&json);
    tw_json_key(&json, "status");
    tw_json_text(&json, tw_str_of(status_name(member->status)));
    tw_json_key(&json, "created_at");
    tw_json_time(&json, member->created_at_ms);
    tw_json_key(&json, "updated_at");
    tw_json_time(&json, member->updated_at_ms);
    tw_json_key(&json, "last_login_at");
    if (member->has_last_login_at)
        tw_json_time(&json, member->last_login_at_ms);
    else
        tw_json_null(&json);
    tw_json_close(&json, '}');
}

static void show_member(struct tw_request *request, struct tw_uuid member_id, struct tw_reply *reply)
{
    struct tw_member member;
    struct tw_err    err = {0};
    enum tw_rc       rc = tw_members_by_id(request->edge->members, member_id, request->arena, &member, &err);

    if (rc == TW_OK)
        write_member(&member, reply);
    else
        tw_route_store_failed(request, rc, &err, reply);
}

static void get_me(struct tw_request *request, struct tw_reply *reply)
{
    show_member(request, request->caller.member_id, reply);
}

/* --- registration ------------------------------------------------------------------------------------------------- */

static void show_registered(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    show_member(request, submission->aggregate, reply);
}

/** What the schema cannot say: the address must be a mailbox, the password not one that everybody tries. */
static bool read_registration(struct tw_request *request, struct tw_member_register_body *ret_body,
                              struct tw_member_register *ret_command, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};
    struct tw_err                    err = {0};

    if (!tw_route_json(request, &json, reply))
        return false;
    enum tw_rc rc = tw_member_register_body_from_json(json, request->arena, ret_body, &errors);
    if (rc == TW_OK &&
        tw_email_fold(ret_body->email, request->arena, &ret_command->email, &ret_command->email_folded, &err) != TW_OK)
        tw_field_errors_add(&errors, request->arena, TW_STR("/email"), TW_BODY_FORMAT, err.msg);
    if (rc == TW_OK && tw_password_is_common(ret_body->password))
        tw_field_errors_add(&errors, request->arena, TW_STR("/password"), TW_BODY_VALUE,
                            "is one of the passwords that are tried first");
    return tw_route_valid(request, &errors, reply);
}

/** Whether an address is taken is told to anybody who tries to register it; this is how often one may ask. */
static const struct tw_limit per_address = {"registration-address", 10, 3600};

static void register_member(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_edge                *edge = request->edge;
    struct tw_member_register_body body = {0};
    struct tw_member_register      command = {0};
    char                           hash[TW_PASSWORD_HASH_MAX];

    if (!read_registration(request, &body, &command, reply) ||
        !tw_route_within(request, &per_address, request->address, reply))
        return;
    command.member_id = tw_member_id(edge->id_key, command.email_folded);
    struct tw_submission submission = {
        .type = &tw_member_register_type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = command.member_id,
        .resource = TW_STR("/v1/members/me"),
        .show = show_registered,
    };
    if (!tw_command_prepare(request, &submission, reply))
        return;
    if (tw_passwords_hash(edge->passwords, body.password, hash, NULL) != TW_OK) {
        tw_reply_unavailable(reply, request, "too many registrations and logins at once");
        return;
    }
    command.password_hash = tw_str_of(hash);
    command.full_name = body.full_name;
    command.has_phone_number = body.has_phone_number;
    command.phone_number = body.phone_number;
    tw_command_submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_members[] = {
    {TW_METHOD_POST, "/v1/members", TW_ACCESS_PUBLIC, NULL, register_member},
    {TW_METHOD_GET, "/v1/members/me", TW_ACCESS_BEARER, NULL, get_me},
    {0},
};
