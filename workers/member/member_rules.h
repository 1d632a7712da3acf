/**
 * What the files of the member domain share. Entities of a decision, changes every rule makes in the same way, and the
 * rule books by command. Pure, like all of the domain.
 */
#ifndef TILLWIRE_MEMBER_RULES_H
#define TILLWIRE_MEMBER_RULES_H

#include "member_domain.h"
#include "tillwire/gen/member_messages.h"

/** Positions and kinds of the entities a command touches. CLAIM: only registrations and claims of an address. */
enum { TW_MEMBER_ENTITY, TW_MEMBER_CLAIM_ENTITY };

/** "/v1/members/me/addresses/<id>". */
struct tw_str tw_member_path(struct tw_arena *arena, const char *folder, struct tw_uuid id);

/** The member as it is; @p ret_refusal is filled and NULL returned when there is none, or it is not ACTIVE. */
const struct tw_member *tw_member_active(const struct tw_decision *d, struct tw_outcome *ret_refusal);
/** The same, and with a password and credentials that have not moved since the edge looked at them. */
const struct tw_member *tw_member_with_credentials(const struct tw_decision *d, int64_t credential_version,
                                                   struct tw_outcome *ret_refusal);
/** The state to change, as an edit by the member or an operator: moves `version` and `updated_at`. */
struct tw_member       *tw_member_edit(struct tw_decision *d, const struct tw_command *cmd);

/** Revokes what is live of session @p family (nil: of every session) but for session @p spared (nil: none), and says so
 *  in one event. Returns how many tokens. */
uint32_t tw_member_revoke(struct tw_decision *d, const struct tw_command *cmd, struct tw_uuid family,
                          struct tw_uuid spared);

/* member_sessions.c */
struct tw_outcome tw_member_decide_start_session(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_refresh_session(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_end_session(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_end_all_sessions(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_issue_token(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_revoke_token(struct tw_decision *d, const struct tw_command *cmd);

/* member_addresses.c */
struct tw_outcome tw_member_decide_add_address(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_change_address(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_remove_address(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_set_default_address(struct tw_decision *d, const struct tw_command *cmd);

/* member_email.c */
struct tw_outcome tw_member_decide_change_email(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_claim_email(struct tw_decision *d, const struct tw_command *cmd);
struct tw_outcome tw_member_decide_complete_email_change(struct tw_decision *d, const struct tw_command *cmd);

#endif
