#include "routes/routes.h"

#include <jansson.h>
#include <string.h>

#include "conditional.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"

void tw_routes_public(struct tw_router *ret_router)
{
    static const struct tw_route *const tables[] = {
        tw_routes_products,  tw_routes_product_list, tw_routes_product_batch, tw_routes_ratings,
        tw_routes_cart,      tw_routes_auth,         tw_routes_members,       tw_routes_credentials,
        tw_routes_addresses, tw_routes_commands,     tw_routes_documents,     tw_routes_events,
    };

    for (size_t i = 0; i < TW_LEN(tables); i++)
        tw_router_add(ret_router, tables[i]);
}

void tw_routes_of_admin(struct tw_router *ret_router)
{
    tw_router_add(ret_router, tw_routes_admin);
}

bool tw_route_json(const struct tw_request *request, struct json_t **ret_json, struct tw_reply *reply)
{
    const char     *detail = "";
    enum tw_problem problem = tw_request_json(request, ret_json, &detail);

    if (problem != TW_PROBLEM_NONE)
        tw_reply_refuse(reply, request, problem, detail);
    return problem == TW_PROBLEM_NONE;
}

bool tw_route_valid(const struct tw_request *request, const struct tw_field_errors *errors, struct tw_reply *reply)
{
    if (errors->count > 0)
        tw_reply_problem(reply, request, TW_PROBLEM_INVALID_BODY, (struct tw_str){0}, errors);
    return errors->count == 0;
}

static bool is_faulty(const struct tw_field_errors *errors, struct tw_str pointer)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (tw_str_eq(errors->items[i].pointer, pointer))
            return true;
    }
    return false;
}

static bool is_among(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

/* Names that a pointer would have to escape are unknown, and the reader has said so. */
void tw_route_refuse_nulls(const struct tw_request *request, struct json_t *json, const char *const *clearable,
                           struct tw_field_errors *errors)
{
    const char *name;
    json_t     *value;

    json_object_foreach(json, name, value)
    {
        struct tw_str pointer = tw_arena_printf(request->arena, "/%s", name);

        if (json_is_null(value) && !is_among(name, clearable) && !strpbrk(name, "~/") && !is_faulty(errors, pointer))
            tw_field_errors_add(errors, request->arena, pointer, TW_BODY_WRONG_TYPE, "cannot be taken away");
    }
}

bool tw_route_no_members(const struct tw_request *request, struct tw_reply *reply)
{
    static const struct tw_layout    nothing = {.name = "nothing"};
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};
    char                             body;

    if (request->body.len == 0)
        return true;
    if (!tw_route_json(request, &json, reply))
        return false;
    tw_body_read(&nothing, json, request->arena, &body, &errors);
    return tw_route_valid(request, &errors, reply);
}

bool tw_route_refuse_query(const struct tw_request *request, const char *name, const char *code, const char *detail,
                           struct tw_reply *reply)
{
    struct tw_field_errors errors = {.count = 0};
    struct tw_str          pointer = tw_arena_printf(request->arena, "/%s", name);
    struct tw_str          sentence = tw_arena_printf(request->arena, "%s %s", name, detail);

    tw_field_errors_add(&errors, request->arena, pointer, code, detail);
    tw_reply_problem(reply, request, TW_PROBLEM_MALFORMED_REQUEST, sentence, &errors);
    return false;
}

bool tw_route_query(const struct tw_request *request, const char *name, struct tw_str *ret_value,
                    struct tw_reply *reply)
{
    static const struct {
        const char *code;
        const char *detail;
    } faults[] = {
        [TW_QUERY_REPEATED] = {TW_BODY_REPEATED, "may be given once"},
        [TW_QUERY_NO_VALUE] = {TW_BODY_FORMAT, "has no ="},
        [TW_QUERY_BAD_ENCODING] = {TW_BODY_FORMAT, "is badly encoded"},
    };
    enum tw_query found = TW_QUERY_ABSENT;

    *ret_value = (struct tw_str){0};
    found = tw_request_query(request, name, ret_value);
    if (found == TW_QUERY_OK || found == TW_QUERY_ABSENT)
        return true;
    return tw_route_refuse_query(request, name, faults[found].code, faults[found].detail, reply);
}

void tw_route_etag(const struct tw_request *request, int64_t version, struct tw_reply *reply)
{
    bool reads = request->method == TW_METHOD_GET || request->method == TW_METHOD_HEAD;
    char etag[TW_ETAG_TEXT];

    if (reply->status != 200)
        return;
    tw_etag_format(request->edge->opaque_key, version, tw_buf_str(&reply->body), etag);
    tw_reply_field(reply, "ETag", tw_str_of(etag));
    if (reads && request->fields[TW_HEADER_IF_NONE_MATCH].ptr &&
        tw_etag_is_among(request->fields[TW_HEADER_IF_NONE_MATCH], tw_str_of(etag)))
        tw_reply_not_modified(reply);
}

bool tw_route_uuid(const struct tw_request *request, size_t index, struct tw_uuid *ret_id, struct tw_reply *reply)
{
    if (tw_uuid_parse(request->segments[index], ret_id))
        return true;
    tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "");
    return false;
}

void tw_route_store_failed(const struct tw_request *request, enum tw_rc rc, const struct tw_err *err,
                           struct tw_reply *reply)
{
    if (rc == TW_NOT_FOUND) {
        tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "");
        return;
    }
    tw_log_err(rc == TW_UNREACHED ? TW_LOG_DEBUG : TW_LOG_ERROR, "a store cannot be read", err, NULL);
    tw_reply_unavailable(reply, request, "a store cannot be read now");
}

bool tw_route_product(const struct tw_request *request, struct tw_uuid product_id, struct tw_product *ret_product,
                      struct tw_reply *reply)
{
    struct tw_err err = {0};
    enum tw_rc    rc = tw_products_get(request->edge->products, product_id, request->arena, ret_product, &err);

    if (rc == TW_NOT_FOUND)
        tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "there is no such product");
    else if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}
