/** How the databases of all servers' pairs exchange their places. */
#ifndef TILLWIRE_CART_SWAP_H
#define TILLWIRE_CART_SWAP_H

#include "cart_pairs.h"

/** tw_shadow.swap, when @p from is TW_SHADOW_MADE; swap_back, when it is TW_SHADOW_OLD. */
enum tw_rc tw_cart_swap(struct tw_cart_pairs *pairs, enum tw_shadow_content from, const struct tw_frozen *frozen,
                        int32_t partition_count, tw_swap_fn tell, void *teller, const char *where,
                        struct tw_err *reterr);

#endif
