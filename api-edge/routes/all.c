#include "routes/routes.h"

#include <jansson.h>

#include "tillwire/clock.h"
#include "tillwire/log.h"

void tw_routes_public(struct tw_router *ret_router)
{
    static const struct tw_route *const tables[] = {
        tw_routes_products, tw_routes_cart, tw_routes_auth, tw_routes_members, tw_routes_commands, tw_routes_documents,
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

bool tw_route_within(const struct tw_request *request, const struct tw_limit *limit, struct tw_str key,
                     struct tw_reply *reply)
{
    struct tw_limits *limits = request->edge->limits;
    int               wait_s = limits ? tw_limits_take(limits, limit, key, tw_monotonic_us() / 1000) : 0;

    if (wait_s == 0)
        return true;
    tw_reply_refuse(reply, request, TW_PROBLEM_TOO_MANY_REQUESTS, "");
    tw_reply_retry_after(reply, wait_s);
    tw_buf_printf(&reply->fields, "RateLimit-Policy: \"%s\";q=%d;w=%d\r\nRateLimit: \"%s\";r=0;t=%d\r\n", limit->name,
                  limit->count, limit->window_s, limit->name, wait_s);
    return false;
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
