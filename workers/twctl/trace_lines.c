#include "trace_lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tillwire/clock.h"
#include "tillwire/dead_letter.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/outcome.h"

/* --- what a record says of itself --------------------------------------------------------------------------------- */

static bool header_is_id(const struct tw_record *record, const char *name, struct tw_uuid id)
{
    struct tw_uuid found;

    return tw_uuid_parse(tw_header_find(record, name), &found) && tw_uuid_eq(found, id);
}

static int64_t header_number(const struct tw_record *record, const char *name, int64_t otherwise)
{
    int64_t number;

    return tw_str_to_int(tw_header_find(record, name), &number) && number >= 0 ? number : otherwise;
}

static bool is_outcome(const struct tw_record *record)
{
    return tw_str_is(tw_header_find(record, TW_H_TYPE), tw_command_outcome_type.ce_type);
}

/* The last step of a saga ends its first: the outcome stands at the last and names the first. */
static bool ends_command(const struct tw_record *record, struct tw_uuid id)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_command_outcome              outcome;

    return is_outcome(record) && tw_command_outcome_type.unpack(record->value, &arena, &outcome, NULL) == TW_OK &&
           tw_uuid_eq(outcome.command_id, id);
}

bool tw_trace_is_about(const struct tw_topic *topic, const struct tw_record *record, enum tw_trace_subject subject,
                       struct tw_uuid id)
{
    struct tw_uuid key;

    if (subject == TW_TRACE_AGGREGATE)
        return tw_uuid_parse(record->key, &key) && tw_uuid_eq(key, id);
    if (topic->kind == TW_TOPIC_EVENTS)
        return header_is_id(record, TW_H_COMMAND_ID, id) || ends_command(record, id);
    return header_is_id(record, TW_H_ID, id);
}

static bool is_drop(const struct tw_record *record)
{
    return tw_str_is(tw_header_find(record, TW_H_TYPE), TW_DROP_TYPE);
}

static bool is_settlement(const struct tw_topic *topic, const struct tw_record *record)
{
    struct tw_dead_letter said;

    return topic->kind == TW_TOPIC_DLQ && tw_dead_letter_read(record, &said) && said.is_settlement;
}

bool tw_trace_is_word_on(const struct tw_record *record, int64_t first_offset)
{
    struct tw_dead_letter said;

    if (is_drop(record))
        return header_number(record, TW_H_DROP_OF, -1) == first_offset;
    return tw_dead_letter_read(record, &said) && said.is_settlement && said.first_offset == first_offset;
}

static int64_t cause_of(const struct tw_topic *topic, const struct tw_record *record)
{
    struct tw_dead_letter said;

    switch (topic->kind) {
    case TW_TOPIC_COMMANDS:
        return record->offset;
    case TW_TOPIC_EVENTS:
        return header_number(record, TW_H_CAUSE_OFFSET, INT64_MAX);
    case TW_TOPIC_DLQ:
        break;
    }
    return tw_dead_letter_read(record, &said) ? said.offset : INT64_MAX;
}

struct tw_trace_line tw_trace_line_of(const struct tw_topic *topic, const struct tw_record *record,
                                      struct tw_arena *arena)
{
    return (struct tw_trace_line){
        .topic = topic,
        .record = tw_record_copy(record, record->header_count, arena),
        .cause = cause_of(topic, record),
        .n = topic->kind == TW_TOPIC_EVENTS ? header_number(record, TW_H_N, 0) : 0,
    };
}

/* --- their order -------------------------------------------------------------------------------------------------- */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* The kinds of enum tw_topic_kind are in the order of what happens. */
static int compare_lines(const void *left, const void *right)
{
    const struct tw_trace_line *a = left, *b = right;
    const int                   steps[] = {
                          compare_numbers(a->topic->domain, b->topic->domain),
                          compare_numbers(a->record.partition, b->record.partition),
                          compare_numbers(a->cause, b->cause),
                          compare_numbers(a->topic->kind, b->topic->kind),
                          compare_numbers(a->n, b->n),
                          compare_numbers(a->record.offset, b->record.offset),
    };

    for (size_t i = 0; i < TW_LEN(steps); i++)
        if (steps[i])
            return steps[i];
    return 0;
}

static bool is_again(const struct tw_trace_line *line, const struct tw_trace_line *first)
{
    return line->topic == first->topic && line->topic->kind == TW_TOPIC_EVENTS &&
           line->record.partition == first->record.partition && line->cause == first->cause &&
           line->cause != INT64_MAX && line->n == first->n;
}

size_t tw_trace_sort(struct tw_trace_line *lines, size_t count)
{
    size_t left = 0;

    if (count > 0)
        qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < count; i++) {
        if (left > 0 && is_again(&lines[i], &lines[left - 1]))
            lines[left - 1].repeats++;
        else
            lines[left++] = lines[i];
    }
    return left;
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static const struct {
    const struct tw_type *const *types;
    const size_t                *count;
} families[] = {
    {tw_member_commands, &tw_member_command_count},   {tw_member_events, &tw_member_event_count},
    {tw_product_commands, &tw_product_command_count}, {tw_product_events, &tw_product_event_count},
    {tw_cart_commands, &tw_cart_command_count},       {tw_cart_events, &tw_cart_event_count},
    {tw_shared_events, &tw_shared_event_count},
};

static const struct tw_type *find_type(struct tw_str ce_type)
{
    for (size_t i = 0; i < TW_LEN(families); i++)
        for (size_t j = 0; j < *families[i].count; j++)
            if (tw_str_is(ce_type, families[i].types[j]->ce_type))
                return families[i].types[j];
    return NULL;
}

static bool is_shown(const struct tw_field *field)
{
    return !tw_field_is_secret(field);
}

/* The body as a JSON object; false with a clause when it cannot be read. Bytes that cannot be read are never shown: they
 * may hold anything. */
static bool add_body(const struct tw_record *record, struct tw_json *json, struct tw_arena *arena,
                     struct tw_str *ret_why_not)
{
    const struct tw_type *type = find_type(tw_header_find(record, TW_H_TYPE));
    struct tw_err         err = {0};
    void                 *body;

    if (!type) {
        *ret_why_not = tw_arena_printf(arena, "%zu bytes of a type that this program does not know", record->value.len);
        return false;
    }
    body = tw_arena_alloc(arena, type->size);
    if (type->unpack(record->value, arena, body, &err) != TW_OK) {
        *ret_why_not = tw_arena_printf(arena, "%zu bytes that cannot be decoded: %s", record->value.len, err.msg);
        return false;
    }
    tw_json_struct_where(json, type->layout, body, is_shown);
    return true;
}

/* Text from outside, which may be anything. */
static struct tw_str shown(struct tw_str text, struct tw_arena *arena)
{
    return tw_str_is_utf8(text) ? text : tw_arena_printf(arena, "(%zu bytes)", text.len);
}

static struct tw_str shown_header(const struct tw_record *record, const char *name, struct tw_arena *arena)
{
    return shown(tw_header_find(record, name), arena);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum { TIME, TOPIC, PARTITION, OFFSET, CAUSE, TYPE, KEY, SAYS, COLUMNS };

static const char *text_of(struct tw_str text, struct tw_arena *arena)
{
    return tw_arena_copy(arena, text).ptr;
}

/* "rejected 422 line-quantity-limit: the line would hold 1000 pieces" */
static bool add_outcome(const struct tw_record *record, struct tw_buf *out, struct tw_arena *arena)
{
    struct tw_command_outcome outcome;
    char                      id[TW_UUID_TEXT + 1];

    if (tw_command_outcome_type.unpack(record->value, arena, &outcome, NULL) != TW_OK)
        return false;
    tw_uuid_format(outcome.command_id, id);
    tw_buf_printf(out, "%s %d", tw_status_name((enum tw_status)outcome.status), (int)outcome.http_status);
    if (outcome.has_problem_code)
        tw_buf_printf(out, " %.*s", TW_STR_ARG(outcome.problem_code));
    if (outcome.has_detail)
        tw_buf_printf(out, ": %.*s", TW_STR_ARG(outcome.detail));
    if (outcome.has_resource)
        tw_buf_printf(out, ", %.*s", TW_STR_ARG(outcome.resource));
    tw_buf_printf(out, "%s, command %s", outcome.repeated ? " (a repeat)" : "", id);
    return true;
}

static void add_body_or_why_not(const struct tw_record *record, struct tw_buf *out, struct tw_arena *arena)
{
    struct tw_json json = {out, false};
    struct tw_str  why_not;

    if (!add_body(record, &json, arena, &why_not))
        tw_buf_add_str(out, why_not);
}

void tw_trace_add_text(struct tw_buf *out, const struct tw_record *record, struct tw_arena *arena)
{
    if (!is_outcome(record) || !add_outcome(record, out, arena))
        add_body_or_why_not(record, out, arena);
}

/* "cart/3/17": the dead letter that a requeue, a drop or a settlement is about. */
static struct tw_str letter_name(const struct tw_trace_line *line, const char *header, struct tw_arena *arena)
{
    const char *topic = line->topic->name;

    return tw_arena_printf(arena, "%.*s/%" PRId32 "/%.*s", (int)strcspn(topic, "."), topic, line->record.partition,
                           TW_STR_ARG(shown_header(&line->record, header, arena)));
}

/* ", by ana: the disk was full" */
static void add_operator(const struct tw_record *record, struct tw_buf *out, struct tw_arena *arena)
{
    struct tw_str because = shown_header(record, TW_H_BECAUSE, arena);

    tw_buf_printf(out, ", by %.*s%s%.*s", TW_STR_ARG(shown_header(record, TW_H_OPERATOR, arena)),
                  because.len ? ": " : "", TW_STR_ARG(because));
}

/* Of what an operator wrote, or the worker about it; true when that is all the line has to say. */
static bool add_word(const struct tw_trace_line *line, struct tw_buf *out, struct tw_arena *arena)
{
    const struct tw_record *record = &line->record;
    bool                    is_command = line->topic->kind == TW_TOPIC_COMMANDS;

    if (is_settlement(line->topic, record)) {
        tw_buf_printf(out, "settles %.*s: %.*s", TW_STR_ARG(letter_name(line, TW_H_DLQ_SETTLES, arena)),
                      TW_STR_ARG(shown_header(record, TW_H_DLQ_SETTLED_AS, arena)));
    } else if (is_command && is_drop(record)) {
        tw_buf_printf(out, "drop of %.*s", TW_STR_ARG(letter_name(line, TW_H_DROP_OF, arena)));
    } else if (is_command && tw_header_find(record, TW_H_REQUEUE_OF).len) {
        tw_buf_printf(out, "requeue of %.*s, attempt %.*s", TW_STR_ARG(letter_name(line, TW_H_REQUEUE_OF, arena)),
                      TW_STR_ARG(shown_header(record, TW_H_ATTEMPT, arena)));
        add_operator(record, out, arena);
        tw_buf_printf(out, "; ");
        return false;
    } else {
        return false;
    }
    add_operator(record, out, arena);
    return true;
}

static void add_given_up(const struct tw_record *record, struct tw_buf *out, struct tw_arena *arena)
{
    int64_t attempt = header_number(record, TW_H_DLQ_ATTEMPTS, 1);

    tw_buf_printf(out, "given up, ");
    if (attempt > 1)
        tw_buf_printf(out, "attempt %" PRId64 ", ", attempt);
    tw_buf_printf(out, "%.*s: %.*s; ", TW_STR_ARG(shown_header(record, TW_H_DLQ_REASON, arena)),
                  TW_STR_ARG(shown_header(record, TW_H_DLQ_MESSAGE, arena)));
}

/* What the line says; NUL-terminated. */
static const char *says(const struct tw_trace_line *line, struct tw_arena *arena)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {0};
    const struct tw_record            *record = &line->record;

    if (add_word(line, &out, arena))
        return text_of(tw_buf_str(&out), arena);
    if (line->topic->kind == TW_TOPIC_DLQ)
        add_given_up(record, &out, arena);
    tw_trace_add_text(&out, record, arena);
    if (line->repeats)
        tw_buf_printf(&out, " (came %" PRId64 " times)", line->repeats + 1);
    return text_of(tw_buf_str(&out), arena);
}

static const char *cause_text(const struct tw_trace_line *line, struct tw_arena *arena)
{
    if (line->topic->kind == TW_TOPIC_COMMANDS)
        return "";
    if (line->cause == INT64_MAX)
        return "?";
    if (line->topic->kind == TW_TOPIC_DLQ)
        return tw_arena_printf(arena, "%" PRId64, line->cause).ptr;
    return tw_arena_printf(arena, "%" PRId64 "/%" PRId64, line->cause, line->n).ptr;
}

static void fill_row(const struct tw_trace_line *line, const char *cells[COLUMNS], struct tw_arena *arena)
{
    char time[TW_TIME_TEXT + 1];

    tw_time_format(line->record.timestamp_ms, time);
    cells[TIME] = text_of(tw_str_of(time), arena);
    cells[TOPIC] = line->topic->name;
    cells[PARTITION] = tw_arena_printf(arena, "%" PRId32, line->record.partition).ptr;
    cells[OFFSET] = tw_arena_printf(arena, "%" PRId64, line->record.offset).ptr;
    cells[CAUSE] = cause_text(line, arena);
    cells[TYPE] = text_of(shown_header(&line->record, TW_H_TYPE, arena), arena);
    cells[KEY] = text_of(shown(line->record.key, arena), arena);
    cells[SAYS] = says(line, arena);
}

void tw_trace_add_table(const struct tw_trace_line *lines, size_t count, struct tw_buf *out)
{
    static const char *const heading[COLUMNS] = {"TIME", "TOPIC", "P", "OFFSET", "CAUSE", "TYPE", "KEY", "SAYS"};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    const char                           **cells = TW_NEW_ARRAY(&arena, (count + 1) * COLUMNS, const char *);

    memcpy(cells, heading, sizeof(heading));
    for (size_t i = 0; i < count; i++)
        fill_row(&lines[i], cells + (i + 1) * COLUMNS, &arena);
    tw_ctl_table_add(out, cells, count + 1, COLUMNS);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void add_member(struct tw_json *json, const char *name, struct tw_str text)
{
    tw_json_key(json, name);
    tw_json_text(json, text);
}

static void add_number(struct tw_json *json, const char *name, int64_t number)
{
    tw_json_key(json, name);
    tw_json_int(json, number);
}

static void add_place(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    add_member(json, "topic", tw_str_of(line->topic->name));
    add_number(json, "partition", line->record.partition);
    add_number(json, "offset", line->record.offset);
    tw_json_key(json, "time");
    tw_json_time(json, line->record.timestamp_ms);
    add_member(json, "type", shown_header(&line->record, TW_H_TYPE, arena));
    add_member(json, "id", shown_header(&line->record, TW_H_ID, arena));
    add_member(json, "key", shown(line->record.key, arena));
}

static void add_cause(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    if (line->topic->kind == TW_TOPIC_COMMANDS || line->cause == INT64_MAX)
        return;
    add_number(json, "cause_offset", line->cause);
    if (line->topic->kind == TW_TOPIC_DLQ)
        return;
    add_number(json, "n", line->n);
    add_member(json, "command_id", shown_header(&line->record, TW_H_COMMAND_ID, arena));
    if (line->repeats)
        add_number(json, "repeats", line->repeats);
}

static void add_operator_members(struct tw_json *json, const struct tw_record *record, struct tw_arena *arena)
{
    add_member(json, "operator", shown_header(record, TW_H_OPERATOR, arena));
    add_member(json, "because", shown_header(record, TW_H_BECAUSE, arena));
}

static void add_settlement(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    tw_json_key(json, "settlement");
    tw_json_open(json, '{');
    add_member(json, "of", letter_name(line, TW_H_DLQ_SETTLES, arena));
    add_member(json, "as", shown_header(&line->record, TW_H_DLQ_SETTLED_AS, arena));
    add_operator_members(json, &line->record, arena);
    tw_json_close(json, '}');
}

static void add_requeue(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    tw_json_key(json, "requeue");
    tw_json_open(json, '{');
    add_member(json, "of", letter_name(line, TW_H_REQUEUE_OF, arena));
    add_number(json, "attempt", header_number(&line->record, TW_H_ATTEMPT, 2));
    add_operator_members(json, &line->record, arena);
    tw_json_close(json, '}');
}

static void add_drop(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    tw_json_key(json, "drop");
    tw_json_open(json, '{');
    add_member(json, "of", letter_name(line, TW_H_DROP_OF, arena));
    add_operator_members(json, &line->record, arena);
    tw_json_close(json, '}');
}

static void add_dead_letter(struct tw_json *json, const struct tw_record *record, struct tw_arena *arena)
{
    tw_json_key(json, "dead_letter");
    tw_json_open(json, '{');
    add_member(json, "reason", shown_header(record, TW_H_DLQ_REASON, arena));
    add_member(json, "message", shown_header(record, TW_H_DLQ_MESSAGE, arena));
    add_member(json, "program", shown_header(record, TW_H_DLQ_PROGRAM, arena));
    if (header_number(record, TW_H_DLQ_ATTEMPTS, 1) > 1)
        add_number(json, "attempt", header_number(record, TW_H_DLQ_ATTEMPTS, 1));
    tw_json_close(json, '}');
}

void tw_trace_add_content(struct tw_json *json, const struct tw_record *record, struct tw_arena *arena)
{
    TW_AUTO(tw_buf_done) struct tw_buf body = {0};
    struct tw_json                     inner = {&body, false};
    struct tw_str                      why_not;

    if (!add_body(record, &inner, arena, &why_not)) {
        add_member(json, "not_decoded", why_not);
        return;
    }
    tw_json_key(json, "body");
    tw_buf_add_str(json->out, tw_buf_str(&body));
    json->comma = true;
}

/* What an operator wrote, or the worker about it or a record, and the body where there is one. */
static void add_meaning(struct tw_json *json, const struct tw_trace_line *line, struct tw_arena *arena)
{
    bool is_command = line->topic->kind == TW_TOPIC_COMMANDS;

    if (is_settlement(line->topic, &line->record)) {
        add_settlement(json, line, arena);
        return;
    }
    if (is_command && is_drop(&line->record)) {
        add_drop(json, line, arena);
        return;
    }
    if (is_command && tw_header_find(&line->record, TW_H_REQUEUE_OF).len)
        add_requeue(json, line, arena);
    if (line->topic->kind == TW_TOPIC_DLQ)
        add_dead_letter(json, &line->record, arena);
    tw_trace_add_content(json, &line->record, arena);
}

void tw_trace_add_json(const struct tw_trace_line *lines, size_t count, struct tw_buf *out)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_json                         json = {out, false};

    tw_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        tw_json_open(&json, '{');
        add_place(&json, &lines[i], &arena);
        add_cause(&json, &lines[i], &arena);
        add_meaning(&json, &lines[i], &arena);
        tw_json_close(&json, '}');
        tw_arena_reset(&arena);
    }
    tw_json_close(&json, ']');
    tw_buf_add(out, "\n", 1);
}
