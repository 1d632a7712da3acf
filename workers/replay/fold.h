/**
 * Folds a partition's log into a store: the same turn that workers make, without events, offsets or a group. The store's
 * own watermark says where it begins, so a fold that was interrupted goes on where it was.
 *
 * The log is checked on the way: offsets without a gap, the record before the watermark the one that was folded, and
 * offsets that dead letters name are passed over.
 */
#ifndef TILLWIRE_REPLAY_FOLD_H
#define TILLWIRE_REPLAY_FOLD_H

#include <stdatomic.h>

#include "source.h"
#include "tillwire/domain.h"
#include "turn.h"

/** Where a partition's fold ends: before the first record that is at `offset` or has a time above `time_ms`. */
struct tw_fold_end {
    int64_t offset;
    int64_t time_ms; /**< INT64_MAX: no matter when */
};

struct tw_fold {
    struct tw_turn_config config; /**< silent; its store is the one to fold into */
    struct tw_source     *source;
    size_t                cache_bytes;
    size_t                turn_records; /**< of one commit at most, and its bytes; 0: what suits most stores */
    size_t                turn_bytes;
    bool                  keeps_digest; /**< the outbox of the store's progress holds a digest; see digest.h */
    bool                  sweeps;       /**< drops remembered commands that count no more whenever a day is over */
    atomic_llong         *folded;       /**< counts records, for whoever shows progress; NULL: nobody does */
    const atomic_bool    *stop;         /**< set: ends after the turn under way, with TW_OK */
};

/** @p ret_at: where the store is now. BROKEN: the log or the store is not what it should be. */
enum tw_rc tw_fold_partition(const struct tw_fold *fold, int32_t partition, struct tw_fold_end end,
                             struct tw_progress *ret_at, struct tw_err *reterr);

#endif
