/* /v1/products/{product_id}/ratings/me: the caller's own rating. */
#include "routes/catalogue.h"

#include <jansson.h>

static bool read_stars(struct tw_request *request, int64_t *ret_stars, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_product_rate_body      body = {0};
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    tw_product_rate_body_from_json(json, request->arena, &body, &errors);
    *ret_stars = body.stars;
    return tw_route_valid(request, &errors, reply);
}

static void rate(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_rate command = {.member_id = request->caller.member_id};

    if (!read_stars(request, &command.stars, reply) || !tw_product_read_known_id(request, &command.product_id, reply))
        return;
    struct tw_submission submission = tw_product_submission(request, &tw_product_rate_type, command.product_id);
    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

static void withdraw(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_withdraw_rating command = {.member_id = request->caller.member_id};

    if (!tw_product_read_known_id(request, &command.product_id, reply))
        return;
    struct tw_submission submission =
        tw_product_submission(request, &tw_product_withdraw_rating_type, command.product_id);
    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_ratings[] = {
    {TW_METHOD_PUT, "/v1/products/{product_id}/ratings/me", TW_ACCESS_BEARER, NULL, rate},
    {TW_METHOD_DELETE, "/v1/products/{product_id}/ratings/me", TW_ACCESS_BEARER, NULL, withdraw},
    {0},
};
