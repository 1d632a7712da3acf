#include "watermarks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "tillwire/base.h"
#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/metrics.h"

enum {
    DOMAINS = TW_DOMAIN_CART + 1,
    TRUST_US = 1000000,
    PAUSE_MIN_US = 2000,
    PAUSE_MAX_US = 50000,
};

/** What is known of a partition, and who waits for it. */
struct place {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t  changed;
    int64_t         next_offset; /* as the store said when it was asked at known_us */
    int64_t         known_us;    /* 0: never */
    size_t          waiting;
    bool            is_asking; /* one of them */
    bool            has_moved; /* since that one asked */
    int64_t         ask_at_us; /* not before */
    int64_t         pause_us;
    int64_t         wanted; /* the lowest offset somebody sleeps or asks for */
};

struct tw_watermarks {
    struct tw_watermarks_source source;
    atomic_size_t               waiting; /* in all places */
    atomic_bool                 draining;
    int32_t                     counts[DOMAINS];
    struct place               *places[DOMAINS];
};

static struct tw_metric questions = {.name = "tillwire_edge_watermark_reads_total",
                                     .kind = TW_COUNTER,
                                     .help = "Times a store was asked how far it can be read."};
TW_METRICS_SHOWN(&questions)

static void place_init(struct place *place)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&place->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&place->changed, &attr);
    pthread_condattr_destroy(&attr);
    place->wanted = INT64_MAX;
}

struct tw_watermarks *tw_watermarks_new(const struct tw_watermarks_source *source)
{
    struct tw_watermarks *watermarks = tw_alloc_zeroed(1, sizeof(*watermarks));

    watermarks->source = *source;
    if (source->pause_min_us == 0)
        watermarks->source.pause_min_us = PAUSE_MIN_US;
    if (source->pause_max_us == 0)
        watermarks->source.pause_max_us = PAUSE_MAX_US;
    for (int domain = TW_DOMAIN_MEMBER; domain < DOMAINS; domain++) {
        int32_t count = tw_topic_of((enum tw_domain_number)domain, TW_TOPIC_COMMANDS)->partitions;

        watermarks->counts[domain] = count;
        watermarks->places[domain] = tw_alloc_zeroed((size_t)count, sizeof(struct place));
        for (int32_t i = 0; i < count; i++)
            place_init(&watermarks->places[domain][i]);
    }
    return watermarks;
}

void tw_watermarks_free(struct tw_watermarks *watermarks)
{
    if (!watermarks)
        return;
    for (int domain = TW_DOMAIN_MEMBER; domain < DOMAINS; domain++) {
        for (int32_t i = 0; i < watermarks->counts[domain]; i++) {
            pthread_cond_destroy(&watermarks->places[domain][i].changed);
            pthread_mutex_destroy(&watermarks->places[domain][i].lock);
        }
        free(watermarks->places[domain]);
    }
    free(watermarks);
}

static bool is_known(const struct place *place, int64_t offset, int64_t now_us)
{
    return place->known_us > 0 && offset < place->next_offset && now_us - place->known_us < TRUST_US;
}

/** Locked. Of two answers that cross, the one that was asked for later counts. */
static void learn(struct place *place, int64_t next_offset, int64_t asked_us)
{
    if (asked_us < place->known_us)
        return;
    place->next_offset = next_offset;
    place->known_us = asked_us;
}

static enum tw_rc read_store(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                             int64_t *ret_next_offset, struct tw_err *reterr)
{
    tw_metric_add(&questions, 1);
    return watermarks->source.read(watermarks->source.self, domain, partition, ret_next_offset, reterr);
}

enum tw_rc tw_watermarks_look(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                              int64_t offset, struct tw_err *reterr)
{
    struct place *place = &watermarks->places[domain][partition];
    int64_t       asked_us = tw_monotonic_us();
    int64_t       next_offset = 0;

    pthread_mutex_lock(&place->lock);
    bool known = is_known(place, offset, asked_us);
    pthread_mutex_unlock(&place->lock);
    if (known)
        return TW_OK;
    TW_TRY(read_store(watermarks, domain, partition, &next_offset, reterr));
    pthread_mutex_lock(&place->lock);
    learn(place, next_offset, asked_us);
    pthread_mutex_unlock(&place->lock);
    return offset < next_offset ? TW_OK : TW_NOT_FOUND;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/** Who waits: what, where, how long. */
struct wait {
    struct tw_watermarks *watermarks;
    enum tw_domain_number domain;
    int32_t               partition;
    struct place         *place;
    int64_t               offset;
    int64_t               until_us;
};

/** Locked: from now on an event of that record is news. */
static void want(const struct wait *wait)
{
    if (wait->offset < wait->place->wanted)
        wait->place->wanted = wait->offset;
}

/** Locked, but not while the store answers. NOT_FOUND: it has not come so far. */
static enum tw_rc ask(const struct wait *wait, struct tw_err *reterr)
{
    const struct tw_watermarks_source *source = &wait->watermarks->source;
    struct place                      *place = wait->place;
    int64_t                            before = place->next_offset;
    int64_t                            next_offset = 0;
    int64_t                            asked_us = tw_monotonic_us();

    place->is_asking = true;
    place->has_moved = false;
    want(wait);
    pthread_mutex_unlock(&place->lock);
    enum tw_rc rc = read_store(wait->watermarks, wait->domain, wait->partition, &next_offset, reterr);
    pthread_mutex_lock(&place->lock);
    place->is_asking = false;
    if (rc == TW_OK) {
        learn(place, next_offset, asked_us);
        place->pause_us = next_offset > before ? source->pause_min_us : 2 * place->pause_us;
        if (place->pause_us > source->pause_max_us)
            place->pause_us = source->pause_max_us;
        rc = wait->offset < next_offset ? TW_OK : TW_NOT_FOUND;
    }
    place->ask_at_us = place->has_moved ? 0 : tw_monotonic_us() + place->pause_us;
    place->wanted = INT64_MAX; /* whoever sleeps wakes now, and says anew what it wants */
    pthread_cond_broadcast(&place->changed);
    return rc;
}

/** Locked. Until something changes, it is time to ask, or the time is up. */
static void sleep_on(const struct wait *wait)
{
    struct place   *place = wait->place;
    int64_t         ask_at_us = place->is_asking ? INT64_MAX : place->ask_at_us;
    int64_t         until_us = ask_at_us < wait->until_us ? ask_at_us : wait->until_us;
    struct timespec until = {until_us / 1000000, (until_us % 1000000) * 1000};

    want(wait);
    pthread_cond_timedwait(&place->changed, &place->lock, &until);
}

/** Locked. */
static enum tw_rc await(const struct wait *wait, struct tw_err *reterr)
{
    struct place *place = wait->place;
    enum tw_rc    rc = TW_NOT_FOUND;

    while (rc == TW_NOT_FOUND && !atomic_load(&wait->watermarks->draining)) {
        int64_t now_us = tw_monotonic_us();

        if (is_known(place, wait->offset, now_us))
            rc = TW_OK;
        else if (now_us >= wait->until_us)
            return TW_NOT_FOUND;
        else if (!place->is_asking && now_us >= place->ask_at_us)
            rc = ask(wait, reterr);
        else
            sleep_on(wait);
    }
    return rc;
}

enum tw_rc tw_watermarks_await(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                               int64_t offset, int64_t until_us, struct tw_err *reterr)
{
    struct place *place = &watermarks->places[domain][partition];
    struct wait   wait = {watermarks, domain, partition, place, offset, until_us};

    atomic_fetch_add(&watermarks->waiting, 1);
    pthread_mutex_lock(&place->lock);
    if (place->waiting++ == 0) { /* who looked in vain a moment ago need not ask again at once */
        place->pause_us = watermarks->source.pause_min_us;
        place->ask_at_us = tw_monotonic_us() + place->pause_us;
    }
    enum tw_rc rc = await(&wait, reterr);
    place->waiting--;
    pthread_mutex_unlock(&place->lock);
    atomic_fetch_sub(&watermarks->waiting, 1);
    return rc;
}

bool tw_watermarks_are_awaited(const struct tw_watermarks *watermarks)
{
    return atomic_load_explicit(&watermarks->waiting, memory_order_relaxed) > 0;
}

void tw_watermarks_moved(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                         int64_t offset)
{
    if (partition < 0 || partition >= watermarks->counts[domain])
        return;
    struct place *place = &watermarks->places[domain][partition];

    pthread_mutex_lock(&place->lock);
    if (offset >= place->wanted) {
        place->wanted = INT64_MAX;
        place->ask_at_us = 0;
        place->has_moved = true;
        pthread_cond_broadcast(&place->changed);
    }
    pthread_mutex_unlock(&place->lock);
}

void tw_watermarks_drain(struct tw_watermarks *watermarks)
{
    atomic_store(&watermarks->draining, true);
    for (int domain = TW_DOMAIN_MEMBER; domain < DOMAINS; domain++) {
        for (int32_t i = 0; i < watermarks->counts[domain]; i++) {
            struct place *place = &watermarks->places[domain][i];

            pthread_mutex_lock(&place->lock);
            pthread_cond_broadcast(&place->changed);
            pthread_mutex_unlock(&place->lock);
        }
    }
}
