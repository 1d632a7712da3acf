/**
 * The ids of tokens that were revoked before their end: what a good signature cannot tell. Filled from events and, when
 * an edge starts, from the table; asked on every request. An entry goes once the token would be refused as expired
 * anyway, so the set is as large as what is revoked and live.
 *
 * Thread safe. To ask takes no lock while the set is empty, and a shared one else.
 */
#ifndef TILLWIRE_EDGE_REVOCATIONS_H
#define TILLWIRE_EDGE_REVOCATIONS_H

#include "tillwire/uuid.h"

/** How long after its end a token is kept here: longer than any verifier still takes it (TW_TOKEN_SKEW_S). */
enum { TW_REVOCATION_LEEWAY_MS = 60000 };

struct tw_revocations;

struct tw_revocations *tw_revocations_new(void);
/** Accepts NULL. */
void                   tw_revocations_free(struct tw_revocations *revocations);

/** Adding one twice changes nothing. @p now_ms: by which expired ones are told; those may be dropped here. */
void   tw_revocations_add(struct tw_revocations *revocations, struct tw_uuid token_id, int64_t expires_at_ms,
                          int64_t now_ms);
bool   tw_revocations_has(struct tw_revocations *revocations, struct tw_uuid token_id);
size_t tw_revocations_count(struct tw_revocations *revocations);

#endif
