/**
 * The token keys in force. An operator changes them while requests are served: a new ring takes the old one's place as a
 * whole, between two tokens. From then on the new first key signs, all of the new ones verify, and what an old one
 * signed that is gone is refused, also where it had been verified before (the generation tells).
 *
 * Threads: any. Signing and verifying share a read lock; replacing waits for them, some 100 us.
 */
#ifndef TILLWIRE_EDGE_KEY_RING_H
#define TILLWIRE_EDGE_KEY_RING_H

#include "auth/token.h"

struct tw_key_ring;

/** Copies @p keys; @p issuer and @p audience outlive the ring. */
struct tw_key_ring *tw_key_ring_new(const struct tw_token_keys *keys, const char *issuer, const char *audience);
/** Accepts NULL. */
void                tw_key_ring_free(struct tw_key_ring *ring);

/** Copies @p keys, which have the algorithm of those before them. */
void     tw_key_ring_replace(struct tw_key_ring *ring, const struct tw_token_keys *keys);
/** Grows with every replacement; never 0. */
unsigned tw_key_ring_generation(const struct tw_key_ring *ring);

/** tw_token_sign() with the first key. */
enum tw_rc tw_key_ring_sign(struct tw_key_ring *ring, const struct tw_token_claims *claims, char **ret_token,
                            struct tw_err *reterr);
/** tw_token_verify() with all of them. @p ret_generation: of the keys that were asked, set whatever they said. */
enum tw_rc tw_key_ring_verify(struct tw_key_ring *ring, struct tw_str token, int64_t now_s,
                              struct tw_token_claims *ret_claims, unsigned *ret_generation, struct tw_err *reterr);
/** Appends the JWKS. False, and nothing appended: the keys are secrets without a public half. */
bool       tw_key_ring_jwks(struct tw_key_ring *ring, struct tw_buf *out);

#endif
