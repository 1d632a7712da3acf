/**
 * `Idempotency-Key`: the command id that follows from a request, and the fingerprint of its body. Pure.
 */
#ifndef TILLWIRE_EDGE_IDEMPOTENCY_H
#define TILLWIRE_EDGE_IDEMPOTENCY_H

#include "tillwire/envelope.h"
#include "tillwire/uuid.h"

enum { TW_IDEMPOTENCY_KEY_BYTES = 32, TW_IDEMPOTENCY_KEY_TEXT_MAX = 255 };

/** 1 to 255 visible characters. A Structured Fields string ("quoted") is unwrapped, a bare token is taken as it is. */
bool tw_idempotency_key_read(struct tw_str field, struct tw_str *ret_key);

/** HMAC of @p body in canonical form (members sorted, no spaces), so that two spellings of one request are one. A plain
 *  hash would let whoever reads the log test guessed passwords. */
void tw_fingerprint(const uint8_t key[TW_IDEMPOTENCY_KEY_BYTES], struct tw_str body,
                    uint8_t ret_fingerprint[TW_FINGERPRINT_BYTES]);

struct tw_idempotency {
    struct tw_uuid caller; /**< nil: anonymous; then the fingerprint counts, too: strangers may pick the same key */
    struct tw_str  method;
    struct tw_str  path;
    struct tw_str  key;
    const uint8_t *fingerprint; /**< TW_FINGERPRINT_BYTES */
};
/** What tw_command_id_keyed() is made of. */
void tw_idempotency_digest(const uint8_t key[TW_IDEMPOTENCY_KEY_BYTES], const struct tw_idempotency *request,
                           uint8_t ret_digest[16]);

#endif
