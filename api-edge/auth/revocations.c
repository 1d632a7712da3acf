/*
 * A table with open addressing, at most half full. Nothing is taken out singly: when the table is half full, or a
 * minute after it was last done, it is built anew without the expired entries, so its size follows what is live.
 */
#include "auth/revocations.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/base.h"
#include "tillwire/failpoint.h"
#include "tillwire/metrics.h"

enum { PLACES_MIN = 256, SWEEP_MS = 60000 };

struct entry {
    struct tw_uuid token_id; /* nil: free; no token has this id */
    int64_t        expires_at_ms;
};

struct tw_revocations {
    pthread_rwlock_t lock; /* guards all below */
    struct entry    *entries;
    size_t           places; /* a power of two */
    atomic_size_t    count;  /* written under the lock */
    int64_t          swept_ms;
};

static struct tw_metric remembered = {
    .name = "tillwire_edge_revocations", .kind = TW_GAUGE, .help = "Revoked tokens the edge remembers."};
TW_METRICS_SHOWN(&remembered)

struct tw_revocations *tw_revocations_new(void)
{
    struct tw_revocations *revocations = tw_alloc_zeroed(1, sizeof(*revocations));

    pthread_rwlock_init(&revocations->lock, NULL);
    revocations->places = PLACES_MIN;
    revocations->entries = tw_alloc_zeroed(PLACES_MIN, sizeof(struct entry));
    return revocations;
}

void tw_revocations_free(struct tw_revocations *revocations)
{
    if (!revocations)
        return;
    pthread_rwlock_destroy(&revocations->lock);
    free(revocations->entries);
    free(revocations);
}

/** The entry of @p token_id or the free place where it belongs. Ids are hashes already. */
static struct entry *place_of(struct entry *entries, size_t places, struct tw_uuid token_id)
{
    uint64_t number;

    memcpy(&number, token_id.bytes + 8, sizeof(number));
    for (size_t i = (size_t)(number ^ number >> 32) & (places - 1);; i = (i + 1) & (places - 1)) {
        if (tw_uuid_is_nil(entries[i].token_id) || tw_uuid_eq(entries[i].token_id, token_id))
            return &entries[i];
    }
}

static bool is_over(const struct entry *entry, int64_t now_ms)
{
    return entry->expires_at_ms + TW_REVOCATION_LEEWAY_MS <= now_ms;
}

static size_t count_live(const struct tw_revocations *revocations, int64_t now_ms)
{
    size_t live = 0;

    for (size_t i = 0; i < revocations->places; i++)
        live += !tw_uuid_is_nil(revocations->entries[i].token_id) && !is_over(&revocations->entries[i], now_ms);
    return live;
}

static void build_anew(struct tw_revocations *revocations, int64_t now_ms)
{
    size_t        live = count_live(revocations, now_ms);
    size_t        places = PLACES_MIN;
    struct entry *entries;

    while (places < 4 * live) /* room for as many again before the next time */
        places *= 2;
    entries = tw_alloc_zeroed(places, sizeof(*entries));
    for (size_t i = 0; i < revocations->places; i++) {
        const struct entry *entry = &revocations->entries[i];
        if (!tw_uuid_is_nil(entry->token_id) && !is_over(entry, now_ms))
            *place_of(entries, places, entry->token_id) = *entry;
    }
    free(revocations->entries);
    revocations->entries = entries;
    revocations->places = places;
    revocations->swept_ms = now_ms;
    atomic_store(&revocations->count, live);
}

void tw_revocations_add(struct tw_revocations *revocations, struct tw_uuid token_id, int64_t expires_at_ms,
                        int64_t now_ms)
{
    struct entry added = {token_id, expires_at_ms};

    if (tw_uuid_is_nil(token_id) || is_over(&added, now_ms))
        return;
    pthread_rwlock_wrlock(&revocations->lock);
    if (2 * (atomic_load(&revocations->count) + 1) > revocations->places || now_ms - revocations->swept_ms > SWEEP_MS)
        build_anew(revocations, now_ms);
    struct entry *entry = place_of(revocations->entries, revocations->places, token_id);
    if (tw_uuid_is_nil(entry->token_id))
        atomic_fetch_add(&revocations->count, 1);
    *entry = added;
    tw_metric_set(&remembered, (int64_t)atomic_load(&revocations->count));
    pthread_rwlock_unlock(&revocations->lock);
}

bool tw_revocations_has(struct tw_revocations *revocations, struct tw_uuid token_id)
{
    bool found;

    if (tw_revocations_count(revocations) == 0 || tw_failpoint("mutant_revocation_ignored"))
        return false;
    pthread_rwlock_rdlock(&revocations->lock);
    found = !tw_uuid_is_nil(place_of(revocations->entries, revocations->places, token_id)->token_id);
    pthread_rwlock_unlock(&revocations->lock);
    return found;
}

size_t tw_revocations_count(struct tw_revocations *revocations)
{
    return atomic_load(&revocations->count);
}
