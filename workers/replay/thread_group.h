/**
 * A piece of work in several threads at once, and the caller's thread, which looks after it. The first that fails ends all.
 */
#ifndef TILLWIRE_REPLAY_THREAD_GROUP_H
#define TILLWIRE_REPLAY_THREAD_GROUP_H

#include "replay.h"

struct tw_thread_group {
    int64_t wanted; /**< threads; fewer when the system gives no more */
    /** Each thread's. It takes what nobody has taken yet, and gives up when tw_thread_group_must_end() says so. */
    enum tw_rc (*run)(void *self, struct tw_err *reterr);
    /** Called all the while, by the caller's thread. A failure ends all. */
    enum tw_rc (*look_after)(void *self, struct tw_err *reterr);
    void *self;

    atomic_bool must_end; /**< private, as what follows */
    atomic_int  running;
};

bool       tw_thread_group_must_end(const struct tw_thread_group *group);
/** UNREACHED also when it was interrupted. */
enum tw_rc tw_thread_group_run(struct tw_thread_group *group, struct tw_err *reterr);

#endif
