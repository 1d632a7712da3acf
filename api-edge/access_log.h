/**
 * The access log: one JSON line for every answer of the public port, on a stream of its own.
 *
 *     {"time":"2026-11-27T08:00:00.000Z","method":"GET","route":"/v1/cart","path":"/v1/cart","status":200,"bytes":412,
 *      "duration_ms":1.204,"client":"203.0.113.7","member_id":"…","trace_id":"…","command_id":"…"}
 *
 * Never in it: the query, header fields, bodies. `route` is missing when there is none, `member_id` without a token,
 * `command_id` when no single command came of it, `path` when it is no UTF-8.
 *
 * Threads: any may put a line; it is copied, and a thread of the log's own writes. A reader that does not keep up costs
 * lines, which are counted, and never a request's time.
 */
#ifndef TILLWIRE_EDGE_ACCESS_LOG_H
#define TILLWIRE_EDGE_ACCESS_LOG_H

#include "request.h"
#include "tillwire/err.h"

struct tw_access_log;

/** INVALID: @p where is nothing that tw_access_log_open() could take. */
enum tw_rc tw_access_log_check(const char *where, struct tw_err *reterr);
/** @p where: "off" (the log is then NULL), "stdout", or the path of a file that is appended to. INVALID: it is none of
 *  them or cannot be opened. */
enum tw_rc tw_access_log_open(const char *where, struct tw_access_log **ret_log, struct tw_err *reterr);
/** Opens the file anew, for one that was renamed; keeps the old one when that fails. */
enum tw_rc tw_access_log_reopen(struct tw_access_log *log, struct tw_err *reterr);
/** Writes what is there, for as long as a second. Accepts NULL. */
void       tw_access_log_close(struct tw_access_log *log);

struct tw_answered {
    int     status;
    size_t  bytes; /**< of the whole answer */
    int64_t duration_us;
};

/** @p scratch: overwritten. @p log may be NULL. */
void tw_access_log_put(struct tw_access_log *log, const struct tw_request *request, const struct tw_answered *answered,
                       struct tw_buf *scratch);

#endif
