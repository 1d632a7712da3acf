/*
 * What a bulk fold left out: the readers' keys of all carts of a partition, from their copies, which nobody changes
 * meanwhile. The index of ends tells which carts there are. No transaction is needed: what is written is what must be
 * there, however often, and only when all of it is, the key that says it is missing goes, under the partition's fence.
 */
#include <string.h>

#include "cart_store.h"
#include "cart_write.h"
#include "redis_scan.h"

enum { PAGE = 1000 };

static const char where_[] = "cart.store.project";

/* [member, score, member, score, …] */
static enum tw_rc read_members(struct tw_cart_part *part, const redisReply *found, const char *key,
                               struct tw_uuid *ret_members, struct tw_err *reterr)
{
    for (size_t i = 0; i < found->elements; i += 2) {
        const redisReply *member = found->element[i];

        if (member->len != sizeof(ret_members->bytes))
            return tw_lane_broken(&part->lane, where_, key, "it holds what is not a member's id", reterr);
        memcpy(ret_members[i / 2].bytes, member->str, member->len);
    }
    return TW_OK;
}

static enum tw_rc load_copies(struct tw_cart_part *part, const struct tw_uuid *members, size_t count,
                              const struct tw_cart **ret_carts, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++)
        tw_cart_put_on_key(part, "GET", key, tw_cart_key_copy(members[i], key));
    TW_TRY(tw_lane_send(&part->lane, where_, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(tw_cart_receive_copy(&part->lane, members[i], &part->arena, where_, &ret_carts[i], reterr));
    return TW_OK;
}

static enum tw_rc write_page(struct tw_cart_part *part, const redisReply *found, const char *key, struct tw_err *reterr)
{
    size_t                 count = found->elements / 2;
    struct tw_uuid        *members;
    const struct tw_cart **carts;

    tw_arena_reset(&part->arena);
    members = TW_NEW_ARRAY(&part->arena, count + 1, struct tw_uuid);
    carts = TW_NEW_ARRAY(&part->arena, count, const struct tw_cart *);
    TW_TRY(read_members(part, found, key, members, reterr));
    TW_TRY(load_copies(part, members, count, carts, reterr));
    for (size_t i = 0; i < count; i++)
        if (carts[i])
            tw_cart_put_for_readers(part, members[i], carts[i]);
    TW_TRY(tw_lane_send(&part->lane, where_, reterr));
    while (part->lane.unanswered > 0)
        TW_TRY(tw_lane_receive_ok(&part->lane, where_, "SET", reterr));
    return TW_OK;
}

static enum tw_rc write_all(struct tw_cart_part *part, struct tw_err *reterr)
{
    char                       key[TW_CART_KEY_SIZE];
    const struct tw_redis_scan scan = {
        .command = "ZSCAN",
        .key = {key, tw_cart_key_ends(part->lane.partition, key)},
        .count = PAGE,
    };
    uint64_t cursor = 0;

    do {
        TW_AUTO(tw_reply_free) redisReply *found = NULL;

        TW_TRY(tw_redis_scan(&part->lane, &scan, &cursor, where_, &found, reterr));
        TW_TRY(write_page(part, found, key, reterr));
    } while (cursor);
    return TW_OK;
}

enum tw_rc tw_cart_store_project(struct tw_store *store, int32_t partition, struct tw_err *reterr)
{
    struct tw_cart_part *part = tw_cart_part_connected(store->self, partition, where_, reterr);
    char                 key[TW_CART_KEY_SIZE];

    if (!part)
        return TW_UNREACHED;
    tw_cart_part_put_watch(part);
    tw_cart_part_put_unprojected(part);
    TW_TRY(tw_lane_send(&part->lane, where_, reterr));
    TW_TRY(tw_cart_part_receive_watch(part, part->known.next_offset, where_, reterr));
    TW_TRY(tw_cart_part_receive_unprojected(part, where_, reterr));
    if (!part->unprojected)
        return tw_cart_part_unwatch(part, where_, reterr);
    TW_TRY(write_all(part, reterr));
    tw_lane_command(&part->lane, "MULTI", 0);
    tw_cart_put_on_key(part, "UNLINK", key, tw_cart_key_unprojected(partition, key));
    TW_TRY(tw_cart_part_exec(part, where_, reterr));
    part->unprojected = false;
    return TW_OK;
}
