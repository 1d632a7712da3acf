/**
 * A second copy of the products' store: another database of the same server. An adapter of the port tillwire/shadow.h.
 */
#ifndef TILLWIRE_PRODUCT_SHADOW_H
#define TILLWIRE_PRODUCT_SHADOW_H

#include "tillwire/shadow.h"

/**
 * @p live_uri: as tw_product_store_open() takes it; its account must be allowed to make and drop the shadow's database.
 * @p name: of that database, letters, digits, `_` and `-`; empty: that of the live one with `_shadow` behind it. A swap
 * exchanges what the two hold, so the old store lies where the shadow was. Connects when it is used. INVALID: the URI
 * cannot be read, or the name cannot be a shadow's.
 */
enum tw_rc tw_product_shadow_open(const char *live_uri, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                                  struct tw_err *reterr);

#endif
