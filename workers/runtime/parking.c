#include "parking.h"

#include <inttypes.h>

#include "outbox.h"

bool tw_parking_is_open(const struct tw_turn *turn, const struct tw_item *item, int64_t first_offset)
{
    return tw_verdicts_is_open(turn->verdicts, first_offset, item->record->offset);
}

bool tw_parking_is_late(const struct tw_turn *turn, const struct tw_item *item)
{
    return item->envelope.requeue_of >= 0 && !tw_parking_is_open(turn, item, item->envelope.requeue_of);
}

/* The first offset of the dead letter that an attempt to decide this command belongs to: its own, unless it is a requeue. */
static int64_t first_offset(const struct tw_item *item)
{
    return item->envelope.requeue_of >= 0 ? item->envelope.requeue_of : item->record->offset;
}

int64_t tw_parking_waits_for(const struct tw_turn *turn, const struct tw_item *item)
{
    return item->kind == TW_ITEM_COMMAND
               ? tw_verdicts_parked_behind(turn->verdicts, item->cmd.key_id, first_offset(item), item->record->offset)
               : -1;
}

static int64_t header_int(const struct tw_record *record, const char *name, int64_t otherwise)
{
    int64_t value;

    return tw_str_to_int(tw_header_find(record, name), &value) && value >= 0 ? value : otherwise;
}

/* Also where it cannot be read: what becomes of its dead letter rests on which are open by then. */
bool tw_parking_is_word(const struct tw_item *item)
{
    if (item->kind == TW_ITEM_DEAD)
        return header_int(item->record, TW_H_REQUEUE_OF, -1) >= 0;
    return item->kind == TW_ITEM_DROP || (item->kind == TW_ITEM_COMMAND && item->envelope.requeue_of >= 0);
}

/* A requeued command names its original time; the row that gave it up does not make it a repeat. */
bool tw_parking_is_requeued(const struct tw_item *item, const struct tw_known_row *known)
{
    return item->envelope.original_ms >= 0 && known->row.outcome.status == TW_DEAD_LETTERED;
}

/* A requeued command is decided as of when it was first; nothing was ever later than now. */
int64_t tw_parking_time_of(const struct tw_turn *turn, const struct tw_item *item)
{
    int64_t original_ms = item->envelope.original_ms;

    return original_ms >= 0 && original_ms < turn->clock_ms ? original_ms : turn->clock_ms;
}

/* What a requeue came to whose id has its outcome from another record. One that was given up has none yet. */
const char *tw_parking_settled_by(const struct tw_item *item, const struct tw_ledger_row *row)
{
    if (row->outcome.status == TW_DEAD_LETTERED)
        return NULL;
    return tw_turn_is_same_request(item, row) ? TW_SETTLED_REPEATED : tw_status_name(TW_REJECTED);
}

/* Nothing is decided: the row says what became of the command, and without one there is nothing to say it of. */
void tw_parking_refuse(struct tw_turn *turn, struct tw_item *item, const struct tw_known_row *known, const char *why)
{
    struct tw_ledger_row row;

    if (known && tw_turn_row_counts(turn, known)) {
        tw_turn_answer_repeat(turn, item, &known->row);
        return;
    }
    row = tw_turn_make_row(turn, item, tw_rejected(TW_PROBLEM_NOT_FOUND, why));
    turn->counts.rejected++;
    tw_turn_emit_outcome(turn, item, item->envelope.command_id, &row, false);
}

/* Is it a dead letter with a place behind the older one, and stays one when nothing is said? A store that went back may have
 * taken this very requeue before: that settlement has to be taken back. */
static bool keeps_its_place(const struct tw_turn *turn, const struct tw_item *item)
{
    return tw_verdicts_is_parking(turn->verdicts, first_offset(item), item->record->offset) &&
           !tw_verdicts_is_settled_by(turn->verdicts, first_offset(item), item->record->offset);
}

/* Does the command wait for an older one of its key that is not settled? */
bool tw_parking_waits(struct tw_turn *turn, struct tw_item *item, const struct tw_known_row *known)
{
    if (item->waits_for < 0)
        return false;
    if (keeps_its_place(turn, item)) {
        tw_parking_refuse(turn, item, known, "an older dead letter of its key is still open");
    } else {
        item->kind = TW_ITEM_DEAD;
        item->reason = TW_DEAD_PARKED;
        item->message = tw_arena_printf(turn->arena, "waits for record %" PRId64 " of its key", item->waits_for);
        tw_turn_set_aside(turn, item);
    }
    return true;
}

void tw_parking_decide_drop(struct tw_turn *turn, struct tw_item *item)
{
    struct tw_known_row *known = tw_turn_row_of(turn, item);

    if (tw_turn_row_counts(turn, known)) {
        tw_turn_answer_repeat(turn, item, &known->row);
    } else if (tw_parking_is_open(turn, item, item->envelope.drop_of)) {
        item->settled_as = "dropped";
        tw_turn_count_and_remember(turn, item, (struct tw_outcome){.status = TW_SUCCEEDED, .http_status = 200});
    } else {
        tw_turn_count_and_remember(turn, item, tw_rejected(TW_PROBLEM_NOT_FOUND, "there is no such open dead letter"));
    }
}

/* By the headers alone: the envelope of a requeue may be what cannot be read. */
void tw_parking_pack_dead_letter(struct tw_turn *turn, const struct tw_item *item)
{
    const struct tw_record *record = item->record;
    int64_t                 of = header_int(record, TW_H_REQUEUE_OF, -1);
    bool                    again = of >= 0 && tw_parking_is_open(turn, item, of);
    struct tw_dead_entry    entry = {
           .reason = tw_dead_reason_code(item->reason),
           .message = item->message,
           .program = turn->config->program,
           .first_offset = again ? of : record->offset,
           .attempts = again ? header_int(record, TW_H_ATTEMPT, 2) : 1,
           .first_failed_ms = again ? header_int(record, TW_H_ORIGINAL_TIME, item->cmd.clock_ms) : item->cmd.clock_ms,
           .last_failed_ms = item->cmd.clock_ms,
    };

    tw_outbox_pack_dead_letter(&turn->outbox, record, &entry);
}
