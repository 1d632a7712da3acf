/*
 * libpq in pipeline mode, with deadlines.
 *
 * What is known when a connection is lost: everything before COMMIT goes out and is flushed first, so a loss up to
 * there is a transaction the server rolls back (UNREACHED). From the first byte of COMMIT on nobody can tell (UNKNOWN).
 * No answer is waited for in between, so this costs a system call, not a round trip.
 *
 * After a failed statement the server skips the rest of the pipeline, COMMIT included, and the transaction stays open:
 * settle() reads the rest and rolls back, or closes the connection.
 */
#include "pg_pipeline.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/failpoint.h"

struct tw_pg {
    const char                   *uri;
    int                           timeout_ms;
    int                           answer_ms; /* of a pipeline; more than timeout_ms: tw_pg_wait_longer() */
    const struct tw_pg_statement *statements;
    size_t                        statement_count;
    PGconn                       *conn;                    /* NULL: closed */
    int64_t                       deadline_us;             /* of what is under way */
    const char                   *sent[TW_PG_RESULTS_MAX]; /* names of the statements of this pipeline */
    size_t                        sent_count;
    size_t                        answered;
    bool                          commit_sent;
    bool                          send_failed; /* libpq refused to queue something */
};

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* Longest prefix first. Nothing of PostgreSQL's is missing: the last row fits everything, and stops, because retrying
 * what is not understood hides it. */
static const struct {
    const char *prefix;
    enum tw_rc  rc;
} rc_of_sqlstate[] = {
    {"TW001", TW_FENCED},    /* tw_advance(), tw_hold() */
    {"23505", TW_BROKEN},    /* unique_violation: impossible by construction */
    {"40003", TW_UNKNOWN},   /* statement_completion_unknown */
    {"25006", TW_UNREACHED}, /* read_only_sql_transaction: a standby; the next connection finds the primary */
    {"55P03", TW_UNREACHED}, /* lock_not_available */
    {"57014", TW_UNREACHED}, /* query_canceled: statement_timeout */
    {"XX001", TW_BROKEN},    /* data_corrupted */
    {"XX002", TW_BROKEN},    /* index_corrupted */
    {"08", TW_UNREACHED},    /* connection exception */
    {"22", TW_REFUSED},      /* data exception: too long, out of range, not UTF-8 */
    {"23", TW_REFUSED},      /* other constraints */
    {"25", TW_UNREACHED},    /* invalid transaction state, idle in it for too long: a new connection helps */
    {"28", TW_UNREACHED},    /* authorization: a password that is being rotated */
    {"40", TW_UNREACHED},    /* serialization failure, deadlock */
    {"53", TW_UNREACHED},    /* disk full, out of memory, too many connections */
    {"54", TW_REFUSED},      /* program limit exceeded: a row too large for its index */
    {"55", TW_UNREACHED},    /* object in use */
    {"57", TW_UNREACHED},    /* operator intervention: shutting down, starting up */
    {"58", TW_UNREACHED},    /* system error: I/O */
    {"XX", TW_UNREACHED},    /* internal error */
    {"", TW_BROKEN},         /* 42 (not set up, or no right to it), 21, 0A, P0 and what is to come */
};

enum tw_rc tw_pg_rc(const char *sqlstate)
{
    size_t i = 0;

    while (strncmp(sqlstate, rc_of_sqlstate[i].prefix, strlen(rc_of_sqlstate[i].prefix)) != 0)
        i++;
    return rc_of_sqlstate[i].rc;
}

/* Messages of these classes may quote data. */
static bool may_quote_data(const char *sqlstate)
{
    return !strncmp(sqlstate, "22", 2) || !strncmp(sqlstate, "23", 2);
}

/* Length of a message of libpq's without the line end. */
static int clause_len(const char *message)
{
    return (int)strcspn(message, "\n");
}

/* What was under way has no answer any more. */
static enum tw_rc lose(struct tw_pg *pg, const char *why, struct tw_err *reterr)
{
    const char *what = pg->commit_sent ? "lost the answer to a commit" : "lost the connection";
    enum tw_rc  rc = pg->commit_sent ? TW_UNKNOWN : TW_UNREACHED;

    tw_fail(reterr, rc, "member.store", 0, "%s: %.*s", what, clause_len(why), why);
    tw_pg_close(pg);
    return rc;
}

static enum tw_rc fail_statement(const struct tw_pg *pg, const PGresult *result, const char *name,
                                 struct tw_err *reterr)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum tw_rc  rc;

    if (!sqlstate) /* libpq's own: the connection broke */
        return tw_fail(reterr, pg->commit_sent ? TW_UNKNOWN : TW_UNREACHED, "member.store", 0, "%s: %.*s", name,
                       clause_len(PQresultErrorMessage(result)), PQresultErrorMessage(result));
    rc = tw_pg_rc(sqlstate);
    /* A failing COMMIT: the server may have been shut down after it had written the commit and before it said so. */
    if (rc == TW_UNREACHED && pg->commit_sent && pg->answered == pg->sent_count && strncmp(sqlstate, "40", 2) != 0)
        rc = TW_UNKNOWN;
    return tw_fail(reterr, rc, "member.store", 0, "%s: SQLSTATE %s %s%s", name, sqlstate, constraint ? constraint : "",
                   may_quote_data(sqlstate) || !message ? "" : message);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static void restart_clock(struct tw_pg *pg)
{
    pg->deadline_us = tw_monotonic_us() + (int64_t)pg->answer_ms * 1000;
}

/* Waits until the socket is ready and reads what there is. */
static enum tw_rc wait_socket(struct tw_pg *pg, short events, struct tw_err *reterr)
{
    int64_t       left_us = pg->deadline_us - tw_monotonic_us();
    struct pollfd ready = {.fd = PQsocket(pg->conn), .events = events};
    int           count = left_us > 0 ? poll(&ready, 1, (int)((left_us + 999) / 1000)) : 0;

    if (count == 0)
        return lose(pg, "no answer in time", reterr);
    if (count < 0)
        return errno == EINTR ? TW_OK : lose(pg, strerror(errno), reterr);
    if ((ready.revents & ~POLLOUT) && !PQconsumeInput(pg->conn))
        return lose(pg, PQerrorMessage(pg->conn), reterr);
    return TW_OK;
}

/* Sends all that is queued. Reads, too, while the socket takes nothing: the server may wait for us to do so. */
static enum tw_rc flush(struct tw_pg *pg, struct tw_err *reterr)
{
    int unsent;

    if (pg->send_failed)
        return lose(pg, PQerrorMessage(pg->conn), reterr);
    while ((unsent = PQflush(pg->conn)) > 0)
        TW_TRY(wait_socket(pg, POLLIN | POLLOUT, reterr));
    return unsent == 0 ? TW_OK : lose(pg, PQerrorMessage(pg->conn), reterr);
}

/* The next result, NULL between those of two statements. */
static enum tw_rc next_result(struct tw_pg *pg, PGresult **ret_result, struct tw_err *reterr)
{
    while (PQisBusy(pg->conn))
        TW_TRY(wait_socket(pg, POLLIN, reterr));
    *ret_result = PQgetResult(pg->conn);
    return TW_OK;
}

void tw_pg_results_done(struct tw_pg_results *results)
{
    for (size_t i = 0; i < results->count; i++)
        PQclear(results->at[i]);
    results->count = 0;
}

static void clear_result(PGresult **result)
{
    PQclear(*result);
}

/* --- connection --------------------------------------------------------------------------------------------------- */

enum tw_rc tw_pg_new(const char *uri, int timeout_ms, const struct tw_pg_statement *statements, size_t count,
                     struct tw_pg **ret_pg, struct tw_err *reterr)
{
    PQconninfoOption *options;

    errno = 0;
    options = PQconninfoParse(uri, NULL); /* its message could quote the password */
    if (!options && errno == ENOMEM)      /* libpq says the same of both */
        tw_out_of_memory(strlen(uri));
    if (!options)
        return tw_fail(reterr, TW_INVALID, "member.store", 0, "the PostgreSQL URI cannot be read");
    PQconninfoFree(options);
    *ret_pg = tw_alloc_zeroed(1, sizeof(**ret_pg));
    **ret_pg = (struct tw_pg){
        .uri = uri,
        .timeout_ms = timeout_ms,
        .answer_ms = timeout_ms,
        .statements = statements,
        .statement_count = count,
    };
    return TW_OK;
}

void tw_pg_wait_longer(struct tw_pg *pg, int times)
{
    pg->answer_ms = pg->timeout_ms < INT_MAX / times ? pg->timeout_ms * times : INT_MAX;
}

void tw_pg_free(struct tw_pg *pg)
{
    if (!pg)
        return;
    tw_pg_close(pg);
    free(pg);
}

void tw_pg_close(struct tw_pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->commit_sent = pg->send_failed = false;
}

bool tw_pg_is_open(const struct tw_pg *pg)
{
    return pg->conn != NULL;
}

/* libpq would print notices. */
static void drop_notice(void *self, const PGresult *notice)
{
    (void)self;
    (void)notice;
}

enum tw_rc tw_pg_query(struct tw_pg *pg, const char *what, const char *sql, struct tw_pg_results *ret_results,
                       struct tw_err *reterr)
{
    TW_AUTO(clear_result) PGresult *last = NULL;
    PGresult                       *result;

    restart_clock(pg);
    pg->send_failed = !PQsendQuery(pg->conn, sql);
    TW_TRY(flush(pg, reterr));
    for (;;) {
        TW_TRY(next_result(pg, &result, reterr));
        if (!result)
            break;
        PQclear(last);
        last = result;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            return fail_statement(pg, result, what, reterr);
    }
    if (ret_results)
        ret_results->at[ret_results->count++] = last;
    else
        PQclear(last);
    last = NULL;
    return TW_OK;
}

/* Schema: `tillwire`, unless the URI names another (member_uri.h). Names in statements and functions have none,
 * so that they fit either; and when another schema takes this one's name, the server makes their plans anew.
 * Plans: every statement finds its rows by key, from a few to thousands of them. A plan made once while tables are
 * empty must still be right when they are not, so there is no other plan to choose than by index.
 * Time-outs: the server gives up when we do, and on locks before, so that a failure says what it waited for. Keepalives
 * end a session whose client vanished without a word while it holds a partition's row. */
static enum tw_rc set_up_session(struct tw_pg *pg, struct tw_err *reterr)
{
    char sql[1024];

    snprintf(
        sql, sizeof(sql),
        "select set_config('search_path', quote_ident(coalesce(nullif(current_setting('tillwire.schema', true), ''),"
        " 'tillwire')) || ', pg_temp', false); set timezone = 'UTC'; set client_min_messages = warning;"
        "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off;"
        "set statement_timeout = %d; set lock_timeout = %d; set idle_in_transaction_session_timeout = %d;"
        "set tcp_user_timeout = %d;"
        "set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3",
        pg->answer_ms, pg->timeout_ms / 2, pg->answer_ms, pg->timeout_ms);
    return tw_pg_query(pg, "set-up", sql, NULL, reterr);
}

/* Blocking, because only then libpq tries the hosts of a URI one after the other, each with its own time-out. */
enum tw_rc tw_pg_open(struct tw_pg *pg, struct tw_err *reterr)
{
    char              connect_timeout_s[12], tcp_user_timeout_ms[12];
    /* What stands before `dbname` the URI may override, what stands after it not. Kerberos tickets, which libpq looks for
     * unless it is told not to, take time, and without memory they are a crash. */
    const char *const names[] = {"fallback_application_name",
                                 "connect_timeout",
                                 "tcp_user_timeout",
                                 "keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "target_session_attrs",
                                 "gssencmode",
                                 "dbname",
                                 "client_encoding",
                                 NULL};
    const char *const values[] = {"tillwire-member",
                                  connect_timeout_s,
                                  tcp_user_timeout_ms,
                                  "10",
                                  "5",
                                  "3",
                                  "read-write",
                                  "disable",
                                  pg->uri,
                                  "UTF8",
                                  NULL};
    enum tw_rc        rc;

    snprintf(connect_timeout_s, sizeof(connect_timeout_s), "%d", pg->timeout_ms / 1000 + 1);
    snprintf(tcp_user_timeout_ms, sizeof(tcp_user_timeout_ms), "%d", pg->timeout_ms);
    pg->conn = PQconnectdbParams(names, values, 1);
    if (PQstatus(pg->conn) != CONNECTION_OK) {
        rc = tw_fail(reterr, TW_UNREACHED, "member.store", 0, "cannot connect: %.*s",
                     clause_len(PQerrorMessage(pg->conn)), PQerrorMessage(pg->conn));
        tw_pg_close(pg);
        return rc;
    }
    PQsetNoticeReceiver(pg->conn, drop_notice, NULL);
    PQsetnonblocking(pg->conn, 1);
    rc = set_up_session(pg, reterr);
    if (rc != TW_OK)
        tw_pg_close(pg);
    return rc;
}

static int count_types(const struct tw_pg_statement *statement)
{
    int count = 0;

    while ((size_t)count < TW_LEN(statement->types) && statement->types[count])
        count++;
    return count;
}

static void note_sent(struct tw_pg *pg, const struct tw_pg_statement *statement)
{
    assert(pg->sent_count < TW_LEN(pg->sent));
    pg->sent[pg->sent_count++] = statement->name;
}

enum tw_rc tw_pg_prepare(struct tw_pg *pg, struct tw_err *reterr)
{
    bool entered = PQenterPipelineMode(pg->conn);

    assert(entered);
    TW_TRY(tw_pg_start(pg, reterr));
    for (size_t i = 0; i < pg->statement_count; i++) {
        const struct tw_pg_statement *statement = &pg->statements[i];

        note_sent(pg, statement);
        if (!PQsendPrepare(pg->conn, statement->name, statement->sql, count_types(statement), statement->types))
            pg->send_failed = true;
    }
    return tw_pg_run(pg, NULL, reterr);
}

/* --- pipelines ---------------------------------------------------------------------------------------------------- */

enum tw_rc tw_pg_start(struct tw_pg *pg, struct tw_err *reterr)
{
    if (!pg->conn)
        return tw_fail(reterr, TW_UNREACHED, "member.store", 0, "not connected");
    restart_clock(pg);
    pg->sent_count = pg->answered = 0;
    pg->commit_sent = pg->send_failed = false;
    return TW_OK;
}

void tw_pg_send(struct tw_pg *pg, size_t index, const struct tw_pg_args *args)
{
    /* every argument in binary form */
    static const int               formats[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const struct tw_pg_args none;
    const struct tw_pg_statement  *statement = &pg->statements[index];

    if (!args)
        args = &none;
    assert(args->count == count_types(statement));
    note_sent(pg, statement);
    if (!PQsendQueryPrepared(pg->conn, statement->name, args->count, args->values, args->lengths, formats, 1))
        pg->send_failed = true;
}

/* Reads up to the end of the pipeline, whatever it holds. Two NULLs in a row: nothing is left, the end never came. */
static enum tw_rc read_to_sync(struct tw_pg *pg, struct tw_err *reterr)
{
    for (int nulls = 0; nulls < 2;) {
        PGresult *result;
        bool      at_end;

        TW_TRY(next_result(pg, &result, reterr));
        at_end = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        nulls = result ? 0 : nulls + 1;
        PQclear(result);
        if (at_end)
            return TW_OK;
    }
    return lose(pg, PQerrorMessage(pg->conn), reterr);
}

/* After a failed statement: the pipeline read to its end and its transaction rolled back, or the connection closed. */
static void settle(struct tw_pg *pg)
{
    if (!pg->conn)
        return;
    restart_clock(pg);
    if (read_to_sync(pg, NULL) != TW_OK || PQtransactionStatus(pg->conn) == PQTRANS_IDLE)
        return;
    if (!PQsendQueryParams(pg->conn, "rollback", 0, NULL, NULL, NULL, NULL, 1) || !PQpipelineSync(pg->conn)) {
        tw_pg_close(pg);
        return;
    }
    if (flush(pg, NULL) == TW_OK && read_to_sync(pg, NULL) == TW_OK && PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        tw_pg_close(pg);
}

/* The answer to one statement, and the NULL behind it. */
static enum tw_rc read_answer(struct tw_pg *pg, PGresult **ret_result, struct tw_err *reterr)
{
    TW_AUTO(clear_result) PGresult *result = NULL;
    PGresult                       *end;

    TW_TRY(next_result(pg, &result, reterr));
    if (!result)
        return lose(pg, PQerrorMessage(pg->conn), reterr);
    pg->answered++;
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        return fail_statement(pg, result, pg->sent[pg->answered - 1], reterr);
    TW_TRY(next_result(pg, &end, reterr));
    assert(!end);
    *ret_result = result;
    result = NULL;
    return TW_OK;
}

static enum tw_rc read_answers(struct tw_pg *pg, struct tw_pg_results *ret_results, struct tw_err *reterr)
{
    while (pg->answered < pg->sent_count) {
        PGresult *result = NULL;

        TW_TRY(read_answer(pg, &result, reterr));
        if (ret_results)
            ret_results->at[ret_results->count++] = result;
        else
            PQclear(result);
    }
    return read_to_sync(pg, reterr);
}

/* The second half of running a pipeline, the first being the sending. */
static enum tw_rc gather(struct tw_pg *pg, struct tw_pg_results *ret_results, struct tw_err *reterr)
{
    enum tw_rc rc = read_answers(pg, ret_results, reterr);

    if (rc != TW_OK)
        settle(pg);
    pg->commit_sent = false;
    return rc;
}

enum tw_rc tw_pg_run(struct tw_pg *pg, struct tw_pg_results *ret_results, struct tw_err *reterr)
{
    if (!PQpipelineSync(pg->conn))
        pg->send_failed = true;
    TW_TRY(flush(pg, reterr));
    return gather(pg, ret_results, reterr);
}

enum tw_rc tw_pg_commit(struct tw_pg *pg, size_t commit_index, struct tw_err *reterr)
{
    TW_TRY(flush(pg, reterr));
    if (!PQconsumeInput(pg->conn)) /* libpq keeps a failed write to itself until it reads */
        return lose(pg, PQerrorMessage(pg->conn), reterr);
    pg->commit_sent = true; /* lost up to here: nothing happened */
    tw_pg_send(pg, commit_index, NULL);
    if (!PQpipelineSync(pg->conn))
        pg->send_failed = true;
    TW_TRY(flush(pg, reterr));
    if (tw_failpoint("in_commit"))
        return lose(pg, "failpoint in_commit", reterr);
    return gather(pg, NULL, reterr);
}

/* --- COPY --------------------------------------------------------------------------------------------------------- */

enum { COPY_CHUNK_BYTES = 256 * 1024 }; /* so that libpq does not keep a second copy of all of it */

/* The result of a COPY's beginning or end. */
static enum tw_rc expect(struct tw_pg *pg, const char *name, ExecStatusType expected, struct tw_err *reterr)
{
    TW_AUTO(clear_result) PGresult *result = NULL;

    TW_TRY(next_result(pg, &result, reterr));
    if (!result)
        return lose(pg, PQerrorMessage(pg->conn), reterr);
    return PQresultStatus(result) == expected ? TW_OK : fail_statement(pg, result, name, reterr);
}

static enum tw_rc put_bytes(struct tw_pg *pg, struct tw_str bytes, struct tw_err *reterr)
{
    for (size_t at = 0; at < bytes.len; at += COPY_CHUNK_BYTES) {
        size_t len = bytes.len - at < COPY_CHUNK_BYTES ? bytes.len - at : COPY_CHUNK_BYTES;

        pg->send_failed = PQputCopyData(pg->conn, bytes.ptr + at, (int)len) != 1;
        TW_TRY(flush(pg, reterr));
    }
    pg->send_failed = PQputCopyEnd(pg->conn, NULL) != 1;
    return flush(pg, reterr);
}

static enum tw_rc copy(struct tw_pg *pg, const char *name, const char *sql, struct tw_str bytes, struct tw_err *reterr)
{
    PGresult *end;

    pg->send_failed = !PQexitPipelineMode(pg->conn) || !PQsendQuery(pg->conn, sql);
    TW_TRY(flush(pg, reterr));
    TW_TRY(expect(pg, name, PGRES_COPY_IN, reterr));
    TW_TRY(put_bytes(pg, bytes, reterr));
    TW_TRY(expect(pg, name, PGRES_COMMAND_OK, reterr));
    TW_TRY(next_result(pg, &end, reterr));
    assert(!end);
    return PQenterPipelineMode(pg->conn) ? TW_OK : lose(pg, PQerrorMessage(pg->conn), reterr);
}

enum tw_rc tw_pg_copy(struct tw_pg *pg, const char *name, const char *sql, struct tw_str bytes, struct tw_err *reterr)
{
    enum tw_rc rc;

    TW_TRY(tw_pg_start(pg, reterr));
    rc = copy(pg, name, sql, bytes, reterr);
    if (rc != TW_OK)
        tw_pg_close(pg);
    return rc;
}
