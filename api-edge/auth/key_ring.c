#include "auth/key_ring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwks.h"

struct tw_key_ring {
    pthread_rwlock_t     lock; /* guards `keys` */
    struct tw_token_keys keys;
    const char          *issuer;
    const char          *audience;
    atomic_uint          generation; /* written under the write lock */
};

/* Whoever replaces must not wait for a pause between readers: on a busy edge there is none. */
static void init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

struct tw_key_ring *tw_key_ring_new(const struct tw_token_keys *keys, const char *issuer, const char *audience)
{
    struct tw_key_ring *ring = tw_alloc_zeroed(1, sizeof(*ring));

    init_lock(&ring->lock);
    ring->keys = *keys;
    ring->issuer = issuer;
    ring->audience = audience;
    atomic_init(&ring->generation, 1);
    return ring;
}

void tw_key_ring_free(struct tw_key_ring *ring)
{
    if (!ring)
        return;
    explicit_bzero(&ring->keys, sizeof(ring->keys));
    pthread_rwlock_destroy(&ring->lock);
    free(ring);
}

void tw_key_ring_replace(struct tw_key_ring *ring, const struct tw_token_keys *keys)
{
    pthread_rwlock_wrlock(&ring->lock);
    ring->keys = *keys;
    atomic_fetch_add(&ring->generation, 1);
    pthread_rwlock_unlock(&ring->lock);
}

unsigned tw_key_ring_generation(const struct tw_key_ring *ring)
{
    return atomic_load_explicit(&ring->generation, memory_order_acquire);
}

static struct tw_token_rules rules_of(const struct tw_key_ring *ring)
{
    return (struct tw_token_rules){&ring->keys, ring->issuer, ring->audience};
}

enum tw_rc tw_key_ring_sign(struct tw_key_ring *ring, const struct tw_token_claims *claims, char **ret_token,
                            struct tw_err *reterr)
{
    struct tw_token_rules rules = rules_of(ring);

    pthread_rwlock_rdlock(&ring->lock);
    enum tw_rc rc = tw_token_sign(&rules, claims, ret_token, reterr);
    pthread_rwlock_unlock(&ring->lock);
    return rc;
}

enum tw_rc tw_key_ring_verify(struct tw_key_ring *ring, struct tw_str token, int64_t now_s,
                              struct tw_token_claims *ret_claims, unsigned *ret_generation, struct tw_err *reterr)
{
    struct tw_token_rules rules = rules_of(ring);

    pthread_rwlock_rdlock(&ring->lock);
    *ret_generation = tw_key_ring_generation(ring);
    enum tw_rc rc = tw_token_verify(&rules, token, now_s, ret_claims, reterr);
    pthread_rwlock_unlock(&ring->lock);
    return rc;
}

bool tw_key_ring_jwks(struct tw_key_ring *ring, struct tw_buf *out)
{
    pthread_rwlock_rdlock(&ring->lock);
    bool has_public_halves = ring->keys.algorithm == TW_TOKEN_ES256;
    if (has_public_halves)
        tw_jwks_write(&ring->keys, out);
    pthread_rwlock_unlock(&ring->lock);
    return has_public_halves;
}
