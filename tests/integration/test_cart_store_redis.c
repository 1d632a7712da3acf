/* Links: tw_carts_on_redis */
/*
 * What the contract suite cannot know of the carts' store: the exact keys and values readers find, expiry, and what
 * Redis alone can do to a transaction. For moments it sets limits of the whole server (see carts_on_redis.h).
 */
#include "workers/cart/cart_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carts_on_redis.h"
#include "tillwire/clock.h"
#include "tillwire/envelope.h"
#include "tillwire/gen/topics.h"
#include "tillwire/ledger.h"

/* --- keys and values ---------------------------------------------------------------------------------------------- */

static void a_commit__writes_these_keys_and_no_others(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    assert_keys("cart:" ALICE ":" SHIRT " cart:" ALICE ":" SOCKS " cart:" ALICE ":summary "
                "tw:cart:" ALICE " tw:ends:4 tw:holders:4:" SHIRT " tw:holders:4:" SOCKS
                " tw:ledger:4:29200 tw:progress:4 ");
    assert_answer("{\"product_id\":\"" SHIRT "\",\"product_name\":\"Shirt \\\"M\\\"\",\"price\":149.00,\"quantity\":2,"
                  "\"added_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":" SHIRT);
    assert_answer("{\"total_items\":5,\"total_price\":312.85,\"updated_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":summary");
}

static void an_item__is_gone_with_its_holder_when_its_line_leaves(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid alice = id_of(ALICE);

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    fold(worker, BOB, cart_of(worker, BOB, 2, AT_MS), AT_MS);
    assert_int_equal(ask_number("SCARD tw:holders:4:" SOCKS), 2);
    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS), 0);
    assert_int_equal(ask_number("EXISTS cart:" BOB ":" SOCKS), 1);
    assert_int_equal(ask_number("SISMEMBER tw:holders:4:" SOCKS " %b", alice.bytes, (size_t)16), 0);
    assert_int_equal(ask_number("SCARD tw:holders:4:" SOCKS), 1);
    assert_int_equal(ask_number("SISMEMBER tw:holders:4:" SHIRT " %b", alice.bytes, (size_t)16), 1);
    assert_answer("{\"total_items\":2,\"total_price\":298.00,\"updated_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":summary");
}

static void an_emptied_cart__leaves_its_copy_and_nothing_for_readers(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    fold(worker, ALICE, cart_of(worker, ALICE, 0, AT_MS + 1), AT_MS + 1);
    assert_keys("tw:cart:" ALICE " tw:ends:4 tw:ledger:4:29200 tw:progress:4 ");
}

static void a_line_that_left_and_came_back_in_one_batch__is_there(void **state)
{
    struct worker  *worker = *state;
    struct tw_cart *cart = cart_of(worker, ALICE, 2, AT_MS);
    struct tw_cart *turned = cart_of(worker, ALICE, 2, AT_MS);

    turned->lines[0] = cart->lines[1];
    turned->lines[1] = cart->lines[0];
    fold(worker, ALICE, cart, AT_MS);
    fold(worker, ALICE, turned, AT_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SHIRT " cart:" ALICE ":" SOCKS), 2);
    assert_int_equal(ask_number("SCARD tw:holders:4:" SHIRT), 1);
    assert_int_equal(ask_number("SCARD tw:holders:4:" SOCKS), 1);
}

/* --- expiry ------------------------------------------------------------------------------------------------------- */

static void readers_keys__expire_together_at_the_carts_end_and_the_copy_never(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SHIRT), ENDS_MS);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SOCKS), ENDS_MS);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":summary"), ENDS_MS);
    assert_int_equal(ask_number("PEXPIRETIME tw:cart:" ALICE), -1);
}

static void a_change__moves_the_expiry_of_untouched_items_too(void **state)
{
    struct worker  *worker = *state;
    struct tw_cart *after = cart_of(worker, ALICE, 2, AT_MS + 5000);

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    after->lines[0].quantity = 9;
    fold(worker, ALICE, after, AT_MS + 5000);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SHIRT), ENDS_MS + 5000);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SOCKS), ENDS_MS + 5000);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":summary"), ENDS_MS + 5000);
    assert_answer("{\"product_id\":\"" SHIRT "\",\"product_name\":\"Shirt \\\"M\\\"\",\"price\":149.00,\"quantity\":9,"
                  "\"added_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":" SHIRT);
    assert_answer("{\"product_id\":\"" SOCKS "\",\"product_name\":\"Socks\",\"price\":4.95,\"quantity\":3,"
                  "\"added_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":" SOCKS);
}

/* An old log is folded again: what ended by the wall clock is not shown, yet the worker goes on from it. */
static void a_cart_of_an_old_log__is_not_shown_until_it_lives_again_and_then_whole(void **state)
{
    struct worker *worker = *state;
    int64_t        now = tw_now_ms();

    fold(worker, ALICE, cart_of(worker, ALICE, 1, now - 8 * DAY_MS), now - 8 * DAY_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":summary cart:" ALICE ":" SHIRT), 0);
    assert_int_equal(ask_number("EXISTS tw:cart:" ALICE), 1);
    fold(worker, ALICE, cart_of(worker, ALICE, 2, now - 2 * DAY_MS), now - 2 * DAY_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":summary cart:" ALICE ":" SHIRT " cart:" ALICE ":" SOCKS), 3);
    assert_int_equal(ask_number("PEXPIRETIME cart:" ALICE ":" SHIRT), now + 5 * DAY_MS);
}

/* --- ledger ------------------------------------------------------------------------------------------------------- */

static void ledger_rows__are_packed_under_the_16_bytes_of_their_id_in_the_hash_of_their_day(void **state)
{
    struct worker       *worker = *state;
    struct tw_ledger_row row = {0};
    uint8_t              id[16] = {0, 0x77};

    fold(worker, ALICE, NULL, AT_MS);
    redisReply *value = redisCommand(link_, "HGET tw:ledger:4:29200 %b", id, sizeof(id));
    assert_int_equal(value->type, REDIS_REPLY_STRING);
    assert_rc(tw_ledger_row_unpack((struct tw_str){value->str, value->len}, &worker->arena, &row, &worker->err), TW_OK,
              worker->err);
    assert_str(row.type, "cart.add_item");
    assert_int_equal(row.at_ms, AT_MS);
    freeReplyObject(value);
}

static void ledger_days__go_when_nothing_in_them_counts_any_more(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, NULL, AT_MS);
    fold(worker, ALICE, NULL, AT_MS + DAY_MS);
    assert_keys("tw:ledger:4:29200 tw:ledger:4:29201 tw:progress:4 ");
    fold(worker, ALICE, NULL, AT_MS + 2 * DAY_MS);
    assert_keys("tw:ledger:4:29201 tw:ledger:4:29202 tw:progress:4 ");
    fold(worker, ALICE, NULL, AT_MS + 50 * DAY_MS);
    assert_keys("tw:ledger:4:29250 tw:progress:4 ");
}

/* A batch over midnight: its rows belong to two days, and those of the day before are found as well. */
static void a_row_of_the_day_before_the_clocks__is_kept_and_found(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch = batch_of(worker, ALICE), *again;

    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(load(worker, batch), TW_OK, worker->err);
    batch->row_ms = AT_MS - DAY_MS + 1;
    assert_rc(commit(worker, batch, NULL), TW_OK, worker->err);
    assert_keys("tw:ledger:4:29199 tw:progress:4 ");
    again = batch_of(worker, ALICE);
    again->ids[0] = batch->ids[0];
    assert_rc(load(worker, again), TW_OK, worker->err);
    assert_int_equal(again->load.row_count, 1);
    assert_int_equal(again->load.rows[0].at_ms, AT_MS - DAY_MS + 1);
    worker->store.abandon(worker->store.self, PARTITION);
}

static void a_row_in_both_days__is_found_as_the_newer_one(void **state)
{
    struct worker *worker = *state;
    struct batch  *first = batch_of(worker, ALICE), *second, *third;

    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(load(worker, first), TW_OK, worker->err);
    assert_rc(commit(worker, first, NULL), TW_OK, worker->err);
    second = batch_of(worker, ALICE);
    second->ids[0] = first->ids[0];
    second->clock_ms = AT_MS + DAY_MS;
    assert_rc(load(worker, second), TW_OK, worker->err);
    assert_int_equal(second->load.row_count, 1);
    assert_rc(commit(worker, second, NULL), TW_OK, worker->err);
    third = batch_of(worker, ALICE);
    third->ids[0] = first->ids[0];
    assert_rc(load(worker, third), TW_OK, worker->err);
    assert_int_equal(third->load.row_count, 1);
    assert_int_equal(third->load.rows[0].at_ms, AT_MS + DAY_MS);
    worker->store.abandon(worker->store.self, PARTITION);
}

/* --- sweep -------------------------------------------------------------------------------------------------------- */

static enum tw_rc sweep(struct worker *worker, int64_t clock_ms)
{
    return worker->store.sweep(worker->store.self, PARTITION, worker->next_offset, clock_ms, &worker->err);
}

static void sweep__removes_all_of_an_ended_cart_and_nothing_of_a_live_one(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    fold(worker, BOB, cart_of(worker, BOB, 1, AT_MS + 4 * DAY_MS), AT_MS + 4 * DAY_MS);
    assert_rc(sweep(worker, ENDS_MS + DAY_MS), TW_OK, worker->err);
    assert_keys("cart:" BOB ":" SHIRT " cart:" BOB ":summary tw:cart:" BOB " tw:ends:4 tw:holders:4:" SHIRT
                " tw:ledger:4:29204 tw:progress:4 ");
    assert_int_equal(ask_number("ZCARD tw:ends:4"), 1);
    assert_int_equal(ask_number("SCARD tw:holders:4:" SHIRT), 1);
    assert_rc(sweep(worker, ENDS_MS + DAY_MS), TW_OK, worker->err); /* nothing left to do */
}

static void sweep__follows_a_cart_whose_end_moved(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS + 3 * DAY_MS), AT_MS + 3 * DAY_MS);
    assert_int_equal(ask_number("ZCOUNT tw:ends:4 29210 29210"), 1);
    assert_rc(sweep(worker, ENDS_MS + DAY_MS), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS tw:cart:" ALICE), 1);
    assert_rc(sweep(worker, ENDS_MS + 4 * DAY_MS), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS tw:cart:" ALICE), 0);
}

static void sweep__removes_a_bounded_number_of_carts_each_time(void **state)
{
    struct worker *worker = *state;
    char           member[TW_UUID_TEXT + 1];

    for (unsigned i = 0; i < 101; i++) {
        snprintf(member, sizeof(member), "a11ce000-0000-8000-8000-%012u", i);
        fold(worker, member, cart_of(worker, member, 1, AT_MS), AT_MS);
    }
    assert_rc(sweep(worker, ENDS_MS + DAY_MS), TW_OK, worker->err);
    assert_int_equal(ask_number("ZCARD tw:ends:4"), 1);
    assert_rc(sweep(worker, ENDS_MS + DAY_MS), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS tw:ends:4"), 0);
}

static void sweep__puts_an_index_right_that_a_cart_contradicts(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid alice = id_of(ALICE), bob = id_of(BOB);

    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    say("ZADD tw:ends:4 1 %b 1 %b", alice.bytes, (size_t)16, bob.bytes, (size_t)16); /* too early; no such cart */
    assert_rc(sweep(worker, AT_MS), TW_OK, worker->err);
    assert_int_equal(ask_number("EXISTS tw:cart:" ALICE), 1);
    assert_int_equal(ask_number("ZCOUNT tw:ends:4 29207 29207"), 1);
    assert_int_equal(ask_number("ZCARD tw:ends:4"), 1);
}

/* --- the fence ---------------------------------------------------------------------------------------------------- */

static void begin(struct worker *worker, struct batch **ret_batch)
{
    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    *ret_batch = batch_of(worker, ALICE);
    assert_rc(load(worker, *ret_batch), TW_OK, worker->err);
}

static void flushall__between_load_and_commit_fences_the_commit(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("FLUSHALL");
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_FENCED, worker->err);
    assert_keys("");
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 0);
}

static void swapdb__between_load_and_commit_fences_the_commit(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("SWAPDB %d %d", server.db, server.db + 1);
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_FENCED, worker->err);
    assert_keys("");
}

static void a_change_of_the_progress__between_load_and_commit_fences_the_commit(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("APPEND tw:progress:4 x");
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_FENCED, worker->err);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS), 0);
}

static void an_abandoned_turn__does_not_fence_the_next_one(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    worker->store.abandon(worker->store.self, PARTITION);
    say("APPEND tw:progress:4 x");
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_OK, worker->err);
}

static void a_connection_cut_between_load_and_commit__never_leads_to_a_bare_transaction(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("CLIENT KILL TYPE normal SKIPME yes");
    enum tw_rc rc = commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS));
    assert_true(rc == TW_UNREACHED || rc == TW_UNKNOWN);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_FENCED, worker->err);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS), 0);
}

static void forget_outbox__leaves_the_head_of_the_progress(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, NULL, AT_MS);
    assert_int_equal(ask_number("STRLEN tw:progress:4"), TW_CART_PROGRESS_HEAD + 6);
    assert_rc(worker->store.forget_outbox(worker->store.self, PARTITION, 1, &worker->err), TW_OK, worker->err);
    assert_int_equal(ask_number("STRLEN tw:progress:4"), TW_CART_PROGRESS_HEAD);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 1);
}

/* --- frozen ------------------------------------------------------------------------------------------------------- */

static enum tw_rc set_mark(struct worker *worker, int64_t next_offset, int64_t from, int64_t to)
{
    return worker->store.set_mark(worker->store.self, PARTITION, next_offset, from, to, &worker->err);
}

static void a_mark__stands_in_the_watched_value_before_the_outbox(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, NULL, AT_MS);
    assert_rc(set_mark(worker, 1, 0, 0x0706050403020109), TW_OK, worker->err);
    assert_answer("\x02", "GETRANGE tw:progress:4 0 0");
    assert_answer("\x09\x01\x02\x03\x04\x05\x06\x07"
                  "events",
                  "GETRANGE tw:progress:4 33 -1");
    assert_rc(set_mark(worker, 1, 0x0706050403020109, 0), TW_OK, worker->err);
    assert_answer("events", "GETRANGE tw:progress:4 33 -1");
}

/* Else the watch of the frozen value, which changed, would fence the first turn after. */
static void a_worker_that_was_refused_by_a_mark__goes_on_with_the_same_connection(void **state)
{
    struct worker *worker = *state, other = {0};
    struct batch  *batch;

    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    open_on(&other, database(0));
    assert_rc(set_mark(&other, 1, 0, 7), TW_OK, other.err);
    batch = batch_of(worker, ALICE);
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_FENCED, worker->err);
    assert_non_null(strstr(worker->err.msg, "frozen"));
    assert_rc(set_mark(&other, 1, 7, 0), TW_OK, other.err);
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS), 1);
    close_worker(&other);
}

/* Whoever folds copies the progress it has read, and that may have been of a frozen partition. */
static void a_commit__never_sets_a_mark(void **state)
{
    struct worker    *worker = *state;
    struct batch     *batch = batch_of(worker, ALICE);
    struct tw_changes changes = {.partition = PARTITION, .after = {.next_offset = 1, .clock_ms = AT_MS, .mark = 7}};

    assert_rc(look(worker), TW_OK, worker->err);
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(worker->store.commit(worker->store.self, &changes, &worker->err), TW_OK, worker->err);
    assert_int_equal(ask_number("STRLEN tw:progress:4"), TW_CART_PROGRESS_HEAD);
    assert_rc(look(worker), TW_OK, worker->err);
    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static enum tw_rc list(struct worker *worker, struct tw_key ret_keys[8], size_t *ret_count)
{
    return worker->store.list(worker->store.self, 0, true, ret_keys, 8, ret_count, &worker->err);
}

#define CAROL "00000000-0000-8000-8000-000000000001"
#define DAVE  "00000000-0000-8000-8000-000000000002"

static int32_t partition_of(const char *member)
{
    return tw_partition_of(tw_str_of(member), tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS)->partitions);
}

/* Another list of servers moves partitions, and what they leave behind is read by nobody. */
static void list__tells_a_cart_on_the_server_of_its_partition_only(void **state)
{
    static const char *const members[] = {CAROL, DAVE, ALICE, BOB};
    struct worker           *one = *state, two = {0};
    struct tw_key            keys[8];
    char                     uris[2000];
    size_t                   count = 0;

    for (size_t i = 0; i < TW_LEN(members); i++)
        fold_in(one, partition_of(members[i]), members[i], cart_of(one, members[i], 1, AT_MS), AT_MS);
    snprintf(uris, sizeof(uris), "%s,%s", database(0), database(2));
    open_on(&two, uris);
    for (size_t i = 0; i < TW_LEN(members); i++)
        if (partition_of(members[i]) % 2)
            fold_in(&two, partition_of(members[i]), members[i], cart_of(&two, members[i], 1, AT_MS), AT_MS);
    assert_rc(list(&two, keys, &count), TW_OK, two.err);
    assert_int_equal(count, TW_LEN(members));
    for (size_t i = 0; i < count; i++)
        assert_true(tw_uuid_eq(keys[i].id, id_of(members[i])));
    use(2);
    say("FLUSHDB");
    use(0);
    assert_rc(list(&two, keys, &count), TW_OK, two.err);
    assert_in_range(count, 1, TW_LEN(members) - 1); /* those left behind on the first server are not told */
    close_worker(&two);
}

static void list__of_a_copy_with_a_strange_name_is_broken_and_names_it(void **state)
{
    static const char *const strange[] = {
        "tw:cart:",
        "tw:cart:sabotage",
        "tw:cart:A11CE000-0000-8000-8000-000000000001",
        ("tw:cart:x" ALICE),
    };
    struct worker *worker = *state;
    struct tw_key  keys[8];
    size_t         count;

    for (size_t i = 0; i < TW_LEN(strange); i++) {
        say("SET %s x", strange[i]);
        assert_rc(list(worker, keys, &count), TW_BROKEN, worker->err);
        if (!strstr(worker->err.msg, strange[i]))
            fail_msg("'%s' does not name %s", worker->err.msg, strange[i]);
        say("DEL %s", strange[i]);
    }
}

static void list_rows__reads_the_days_of_the_clock_only(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid ids[8];
    size_t         count = 0;

    fold(worker, ALICE, NULL, AT_MS);
    fold(worker, ALICE, NULL, AT_MS + DAY_MS);
    say("HSET tw:ledger:4:29190 0123456789abcdef row"); /* of a day that no commit knew of */
    assert_rc(worker->store.list_rows(worker->store.self, PARTITION, true, ids, 8, &count, &worker->err), TW_OK,
              worker->err);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0].bytes[0], 0);
    assert_int_equal(ids[1].bytes[0], 1);
}

static void list_rows__of_a_field_that_is_no_id_is_broken_and_names_the_hash(void **state)
{
    struct worker *worker = *state;
    struct tw_uuid ids[8];
    size_t         count;

    fold(worker, ALICE, NULL, AT_MS);
    say("HSET tw:ledger:4:29200 sabotage row");
    assert_rc(worker->store.list_rows(worker->store.self, PARTITION, true, ids, 8, &count, &worker->err), TW_BROKEN,
              worker->err);
    assert_non_null(strstr(worker->err.msg, "tw:ledger:4:29200"));
}

/* --- refusals of the server --------------------------------------------------------------------------------------- */

static void a_transaction_the_server_refuses_for_now__is_unreached_and_writes_nothing(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("CONFIG SET maxmemory 1");
    enum tw_rc rc = commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS));
    say("CONFIG SET maxmemory 0");
    assert_rc(rc, TW_UNREACHED, worker->err);
    assert_non_null(strstr(worker->err.msg, "OOM"));
    assert_int_equal(ask_number("EXISTS cart:" ALICE ":" SOCKS), 0);
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 1);
    fold(worker, ALICE, cart_of(worker, ALICE, 2, AT_MS), AT_MS);
}

/* EXEC does not undo, so this must not be survivable in silence. */
static void an_error_inside_exec__is_broken(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    say("SET tw:holders:4:" SHIRT " sabotage"); /* after the type was checked */
    struct batch *batch = batch_of(worker, BOB);
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, cart_of(worker, BOB, 1, AT_MS)), TW_BROKEN, worker->err);
    assert_non_null(strstr(worker->err.msg, "WRONGTYPE"));
}

static void a_set_of_holders_that_is_none__is_broken_before_anything_is_written(void **state)
{
    struct worker *worker = *state;
    struct batch  *batch;

    begin(worker, &batch);
    say("SET tw:holders:4:" SOCKS " sabotage");
    assert_rc(commit(worker, batch, cart_of(worker, ALICE, 2, AT_MS)), TW_BROKEN, worker->err);
    assert_non_null(strstr(worker->err.msg, "tw:holders:"));
    assert_rc(look(worker), TW_OK, worker->err);
    assert_int_equal(worker->next_offset, 1);
}

static void a_set_of_holders__is_checked_again_by_a_new_connection(void **state)
{
    struct worker *worker = *state;

    fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
    say("SET tw:holders:4:" SHIRT " sabotage");
    say("CLIENT KILL TYPE normal SKIPME yes");
    assert_rc(look(worker), TW_UNREACHED, worker->err);
    assert_rc(look(worker), TW_OK, worker->err);
    struct batch *batch = batch_of(worker, BOB);
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, cart_of(worker, BOB, 1, AT_MS)), TW_BROKEN, worker->err);
    assert_int_equal(ask_number("EXISTS tw:cart:" BOB), 0);
}

/* Loading is BROKEN with a sentence that names the key. */
static void assert_broken_load(struct worker *worker, const char *key)
{
    struct batch *batch = batch_of(worker, ALICE);
    enum tw_rc    rc = look(worker);

    if (rc == TW_OK)
        rc = load(worker, batch);
    assert_rc(rc, TW_BROKEN, worker->err);
    if (!strstr(worker->err.msg, key))
        fail_msg("'%s' does not name %s", worker->err.msg, key);
}

static void a_key_of_another_type__is_broken_and_named(void **state)
{
    static const char *const keys[] = {"tw:progress:4", ("tw:cart:" ALICE), "tw:ledger:4:29200", "tw:ends:4"};
    struct worker           *worker = *state;

    for (size_t i = 0; i < TW_LEN(keys); i++) {
        fold(worker, ALICE, cart_of(worker, ALICE, 1, AT_MS), AT_MS);
        say("DEL %s", keys[i]);
        say("LPUSH %s sabotage", keys[i]);
        assert_broken_load(worker, keys[i]);
        say("FLUSHDB");
    }
}

static void a_value_that_cannot_be_read__is_broken_and_named(void **state)
{
    struct worker *worker = *state;
    uint8_t        id[16] = {0, 0x77};

    say("SET tw:progress:4 sabotage");
    assert_broken_load(worker, "tw:progress:4");
    say("DEL tw:progress:4");
    say("SET tw:cart:" ALICE " sabotage");
    assert_broken_load(worker, "tw:cart:" ALICE);
    say("DEL tw:cart:" ALICE);
    say("HSET tw:ledger:4:0 %b sabotage", id, sizeof(id));
    assert_broken_load(worker, "tw:ledger:4:0");
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void assert_look_on(const char *uri, enum tw_rc expected, const char *sentence)
{
    struct worker worker = {0};

    open_on(&worker, uri);
    enum tw_rc rc = look(&worker);
    close_worker(&worker);
    assert_rc(rc, expected, worker.err);
    if (!strstr(worker.err.msg, sentence))
        fail_msg("'%s' does not say %s", worker.err.msg, sentence);
}

static void a_server_that_evicts__is_refused(void **state)
{
    (void)state;
    say("CONFIG SET maxmemory-policy allkeys-lru");
    struct worker worker = {0};
    open_on(&worker, database(0));
    enum tw_rc rc = look(&worker);
    say("CONFIG SET maxmemory-policy noeviction");
    close_worker(&worker);
    assert_rc(rc, TW_BROKEN, worker.err);
    assert_non_null(strstr(worker.err.msg, "noeviction"));
}

static void an_account_that_may_not_ask_for_the_configuration__works(void **state)
{
    (void)state;
    say("ACL SETUSER tw-test on >hush ~* +@all -config");
    assert_look_on(uri_of(0, "tw-test", "hush"), TW_OK, "");
    say("ACL DELUSER tw-test");
}

static void an_account_without_transactions__is_refused(void **state)
{
    (void)state;
    say("ACL SETUSER tw-test on >hush ~* +@all -multi");
    assert_look_on(uri_of(0, "tw-test", "hush"), TW_BROKEN, "MULTI");
    say("ACL DELUSER tw-test");
}

static void a_wrong_password__is_broken_and_not_told(void **state)
{
    (void)state;
    say("ACL SETUSER tw-test on >hush ~* +@all");
    assert_look_on(uri_of(0, "tw-test", "guess"), TW_BROKEN, "AUTH: WRONGPASS");
    say("ACL DELUSER tw-test");
}

static void a_database_that_is_not_there__is_broken(void **state)
{
    (void)state;
    assert_look_on(uri_of(100000, server.user, server.password), TW_BROKEN, "SELECT");
}

static void a_server_that_is_away__is_unreached(void **state)
{
    (void)state;
    assert_look_on("redis://127.0.0.1:1", TW_UNREACHED, "Connection refused");
}

static void a_server_that_does_not_answer__is_unreached_in_time(void **state)
{
    struct worker worker = {0};

    (void)state;
    assert_rc(tw_cart_store_open(database(0), 200, &worker.store, &worker.err), TW_OK, worker.err);
    assert_rc(look(&worker), TW_OK, worker.err);
    say("CLIENT PAUSE 600 ALL");
    enum tw_rc rc = look(&worker); /* were it waited for, it would answer */
    say("PING");                   /* until it answers again */
    assert_rc(rc, TW_UNREACHED, worker.err);
    assert_non_null(strstr(worker.err.msg, "no answer in time"));
    assert_rc(look(&worker), TW_OK, worker.err);
    close_worker(&worker);
}

static void two_servers__share_the_partitions(void **state)
{
    struct worker worker = {0};
    char          uris[2000];

    (void)state;
    snprintf(uris, sizeof(uris), "%s,%s", database(0), database(1));
    open_on(&worker, uris);
    for (int32_t partition = 2; partition < 4; partition++) {
        assert_rc(look_in(&worker, partition), TW_OK, worker.err);
        struct batch *batch = batch_of(&worker, ALICE);
        batch->partition = partition;
        assert_rc(load(&worker, batch), TW_OK, worker.err);
        assert_rc(commit(&worker, batch, NULL), TW_OK, worker.err);
    }
    assert_keys("tw:ledger:2:29200 tw:progress:2 ");
    use(1);
    assert_keys("tw:ledger:3:29200 tw:progress:3 ");
    use(0);
    close_worker(&worker);
}

static void a_wrong_address__is_refused_at_open(void **state)
{
    struct tw_store store = {0};
    struct tw_err   err = {0};

    (void)state;
    assert_rc(tw_cart_store_open("http://h", TIMEOUT_MS, &store, &err), TW_INVALID, err);
    tw_cart_store_close(&store);
    tw_cart_store_close(NULL);
}

static int run_all(void)
{
#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        RULE(a_commit__writes_these_keys_and_no_others),
        RULE(an_item__is_gone_with_its_holder_when_its_line_leaves),
        RULE(an_emptied_cart__leaves_its_copy_and_nothing_for_readers),
        RULE(a_line_that_left_and_came_back_in_one_batch__is_there),
        RULE(readers_keys__expire_together_at_the_carts_end_and_the_copy_never),
        RULE(a_change__moves_the_expiry_of_untouched_items_too),
        RULE(a_cart_of_an_old_log__is_not_shown_until_it_lives_again_and_then_whole),
        RULE(ledger_rows__are_packed_under_the_16_bytes_of_their_id_in_the_hash_of_their_day),
        RULE(ledger_days__go_when_nothing_in_them_counts_any_more),
        RULE(a_row_of_the_day_before_the_clocks__is_kept_and_found),
        RULE(a_row_in_both_days__is_found_as_the_newer_one),
        RULE(sweep__removes_all_of_an_ended_cart_and_nothing_of_a_live_one),
        RULE(sweep__follows_a_cart_whose_end_moved),
        RULE(sweep__removes_a_bounded_number_of_carts_each_time),
        RULE(sweep__puts_an_index_right_that_a_cart_contradicts),
        RULE(flushall__between_load_and_commit_fences_the_commit),
        RULE(swapdb__between_load_and_commit_fences_the_commit),
        RULE(a_change_of_the_progress__between_load_and_commit_fences_the_commit),
        RULE(an_abandoned_turn__does_not_fence_the_next_one),
        RULE(a_connection_cut_between_load_and_commit__never_leads_to_a_bare_transaction),
        RULE(forget_outbox__leaves_the_head_of_the_progress),
        RULE(a_mark__stands_in_the_watched_value_before_the_outbox),
        RULE(a_worker_that_was_refused_by_a_mark__goes_on_with_the_same_connection),
        RULE(a_commit__never_sets_a_mark),
        RULE(list__tells_a_cart_on_the_server_of_its_partition_only),
        RULE(list__of_a_copy_with_a_strange_name_is_broken_and_names_it),
        RULE(list_rows__reads_the_days_of_the_clock_only),
        RULE(list_rows__of_a_field_that_is_no_id_is_broken_and_names_the_hash),
        RULE(a_transaction_the_server_refuses_for_now__is_unreached_and_writes_nothing),
        RULE(an_error_inside_exec__is_broken),
        RULE(a_set_of_holders_that_is_none__is_broken_before_anything_is_written),
        RULE(a_set_of_holders__is_checked_again_by_a_new_connection),
        RULE(a_key_of_another_type__is_broken_and_named),
        RULE(a_value_that_cannot_be_read__is_broken_and_named),
        RULE(a_server_that_evicts__is_refused),
        RULE(an_account_that_may_not_ask_for_the_configuration__works),
        RULE(an_account_without_transactions__is_refused),
        RULE(a_wrong_password__is_broken_and_not_told),
        RULE(a_database_that_is_not_there__is_broken),
        RULE(a_server_that_is_away__is_unreached),
        RULE(a_server_that_does_not_answer__is_unreached_in_time),
        RULE(two_servers__share_the_partitions),
        RULE(a_wrong_address__is_refused_at_open),
    };

    return cmocka_run_group_tests_name("cart_store_redis", tests, NULL, NULL);
}

int main(void)
{
    return on_redis("cart_store_redis", run_all);
}
