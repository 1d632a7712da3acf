/* Links: tw_cart_reprice */
/*
 * The policy that reprices carts, between a fake catalogue, fake sets of holders and a fake way out: which commands follow
 * from which events, in which steps, and what a crash would begin again.
 */
#include "workers/cart/cart_reprice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"
#include "unit.h"

enum { SETS = 3, SERVERS = 2, HOLDERS_MAX = 1000, SENT_MAX = 20000 };

/* --- fakes -------------------------------------------------------------------------------------------------------- */

/* Members are numbered through; member n is in set n % SETS and holds every product. Set n is on server n % SERVERS. */
struct world {
    void                       *reprice;
    struct tw_arena             arena;
    struct tw_buf               pack;
    uint32_t                    holders;
    struct tw_catalogue_product products[4];
    size_t                      product_count;
    bool                        away[SERVERS], catalogue_away;
    uint8_t                     bad_product; /* number of one whose sets are none */
    uint64_t                    salt[SERVERS];
    size_t                      pages, look_ups, looked_up;
    int                         closed;
    int32_t                     partition; /* of the next event */
    int64_t                     next_offset;
    int64_t                     now_us;
};

struct sent {
    struct tw_uuid         member_id;
    struct tw_cart_reprice body;
    char                   name[32];
    char                   cause[32];
    int64_t                time_ms;
};

struct tw_policy_out {
    struct sent sent[SENT_MAX];
    size_t      count;
};
static struct tw_policy_out out;

void tw_policy_send(struct tw_policy_out *to, const struct tw_policy_command *command)
{
    const struct tw_cart_reprice *body = command->body;
    struct sent                  *sent = &to->sent[to->count++];

    assert_true(to->count <= SENT_MAX);
    assert_ptr_equal(command->type, &tw_cart_reprice_type);
    assert_int_equal(command->domain, TW_DOMAIN_CART);
    assert_true(tw_uuid_eq(command->aggregate, body->member_id));
    assert_true(tw_uuid_eq(command->caller, body->member_id));
    *sent = (struct sent){.member_id = body->member_id, .body = *body, .time_ms = command->cause->time_ms};
    snprintf(sent->name, sizeof(sent->name), "%.*s", TW_STR_ARG(body->product_name));
    snprintf(sent->cause, sizeof(sent->cause), "%.*s", TW_STR_ARG(command->cause->id));
}

static struct tw_uuid member_id(uint32_t n)
{
    struct tw_uuid id = {{0x3e, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};

    return id;
}

static struct tw_uuid product_id(uint32_t n)
{
    return (struct tw_uuid){{0x51, (uint8_t)(n >> 8), (uint8_t)n}};
}

/* A cursor is the place in the set plus what the server's errors salted: one of before an error is refused. */
static enum tw_rc fake_page(void *self, int32_t partition, struct tw_uuid product, uint64_t cursor, size_t count,
                            struct tw_arena *arena, struct tw_uuid **ret_members, size_t *ret_count,
                            uint64_t *ret_cursor, struct tw_err *reterr)
{
    struct world   *world = self;
    struct tw_uuid *members = TW_NEW_ARRAY(arena, count, struct tw_uuid);
    size_t          found = 0;
    uint32_t        n = (uint32_t)partition;
    uint64_t       *salt = &world->salt[partition % SERVERS];

    assert_in_range(partition, 0, SETS - 1);
    assert_in_range(count, 1, 100);
    world->pages++;
    if (world->away[partition % SERVERS]) {
        *salt += 1000000;
        return tw_fail(reterr, TW_UNREACHED, "fake", 0, "server %d is away", partition % SERVERS);
    }
    if (world->bad_product && tw_uuid_eq(product, product_id(world->bad_product)))
        return tw_fail(reterr, TW_BROKEN, "fake", 0, "no set");
    if (cursor) {
        assert_in_range(cursor - *salt, 1, HOLDERS_MAX);
        n = (uint32_t)(cursor - *salt);
    }
    for (; n < world->holders && found < count; n += SETS)
        members[found++] = member_id(n);
    *ret_members = members;
    *ret_count = found;
    *ret_cursor = n < world->holders ? n + *salt : 0;
    return TW_OK;
}

static enum tw_rc fake_look_up(void *self, const struct tw_uuid *ids, size_t count, struct tw_arena *arena,
                               struct tw_catalogue_product **ret_products, size_t *ret_count, struct tw_err *reterr)
{
    struct world *world = self;
    size_t        found = 0;

    world->look_ups++;
    world->looked_up += count;
    if (world->catalogue_away)
        return tw_fail(reterr, TW_UNREACHED, "fake", 0, "away");
    *ret_products = TW_NEW_ARRAY(arena, count, struct tw_catalogue_product);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < world->product_count; k++)
            if (tw_uuid_eq(ids[i], world->products[k].product_id))
                (*ret_products)[found++] = world->products[k];
    *ret_count = found;
    return TW_OK;
}

static void fake_close(void *self)
{
    ((struct world *)self)->closed++;
}

static int setup(void **state)
{
    struct world     *world = tw_alloc_zeroed(1, sizeof(*world));
    struct tw_holders holders = {
        .partition_count = SETS, .server_count = SERVERS, .page = fake_page, .close = fake_close, .self = world};
    struct tw_catalogue catalogue = {.look_up = fake_look_up, .close = fake_close, .self = world};

    world->now_us = 1;
    world->reprice = tw_reprice_new(&holders, &catalogue);
    out.count = 0;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    tw_reprice_free(world->reprice);
    assert_int_equal(world->closed, 2);
    tw_arena_done(&world->arena);
    tw_buf_done(&world->pack);
    free(world);
    return 0;
}

/* --- given, when -------------------------------------------------------------------------------------------------- */

/* An event of its domain; its texts are gone when the policy was told. */
static void happens(struct world *world, enum tw_domain_number domain, const struct tw_type *type, const void *payload)
{
    char                   id[32];
    struct tw_policy_event event = {.domain = domain, .partition = world->partition, .offset = world->next_offset++};
    struct tw_err          err;

    snprintf(id, sizeof(id), "event %d", (int)event.offset);
    event.cause = (struct tw_policy_cause){.id = tw_str_of(id), .time_ms = 1000 + event.offset};
    event.type = tw_str_of(type->ce_type);
    tw_buf_clear(&world->pack);
    type->pack(payload, &world->pack);
    event.payload = tw_buf_str(&world->pack);
    assert_rc(tw_reprice_react(world->reprice, &event, &world->arena, &out, &err), TW_OK, err);
    tw_arena_reset(&world->arena);
    memset(id, '?', sizeof(id));
    memset((char *)world->pack.ptr, '?', world->pack.len);
}

static void product_changes_in(struct world *world, uint32_t n, int64_t price_minor, int64_t version, const char *field)
{
    struct tw_str             fields[] = {TW_STR("slug"), tw_str_of(field)};
    struct tw_product_changed changed = {
        .product_id = product_id(n),
        .sku = TW_STR("S"),
        .name = TW_STR("Shirt"),
        .price_minor = 99999,
        .effective_price_minor = price_minor,
        .category = TW_STR("c"),
        .is_active = price_minor != 0,
        .version = version,
        .changed = fields,
        .changed_len = TW_LEN(fields),
    };

    happens(world, TW_DOMAIN_PRODUCT, &tw_product_changed_type, &changed);
}

static void product_changes(struct world *world, uint32_t n, int64_t price_minor, int64_t version)
{
    product_changes_in(world, n, price_minor, version, "effective_price");
}

static void line_is_added(struct world *world, uint32_t member, uint32_t n, int64_t version)
{
    struct tw_cart_item_added added = {
        .member_id = member_id(member),
        .product_id = product_id(n),
        .product_name = TW_STR("Shirt"),
        .added = 1,
        .quantity = 1,
        .product_version = version,
        .version = 1,
    };

    happens(world, TW_DOMAIN_CART, &tw_cart_item_added_type, &added);
}

static void line_is_set(struct world *world, uint32_t member, uint32_t n, int64_t version)
{
    struct tw_cart_item_set set = {
        .member_id = member_id(member),
        .product_id = product_id(n),
        .product_name = TW_STR("Shirt"),
        .quantity = 1,
        .product_version = version,
        .version = 1,
    };

    happens(world, TW_DOMAIN_CART, &tw_cart_item_set_type, &set);
}

static void catalogue_has(struct world *world, uint32_t n, int64_t price_minor, int64_t version)
{
    world->products[world->product_count++] = (struct tw_catalogue_product){
        .product_id = product_id(n),
        .name = TW_STR("Shirt now"),
        .price_minor = price_minor,
        .version = version,
        .available = true,
    };
}

static enum tw_rc spread(struct world *world, size_t max)
{
    enum tw_rc rc = tw_reprice_spread(world->reprice, max, &world->arena, &out, NULL);

    tw_arena_reset(&world->arena);
    return rc;
}

static enum tw_rc step(struct world *world)
{
    enum tw_rc rc = tw_reprice_settle(world->reprice, world->now_us, &world->arena, &out, NULL);

    tw_arena_reset(&world->arena);
    return rc;
}

/* What has gathered has its time, and one step of it. */
static enum tw_rc settle(struct world *world)
{
    enum tw_rc rc = step(world);

    world->now_us += TW_REPRICE_MANY_US;
    return rc == TW_OK ? step(world) : rc;
}

static void spread_all(struct world *world)
{
    while (tw_reprice_is_spreading(world->reprice))
        assert_int_equal(spread(world, 50), TW_OK);
}

/* --- then --------------------------------------------------------------------------------------------------------- */

/* How often @p member got version @p version of product @p n. */
static int times_sent(uint32_t member, uint32_t n, int64_t version)
{
    int times = 0;

    for (size_t i = 0; i < out.count; i++)
        times += tw_uuid_eq(out.sent[i].member_id, member_id(member)) &&
                 tw_uuid_eq(out.sent[i].body.product_id, product_id(n)) && out.sent[i].body.product_version == version;
    return times;
}

static bool is_full(const struct world *world, enum tw_domain_number domain)
{
    return tw_reprice_is_full(world->reprice, domain);
}

static int64_t oldest(const struct world *world, enum tw_domain_number domain)
{
    return tw_reprice_oldest(world->reprice, domain, 0);
}

/* --- a product changes -------------------------------------------------------------------------------------------- */

static void a_change__reaches_every_cart_that_holds_the_product(void **state)
{
    struct world *world = *state;

    world->holders = 250;
    product_changes(world, 1, 14900, 7);
    assert_int_equal(out.count, 0);
    spread_all(world);
    assert_int_equal(out.count, 250);
    for (uint32_t i = 0; i < 250; i++)
        assert_int_equal(times_sent(i, 1, 7), 1);
    assert_int_equal(out.sent[0].body.price_minor, 14900);
    assert_true(out.sent[0].body.available);
    assert_string_equal(out.sent[0].name, "Shirt");
    assert_string_equal(out.sent[249].cause, "event 0");
    assert_int_equal(out.sent[249].time_ms, 1000);
}

static void a_product_that_is_no_longer_for_sale__is_told_as_such(void **state)
{
    struct world *world = *state;

    world->holders = 1;
    product_changes(world, 1, 0, 7);
    spread_all(world);
    assert_int_equal(out.count, 1);
    assert_false(out.sent[0].body.available);
}

static void a_change__of_what_no_cart_shows_is_passed_over(void **state)
{
    static const char *const shown[] = {"name", "effective_price", "is_active"};
    struct world            *world = *state;

    product_changes_in(world, 1, 14900, 7, "description");
    product_changes_in(world, 1, 14900, 8, "price");
    assert_false(tw_reprice_is_spreading(world->reprice));
    for (uint8_t i = 0; i < TW_LEN(shown); i++) {
        product_changes_in(world, i, 14900, 9, shown[i]);
        assert_true(tw_reprice_is_spreading(world->reprice));
        spread_all(world);
    }
}

static void a_product_in_no_cart__is_done_in_one_step(void **state)
{
    struct world *world = *state;

    product_changes(world, 1, 14900, 7);
    assert_int_equal(spread(world, 1), TW_OK);
    assert_int_equal(world->pages, SETS);
    assert_false(tw_reprice_is_spreading(world->reprice));
}

static void a_step__sends_about_what_it_may(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 14900, 7);
    for (size_t step = 1; step <= 10; step++) {
        assert_int_equal(spread(world, 30), TW_OK);
        assert_int_equal(out.count, 30 * step);
    }
}

static void products__take_turns(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 300), TW_OK);
    product_changes(world, 2, 100, 3);
    assert_int_equal(spread(world, 200), TW_OK);
    int of_second = 0;
    for (size_t i = 0; i < out.count; i++)
        of_second += tw_uuid_eq(out.sent[i].body.product_id, product_id(2));
    assert_int_equal(of_second, 100);
    spread_all(world);
    for (uint32_t i = 0; i < 900; i++)
        assert_true(times_sent(i, 1, 7) == 1 && times_sent(i, 2, 3) == 1);
}

static void products__take_turns_over_steps_of_one_page(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 100, 7);
    product_changes(world, 2, 100, 3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(spread(world, 100), TW_OK);
    assert_true(times_sent(0, 1, 7) == 1 && times_sent(0, 2, 3) == 1);
}

static void a_newer_change__takes_the_place_of_an_older_one_that_is_not_through(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 100), TW_OK);
    product_changes(world, 1, 200, 8);
    spread_all(world);
    assert_in_range(out.count, 700, 900);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(times_sent(i, 1, 8) >= 1);
    for (size_t i = 100; i < out.count; i++)
        assert_string_equal(out.sent[i].cause, "event 1");
}

static void a_product_that_changes_all_the_time__still_reaches_every_cart(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    for (int64_t version = 2; version < 14; version++) {
        product_changes(world, 1, 100, version);
        assert_int_equal(spread(world, 100), TW_OK);
    }
    for (uint32_t i = 0; i < 600; i++) {
        int times = 0;
        for (int64_t version = 2; version < 14; version++)
            times += times_sent(i, 1, version);
        assert_true(times >= 1);
    }
}

static void an_older_change_that_comes_again__changes_nothing(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 200, 8);
    product_changes(world, 1, 100, 7);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 0);
    spread_all(world);
    assert_int_equal(out.count, 600);
    assert_int_equal(times_sent(5, 1, 7), 0);
}

/* The store lost its tail: what was not in its sets when they were read may be there now. */
static void a_change_that_comes_again_while_it_is_spread__is_spread_once_more(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 200, 8);
    assert_int_equal(spread(world, 450), TW_OK);
    out.count = 0;
    product_changes(world, 1, 200, 8);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 1);
    spread_all(world);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(times_sent(i, 1, 8) >= 1);
}

static void a_server_that_is_away__costs_no_cart(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    product_changes(world, 2, 100, 3);
    assert_int_equal(spread(world, 300), TW_OK);
    world->away[0] = world->away[1] = true;
    assert_int_equal(spread(world, 100), TW_UNREACHED);
    assert_int_equal(spread(world, 100), TW_UNREACHED);
    assert_true(tw_reprice_is_spreading(world->reprice));
    world->away[0] = world->away[1] = false;
    spread_all(world);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(times_sent(i, 1, 7) >= 1 && times_sent(i, 2, 3) >= 1);
}

static void a_server_that_is_away__is_asked_once_in_a_step_and_holds_up_its_own_sets_only(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 350), TW_OK); /* in the middle of set 1 */
    product_changes(world, 2, 100, 3);
    world->away[1] = true;
    world->pages = out.count = 0;
    assert_int_equal(spread(world, 200), TW_UNREACHED);
    assert_int_equal(spread(world, 200), TW_UNREACHED);
    assert_int_equal(out.count, 300); /* all of the other product's set 0 */
    assert_int_equal(world->pages, 3 + 2);
    for (int i = 0; i < 10; i++)
        assert_int_equal(spread(world, 200), TW_UNREACHED);
    assert_int_equal(out.count, 300); /* nobody is told twice */
    assert_int_equal(world->pages, 5 + 10);
    world->away[1] = false;
    spread_all(world);
    for (uint32_t i = 0; i < 900; i++)
        assert_true(i % SETS == 0 ? times_sent(i, 2, 3) == 1 : times_sent(i, 1, 7) >= 1);
}

static void a_server_that_is_away__costs_no_progress_on_another_one(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 350), TW_OK); /* in the middle of set 1 */
    product_changes(world, 2, 100, 3);
    assert_int_equal(spread(world, 200), TW_OK); /* a page each */
    world->away[1] = true;
    assert_int_equal(spread(world, 200), TW_UNREACHED);
    world->away[1] = false;
    spread_all(world);
    for (uint32_t i = 0; i < 900; i += SETS)
        assert_int_equal(times_sent(i, 2, 3), 1);
}

static void a_set_that_cannot_be_read__holds_up_its_product_only(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    for (uint8_t n = 1; n <= 3; n++)
        product_changes(world, n, 100, 7);
    assert_int_equal(spread(world, 300), TW_OK);
    world->bad_product = 2;
    assert_int_equal(spread(world, 200), TW_BROKEN);
    while (out.count < 1900)
        assert_int_equal(spread(world, 100), TW_BROKEN); /* also where others fill the step */
    for (uint32_t i = 0; i < 900; i++)
        assert_true(times_sent(i, 1, 7) == 1 && times_sent(i, 3, 7) == 1);
    assert_int_equal(spread(world, 100), TW_BROKEN);
    assert_int_equal(out.count, 1900);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 1);
    world->bad_product = 0;
    spread_all(world);
    for (uint32_t i = 0; i < 900; i++)
        assert_true(times_sent(i, 2, 7) >= 1);
}

static void many_empty_products__do_not_hold_up_the_events_behind(void **state)
{
    struct world *world = *state;

    for (uint8_t i = 0; i < 200; i++)
        product_changes(world, i, 100, 7);
    assert_int_equal(spread(world, 10), TW_OK);
    assert_int_equal(world->pages, 20);
    assert_true(tw_reprice_is_spreading(world->reprice));
}

/* --- a line comes into a cart ------------------------------------------------------------------------------------- */

static void a_line_older_than_the_catalogue__is_repriced(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    catalogue_has(world, 2, 500, 3);
    line_is_added(world, 1, 1, 7);
    line_is_set(world, 2, 1, 6);
    line_is_added(world, 3, 1, 8);
    line_is_added(world, 4, 2, 3);
    line_is_added(world, 5, 2, 4);
    line_is_added(world, 6, 3, 1);
    assert_int_equal(out.count, 0);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 2);
    assert_true(times_sent(1, 1, 8) == 1 && times_sent(2, 1, 8) == 1);
    assert_int_equal(out.sent[0].body.price_minor, 14900);
    assert_string_equal(out.sent[0].name, "Shirt now");
    assert_string_equal(out.sent[0].cause, "event 0");
    assert_string_equal(out.sent[1].cause, "event 1");
}

static void a_line__waits_a_moment_for_others(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    line_is_added(world, 1, 1, 7);
    assert_int_equal(step(world), TW_OK);
    world->now_us += TW_REPRICE_FEW_US - 1;
    line_is_added(world, 2, 1, 7);
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(world->look_ups, 0);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), 0);
    world->now_us++;
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(world->looked_up, 1);
    assert_int_equal(out.count, 2);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
}

static void many_lines__gather_for_longer(void **state)
{
    struct world *world = *state;

    for (uint32_t i = 0; i < TW_REPRICE_FEW_LINES; i++)
        line_is_added(world, i, 1, 7);
    assert_int_equal(step(world), TW_OK);
    world->now_us += TW_REPRICE_MANY_US - 1;
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(world->look_ups, 0);
    world->now_us++;
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(world->look_ups, 1);
}

/* An answer of before its event says nothing of a line: the product may have changed since, and the scan of that change
 * may have been there before the line was. */
static void a_line__is_never_compared_with_an_answer_of_before_its_event(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 7);
    line_is_added(world, 1, 1, 7);
    assert_int_equal(settle(world), TW_OK);
    world->products[0].version = 8;
    line_is_added(world, 2, 1, 7);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 1);
    assert_int_equal(times_sent(2, 1, 8), 1);
}

static void as_many_lines_as_it_may_gather__do_not_wait(void **state)
{
    struct world *world = *state;

    for (uint32_t i = 0; i < TW_REPRICE_LINES_MAX / 2; i++) {
        assert_int_equal(step(world), TW_OK);
        assert_int_equal(world->look_ups, 0);
        line_is_added(world, i, 1, 1);
    }
    assert_int_equal(step(world), TW_OK);
    assert_true(world->look_ups > 0);
}

static void many_products__are_several_questions(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    catalogue_has(world, 450, 14900, 8);
    for (uint32_t i = 0; i < 450; i++) {
        line_is_added(world, 1, i + 1, 7);
        line_is_added(world, 2, i + 1, 7);
    }
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(world->look_ups, 3);
    assert_int_equal(world->looked_up, 450);
    assert_int_equal(out.count, 4);
    assert_int_equal(times_sent(1, 1, 8) + times_sent(2, 1, 8) + times_sent(1, 450, 8) + times_sent(2, 450, 8), 4);
}

/* More than a step's worth of commands: what they leave of the round waits for the pace, and is neither lost nor passed. */
static void a_round_with_many_commands__goes_on_in_the_next_step(void **state)
{
    struct world *world = *state;

    for (uint32_t i = 0; i < 4; i++)
        catalogue_has(world, 200 * i, 14900, 8);
    for (uint32_t n = 0; n < 800; n++)
        line_is_added(world, 4000, n, 7);
    for (uint32_t i = 0; i < 4000; i++)
        line_is_added(world, i, 200 * (i % 4), 7);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 1000);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), 0);
    world->catalogue_away = true;
    assert_int_equal(step(world), TW_UNREACHED);
    world->catalogue_away = false;
    line_is_added(world, 5000, 0, 7);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(step(world), TW_OK);
        world->now_us += TW_REPRICE_MANY_US;
    }
    assert_int_equal(out.count, 4004);
    for (uint32_t i = 0; i < 4000; i++)
        assert_int_equal(times_sent(i, 200 * (i % 4), 8), 1);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), 4800);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(times_sent(5000, 0, 8), 1);
}

static void a_round_of_one_product_in_many_carts__sends_no_more_in_a_step(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    for (uint32_t i = 0; i < 2500; i++)
        line_is_added(world, i, 1, 7);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 1000);
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(out.count, 2000);
    assert_int_equal(step(world), TW_OK);
    assert_int_equal(out.count, 2500);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
}

static void lines_of_a_round__are_one_question_with_each_product_once(void **state)
{
    struct world *world = *state;

    for (uint32_t i = 0; i < 300; i++)
        line_is_added(world, i, (uint8_t)(i % 7), 1);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(world->look_ups, 1);
    assert_int_equal(world->looked_up, 7);
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(world->look_ups, 1);
}

static void a_line_that_came_many_times__is_repriced_once_for_its_newest_event(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    catalogue_has(world, 2, 500, 8);
    for (int i = 0; i < 10; i++) {
        line_is_set(world, 1, 1, 7);
        line_is_set(world, 2, 1, 7);
        line_is_set(world, 1, 2, 7);
    }
    line_is_set(world, 2, 1, 8); /* it follows already */
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 2);
    assert_true(times_sent(1, 1, 8) == 1 && times_sent(1, 2, 8) == 1);
    assert_true(!strcmp(out.sent[0].cause, "event 27") || !strcmp(out.sent[1].cause, "event 27"));
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
}

static void a_catalogue_that_is_away__is_asked_again(void **state)
{
    struct world *world = *state;

    catalogue_has(world, 1, 14900, 8);
    line_is_added(world, 1, 1, 7);
    world->catalogue_away = true;
    assert_int_equal(settle(world), TW_UNREACHED);
    line_is_added(world, 2, 1, 7);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), 0);
    world->catalogue_away = false;
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(out.count, 2);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
}

/* --- how far it is ------------------------------------------------------------------------------------------------ */

static void an_event_that_is_not_through__holds_back_its_partition_only(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    product_changes(world, 2, 100, 7);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 0);
    assert_int_equal(tw_reprice_oldest(world->reprice, TW_DOMAIN_PRODUCT, 1), INT64_MAX);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
    product_changes(world, 1, 100, 8); /* the first one need not come again */
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 1);
    spread_all(world);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), INT64_MAX);
}

/* --- the partition goes and comes --------------------------------------------------------------------------------- */

static void a_partition_that_comes_back__goes_on_where_it_was(void **state)
{
    struct world *world = *state;

    world->holders = 900;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 450), TW_OK);
    tw_reprice_suspend(world->reprice, TW_DOMAIN_PRODUCT, 0);
    assert_false(tw_reprice_is_spreading(world->reprice));
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), INT64_MAX);
    assert_int_equal(spread(world, 100), TW_OK);
    assert_true(out.count == 450);
    world->next_offset = 0;
    product_changes(world, 1, 100, 7);
    assert_true(tw_reprice_is_spreading(world->reprice));
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 0);
    spread_all(world);
    assert_int_equal(out.count, 900);
    for (uint32_t i = 0; i < 900; i++)
        assert_int_equal(times_sent(i, 1, 7), 1);
}

static void a_partition_that_comes_back__with_the_change_told_once_more_begins_again(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 450), TW_OK);
    tw_reprice_suspend(world->reprice, TW_DOMAIN_PRODUCT, 0);
    world->next_offset = 0;
    product_changes(world, 1, 100, 7);
    out.count = 0;
    product_changes(world, 1, 100, 7);
    spread_all(world);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(times_sent(i, 1, 7) >= 1);
}

static void a_partition_that_comes_back__without_the_event_has_it_done_by_another(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 450), TW_OK);
    tw_reprice_suspend(world->reprice, TW_DOMAIN_PRODUCT, 0);
    out.count = 0;
    product_changes(world, 2, 100, 7);
    assert_int_equal(oldest(world, TW_DOMAIN_PRODUCT), 1);
    product_changes(world, 1, 100, 7); /* told once more, later: nothing is known of it any more */
    spread_all(world);
    assert_int_equal(out.count, 1200);
}

static void a_partition_that_does_not_come_back__is_forgotten(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 450), TW_OK);
    tw_reprice_suspend(world->reprice, TW_DOMAIN_PRODUCT, 0);
    tw_reprice_forget(world->reprice, TW_DOMAIN_PRODUCT, 0);
    world->next_offset = 0;
    out.count = 0;
    product_changes(world, 1, 100, 7);
    spread_all(world);
    assert_int_equal(out.count, 600);
}

static void a_server_that_was_away_meanwhile__has_the_set_read_from_its_beginning(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    product_changes(world, 1, 100, 7);
    assert_int_equal(spread(world, 100), TW_OK);
    tw_reprice_suspend(world->reprice, TW_DOMAIN_PRODUCT, 0);
    world->partition = 1;
    product_changes(world, 2, 100, 7);
    world->away[0] = true;
    assert_int_equal(spread(world, 100), TW_UNREACHED);
    world->away[0] = false;
    world->partition = 0;
    world->next_offset = 0;
    out.count = 0;
    product_changes(world, 1, 100, 7);
    spread_all(world);
    for (uint32_t i = 0; i < 600; i++)
        assert_int_equal(times_sent(i, 1, 7), 1);
}

static void what_is_forgotten__is_not_sent(void **state)
{
    struct world *world = *state;

    world->holders = 600;
    catalogue_has(world, 1, 100, 8);
    product_changes(world, 1, 100, 8);
    product_changes(world, 2, 100, 8);
    line_is_added(world, 1, 1, 7);
    assert_int_equal(spread(world, 150), TW_OK);
    out.count = 0;
    tw_reprice_forget(world->reprice, TW_DOMAIN_PRODUCT, 1);
    tw_reprice_forget(world->reprice, TW_DOMAIN_CART, 1);
    assert_true(tw_reprice_is_spreading(world->reprice));
    assert_int_equal(oldest(world, TW_DOMAIN_CART), 2);
    tw_reprice_forget(world->reprice, TW_DOMAIN_PRODUCT, 0);
    tw_reprice_forget(world->reprice, TW_DOMAIN_CART, 0);
    assert_int_equal(oldest(world, TW_DOMAIN_CART), INT64_MAX);
    assert_false(tw_reprice_is_spreading(world->reprice));
    assert_int_equal(settle(world), TW_OK);
    assert_int_equal(spread(world, 100), TW_OK);
    assert_int_equal(out.count, 0);
}

/* Those that are being looked up count like those that gather. */
static void too_much_to_keep_in_mind__makes_it_full(void **state)
{
    struct world *world = *state;

    world->catalogue_away = true;
    for (uint32_t i = 0; i < TW_REPRICE_LINES_MAX; i++) {
        assert_false(is_full(world, TW_DOMAIN_CART));
        line_is_added(world, i, 1, 1);
        if (i == TW_REPRICE_LINES_MAX / 2)
            assert_int_equal(step(world), TW_UNREACHED);
    }
    assert_true(is_full(world, TW_DOMAIN_CART));
    assert_false(is_full(world, TW_DOMAIN_PRODUCT));
    world->catalogue_away = false;
    assert_int_equal(settle(world), TW_OK);
    assert_false(is_full(world, TW_DOMAIN_CART));
}

static void too_many_products__make_it_full_until_a_good_part_of_them_is_done(void **state)
{
    const uint32_t left = TW_REPRICE_PRODUCTS_MAX / 4 * 3;
    struct world  *world = *state;

    for (uint32_t i = 0; i < TW_REPRICE_PRODUCTS_MAX; i++) {
        assert_false(is_full(world, TW_DOMAIN_PRODUCT));
        product_changes(world, i, 100, 7);
    }
    assert_true(is_full(world, TW_DOMAIN_PRODUCT));
    assert_false(is_full(world, TW_DOMAIN_CART));
    world->pages = 0;
    while (is_full(world, TW_DOMAIN_PRODUCT))
        assert_int_equal(spread(world, 1), TW_OK);
    assert_true(world->pages > TW_REPRICE_PRODUCTS_MAX - left);
    for (uint32_t i = 0; i < TW_REPRICE_PRODUCTS_MAX - left; i++) {
        assert_false(is_full(world, TW_DOMAIN_PRODUCT));
        product_changes(world, i, 100, 8);
    }
}

static void an_event_that_cannot_be_read__is_refused(void **state)
{
    struct world          *world = *state;
    struct tw_policy_event event = {.type = TW_STR("product.changed.v1"), .payload = TW_STR("\x81")};

    assert_int_equal(tw_reprice_react(world->reprice, &event, &world->arena, &out, NULL), TW_INVALID);
    assert_false(tw_reprice_is_spreading(world->reprice));
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        RULE(a_change__reaches_every_cart_that_holds_the_product),
        RULE(a_product_that_is_no_longer_for_sale__is_told_as_such),
        RULE(a_change__of_what_no_cart_shows_is_passed_over),
        RULE(a_product_in_no_cart__is_done_in_one_step),
        RULE(a_step__sends_about_what_it_may),
        RULE(products__take_turns),
        RULE(products__take_turns_over_steps_of_one_page),
        RULE(a_newer_change__takes_the_place_of_an_older_one_that_is_not_through),
        RULE(a_product_that_changes_all_the_time__still_reaches_every_cart),
        RULE(an_older_change_that_comes_again__changes_nothing),
        RULE(a_change_that_comes_again_while_it_is_spread__is_spread_once_more),
        RULE(a_server_that_is_away__costs_no_cart),
        RULE(a_server_that_is_away__is_asked_once_in_a_step_and_holds_up_its_own_sets_only),
        RULE(a_server_that_is_away__costs_no_progress_on_another_one),
        RULE(a_set_that_cannot_be_read__holds_up_its_product_only),
        RULE(many_empty_products__do_not_hold_up_the_events_behind),
        RULE(a_line_older_than_the_catalogue__is_repriced),
        RULE(a_line__waits_a_moment_for_others),
        RULE(many_lines__gather_for_longer),
        RULE(a_line__is_never_compared_with_an_answer_of_before_its_event),
        RULE(as_many_lines_as_it_may_gather__do_not_wait),
        RULE(many_products__are_several_questions),
        RULE(a_round_with_many_commands__goes_on_in_the_next_step),
        RULE(a_round_of_one_product_in_many_carts__sends_no_more_in_a_step),
        RULE(lines_of_a_round__are_one_question_with_each_product_once),
        RULE(a_line_that_came_many_times__is_repriced_once_for_its_newest_event),
        RULE(a_catalogue_that_is_away__is_asked_again),
        RULE(an_event_that_is_not_through__holds_back_its_partition_only),
        RULE(a_partition_that_comes_back__goes_on_where_it_was),
        RULE(a_partition_that_comes_back__with_the_change_told_once_more_begins_again),
        RULE(a_partition_that_comes_back__without_the_event_has_it_done_by_another),
        RULE(a_partition_that_does_not_come_back__is_forgotten),
        RULE(a_server_that_was_away_meanwhile__has_the_set_read_from_its_beginning),
        RULE(what_is_forgotten__is_not_sent),
        RULE(too_much_to_keep_in_mind__makes_it_full),
        RULE(too_many_products__make_it_full_until_a_good_part_of_them_is_done),
        RULE(an_event_that_cannot_be_read__is_refused),
    };

    return cmocka_run_group_tests_name("cart_reprice", tests, NULL, NULL);
}
