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
        .revision = 1,
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
                .has_description = product->has_description,
                .description = product->description,
                .price_minor = product->price_minor,
                .has_discount_price = product->has_discount_price,
                .discount_price_minor = product->discount_price_minor,
                .effective_price_minor = product->effective_price_minor,
                .category = product->category,
                .tags = product->tags,
                .tags_len = product->tags_len,
                .images = product->images,
                .images_len = product->images_len,
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

/* --- change and deactivate ---------------------------------------------------------------------------------------- */

enum { IMAGES_MAX = 20 };

static bool same_tags(const struct tw_product *a, const struct tw_product *b)
{
    bool same = a->tags_len == b->tags_len;

    for (uint32_t i = 0; same && i < a->tags_len; i++)
        same = tw_str_eq(a->tags[i], b->tags[i]);
    return same;
}

static bool same_images(const struct tw_product *a, const struct tw_product *b)
{
    bool same = a->images_len == b->images_len;

    for (uint32_t i = 0; same && i < a->images_len; i++)
        same = tw_str_eq(a->images[i].name, b->images[i].name) && tw_str_eq(a->images[i].value, b->images[i].value);
    return same;
}

static bool same_discount(const struct tw_product *a, const struct tw_product *b)
{
    return a->has_discount_price == b->has_discount_price && a->discount_price_minor == b->discount_price_minor;
}

static bool same_description(const struct tw_product *a, const struct tw_product *b)
{
    return a->has_description == b->has_description && tw_str_eq(a->description, b->description);
}

enum { CHANGED_MAX = 10 };

/* Names of the fields that differ; returns how many. */
static uint32_t name_changes(const struct tw_product *a, const struct tw_product *b,
                             struct tw_str ret_names[CHANGED_MAX])
{
    const struct {
        const char *name;
        bool        same;
    } fields[CHANGED_MAX] = {
        {"name", tw_str_eq(a->name, b->name)},
        {"slug", tw_str_eq(a->slug, b->slug)},
        {"description", same_description(a, b)},
        {"price", a->price_minor == b->price_minor},
        {"discount_price", same_discount(a, b)},
        {"effective_price", a->effective_price_minor == b->effective_price_minor},
        {"category", tw_str_eq(a->category, b->category)},
        {"tags", same_tags(a, b)},
        {"images", same_images(a, b)},
        {"is_active", a->is_active == b->is_active},
    };
    uint32_t count = 0;

    for (size_t i = 0; i < TW_LEN(fields); i++)
        if (!fields[i].same)
            ret_names[count++] = tw_str_of(fields[i].name);
    return count;
}

static void emit_changed(struct tw_decision *d, const struct tw_product *product, struct tw_str *changed,
                         uint32_t changed_len)
{
    tw_emit(d, &tw_product_changed_type,
            &(struct tw_product_changed){
                .product_id = product->product_id,
                .sku = product->sku,
                .name = product->name,
                .slug = product->slug,
                .has_description = product->has_description,
                .description = product->description,
                .price_minor = product->price_minor,
                .has_discount_price = product->has_discount_price,
                .discount_price_minor = product->discount_price_minor,
                .effective_price_minor = product->effective_price_minor,
                .category = product->category,
                .tags = product->tags,
                .tags_len = product->tags_len,
                .images = product->images,
                .images_len = product->images_len,
                .is_active = product->is_active,
                .version = product->version,
                .changed = changed,
                .changed_len = changed_len,
            });
}

/* A requeued command, decided at its original time, never moves the time of the last change back. */
static void count_change(struct tw_product *product, int64_t at_ms)
{
    product->version++;
    product->revision++;
    if (product->updated_at_ms < at_ms)
        product->updated_at_ms = at_ms;
}

/* Views so far are told with the version they were of: no event with an older version follows one with a newer. */
static struct tw_product *product_to_change(struct tw_decision *d)
{
    tw_tell_coalesced(d, 0);
    return tw_state_change(d, 0);
}

static bool is_named(const struct tw_str *names, uint32_t count, struct tw_str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tw_str_eq(names[i], name))
            return true;
    return false;
}

/* Room for all of the before and all that may come. */
static void change_images(struct tw_product *product, const struct tw_product_change *cmd, struct tw_arena *arena)
{
    struct tw_pair *images = TW_NEW_ARRAY(arena, product->images_len + cmd->images_len, struct tw_pair);
    uint32_t        len = 0;

    for (uint32_t i = 0; i < product->images_len; i++)
        if (!is_named(cmd->removed_images, cmd->removed_images_len, product->images[i].name))
            images[len++] = product->images[i];
    for (uint32_t i = 0; i < cmd->images_len; i++) {
        uint32_t at = 0;

        while (at < len && !tw_str_eq(images[at].name, cmd->images[i].name))
            at++;
        images[at] = cmd->images[i];
        len += at == len;
    }
    product->images = images;
    product->images_len = product->images_cap = len;
}

static void change_prices(struct tw_product *product, const struct tw_product_change *cmd)
{
    if (cmd->has_price)
        product->price_minor = cmd->price_minor;
    if (cmd->clear_discount_price || cmd->has_discount_price) {
        product->has_discount_price = cmd->has_discount_price;
        product->discount_price_minor = cmd->has_discount_price ? cmd->discount_price_minor : 0;
    }
    product->effective_price_minor = product->has_discount_price ? product->discount_price_minor : product->price_minor;
}

static void change_texts(struct tw_product *product, const struct tw_product_change *cmd)
{
    if (cmd->has_name)
        product->name = cmd->name;
    if (cmd->has_slug)
        product->slug = cmd->slug;
    if (cmd->clear_description || cmd->has_description) {
        product->has_description = cmd->has_description;
        product->description = cmd->has_description ? cmd->description : (struct tw_str){0};
    }
    if (cmd->has_category)
        product->category = cmd->category;
    if (cmd->has_tags) {
        product->tags = cmd->tags;
        product->tags_len = product->tags_cap = cmd->tags_len;
    }
}

/* The product as the command wants it; @p before stays as it is. */
static struct tw_product changed_product(const struct tw_product *before, const struct tw_product_change *cmd,
                                         struct tw_arena *arena)
{
    struct tw_product product = *before;

    change_texts(&product, cmd);
    change_prices(&product, cmd);
    if (cmd->has_images || cmd->removed_images_len)
        change_images(&product, cmd, arena);
    if (cmd->has_is_active)
        product.is_active = cmd->is_active;
    return product;
}

/* The product becomes @p after, which is a change of its version. */
static void put_change(struct tw_decision *d, const struct tw_command *command, const struct tw_product *after)
{
    struct tw_str      changed[CHANGED_MAX];
    uint32_t           count = name_changes(tw_state(d, 0), after, changed);
    struct tw_product *product;

    if (!count)
        return;
    product = product_to_change(d);
    *product = *after;
    count_change(product, command->at_ms);
    emit_changed(d, product, changed, count);
}

/* What leaves the product as it is moves no version and is no event: a merchant's tool may send all it knows. */
static struct tw_outcome decide_change(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product_change *cmd = command->body;
    const struct tw_product        *before = tw_state(d, 0);

    if (!before)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such product");
    struct tw_product after = changed_product(before, cmd, d->arena);
    if (after.has_discount_price && after.discount_price_minor >= after.price_minor)
        return tw_rejected(TW_PROBLEM_PRICE_RULE, "discount_price must be below price");
    if (after.images_len > IMAGES_MAX)
        return tw_rejected(TW_PROBLEM_IMAGES_LIMIT, "the product would have more than 20 images");
    put_change(d, command, &after);
    return tw_succeeded(200, path_of(after.product_id, d->arena));
}

static struct tw_outcome decide_deactivate(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product *before = tw_state(d, 0);

    if (!before)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such product");
    struct tw_product after = *before;
    after.is_active = false;
    put_change(d, command, &after);
    return tw_succeeded(204, path_of(before->product_id, d->arena));
}

/* --- ratings ------------------------------------------------------------------------------------------------------ */

enum { PRODUCT, RATING }; /* entities of a command about a rating */

static int64_t stars_of(const struct tw_product_rating *rating)
{
    return rating ? rating->stars : 0;
}

/* Two decimals, half up. */
static int64_t mean_hundredths(int64_t sum, int64_t count)
{
    return count ? (200 * sum + count) / (2 * count) : 0;
}

/* 0 stars: the rating is withdrawn. A requeued command does not move the time back, as with a change. */
static void put_rating(struct tw_decision *d, const struct tw_command *command, struct tw_uuid member_id, int64_t stars)
{
    const struct tw_product_rating *known = tw_state(d, RATING);
    int64_t                         before = stars_of(known);
    bool                            is_later = !known || known->rated_at_ms < command->at_ms;
    struct tw_product              *product = tw_state_change(d, PRODUCT);
    struct tw_product_rating       *rating = tw_state_change(d, RATING);

    rating->product_id = product->product_id;
    rating->member_id = member_id;
    rating->stars = stars;
    if (is_later)
        rating->rated_at_ms = command->at_ms;
    product->revision++;
    product->rating_sum += stars - before;
    product->review_count += (stars > 0) - (before > 0);
    product->rating_hundredths = mean_hundredths(product->rating_sum, product->review_count);
    tw_emit(d, &tw_product_rated_type,
            &(struct tw_product_rated){
                .product_id = product->product_id,
                .member_id = member_id,
                .has_stars = stars > 0,
                .stars = stars,
                .rating_hundredths = product->rating_hundredths,
                .review_count = product->review_count,
                .version = product->version,
            });
}

static struct tw_outcome decide_rate(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product_rate *cmd = command->body;
    const struct tw_product      *product = tw_state(d, PRODUCT);

    if (!product)
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such product");
    if (!product->is_active)
        return tw_rejected(TW_PROBLEM_GONE, "the product is no longer for sale");
    if (stars_of(tw_state(d, RATING)) != cmd->stars)
        put_rating(d, command, cmd->member_id, cmd->stars);
    return tw_succeeded(200, path_of(cmd->product_id, d->arena));
}

/* Of a product that is no longer for sale, too: it is the member's own. */
static struct tw_outcome decide_withdraw_rating(struct tw_decision *d, const struct tw_command *command)
{
    const struct tw_product_withdraw_rating *cmd = command->body;

    if (!tw_state(d, PRODUCT) || !stars_of(tw_state(d, RATING)))
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no rating of this product by this member");
    put_rating(d, command, cmd->member_id, 0);
    return tw_succeeded(204, path_of(cmd->product_id, d->arena));
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
    [TW_PRODUCT_CHANGE] = decide_change,           [TW_PRODUCT_CREATE] = decide_create,
    [TW_PRODUCT_DEACTIVATE] = decide_deactivate,   [TW_PRODUCT_RATE] = decide_rate,
    [TW_PRODUCT_RECORD_VIEW] = decide_record_view, [TW_PRODUCT_WITHDRAW_RATING] = decide_withdraw_rating,
};

static struct tw_outcome decide(struct tw_decision *d, const struct tw_command *command)
{
    assert(command->type->number < TW_LEN(deciders));
    return deciders[command->type->number](d, command);
}

static size_t keys_of_rating(struct tw_uuid product_id, struct tw_uuid member_id, struct tw_key ret_keys[TW_KEYS_MAX])
{
    ret_keys[PRODUCT] = (struct tw_key){.kind = TW_PRODUCT_ENTITY, .id = product_id};
    ret_keys[RATING] = (struct tw_key){.kind = TW_RATING_ENTITY, .id = product_id, .sub = member_id};
    return 2;
}

static size_t keys_of_product(struct tw_uuid product_id, struct tw_key ret_keys[TW_KEYS_MAX])
{
    ret_keys[PRODUCT] = (struct tw_key){.kind = TW_PRODUCT_ENTITY, .id = product_id};
    return 1;
}

static size_t keys(const struct tw_command *command, struct tw_key ret_keys[TW_KEYS_MAX])
{
    const void *body = command->body;

    switch ((enum tw_product_command)command->type->number) {
    case TW_PRODUCT_CHANGE:
        return keys_of_product(((const struct tw_product_change *)body)->product_id, ret_keys);
    case TW_PRODUCT_CREATE:
        return keys_of_product(((const struct tw_product_create *)body)->product_id, ret_keys);
    case TW_PRODUCT_DEACTIVATE:
        return keys_of_product(((const struct tw_product_deactivate *)body)->product_id, ret_keys);
    case TW_PRODUCT_RATE:
        return keys_of_rating(((const struct tw_product_rate *)body)->product_id,
                              ((const struct tw_product_rate *)body)->member_id, ret_keys);
    case TW_PRODUCT_RECORD_VIEW:
        return keys_of_product(((const struct tw_product_record_view *)body)->product_id, ret_keys);
    case TW_PRODUCT_WITHDRAW_RATING:
        return keys_of_rating(((const struct tw_product_withdraw_rating *)body)->product_id,
                              ((const struct tw_product_withdraw_rating *)body)->member_id, ret_keys);
    }
    return 0;
}

/* Only `create` names the SKU; anything about an id that no SKU has finds nothing. */
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

static const struct tw_type *const states[] = {
    [TW_PRODUCT_ENTITY] = &tw_product_type,
    [TW_RATING_ENTITY] = &tw_product_rating_type,
};

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
