/**
 * The admin port of a worker: GET /healthz (the loop turns), /readyz (it can do its work; otherwise why not), /metrics.
 *
 * Threads: the setters are for the loop; civetweb's threads read under the lock.
 */
#ifndef TILLWIRE_RUNTIME_ADMIN_H
#define TILLWIRE_RUNTIME_ADMIN_H

#include "tillwire/err.h"

struct tw_admin;

/** @p listen: "127.0.0.1:8082". BROKEN: the port cannot be had. */
enum tw_rc tw_admin_open(const char *listen, struct tw_admin **ret_admin, struct tw_err *reterr);
/** The loop is alive and @p reason (static or copied) is why it is not ready; NULL: it is. */
void       tw_admin_set(struct tw_admin *admin, const char *reason);
/** Accepts NULL. */
void       tw_admin_close(struct tw_admin *admin);

#endif
