/**
 * The carts' store: the port of tillwire/store.h on Redis (6.2 or later, not a cluster, `maxmemory-policy noeviction`).
 * Key names and packed values: tillwire/cart_keys.h; the layout: schemas/redis/README.md.
 */
#ifndef TILLWIRE_CART_STORE_H
#define TILLWIRE_CART_STORE_H

#include "tillwire/store.h"

/**
 * @p uris: comma separated `redis://[user][:password]@host:port[/db]`; partition p lives on server p mod n.
 * @p timeout_ms bounds connecting and every read and write. Connects nowhere yet: tw_store.watermark() does, once per
 * partition. INVALID: the sentence says which address is wrong.
 * The process must ignore SIGPIPE. Close with tw_cart_store_close().
 */
enum tw_rc tw_cart_store_open(const char *uris, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr);

/** Accepts NULL and a zeroed store. */
void tw_cart_store_close(struct tw_store *store);

#endif
