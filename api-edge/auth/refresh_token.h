/**
 * Refresh tokens: `<id of its row>.<32 random bytes>`, opaque to clients. The table and the log hold only the SHA-256 of
 * the whole text, so neither opens anything, and a text counts when it is the one that was handed out, byte for byte.
 */
#ifndef TILLWIRE_EDGE_REFRESH_TOKEN_H
#define TILLWIRE_EDGE_REFRESH_TOKEN_H

#include "tillwire/str.h"
#include "tillwire/uuid.h"

enum {
    TW_REFRESH_SECRET_TEXT = 43, /**< 32 bytes in base64url */
    TW_REFRESH_TEXT = TW_UUID_TEXT + 1 + TW_REFRESH_SECRET_TEXT,
    TW_TOKEN_HASH_BYTES = 32,
};

/** A new one, with a secret nobody knows. */
void tw_refresh_token_make(struct tw_uuid token_id, char ret_text[TW_REFRESH_TEXT + 1]);
/** Where its row would be. False: no token has this form. */
bool tw_refresh_token_parse(struct tw_str text, struct tw_uuid *ret_token_id);

/** SHA-256: the `token_hash` of tokens of all kinds. */
void tw_token_hash(struct tw_str text, uint8_t ret_hash[TW_TOKEN_HASH_BYTES]);
/** In the same time whatever differs. */
bool tw_token_hash_is_of(const uint8_t hash[TW_TOKEN_HASH_BYTES], struct tw_str text);

#endif
