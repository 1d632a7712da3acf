/**
 * The places of a pool: how many connections there may be at once, which of them are idle, and who waits for one. What
 * a connection is, how one is made and when it is of no more use is the pool's affair. A caller that finds no place
 * waits for a bounded time; for a moment after a failure, places without a connection are closed, so that a server that
 * is away costs nobody a wait.
 *
 * Threads: any number of them take and give.
 */
#ifndef TILLWIRE_EDGE_PLACES_H
#define TILLWIRE_EDGE_PLACES_H

#include <pthread.h>

#include "tillwire/err.h"

struct tw_places {
    pthread_mutex_t lock; /**< guards all below */
    pthread_cond_t  freed;
    size_t          idle_count;
    void          **idle; /**< NULL: a connection yet to be made */
    int64_t         closed_until_us;
};

void tw_places_init(struct tw_places *places, size_t count);
/** No place may be taken. @p finish gets each connection that is left. */
void tw_places_done(struct tw_places *places, void (*finish)(void *connection));

/** A place, to be given back; NULL in @p ret_connection: make one. UNREACHED: none came free within @p wait_ms, or the
 *  server did not answer a moment ago. */
enum tw_rc tw_places_take(struct tw_places *places, int wait_ms, const char *where, void **ret_connection,
                          struct tw_err *reterr);
/** NULL: there was no answer, and the connection is gone. */
void       tw_places_give(struct tw_places *places, void *connection);

#endif
