/**
 * Lists of a whole store in the order of its ids, for what looks at all of it. A list is one query, read on from call to
 * call: a query a page would make some servers go through the collection for each.
 */
#ifndef TILLWIRE_PRODUCT_LIST_H
#define TILLWIRE_PRODUCT_LIST_H

#include "product_connection.h"
#include "tillwire/store.h"

/** A list on its way. All zero: not begun. */
struct tw_product_list {
    struct tw_mongo_scan scan;
    bool                 is_over; /**< all was told */
};

/** As tw_store.list and tw_store.list_rows. UNREACHED: also when the list was interrupted and is not begun again. */
enum tw_rc tw_product_list_keys(const struct tw_mongo *mongo, struct tw_product_list *list, uint32_t kind,
                                bool from_start, struct tw_key *ret_keys, size_t max, size_t *ret_count,
                                struct tw_err *reterr);
enum tw_rc tw_product_list_rows(const struct tw_mongo *mongo, struct tw_product_list *list, int32_t partition,
                                bool from_start, struct tw_uuid *ret_ids, size_t max, size_t *ret_count,
                                struct tw_err *reterr);

/** Accepts one that was not begun. */
void tw_product_list_end(struct tw_product_list *list);

#endif
