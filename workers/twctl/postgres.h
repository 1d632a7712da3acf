/**
 * twctl's connection to PostgreSQL, and the values a database is pinned to. One thread.
 */
#ifndef TILLWIRE_CTL_POSTGRES_H
#define TILLWIRE_CTL_POSTGRES_H

#include <libpq-fe.h>

#include "tillwire/err.h"
#include "tillwire/uuid.h"

/** INVALID: @p uri cannot be read. UNREACHED: nobody answers, or not to these credentials. Close with
 *  tw_ctl_pg_close(). */
enum tw_rc tw_ctl_pg_open(const char *uri, int timeout_ms, PGconn **ret_pg, struct tw_err *reterr);
/** For TW_AUTO. */
void       tw_ctl_pg_close(PGconn **pg);
/** For TW_AUTO. */
void       tw_ctl_pg_free(PGresult **result);

/** Runs statements without arguments. BROKEN: the server refused, in its words. @p what: "migration 001_fold.sql". */
enum tw_rc tw_ctl_pg_run(PGconn *pg, const char *sql, const char *what, struct tw_err *reterr);
/** Runs one statement with text arguments. Free @p ret_result with PQclear(). */
enum tw_rc tw_ctl_pg_query(PGconn *pg, const char *sql, int arg_count, const char *const *args, const char *what,
                           PGresult **ret_result, struct tw_err *reterr);

/** tillwire.tw_meta as it is stored; see schemas/sql/001_fold.sql. */
struct tw_ctl_meta {
    int64_t schema_version;      /**< 0: there is no schema */
    char    id_key_check[17];    /**< empty: not pinned yet */
    char    folding_version[17]; /**< likewise */
};
enum tw_rc tw_ctl_pg_meta(PGconn *pg, struct tw_ctl_meta *ret_meta, struct tw_err *reterr);
/** The same; BROKEN when there is no schema. */
enum tw_rc tw_ctl_pg_meta_needed(PGconn *pg, struct tw_ctl_meta *ret_meta, struct tw_err *reterr);

/** A clause when @p meta is pinned to another key or folding than this program's, NULL when not; what is not pinned
 *  yet differs from nothing. */
const char *tw_ctl_meta_conflict(const struct tw_ctl_meta *meta, const uint8_t id_key[TW_ID_KEY_BYTES]);

/** TW_FOLDING_VERSION as it is stored. */
extern const char tw_ctl_folding_version[];

#endif
