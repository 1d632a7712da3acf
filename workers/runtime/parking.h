/**
 * What open dead letters mean for the records of a turn: commands that wait behind one of their key, and an operator's two
 * words that end it. A requeue is the same command once more, decided as of its first time; a drop decides nothing. Which
 * dead letters are open is known from the verdicts (verdicts.h); what a command means is turn.c's.
 *
 *     a requeue     open, and nothing older of its key: decided, and its outcome settles the dead letter
 *                   open, and its id has its outcome from another record: that settles it
 *                   else it is refused, or a dead letter once more
 *     a drop        open: settled as "dropped"; else refused
 *     a command     an older dead letter of its key is open: a dead letter, too, "parked"
 */
#ifndef TILLWIRE_RUNTIME_PARKING_H
#define TILLWIRE_RUNTIME_PARKING_H

#include "turn_item.h"

/** Is it a requeue or a drop? Those stand alone in their turn. */
bool        tw_parking_is_word(const struct tw_item *item);
/** First offset of the older open dead letter that the item waits for; -1: none. */
int64_t     tw_parking_waits_for(const struct tw_turn *turn, const struct tw_item *item);
bool        tw_parking_is_open(const struct tw_turn *turn, const struct tw_item *item, int64_t first_offset);
/** Is it a requeue of a dead letter that is not open, any more or at all? It changes nothing. */
bool        tw_parking_is_late(const struct tw_turn *turn, const struct tw_item *item);
bool        tw_parking_is_requeued(const struct tw_item *item, const struct tw_known_row *known);
/** At which time it is decided; by the partition's clock. */
int64_t     tw_parking_time_of(const struct tw_turn *turn, const struct tw_item *item);
/** For tw_item.settled_as; NULL: it is not settled. */
const char *tw_parking_settled_by(const struct tw_item *item, const struct tw_ledger_row *row);
void tw_parking_refuse(struct tw_turn *turn, struct tw_item *item, const struct tw_known_row *known, const char *why);
/** Does it wait? Then it was refused or set aside. */
bool tw_parking_waits(struct tw_turn *turn, struct tw_item *item, const struct tw_known_row *known);
void tw_parking_decide_drop(struct tw_turn *turn, struct tw_item *item);
/** Into the turn's outbox. */
void tw_parking_pack_dead_letter(struct tw_turn *turn, const struct tw_item *item);

#endif
