/**
 * What there is in the carts' store: tw_store.list and list_rows. Both read all ids at the first call, 16 bytes each, and
 * hand them out in order.
 */
#ifndef TILLWIRE_CART_LIST_H
#define TILLWIRE_CART_LIST_H

#include "tillwire/store.h"

enum tw_rc tw_cart_list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                        size_t *ret_count, struct tw_err *reterr);
enum tw_rc tw_cart_list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                             size_t *ret_count, struct tw_err *reterr);

#endif
