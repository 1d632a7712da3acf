/**
 * Folds all partitions of a domain into a shadow, several at a time, each thread with a source and a store of its own. The
 * outboxes of the shadow's progress hold its digests (digest.h).
 */
#ifndef TILLWIRE_REPLAY_FOLD_THREADS_H
#define TILLWIRE_REPLAY_FOLD_THREADS_H

#include "replay.h"

struct tw_fold_threads {
    const struct tw_replay_domain *domain;
    const struct tw_ctl_settings  *settings;
    const char                    *uri;  /**< of the store: a shadow */
    const struct tw_fold_end      *ends; /**< by partition */
    struct tw_progress            *at;   /**< by partition: where it is, and then will be; without outboxes */
    /** Called all the while, by the caller's thread: what holds the live store still is renewed. NULL: nothing does. */
    enum tw_rc (*go_on)(void *self, struct tw_err *reterr);
    void *self;
};

/** Shows its progress. UNREACHED also when it was interrupted: all that was folded is kept, the next call goes on there. */
enum tw_rc tw_fold_threads_run(const struct tw_fold_threads *fold, struct tw_err *reterr);

#endif
