/**
 * A whole worker: settings, wiring, the loop, and the way out. A worker's main.c is one tw_worker_main() call.
 */
#ifndef TILLWIRE_RUNTIME_WORKER_H
#define TILLWIRE_RUNTIME_WORKER_H

#include "tillwire/domain.h"
#include "tillwire/policy.h"

struct tw_worker_spec {
    const char             *program; /**< "tillwire-cart" */
    const char             *about;   /**< for --help */
    const struct tw_domain *domain;
    const char             *store_uri;     /**< name of the setting with the store's address: "redis_uri" */
    const char             *store_help;    /**< its sentence in --help */
    const char             *batch_records; /**< default of that setting: what one commit of this store bears well */
    const char             *batch_kbytes;
    const struct tw_policy *policy;      /**< runs beside the loops; NULL: none */
    const char             *policy_uri;  /**< name of the setting with what else its work reads; NULL: nothing */
    const char             *policy_help; /**< that setting's sentence */
    /** Checks the address; connecting is left to the first watermark(). */
    enum tw_rc (*open_store)(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr);
    void (*close_store)(struct tw_store *store);
    /** Makes the store refuse data that was made with another id key; NULL: its ids do not depend on it. */
    void (*pin_id_key)(struct tw_store *store, const char *id_key_check);
    /** Compares the topics with the manifest; NULL: tw_topics_diff(). librdkafka's mock cluster cannot describe its own. */
    enum tw_rc (*diff_topics)(const char *brokers, const char *domain, int timeout_ms, struct tw_buf *ret_differences,
                              struct tw_err *reterr);
};

/** Runs until SIGTERM or SIGINT (exit code 0) or until an invariant is violated (3, with the sentence in the log).
 *  Wrong settings: 2. A new process may go on where this one cannot: 70. */
int tw_worker_main(const struct tw_worker_spec *spec, int argc, char **argv);

#endif
