/* /v1/cart: the caller's own. Its version shows in its ETag. */
#include "routes/routes.h"

#include <jansson.h>

#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"
#include "tillwire/gen/bodies.h"

enum { PRODUCT_SEGMENT = 3 };

static void write_line(struct tw_json *json, const struct tw_cart_line *line)
{
    tw_json_open(json, '{');
    tw_json_key(json, "product_id");
    tw_json_uuid(json, line->product_id);
    tw_json_key(json, "product_name");
    tw_json_text(json, line->product_name);
    tw_json_key(json, "price");
    tw_json_money(json, line->price_minor);
    tw_json_key(json, "quantity");
    tw_json_int(json, line->quantity);
    tw_json_key(json, "added_at");
    tw_json_time(json, line->added_at_ms);
    tw_json_key(json, "line_total");
    tw_json_money(json, line->price_minor * line->quantity);
    if (line->has_previous_price) {
        tw_json_key(json, "price_changed");
        tw_json_bool(json, true);
        tw_json_key(json, "previous_price");
        tw_json_money(json, line->previous_price_minor);
    }
    tw_json_key(json, "available");
    tw_json_bool(json, line->available);
    tw_json_close(json, '}');
}

static void write_time_or_null(struct tw_json *json, const struct tw_cart *cart, int64_t time_ms)
{
    if (cart->version > 0)
        tw_json_time(json, time_ms);
    else
        tw_json_null(json);
}

static void write_summary(struct tw_json *json, const struct tw_cart *cart)
{
    struct tw_cart_totals totals = tw_cart_totals(cart);

    tw_json_open(json, '{');
    tw_json_key(json, "total_items");
    tw_json_int(json, totals.items);
    tw_json_key(json, "total_price");
    tw_json_money(json, totals.price_minor);
    tw_json_key(json, "updated_at");
    write_time_or_null(json, cart, cart->updated_at_ms);
    tw_json_close(json, '}');
}

static void write_cart(const struct tw_cart *cart, struct tw_uuid member_id, struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "member_id");
    tw_json_uuid(&json, member_id);
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (uint32_t i = 0; i < cart->lines_len; i++)
        write_line(&json, &cart->lines[i]);
    tw_json_close(&json, ']');
    tw_json_key(&json, "summary");
    write_summary(&json, cart);
    tw_json_key(&json, "expires_at");
    write_time_or_null(&json, cart, cart->ends_at_ms);
    tw_json_close(&json, '}');
}

/** False: the answer is complete. */
static bool read_cart(struct tw_request *request, struct tw_cart *ret_cart, struct tw_reply *reply)
{
    struct tw_err err = {0};
    enum tw_rc    rc =
        tw_carts_get(request->edge->carts, request->caller.member_id, tw_now_ms(), request->arena, ret_cart, &err);

    if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}

static void get_cart(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_cart cart;

    if (!tw_own_writes_heed(request, TW_DOMAIN_CART, reply) || !read_cart(request, &cart, reply))
        return;
    write_cart(&cart, request->caller.member_id, reply);
    tw_route_etag(request, cart.version, reply);
}

static void get_summary(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_cart cart;
    struct tw_json json = {&reply->body, false};

    if (!tw_own_writes_heed(request, TW_DOMAIN_CART, reply) || !read_cart(request, &cart, reply))
        return;
    tw_reply_json(reply, 200);
    write_summary(&json, &cart);
    tw_route_etag(request, cart.version, reply);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void show_cart(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    (void)submission;
    get_cart(request, reply);
}

static struct tw_submission submission_of(const struct tw_request *request, const struct tw_type *type)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_CART,
        .aggregate = request->caller.member_id,
        .resource = TW_STR("/v1/cart"),
        .show = show_cart,
        .has_etag = true,
    };
}

/** Name and price come from the catalogue, never from the client. False: the answer is complete. */
static bool find_product(const struct tw_request *request, struct tw_uuid product_id, bool must_be_active,
                         struct tw_product *ret_product, struct tw_reply *reply)
{
    if (!tw_route_product(request, product_id, ret_product, reply))
        return false;
    if (must_be_active && !ret_product->is_active) {
        tw_reply_refuse(reply, request, TW_PROBLEM_PRODUCT_INACTIVE, "");
        return false;
    }
    return true;
}

static void add_item(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_cart_add_item_body     body = {0};
    struct tw_field_errors           errors = {.count = 0};
    struct tw_product                product = {0};
    struct tw_submission             submission = submission_of(request, &tw_cart_add_item_type);

    if (!tw_route_json(request, &json, reply))
        return;
    tw_cart_add_item_body_from_json(json, request->arena, &body, &errors);
    if (!tw_route_valid(request, &errors, reply) || !tw_command_prepare(request, &submission, reply) ||
        !find_product(request, body.product_id, true, &product, reply))
        return;
    struct tw_cart_add_item command = {
        .member_id = request->caller.member_id,
        .product_id = body.product_id,
        .quantity = body.quantity,
        .product_name = product.name,
        .price_minor = product.effective_price_minor,
        .product_version = product.version,
    };
    tw_command_submit(request, &submission, &command, reply);
}

static void set_item(struct tw_request *request, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_cart_set_item_body     body = {0};
    struct tw_field_errors           errors = {.count = 0};
    struct tw_product                product = {0};
    struct tw_uuid                   product_id;
    struct tw_submission             submission = submission_of(request, &tw_cart_set_item_type);

    if (!tw_route_uuid(request, PRODUCT_SEGMENT, &product_id, reply) || !tw_route_json(request, &json, reply))
        return;
    tw_cart_set_item_body_from_json(json, request->arena, &body, &errors);
    if (!tw_route_valid(request, &errors, reply) || !tw_command_prepare(request, &submission, reply) ||
        !find_product(request, product_id, body.quantity > 0, &product, reply))
        return;
    struct tw_cart_set_item command = {
        .member_id = request->caller.member_id,
        .product_id = product_id,
        .quantity = body.quantity,
        .product_name = product.name,
        .price_minor = product.effective_price_minor,
        .product_version = product.version,
    };
    tw_command_submit(request, &submission, &command, reply);
}

static void remove_item(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission       submission = submission_of(request, &tw_cart_remove_item_type);
    struct tw_cart_remove_item command = {.member_id = request->caller.member_id};

    if (tw_route_uuid(request, PRODUCT_SEGMENT, &command.product_id, reply) &&
        tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

static void clear_cart(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission submission = submission_of(request, &tw_cart_clear_type);
    struct tw_cart_clear command = {.member_id = request->caller.member_id};

    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

static void acknowledge_cart(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_submission       submission = submission_of(request, &tw_cart_acknowledge_type);
    struct tw_cart_acknowledge command = {.member_id = request->caller.member_id};

    if (tw_route_no_members(request, reply) && tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_cart[] = {
    {TW_METHOD_GET, "/v1/cart", TW_ACCESS_BEARER, NULL, get_cart},
    {TW_METHOD_DELETE, "/v1/cart", TW_ACCESS_BEARER, NULL, clear_cart},
    {TW_METHOD_POST, "/v1/cart:acknowledge", TW_ACCESS_BEARER, NULL, acknowledge_cart},
    {TW_METHOD_GET, "/v1/cart/summary", TW_ACCESS_BEARER, NULL, get_summary},
    {TW_METHOD_POST, "/v1/cart/items", TW_ACCESS_BEARER, NULL, add_item},
    {TW_METHOD_PUT, "/v1/cart/items/{product_id}", TW_ACCESS_BEARER, NULL, set_item},
    {TW_METHOD_DELETE, "/v1/cart/items/{product_id}", TW_ACCESS_BEARER, NULL, remove_item},
    {0},
};
