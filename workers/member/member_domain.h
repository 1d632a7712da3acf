/**
 * The member domain: what its commands mean, as pure functions of state and command. Read member_domain.c first;
 * each decide function is one rule book. Fields of commands, events and the state are in schemas/.
 */
#ifndef TILLWIRE_MEMBER_DOMAIN_H
#define TILLWIRE_MEMBER_DOMAIN_H

#include "tillwire/domain.h"

/** Constants of version 1 of the commands. They shape what a replay gives, so another number is another version. */
enum {
    TW_MEMBER_SESSIONS_MAX = 100, /**< live sessions; a token issued to a service member is one, too */
    TW_MEMBER_TOKENS_MAX = 400,   /**< rows, ended ones included; as schemas/state/member.json has it */
    TW_MEMBER_ADDRESSES_MAX = 20,
};
/** Rows of tokens are dropped by the first change of their member this long after their end. */
#define TW_MEMBER_TOKEN_KEEP_MS (INT64_C(24) * 60 * 60 * 1000)

/** A revoked token's row stays at least this long after the token's end: readers allow their clocks some leeway. */
#define TW_MEMBER_TOKEN_LEEWAY_MS (INT64_C(60) * 1000)

/** What new ids derive from a command by, with tw_derived_id(): whoever writes the command knows them beforehand and
 *  can put the `jti` into the token. */
#define TW_MEMBER_ID_ACCESS  "access"  /**< start_session, refresh_session: the access token */
#define TW_MEMBER_ID_REFRESH "refresh" /**< start_session, refresh_session: the refresh token */
#define TW_MEMBER_ID_SERVICE "service" /**< issue_token: the token */
#define TW_MEMBER_ID_FAMILY  "family"  /**< both: the session */
#define TW_MEMBER_ID_ADDRESS "address" /**< add_address: the address */

extern const struct tw_domain tw_member_domain;

#endif
