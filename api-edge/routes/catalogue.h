/**
 * What the routes of the catalogue have in common: products.c, product_list.c, product_batch.c, ratings.c.
 */
#ifndef TILLWIRE_EDGE_CATALOGUE_H
#define TILLWIRE_EDGE_CATALOGUE_H

#include "routes/routes.h"
#include "tillwire/gen/bodies.h"

enum { TW_PRODUCT_SEGMENT = 2 };

/** May the caller see what is not for sale? */
bool tw_catalogue_is_merchant(const struct tw_request *request);
/** `Cache-Control` and `Vary` of a read that merchants see more of than others. */
void tw_catalogue_cache(const struct tw_request *request, struct tw_reply *reply);

/** A product as one JSON value. */
void tw_product_write(const struct tw_product *product, struct tw_json *json);

/** Path segment as the id of a product that there may be. False: the answer is a 404. */
bool tw_product_read_id(const struct tw_request *request, struct tw_uuid *ret_id, struct tw_reply *reply);
/** The same, and there is such a product. False: the answer is complete. */
bool tw_product_read_known_id(const struct tw_request *request, struct tw_uuid *ret_id, struct tw_reply *reply);

/** A submission of a product's command. */
struct tw_submission tw_product_submission(const struct tw_request *request, const struct tw_type *type,
                                           struct tw_uuid product_id);

/** What the schema cannot say: adds a fault at @p pointer when the discount price is not below the price. */
void tw_product_check_prices(int64_t price_minor, int64_t discount_price_minor, struct tw_str pointer,
                             const struct tw_request *request, struct tw_field_errors *errors);

/** The command that a body stands for. */
struct tw_product_create tw_product_create_of(const struct tw_product_create_body *body, struct tw_arena *arena);

#endif
