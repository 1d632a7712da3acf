#include "stores/pg_pool.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "stores/places.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"

#define WHERE "edge.postgres"

static struct tw_metric duration = {.name = "db_client_operation_duration_seconds",
                                    .labels = "db_system_name=\"postgresql\",db_operation_name=\"query\"",
                                    .kind = TW_HISTOGRAM,
                                    .help = "A store's answer, by kind of call; with an error_type: it failed."};
TW_METRICS_SHOWN(&duration)

enum { QUERY_MS = 2000, WAIT_MS = 2000 };

struct tw_pg_pool {
    char            *uri;
    struct tw_places places; /* of PGconn */
};

enum tw_rc tw_pg_pool_open(const char *uri, size_t connections, struct tw_pg_pool **ret_pool, struct tw_err *reterr)
{
    PQconninfoOption  *options;
    struct tw_pg_pool *pool;

    errno = 0;
    options = PQconninfoParse(uri, NULL); /* its message may quote the password */
    if (!options && errno == ENOMEM)      /* libpq says the same of both */
        tw_out_of_memory(strlen(uri));
    if (!options)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the PostgreSQL URI cannot be read");
    PQconninfoFree(options);
    pool = tw_alloc_zeroed(1, sizeof(*pool));
    pool->uri = tw_strdup(uri);
    tw_places_init(&pool->places, connections);
    *ret_pool = pool;
    return TW_OK;
}

static void close_connection(void *connection)
{
    PQfinish(connection);
}

void tw_pg_pool_free(struct tw_pg_pool *pool)
{
    if (!pool)
        return;
    tw_places_done(&pool->places, close_connection);
    free(pool->uri);
    free(pool);
}

static PGconn *connect_now(const char *uri)
{
    /* Unless the URI wants it, nobody looks for Kerberos tickets first: that takes time, and without memory it crashes. */
    static const char *const names[] = {"gssencmode", "dbname", "connect_timeout", "application_name", "options", NULL};
    const char              *values[] = {
                     "disable", uri, "2", "tillwire-edge", "-c default_transaction_read_only=on -c statement_timeout=2000", NULL};

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
    int64_t   start_us = tw_monotonic_us();
    PGresult *result = PQstatus(connection) == CONNECTION_OK ? run(connection, sql, param_count, params) : NULL;

    if (result && PQstatus(connection) == CONNECTION_OK) {
        tw_metric_observe_us(&duration, tw_monotonic_us() - start_us);
        return result;
    }
    PQclear(result);
    return NULL;
}

enum tw_rc tw_pg_pool_query(struct tw_pg_pool *pool, const char *sql, int param_count, const char *const *params,
                            struct pg_result **ret_result, struct tw_err *reterr)
{
    void     *place = NULL;
    PGconn   *connection;
    PGresult *result = NULL;

    TW_TRY(tw_places_take(&pool->places, WAIT_MS, WHERE, &place, reterr));
    connection = place;
    if (connection) {
        result = try_on(connection, sql, param_count, params);
        bool cut = !result && PQstatus(connection) != CONNECTION_OK;
        if (!result) {
            PQfinish(connection);
            connection = NULL;
        }
        if (!result && !cut) { /* it hangs: a new connection would, too */
            tw_places_give(&pool->places, NULL);
            return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "no answer within %d ms", QUERY_MS);
        }
    }
    if (!result) { /* none yet, or cut by a restart of the server: reading again is safe */
        connection = connect_now(pool->uri);
        result = try_on(connection, sql, param_count, params);
    }
    if (!result) {
        PQfinish(connection);
        tw_places_give(&pool->places, NULL);
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "cannot connect or get an answer");
    }
    tw_places_give(&pool->places, connection);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the query was refused with SQLSTATE %s", state ? state : "?");
        PQclear(result);
        return TW_UNREACHED;
    }
    *ret_result = result;
    return TW_OK;
}
