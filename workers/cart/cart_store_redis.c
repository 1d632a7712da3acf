/*
 * Carts in Redis. Every write is one optimistic transaction: WATCH the partition's progress and read it, then, on the
 * same connection, MULTI … EXEC. EXEC happens only if nobody touched the progress since: the fence. EXEC drops all
 * watches of its connection, so each partition has one of its own (redis_lane.h), and a transaction is only begun while
 * a WATCH of that same connection is pending.
 *
 * EXEC does not undo: a command that fails inside it leaves its neighbours done. Hence every key whose command depends
 * on its type is checked before: ledger and index by the load; sets of holders, when a connection touches them first,
 * by a TYPE that goes out before MULTI and whose answer is read before EXEC goes out.
 */
#include "cart_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cart_projection.h"
#include "redis_lane.h"
#include "tillwire/failpoint.h"
#include "tillwire/ledger.h"

enum {
    CHECKED_HOLDERS = 16384,
    SWEEP_CARTS = 100, /* of one sweep */
};

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

/* What belongs to one partition. All but the lane counts for the connection of now only. */
struct part {
    struct tw_lane     lane;
    bool               watching;  /* a WATCH of the progress is pending, and `known` was read under it */
    struct tw_progress known;     /* without outbox: as the last watermark, load or commit had it */
    int64_t            server_ms; /* the server's clock at the last load */
    struct tw_buf      value;     /* scratch for one value */
    struct tw_arena    arena;     /* of one transaction; kept for its memory */
    /* Products whose set of holders is a set, or absent; by the first bytes of their id. */
    struct tw_uuid     checked[CHECKED_HOLDERS];
};

struct cart_store {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    size_t              server_count;
    int                 timeout_ms;
    struct part       **parts; /* by partition; NULL: not owned */
    size_t              part_count;
};

static const struct tw_cart no_cart;

/* ---- partitions ---- */

static struct part *find_part(const struct cart_store *store, int32_t partition)
{
    return (size_t)partition < store->part_count ? store->parts[partition] : NULL;
}

static struct part *own_part(struct cart_store *store, int32_t partition)
{
    size_t wanted = (size_t)partition + 1;

    if (store->part_count < wanted) {
        store->parts = tw_realloc(store->parts, wanted * sizeof(struct part *));
        memset(store->parts + store->part_count, 0, (wanted - store->part_count) * sizeof(struct part *));
        store->part_count = wanted;
    }
    if (!store->parts[partition]) {
        struct part *part = tw_alloc_zeroed(1, sizeof(*part));
        part->lane.partition = partition;
        part->lane.server = &store->servers[tw_cart_server_of(partition, store->server_count)];
        part->lane.timeout_ms = store->timeout_ms;
        store->parts[partition] = part;
    }
    return store->parts[partition];
}

/* A partition to go on with, or NULL after UNREACHED: only watermark() connects. */
static struct part *connected_part(const struct cart_store *store, int32_t partition, const char *where,
                                   struct tw_err *reterr)
{
    struct part *part = find_part(store, partition);

    if (part && part->lane.redis)
        return part;
    tw_fail(reterr, TW_UNREACHED, where, 0, "Redis of partition %d: not connected", partition);
    return NULL;
}

static enum tw_rc connect_part(struct part *part, const char *where, struct tw_err *reterr)
{
    part->watching = false;
    memset(part->checked, 0, sizeof(part->checked));
    return tw_lane_open(&part->lane, where, reterr);
}

/* ---- progress and fence ---- */

/* The next answer: a progress, with or without its outbox. */
static enum tw_rc receive_progress(struct part *part, const char *where, redisReply **ret_reply,
                                   struct tw_progress *ret_progress, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_progress(part->lane.partition, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STRING, where, key, ret_reply, reterr));
    if (!tw_cart_progress_unpack((struct tw_str){(*ret_reply)->str, (*ret_reply)->len}, ret_progress))
        return tw_lane_broken(&part->lane, where, key, "it holds what this release cannot read", reterr);
    return TW_OK;
}

static void set_known(struct part *part, const struct tw_progress *progress)
{
    part->known = *progress;
    part->known.outbox = (struct tw_str){NULL, 0};
}

static enum tw_rc redis_watermark(void *self, int32_t partition, struct tw_arena *arena,
                                  struct tw_progress *ret_progress, struct tw_err *reterr)
{
    static const char                  where[] = "cart.store.watermark";
    struct part                       *part = own_part(self, partition);
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;
    char                               key[TW_CART_KEY_SIZE];

    if (!part->lane.redis)
        TW_TRY(connect_part(part, where, reterr));
    tw_lane_command(&part->lane, "GET", 1);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(partition, key));
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(receive_progress(part, where, &reply, &progress, reterr));
    set_known(part, &progress);
    progress.outbox = tw_arena_copy(arena, progress.outbox);
    *ret_progress = progress;
    return TW_OK;
}

/* The fence: watches the progress and asks for it, without the outbox. receive_watch() reads both answers. */
static void put_watch(struct part *part)
{
    char   key[TW_CART_KEY_SIZE];
    size_t len = tw_cart_key_progress(part->lane.partition, key);

    tw_lane_command(&part->lane, "WATCH", 1);
    tw_lane_arg(&part->lane, key, len);
    tw_lane_command(&part->lane, "GETRANGE", 3);
    tw_lane_arg(&part->lane, key, len);
    tw_lane_number(&part->lane, 0);
    tw_lane_number(&part->lane, TW_CART_PROGRESS_HEAD - 1);
}

static enum tw_rc receive_watch(struct part *part, int64_t next_offset, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;

    TW_TRY(tw_lane_receive_ok(&part->lane, where, "WATCH", reterr));
    TW_TRY(receive_progress(part, where, &reply, &progress, reterr));
    if (progress.next_offset != next_offset || progress.clock_ms != part->known.clock_ms) {
        tw_lane_close(&part->lane);
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the watermark is %lld, not %lld",
                       part->lane.partition, (long long)progress.next_offset, (long long)next_offset);
    }
    set_known(part, &progress);
    part->watching = true;
    return TW_OK;
}

static enum tw_rc unwatch(struct part *part, const char *where, struct tw_err *reterr)
{
    part->watching = false;
    tw_lane_command(&part->lane, "UNWATCH", 0);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    return tw_lane_receive_ok(&part->lane, where, "UNWATCH", reterr);
}

static void redis_abandon(void *self, int32_t partition)
{
    struct part *part = find_part(self, partition);

    if (part && part->lane.redis && part->watching)
        unwatch(part, "cart.store.abandon", NULL);
}

/* ---- load ---- */

static void put_ledger_query(struct part *part, const struct tw_load *load, int64_t day)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "HMGET", 1 + load->ledger_id_count);
    tw_lane_arg(&part->lane, key, tw_cart_key_ledger(part->lane.partition, day, key));
    for (size_t i = 0; i < load->ledger_id_count; i++)
        tw_lane_id(&part->lane, load->ledger_ids[i]);
}

/* GET by GET, not MGET: MGET takes a key of a wrong type for an absent one, and a cart would be lost in silence. */
static void put_load(struct part *part, const struct tw_load *load)
{
    int64_t day = tw_cart_day(part->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    put_watch(part);
    tw_lane_command(&part->lane, "TIME", 0);
    tw_lane_command(&part->lane, "ZCARD", 1);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    if (load->ledger_id_count > 0) {
        put_ledger_query(part, load, day);
        put_ledger_query(part, load, day - 1);
    }
    for (size_t i = 0; i < load->entity_count; i++) {
        tw_lane_command(&part->lane, "GET", 1);
        tw_lane_arg(&part->lane, key, tw_cart_key_copy(load->entities[i].key.id, key));
    }
}

static enum tw_rc receive_server_time(struct part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    int64_t                            seconds;

    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_ARRAY, where, "TIME", &reply, reterr));
    if (reply->elements != 2 || !tw_str_to_int(tw_str_of(reply->element[0]->str), &seconds))
        return tw_lane_refuse(&part->lane, reply, where, "TIME", reterr);
    part->server_ms = seconds * 1000;
    return TW_OK;
}

/* Only to learn that it is a sorted set. */
static enum tw_rc receive_ends_type(struct part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_key_ends(part->lane.partition, key);
    return tw_lane_receive(&part->lane, REDIS_REPLY_INTEGER, where, key, &reply, reterr);
}

static enum tw_rc receive_day(struct part *part, int64_t day, size_t ids, const char *where, redisReply **ret_reply,
                              struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_ledger(part->lane.partition, day, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_ARRAY, where, key, ret_reply, reterr));
    if ((*ret_reply)->elements != ids)
        return tw_lane_refuse(&part->lane, *ret_reply, where, key, reterr);
    return TW_OK;
}

static enum tw_rc read_row(struct part *part, const redisReply *value, int64_t day, struct tw_arena *arena,
                           const char *where, struct tw_ledger_row *row, struct tw_err *reterr)
{
    struct tw_err why;
    char          key[TW_CART_KEY_SIZE];

    if (tw_ledger_row_unpack((struct tw_str){value->str, value->len}, arena, row, &why) == TW_OK)
        return TW_OK;
    tw_cart_key_ledger(part->lane.partition, day, key);
    return tw_lane_broken(&part->lane, where, key, why.msg, reterr);
}

/* An id that came again after its day has a row in both hashes: the newer one is it. */
static enum tw_rc receive_ledger(struct part *part, int64_t day, struct tw_load *load, struct tw_arena *arena,
                                 const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *today = NULL;
    TW_AUTO(tw_reply_free) redisReply *yesterday = NULL;

    TW_TRY(receive_day(part, day, load->ledger_id_count, where, &today, reterr));
    TW_TRY(receive_day(part, day - 1, load->ledger_id_count, where, &yesterday, reterr));
    for (size_t i = 0; i < load->ledger_id_count; i++) {
        bool                  is_todays = today->element[i]->type == REDIS_REPLY_STRING;
        const redisReply     *value = is_todays ? today->element[i] : yesterday->element[i];
        struct tw_ledger_row *row = &load->rows[load->row_count];

        if (value->type != REDIS_REPLY_STRING)
            continue;
        row->id = load->ledger_ids[i];
        TW_TRY(read_row(part, value, is_todays ? day : day - 1, arena, where, row, reterr));
        load->row_count++;
    }
    return TW_OK;
}

static enum tw_rc receive_cart(struct part *part, struct tw_uuid member_id, struct tw_arena *arena, const char *where,
                               const struct tw_cart **ret_cart, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_cart                    *cart = NULL;
    struct tw_err                      why;
    struct tw_str                      packed;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_key_copy(member_id, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
    if (reply->type == REDIS_REPLY_STRING) {
        packed = tw_arena_copy(arena, (struct tw_str){reply->str, reply->len});
        cart = TW_NEW(arena, struct tw_cart);
        if (tw_cart_type.unpack(packed, arena, cart, &why) != TW_OK)
            return tw_lane_broken(&part->lane, where, key, why.msg, reterr);
    }
    *ret_cart = cart;
    return TW_OK;
}

static enum tw_rc receive_load(struct part *part, int64_t first_offset, struct tw_load *load, struct tw_arena *arena,
                               const char *where, struct tw_err *reterr)
{
    TW_TRY(receive_watch(part, first_offset, where, reterr));
    TW_TRY(receive_server_time(part, where, reterr));
    TW_TRY(receive_ends_type(part, where, reterr));
    load->rows = TW_NEW_ARRAY(arena, load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    if (load->ledger_id_count > 0)
        TW_TRY(receive_ledger(part, tw_cart_day(part->known.clock_ms), load, arena, where, reterr));
    for (size_t i = 0; i < load->entity_count; i++) {
        const struct tw_cart *cart = NULL;

        TW_TRY(receive_cart(part, load->entities[i].key.id, arena, where, &cart, reterr));
        load->entities[i].before = cart;
        load->entities[i].before_guard = -1;
    }
    return TW_OK;
}

static enum tw_rc redis_load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                             struct tw_arena *arena, struct tw_err *reterr)
{
    static const char where[] = "cart.store.load";
    struct part      *part = connected_part(self, partition, where, reterr);

    if (!part)
        return TW_UNREACHED;
    put_load(part, load);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    return receive_load(part, first_offset, load, arena, where, reterr);
}

/* ---- what a change of a cart writes ---- */

static void put_on_key(struct part *part, const char *name, const char *key, size_t key_len)
{
    tw_lane_command(&part->lane, name, 1);
    tw_lane_arg(&part->lane, key, key_len);
}

/* SET of the scratch value, gone by itself at the cart's end. */
static void put_value_until(struct part *part, const char *key, size_t key_len, int64_t ends_at_ms)
{
    tw_lane_command(&part->lane, "SET", 4);
    tw_lane_arg(&part->lane, key, key_len);
    tw_lane_str(&part->lane, tw_buf_str(&part->value));
    tw_lane_text(&part->lane, "PXAT");
    tw_lane_number(&part->lane, ends_at_ms);
}

static void put_expiry(struct part *part, const char *key, size_t key_len, int64_t ends_at_ms)
{
    tw_lane_command(&part->lane, "PEXPIREAT", 2);
    tw_lane_arg(&part->lane, key, key_len);
    tw_lane_number(&part->lane, ends_at_ms);
}

static void put_holder(struct part *part, const char *name, struct tw_uuid product_id, struct tw_uuid member_id)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, name, 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_holders(part->lane.partition, product_id, key));
    tw_lane_id(&part->lane, member_id);
}

/*
 * Is the projection of the cart before surely still there, so that its untouched keys only need a new expiry? It goes
 * by the server's clock, and when an old log is folded again it is gone as soon as it is written. A day is more than
 * anything can last between the load and the EXEC; carts are mostly changed when they are younger than six days.
 */
static bool has_projection(const struct part *part, const struct tw_cart *before)
{
    return before && before->ends_at_ms > part->server_ms + DAY_MS;
}

static void put_line(struct part *part, const struct tw_cart_change *change, const struct tw_cart_line_pair *pair)
{
    const struct tw_cart_line *line = pair->after ? pair->after : pair->before;
    char                       key[TW_CART_KEY_SIZE];
    size_t                     len = tw_cart_key_item(change->member_id, line->product_id, key);

    if (!pair->after) {
        put_on_key(part, "UNLINK", key, len);
        put_holder(part, "SREM", line->product_id, change->member_id);
        return;
    }
    if (!pair->before)
        put_holder(part, "SADD", line->product_id, change->member_id);
    if (pair->before && tw_cart_reads_the_same(pair->before, line) && has_projection(part, change->before)) {
        put_expiry(part, key, len, change->after->ends_at_ms);
    } else {
        tw_cart_item_value(line, &part->value);
        put_value_until(part, key, len, change->after->ends_at_ms);
    }
}

/* Items, holders and summary. No item without a summary, no summary without items. */
static void put_projection(struct part *part, const struct tw_cart_change *change)
{
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];
    size_t                   count = tw_cart_pair_lines(change, pairs);
    char                     key[TW_CART_KEY_SIZE];
    size_t                   len = tw_cart_key_summary(change->member_id, key);

    for (size_t i = 0; i < count; i++)
        put_line(part, change, &pairs[i]);
    if (change->after->lines_len > 0) {
        tw_cart_summary_value(change->after, &part->value);
        put_value_until(part, key, len, change->after->ends_at_ms);
    } else {
        put_on_key(part, "UNLINK", key, len);
    }
}

static void put_end(struct part *part, struct tw_uuid member_id, int64_t ends_at_ms)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "ZADD", 3);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    tw_lane_number(&part->lane, tw_cart_day(ends_at_ms));
    tw_lane_id(&part->lane, member_id);
}

static void put_cart(struct part *part, const struct tw_cart_change *change)
{
    const struct tw_cart *before = change->before;
    const struct tw_cart *after = change->after;

    if (!before || tw_cart_day(before->ends_at_ms) != tw_cart_day(after->ends_at_ms))
        put_end(part, change->member_id, after->ends_at_ms);
    put_projection(part, change);
}

/* ---- what a batch writes ---- */

/* Progress and copies have no expiry, so all of them are one command. */
static void put_progress_and_copies(struct part *part, const struct tw_progress *progress,
                                    const struct tw_cart_change *carts, size_t cart_count)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "MSET", 2 * (1 + cart_count));
    tw_buf_clear(&part->value);
    tw_cart_progress_pack(progress, &part->value);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(part->lane.partition, key));
    tw_lane_str(&part->lane, tw_buf_str(&part->value));
    for (size_t i = 0; i < cart_count; i++) {
        tw_buf_clear(&part->value);
        tw_cart_type.pack(carts[i].after, &part->value);
        tw_lane_arg(&part->lane, key, tw_cart_key_copy(carts[i].member_id, key));
        tw_lane_str(&part->lane, tw_buf_str(&part->value));
    }
}

static void put_rows_of_day(struct part *part, const struct tw_changes *changes, int64_t day)
{
    char   key[TW_CART_KEY_SIZE];
    size_t count = 0;

    for (size_t i = 0; i < changes->row_count; i++)
        count += tw_cart_day(changes->rows[i].at_ms) == day;
    if (count == 0)
        return;
    tw_lane_command(&part->lane, "HSET", 1 + 2 * count);
    tw_lane_arg(&part->lane, key, tw_cart_key_ledger(part->lane.partition, day, key));
    for (size_t i = 0; i < changes->row_count; i++) {
        if (tw_cart_day(changes->rows[i].at_ms) != day)
            continue;
        tw_buf_clear(&part->value);
        tw_ledger_row_pack(&changes->rows[i], &part->value);
        tw_lane_id(&part->lane, changes->rows[i].id);
        tw_lane_str(&part->lane, tw_buf_str(&part->value));
    }
}

/* Rows count for 24 hours of the clock, so only those of its day and the day before are worth writing; and when the
 * clock enters a new day, the hashes that now hold nothing that counts go. No others exist, by induction. */
static void put_ledger(struct part *part, const struct tw_changes *changes)
{
    int64_t today = tw_cart_day(changes->after.clock_ms);
    int64_t known = tw_cart_day(part->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    for (int64_t day = known - 1; day <= known && day < today - 1; day++)
        put_on_key(part, "UNLINK", key, tw_cart_key_ledger(part->lane.partition, day, key));
    put_rows_of_day(part, changes, today - 1);
    put_rows_of_day(part, changes, today);
}

/* ---- transactions ---- */

static struct tw_uuid *checked_slot(struct part *part, struct tw_uuid product_id)
{
    return &part->checked[(product_id.bytes[0] << 8 | product_id.bytes[1]) % CHECKED_HOLDERS];
}

/* Asks for the types of the sets that the change touches and this connection has not seen yet. */
static void put_holder_types(struct part *part, const struct tw_cart_change *change)
{
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];
    size_t                   count = tw_cart_pair_lines(change, pairs);
    char                     key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++) {
        struct tw_uuid  product_id = (pairs[i].after ? pairs[i].after : pairs[i].before)->product_id;
        struct tw_uuid *checked = checked_slot(part, product_id);
        bool            stays = pairs[i].before && pairs[i].after;

        if (stays || tw_uuid_eq(*checked, product_id))
            continue;
        *checked = product_id; /* a bad answer closes the connection, and with it forgets all of them */
        put_on_key(part, "TYPE", key, tw_cart_key_holders(part->lane.partition, product_id, key));
    }
}

/* SADD and SREM are the only commands that could fail inside EXEC and were not asked for by the load. The questions go
 * out ahead of the transaction and check_holders() reads the answers just before EXEC: by then the server, which was
 * busy queueing, has long given them. */
static size_t ask_holders(struct part *part, const struct tw_cart_change *changes, size_t change_count)
{
    for (size_t i = 0; i < change_count; i++)
        put_holder_types(part, &changes[i]);
    return part->lane.unanswered;
}

static enum tw_rc check_holders(struct part *part, size_t asked, const char *where, struct tw_err *reterr)
{
    if (asked)
        TW_TRY(tw_lane_send(&part->lane, where, reterr));
    for (; asked > 0; asked--) {
        TW_AUTO(tw_reply_free) redisReply *type = NULL;

        TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STATUS, where, "TYPE", &type, reterr));
        if (strcmp(type->str, "set") != 0 && strcmp(type->str, "none") != 0)
            return tw_lane_broken(&part->lane, where, "tw:holders:*", "one of them is not a set", reterr);
    }
    return TW_OK;
}

/* Ends the transaction that was put since MULTI, after @p asked questions about holders. Only the answer of EXEC tells
 * whether it was written. */
static enum tw_rc run_transaction(struct part *part, size_t asked, const char *where, struct tw_err *reterr)
{
    part->watching = false;
    TW_TRY(check_holders(part, asked, where, reterr));
    tw_lane_command(&part->lane, "EXEC", 0);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    if (tw_failpoint("in_commit")) {
        tw_lane_close(&part->lane);
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "the answer was lost at a failpoint");
    }
    return tw_lane_receive_transaction(&part->lane, where, reterr);
}

static struct tw_cart_change *changes_of_carts(const struct tw_changes *changes, struct tw_arena *arena)
{
    struct tw_cart_change *carts;

    tw_arena_reset(arena);
    carts = TW_NEW_ARRAY(arena, changes->entity_count, struct tw_cart_change);

    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];

        carts[i] = (struct tw_cart_change){entity->key.id, entity->before, entity->state};
    }
    return carts;
}

static enum tw_rc redis_commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    static const char            where[] = "cart.store.commit";
    struct part                 *part = connected_part(self, changes->partition, where, reterr);
    const struct tw_cart_change *carts;
    size_t                       asked;

    if (!part)
        return TW_UNREACHED;
    if (!part->watching || part->known.next_offset != changes->first_offset)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: no load of offset %lld is pending",
                       changes->partition, (long long)changes->first_offset);
    carts = changes_of_carts(changes, &part->arena);
    asked = ask_holders(part, carts, changes->entity_count);
    tw_lane_command(&part->lane, "MULTI", 0);
    put_progress_and_copies(part, &changes->after, carts, changes->entity_count);
    put_ledger(part, changes);
    for (size_t i = 0; i < changes->entity_count; i++)
        put_cart(part, &carts[i]);
    TW_TRY(run_transaction(part, asked, where, reterr));
    set_known(part, &changes->after);
    return TW_OK;
}

static enum tw_rc redis_forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    static const char where[] = "cart.store.forget_outbox";
    struct part      *part = connected_part(self, partition, where, reterr);

    if (!part)
        return TW_UNREACHED;
    put_watch(part);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(receive_watch(part, next_offset, where, reterr));
    tw_lane_command(&part->lane, "MULTI", 0);
    put_progress_and_copies(part, &part->known, NULL, 0);
    return run_transaction(part, 0, where, reterr);
}

/* ---- sweep ---- */

/* Carts whose end lies on a day before the clock's. */
static void put_ended_query(struct part *part, int64_t clock_ms)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "ZRANGEBYSCORE", 6);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    tw_lane_text(&part->lane, "-inf");
    tw_lane_number(&part->lane, tw_cart_day(clock_ms) - 1);
    tw_lane_text(&part->lane, "LIMIT");
    tw_lane_number(&part->lane, 0);
    tw_lane_number(&part->lane, SWEEP_CARTS);
}

static enum tw_rc receive_ended(struct part *part, struct tw_cart_change ret_carts[SWEEP_CARTS], size_t *ret_count,
                                const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_key_ends(part->lane.partition, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_ARRAY, where, key, &reply, reterr));
    for (size_t i = 0; i < reply->elements && i < SWEEP_CARTS; i++) {
        const redisReply *member = reply->element[i];

        if (member->type != REDIS_REPLY_STRING || member->len != sizeof(struct tw_uuid))
            return tw_lane_broken(&part->lane, where, key, "it holds what is not a member's id", reterr);
        ret_carts[i] = (struct tw_cart_change){.after = &no_cart};
        memcpy(ret_carts[i].member_id.bytes, member->str, member->len);
        *ret_count = i + 1;
    }
    return TW_OK;
}

static enum tw_rc load_ended(struct part *part, struct tw_cart_change *carts, size_t count, struct tw_arena *arena,
                             const char *where, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++)
        put_on_key(part, "GET", key, tw_cart_key_copy(carts[i].member_id, key));
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(receive_cart(part, carts[i].member_id, arena, where, &carts[i].before, reterr));
    return TW_OK;
}

/* An index entry that its cart contradicts (somebody edited the store) is put right on the way. */
static void put_swept(struct part *part, const struct tw_cart_change *cart, int64_t clock_ms)
{
    char key[TW_CART_KEY_SIZE];

    if (cart->before && tw_cart_is_live(cart->before, clock_ms)) {
        put_end(part, cart->member_id, cart->before->ends_at_ms);
        return;
    }
    put_on_key(part, "UNLINK", key, tw_cart_key_copy(cart->member_id, key));
    put_projection(part, cart);
    tw_lane_command(&part->lane, "ZREM", 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    tw_lane_id(&part->lane, cart->member_id);
}

static enum tw_rc sweep_carts(struct part *part, struct tw_cart_change *carts, size_t count, int64_t clock_ms,
                              const char *where, struct tw_err *reterr)
{
    size_t asked;

    tw_arena_reset(&part->arena);
    TW_TRY(load_ended(part, carts, count, &part->arena, where, reterr));
    asked = ask_holders(part, carts, count);
    tw_lane_command(&part->lane, "MULTI", 0);
    for (size_t i = 0; i < count; i++)
        put_swept(part, &carts[i], clock_ms);
    return run_transaction(part, asked, where, reterr);
}

/* Carts only: the ledger's days are dropped by commits. */
static enum tw_rc redis_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                              struct tw_err *reterr)
{
    static const char     where[] = "cart.store.sweep";
    struct part          *part = connected_part(self, partition, where, reterr);
    struct tw_cart_change carts[SWEEP_CARTS];
    size_t                count = 0;

    if (!part)
        return TW_UNREACHED;
    put_watch(part);
    put_ended_query(part, clock_ms);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(receive_watch(part, next_offset, where, reterr));
    TW_TRY(receive_ended(part, carts, &count, where, reterr));
    return count ? sweep_carts(part, carts, count, clock_ms, where, reterr) : unwatch(part, where, reterr);
}

/* ---- life ---- */

static void redis_release(void *self, int32_t partition)
{
    struct cart_store *store = self;
    struct part       *part = find_part(store, partition);

    if (!part)
        return;
    tw_lane_close(&part->lane);
    tw_buf_done(&part->value);
    tw_arena_done(&part->arena);
    free(part);
    store->parts[partition] = NULL;
}

enum tw_rc tw_cart_store_open(const char *uris, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    struct cart_store *store = tw_alloc_zeroed(1, sizeof(*store));
    enum tw_rc         rc = tw_redis_uris_parse(uris, store->servers, &store->server_count, reterr);

    if (rc != TW_OK) {
        free(store);
        return rc;
    }
    store->timeout_ms = timeout_ms;
    *ret_store = (struct tw_store){
        .watermark = redis_watermark,
        .load = redis_load,
        .commit = redis_commit,
        .abandon = redis_abandon,
        .forget_outbox = redis_forget_outbox,
        .sweep = redis_sweep,
        .release = redis_release,
        .self = store,
    };
    return TW_OK;
}

void tw_cart_store_close(struct tw_store *port)
{
    struct cart_store *store = port ? port->self : NULL;

    if (!store)
        return;
    for (size_t i = 0; i < store->part_count; i++)
        redis_release(store, (int32_t)i);
    free(store->parts);
    explicit_bzero(store->servers, sizeof(store->servers));
    free(store);
    port->self = NULL;
}
