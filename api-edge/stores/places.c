#include "stores/places.h"

#include <stdlib.h>
#include <time.h>

#include "tillwire/clock.h"

enum { AFTER_FAILURE_US = 300000 };

void tw_places_init(struct tw_places *places, size_t count)
{
    pthread_condattr_t attr;

    *places = (struct tw_places){.idle_count = count, .idle = tw_alloc_zeroed(count, sizeof(void *))};
    pthread_mutex_init(&places->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&places->freed, &attr);
    pthread_condattr_destroy(&attr);
}

void tw_places_done(struct tw_places *places, void (*finish)(void *connection))
{
    for (size_t i = 0; i < places->idle_count; i++)
        if (places->idle[i])
            finish(places->idle[i]);
    pthread_cond_destroy(&places->freed);
    pthread_mutex_destroy(&places->lock);
    free(places->idle);
}

enum tw_rc tw_places_take(struct tw_places *places, int wait_ms, const char *where, void **ret_connection,
                          struct tw_err *reterr)
{
    int64_t         deadline_us = tw_monotonic_us() + INT64_C(1000) * wait_ms;
    struct timespec deadline = {deadline_us / 1000000, (deadline_us % 1000000) * 1000};
    enum tw_rc      rc = TW_OK;

    pthread_mutex_lock(&places->lock);
    while (places->idle_count == 0 && rc == TW_OK) {
        if (pthread_cond_timedwait(&places->freed, &places->lock, &deadline) != 0)
            rc = tw_fail(reterr, TW_UNREACHED, where, 0, "all connections are busy");
    }
    if (rc == TW_OK && !places->idle[places->idle_count - 1] && tw_monotonic_us() < places->closed_until_us)
        rc = tw_fail(reterr, TW_UNREACHED, where, 0, "the server did not answer a moment ago");
    if (rc == TW_OK)
        *ret_connection = places->idle[--places->idle_count];
    pthread_mutex_unlock(&places->lock);
    return rc;
}

void tw_places_give(struct tw_places *places, void *connection)
{
    pthread_mutex_lock(&places->lock);
    if (!connection)
        places->closed_until_us = tw_monotonic_us() + AFTER_FAILURE_US;
    places->idle[places->idle_count++] = connection;
    pthread_cond_signal(&places->freed);
    pthread_mutex_unlock(&places->lock);
}
