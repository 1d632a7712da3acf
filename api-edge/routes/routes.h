/**
 * The route tables, one per resource, and the few steps many handlers share.
 */
#ifndef TILLWIRE_EDGE_ROUTES_H
#define TILLWIRE_EDGE_ROUTES_H

#include "own_writes.h"
#include "submission.h"
#include "tillwire/json_out.h"
#include "json_scan.h"
#include "router.h"
#include "tillwire/body.h"

extern const struct tw_route tw_routes_addresses[];
extern const struct tw_route tw_routes_admin[];
extern const struct tw_route tw_routes_auth[];
extern const struct tw_route tw_routes_cart[];
extern const struct tw_route tw_routes_commands[];
extern const struct tw_route tw_routes_credentials[];
extern const struct tw_route tw_routes_documents[];
extern const struct tw_route tw_routes_events[];
extern const struct tw_route tw_routes_members[];
extern const struct tw_route tw_routes_product_batch[];
extern const struct tw_route tw_routes_product_list[];
extern const struct tw_route tw_routes_products[];
extern const struct tw_route tw_routes_ratings[];

/** The tables of the public port, and of the admin port. */
void tw_routes_public(struct tw_router *ret_router);
void tw_routes_of_admin(struct tw_router *ret_router);

/** The body as JSON (tw_json_release it). False: the answer is complete. */
bool tw_route_json(const struct tw_request *request, struct json_t **ret_json, struct tw_reply *reply);
/** Did a generated reader find nothing wrong? False: the answer is complete, a 422 with all that is. */
bool tw_route_valid(const struct tw_request *request, const struct tw_field_errors *errors, struct tw_reply *reply);
/** For a merge patch, where null takes a member away: adds a fault for each null but those of @p clearable, names that
 *  end with NULL. Call it after the generated reader, which takes null for absent. */
void tw_route_refuse_nulls(const struct tw_request *request, struct json_t *json, const char *const *clearable,
                           struct tw_field_errors *errors);
/** For a write that says everything in its path: no body, or an object without members. False: the answer is complete. */
bool tw_route_no_members(const struct tw_request *request, struct tw_reply *reply);
/** A query parameter, decoded; ptr NULL when it is absent. False: the answer is a 400. */
bool tw_route_query(const struct tw_request *request, const char *name, struct tw_str *ret_value,
                    struct tw_reply *reply);
/** A 400 for a query parameter, with one error that points at `/name`. @p code: TW_BODY_*; @p detail follows the name.
 *  Always false. */
bool tw_route_refuse_query(const struct tw_request *request, const char *name, const char *code, const char *detail,
                           struct tw_reply *reply);
/** Gives a 200 its ETag; a read whose If-None-Match names it becomes a 304. The body must be complete. */
void tw_route_etag(const struct tw_request *request, int64_t version, struct tw_reply *reply);
/** Path segment @p index as a UUID. False: the answer is a 404. */
bool tw_route_uuid(const struct tw_request *request, size_t index, struct tw_uuid *ret_id, struct tw_reply *reply);
/** What a failed read of a store becomes: 404 for NOT_FOUND, 503 for the rest. */
void tw_route_store_failed(const struct tw_request *request, enum tw_rc rc, const struct tw_err *err,
                           struct tw_reply *reply);

/** Looks a product up. False: the answer is complete. */
bool tw_route_product(const struct tw_request *request, struct tw_uuid product_id, struct tw_product *ret_product,
                      struct tw_reply *reply);

/** `show` of a submission whose aggregate is a member. */
void tw_route_show_member(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply);

#endif
