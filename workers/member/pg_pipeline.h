/**
 * One connection to PostgreSQL in pipeline mode: statements are queued, go out together and are answered together, so a
 * transaction costs one round trip. Every wait has a deadline; every failure is a row of TW_RC_MAP.
 *
 *     tw_pg_start(pg, …)  tw_pg_send(pg, …) …  tw_pg_run(pg, …)        reads
 *     tw_pg_start(pg, …)  tw_pg_send(pg, …) …  tw_pg_commit(pg, …)     writes: COMMIT is the last statement
 *
 * After a failure the connection is either clean again or closed (tw_pg_is_open()). One thread.
 */
#ifndef TILLWIRE_PG_PIPELINE_H
#define TILLWIRE_PG_PIPELINE_H

#include "pg_values.h"
#include "tillwire/err.h"

/** A prepared statement. Results come in binary form. */
struct tw_pg_statement {
    const char *name; /**< in failures, too */
    const char *sql;
    Oid         types[16]; /**< of its arguments; 0 ends them */
};

enum { TW_PG_RESULTS_MAX = 40 };
/** One result per statement sent. Zero-initialised is empty. */
struct tw_pg_results {
    PGresult *at[TW_PG_RESULTS_MAX];
    size_t    count;
};
void tw_pg_results_done(struct tw_pg_results *results);

struct tw_pg;

/** @p uri is checked, nothing is connected: INVALID. It and @p statements must live as long as the handle. */
enum tw_rc tw_pg_new(const char *uri, int timeout_ms, const struct tw_pg_statement *statements, size_t count,
                     struct tw_pg **ret_pg, struct tw_err *reterr);
void       tw_pg_free(struct tw_pg *pg);
/** Before it is opened: answers, not connections and locks, are waited for @p times as long. */
void       tw_pg_wait_longer(struct tw_pg *pg, int times);

/** Connects and sets the session up. UNREACHED. */
enum tw_rc tw_pg_open(struct tw_pg *pg, struct tw_err *reterr);
/** Prepares the statements and switches to pipeline mode. BROKEN when one does not fit the database. */
enum tw_rc tw_pg_prepare(struct tw_pg *pg, struct tw_err *reterr);
void       tw_pg_close(struct tw_pg *pg);
bool       tw_pg_is_open(const struct tw_pg *pg);
/** Between tw_pg_open() and tw_pg_prepare(): runs @p sql; the last result is in text form. @p what: in failures. */
enum tw_rc tw_pg_query(struct tw_pg *pg, const char *what, const char *sql, struct tw_pg_results *ret_results,
                       struct tw_err *reterr);

/** Begins a pipeline; its deadline counts from here. UNREACHED when the connection is closed. */
enum tw_rc tw_pg_start(struct tw_pg *pg, struct tw_err *reterr);
/** Queues statement @p index; @p args may be NULL. A connection that is lost shows when the pipeline is run. */
void       tw_pg_send(struct tw_pg *pg, size_t index, const struct tw_pg_args *args);
/** Sends the rest and gathers the results; @p ret_results may be NULL. For what may be done twice: UNREACHED when the
 *  answer is lost. */
enum tw_rc tw_pg_run(struct tw_pg *pg, struct tw_pg_results *ret_results, struct tw_err *reterr);
/** Sends the rest, then statement @p commit_index, and waits for all. UNREACHED only while the commit cannot have
 *  happened; UNKNOWN when it may have. */
enum tw_rc tw_pg_commit(struct tw_pg *pg, size_t commit_index, struct tw_err *reterr);

/** Runs `copy … from stdin (format binary)` with @p bytes in the transaction that a tw_pg_run() left open. A failure
 *  closes the connection, and so undoes the transaction. @p name: in failures. */
enum tw_rc tw_pg_copy(struct tw_pg *pg, const char *name, const char *sql, struct tw_str bytes, struct tw_err *reterr);

/** What a failure with this SQLSTATE means, when its transaction surely had no effect. */
enum tw_rc tw_pg_rc(const char *sqlstate);

#endif
