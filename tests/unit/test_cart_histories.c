/* Links: tw_histories tw_cart_domain */
/*
 * Random lives of a few carts, command by command, through the turn and the store in memory. After each command the
 * promises of the domain hold; and the log that came about gives the same store and the same events in one batch as one
 * by one, swept or not.
 *
 * A small catalogue changes beside the carts, and a small policy tells them: late, repeated and in any order. Lines may
 * rest on what was true a while ago. When the policy has caught up, every live cart shows what the catalogue has. Every
 * history is the same on every run; who fails prints its number and the offset.
 */
#include "histories.h"
#include "tillwire/cart_keys.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "workers/cart/cart_domain.h"

enum { MEMBERS = 4, PRODUCTS_MAX = 120, STEPS = 800, HISTORIES = 8, ERRANDS_MAX = 8192 };

/* Histories of two kinds: many carts of few products, one cart of many. */
enum { FEW_PRODUCTS, MANY_PRODUCTS };

/* --- a history ---------------------------------------------------------------------------------------------------- */

struct view {
    struct tw_arena       arena;
    const struct tw_cart *carts[MEMBERS];
};

struct product {
    struct tw_str name;
    int64_t       price_minor;
    int64_t       version;
    bool          available;
};

/* A command that the policy still has to write. */
struct errand {
    uint32_t               who;
    struct tw_cart_reprice body;
};

/* What came to pass over all histories; one that has not proves nothing about it. */
struct tally {
    struct tw_tally base;
    size_t          ended, previous_prices, unavailable;
};

struct history {
    struct tw_history base;
    struct tw_uuid    ids[MEMBERS];
    struct view       views[2];
    struct view      *before, *now;
    struct product    products[PRODUCTS_MAX]; /* as they are now … */
    struct product    past[PRODUCTS_MAX];     /* … and one version ago, which an edge may have seen */
    struct errand     errands[ERRANDS_MAX];
    size_t            errand_count;
    uint32_t          who;      /* the last command was about */
    bool              requeued; /* it was decided at its original time */
    struct tally     *tally;
};

static int kind_of(const struct history *history)
{
    return history->base.number % 2;
}

static struct tw_uuid product_id(uint32_t which)
{
    return tw_test_uuid(1000 + which);
}

static void load_view(struct history *history)
{
    struct view     *view = history->before; /* the older one is used again */
    struct tw_entity entities[MEMBERS];
    struct tw_load   load = {.entities = entities, .entity_count = MEMBERS};

    history->before = history->now;
    history->now = view;
    tw_arena_reset(&view->arena);
    for (uint32_t i = 0; i < MEMBERS; i++)
        entities[i] = (struct tw_entity){.key = {.kind = 0, .id = history->ids[i]}};
    tw_history_load(&history->base, &load, &view->arena);
    for (uint32_t i = 0; i < MEMBERS; i++)
        view->carts[i] = entities[i].before;
}

static void history_open(struct history *history, int number, struct tally *tally)
{
    *history = (struct history){.tally = tally};
    tw_history_open(&history->base, number, (uint64_t)number + 5, &tw_cart_domain);
    history->base.live.keeps_events = true;
    for (uint32_t i = 0; i < MEMBERS; i++)
        history->ids[i] = tw_test_id(&history->base.log, i);
    for (uint32_t i = 0; i < PRODUCTS_MAX; i++)
        history->products[i] = history->past[i] = (struct product){TW_STR("Thing"), 100, 1, true};
    history->before = &history->views[0];
    history->now = &history->views[1];
}

static void history_close(struct history *history)
{
    tw_history_close(&history->base);
    tw_arena_done(&history->views[0].arena);
    tw_arena_done(&history->views[1].arena);
}

static uint32_t anybody(struct history *history)
{
    return kind_of(history) == MANY_PRODUCTS && dice(history, 10) > 0 ? 0 : dice(history, MEMBERS);
}

static uint32_t any_product(struct history *history)
{
    return dice(history, kind_of(history) == MANY_PRODUCTS ? PRODUCTS_MAX : 5);
}

/* What an edge saw: mostly what is. It refuses what is not for sale, but may have seen it a moment ago. */
static const struct product *seen_product(struct history *history, uint32_t which)
{
    const struct product *now = &history->products[which], *past = &history->past[which];
    const struct product *seen = dice(history, 4) == 0 ? past : now;

    if (!seen->available)
        seen = past;
    return seen->available ? seen : NULL;
}

static void send(struct history *history, const struct tw_type *type, uint32_t who, const void *body)
{
    uint32_t           number = history->base.command_number++;
    struct tw_envelope envelope =
        tw_test_envelope(&history->base.log, type, tw_test_command_id(&history->base.log, TW_DOMAIN_CART, number));

    envelope.caller = history->ids[who];
    envelope.fingerprint[0] = (uint8_t)number;
    tw_history_requeue_some(&history->base, &envelope);
    if (type != &tw_cart_reprice_type && dice(history, 30) == 0)
        envelope.if_version = dice(history, 2) || !history->now->carts[who] ? 1 : history->now->carts[who]->version;
    tw_test_append(&history->base.log, type, history->ids[who], body, &envelope);
}

/* --- what members do ---------------------------------------------------------------------------------------------- */

static void do_add(struct history *history)
{
    uint32_t                who = anybody(history), which = any_product(history);
    const struct product   *seen = seen_product(history, which);
    struct tw_cart_add_item body;

    if (!seen)
        return;
    body = (struct tw_cart_add_item){
        .member_id = history->ids[who],
        .product_id = product_id(which),
        .quantity = dice(history, 10) ? 1 + dice(history, 9) : 1 + dice(history, 999),
        .product_name = seen->name,
        .price_minor = seen->price_minor,
        .product_version = seen->version,
    };

    send(history, &tw_cart_add_item_type, who, &body);
}

static void do_set(struct history *history)
{
    uint32_t                who = anybody(history), which = any_product(history);
    const struct product   *seen = seen_product(history, which);
    struct tw_cart_set_item body;

    if (!seen)
        return;
    body = (struct tw_cart_set_item){
        .member_id = history->ids[who],
        .product_id = product_id(which),
        .quantity = dice(history, 4) ? 1 + dice(history, 9) : 0,
        .product_name = seen->name,
        .price_minor = seen->price_minor,
        .product_version = seen->version,
    };

    send(history, &tw_cart_set_item_type, who, &body);
}

static void do_remove(struct history *history)
{
    uint32_t                   who = anybody(history);
    struct tw_cart_remove_item body = {history->ids[who], product_id(any_product(history))};

    send(history, &tw_cart_remove_item_type, who, &body);
}

static void do_clear(struct history *history)
{
    uint32_t who = dice(history, MEMBERS);

    send(history, &tw_cart_clear_type, who, &(struct tw_cart_clear){history->ids[who]});
}

static void do_acknowledge(struct history *history)
{
    uint32_t who = anybody(history);

    send(history, &tw_cart_acknowledge_type, who, &(struct tw_cart_acknowledge){history->ids[who]});
}

/* --- what befalls them -------------------------------------------------------------------------------------------- */

static void add_errand(struct history *history, uint32_t who, uint32_t which)
{
    const struct product *product = &history->products[which];

    assert_true(history->errand_count < ERRANDS_MAX);
    history->errands[history->errand_count++] = (struct errand){
        .who = who,
        .body = {.member_id = history->ids[who],
                 .product_id = product_id(which),
                 .product_name = product->name,
                 .price_minor = product->price_minor,
                 .product_version = product->version,
                 .available = product->available},
    };
}

static const struct tw_cart_line *line_of(const struct tw_cart *cart, struct tw_uuid id)
{
    for (uint32_t i = 0; cart && i < cart->lines_len; i++)
        if (tw_uuid_eq(cart->lines[i].product_id, id))
            return &cart->lines[i];
    return NULL;
}

/* The policy finds whoever holds it now, in carts that ended, too. */
static void change_product(struct history *history)
{
    static const int64_t prices[] = {100, 120, 90, 0};
    uint32_t             which = any_product(history);
    struct product      *product = &history->products[which];

    history->past[which] = *product;
    product->version++;
    switch (dice(history, 4)) {
    case 0:
        product->available = !product->available;
        break;
    case 1:
        product->name = tw_arena_printf(&history->base.log.arena, "Thing %d", (int)product->version);
        break;
    default:
        product->price_minor = prices[dice(history, TW_LEN(prices))];
    }
    for (uint32_t i = 0; i < MEMBERS; i++)
        if (line_of(history->now->carts[i], product_id(which)))
            add_errand(history, i, which);
}

/* The policy writes one of its commands, whichever, and may forget that it did. */
static void run_errand(struct history *history)
{
    uint32_t      at;
    struct errand errand;

    if (!history->errand_count)
        return;
    at = dice(history, (uint32_t)history->errand_count);
    errand = history->errands[at];
    if (dice(history, 4) > 0)
        history->errands[at] = history->errands[--history->errand_count];
    send(history, &tw_cart_reprice_type, errand.who, &errand.body);
}

static void do_repeat(struct history *history)
{
    tw_history_repeat(&history->base, tw_history_recent(&history->base));
}

static void pass_time(struct history *history)
{
    history->base.log.now_ms += dice(history, 4) == 0
                                    ? (int64_t)dice(history, 8) * DAY_MS + dice(history, 5) * MINUTE_MS
                                    : (int64_t)dice(history, 20) * MINUTE_MS;
}

/* How often what is done, by kind of history. */
static const struct tw_deed deeds[] = {
    {do_add, {30, 120}},    {do_set, {15, 30}},       {do_remove, {8, 4}},
    {do_clear, {3, 1}},     {do_acknowledge, {5, 4}}, {change_product, {12, 12}},
    {run_errand, {25, 15}}, {do_repeat, {6, 6}},      {pass_time, {8, 1}},
};

/* --- what holds of a cart ----------------------------------------------------------------------------------------- */

static void check_lines(struct history *history, const struct tw_cart *cart)
{
    HOLDS(history, cart->lines_len <= 100);
    for (uint32_t i = 0; i < cart->lines_len; i++) {
        const struct tw_cart_line *line = &cart->lines[i];

        HOLDS(history, line->quantity >= 1 && line->quantity <= 999);
        HOLDS(history, !line->has_previous_price || line->previous_price_minor != line->price_minor);
        HOLDS(history, line->has_previous_price || line->previous_price_minor == 0);
        for (uint32_t k = 0; k < i; k++)
            HOLDS(history, !tw_uuid_eq(cart->lines[k].product_id, line->product_id));
        history->tally->previous_prices += line->has_previous_price;
        history->tally->unavailable += !line->available;
    }
    HOLDS(history, cart->ends_at_ms == cart->updated_at_ms + 7 * DAY_MS);
}

static bool is_same(const struct tw_cart *a, const struct tw_cart *b)
{
    struct tw_buf packed[2] = {0};
    bool          same;

    if (!a || !b)
        return a == b;
    tw_cart_type.pack(a, &packed[0]);
    tw_cart_type.pack(b, &packed[1]);
    same = tw_str_eq(tw_buf_str(&packed[0]), tw_buf_str(&packed[1]));
    tw_buf_done(&packed[0]);
    tw_buf_done(&packed[1]);
    return same;
}

static uint32_t events_of_carts(const struct tw_turn *turn)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < turn->event_count; i++)
        count += turn->events[i].type != &tw_command_outcome_type;
    return count;
}

/* A change of a live cart: by one version; the catalogue's never moves its end; no line goes back to an older product. */
static void check_change(const struct history *history, const struct tw_cart *before, const struct tw_cart *now)
{
    HOLDS(history, now->version == before->version + 1);
    HOLDS(history, now->created_at_ms == before->created_at_ms);
    HOLDS(history, now->updated_at_ms >= before->updated_at_ms);
    HOLDS(history, !tw_history_has_emitted(&history->base, &tw_cart_item_repriced_type) ||
                       now->updated_at_ms == before->updated_at_ms);
    for (uint32_t i = 0; i < before->lines_len; i++) {
        const struct tw_cart_line *old = &before->lines[i], *line = line_of(now, old->product_id);

        HOLDS(history, !line || line->product_version >= old->product_version);
        HOLDS(history, !line || line->added_at_ms == old->added_at_ms);
    }
}

static void check_cart(struct history *history, uint32_t who)
{
    const struct tw_cart *before = history->before->carts[who], *now = history->now->carts[who];
    int64_t               clock_ms = history->base.live.progress.clock_ms;

    if (is_same(before, now))
        return;
    HOLDS(history, who == history->who); /* nobody else's */
    HOLDS(history, now);
    HOLDS(history, tw_cart_is_live(now, clock_ms) || history->requeued); /* decided as if it were a week ago */
    check_lines(history, now);
    if (tw_cart_is_live(before, clock_ms)) {
        check_change(history, before, now);
        return;
    }
    history->tally->ended += before != NULL;
    HOLDS(history, now->version == history->base.live.progress.next_offset && now->lines_len == 1);
    HOLDS(history, !before || now->version > before->version);
    HOLDS(history, !tw_history_has_emitted(&history->base, &tw_cart_item_repriced_type));
}

/* An event for every change, and a change for every event, with the totals of the cart. */
static void check_events(const struct history *history)
{
    const struct tw_turn *turn = &history->base.live.turn;
    const struct tw_cart *now = history->now->carts[history->who];
    bool                  changed = !is_same(history->before->carts[history->who], now);

    HOLDS(history, events_of_carts(turn) == changed);
    for (uint32_t i = 0; i < turn->event_count; i++) {
        struct tw_cart_item_repriced event;
        struct tw_cart_totals        totals;

        if (turn->events[i].type != &tw_cart_item_repriced_type)
            continue;
        totals = tw_cart_totals(now);
        assert_int_equal(tw_cart_item_repriced_type.unpack(turn->events[i].payload, turn->arena, &event, NULL), TW_OK);
        HOLDS(history, event.version == now->version && event.expires_at_ms == now->ends_at_ms);
        HOLDS(history, event.total_items == totals.items && event.total_price_minor == totals.price_minor);
    }
}

/* --- one history -------------------------------------------------------------------------------------------------- */

/* What the policy makes of a line that came: it looks the product up. */
static void look_up(struct history *history)
{
    const struct tw_cart *cart = history->now->carts[history->who];

    if (!tw_history_has_emitted(&history->base, &tw_cart_item_added_type) &&
        !tw_history_has_emitted(&history->base, &tw_cart_item_set_type))
        return;
    for (uint32_t which = 0; which < PRODUCTS_MAX; which++) {
        const struct tw_cart_line *line = line_of(cart, product_id(which));

        if (line && line->product_version < history->products[which].version)
            add_errand(history, history->who, which);
    }
}

/* Carts are repriced by the thousand: nobody is told how each command ended. */
static void check_quiet(const struct history *history)
{
    const struct tw_turn *turn = &history->base.live.turn;

    for (uint32_t i = 0; i < turn->event_count; i++) {
        struct tw_command_outcome outcome;

        if (turn->events[i].type != &tw_command_outcome_type)
            continue;
        assert_int_equal(tw_command_outcome_type.unpack(turn->events[i].payload, turn->arena, &outcome, NULL), TW_OK);
        HOLDS(history, !tw_str_is(outcome.command_type, "cart.reprice"));
    }
}

/* Whose cart a record is about, and as of when; repeats included. */
static void read_record(struct history *history, const struct tw_record *record)
{
    struct tw_envelope envelope;
    struct tw_uuid     id;

    assert_int_equal(tw_envelope_read(record, &envelope, NULL), TW_OK);
    assert_true(tw_uuid_parse(record->key, &id));
    history->requeued = envelope.original_ms >= 0;
    history->who = 0;
    while (!tw_uuid_eq(history->ids[history->who], id))
        history->who++;
}

static void fold_what_is_new(struct history *history)
{
    while (tw_history_step(&history->base)) {
        read_record(history, &history->base.live.turn.records[0]);
        load_view(history);
        for (uint32_t i = 0; i < MEMBERS; i++)
            check_cart(history, i);
        check_events(history);
        check_quiet(history);
        tw_tally_step(&history->tally->base, &history->base);
        look_up(history);
    }
}

/* Whatever came late, twice or in another order: a line shows the product as it is. */
static void check_that_carts_follow_products(struct history *history)
{
    for (uint32_t who = 0; who < MEMBERS; who++) {
        const struct tw_cart *cart = history->now->carts[who];

        if (!tw_cart_is_live(cart, history->base.live.progress.clock_ms))
            continue;
        for (uint32_t which = 0; which < PRODUCTS_MAX; which++) {
            const struct product      *product = &history->products[which];
            const struct tw_cart_line *line = line_of(cart, product_id(which));

            HOLDS(history, !line || line->price_minor == product->price_minor);
            HOLDS(history, !line || tw_str_eq(line->product_name, product->name));
            HOLDS(history, !line || line->available == product->available);
        }
    }
}

static void live(struct history *history)
{
    for (int i = 0; i < STEPS; i++) {
        tw_history_choose(&history->base, deeds, TW_LEN(deeds), kind_of(history))->run(history);
        fold_what_is_new(history);
    }
    while (history->errand_count) {
        run_errand(history);
        fold_what_is_new(history);
    }
    check_that_carts_follow_products(history);
}

/* Every rule that refuses was met, and every command did something. */
static void assert_all_met(const struct tally *tally)
{
    static const enum tw_problem problems[] = {
        TW_PROBLEM_NOT_FOUND,
        TW_PROBLEM_LINE_QUANTITY_LIMIT,
        TW_PROBLEM_CART_LINES_LIMIT,
        TW_PROBLEM_PRECONDITION_FAILED,
    };

    tw_tally_assert_commands(&tally->base, &tw_cart_domain);
    assert_true(tally->base.events[tw_cart_item_repriced_type.number] > 50);
    assert_true(tally->base.events[tw_cart_acknowledged_type.number] > 5);
    assert_true(tally->base.events[tw_cart_cleared_type.number] > 5);
    assert_true(tally->ended > 20 && tally->previous_prices > 50 && tally->unavailable > 50);
    tw_tally_assert_problems(&tally->base, problems, TW_LEN(problems));
}

static void histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch(void **state)
{
    static struct history history;
    struct tally          tally = {0};

    (void)state;
    for (int number = 0; number < HISTORIES; number++) {
        history_open(&history, number, &tally);
        live(&history);
        tw_history_assert_same_in_any_batches(&history.base);
        history_close(&history);
    }
    assert_all_met(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories__keep_every_promise_after_each_command_and_give_one_store_for_any_batch),
    };

    return cmocka_run_group_tests_name("cart_histories", tests, NULL, NULL);
}
