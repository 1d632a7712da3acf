/*
 * The sets are read with SSCAN, which never blocks the server for long. A lane for each server: they are the policy's
 * own, so no WATCH of the worker's is ever on them.
 */
#include <stdlib.h>
#include <string.h>

#include "cart_policy.h"
#include "redis_scan.h"
#include "tillwire/gen/topics.h"

static const char where[] = "cart.reprice.holders";

struct redis_holders {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    size_t              server_count;
    struct tw_lane     *lanes; /* by server */
};

static enum tw_rc read_members(struct tw_lane *lane, const redisReply *found, const char *key, struct tw_arena *arena,
                               struct tw_uuid **ret_members, struct tw_err *reterr)
{
    struct tw_uuid *members = TW_NEW_ARRAY(arena, found->elements, struct tw_uuid);

    for (size_t i = 0; i < found->elements; i++) {
        if (found->element[i]->len != sizeof(members->bytes))
            return tw_lane_broken(lane, where, key, "it holds what is not a member's id", reterr);
        memcpy(members[i].bytes, found->element[i]->str, sizeof(members->bytes));
    }
    *ret_members = members;
    return TW_OK;
}

static enum tw_rc redis_page(void *self, int32_t partition, struct tw_uuid product_id, uint64_t cursor, size_t count,
                             struct tw_arena *arena, struct tw_uuid **ret_members, size_t *ret_count,
                             uint64_t *ret_cursor, struct tw_err *reterr)
{
    struct redis_holders              *holders = self;
    struct tw_lane                    *lane = &holders->lanes[tw_cart_server_of(partition, holders->server_count)];
    TW_AUTO(tw_reply_free) redisReply *found = NULL;
    char                               key[TW_CART_KEY_SIZE];
    const struct tw_redis_scan scan = {"SSCAN", {key, tw_cart_key_holders(partition, product_id, key)}, NULL, count};

    lane->partition = partition;
    if (!lane->redis)
        TW_TRY(tw_lane_open(lane, where, reterr));
    TW_TRY(tw_redis_scan(lane, &scan, &cursor, where, &found, reterr));
    TW_TRY(read_members(lane, found, key, arena, ret_members, reterr));
    *ret_count = found->elements;
    *ret_cursor = cursor;
    return TW_OK;
}

static void close_holders(void *self)
{
    struct redis_holders *holders = self;

    for (size_t i = 0; holders && i < holders->server_count; i++)
        tw_lane_close(&holders->lanes[i]);
    if (holders) {
        explicit_bzero(holders->servers, sizeof(holders->servers));
        free(holders->lanes);
    }
    free(holders);
}

enum tw_rc tw_redis_holders_open(const char *redis_uris, int timeout_ms, struct tw_holders *ret_holders,
                                 struct tw_err *reterr)
{
    struct redis_holders *holders = tw_alloc_zeroed(1, sizeof(*holders));
    enum tw_rc            rc = tw_redis_uris_parse(redis_uris, holders->servers, &holders->server_count, reterr);

    if (rc != TW_OK) {
        free(holders);
        return rc;
    }
    holders->lanes = tw_alloc_zeroed(holders->server_count, sizeof(*holders->lanes));
    for (size_t i = 0; i < holders->server_count; i++) {
        holders->lanes[i].server = &holders->servers[i];
        holders->lanes[i].timeout_ms = timeout_ms;
    }
    *ret_holders = (struct tw_holders){
        .partition_count = tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS)->partitions,
        .server_count = (int32_t)holders->server_count,
        .page = redis_page,
        .close = close_holders,
        .self = holders,
    };
    return TW_OK;
}
