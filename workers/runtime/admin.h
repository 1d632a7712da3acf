/**
 * The admin port of a worker: GET /healthz (its loops turn), /readyz (it can do its work; otherwise why not), /metrics.
 *
 * Threads: the setters are for the loops; civetweb's threads read under the lock.
 */
#ifndef TILLWIRE_RUNTIME_ADMIN_H
#define TILLWIRE_RUNTIME_ADMIN_H

#include "tillwire/err.h"

struct tw_admin;

/** @p listen: "127.0.0.1:8082". The worker is alive and ready when all its @p loops are. INVALID: that is
 *  no address. BROKEN: the port cannot be had. */
enum tw_rc tw_admin_open(const char *listen, int loops, struct tw_admin **ret_admin, struct tw_err *reterr);
enum { TW_ALL_LOOPS = -1 }; /* while none has begun yet */

/** Longest text that is kept, with its NUL. */
enum { TW_ADMIN_TEXT = 256 };

/** Loop number @p loop is alive and @p reason (copied) is why it is not ready; NULL: it is. */
void tw_admin_set(struct tw_admin *admin, int loop, const char *reason);
/** It is alive and ready; @p remark (copied) is shown to whoever asks; NULL: there is none. */
void tw_admin_set_ready(struct tw_admin *admin, int loop, const char *remark);

/** A step of the start that is tried until it works: tells why once, and pauses for a second. */
struct tw_retry {
    const char *what; /**< "waiting for the store" */
    bool        told;
};
void tw_retry_pause(struct tw_retry *retry, struct tw_admin *admin, int loop, const struct tw_err *err);
/** Accepts NULL. */
void tw_admin_close(struct tw_admin *admin);

#endif
