/**
 * The redo record of a batch: what step (b) of a commit does to products, ratings and ledger, decided before step (a)
 * puts it beside the watermark. It is one BSON document, kept in MongoDB as opaque bytes:
 *
 *     { products: [update statements], tw_ratings: [update statements], tw_ledger: [documents] }
 *
 * A shadow's may also begin with what is new as plain documents, which servers take faster, because nobody else ever
 * writes there: { new_products: [documents], new_ratings: [documents], … }.
 *
 * Pure: no server is spoken to.
 */
#ifndef TILLWIRE_PRODUCT_REDO_H
#define TILLWIRE_PRODUCT_REDO_H

#include <bson/bson.h>

#include "tillwire/store.h"

#define TW_REDO_NEW_PRODUCTS "new_products"
#define TW_REDO_NEW_RATINGS  "new_ratings"

/** @p ret_redo is initialised here; free it with bson_destroy(). */
void tw_product_redo_build(const struct tw_changes *changes, bson_t *ret_redo);
/** The same for a shadow. Ledger rows that count no more after the batch are left out. */
void tw_product_redo_build_bulk(const struct tw_changes *changes, bson_t *ret_redo);

/** The guard that an update statement or a new document leaves behind; false: it is none of ours. */
bool tw_product_redo_guard(const bson_t *statement, int64_t *ret_guard);

#endif
