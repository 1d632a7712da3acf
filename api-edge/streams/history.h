/**
 * The events an edge read last, in the order it read them, so that a stream can go on where an earlier one ended. Bounded
 * in bytes: the oldest go. Events that concern a member and those that concern nobody in particular (above all views) have
 * half of the room each, so that a busy catalogue does not take away what members come back for.
 *
 * Its owner locks it.
 */
#ifndef TILLWIRE_EDGE_HISTORY_H
#define TILLWIRE_EDGE_HISTORY_H

#include "streams/news.h"

struct tw_history;

/** @p places: how many partitions there are. */
struct tw_history *tw_history_new(size_t max_bytes, size_t places);
/** Accepts NULL. */
void               tw_history_free(struct tw_history *history);

/** Forgets everything; @p next: the offset that is read next, for each place. Numbers go on. */
void tw_history_begin(struct tw_history *history, const int64_t *next);
/** The record at @p offset was read and is not kept: a repeat, or of an unknown type. */
void tw_history_pass(struct tw_history *history, size_t place, int64_t offset);
/** Keeps @p news, which is the history's from now on, and gives it the next number. */
void tw_history_add(struct tw_history *history, struct tw_news *news);

/** The offset that is read next, for each place. */
const int64_t        *tw_history_next(const struct tw_history *history);
/** What the next kept event's number will be. */
int64_t               tw_history_end(const struct tw_history *history);
/** Is everything from @p from on still there, for a reader of members' events or of all? */
bool                  tw_history_reaches(const struct tw_history *history, const int64_t *from, bool all);
/** A number that all from @p from on have reached, near the first of them. @p from is one that the history reaches. */
int64_t               tw_history_start(struct tw_history *history, const int64_t *from, bool all);
/** The same by number: has none that is @p number or more been dropped? */
bool                  tw_history_has_from(const struct tw_history *history, int64_t number, bool all);
/** The first with this number or a higher one, NULL when there is none. @p all: also of those that are nobody's. */
const struct tw_news *tw_history_find(const struct tw_history *history, int64_t number, bool all);

#endif
