/*
 * Carts in Redis. Every write is one optimistic transaction: WATCH the partition's progress and read it, then, on the
 * same connection, MULTI … EXEC in one write. EXEC happens only if nobody touched the progress since: the fence.
 *
 * EXEC drops all watches of its connection, so each partition has a connection of its own (a lane), and a transaction
 * is only begun on a lane whose WATCH is pending. A lane keeps its connection only while the server answers as it
 * should: any other answer, or none, closes it, and the next watermark() makes a new one. So no reply, watch or
 * half-queued transaction of the past is ever met again.
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
#include "tillwire/ledger.h"
#include "tillwire/log.h"
#include "tillwire/money.h"

enum {
    LINES_MAX = 100, /* of a cart, by its schema */
    CHECKED_HOLDERS = 4096,
    SWEEP_CARTS = 100, /* of one sweep */
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
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
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
    size_t len = 1 + format_number((int64_t)count, head + 1);

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
    lane->redis = NULL;
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

/* The next answer, of whatever kind; NULL when there is none, which then is a failure of code @p lost. */
static redisReply *receive(struct lane *lane, enum tw_rc lost, const char *where, struct tw_err *reterr)
{
    void *reply = NULL;

    if (redisGetReply(lane->redis, &reply) != REDIS_OK)
        fail_lost(lane, lost, where, reterr);
    return reply;
}

/* The next answer, which must be of @p type; REDIS_REPLY_NIL is no failure where a string is wanted. */
static enum tw_rc receive_type(struct lane *lane, int type, const char *where, const char *what, redisReply **ret_reply,
                               struct tw_err *reterr)
{
    redisReply *reply = receive(lane, TW_UNREACHED, where, reterr);

    if (!reply)
        return TW_UNREACHED;
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
    static const char name[] = "redis_version:";
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
    TW_AUTO(free_reply) redisReply *policy = receive(lane, TW_UNREACHED, where, reterr);

    if (!policy)
        return TW_UNREACHED;
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
        struct lane *lane = tw_alloc_zeroed(1, sizeof(*lane));
        lane->partition = partition;
        lane->server = &store->servers[tw_cart_server_of(partition, store->server_count)];
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

static enum tw_rc redis_watermark(void *self, int32_t partition, struct tw_arena *arena,
                                  struct tw_progress *ret_progress, struct tw_err *reterr)
{
    static const char               where[] = "cart.store.watermark";
    struct cart_store              *store = self;
    struct lane                    *lane = own_lane(store, partition);
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
    progress.outbox = tw_arena_copy(arena, progress.outbox);
    lane->known = progress;
    lane->known.outbox = (struct tw_str){NULL, 0};
    *ret_progress = progress;
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
    lane->known = progress;
    lane->watching = true;
    return TW_OK;
}

/* A lane to go on with, or NULL: only watermark() connects. */
static struct lane *open_lane(const struct cart_store *store, int32_t partition, const char *where,
                              struct tw_err *reterr)
{
    struct lane *lane = find_lane(store, partition);

    if (lane && lane->redis)
        return lane;
    tw_fail(reterr, TW_UNREACHED, where, 0, "Redis of partition %d: not connected", partition);
    return NULL;
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
    if (reply->elements != 2 ||
        !tw_str_to_int((struct tw_str){reply->element[0]->str, reply->element[0]->len}, &seconds))
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

static enum tw_rc receive_day(struct lane *lane, int64_t day, size_t ids, const char *where, redisReply **ret_reply,
                              struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_ledger(lane->partition, day, key);
    TW_TRY(receive_type(lane, REDIS_REPLY_ARRAY, where, key, ret_reply, reterr));
    if ((*ret_reply)->elements != ids)
        return fail_reply(lane, *ret_reply, where, key, reterr);
    return TW_OK;
}

static enum tw_rc read_row(struct lane *lane, const redisReply *value, int64_t day, struct tw_arena *arena,
                           const char *where, struct tw_ledger_row *row, struct tw_err *reterr)
{
    struct tw_str bytes = {value->str, value->len};
    struct tw_err why;
    char          key[TW_CART_KEY_SIZE];

    if (tw_ledger_row_unpack(bytes, arena, row, &why) == TW_OK)
        return TW_OK;
    tw_cart_key_ledger(lane->partition, day, key);
    return fail_broken(lane, where, key, why.msg, reterr);
}

/* An id that came again after its day has a row in both hashes: the newer one is it. */
static enum tw_rc receive_ledger(struct lane *lane, int64_t day, struct tw_load *load, struct tw_arena *arena,
                                 const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *today = NULL;
    TW_AUTO(free_reply) redisReply *yesterday = NULL;

    TW_TRY(receive_day(lane, day, load->ledger_id_count, where, &today, reterr));
    TW_TRY(receive_day(lane, day - 1, load->ledger_id_count, where, &yesterday, reterr));
    for (size_t i = 0; i < load->ledger_id_count; i++) {
        bool                  fresh = today->element[i]->type != REDIS_REPLY_NIL;
        const redisReply     *value = fresh ? today->element[i] : yesterday->element[i];
        struct tw_ledger_row *row = &load->rows[load->row_count];
        if (value->type == REDIS_REPLY_NIL)
            continue;
        row->id = load->ledger_ids[i];
        TW_TRY(read_row(lane, value, fresh ? day : day - 1, arena, where, row, reterr));
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
    load->rows = TW_NEW_ARRAY(arena, load->ledger_id_count, struct tw_ledger_row);
    load->row_count = 0;
    if (load->ledger_id_count > 0)
        TW_TRY(receive_ledger(lane, day, load, arena, where, reterr));
    for (size_t i = 0; i < load->entity_count; i++) {
        const struct tw_cart *cart;
        TW_TRY(receive_cart(lane, load->entities[i].key.id, arena, where, &cart, reterr));
        load->entities[i].before = cart;
        load->entities[i].before_guard = -1;
    }
    return TW_OK;
}

static enum tw_rc redis_load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                             struct tw_arena *arena, struct tw_err *reterr)
{
    static const char  where[] = "cart.store.load";
    struct cart_store *store = self;
    struct lane       *lane = open_lane(store, partition, where, reterr);

    if (!lane)
        return TW_UNREACHED;
    put_load(store, lane, load);
    TW_TRY(send_all(store, lane, where, reterr));
    return receive_load(lane, first_offset, load, arena, where, reterr);
}

/* ---- what a change of a cart writes ---- */

/* A cart before and after. A cart that is swept has neither lines nor a copy after. */
struct change {
    struct tw_uuid        member_id;
    const struct tw_cart *before; /* NULL: there was none */
    const struct tw_cart *after;
};

/* A line before and after; NULL: it is not in that cart. */
struct line_pair {
    const struct tw_cart_line *before, *after;
};

static const struct tw_cart no_cart;

/*
 * Pairs up the lines. Lines keep their order and new ones are appended, so one walk does it. A line that left and came
 * back stands twice, gone and new; gone ones come first in the result, so writing in order is right for it too.
 */
static size_t pair_lines(const struct change *change, struct line_pair ret_pairs[2 * LINES_MAX])
{
    const struct tw_cart *before = change->before ? change->before : &no_cart;
    const struct tw_cart *after = change->after;
    size_t                count = 0;
    uint32_t              a = 0;

    assert(before->lines_len <= LINES_MAX && after->lines_len <= LINES_MAX);
    for (uint32_t b = 0; b < before->lines_len; b++) {
        bool kept = a < after->lines_len && tw_uuid_eq(before->lines[b].product_id, after->lines[a].product_id);
        ret_pairs[count++] = (struct line_pair){&before->lines[b], kept ? &after->lines[a++] : NULL};
    }
    while (a < after->lines_len)
        ret_pairs[count++] = (struct line_pair){NULL, &after->lines[a++]};
    return count;
}

static bool reads_the_same(const struct tw_cart_line *a, const struct tw_cart_line *b)
{
    return a->price_minor == b->price_minor && a->quantity == b->quantity && a->added_at_ms == b->added_at_ms &&
           tw_str_eq(a->product_name, b->product_name);
}

/* ---- the projection's values ---- */

static void add_text(struct tw_buf *out, const char *text)
{
    tw_buf_add(out, text, strlen(text));
}

/* Escapes what RFC 8259 demands: quote, backslash, control characters. */
static void add_json_string(struct tw_buf *out, struct tw_str text)
{
    tw_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20)
            tw_buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            tw_buf_add(out, (const char[]){'\\', (char)c}, 2);
        else
            tw_buf_add(out, &text.ptr[i], 1);
    }
    tw_buf_add(out, "\"", 1);
}

static void add_json_id(struct tw_buf *out, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    add_json_string(out, (struct tw_str){text, TW_UUID_TEXT});
}

static void add_json_time(struct tw_buf *out, int64_t time_ms)
{
    char text[TW_TIME_TEXT + 1];

    tw_time_format(time_ms, text);
    add_json_string(out, (struct tw_str){text, TW_TIME_TEXT});
}

static void add_json_money(struct tw_buf *out, int64_t minor)
{
    char text[TW_MONEY_TEXT];

    tw_buf_add(out, text, tw_money_format(minor, text));
}

static void add_json_int(struct tw_buf *out, int64_t number)
{
    char text[NUMBER_TEXT_SIZE];

    tw_buf_add(out, text, format_number(number, text));
}

static struct tw_str item_value(struct tw_buf *value, const struct tw_cart_line *line)
{
    tw_buf_clear(value);
    add_text(value, "{\"product_id\":");
    add_json_id(value, line->product_id);
    add_text(value, ",\"product_name\":");
    add_json_string(value, line->product_name);
    add_text(value, ",\"price\":");
    add_json_money(value, line->price_minor);
    add_text(value, ",\"quantity\":");
    add_json_int(value, line->quantity);
    add_text(value, ",\"added_at\":");
    add_json_time(value, line->added_at_ms);
    add_text(value, "}");
    return tw_buf_str(value);
}

static struct tw_str summary_value(struct tw_buf *value, const struct tw_cart *cart)
{
    struct tw_cart_totals totals = tw_cart_totals(cart);

    tw_buf_clear(value);
    add_text(value, "{\"total_items\":");
    add_json_int(value, totals.items);
    add_text(value, ",\"total_price\":");
    add_json_money(value, totals.price_minor);
    add_text(value, ",\"updated_at\":");
    add_json_time(value, cart->updated_at_ms);
    add_text(value, "}");
    return tw_buf_str(value);
}

/* ---- the commands of a transaction ---- */

static void put_set_until(struct cart_store *store, const char *key, size_t key_len, struct tw_str value,
                          int64_t ends_at_ms)
{
    put_command(store, "SET", 4);
    put_arg(store, key, key_len);
    put_arg(store, value.ptr, value.len);
    put_text(store, "PXAT");
    put_number(store, ends_at_ms);
}

static void put_on_key(struct cart_store *store, const char *name, const char *key, size_t key_len)
{
    put_command(store, name, 1);
    put_arg(store, key, key_len);
}

static void put_holder(struct cart_store *store, const struct lane *lane, const char *name, struct tw_uuid product_id,
                       struct tw_uuid member_id)
{
    char key[TW_CART_KEY_SIZE];

    put_command(store, name, 2);
    put_arg(store, key, tw_cart_key_holders(lane->partition, product_id, key));
    put_id(store, member_id);
}

/*
 * Is the projection of the cart before surely still there, so that its untouched keys only need a new expiry? It goes
 * by the server's clock, and when an old log is folded again it is gone as soon as it is written. A day is more than
 * anything can last between the load and the EXEC; carts are mostly changed when they are younger than six days.
 */
static bool has_projection(const struct lane *lane, const struct tw_cart *before)
{
    return before && before->ends_at_ms > lane->server_ms + DAY_MS;
}

static void put_line(struct cart_store *store, const struct lane *lane, const struct change *change,
                     const struct line_pair *pair)
{
    const struct tw_cart_line *line = pair->after ? pair->after : pair->before;
    char                       key[TW_CART_KEY_SIZE];
    size_t                     len = tw_cart_key_item(change->member_id, line->product_id, key);

    if (!pair->after) {
        put_on_key(store, "UNLINK", key, len);
        put_holder(store, lane, "SREM", line->product_id, change->member_id);
    } else if (pair->before && reads_the_same(pair->before, pair->after) && has_projection(lane, change->before)) {
        put_command(store, "PEXPIREAT", 2);
        put_arg(store, key, len);
        put_number(store, change->after->ends_at_ms);
    } else {
        put_set_until(store, key, len, item_value(&store->value, line), change->after->ends_at_ms);
    }
    if (!pair->before)
        put_holder(store, lane, "SADD", line->product_id, change->member_id);
}

/* Items, holders and summary. No item without a summary, no summary without items. */
static void put_projection(struct cart_store *store, const struct lane *lane, const struct change *change)
{
    struct line_pair pairs[2 * LINES_MAX];
    size_t           count = pair_lines(change, pairs);
    char             key[TW_CART_KEY_SIZE];
    size_t           len = tw_cart_key_summary(change->member_id, key);

    for (size_t i = 0; i < count; i++)
        put_line(store, lane, change, &pairs[i]);
    if (change->after->lines_len > 0)
        put_set_until(store, key, len, summary_value(&store->value, change->after), change->after->ends_at_ms);
    else
        put_on_key(store, "UNLINK", key, len);
}

static void put_end(struct cart_store *store, const struct lane *lane, struct tw_uuid member_id, int64_t ends_at_ms)
{
    char key[TW_CART_KEY_SIZE];

    put_command(store, "ZADD", 3);
    put_arg(store, key, tw_cart_key_ends(lane->partition, key));
    put_number(store, tw_cart_day(ends_at_ms));
    put_id(store, member_id);
}

static void put_cart(struct cart_store *store, const struct lane *lane, const struct change *change)
{
    const struct tw_cart *before = change->before;
    const struct tw_cart *after = change->after;
    char                  key[TW_CART_KEY_SIZE];

    tw_buf_clear(&store->value);
    tw_cart_type.pack(after, &store->value);
    put_command(store, "SET", 2);
    put_arg(store, key, tw_cart_key_copy(change->member_id, key));
    put_arg(store, store->value.ptr, store->value.len);
    if (!before || tw_cart_day(before->ends_at_ms) != tw_cart_day(after->ends_at_ms))
        put_end(store, lane, change->member_id, after->ends_at_ms);
    put_projection(store, lane, change);
}

static void put_progress(struct cart_store *store, const struct lane *lane, const struct tw_progress *progress)
{
    char key[TW_CART_KEY_SIZE];

    tw_buf_clear(&store->value);
    tw_cart_progress_pack(progress, &store->value);
    put_command(store, "SET", 2);
    put_arg(store, key, tw_cart_key_progress(lane->partition, key));
    put_arg(store, store->value.ptr, store->value.len);
}

static void put_rows_of_day(struct cart_store *store, const struct lane *lane, const struct tw_changes *changes,
                            int64_t day)
{
    char   key[TW_CART_KEY_SIZE];
    size_t count = 0;

    for (size_t i = 0; i < changes->row_count; i++)
        count += tw_cart_day(changes->rows[i].at_ms) == day;
    if (count == 0)
        return;
    put_command(store, "HSET", 1 + 2 * count);
    put_arg(store, key, tw_cart_key_ledger(lane->partition, day, key));
    for (size_t i = 0; i < changes->row_count; i++) {
        if (tw_cart_day(changes->rows[i].at_ms) != day)
            continue;
        tw_buf_clear(&store->value);
        tw_ledger_row_pack(&changes->rows[i], &store->value);
        put_id(store, changes->rows[i].id);
        put_arg(store, store->value.ptr, store->value.len);
    }
}

/* Rows count for 24 hours of the clock, so only those of its day and the day before are worth writing; and when the
 * clock enters a new day, the hashes that now hold nothing that counts go. No others exist, by induction. */
static void put_ledger(struct cart_store *store, const struct lane *lane, const struct tw_changes *changes)
{
    int64_t today = tw_cart_day(changes->after.clock_ms);
    int64_t known = tw_cart_day(lane->known.clock_ms);
    char    key[TW_CART_KEY_SIZE];

    for (int64_t day = known - 1; day <= known && day < today - 1; day++)
        put_on_key(store, "UNLINK", key, tw_cart_key_ledger(lane->partition, day, key));
    put_rows_of_day(store, lane, changes, today - 1);
    put_rows_of_day(store, lane, changes, today);
}

/* ---- transactions ---- */

static struct tw_uuid *checked_slot(struct lane *lane, struct tw_uuid product_id)
{
    return &lane->checked[(product_id.bytes[0] << 8 | product_id.bytes[1]) % CHECKED_HOLDERS];
}

/* Products that enter or leave carts and whose sets this lane has not seen yet. */
static struct tw_uuid *unchecked_products(struct lane *lane, const struct change *changes, size_t change_count,
                                          struct tw_arena *arena, uint32_t *ret_count)
{
    struct tw_uuid  *products = NULL;
    uint32_t         cap = 0;
    struct line_pair pairs[2 * LINES_MAX];

    *ret_count = 0;
    for (size_t c = 0; c < change_count; c++) {
        size_t pair_count = pair_lines(&changes[c], pairs);
        for (size_t i = 0; i < pair_count; i++) {
            const struct tw_cart_line *line = pairs[i].after ? pairs[i].after : pairs[i].before;
            if ((pairs[i].before && pairs[i].after) ||
                tw_uuid_eq(*checked_slot(lane, line->product_id), line->product_id))
                continue;
            *checked_slot(lane, line->product_id) = line->product_id;
            products = tw_arena_grow(arena, products, *ret_count, &cap, sizeof(*products));
            products[(*ret_count)++] = line->product_id;
        }
    }
    return products;
}

/* SADD and SREM are the commands that could fail inside EXEC. A slot is marked before the answer is there: a bad answer
 * closes the lane, which forgets all of them. */
static enum tw_rc check_holders(struct cart_store *store, struct lane *lane, const struct change *changes,
                                size_t change_count, struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    uint32_t        count;
    struct tw_uuid *products = unchecked_products(lane, changes, change_count, arena, &count);
    char            key[TW_CART_KEY_SIZE];

    if (count == 0)
        return TW_OK;
    for (uint32_t i = 0; i < count; i++)
        put_on_key(store, "TYPE", key, tw_cart_key_holders(lane->partition, products[i], key));
    TW_TRY(send_all(store, lane, where, reterr));
    for (uint32_t i = 0; i < count; i++) {
        TW_AUTO(free_reply) redisReply *type = NULL;
        tw_cart_key_holders(lane->partition, products[i], key);
        TW_TRY(receive_type(lane, REDIS_REPLY_STATUS, where, key, &type, reterr));
        if (strcmp(type->str, "set") != 0 && strcmp(type->str, "none") != 0)
            return fail_broken(lane, where, key, "is not a set", reterr);
    }
    return TW_OK;
}

static enum tw_rc read_results(struct lane *lane, const redisReply *results, const char *where, struct tw_err *reterr)
{
    for (size_t i = 0; i < results->elements; i++)
        if (results->element[i]->type == REDIS_REPLY_ERROR) {
            tw_fail(reterr, TW_BROKEN, where, 0, "Redis of partition %d: a part of a transaction failed: %s",
                    lane->partition, results->element[i]->str);
            close_lane(lane);
            return TW_BROKEN;
        }
    return TW_OK;
}

/* @p queued: commands before EXEC, MULTI included. */
static enum tw_rc receive_exec(struct lane *lane, size_t queued, const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *refusal = NULL;
    TW_AUTO(free_reply) redisReply *results = NULL;

    for (size_t i = 0; i < queued; i++) {
        TW_AUTO(free_reply) redisReply *reply = receive(lane, TW_UNKNOWN, where, reterr);
        if (!reply)
            return TW_UNKNOWN;
        if (reply->type == REDIS_REPLY_ERROR && !refusal) {
            refusal = reply;
            reply = NULL;
        }
    }
    results = receive(lane, TW_UNKNOWN, where, reterr);
    if (!results)
        return TW_UNKNOWN;
    if (results->type == REDIS_REPLY_ARRAY)
        return read_results(lane, results, where, reterr);
    if (results->type == REDIS_REPLY_ERROR)
        return fail_reply(lane, refusal ? refusal : results, where, "EXEC", reterr);
    close_lane(lane);
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the progress was changed by another", lane->partition);
}

/* Ends and sends the transaction that was put since "MULTI". Only the answer of EXEC tells whether it was written. */
static enum tw_rc run_transaction(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    size_t queued = store->queued;

    put_command(store, "EXEC", 0);
    lane->watching = false;
    TW_TRY(send_all(store, lane, where, reterr));
    if (tw_failpoint("in_commit")) {
        close_lane(lane);
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "the answer was lost at a failpoint");
    }
    return receive_exec(lane, queued, where, reterr);
}

static const struct change *changes_of_carts(const struct tw_changes *changes, struct tw_arena *arena)
{
    struct change *carts = TW_NEW_ARRAY(arena, changes->entity_count, struct change);

    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];
        carts[i] = (struct change){entity->key.id, entity->before, entity->state};
    }
    return carts;
}

static enum tw_rc commit_carts(struct cart_store *store, struct lane *lane, const struct tw_changes *changes,
                               struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    const struct change *carts = changes_of_carts(changes, arena);

    TW_TRY(check_holders(store, lane, carts, changes->entity_count, arena, where, reterr));
    put_command(store, "MULTI", 0);
    put_progress(store, lane, &changes->after);
    put_ledger(store, lane, changes);
    for (size_t i = 0; i < changes->entity_count; i++)
        put_cart(store, lane, &carts[i]);
    return run_transaction(store, lane, where, reterr);
}

static enum tw_rc redis_commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    static const char  where[] = "cart.store.commit";
    struct cart_store *store = self;
    struct lane       *lane = open_lane(store, changes->partition, where, reterr);

    if (!lane)
        return TW_UNREACHED;
    if (!lane->watching || lane->known.next_offset != changes->first_offset)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: no load of offset %lld is pending", lane->partition,
                       (long long)changes->first_offset);
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    TW_TRY(commit_carts(store, lane, changes, &arena, where, reterr));
    lane->known = changes->after;
    lane->known.outbox = (struct tw_str){NULL, 0};
    return TW_OK;
}

static enum tw_rc unwatch(struct cart_store *store, struct lane *lane, const char *where, struct tw_err *reterr)
{
    lane->watching = false;
    put_command(store, "UNWATCH", 0);
    TW_TRY(send_all(store, lane, where, reterr));
    return receive_ok(lane, where, "UNWATCH", reterr);
}

static void redis_abandon(void *self, int32_t partition)
{
    struct cart_store *store = self;
    struct lane       *lane = find_lane(store, partition);

    if (lane && lane->watching)
        unwatch(store, lane, "cart.store.abandon", NULL);
}

static enum tw_rc redis_forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    static const char  where[] = "cart.store.forget_outbox";
    struct cart_store *store = self;
    struct lane       *lane = open_lane(store, partition, where, reterr);

    if (!lane)
        return TW_UNREACHED;
    put_watch(store, lane);
    TW_TRY(send_all(store, lane, where, reterr));
    TW_TRY(receive_watch(lane, next_offset, where, reterr));
    put_command(store, "MULTI", 0);
    put_progress(store, lane, &lane->known);
    return run_transaction(store, lane, where, reterr);
}

/* ---- sweep ---- */

/* Carts whose end lies on a day before the clock's: at most SWEEP_CARTS of them. */
static void put_ended_query(struct cart_store *store, const struct lane *lane, int64_t clock_ms)
{
    char key[TW_CART_KEY_SIZE];

    put_command(store, "ZRANGEBYSCORE", 6);
    put_arg(store, key, tw_cart_key_ends(lane->partition, key));
    put_text(store, "-inf");
    put_number(store, tw_cart_day(clock_ms) - 1);
    put_text(store, "LIMIT");
    put_number(store, 0);
    put_number(store, SWEEP_CARTS);
}

static enum tw_rc receive_ended(struct lane *lane, struct change ret_carts[SWEEP_CARTS], size_t *ret_count,
                                const char *where, struct tw_err *reterr)
{
    TW_AUTO(free_reply) redisReply *reply = NULL;
    char                            key[TW_CART_KEY_SIZE];

    tw_cart_key_ends(lane->partition, key);
    TW_TRY(receive_type(lane, REDIS_REPLY_ARRAY, where, key, &reply, reterr));
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *member = reply->element[i];
        if (i >= SWEEP_CARTS || member->type != REDIS_REPLY_STRING || member->len != sizeof(struct tw_uuid))
            return fail_broken(lane, where, key, "holds what is not a member's id", reterr);
        ret_carts[i].after = &no_cart;
        memcpy(ret_carts[i].member_id.bytes, member->str, member->len);
    }
    *ret_count = reply->elements;
    return TW_OK;
}

static enum tw_rc load_ended(struct cart_store *store, struct lane *lane, struct change *carts, size_t count,
                             struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    char key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++)
        put_on_key(store, "GET", key, tw_cart_key_copy(carts[i].member_id, key));
    TW_TRY(send_all(store, lane, where, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(receive_cart(lane, carts[i].member_id, arena, where, &carts[i].before, reterr));
    return TW_OK;
}

/* An index entry that its cart contradicts (somebody edited the store) is put right on the way. */
static void put_swept(struct cart_store *store, const struct lane *lane, const struct change *cart, int64_t clock_ms)
{
    char key[TW_CART_KEY_SIZE];

    if (tw_cart_is_live(cart->before, clock_ms)) {
        put_end(store, lane, cart->member_id, cart->before->ends_at_ms);
        return;
    }
    put_on_key(store, "UNLINK", key, tw_cart_key_copy(cart->member_id, key));
    put_projection(store, lane, cart);
    put_command(store, "ZREM", 2);
    put_arg(store, key, tw_cart_key_ends(lane->partition, key));
    put_id(store, cart->member_id);
}

static enum tw_rc sweep_carts(struct cart_store *store, struct lane *lane, struct change *carts, size_t count,
                              int64_t clock_ms, struct tw_arena *arena, const char *where, struct tw_err *reterr)
{
    TW_TRY(load_ended(store, lane, carts, count, arena, where, reterr));
    TW_TRY(check_holders(store, lane, carts, count, arena, where, reterr));
    put_command(store, "MULTI", 0);
    for (size_t i = 0; i < count; i++)
        put_swept(store, lane, &carts[i], clock_ms);
    return run_transaction(store, lane, where, reterr);
}

/* The ledger needs no sweep: commit drops its days. */
static enum tw_rc redis_sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms,
                              struct tw_err *reterr)
{
    static const char  where[] = "cart.store.sweep";
    struct cart_store *store = self;
    struct lane       *lane = open_lane(store, partition, where, reterr);
    struct change      carts[SWEEP_CARTS] = {0};
    size_t             count = 0;

    if (!lane)
        return TW_UNREACHED;
    put_watch(store, lane);
    put_ended_query(store, lane, clock_ms);
    TW_TRY(send_all(store, lane, where, reterr));
    TW_TRY(receive_watch(lane, next_offset, where, reterr));
    TW_TRY(receive_ended(lane, carts, &count, where, reterr));
    if (count == 0)
        return unwatch(store, lane, where, reterr);
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    return sweep_carts(store, lane, carts, count, clock_ms, &arena, where, reterr);
}

/* ---- life ---- */

static void redis_release(void *self, int32_t partition)
{
    struct cart_store *store = self;
    struct lane       *lane = find_lane(store, partition);

    if (!lane)
        return;
    close_lane(lane);
    free(lane);
    store->lanes[partition] = NULL;
}

enum tw_rc tw_cart_store_open(const char *uris, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    struct cart_store *store = tw_alloc_zeroed(1, sizeof(*store));
    enum tw_rc         rc = tw_redis_uris_parse(uris, store->servers, &store->server_count, reterr);

    if (rc != TW_OK) {
        free(store);
        return rc;
    }
    store->timeout.tv_sec = timeout_ms / 1000;
    store->timeout.tv_usec = timeout_ms % 1000 * 1000;
    *ret_store = (struct tw_store){
                    .watermark = redis_watermark,
                    .load = redis_load,
                    .commit = redis_commit,
                    .abandon = redis_abandon,
                    .forget_outbox = redis_forget_outbox,
                    .sweep = redis_sweep,
                    .release = redis_release,
                    .self = store,
    };
    return TW_OK;
}

void tw_cart_store_close(struct tw_store *port)
{
    struct cart_store *store = port ? port->self : NULL;

    if (!store)
        return;
    for (size_t i = 0; i < store->lane_count; i++)
        redis_release(store, (int32_t)i);
    free(store->lanes);
    tw_buf_done(&store->out);
    tw_buf_done(&store->value);
    explicit_bzero(store->servers, sizeof(store->servers));
    free(store);
    port->self = NULL;
}
