/*
 * Integers are little-endian, whatever the machine. Records of a block are packed with variable lengths before the block
 * is compressed: most of what is left then is keys, values and times.
 */
#include "log_format.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Flags of a record. Their lowest two bits are its enum tw_time_type. */
enum { TIME_TYPE_MASK = 3, KEY_IS_NULL = 4, VALUE_IS_NULL = 8, FLAGS_KNOWN = 15 };

int64_t tw_log_entry_size(const struct tw_log_entry *entry)
{
    return TW_LOG_BLOCK_HEAD_BYTES + (int64_t)entry->packed_bytes + TW_LOG_HASH_BYTES;
}

static void put_number(struct tw_buf *out, uint64_t value, size_t size_bytes)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    tw_buf_add(out, bytes, size_bytes);
}

void tw_log_put_u32(struct tw_buf *out, uint32_t value)
{
    put_number(out, value, 4);
}

void tw_log_put_i64(struct tw_buf *out, int64_t value)
{
    put_number(out, (uint64_t)value, 8);
}

void tw_log_put_text(struct tw_buf *out, struct tw_str text)
{
    tw_log_put_u32(out, (uint32_t)text.len);
    tw_buf_add_str(out, text);
}

static void put_entry_fields(struct tw_buf *out, const struct tw_log_entry *entry)
{
    tw_log_put_u32(out, (uint32_t)entry->partition);
    tw_log_put_i64(out, entry->first_offset);
    tw_log_put_u32(out, entry->records);
    tw_log_put_u32(out, entry->raw_bytes);
    tw_log_put_u32(out, entry->packed_bytes);
}

void tw_log_put_block_head(struct tw_buf *out, const struct tw_log_entry *entry)
{
    tw_log_put_u32(out, TW_LOG_BLOCK);
    put_entry_fields(out, entry);
}

void tw_log_put_entry(struct tw_buf *out, const struct tw_log_entry *entry)
{
    tw_log_put_i64(out, entry->position);
    put_entry_fields(out, entry);
}

void tw_log_hash(struct tw_str bytes, uint8_t ret_hash[TW_LOG_HASH_BYTES])
{
    crypto_generichash(ret_hash, TW_LOG_HASH_BYTES, (const uint8_t *)bytes.ptr, bytes.len, NULL, 0);
}

static size_t left(const struct tw_log_cursor *cursor)
{
    return cursor->ok ? (size_t)(cursor->end - cursor->at) : 0;
}

static uint64_t take_number(struct tw_log_cursor *cursor, size_t size_bytes)
{
    uint64_t value = 0;

    if (left(cursor) < size_bytes) {
        cursor->ok = false;
        return 0;
    }
    for (size_t i = 0; i < size_bytes; i++)
        value |= (uint64_t)(uint8_t)cursor->at[i] << (8 * i);
    cursor->at += size_bytes;
    return value;
}

uint32_t tw_log_take_u32(struct tw_log_cursor *cursor)
{
    return (uint32_t)take_number(cursor, 4);
}

int64_t tw_log_take_i64(struct tw_log_cursor *cursor)
{
    return (int64_t)take_number(cursor, 8);
}

static struct tw_str take_run(struct tw_log_cursor *cursor, uint64_t len)
{
    struct tw_str run = {cursor->at, (size_t)len};

    if (len > left(cursor)) {
        cursor->ok = false;
        return (struct tw_str){NULL, 0};
    }
    cursor->at += len;
    return run;
}

struct tw_str tw_log_take_text(struct tw_log_cursor *cursor)
{
    return take_run(cursor, tw_log_take_u32(cursor));
}

void tw_log_take_entry(struct tw_log_cursor *cursor, struct tw_log_entry *ret_entry)
{
    ret_entry->partition = (int32_t)tw_log_take_u32(cursor);
    ret_entry->first_offset = tw_log_take_i64(cursor);
    ret_entry->records = tw_log_take_u32(cursor);
    ret_entry->raw_bytes = tw_log_take_u32(cursor);
    ret_entry->packed_bytes = tw_log_take_u32(cursor);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

/* Seven bits a byte, the lowest first; the highest bit says that more follow. */
static void put_varint(struct tw_buf *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t  len = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[len++] = (uint8_t)(value | 0x80);
    bytes[len++] = (uint8_t)value;
    tw_buf_add(out, bytes, len);
}

static uint64_t take_varint(struct tw_log_cursor *cursor)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take_number(cursor, 1);

        value |= (byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    cursor->ok = false;
    return 0;
}

static void put_run(struct tw_buf *out, struct tw_str run)
{
    put_varint(out, run.len);
    tw_buf_add_str(out, run);
}

void tw_log_put_record(struct tw_buf *out, const struct tw_record *record, int64_t *last_ms)
{
    uint8_t  flags = (uint8_t)((record->time_type & TIME_TYPE_MASK) | (record->key.ptr ? 0 : KEY_IS_NULL) |
                              (record->value.ptr ? 0 : VALUE_IS_NULL));
    uint64_t step = (uint64_t)record->timestamp_ms - (uint64_t)*last_ms;

    tw_buf_add(out, &flags, 1);
    put_varint(out, step << 1 ^ (step >> 63 ? UINT64_MAX : 0)); /* small steps back are small numbers, too */
    *last_ms = record->timestamp_ms;
    if (record->key.ptr)
        put_run(out, record->key);
    if (record->value.ptr)
        put_run(out, record->value);
    put_varint(out, record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        struct tw_str value = record->headers[i].value;

        put_run(out, record->headers[i].name);
        put_varint(out, value.ptr ? (uint64_t)value.len + 1 : 0); /* 0: null */
        tw_buf_add_str(out, value);
    }
}

static struct tw_str take_header_value(struct tw_log_cursor *cursor)
{
    uint64_t len = take_varint(cursor);

    return len > 0 ? take_run(cursor, len - 1) : (struct tw_str){NULL, 0};
}

static void take_headers(struct tw_log_cursor *cursor, struct tw_log_headers *headers, struct tw_record *record)
{
    uint64_t count = take_varint(cursor);

    if (count > left(cursor) / 2) { /* each takes two bytes or more */
        cursor->ok = false;
        return;
    }
    if (count > headers->cap) {
        headers->items = tw_realloc(headers->items, (size_t)count * sizeof(*headers->items));
        headers->cap = (size_t)count;
    }
    for (size_t i = 0; cursor->ok && i < count; i++) {
        struct tw_str name = take_run(cursor, take_varint(cursor));

        headers->items[i] = (struct tw_header){name, take_header_value(cursor)};
    }
    record->headers = headers->items;
    record->header_count = (size_t)count;
}

bool tw_log_take_record(struct tw_log_cursor *cursor, int64_t *last_ms, struct tw_log_headers *headers,
                        struct tw_record *ret_record)
{
    uint64_t flags = take_number(cursor, 1);
    uint64_t step = take_varint(cursor);

    *last_ms = (int64_t)((uint64_t)*last_ms + (step >> 1 ^ (step & 1 ? UINT64_MAX : 0)));
    *ret_record =
        (struct tw_record){.timestamp_ms = *last_ms, .time_type = (enum tw_time_type)(flags & TIME_TYPE_MASK)};
    if (!(flags & KEY_IS_NULL))
        ret_record->key = take_run(cursor, take_varint(cursor));
    if (!(flags & VALUE_IS_NULL))
        ret_record->value = take_run(cursor, take_varint(cursor));
    take_headers(cursor, headers, ret_record);
    return cursor->ok && flags <= FLAGS_KNOWN && ret_record->time_type <= TW_TIME_LOG_APPEND;
}

void tw_log_headers_done(struct tw_log_headers *headers)
{
    free(headers->items);
    *headers = (struct tw_log_headers){0};
}
