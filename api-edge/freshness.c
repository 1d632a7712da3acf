#include "freshness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/** Ends the reader may still be on its way to. A reader that always lags a little comes to older ones only; what is
 *  older than TW_FRESH_US is of no use, so a few are enough. */
enum { WAYPOINTS = 8 };

struct waypoint {
    int64_t  asked_us; /* 0: none */
    int64_t *ends;
};

struct tw_freshness {
    pthread_mutex_t  lock; /* guards all below but `known_us` */
    size_t           partitions;
    bool             reading;
    int64_t         *offsets;
    struct waypoint  waypoints[WAYPOINTS]; /* oldest is overwritten */
    size_t           next;
    size_t           pending;
    _Atomic(int64_t) known_us; /* all that was there at this moment is known; 0: nothing is */
};

struct tw_freshness *tw_freshness_new(size_t partitions)
{
    struct tw_freshness *freshness = tw_alloc_zeroed(1, sizeof(*freshness));

    pthread_mutex_init(&freshness->lock, NULL);
    freshness->partitions = partitions;
    freshness->offsets = tw_alloc_zeroed(partitions, sizeof(int64_t));
    for (size_t i = 0; i < WAYPOINTS; i++)
        freshness->waypoints[i].ends = tw_alloc_zeroed(partitions, sizeof(int64_t));
    return freshness;
}

void tw_freshness_free(struct tw_freshness *freshness)
{
    if (!freshness)
        return;
    for (size_t i = 0; i < WAYPOINTS; i++)
        free(freshness->waypoints[i].ends);
    free(freshness->offsets);
    pthread_mutex_destroy(&freshness->lock);
    free(freshness);
}

static void forget(struct tw_freshness *freshness)
{
    for (size_t i = 0; i < WAYPOINTS; i++)
        freshness->waypoints[i].asked_us = 0;
    freshness->pending = 0;
    atomic_store(&freshness->known_us, 0);
}

void tw_freshness_begin(struct tw_freshness *freshness, const int64_t *offsets)
{
    pthread_mutex_lock(&freshness->lock);
    forget(freshness);
    memcpy(freshness->offsets, offsets, freshness->partitions * sizeof(*offsets));
    freshness->reading = true;
    pthread_mutex_unlock(&freshness->lock);
}

void tw_freshness_end(struct tw_freshness *freshness)
{
    pthread_mutex_lock(&freshness->lock);
    forget(freshness);
    freshness->reading = false;
    pthread_mutex_unlock(&freshness->lock);
}

static bool is_reached(const struct tw_freshness *freshness, const struct waypoint *waypoint)
{
    for (size_t i = 0; i < freshness->partitions; i++) {
        if (freshness->offsets[i] < waypoint->ends[i])
            return false;
    }
    return true;
}

static void settle(struct tw_freshness *freshness)
{
    for (size_t i = 0; i < WAYPOINTS; i++) {
        struct waypoint *waypoint = &freshness->waypoints[i];

        if (waypoint->asked_us == 0 || !is_reached(freshness, waypoint))
            continue;
        if (waypoint->asked_us > atomic_load(&freshness->known_us))
            atomic_store(&freshness->known_us, waypoint->asked_us);
        waypoint->asked_us = 0;
        freshness->pending--;
    }
}

void tw_freshness_read(struct tw_freshness *freshness, int32_t partition, int64_t next_offset)
{
    if (partition < 0 || (size_t)partition >= freshness->partitions)
        return;
    pthread_mutex_lock(&freshness->lock);
    freshness->offsets[partition] = next_offset;
    if (freshness->pending > 0)
        settle(freshness);
    pthread_mutex_unlock(&freshness->lock);
}

void tw_freshness_ends(struct tw_freshness *freshness, int64_t asked_us, const int64_t *ends)
{
    pthread_mutex_lock(&freshness->lock);
    if (freshness->reading) {
        struct waypoint *waypoint = &freshness->waypoints[freshness->next++ % WAYPOINTS];

        freshness->pending += waypoint->asked_us == 0;
        waypoint->asked_us = asked_us;
        memcpy(waypoint->ends, ends, freshness->partitions * sizeof(*ends));
        settle(freshness);
    }
    pthread_mutex_unlock(&freshness->lock);
}

bool tw_freshness_holds(const struct tw_freshness *freshness, int64_t now_us)
{
    int64_t known_us = atomic_load(&freshness->known_us);

    return known_us > 0 && now_us - known_us <= TW_FRESH_US;
}
