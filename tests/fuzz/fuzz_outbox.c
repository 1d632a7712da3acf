/* Links: tw_fold */
/*
 * Hostile outboxes, as a store might give them back: bytes that are found whole render to records within their bounds,
 * and to the same ones again; anything else is BROKEN, never a part of it. Changes are made to one field at a time, with
 * its length put right, so that they get behind the lengths.
 */
#include <string.h>

#include "fuzz.h"
#include "tillwire/envelope.h"
#include "outbox.h"

enum { EVENT = 1, DEAD_LETTER = 2, SETTLEMENT = 3, NULL_LEN = -1, INT_BYTES = 8, HEADERS_OWN = 10 };

static struct tw_arena arena;

/* Reads every byte, so that one that is nobody's is found. */
static void hash_of(const struct tw_outbox_record *rendered, uint8_t ret_hash[TW_RECORD_HASH_BYTES])
{
    struct tw_record record = {.key = rendered->key,
                               .value = rendered->value,
                               .headers = rendered->headers,
                               .header_count = rendered->header_count};

    tw_record_hash(&record, ret_hash);
}

static void must_render_the_same(struct tw_str packed, const struct tw_outbox_record *records, size_t count)
{
    struct tw_outbox_record *again = NULL;
    size_t                   again_count = 0;
    uint8_t                  hashes[2][TW_RECORD_HASH_BYTES];

    must(tw_outbox_render(packed, "cart", 3, &arena, &again, &again_count, NULL) == TW_OK);
    must(again_count == count);
    for (size_t i = 0; i < count; i++) {
        hash_of(&records[i], hashes[0]);
        hash_of(&again[i], hashes[1]);
        must(records[i].dead_letter == again[i].dead_letter && memcmp(hashes[0], hashes[1], sizeof(hashes[0])) == 0);
        must(records[i].dead_letter || records[i].header_count <= HEADERS_OWN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str            own = tw_fuzz_own((struct tw_str){(const char *)bytes, len});
    struct tw_outbox_record *records = NULL;
    size_t                   count = 0;
    struct tw_err            err = {0};

    if (tw_outbox_render(own, "cart", 3, &arena, &records, &count, &err) == TW_OK)
        must_render_the_same(own, records, count);
    else
        must(err.rc == TW_BROKEN && !records);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)own.ptr);
    return 0;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

struct copying {
    struct tw_str  rest;
    struct tw_buf *out;
    uint64_t      *random;
    size_t         field, target;
    bool           ok;
};

static int64_t take_int(struct copying *copying)
{
    int64_t value = 0;

    copying->ok = copying->ok && copying->rest.len >= INT_BYTES;
    if (!copying->ok)
        return 0;
    memcpy(&value, copying->rest.ptr, INT_BYTES);
    copying->rest = (struct tw_str){copying->rest.ptr + INT_BYTES, copying->rest.len - INT_BYTES};
    return value;
}

static void copy_int(struct copying *copying)
{
    int64_t value = take_int(copying);

    if (copying->field++ == copying->target)
        tw_fuzz_add_mutated(copying->out, (struct tw_str){(const char *)&value, INT_BYTES}, 0);
    else
        tw_buf_add(copying->out, &value, INT_BYTES);
}

static void copy_bytes(struct copying *copying)
{
    int64_t       len = take_int(copying);
    struct tw_str bytes = {copying->rest.ptr, len > 0 ? (size_t)len : 0};
    struct tw_buf new = {0};

    copying->ok = copying->ok && len >= NULL_LEN && bytes.len <= copying->rest.len;
    if (!copying->ok)
        return;
    copying->rest = (struct tw_str){bytes.ptr + bytes.len, copying->rest.len - bytes.len};
    if (copying->field++ == copying->target)
        tw_fuzz_add_mutated(&new, bytes, 16);
    else
        tw_buf_add_str(&new, bytes);
    len = len == NULL_LEN && !new.len ? NULL_LEN : (int64_t) new.len;
    tw_buf_add(copying->out, &len, INT_BYTES);
    tw_buf_add_str(copying->out, tw_buf_str(&new));
    tw_buf_done(&new);
}

static void copy_headers(struct copying *copying)
{
    int64_t count = take_int(copying);

    copying->ok = copying->ok && count >= 0 && count < 1000;
    tw_buf_add(copying->out, &count, INT_BYTES);
    for (int64_t i = 0; copying->ok && i < 2 * count; i++)
        copy_bytes(copying);
}

static void copy_entry(struct copying *copying)
{
    /* i an integer, b bytes, h a list of headers */
    static const char *const layouts[] = {
        "", [EVENT] = "iiibbbbb", [DEAD_LETTER] = "iibbbiiiibbh", [SETTLEMENT] = "iibibbb"};
    uint8_t kind = tw_fuzz_take_byte(&copying->rest);

    copying->ok = kind >= EVENT && kind <= SETTLEMENT;
    tw_buf_add(copying->out, &kind, 1);
    for (const char *at = copying->ok ? layouts[kind] : ""; copying->ok && *at; at++) {
        if (*at == 'i')
            copy_int(copying);
        else if (*at == 'b')
            copy_bytes(copying);
        else
            copy_headers(copying);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned int seed)
{
    uint64_t       random = seed;
    struct tw_buf  out = {0};
    struct copying copying = {{(const char *)bytes, len}, &out, &random, 0, tw_fuzz_dice(&random, 24), true};

    while (copying.ok && copying.rest.len > 0)
        copy_entry(&copying);
    if (copying.ok && tw_fuzz_dice(&random, 8) == 0) /* cut short */
        out.len -= tw_fuzz_dice(&random, out.len < 16 ? out.len : 16);
    if (!copying.ok || tw_fuzz_dice(&random, 8) == 0)
        tw_buf_clear(&out);
    return tw_fuzz_replace(bytes, len, max, &out);
}
