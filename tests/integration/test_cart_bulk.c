/* Links: tw_carts_on_redis */
/*
 * A shadow of carts that is filled: what a bulk fold leaves out is there in the end, whatever happens on the way, and the
 * store is the one that single commits make.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carts_on_redis.h"
#include "workers/cart/cart_store.h"

enum { BULK_TIMEOUT_MS = 60000 }; /* large batches take their time on a busy machine */

/* *state is a worker on the first database that folds in bulk. */
static int setup_bulk(void **state)
{
    struct worker *worker;

    setup(state);
    worker = *state;
    tw_cart_store_close(&worker->store);
    assert_rc(tw_cart_store_open(database(0), BULK_TIMEOUT_MS, &worker->store, &worker->err), TW_OK, worker->err);
    tw_cart_store_bulk(&worker->store);
    return 0;
}

static enum tw_rc project(struct worker *worker)
{
    return tw_cart_store_project(&worker->store, PARTITION, &worker->err);
}

/* --- what is left out --------------------------------------------------------------------------------------------- */

static void bulk__leaves_out_what_readers_see_until_it_is_projected(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    fold(worker, BOB, cart_of(worker, BOB, 0, AT_MS), AT_MS);
    assert_keys("tw:cart:" ALICE " tw:cart:" BOB " tw:ends:4 tw:holders:4:" SHIRT
                " tw:ledger:4:29200 tw:progress:4 tw:unprojected:4 ");
    assert_rc(project(worker), TW_OK, worker->err);
    assert_keys("cart:" ALICE ":" SHIRT " cart:" ALICE ":summary tw:cart:" ALICE " tw:cart:" BOB
                " tw:ends:4 tw:holders:4:" SHIRT " tw:ledger:4:29200 tw:progress:4 ");
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SHIRT), ENDS_MS);
}

static void bulk__writes_all_at_once_where_nothing_is_left_out(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    assert_rc(project(worker), TW_OK, worker->err);
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS " tw:unprojected:4"), 1);
    say("DEL cart:" ALICE ":" SHIRT);
    assert_rc(project(worker), TW_OK, worker->err); /* has nothing to do */
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SHIRT), 0);
}

static void a_process_that_goes_on__knows_what_was_left_out(void **state)
{
    struct worker *worker = *state, next = {0};

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    open_on(&next, database(0));
    tw_cart_store_bulk(&next.store);
    fold(&next, BOB, cart_of(&next, BOB, 2, AT_MS), AT_MS);
    assert_int_equal(ask_number("EXISTS cart:" BOB ":summary"), 0);
    assert_rc(project(&next), TW_OK, next.err);
    assert_int_equal(ask_number("EXISTS cart:" BOB ":summary cart:" ALICE ":summary"), 2);
    close_worker(&next);
}

/* --- the same store ----------------------------------------------------------------------------------------------- */

/* One of a few members puts one of a few carts there, a day later now and then. */
static void fold_by_chance(struct worker *worker, uint64_t *dice, int64_t *clock_ms)
{
    char            member[TW_UUID_TEXT + 1];
    struct tw_cart *cart;

    if (tw_random(dice) % 4 == 0)
        *clock_ms += (int64_t)(tw_random(dice) % (2 * DAY_MS));
    snprintf(member, sizeof(member), "c0000000-0000-8000-8000-%012u", (unsigned)(tw_random(dice) % 12));
    cart = cart_of(worker, member, (uint32_t)(tw_random(dice) % 3), *clock_ms);
    cart->lines[0].quantity = 1 + (int64_t)(tw_random(dice) % 3);
    if (cart->lines_len == 1 && tw_random(dice) % 2)
        cart->lines++; /* socks alone */
    fold(worker, member, cart, *clock_ms);
    if (tw_random(dice) % 8 == 0)
        assert_rc(worker->store.sweep(worker->store.self, PARTITION, worker->next_offset, *clock_ms, &worker->err),
                  TW_OK, worker->err);
}

/* Every key of the database with its content and its end, in the order of keys. */
static void dump(int db, struct tw_buf *out)
{
    redisReply *keys;

    use(db);
    keys = redisCommand(
        link_, "EVAL %s 0",
        "local t = redis.call('KEYS', '*') table.sort(t) local o = {} "
        "for _, k in ipairs(t) do local y = redis.call('TYPE', k).ok local v "
        "if y == 'string' then v = redis.call('GET', k) "
        "elseif y == 'hash' then v = redis.call('HGETALL', k) "
        "elseif y == 'set' then v = redis.call('SMEMBERS', k) table.sort(v) "
        "else v = redis.call('ZRANGE', k, 0, -1, 'WITHSCORES') end "
        "if type(v) == 'table' then if y == 'hash' then local p = {} for i = 1, #v, 2 do "
        "p[#p + 1] = v[i] .. '=' .. v[i + 1] end table.sort(p) v = p end v = table.concat(v, ',') end "
        "o[#o + 1] = k .. ' ' .. redis.call('PEXPIRETIME', k) .. ' ' .. v end return table.concat(o, '\\n')");
    assert_int_equal(keys->type, REDIS_REPLY_STRING);
    tw_buf_add(out, keys->str, keys->len);
    freeReplyObject(keys);
    use(0);
}

static void bulk__makes_the_store_that_single_commits_make(void **state)
{
    struct worker *bulk = *state, single = {0};
    struct tw_buf  by_bulk = {0}, by_single = {0};
    uint64_t       dice = 20491212, same_dice = dice;
    int64_t        clock_ms = AT_MS, same_clock_ms = AT_MS;

    open_on(&single, database(1));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            fold_by_chance(bulk, &dice, &clock_ms);
            fold_by_chance(&single, &same_dice, &same_clock_ms);
        }
        assert_rc(project(bulk), TW_OK, bulk->err);
    }
    dump(0, &by_bulk);
    dump(1, &by_single);
    assert_true(by_single.len > 1000);
    assert_int_equal(by_bulk.len, by_single.len);
    assert_memory_equal(by_bulk.ptr, by_single.ptr, by_single.len);
    tw_buf_done(&by_bulk);
    tw_buf_done(&by_single);
    close_worker(&single);
}

/* --- a snapshot --------------------------------------------------------------------------------------------------- */

/* A commit of one cart that stays at offset 0, or moves to where the snapshot was taken. */
static void load_part(struct worker *worker, const char *member, int64_t next_offset)
{
    struct batch     *batch = batch_of(worker, member);
    struct tw_changes changes = {
        .partition = PARTITION,
        .after = {.next_offset = next_offset, .clock_ms = AT_MS},
        .entities = batch->entities,
        .entity_count = 1,
        .rows = &batch->row,
        .row_count = 1,
    };

    batch->load.entity_count = batch->load.ledger_id_count = 0; /* it is not asked for: there is nothing */
    assert_rc(load(worker, batch), TW_OK, worker->err);
    batch->entities[0] = &batch->entity;
    batch->entity.state = cart_of(worker, member, 2, AT_MS);
    batch->entity.changed = true;
    batch->row = (struct tw_ledger_row){.id = id_of(member), .type = TW_STR("cart.add_item"), .at_ms = AT_MS};
    assert_rc(worker->store.commit(worker->store.self, &changes, &worker->err), TW_OK, worker->err);
}

static void a_snapshot__is_loaded_in_commits_that_stay_at_the_beginning(void **state)
{
    struct worker *worker = *state;

    assert_rc(look(worker), TW_OK, worker->err);
    load_part(worker, ALICE, 0);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 0);
    load_part(worker, BOB, 1000);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 1000);
    assert_int_equal(ask_number("HLEN tw:ledger:4:29200"), 2);
    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    assert_rc(project(worker), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SHIRT " cart:" BOB ":" SOCKS " cart:" ALICE ":" SOCKS), 2);
}

/* --- large -------------------------------------------------------------------------------------------------------- */

enum { RECORDS = 50000, CARTS = 10000, LINES = 8 };

static struct tw_uuid numbered(uint8_t kind, unsigned number)
{
    struct tw_uuid id = {{kind, 0, 0, 0, 0, 0, 0x80, 0, 0x80}};

    for (int i = 0; i < 4; i++)
        id.bytes[12 + i] = (uint8_t)(number >> (24 - 8 * i));
    return id;
}

static struct tw_cart *large_cart(struct tw_arena *arena, unsigned number)
{
    static char name[] =
        "a name of the greatest length that a product may have, which is two hundred bytes: ............"
        "................................................................................................."
        "..........";
    struct tw_cart *cart = TW_NEW(arena, struct tw_cart);

    *cart = (struct tw_cart){.member_id = numbered(1, number),
                             .version = 1,
                             .ends_at_ms = ENDS_MS,
                             .lines = TW_NEW_ARRAY(arena, LINES, struct tw_cart_line),
                             .lines_len = LINES,
                             .lines_cap = LINES};
    for (unsigned i = 0; i < LINES; i++)
        cart->lines[i] = (struct tw_cart_line){.product_id = numbered(2, (number * 31 + i) % 5000),
                                               .product_name = {name, 200},
                                               .quantity = 1,
                                               .product_version = 1,
                                               .available = true};
    return cart;
}

static void commit_large(struct worker *worker, const struct tw_entity **entities, const struct tw_ledger_row *rows)
{
    struct tw_changes changes = {
        .partition = PARTITION,
        .after = {.next_offset = RECORDS, .clock_ms = AT_MS},
        .entities = entities,
        .entity_count = CARTS,
        .rows = rows,
        .row_count = RECORDS,
    };

    assert_rc(worker->store.commit(worker->store.self, &changes, &worker->err), TW_OK, worker->err);
}

/* More than 16 MiB in one transaction, and its load: no limit of the server or of ours is in the way. */
static void a_batch_of_50000_records__is_one_commit(void **state)
{
    struct worker           *worker = *state;
    struct tw_entity        *carts = TW_NEW_ARRAY(&worker->arena, CARTS, struct tw_entity);
    const struct tw_entity **entities = TW_NEW_ARRAY(&worker->arena, CARTS, const struct tw_entity *);
    struct tw_ledger_row    *rows = TW_NEW_ARRAY(&worker->arena, RECORDS, struct tw_ledger_row);
    struct tw_uuid          *ids = TW_NEW_ARRAY(&worker->arena, RECORDS, struct tw_uuid);
    struct tw_load load = {.entities = carts, .entity_count = CARTS, .ledger_ids = ids, .ledger_id_count = RECORDS};

    for (unsigned i = 0; i < RECORDS; i++) {
        ids[i] = numbered(3, i);
        rows[i] = (struct tw_ledger_row){.id = ids[i], .type = TW_STR("cart.add_item"), .at_ms = AT_MS};
    }
    for (unsigned i = 0; i < CARTS; i++)
        carts[i].key.id = numbered(1, i);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(worker->store.load(worker->store.self, PARTITION, 0, &load, &worker->arena, &worker->err), TW_OK,
              worker->err);
    for (unsigned i = 0; i < CARTS; i++) {
        entities[i] = &carts[i];
        carts[i].state = large_cart(&worker->arena, i);
    }
    commit_large(worker, entities, rows);
    assert_int_equal(ask_number("HLEN tw:ledger:4:29200"), RECORDS);
    assert_int_equal(ask_number("ZCARD tw:ends:4"), CARTS);
    assert_rc(project(worker), TW_OK, worker->err);
    assert_int_equal(ask_number("DBSIZE"), CARTS * (2 + LINES) + 5000 + 3);
}

/* --- trouble ------------------------------------------------------------------------------------------------------ */

static void project__that_failed_half_way_is_called_again(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    say("CONFIG SET maxmemory 1");
    enum tw_rc rc = project(worker);
    say("CONFIG SET maxmemory 0");
    assert_rc(rc, TW_UNREACHED, worker->err);
    assert_int_equal(ask_number("EXISTS tw:unprojected:4"), 1);
    assert_rc(project(worker), TW_UNREACHED, worker->err); /* the connection is gone */
    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(project(worker), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":summary tw:unprojected:4"), 1);
}

static void project__beside_somebody_who_folds_is_fenced(void **state)
{
    struct worker *worker = *state, other = {0};

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    open_on(&other, database(0));
    tw_cart_store_bulk(&other.store);
    fold(&other, BOB, cart_of(&other, BOB, 2, AT_MS), AT_MS);
    assert_rc(project(worker), TW_FENCED, worker->err);
    assert_int_equal(ask_number("EXISTS tw:unprojected:4"), 1);
    close_worker(&other);
}

static void project__of_a_copy_that_cannot_be_read_is_broken_and_names_it(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    say("SET tw:cart:" ALICE " sabotage");
    assert_rc(project(worker), TW_BROKEN, worker->err);
    assert_non_null(strstr(worker->err.msg, "tw:cart:" ALICE));
    assert_int_equal(ask_number("EXISTS tw:unprojected:4"), 1);
}

static int run_all(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, setup_bulk, teardown)
    static const struct CMUnitTest tests[] = {
        RULE(bulk__leaves_out_what_readers_see_until_it_is_projected),
        RULE(bulk__writes_all_at_once_where_nothing_is_left_out),
        RULE(a_process_that_goes_on__knows_what_was_left_out),
        RULE(bulk__makes_the_store_that_single_commits_make),
        RULE(a_snapshot__is_loaded_in_commits_that_stay_at_the_beginning),
        RULE(a_batch_of_50000_records__is_one_commit),
        RULE(project__that_failed_half_way_is_called_again),
        RULE(project__beside_somebody_who_folds_is_fenced),
        RULE(project__of_a_copy_that_cannot_be_read_is_broken_and_names_it),
    };

    return cmocka_run_group_tests_name("cart_bulk", tests, NULL, NULL);
}

int main(void)
{
    return on_redis("cart_bulk", run_all);
}
