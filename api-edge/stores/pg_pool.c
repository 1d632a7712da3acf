#include "stores/pg_pool.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tillwire/clock.h"

#define WHERE "edge.postgres"

enum { QUERY_MS = 2000, WAIT_MS = 2000, AFTER_FAILURE_US = 300000 };

struct tw_pg_pool {
    char           *uri;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t  freed;
    size_t          size;
    size_t          idle_count;
    PGconn        **idle;            /* NULL: a connection yet to be made */
    int64_t         closed_until_us; /* a connect failed: nobody tries before this */
};

enum tw_rc tw_pg_pool_open(const char *uri, size_t connections, struct tw_pg_pool **ret_pool, struct tw_err *reterr)
{
    PQconninfoOption  *options = PQconninfoParse(uri, NULL); /* its message may quote the password */
    struct tw_pg_pool *pool;
    pthread_condattr_t attr;

    if (!options)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the PostgreSQL URI cannot be read");
    PQconninfoFree(options);
    pool = tw_alloc_zeroed(1, sizeof(*pool));
    pool->uri = tw_strdup(uri);
    pool->size = connections;
    pool->idle_count = connections;
    pool->idle = tw_alloc_zeroed(connections, sizeof(PGconn *));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &attr);
    pthread_condattr_destroy(&attr);
    *ret_pool = pool;
    return TW_OK;
}

void tw_pg_pool_free(struct tw_pg_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->idle_count; i++)
        PQfinish(pool->idle[i]);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->idle);
    free(pool->uri);
    free(pool);
}

/** A place in the pool; @p ret_connection may be NULL: to be made. */
static enum tw_rc take(struct tw_pg_pool *pool, PGconn **ret_connection, struct tw_err *reterr)
{
    int64_t         deadline_us = tw_monotonic_us() + INT64_C(1000) * WAIT_MS;
    struct timespec deadline = {deadline_us / 1000000, (deadline_us % 1000000) * 1000};
    enum tw_rc      rc = TW_OK;

    pthread_mutex_lock(&pool->lock);
    while (pool->idle_count == 0 && rc == TW_OK) {
        if (pthread_cond_timedwait(&pool->freed, &pool->lock, &deadline) != 0)
            rc = tw_fail(reterr, TW_UNREACHED, WHERE, 0, "all connections are busy");
    }
    if (rc == TW_OK && !pool->idle[pool->idle_count - 1] && tw_monotonic_us() < pool->closed_until_us)
        rc = tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the server did not answer a moment ago");
    if (rc == TW_OK)
        *ret_connection = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

/** Gives the place back; @p connection NULL: the next one makes a new one. */
static void give(struct tw_pg_pool *pool, PGconn *connection, bool failed)
{
    pthread_mutex_lock(&pool->lock);
    if (failed)
        pool->closed_until_us = tw_monotonic_us() + AFTER_FAILURE_US;
    pool->idle[pool->idle_count++] = connection;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

static PGconn *connect_now(const char *uri)
{
    static const char *const names[] = {"dbname", "connect_timeout", "application_name", "options", NULL};
    const char *values[] = {uri, "2", "tillwire-edge", "-c default_transaction_read_only=on -c statement_timeout=2000",
                            NULL};

    return PQconnectdbParams(names, values, 1);
}

/** Waits for the answer, not longer than the deadline: PQexec() would wait for ever on a server that hangs. */
static bool wait_for_answer(PGconn *connection, int64_t deadline_us)
{
    struct pollfd pfd = {PQsocket(connection), POLLIN, 0};

    while (PQisBusy(connection)) {
        int64_t left_us = deadline_us - tw_monotonic_us();
        if (left_us <= 0 || poll(&pfd, 1, (int)(left_us / 1000) + 1) < 0)
            return false;
        if ((pfd.revents & (POLLIN | POLLERR | POLLHUP)) && !PQconsumeInput(connection))
            return false;
    }
    return true;
}

static PGresult *run(PGconn *connection, const char *sql, int param_count, const char *const *params)
{
    int64_t   deadline_us = tw_monotonic_us() + INT64_C(1000) * QUERY_MS;
    PGresult *result = NULL;

    if (!PQsendQueryParams(connection, sql, param_count, NULL, params, NULL, NULL, 0))
        return NULL;
    while (wait_for_answer(connection, deadline_us)) {
        PGresult *next = PQgetResult(connection);
        if (!next)
            return result;
        PQclear(result);
        result = next;
    }
    PQclear(result);
    return NULL;
}

/** One try on one connection; NULL: no answer, and the connection is of no more use. */
static PGresult *try_on(PGconn *connection, const char *sql, int param_count, const char *const *params)
{
    PGresult *result = PQstatus(connection) == CONNECTION_OK ? run(connection, sql, param_count, params) : NULL;

    if (result && PQstatus(connection) == CONNECTION_OK)
        return result;
    PQclear(result);
    return NULL;
}

enum tw_rc tw_pg_pool_query(struct tw_pg_pool *pool, const char *sql, int param_count, const char *const *params,
                            struct pg_result **ret_result, struct tw_err *reterr)
{
    PGconn   *connection = NULL;
    PGresult *result = NULL;

    TW_TRY(take(pool, &connection, reterr));
    if (connection) {
        result = try_on(connection, sql, param_count, params);
        bool cut = !result && PQstatus(connection) != CONNECTION_OK;
        if (!result) {
            PQfinish(connection);
            connection = NULL;
        }
        if (!result && !cut) { /* it hangs: a new connection would, too */
            give(pool, NULL, true);
            return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "no answer within %d ms", QUERY_MS);
        }
    }
    if (!result) { /* none yet, or cut by a restart of the server: reading again is safe */
        connection = connect_now(pool->uri);
        result = try_on(connection, sql, param_count, params);
    }
    if (!result) {
        PQfinish(connection);
        give(pool, NULL, true);
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "cannot connect or get an answer");
    }
    give(pool, connection, false);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the query was refused with SQLSTATE %s", state ? state : "?");
        PQclear(result);
        return TW_UNREACHED;
    }
    *ret_result = result;
    return TW_OK;
}
