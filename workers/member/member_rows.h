/**
 * From states to table rows: which rows of a member a commit has to write. Pure, so it is tested without a server.
 */
#ifndef TILLWIRE_MEMBER_ROWS_H
#define TILLWIRE_MEMBER_ROWS_H

#include "tillwire/gen/member_messages.h"

struct tw_address_row {
    struct tw_uuid                  member_id;
    const struct tw_member_address *address;
};

struct tw_token_row {
    struct tw_uuid                member_id;
    const struct tw_member_token *token;
};

struct tw_email_change_row {
    struct tw_uuid                       member_id;
    const struct tw_member_email_change *change;
};

/** What a commit writes, gathered over its members. Arrays and what they point to live as long as the states and the
 *  arena they were gathered in. All zero is empty. */
struct tw_member_rows {
    const struct tw_member **new_members;
    uint32_t                 new_members_len, new_members_cap;
    const struct tw_member **members; /**< the member's own columns differ */
    uint32_t                 members_len, members_cap;
    struct tw_address_row   *new_addresses;
    uint32_t                 new_addresses_len, new_addresses_cap;
    struct tw_address_row   *addresses; /**< differ */
    uint32_t                 addresses_len, addresses_cap;
    struct tw_token_row     *new_tokens;
    uint32_t                 new_tokens_len, new_tokens_cap;
    struct tw_token_row     *tokens; /**< differ */
    uint32_t                 tokens_len, tokens_cap;
    struct tw_uuid          *gone_addresses;
    uint32_t                 gone_addresses_len, gone_addresses_cap;
    struct tw_uuid          *gone_tokens;
    uint32_t                 gone_tokens_len, gone_tokens_cap;
    struct tw_uuid          *lost_defaults; /**< were the default and are still there; in `addresses`, too */
    uint32_t                 lost_defaults_len, lost_defaults_cap;

    struct tw_email_change_row    *new_changes; /**< of e-mail addresses */
    uint32_t                       new_changes_len, new_changes_cap;
    struct tw_email_change_row    *changes; /**< differ */
    uint32_t                       changes_len, changes_cap;
    struct tw_uuid                *gone_changes; /**< by member */
    uint32_t                       gone_changes_len, gone_changes_cap;
    const struct tw_member_claim **new_claims;
    uint32_t                       new_claims_len, new_claims_cap;
    const struct tw_member_claim **claims; /**< differ */
    uint32_t                       claims_len, claims_cap;
};

/** Adds the rows in which @p after differs from @p before (NULL: the member is new). */
void tw_member_rows_add(struct tw_member_rows *rows, const struct tw_member *before, const struct tw_member *after,
                        struct tw_arena *arena);
/** The same for a claim of an e-mail address. */
void tw_member_rows_add_claim(struct tw_member_rows *rows, const struct tw_member_claim *before,
                              const struct tw_member_claim *after, struct tw_arena *arena);
/** Sorts every array by its rows' primary key. */
void tw_member_rows_sort(struct tw_member_rows *rows);

#endif
