/**
 * A log made of arrays, as workers/replay/source.h wants one, with all that can be wrong with a log.
 */
#ifndef TILLWIRE_TESTS_ARRAY_SOURCE_H
#define TILLWIRE_TESTS_ARRAY_SOURCE_H

#include <stdatomic.h>

#include "records.h"
#include "source.h"

/** Of one partition. A test may change all of it between calls. */
struct tw_array_source {
    const struct tw_record *records; /**< those there are, by their offsets */
    size_t                  count;
    int64_t                 low, high; /**< what bounds() says */
    size_t                  per_read;  /**< at most so many at once */
    const int64_t          *dead;      /**< offsets that dead letters name */
    size_t                  dead_count;
    atomic_bool            *stop; /**< is set by the read after so many others; NULL: by none */
    unsigned                stop_after;
    unsigned                reads, seeks; /**< how many there were */
    bool                    is_closed;
    size_t                  next;
};

/** The whole of @p log as it is now. */
void tw_array_source_open(struct tw_array_source *array, const struct tw_test_log *log, struct tw_source *ret_source);

#endif
