/**
 * The admin port of a worker: GET /healthz (its loops turn), /readyz (it can do its work; otherwise why not), /metrics.
 * What the loops say of themselves is half of it; the other half is that their threads go on at all (tillwire/pulse.h).
 *
 * Threads: the setters are for the loops; civetweb's threads read under the lock.
 */
#ifndef TILLWIRE_RUNTIME_ADMIN_H
#define TILLWIRE_RUNTIME_ADMIN_H

#include "tillwire/err.h"

struct tw_admin;

/** @p listen: "127.0.0.1:8082". The worker is ready when all its @p loops are, and alive while no thread has been silent
 *  for @p hang_timeout_s. INVALID: that is no address. BROKEN: the port cannot be had. */
enum tw_rc tw_admin_open(const char *listen, int loops, int64_t hang_timeout_s, struct tw_admin **ret_admin,
                         struct tw_err *reterr);
enum { TW_ALL_LOOPS = -1 }; /* while none has begun yet */

/** Longest text that is kept, with its NUL. */
enum { TW_ADMIN_TEXT = 256 };

/** @p reason (copied) is why loop number @p loop is not ready; NULL: it is. */
void tw_admin_set(struct tw_admin *admin, int loop, const char *reason);
/** It is ready; @p remark (copied) is shown to whoever asks; NULL: there is none. */
void tw_admin_set_ready(struct tw_admin *admin, int loop, const char *remark);

enum { TW_ADMIN_WHY = 2 * TW_ADMIN_TEXT };
/** What /readyz says: ready, perhaps with a remark, or why not. Any thread. */
bool tw_admin_is_ready(struct tw_admin *admin, char ret_why[TW_ADMIN_WHY]);

/** A step of the start that is tried until it works: tells why once, and pauses for a second. */
struct tw_retry {
    const char *what; /**< "waiting for the store" */
    bool        told;
};
void tw_retry_pause(struct tw_retry *retry, struct tw_admin *admin, int loop, const struct tw_err *err);
/** Accepts NULL. */
void tw_admin_close(struct tw_admin *admin);

#endif
