/*
 * Packed ledger rows: a version byte and a fixed layout, little-endian. There is one for every command of a day, in
 * Redis in memory, so it is small; a problem is kept by its released code, for rows outlive programs.
 *
 *   version:1 status:1 http:2 caller:16 fingerprint:16 offset:8 submitted:8 at:8 type problem detail resource
 *   each of the last four: length:2 bytes
 */
#include "tillwire/ledger.h"

#include <assert.h>
#include <string.h>

enum { LAYOUT_VERSION = 1, TEXT_MAX_BYTES = UINT16_MAX };

/* Written to stores: values are never reused. */
static_assert(TW_SUCCEEDED == 0 && TW_REJECTED == 1 && TW_DEAD_LETTERED == 2 && TW_PENDING == 3,
              "statuses are kept as numbers");

static void put_number(struct tw_buf *out, uint64_t number, size_t size_bytes)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    tw_buf_add(out, bytes, size_bytes);
}

static void put_text(struct tw_buf *out, struct tw_str text)
{
    assert(text.len <= TEXT_MAX_BYTES);
    put_number(out, text.len, 2);
    tw_buf_add_str(out, text);
}

void tw_ledger_row_pack(const struct tw_ledger_row *row, struct tw_buf *out)
{
    const struct tw_outcome *outcome = &row->outcome;

    assert(outcome->http_status >= 0 && outcome->http_status <= UINT16_MAX);
    put_number(out, LAYOUT_VERSION, 1);
    put_number(out, outcome->status, 1);
    put_number(out, (uint64_t)outcome->http_status, 2);
    tw_buf_add(out, row->caller.bytes, sizeof(row->caller.bytes));
    tw_buf_add(out, row->fingerprint, sizeof(row->fingerprint));
    put_number(out, (uint64_t)row->offset, 8);
    put_number(out, (uint64_t)row->submitted_ms, 8);
    put_number(out, (uint64_t)row->at_ms, 8);
    put_text(out, row->type);
    put_text(out, tw_str_of(tw_problem_code(outcome->problem)));
    put_text(out, outcome->detail);
    put_text(out, outcome->resource);
}

/* What is left to read. After one part was missing, every further one is. */
struct reading {
    struct tw_str rest;
    bool          failed;
};

static struct tw_str take(struct reading *reading, size_t size_bytes)
{
    struct tw_str part = {reading->rest.ptr, size_bytes};

    if (reading->failed || reading->rest.len < size_bytes) {
        reading->failed = true;
        return (struct tw_str){NULL, 0};
    }
    reading->rest.ptr += size_bytes;
    reading->rest.len -= size_bytes;
    return part;
}

static void take_bytes(struct reading *reading, uint8_t *ret_bytes, size_t size_bytes)
{
    struct tw_str part = take(reading, size_bytes);

    if (part.len)
        memcpy(ret_bytes, part.ptr, part.len);
}

static uint64_t take_number(struct reading *reading, size_t size_bytes)
{
    uint8_t  bytes[8] = {0};
    uint64_t number = 0;

    take_bytes(reading, bytes, size_bytes);
    for (size_t i = size_bytes; i > 0; i--)
        number = number << 8 | bytes[i - 1];
    return number;
}

static struct tw_str take_text(struct reading *reading)
{
    return take(reading, take_number(reading, 2));
}

enum tw_rc tw_ledger_row_unpack(struct tw_str bytes, struct tw_arena *arena, struct tw_ledger_row *ret_row,
                                struct tw_err *reterr)
{
    struct reading       reading = {.rest = bytes};
    struct tw_ledger_row row = {.id = ret_row->id};
    uint64_t             version = take_number(&reading, 1);
    uint64_t             status = take_number(&reading, 1);

    if (!reading.failed && version != LAYOUT_VERSION)
        return tw_fail(reterr, TW_INVALID, "ledger.unpack", 0, "ledger row has unknown layout %u",
                       (unsigned int)version);
    row.outcome.status = (enum tw_status)status;
    row.outcome.http_status = (int)take_number(&reading, 2);
    take_bytes(&reading, row.caller.bytes, sizeof(row.caller.bytes));
    take_bytes(&reading, row.fingerprint, sizeof(row.fingerprint));
    row.offset = (int64_t)take_number(&reading, 8);
    row.submitted_ms = (int64_t)take_number(&reading, 8);
    row.at_ms = (int64_t)take_number(&reading, 8);
    row.type = take_text(&reading);
    row.outcome.problem = tw_problem_of_code(take_text(&reading));
    row.outcome.detail = take_text(&reading);
    row.outcome.resource = take_text(&reading);
    if (reading.failed || reading.rest.len > 0 || status > TW_PENDING)
        return tw_fail(reterr, TW_INVALID, "ledger.unpack", 0, "ledger row of %zu bytes is malformed", bytes.len);
    row.type = tw_arena_copy(arena, row.type);
    row.outcome.detail = tw_arena_copy(arena, row.outcome.detail);
    row.outcome.resource = tw_arena_copy(arena, row.outcome.resource);
    *ret_row = row;
    return TW_OK;
}

bool tw_ledger_row_counts(const struct tw_ledger_row *row, int64_t clock_ms)
{
    return row->at_ms > clock_ms - TW_LEDGER_LIFE_MS;
}
