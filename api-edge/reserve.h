/**
 * Threads that stay away until connections need them.
 *
 * civetweb makes all its threads at the start, and those without a connection wait for one in a single queue of the
 * kernel. Measured: with 2,560 of them a request costs the edge's processor 35 us, with 450 25 us, because every other
 * wait in the process gets slower. So only some begin; the others sleep elsewhere, and come as soon as few are free. Who
 * came stays.
 *
 * Thread safe.
 */
#ifndef TILLWIRE_EDGE_RESERVE_H
#define TILLWIRE_EDGE_RESERVE_H

struct tw_reserve;

/** So many threads are to be free, or on their way. */
enum { TW_RESERVE_FREE = 64 };

struct tw_reserve *tw_reserve_new(void);
/** Accepts NULL. No thread may be in it any more. */
void               tw_reserve_free(struct tw_reserve *reserve);

/** Called by each thread as it starts; returns once it is needed. */
void tw_reserve_join(struct tw_reserve *reserve);
/** There are so many connections now. */
void tw_reserve_taken(struct tw_reserve *reserve, int connections);
/** All come, and nobody waits any more. */
void tw_reserve_end(struct tw_reserve *reserve);

#endif
