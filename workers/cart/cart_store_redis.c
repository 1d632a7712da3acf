/*
 * Carts in Redis. Every write is one optimistic transaction: WATCH the partition's progress and read it, then, on the
 * same connection, MULTI … EXEC in one write. EXEC happens only if nobody touched the progress since: the fence.
 *
 * EXEC drops all watches of its connection, so each partition has a connection of its own (a lane), and a transaction
 * is only begun on a lane whose WATCH is pending. A lane keeps its connection only while the server answers as expected:
 * any other answer, or none, closes it, and the next watermark() makes a new one. So no reply, watch or half-queued
 * transaction of the past is ever met again.
 *
 * EXEC does not undo: a command that fails inside it leaves its neighbours done. Hence every key whose command depends
 * on its type is checked before: ledger and index by the load, sets of holders before the first transaction that
 * touches them.
 */
#include "cart_store.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/log.h"
#include "tillwire/money.h"

enum {
    LINES_MAX        = 100, /* of a cart, by its schema */
    CHECKED_HOLDERS  = 4096,
    SWEEP_CARTS      = 100, /* of one sweep */
    NUMBER_TEXT_SIZE = 24,
};

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

struct lane {
    int32_t                    partition;
    const struct tw_redis_uri *server;
    redisContext              *redis;    /* NULL: closed */
    bool                       watching; /* a WATCH of the progress is pending and `known` is what was read under it */
    struct tw_progress         known;    /* without outbox: as the last watermark, load or commit had it */
    int64_t                    server_ms; /* the server's clock at the last load */
    /* Products whose set of holders is surely a set (or absent); by the first bytes of their id. */
    struct tw_uuid checked[CHECKED_HOLDERS];
};

struct cart_store {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    size_t              server_count;
    struct timeval      timeout;
    struct lane       **lanes; /* by partition; NULL: not owned */
    size_t              lane_count;
    struct tw_buf       out;      /* commands not sent yet */
    size_t              queued;   /* how many */
    struct tw_buf       value;    /* scratch for one value */
    bool                told_about_config;
};

/* ---- writing commands: RESP straight into one buffer, one write per round trip ---- */

static size_t format_number(int64_t number, char ret_text[NUMBER_TEXT_SIZE])
{
    uint64_t rest  = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char    *start = ret_text + NUMBER_TEXT_SIZE;
    size_t   len;

    do
        *--start = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0)
        *--start = '-';
    len = (size_t)(ret_text + NUMBER_TEXT_SIZE - start);
    memmove(ret_text, start, len);
    return len;
}

static void put_head(struct cart_store *store, char kind, size_t count)
{
    char   head[NUMBER_TEXT_SIZE + 3] = {kind};
    size_t len                        = 1 + format_number((int64_t)count, head + 1);

    head[len++] = '\r';
    head[len++] = '\n';
    tw_buf_add(&store->out, head, len);
}

static void put_arg(struct cart_store *store, const void *bytes, size_t len)
{
    put_head(store, '$', len);
    tw_buf_add(&store->out, bytes, len);
    tw_buf_add(&store->out, "\r\n", 2);
}

/* Begins a command of @p args arguments behind its name. */
static void put_command(struct cart_store *store, const char *name, size_t args)
{
    put_head(store, '*', args + 1);
    put_arg(store, name, strlen(name));
    store->queued++;
}

static void put_text(struct cart_store *store, const char *text)
{
    put_arg(store, text, strlen(text));
}

static void put_number(struct cart_store *store, int64_t number)
{
    char text[NUMBER_TEXT_SIZE];

    put_arg(store, text, format_number(number, text));
}

static void put_id(struct cart_store *store, struct tw_uuid id)
{
    put_arg(store, id.bytes, sizeof(id.bytes));
}

/* ---- talking: what fails closes the lane ---- */

static void close_lane(struct lane *lane)
{
    if (lane->redis)
        redisFree(lane->redis);
    lane->redis    = NULL;
    lane->watching = false;
    memset(lane->checked, 0, sizeof(lane->checked));
}

static void free_reply(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}

/* No answer: @p rc says what that means for what was sent. */
static enum tw_rc fail_lost(struct lane *lane, enum tw_rc rc, const char *where, struct tw_err *reterr)
{
    long code = lane->redis->err == REDIS_ERR_IO ? errno : lane->redis->err;

    tw_fail(reterr, rc, where, code, "Redis of partition %d: %s", lane->partition,
            code == EAGAIN ? "no answer in time" : lane->redis->errstr);
    close_lane(lane);
    return rc;
}

/* Error replies that no retry mends. All others (LOADING, OOM, MISCONF, READONLY, BUSY …) may pass. */
static enum tw_rc rc_of_error(const char *error)
{
    static const char *const for_good[] = {"WRONGTYPE", "NOAUTH", "WRONGPASS", "NOPERM", "ERR DB index",
                                           "ERR unknown command", "ERR This instance has cluster support"};

    for (size_t i = 0; i < TW_LEN(for_good); i++)
        if (!strncmp(error, for_good[i], strlen(for_good[i])))
            return TW_BROKEN;
    return TW_UNREACHED;
}

/* @p what: the command, or the key it was about. */
static enum tw_rc fail_reply(struct lane *lane, const redisReply *reply, const char *where, const char *what,
                             struct tw_err *reterr)
{
    enum tw_rc rc = TW_BROKEN;

    if (reply->type == REDIS_REPLY_ERROR) {
        rc = rc_of_error(reply->str);
        tw_fail(reterr, rc, where, 0, "Redis of partition %d, %s: %s", lane->partition, what, reply->str);
    } else {
        tw_fail(reterr, rc, where, reply->type, "Redis of partition %d, %s: an answer of an unexpected kind",
                lane->partition, what);
    }
    close_lane(lane);
    return rc;
}

static enum tw_rc fail_broken(struct lane *lane, const char *where, const char *key, const char *what,
                              struct tw_err *reterr)
{
    close_lane(lane);
    return tw_fail(reterr, TW_BROKEN, where, 0, "Redis of partition %d, %s: %s", lane->partition, key, what);
}

/* Sends what was put. On failure the server cannot have got the last command whole. */
static enum tw_rc send_all(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    int done = 0;

    if (store->out.overflow || redisAppendFormattedCommand(lane->redis, store->out.ptr, store->out.len) != REDIS_OK)
        tw_out_of_memory(store->out.len);
    tw_buf_clear(&store->out);
    store->queued = 0;
    while (!done)
        if (redisBufferWrite(lane->redis, &done) != REDIS_OK)
            return fail_lost(lane, TW_UNREACHED, where, reterr);
    return TW_OK;
}

/* The next answer, of whatever kind. @p lost: the code when there is none. Free with free_reply(). */
static enum tw_rc receive(struct lane *lane, enum tw_rc lost, const char *where, redisReply **ret_reply,
                          struct tw_err *reterr)
{
    void *reply = NULL;

    if (redisGetReply(lane->redis, &reply) != REDIS_OK)
        return fail_lost(lane, lost, where, reterr);
    *ret_reply = reply;
    return TW_OK;
}

/* The next answer, which must be of @p type; REDIS_REPLY_NIL is no failure where a string is wanted. */
static enum tw_rc receive_type(struct lane *lane, int type, const char *where, const char *what, redisReply **ret_reply,
                               struct tw_err *reterr)
{
    redisReply *reply = NULL;

    TW_TRY(receive(lane, TW_UNREACHED, where, &reply, reterr));
    if (reply->type != type && !(type == REDIS_REPLY_STRING && reply->type == REDIS_REPLY_NIL)) {
        enum tw_rc rc = fail_reply(lane, reply, where, what, reterr);
        free_reply(&reply);
        return rc;
    }
    *ret_reply = reply;
    return TW_OK;
}

/* The next answer must be +OK. */
static enum tw_rc receive_ok(struct lane *lane, const char *where, const char *what, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;

    return receive_type(lane, REDIS_REPLY_STATUS, where, what, &reply, reterr);
}

/* ---- connecting ---- */

static enum tw_rc dial(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    lane->redis = redisConnectWithTimeout(lane->server->host, lane->server->port, store->timeout);
    if (!lane->redis)
        tw_out_of_memory(sizeof(redisContext));
    if (lane->redis->err || redisSetTimeout(lane->redis, store->timeout) != REDIS_OK)
        return fail_lost(lane, TW_UNREACHED, where, reterr);
    return TW_OK;
}

static enum tw_rc log_in(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    const struct tw_redis_uri *server = lane->server;

    if (server->password[0]) {
        put_command(store, "AUTH", server->user[0] ? 2 : 1);
        if (server->user[0])
            put_text(store, server->user);
        put_text(store, server->password);
    }
    put_command(store, "SELECT", 1);
    put_number(store, server->db);
    TW_TRY(send_all(store, lane, where, reterr));
    if (server->password[0])
        TW_TRY(receive_ok(lane, where, "AUTH", reterr));
    return receive_ok(lane, where, "SELECT", reterr);
}

/* SET … PXAT came with 6.2. */
static bool is_recent(const char *info)
{
    static const char name[]  = "redis_version:";
    const char       *version = strstr(info, name);
    char             *end;

    if (!version)
        return false;
    long major = strtol(version + sizeof(name) - 1, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, &end, 10) : 0;
    return major > 6 || (major == 6 && minor >= 2);
}

static enum tw_rc check_version(struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *info = NULL;

    TW_TRY(receive_type(lane, REDIS_REPLY_STRING, where, "INFO", &info, reterr));
    if (!info->str || !is_recent(info->str))
        return fail_broken(lane, where, "INFO", "the server is older than 6.2", reterr);
    if (strstr(info->str, "redis_mode:cluster"))
        return fail_broken(lane, where, "INFO", "the server is part of a cluster: transactions need plain servers",
                           reterr);
    return TW_OK;
}

/* A server that evicts would forget carts behind the worker's back. Managed ones may not let us ask. */
static enum tw_rc check_eviction(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *policy = NULL;

    TW_TRY(receive(lane, TW_UNREACHED, where, &policy, reterr));
    if (policy->type == REDIS_REPLY_ARRAY && policy->elements == 2 && policy->element[1]->type == REDIS_REPLY_STRING) {
        if (strcmp(policy->element[1]->str, "noeviction") != 0)
            return fail_broken(lane, where, "maxmemory-policy", "must be noeviction", reterr);
    } else if (!store->told_about_config) {
        store->told_about_config = true;
        tw_log(TW_LOG_WARN, "Redis does not tell its maxmemory-policy; it must be noeviction",
               TW_F_INT("partition", lane->partition));
    }
    return TW_OK;
}

/* An account that may SET but not MULTI would run a transaction as single commands, past the fence. */
static enum tw_rc check_transactions(struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *nothing = NULL;

    TW_TRY(receive_ok(lane, where, "MULTI", reterr));
    return receive_type(lane, REDIS_REPLY_ARRAY, where, "EXEC", &nothing, reterr);
}

static enum tw_rc connect_lane(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_TRY(dial(store, lane, where, reterr));
    TW_TRY(log_in(store, lane, where, reterr));
    put_command(store, "INFO", 1);
    put_text(store, "server");
    put_command(store, "CONFIG", 2);
    put_text(store, "GET");
    put_text(store, "maxmemory-policy");
    put_command(store, "MULTI", 0);
    put_command(store, "EXEC", 0);
    TW_TRY(send_all(store, lane, where, reterr));
    TW_TRY(check_version(lane, where, reterr));
    TW_TRY(check_eviction(store, lane, where, reterr));
    return check_transactions(lane, where, reterr);
}

static struct lane *find_lane(const struct cart_store *store, int32_t partition)
{
    return (size_t)partition < store->lane_count ? store->lanes[partition] : NULL;
}

static struct lane *own_lane(struct cart_store *store, int32_t partition)
{
    size_t wanted = (size_t)partition + 1;

    if (store->lane_count < wanted) {
        store->lanes = tw_realloc(store->lanes, wanted * sizeof(struct lane *));
        memset(store->lanes + store->lane_count, 0, (wanted - store->lane_count) * sizeof(struct lane *));
        store->lane_count = wanted;
    }
    if (!store->lanes[partition]) {
        struct lane *lane       = tw_alloc_zeroed(1, sizeof(*lane));
        lane->partition         = partition;
        lane->server            = &store->servers[tw_cart_server_of(partition, store->server_count)];
        store->lanes[partition] = lane;
    }
    return store->lanes[partition];
}

/* ---- progress ---- */

static enum tw_rc read_progress(struct lane *lane, const redisReply *reply, const char *where,
                                struct tw_progress *ret_progress, struct tw_err *reterr)
{
    struct tw_str bytes = {reply->str, reply->len};

    if (!tw_cart_progress_unpack(bytes, ret_progress)) {
        char key[TW_CART_KEY_SIZE];
        tw_cart_key_progress(lane->partition, key);
        return fail_broken(lane, where, key, "holds what this release cannot read", reterr);
    }
    return TW_OK;
}

static enum tw_rc watermark(void *self, int32_t partition, struct tw_arena *arena, struct tw_progress *ret_progress,
                            struct tw_err *reterr)
{
    static const char               where[] = "cart.store.watermark";
    struct cart_store              *store   = self;
    struct lane                    *lane    = own_lane(store, partition);
    struct tw_progress              progress;
    TW_AUTO(free_reply) redisReply *reply = NULL;
    char                            key[TW_CART_KEY_SIZE];

    if (!lane->redis)
        TW_TRY(connect_lane(store, lane, where, reterr));
    put_command(store, "GET", 1);
    put_arg(store, key, tw_cart_key_progress(partition, key));
    TW_TRY(send_all(store, lane, where, reterr));
    TW_TRY(receive_type(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
    TW_TRY(read_progress(lane, reply, where, &progress, reterr));
    progress.outbox     = tw_arena_copy(arena, progress.outbox);
    lane->known         = progress;
    lane->known.outbox  = (struct tw_str){NULL, 0};
    *ret_progress       = progress;
    return TW_OK;
}

/* The fence, first half: watches the progress and asks for it; receive_watch() reads both answers. */
static void put_watch(struct cart_store *store, const struct lane *lane)
{
    char   key[TW_CART_KEY_SIZE];
    size_t len = tw_cart_key_progress(lane->partition, key);

    put_command(store, "WATCH", 1);
    put_arg(store, key, len);
    put_command(store, "GETRANGE", 3);
    put_arg(store, key, len);
    put_number(store, 0);
    put_number(store, TW_CART_PROGRESS_HEAD - 1);
}

static enum tw_rc receive_watch(struct lane *lane, int64_t next_offset, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    struct tw_progress              progress;
    char                            key[TW_CART_KEY_SIZE];

    tw_cart_key_progress(lane->partition, key);
    TW_TRY(receive_ok(lane, where, "WATCH", reterr));
    TW_TRY(receive_type(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
    TW_TRY(read_progress(lane, reply, where, &progress, reterr));
    if (progress.next_offset != next_offset || progress.clock_ms != lane->known.clock_ms) {
        close_lane(lane);
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the watermark is %lld, not %lld", lane->partition,
                       (long long)progress.next_offset, (long long)next_offset);
    }
    lane->known    = progress;
    lane->watching = true;
    return TW_OK;
}

/* A lane to go on with: its connection is one that watermark() made. */
static enum tw_rc open_lane(const struct cart_store *store, int32_t partition, const char *where, struct lane **ret_lane,
                            struct tw_err *reterr)
{
    struct lane *lane = find_lane(store, partition);

    if (!lane || !lane->redis)
        return tw_fail(reterr, TW_UNREACHED, where, 0, "Redis of partition %d: not connected", partition);
    *ret_lane = lane;
    return TW_OK;
}

/* ---- load ---- */

static void put_ledger_query(struct cart_store *store, const struct lane *lane, const struct tw_load *load, int64_t day)
{
    char key[TW_CART_KEY_SIZE];

    put_command(store, "HMGET", 1 + load->ledger_id_count);
    put_arg(store, key, tw_cart_key_ledger(lane->partition, day, key));
    for (size_t i = 0; i < load->ledger_id_count; i++)
        put_id(store, load->ledger_ids[i]);
}

/* GET by GET, not MGET: MGET takes a key of a wrong type for an absent one, and a cart would be lost in silence. */
static void put_load(struct cart_store *store, const struct lane *lane, const struct tw_load *load)
{
    int64_t day = tw_cart_day(lane->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    put_watch(store, lane);
    put_command(store, "TIME", 0);
    put_command(store, "ZCARD", 1);
    put_arg(store, key, tw_cart_key_ends(lane->partition, key));
    if (load->ledger_id_count > 0) {
        put_ledger_query(store, lane, load, day);
        put_ledger_query(store, lane, load, day - 1);
    }
    for (size_t i = 0; i < load->entity_count; i++) {
        put_command(store, "GET", 1);
        put_arg(store, key, tw_cart_key_copy(load->entities[i].key.id, key));
    }
}

static enum tw_rc receive_server_time(struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    int64_t                         seconds;

    TW_TRY(receive_type(lane, REDIS_REPLY_ARRAY, where, "TIME", &reply, reterr));
    if (reply->elements != 2 || !tw_str_to_int((struct tw_str){reply->element[0]->str, reply->element[0]->len}, &seconds))
        return fail_reply(lane, reply, where, "TIME", reterr);
    lane->server_ms = seconds * 1000;
    return TW_OK;
}

/* Only to learn that it is a sorted set. */
static enum tw_rc receive_ends_type(struct lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    char                            key[TW_CART_KEY_SIZE];

    tw_cart_key_ends(lane->partition, key);
    return receive_type(lane, REDIS_REPLY_INTEGER, where, key, &reply, reterr);
}

static enum tw_rc receive_ledger(struct lane *lane, int64_t day, struct tw_load *load, struct tw_arena *arena,
                                 const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    char                            key[TW_CART_KEY_SIZE];

    tw_cart_key_ledger(lane->partition, day, key);
    TW_TRY(receive_type(lane, REDIS_REPLY_ARRAY, where, key, &reply, reterr));
    if (reply->elements != load->ledger_id_count)
        return fail_reply(lane, reply, where, key, reterr);
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *value = reply->element[i];
        if (value->type == REDIS_REPLY_NIL)
            continue;
        struct tw_str bytes = tw_arena_copy(arena, (struct tw_str){value->str, value->len});
        if (!tw_cart_ledger_unpack(load->ledger_ids[i], bytes, &load->rows[load->row_count]))
            return fail_broken(lane, where, key, "holds a row this release cannot read", reterr);
        load->row_count++;
    }
    return TW_OK;
}

static enum tw_rc receive_cart(struct lane *lane, struct tw_uuid member_id, struct tw_arena *arena, const char *where,
                               const struct tw_cart **ret_cart, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    struct tw_cart                 *cart;
    struct tw_err                   why;
    char                            key[TW_CART_KEY_SIZE];

    tw_cart_key_copy(member_id, key);
    TW_TRY(receive_type(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
    *ret_cart = NULL;
    if (reply->type == REDIS_REPLY_NIL)
        return TW_OK;
    cart = TW_NEW(arena, struct tw_cart);
    if (tw_cart_type.unpack(tw_arena_copy(arena, (struct tw_str){reply->str, reply->len}), arena, cart, &why) != TW_OK)
        return fail_broken(lane, where, key, why.msg, reterr);
    *ret_cart = cart;
    return TW_OK;
}

static enum tw_rc receive_load(struct lane *lane, int64_t first_offset, struct tw_load *load, struct tw_arena *arena,
                               const char *where, struct tw_err *reterr)
{
    int64_t day = tw_cart_day(lane->known.clock_ms);

    TW_TRY(receive_watch(lane, first_offset, where, reterr));
    TW_TRY(receive_server_time(lane, where, reterr));
    TW_TRY(receive_ends_type(lane, where, reterr));
    load->rows      = TW_NEW_ARRAY(arena, 2 * load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    if (load->ledger_id_count > 0) {
        TW_TRY(receive_ledger(lane, day, load, arena, where, reterr));
        TW_TRY(receive_ledger(lane, day - 1, load, arena, where, reterr));
    }
    for (size_t i = 0; i < load->entity_count; i++) {
        const struct tw_cart *cart;
        TW_TRY(receive_cart(lane, load->entities[i].key.id, arena, where, &cart, reterr));
        load->entities[i].before       = cart;
        load->entities[i].before_guard = -1;
    }
    return TW_OK;
}

static enum tw_rc load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load_, struct tw_arena *arena,
                       struct tw_err *reterr)
{
    static const char  where[] = "cart.store.load";
    struct cart_store *store   = self;
    struct lane       *lane;

    TW_TRY(open_lane(store, partition, where, &lane, reterr));
    put_load(store, lane, load_);
    TW_TRY(send_all(store, lane, where, reterr));
    return receive_load(lane, first_offset, load_, arena, where, reterr);
}
