/* /v1/products: making, reading and changing one, and counting views. */
#include "routes/catalogue.h"

#include <jansson.h>
#include <string.h>

#include "tillwire/settings.h"

enum { OBJECT_ID_BYTES = 12 };

/* --- reading ------------------------------------------------------------------------------------------------------ */

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

void tw_product_write(const struct tw_product *product, struct tw_json *json)
{
    tw_json_open(json, '{');
    tw_json_key(json, "product_id");
    tw_json_uuid(json, product->product_id);
    tw_json_key(json, "_id");
    write_object_id(json, product->product_id);
    tw_json_key(json, "sku");
    tw_json_text(json, product->sku);
    tw_json_key(json, "name");
    tw_json_text(json, product->name);
    tw_json_key(json, "slug");
    tw_json_text(json, product->slug);
    tw_json_key(json, "description");
    if (product->has_description)
        tw_json_text(json, product->description);
    else
        tw_json_null(json);
    write_prices(json, product);
    write_lists(json, product);
    write_counts(json, product);
    tw_json_close(json, '}');
}

bool tw_catalogue_is_merchant(const struct tw_request *request)
{
    return request->caller.known && tw_token_has_scope(request->caller.scope, "products:write");
}

/* What a cache kept of an anonymous read must not be shown to a merchant, nor what it kept before a write to who wrote. */
void tw_catalogue_cache(const struct tw_request *request, struct tw_reply *reply)
{
    reply->cache = tw_catalogue_is_merchant(request) ? TW_CACHE_NO_STORE : TW_CACHE_PUBLIC;
    tw_reply_field(reply, "Vary", TW_STR("Authorization, Consistency-Token"));
}

bool tw_product_read_id(const struct tw_request *request, struct tw_uuid *ret_id, struct tw_reply *reply)
{
    uint8_t object_id[OBJECT_ID_BYTES];

    if (!tw_route_uuid(request, TW_PRODUCT_SEGMENT, ret_id, reply))
        return false;
    if (tw_product_id_to_object_id(*ret_id, object_id))
        return true;
    tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "there is no such product");
    return false;
}

bool tw_product_read_known_id(const struct tw_request *request, struct tw_uuid *ret_id, struct tw_reply *reply)
{
    struct tw_err err = {0};

    if (!tw_product_read_id(request, ret_id, reply))
        return false;
    enum tw_rc rc = tw_products_exists(request->edge->products, *ret_id, request->arena, &err);
    if (rc != TW_OK)
        tw_route_store_failed(request, rc, &err, reply);
    return rc == TW_OK;
}

/** What is not for sale is gone for customers. A merchant sees it: how else would it be changed? False: answered. */
static bool find_shown(const struct tw_request *request, struct tw_uuid product_id, struct tw_product *ret_product,
                       struct tw_reply *reply)
{
    if (!tw_route_product(request, product_id, ret_product, reply))
        return false;
    if (ret_product->is_active || tw_catalogue_is_merchant(request))
        return true;
    tw_reply_refuse(reply, request, TW_PROBLEM_GONE, "the product is not for sale any more");
    return false;
}

/** @p if_version: what the version must be; -1: anything. */
static void reply_product(const struct tw_request *request, struct tw_uuid product_id, int64_t if_version,
                          struct tw_reply *reply)
{
    struct tw_product product = {0};
    struct tw_json    json = {&reply->body, false};

    if (!find_shown(request, product_id, &product, reply))
        return;
    if (if_version >= 0 && if_version != product.version) {
        tw_reply_refuse(reply, request, TW_PROBLEM_PRECONDITION_FAILED, "");
        return;
    }
    tw_reply_json(reply, 200);
    tw_product_write(&product, &json);
    tw_route_etag(request, product.version, reply);
}

static void get_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_uuid    product_id;
    struct tw_product product = {0};
    struct tw_json    json = {&reply->body, false};

    if (!tw_product_read_id(request, &product_id, reply) || !tw_own_writes_heed(request, TW_DOMAIN_PRODUCT, reply) ||
        !find_shown(request, product_id, &product, reply))
        return;
    tw_reply_json(reply, 200);
    tw_product_write(&product, &json);
    tw_catalogue_cache(request, reply);
    tw_route_etag(request, product.version, reply);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void show_product(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    reply_product(request, submission->aggregate, -1, reply);
}

static struct tw_str product_path(struct tw_arena *arena, struct tw_uuid product_id)
{
    static const char prefix[] = "/v1/products/";
    char             *path = tw_arena_alloc(arena, sizeof(prefix) + TW_UUID_TEXT);

    memcpy(path, prefix, sizeof(prefix) - 1);
    tw_uuid_format(product_id, path + sizeof(prefix) - 1);
    return (struct tw_str){path, sizeof(prefix) - 1 + TW_UUID_TEXT};
}

struct tw_submission tw_product_submission(const struct tw_request *request, const struct tw_type *type,
                                           struct tw_uuid product_id)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_PRODUCT,
        .aggregate = product_id,
        .resource = product_path(request->arena, product_id),
        .show = show_product,
    };
}

static void submit(struct tw_request *request, struct tw_submission *submission, const void *command,
                   struct tw_reply *reply)
{
    if (tw_command_prepare(request, submission, reply))
        tw_command_submit(request, submission, command, reply);
}

void tw_product_check_prices(int64_t price_minor, int64_t discount_price_minor, struct tw_str pointer,
                             const struct tw_request *request, struct tw_field_errors *errors)
{
    if (discount_price_minor >= price_minor)
        tw_field_errors_add(errors, request->arena, pointer, TW_BODY_OUT_OF_RANGE, "must be below price");
}

/* --- making ------------------------------------------------------------------------------------------------------- */

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

struct tw_product_create tw_product_create_of(const struct tw_product_create_body *body, struct tw_arena *arena)
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
    enum tw_rc rc = tw_product_create_body_from_json(json, request->arena, ret_body, &errors);
    if (rc == TW_OK && ret_body->has_discount_price)
        tw_product_check_prices(ret_body->price_minor, ret_body->discount_price_minor, TW_STR("/discount_price"),
                                request, &errors);
    return tw_route_valid(request, &errors, reply);
}

static void create_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_create_body body = {0};

    if (!read_create(request, &body, reply))
        return;
    struct tw_product_create command = tw_product_create_of(&body, request->arena);
    struct tw_submission     submission = tw_product_submission(request, &tw_product_create_type, command.product_id);
    submit(request, &submission, &command, reply);
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

static struct tw_product_change change_of(struct tw_uuid product_id, const struct tw_product_change_body *body)
{
    return (struct tw_product_change){
        .product_id = product_id,
        .has_name = body->has_name,
        .name = body->name,
        .has_slug = body->has_slug,
        .slug = body->slug,
        .has_description = body->has_description,
        .description = body->description,
        .clear_description = body->clear_description,
        .has_price = body->has_price,
        .price_minor = body->price_minor,
        .has_discount_price = body->has_discount_price,
        .discount_price_minor = body->discount_price_minor,
        .clear_discount_price = body->clear_discount_price,
        .has_category = body->has_category,
        .category = body->category,
        .has_tags = body->has_tags,
        .tags = body->tags,
        .tags_len = body->tags_len,
        .has_images = body->has_images,
        .images = body->images,
        .images_len = body->images_len,
        .removed_images = body->removed_images,
        .removed_images_len = body->removed_images_len,
        .has_is_active = body->has_is_active,
        .is_active = body->is_active,
    };
}

/** Of the prices it can judge only what the patch says of both; the worker judges the rest. False: the answer is
 *  complete. */
static bool read_change(struct tw_request *request, struct tw_product_change_body *ret_body, bool *ret_is_empty,
                        struct tw_reply *reply)
{
    static const char *const         clearable[] = {"description", "discount_price", NULL};
    TW_AUTO(tw_json_release) json_t *json = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    enum tw_rc rc = tw_product_change_body_from_json(json, request->arena, ret_body, &errors);
    tw_route_refuse_nulls(request, json, clearable, &errors);
    if (rc == TW_OK && ret_body->has_price && ret_body->has_discount_price)
        tw_product_check_prices(ret_body->price_minor, ret_body->discount_price_minor, TW_STR("/discount_price"),
                                request, &errors);
    *ret_is_empty = json_object_size(json) == 0;
    return tw_route_valid(request, &errors, reply);
}

/** Of a product this edge has not seen, too: its making may still be on its way to the store, and the log has both in
 *  order. */
static void change_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_change_body body = {0};
    struct tw_uuid                product_id;
    bool                          is_empty = false;

    if (!tw_product_read_id(request, &product_id, reply) || !read_change(request, &body, &is_empty, reply))
        return;
    struct tw_product_change command = change_of(product_id, &body);
    struct tw_submission     submission = tw_product_submission(request, &tw_product_change_type, product_id);
    submission.has_etag = true;
    if (!tw_command_prepare(request, &submission, reply))
        return;
    if (is_empty)
        reply_product(request, product_id, submission.if_version, reply); /* nothing to change */
    else
        tw_command_submit(request, &submission, &command, reply);
}

static void deactivate_product(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_deactivate command;

    if (!tw_product_read_id(request, &command.product_id, reply))
        return;
    struct tw_submission submission = tw_product_submission(request, &tw_product_deactivate_type, command.product_id);
    submission.has_etag = true;
    submit(request, &submission, &command, reply);
}

/* --- views -------------------------------------------------------------------------------------------------------- */

static void record_view(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_record_view command;

    if (request->body.len > 0) {
        tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST, "a view has no body");
        return;
    }
    if (!tw_product_read_known_id(request, &command.product_id, reply))
        return;
    request->fields[TW_HEADER_PREFER] = (struct tw_str){0}; /* a view's only answer is the 202 */
    struct tw_submission submission = tw_product_submission(request, &tw_product_record_view_type, command.product_id);
    submit(request, &submission, &command, reply);
}

const struct tw_route tw_routes_products[] = {
    {TW_METHOD_POST, "/v1/products/{product_id}/views", TW_ACCESS_PUBLIC, NULL, record_view},
    {TW_METHOD_GET, "/v1/products/{product_id}", TW_ACCESS_OPTIONAL, NULL, get_product},
    {TW_METHOD_POST, "/v1/products", TW_ACCESS_BEARER, "products:write", create_product},
    {TW_METHOD_PATCH, "/v1/products/{product_id}", TW_ACCESS_BEARER, "products:write", change_product},
    {TW_METHOD_DELETE, "/v1/products/{product_id}", TW_ACCESS_BEARER, "products:write", deactivate_product},
    {0},
};
