/**
 * civetweb looks whether it should stop when a connection comes in, or every two seconds. So whoever stops it knocks at
 * its port until it has noticed: an edge that restarts is away for a moment, not for seconds.
 */
#ifndef TILLWIRE_EDGE_KNOCK_H
#define TILLWIRE_EDGE_KNOCK_H

struct tw_knock;

/** Connects every few milliseconds, by a thread of its own. @p address: what is listened on, as civetweb is told it
 *  ("127.0.0.1:8080", "8080"). */
struct tw_knock *tw_knock_start(const char *address);
void             tw_knock_stop(struct tw_knock *knock);

#endif
