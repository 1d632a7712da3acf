/**
 * The member domain: what its commands mean, as pure functions of state and command. Read member_domain.c first;
 * each decide function is one rule book. Fields of commands, events and the state are in schemas/.
 */
#ifndef TILLWIRE_MEMBER_DOMAIN_H
#define TILLWIRE_MEMBER_DOMAIN_H

#include "tillwire/domain.h"
#include "tillwire/member_ids.h"

/** Kinds of states, and positions of the entities a command touches. MEMBER: struct tw_member. CLAIM: struct
 *  tw_member_claim; only registrations and claims of an address touch one. */
enum { TW_MEMBER_ENTITY, TW_MEMBER_CLAIM_ENTITY };

/** Constants of version 1 of the commands. They shape what a replay gives, so another number is another version. */
enum {
    TW_MEMBER_SESSIONS_MAX = 100, /**< live sessions; a token issued to a service member is one, too */
    TW_MEMBER_TOKENS_MAX = 400,   /**< rows, ended ones included; as schemas/state/member.json has it */
    TW_MEMBER_ADDRESSES_MAX = 20,
};
/** Rows of tokens are dropped by the first change of their member this long after their end. */
#define TW_MEMBER_TOKEN_KEEP_MS (INT64_C(24) * 60 * 60 * 1000)

/** A token that readers judge by what is written in it can be revoked, and its row stays, for this long after its end:
 *  they allow their clocks some leeway. */
#define TW_MEMBER_TOKEN_LEEWAY_MS (INT64_C(60) * 1000)

extern const struct tw_domain tw_member_domain;

#endif
