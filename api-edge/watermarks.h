/**
 * How far the writes of each partition can be read in its store, and waiting until one of them can. The store's own
 * watermark is the truth. However many requests wait for a partition, one of them asks the store at a time, with pauses
 * that grow while nothing moves, and at once when an event tells that something did: it is published after its effect
 * can be read. Commands without events are seen by the pauses. Nobody holds a connection while asleep.
 *
 * A watermark that was read counts for a second: a store that lost its tail is told of no earlier by its worker either.
 *
 * Threads: any number of them.
 */
#ifndef TILLWIRE_EDGE_WATERMARKS_H
#define TILLWIRE_EDGE_WATERMARKS_H

#include "tillwire/err.h"
#include "tillwire/uuid.h"

struct tw_watermarks;

/** Asks a store for the first offset of a partition whose effect cannot be read yet. Blocks. */
struct tw_watermarks_source {
    enum tw_rc (*read)(void *self, enum tw_domain_number domain, int32_t partition, int64_t *ret_next_offset,
                       struct tw_err *reterr);
    void *self;
    int   pause_min_us; /**< between two questions while nothing moves, doubled up to the next; 0: 2 ms */
    int   pause_max_us; /**< 0: 50 ms */
};

struct tw_watermarks *tw_watermarks_new(const struct tw_watermarks_source *source);
/** Accepts NULL. Nobody may wait any more. */
void                  tw_watermarks_free(struct tw_watermarks *watermarks);

/** Can the effect of the record at @p offset be read? Asks the store unless that is known. NOT_FOUND: not yet;
 *  UNREACHED: the store does not answer. The domain must have the partition. */
enum tw_rc tw_watermarks_look(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                              int64_t offset, struct tw_err *reterr);
/** The same, after a look that said not yet: sleeps until it can be read, at most until @p until_us
 *  (tw_monotonic_us()). */
enum tw_rc tw_watermarks_await(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                               int64_t offset, int64_t until_us, struct tw_err *reterr);

/** Does anybody wait, so that it is worth telling of an event? */
bool tw_watermarks_are_awaited(const struct tw_watermarks *watermarks);
/** An event of the record at @p offset was read. */
void tw_watermarks_moved(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                         int64_t offset);
/** Waits end now, and new ones end at once. */
void tw_watermarks_drain(struct tw_watermarks *watermarks);

#endif
