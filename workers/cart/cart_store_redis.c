/*
 * Carts in Redis: one optimistic transaction a batch (cart_part.h), which writes the copies the worker decides on and all
 * that follows from them (cart_write.h).
 */
#include "cart_store.h"

#include <stdlib.h>
#include <string.h>

#include "cart_list.h"
#include "cart_write.h"
#include "tillwire/failpoint.h"
#include "tillwire/ledger.h"

enum { SWEEP_CARTS = 100 }; /* of one sweep */

static const struct tw_cart no_cart;

/* ---- watermark ---- */

static enum tw_rc redis_watermark(void *self, int32_t partition, struct tw_arena *arena,
                                  struct tw_progress *ret_progress, struct tw_err *reterr)
{
    static const char                  where[] = "cart.store.watermark";
    struct tw_cart_store              *store = self;
    struct tw_cart_part               *part = tw_cart_part_own(store, partition);
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;

    TW_TRY(tw_cart_part_connect(part, where, reterr));
    tw_cart_part_put_get(part);
    tw_cart_part_put_epoch(part);
    if (store->is_bulk)
        tw_cart_part_put_unprojected(part);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(tw_cart_part_receive_progress(part, where, &reply, &progress, reterr));
    TW_TRY(tw_cart_part_receive_epoch(part, TW_UNREACHED, where, reterr)); /* worth retrying, and then all anew */
    if (store->is_bulk)
        TW_TRY(tw_cart_part_receive_unprojected(part, where, reterr));
    tw_cart_part_know(part, &progress);
    progress.outbox = tw_arena_copy(arena, progress.outbox);
    *ret_progress = progress;
    return TW_OK;
}

static void redis_abandon(void *self, int32_t partition)
{
    struct tw_cart_part *part = tw_cart_part_find(self, partition);

    if (part && part->lane.redis && part->watching)
        tw_cart_part_unwatch(part, "cart.store.abandon", NULL);
}

/* ---- load ---- */

static void put_ledger_query(struct tw_cart_part *part, const struct tw_load *load, int64_t day)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "HMGET", 1 + load->ledger_id_count);
    tw_lane_arg(&part->lane, key, tw_cart_key_ledger(part->lane.partition, day, key));
    for (size_t i = 0; i < load->ledger_id_count; i++)
        tw_lane_id(&part->lane, load->ledger_ids[i]);
}

/* GET by GET, not MGET: MGET takes a key of a wrong type for an absent one, and a cart would be lost in silence. */
static void put_load(struct tw_cart_part *part, const struct tw_load *load)
{
    int64_t day = tw_cart_day(part->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    tw_cart_part_put_watch(part);
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

/* Only to learn that it is a sorted set. */
static enum tw_rc receive_ends_type(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_key_ends(part->lane.partition, key);
    return tw_lane_receive(&part->lane, REDIS_REPLY_INTEGER, where, key, &reply, reterr);
}

static enum tw_rc receive_day(struct tw_cart_part *part, int64_t day, size_t ids, const char *where,
                              redisReply **ret_reply, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_ledger(part->lane.partition, day, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_ARRAY, where, key, ret_reply, reterr));
    if ((*ret_reply)->elements != ids)
        return tw_lane_refuse(&part->lane, *ret_reply, where, key, reterr);
    return TW_OK;
}

static enum tw_rc read_row(struct tw_cart_part *part, const redisReply *value, int64_t day, struct tw_arena *arena,
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
static enum tw_rc receive_ledger(struct tw_cart_part *part, int64_t day, struct tw_load *load, struct tw_arena *arena,
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

static enum tw_rc receive_load(struct tw_cart_part *part, int64_t first_offset, struct tw_load *load,
                               struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    TW_TRY(tw_cart_part_receive_watch(part, first_offset, where, reterr));
    TW_TRY(tw_cart_part_receive_time(part, where, reterr));
    TW_TRY(receive_ends_type(part, where, reterr));
    load->rows = TW_NEW_ARRAY(arena, load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    if (load->ledger_id_count > 0)
        TW_TRY(receive_ledger(part, tw_cart_day(part->known.clock_ms), load, arena, where, reterr));
    for (size_t i = 0; i < load->entity_count; i++) {
        const struct tw_cart *cart = NULL;

        TW_TRY(tw_cart_receive_copy(&part->lane, load->entities[i].key.id, arena, where, &cart, reterr));
        load->entities[i].before = cart;
        load->entities[i].before_guard = -1;
    }
    return TW_OK;
}

static enum tw_rc redis_load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                             struct tw_arena *arena, struct tw_err *reterr)
{
    static const char    where[] = "cart.store.load";
    struct tw_cart_part *part = tw_cart_part_connected(self, partition, where, reterr);

    if (!part)
        return TW_UNREACHED;
    put_load(part, load);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    return receive_load(part, first_offset, load, arena, where, reterr);
}

/* ---- what a batch writes ---- */

/* Progress and copies have no expiry, so all of them are one command. */
static void put_progress_and_copies(struct tw_cart_part *part, const struct tw_progress *progress,
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

static void put_rows_of_day(struct tw_cart_part *part, const struct tw_changes *changes, int64_t day)
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
static void put_ledger(struct tw_cart_part *part, const struct tw_changes *changes)
{
    int64_t today = tw_cart_day(changes->after.clock_ms);
    int64_t known = tw_cart_day(part->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    for (int64_t day = known - 1; day <= known && day < today - 1; day++)
        tw_cart_put_on_key(part, "UNLINK", key, tw_cart_key_ledger(part->lane.partition, day, key));
    put_rows_of_day(part, changes, today - 1);
    put_rows_of_day(part, changes, today);
}

/* ---- commit ---- */

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

/* A frozen one is let go of: the mark will be taken away, and the watch of it must not fence the load after that. */
static enum tw_rc check_fence(struct tw_cart_part *part, const struct tw_changes *changes, const char *where,
                              struct tw_err *reterr)
{
    if (!part->watching || part->known.next_offset != changes->first_offset)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: no load of offset %lld is pending",
                       changes->partition, (long long)changes->first_offset);
    if (!part->known.mark)
        return TW_OK;
    TW_TRY(tw_cart_part_unwatch(part, where, reterr));
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %d is frozen", changes->partition);
}

/* In bulk, a partition that begins has no readers' keys: from here on until they are written at once. */
static void put_unprojected(struct tw_cart_part *part)
{
    char key[TW_CART_KEY_SIZE];

    part->unprojected = true; /* whatever fails now closes the connection, and with it forgets this */
    tw_lane_command(&part->lane, "SET", 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_unprojected(part->lane.partition, key));
    tw_lane_text(&part->lane, "1");
}

static enum tw_rc redis_commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    static const char            where[] = "cart.store.commit";
    struct tw_cart_store        *store = self;
    struct tw_cart_part         *part = tw_cart_part_connected(store, changes->partition, where, reterr);
    struct tw_progress           after = changes->after;
    const struct tw_cart_change *carts;
    size_t                       asked;

    if (!part)
        return TW_UNREACHED;
    TW_TRY(check_fence(part, changes, where, reterr));
    after.mark = 0;
    carts = changes_of_carts(changes, &part->arena);
    asked = tw_cart_ask_holders(part, carts, changes->entity_count);
    tw_lane_command(&part->lane, "MULTI", 0);
    if (store->is_bulk && changes->first_offset == 0)
        put_unprojected(part);
    put_progress_and_copies(part, &after, carts, changes->entity_count);
    put_ledger(part, changes);
    for (size_t i = 0; i < changes->entity_count; i++)
        tw_cart_put_change(part, &carts[i]);
    TW_TRY(tw_cart_check_holders(part, asked, where, reterr));
    if (tw_failpoint("before_exec")) {
        tw_lane_close(&part->lane);
        return tw_fail(reterr, TW_UNREACHED, where, 0, "failpoint before_exec");
    }
    TW_TRY(tw_cart_part_exec(part, where, reterr));
    tw_cart_part_know(part, &after);
    return TW_OK;
}

static enum tw_rc redis_forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    static const char    where[] = "cart.store.forget_outbox";
    struct tw_cart_part *part = tw_cart_part_connected(self, partition, where, reterr);

    if (!part)
        return TW_UNREACHED;
    tw_cart_part_put_watch(part);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(tw_cart_part_receive_watch(part, next_offset, where, reterr));
    tw_lane_command(&part->lane, "MULTI", 0);
    put_progress_and_copies(part, &part->known, NULL, 0);
    return tw_cart_part_exec(part, where, reterr);
}

/* ---- sweep ---- */

/* Carts whose end lies on a day before the clock's. */
static void put_ended_query(struct tw_cart_part *part, int64_t clock_ms)
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

static enum tw_rc receive_ended(struct tw_cart_part *part, struct tw_cart_change ret_carts[SWEEP_CARTS],
                                size_t *ret_count, const char *where, struct tw_err *reterr)
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

static enum tw_rc load_ended(struct tw_cart_part *part, struct tw_cart_change *carts, size_t count,
                             struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++)
        tw_cart_put_on_key(part, "GET", key, tw_cart_key_copy(carts[i].member_id, key));
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(tw_cart_receive_copy(&part->lane, carts[i].member_id, arena, where, &carts[i].before, reterr));
    return TW_OK;
}

/* An index entry that its cart contradicts (somebody edited the store) is put right on the way. */
static void put_swept(struct tw_cart_part *part, const struct tw_cart_change *cart, int64_t clock_ms)
{
    char key[TW_CART_KEY_SIZE];

    if (cart->before && tw_cart_is_live(cart->before, clock_ms)) {
        tw_cart_put_end(part, cart->member_id, cart->before->ends_at_ms);
        return;
    }
    tw_cart_put_on_key(part, "UNLINK", key, tw_cart_key_copy(cart->member_id, key));
    tw_cart_put_projection(part, cart);
    tw_lane_command(&part->lane, "ZREM", 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    tw_lane_id(&part->lane, cart->member_id);
}

static enum tw_rc sweep_carts(struct tw_cart_part *part, struct tw_cart_change *carts, size_t count, int64_t clock_ms,
                              const char *where, struct tw_err *reterr)
{
    size_t asked;

    tw_arena_reset(&part->arena);
    TW_TRY(load_ended(part, carts, count, &part->arena, where, reterr));
    asked = tw_cart_ask_holders(part, carts, count);
    tw_lane_command(&part->lane, "MULTI", 0);
    for (size_t i = 0; i < count; i++)
        put_swept(part, &carts[i], clock_ms);
    TW_TRY(tw_cart_check_holders(part, asked, where, reterr));
    return tw_cart_part_exec(part, where, reterr);
}

/* Carts only: the ledger's days are dropped by commits. */
static enum tw_rc redis_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                              struct tw_err *reterr)
{
    static const char     where[] = "cart.store.sweep";
    struct tw_cart_part  *part = tw_cart_part_connected(self, partition, where, reterr);
    struct tw_cart_change carts[SWEEP_CARTS];
    size_t                count = 0;

    if (!part)
        return TW_UNREACHED;
    tw_cart_part_put_watch(part);
    put_ended_query(part, clock_ms);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(tw_cart_part_receive_watch(part, next_offset, where, reterr));
    TW_TRY(receive_ended(part, carts, &count, where, reterr));
    return count ? sweep_carts(part, carts, count, clock_ms, where, reterr) : tw_cart_part_unwatch(part, where, reterr);
}

/* ---- life ---- */

static void redis_release(void *self, int32_t partition)
{
    struct tw_cart_store *store = self;
    struct tw_cart_part  *part = tw_cart_part_find(store, partition);

    if (!part)
        return;
    tw_cart_part_free(part);
    store->parts[partition] = NULL;
}

enum tw_rc tw_cart_store_open(const char *uris, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    struct tw_cart_store *store = tw_alloc_zeroed(1, sizeof(*store));
    enum tw_rc            rc = tw_redis_uris_parse(uris, store->servers, &store->server_count, reterr);

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
        .set_mark = tw_cart_set_mark,
        .list = tw_cart_list,
        .list_rows = tw_cart_list_rows,
        .self = store,
    };
    return TW_OK;
}

void tw_cart_store_bulk(struct tw_store *port)
{
    struct tw_cart_store *store = port->self;

    store->is_bulk = true;
}

void tw_cart_store_close(struct tw_store *port)
{
    struct tw_cart_store *store = port ? port->self : NULL;

    if (!store)
        return;
    for (size_t i = 0; i < store->part_count; i++)
        tw_cart_part_free(store->parts[i]);
    free(store->parts);
    for (size_t i = 0; store->lanes && i < store->server_count; i++)
        tw_lane_close(&store->lanes[i]);
    free(store->lanes);
    free(store->carts.ids);
    explicit_bzero(store->servers, sizeof(store->servers));
    free(store);
    port->self = NULL;
}
