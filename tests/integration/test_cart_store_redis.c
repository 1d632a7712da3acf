/* Links: PkgConfig::HIREDIS */
/*
 * What the contract suite cannot know of the carts' store: the exact keys and values readers find, expiry, and what
 * Redis alone can do to a transaction. EMPTIES the database that TW_REDIS_URI names and the one after it, and for
 * moments sets limits of the whole server: never name a server that others use.
 */
#include "workers/cart/cart_store.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"
#include "tillwire/ledger.h"
#include "tillwire/log.h"
#include "unit.h"

enum { TIMEOUT_MS = 2000, PARTITION = 4 };

#define DAY_MS  INT64_C(86400000)
/* A partition clock beyond any wall clock of a test run, at noon; carts changed then live until 2050. */
#define AT_MS   (INT64_C(29200) * DAY_MS + DAY_MS / 2)
#define ENDS_MS (AT_MS + 7 * DAY_MS)

#define ALICE "a11ce000-0000-8000-8000-000000000001"
#define BOB   "b0b00000-0000-8000-8000-000000000002"
#define SHIRT "51510000-0000-8000-8000-000000000003"
#define SOCKS "52520000-0000-8000-8000-000000000004"

/* --- the server --------------------------------------------------------------------------------------------------- */

static struct tw_redis_uri server;
static redisContext       *link_;

/* An address of the server, its database counted from the one that was named. */
static const char *uri_of(int db, const char *user, const char *password)
{
    static char texts[4][900];
    static int  next;
    char       *text = texts[next++ % 4];

    snprintf(text, sizeof(texts[0]), "redis://%s:%s@%s:%d/%d", user, password, server.host, server.port,
             server.db + db);
    return text;
}

static redisReply *vask(const char *format, va_list args)
{
    redisReply *reply = redisvCommand(link_, format, args);

    if (!reply)
        fail_msg("%s: %s", format, link_->errstr);
    return reply;
}

/* A command that must not be refused. */
static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    freeReplyObject(reply);
}

static long long ask_number(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    long long number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -999;
    freeReplyObject(reply);
    return number;
}

static void assert_answer(const char *expected, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = vask(format, args);
    va_end(args);
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    assert_string_equal(reply->str, expected);
    freeReplyObject(reply);
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* All keys of the database, sorted, with a blank behind each. */
static void assert_keys(const char *expected)
{
    redisReply   *keys = redisCommand(link_, "KEYS *");
    const char   *names[64];
    struct tw_buf all = {0};

    assert_true(keys->elements < TW_LEN(names));
    for (size_t i = 0; i < keys->elements; i++)
        names[i] = keys->element[i]->str;
    qsort(names, keys->elements, sizeof(names[0]), compare_texts);
    for (size_t i = 0; i < keys->elements; i++)
        tw_buf_printf(&all, "%s ", names[i]);
    assert_str(tw_buf_str(&all), expected);
    tw_buf_done(&all);
    freeReplyObject(keys);
}

static void connect_to_server(void)
{
    link_ = redisConnectWithTimeout(server.host, server.port, (struct timeval){2, 0});
    if (!link_ || link_->err)
        fail_msg("cannot connect: %s", link_ ? link_->errstr : "no memory");
    if (server.user[0])
        say("AUTH %s %s", server.user, server.password);
    else if (server.password[0])
        say("AUTH %s", server.password);
    say("SELECT %d", server.db);
}

/* --- a worker ----------------------------------------------------------------------------------------------------- */

struct worker {
    struct tw_store store;
    struct tw_arena arena;
    int64_t         next_offset;
    struct tw_err   err;
};

static struct tw_uuid id_of(const char *text)
{
    struct tw_uuid id;

    assert_true(tw_uuid_parse(tw_str_of(text), &id));
    return id;
}

static void open_on(struct worker *worker, const char *uris)
{
    assert_rc(tw_cart_store_open(uris, TIMEOUT_MS, &worker->store, &worker->err), TW_OK, worker->err);
}

static int setup(void **state)
{
    struct worker *worker = tw_alloc_zeroed(1, sizeof(*worker));

    say("SELECT %d", server.db + 1);
    say("FLUSHDB");
    say("SELECT %d", server.db);
    say("FLUSHDB");
    open_on(worker, uri_of(0, server.user, server.password));
    *state = worker;
    return 0;
}

static int teardown(void **state)
{
    struct worker *worker = *state;

    tw_cart_store_close(&worker->store);
    tw_arena_done(&worker->arena);
    free(worker);
    return 0;
}

static enum tw_rc look_in(struct worker *worker, int32_t partition)
{
    struct tw_progress progress;
    enum tw_rc rc = worker->store.watermark(worker->store.self, partition, &worker->arena, &progress, &worker->err);

    if (rc == TW_OK)
        worker->next_offset = progress.next_offset;
    return rc;
}

static enum tw_rc look(struct worker *worker)
{
    return look_in(worker, PARTITION);
}

/* One batch of one record. */
struct batch {
    int32_t                 partition;
    struct tw_entity        entity;
    const struct tw_entity *entities[1];
    struct tw_ledger_row    row;
    struct tw_load          load;
    struct tw_uuid          ids[1];
    int64_t                 clock_ms; /* after the batch */
    int64_t                 row_ms;   /* of its record; 0: the same */
};

static struct batch *batch_of(struct worker *worker, const char *member)
{
    struct batch *batch = TW_NEW(&worker->arena, struct batch);

    batch->partition = PARTITION;
    batch->clock_ms = AT_MS;
    batch->entity.key.id = id_of(member);
    batch->ids[0] = (struct tw_uuid){{(uint8_t)worker->next_offset, 0x77}};
    batch->load =
        (struct tw_load){.entities = &batch->entity, .entity_count = 1, .ledger_ids = batch->ids, .ledger_id_count = 1};
    return batch;
}

static enum tw_rc load(struct worker *worker, struct batch *batch)
{
    return worker->store.load(worker->store.self, batch->partition, worker->next_offset, &batch->load, &worker->arena,
                              &worker->err);
}

static enum tw_rc commit(struct worker *worker, struct batch *batch, struct tw_cart *after)
{
    struct tw_changes changes = {
        .partition = batch->partition,
        .first_offset = worker->next_offset,
        .after = {.next_offset = worker->next_offset + 1, .clock_ms = batch->clock_ms, .outbox = TW_STR("events")},
        .entities = batch->entities,
        .entity_count = after != NULL,
        .rows = &batch->row,
        .row_count = 1,
    };

    batch->entities[0] = &batch->entity;
    batch->entity.state = after;
    batch->entity.changed = after != NULL;
    batch->row = (struct tw_ledger_row){
        .id = batch->ids[0],
        .type = TW_STR("cart.add_item"),
        .at_ms = batch->row_ms ? batch->row_ms : batch->clock_ms,
        .offset = worker->next_offset,
    };
    enum tw_rc rc = worker->store.commit(worker->store.self, &changes, &worker->err);
    if (rc == TW_OK)
        worker->next_offset++;
    return rc;
}

/* A whole turn that makes a member's cart hold `after`. */
static void fold(struct worker *worker, const char *member, struct tw_cart *after, int64_t clock_ms)
{
    struct batch *batch = batch_of(worker, member);

    assert_rc(look(worker), TW_OK, worker->err);
    batch->clock_ms = clock_ms;
    assert_rc(load(worker, batch), TW_OK, worker->err);
    assert_rc(commit(worker, batch, after), TW_OK, worker->err);
}

static struct tw_cart_line *lines_of_shirt_and_socks(struct worker *worker)
{
    struct tw_cart_line *lines = TW_NEW_ARRAY(&worker->arena, 2, struct tw_cart_line);

    lines[0] = (struct tw_cart_line){.product_id = id_of(SHIRT),
                                     .product_name = TW_STR("Shirt \"M\""),
                                     .price_minor = 14900,
                                     .quantity = 2,
                                     .added_at_ms = AT_MS,
                                     .product_version = 7,
                                     .available = true};
    lines[1] = (struct tw_cart_line){.product_id = id_of(SOCKS),
                                     .product_name = TW_STR("Socks"),
                                     .price_minor = 495,
                                     .quantity = 3,
                                     .added_at_ms = AT_MS,
                                     .product_version = 1,
                                     .available = true};
    return lines;
}

/* A cart of the first `count` of shirt and socks, changed at `at_ms`. */
static struct tw_cart *cart_of(struct worker *worker, const char *member, uint32_t count, int64_t at_ms)
{
    struct tw_cart *cart = TW_NEW(&worker->arena, struct tw_cart);

    *cart = (struct tw_cart){.member_id = id_of(member),
                             .version = 1,
                             .created_at_ms = at_ms,
                             .updated_at_ms = at_ms,
                             .ends_at_ms = at_ms + 7 * DAY_MS,
                             .lines = lines_of_shirt_and_socks(worker),
                             .lines_len = count,
                             .lines_cap = 2};
    return cart;
}

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
    tw_cart_store_close(&worker.store);
    tw_arena_done(&worker.arena);
    assert_rc(rc, expected, worker.err);
    if (!strstr(worker.err.msg, sentence))
        fail_msg("'%s' does not say %s", worker.err.msg, sentence);
}

static void a_server_that_evicts__is_refused(void **state)
{
    (void)state;
    say("CONFIG SET maxmemory-policy allkeys-lru");
    struct worker worker = {0};
    open_on(&worker, uri_of(0, server.user, server.password));
    enum tw_rc rc = look(&worker);
    say("CONFIG SET maxmemory-policy noeviction");
    tw_cart_store_close(&worker.store);
    tw_arena_done(&worker.arena);
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
    int64_t       begin_us;

    (void)state;
    assert_rc(tw_cart_store_open(uri_of(0, server.user, server.password), 200, &worker.store, &worker.err), TW_OK,
              worker.err);
    assert_rc(look(&worker), TW_OK, worker.err);
    say("CLIENT PAUSE 600 ALL");
    begin_us = tw_monotonic_us();
    enum tw_rc rc = look(&worker);
    assert_true(tw_monotonic_us() - begin_us < 550000);
    say("PING"); /* until it answers again */
    assert_rc(rc, TW_UNREACHED, worker.err);
    assert_non_null(strstr(worker.err.msg, "no answer in time"));
    assert_rc(look(&worker), TW_OK, worker.err);
    tw_cart_store_close(&worker.store);
    tw_arena_done(&worker.arena);
}

static void two_servers__share_the_partitions(void **state)
{
    struct worker worker = {0};
    char          uris[2000];

    (void)state;
    snprintf(uris, sizeof(uris), "%s,%s", uri_of(0, server.user, server.password),
             uri_of(1, server.user, server.password));
    open_on(&worker, uris);
    for (int32_t partition = 2; partition < 4; partition++) {
        assert_rc(look_in(&worker, partition), TW_OK, worker.err);
        struct batch *batch = batch_of(&worker, ALICE);
        batch->partition = partition;
        assert_rc(load(&worker, batch), TW_OK, worker.err);
        assert_rc(commit(&worker, batch, NULL), TW_OK, worker.err);
    }
    assert_keys("tw:ledger:2:29200 tw:progress:2 ");
    say("SELECT %d", server.db + 1);
    assert_keys("tw:ledger:3:29200 tw:progress:3 ");
    say("SELECT %d", server.db);
    tw_cart_store_close(&worker.store);
    tw_arena_done(&worker.arena);
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
    const char *uri = getenv("TW_REDIS_URI");
    const char *skips = getenv("TW_SKIP_STORES");
    bool        may_skip = skips && !strcmp(skips, "1");
    size_t      count = 0;

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
    tw_log_init("cart_store_redis", TW_LOG_ERROR);
    if (!uri || !*uri) {
        fprintf(stderr, "cart_store_redis: TW_REDIS_URI is not set: %s\n",
                may_skip ? "ALL ITS TESTS ARE SKIPPED (TW_SKIP_STORES=1)" : "no server to test against");
        return may_skip ? 0 : 1;
    }
    static struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    if (tw_redis_uris_parse(uri, uris, &count, NULL) != TW_OK)
        return 1;
    server = uris[0];
    connect_to_server();
    int failed = run_all();
    redisFree(link_);
    return failed;
}
