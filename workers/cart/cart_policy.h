/** The policy "cart-reprice" on Redis and MongoDB. What it does is told in cart_reprice.h. */
#ifndef TILLWIRE_CART_POLICY_H
#define TILLWIRE_CART_POLICY_H

#include "cart_reprice.h"

extern const struct tw_policy tw_cart_reprice_policy;

/** Adapter: the sets `tw:holders:<partition>:<product_id>` on all of the servers @p redis_uris, on connections of its own.
 *  INVALID: an address cannot be read. Connects when first asked, and again after an error. */
enum tw_rc tw_redis_holders_open(const char *redis_uris, int timeout_ms, struct tw_holders *ret_holders,
                                 struct tw_err *reterr);
/** Adapter: the products of MongoDB, read from the primary. INVALID: @p mongo_uri cannot be read or names no database. */
enum tw_rc tw_mongo_catalogue_open(const char *mongo_uri, int timeout_ms, struct tw_catalogue *ret_catalogue,
                                   struct tw_err *reterr);

#endif
