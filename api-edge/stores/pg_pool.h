/**
 * A few PostgreSQL connections shared by request threads, for read-only queries. A query that does not answer within
 * its time is given up together with its connection, so that a hung server costs a bounded wait and no thread. While
 * the server cannot be reached, callers are told at once.
 */
#ifndef TILLWIRE_EDGE_PG_POOL_H
#define TILLWIRE_EDGE_PG_POOL_H

#include "tillwire/err.h"

struct tw_pg_pool;
struct pg_result; /* libpq's */

/** Connects later. INVALID: the URI cannot be read. */
enum tw_rc tw_pg_pool_open(const char *uri, size_t connections, struct tw_pg_pool **ret_pool, struct tw_err *reterr);
/** No query may be under way. Accepts NULL. */
void       tw_pg_pool_free(struct tw_pg_pool *pool);

/** Runs @p sql with text parameters. Rows in @p ret_result (PQclear). UNREACHED: no connection, no
 *  answer, or one that is no rows (a database that is not set up yet is as good as none). */
enum tw_rc tw_pg_pool_query(struct tw_pg_pool *pool, const char *sql, int param_count, const char *const *params,
                            struct pg_result **ret_result, struct tw_err *reterr);

#endif
