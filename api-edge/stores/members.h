/**
 * Read-only: members and the member domain's ledger, from PostgreSQL.
 *
 * All calls: UNREACHED when PostgreSQL is away, NOT_FOUND when there is no such row. Texts are copied into the arena.
 */
#ifndef TILLWIRE_EDGE_MEMBERS_H
#define TILLWIRE_EDGE_MEMBERS_H

#include "tillwire/arena.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/store.h"

struct tw_members;
struct tw_pg_pool;

/** The pool stays the caller's and outlives the members. */
struct tw_members *tw_members_new(struct tw_pg_pool *pool);
void               tw_members_free(struct tw_members *members);

/** Without addresses and tokens. */
enum tw_rc tw_members_by_id(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                            struct tw_member *ret_member, struct tw_err *reterr);
enum tw_rc tw_members_by_email(struct tw_members *members, struct tw_str folded_email, struct tw_arena *arena,
                               struct tw_member *ret_member, struct tw_err *reterr);

struct tw_member_filter {
    const char   *status;       /**< "ACTIVE"; NULL: any */
    struct tw_str folded_email; /**< ptr NULL: any */
};
/** A member's place in the list: by time of registration, then id. */
struct tw_member_place {
    int64_t        created_at_ms;
    struct tw_uuid member_id;
};
/** Up to @p limit members behind @p after (NULL: from the first), without addresses and tokens. */
enum tw_rc tw_members_list(struct tw_members *members, const struct tw_member_filter *filter,
                           const struct tw_member_place *after, size_t limit, struct tw_arena *arena,
                           struct tw_member **ret_list, size_t *ret_count, struct tw_err *reterr);

/** Fills id, version and addresses (oldest first) of @p ret_member, nothing else. */
enum tw_rc tw_members_addresses(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                                struct tw_member *ret_member, struct tw_err *reterr);

/** The first offset of a partition of member.commands whose effect cannot be read yet; 0: nothing was folded. */
enum tw_rc tw_members_watermark(struct tw_members *members, int32_t partition, int64_t *ret_next_offset,
                                struct tw_err *reterr);

enum tw_rc tw_members_ledger(struct tw_members *members, struct tw_uuid command_id, struct tw_arena *arena,
                             struct tw_ledger_row *ret_row, struct tw_err *reterr);

/** The check value of the id key and the folding version that the database is pinned to. INVALID when they differ from
 *  ours; NOT_FOUND when nothing is pinned yet. */
enum tw_rc tw_members_check_pins(struct tw_members *members, const char *id_key_check, struct tw_err *reterr);

#endif
