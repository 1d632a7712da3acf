#include "stores/carts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stores/redis_pool.h"
#include "tillwire/cart_keys.h"
#include "tillwire/envelope.h"
#include "tillwire/gen/topics.h"
#include "tillwire/ledger.h"

#define WHERE "edge.carts"

struct tw_carts {
    struct tw_redis_pool *pool;
};

enum tw_rc tw_carts_open(const char *redis_uris, size_t connections, struct tw_carts **ret_carts, struct tw_err *reterr)
{
    struct tw_redis_pool *pool = NULL;

    TW_TRY(tw_redis_pool_open(redis_uris, connections, &pool, reterr));
    struct tw_carts *carts = tw_alloc_zeroed(1, sizeof(*carts));
    carts->pool = pool;
    *ret_carts = carts;
    return TW_OK;
}

void tw_carts_close(struct tw_carts *carts)
{
    if (!carts)
        return;
    tw_redis_pool_close(carts->pool);
    free(carts);
}

static size_t server_of(const struct tw_carts *carts, int32_t partition)
{
    return tw_cart_server_of(partition, tw_redis_pool_servers(carts->pool));
}

static int32_t partition_of(struct tw_uuid member_id)
{
    return tw_partition_of_id(member_id, tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_COMMANDS)->partitions);
}

/** Unpacked from a copy in the arena, because the cart's texts are views. */
static enum tw_rc read_cart(const redisReply *reply, struct tw_arena *arena, struct tw_cart *ret_cart,
                            struct tw_err *reterr)
{
    if (reply->type != REDIS_REPLY_STRING) {
        *ret_cart = (struct tw_cart){0};
        return TW_OK;
    }
    return tw_cart_type.unpack(tw_arena_copy(arena, (struct tw_str){reply->str, reply->len}), arena, ret_cart, reterr);
}

enum tw_rc tw_carts_get(struct tw_carts *carts, struct tw_uuid member_id, int64_t now_ms, struct tw_arena *arena,
                        struct tw_cart *ret_cart, struct tw_err *reterr)
{
    char                                        key[TW_CART_KEY_SIZE];
    size_t                                      key_len = tw_cart_key_copy(member_id, key);
    const char                                 *argv[] = {"GET", key};
    size_t                                      lengths[] = {3, key_len};
    struct tw_cart                              cart = {0};
    TW_AUTO(tw_redis_reply_release) redisReply *reply = NULL;

    TW_TRY(tw_redis_pool_run(carts->pool, server_of(carts, partition_of(member_id)), 2, argv, lengths, &reply, reterr));
    TW_TRY(read_cart(reply, arena, &cart, reterr));
    *ret_cart = tw_cart_is_live(&cart, now_ms) ? cart : (struct tw_cart){.member_id = member_id};
    return TW_OK;
}

/** A row of one day's hash; NOT_FOUND: it is not there. */
static enum tw_rc ledger_of_day(struct tw_carts *carts, struct tw_uuid command_id, int64_t day, struct tw_arena *arena,
                                struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    int32_t                                     partition = tw_command_id_partition(command_id);
    struct tw_uuid                              ledger_id = tw_command_id_ledger(command_id);
    char                                        key[TW_CART_KEY_SIZE];
    char                                        field[sizeof(ledger_id.bytes)];
    size_t                                      key_len = tw_cart_key_ledger(partition, day, key);
    const char                                 *argv[] = {"HGET", key, field};
    size_t                                      lengths[] = {4, key_len, sizeof(field)};
    TW_AUTO(tw_redis_reply_release) redisReply *reply = NULL;

    memcpy(field, ledger_id.bytes, sizeof(field));
    TW_TRY(tw_redis_pool_run(carts->pool, server_of(carts, partition), 3, argv, lengths, &reply, reterr));
    if (reply->type != REDIS_REPLY_STRING)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "the ledger does not know the command");
    ret_row->id = ledger_id;
    return tw_ledger_row_unpack((struct tw_str){reply->str, reply->len}, arena, ret_row, reterr);
}

enum tw_rc tw_carts_ledger(struct tw_carts *carts, struct tw_uuid command_id, int64_t now_ms, struct tw_arena *arena,
                           struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    int64_t    today = tw_cart_day(now_ms);
    enum tw_rc rc = TW_NOT_FOUND;

    /* The day is the partition's clock's, which may be a little ahead of ours or, after a silence, behind. */
    for (int64_t day = today + 1; rc == TW_NOT_FOUND && day >= today - 1; day--)
        rc = ledger_of_day(carts, command_id, day, arena, ret_row, reterr);
    return rc;
}

enum tw_rc tw_carts_watermark(struct tw_carts *carts, int32_t partition, int64_t *ret_next_offset,
                              struct tw_err *reterr)
{
    char               last[16];
    char               key[TW_CART_KEY_SIZE];
    size_t             key_len = tw_cart_key_progress(partition, key);
    const char        *argv[] = {"GETRANGE", key, "0", last};
    int                last_len = snprintf(last, sizeof(last), "%d", TW_CART_PROGRESS_HEAD_MAX - 1);
    size_t             lengths[] = {8, key_len, 1, (size_t)last_len};
    struct tw_progress progress;
    TW_AUTO(tw_redis_reply_release) redisReply *reply = NULL;

    TW_TRY(tw_redis_pool_run(carts->pool, server_of(carts, partition), 4, argv, lengths, &reply, reterr));
    if (reply->type != REDIS_REPLY_STRING ||
        !tw_cart_progress_unpack((struct tw_str){reply->str, reply->len}, &progress))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "partition %d: the progress cannot be read", (int)partition);
    *ret_next_offset = progress.next_offset;
    return TW_OK;
}

enum tw_rc tw_carts_ping(struct tw_carts *carts, struct tw_err *reterr)
{
    const char *argv[] = {"PING"};
    size_t      lengths[] = {4};

    for (size_t i = 0; i < tw_redis_pool_servers(carts->pool); i++) {
        TW_AUTO(tw_redis_reply_release) redisReply *reply = NULL;
        TW_TRY(tw_redis_pool_run(carts->pool, i, 1, argv, lengths, &reply, reterr));
    }
    return TW_OK;
}
