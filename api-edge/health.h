/**
 * Is the edge well? Threads of its own ask each store every second whether it answers, so that /readyz need not wait for
 * one and a store that hangs does not keep the news of another, and check what must never differ: the id key that members'
 * ids are made with. One more looks whether requests are served at all.
 */
#ifndef TILLWIRE_EDGE_HEALTH_H
#define TILLWIRE_EDGE_HEALTH_H

#include "edge.h"

struct tw_health;

/** @p on_mismatch is called once, from a thread, when the database is pinned to another id key. */
struct tw_health *tw_health_start(struct tw_edge *edge, void (*on_mismatch)(void));
/** Says that the end is near, and does not wait for it. */
void              tw_health_end(struct tw_health *health);
void              tw_health_stop(struct tw_health *health);

enum { TW_HEALTH_PARTS = 12, TW_HEALTH_TEXT = 512 };
struct tw_health_part {
    const char *name;
    bool        good;
};
/** What /readyz shows: ready when all are good. @p ret_why names those that are not, and the thread that is silent, if one
 *  is; empty: it is ready. Does not block. Any thread. */
bool tw_health_look(struct tw_edge *edge, struct tw_health_part ret_parts[TW_HEALTH_PARTS],
                    char ret_why[TW_HEALTH_TEXT]);

/** The look of the thread that watches requests, once a second: false when every thread of the public port has a
 *  connection and nothing was answered since @p last_answered, which is moved on. */
bool tw_health_serves(const struct tw_edge *edge, long long *last_answered);

#endif
