/**
 * What `twctl trace` shows: records of the three topics of a domain that speak of one command or one aggregate, in the order
 * of their causes. Pure: reads no topic and no clock.
 */
#ifndef TILLWIRE_TWCTL_TRACE_LINES_H
#define TILLWIRE_TWCTL_TRACE_LINES_H

#include "tillwire/gen/topics.h"
#include "tillwire/envelope.h"
#include "tillwire/json_type.h"

/** What an id is looked for as. */
enum tw_trace_subject { TW_TRACE_COMMAND, TW_TRACE_AGGREGATE };

struct tw_trace_line {
    const struct tw_topic *topic;
    struct tw_record       record;
    int64_t                cause;   /**< offset in the command topic; of a command its own; INT64_MAX: it names none */
    int64_t                n;       /**< of an event, among those of its cause */
    int64_t                repeats; /**< how often the same event came again */
};

/** Does this record speak of @p id? A command by its id, the events and the dead letter it caused by the one they name, an
 *  outcome also by the command it ends; an aggregate by the key. */
bool tw_trace_is_about(const struct tw_topic *topic, const struct tw_record *record, enum tw_trace_subject subject,
                       struct tw_uuid id);
/** Is it a drop, or a settlement, of a dead letter of that name? Neither says which command it is about. */
bool tw_trace_is_word_on(const struct tw_record *record, int64_t first_offset);
/** A line with copies of all that @p record points to, in @p arena. */
struct tw_trace_line tw_trace_line_of(const struct tw_topic *topic, const struct tw_record *record,
                                      struct tw_arena *arena);
/** By domain, partition, cause, and there the command, its events by `n`, its dead letter. Of events that came again only
 *  the first stays. Returns how many lines are left. */
size_t               tw_trace_sort(struct tw_trace_line *lines, size_t count);

/** What the record means: its body as a JSON object, or why there is none. Hashes are left out. */
void tw_trace_add_text(struct tw_buf *out, const struct tw_record *record, struct tw_arena *arena);
/** The same as a member `body`, or `not_decoded`, of an object. */
void tw_trace_add_content(struct tw_json *json, const struct tw_record *record, struct tw_arena *arena);

void tw_trace_add_table(const struct tw_trace_line *lines, size_t count, struct tw_buf *out);
/** An array of objects: topic, partition, offset, time, type, key; cause_offset and n of an event; body, or why there is
 *  none; dead_letter, requeue, drop, settlement. */
void tw_trace_add_json(const struct tw_trace_line *lines, size_t count, struct tw_buf *out);

#endif
