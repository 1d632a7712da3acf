/**
 * The JSON Web Key Set (RFC 7517) of the keys that verify: what others need to check our tokens by themselves. Only of
 * ES256; a secret has no public half.
 */
#ifndef TILLWIRE_EDGE_JWKS_H
#define TILLWIRE_EDGE_JWKS_H

#include "auth/token.h"

/** Appends the document. */
void tw_jwks_write(const struct tw_token_keys *keys, struct tw_buf *out);

#endif
