/*
 * Commands are written as RESP straight into one buffer and from there to the socket: a batch has thousands of them, and
 * an argv array and a malloc for each cost more than the rest. Reading is hiredis', and the thousands of answers of a
 * transaction make no objects.
 */
#include "redis_lane.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/log.h"

enum { COMMAND_HEAD_SIZE = 64 };

/* ---- writing ---- */

/* A write that fails makes all later ones fail: the sender finds out at tw_lane_send(). */
static void flush(struct tw_lane *lane)
{
    size_t sent = 0;

    while (sent < lane->out_len && !lane->write_errno) {
        ssize_t part = write(lane->redis->fd, lane->out + sent, lane->out_len - sent);

        if (part >= 0)
            sent += (size_t)part;
        else if (errno != EINTR)
            lane->write_errno = errno;
    }
    lane->out_len = 0;
}

static void put_bytes(struct tw_lane *lane, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t room = sizeof(lane->out) - lane->out_len;
        size_t part = len < room ? len : room;
        memcpy(lane->out + lane->out_len, bytes, part);
        lane->out_len += part;
        bytes += part;
        len -= part;
        if (lane->out_len == sizeof(lane->out))
            flush(lane);
    }
}

/* `*3\r\n` or `$16\r\n`. */
static void put_head(struct tw_lane *lane, char kind, size_t count)
{
    char          text[TW_INT_TEXT];
    struct tw_str number = tw_str_of_int((int64_t)count, text);

    put_bytes(lane, &kind, 1);
    put_bytes(lane, number.ptr, number.len);
    put_bytes(lane, "\r\n", 2);
}

void tw_lane_arg(struct tw_lane *lane, const void *bytes, size_t len)
{
    put_head(lane, '$', len);
    put_bytes(lane, bytes, len);
    put_bytes(lane, "\r\n", 2);
}

/* No name is cut in two writes: tests break connections at the write that holds a given one. */
void tw_lane_command(struct tw_lane *lane, const char *name, size_t args)
{
    if (sizeof(lane->out) - lane->out_len < COMMAND_HEAD_SIZE)
        flush(lane);
    put_head(lane, '*', args + 1);
    tw_lane_text(lane, name);
    lane->unanswered++;
}

void tw_lane_str(struct tw_lane *lane, struct tw_str text)
{
    tw_lane_arg(lane, text.ptr, text.len);
}

void tw_lane_text(struct tw_lane *lane, const char *text)
{
    tw_lane_arg(lane, text, strlen(text));
}

void tw_lane_number(struct tw_lane *lane, int64_t number)
{
    char text[TW_INT_TEXT];

    tw_lane_str(lane, tw_str_of_int(number, text));
}

void tw_lane_id(struct tw_lane *lane, struct tw_uuid id)
{
    tw_lane_arg(lane, id.bytes, sizeof(id.bytes));
}

/* ---- failing: always closes the lane ---- */

void tw_lane_close(struct tw_lane *lane)
{
    if (lane->redis)
        redisFree(lane->redis);
    lane->redis = NULL;
    lane->out_len = lane->unanswered = 0;
    lane->write_errno = 0;
}

/* No answer, or nobody to ask: @p rc says what that means for what was sent. */
static enum tw_rc fail_lost(struct tw_lane *lane, enum tw_rc rc, long code, const char *where, struct tw_err *reterr)
{
    const char *why = lane->redis->err ? lane->redis->errstr : strerror((int)code);

    tw_fail(reterr, rc, where, code, "Redis of partition %d: %s", lane->partition,
            code == EAGAIN ? "no answer in time" : why);
    tw_lane_close(lane);
    return rc;
}

static enum tw_rc rc_of_error(const char *error)
{
    static const char *const for_good[] = {
        "WRONGTYPE", "NOAUTH", "WRONGPASS", "NOPERM", "ERR DB index", "ERR unknown command",
    };

    for (size_t i = 0; i < TW_LEN(for_good); i++)
        if (!strncmp(error, for_good[i], strlen(for_good[i])))
            return TW_BROKEN;
    return TW_UNREACHED;
}

static enum tw_rc refuse_error(struct tw_lane *lane, const char *error, const char *where, const char *what,
                               struct tw_err *reterr)
{
    enum tw_rc rc = rc_of_error(error);

    tw_fail(reterr, rc, where, REDIS_REPLY_ERROR, "Redis of partition %d, %s: %s", lane->partition, what, error);
    tw_lane_close(lane);
    return rc;
}

enum tw_rc tw_lane_refuse(struct tw_lane *lane, const redisReply *reply, const char *where, const char *what,
                          struct tw_err *reterr)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return refuse_error(lane, reply->str, where, what, reterr);
    return tw_lane_broken(lane, where, what, "an answer of an unexpected kind", reterr);
}

enum tw_rc tw_lane_broken(struct tw_lane *lane, const char *where, const char *key, const char *what,
                          struct tw_err *reterr)
{
    tw_lane_close(lane);
    return tw_fail(reterr, TW_BROKEN, where, 0, "Redis of partition %d, %s: %s", lane->partition, key, what);
}

/* ---- sending and receiving ---- */

enum tw_rc tw_lane_send(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    flush(lane);
    return lane->write_errno ? fail_lost(lane, TW_UNREACHED, lane->write_errno, where, reterr) : TW_OK;
}

redisReply *tw_lane_answer(struct tw_lane *lane, enum tw_rc lost, const char *where, struct tw_err *reterr)
{
    void *reply = NULL;

    assert(lane->unanswered > 0 && lane->out_len == 0);
    lane->unanswered--;
    if (redisGetReply(lane->redis, &reply) != REDIS_OK)
        fail_lost(lane, lost, lane->redis->err == REDIS_ERR_IO ? errno : 0, where, reterr);
    return reply;
}

enum tw_rc tw_lane_receive(struct tw_lane *lane, int type, const char *where, const char *what, redisReply **ret_reply,
                           struct tw_err *reterr)
{
    redisReply *reply = tw_lane_answer(lane, TW_UNREACHED, where, reterr);

    if (!reply)
        return TW_UNREACHED;
    if (reply->type != type && !(type == REDIS_REPLY_STRING && reply->type == REDIS_REPLY_NIL)) {
        enum tw_rc rc = tw_lane_refuse(lane, reply, where, what, reterr);
        freeReplyObject(reply);
        return rc;
    }
    *ret_reply = reply;
    return TW_OK;
}

enum tw_rc tw_lane_receive_ok(struct tw_lane *lane, const char *where, const char *what, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;

    return tw_lane_receive(lane, REDIS_REPLY_STATUS, where, what, &reply, reterr);
}

/* ---- the answers of a transaction ---- */

/* What is kept of them. The first refusal while queueing tells more than the EXECABORT that it leads to. */
struct verdict {
    int  type;           /* of the last whole answer */
    char refusal[128];   /* the first answer that is an error; empty: none */
    char part_lost[128]; /* the first error inside an answer; empty: none */
};

/* Stands for every answer: hiredis wants an object. */
static char no_object;

static void *note(const redisReadTask *task, int type)
{
    struct verdict *verdict = task->privdata;

    if (!task->parent)
        verdict->type = type;
    return &no_object;
}

static void *note_string(const redisReadTask *task, char *text, size_t len)
{
    struct verdict *verdict = task->privdata;
    char           *error = task->parent ? verdict->part_lost : verdict->refusal;

    if (task->type == REDIS_REPLY_ERROR && !error[0])
        memcpy(error, text, len < sizeof(verdict->refusal) ? len : sizeof(verdict->refusal) - 1);
    return note(task, task->type);
}

static void *note_array(const redisReadTask *task, int elements)
{
    (void)elements;
    return note(task, REDIS_REPLY_ARRAY);
}

static void *note_integer(const redisReadTask *task, long long number)
{
    (void)number;
    return note(task, REDIS_REPLY_INTEGER);
}

/* Its task calls a nil by what it would have been otherwise. */
static void *note_nil(const redisReadTask *task)
{
    return note(task, REDIS_REPLY_NIL);
}

static void free_nothing(void *object)
{
    (void)object;
}

static enum tw_rc read_verdict(struct tw_lane *lane, struct verdict *verdict, const char *where, struct tw_err *reterr)
{
    static redisReplyObjectFunctions notes = {note_string, note_array, note_integer, note_nil, free_nothing};
    redisReader                     *reader = lane->redis->reader;
    redisReplyObjectFunctions       *objects = reader->fn;

    reader->fn = &notes;
    reader->privdata = verdict;
    while (lane->unanswered > 0)
        if (!tw_lane_answer(lane, TW_UNKNOWN, where, reterr)) /* the reader is gone with the connection */
            return TW_UNKNOWN;
    reader->fn = objects;
    reader->privdata = NULL;
    return TW_OK;
}

enum tw_rc tw_lane_receive_transaction(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    struct verdict verdict = {0};

    TW_TRY(read_verdict(lane, &verdict, where, reterr));
    if (verdict.refusal[0])
        return refuse_error(lane, verdict.refusal, where, "the transaction", reterr);
    if (verdict.part_lost[0])
        return tw_lane_broken(lane, where, "a part of a transaction failed", verdict.part_lost, reterr);
    if (verdict.type == REDIS_REPLY_ARRAY)
        return TW_OK;
    tw_lane_close(lane);
    return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: another worker went on", lane->partition);
}

void tw_reply_free(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}

/* ---- connecting ---- */

static enum tw_rc dial(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    const struct timeval timeout = {lane->timeout_ms / 1000, lane->timeout_ms % 1000 * 1000L};

    lane->redis = redisConnectWithTimeout(lane->server->host, lane->server->port, timeout);
    if (!lane->redis)
        tw_out_of_memory(sizeof(*lane->redis));
    if (lane->redis->err || redisSetTimeout(lane->redis, timeout) != REDIS_OK)
        return fail_lost(lane, TW_UNREACHED, lane->redis->err == REDIS_ERR_IO ? errno : 0, where, reterr);
    return TW_OK;
}

static enum tw_rc log_in(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    const struct tw_redis_uri *server = lane->server;

    if (server->password[0]) {
        tw_lane_command(lane, "AUTH", server->user[0] ? 2 : 1);
        if (server->user[0])
            tw_lane_text(lane, server->user);
        tw_lane_text(lane, server->password);
    }
    tw_lane_command(lane, "SELECT", 1);
    tw_lane_number(lane, server->db);
    TW_TRY(tw_lane_send(lane, where, reterr));
    if (server->password[0])
        TW_TRY(tw_lane_receive_ok(lane, where, "AUTH", reterr));
    return tw_lane_receive_ok(lane, where, "SELECT", reterr);
}

/* 702 for 7.2; 0: it does not say. */
static int version_of(const char *info)
{
    static const char name[] = "redis_version:";
    const char       *version = strstr(info, name);
    char             *end;

    if (!version)
        return 0;
    long major = strtol(version + sizeof(name) - 1, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return (int)(100 * major + minor % 100);
}

/* SET … PXAT came with 6.2. */
static enum tw_rc check_version(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *info = NULL;

    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_STRING, where, "INFO", &info, reterr));
    assert(info);
    lane->version = info->str ? version_of(info->str) : 0;
    if (lane->version < 602)
        return tw_lane_broken(lane, where, "INFO", "the server is older than 6.2", reterr);
    if (strstr(info->str, "redis_mode:cluster"))
        return tw_lane_broken(lane, where, "INFO", "the server is part of a cluster, where keys of one cart live apart",
                              reterr);
    return TW_OK;
}

/* A server that evicts would forget carts behind the worker's back. Managed ones may not let us ask. */
static enum tw_rc check_eviction(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *policy = tw_lane_answer(lane, TW_UNREACHED, where, reterr);

    if (!policy)
        return TW_UNREACHED;
    if (policy->type == REDIS_REPLY_ARRAY && policy->elements == 2 && policy->element[1]->type == REDIS_REPLY_STRING)
        return !strcmp(policy->element[1]->str, "noeviction")
                   ? TW_OK
                   : tw_lane_broken(lane, where, "maxmemory-policy", "it must be noeviction", reterr);
    if (!lane->told_about_eviction)
        tw_log(TW_LOG_WARN, "Redis does not tell its maxmemory-policy; it must be noeviction",
               TW_F_INT("partition", lane->partition));
    lane->told_about_eviction = true;
    return TW_OK;
}

/* An account that may SET but not MULTI would run a transaction as single commands, past the fence. */
static enum tw_rc check_transactions(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *nothing = NULL;

    TW_TRY(tw_lane_receive_ok(lane, where, "MULTI", reterr));
    return tw_lane_receive(lane, REDIS_REPLY_ARRAY, where, "EXEC", &nothing, reterr);
}

enum tw_rc tw_lane_open(struct tw_lane *lane, const char *where, struct tw_err *reterr)
{
    TW_TRY(dial(lane, where, reterr));
    TW_TRY(log_in(lane, where, reterr));
    tw_lane_command(lane, "INFO", 1);
    tw_lane_text(lane, "server");
    tw_lane_command(lane, "CONFIG", 2);
    tw_lane_text(lane, "GET");
    tw_lane_text(lane, "maxmemory-policy");
    tw_lane_command(lane, "MULTI", 0);
    tw_lane_command(lane, "EXEC", 0);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(check_version(lane, where, reterr));
    TW_TRY(check_eviction(lane, where, reterr));
    return check_transactions(lane, where, reterr);
}
