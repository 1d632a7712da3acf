/**
 * `--until`: how far a log is folded to look at a store as it was then: a time, or offsets.
 */
#ifndef TILLWIRE_REPLAY_UNTIL_H
#define TILLWIRE_REPLAY_UNTIL_H

#include "fold.h"

/** Makes each of @p ends, which hold how far the live store is, end earlier where @p text says so:
 *  "2026-11-23T10:00:00Z": what was appended later is left out. "0:120,3:98": records below these offsets of these
 *  partitions; all of the others. INVALID names what cannot be read, or lies beyond what is folded. */
enum tw_rc tw_until_apply(const char *text, struct tw_fold_end *ends, int32_t partition_count, struct tw_err *reterr);

/** Is a store that was folded up to @p at no further than @p ends? REFUSED names the partition that is. */
enum tw_rc tw_until_check(const struct tw_fold_end *ends, const struct tw_progress *at, int32_t partition_count,
                          struct tw_err *reterr);

#endif
