/**
 * What the tests of the member domain share: Ana, who is the first entity of the turn, and what she does in most of
 * them. Read domain_fixture.h first.
 */
#ifndef TILLWIRE_TESTS_MEMBER_FIXTURE_H
#define TILLWIRE_TESTS_MEMBER_FIXTURE_H

#include "domain_fixture.h"
#include "tillwire/gen/member_messages.h"
#include "workers/member/member_domain.h"

#define ANA                \
    {                      \
        {                  \
            0x3e, [15] = 1 \
        }                  \
    }

/** The identity of ana.lim@example.com, and of other addresses. */
extern const struct tw_uuid ana, bo, cy;

/* --- given -------------------------------------------------------------------------------------------------------- */

extern const struct tw_member_register         registration;
extern const struct tw_member_register_service service_registration;

/** A cmocka setup. */
int  no_members(void **state);
void given_member(struct tw_turn *turn);
void given_service(struct tw_turn *turn);
/** Ana, who left. */
void given_inactive(struct tw_turn *turn);

/** Ana's state; NULL: there is none. */
const struct tw_member *member(const struct tw_turn *turn);
/** Anybody's. */
const struct tw_member *member_of(struct tw_turn *turn, struct tw_uuid member_id);
/** Ana's, for facts that no command makes. */
struct tw_member       *change_member(struct tw_turn *turn);

/* --- when --------------------------------------------------------------------------------------------------------- */

/** Decides one command in a batch of its own. */
const struct tw_outcome *decide(struct tw_turn *turn, const struct tw_type *type, const void *body, int64_t at_ms);
/** The same for a command of Ana's that does one thing: a change with one event, or neither when it is refused. */
const struct tw_outcome *decide_plain(struct tw_turn *turn, const struct tw_type *type, const void *body,
                                      int64_t at_ms);

/** A session whose access token ends an hour after @p at_ms and whose refresh token ends @p life_ms after it. */
struct tw_member_start_session session(int64_t at_ms, int64_t life_ms);
const struct tw_outcome       *login(struct tw_turn *turn, int64_t at_ms, int64_t life_ms);
const struct tw_outcome       *issue(struct tw_turn *turn, int64_t at_ms, int64_t life_ms);
const struct tw_outcome       *set_status(struct tw_turn *turn, enum tw_member_status status, int64_t at_ms);
/** Checked against @p credential_version; @p kept is the session that asks. */
const struct tw_outcome       *change_password(struct tw_turn *turn, const char *hash, int64_t credential_version,
                                               struct tw_uuid kept, int64_t at_ms);

/** What the last command made. */
struct tw_uuid last_access(const struct tw_turn *turn);
struct tw_uuid last_refresh(const struct tw_turn *turn);
struct tw_uuid last_family(const struct tw_turn *turn);

/* --- then --------------------------------------------------------------------------------------------------------- */

/** NULL: it has no such row. */
const struct tw_member_token *find_token(const struct tw_member *of, struct tw_uuid id);
/** The token, which must be there. */
const struct tw_member_token *token_of(const struct tw_member *of, struct tw_uuid id);
/** Neither revoked nor past its end; it must be there. */
bool                          is_live(const struct tw_turn *turn, struct tw_uuid token_id);
uint32_t                      live_tokens(const struct tw_turn *turn);

/** The last command's one event of revocation names exactly these, each with its end. */
void assert_revoked(const struct tw_turn *turn, const struct tw_uuid *ids, uint32_t count);
/** It had none. */
void assert_nothing_revoked(const struct tw_turn *turn);
/** It succeeded and neither changed nor published anything. */
void assert_nothing_happened(const struct tw_turn *turn, int http_status);

#endif
