#include "records.h"

#include <string.h>

void tw_test_log_init(struct tw_test_log *log, int32_t partition, int32_t partition_count)
{
    *log = (struct tw_test_log){
        .partition = partition, .partition_count = partition_count, .now_ms = INT64_C(1790000000000)};
}

void tw_test_log_done(struct tw_test_log *log)
{
    tw_arena_done(&log->arena);
}

struct tw_uuid tw_test_uuid(uint32_t n)
{
    struct tw_uuid id = {{0x01, 0x92, 0, 0, 0, 0, 0x80, 0, 0x80}};

    for (int i = 0; i < 4; i++)
        id.bytes[12 + i] = (uint8_t)(n >> (8 * (3 - i)));
    return id;
}

struct tw_uuid tw_test_id(const struct tw_test_log *log, uint32_t n)
{
    char text[TW_UUID_TEXT + 1];

    for (uint32_t candidate = 0;; candidate++) {
        struct tw_uuid id = tw_test_uuid(candidate);

        tw_uuid_format(id, text);
        if (tw_partition_of(tw_str_of(text), log->partition_count) == log->partition && n-- == 0)
            return id;
    }
}

struct tw_uuid tw_test_command_id(const struct tw_test_log *log, enum tw_domain_number domain, uint32_t n)
{
    struct tw_uuid id = tw_command_id_new(log->now_ms, domain, log->partition);
    struct tw_uuid number = tw_test_uuid(n);

    memcpy(id.bytes + 8, number.bytes + 8, 8); /* variant and the random part, so that tests repeat */
    return id;
}

struct tw_uuid tw_test_keyed_id(const struct tw_test_log *log, enum tw_domain_number domain, uint32_t n)
{
    return tw_command_id_keyed(tw_test_uuid(n).bytes, domain, log->partition);
}

struct tw_envelope tw_test_envelope(const struct tw_test_log *log, const struct tw_type *type,
                                    struct tw_uuid command_id)
{
    return (struct tw_envelope){
        .type = tw_str_of(type->ce_type),
        .command_id = command_id,
        .submitted_ms = log->now_ms,
        .if_version = -1,
        .original_ms = -1,
    };
}

struct tw_record *tw_test_append(struct tw_test_log *log, const struct tw_type *type, struct tw_uuid key,
                                 const void *body, const struct tw_envelope *envelope)
{
    struct tw_buf     packed = {0};
    struct tw_record *record;
    char              text[TW_UUID_TEXT + 1];

    log->records = tw_arena_grow(&log->arena, log->records, log->len, &log->cap, sizeof(*log->records));
    record = &log->records[log->len];
    tw_uuid_format(key, text);
    type->pack(body, &packed);
    *record = (struct tw_record){
        .partition = log->partition,
        .offset = log->len,
        .timestamp_ms = log->now_ms,
        .key = tw_arena_copy(&log->arena, tw_str_of(text)),
        .value = tw_arena_copy(&log->arena, tw_buf_str(&packed)),
    };
    tw_envelope_write(envelope, "/tillwire/edge", &log->arena, &record->headers, &record->header_count);
    tw_buf_done(&packed);
    log->len++;
    log->now_ms += 1000;
    return record;
}
