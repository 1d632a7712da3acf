/**
 * One record of a turn and what becomes of it: what turn.c and parking.c share. Nobody else includes it.
 *
 * Threads: as the turn's.
 */
#ifndef TILLWIRE_RUNTIME_TURN_ITEM_H
#define TILLWIRE_RUNTIME_TURN_ITEM_H

#include "tillwire/dead_letter.h"
#include "turn.h"

enum tw_item_kind { TW_ITEM_COMMAND, TW_ITEM_DROP, TW_ITEM_DEAD, TW_ITEM_PASSED_OVER };

struct tw_item {
    const struct tw_record *record;
    enum tw_item_kind       kind;
    bool                    readable; /* the envelope is: there is a command id to answer for */
    struct tw_envelope      envelope;
    struct tw_command       cmd;
    uint32_t                entities[TW_KEYS_MAX]; /* positions in turn->entities */
    size_t                  entity_count;
    enum tw_dead_reason     reason;
    struct tw_str           message;
    int64_t                 waits_for;  /* first offset of an older open dead letter of its key; -1: none */
    const char             *settled_as; /* the requeue or drop ends its dead letter; NULL: it does not */
    int32_t                 event_count;
};

/* A ledger row of the store, or one decided in this batch. */
struct tw_known_row {
    struct tw_ledger_row row;
    bool                 present; /* false: looked for and not there */
    bool                 stored;  /* the store has one with this id */
    bool                 fresh;   /* commit writes it */
};

/* --- what becomes of an item (turn.c) ----------------------------------------------------------------------------- */

/** NULL: its command has none, and will have none. */
struct tw_known_row *tw_turn_row_of(struct tw_turn *turn, const struct tw_item *item);
/** Is it there, and young enough to make the same id a repeat? */
bool                 tw_turn_row_counts(const struct tw_turn *turn, const struct tw_known_row *known);
struct tw_ledger_row tw_turn_make_row(const struct tw_turn *turn, const struct tw_item *item,
                                      struct tw_outcome outcome);
/** Of the command @p command_id, whose row is @p row; the cause is it, or what ended it. */
void                 tw_turn_emit_outcome(struct tw_turn *turn, struct tw_item *cause, struct tw_uuid command_id,
                                          const struct tw_ledger_row *row, bool repeated);
bool                 tw_turn_is_same_request(const struct tw_item *item, const struct tw_ledger_row *row);
void                 tw_turn_answer_repeat(struct tw_turn *turn, struct tw_item *item, const struct tw_ledger_row *row);
void                 tw_turn_set_aside(struct tw_turn *turn, struct tw_item *item);
void                 tw_turn_count_and_remember(struct tw_turn *turn, struct tw_item *item, struct tw_outcome outcome);

#endif
