/* /v1/products:batch: up to 100 products at once. All are checked before the first is written. */
#include "routes/catalogue.h"

#include <jansson.h>

#include "submission_batch.h"

enum { ITEMS_MAX = 100 };

/** The faults of one item become the body's: `/price` is `/items/3/price`. */
static void add_faults(const struct tw_request *request, size_t index, const struct tw_field_errors *of_item,
                       struct tw_field_errors *errors)
{
    for (size_t i = 0; i < of_item->count; i++) {
        struct tw_str pointer =
            tw_arena_printf(request->arena, "/items/%zu%.*s", index, TW_STR_ARG(of_item->items[i].pointer));
        tw_field_errors_add(errors, request->arena, pointer, of_item->items[i].code.ptr, of_item->items[i].detail.ptr);
    }
}

static void read_item(const struct tw_request *request, size_t index, const json_t *json,
                      struct tw_product_create_body *ret_body, struct tw_field_errors *errors)
{
    struct tw_field_errors of_item = {.count = 0};
    enum tw_rc             rc = tw_product_create_body_from_json(json, request->arena, ret_body, &of_item);

    if (rc == TW_OK && ret_body->has_discount_price)
        tw_product_check_prices(ret_body->price_minor, ret_body->discount_price_minor, TW_STR("/discount_price"),
                                request, &of_item);
    add_faults(request, index, &of_item, errors);
}

static void fault_of_items(const struct tw_request *request, const char *code, const char *detail,
                           struct tw_field_errors *errors)
{
    tw_field_errors_add(errors, request->arena, TW_STR("/items"), code, detail);
}

/** Takes the array `items` out of the body, which must have nothing else. NULL: @p errors says what is wrong. */
static json_t *take_items(const struct tw_request *request, json_t *json, struct tw_field_errors *errors)
{
    static const struct tw_layout nothing_else = {.name = "batch"};
    json_t                       *items = json_incref(json_object_get(json, "items"));
    char                          rest;

    json_object_del(json, "items");
    enum tw_rc rc = tw_body_read(&nothing_else, json, request->arena, &rest, errors);
    if (!items && json_is_object(json))
        fault_of_items(request, TW_BODY_MISSING, "is missing", errors);
    else if (items && !json_is_array(items))
        fault_of_items(request, TW_BODY_WRONG_TYPE, "must be a list", errors);
    else if (items && (json_array_size(items) < 1 || json_array_size(items) > ITEMS_MAX))
        fault_of_items(request, TW_BODY_COUNT, "must have 1 to 100 elements", errors);
    else if (rc == TW_OK)
        return items;
    json_decref(items);
    return NULL;
}

/** An SKU that stands twice would make one product and one refusal, depending on which comes first. */
static void refuse_repeated_skus(const struct tw_request *request, const struct tw_product_create_body *bodies,
                                 size_t count, struct tw_field_errors *errors)
{
    for (size_t i = 1; i < count; i++) {
        size_t first = 0;

        while (first < i && !(bodies[i].sku.len > 0 && tw_str_eq(bodies[first].sku, bodies[i].sku)))
            first++;
        if (first == i)
            continue;
        struct tw_str pointer = tw_arena_printf(request->arena, "/items/%zu/sku", i);
        struct tw_str detail = tw_arena_printf(request->arena, "is the SKU of /items/%zu, too", first);
        tw_field_errors_add(errors, request->arena, pointer, TW_BODY_REPEATED, detail.ptr);
    }
}

/** False: the answer is complete. */
static bool read_batch(struct tw_request *request, struct tw_product_create_body **ret_bodies, size_t *ret_count,
                       struct tw_reply *reply)
{
    TW_AUTO(tw_json_release) json_t *json = NULL;
    TW_AUTO(tw_json_release) json_t *items = NULL;
    struct tw_field_errors           errors = {.count = 0};

    if (!tw_route_json(request, &json, reply))
        return false;
    items = take_items(request, json, &errors);
    size_t                         count = json_array_size(items);
    struct tw_product_create_body *bodies = TW_NEW_ARRAY(request->arena, count, struct tw_product_create_body);
    for (size_t i = 0; i < count; i++)
        read_item(request, i, json_array_get(items, i), &bodies[i], &errors);
    refuse_repeated_skus(request, bodies, count, &errors);
    *ret_bodies = bodies;
    *ret_count = count;
    return tw_route_valid(request, &errors, reply);
}

static void create_products(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_create_body *bodies = NULL;
    size_t                         count = 0;

    if (!read_batch(request, &bodies, &count, reply))
        return;
    struct tw_batch_command  *commands = TW_NEW_ARRAY(request->arena, count, struct tw_batch_command);
    struct tw_product_create *creations = TW_NEW_ARRAY(request->arena, count, struct tw_product_create);
    for (size_t i = 0; i < count; i++) {
        creations[i] = tw_product_create_of(&bodies[i], request->arena);
        commands[i].submission = tw_product_submission(request, &tw_product_create_type, creations[i].product_id);
        commands[i].body = &creations[i];
    }
    tw_batch_submit(request, commands, count, reply);
}

const struct tw_route tw_routes_product_batch[] = {
    {TW_METHOD_POST, "/v1/products:batch", TW_ACCESS_BEARER, "products:write", create_products},
    {0},
};
