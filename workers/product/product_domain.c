/*
 * One function per command. Each looks at the product, refuses, and only then changes the state: a refusal leaves
 * nothing behind.
 */
#include "product_domain.h"

#include <assert.h>

#include "tillwire/gen/product_messages.h"

static struct tw_str path_of(struct tw_uuid product_id, struct tw_arena *arena)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(product_id, text);
    return tw_arena_printf(arena, "/v1/products/%s", text);
}

/* --- create ------------------------------------------------------------------------------------------------------- */

/* Texts and lists are shared with the command: both live as long as the batch, and a list with len == cap is copied
 * before it grows. */
static struct tw_product product_of(const struct tw_product_create *cmd, int64_t at_ms)
{
    return (struct tw_product){
        .product_id = cmd->product_id,
        .sku = cmd->sku,
        .name = cmd->name,
        .slug = cmd->slug,
        .has_description = cmd->has_description,
        .description = cmd->description,
        .price_minor = cmd->price_minor,
        .has_discount_price = cmd->has_discount_price,
        .discount_price_minor = cmd->discount_price_minor,
        .effective_price_minor = cmd->has_discount_price ? cmd->discount_price_minor : cmd->price_minor,
        .category = cmd->category,
        .tags = cmd->tags,
        .tags_len = cmd->tags_len,
        .tags_cap = cmd->tags_len,
        .images = cmd->images,
        .images_len = cmd->images_len,
        .images_cap = cmd->images_len,
        .is_active = cmd->is_active,
        .created_at_ms = at_ms,
        .updated_at_ms = at_ms,
        .version = 1,
    };
}

static void emit_created(struct tw_decision *d, const struct tw_product *product)
{
    tw_emit(d, &tw_product_created_type,
            &(struct tw_product_created){
                .product_id = product->product_id,
                .sku = product->sku,
                .name = product->name,
                .slug = product->slug,
                .price_minor = product->price_minor,
                .has_discount_price = product->has_discount_price,
                .discount_price_minor = product->discount_price_minor,
                .effective_price_minor = product->effective_price_minor,
                .category = product->category,
                .tags = product->tags,
                .tags_len = product->tags_len,
                .is_active = product->is_active,
                .version = product->version,
            });
}

/* A deactivated product keeps its SKU: carts and events still speak of it. */
static struct tw_outcome decide_create(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product_create *cmd = command->body;
    struct tw_product              *product;

    if (cmd->has_discount_price && cmd->discount_price_minor >= cmd->price_minor)
        return tw_rejected(TW_PROBLEM_PRICE_RULE, "discount_price must be below price");
    if (tw_state(d, 0))
        return tw_rejected(TW_PROBLEM_SKU_TAKEN, "another product has this SKU");
    product = tw_state_change(d, 0);
    *product = product_of(cmd, command->at_ms);
    emit_created(d, product);
    return tw_succeeded(201, path_of(product->product_id, d->arena));
}

/* --- record_view -------------------------------------------------------------------------------------------------- */

/* A view of an inactive product does not count: its page answers 410, so what still arrives are late requests, caches
 * and robots, and a merchant who brings it back should find the popularity its customers gave it. */
static struct tw_outcome decide_record_view(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product *before = tw_state(d, 0);
    struct tw_product       *product;

    (void)command;
    if (!before)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such product");
    if (!before->is_active)
        return tw_rejected(TW_PROBLEM_GONE, "the product is no longer for sale");
    product = tw_state_change(d, 0);
    product->view_count++;
    tw_emit_coalesced(d, 0);
    return tw_succeeded(202, path_of(product->product_id, d->arena));
}

static const struct tw_type *coalesced_view(const void *state, struct tw_arena *arena, const void **ret_payload)
{
    const struct tw_product  *product = state;
    struct tw_product_viewed *viewed = TW_NEW(arena, struct tw_product_viewed);

    *viewed = (struct tw_product_viewed){
        .product_id = product->product_id,
        .view_count = product->view_count,
        .version = product->version,
    };
    *ret_payload = viewed;
    return &tw_product_viewed_type;
}

/* --- the domain --------------------------------------------------------------------------------------------------- */

typedef struct tw_outcome decide_fn(struct tw_decision *d, const struct tw_command *command);

static decide_fn *const deciders[] = {
    [TW_PRODUCT_CREATE] = decide_create,
    [TW_PRODUCT_RECORD_VIEW] = decide_record_view,
};

static struct tw_outcome decide(struct tw_decision *d, const struct tw_command *command)
{
    assert(command->type->number < TW_LEN(deciders));
    return deciders[command->type->number](d, command);
}

static size_t keys(const struct tw_command *command, struct tw_key ret_keys[TW_KEYS_MAX])
{
    struct tw_uuid product_id = command->type->number == TW_PRODUCT_CREATE
                                    ? ((const struct tw_product_create *)command->body)->product_id
                                    : ((const struct tw_product_record_view *)command->body)->product_id;

    ret_keys[0] = (struct tw_key){.id = product_id};
    return 1;
}

/* Only `create` names the SKU; a view of an id that no SKU has finds nothing. */
static bool owns_its_id(const struct tw_command *command, const uint8_t id_key[TW_ID_KEY_BYTES])
{
    const struct tw_product_create *cmd = command->body;

    (void)id_key;
    return command->type->number != TW_PRODUCT_CREATE || tw_uuid_eq(cmd->product_id, tw_product_id_of_sku(cmd->sku));
}

static int64_t version(const void *state, int64_t clock_ms)
{
    (void)clock_ms; /* nothing ends here */
    return state ? ((const struct tw_product *)state)->version : 0;
}

static const struct tw_type *const states[] = {&tw_product_type};

const struct tw_domain tw_product_domain = {
    .name = "product",
    .number = TW_DOMAIN_PRODUCT,
    .commands = tw_product_commands,
    .command_count = TW_LEN(deciders),
    .states = states,
    .state_count = TW_LEN(states),
    .keys = keys,
    .owns_its_id = owns_its_id,
    .decide = decide,
    .coalesced = coalesced_view,
    .version = version,
};
