/*
 * Headers of records. Reading is on the way of every record, so one table drives it and nothing is allocated; values
 * are gathered first and read after, because the last of repeated headers counts.
 */
#include "tillwire/envelope.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/settings.h"

enum { TRACEPARENT_LEN = 55, TYPE_MAX_BYTES = 64 };

static bool read_id(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_uuid_parse(value, &envelope->command_id) && !tw_uuid_is_nil(envelope->command_id);
}

/* The type goes into ledger rows and events, also of records that are given up: nothing but names gets that far, and
 * there is a name in front of the version. */
static bool read_type(struct tw_str value, struct tw_envelope *envelope)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] <= ' ' || value.ptr[i] > '~')
            return false;
    envelope->type = value;
    return value.len > 0 && value.len <= TYPE_MAX_BYTES && value.ptr[0] != '.';
}

static bool read_source(struct tw_str value, struct tw_envelope *envelope)
{
    (void)envelope;
    return value.len > 0;
}

/* It goes there, too, and times of messages begin with 1970. */
static bool read_time(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_time_parse(value, &envelope->submitted_ms) && envelope->submitted_ms >= 0;
}

static bool read_specversion(struct tw_str value, struct tw_envelope *envelope)
{
    (void)envelope;
    return tw_str_eq(value, TW_STR("1.0"));
}

static bool read_content_type(struct tw_str value, struct tw_envelope *envelope)
{
    (void)envelope;
    return tw_str_eq(value, TW_STR(TW_CONTENT_TYPE));
}

/* `00-<32 hex>-<16 hex>-<2 hex>`. A broken one is no reason to refuse a command: W3C says to start a new trace. */
static bool read_traceparent(struct tw_str value, struct tw_envelope *envelope)
{
    static const char shape[TRACEPARENT_LEN + 1] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

    if (value.len != TRACEPARENT_LEN)
        return true;
    for (size_t i = 0; i < TRACEPARENT_LEN; i++) {
        bool is_hex = (value.ptr[i] >= '0' && value.ptr[i] <= '9') || (value.ptr[i] >= 'a' && value.ptr[i] <= 'f');

        if (shape[i] == 'h' ? !is_hex : value.ptr[i] != '-')
            return true;
    }
    envelope->traceparent = value;
    return true;
}

static bool read_caller(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_uuid_parse(value, &envelope->caller);
}

static bool read_fingerprint(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_hex_parse(value, envelope->fingerprint, sizeof(envelope->fingerprint));
}

static bool read_if_version(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_str_to_int(value, &envelope->if_version) && envelope->if_version >= 0;
}

static bool read_original_time(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_str_to_int(value, &envelope->original_ms) && envelope->original_ms >= 0;
}

static bool read_requeue_of(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_str_to_int(value, &envelope->requeue_of) && envelope->requeue_of >= 0;
}

static bool read_attempt(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_str_to_int(value, &envelope->attempt) && envelope->attempt >= 2;
}

static bool read_drop_of(struct tw_str value, struct tw_envelope *envelope)
{
    return tw_str_to_int(value, &envelope->drop_of) && envelope->drop_of >= 0;
}

/* In the order tw_envelope_write() gives them. */
static const struct row {
    struct tw_str name;
    bool          required;
    bool (*read)(struct tw_str value, struct tw_envelope *envelope);
} rows[] = {
#define ROW(name, required, read)                      \
    {                                                  \
        {(name), sizeof(name) - 1}, (required), (read) \
    }
    ROW(TW_H_ID, true, read_id),
    ROW(TW_H_TYPE, true, read_type),
    ROW(TW_H_SOURCE, true, read_source),
    ROW(TW_H_TIME, true, read_time),
    ROW(TW_H_SPECVERSION, true, read_specversion),
    ROW(TW_H_CONTENT_TYPE, true, read_content_type),
    ROW(TW_H_TRACEPARENT, false, read_traceparent),
    ROW(TW_H_CALLER, false, read_caller),
    ROW(TW_H_FINGERPRINT, false, read_fingerprint),
    ROW(TW_H_IF_VERSION, false, read_if_version),
    ROW(TW_H_ORIGINAL_TIME, false, read_original_time),
    ROW(TW_H_REQUEUE_OF, false, read_requeue_of),
    ROW(TW_H_ATTEMPT, false, read_attempt),
    ROW(TW_H_DROP_OF, false, read_drop_of),
#undef ROW
};

/* Our own records have their headers in the table's order: starting at `expected`, the first look nearly always hits.
 * TW_LEN(rows) for a name that is none of ours. */
static size_t row_of(struct tw_str name, size_t expected)
{
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        size_t row = (expected + i) % TW_LEN(rows);

        if (tw_str_eq(rows[row].name, name))
            return row;
    }
    return TW_LEN(rows);
}

struct tw_str tw_header_find(const struct tw_record *record, const char *name)
{
    struct tw_str wanted = tw_str_of(name);

    for (size_t i = record->header_count; i > 0; i--) {
        if (tw_str_eq(record->headers[i - 1].name, wanted))
            return record->headers[i - 1].value;
    }
    return (struct tw_str){NULL, 0};
}

enum tw_rc tw_envelope_read(const struct tw_record *record, struct tw_envelope *ret_envelope, struct tw_err *reterr)
{
    struct tw_envelope envelope = {.if_version = -1, .original_ms = -1, .requeue_of = -1, .attempt = -1, .drop_of = -1};
    const struct tw_header *found[TW_LEN(rows)] = {NULL};
    size_t                  expected = 0;

    for (size_t i = 0; i < record->header_count; i++) {
        size_t row = row_of(record->headers[i].name, expected);

        if (row < TW_LEN(rows)) {
            found[row] = &record->headers[i];
            expected = row + 1;
        }
    }
    for (size_t i = 0; i < TW_LEN(rows); i++) {
        if (!found[i] && rows[i].required)
            return tw_fail(reterr, TW_INVALID, "envelope.read", 0, "header '%s' is missing", rows[i].name.ptr);
        if (found[i] && !rows[i].read(found[i]->value, &envelope))
            return tw_fail(reterr, TW_INVALID, "envelope.read", 0, "header '%s' is malformed", rows[i].name.ptr);
    }
    *ret_envelope = envelope;
    return TW_OK;
}

/* The values of one command's headers, as text. */
struct header_texts {
    char id[TW_UUID_TEXT + 1];
    char time[TW_TIME_TEXT + 1];
    char caller[TW_UUID_TEXT + 1];
    char fingerprint[2 * TW_FINGERPRINT_BYTES + 1];
    char if_version[24];
    char original_ms[24];
};

static void add_header(struct tw_header *headers, size_t *count, const char *name, struct tw_str value)
{
    assert(*count < TW_LEN(rows));
    headers[(*count)++] = (struct tw_header){tw_str_of(name), value};
}

static void add_int(struct tw_header *headers, size_t *count, const char *name, int64_t value, char text[24])
{
    int len = snprintf(text, 24, "%" PRId64, value);

    add_header(headers, count, name, (struct tw_str){text, (size_t)len});
}

void tw_envelope_write(const struct tw_envelope *envelope, const char *ce_source, struct tw_arena *arena,
                       const struct tw_header **ret_headers, size_t *ret_count)
{
    static const uint8_t no_fingerprint[TW_FINGERPRINT_BYTES] = {0};
    struct header_texts *texts = TW_NEW(arena, struct header_texts);
    struct tw_header    *headers = TW_NEW_ARRAY(arena, TW_LEN(rows), struct tw_header);
    size_t               count = 0;

    tw_uuid_format(envelope->command_id, texts->id);
    tw_time_format(envelope->submitted_ms, texts->time);
    add_header(headers, &count, TW_H_ID, (struct tw_str){texts->id, TW_UUID_TEXT});
    add_header(headers, &count, TW_H_TYPE, envelope->type);
    add_header(headers, &count, TW_H_SOURCE, tw_str_of(ce_source));
    add_header(headers, &count, TW_H_TIME, (struct tw_str){texts->time, TW_TIME_TEXT});
    add_header(headers, &count, TW_H_SPECVERSION, TW_STR("1.0"));
    add_header(headers, &count, TW_H_CONTENT_TYPE, TW_STR(TW_CONTENT_TYPE));
    if (envelope->traceparent.len)
        add_header(headers, &count, TW_H_TRACEPARENT, envelope->traceparent);
    if (!tw_uuid_is_nil(envelope->caller)) {
        tw_uuid_format(envelope->caller, texts->caller);
        add_header(headers, &count, TW_H_CALLER, (struct tw_str){texts->caller, TW_UUID_TEXT});
    }
    if (memcmp(envelope->fingerprint, no_fingerprint, sizeof(no_fingerprint)) != 0) {
        tw_hex_format(envelope->fingerprint, TW_FINGERPRINT_BYTES, texts->fingerprint);
        add_header(headers, &count, TW_H_FINGERPRINT, tw_str_of(texts->fingerprint));
    }
    if (envelope->if_version >= 0)
        add_int(headers, &count, TW_H_IF_VERSION, envelope->if_version, texts->if_version);
    if (envelope->original_ms >= 0)
        add_int(headers, &count, TW_H_ORIGINAL_TIME, envelope->original_ms, texts->original_ms);
    *ret_headers = headers;
    *ret_count = count;
}

static void hash_number(crypto_generichash_state *hash, uint64_t number)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    crypto_generichash_update(hash, bytes, sizeof(bytes));
}

/* With its length in front, so that no two lists of byte strings look alike. */
static void hash_bytes(crypto_generichash_state *hash, struct tw_str bytes)
{
    hash_number(hash, bytes.len);
    crypto_generichash_update(hash, (const uint8_t *)bytes.ptr, bytes.len);
}

static struct tw_str copy_run(struct tw_arena *arena, struct tw_str run)
{
    return run.ptr ? tw_arena_copy(arena, run) : run;
}

struct tw_record tw_record_copy(const struct tw_record *record, size_t headers_max, struct tw_arena *arena)
{
    struct tw_record  copy = *record;
    struct tw_header *headers;

    copy.header_count = record->header_count < headers_max ? record->header_count : headers_max;
    headers = TW_NEW_ARRAY(arena, copy.header_count, struct tw_header);
    for (size_t i = 0; i < copy.header_count; i++)
        headers[i] =
            (struct tw_header){copy_run(arena, record->headers[i].name), copy_run(arena, record->headers[i].value)};
    copy.headers = headers;
    copy.key = copy_run(arena, record->key);
    copy.value = copy_run(arena, record->value);
    return copy;
}

void tw_record_hash(const struct tw_record *record, uint8_t ret_hash[TW_RECORD_HASH_BYTES])
{
    crypto_generichash_state hash;

    crypto_generichash_init(&hash, NULL, 0, TW_RECORD_HASH_BYTES);
    hash_number(&hash, (uint64_t)record->offset);
    hash_number(&hash, (uint64_t)record->timestamp_ms);
    hash_bytes(&hash, record->key);
    hash_bytes(&hash, record->value);
    hash_number(&hash, record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        hash_bytes(&hash, record->headers[i].name);
        hash_bytes(&hash, record->headers[i].value);
    }
    crypto_generichash_final(&hash, ret_hash, TW_RECORD_HASH_BYTES);
}

/* MurmurHash2 as org.apache.kafka.common.utils.Utils.murmur2 has it, seed included. */
static uint32_t murmur2(struct tw_str key)
{
    static const uint32_t m = 0x5BD1E995;
    const unsigned char  *bytes = (const unsigned char *)key.ptr;
    uint32_t              h = 0x9747B28CU ^ (uint32_t)key.len;
    size_t                left = key.len;

    for (; left >= 4; left -= 4, bytes += 4) {
        uint32_t k = (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];

        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    if (left == 3)
        h ^= (uint32_t)bytes[2] << 16;
    if (left >= 2)
        h ^= (uint32_t)bytes[1] << 8;
    if (left >= 1)
        h = (h ^ bytes[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t tw_partition_of(struct tw_str key, int32_t partition_count)
{
    assert(partition_count > 0);
    return (int32_t)(murmur2(key) & 0x7FFFFFFF) % partition_count;
}

int32_t tw_partition_of_id(struct tw_uuid id, int32_t partition_count)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    return tw_partition_of((struct tw_str){text, TW_UUID_TEXT}, partition_count);
}
