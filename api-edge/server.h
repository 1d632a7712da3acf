/**
 * civetweb, wired and hardened: one listener, a router, and the way of a request through checks, body, caller and
 * handler to one mg_write. The edge runs two: the public one and the admin port. What civetweb 1.15 gets wrong and
 * where we catch it: docs/decisions/edge-http.md.
 */
#ifndef TILLWIRE_EDGE_SERVER_H
#define TILLWIRE_EDGE_SERVER_H

#include "edge.h"
#include "router.h"

struct tw_server;

struct tw_server_options {
    const char *listen; /**< "127.0.0.1:8080"; lives as long as the server */
    int         threads;
    bool        is_public; /**< sends commands; answers 503 while the edge drains */
};

/** INVALID: no address a server can listen on; the port may be taken all the same. */
enum tw_rc tw_server_check(const char *listen, struct tw_err *reterr);
/** @p router is ready and outlives the server. INVALID: the address cannot be listened on (TLS ports are refused,
 *  too). */
enum tw_rc tw_server_open(struct tw_edge *edge, const struct tw_router *router, const struct tw_server_options *options,
                          struct tw_server **ret_server, struct tw_err *reterr);
/** Joins all threads. Accepts NULL. */
void       tw_server_close(struct tw_server *server);

#endif
