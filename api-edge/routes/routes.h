/**
 * The route tables, one per resource, and the few steps many handlers share.
 */
#ifndef TILLWIRE_EDGE_ROUTES_H
#define TILLWIRE_EDGE_ROUTES_H

#include "submission.h"
#include "json_out.h"
#include "json_scan.h"
#include "router.h"
#include "tillwire/body.h"

extern const struct tw_route tw_routes_admin[];
extern const struct tw_route tw_routes_auth[];
extern const struct tw_route tw_routes_cart[];
extern const struct tw_route tw_routes_commands[];
extern const struct tw_route tw_routes_documents[];
extern const struct tw_route tw_routes_members[];
extern const struct tw_route tw_routes_products[];

/** The tables of the public port, and of the admin port. */
void tw_routes_public(struct tw_router *ret_router);
void tw_routes_of_admin(struct tw_router *ret_router);

/** The body as JSON (tw_json_release it). False: the answer is complete. */
bool tw_route_json(const struct tw_request *request, struct json_t **ret_json, struct tw_reply *reply);
/** Did a generated reader find nothing wrong? False: the answer is complete, a 422 with all that is. */
bool tw_route_valid(const struct tw_request *request, const struct tw_field_errors *errors, struct tw_reply *reply);
/** Path segment @p index as a UUID. False: the answer is a 404. */
bool tw_route_uuid(const struct tw_request *request, size_t index, struct tw_uuid *ret_id, struct tw_reply *reply);
/** What a failed read of a store becomes: 404 for NOT_FOUND, 503 for the rest. */
void tw_route_store_failed(const struct tw_request *request, enum tw_rc rc, const struct tw_err *err,
                           struct tw_reply *reply);

/** Counts one more of @p limit for @p key. False: the answer is a 429. */
bool tw_route_within(const struct tw_request *request, const struct tw_limit *limit, struct tw_str key,
                     struct tw_reply *reply);

/** Looks a product up. False: the answer is complete. */
bool tw_route_product(const struct tw_request *request, struct tw_uuid product_id, struct tw_product *ret_product,
                      struct tw_reply *reply);

#endif
