/*
 * The mark of a frozen partition lies in the watched value itself: setting it, and taking it away, trips the WATCH of a
 * worker that is between load and commit. A worker whose load saw the mark is refused by commit.
 */
#include "cart_part.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/envelope.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"

/* ---- partitions ---- */

struct tw_cart_part *tw_cart_part_find(const struct tw_cart_store *store, int32_t partition)
{
    return (size_t)partition < store->part_count ? store->parts[partition] : NULL;
}

struct tw_cart_part *tw_cart_part_own(struct tw_cart_store *store, int32_t partition)
{
    size_t wanted = (size_t)partition + 1;

    if (store->part_count < wanted) {
        store->parts = tw_realloc(store->parts, wanted * sizeof(struct tw_cart_part *));
        memset(store->parts + store->part_count, 0, (wanted - store->part_count) * sizeof(struct tw_cart_part *));
        store->part_count = wanted;
    }
    if (!store->parts[partition]) {
        struct tw_cart_part *part = tw_alloc_zeroed(1, sizeof(*part));
        part->lane.partition = partition;
        part->lane.server = &store->servers[tw_cart_server_of(partition, store->server_count)];
        part->lane.timeout_ms = store->timeout_ms;
        store->parts[partition] = part;
    }
    return store->parts[partition];
}

struct tw_cart_part *tw_cart_part_connected(const struct tw_cart_store *store, int32_t partition, const char *where,
                                            struct tw_err *reterr)
{
    struct tw_cart_part *part = tw_cart_part_find(store, partition);

    if (part && part->lane.redis)
        return part;
    tw_fail(reterr, TW_UNREACHED, where, 0, "Redis of partition %d: not connected", partition);
    return NULL;
}

enum tw_rc tw_cart_part_connect(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    if (part->lane.redis)
        return TW_OK;
    part->watching = part->unprojected = false;
    part->epoch = -1;
    memset(part->checked, 0, sizeof(part->checked));
    return tw_lane_open(&part->lane, where, reterr);
}

void tw_cart_part_free(struct tw_cart_part *part)
{
    if (!part)
        return;
    tw_lane_close(&part->lane);
    tw_buf_done(&part->value);
    tw_arena_done(&part->arena);
    free(part->rows.ids);
    free(part);
}

enum tw_rc tw_cart_server_lane(struct tw_cart_store *store, size_t server, const char *where, struct tw_lane **ret_lane,
                               struct tw_err *reterr)
{
    struct tw_lane *lane;

    if (!store->lanes)
        store->lanes = tw_alloc_zeroed(store->server_count, sizeof(*store->lanes));
    lane = &store->lanes[server];
    lane->partition = (int32_t)server; /* which lives there */
    lane->server = &store->servers[server];
    lane->timeout_ms = store->timeout_ms;
    if (!lane->redis)
        TW_TRY(tw_lane_open(lane, where, reterr));
    *ret_lane = lane;
    return TW_OK;
}

bool tw_cart_lives_on(const struct tw_cart_store *store, struct tw_uuid member_id, size_t server)
{
    int32_t partitions = tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS)->partitions;

    if (store->server_count == 1)
        return true;
    return tw_cart_server_of(tw_partition_of_id(member_id, partitions), store->server_count) == server;
}

/* ---- progress ---- */

void tw_cart_part_put_get(struct tw_cart_part *part)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "GET", 1);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(part->lane.partition, key));
}

enum tw_rc tw_cart_part_receive_progress(struct tw_cart_part *part, const char *where, redisReply **ret_reply,
                                         struct tw_progress *ret_progress, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_progress(part->lane.partition, key);
    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STRING, where, key, ret_reply, reterr));
    if (!tw_cart_progress_unpack((struct tw_str){(*ret_reply)->str, (*ret_reply)->len}, ret_progress))
        return tw_lane_broken(&part->lane, where, key, "it holds what this release cannot read", reterr);
    return TW_OK;
}

void tw_cart_part_know(struct tw_cart_part *part, const struct tw_progress *progress)
{
    part->known = *progress;
    part->known.outbox = (struct tw_str){NULL, 0};
}

void tw_cart_part_put_epoch(struct tw_cart_part *part)
{
    tw_lane_command(&part->lane, "GET", 1);
    tw_lane_text(&part->lane, TW_CART_KEY_EPOCH);
}

enum tw_rc tw_cart_part_receive_epoch(struct tw_cart_part *part, enum tw_rc changed, const char *where,
                                      struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    int64_t                            epoch;

    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STRING, where, TW_CART_KEY_EPOCH, &reply, reterr));
    if (!tw_cart_epoch_unpack((struct tw_str){reply->str, reply->len}, &epoch))
        return tw_lane_broken(&part->lane, where, TW_CART_KEY_EPOCH, "it is no number", reterr);
    if (part->epoch >= 0 && part->epoch != epoch) {
        tw_lane_close(&part->lane);
        return tw_fail(reterr, changed, where, 0, "partition %d: another database took the place of this one",
                       part->lane.partition);
    }
    part->epoch = epoch;
    return TW_OK;
}

enum tw_rc tw_cart_part_receive_time(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    int64_t                            seconds;

    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_ARRAY, where, "TIME", &reply, reterr));
    if (reply->elements != 2 || !tw_str_to_int(tw_str_of(reply->element[0]->str), &seconds))
        return tw_lane_refuse(&part->lane, reply, where, "TIME", reterr);
    part->server_ms = seconds * 1000;
    return TW_OK;
}

void tw_cart_part_put_unprojected(struct tw_cart_part *part)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "EXISTS", 1);
    tw_lane_arg(&part->lane, key, tw_cart_key_unprojected(part->lane.partition, key));
}

enum tw_rc tw_cart_part_receive_unprojected(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;

    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_INTEGER, where, "EXISTS", &reply, reterr));
    part->unprojected = reply->integer != 0;
    return TW_OK;
}

/* ---- copies ---- */

enum tw_rc tw_cart_receive_copy(struct tw_lane *lane, struct tw_uuid member_id, struct tw_arena *arena,
                                const char *where, const struct tw_cart **ret_cart, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_cart                    *cart = NULL;
    struct tw_err                      why;
    struct tw_str                      packed;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_key_copy(member_id, key);
    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
    if (reply->type == REDIS_REPLY_STRING) {
        packed = tw_arena_copy(arena, (struct tw_str){reply->str, reply->len});
        cart = TW_NEW(arena, struct tw_cart);
        if (tw_cart_type.unpack(packed, arena, cart, &why) != TW_OK)
            return tw_lane_broken(lane, where, key, why.msg, reterr);
    }
    *ret_cart = cart;
    return TW_OK;
}

/* ---- fence ---- */

static void put_watch_command(struct tw_cart_part *part)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "WATCH", 1);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(part->lane.partition, key));
}

void tw_cart_part_put_watch(struct tw_cart_part *part)
{
    char key[TW_CART_KEY_SIZE];

    put_watch_command(part);
    tw_lane_command(&part->lane, "GETRANGE", 3);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(part->lane.partition, key));
    tw_lane_number(&part->lane, 0);
    tw_lane_number(&part->lane, TW_CART_PROGRESS_HEAD_MAX - 1);
    tw_cart_part_put_epoch(part);
}

static enum tw_rc fail_fenced(const struct tw_cart_part *part, int64_t found, int64_t wanted, const char *where,
                              struct tw_err *reterr)
{
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the watermark is %lld, not %lld", part->lane.partition,
                   (long long)found, (long long)wanted);
}

enum tw_rc tw_cart_part_receive_watch(struct tw_cart_part *part, int64_t next_offset, const char *where,
                                      struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;

    TW_TRY(tw_lane_receive_ok(&part->lane, where, "WATCH", reterr));
    TW_TRY(tw_cart_part_receive_progress(part, where, &reply, &progress, reterr));
    TW_TRY(tw_cart_part_receive_epoch(part, TW_FENCED, where, reterr));
    if (progress.next_offset != next_offset || progress.clock_ms != part->known.clock_ms) {
        tw_lane_close(&part->lane);
        return fail_fenced(part, progress.next_offset, next_offset, where, reterr);
    }
    tw_cart_part_know(part, &progress);
    part->watching = true;
    return TW_OK;
}

enum tw_rc tw_cart_part_unwatch(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    part->watching = false;
    tw_lane_command(&part->lane, "UNWATCH", 0);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    return tw_lane_receive_ok(&part->lane, where, "UNWATCH", reterr);
}

enum tw_rc tw_cart_part_exec(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    part->watching = false;
    tw_lane_command(&part->lane, "EXEC", 0);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    if (tw_failpoint("in_commit")) {
        tw_lane_close(&part->lane);
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "the answer was lost at a failpoint");
    }
    return tw_lane_receive_transaction(&part->lane, where, reterr);
}

/* ---- mark ---- */

static enum tw_rc refuse_mark(struct tw_cart_part *part, const struct tw_progress *progress, int64_t next_offset,
                              int64_t from, const char *where, struct tw_err *reterr)
{
    TW_TRY(tw_cart_part_unwatch(part, where, reterr));
    if (progress->next_offset != next_offset)
        return fail_fenced(part, progress->next_offset, next_offset, where, reterr);
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the mark is %lld, not %lld", part->lane.partition,
                   (long long)progress->mark, (long long)from);
}

static enum tw_rc write_progress(struct tw_cart_part *part, const struct tw_progress *progress, const char *where,
                                 struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_buf_clear(&part->value);
    tw_cart_progress_pack(progress, &part->value);
    tw_lane_command(&part->lane, "MULTI", 0);
    tw_lane_command(&part->lane, "SET", 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_progress(part->lane.partition, key));
    tw_lane_str(&part->lane, tw_buf_str(&part->value));
    return tw_cart_part_exec(part, where, reterr);
}

/* The outbox is read as well, because the whole value is written. */
enum tw_rc tw_cart_set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                            struct tw_err *reterr)
{
    static const char                  where[] = "cart.store.set_mark";
    struct tw_cart_part               *part = tw_cart_part_own(self, partition);
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;

    TW_TRY(tw_cart_part_connect(part, where, reterr));
    put_watch_command(part);
    tw_cart_part_put_get(part);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(&part->lane, where, "WATCH", reterr));
    TW_TRY(tw_cart_part_receive_progress(part, where, &reply, &progress, reterr));
    if (progress.next_offset != next_offset || progress.mark != from)
        return refuse_mark(part, &progress, next_offset, from, where, reterr);
    progress.mark = to;
    TW_TRY(write_progress(part, &progress, where, reterr));
    tw_cart_part_know(part, &progress);
    return TW_OK;
}
