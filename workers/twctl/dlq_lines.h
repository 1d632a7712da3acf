/**
 * What `twctl dlq` prints of dead letters: tables for people, JSON for programs. Pure.
 */
#ifndef TILLWIRE_TWCTL_DLQ_LINES_H
#define TILLWIRE_TWCTL_DLQ_LINES_H

#include "dlq_choice.h"
#include "tillwire/json_out.h"

/** How many of them are shown below. */
size_t tw_dlq_count_shown(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all);
/** Groups by domain, reason, what is waited for, and whether they are open. Settled ones only when @p all. */
void   tw_dlq_add_groups(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all, bool json,
                         struct tw_buf *out);
/** One line or object each. */
void   tw_dlq_add_each(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool all, bool json,
                       struct tw_buf *out);
/** What became of those that were chosen or refused, of names that nobody has, too. @p dry: what would become of them. */
void   tw_dlq_add_fates(const struct tw_dlq_book *book, const struct tw_dlq_wish *wish, bool dry, bool json,
                        struct tw_buf *out);
/** Members of a JSON object: name, reason, key, … */
void   tw_dlq_add_letter(const struct tw_dlq_letter *letter, struct tw_json *json, struct tw_arena *arena);

/** "2026-11-27T10:00:00.000Z" */
const char *tw_dlq_time(int64_t time_ms, struct tw_arena *arena);
/** "open", or "succeeded by ana at 2026-… (offset 812): because" */
const char *tw_dlq_state(const struct tw_dlq_letter *letter, struct tw_arena *arena);

#endif
