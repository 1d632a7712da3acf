/**
 * The commands this edge sent last, so that `GET /v1/commands/{id}` says `accepted` before the worker has seen one,
 * also to a client that kept the id and not the Location. A convenience: other edges and a restart know nothing of it.
 */
#ifndef TILLWIRE_EDGE_RECENT_H
#define TILLWIRE_EDGE_RECENT_H

#include "opaque.h"

struct tw_recent;

struct tw_recent *tw_recent_new(void);
void              tw_recent_free(struct tw_recent *recent);

void tw_recent_add(struct tw_recent *recent, struct tw_uuid command_id, struct tw_uuid caller,
                   const struct tw_location *location);
/** False: not sent by this edge, or too long ago. */
bool tw_recent_find(struct tw_recent *recent, struct tw_uuid command_id, struct tw_uuid *ret_caller,
                    struct tw_location *ret_location);

#endif
