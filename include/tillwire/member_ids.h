/**
 * What the ids of new things of a member derive from a command by, with tw_derived_id(). Shared, because whoever writes
 * the command knows the ids beforehand: an edge puts the `jti` into a token before its row is made.
 */
#ifndef TILLWIRE_MEMBER_IDS_H
#define TILLWIRE_MEMBER_IDS_H

#define TW_MEMBER_ID_ACCESS  "access"  /**< start_session, refresh_session: the access token */
#define TW_MEMBER_ID_REFRESH "refresh" /**< start_session, refresh_session: the refresh token */
#define TW_MEMBER_ID_SERVICE "service" /**< issue_token: the token */
#define TW_MEMBER_ID_FAMILY  "family"  /**< start_session, issue_token: the session */
#define TW_MEMBER_ID_ADDRESS "address" /**< add_address: the address */

#endif
