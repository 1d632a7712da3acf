/**
 * What readers see of carts in Redis, compared with the copies that the worker decides on: all of a store.
 */
#ifndef TILLWIRE_REPLAY_CART_READERS_H
#define TILLWIRE_REPLAY_CART_READERS_H

#include "replay.h"

/** As tw_replay_domain.check_readers. */
enum tw_rc tw_cart_readers_check(struct tw_store *store, int32_t partition_count, struct tw_readers_check *check,
                                 struct tw_err *reterr);

#endif
