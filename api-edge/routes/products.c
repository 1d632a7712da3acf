/* /v1/products: making, reading, and counting views. */
#include "routes/routes.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/gen/bodies.h"
#include "tillwire/money.h"
#include "tillwire/settings.h"

enum { PRODUCT_SEGMENT = 2, OBJECT_ID_BYTES = 12 };

static void write_object_id(struct tw_json *json, struct tw_uuid product_id)
{
    uint8_t object_id[OBJECT_ID_BYTES] = {0};
    char    text[2 * OBJECT_ID_BYTES + 1];

    tw_product_id_to_object_id(product_id, object_id);
    tw_hex_format(object_id, sizeof(object_id), text);
    tw_json_text(json, tw_str_of(text));
}

static void write_prices(struct tw_json *json, const struct tw_product *product)
{
    tw_json_key(json, "price");
    tw_json_money(json, product->price_minor);
    tw_json_key(json, "discount_price");
    if (product->has_discount_price)
        tw_json_money(json, product->discount_price_minor);
    else
        tw_json_null(json);
    tw_json_key(json, "effective_price");
    tw_json_money(json, product->effective_price_minor);
}

static void write_lists(struct tw_json *json, const struct tw_product *product)
{
    tw_json_key(json, "category");
    tw_json_text(json, product->category);
    tw_json_key(json, "tags");
    tw_json_open(json, '[');
    for (uint32_t i = 0; i < product->tags_len; i++)
        tw_json_text(json, product->tags[i]);
    tw_json_close(json, ']');
    tw_json_key(json, "images");
    tw_json_open(json, '{');
    for (uint32_t i = 0; i < product->images_len; i++) {
        tw_json_key_text(json, product->images[i].name);
        tw_json_text(json, product->images[i].value);
    }
    tw_json_close(json, '}');
}

static void write_counts(struct tw_json *json, const struct tw_product *product)
{
    tw_json_key(json, "view_count");
    tw_json_int(json, product->view_count);
    tw_json_key(json, "rating");
    tw_json_money(json, product->rating_hundredths);
    tw_json_key(json, "review_count");
    tw_json_int(json, product->review_count);
    tw_json_key(json, "is_active");
    tw_json_bool(json, product->is_active);
    tw_json_key(json, "created_at");
    tw_json_time(json, product->created_at_ms);
    tw_json_key(json, "updated_at");
    tw_json_time(json, product->updated_at_ms);
    tw_json_key(json, "version");
    tw_json_int(json, product->version);
}

static void write_product(const struct tw_product *product, struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "product_id");
    tw_json_uuid(&json, product->product_id);
    tw_json_key(&json, "_id");
    write_object_id(&json, product->product_id);
    tw_json_key(&json, "sku");
    tw_json_text(&json, product->sku);
    tw_json_key(&json, "name");
    tw_json_text(&json, product->name);
    tw_json_key(&json, "slug");
    tw_json_text(&json, product->slug);
    tw_json_key(&json, "description");
    if (product->has_description)
        tw_json_text(&json, product->description);
    else
        tw_json_null(&json);
    write_prices(&json, product);
    write_lists(&json, product);
    write_counts(&json, product);
    tw_json_close(&json, '}');
}

static void get_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_uuid    product_id;
    struct tw_product product = {0};

    if (!tw_route_uuid(request, PRODUCT_SEGMENT, &product_id, reply) ||
        !tw_route_product(request, product_id, &product, reply))
        return;
    if (!product.is_active) {
        tw_reply_refuse(reply, request, TW_PROBLEM_GONE, "the product is not for sale any more");
        return;
    }
    write_product(&product, reply);
    reply->cache = TW_CACHE_PUBLIC;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static void show_product(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    struct tw_product product = {0};

    if (tw_route_product(request, submission->aggregate, &product, reply))
        write_product(&product, reply);
}

/** `Black T-shirt, M` becomes `black-t-shirt-m`; letters beyond ASCII stay. */
static struct tw_str slug_of(struct tw_arena *arena, struct tw_str name)
{
    char  *slug = tw_arena_alloc(arena, name.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80)
            slug[len++] = c;
        else if (len > 0 && slug[len - 1] != '-')
            slug[len++] = '-';
    }
    while (len > 0 && slug[len - 1] == '-')
        len--;
    return (struct tw_str){slug, len};
}

static struct tw_product_create command_of(const struct tw_product_create_body *body, struct tw_arena *arena)
{
    return (struct tw_product_create){
        .product_id = tw_product_id_of_sku(body->sku),
        .sku = body->sku,
        .name = body->name,
        .slug = body->has_slug ? body->slug : slug_of(arena, body->name),
        .has_description = body->has_description,
        .description = body->description,
        .price_minor = body->price_minor,
        .has_discount_price = body->has_discount_price,
        .discount_price_minor = body->discount_price_minor,
        .category = body->category,
        .tags = body->tags,
        .tags_len = body->tags_len,
        .images = body->images,
        .images_len = body->images_len,
        .is_active = body->has_is_active ? body->is_active : true,
    };
}

static bool read_create(struct tw_request *request, struct tw_product_create_body *ret_body, struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    tw_product_create_body_from_json(json, request->arena, ret_body, &errors);
    return tw_route_valid(request, &errors, reply);
}

static struct tw_str product_path(struct tw_arena *arena, struct tw_uuid product_id)
{
    static const char prefix[] = "/v1/products/";
    char             *path = tw_arena_alloc(arena, sizeof(prefix) + TW_UUID_TEXT);

    memcpy(path, prefix, sizeof(prefix) - 1);
    tw_uuid_format(product_id, path + sizeof(prefix) - 1);
    return (struct tw_str){path, sizeof(prefix) - 1 + TW_UUID_TEXT};
}

static void submit(struct tw_request *request, const struct tw_type *type, struct tw_uuid product_id,
                   const void *command, struct tw_reply *reply)
{
    struct tw_submission submission = {
        .type = type,
        .domain = TW_DOMAIN_PRODUCT,
        .aggregate = product_id,
        .resource = product_path(request->arena, product_id),
        .show = show_product,
    };

    if (tw_command_prepare(request, &submission, reply))
        tw_command_submit(request, &submission, command, reply);
}

static void create_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_create_body body = {0};

    if (!read_create(request, &body, reply))
        return;
    struct tw_product_create command = command_of(&body, request->arena);
    submit(request, &tw_product_create_type, command.product_id, &command, reply);
}

/* --- views -------------------------------------------------------------------------------------------------------- */

static void record_view(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_record_view command;
    struct tw_err                 err = {0};

    if (request->body.len > 0) {
        tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST, "a view has no body");
        return;
    }
    if (!tw_route_uuid(request, PRODUCT_SEGMENT, &command.product_id, reply))
        return;
    enum tw_rc rc = tw_products_exists(request->edge->products, command.product_id, request->arena, &err);
    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    submit(request, &tw_product_record_view_type, command.product_id, &command, reply);
}

const struct tw_route tw_routes_products[] = {
    {TW_METHOD_POST, "/v1/products/{product_id}/views", TW_ACCESS_PUBLIC, NULL, record_view},
    {TW_METHOD_GET, "/v1/products/{product_id}", TW_ACCESS_PUBLIC, NULL, get_product},
    {TW_METHOD_POST, "/v1/products", TW_ACCESS_BEARER, "products:write", create_product},
    {0},
};
