/**
 * How the log of a live store is folded while it grows: in rounds, each shorter than the one before, until little is left,
 * which is folded while the store is held.
 */
#ifndef TILLWIRE_REPLAY_CATCH_UP_H
#define TILLWIRE_REPLAY_CATCH_UP_H

#include "replay.h"

struct tw_catch_up {
    const struct tw_store *live;
    int32_t                partition_count;
    struct tw_progress    *vector; /**< by partition: how far the live store was when it was last asked */
    struct tw_progress    *at;     /**< by partition: how far the log is folded; fold() moves it */
    bool needs_worker;             /**< fails where nobody publishes; else one round is all that can be done then */
    bool is_published;             /**< what the last commits of `vector` left to publish was published */
    /** Folds up to `vector`. */
    enum tw_rc (*fold)(void *self, struct tw_err *reterr);
    void *self;
};

/** Until it is nearly there, once at least. */
enum tw_rc tw_catch_up(struct tw_catch_up *catch_up, struct tw_err *reterr);

#endif
