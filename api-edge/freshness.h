/**
 * How old is what a reader of a log knows? Now and then somebody asks for the ends of the partitions; once the reader
 * has come to them, it knows all that was there when they were asked for. "Fresh" means that this moment is at most a
 * second ago. A reader that lags, a broker that does not answer, and a reader that is not there are not fresh, and need
 * no other sign.
 *
 * Thread safe.
 */
#ifndef TILLWIRE_EDGE_FRESHNESS_H
#define TILLWIRE_EDGE_FRESHNESS_H

#include "tillwire/base.h"

enum { TW_FRESH_US = 1000000 };

struct tw_freshness;

struct tw_freshness *tw_freshness_new(size_t partitions);
/** Accepts NULL. */
void                 tw_freshness_free(struct tw_freshness *freshness);

/** The reader begins at these offsets, one a partition, and knows nothing yet. */
void tw_freshness_begin(struct tw_freshness *freshness, const int64_t *offsets);
/** The reader stopped: not fresh until it begins again and comes to ends that are asked for after that. */
void tw_freshness_end(struct tw_freshness *freshness);
/** All before @p next_offset was read, and what was read has its effect. */
void tw_freshness_read(struct tw_freshness *freshness, int32_t partition, int64_t next_offset);
/** These were the ends, one a partition, at some moment after @p asked_us (tw_monotonic_us). */
void tw_freshness_ends(struct tw_freshness *freshness, int64_t asked_us, const int64_t *ends);
bool tw_freshness_holds(const struct tw_freshness *freshness, int64_t now_us);

#endif
