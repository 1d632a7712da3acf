/**
 * Access tokens: signed and verified JWTs, by one algorithm and a closed table of keys, both from the configuration and
 * never from a token. A library of its own (`tw_token`), used by the edge and by the operator's tool. libjwt 1.10.2
 * checks next to nothing by itself; every check is here and listed in docs/decisions/access-tokens.md.
 *
 * Thread safe: nothing is kept between calls.
 */
#ifndef TILLWIRE_EDGE_TOKEN_H
#define TILLWIRE_EDGE_TOKEN_H

#include "tillwire/err.h"
#include "tillwire/str.h"
#include "tillwire/uuid.h"

enum {
    TW_TOKEN_KEY_MIN_BYTES = 32,
    TW_TOKEN_KEY_MAX_BYTES = 64,
    TW_TOKEN_KID_MAX = 64,
    TW_TOKEN_KEYS_MAX = 16,
    TW_TOKEN_PEM_MAX = 512,
    TW_TOKEN_COORDINATE = 32,
    TW_TOKEN_MAX_BYTES = 4096,
    TW_TOKEN_SCOPE_MAX = 512,
    TW_TOKEN_SKEW_S = 30, /**< clocks of issuer and verifier may differ by this much */
};

enum tw_token_algorithm {
    TW_TOKEN_HS256, /**< one secret for who signs and who verifies */
    TW_TOKEN_ES256, /**< ECDSA on P-256: others can verify by the JWKS */
};
/** @p name is one of the two. */
enum tw_token_algorithm tw_token_algorithm_of(const char *name);
const char             *tw_token_algorithm_name(enum tw_token_algorithm algorithm);

struct tw_token_key {
    char    kid[TW_TOKEN_KID_MAX + 1];
    uint8_t secret[TW_TOKEN_KEY_MAX_BYTES]; /**< HS256 */
    size_t  secret_len;
    char    private_pem[TW_TOKEN_PEM_MAX]; /**< ES256; empty: only verifies */
    char    public_pem[TW_TOKEN_PEM_MAX];  /**< ES256 */
    uint8_t x[TW_TOKEN_COORDINATE];        /**< ES256: the public point, big endian */
    uint8_t y[TW_TOKEN_COORDINATE];
};

/** The first key signs, all verify: an operator rotates by putting a new one in front and keeping the old. */
struct tw_token_keys {
    enum tw_token_algorithm algorithm;
    struct tw_token_key     keys[TW_TOKEN_KEYS_MAX];
    size_t                  count; /**< at least 1 once read */
};

/** HS256: lines `kid:hex`. ES256: blocks of a line `kid: NAME` and an unencrypted PEM key of P-256; the first must be a
 *  private one, the others may be. # comments in both. INVALID names the line. */
enum tw_rc tw_token_keys_parse(enum tw_token_algorithm algorithm, struct tw_str text, struct tw_token_keys *ret_keys,
                               struct tw_err *reterr);
/** The same from a secret file (see tw_secret_read). */
enum tw_rc tw_token_keys_read(enum tw_token_algorithm algorithm, const char *path, struct tw_token_keys *ret_keys,
                              struct tw_err *reterr);
/** NULL: there is none of this name. */
const struct tw_token_key *tw_token_key_find(const struct tw_token_keys *keys, struct tw_str kid);

struct tw_token_rules {
    const struct tw_token_keys *keys;
    const char                 *issuer;
    const char                 *audience;
};

struct tw_token_claims {
    struct tw_uuid subject;  /**< `sub`: the member */
    struct tw_uuid token_id; /**< `jti`: the row in jwt_tokens, what is revoked */
    int64_t        issued_s; /**< seconds since 1970 */
    int64_t        expires_s;
    char           scope[TW_TOKEN_SCOPE_MAX + 1]; /**< separated by single spaces; empty for a member's own token */
};

/** With the first key. Free @p ret_token with free(). */
enum tw_rc tw_token_sign(const struct tw_token_rules *rules, const struct tw_token_claims *claims, char **ret_token,
                         struct tw_err *reterr);
/** INVALID for whatever is wrong; the reason is for logs at debug level, callers of HTTP learn none. */
enum tw_rc tw_token_verify(const struct tw_token_rules *rules, struct tw_str token, int64_t now_s,
                           struct tw_token_claims *ret_claims, struct tw_err *reterr);

/** Is @p scope one of the words of @p scopes? */
bool tw_token_has_scope(const char *scopes, const char *scope);

#endif
