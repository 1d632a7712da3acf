/**
 * The member domain: what its commands mean, as pure functions of state and command. Read decide_* in member_domain.c;
 * each is one rule book. Fields of commands, events and the state are in schemas/.
 */
#ifndef TILLWIRE_MEMBER_DOMAIN_H
#define TILLWIRE_MEMBER_DOMAIN_H

#include "tillwire/domain.h"

/** Constants of version 1 of the commands. They shape what a replay gives, so another number is another version. */
enum {
    TW_MEMBER_SESSIONS_MAX = 100, /**< live sessions; a token issued to a service member is one, too */
    TW_MEMBER_TOKENS_MAX = 400,   /**< rows, ended ones included; as schemas/state/member.json has it */
};
/** Rows of tokens are dropped by the first change of their member this long after their end. */
#define TW_MEMBER_TOKEN_KEEP_MS (INT64_C(24) * 60 * 60 * 1000)

/** What new ids derive from a command by, with tw_derived_id(): whoever writes the command knows them beforehand and
 *  can put the `jti` into the token. */
#define TW_MEMBER_ID_ACCESS  "access"  /**< start_session: the access token */
#define TW_MEMBER_ID_REFRESH "refresh" /**< start_session: the refresh token */
#define TW_MEMBER_ID_SERVICE "service" /**< issue_token: the token */
#define TW_MEMBER_ID_FAMILY  "family"  /**< both: the session */

extern const struct tw_domain tw_member_domain;

#endif
