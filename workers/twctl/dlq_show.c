/*
 * `twctl dlq show NAME`: all there is to know of one dead letter.
 */
#include <inttypes.h>
#include <stdio.h>

#include "dlq_lines.h"
#include "dlq_log.h"
#include "table.h"
#include "trace_lines.h"

enum { BEHIND_SHOWN = 20 }; /* to people; of a popular product thousands may wait */

struct show {
    struct tw_dlq_place   place;
    struct tw_arena       arena;
    struct tw_record     *records; /* its dead letters, one an attempt */
    struct tw_dead_letter last;    /* what the one before said: deliveries repeat */
    uint32_t              count, cap;
};

static void show_done(struct show *show)
{
    tw_arena_done(&show->arena);
}

static void keep(void *self, const struct tw_topic *topic, const struct tw_record *record)
{
    struct show          *show = self;
    struct tw_dead_letter said;

    (void)topic;
    if (!tw_dead_letter_read(record, &said) || said.is_settlement || said.first_offset != show->place.first_offset ||
        (show->count && said.offset <= show->last.offset))
        return;
    show->records = tw_arena_grow(&show->arena, show->records, show->count, &show->cap, sizeof(*show->records));
    show->records[show->count] = tw_record_copy(record, record->header_count, &show->arena);
    tw_dead_letter_read(&show->records[show->count++], &show->last);
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

/* Of one that is not as a worker of this release writes it: all. */
static size_t own_headers(const struct tw_record *record)
{
    size_t count;

    return tw_dead_letter_own_headers(record, &count, NULL) == TW_OK ? count : record->header_count;
}

/* Values of headers that nobody of ours writes may be anything. */
static bool is_shown(struct tw_str name)
{
    static const char *const known[] = {
        TW_H_ID,           TW_H_TYPE,    TW_H_SOURCE,      TW_H_TIME,          TW_H_SPECVERSION,
        TW_H_CONTENT_TYPE, TW_H_CALLER,  TW_H_TRACEPARENT, TW_H_IF_VERSION,    TW_H_ATTEMPT,
        TW_H_REQUEUE_OF,   TW_H_DROP_OF, TW_H_OPERATOR,    TW_H_ORIGINAL_TIME, TW_H_BECAUSE,
    };

    for (size_t i = 0; i < TW_LEN(known); i++)
        if (tw_str_is(name, known[i]))
            return true;
    return false;
}

static struct tw_str shown(const struct tw_header *header, struct tw_arena *arena)
{
    if (is_shown(header->name) && tw_str_is_utf8(header->value))
        return tw_arena_copy(arena, header->value);
    return tw_arena_printf(arena, "(%zu bytes)", header->value.len);
}

static struct tw_str shown_name(const struct tw_header *header, struct tw_arena *arena)
{
    return tw_str_is_utf8(header->name) ? tw_arena_copy(arena, header->name)
                                        : tw_arena_printf(arena, "(%zu bytes)", header->name.len);
}

static struct tw_str word_of(const struct tw_record *record, const char *name, struct tw_arena *arena)
{
    const struct tw_record own = {.headers = record->headers, .header_count = own_headers(record)};
    const struct tw_header header = {tw_str_of(name), tw_header_find(&own, name)};

    return shown(&header, arena);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void add_text(struct tw_json *json, const char *name, struct tw_str text)
{
    tw_json_key(json, name);
    tw_json_text(json, text);
}

static void add_headers(struct show *show, struct tw_json *json)
{
    const struct tw_record *record = &show->records[0];

    tw_json_key(json, "headers");
    tw_json_open(json, '[');
    for (size_t i = 0; i < own_headers(record); i++) {
        tw_json_open(json, '{');
        add_text(json, "name", shown_name(&record->headers[i], &show->arena));
        add_text(json, "value", shown(&record->headers[i], &show->arena));
        tw_json_close(json, '}');
    }
    tw_json_close(json, ']');
}

static void add_attempt(struct show *show, const struct tw_record *record, struct tw_json *json)
{
    struct tw_dead_letter said;

    tw_dead_letter_read(record, &said);
    tw_json_open(json, '{');
    tw_json_key(json, "attempt");
    tw_json_int(json, said.attempts);
    tw_json_key(json, "offset");
    tw_json_int(json, said.offset);
    tw_json_key(json, "failed");
    tw_json_time(json, said.last_failed_ms);
    add_text(json, "reason", said.reason);
    add_text(json, "message", said.message);
    add_text(json, "program", said.program);
    if (said.attempts > 1) {
        add_text(json, "operator", word_of(record, TW_H_OPERATOR, &show->arena));
        add_text(json, "because", word_of(record, TW_H_BECAUSE, &show->arena));
    }
    tw_json_close(json, '}');
}

static void add_attempts(struct show *show, struct tw_json *json)
{
    tw_json_key(json, "attempts_made");
    tw_json_open(json, '[');
    for (uint32_t i = 0; i < show->count; i++)
        add_attempt(show, &show->records[i], json);
    tw_json_close(json, ']');
}

static bool is_behind(const struct tw_dlq_letter *other, const struct tw_dlq_letter *letter)
{
    return other->waits_for && other->parks && tw_dlq_same_key(other, letter) &&
           other->first_offset > letter->first_offset && letter->parks && tw_dlq_is_open(letter);
}

static void add_behind(struct show *show, const struct tw_dlq_book *book, const struct tw_dlq_letter *letter,
                       struct tw_json *json)
{
    tw_json_key(json, "behind_it");
    tw_json_open(json, '[');
    for (size_t i = 0; i < book->count; i++)
        if (is_behind(book->letters[i], letter))
            tw_json_text(json, tw_dlq_name(book->letters[i], &show->arena));
    tw_json_close(json, ']');
}

static void add_json(struct show *show, const struct tw_dlq_book *book, const struct tw_dlq_letter *letter,
                     struct tw_buf *out)
{
    struct tw_json json = {out, false};

    tw_json_open(&json, '{');
    tw_dlq_add_letter(letter, &json, &show->arena);
    add_headers(show, &json);
    tw_trace_add_content(&json, &show->records[0], &show->arena);
    add_attempts(show, &json);
    add_behind(show, book, letter, &json);
    tw_json_close(&json, '}');
    tw_buf_add(out, "\n", 1);
}

/* --- for people --------------------------------------------------------------------------------------------------- */

struct row {
    const char *what, *says;
};

struct rows {
    struct row  *rows;
    uint32_t     count, cap;
    struct show *show;
};

static void add_row(struct rows *rows, const char *what, const char *says)
{
    rows->rows = tw_arena_grow(&rows->show->arena, rows->rows, rows->count, &rows->cap, sizeof(*rows->rows));
    rows->rows[rows->count++] = (struct row){what, says};
}

static void print_rows(struct rows *rows, struct tw_buf *out)
{
    const char **cells = TW_NEW_ARRAY(&rows->show->arena, 2 * (size_t)rows->count, const char *);

    for (uint32_t i = 0; i < rows->count; i++) {
        cells[2 * (size_t)i] = rows->rows[i].what;
        cells[2 * (size_t)i + 1] = rows->rows[i].says;
    }
    tw_ctl_table_add(out, cells, rows->count, 2);
}

static void add_attempt_row(struct rows *rows, const struct tw_record *record)
{
    struct tw_arena      *arena = &rows->show->arena;
    struct tw_dead_letter said;
    struct tw_str         because = {0};
    const char           *asked = "";

    tw_dead_letter_read(record, &said);
    if (said.attempts > 1) {
        because = word_of(record, TW_H_BECAUSE, arena);
        asked = tw_arena_printf(arena, ", asked for by %.*s%s%.*s", TW_STR_ARG(word_of(record, TW_H_OPERATOR, arena)),
                                because.len ? ": " : "", TW_STR_ARG(because))
                    .ptr;
    }
    add_row(rows, tw_arena_printf(arena, "attempt %" PRId64, said.attempts).ptr,
            tw_arena_printf(arena, "%s, record %" PRId64 ", %.*s: %.*s (%.*s)%s",
                            tw_dlq_time(said.last_failed_ms, arena), said.offset, TW_STR_ARG(said.reason),
                            TW_STR_ARG(said.message), TW_STR_ARG(said.program), asked)
                .ptr);
}

static void add_header_rows(struct rows *rows)
{
    struct tw_arena        *arena = &rows->show->arena;
    const struct tw_record *record = &rows->show->records[0];

    for (size_t i = 0; i < own_headers(record); i++)
        add_row(rows, "header",
                tw_arena_printf(arena, "%.*s: %.*s", TW_STR_ARG(shown_name(&record->headers[i], arena)),
                                TW_STR_ARG(shown(&record->headers[i], arena)))
                    .ptr);
}

static void add_waiting_rows(struct rows *rows, const struct tw_dlq_book *book, const struct tw_dlq_letter *letter)
{
    size_t behind = 0;

    if (letter->waits_for && letter->parks)
        add_row(rows, "waits for", tw_dlq_name(letter->waits_for, &rows->show->arena).ptr);
    for (size_t i = 0; i < book->count; i++)
        if (is_behind(book->letters[i], letter) && ++behind <= BEHIND_SHOWN)
            add_row(rows, "behind it",
                    tw_arena_printf(&rows->show->arena, "%s %s", tw_dlq_name(book->letters[i], &rows->show->arena).ptr,
                                    book->letters[i]->type)
                        .ptr);
    if (behind > BEHIND_SHOWN)
        add_row(rows, "behind it",
                tw_arena_printf(&rows->show->arena, "and %zu more: `twctl dlq list --each --key %s` has them all",
                                behind - BEHIND_SHOWN, letter->key)
                    .ptr);
}

static const char *content(struct show *show)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {0};

    tw_trace_add_text(&out, &show->records[0], &show->arena);
    return tw_arena_copy(&show->arena, tw_buf_str(&out)).ptr;
}

static void add_table(struct show *show, const struct tw_dlq_book *book, const struct tw_dlq_letter *letter,
                      struct tw_buf *out)
{
    struct rows rows = {.show = show};

    add_row(&rows, "WHAT", "SAYS");
    add_row(&rows, "name", tw_dlq_name(letter, &show->arena).ptr);
    add_row(&rows, "state", tw_dlq_state(letter, &show->arena));
    add_row(&rows, "reason", letter->reason);
    add_row(&rows, "message", letter->message);
    add_row(&rows, "key", letter->key);
    add_row(&rows, "written", tw_dlq_time(letter->timestamp_ms, &show->arena));
    add_header_rows(&rows);
    add_row(&rows, "body", content(show));
    for (uint32_t i = 0; i < show->count; i++)
        add_attempt_row(&rows, &show->records[i]);
    add_waiting_rows(&rows, book, letter);
    print_rows(&rows, out);
}

static enum tw_rc find(const struct tw_ctl_settings *settings, struct tw_dlq_log *log, struct show *show,
                       struct tw_dlq_letter **ret_letter, struct tw_err *reterr)
{
    TW_TRY(tw_dlq_name_parse(tw_str_of(settings->argument), &show->place, reterr));
    TW_TRY(tw_dlq_log_open(settings, log, reterr));
    log->fn = keep;
    log->self = show;
    TW_TRY(tw_dlq_log_read_partition(log, show->place.domain, show->place.partition, reterr));
    *ret_letter = tw_dlq_book_find(&log->book, show->place.domain, show->place.partition, show->place.first_offset);
    if (!*ret_letter)
        return tw_fail(reterr, TW_NOT_FOUND, "twctl.dlq", 0, "there is no dead letter %s", settings->argument);
    return TW_OK;
}

enum tw_ctl_exit tw_ctl_dlq_show(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_dlq_log_close) struct tw_dlq_log log = {0};
    TW_AUTO(show_done) struct show              show = {0};
    TW_AUTO(tw_buf_done) struct tw_buf          out = {0};
    struct tw_dlq_letter                       *letter;
    struct tw_err                               err = {0};

    if (find(settings, &log, &show, &letter, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    (settings->json ? add_json : add_table)(&show, &log.book, letter, &out);
    fwrite(out.ptr, 1, out.len, stdout);
    return TW_CTL_DONE;
}
