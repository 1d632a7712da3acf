/**
 * One loop of a worker: a thread with a group consumer, a store connection and a producer of its own, for the partitions
 * the group gives it. Loops share no partition, so there is nothing to lock; while one waits for its store, another
 * computes. More loops in one process are the same as more processes.
 *
 * Threads: tw_loop_run() is the whole life of its thread.
 */
#ifndef TILLWIRE_RUNTIME_LOOP_H
#define TILLWIRE_RUNTIME_LOOP_H

#include <stdatomic.h>

#include "admin.h"
#include "worker.h"

/** The worker's settings as they were read; see the table in worker.c. */
struct tw_worker_settings {
    const char *kafka;
    const char *store_uri;
    const char *policy_uri;
    const char *admin_listen;
    const char *id_key_file;
    const char *group;
    const char *instance_id;
    const char *log_level;
    int64_t     threads;
    int64_t     batch_records;
    int64_t     batch_kbytes;
    int64_t     cache_mbytes;
    int64_t     fetch_mbytes;
    int64_t     publish_mbytes;
    int64_t     linger_us;
    int64_t     store_timeout_ms;
    int64_t     broker_timeout_ms;
    int64_t     session_timeout_ms;
    int64_t     hang_timeout_s;
    int64_t     policy_rate;
};

/** What all loops of a worker share; read-only but for `admin`, which locks. */
struct tw_loop_context {
    const struct tw_worker_spec     *spec;
    const struct tw_worker_settings *settings;
    const char                      *program; /**< "tillwire-cart 0.1.0" */
    uint8_t                          id_key[TW_ID_KEY_BYTES];
    struct tw_admin                 *admin;
    const atomic_bool               *stop; /**< set: finish what is in flight and return */
};

/** Opens, folds until `stop`, closes. @p number: 0, 1, … among the worker's loops. BROKEN: an invariant is violated or
 *  something is set up wrongly; FENCED: another process is in its place. The whole worker must stop. */
enum tw_rc tw_loop_run(const struct tw_loop_context *context, int number, struct tw_err *reterr);

#endif
