/*
 * Layout: entry after entry, each a kind byte and its fields; integers are 8 bytes in host order (a store is not moved
 * between byte orders with commands in flight), bytes are a length and the run.
 */
#include "outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/dead_letter.h"

enum { ENTRY_EVENT = 1, ENTRY_DEAD_LETTER = 2, ENTRY_SETTLEMENT = 3, NO_BYTES = -1 };

static void put_int(struct tw_buf *out, int64_t value)
{
    tw_buf_add(out, &value, sizeof(value));
}

/* A dead letter keeps the difference between a null and an empty key, value or header. */
static void put_bytes(struct tw_buf *out, struct tw_str bytes)
{
    put_int(out, bytes.ptr ? (int64_t)bytes.len : NO_BYTES);
    tw_buf_add_str(out, bytes);
}

static void put_kind(struct tw_buf *out, uint8_t kind)
{
    tw_buf_add(out, &kind, 1);
}

void tw_outbox_pack_event(struct tw_buf *out, const struct tw_event *event)
{
    put_kind(out, ENTRY_EVENT);
    put_int(out, event->cause_offset);
    put_int(out, event->n);
    put_int(out, event->at_ms);
    put_bytes(out, tw_str_of(event->type->ce_type));
    put_bytes(out, (struct tw_str){(const char *)event->command_id.bytes, sizeof(event->command_id.bytes)});
    put_bytes(out, event->traceparent);
    put_bytes(out, event->key);
    put_bytes(out, event->payload);
}

void tw_outbox_pack_dead_letter(struct tw_buf *out, const struct tw_record *record, const struct tw_dead_entry *entry)
{
    put_kind(out, ENTRY_DEAD_LETTER);
    put_int(out, record->offset);
    put_int(out, record->timestamp_ms);
    put_bytes(out, tw_str_of(entry->reason));
    put_bytes(out, entry->message);
    put_bytes(out, tw_str_of(entry->program));
    put_int(out, entry->first_offset);
    put_int(out, entry->attempts);
    put_int(out, entry->first_failed_ms);
    put_int(out, entry->last_failed_ms);
    put_bytes(out, record->key);
    put_bytes(out, record->value);
    put_int(out, (int64_t)record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        put_bytes(out, record->headers[i].name);
        put_bytes(out, record->headers[i].value);
    }
}

void tw_outbox_pack_settlement(struct tw_buf *out, const struct tw_record *record, int64_t first_offset,
                               const char *settled_as, int64_t at_ms)
{
    put_kind(out, ENTRY_SETTLEMENT);
    put_int(out, record->offset);
    put_int(out, first_offset);
    put_bytes(out, tw_str_of(settled_as));
    put_int(out, at_ms);
    put_bytes(out, tw_header_find(record, TW_H_OPERATOR));
    put_bytes(out, tw_header_find(record, TW_H_BECAUSE));
    put_bytes(out, record->key);
}

/* A reader that stops at the first thing that does not fit: check `ok` after a run of takes. */
struct cursor {
    const char *at;
    const char *end;
    bool        ok;
};

static int64_t take_int(struct cursor *cursor)
{
    int64_t value = 0;

    if (!cursor->ok || cursor->end - cursor->at < (ptrdiff_t)sizeof(value)) {
        cursor->ok = false;
        return 0;
    }
    memcpy(&value, cursor->at, sizeof(value));
    cursor->at += sizeof(value);
    return value;
}

static struct tw_str take_bytes(struct cursor *cursor)
{
    int64_t       len = take_int(cursor);
    struct tw_str bytes = {NULL, 0};

    if (!cursor->ok || len < NO_BYTES || len > cursor->end - cursor->at) {
        cursor->ok = false;
        return bytes;
    }
    if (len == NO_BYTES)
        return bytes;
    bytes = (struct tw_str){cursor->at, (size_t)len};
    cursor->at += len;
    return bytes;
}

struct header_list {
    struct tw_header *headers;
    size_t            count;
};

static void add_header(struct header_list *list, const char *name, struct tw_str value)
{
    list->headers[list->count++] = (struct tw_header){tw_str_of(name), value};
}

static void add_int_header(struct header_list *list, struct tw_arena *arena, const char *name, int64_t value)
{
    char text[TW_INT_TEXT];

    add_header(list, name, tw_arena_copy(arena, tw_str_of_int(value, text)));
}

enum { EVENT_HEADERS = 10, SETTLEMENT_HEADERS = 8 };

/* What is the same in all events of one outbox. */
struct origin {
    const char   *domain;
    int32_t       partition;
    struct tw_str source;    /* "/tillwire/cart" */
    struct tw_str id_prefix; /* "cart.commands/3/" */
};

/* The same cause always gives the same event id, however often it is published. */
static struct tw_str event_id(const struct origin *origin, int64_t cause_offset, int64_t n, struct tw_arena *arena)
{
    char          texts[2][TW_INT_TEXT];
    struct tw_str offset = tw_str_of_int(cause_offset, texts[0]);
    struct tw_str number = tw_str_of_int(n, texts[1]);
    size_t        len = origin->id_prefix.len + offset.len + 1 + number.len;
    char         *id = tw_arena_alloc(arena, len);
    char         *at = id;

    at = mempcpy(at, origin->id_prefix.ptr, origin->id_prefix.len);
    at = mempcpy(at, offset.ptr, offset.len);
    *at++ = '/';
    memcpy(at, number.ptr, number.len);
    return (struct tw_str){id, len};
}

static void render_event(struct cursor *cursor, const struct origin *origin, struct tw_arena *arena,
                         struct tw_outbox_record *ret_record)
{
    struct header_list list = {TW_NEW_ARRAY(arena, EVENT_HEADERS, struct tw_header), 0};
    int64_t            cause_offset = take_int(cursor);
    int64_t            n = take_int(cursor);
    int64_t            at_ms = take_int(cursor);
    struct tw_str      type = take_bytes(cursor);
    struct tw_str      command_id = take_bytes(cursor);
    struct tw_str      traceparent = take_bytes(cursor);
    struct tw_uuid     id = tw_uuid_nil;
    char               text[TW_UUID_TEXT + 1];
    char               time[TW_TIME_TEXT + 1];

    ret_record->dead_letter = false;
    ret_record->key = take_bytes(cursor);
    ret_record->value = take_bytes(cursor);
    if (!cursor->ok || command_id.len != sizeof(id.bytes)) {
        cursor->ok = false;
        return;
    }
    memcpy(id.bytes, command_id.ptr, sizeof(id.bytes));
    tw_uuid_format(id, text);
    tw_time_format(at_ms, time);
    add_header(&list, TW_H_ID, event_id(origin, cause_offset, n, arena));
    add_header(&list, TW_H_TYPE, type);
    add_header(&list, TW_H_SOURCE, origin->source);
    add_header(&list, TW_H_TIME, tw_arena_copy(arena, tw_str_of(time)));
    add_header(&list, TW_H_SPECVERSION, TW_STR("1.0"));
    add_header(&list, TW_H_CONTENT_TYPE, TW_STR(TW_CONTENT_TYPE));
    add_header(&list, TW_H_COMMAND_ID, tw_arena_copy(arena, tw_str_of(text)));
    add_int_header(&list, arena, TW_H_CAUSE_OFFSET, cause_offset);
    add_int_header(&list, arena, TW_H_N, n);
    if (traceparent.len)
        add_header(&list, TW_H_TRACEPARENT, traceparent);
    ret_record->headers = list.headers;
    ret_record->header_count = list.count;
}

static void add_origin(struct header_list *list, struct tw_arena *arena, const struct origin *origin)
{
    add_header(list, TW_H_DLQ_TOPIC, tw_arena_printf(arena, "%s.commands", origin->domain));
    add_int_header(list, arena, TW_H_DLQ_PARTITION, origin->partition);
}

static void render_dead_letter(struct cursor *cursor, const struct origin *origin, struct tw_arena *arena,
                               struct tw_outbox_record *ret_record)
{
    struct header_list list = {0};
    int64_t            offset = take_int(cursor);
    int64_t            timestamp_ms = take_int(cursor);
    struct tw_str      reason = take_bytes(cursor);
    struct tw_str      message = take_bytes(cursor);
    struct tw_str      program = take_bytes(cursor);
    int64_t            first_offset = take_int(cursor);
    int64_t            attempts = take_int(cursor);
    int64_t            first_failed_ms = take_int(cursor);
    int64_t            last_failed_ms = take_int(cursor);
    int64_t            header_count;

    ret_record->dead_letter = true;
    ret_record->key = take_bytes(cursor);
    ret_record->value = take_bytes(cursor);
    header_count = take_int(cursor);
    if (!cursor->ok || header_count < 0 || header_count > cursor->end - cursor->at) {
        cursor->ok = false;
        return;
    }
    list.headers = TW_NEW_ARRAY(arena, (size_t)header_count + TW_DEAD_LETTER_HEADERS, struct tw_header);
    for (int64_t i = 0; i < header_count; i++) {
        struct tw_str name = take_bytes(cursor);

        list.headers[list.count++] = (struct tw_header){name, take_bytes(cursor)};
    }
    add_origin(&list, arena, origin);
    add_int_header(&list, arena, TW_H_DLQ_OFFSET, offset);
    add_int_header(&list, arena, TW_H_DLQ_TIMESTAMP, timestamp_ms);
    add_header(&list, TW_H_DLQ_REASON, reason);
    add_header(&list, TW_H_DLQ_MESSAGE, message);
    add_header(&list, TW_H_DLQ_PROGRAM, program);
    add_int_header(&list, arena, TW_H_DLQ_FIRST_OFFSET, first_offset);
    add_int_header(&list, arena, TW_H_DLQ_ATTEMPTS, attempts);
    add_int_header(&list, arena, TW_H_DLQ_FIRST_FAILED, first_failed_ms);
    add_int_header(&list, arena, TW_H_DLQ_LAST_FAILED, last_failed_ms);
    ret_record->headers = list.headers;
    ret_record->header_count = list.count;
}

static void render_settlement(struct cursor *cursor, const struct origin *origin, struct tw_arena *arena,
                              struct tw_outbox_record *ret_record)
{
    struct header_list list = {TW_NEW_ARRAY(arena, SETTLEMENT_HEADERS, struct tw_header), 0};
    int64_t            settled_by = take_int(cursor);
    int64_t            first_offset = take_int(cursor);
    struct tw_str      settled_as = take_bytes(cursor);
    int64_t            at_ms = take_int(cursor);
    struct tw_str      asked_by = take_bytes(cursor);
    struct tw_str      because = take_bytes(cursor);

    ret_record->dead_letter = true;
    ret_record->key = take_bytes(cursor);
    ret_record->value = (struct tw_str){NULL, 0};
    add_origin(&list, arena, origin);
    add_int_header(&list, arena, TW_H_DLQ_SETTLES, first_offset);
    add_int_header(&list, arena, TW_H_DLQ_SETTLED_BY, settled_by);
    add_header(&list, TW_H_DLQ_SETTLED_AS, settled_as);
    add_int_header(&list, arena, TW_H_DLQ_SETTLED_AT, at_ms);
    add_header(&list, TW_H_OPERATOR, asked_by);
    add_header(&list, TW_H_BECAUSE, because);
    ret_record->headers = list.headers;
    ret_record->header_count = list.count;
}

enum tw_rc tw_outbox_render(struct tw_str packed, const char *domain, int32_t partition, struct tw_arena *arena,
                            struct tw_outbox_record **ret_records, size_t *ret_count, struct tw_err *reterr)
{
    struct cursor       cursor = {packed.ptr, packed.ptr + packed.len, true};
    const struct origin origin = {
        .domain = domain,
        .partition = partition,
        .source = tw_arena_printf(arena, "/tillwire/%s", domain),
        .id_prefix = tw_arena_printf(arena, "%s.commands/%" PRId32 "/", domain, partition),
    };
    struct tw_outbox_record *records = NULL;
    uint32_t                 count = 0, cap = 0;

    while (cursor.ok && cursor.at < cursor.end) {
        char kind = *cursor.at++;

        records = tw_arena_grow(arena, records, count, &cap, sizeof(*records));
        if (kind == ENTRY_EVENT)
            render_event(&cursor, &origin, arena, &records[count]);
        else if (kind == ENTRY_DEAD_LETTER)
            render_dead_letter(&cursor, &origin, arena, &records[count]);
        else if (kind == ENTRY_SETTLEMENT)
            render_settlement(&cursor, &origin, arena, &records[count]);
        else
            cursor.ok = false;
        count++;
    }
    if (!cursor.ok)
        return tw_fail(reterr, TW_BROKEN, "outbox.render", 0, "the stored outbox is damaged at entry %u", count);
    *ret_records = records;
    *ret_count = count;
    return TW_OK;
}
