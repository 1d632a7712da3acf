/*
 * The commit, on a server that may have no transactions:
 *
 *   (a) compare-and-set on the partition's tw_progress document: new watermark, outbox and a redo record. This is the
 *       commit: what it says will happen, whoever does it.
 *   (b) apply the redo record (product_apply.c).
 *   (c) move tw_applied. "Readable" means: below it.
 *
 * A worker that dies between them leaves (b) and (c) to whoever calls watermark() next. The redo record is replaced by
 * the next batch's only after (c), which commit() makes sure of by reading tw_applied right before (a): a server that
 * was set back to a moment between (a) and (c) would otherwise lose a batch.
 */
#include "product_store.h"

#include <stdlib.h>
#include <string.h>

#include "product_apply.h"
#include "product_connection.h"
#include "product_domain.h"
#include "product_list.h"
#include "product_load.h"
#include "product_redo.h"
#include "tillwire/failpoint.h"
#include "tillwire/product_document.h"

enum {
    /* The runtime cuts batches so that they stay under 1 MiB; a document of MongoDB holds 16. */
    PROGRESS_MAX_BYTES = 15 << 20,
    SWEEP_MAX_ROWS = 1000,
    SWEEP_MAX_ROWS_BULK = 50000,
    WATERMARK_READS_MAX = 3,
};

struct store {
    struct tw_mongo        mongo;
    bool                   is_bulk;
    int64_t               *epochs; /* by partition: of tw_progress, as watermark() found it; -1: not yet */
    int32_t                epoch_count;
    struct tw_product_list keys[TW_RATING_ENTITY + 1]; /* of each kind */
    struct tw_product_list rows;
};

static bool find_int64(const bson_t *document, const char *path, int64_t *ret_number)
{
    bson_iter_t iter;
    bson_iter_t found;

    if (!bson_iter_init(&iter, document) || !bson_iter_find_descendant(&iter, path, &found) ||
        !BSON_ITER_HOLDS_INT64(&found))
        return false;
    *ret_number = bson_iter_int64(&found);
    return true;
}

static bool find_bytes(const bson_t *document, const char *path, struct tw_str *ret_bytes)
{
    const uint8_t *bytes = NULL;
    uint32_t       len = 0;
    bson_iter_t    iter;
    bson_iter_t    found;

    if (!bson_iter_init(&iter, document) || !bson_iter_find_descendant(&iter, path, &found) ||
        !BSON_ITER_HOLDS_BINARY(&found))
        return false;
    bson_iter_binary(&found, NULL, &len, &bytes);
    *ret_bytes = (struct tw_str){(const char *)bytes, len};
    return true;
}

static void append_bytes(bson_t *document, const char *name, const void *bytes, size_t len)
{
    BSON_APPEND_BINARY(document, name, BSON_SUBTYPE_BINARY, len ? bytes : "", (uint32_t)len);
}

/* --- one small number of a partition: tw_applied, or the watermark alone ------------------------------------------ */

struct number {
    const char *name;
    int64_t     value; /* 0 when there is no document yet */
};

static enum tw_rc take_number(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct number *number = context;

    if (!find_int64(document, number->name, &number->value))
        return tw_fail(reterr, TW_BROKEN, "product.store.read", 0, "a partition's '%s' is missing or malformed",
                       number->name);
    return TW_OK;
}

static enum tw_rc read_number(struct store *store, const char *collection, int32_t partition, const char *name,
                              int64_t *ret_value, struct tw_err *reterr)
{
    struct number number = {.name = name};
    bson_t       *filter = BCON_NEW("_id", BCON_INT32(partition));
    bson_t       *options = BCON_NEW("projection", "{", name, BCON_INT32(1), "}");
    enum tw_rc    rc =
        tw_mongo_find(&store->mongo, collection, filter, options, take_number, &number, "product.store.read", reterr);

    bson_destroy(options);
    bson_destroy(filter);
    if (rc == TW_OK)
        *ret_value = number.value;
    return rc;
}

static enum tw_rc read_applied(struct store *store, int32_t partition, int64_t *ret_applied, struct tw_err *reterr)
{
    return read_number(store, TW_MONGO_APPLIED, partition, "applied", ret_applied, reterr);
}

static enum tw_rc check_number(struct store *store, const char *collection, const char *name, int32_t partition,
                               int64_t wanted, const char *where, struct tw_err *reterr)
{
    int64_t value;

    TW_TRY(read_number(store, collection, partition, name, &value, reterr));
    if (value != wanted)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: '%s' is %lld, not %lld", (int)partition, name,
                       (long long)value, (long long)wanted);
    return TW_OK;
}

static enum tw_rc check_watermark(struct store *store, int32_t partition, int64_t wanted, const char *where,
                                  struct tw_err *reterr)
{
    return check_number(store, TW_MONGO_PROGRESS, "next", partition, wanted, where, reterr);
}

static enum tw_rc check_applied(struct store *store, int32_t partition, int64_t wanted, const char *where,
                                struct tw_err *reterr)
{
    return check_number(store, TW_MONGO_APPLIED, "applied", partition, wanted, where, reterr);
}

/* --- compare-and-set ---------------------------------------------------------------------------------------------- */

/* One update of the partition's document where it is as `expected` says, and, when it may be the first ever, where there
 * is no document. *ret_matched false: something else stands there. */
static enum tw_rc compare_and_set(struct store *store, const char *collection, const bson_t *expected,
                                  const bson_t *update, bool may_be_first, bool *ret_matched, const char *where,
                                  struct tw_err *reterr)
{
    struct tw_mongo_written written;
    bson_t *command = BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", BCON_DOCUMENT(expected), "u",
                               BCON_DOCUMENT(update), "upsert", BCON_BOOL(may_be_first), "}", "]");
    enum tw_rc rc = tw_mongo_write(&store->mongo, command, where, &written, reterr);

    bson_destroy(command);
    if (rc == TW_OK)
        *ret_matched = written.matched == 1 && !written.duplicates; /* a duplicate: there is a document after all */
    return rc;
}

static bson_t *new_expected(int32_t partition, const char *name, int64_t value)
{
    return BCON_NEW("_id", BCON_INT32(partition), name, BCON_INT64(value));
}

/* 0 stands for a field that is not there. `$exists` rather than null, which an upsert would write. */
static void expect_number(bson_t *expected, const char *name, int64_t value)
{
    bson_t *absent = BCON_NEW("$exists", BCON_BOOL(false));

    if (value)
        BSON_APPEND_INT64(expected, name, value);
    else
        BSON_APPEND_DOCUMENT(expected, name, absent);
    bson_destroy(absent);
}

static bson_t *new_expected_progress(int32_t partition, int64_t next_offset, int64_t mark)
{
    bson_t *expected = new_expected(partition, "next", next_offset);

    expect_number(expected, "mark", mark);
    return expected;
}

/* Step (c). No match: somebody did it. */
static enum tw_rc move_applied(struct store *store, int32_t partition, int64_t from, int64_t to, struct tw_err *reterr)
{
    bson_t    *expected = new_expected(partition, "applied", from);
    bson_t    *update = BCON_NEW("$set", "{", "applied", BCON_INT64(to), "}");
    bool       matched;
    enum tw_rc rc = compare_and_set(store, TW_MONGO_APPLIED, expected, update, from == 0, &matched,
                                    "product.store.move_applied", reterr);

    bson_destroy(update);
    bson_destroy(expected);
    return rc;
}

/* Steps (b) and (c). */
static enum tw_rc finish(struct store *store, int32_t partition, int64_t from, int64_t to, const bson_t *redo,
                         struct tw_err *reterr)
{
    TW_TRY(tw_product_apply(&store->mongo, redo, reterr));
    if (tw_failpoint("before_applied"))
        return tw_fail(reterr, TW_UNKNOWN, "product.store.commit", 0, "failpoint before_applied");
    return move_applied(store, partition, from, to, reterr);
}

/* --- watermark ---------------------------------------------------------------------------------------------------- */

static const char where_watermark[] = "product.store.watermark";

/* A tw_progress document as it was read. */
struct progress {
    struct tw_arena   *arena;
    struct tw_progress value;
    int64_t            epoch;
    int64_t            redo_from; /* -1: there is no redo record */
    int64_t            redo_to;
    struct tw_str      redo;
};

/* A document without one was made by a mark, or is the work of a swap: there is nothing to finish. */
static bool find_redo(const bson_t *document, struct progress *progress)
{
    if (!bson_has_field(document, "redo"))
        return true;
    if (!find_int64(document, "redo.from", &progress->redo_from) ||
        !find_int64(document, "redo.to", &progress->redo_to) || !find_bytes(document, "redo.writes", &progress->redo))
        return false;
    progress->redo = tw_arena_copy(progress->arena, progress->redo);
    return true;
}

/* A number that need not be there: 0. */
static bool find_optional(const bson_t *document, const char *name, int64_t *ret_number)
{
    *ret_number = 0;
    return !bson_has_field(document, name) || find_int64(document, name, ret_number);
}

static enum tw_rc take_progress(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct progress   *progress = context;
    struct tw_progress value;
    struct tw_str      hash;
    bson_iter_t        clock;

    if (!find_int64(document, "next", &value.next_offset) || !bson_iter_init_find(&clock, document, "clock") ||
        !BSON_ITER_HOLDS_DATE_TIME(&clock) || !find_bytes(document, "last_hash", &hash) ||
        hash.len != sizeof(value.last_hash) || !find_bytes(document, "outbox", &value.outbox) ||
        !find_optional(document, "mark", &value.mark) || !find_optional(document, "epoch", &progress->epoch) ||
        !find_redo(document, progress))
        return tw_fail(reterr, TW_BROKEN, where_watermark, 0, "a document of " TW_MONGO_PROGRESS " is malformed");
    value.clock_ms = bson_iter_date_time(&clock);
    memcpy(value.last_hash, hash.ptr, hash.len);
    value.outbox = tw_arena_copy(progress->arena, value.outbox);
    progress->value = value;
    return TW_OK;
}

static enum tw_rc read_progress(struct store *store, int32_t partition, struct tw_arena *arena,
                                struct progress *ret_progress, struct tw_err *reterr)
{
    bson_t    *filter = BCON_NEW("_id", BCON_INT32(partition));
    enum tw_rc rc;

    *ret_progress = (struct progress){.arena = arena, .redo_from = -1, .redo_to = -1};
    rc = tw_mongo_find(&store->mongo, TW_MONGO_PROGRESS, filter, NULL, take_progress, ret_progress, where_watermark,
                       reterr);
    bson_destroy(filter);
    return rc;
}

static enum tw_rc finish_left_over(struct store *store, int32_t partition, const struct progress *progress,
                                   struct tw_err *reterr)
{
    bson_t     redo;
    enum tw_rc rc;

    if (!bson_init_static(&redo, (const uint8_t *)progress->redo.ptr, progress->redo.len) ||
        !bson_validate(&redo, BSON_VALIDATE_NONE, NULL))
        return tw_fail(reterr, TW_BROKEN, where_watermark, 0, "the redo record of partition %d is malformed",
                       (int)partition);
    rc = finish(store, partition, progress->redo_from, progress->redo_to, &redo, reterr);
    return rc == TW_UNKNOWN ? TW_UNREACHED : rc; /* to be done again is all there is to know */
}

static int64_t *epoch_of(struct store *store, int32_t partition)
{
    if (partition >= store->epoch_count) {
        int32_t count = partition + 1;

        store->epochs = tw_realloc(store->epochs, (size_t)count * sizeof(*store->epochs));
        for (int32_t i = store->epoch_count; i < count; i++)
            store->epochs[i] = -1;
        store->epoch_count = count;
    }
    return &store->epochs[partition];
}

/* What was read before a swap must not be taken for what is there now, though the watermark is the same. So another epoch
 * than the last time is told once; the commit of whoever does not look expects the one that was seen. */
static enum tw_rc see_epoch(struct store *store, int32_t partition, int64_t epoch, struct tw_err *reterr)
{
    int64_t *known = epoch_of(store, partition);
    int64_t  before = *known;

    *known = before >= 0 && before != epoch ? -1 : epoch;
    if (*known == epoch)
        return TW_OK;
    return tw_fail(reterr, TW_UNREACHED, where_watermark, 0, "partition %d: another store took the place of this one",
                   (int)partition);
}

/* tw_applied is read before tw_progress, so it is never ahead of it; behind the redo record it may seem when another
 * worker was quick between the two reads, but not again and again. Where a mark is lasting another store may be on its
 * way into this one's place (product_exchange.c): then the two need not agree. */
static enum tw_rc watermark(void *self, int32_t partition, struct tw_arena *arena, struct tw_progress *ret_progress,
                            struct tw_err *reterr)
{
    struct store   *store = self;
    struct progress progress;
    int64_t         applied;

    TW_TRY(tw_mongo_connect(&store->mongo, reterr));
    for (int i = 0; i < WATERMARK_READS_MAX; i++) {
        TW_TRY(read_applied(store, partition, &applied, reterr));
        TW_TRY(read_progress(store, partition, arena, &progress, reterr));
        if (applied == progress.redo_from && progress.redo_to == progress.value.next_offset) {
            TW_TRY(finish_left_over(store, partition, &progress, reterr));
            applied = progress.redo_to;
        }
        if (applied == progress.value.next_offset || progress.value.mark < 0) {
            TW_TRY(see_epoch(store, partition, progress.epoch, reterr));
            *ret_progress = progress.value;
            return TW_OK;
        }
    }
    return tw_fail(reterr, TW_BROKEN, where_watermark, 0,
                   "partition %d: applied is %lld, the watermark %lld: was the store restored in parts?",
                   (int)partition, (long long)applied, (long long)progress.value.next_offset);
}

/* --- load --------------------------------------------------------------------------------------------------------- */

static const char where_load[] = "product.store.load";

/* A product or rating ahead of the watermark: either another worker went on while this one read, or the parts of the
 * store are not of one moment. */
static enum tw_rc explain_newer_document(struct store *store, int32_t partition, int64_t first_offset, int64_t guard,
                                         struct tw_err *reterr)
{
    TW_TRY(check_watermark(store, partition, first_offset, where_load, reterr));
    return tw_fail(reterr, TW_BROKEN, where_load, 0,
                   "partition %d: a document has the effect of offset %lld, the watermark is %lld: the store was "
                   "restored in parts, restore it from one moment or empty it",
                   (int)partition, (long long)guard, (long long)first_offset);
}

/* What is read has the effect of all below tw_applied, whose document is small, while that of tw_progress has a redo
 * record and an outbox to be gone through. A worker that went on meanwhile is met at the compare-and-set, as one that
 * does so after this look. */
static enum tw_rc load(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                       struct tw_arena *arena, struct tw_err *reterr)
{
    struct store *store = self;
    int64_t       newest_guard;

    TW_TRY(check_applied(store, partition, first_offset, where_load, reterr));
    TW_TRY(tw_product_load(&store->mongo, partition, load, arena, &newest_guard, reterr));
    if (newest_guard >= first_offset)
        return explain_newer_document(store, partition, first_offset, newest_guard, reterr);
    return TW_OK;
}

/* --- commit ------------------------------------------------------------------------------------------------------- */

static const char where_commit[] = "product.store.commit";

static bson_t *new_progress_update(const struct tw_changes *changes, const bson_t *redo)
{
    const struct tw_progress *after = &changes->after;
    bson_t                   *update = bson_new();
    bson_t                    set;
    bson_t                    record;

    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_INT64(&set, "next", after->next_offset);
    BSON_APPEND_DATE_TIME(&set, "clock", after->clock_ms);
    append_bytes(&set, "last_hash", after->last_hash, sizeof(after->last_hash));
    append_bytes(&set, "outbox", after->outbox.ptr, after->outbox.len);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "redo", &record);
    BSON_APPEND_INT64(&record, "from", changes->first_offset);
    BSON_APPEND_INT64(&record, "to", after->next_offset);
    append_bytes(&record, "writes", bson_get_data(redo), redo->len);
    bson_append_document_end(&set, &record);
    bson_append_document_end(update, &set);
    return update;
}

/* Step (a). A frozen partition has no such document, nor has one where another store was put into this one's place since
 * watermark(): what the batch rests on may be of the store that was there. */
static enum tw_rc swap_progress(struct store *store, const struct tw_changes *changes, const bson_t *update,
                                struct tw_err *reterr)
{
    int64_t    epoch = *epoch_of(store, changes->partition);
    bson_t    *expected = new_expected_progress(changes->partition, changes->first_offset, 0);
    bool       matched;
    enum tw_rc rc;

    expect_number(expected, "epoch", epoch < 0 ? 0 : epoch);
    rc = compare_and_set(store, TW_MONGO_PROGRESS, expected, update, changes->first_offset == 0, &matched, where_commit,
                         reterr);
    bson_destroy(expected);
    if (tw_failpoint("in_commit"))
        return tw_fail(reterr, TW_UNKNOWN, where_commit, 0, "failpoint in_commit");
    if (rc == TW_OK && !matched)
        return tw_fail(reterr, TW_FENCED, where_commit, 0, "partition %d: the watermark is not %lld, or it is frozen",
                       (int)changes->partition, (long long)changes->first_offset);
    return rc;
}

static enum tw_rc commit_redo(struct store *store, const struct tw_changes *changes, const bson_t *redo,
                              const bson_t *update, struct tw_err *reterr)
{
    enum tw_rc rc;

    if (update->len > PROGRESS_MAX_BYTES) /* the runtime tries halves */
        return tw_fail(reterr, TW_REFUSED, where_commit, 0, "the redo record has %u bytes, at most %d fit",
                       (unsigned int)update->len, PROGRESS_MAX_BYTES);
    TW_TRY(check_applied(store, changes->partition, changes->first_offset, where_commit, reterr));
    if (tw_failpoint("before_redo"))
        return tw_fail(reterr, TW_UNREACHED, where_commit, 0, "failpoint before_redo");
    TW_TRY(swap_progress(store, changes, update, reterr));
    if (tw_failpoint("after_redo"))
        return tw_fail(reterr, TW_UNKNOWN, where_commit, 0, "failpoint after_redo");
    rc = finish(store, changes->partition, changes->first_offset, changes->after.next_offset, redo, reterr);
    return rc == TW_UNREACHED ? TW_UNKNOWN : rc; /* it is committed: watermark() does the rest */
}

static enum tw_rc commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct store *store = self;
    bson_t        redo;
    bson_t       *update;
    enum tw_rc    rc;

    if (store->is_bulk)
        tw_product_redo_build_bulk(changes, &redo);
    else
        tw_product_redo_build(changes, &redo);
    update = new_progress_update(changes, &redo);
    rc = commit_redo(store, changes, &redo, update, reterr);
    bson_destroy(update);
    bson_destroy(&redo);
    return rc;
}

/* --- the rest of the port ----------------------------------------------------------------------------------------- */

static void abandon(void *self, int32_t partition)
{
    (void)self; /* a load holds nothing on the server */
    (void)partition;
}

/* The redo record stays: a server set back to a moment before (c) still needs it. */
static enum tw_rc forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    static const char where[] = "product.store.forget_outbox";
    bson_t           *expected = new_expected(partition, "next", next_offset); /* with a mark, too */
    bson_t    *update = BCON_NEW("$set", "{", "outbox", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0), "}");
    bool       matched;
    enum tw_rc rc = compare_and_set(self, TW_MONGO_PROGRESS, expected, update, false, &matched, where, reterr);

    bson_destroy(update);
    bson_destroy(expected);
    if (rc != TW_OK || matched)
        return rc;
    return check_watermark(self, partition, next_offset, where, reterr); /* nothing was ever committed: 0 */
}

static enum tw_rc take_time(void *context, const bson_t *document, struct tw_err *reterr)
{
    int64_t    *at_ms = context;
    bson_iter_t iter;

    (void)reterr;
    if (bson_iter_init_find(&iter, document, "at") && BSON_ITER_HOLDS_DATE_TIME(&iter))
        *at_ms = bson_iter_date_time(&iter);
    return TW_OK;
}

/* The time up to which as many rows can go as one sweep takes, at most *inout_until_ms. */
static enum tw_rc bound_sweep(struct store *store, int32_t partition, int64_t *inout_until_ms, struct tw_err *reterr)
{
    int32_t    rows = store->is_bulk ? SWEEP_MAX_ROWS_BULK : SWEEP_MAX_ROWS;
    int64_t    nth_ms = *inout_until_ms;
    bson_t    *filter = BCON_NEW("partition", BCON_INT32(partition));
    bson_t    *options = BCON_NEW("projection", "{", "at", BCON_INT32(1), "}", "sort", "{", "at", BCON_INT32(1), "}",
                                  "skip", BCON_INT32(rows - 1), "limit", BCON_INT32(1));
    enum tw_rc rc = tw_mongo_find(&store->mongo, TW_MONGO_LEDGER, filter, options, take_time, &nth_ms,
                                  "product.store.sweep", reterr);

    bson_destroy(options);
    bson_destroy(filter);
    if (nth_ms < *inout_until_ms)
        *inout_until_ms = nth_ms;
    return rc;
}

/* Rows that count no more. A late sweep takes nothing that a timely one would not have taken. */
static enum tw_rc sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms, struct tw_err *reterr)
{
    static const char       where[] = "product.store.sweep";
    struct store           *store = self;
    int64_t                 until_ms = clock_ms - TW_LEDGER_LIFE_MS;
    struct tw_mongo_written written;
    bson_t                 *command;
    enum tw_rc              rc;

    TW_TRY(check_watermark(store, partition, next_offset, where, reterr));
    TW_TRY(bound_sweep(store, partition, &until_ms, reterr));
    command = BCON_NEW("delete", TW_MONGO_LEDGER, "deletes", "[", "{", "q", "{", "partition", BCON_INT32(partition),
                       "at", "{", "$lte", BCON_DATE_TIME(until_ms), "}", "}", "limit", BCON_INT32(0), "}", "]");
    rc = tw_mongo_write(&store->mongo, command, where, &written, reterr);
    bson_destroy(command);
    return rc == TW_UNKNOWN ? TW_UNREACHED : rc;
}

static void release(void *self, int32_t partition)
{
    *epoch_of(self, partition) = -1;
}

/* --- for what looks at a whole store ------------------------------------------------------------------------------ */

/* With what a partition's document has that nothing was folded of. */
static bson_t *new_mark_update(int64_t to)
{
    static const uint8_t no_hash[TW_RECORD_HASH_BYTES];
    bson_t              *update = bson_new();
    bson_t               values;

    BSON_APPEND_DOCUMENT_BEGIN(update, to ? "$set" : "$unset", &values);
    BSON_APPEND_INT64(&values, "mark", to);
    bson_append_document_end(update, &values);
    BSON_APPEND_DOCUMENT_BEGIN(update, "$setOnInsert", &values);
    BSON_APPEND_DATE_TIME(&values, "clock", 0);
    append_bytes(&values, "last_hash", no_hash, sizeof(no_hash));
    append_bytes(&values, "outbox", NULL, 0);
    bson_append_document_end(update, &values);
    return update;
}

static enum tw_rc set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                           struct tw_err *reterr)
{
    static const char where[] = "product.store.set_mark";
    bson_t           *expected = new_expected_progress(partition, next_offset, from);
    bson_t           *update = new_mark_update(to);
    bool              matched;
    enum tw_rc        rc =
        compare_and_set(self, TW_MONGO_PROGRESS, expected, update, next_offset == 0 && !from, &matched, where, reterr);

    bson_destroy(update);
    bson_destroy(expected);
    if (rc == TW_OK && !matched)
        return tw_fail(reterr, TW_FENCED, where, 0, "partition %d: the watermark is not %lld, or the mark not %lld",
                       (int)partition, (long long)next_offset, (long long)from);
    return rc;
}

static enum tw_rc list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                       size_t *ret_count, struct tw_err *reterr)
{
    struct store *store = self;

    return tw_product_list_keys(&store->mongo, &store->keys[kind], kind, from_start, ret_keys, max, ret_count, reterr);
}

static enum tw_rc list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                            size_t *ret_count, struct tw_err *reterr)
{
    struct store *store = self;

    return tw_product_list_rows(&store->mongo, &store->rows, partition, from_start, ret_ids, max, ret_count, reterr);
}

enum tw_rc tw_product_store_open(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    struct store   *store;
    struct tw_mongo mongo;

    TW_TRY(tw_mongo_init(uri, timeout_ms, &mongo, reterr));
    store = tw_alloc_zeroed(1, sizeof(*store));
    store->mongo = mongo;
    *ret_store = (struct tw_store){
        .watermark = watermark,
        .load = load,
        .commit = commit,
        .abandon = abandon,
        .forget_outbox = forget_outbox,
        .sweep = sweep,
        .release = release,
        .set_mark = set_mark,
        .list = list,
        .list_rows = list_rows,
        .self = store,
    };
    return TW_OK;
}

void tw_product_store_bulk(struct tw_store *store)
{
    struct store *self = store->self;

    self->is_bulk = true;
    tw_mongo_relax(&self->mongo);
}

void tw_product_store_close(struct tw_store *store)
{
    struct store *self = store ? store->self : NULL;

    if (!self)
        return;
    for (size_t i = 0; i < TW_LEN(self->keys); i++)
        tw_product_list_end(&self->keys[i]);
    tw_product_list_end(&self->rows);
    tw_mongo_done(&self->mongo);
    free(self->epochs);
    free(self);
    *store = (struct tw_store){0};
}
