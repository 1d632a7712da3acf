/**
 * Read-only: tokens and sessions, from the member domain's PostgreSQL. A session is what shares a `family_id`: a login
 * with all its refreshes, or one issued token.
 *
 * All calls: UNREACHED when PostgreSQL is away, NOT_FOUND when there is no such row. Texts are copied into the arena.
 */
#ifndef TILLWIRE_EDGE_SESSIONS_H
#define TILLWIRE_EDGE_SESSIONS_H

#include "tillwire/arena.h"
#include "tillwire/err.h"
#include "tillwire/gen/member_messages.h"

struct tw_sessions;
struct tw_pg_pool;

/** The pool stays the caller's and outlives the sessions. */
struct tw_sessions *tw_sessions_new(struct tw_pg_pool *pool);
/** Accepts NULL. */
void                tw_sessions_free(struct tw_sessions *sessions);

/** OK: the token's row is there, not revoked, the member's, and of a kind that opens doors. NOT_FOUND: anything else. */
enum tw_rc tw_sessions_token_counts(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid member_id,
                                    struct tw_err *reterr);

/** A token's row, revoked and ended ones included, and whose it is. */
enum tw_rc tw_sessions_token(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid *ret_member_id,
                             struct tw_member_token *ret_token, struct tw_err *reterr);

struct tw_session {
    struct tw_uuid session_id;
    bool           is_issued; /**< a service member's token; else a login */
    struct tw_str  label;     /**< of an issued token */
    struct tw_str  scope;     /**< of an issued token */
    int64_t        created_at_ms;
    int64_t        expires_at_ms;
    bool           is_current; /**< the token that asks belongs to it */
};

/** The member's sessions that are live at @p now_ms, oldest first, in the arena. */
enum tw_rc tw_sessions_live(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid current_token_id,
                            int64_t now_ms, struct tw_arena *arena, struct tw_session **ret_sessions, size_t *ret_count,
                            struct tw_err *reterr);

/** OK: the member has or had this session. NOT_FOUND: not, or so long ago that nothing is left of it. */
enum tw_rc tw_sessions_has(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid session_id,
                           struct tw_err *reterr);

typedef void (*tw_revoked_fn)(void *self, struct tw_uuid token_id, int64_t expires_at_ms);
/** Hands over every revoked token whose end is after @p after_ms and that would be good if it were not revoked. */
enum tw_rc tw_sessions_revoked(struct tw_sessions *sessions, int64_t after_ms, tw_revoked_fn fn, void *self,
                               struct tw_err *reterr);

#endif
