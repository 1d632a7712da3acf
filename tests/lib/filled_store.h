/**
 * Fills a store with sample states and remembered commands, for tests of what reads whole stores.
 */
#ifndef TILLWIRE_TESTS_FILLED_STORE_H
#define TILLWIRE_TESTS_FILLED_STORE_H

#include "store_fixture.h"

/** When every filled partition is, by its clock. */
#define TW_FILLED_MS INT64_C(1795428000123)

struct tw_filling {
    const struct tw_sample_states *samples;
    uint32_t                       count;      /**< samples 0, 1, …, at generation 1 */
    uint32_t                       rows;       /**< of each partition */
    uint32_t                       ended_rows; /**< of those: the first so many, by their ids, count no more */
    int32_t                        partition_count;
};

/** In one commit each partition. @p ret_vector: without outboxes. */
void tw_fill_store(const struct tw_store *store, const struct tw_filling *filling, struct tw_progress *ret_vector);

#endif
