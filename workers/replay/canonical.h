/**
 * The canonical form of what a store holds: one line a record, the same bytes on every machine, whatever the store. Pure.
 *
 *     member 3e7c2b7a-… {"member_id":"3e7c2b7a-…","email":"ana@example.com",…}
 *     product_rating 0192f5c0-…/3e7c2b7a-… {…}
 *     command 0192f5c0-… 3 {"caller":…,"type":"cart.add_item","status":"succeeded",…}
 *
 * Fields stand in the order of schemas/state; money is a decimal string, times are RFC 3339 in UTC with milliseconds,
 * expiry is an absolute time. What has ended by the partition's clock is left out: carts, tokens, remembered commands.
 */
#ifndef TILLWIRE_REPLAY_CANONICAL_H
#define TILLWIRE_REPLAY_CANONICAL_H

#include "tillwire/domain.h"

/** @p state without what has ended by @p clock_ms, perhaps itself; NULL: all of it has. Copies go to @p arena. */
const void *tw_canonical_live(const struct tw_type *type, const void *state, int64_t clock_ms, struct tw_arena *arena);

/** Appends the line, without its end, of an entity that is live. */
void tw_canonical_entity(const struct tw_type *type, const struct tw_key *key, const void *state, struct tw_buf *out);
/** Likewise of a remembered command that still counts. */
void tw_canonical_row(int32_t partition, const struct tw_ledger_row *row, struct tw_buf *out);

/** "member 3e7c2b7a-…": what both lines of a comparison begin with. */
void tw_canonical_name(const struct tw_type *type, const struct tw_key *key, struct tw_buf *out);

/** Appends the first field in which two states differ, and both values: `addresses[1].city is "Bonn", the log says
 *  "Bern"`. False: they do not differ. @p other: "the log says". */
bool tw_canonical_difference(const struct tw_type *type, const void *stored, const void *wanted, const char *other,
                             struct tw_buf *out);
bool tw_canonical_row_difference(const struct tw_ledger_row *stored, const struct tw_ledger_row *wanted,
                                 const char *other, struct tw_buf *out);

#endif
