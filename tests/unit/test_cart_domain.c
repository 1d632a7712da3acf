/* The rules of the cart domain: a cart, a command, and what must follow. */
#include "workers/cart/cart_domain.h"

#include "domain_fixture.h"
#include "tillwire/gen/cart_messages.h"

/* --- given, when -------------------------------------------------------------------------------------------------- */

static const struct tw_uuid member = {{0x3e, [15] = 1}};
static const struct tw_uuid shirt = {{0x51, [15] = 1}};
static const struct tw_uuid socks = {{0x52, [15] = 2}};

static int setup(void **state)
{
    return given_nothing_stored(state, &tw_cart_domain);
}

static void decide(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms)
{
    when(turn, type, body, at_ms);
    assert_int_equal(turn->entity_count, 1);
    assert_memory_equal(&turn->entities[0].key, &((struct tw_key){.kind = 0, .id = member}), sizeof(struct tw_key));
}

/* What the edge saw of a product. */
struct seen {
    struct tw_uuid product_id;
    const char    *name;
    int64_t        price_minor;
    int64_t        version;
};
static const struct seen seen_shirt = {{{0x51, [15] = 1}}, "Black T-shirt, M", 14900, 7};
static const struct seen seen_socks = {{{0x52, [15] = 2}}, "Socks", 495, 3};

static void add_at(struct tw_turn *turn, struct seen seen, int64_t quantity, int64_t at_ms)
{
    struct tw_cart_add_item body = {member,           seen.product_id, quantity, tw_str_of(seen.name),
                                    seen.price_minor, seen.version};

    decide(turn, &tw_cart_add_item_type, &body, at_ms);
}

static void add(struct tw_turn *turn, struct seen seen, int64_t quantity)
{
    add_at(turn, seen, quantity, AT_MS);
}

static void set_at(struct tw_turn *turn, struct seen seen, int64_t quantity, int64_t at_ms)
{
    struct tw_cart_set_item body = {member,           seen.product_id, quantity, tw_str_of(seen.name),
                                    seen.price_minor, seen.version};

    decide(turn, &tw_cart_set_item_type, &body, at_ms);
}

static void set(struct tw_turn *turn, struct seen seen, int64_t quantity)
{
    set_at(turn, seen, quantity, AT_MS);
}

static void remove_at(struct tw_turn *turn, struct tw_uuid product_id, int64_t at_ms)
{
    struct tw_cart_remove_item body = {member, product_id};

    decide(turn, &tw_cart_remove_item_type, &body, at_ms);
}

static void clear_at(struct tw_turn *turn, int64_t at_ms)
{
    decide(turn, &tw_cart_clear_type, &(struct tw_cart_clear){member}, at_ms);
}

static void acknowledge_at(struct tw_turn *turn, int64_t at_ms)
{
    decide(turn, &tw_cart_acknowledge_type, &(struct tw_cart_acknowledge){member}, at_ms);
}

static void reprice_at(struct tw_turn *turn, struct seen now, bool available, int64_t at_ms)
{
    struct tw_cart_reprice body = {
        .member_id = member,
        .product_id = now.product_id,
        .product_name = tw_str_of(now.name),
        .price_minor = now.price_minor,
        .product_version = now.version,
        .available = available,
    };

    decide(turn, &tw_cart_reprice_type, &body, at_ms);
}

/* The policy's command, some time after the line came. */
static void reprice(struct tw_turn *turn, struct seen now)
{
    reprice_at(turn, now, true, AT_MS + HOUR_MS);
}

static const struct tw_cart *cart_of(const struct tw_turn *turn)
{
    return newest(turn);
}

static struct seen numbered_product(uint8_t n)
{
    return (struct seen){{{0x60, n}}, "Thing", 100, 1};
}

/* --- then --------------------------------------------------------------------------------------------------------- */

static void assert_succeeded(const struct tw_turn *turn, int http_status)
{
    assert_int_equal(turn->outcome.status, TW_SUCCEEDED);
    assert_int_equal(turn->outcome.http_status, http_status);
    assert_str(turn->outcome.resource, "/v1/cart");
}

/* Refused, and nothing happened: the cart still is at @p version. */
static void assert_refused(const struct tw_turn *turn, enum tw_problem problem, int64_t version)
{
    assert_problem(&turn->outcome, problem);
    assert_int_equal(turn->event_count, 0);
    assert_int_equal(tw_cart_domain.version(cart_of(turn), 0), version);
}

static void assert_line(const struct tw_cart_line *line, struct seen seen, int64_t quantity)
{
    assert_memory_equal(&line->product_id, &seen.product_id, sizeof(seen.product_id));
    assert_str(line->product_name, seen.name);
    assert_int_equal(line->price_minor, seen.price_minor);
    assert_int_equal(line->product_version, seen.version);
    assert_int_equal(line->quantity, quantity);
    assert_true(line->available);
}

/* --- add_item ----------------------------------------------------------------------------------------------------- */

static void add_item__makes_the_cart_and_its_line(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    assert_succeeded(turn, 200);
    assert_memory_equal(&cart_of(turn)->member_id, &member, sizeof(member));
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 2);
    assert_int_equal(cart_of(turn)->lines[0].added_at_ms, AT_MS);
    assert_false(cart_of(turn)->lines[0].has_previous_price);
    assert_int_equal(cart_of(turn)->created_at_ms, AT_MS);
    assert_int_equal(cart_of(turn)->updated_at_ms, AT_MS);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 7 * DAY_MS);
}

static void add_item__tells_line_and_totals_in_its_event(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_socks, 3);
    add_at(turn, seen_shirt, 2, AT_MS + 5);
    assert_int_equal(turn->event_count, 1);
    assert_ptr_equal(turn->event_type, &tw_cart_item_added_type);
    const struct tw_cart_item_added *event = turn->event;
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_memory_equal(&event->product_id, &shirt, sizeof(shirt));
    assert_str(event->product_name, "Black T-shirt, M");
    assert_int_equal(event->price_minor, 14900);
    assert_int_equal(event->added, 2);
    assert_int_equal(event->quantity, 2);
    assert_int_equal(event->product_version, 7);
    assert_int_equal(event->version, cart_of(turn)->version);
    assert_int_equal(event->total_items, 5);
    assert_int_equal(event->total_price_minor, 2 * 14900 + 3 * 495);
    assert_int_equal(event->expires_at_ms, AT_MS + 5 + 7 * DAY_MS);
}

static void add_item__raises_the_line_that_is_there(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    next_batch(turn);
    add_at(turn, seen_shirt, 3, AT_MS + 60000);
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 5);
    assert_int_equal(cart_of(turn)->lines[0].added_at_ms, AT_MS);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->added, 3);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->quantity, 5);
}

static void add_item__appends_a_new_product_behind_the_others(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add(turn, seen_socks, 1);
    assert_int_equal(cart_of(turn)->lines_len, 2);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 1);
    assert_line(&cart_of(turn)->lines[1], seen_socks, 1);
}

static void add_item__is_refused_beyond_999_pieces(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 990);
    add(turn, seen_shirt, 9);
    assert_succeeded(turn, 200);
    assert_int_equal(cart_of(turn)->lines[0].quantity, 999);
    int64_t version = cart_of(turn)->version;
    add(turn, seen_shirt, 1);
    assert_refused(turn, TW_PROBLEM_LINE_QUANTITY_LIMIT, version);
    assert_int_equal(cart_of(turn)->lines[0].quantity, 999);
}

static void add_item__is_refused_beyond_100_lines(void **state)
{
    struct tw_turn *turn = *state;

    for (uint8_t n = 0; n < 100; n++)
        add(turn, numbered_product(n), 1);
    assert_succeeded(turn, 200);
    assert_int_equal(cart_of(turn)->lines_len, 100);
    int64_t version = cart_of(turn)->version;
    add(turn, numbered_product(100), 1);
    assert_refused(turn, TW_PROBLEM_CART_LINES_LIMIT, version);
    assert_int_equal(cart_of(turn)->lines_len, 100);
    add(turn, numbered_product(99), 1); /* a line that is there may still grow */
    assert_succeeded(turn, 200);
}

/* --- prices: a line ignores what is not newer than what it has ---------------------------------------------------- */

static struct seen shirt_at(int64_t version, int64_t price_minor)
{
    return (struct seen){shirt, "Black T-shirt, medium", price_minor, version};
}

static void add_item__with_a_newer_product_takes_its_name_and_price_and_keeps_the_old_price_to_see(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add(turn, shirt_at(8, 9900), 1);
    assert_line(&cart_of(turn)->lines[0], shirt_at(8, 9900), 2);
    assert_true(cart_of(turn)->lines[0].has_previous_price);
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 14900);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_price_minor, 2 * 9900);
}

static void add_item__with_a_newer_product_of_the_same_price_shows_no_old_price(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add(turn, shirt_at(8, 14900), 1);
    assert_line(&cart_of(turn)->lines[0], shirt_at(8, 14900), 2);
    assert_false(cart_of(turn)->lines[0].has_previous_price);
}

static void add_item__with_an_older_or_the_same_product_keeps_name_and_price(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add(turn, shirt_at(7, 100), 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 2);
    add(turn, shirt_at(6, 100), 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 3);
    assert_false(cart_of(turn)->lines[0].has_previous_price);
}

static void a_price_that_changes_twice__shows_the_first_one_until_it_comes_back(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add(turn, shirt_at(8, 9900), 1);
    set(turn, shirt_at(9, 12000), 1);
    assert_int_equal(cart_of(turn)->lines[0].price_minor, 12000);
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 14900);
    set(turn, shirt_at(10, 14900), 1);
    assert_int_equal(cart_of(turn)->lines[0].price_minor, 14900);
    assert_false(cart_of(turn)->lines[0].has_previous_price);
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 0);
}

static void a_line_that_is_not_for_sale__is_out_of_both_totals_until_a_newer_product_is_added(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    ((struct tw_cart *)alter(turn))->lines[0].available = false;
    add(turn, seen_socks, 1);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_items, 1);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_price_minor, 495);
    add(turn, seen_shirt, 1);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_items, 1);
    add(turn, shirt_at(8, 14900), 1);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_items, 5);
}

static void totals__of_the_fullest_cart_do_not_overflow(void **state)
{
    struct tw_turn *turn = *state;

    for (uint8_t n = 0; n < 100; n++) {
        struct seen dear = numbered_product(n);
        dear.price_minor = INT64_C(999999999999);
        add(turn, dear, 999);
    }
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_items, 99900);
    assert_int_equal(((const struct tw_cart_item_added *)turn->event)->total_price_minor, INT64_C(99899999999900100));
}

/* --- set_item ----------------------------------------------------------------------------------------------------- */

static void set_item__makes_the_line_when_absent(void **state)
{
    struct tw_turn *turn = *state;

    set(turn, seen_shirt, 4);
    assert_succeeded(turn, 200);
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 4);
    assert_ptr_equal(turn->event_type, &tw_cart_item_set_type);
}

static void set_item__replaces_the_quantity_and_tells_it(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 4);
    set_at(turn, seen_shirt, 1, AT_MS + 7);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 1);
    const struct tw_cart_item_set *event = turn->event;
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_memory_equal(&event->product_id, &shirt, sizeof(shirt));
    assert_str(event->product_name, "Black T-shirt, M");
    assert_int_equal(event->price_minor, 14900);
    assert_int_equal(event->quantity, 1);
    assert_int_equal(event->product_version, 7);
    assert_int_equal(event->version, cart_of(turn)->version);
    assert_int_equal(event->total_items, 1);
    assert_int_equal(event->total_price_minor, 14900);
    assert_int_equal(event->expires_at_ms, AT_MS + 7 + 7 * DAY_MS);
}

static void set_item__to_0_removes_the_line(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 4);
    add(turn, seen_socks, 1);
    set(turn, seen_shirt, 0);
    assert_succeeded(turn, 200);
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_line(&cart_of(turn)->lines[0], seen_socks, 1);
    assert_ptr_equal(turn->event_type, &tw_cart_item_removed_type);
}

static void set_item__to_0_of_an_absent_line_succeeds_and_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    set(turn, seen_shirt, 0);
    assert_succeeded(turn, 200);
    assert_int_equal(turn->event_count, 0);
    assert_null(turn->entities[0].state);
    assert_false(turn->entities[0].changed);
}

static void set_item__is_refused_beyond_100_lines(void **state)
{
    struct tw_turn *turn = *state;

    for (uint8_t n = 0; n < 100; n++)
        add(turn, numbered_product(n), 1);
    int64_t version = cart_of(turn)->version;
    set(turn, numbered_product(100), 1);
    assert_refused(turn, TW_PROBLEM_CART_LINES_LIMIT, version);
}

static void set_item__is_refused_beyond_999_pieces(void **state)
{
    struct tw_turn *turn = *state;

    set(turn, seen_shirt, 999);
    assert_succeeded(turn, 200);
    int64_t version = cart_of(turn)->version;
    set(turn, seen_shirt, 1000);
    assert_refused(turn, TW_PROBLEM_LINE_QUANTITY_LIMIT, version);
}

/* --- remove_item -------------------------------------------------------------------------------------------------- */

static void remove_item__takes_the_line_out_and_tells_the_totals_left(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 4);
    add(turn, seen_socks, 2);
    add(turn, numbered_product(1), 1);
    remove_at(turn, socks, AT_MS + 9);
    assert_succeeded(turn, 204);
    assert_int_equal(cart_of(turn)->lines_len, 2);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 4);
    assert_line(&cart_of(turn)->lines[1], numbered_product(1), 1);
    const struct tw_cart_item_removed *event = turn->event;
    assert_ptr_equal(turn->event_type, &tw_cart_item_removed_type);
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_memory_equal(&event->product_id, &socks, sizeof(socks));
    assert_int_equal(event->version, cart_of(turn)->version);
    assert_int_equal(event->total_items, 5);
    assert_int_equal(event->total_price_minor, 4 * 14900 + 100);
    assert_int_equal(event->expires_at_ms, AT_MS + 9 + 7 * DAY_MS);
}

static void remove_item__of_an_absent_line_is_not_found(void **state)
{
    struct tw_turn *turn = *state;

    remove_at(turn, shirt, AT_MS);
    assert_refused(turn, TW_PROBLEM_NOT_FOUND, 0);
    add(turn, seen_shirt, 1);
    int64_t version = cart_of(turn)->version;
    remove_at(turn, socks, AT_MS);
    assert_refused(turn, TW_PROBLEM_NOT_FOUND, version);
}

static void a_cart_emptied__counts_on_and_keeps_its_end(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    int64_t version = cart_of(turn)->version;
    remove_at(turn, shirt, AT_MS + 1000);
    assert_int_equal(cart_of(turn)->lines_len, 0);
    assert_int_equal(cart_of(turn)->version, version + 1);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 1000 + 7 * DAY_MS);
    assert_int_equal(((const struct tw_cart_item_removed *)turn->event)->total_items, 0);
    next_batch(turn);
    add_at(turn, seen_socks, 1, AT_MS + 2000);
    assert_int_equal(cart_of(turn)->version, version + 2);
    assert_int_equal(cart_of(turn)->created_at_ms, AT_MS);
}

/* --- time and versions -------------------------------------------------------------------------------------------- */

static void every_change__raises_the_version_by_one_and_moves_the_end(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    int64_t version = cart_of(turn)->version;
    add_at(turn, seen_shirt, 1, AT_MS + 1);
    assert_int_equal(cart_of(turn)->version, version + 1);
    set_at(turn, seen_socks, 1, AT_MS + 2);
    assert_int_equal(cart_of(turn)->version, version + 2);
    remove_at(turn, socks, AT_MS + 3);
    assert_int_equal(cart_of(turn)->version, version + 3);
    assert_int_equal(cart_of(turn)->updated_at_ms, AT_MS + 3);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 3 + 7 * DAY_MS);
}

static void a_cart__lives_until_the_instant_before_its_end(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    next_batch(turn);
    add_at(turn, seen_shirt, 1, AT_MS + 7 * DAY_MS - 1);
    assert_int_equal(cart_of(turn)->lines[0].quantity, 2);
    assert_int_equal(cart_of(turn)->created_at_ms, AT_MS);
}

static void a_cart_that_ended__starts_afresh_with_the_next_line(void **state)
{
    struct tw_turn *turn = *state;
    int64_t         later = AT_MS + 7 * DAY_MS;

    add(turn, seen_shirt, 998);
    add(turn, numbered_product(1), 1);
    next_batch(turn);
    add_at(turn, seen_shirt, 3, later);
    assert_succeeded(turn, 200);
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 3);
    assert_int_equal(cart_of(turn)->created_at_ms, later);
    assert_int_equal(cart_of(turn)->ends_at_ms, later + 7 * DAY_MS);
    assert_memory_equal(&cart_of(turn)->member_id, &member, sizeof(member));
}

/* The sweep removes the copy of an ended cart at any time: state and events must not tell whether it did. */
static void a_cart_that_ended__is_as_one_that_was_swept(void **state)
{
    struct tw_turn *turn = *state;
    struct tw_cart  kept;

    add(turn, seen_shirt, 1);
    next_batch(turn);
    turn->offset = 1000;
    set_at(turn, seen_socks, 2, AT_MS + 8 * DAY_MS);
    kept = *cart_of(turn);
    forget_stored(turn);
    turn->offset = 1000;
    set_at(turn, seen_socks, 2, AT_MS + 8 * DAY_MS);
    assert_int_equal(cart_of(turn)->version, kept.version);
    assert_int_equal(cart_of(turn)->created_at_ms, kept.created_at_ms);
    assert_int_equal(cart_of(turn)->lines_len, kept.lines_len);
    assert_memory_equal(&cart_of(turn)->lines[0], &kept.lines[0], sizeof(kept.lines[0]));
}

static void a_cart_that_ended__holds_nothing_to_remove_or_to_set_to_0(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    next_batch(turn);
    remove_at(turn, shirt, AT_MS + 7 * DAY_MS);
    assert_int_equal(turn->outcome.problem, TW_PROBLEM_NOT_FOUND);
    set_at(turn, seen_shirt, 0, AT_MS + 7 * DAY_MS);
    assert_succeeded(turn, 200);
    assert_int_equal(turn->event_count, 0);
    assert_false(turn->entities[0].changed);
}

static void versions__of_a_cart_that_starts_afresh_are_above_those_of_the_one_before(void **state)
{
    struct tw_turn *turn = *state;

    for (int i = 0; i < 50; i++)
        add(turn, seen_shirt, 1);
    int64_t last = cart_of(turn)->version;
    add_at(turn, seen_shirt, 1, AT_MS + 7 * DAY_MS);
    assert_true(cart_of(turn)->version > last);
}

static void a_requeued_command__does_not_move_the_end_back(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    add_at(turn, seen_socks, 1, AT_MS - 2 * DAY_MS);
    assert_int_equal(cart_of(turn)->lines_len, 2);
    assert_int_equal(cart_of(turn)->updated_at_ms, AT_MS);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 7 * DAY_MS);
}

/* --- clear -------------------------------------------------------------------------------------------------------- */

static void clear__takes_all_lines_out_and_moves_the_end(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    add(turn, seen_socks, 1);
    int64_t version = cart_of(turn)->version;
    clear_at(turn, AT_MS + HOUR_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(cart_of(turn)->lines_len, 0);
    assert_int_equal(cart_of(turn)->version, version + 1);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + HOUR_MS + 7 * DAY_MS);
    assert_int_equal(turn->event_count, 1);
    const struct tw_cart_cleared *event = event_of(turn, &tw_cart_cleared_type);
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_int_equal(event->version, version + 1);
    assert_int_equal(event->expires_at_ms, AT_MS + HOUR_MS + 7 * DAY_MS);
}

static void clear__of_an_empty_cart_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    clear_at(turn, AT_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(turn->event_count, 0);
    assert_null(cart_of(turn));
    add(turn, seen_shirt, 2);
    clear_at(turn, AT_MS);
    int64_t version = cart_of(turn)->version;
    clear_at(turn, AT_MS + HOUR_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(turn->event_count, 0);
    assert_int_equal(cart_of(turn)->version, version);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 7 * DAY_MS);
}

static void clear__of_a_cart_that_ended_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    next_batch(turn);
    clear_at(turn, AT_MS + 7 * DAY_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(turn->event_count, 0);
    assert_false(turn->entities[0].changed);
}

/* --- acknowledge -------------------------------------------------------------------------------------------------- */

static void acknowledge__accepts_all_changed_prices_and_moves_the_end(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    add(turn, seen_socks, 1);
    reprice(turn, shirt_at(8, 9900));
    reprice(turn, (struct seen){seen_socks.product_id, "Socks", 500, 4});
    int64_t version = cart_of(turn)->version;
    acknowledge_at(turn, AT_MS + 2 * HOUR_MS);
    assert_succeeded(turn, 204);
    assert_line(&cart_of(turn)->lines[0], shirt_at(8, 9900), 2);
    for (int i = 0; i < 2; i++) {
        assert_false(cart_of(turn)->lines[i].has_previous_price);
        assert_int_equal(cart_of(turn)->lines[i].previous_price_minor, 0);
    }
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 2 * HOUR_MS + 7 * DAY_MS);
    assert_int_equal(turn->event_count, 1);
    const struct tw_cart_acknowledged *event = event_of(turn, &tw_cart_acknowledged_type);
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_int_equal(event->version, version + 1);
    assert_int_equal(event->total_items, 3);
    assert_int_equal(event->total_price_minor, 2 * 9900 + 500);
    assert_int_equal(event->expires_at_ms, AT_MS + 2 * HOUR_MS + 7 * DAY_MS);
}

static void acknowledge__of_a_cart_without_changed_prices_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    acknowledge_at(turn, AT_MS);
    assert_succeeded(turn, 204);
    assert_null(cart_of(turn));
    add(turn, seen_shirt, 2);
    int64_t version = cart_of(turn)->version;
    acknowledge_at(turn, AT_MS + HOUR_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(turn->event_count, 0);
    assert_int_equal(cart_of(turn)->version, version);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 7 * DAY_MS);
}

static void acknowledge__of_a_cart_that_ended_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    reprice(turn, shirt_at(8, 9900));
    next_batch(turn);
    acknowledge_at(turn, AT_MS + 7 * DAY_MS);
    assert_succeeded(turn, 204);
    assert_int_equal(turn->event_count, 0);
    assert_false(turn->entities[0].changed);
}

static void acknowledge__leaves_a_line_that_is_not_for_sale_as_it_is(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    reprice_at(turn, shirt_at(8, 9900), false, AT_MS);
    acknowledge_at(turn, AT_MS);
    assert_int_equal(turn->event_count, 1);
    assert_false(cart_of(turn)->lines[0].has_previous_price);
    assert_false(cart_of(turn)->lines[0].available);
}

/* --- reprice ------------------------------------------------------------------------------------------------------ */

static void reprice__gives_the_line_name_price_and_version_and_keeps_the_price_before(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    int64_t version = cart_of(turn)->version;
    reprice(turn, (struct seen){shirt, "Black T-shirt, size M", 9900, 8});
    assert_succeeded(turn, 200);
    assert_line(&cart_of(turn)->lines[0], (struct seen){shirt, "Black T-shirt, size M", 9900, 8}, 2);
    assert_true(cart_of(turn)->lines[0].has_previous_price);
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 14900);
    assert_int_equal(cart_of(turn)->version, version + 1);
    assert_int_equal(turn->event_count, 1);
    const struct tw_cart_item_repriced *event = event_of(turn, &tw_cart_item_repriced_type);
    assert_memory_equal(&event->member_id, &member, sizeof(member));
    assert_memory_equal(&event->product_id, &shirt, sizeof(shirt));
    assert_str(event->product_name, "Black T-shirt, size M");
    assert_int_equal(event->price_minor, 9900);
    assert_true(event->has_previous_price);
    assert_int_equal(event->previous_price_minor, 14900);
    assert_int_equal(event->quantity, 2);
    assert_true(event->available);
    assert_int_equal(event->product_version, 8);
    assert_int_equal(event->version, version + 1);
    assert_int_equal(event->total_items, 2);
    assert_int_equal(event->total_price_minor, 2 * 9900);
    assert_int_equal(event->expires_at_ms, AT_MS + 7 * DAY_MS);
}

static void reprice__with_an_older_or_the_same_product_changes_nothing(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    int64_t version = cart_of(turn)->version;
    for (int64_t seen = 1; seen <= 7; seen++) {
        reprice_at(turn, shirt_at(seen, 1), false, AT_MS);
        assert_succeeded(turn, 200);
        assert_int_equal(turn->event_count, 0);
    }
    assert_line(&cart_of(turn)->lines[0], seen_shirt, 2);
    assert_int_equal(cart_of(turn)->version, version);
}

static void reprice__shows_the_first_price_until_it_is_acknowledged_or_comes_back(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    reprice(turn, shirt_at(8, 9900));
    reprice(turn, shirt_at(9, 12000));
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 14900);
    reprice(turn, shirt_at(10, 14900));
    assert_false(cart_of(turn)->lines[0].has_previous_price);
    assert_false(((const struct tw_cart_item_repriced *)turn->event)->has_previous_price);
    reprice(turn, shirt_at(11, 9900));
    acknowledge_at(turn, AT_MS + HOUR_MS);
    reprice(turn, shirt_at(12, 8000));
    assert_int_equal(cart_of(turn)->lines[0].previous_price_minor, 9900);
}

static void reprice__of_another_name_only_shows_no_old_price(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 1);
    reprice(turn, (struct seen){shirt, "Shirt", 14900, 8});
    assert_str(cart_of(turn)->lines[0].product_name, "Shirt");
    assert_false(cart_of(turn)->lines[0].has_previous_price);
}

static void reprice__takes_what_is_not_for_sale_out_of_both_totals_until_it_is_back(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    add(turn, seen_socks, 1);
    reprice_at(turn, shirt_at(8, 14900), false, AT_MS);
    const struct tw_cart_item_repriced *event = event_of(turn, &tw_cart_item_repriced_type);
    assert_false(event->available);
    assert_int_equal(event->total_items, 1);
    assert_int_equal(event->total_price_minor, 495);
    assert_false(cart_of(turn)->lines[0].available);
    assert_int_equal(cart_of(turn)->lines[0].quantity, 2);
    reprice(turn, shirt_at(9, 14900));
    event = event_of(turn, &tw_cart_item_repriced_type);
    assert_true(event->available);
    assert_int_equal(event->total_items, 3);
    assert_int_equal(event->total_price_minor, 2 * 14900 + 495);
}

static void reprice__keeps_the_end_of_the_cart(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    reprice_at(turn, shirt_at(8, 9900), true, AT_MS + 5 * DAY_MS);
    assert_int_equal(cart_of(turn)->updated_at_ms, AT_MS);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 7 * DAY_MS);
    set_at(turn, shirt_at(8, 9900), 3, AT_MS + 6 * DAY_MS);
    assert_int_equal(cart_of(turn)->ends_at_ms, AT_MS + 13 * DAY_MS);
}

static void reprice__of_a_cart_or_line_that_is_not_there_makes_none(void **state)
{
    struct tw_turn *turn = *state;

    reprice(turn, shirt_at(8, 9900));
    assert_succeeded(turn, 200);
    assert_int_equal(turn->event_count, 0);
    assert_null(cart_of(turn));
    add(turn, seen_socks, 1);
    int64_t version = cart_of(turn)->version;
    reprice(turn, shirt_at(8, 9900));
    assert_succeeded(turn, 200);
    assert_int_equal(turn->event_count, 0);
    assert_int_equal(cart_of(turn)->lines_len, 1);
    assert_int_equal(cart_of(turn)->version, version);
}

static void reprice__of_a_cart_that_ended_does_nothing(void **state)
{
    struct tw_turn *turn = *state;

    add(turn, seen_shirt, 2);
    next_batch(turn);
    reprice_at(turn, shirt_at(8, 9900), true, AT_MS + 7 * DAY_MS);
    assert_succeeded(turn, 200);
    assert_int_equal(turn->event_count, 0);
    assert_false(turn->entities[0].changed);
}

static void an_absent_cart__has_version_0(void **state)
{
    (void)state;
    assert_int_equal(tw_cart_domain.version(NULL, 0), 0);
}

int main(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, turn_done)
    static const struct CMUnitTest tests[] = {
        RULE(add_item__makes_the_cart_and_its_line),
        RULE(add_item__tells_line_and_totals_in_its_event),
        RULE(add_item__raises_the_line_that_is_there),
        RULE(add_item__appends_a_new_product_behind_the_others),
        RULE(add_item__is_refused_beyond_999_pieces),
        RULE(add_item__is_refused_beyond_100_lines),
        RULE(add_item__with_a_newer_product_takes_its_name_and_price_and_keeps_the_old_price_to_see),
        RULE(add_item__with_a_newer_product_of_the_same_price_shows_no_old_price),
        RULE(add_item__with_an_older_or_the_same_product_keeps_name_and_price),
        RULE(a_price_that_changes_twice__shows_the_first_one_until_it_comes_back),
        RULE(a_line_that_is_not_for_sale__is_out_of_both_totals_until_a_newer_product_is_added),
        RULE(totals__of_the_fullest_cart_do_not_overflow),
        RULE(set_item__makes_the_line_when_absent),
        RULE(set_item__replaces_the_quantity_and_tells_it),
        RULE(set_item__to_0_removes_the_line),
        RULE(set_item__to_0_of_an_absent_line_succeeds_and_changes_nothing),
        RULE(set_item__is_refused_beyond_100_lines),
        RULE(set_item__is_refused_beyond_999_pieces),
        RULE(remove_item__takes_the_line_out_and_tells_the_totals_left),
        RULE(remove_item__of_an_absent_line_is_not_found),
        RULE(a_cart_emptied__counts_on_and_keeps_its_end),
        RULE(every_change__raises_the_version_by_one_and_moves_the_end),
        RULE(a_cart__lives_until_the_instant_before_its_end),
        RULE(a_cart_that_ended__starts_afresh_with_the_next_line),
        RULE(a_cart_that_ended__is_as_one_that_was_swept),
        RULE(a_cart_that_ended__holds_nothing_to_remove_or_to_set_to_0),
        RULE(versions__of_a_cart_that_starts_afresh_are_above_those_of_the_one_before),
        RULE(a_requeued_command__does_not_move_the_end_back),
        RULE(clear__takes_all_lines_out_and_moves_the_end),
        RULE(clear__of_an_empty_cart_changes_nothing),
        RULE(clear__of_a_cart_that_ended_changes_nothing),
        RULE(acknowledge__accepts_all_changed_prices_and_moves_the_end),
        RULE(acknowledge__of_a_cart_without_changed_prices_changes_nothing),
        RULE(acknowledge__of_a_cart_that_ended_changes_nothing),
        RULE(acknowledge__leaves_a_line_that_is_not_for_sale_as_it_is),
        RULE(reprice__gives_the_line_name_price_and_version_and_keeps_the_price_before),
        RULE(reprice__with_an_older_or_the_same_product_changes_nothing),
        RULE(reprice__shows_the_first_price_until_it_is_acknowledged_or_comes_back),
        RULE(reprice__of_another_name_only_shows_no_old_price),
        RULE(reprice__takes_what_is_not_for_sale_out_of_both_totals_until_it_is_back),
        RULE(reprice__keeps_the_end_of_the_cart),
        RULE(reprice__of_a_cart_or_line_that_is_not_there_makes_none),
        RULE(reprice__of_a_cart_that_ended_does_nothing),
        RULE(an_absent_cart__has_version_0),
    };

    return cmocka_run_group_tests_name("cart_domain", tests, NULL, NULL);
}
