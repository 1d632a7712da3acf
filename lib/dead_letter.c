#include "tillwire/dead_letter.h"

#include <inttypes.h>

static const struct {
    const char *code;
    bool        parks;
} reasons[] = {
#define X(name, code, parks) {code, parks},
    TW_DEAD_MAP(X)
#undef X
};

const char *tw_dead_reason_code(enum tw_dead_reason reason)
{
    return reasons[reason].code;
}

/* A reason of a newer program parks nothing: who does not know it must not make others wait. */
static bool parks(struct tw_str code)
{
    for (size_t i = 0; i < TW_LEN(reasons); i++)
        if (tw_str_is(code, reasons[i].code))
            return reasons[i].parks;
    return false;
}

static bool find_int(const struct tw_record *record, const char *name, int64_t *ret_value)
{
    return tw_str_to_int(tw_header_find(record, name), ret_value) && *ret_value >= 0;
}

static bool read_settlement(const struct tw_record *record, struct tw_dead_letter *letter)
{
    letter->is_settlement = true;
    letter->settled_as = tw_header_find(record, TW_H_DLQ_SETTLED_AS);
    letter->asked_by = tw_header_find(record, TW_H_OPERATOR);
    letter->because = tw_header_find(record, TW_H_BECAUSE);
    return find_int(record, TW_H_DLQ_SETTLES, &letter->first_offset) &&
           find_int(record, TW_H_DLQ_SETTLED_BY, &letter->offset) &&
           find_int(record, TW_H_DLQ_SETTLED_AT, &letter->settled_at_ms);
}

static int64_t int_or(const struct tw_record *record, const char *name, int64_t otherwise)
{
    int64_t value;

    return find_int(record, name, &value) ? value : otherwise;
}

/* The offset alone is a verdict; what else is missing was not written yet by the program that gave it. */
static void read_letter(const struct tw_record *record, struct tw_dead_letter *letter)
{
    letter->reason = tw_header_find(record, TW_H_DLQ_REASON);
    letter->message = tw_header_find(record, TW_H_DLQ_MESSAGE);
    letter->program = tw_header_find(record, TW_H_DLQ_PROGRAM);
    letter->parks = parks(letter->reason);
    letter->timestamp_ms = int_or(record, TW_H_DLQ_TIMESTAMP, record->timestamp_ms);
    letter->first_offset = int_or(record, TW_H_DLQ_FIRST_OFFSET, letter->offset);
    letter->attempts = int_or(record, TW_H_DLQ_ATTEMPTS, 1);
    letter->first_failed_ms = int_or(record, TW_H_DLQ_FIRST_FAILED, letter->timestamp_ms);
    letter->last_failed_ms = int_or(record, TW_H_DLQ_LAST_FAILED, letter->first_failed_ms);
}

/* A worker's words stand last, and every dead letter has an offset among them: whatever its record said before. */
bool tw_dead_letter_read(const struct tw_record *record, struct tw_dead_letter *ret_letter)
{
    *ret_letter = (struct tw_dead_letter){0};
    if (!find_int(record, TW_H_DLQ_OFFSET, &ret_letter->offset))
        return read_settlement(record, ret_letter);
    read_letter(record, ret_letter);
    return true;
}

/* --- a worker's words --------------------------------------------------------------------------------------------- */

/* As workers/runtime/outbox.c writes them. */
static const char *const worker_headers[TW_DEAD_LETTER_HEADERS] = {
    TW_H_DLQ_TOPIC,    TW_H_DLQ_PARTITION,    TW_H_DLQ_OFFSET,      TW_H_DLQ_TIMESTAMP,
    TW_H_DLQ_REASON,   TW_H_DLQ_MESSAGE,      TW_H_DLQ_PROGRAM,     TW_H_DLQ_FIRST_OFFSET,
    TW_H_DLQ_ATTEMPTS, TW_H_DLQ_FIRST_FAILED, TW_H_DLQ_LAST_FAILED,
};

static enum tw_rc refuse_header(struct tw_str name, const char *wanted, struct tw_err *reterr)
{
    if (!tw_str_is_utf8(name) || name.len > 40)
        return tw_fail(reterr, TW_REFUSED, "dead_letter", 0,
                       "a header with a name of %zu bytes stands where the worker's '%s' belongs", name.len, wanted);
    return tw_fail(reterr, TW_REFUSED, "dead_letter", 0, "header '%.*s' stands where the worker's '%s' belongs",
                   TW_STR_ARG(name), wanted);
}

/* By name and place: a record may have had headers of these names before it was given up. */
enum tw_rc tw_dead_letter_own_headers(const struct tw_record *dead_letter, size_t *ret_count, struct tw_err *reterr)
{
    size_t own;

    if (dead_letter->header_count < TW_DEAD_LETTER_HEADERS)
        return tw_fail(reterr, TW_REFUSED, "dead_letter", 0, "it has %zu headers, and a worker adds %d to a record's",
                       dead_letter->header_count, TW_DEAD_LETTER_HEADERS);
    own = dead_letter->header_count - TW_DEAD_LETTER_HEADERS;
    for (size_t i = 0; i < TW_DEAD_LETTER_HEADERS; i++)
        if (!tw_str_is(dead_letter->headers[own + i].name, worker_headers[i]))
            return refuse_header(dead_letter->headers[own + i].name, worker_headers[i], reterr);
    *ret_count = own;
    return TW_OK;
}

/* --- an operator's words ------------------------------------------------------------------------------------------ */

static const char *const requeue_headers[] = {TW_H_REQUEUE_OF, TW_H_ATTEMPT, TW_H_ORIGINAL_TIME, TW_H_OPERATOR,
                                              TW_H_BECAUSE};

static bool is_of_requeue(struct tw_str name)
{
    for (size_t i = 0; i < TW_LEN(requeue_headers); i++)
        if (tw_str_is(name, requeue_headers[i]))
            return true;
    return false;
}

struct header_list {
    struct tw_header *headers;
    size_t            count;
};

static void add(struct header_list *list, const char *name, struct tw_str value)
{
    list->headers[list->count++] = (struct tw_header){tw_str_of(name), value};
}

static struct tw_str int_text(struct tw_arena *arena, int64_t value)
{
    return tw_arena_printf(arena, "%" PRId64, value);
}

static void add_word(struct header_list *list, const struct tw_operator_word *word)
{
    add(list, TW_H_OPERATOR, word->asked_by);
    if (word->because.len)
        add(list, TW_H_BECAUSE, word->because);
}

/* In front, because nobody looks behind TW_HEADERS_MAX. The last of a name counts, so those of an attempt before, and a
 * stranger's, go. */
enum tw_rc tw_requeue_record(const struct tw_record *dead_letter, const struct tw_dead_letter *letter,
                             const struct tw_operator_word *word, struct tw_arena *arena, struct tw_record *ret_record,
                             struct tw_err *reterr)
{
    struct header_list list = {0};
    size_t             own;

    TW_TRY(tw_dead_letter_own_headers(dead_letter, &own, reterr));
    list.headers = TW_NEW_ARRAY(arena, TW_LEN(requeue_headers) + own, struct tw_header);
    add(&list, TW_H_REQUEUE_OF, int_text(arena, letter->first_offset));
    add(&list, TW_H_ATTEMPT, int_text(arena, letter->attempts + 1));
    add(&list, TW_H_ORIGINAL_TIME, int_text(arena, letter->first_failed_ms));
    add_word(&list, word);
    for (size_t i = 0; i < own; i++)
        if (!is_of_requeue(dead_letter->headers[i].name))
            list.headers[list.count++] = dead_letter->headers[i];
    *ret_record = (struct tw_record){.partition = dead_letter->partition,
                                     .offset = -1,
                                     .key = dead_letter->key,
                                     .value = dead_letter->value,
                                     .headers = list.headers,
                                     .header_count = list.count};
    return TW_OK;
}

struct tw_record tw_drop_record(const struct tw_record *record, const struct tw_dead_letter *letter,
                                const struct tw_operator_word *word, struct tw_arena *arena)
{
    const struct tw_envelope envelope = {
        .type = TW_STR(TW_DROP_TYPE),
        .command_id = word->command_id,
        .submitted_ms = word->now_ms,
        .if_version = -1,
        .original_ms = -1,
    };
    const struct tw_header *headers;
    size_t                  count;
    struct header_list      list;

    tw_envelope_write(&envelope, "/tillwire/twctl", arena, &headers, &count);
    list = (struct header_list){TW_NEW_ARRAY(arena, count + 3, struct tw_header), 0};
    for (size_t i = 0; i < count; i++)
        list.headers[list.count++] = headers[i];
    add(&list, TW_H_DROP_OF, int_text(arena, letter->first_offset));
    add_word(&list, word);
    return (struct tw_record){.partition = record->partition,
                              .offset = -1,
                              .key = record->key,
                              .headers = list.headers,
                              .header_count = list.count};
}
