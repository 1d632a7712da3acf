/*
 * On one server a swap is one transaction under a WATCH of all that it rests on, so it happens or does not.
 *
 * Several servers are swapped one after the other, and that may end between two of them. It is right to go on later,
 * because a partition lives on one server with all that is its own: the servers that were swapped are whole, and so are
 * the others. Two steps keep it so:
 *
 *   1. from the first server to the last: marks become lasting ones, and the hash gets the field `going`;
 *   2. from the first to the last: SWAPDB, which leaves neither marks nor `going`.
 *
 * Between them no partition of a server that waits for its swap moves, and its hash tells that it waits. So if the last
 * server has `going`, step 1 was done, and servers without it have been swapped; if it has not, no server was swapped by
 * this call, and all begins anew.
 */
#include "cart_swap.h"

#include <inttypes.h>

#include "redis_lane.h"
#include "tillwire/failpoint.h"

/* In either direction. */
struct swap {
    struct tw_cart_pairs   *pairs;
    enum tw_shadow_content  from; /* what takes the live store's place */
    const struct tw_frozen *frozen;
    int32_t                 partition_count;
    bool                    is_lasting;   /* the marks are those of step 1 */
    struct tw_progress     *live, *other; /* by partition, as last asked; in the arena */
    int64_t                 epoch;        /* of the live database, as last asked */
    struct tw_arena         arena;
};

/* ---- what it rests on ---- */

static int32_t first_partition(size_t server)
{
    return (int32_t)server;
}

static int32_t next_partition(const struct swap *swap, int32_t partition)
{
    return partition + (int32_t)swap->pairs->server_count;
}

/* Watches the progress of the server's partitions in one of its databases, and reads it. */
static void put_side(const struct swap *swap, struct tw_lane *lane, size_t server, int db)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_put_select(lane, db);
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        tw_cart_key_progress(p, key);
        tw_cart_put_on_text(lane, "WATCH", key);
        tw_cart_put_on_text(lane, "GET", key);
    }
}

static enum tw_rc receive_side(struct swap *swap, struct tw_lane *lane, size_t server, const char *where,
                               struct tw_progress *ret_side, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        TW_AUTO(tw_reply_free) redisReply *reply = NULL;

        tw_cart_key_progress(p, key);
        TW_TRY(tw_lane_receive_ok(lane, where, "WATCH", reterr));
        TW_TRY(tw_lane_receive(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
        if (!tw_cart_progress_unpack((struct tw_str){reply->str, reply->len}, &ret_side[p]))
            return tw_lane_broken(lane, where, key, "it holds what this release cannot read", reterr);
        ret_side[p].outbox = tw_arena_copy(&swap->arena, ret_side[p].outbox);
    }
    return TW_OK;
}

static void put_unprojected(const struct swap *swap, struct tw_lane *lane, size_t server)
{
    char key[TW_CART_KEY_SIZE];

    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        tw_cart_key_unprojected(p, key);
        tw_cart_put_on_text(lane, "EXISTS", key);
    }
}

/* What a bulk fold left out must be there before readers come. */
static enum tw_rc receive_unprojected(const struct swap *swap, struct tw_lane *lane, size_t server, const char *where,
                                      struct tw_err *reterr)
{
    int32_t unprojected = -1;

    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        TW_AUTO(tw_reply_free) redisReply *reply = NULL;

        TW_TRY(tw_lane_receive(lane, REDIS_REPLY_INTEGER, where, "EXISTS", &reply, reterr));
        if (reply->integer)
            unprojected = p;
    }
    if (unprojected < 0)
        return TW_OK;
    tw_lane_close(lane); /* with the answers that are left */
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %" PRId32 " of the shadow lacks what readers see",
                   unprojected);
}

static enum tw_rc receive_epoch(struct tw_lane *lane, const char *where, int64_t *ret_epoch, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;

    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_STRING, where, TW_CART_KEY_EPOCH, &reply, reterr));
    return tw_cart_epoch_unpack((struct tw_str){reply->str, reply->len}, ret_epoch)
               ? TW_OK
               : tw_lane_broken(lane, where, TW_CART_KEY_EPOCH, "it is no number", reterr);
}

/* Both databases; the live one is selected afterwards. */
static enum tw_rc ask_server(struct swap *swap, size_t server, const char *where, struct tw_lane **ret_lane,
                             struct tw_err *reterr)
{
    struct tw_cart_pairs *pairs = swap->pairs;
    struct tw_lane       *lane;

    TW_TRY(tw_cart_pairs_connect(pairs, server, where, &lane, reterr));
    tw_lane_command(lane, "UNWATCH", 0); /* what an earlier question watched */
    put_side(swap, lane, server, pairs->dbs[server]);
    put_unprojected(swap, lane, server);
    put_side(swap, lane, server, pairs->servers[server].db);
    tw_cart_put_on_text(lane, "GET", TW_CART_KEY_EPOCH);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "UNWATCH", reterr));
    TW_TRY(receive_side(swap, lane, server, where, swap->other, reterr));
    TW_TRY(receive_unprojected(swap, lane, server, where, reterr));
    TW_TRY(receive_side(swap, lane, server, where, swap->live, reterr));
    TW_TRY(receive_epoch(lane, where, &swap->epoch, reterr));
    *ret_lane = lane;
    return TW_OK;
}

static int64_t lasting(int64_t mark)
{
    return mark > 0 ? -mark : mark;
}

static int64_t mark_of(const struct swap *swap, int32_t partition)
{
    int64_t mark = swap->frozen[partition].mark;

    return swap->is_lasting ? lasting(mark) : mark;
}

static enum tw_rc check_live(const struct swap *swap, int32_t partition, const char *where, struct tw_err *reterr)
{
    const struct tw_frozen   *frozen = &swap->frozen[partition];
    const struct tw_progress *live = &swap->live[partition];

    if (live->mark == 0 || live->mark != mark_of(swap, partition) || live->next_offset != frozen->next_offset)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %" PRId32 " is not frozen at %" PRId64, partition,
                       frozen->next_offset);
    if (swap->from == TW_SHADOW_MADE && live->outbox.len > 0)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %" PRId32 " still has events to publish", partition);
    return TW_OK;
}

static enum tw_rc check_shadow(const struct swap *swap, int32_t partition, const char *where, struct tw_err *reterr)
{
    const struct tw_progress *other = &swap->other[partition];

    if (other->mark)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %" PRId32 " of the shadow is frozen", partition);
    if (other->next_offset != swap->frozen[partition].next_offset)
        return tw_fail(reterr, TW_FENCED, where, 0,
                       "partition %" PRId32 " of the shadow is at %" PRId64 ", the live one at %" PRId64, partition,
                       other->next_offset, swap->frozen[partition].next_offset);
    return TW_OK;
}

/* Asks, and compares with what the caller froze. */
static enum tw_rc check_server(struct swap *swap, size_t server, const char *where, struct tw_lane **ret_lane,
                               struct tw_err *reterr)
{
    TW_TRY(ask_server(swap, server, where, ret_lane, reterr));
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        TW_TRY(check_live(swap, p, where, reterr));
        if (swap->from == TW_SHADOW_MADE)
            TW_TRY(check_shadow(swap, p, where, reterr));
    }
    return TW_OK;
}

/* ---- step 1, marks that last ---- */

static void put_progress(struct tw_lane *lane, int32_t partition, const struct tw_progress *progress)
{
    struct tw_buf value = {0};
    char          key[TW_CART_KEY_SIZE];

    tw_cart_progress_pack(progress, &value);
    tw_lane_command(lane, "SET", 2);
    tw_lane_arg(lane, key, tw_cart_key_progress(partition, key));
    tw_lane_str(lane, tw_buf_str(&value));
    tw_buf_done(&value);
}

static void put_mark(const struct swap *swap, struct tw_lane *lane, int32_t partition, int64_t mark)
{
    struct tw_progress progress = swap->live[partition];

    progress.mark = mark;
    put_progress(lane, partition, &progress);
}

static void put_going(const struct swap *swap, struct tw_lane *lane, bool goes)
{
    tw_lane_command(lane, goes ? "HSET" : "HDEL", goes ? 3 : 2);
    tw_lane_text(lane, tw_cart_key_of_content(swap->from));
    tw_lane_text(lane, "going");
    if (goes)
        tw_lane_text(lane, "1");
}

static enum tw_rc execute(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    tw_lane_command(lane, "EXEC", 0);
    TW_TRY(tw_lane_send(lane, where, reterr));
    return tw_lane_receive_transaction(lane, where, reterr);
}

static enum tw_rc mark_server(struct swap *swap, size_t server, bool goes, const char *where, struct tw_err *reterr)
{
    struct tw_lane *lane;

    TW_TRY(check_server(swap, server, where, &lane, reterr));
    tw_lane_command(lane, "MULTI", 0);
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p))
        put_mark(swap, lane, p, goes ? lasting(swap->frozen[p].mark) : swap->frozen[p].mark);
    tw_cart_put_select(lane, swap->pairs->dbs[server]);
    put_going(swap, lane, goes);
    return execute(lane, where, reterr);
}

/* Undone when a server refuses, as far as it can be: nothing has happened then. */
static enum tw_rc mark_servers(struct swap *swap, const char *where, struct tw_err *reterr)
{
    size_t     done = 0;
    enum tw_rc rc = TW_OK;

    while (rc == TW_OK && done < swap->pairs->server_count) {
        rc = tw_failpoint("swap_marks") ? tw_fail(reterr, TW_UNREACHED, where, 0, "stopped at a failpoint")
                                        : mark_server(swap, done, true, where, reterr);
        done += rc == TW_OK;
    }
    swap->is_lasting = true;
    if (rc == TW_FENCED)
        while (done > 0)
            mark_server(swap, --done, false, where, NULL);
    return rc;
}

/* ---- step 2 ---- */

static void put_old(const struct swap *swap, struct tw_lane *lane, size_t server)
{
    char text[TW_CART_SERVER_TEXT];

    tw_lane_command(lane, "HSET", 3);
    tw_lane_text(lane, TW_CART_KEY_OLD);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, tw_cart_server_text(swap->pairs, server, text));
}

/* What stands there is its maker's, and nothing to publish. */
static void put_no_outboxes(const struct swap *swap, struct tw_lane *lane, size_t server)
{
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        struct tw_progress progress = swap->other[p];

        progress.outbox = (struct tw_str){NULL, 0};
        put_progress(lane, p, &progress);
    }
}

static enum tw_rc swap_server(struct swap *swap, size_t server, const char *where, struct tw_err *reterr)
{
    int             live_db = swap->pairs->servers[server].db, other_db = swap->pairs->dbs[server];
    struct tw_lane *lane;

    TW_TRY(check_server(swap, server, where, &lane, reterr));
    tw_lane_command(lane, "MULTI", 0);
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p))
        put_mark(swap, lane, p, 0);
    put_old(swap, lane, server);
    tw_cart_put_select(lane, other_db);
    tw_cart_put_on_text(lane, "DEL", tw_cart_key_of_content(swap->from));
    if (swap->from == TW_SHADOW_MADE)
        put_no_outboxes(swap, lane, server);
    tw_lane_command(lane, "SET", 2);
    tw_lane_text(lane, TW_CART_KEY_EPOCH);
    tw_lane_number(lane, swap->epoch + 1);
    tw_lane_command(lane, "SWAPDB", 2);
    tw_lane_number(lane, live_db);
    tw_lane_number(lane, other_db);
    return execute(lane, where, reterr);
}

static enum tw_rc check_content(const struct swap *swap, size_t server, const struct tw_cart_content *content,
                                const char *where, struct tw_err *reterr)
{
    if (content->what != swap->from)
        return tw_cart_pairs_fail(swap->pairs, server,
                                  swap->from == TW_SHADOW_MADE ? "holds no shadow" : "holds no store of before a swap",
                                  where, reterr);
    if (content->is_elsewhere)
        return tw_cart_pairs_fail(swap->pairs, server, "was made for another list of Redis servers", where, reterr);
    return TW_OK;
}

/* Of those that wait for their swap. */
static enum tw_rc check_contents(const struct swap *swap, const struct tw_cart_content *contents, bool resumed,
                                 const char *where, struct tw_err *reterr)
{
    for (size_t i = 0; i < swap->pairs->server_count; i++)
        if (!resumed || contents[i].is_going)
            TW_TRY(check_content(swap, i, &contents[i], where, reterr));
    return TW_OK;
}

static enum tw_rc prepare(struct swap *swap, const char *where, struct tw_err *reterr)
{
    struct tw_lane *lane;

    for (size_t i = 0; i < swap->pairs->server_count; i++)
        TW_TRY(check_server(swap, i, where, &lane, reterr));
    return swap->pairs->server_count > 1 ? mark_servers(swap, where, reterr) : TW_OK;
}

/* After the first server there is no way back: FENCED would say that nothing has happened. */
static enum tw_rc fail_half_way(size_t server, const struct tw_err *why, const char *where, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, where, 0, "Redis server %zu does not follow those that were swapped: %.100s",
                   server + 1, why->msg);
}

static enum tw_rc swap_servers(struct swap *swap, tw_swap_fn tell, void *teller, const char *where,
                               struct tw_err *reterr)
{
    size_t                 count = swap->pairs->server_count;
    struct tw_cart_content contents[TW_REDIS_SERVERS_MAX];
    bool                   resumed;

    TW_TRY(tw_cart_pairs_look_all(swap->pairs, where, contents, reterr));
    resumed = swap->is_lasting = tw_cart_is_half_swapped(swap->pairs, contents);
    TW_TRY(check_contents(swap, contents, resumed, where, reterr));
    if (!resumed)
        TW_TRY(prepare(swap, where, reterr));
    for (size_t i = 0; i < count; i++) {
        struct tw_err why = {0};
        enum tw_rc    rc = TW_OK;

        if (i > 0 && tw_failpoint("swap_between"))
            return tw_fail(reterr, TW_UNREACHED, where, 0, "stopped at a failpoint");
        if (!resumed || contents[i].is_going)
            rc = swap_server(swap, i, where, &why);
        if (rc == TW_FENCED && (i > 0 || resumed))
            return fail_half_way(i, &why, where, reterr);
        if (rc != TW_OK)
            return tw_fail(reterr, rc, why.where, why.native, "%s", why.msg);
        if (tell)
            tell(teller, (int64_t)i + 1, (int64_t)count);
    }
    return TW_OK;
}

enum tw_rc tw_cart_swap(struct tw_cart_pairs *pairs, enum tw_shadow_content from, const struct tw_frozen *frozen,
                        int32_t partition_count, tw_swap_fn tell, void *teller, const char *where,
                        struct tw_err *reterr)
{
    struct swap swap = {.pairs = pairs, .from = from, .frozen = frozen, .partition_count = partition_count};
    enum tw_rc  rc;

    swap.live = TW_NEW_ARRAY(&swap.arena, (size_t)partition_count, struct tw_progress);
    swap.other = TW_NEW_ARRAY(&swap.arena, (size_t)partition_count, struct tw_progress);
    rc = swap_servers(&swap, tell, teller, where, reterr);
    tw_arena_done(&swap.arena);
    return rc;
}
