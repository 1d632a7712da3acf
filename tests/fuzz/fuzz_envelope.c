/* Links: tw_fold */
/*
 * Hostile headers of records. Parts end with the bytes ASCII has for that: a header with RS, its name with US (without
 * one it has no value), the headers with GS, the key with GS; what is left is the value.
 *
 * A command's envelope that is taken is written and taken again as the same. A record that is given up comes out of the
 * outbox with its bytes untouched, the dead letter names where it lay, and what is requeued of it is the same command.
 */
#include <string.h>

#include "fuzz.h"
#include "tillwire/log.h"
#include "outbox.h"
#include "verdicts.h"

enum { RS = 0x1e, US = 0x1f, GS = 0x1d, HEADERS_MAX = 200, OFFSET = 4711, FIRST_OFFSET = 17, PARTITION = 3 };

static struct tw_arena arena;

/* --- the record --------------------------------------------------------------------------------------------------- */

static void read_headers(struct tw_str text, struct tw_header *headers, struct tw_record *record)
{
    while (text.len > 0 && record->header_count < HEADERS_MAX) {
        struct tw_str value = tw_fuzz_take(&text, RS);
        bool          has_value = memchr(value.ptr, US, value.len);
        struct tw_str name = tw_fuzz_take(&value, US);

        headers[record->header_count++] = (struct tw_header){name, has_value ? value : (struct tw_str){NULL, 0}};
    }
}

static struct tw_record read_record(struct tw_str input, struct tw_header *headers)
{
    struct tw_record record = {
        .partition = PARTITION, .offset = OFFSET, .timestamp_ms = 1795432108000, .headers = headers};

    read_headers(tw_fuzz_take(&input, GS), headers, &record);
    if (memchr(input.ptr, GS, input.len))
        record.key = tw_fuzz_take(&input, GS);
    record.value = input.len ? input : (struct tw_str){NULL, 0};
    return record;
}

/* --- what must hold ----------------------------------------------------------------------------------------------- */

static void must_be_same(const struct tw_envelope *a, const struct tw_envelope *b)
{
    must(tw_str_eq(a->type, b->type) && tw_uuid_eq(a->command_id, b->command_id));
    must(a->submitted_ms == b->submitted_ms && tw_str_eq(a->traceparent, b->traceparent));
    must(tw_uuid_eq(a->caller, b->caller) && memcmp(a->fingerprint, b->fingerprint, sizeof(a->fingerprint)) == 0);
    must(a->if_version == b->if_version && a->original_ms == b->original_ms);
}

static void try_envelope(const struct tw_record *record)
{
    struct tw_envelope envelope, again;
    struct tw_err      err = {0};
    struct tw_record   written = {0};

    if (tw_envelope_read(record, &envelope, &err) != TW_OK) {
        must(err.rc == TW_INVALID && strstr(err.msg, "header '"));
        return;
    }
    must(envelope.type.len > 0 && !tw_uuid_is_nil(envelope.command_id));
    tw_envelope_write(&envelope, "/tillwire/edge", &arena, &written.headers, &written.header_count);
    must(tw_envelope_read(&written, &again, NULL) == TW_OK);
    must_be_same(&envelope, &again);
}

static bool is_same(struct tw_str a, struct tw_str b)
{
    return tw_str_eq(a, b) && !a.ptr == !b.ptr; /* null is not empty */
}

static void must_be_untouched(const struct tw_record *record, const struct tw_outbox_record *letter)
{
    must(letter->dead_letter && is_same(record->key, letter->key) && is_same(record->value, letter->value));
    must(letter->header_count > record->header_count);
    for (size_t i = 0; i < record->header_count; i++)
        must(is_same(record->headers[i].name, letter->headers[i].name) &&
             is_same(record->headers[i].value, letter->headers[i].value));
}

/* The same command once more, now of an attempt; what could be read still can. */
static void must_be_requeued(const struct tw_record *record, const struct tw_record *read,
                             const struct tw_dead_letter *letter)
{
    const struct tw_operator_word word = {.asked_by = TW_STR("ada"), .because = TW_STR("mended")};
    struct tw_record              requeue;
    struct tw_envelope            before, after;

    must(tw_requeue_record(read, letter, &word, &arena, &requeue, NULL) == TW_OK);
    must(is_same(requeue.key, record->key) && is_same(requeue.value, record->value));
    if (tw_envelope_read(record, &before, NULL) != TW_OK)
        return;
    must(tw_envelope_read(&requeue, &after, NULL) == TW_OK);
    must(after.requeue_of == FIRST_OFFSET && after.attempt == letter->attempts + 1);
    must(after.original_ms == letter->first_failed_ms);
    before.original_ms = after.original_ms;
    must_be_same(&before, &after);
}

static void must_name_its_place(const struct tw_record *record, const struct tw_outbox_record *letter)
{
    struct tw_verdicts    verdicts = {0};
    struct tw_record      read = {.offset = 9,
                                  .key = letter->key,
                                  .value = letter->value,
                                  .headers = letter->headers,
                                  .header_count = letter->header_count};
    struct tw_dead_letter said;

    must(tw_str_is(tw_header_find(&read, TW_H_DLQ_TOPIC), "cart.commands"));
    must(tw_dead_letter_read(&read, &said) && !said.is_settlement && said.offset == OFFSET);
    must(said.first_offset == FIRST_OFFSET && said.attempts == 2 && tw_str_is(said.reason, "undecodable"));
    must_be_requeued(record, &read, &said);
    tw_verdicts_take(&verdicts, &read);
    must(verdicts.count == 1 && tw_verdicts_has(&verdicts, OFFSET));
    tw_verdicts_done(&verdicts);
}

static void try_dead_letter(const struct tw_record *record)
{
    struct tw_buf            packed = {0};
    struct tw_outbox_record *letters = NULL;
    size_t                   count = 0;
    struct tw_dead_entry     entry = {.reason = "undecodable",
                                      .message = TW_STR("it ends too early"),
                                      .program = "tillwire-cart 0.1.0",
                                      .first_offset = FIRST_OFFSET,
                                      .attempts = 2};

    tw_outbox_pack_dead_letter(&packed, record, &entry);
    must(tw_outbox_render(tw_buf_str(&packed), "cart", PARTITION, &arena, &letters, &count, NULL) == TW_OK);
    must(count == 1);
    must_be_untouched(record, letters);
    must_name_its_place(record, letters);
    tw_buf_done(&packed);
}

/* The record itself as a dead letter, or the end of one, that somebody wrote. */
static void try_verdict(const struct tw_record *record)
{
    struct tw_verdicts    verdicts = {0};
    struct tw_dead_letter letter;
    bool                  is_read = tw_dead_letter_read(record, &letter);

    tw_verdicts_take(&verdicts, record);
    must(verdicts.count == (is_read && !letter.is_settlement ? 1 : 0));
    must(verdicts.count == 0 || tw_verdicts_has(&verdicts, letter.offset));
    tw_verdicts_done(&verdicts);
}

static void try_copy(const struct tw_record *record)
{
    struct tw_record copy = tw_record_copy(record, HEADERS_MAX, &arena);
    uint8_t          hashes[2][TW_RECORD_HASH_BYTES];
    int32_t          partition = tw_partition_of(record->key, 6);

    tw_record_hash(record, hashes[0]);
    tw_record_hash(&copy, hashes[1]);
    must(memcmp(hashes[0], hashes[1], sizeof(hashes[0])) == 0);
    must(partition >= 0 && partition < 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct tw_header headers[HEADERS_MAX];
    struct tw_str           own = tw_fuzz_own((struct tw_str){(const char *)bytes, len});
    struct tw_record        record = read_record(own, headers);

    tw_log_set_level(TW_LOG_ERROR);
    try_envelope(&record);
    try_dead_letter(&record);
    try_verdict(&record);
    try_copy(&record);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)own.ptr);
    return 0;
}
