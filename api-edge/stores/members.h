/**
 * Read-only: members, sessions and the member domain's ledger, from PostgreSQL.
 *
 * All calls: UNREACHED when PostgreSQL is away, NOT_FOUND when there is no such row. Texts are copied into the arena.
 */
#ifndef TILLWIRE_EDGE_MEMBERS_H
#define TILLWIRE_EDGE_MEMBERS_H

#include "tillwire/arena.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/store.h"

struct tw_members;

/** Connects later. INVALID: the URI cannot be read. */
enum tw_rc tw_members_open(const char *postgres_uri, size_t connections, struct tw_members **ret_members,
                           struct tw_err *reterr);
void       tw_members_free(struct tw_members *members);

/** Without addresses and tokens. */
enum tw_rc tw_members_by_id(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                            struct tw_member *ret_member, struct tw_err *reterr);
enum tw_rc tw_members_by_email(struct tw_members *members, struct tw_str folded_email, struct tw_arena *arena,
                               struct tw_member *ret_member, struct tw_err *reterr);

/** OK: the token's row is there, not revoked, and the member's. NOT_FOUND: anything else. */
enum tw_rc tw_members_token_counts(struct tw_members *members, struct tw_uuid token_id, struct tw_uuid member_id,
                                   struct tw_err *reterr);

enum tw_rc tw_members_ledger(struct tw_members *members, struct tw_uuid command_id, struct tw_arena *arena,
                             struct tw_ledger_row *ret_row, struct tw_err *reterr);

/** The check value of the id key and the folding version that the database is pinned to. INVALID when they differ from
 *  ours; NOT_FOUND when nothing is pinned yet. */
enum tw_rc tw_members_check_pins(struct tw_members *members, const char *id_key_check, struct tw_err *reterr);

#endif
