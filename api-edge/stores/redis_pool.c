#include "stores/redis_pool.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "stores/places.h"
#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"

#define WHERE "edge.redis"

static struct tw_metric duration = {.name = "db_client_operation_duration_seconds",
                                    .labels = "db_system_name=\"redis\",db_operation_name=\"command\"",
                                    .kind = TW_HISTOGRAM,
                                    .help = "A store's answer, by kind of call; with an error_type: it failed."};
TW_METRICS_SHOWN(&duration)

enum { TIMEOUT_MS = 1500, WAIT_MS = 1500 };

struct server {
    struct tw_redis_uri uri;
    struct tw_places    places; /* of redisContext */
};

struct tw_redis_pool {
    size_t         count;
    struct server *servers;
};

void tw_redis_reply_release(struct redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}

enum tw_rc tw_redis_pool_open(const char *uris, size_t connections, struct tw_redis_pool **ret_pool,
                              struct tw_err *reterr)
{
    struct tw_redis_uri *parsed = tw_alloc_zeroed(TW_REDIS_SERVERS_MAX, sizeof(*parsed));
    size_t               count = 0;
    enum tw_rc           rc = tw_redis_uris_parse(uris, parsed, &count, reterr);

    if (rc == TW_OK) {
        struct tw_redis_pool *pool = tw_alloc_zeroed(1, sizeof(*pool));
        pool->count = count;
        pool->servers = tw_alloc_zeroed(count, sizeof(*pool->servers));
        for (size_t i = 0; i < count; i++) {
            pool->servers[i].uri = parsed[i];
            tw_places_init(&pool->servers[i].places, connections);
        }
        *ret_pool = pool;
    }
    explicit_bzero(parsed, TW_REDIS_SERVERS_MAX * sizeof(*parsed));
    free(parsed);
    return rc;
}

static void close_connection(void *connection)
{
    redisFree(connection);
}

void tw_redis_pool_close(struct tw_redis_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->count; i++)
        tw_places_done(&pool->servers[i].places, close_connection);
    free(pool->servers);
    free(pool);
}

size_t tw_redis_pool_servers(const struct tw_redis_pool *pool)
{
    return pool->count;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t part = write(fd, bytes, len);

        if (part < 0 && errno != EINTR)
            return false;
        bytes += part > 0 ? part : 0;
        len -= part > 0 ? (size_t)part : 0;
    }
    return true;
}

/** One command, one reply; NULL: none, and the connection is of no more use. Written past hiredis 0.14, which crashes when
 *  there is no memory for its next output buffer. */
static redisReply *ask(redisContext *context, int argc, const char **argv, const size_t *lengths)
{
    void *reply = NULL;
    char *command = NULL;
    int   len = redisFormatCommandArgv(&command, argc, argv, lengths);

    if (len < 0)
        tw_out_of_memory(sizeof(*context));
    if (!write_all(context->fd, command, (size_t)len) || redisGetReply(context, &reply) != REDIS_OK)
        reply = NULL;
    redisFreeCommand(command);
    return reply;
}

/** Before the first command: a good answer, or the connection is of no use. */
static bool greet(redisContext *context, int argc, const char **argv)
{
    TW_AUTO(tw_redis_reply_release) redisReply *reply = ask(context, argc, argv, NULL);

    return reply && reply->type != REDIS_REPLY_ERROR;
}

static bool log_in(redisContext *context, const struct tw_redis_uri *uri)
{
    if (uri->password[0] == '\0')
        return true;
    return uri->user[0] == '\0' ? greet(context, 2, (const char *[]){"AUTH", uri->password})
                                : greet(context, 3, (const char *[]){"AUTH", uri->user, uri->password});
}

static redisContext *connect_now(const struct tw_redis_uri *uri)
{
    struct timeval timeout = {TIMEOUT_MS / 1000, (TIMEOUT_MS % 1000) * 1000L};
    redisContext  *context = redisConnectWithTimeout(uri->host, uri->port, timeout);
    char           db[16];

    snprintf(db, sizeof(db), "%d", uri->db);
    if (context && !context->err && redisSetTimeout(context, timeout) == REDIS_OK && log_in(context, uri) &&
        (uri->db == 0 || greet(context, 2, (const char *[]){"SELECT", db})))
        return context;
    if (context)
        redisFree(context);
    return NULL;
}

/** NULL: no answer; the connection is gone then. */
static redisReply *try_on(redisContext **context, int argc, const char **argv, const size_t *lengths)
{
    int64_t     start_us = tw_monotonic_us();
    redisReply *reply = *context ? ask(*context, argc, argv, lengths) : NULL;

    if (reply)
        tw_metric_observe_us(&duration, tw_monotonic_us() - start_us);
    if (!reply && *context) {
        redisFree(*context);
        *context = NULL;
    }
    return reply;
}

enum tw_rc tw_redis_pool_run(struct tw_redis_pool *pool, size_t server_index, int argc, const char **argv,
                             const size_t *lengths, struct redisReply **ret_reply, struct tw_err *reterr)
{
    struct server *server = &pool->servers[server_index];
    void          *place = NULL;
    redisContext  *context;
    int64_t        start_us = tw_monotonic_us();

    TW_TRY(tw_places_take(&server->places, WAIT_MS, WHERE, &place, reterr));
    context = place;
    TW_AUTO(tw_redis_reply_release) redisReply *reply = try_on(&context, argc, argv, lengths);
    /* None yet, or cut by a restart of the server: reading again is safe. One that hung would hang again. */
    if (!reply && tw_monotonic_us() - start_us < INT64_C(1000) * TIMEOUT_MS) {
        context = connect_now(&server->uri);
        reply = try_on(&context, argc, argv, lengths);
    }
    tw_places_give(&server->places, context);
    if (!reply)
        return tw_fail(reterr, TW_UNREACHED, WHERE, (long)server_index, "the server does not answer");
    if (reply->type == REDIS_REPLY_ERROR)
        return tw_fail(reterr, TW_UNREACHED, WHERE, (long)server_index, "the server refused the command");
    *ret_reply = reply;
    reply = NULL;
    return TW_OK;
}
