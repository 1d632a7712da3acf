/**
 * One thread that asks the stores every second whether they answer, so that /readyz need not wait for them, and checks
 * what must never differ: the id key that members' ids are made with.
 */
#ifndef TILLWIRE_EDGE_HEALTH_H
#define TILLWIRE_EDGE_HEALTH_H

#include "edge.h"

struct tw_health;

/** @p on_mismatch is called once, from the thread, when the database is pinned to another id key. */
struct tw_health *tw_health_start(struct tw_edge *edge, void (*on_mismatch)(void));
/** Says that the end is near, and does not wait for it. */
void              tw_health_end(struct tw_health *health);
void              tw_health_stop(struct tw_health *health);

#endif
