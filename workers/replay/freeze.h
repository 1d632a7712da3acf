/**
 * Holds all partitions of a live store still: no batch is committed while what is written here looks at it or takes its
 * place. Commands are accepted meanwhile and folded afterwards. The hold is a lease: whoever dies with it, holds nothing
 * after TW_LEASE_MS, because the workers take it away.
 *
 * Threads: one, that of the store's handle.
 */
#ifndef TILLWIRE_REPLAY_FREEZE_H
#define TILLWIRE_REPLAY_FREEZE_H

#include <stdatomic.h>

#include "tillwire/shadow.h"

struct tw_freeze {
    const struct tw_store *store;
    int32_t                partition_count;
    struct tw_frozen      *frozen; /**< by partition; mark 0: not held */
    struct tw_progress    *vector; /**< beside it; without outboxes */
    int64_t                renewed_at_us;
    struct tw_arena        arena;
};

/** How far each partition is folded, and all that this left to publish is published: its dead letters are in their topic.
 *  Waits for the worker a while where it has to. @p ret_vector: without outboxes. UNREACHED: nobody publishes; the
 *  vector is there all the same. */
enum tw_rc tw_settled_vector(const struct tw_store *store, int32_t partition_count, const atomic_bool *stop,
                             struct tw_progress *ret_vector, struct tw_err *reterr);

/** Freezes all partitions, or none. FENCED: somebody else holds one of them. @p place: that the marks are made for, a
 *  shadow's; empty: they never become lasting. */
enum tw_rc tw_freeze_take(struct tw_freeze *freeze, const struct tw_store *store, int32_t partition_count,
                          const char *place, struct tw_err *reterr);
/** Was the mark, a lasting one by now, made for @p place? */
bool       tw_freeze_is_of(int64_t mark, const char *place);
/** To be called now and then while it is held; costs nothing when there is no need. FENCED: it was lost. */
enum tw_rc tw_freeze_renew(struct tw_freeze *freeze, struct tw_err *reterr);
/** Waits until the worker has published and forgotten what the last commit of every partition left to publish.
 *  UNREACHED: nobody does. */
enum tw_rc tw_freeze_wait_for_outboxes(struct tw_freeze *freeze, const atomic_bool *stop, struct tw_err *reterr);
/** What is held goes free; what cannot be told will be by itself. The vector stays. */
void       tw_freeze_release(struct tw_freeze *freeze);
/** It is another's now (a swap): nothing is held any more. */
void       tw_freeze_hand_over(struct tw_freeze *freeze);
/** Releases and frees. Accepts NULL and what is all zero. */
void       tw_freeze_done(struct tw_freeze *freeze);

#endif
