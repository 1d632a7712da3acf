/*
 * Redis has no order of its own: ids are collected by SCAN and HSCAN, which may tell one twice, and sorted here. A copy on
 * a server that its partition does not belong to was left there by an earlier list of servers, and nobody reads it.
 */
#include "cart_list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cart_part.h"
#include "redis_scan.h"

enum { PAGE = 1000, FIRST_IDS = 1024 };

/* ---- ids ---- */

static void start_ids(struct tw_cart_ids *ids)
{
    ids->count = ids->next = 0;
}

static void add_id(struct tw_cart_ids *ids, struct tw_uuid id)
{
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? ids->cap + ids->cap / 2 : FIRST_IDS;
        ids->ids = tw_realloc(ids->ids, ids->cap * sizeof(*ids->ids));
    }
    ids->ids[ids->count++] = id;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct tw_uuid));
}

static void sort_ids(struct tw_cart_ids *ids)
{
    size_t kept = 0;

    if (ids->count > 0)
        qsort(ids->ids, ids->count, sizeof(*ids->ids), compare_ids);
    for (size_t i = 0; i < ids->count; i++)
        if (kept == 0 || !tw_uuid_eq(ids->ids[kept - 1], ids->ids[i]))
            ids->ids[kept++] = ids->ids[i];
    ids->count = kept;
}

/* Up to @p max of them. */
static const struct tw_uuid *take_ids(struct tw_cart_ids *ids, size_t max, size_t *ret_count)
{
    size_t first = ids->next, left = ids->count - first;

    *ret_count = left < max ? left : max;
    ids->next += *ret_count;
    return *ret_count > 0 ? &ids->ids[first] : NULL;
}

/* ---- carts ---- */

static enum tw_rc add_copies(struct tw_cart_store *store, struct tw_lane *lane, size_t server, const redisReply *found,
                             const char *where, struct tw_err *reterr)
{
    for (size_t i = 0; i < found->elements; i++) {
        struct tw_str  key = {found->element[i]->str, found->element[i]->len};
        struct tw_uuid member_id;

        if (!tw_cart_key_is_copy(key, &member_id))
            return tw_lane_broken(lane, where, key.ptr, "the name is not that of a cart", reterr);
        if (tw_cart_lives_on(store, member_id, server))
            add_id(&store->carts, member_id);
    }
    return TW_OK;
}

static enum tw_rc scan_server(struct tw_cart_store *store, size_t server, const char *where, struct tw_err *reterr)
{
    static const struct tw_redis_scan scan = {.command = "SCAN", .pattern = "tw:cart:*", .count = PAGE};
    struct tw_lane                   *lane;
    uint64_t                          cursor = 0;

    TW_TRY(tw_cart_server_lane(store, server, where, &lane, reterr));
    do {
        TW_AUTO(tw_reply_free) redisReply *found = NULL;

        TW_TRY(tw_redis_scan(lane, &scan, &cursor, where, &found, reterr));
        TW_TRY(add_copies(store, lane, server, found, where, reterr));
    } while (cursor);
    return TW_OK;
}

enum tw_rc tw_cart_list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                        size_t *ret_count, struct tw_err *reterr)
{
    static const char     where[] = "cart.store.list";
    struct tw_cart_store *store = self;
    const struct tw_uuid *ids;

    assert(kind == 0); /* there are only carts */
    if (from_start) {
        start_ids(&store->carts);
        for (size_t i = 0; i < store->server_count; i++)
            TW_TRY(scan_server(store, i, where, reterr));
        sort_ids(&store->carts);
    }
    ids = take_ids(&store->carts, max, ret_count);
    for (size_t i = 0; i < *ret_count; i++)
        ret_keys[i] = (struct tw_key){.id = ids[i]};
    return TW_OK;
}

/* ---- ledger rows ---- */

/* [id, row, id, row, …] */
static enum tw_rc add_rows(struct tw_cart_part *part, const redisReply *found, const char *key, const char *where,
                           struct tw_err *reterr)
{
    for (size_t i = 0; i < found->elements; i += 2) {
        struct tw_uuid id;

        if (found->element[i]->len != sizeof(id.bytes))
            return tw_lane_broken(&part->lane, where, key, "it has a field that is not an id", reterr);
        memcpy(id.bytes, found->element[i]->str, sizeof(id.bytes));
        add_id(&part->rows, id);
    }
    return TW_OK;
}

static enum tw_rc scan_day(struct tw_cart_part *part, int64_t day, const char *where, struct tw_err *reterr)
{
    char                       key[TW_CART_KEY_SIZE];
    const struct tw_redis_scan scan = {
        .command = "HSCAN",
        .key = {key, tw_cart_key_ledger(part->lane.partition, day, key)},
        .count = PAGE,
    };
    uint64_t cursor = 0;

    do {
        TW_AUTO(tw_reply_free) redisReply *found = NULL;

        TW_TRY(tw_redis_scan(&part->lane, &scan, &cursor, where, &found, reterr));
        TW_TRY(add_rows(part, found, key, where, reterr));
    } while (cursor);
    return TW_OK;
}

/* The clock says which days: it is read, not remembered, because others may have gone on. */
static enum tw_rc scan_rows(struct tw_cart_part *part, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;

    start_ids(&part->rows);
    TW_TRY(tw_cart_part_connect(part, where, reterr));
    tw_cart_part_put_get(part);
    TW_TRY(tw_lane_send(&part->lane, where, reterr));
    TW_TRY(tw_cart_part_receive_progress(part, where, &reply, &progress, reterr));
    for (int64_t day = tw_cart_day(progress.clock_ms) - 1; day <= tw_cart_day(progress.clock_ms); day++)
        TW_TRY(scan_day(part, day, where, reterr));
    sort_ids(&part->rows);
    return TW_OK;
}

enum tw_rc tw_cart_list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                             size_t *ret_count, struct tw_err *reterr)
{
    static const char     where[] = "cart.store.list_rows";
    struct tw_cart_part  *part = tw_cart_part_own(self, partition);
    const struct tw_uuid *ids;

    if (from_start)
        TW_TRY(scan_rows(part, where, reterr));
    ids = take_ids(&part->rows, max, ret_count);
    if (*ret_count > 0)
        memcpy(ret_ids, ids, *ret_count * sizeof(*ids));
    return TW_OK;
}
