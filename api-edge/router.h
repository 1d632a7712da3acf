/**
 * The table of routes and how a request finds its row: method, path pattern, who may call it, handler. Routes live in
 * routes/, one file per resource; each exports a table that ends with a row of zeros, and routes/all.c lists them.
 */
#ifndef TILLWIRE_EDGE_ROUTER_H
#define TILLWIRE_EDGE_ROUTER_H

#include "reply.h"
#include "request.h"

enum tw_access {
    TW_ACCESS_PUBLIC,   /**< credentials are not looked at */
    TW_ACCESS_OPTIONAL, /**< anonymous, but credentials that come along must be good */
    TW_ACCESS_BEARER,   /**< a token, and `scope` when the row names one */
};

typedef void (*tw_handler_fn)(struct tw_request *request, struct tw_reply *reply);

struct tw_route {
    enum tw_method method;  /**< a GET row answers HEAD, too */
    const char    *pattern; /**< "/v1/products/{product_id}/views": a segment in braces takes any non-empty text */
    enum tw_access access;
    const char    *scope; /**< NULL: none needed */
    tw_handler_fn  handle;
};

enum { TW_ROUTES_MAX = 96, TW_ALLOW_TEXT = 64 };

struct tw_router {
    const struct tw_route *routes[TW_ROUTES_MAX];
    struct tw_str          segments[TW_ROUTES_MAX][TW_SEGMENTS_MAX];
    uint8_t                segment_counts[TW_ROUTES_MAX];
    size_t                 count;
};

/** Does the row take a body of a batch's size? Its pattern ends in `:batch`. @p route may be NULL. */
bool tw_router_takes_batch(const struct tw_route *route);

/** Adds a table; ends the process when two rows have one method and pattern, or there are too many. */
void tw_router_add(struct tw_router *router, const struct tw_route *table);

/** The row, or NULL: then @p ret_allow has the methods the path knows ("GET, HEAD"), empty when there is no such
 *  path. */
const struct tw_route *tw_router_find(const struct tw_router *router, const struct tw_request *request,
                                      char ret_allow[TW_ALLOW_TEXT]);

#endif
