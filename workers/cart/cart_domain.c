/*
 * One function per command. Each looks at the live cart, refuses, and only then changes the state: a refusal leaves
 * nothing behind. Limits are constants of these versions of the commands: no setting reaches a decision.
 */
#include "cart_domain.h"

#include <assert.h>
#include <string.h>

#include "tillwire/cart_keys.h"

enum { LINES_MAX = 100, LINE_QUANTITY_MAX = 999 };

#define CART_LIFE_MS (INT64_C(7) * 24 * 60 * 60 * 1000)

/* What the edge read in the catalogue before it wrote the command. */
struct seen_product {
    struct tw_uuid id;
    struct tw_str  name;
    int64_t        price_minor;
    int64_t        version;
};

/* ---- the cart as it is ---- */

static const struct tw_cart *live_cart(const struct tw_decision *d, const struct tw_command *cmd)
{
    static const struct tw_cart none = {0};
    const struct tw_cart       *cart = tw_state(d, 0);

    return tw_cart_is_live(cart, cmd->clock_ms) ? cart : &none;
}

/* lines_len when there is no such line. */
static uint32_t find_line(const struct tw_cart *cart, struct tw_uuid product_id)
{
    uint32_t i = 0;

    while (i < cart->lines_len && !tw_uuid_eq(cart->lines[i].product_id, product_id))
        i++;
    return i;
}

static bool has_line(const struct tw_cart *cart, struct tw_uuid product_id)
{
    return find_line(cart, product_id) < cart->lines_len;
}

static int64_t quantity_of(const struct tw_cart *cart, struct tw_uuid product_id)
{
    return has_line(cart, product_id) ? cart->lines[find_line(cart, product_id)].quantity : 0;
}

static struct tw_outcome done(int http_status)
{
    return tw_succeeded(http_status, TW_STR("/v1/cart"));
}

/* May the cart hold this many pieces of the product? */
static struct tw_outcome check_limits(const struct tw_cart *cart, struct tw_uuid product_id, int64_t quantity)
{
    if (quantity > LINE_QUANTITY_MAX)
        return tw_rejected(TW_PROBLEM_LINE_QUANTITY_LIMIT, "the line would hold more than 999 pieces");
    if (cart->lines_len >= LINES_MAX && !has_line(cart, product_id))
        return tw_rejected(TW_PROBLEM_CART_LINES_LIMIT, "the cart already holds 100 lines");
    return done(200);
}

/* ---- changing it ---- */

/*
 * A cart that ended starts afresh, exactly as if its copy had been swept already: nobody may notice the sweeping. Its
 * versions begin behind the offset of the record that makes it. Every version of the cart before took a record of its
 * own, so that is more than any of them, and no event with an older version follows a newer one.
 */
static struct tw_cart *change_cart(struct tw_decision *d, const struct tw_command *cmd)
{
    bool            live = live_cart(d, cmd) == tw_state(d, 0);
    struct tw_cart *cart = tw_state_change(d, 0);

    if (!live)
        *cart = (struct tw_cart){.member_id = cmd->key_id, .version = cmd->offset, .created_at_ms = cmd->at_ms};
    return cart;
}

/* Every change by the member moves the cart's end. A requeued command, decided at its original time, never moves it
 * back. */
static void touch(struct tw_cart *cart, int64_t at_ms)
{
    cart->version++;
    if (cart->updated_at_ms < at_ms)
        cart->updated_at_ms = at_ms;
    cart->ends_at_ms = cart->updated_at_ms + CART_LIFE_MS;
}

/* The price of before stays visible until the member acknowledges the change; a price that came back is no change. */
static void reprice_line(struct tw_cart_line *line, int64_t price_minor)
{
    if (price_minor == line->price_minor)
        return;
    if (!line->has_previous_price) {
        line->has_previous_price = true;
        line->previous_price_minor = line->price_minor;
    } else if (line->previous_price_minor == price_minor) {
        line->has_previous_price = false;
        line->previous_price_minor = 0;
    }
    line->price_minor = price_minor;
}

/* A line ignores what is not newer than what it has. Who adds a product saw it for sale. */
static void refresh_line(struct tw_cart_line *line, const struct seen_product *seen)
{
    if (seen->version <= line->product_version)
        return;
    reprice_line(line, seen->price_minor);
    line->product_name = seen->name;
    line->product_version = seen->version;
    line->available = true;
}

static struct tw_cart_line *add_line(struct tw_cart *cart, struct tw_arena *arena, const struct seen_product *seen,
                                     int64_t at_ms)
{
    cart->lines = tw_arena_grow(arena, cart->lines, cart->lines_len, &cart->lines_cap, sizeof(*cart->lines));
    cart->lines[cart->lines_len] = (struct tw_cart_line){
        .product_id = seen->id,
        .product_name = seen->name,
        .price_minor = seen->price_minor,
        .added_at_ms = at_ms,
        .product_version = seen->version,
        .available = true,
    };
    return &cart->lines[cart->lines_len++];
}

static const struct tw_cart_line *put_line(struct tw_cart *cart, struct tw_arena *arena,
                                           const struct seen_product *seen, int64_t quantity, int64_t at_ms)
{
    uint32_t             i = find_line(cart, seen->id);
    struct tw_cart_line *line = i < cart->lines_len ? &cart->lines[i] : add_line(cart, arena, seen, at_ms);

    refresh_line(line, seen);
    line->quantity = quantity;
    touch(cart, at_ms);
    return line;
}

/* The line must be there. A cart without lines goes on until its end: its version counts on. */
static struct tw_outcome remove_line(struct tw_decision *d, const struct tw_command *cmd, struct tw_uuid product_id,
                                     int http_status)
{
    struct tw_cart *cart = change_cart(d, cmd);
    uint32_t        i = find_line(cart, product_id);

    assert(i < cart->lines_len);
    memmove(&cart->lines[i], &cart->lines[i + 1], (cart->lines_len - i - 1) * sizeof(*cart->lines));
    cart->lines_len--;
    touch(cart, cmd->at_ms);

    struct tw_cart_totals totals = tw_cart_totals(cart);
    tw_emit(d, &tw_cart_item_removed_type,
            &(struct tw_cart_item_removed){
                .member_id = cart->member_id,
                .product_id = product_id,
                .version = cart->version,
                .total_items = totals.items,
                .total_price_minor = totals.price_minor,
                .expires_at_ms = cart->ends_at_ms,
            });
    return done(http_status);
}

/* ---- commands ---- */

static struct tw_outcome decide_add_item(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_cart_add_item *body = cmd->body;
    const struct seen_product seen = {body->product_id, body->product_name, body->price_minor, body->product_version};
    const struct tw_cart     *live = live_cart(d, cmd);
    int64_t                   quantity = quantity_of(live, body->product_id) + body->quantity;
    struct tw_outcome         outcome = check_limits(live, body->product_id, quantity);

    if (outcome.status != TW_SUCCEEDED)
        return outcome;

    struct tw_cart            *cart = change_cart(d, cmd);
    const struct tw_cart_line *line = put_line(cart, d->arena, &seen, quantity, cmd->at_ms);
    struct tw_cart_totals      totals = tw_cart_totals(cart);
    tw_emit(d, &tw_cart_item_added_type,
            &(struct tw_cart_item_added){
                .member_id = cart->member_id,
                .product_id = line->product_id,
                .product_name = line->product_name,
                .price_minor = line->price_minor,
                .added = body->quantity,
                .quantity = line->quantity,
                .product_version = line->product_version,
                .version = cart->version,
                .total_items = totals.items,
                .total_price_minor = totals.price_minor,
                .expires_at_ms = cart->ends_at_ms,
            });
    return outcome;
}

/* PUT is idempotent: nothing of what is not there is what was asked for, so it succeeds and changes nothing. */
static struct tw_outcome decide_set_to_nothing(struct tw_decision *d, const struct tw_command *cmd,
                                               struct tw_uuid product_id)
{
    return has_line(live_cart(d, cmd), product_id) ? remove_line(d, cmd, product_id, 200) : done(200);
}

static struct tw_outcome decide_set_item(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_cart_set_item *body = cmd->body;
    const struct seen_product seen = {body->product_id, body->product_name, body->price_minor, body->product_version};

    if (body->quantity == 0)
        return decide_set_to_nothing(d, cmd, body->product_id);
    struct tw_outcome outcome = check_limits(live_cart(d, cmd), body->product_id, body->quantity);
    if (outcome.status != TW_SUCCEEDED)
        return outcome;

    struct tw_cart            *cart = change_cart(d, cmd);
    const struct tw_cart_line *line = put_line(cart, d->arena, &seen, body->quantity, cmd->at_ms);
    struct tw_cart_totals      totals = tw_cart_totals(cart);
    tw_emit(d, &tw_cart_item_set_type,
            &(struct tw_cart_item_set){
                .member_id = cart->member_id,
                .product_id = line->product_id,
                .product_name = line->product_name,
                .price_minor = line->price_minor,
                .quantity = line->quantity,
                .product_version = line->product_version,
                .version = cart->version,
                .total_items = totals.items,
                .total_price_minor = totals.price_minor,
                .expires_at_ms = cart->ends_at_ms,
            });
    return outcome;
}

/* A line that is not there is a 404, as in the shop APIs people know: it tells a client that its view of the cart is
 * stale, and a repeat under the same Idempotency-Key is answered from the ledger anyway. */
static struct tw_outcome decide_remove_item(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_cart_remove_item *body = cmd->body;

    if (!has_line(live_cart(d, cmd), body->product_id))
        return tw_rejected(TW_PROBLEM_NOT_FOUND, "the cart has no line of this product");
    return remove_line(d, cmd, body->product_id, 204);
}

/* An empty cart is cleared already. */
static struct tw_outcome decide_clear(struct tw_decision *d, const struct tw_command *cmd)
{
    if (live_cart(d, cmd)->lines_len == 0)
        return done(204);

    struct tw_cart *cart = change_cart(d, cmd);
    cart->lines_len = 0;
    touch(cart, cmd->at_ms);
    tw_emit(d, &tw_cart_cleared_type,
            &(struct tw_cart_cleared){
                .member_id = cart->member_id,
                .version = cart->version,
                .expires_at_ms = cart->ends_at_ms,
            });
    return done(204);
}

static bool has_changed_price(const struct tw_cart *cart)
{
    for (uint32_t i = 0; i < cart->lines_len; i++)
        if (cart->lines[i].has_previous_price)
            return true;
    return false;
}

/* Prices only: a line that is not for sale stays so, whatever the member thinks of it. */
static struct tw_outcome decide_acknowledge(struct tw_decision *d, const struct tw_command *cmd)
{
    if (!has_changed_price(live_cart(d, cmd)))
        return done(204);

    struct tw_cart *cart = change_cart(d, cmd);
    for (uint32_t i = 0; i < cart->lines_len; i++) {
        cart->lines[i].has_previous_price = false;
        cart->lines[i].previous_price_minor = 0;
    }
    touch(cart, cmd->at_ms);

    struct tw_cart_totals totals = tw_cart_totals(cart);
    tw_emit(d, &tw_cart_acknowledged_type,
            &(struct tw_cart_acknowledged){
                .member_id = cart->member_id,
                .version = cart->version,
                .total_items = totals.items,
                .total_price_minor = totals.price_minor,
                .expires_at_ms = cart->ends_at_ms,
            });
    return done(204);
}

static void emit_repriced(struct tw_decision *d, const struct tw_cart *cart, const struct tw_cart_line *line)
{
    struct tw_cart_totals totals = tw_cart_totals(cart);

    tw_emit(d, &tw_cart_item_repriced_type,
            &(struct tw_cart_item_repriced){
                .member_id = cart->member_id,
                .product_id = line->product_id,
                .product_name = line->product_name,
                .price_minor = line->price_minor,
                .has_previous_price = line->has_previous_price,
                .previous_price_minor = line->previous_price_minor,
                .quantity = line->quantity,
                .available = line->available,
                .product_version = line->product_version,
                .version = cart->version,
                .total_items = totals.items,
                .total_price_minor = totals.price_minor,
                .expires_at_ms = cart->ends_at_ms,
            });
}

/* The catalogue's doing, not the member's: the cart ends when it would have ended. No line, or one that is as new
 * already, is the usual case of a command that comes late or again. */
static struct tw_outcome decide_reprice(struct tw_decision *d, const struct tw_command *cmd)
{
    const struct tw_cart_reprice *body = cmd->body;
    const struct tw_cart         *live = live_cart(d, cmd);
    uint32_t                      i = find_line(live, body->product_id);

    if (i == live->lines_len || body->product_version <= live->lines[i].product_version)
        return done(200);

    struct tw_cart *cart = change_cart(d, cmd);
    assert(i < cart->lines_len);
    struct tw_cart_line *line = &cart->lines[i];
    reprice_line(line, body->price_minor);
    line->product_name = body->product_name;
    line->product_version = body->product_version;
    line->available = body->available;
    cart->version++;
    emit_repriced(d, cart, line);
    return done(200);
}

/* ---- the port ---- */

static struct tw_outcome (*const decisions[])(struct tw_decision *d, const struct tw_command *cmd) = {
    [TW_CART_ACKNOWLEDGE] = decide_acknowledge,
    [TW_CART_ADD_ITEM] = decide_add_item,
    [TW_CART_CLEAR] = decide_clear,
    [TW_CART_REMOVE_ITEM] = decide_remove_item,
    [TW_CART_REPRICE] = decide_reprice,
    [TW_CART_SET_ITEM] = decide_set_item,
};

static struct tw_outcome decide(struct tw_decision *d, const struct tw_command *cmd)
{
    return decisions[cmd->type->number](d, cmd);
}

static struct tw_uuid member_of(const struct tw_command *cmd)
{
    switch ((enum tw_cart_command)cmd->type->number) {
    case TW_CART_ACKNOWLEDGE:
        return ((const struct tw_cart_acknowledge *)cmd->body)->member_id;
    case TW_CART_ADD_ITEM:
        return ((const struct tw_cart_add_item *)cmd->body)->member_id;
    case TW_CART_CLEAR:
        return ((const struct tw_cart_clear *)cmd->body)->member_id;
    case TW_CART_REMOVE_ITEM:
        return ((const struct tw_cart_remove_item *)cmd->body)->member_id;
    case TW_CART_REPRICE:
        return ((const struct tw_cart_reprice *)cmd->body)->member_id;
    case TW_CART_SET_ITEM:
        return ((const struct tw_cart_set_item *)cmd->body)->member_id;
    }
    return tw_uuid_nil;
}

static size_t keys(const struct tw_command *cmd, struct tw_key ret_keys[TW_KEYS_MAX])
{
    ret_keys[0] = (struct tw_key){.kind = 0, .id = member_of(cmd)};
    return 1;
}

static int64_t version(const void *state, int64_t clock_ms)
{
    return tw_cart_is_live(state, clock_ms) ? ((const struct tw_cart *)state)->version : 0;
}

static const struct tw_type *const states[] = {&tw_cart_type};

const struct tw_domain tw_cart_domain = {
    .name = "cart",
    .number = TW_DOMAIN_CART,
    .commands = tw_cart_commands,
    .command_count = TW_LEN(decisions),
    .states = states,
    .state_count = TW_LEN(states),
    .keys = keys,
    .decide = decide,
    .version = version,
};
