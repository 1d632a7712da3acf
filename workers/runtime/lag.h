/**
 * How far a partition is behind its log, for /metrics: in records, and in seconds since the oldest record that is not
 * folded yet was written.
 *
 * Threads: a partition is told by the loop that owns it.
 */
#ifndef TILLWIRE_RUNTIME_LAG_H
#define TILLWIRE_RUNTIME_LAG_H

#include "partition.h"

/** Beyond this partition number nothing is shown. */
enum { TW_LAG_PARTITIONS_MAX = 1024 };

/** @p log_end: the offset the next record of the log will have; negative: not known yet. */
void tw_lag_tell(const struct tw_partition *partition, int64_t log_end, int64_t now_ms);
/** The partition left: its lines go. */
void tw_lag_forget(int32_t partition);

#endif
