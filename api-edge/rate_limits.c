/*
 * The generic cell rate algorithm: one number per key, the time at which its allowance would be full again. No timers,
 * no lists of events; a whole burst is allowed at once, then one per window_s / count.
 */
#include "rate_limits.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 4096, WAYS = 8, KEY_BYTES = 16, LOCKS = 64 };

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == KEY_BYTES, "key length");

struct place {
    uint64_t mark;    /* 0: free */
    int64_t  full_ms; /* before now: nothing is owed */
};

struct tw_limits {
    uint8_t         key[KEY_BYTES];
    pthread_mutex_t locks[LOCKS]; /* each guards every 64th set */
    struct place    sets[SETS][WAYS];
};

struct tw_limits *tw_limits_new(void)
{
    struct tw_limits *limits = tw_alloc_zeroed(1, sizeof(*limits));

    randombytes_buf(limits->key, sizeof(limits->key));
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&limits->locks[i], NULL);
    return limits;
}

void tw_limits_free(struct tw_limits *limits)
{
    if (!limits)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&limits->locks[i]);
    free(limits);
}

static void hash_of(const struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key,
                    uint64_t ret_hash[2])
{
    struct tw_buf text = {0};

    tw_buf_add(&text, limit->name, strlen(limit->name) + 1);
    tw_buf_add_str(&text, key);
    crypto_shorthash_siphashx24((unsigned char *)ret_hash, (const unsigned char *)text.ptr, text.len, limits->key);
    tw_buf_done(&text);
}

/** The key's place, or the one to give it: free, or longest quiet. */
static struct place *place_for(struct place *set, uint64_t mark)
{
    struct place *oldest = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].mark == mark)
            return &set[i];
        if (set[i].full_ms < oldest->full_ms)
            oldest = &set[i];
    }
    *oldest = (struct place){mark, 0};
    return oldest;
}

int tw_limits_take(struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key, int64_t now_ms)
{
    int64_t  step_ms = INT64_C(1000) * limit->window_s / limit->count;
    int64_t  burst_ms = step_ms * limit->count;
    uint64_t hash[2];
    int64_t  wait_ms;

    hash_of(limits, limit, key, hash);
    size_t set = hash[0] % SETS;
    pthread_mutex_lock(&limits->locks[set % LOCKS]);
    struct place *place = place_for(limits->sets[set], hash[1] | 1);
    int64_t       from_ms = place->full_ms > now_ms ? place->full_ms : now_ms;
    wait_ms = from_ms + step_ms - burst_ms - now_ms;
    if (wait_ms <= 0)
        place->full_ms = from_ms + step_ms;
    pthread_mutex_unlock(&limits->locks[set % LOCKS]);
    return wait_ms <= 0 ? 0 : (int)((wait_ms + 999) / 1000);
}
