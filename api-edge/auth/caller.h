/**
 * Who calls: the `Authorization` header becomes a member id, a token id and scopes. A token is verified once and then
 * remembered, for as long as the keys stay. Whether it was revoked is known from the events while their tail is fresh; when it is not, the token's
 * row is asked, and what it says is remembered for a second.
 */
#ifndef TILLWIRE_EDGE_CALLER_H
#define TILLWIRE_EDGE_CALLER_H

#include "auth/key_ring.h"
#include "request.h"

struct tw_callers;
struct tw_revocations;
struct tw_sessions;
struct tw_tail;

/** What it looks at; all of it outlives the callers. */
struct tw_callers_parts {
    struct tw_key_ring    *keys;
    struct tw_revocations *revocations;
    const struct tw_tail  *tail; /**< that fills `revocations` */
    struct tw_sessions    *sessions;
};

struct tw_callers *tw_callers_new(const struct tw_callers_parts *parts);
/** Accepts NULL. */
void               tw_callers_free(struct tw_callers *callers);

/** OK: @p ret_caller is known. INVALID: no token, or one that is not good; the client learns no more than that.
 *  UNREACHED: whether it was revoked cannot be told now. */
enum tw_rc tw_callers_identify(struct tw_callers *callers, const struct tw_request *request,
                               struct tw_caller *ret_caller, struct tw_err *reterr);

/** For who holds on to a caller longer than a request takes: is the token still good, but for its end? As above; the
 *  row, when it must be asked, is asked each time. */
enum tw_rc tw_callers_recheck(struct tw_callers *callers, struct tw_uuid token_id, struct tw_uuid member_id,
                              struct tw_err *reterr);

#endif
