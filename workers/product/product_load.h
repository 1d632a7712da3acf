/**
 * Reads what a batch touches: products, ratings and ledger rows, a query each, by `_id`. Fences are the caller's.
 */
#ifndef TILLWIRE_PRODUCT_LOAD_H
#define TILLWIRE_PRODUCT_LOAD_H

#include "product_connection.h"
#include "tillwire/store.h"

/** Fills @p load as tw_store.load does. @p ret_newest_guard: the largest guard among products
 *  and ratings, -1 without any. */
enum tw_rc tw_product_load(struct tw_mongo *mongo, int32_t partition, struct tw_load *load, struct tw_arena *arena,
                           int64_t *ret_newest_guard, struct tw_err *reterr);

#endif
