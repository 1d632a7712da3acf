/* /v1/members/me/addresses: the caller's own. Their version is the member's. */
#include "routes/routes.h"

#include <jansson.h>

#include "tillwire/gen/bodies.h"
#include "tillwire/member_ids.h"

enum { ADDRESS_SEGMENT = 4 };

static void write_address(struct tw_json *json, const struct tw_member_address *address)
{
    tw_json_open(json, '{');
    tw_json_key(json, "id");
    tw_json_uuid(json, address->address_id);
    tw_json_key(json, "label");
    tw_json_text(json, address->label);
    tw_json_key(json, "address_line1");
    tw_json_text(json, address->address_line1);
    tw_json_key(json, "address_line2");
    if (address->has_address_line2)
        tw_json_text(json, address->address_line2);
    else
        tw_json_null(json);
    tw_json_key(json, "city");
    tw_json_text(json, address->city);
    tw_json_key(json, "province");
    tw_json_text(json, address->province);
    tw_json_key(json, "postal_code");
    tw_json_text(json, address->postal_code);
    tw_json_key(json, "is_default");
    tw_json_bool(json, address->is_default);
    tw_json_key(json, "created_at");
    tw_json_time(json, address->created_at_ms);
    tw_json_close(json, '}');
}

/** The caller's id, version and addresses. False: the answer is complete. */
static bool read_addresses(const struct tw_request *request, struct tw_member *ret_member, struct tw_reply *reply)
{
    struct tw_err err = {0};
    enum tw_rc    rc =
        tw_members_addresses(request->edge->members, request->caller.member_id, request->arena, ret_member, &err);

    if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}

/** At most 20, so there is one page. */
static void list_addresses(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_member member;
    struct tw_json   json = {&reply->body, false};

    if (!tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply) || !read_addresses(request, &member, reply))
        return;
    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (uint32_t i = 0; i < member.addresses_len; i++)
        write_address(&json, &member.addresses[i]);
    tw_json_close(&json, ']');
    tw_json_key(&json, "next_cursor");
    tw_json_null(&json);
    tw_json_close(&json, '}');
    tw_route_etag(request, member.version, reply);
}

/** @p if_version: what the member's version must be; -1: anything. */
static void reply_address(const struct tw_request *request, struct tw_uuid address_id, int64_t if_version,
                          struct tw_reply *reply)
{
    struct tw_member member;
    struct tw_json   json = {&reply->body, false};

    if (!read_addresses(request, &member, reply))
        return;
    for (uint32_t i = 0; i < member.addresses_len; i++) {
        if (!tw_uuid_eq(member.addresses[i].address_id, address_id))
            continue;
        if (if_version >= 0 && if_version != member.version) {
            tw_reply_refuse(reply, request, TW_PROBLEM_PRECONDITION_FAILED, "");
            return;
        }
        tw_reply_json(reply, 200);
        write_address(&json, &member.addresses[i]);
        tw_route_etag(request, member.version, reply);
        return;
    }
    tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "there is no such address");
}

static void get_address(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_uuid address_id;

    if (tw_route_uuid(request, ADDRESS_SEGMENT, &address_id, reply) &&
        tw_own_writes_heed(request, TW_DOMAIN_MEMBER, reply))
        reply_address(request, address_id, -1, reply);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void show_address(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    reply_address(request, submission->item, -1, reply);
}

static struct tw_submission submission_of(const struct tw_request *request, const struct tw_type *type)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = request->caller.member_id,
        .show = show_address,
        .has_etag = true,
    };
}

static void name_address(const struct tw_request *request, struct tw_uuid address_id, struct tw_submission *submission)
{
    char id[TW_UUID_TEXT + 1];

    tw_uuid_format(address_id, id);
    submission->item = address_id;
    submission->resource = tw_arena_printf(request->arena, "/v1/members/me/addresses/%s", id);
}

static void add_address(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t  *json = NULL;
    struct tw_member_add_address_body body = {0};
    struct tw_field_errors            errors = {.count = 0};
    struct tw_submission              submission = submission_of(request, &tw_member_add_address_type);

    submission.resource = TW_STR("/v1/members/me/addresses");
    submission.new_item = TW_MEMBER_ID_ADDRESS;
    if (!tw_route_json(request, &json, reply))
        return;
    tw_member_add_address_body_from_json(json, request->arena, &body, &errors);
    if (!tw_route_valid(request, &errors, reply))
        return;
    if (!tw_command_prepare(request, &submission, reply))
        return;
    struct tw_member_add_address command = {
        .member_id = request->caller.member_id,
        .label = body.label,
        .address_line1 = body.address_line1,
        .has_address_line2 = body.has_address_line2,
        .address_line2 = body.address_line2,
        .city = body.city,
        .province = body.province,
        .postal_code = body.postal_code,
        .has_is_default = body.has_is_default,
        .is_default = body.is_default,
    };
    tw_command_submit(request, &submission, &command, reply);
}

static struct tw_member_change_address change_of(const struct tw_request *request, struct tw_uuid address_id,
                                                 const struct tw_member_change_address_body *body)
{
    return (struct tw_member_change_address){
        .member_id = request->caller.member_id,
        .address_id = address_id,
        .has_label = body->has_label,
        .label = body->label,
        .has_address_line1 = body->has_address_line1,
        .address_line1 = body->address_line1,
        .has_address_line2 = body->has_address_line2,
        .address_line2 = body->address_line2,
        .clear_address_line2 = body->clear_address_line2,
        .has_city = body->has_city,
        .city = body->city,
        .has_province = body->has_province,
        .province = body->province,
        .has_postal_code = body->has_postal_code,
        .postal_code = body->postal_code,
        .has_is_default = body->has_is_default,
        .is_default = body->is_default,
    };
}

static const char *const clearable[] = {"address_line2", NULL};

static void change_address(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t     *json = NULL;
    struct tw_member_change_address_body body = {0};
    struct tw_field_errors               errors = {.count = 0};
    struct tw_uuid                       address_id;
    struct tw_submission                 submission = submission_of(request, &tw_member_change_address_type);

    if (!tw_route_uuid(request, ADDRESS_SEGMENT, &address_id, reply) || !tw_route_json(request, &json, reply))
        return;
    tw_member_change_address_body_from_json(json, request->arena, &body, &errors);
    tw_route_refuse_nulls(request, json, clearable, &errors);
    if (!tw_route_valid(request, &errors, reply))
        return;
    name_address(request, address_id, &submission);
    if (!tw_command_prepare(request, &submission, reply))
        return;
    struct tw_member_change_address command = change_of(request, address_id, &body);
    if (json_object_size(json) > 0)
        tw_command_submit(request, &submission, &command, reply);
    else
        reply_address(request, address_id, submission.if_version, reply); /* nothing to change */
}

static void remove_address(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission            submission = submission_of(request, &tw_member_remove_address_type);
    struct tw_member_remove_address command = {.member_id = request->caller.member_id};

    if (!tw_route_uuid(request, ADDRESS_SEGMENT, &command.address_id, reply))
        return;
    name_address(request, command.address_id, &submission);
    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

static void set_default_address(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission                 submission = submission_of(request, &tw_member_set_default_address_type);
    struct tw_member_set_default_address command = {.member_id = request->caller.member_id};

    if (!tw_route_uuid(request, ADDRESS_SEGMENT, &command.address_id, reply) || !tw_route_no_members(request, reply))
        return;
    name_address(request, command.address_id, &submission);
    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_addresses[] = {
    {TW_METHOD_GET, "/v1/members/me/addresses", TW_ACCESS_BEARER, NULL, list_addresses},
    {TW_METHOD_POST, "/v1/members/me/addresses", TW_ACCESS_BEARER, NULL, add_address},
    {TW_METHOD_GET, "/v1/members/me/addresses/{address_id}", TW_ACCESS_BEARER, NULL, get_address},
    {TW_METHOD_PATCH, "/v1/members/me/addresses/{address_id}", TW_ACCESS_BEARER, NULL, change_address},
    {TW_METHOD_DELETE, "/v1/members/me/addresses/{address_id}", TW_ACCESS_BEARER, NULL, remove_address},
    {TW_METHOD_PUT, "/v1/members/me/addresses/{address_id}/default", TW_ACCESS_BEARER, NULL, set_default_address},
    {0},
};
