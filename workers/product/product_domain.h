/**
 * The product domain: what its commands mean, as pure functions of state and command. The product (struct tw_product) is
 * under its id, which follows from the SKU: so the same SKU is always decided in the same partition. A rating (struct
 * tw_product_rating) is an entity of its own beside it, one per member and product.
 *
 * `version` and `updated_at` belong to what a merchant changes; views and ratings move neither. `revision` counts
 * whatever is written but views, so that a store can tell what a write expects to find.
 */
#ifndef TILLWIRE_PRODUCT_DOMAIN_H
#define TILLWIRE_PRODUCT_DOMAIN_H

#include "tillwire/domain.h"

/** Kinds of states. A rating's key: `id` the product, `sub` the member. */
enum { TW_PRODUCT_ENTITY, TW_RATING_ENTITY };

extern const struct tw_domain tw_product_domain;

#endif
