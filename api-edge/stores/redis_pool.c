#include "stores/redis_pool.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"

#define WHERE "edge.redis"

enum { TIMEOUT_MS = 1500, WAIT_MS = 1500, AFTER_FAILURE_US = 300000 };

struct server {
    struct tw_redis_uri uri;
    pthread_mutex_t     lock; /* guards all below */
    pthread_cond_t      freed;
    size_t              idle_count;
    redisContext      **idle; /* NULL: a connection yet to be made */
    int64_t             closed_until_us;
};

struct tw_redis_pool {
    size_t         count;
    struct server *servers;
};

static void reply_release(redisReply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
}

static void server_init(struct server *server, const struct tw_redis_uri *uri, size_t connections)
{
    pthread_condattr_t attr;

    server->uri = *uri;
    server->idle_count = connections;
    server->idle = tw_alloc_zeroed(connections, sizeof(redisContext *));
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->freed, &attr);
    pthread_condattr_destroy(&attr);
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
        for (size_t i = 0; i < count; i++)
            server_init(&pool->servers[i], &parsed[i], connections);
        *ret_pool = pool;
    }
    explicit_bzero(parsed, TW_REDIS_SERVERS_MAX * sizeof(*parsed));
    free(parsed);
    return rc;
}

void tw_redis_pool_close(struct tw_redis_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->count; i++) {
        struct server *server = &pool->servers[i];
        for (size_t j = 0; j < server->idle_count; j++) {
            if (server->idle[j])
                redisFree(server->idle[j]);
        }
        pthread_cond_destroy(&server->freed);
        pthread_mutex_destroy(&server->lock);
        free(server->idle);
    }
    free(pool->servers);
    free(pool);
}

size_t tw_redis_pool_servers(const struct tw_redis_pool *pool)
{
    return pool->count;
}

static enum tw_rc take(struct server *server, redisContext **ret_context, struct tw_err *reterr)
{
    int64_t         deadline_us = tw_monotonic_us() + INT64_C(1000) * WAIT_MS;
    struct timespec deadline = {deadline_us / 1000000, (deadline_us % 1000000) * 1000};
    enum tw_rc      rc = TW_OK;

    pthread_mutex_lock(&server->lock);
    while (server->idle_count == 0 && rc == TW_OK) {
        if (pthread_cond_timedwait(&server->freed, &server->lock, &deadline) != 0)
            rc = tw_fail(reterr, TW_UNREACHED, WHERE, 0, "all connections are busy");
    }
    if (rc == TW_OK && !server->idle[server->idle_count - 1] && tw_monotonic_us() < server->closed_until_us)
        rc = tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the server did not answer a moment ago");
    if (rc == TW_OK)
        *ret_context = server->idle[--server->idle_count];
    pthread_mutex_unlock(&server->lock);
    return rc;
}

static void give(struct server *server, redisContext *context)
{
    pthread_mutex_lock(&server->lock);
    if (!context)
        server->closed_until_us = tw_monotonic_us() + AFTER_FAILURE_US;
    server->idle[server->idle_count++] = context;
    pthread_cond_signal(&server->freed);
    pthread_mutex_unlock(&server->lock);
}

/** A greeting before the first command: a good answer, or the connection is of no use. */
static bool greet(redisContext *context, const char *format, const char *first, const char *second)
{
    TW_AUTO(reply_release)
    redisReply *reply = second ? redisCommand(context, format, first, second) : redisCommand(context, format, first);

    return reply && reply->type != REDIS_REPLY_ERROR;
}

static redisContext *connect_now(const struct tw_redis_uri *uri)
{
    struct timeval timeout = {TIMEOUT_MS / 1000, (TIMEOUT_MS % 1000) * 1000L};
    redisContext  *context = redisConnectWithTimeout(uri->host, uri->port, timeout);
    char           db[16];

    snprintf(db, sizeof(db), "%d", uri->db);
    if (context && !context->err && redisSetTimeout(context, timeout) == REDIS_OK &&
        (uri->password[0] == '\0' || (uri->user[0] == '\0' ? greet(context, "AUTH %s", uri->password, NULL)
                                                           : greet(context, "AUTH %s %s", uri->user, uri->password))) &&
        (uri->db == 0 || greet(context, "SELECT %s", db, NULL)))
        return context;
    if (context)
        redisFree(context);
    return NULL;
}

/** NULL: no answer; the connection is gone then. */
static redisReply *try_on(redisContext **context, int argc, const char **argv, const size_t *lengths)
{
    redisReply *reply = *context ? redisCommandArgv(*context, argc, argv, lengths) : NULL;

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
    redisContext  *context = NULL;
    int64_t        start_us = tw_monotonic_us();

    TW_TRY(take(server, &context, reterr));
    TW_AUTO(reply_release) redisReply *reply = try_on(&context, argc, argv, lengths);
    /* None yet, or cut by a restart of the server: reading again is safe. One that hung would hang again. */
    if (!reply && tw_monotonic_us() - start_us < INT64_C(1000) * TIMEOUT_MS) {
        context = connect_now(&server->uri);
        reply = try_on(&context, argc, argv, lengths);
    }
    give(server, context);
    if (!reply)
        return tw_fail(reterr, TW_UNREACHED, WHERE, (long)server_index, "the server does not answer");
    if (reply->type == REDIS_REPLY_ERROR)
        return tw_fail(reterr, TW_UNREACHED, WHERE, (long)server_index, "the server refused the command");
    *ret_reply = reply;
    reply = NULL;
    return TW_OK;
}
