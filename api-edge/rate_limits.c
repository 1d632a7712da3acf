/*
 * The generic cell rate algorithm: one number per key, the time at which its allowance would be full again. No timers,
 * no lists of events; a whole burst is allowed at once, then one per window_s / count.
 */
#include "rate_limits.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 4096, WAYS = 8, KEY_BYTES = 16, HASH_BYTES = 16, NAME_BYTES = 32, LOCKS = 64 };

#define US_PER_S INT64_C(1000000)

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == KEY_BYTES, "key length");
_Static_assert(crypto_shorthash_siphashx24_BYTES == HASH_BYTES, "hash length");

struct place {
    uint64_t mark;    /* 0: free */
    int64_t  full_us; /* before now: nothing is owed */
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

/** The key is hashed by itself first: it may be as long as a body, and the name must stand beside it without a copy. */
static void hash_of(const struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key,
                    uint64_t ret_hash[2])
{
    unsigned char text[HASH_BYTES + NAME_BYTES] = {0};
    size_t        name_len = strnlen(limit->name, NAME_BYTES);

    crypto_shorthash_siphashx24(text, (const unsigned char *)key.ptr, key.len, limits->key);
    memcpy(text + HASH_BYTES, limit->name, name_len);
    crypto_shorthash_siphashx24((unsigned char *)ret_hash, text, sizeof(text), limits->key);
}

/** The key's place, or the one to give it: free, or longest quiet. */
static struct place *place_for(struct place *set, uint64_t mark)
{
    struct place *oldest = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].mark == mark)
            return &set[i];
        if (set[i].full_us < oldest->full_us)
            oldest = &set[i];
    }
    *oldest = (struct place){mark, 0};
    return oldest;
}

/** Rounded up: who comes again after so many seconds is not refused for a fraction of one. */
static int seconds_of(int64_t us)
{
    return us <= 0 ? 0 : (int)((us + US_PER_S - 1) / US_PER_S);
}

bool tw_limits_take(struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key, int64_t now_us,
                    struct tw_allowance *ret_allowance)
{
    int64_t  step_us = US_PER_S * limit->rate.window_s / limit->rate.count;
    int64_t  burst_us = step_us * limit->rate.count;
    uint64_t hash[2];

    hash_of(limits, limit, key, hash);
    size_t set = hash[0] % SETS;
    pthread_mutex_lock(&limits->locks[set % LOCKS]);
    struct place *place = place_for(limits->sets[set], hash[1] | 1);
    int64_t       owed_us = place->full_us > now_us ? place->full_us - now_us : 0;
    bool          fits = owed_us + step_us <= burst_us;
    if (fits) {
        owed_us += step_us;
        place->full_us = now_us + owed_us;
    }
    pthread_mutex_unlock(&limits->locks[set % LOCKS]);
    *ret_allowance = (struct tw_allowance){(int)((burst_us - owed_us) / step_us),
                                           seconds_of(fits ? owed_us : owed_us + step_us - burst_us)};
    return fits;
}
