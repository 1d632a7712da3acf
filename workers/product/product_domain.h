/**
 * The product domain: what its commands mean, as pure functions of state and command. One entity, the product (struct
 * tw_product), under its id, which follows from the SKU: so the same SKU is always decided in the same partition.
 *
 * `version` and `updated_at` belong to what a merchant changes; views move neither.
 */
#ifndef TILLWIRE_PRODUCT_DOMAIN_H
#define TILLWIRE_PRODUCT_DOMAIN_H

#include "tillwire/domain.h"

extern const struct tw_domain tw_product_domain;

#endif
