/* /v1/members: registration, members' own profile, and what operators see and do. routes/credentials.c has the rest. */
#include "routes/routes.h"

#include <jansson.h>
#include <string.h>

#include "paging.h"
#include "rates.h"
#include "tillwire/email.h"
#include "tillwire/gen/bodies.h"

enum { MEMBER_SEGMENT = 2, PLACE_BYTES = 24 };

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
static void write_member(struct tw_json *json, const struct tw_member *member)
{
    tw_json_open(json, '{');
    tw_json_key(json, "id");
    tw_json_uuid(json, member->member_id);
    tw_json_key(json, "email");
    tw_json_text(json, member->email);
    tw_json_key(json, "full_name");
    tw_json_text(json, member->full_name);
    tw_json_key(json, "phone_number");
    if (member->has_phone_number)
        tw_json_text(json, member->phone_number);
    else
        tw_json_null(json);
    tw_json_key(json, "status");
    tw_json_text(json, tw_str_of(status_name(member->status)));
    tw_json_key(json, "created_at");
    tw_json_time(json, member->created_at_ms);
    tw_json_key(json, "updated_at");
    tw_json_time(json, member->updated_at_ms);
    tw_json_key(json, "last_login_at");
    if (member->has_last_login_at)
        tw_json_time(json, member->last_login_at_ms);
    else
        tw_json_null(json);
    tw_json_close(json, '}');
}

/** @p if_version: what the version must be; -1: anything. */
static void reply_member(const struct tw_request *request, struct tw_uuid member_id, int64_t if_version,
                         struct tw_reply *reply)
{
    struct tw_member member;
    struct tw_json   json = {&reply->body, false};
    struct tw_err    err = {0};
    enum tw_rc       rc = tw_members_by_id(request->edge->members, member_id, request->arena, &member, &err);

    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    if (if_version >= 0 && if_version != member.version) {
        tw_reply_refuse(reply, request, TW_PROBLEM_PRECONDITION_FAILED, "");
        return;
    }
    tw_reply_json(reply, 200);
    write_member(&json, &member);
    tw_route_etag(request, member.version, reply);
}

static void get_me(struct tw_request *request, struct tw_reply *reply)
{
    if (tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply))
        reply_member(request, request->caller.member_id, -1, reply);
}

void tw_route_show_member(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    reply_member(request, submission->aggregate, -1, reply);
}

/* --- registration ------------------------------------------------------------------------------------------------- */

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
static bool may_register(const struct tw_request *request, struct tw_reply *reply)
{
    const struct tw_limit per_address = {"registration-address", request->edge->settings->registration_limit};

    return tw_rate_within(request, &per_address, request->network, reply);
}

static void register_member(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_edge                *edge = request->edge;
    struct tw_member_register_body body = {0};
    struct tw_member_register      command = {0};
    char                           hash[TW_PASSWORD_HASH_MAX];

    if (!read_registration(request, &body, &command, reply) || !may_register(request, reply))
        return;
    command.member_id = tw_member_id(edge->id_key, command.email_folded);
    struct tw_submission submission = {
        .type = &tw_member_register_type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = command.member_id,
        .resource = TW_STR("/v1/members/me"),
        .show = tw_route_show_member,
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

/* --- profile ------------------------------------------------------------------------------------------------------ */

static struct tw_submission submission_of_me(const struct tw_request *request, const struct tw_type *type)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = request->caller.member_id,
        .resource = TW_STR("/v1/members/me"),
        .show = tw_route_show_member,
        .has_etag = true,
    };
}

static const char *const clearable[] = {"phone_number", NULL};

static void change_me(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t     *json = NULL;
    struct tw_member_change_profile_body body = {0};
    struct tw_field_errors               errors = {.count = 0};
    struct tw_submission                 submission = submission_of_me(request, &tw_member_change_profile_type);

    if (!tw_route_json(request, &json, reply))
        return;
    tw_member_change_profile_body_from_json(json, request->arena, &body, &errors);
    tw_route_refuse_nulls(request, json, clearable, &errors);
    if (!tw_route_valid(request, &errors, reply))
        return;
    if (!tw_command_prepare(request, &submission, reply))
        return;
    struct tw_member_change_profile command = {
        .member_id = request->caller.member_id,
        .has_full_name = body.has_full_name,
        .full_name = body.full_name,
        .has_phone_number = body.has_phone_number,
        .phone_number = body.phone_number,
        .clear_phone_number = body.clear_phone_number,
    };
    if (json_object_size(json) > 0)
        tw_command_submit(request, &submission, &command, reply);
    else
        reply_member(request, command.member_id, submission.if_version, reply); /* nothing to change */
}

static void leave(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission        submission = submission_of_me(request, &tw_member_deactivate_type);
    struct tw_member_deactivate command = {.member_id = request->caller.member_id};

    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

/* --- operators ---------------------------------------------------------------------------------------------------- */

static void get_member(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_uuid member_id;

    if (tw_route_uuid(request, MEMBER_SEGMENT, &member_id, reply) &&
        tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply))
        reply_member(request, member_id, -1, reply);
}

static void set_status(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_member_set_status_body body = {0};
    struct tw_field_errors           errors = {.count = 0};
    struct tw_uuid                   member_id;
    char                             id[TW_UUID_TEXT + 1];
    struct tw_submission             submission = submission_of_me(request, &tw_member_set_status_type);

    if (!tw_route_uuid(request, MEMBER_SEGMENT, &member_id, reply) || !tw_route_json(request, &json, reply))
        return;
    tw_member_set_status_body_from_json(json, request->arena, &body, &errors);
    if (!tw_route_valid(request, &errors, reply))
        return;
    submission.aggregate = member_id;
    tw_uuid_format(member_id, id);
    submission.resource = tw_arena_printf(request->arena, "/v1/members/%s", id);
    if (!tw_command_prepare(request, &submission, reply))
        return;
    struct tw_member_set_status command = {.member_id = member_id, .status = body.status, .reason = body.reason};
    tw_command_submit(request, &submission, &command, reply);
}

/** `status` and `email` of the query. False: the answer is a 400. */
static bool read_filter(const struct tw_request *request, struct tw_member_filter *ret_filter, struct tw_reply *reply)
{
    struct tw_member_filter filter = {0};
    struct tw_str           status;
    struct tw_str           email;
    struct tw_str           trimmed;

    if (!tw_route_query(request, "status", &status, reply) || !tw_route_query(request, "email", &email, reply))
        return false;
    for (int i = TW_MEMBER_STATUS_ACTIVE; i <= TW_MEMBER_STATUS_SUSPENDED; i++) {
        if (tw_str_is(status, status_name((enum tw_member_status)i)))
            filter.status = status_name((enum tw_member_status)i);
    }
    if (status.ptr && !filter.status)
        return tw_route_refuse_query(request, "status", TW_BODY_VALUE, "must be ACTIVE, INACTIVE or SUSPENDED", reply);
    if (email.ptr && tw_email_fold(email, request->arena, &trimmed, &filter.folded_email, NULL) != TW_OK)
        return tw_route_refuse_query(request, "email", TW_BODY_FORMAT, "is no e-mail address", reply);
    *ret_filter = filter;
    return true;
}

static struct tw_str place_of(const struct tw_request *request, const struct tw_member *member)
{
    uint8_t *place = tw_arena_alloc(request->arena, PLACE_BYTES);

    for (int i = 0; i < 8; i++)
        place[i] = (uint8_t)((uint64_t)member->created_at_ms >> (56 - 8 * i));
    memcpy(place + 8, member->member_id.bytes, sizeof(member->member_id.bytes));
    return (struct tw_str){(const char *)place, PLACE_BYTES};
}

/** NULL: the page begins at the start. */
static const struct tw_member_place *place_after(const struct tw_page *page, struct tw_member_place *room)
{
    uint64_t created_at_ms = 0;

    if (page->after.len != PLACE_BYTES)
        return NULL;
    for (int i = 0; i < 8; i++)
        created_at_ms = created_at_ms << 8 | (uint8_t)page->after.ptr[i];
    room->created_at_ms = (int64_t)created_at_ms;
    memcpy(room->member_id.bytes, page->after.ptr + 8, sizeof(room->member_id.bytes));
    return room;
}

/** One more than the page holds is asked for: whether it is there tells whether there is a next page. */
static void list_members(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member_filter filter = {0};
    struct tw_member_place  room;
    struct tw_page          page;
    struct tw_member       *members = NULL;
    size_t                  count = 0;
    struct tw_json          json = {&reply->body, false};
    struct tw_err           err = {0};

    if (!read_filter(request, &filter, reply))
        return;
    struct tw_str list = tw_arena_printf(request->arena, "members status=%s email=%.*s",
                                         filter.status ? filter.status : "", TW_STR_ARG(filter.folded_email));
    if (!tw_page_read(request, list, &page, reply) || !tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply))
        return;
    enum tw_rc rc = tw_members_list(request->edge->members, &filter, place_after(&page, &room), page.limit + 1,
                                    request->arena, &members, &count, &err);
    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    size_t shown = count < page.limit ? count : page.limit;
    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < shown; i++)
        write_member(&json, &members[i]);
    tw_json_close(&json, ']');
    tw_page_end(request, &page, count > shown ? place_of(request, &members[shown - 1]) : (struct tw_str){0}, &json,
                reply);
    tw_json_close(&json, '}');
}

const struct tw_route tw_routes_members[] = {
    {TW_METHOD_POST, "/v1/members", TW_ACCESS_PUBLIC, NULL, register_member},
    {TW_METHOD_GET, "/v1/members/me", TW_ACCESS_BEARER, NULL, get_me},
    {TW_METHOD_PATCH, "/v1/members/me", TW_ACCESS_BEARER, NULL, change_me},
    {TW_METHOD_DELETE, "/v1/members/me", TW_ACCESS_BEARER, NULL, leave},
    {TW_METHOD_GET, "/v1/members", TW_ACCESS_BEARER, "members:read", list_members},
    {TW_METHOD_GET, "/v1/members/{member_id}", TW_ACCESS_BEARER, "members:read", get_member},
    {TW_METHOD_PUT, "/v1/members/{member_id}/status", TW_ACCESS_BEARER, "members:admin", set_status},
    {0},
};
