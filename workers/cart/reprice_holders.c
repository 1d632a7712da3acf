/*
 * The sets are read with SSCAN, which never blocks the server for long. A lane for each server: they are the policy's
 * own, so no WATCH of the worker's is ever on them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cart_policy.h"
#include "redis_lane.h"
#include "tillwire/gen/topics.h"

static const char where[] = "cart.reprice.holders";

struct redis_holders {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    size_t              server_count;
    struct tw_lane     *lanes; /* by server */
};

static enum tw_rc broken_page(struct tw_lane *lane, const char *key, struct tw_err *reterr)
{
    return tw_lane_broken(lane, where, key, "SSCAN did not answer with a cursor and members' ids", reterr);
}

/* [cursor, [member, …]] */
static enum tw_rc read_page(struct tw_lane *lane, const redisReply *reply, const char *key, struct tw_arena *arena,
                            struct tw_uuid **ret_members, size_t *ret_count, uint64_t *ret_cursor,
                            struct tw_err *reterr)
{
    const redisReply *found = reply->elements == 2 ? reply->element[1] : NULL;
    struct tw_uuid   *members;
    char             *end;

    if (!found || reply->element[0]->type != REDIS_REPLY_STRING || found->type != REDIS_REPLY_ARRAY)
        return broken_page(lane, key, reterr);
    members = TW_NEW_ARRAY(arena, found->elements, struct tw_uuid);
    for (size_t i = 0; i < found->elements; i++) {
        if (found->element[i]->type != REDIS_REPLY_STRING || found->element[i]->len != sizeof(members->bytes))
            return broken_page(lane, key, reterr);
        memcpy(members[i].bytes, found->element[i]->str, sizeof(members->bytes));
    }
    *ret_cursor = strtoull(reply->element[0]->str, &end, 10);
    *ret_members = members;
    *ret_count = found->elements;
    return TW_OK;
}

static void put_scan(struct tw_lane *lane, const char *key, size_t key_len, uint64_t cursor, size_t count)
{
    char text[24];
    int  len = snprintf(text, sizeof(text), "%" PRIu64, cursor);

    tw_lane_command(lane, "SSCAN", 4);
    tw_lane_arg(lane, key, key_len);
    tw_lane_arg(lane, text, (size_t)len);
    tw_lane_text(lane, "COUNT");
    tw_lane_number(lane, (int64_t)count);
}

static enum tw_rc redis_page(void *self, int32_t partition, struct tw_uuid product_id, uint64_t cursor, size_t count,
                             struct tw_arena *arena, struct tw_uuid **ret_members, size_t *ret_count,
                             uint64_t *ret_cursor, struct tw_err *reterr)
{
    struct redis_holders              *holders = self;
    struct tw_lane                    *lane = &holders->lanes[tw_cart_server_of(partition, holders->server_count)];
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    char                               key[TW_CART_KEY_SIZE];
    size_t                             key_len = tw_cart_key_holders(partition, product_id, key);

    lane->partition = partition;
    if (!lane->redis)
        TW_TRY(tw_lane_open(lane, where, reterr));
    put_scan(lane, key, key_len, cursor, count);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_ARRAY, where, key, &reply, reterr));
    return read_page(lane, reply, key, arena, ret_members, ret_count, ret_cursor, reterr);
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
