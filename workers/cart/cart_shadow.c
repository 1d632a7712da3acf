/*
 * Each server has a live database and, of another number, the shadow's or the old one's. A hash in the latter says which
 * it is: `tw:shadow` or `tw:old`; without it the database is foreign. On one server a swap is one transaction under a
 * WATCH of all that it rests on, so it happens or does not.
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
#include "cart_shadow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_lane.h"
#include "tillwire/failpoint.h"

enum { SERVER_TEXT = 48 };

struct cart_shadow {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX]; /* with the live databases */
    int                 dbs[TW_REDIS_SERVERS_MAX];     /* the others */
    size_t              server_count;
    struct tw_lane     *lanes; /* by server */
    struct tw_buf       uri, place;
};

/* What one server's other database says of itself. */
struct content {
    enum tw_shadow_content what;
    bool                   is_elsewhere; /* it was made for another list of servers */
    bool                   is_going;
    char                   note[TW_SHADOW_NOTE + 1];
};

/* A swap, in either direction. */
struct swap {
    struct cart_shadow     *shadow;
    enum tw_shadow_content  from; /* what takes the live store's place */
    const struct tw_frozen *frozen;
    int32_t                 partition_count;
    bool                    is_lasting;   /* the marks are those of step 1 */
    struct tw_progress     *live, *other; /* by partition, as last asked; in the arena */
    int64_t                 epoch;        /* of the live database, as last asked */
    struct tw_arena         arena;
};

/* ---- commands ---- */

static enum tw_rc connect_server(struct cart_shadow *shadow, size_t server, const char *where,
                                 struct tw_lane **ret_lane, struct tw_err *reterr)
{
    struct tw_lane *lane = &shadow->lanes[server];

    if (!lane->redis)
        TW_TRY(tw_lane_open(lane, where, reterr));
    *ret_lane = lane;
    return TW_OK;
}

static void put_select(struct tw_lane *lane, int db)
{
    tw_lane_command(lane, "SELECT", 1);
    tw_lane_number(lane, db);
}

static void put_on_text(struct tw_lane *lane, const char *name, const char *key)
{
    tw_lane_command(lane, name, 1);
    tw_lane_text(lane, key);
}

/* "2/3": so a database is taken for ours only as part of the list of servers that it was made for. */
static const char *server_text(const struct cart_shadow *shadow, size_t server, char ret_text[SERVER_TEXT])
{
    snprintf(ret_text, SERVER_TEXT, "%zu/%zu", server + 1, shadow->server_count);
    return ret_text;
}

static const char *key_of(enum tw_shadow_content what)
{
    return what == TW_SHADOW_OLD ? TW_CART_KEY_OLD : TW_CART_KEY_SHADOW;
}

static enum tw_rc fail_content(const struct cart_shadow *shadow, size_t server, const char *what, const char *where,
                               struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, where, 0, "database %d of Redis %s:%d %s", shadow->dbs[server],
                   shadow->servers[server].host, shadow->servers[server].port, what);
}

/* ---- what is there ---- */

static void put_hash(struct tw_lane *lane, const char *key)
{
    tw_lane_command(lane, "HMGET", 4);
    tw_lane_text(lane, key);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, "note");
    tw_lane_text(lane, "going");
}

static bool is_text(const redisReply *value)
{
    return value->type == REDIS_REPLY_STRING;
}

static void read_hash(const redisReply *reply, const char *server, enum tw_shadow_content what, struct content *content)
{
    if (!is_text(reply->element[0]))
        return;
    content->what = what;
    content->is_elsewhere = strcmp(reply->element[0]->str, server) != 0;
    if (is_text(reply->element[1]))
        snprintf(content->note, sizeof(content->note), "%s", reply->element[1]->str);
    content->is_going = is_text(reply->element[2]);
}

/* A key of another type is not ours: what remains is FOREIGN. */
static enum tw_rc receive_hash(struct tw_lane *lane, const char *server, enum tw_shadow_content what, const char *where,
                               struct content *content, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = tw_lane_answer(lane, TW_UNREACHED, where, reterr);

    if (!reply)
        return TW_UNREACHED;
    if (reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "WRONGTYPE", sizeof("WRONGTYPE") - 1))
        return TW_OK;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return tw_lane_refuse(lane, reply, where, key_of(what), reterr);
    read_hash(reply, server, what, content);
    return TW_OK;
}

static enum tw_rc look_at(struct cart_shadow *shadow, size_t server, const char *where, struct content *ret_content,
                          struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *size = NULL;
    struct content                     content;
    struct tw_lane                    *lane;
    char                               text[SERVER_TEXT];

    TW_TRY(connect_server(shadow, server, where, &lane, reterr));
    put_select(lane, shadow->dbs[server]);
    tw_lane_command(lane, "DBSIZE", 0);
    put_hash(lane, TW_CART_KEY_OLD);
    put_hash(lane, TW_CART_KEY_SHADOW);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_INTEGER, where, "DBSIZE", &size, reterr));
    content = (struct content){.what = size->integer > 0 ? TW_SHADOW_FOREIGN : TW_SHADOW_NONE};
    server_text(shadow, server, text);
    TW_TRY(receive_hash(lane, text, TW_SHADOW_OLD, where, &content, reterr));
    TW_TRY(receive_hash(lane, text, TW_SHADOW_MADE, where, &content, reterr));
    *ret_content = content;
    return TW_OK;
}

static enum tw_rc look_at_all(struct cart_shadow *shadow, const char *where,
                              struct content ret_contents[TW_REDIS_SERVERS_MAX], struct tw_err *reterr)
{
    for (size_t i = 0; i < shadow->server_count; i++)
        TW_TRY(look_at(shadow, i, where, &ret_contents[i], reterr));
    return TW_OK;
}

/* Was a swap ended between two servers? See above. */
static bool is_half_swapped(const struct cart_shadow *shadow, const struct content *contents)
{
    return shadow->server_count > 1 && contents[shadow->server_count - 1].is_going;
}

/* ---- look, make, drop ---- */

/* Of all servers: what must be cared for first. */
static enum tw_shadow_content sum_up(const struct content *contents, size_t count)
{
    static const enum tw_shadow_content order[] = {TW_SHADOW_FOREIGN, TW_SHADOW_MADE, TW_SHADOW_OLD};

    for (size_t o = 0; o < TW_LEN(order); o++)
        for (size_t i = 0; i < count; i++)
            if (contents[i].what == order[o])
                return order[o];
    return TW_SHADOW_NONE;
}

/* Half made, or made for other servers, it is nobody's: the note is empty. A server that was swapped has none left. */
static const char *common_note(const struct content *contents, size_t count)
{
    const char *note = contents[count - 1].note;

    for (size_t i = 0; i < count; i++) {
        if (contents[i].is_elsewhere || contents[i].what == TW_SHADOW_NONE)
            return "";
        if (contents[i].what == TW_SHADOW_MADE && strcmp(contents[i].note, note) != 0)
            return "";
    }
    return note;
}

static enum tw_rc shadow_look(void *self, enum tw_shadow_content *ret_content, char ret_note[TW_SHADOW_NOTE + 1],
                              struct tw_err *reterr)
{
    struct cart_shadow    *shadow = self;
    struct content         contents[TW_REDIS_SERVERS_MAX];
    enum tw_shadow_content all;

    TW_TRY(look_at_all(shadow, "cart.shadow.look", contents, reterr));
    all = sum_up(contents, shadow->server_count);
    if (is_half_swapped(shadow, contents))
        all = contents[shadow->server_count - 1].what == TW_SHADOW_MADE ? TW_SHADOW_SWAPPING : TW_SHADOW_SWAPPING_BACK;
    snprintf(ret_note, TW_SHADOW_NOTE + 1, "%s",
             all == TW_SHADOW_MADE ? common_note(contents, shadow->server_count) : "");
    *ret_content = all;
    return TW_OK;
}

static enum tw_rc make_on(struct cart_shadow *shadow, size_t server, const char *note, const char *where,
                          struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *added = NULL;
    struct tw_lane                    *lane;
    char                               text[SERVER_TEXT];

    TW_TRY(connect_server(shadow, server, where, &lane, reterr));
    put_select(lane, shadow->dbs[server]);
    tw_lane_command(lane, "HSET", 5);
    tw_lane_text(lane, TW_CART_KEY_SHADOW);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, server_text(shadow, server, text));
    tw_lane_text(lane, "note");
    tw_lane_text(lane, note);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    return tw_lane_receive(lane, REDIS_REPLY_INTEGER, where, TW_CART_KEY_SHADOW, &added, reterr);
}

static enum tw_rc shadow_make(void *self, const char *note, struct tw_err *reterr)
{
    static const char   where[] = "cart.shadow.make";
    struct cart_shadow *shadow = self;
    struct content      contents[TW_REDIS_SERVERS_MAX];

    assert(strlen(note) <= TW_SHADOW_NOTE);
    TW_TRY(look_at_all(shadow, where, contents, reterr));
    for (size_t i = 0; i < shadow->server_count; i++)
        if (contents[i].what != TW_SHADOW_NONE)
            return fail_content(shadow, i, "is not empty", where, reterr);
    for (size_t i = 0; i < shadow->server_count; i++)
        TW_TRY(make_on(shadow, i, note, where, reterr));
    return TW_OK;
}

/* Whoever made it his own since we looked is not hurt: both hashes are watched. */
static enum tw_rc drop_on(struct cart_shadow *shadow, size_t server, const char *where, struct tw_err *reterr)
{
    struct tw_lane *lane;
    struct content  content;

    TW_TRY(connect_server(shadow, server, where, &lane, reterr));
    put_select(lane, shadow->dbs[server]);
    tw_lane_command(lane, "WATCH", 2);
    tw_lane_text(lane, TW_CART_KEY_SHADOW);
    tw_lane_text(lane, TW_CART_KEY_OLD);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "WATCH", reterr));
    TW_TRY(look_at(shadow, server, where, &content, reterr));
    tw_lane_command(lane, "MULTI", 0);
    if (content.what == TW_SHADOW_MADE || content.what == TW_SHADOW_OLD)
        put_on_text(lane, "FLUSHDB", "ASYNC");
    tw_lane_command(lane, "EXEC", 0);
    TW_TRY(tw_lane_send(lane, where, reterr));
    return tw_lane_receive_transaction(lane, where, reterr);
}

static enum tw_rc shadow_drop(void *self, struct tw_err *reterr)
{
    static const char   where[] = "cart.shadow.drop";
    struct cart_shadow *shadow = self;
    struct content      contents[TW_REDIS_SERVERS_MAX];

    TW_TRY(look_at_all(shadow, where, contents, reterr));
    for (size_t i = 0; i < shadow->server_count; i++)
        if (contents[i].what == TW_SHADOW_FOREIGN)
            return fail_content(shadow, i, "holds something that is not ours", where, reterr);
    if (is_half_swapped(shadow, contents))
        return tw_fail(reterr, TW_BROKEN, where, 0,
                       "a swap ended between two Redis servers: it must be finished first");
    for (size_t i = 0; i < shadow->server_count; i++)
        TW_TRY(drop_on(shadow, i, where, reterr));
    return TW_OK;
}

/* ---- swap: what it rests on ---- */

static int32_t first_partition(size_t server)
{
    return (int32_t)server;
}

static int32_t next_partition(const struct swap *swap, int32_t partition)
{
    return partition + (int32_t)swap->shadow->server_count;
}

/* Watches the progress of the server's partitions in one of its databases, and reads it. */
static void put_side(const struct swap *swap, struct tw_lane *lane, size_t server, int db)
{
    char key[TW_CART_KEY_SIZE];

    put_select(lane, db);
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p)) {
        tw_cart_key_progress(p, key);
        put_on_text(lane, "WATCH", key);
        put_on_text(lane, "GET", key);
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
        put_on_text(lane, "EXISTS", key);
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
    struct cart_shadow *shadow = swap->shadow;
    struct tw_lane     *lane;

    TW_TRY(connect_server(shadow, server, where, &lane, reterr));
    tw_lane_command(lane, "UNWATCH", 0); /* what an earlier question watched */
    put_side(swap, lane, server, shadow->dbs[server]);
    put_unprojected(swap, lane, server);
    put_side(swap, lane, server, shadow->servers[server].db);
    put_on_text(lane, "GET", TW_CART_KEY_EPOCH);
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

/* ---- swap: step 1, marks that last ---- */

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
    tw_lane_text(lane, key_of(swap->from));
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
    put_select(lane, swap->shadow->dbs[server]);
    put_going(swap, lane, goes);
    return execute(lane, where, reterr);
}

/* Undone when a server refuses, as far as it can be: nothing has happened then. */
static enum tw_rc mark_servers(struct swap *swap, const char *where, struct tw_err *reterr)
{
    size_t     done = 0;
    enum tw_rc rc = TW_OK;

    while (rc == TW_OK && done < swap->shadow->server_count) {
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

/* ---- swap: step 2 ---- */

static void put_old(const struct swap *swap, struct tw_lane *lane, size_t server)
{
    char text[SERVER_TEXT];

    tw_lane_command(lane, "HSET", 3);
    tw_lane_text(lane, TW_CART_KEY_OLD);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, server_text(swap->shadow, server, text));
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
    int             live_db = swap->shadow->servers[server].db, other_db = swap->shadow->dbs[server];
    struct tw_lane *lane;

    TW_TRY(check_server(swap, server, where, &lane, reterr));
    tw_lane_command(lane, "MULTI", 0);
    for (int32_t p = first_partition(server); p < swap->partition_count; p = next_partition(swap, p))
        put_mark(swap, lane, p, 0);
    put_old(swap, lane, server);
    put_select(lane, other_db);
    put_on_text(lane, "DEL", key_of(swap->from));
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

static enum tw_rc check_content(const struct swap *swap, size_t server, const struct content *content,
                                const char *where, struct tw_err *reterr)
{
    if (content->what != swap->from)
        return fail_content(swap->shadow, server,
                            swap->from == TW_SHADOW_MADE ? "holds no shadow" : "holds no store of before a swap", where,
                            reterr);
    if (content->is_elsewhere)
        return fail_content(swap->shadow, server, "was made for another list of Redis servers", where, reterr);
    return TW_OK;
}

/* Of those that wait for their swap. */
static enum tw_rc check_contents(const struct swap *swap, const struct content *contents, bool resumed,
                                 const char *where, struct tw_err *reterr)
{
    for (size_t i = 0; i < swap->shadow->server_count; i++)
        if (!resumed || contents[i].is_going)
            TW_TRY(check_content(swap, i, &contents[i], where, reterr));
    return TW_OK;
}

static enum tw_rc prepare(struct swap *swap, const char *where, struct tw_err *reterr)
{
    struct tw_lane *lane;

    for (size_t i = 0; i < swap->shadow->server_count; i++)
        TW_TRY(check_server(swap, i, where, &lane, reterr));
    return swap->shadow->server_count > 1 ? mark_servers(swap, where, reterr) : TW_OK;
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
    size_t         count = swap->shadow->server_count;
    struct content contents[TW_REDIS_SERVERS_MAX];
    bool           resumed;

    TW_TRY(look_at_all(swap->shadow, where, contents, reterr));
    resumed = swap->is_lasting = is_half_swapped(swap->shadow, contents);
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

static enum tw_rc run_swap(struct cart_shadow *shadow, enum tw_shadow_content from, const struct tw_frozen *frozen,
                           int32_t partition_count, tw_swap_fn tell, void *teller, const char *where,
                           struct tw_err *reterr)
{
    struct swap swap = {.shadow = shadow, .from = from, .frozen = frozen, .partition_count = partition_count};
    enum tw_rc  rc;

    swap.live = TW_NEW_ARRAY(&swap.arena, (size_t)partition_count, struct tw_progress);
    swap.other = TW_NEW_ARRAY(&swap.arena, (size_t)partition_count, struct tw_progress);
    rc = swap_servers(&swap, tell, teller, where, reterr);
    tw_arena_done(&swap.arena);
    return rc;
}

static enum tw_rc shadow_swap(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                              void *teller, struct tw_err *reterr)
{
    return run_swap(self, TW_SHADOW_MADE, frozen, partition_count, tell, teller, "cart.shadow.swap", reterr);
}

static enum tw_rc shadow_swap_back(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                                   void *teller, struct tw_err *reterr)
{
    return run_swap(self, TW_SHADOW_OLD, frozen, partition_count, tell, teller, "cart.shadow.swap_back", reterr);
}

/* ---- life ---- */

static bool is_same_server(const struct tw_redis_uri *a, const struct tw_redis_uri *b)
{
    return a->port == b->port && !strcmp(a->host, b->host);
}

/* No database is two things. */
static enum tw_rc check_apart(const struct cart_shadow *shadow, struct tw_err *reterr)
{
    for (size_t i = 0; i < shadow->server_count; i++)
        for (size_t k = 0; k < shadow->server_count; k++) {
            if (!is_same_server(&shadow->servers[i], &shadow->servers[k]))
                continue;
            if (shadow->dbs[i] == shadow->servers[k].db)
                return tw_fail(reterr, TW_INVALID, "cart.shadow", 0,
                               "database %d of Redis address %zu is live: it cannot be the shadow", shadow->dbs[i],
                               k + 1);
            if (i != k && shadow->dbs[i] == shadow->dbs[k])
                return tw_fail(reterr, TW_INVALID, "cart.shadow", 0,
                               "Redis addresses %zu and %zu would share database %d as their shadow", i + 1, k + 1,
                               shadow->dbs[i]);
        }
    return TW_OK;
}

static enum tw_rc choose_databases(struct cart_shadow *shadow, const char *name, struct tw_err *reterr)
{
    int64_t number = 0;

    if (*name && (!tw_str_to_int(tw_str_of(name), &number) || number < 0 || number > INT32_MAX))
        return tw_fail(reterr, TW_INVALID, "cart.shadow", 0, "the shadow of carts is a database number, not '%.40s'",
                       name);
    for (size_t i = 0; i < shadow->server_count; i++) {
        if (!*name && shadow->servers[i].db == INT32_MAX)
            return tw_fail(reterr, TW_INVALID, "cart.shadow", 0, "there is no database number behind %d", INT32_MAX);
        shadow->dbs[i] = *name ? (int)number : shadow->servers[i].db + 1;
    }
    return check_apart(shadow, reterr);
}

/* "database 1 of Redis" or, when it is not the same everywhere, "databases 1, 7 of Redis". */
static void name_place(struct cart_shadow *shadow)
{
    bool same = true;

    for (size_t i = 1; i < shadow->server_count; i++)
        same = same && shadow->dbs[i] == shadow->dbs[0];
    tw_buf_printf(&shadow->place, "database%s %d", same ? "" : "s", shadow->dbs[0]);
    for (size_t i = 1; !same && i < shadow->server_count; i++)
        tw_buf_printf(&shadow->place, ", %d", shadow->dbs[i]);
    tw_buf_printf(&shadow->place, " of Redis");
    tw_buf_add(&shadow->place, "", 1);
}

static void shadow_close(void *self)
{
    struct cart_shadow *shadow = self;

    if (!shadow)
        return;
    for (size_t i = 0; shadow->lanes && i < shadow->server_count; i++)
        tw_lane_close(&shadow->lanes[i]);
    free(shadow->lanes);
    if (shadow->uri.ptr)
        explicit_bzero(shadow->uri.ptr, shadow->uri.len);
    tw_buf_done(&shadow->uri);
    tw_buf_done(&shadow->place);
    explicit_bzero(shadow->servers, sizeof(shadow->servers));
    free(shadow);
}

static void make_lanes(struct cart_shadow *shadow, int timeout_ms)
{
    shadow->lanes = tw_alloc_zeroed(shadow->server_count, sizeof(*shadow->lanes));
    for (size_t i = 0; i < shadow->server_count; i++) {
        shadow->lanes[i].partition = (int32_t)i; /* which lives there */
        shadow->lanes[i].server = &shadow->servers[i];
        shadow->lanes[i].timeout_ms = timeout_ms;
    }
}

enum tw_rc tw_cart_shadow_open(const char *live_uris, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                               struct tw_err *reterr)
{
    struct cart_shadow *shadow = tw_alloc_zeroed(1, sizeof(*shadow));
    enum tw_rc          rc = tw_redis_uris_parse(live_uris, shadow->servers, &shadow->server_count, reterr);

    if (rc == TW_OK)
        rc = choose_databases(shadow, name, reterr);
    if (rc != TW_OK) {
        shadow_close(shadow);
        return rc;
    }
    make_lanes(shadow, timeout_ms);
    tw_redis_uris_on(live_uris, shadow->dbs, &shadow->uri);
    tw_buf_add(&shadow->uri, "", 1);
    name_place(shadow);
    *ret_shadow = (struct tw_shadow){
        .uri = shadow->uri.ptr,
        .place = shadow->place.ptr,
        .look = shadow_look,
        .make = shadow_make,
        .drop = shadow_drop,
        .swap = shadow_swap,
        .swap_back = shadow_swap_back,
        .close = shadow_close,
        .self = shadow,
    };
    return TW_OK;
}
