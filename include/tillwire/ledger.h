/**
 * The packed form of a ledger row, as Redis hashes, the in-memory store and dumps keep it: everything but the id, which
 * is what the row is found by. And the one rule about rows: how long they count.
 */
#ifndef TILLWIRE_LEDGER_H
#define TILLWIRE_LEDGER_H

#include "tillwire/store.h"

/** Appends the packed form. A text of the row may hold at most 64 KiB. */
void       tw_ledger_row_pack(const struct tw_ledger_row *row, struct tw_buf *out);
/** Total: any bytes give a row or INVALID. Texts are copied into @p arena; `id` stays as it was. */
enum tw_rc tw_ledger_row_unpack(struct tw_str bytes, struct tw_arena *arena, struct tw_ledger_row *ret_row,
                                struct tw_err *reterr);
/** Does the row still count when the partition's clock says @p clock_ms? Stores may drop it once it does not. */
bool       tw_ledger_row_counts(const struct tw_ledger_row *row, int64_t clock_ms);

#endif
