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

/* ---- a shadow that is filled ---- */

/**
 * Called before anything else: the store is a shadow nobody reads, and takes batches of 50,000 records and 16 MiB. Partitions that are folded from
 * offset 0 on, also in several commits that stay there, leave out what readers see until tw_cart_store_project(): for a
 * cart that changes a thousand times it is written once. Others are not in a hurry.
 */
void       tw_cart_store_bulk(struct tw_store *store);
/** Writes the readers' keys of a partition that lacks them; done at once when it does not. Can be interrupted and called
 *  again, by another process, too; a shadow is not swapped before. FENCED: somebody folds into it. */
enum tw_rc tw_cart_store_project(struct tw_store *store, int32_t partition, struct tw_err *reterr);

/* ---- what readers see, compared with what it follows from ---- */

/** One difference: `cart:…:summary: total_price is 10.00, the copy says 12.00`. The keys' names are all it tells of whose
 *  cart it is. */
typedef void (*tw_cart_finding_fn)(void *self, const char *sentence);

/**
 * Compares the readers' keys of these carts, all of @p partition, with the worker's copies: values to the byte, and when
 * they end. A cart that has ended, by the partition's clock or the server's, or does so within a minute, may lack its
 * keys. Only on a store that stands still, like tw_store.list; a cart that is not there any more is passed over.
 * BROKEN: also when the server is older than Redis 7, which is needed to tell when keys end.
 */
enum tw_rc tw_cart_store_check(struct tw_store *store, int32_t partition, const struct tw_uuid *member_ids,
                               size_t count, tw_cart_finding_fn found, void *self, struct tw_err *reterr);
/** Looks for readers' keys that follow from no copy: the next few hundred keys of the servers, @p from_start or behind
 *  those of the last call. ret_more false: these were the last. Likewise only on a store that stands still. */
enum tw_rc tw_cart_store_check_strays(struct tw_store *store, bool from_start, tw_cart_finding_fn found, void *self,
                                      bool *ret_more, struct tw_err *reterr);

#endif
