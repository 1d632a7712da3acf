/**
 * The cart domain: what commands to a member's cart mean. Pure. One entity, the cart (struct tw_cart), under the
 * member's id.
 *
 * A cart ends seven days after the member's last change and then reads as empty; the next line makes a new one.
 */
#ifndef TILLWIRE_CART_DOMAIN_H
#define TILLWIRE_CART_DOMAIN_H

#include "tillwire/domain.h"

extern const struct tw_domain tw_cart_domain;

#endif
