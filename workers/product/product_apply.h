/**
 * Step (b) of a commit: does what a redo record says. May be done again, from any point, by anybody, also late: what is
 * done already stays as it is.
 */
#ifndef TILLWIRE_PRODUCT_APPLY_H
#define TILLWIRE_PRODUCT_APPLY_H

#include "product_connection.h"

/** UNREACHED, UNKNOWN: some of it may be missing, do it again. BROKEN: the server refuses what was committed, or a
 *  product or rating is older than the record says, so the store was tampered with or restored in parts. */
enum tw_rc tw_product_apply(struct tw_mongo *mongo, const bson_t *redo, struct tw_err *reterr);

#endif
