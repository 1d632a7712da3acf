/**
 * The shadow of the carts' store (tillwire/shadow.h): on each Redis server a database of another number. SWAPDB makes it
 * the live one within one transaction, for all connections at once.
 */
#ifndef TILLWIRE_CART_SHADOW_H
#define TILLWIRE_CART_SHADOW_H

#include "tillwire/shadow.h"

/**
 * @p live_uris: as tw_cart_store_open() takes them. @p name: the number of the shadow's database, the same on every
 * server; empty: the one behind the live one on each. INVALID: it is no number, or a live database of one of these
 * servers, or two servers would share it. Connects nowhere yet. The process must ignore SIGPIPE.
 */
enum tw_rc tw_cart_shadow_open(const char *live_uris, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                               struct tw_err *reterr);

#endif
