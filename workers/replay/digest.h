/**
 * A digest of all states of a partition that a fold keeps up to date while it goes on: the sum of the hashes of its
 * states, so a state that changes costs two hashes and the order does not matter. Read back from the store at the end, it
 * tells that the store holds what was folded, without folding twice. It guards against mistakes, not against an attacker.
 */
#ifndef TILLWIRE_REPLAY_DIGEST_H
#define TILLWIRE_REPLAY_DIGEST_H

#include "tillwire/domain.h"

enum { TW_DIGEST_WORDS = 4, TW_DIGEST_BYTES = 8 * TW_DIGEST_WORDS };

struct tw_digest {
    uint64_t words[TW_DIGEST_WORDS];
};

/** @p scratch: for one packed state. */
void tw_digest_add(struct tw_digest *digest, const struct tw_type *type, const struct tw_key *key, const void *state,
                   struct tw_buf *scratch);
void tw_digest_subtract(struct tw_digest *digest, const struct tw_type *type, const struct tw_key *key,
                        const void *state, struct tw_buf *scratch);
bool tw_digest_eq(const struct tw_digest *a, const struct tw_digest *b);
/** Adds @p other to it: of another partition. */
void tw_digest_join(struct tw_digest *digest, const struct tw_digest *other);

/** As it stands in an outbox; empty bytes are the digest of nothing. False: these bytes are no digest. */
bool tw_digest_read(struct tw_str bytes, struct tw_digest *ret_digest);
void tw_digest_write(const struct tw_digest *digest, char ret_bytes[TW_DIGEST_BYTES]);

#endif
