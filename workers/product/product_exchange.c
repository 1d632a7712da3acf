#include "product_exchange.h"

#include <stdio.h>
#include <string.h>

#include "product_bson.h"
#include "product_writer.h"
#include "tillwire/product_document.h"

static const char where[] = "product.exchange";

#define JOURNAL "tw_swap_"

/* The parts of a store that are exchanged document by document, and where the journal has them. */
static const struct part {
    const char *collection;
    const char *journal;
    bson_type_t id_type;
} parts[] = {
    {TW_MONGO_PRODUCTS, JOURNAL "products", BSON_TYPE_OID},
    {TW_MONGO_RATINGS, JOURNAL "ratings", BSON_TYPE_UTF8},
    {TW_MONGO_LEDGER, JOURNAL "ledger", BSON_TYPE_UTF8},
};

static const char journal_of_progress[] = JOURNAL "progress";

/* Whose content: also the name in the journal. */
static const char of_live[] = "live";
static const char of_shadow[] = "shadow";

enum {
    TELL_EVERY = 1000,       /* documents between two calls of tell() */
    DOCUMENTS_A_TIME = 1000, /* in an answer of the server, so that memory does not grow with the catalogue */
};

static bool is_of_journal(const char *collection)
{
    return !strncmp(collection, JOURNAL, strlen(JOURNAL));
}

static void free_bson(bson_t **document)
{
    bson_destroy(*document);
}

static void tell(struct tw_exchange *exchange, int64_t documents)
{
    int64_t before = exchange->done;

    exchange->done += documents;
    if (exchange->tell && (exchange->done / TELL_EVERY != before / TELL_EVERY || exchange->done == exchange->all))
        exchange->tell(exchange->teller, exchange->done, exchange->all);
}

static enum tw_rc count_documents(struct tw_mongo *mongo, const char *collection, int64_t *inout_count,
                                  struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *command = BCON_NEW("count", BCON_UTF8(collection));
    bson_t                     reply;
    bson_iter_t                iter;

    TW_TRY(tw_mongo_command(mongo, command, "counting", &reply, reterr));
    if (bson_iter_init_find(&iter, &reply, "n"))
        *inout_count += bson_iter_as_int64(&iter);
    bson_destroy(&reply);
    return TW_OK;
}

static enum tw_rc count_journal(struct tw_exchange *exchange, int64_t *ret_count, struct tw_err *reterr)
{
    int64_t count = 0;

    for (size_t i = 0; i < TW_LEN(parts); i++)
        TW_TRY(count_documents(exchange->shadow, parts[i].journal, &count, reterr));
    *ret_count = count;
    return TW_OK;
}

static void begin_writing(struct tw_exchange *exchange, struct tw_mongo *to, const char *verb, const char *collection,
                          struct tw_writer *ret_writer)
{
    tw_writer_init(ret_writer, to, verb, collection);
    ret_writer->may_go_on = exchange->may_go_on;
    ret_writer->asked = exchange->asked;
}

/* --- one store's documents, in the order of their ids ------------------------------------------------------------- */

/* An `_id`, as both servers sort ours: by its bytes. */
struct id {
    size_t len; /* 0: none yet */
    char   bytes[TW_RATING_DOCUMENT_ID];
};

struct side {
    struct tw_mongo_scan scan;
    const bson_t        *document; /* NULL: there are no more */
    struct id            id;
};

static void side_done(struct side *side)
{
    tw_mongo_scan_end(&side->scan);
}

static int compare_ids(const struct id *a, const struct id *b)
{
    return tw_str_cmp((struct tw_str){a->bytes, a->len}, (struct tw_str){b->bytes, b->len});
}

static bool take_id(const bson_t *document, bson_type_t type, struct id *ret_id)
{
    bson_iter_t iter;
    const char *bytes;
    uint32_t    len = sizeof(bson_oid_t);

    if (!bson_iter_init_find(&iter, document, "_id") || bson_iter_type(&iter) != type)
        return false;
    bytes = type == BSON_TYPE_OID ? (const char *)bson_iter_oid(&iter)->bytes : bson_iter_utf8(&iter, &len);
    if (!len || len > sizeof(ret_id->bytes))
        return false;
    memcpy(ret_id->bytes, bytes, len);
    ret_id->len = len;
    return true;
}

static enum tw_rc advance(struct side *side, const struct part *part, struct tw_err *reterr)
{
    struct id before = side->id;

    TW_TRY(tw_mongo_scan_next(&side->scan, &side->document, where, reterr));
    if (!side->document)
        return TW_OK;
    if (!take_id(side->document, part->id_type, &side->id))
        return tw_fail(reterr, TW_BROKEN, where, 0, "an '_id' in '%s' is none of ours: that document has to go first",
                       part->collection);
    if (compare_ids(&before, &side->id) >= 0)
        return tw_fail(reterr, TW_BROKEN, where, 0, "MongoDB does not give '%s' in the order of '_id'",
                       part->collection);
    return TW_OK;
}

static enum tw_rc begin_side(struct side *side, const struct tw_mongo *mongo, const struct part *part,
                             struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *all = bson_new();
    TW_AUTO(free_bson)
    bson_t *options = BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "batchSize", BCON_INT32(DOCUMENTS_A_TIME));

    TW_TRY(tw_mongo_scan_begin(mongo, part->collection, all, options, &side->scan, reterr));
    return advance(side, part, reterr);
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static bool same_value(const bson_iter_t *a, const bson_iter_t *b)
{
    bson_t value_a = BSON_INITIALIZER;
    bson_t value_b = BSON_INITIALIZER;
    bool   same;

    bson_append_iter(&value_a, "", 0, a);
    bson_append_iter(&value_b, "", 0, b);
    same = bson_equal(&value_a, &value_b);
    bson_destroy(&value_b);
    bson_destroy(&value_a);
    return same;
}

/* In whatever order: it tells how a document came to be, not what it says. */
static bool same_document(const bson_t *a, const bson_t *b)
{
    bson_iter_t at_a;
    bson_iter_t at_b;

    if (bson_equal(a, b))
        return true;
    if (bson_count_keys(a) != bson_count_keys(b) || !bson_iter_init(&at_a, a))
        return false;
    while (bson_iter_next(&at_a))
        if (!bson_iter_init_find(&at_b, b, bson_iter_key(&at_a)) || !same_value(&at_a, &at_b))
            return false;
    return true;
}

/* NULL: this side has no such document. */
static enum tw_rc write_down(struct tw_writer *journal, const bson_t *live, const bson_t *shadow, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *entry = bson_new();
    bson_iter_t                id;

    if (!bson_iter_init_find(&id, live ? live : shadow, "_id") || !bson_append_iter(entry, "_id", -1, &id))
        return tw_fail(reterr, TW_BROKEN, where, 0, "a document has no '_id'");
    if (live)
        bson_append_document(entry, of_live, -1, live);
    if (shadow)
        bson_append_document(entry, of_shadow, -1, shadow);
    return tw_writer_add(journal, entry, reterr);
}

/* Takes the smaller of the next documents of both sides, or both when they have the same id. */
static enum tw_rc compare_next(struct side *live, struct side *shadow, const struct part *part,
                               struct tw_writer *journal, int64_t *ret_taken, struct tw_err *reterr)
{
    int  order = !live->document ? 1 : !shadow->document ? -1 : compare_ids(&live->id, &shadow->id);
    bool takes_live = order <= 0;
    bool takes_shadow = order >= 0;

    if (order != 0 || !same_document(live->document, shadow->document))
        TW_TRY(write_down(journal, takes_live ? live->document : NULL, takes_shadow ? shadow->document : NULL, reterr));
    if (takes_live)
        TW_TRY(advance(live, part, reterr));
    if (takes_shadow)
        TW_TRY(advance(shadow, part, reterr));
    *ret_taken = takes_live + takes_shadow;
    return TW_OK;
}

static enum tw_rc compare_sides(struct tw_exchange *exchange, const struct part *part, struct tw_writer *journal,
                                struct tw_err *reterr)
{
    TW_AUTO(side_done) struct side live = {0};
    TW_AUTO(side_done) struct side shadow = {0};

    TW_TRY(begin_side(&live, exchange->live, part, reterr));
    TW_TRY(begin_side(&shadow, exchange->shadow, part, reterr));
    while (live.document || shadow.document) {
        int64_t taken = 0;

        TW_TRY(compare_next(&live, &shadow, part, journal, &taken, reterr));
        tell(exchange, taken);
    }
    return tw_writer_flush(journal, reterr);
}

static enum tw_rc compare_part(struct tw_exchange *exchange, const struct part *part, struct tw_err *reterr)
{
    TW_AUTO(tw_writer_done) struct tw_writer journal;

    begin_writing(exchange, exchange->shadow, "insert", part->journal, &journal);
    return compare_sides(exchange, part, &journal, reterr);
}

/* --- progress ----------------------------------------------------------------------------------------------------- */

static enum tw_rc take_copy(void *context, const bson_t *document, struct tw_err *reterr)
{
    (void)reterr;
    bson_destroy(*(bson_t **)context);
    *(bson_t **)context = bson_copy(document);
    return TW_OK;
}

static int64_t number_in(const bson_t *document, const char *name)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, document, name) ? bson_iter_as_int64(&iter) : 0;
}

/* What a store that nothing was folded into would have. */
static void append_nothing(bson_t *fields)
{
    static const uint8_t no_hash[TW_RECORD_HASH_BYTES];

    BSON_APPEND_INT64(fields, "next", 0);
    BSON_APPEND_DATE_TIME(fields, "clock", 0);
    BSON_APPEND_BINARY(fields, "last_hash", BSON_SUBTYPE_BINARY, no_hash, sizeof(no_hash));
}

/* What goes from one store to the other of a partition's progress; its mark, redo record and outbox stay behind. */
static enum tw_rc read_fields(struct tw_mongo *mongo, int32_t partition, bson_t *fields, int64_t *ret_epoch,
                              struct tw_err *reterr)
{
    static const char *const   names[] = {"next", "clock", "last_hash"};
    TW_AUTO(free_bson) bson_t *filter = BCON_NEW("_id", BCON_INT32(partition));
    TW_AUTO(free_bson) bson_t *document = bson_new();

    TW_TRY(tw_mongo_find(mongo, TW_MONGO_PROGRESS, filter, NULL, take_copy, &document, where, reterr));
    *ret_epoch = number_in(document, "epoch");
    if (bson_empty(document))
        append_nothing(fields);
    for (size_t i = 0; i < TW_LEN(names) && !bson_empty(document); i++) {
        bson_iter_t iter;

        if (!bson_iter_init_find(&iter, document, names[i]) || !bson_append_iter(fields, NULL, 0, &iter))
            return tw_fail(reterr, TW_BROKEN, where, 0, "the progress of partition %d has no '%s'", (int)partition,
                           names[i]);
    }
    return TW_OK;
}

/* Whoever read from the live store before is told by the epoch that it is another one. */
static enum tw_rc compare_progress(struct tw_exchange *exchange, int32_t partition, struct tw_writer *journal,
                                   struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *live = bson_new();
    TW_AUTO(free_bson) bson_t *shadow = bson_new();
    TW_AUTO(free_bson) bson_t *entry = NULL;
    int64_t                    epoch;
    int64_t                    unused;

    TW_TRY(read_fields(exchange->live, partition, live, &epoch, reterr));
    TW_TRY(read_fields(exchange->shadow, partition, shadow, &unused, reterr));
    entry = BCON_NEW("_id", BCON_INT32(partition), of_live, BCON_DOCUMENT(live), of_shadow, BCON_DOCUMENT(shadow),
                     "epoch", BCON_INT64(epoch + 1));
    return tw_writer_add(journal, entry, reterr);
}

static enum tw_rc compare_vectors(struct tw_exchange *exchange, struct tw_err *reterr)
{
    TW_AUTO(tw_writer_done) struct tw_writer journal;

    begin_writing(exchange, exchange->shadow, "insert", journal_of_progress, &journal);
    for (int32_t i = 0; i < exchange->partition_count; i++)
        TW_TRY(compare_progress(exchange, i, &journal, reterr));
    return tw_writer_flush(&journal, reterr);
}

static enum tw_rc add_update(struct tw_writer *writer, const bson_t *id, const bson_t *update, bool may_insert,
                             struct tw_err *reterr)
{
    TW_AUTO(free_bson)
    bson_t *statement = BCON_NEW("q", BCON_DOCUMENT(id), "u", BCON_DOCUMENT(update), "upsert", BCON_BOOL(may_insert));

    return tw_writer_add(writer, statement, reterr);
}

static enum tw_rc set_applied(struct tw_writer *writer, int32_t partition, int64_t applied, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = BCON_NEW("_id", BCON_INT32(partition));
    TW_AUTO(free_bson) bson_t *document = BCON_NEW("_id", BCON_INT32(partition), "applied", BCON_INT64(applied));

    return add_update(writer, id, document, true, reterr);
}

static int32_t partition_in(const bson_t *entry)
{
    return (int32_t)number_in(entry, "_id");
}

typedef enum tw_rc entry_fn(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr);

/* What one walk through a part of the journal writes. */
struct job {
    const char      *journal;
    struct tw_mongo *to;
    const char      *verb;
    const char      *collection;
    entry_fn        *each;
    bool             is_told; /* its entries count for whoever watches */
};

static enum tw_rc walk(struct tw_exchange *exchange, const struct job *job, struct tw_writer *writer,
                       struct tw_err *reterr)
{
    TW_AUTO(tw_mongo_scan_end) struct tw_mongo_scan scan = {0};
    TW_AUTO(free_bson) bson_t                      *all = bson_new();
    TW_AUTO(free_bson) bson_t                      *options = BCON_NEW("batchSize", BCON_INT32(DOCUMENTS_A_TIME));
    const bson_t                                   *entry = NULL;

    TW_TRY(tw_mongo_scan_begin(exchange->shadow, job->journal, all, options, &scan, reterr));
    for (;;) {
        TW_TRY(tw_mongo_scan_next(&scan, &entry, where, reterr));
        if (!entry)
            return tw_writer_flush(writer, reterr);
        TW_TRY(job->each(writer, entry, reterr));
        if (job->is_told)
            tell(exchange, 1);
    }
}

static enum tw_rc run(struct tw_exchange *exchange, const struct job *job, bool *ret_duplicates, struct tw_err *reterr)
{
    TW_AUTO(tw_writer_done) struct tw_writer writer;

    begin_writing(exchange, job->to, job->verb, job->collection, &writer);
    TW_TRY(walk(exchange, job, &writer, reterr));
    if (ret_duplicates)
        *ret_duplicates = writer.duplicates;
    return TW_OK;
}

static enum tw_rc write_progress(struct tw_exchange *exchange, struct tw_mongo *to, const char *collection,
                                 entry_fn *each, struct tw_err *reterr)
{
    const struct job job = {journal_of_progress, to, "update", collection, each, false};

    return run(exchange, &job, NULL, reterr);
}

/* A redo record that was finished must not seem left over to whoever reads the watermark meanwhile. */
static enum tw_rc drop_redo(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = BCON_NEW("_id", BCON_INT32(partition_in(entry)));
    TW_AUTO(free_bson) bson_t *update = BCON_NEW("$unset", "{", "redo", BCON_INT32(1), "}");

    return add_update(writer, id, update, false, reterr);
}

static int64_t next_in(const bson_t *entry, const char *side)
{
    bson_t fields;

    return tw_bson_find_document(entry, side, &fields) ? number_in(&fields, "next") : 0;
}

/* Nobody is told that something can be read which may be gone already. */
static enum tw_rc lower_applied(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    int64_t live = next_in(entry, of_live);
    int64_t shadow = next_in(entry, of_shadow);

    return set_applied(writer, partition_in(entry), live < shadow ? live : shadow, reterr);
}

static enum tw_rc bring_applied(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return set_applied(writer, partition_in(entry), next_in(entry, of_shadow), reterr);
}

static enum tw_rc keep_applied(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return set_applied(writer, partition_in(entry), next_in(entry, of_live), reterr);
}

static bson_t *new_progress(const bson_t *entry, const char *side)
{
    bson_t *fields = bson_new();
    bson_t  stored;

    if (tw_bson_find_document(entry, side, &stored))
        bson_concat(fields, &stored);
    BSON_APPEND_BINARY(fields, "outbox", BSON_SUBTYPE_BINARY, (const uint8_t *)"", 0);
    return fields;
}

static enum tw_rc bring_progress(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = BCON_NEW("_id", BCON_INT32(partition_in(entry)));
    TW_AUTO(free_bson) bson_t *fields = new_progress(entry, of_shadow);
    TW_AUTO(free_bson) bson_t *update = NULL;

    BSON_APPEND_INT64(fields, "epoch", number_in(entry, "epoch"));
    update = BCON_NEW("$set", BCON_DOCUMENT(fields));
    return add_update(writer, id, update, false, reterr); /* the mark stays */
}

static enum tw_rc keep_progress(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = BCON_NEW("_id", BCON_INT32(partition_in(entry)));
    TW_AUTO(free_bson) bson_t *fields = new_progress(entry, of_live);

    return add_update(writer, id, fields, true, reterr);
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

static bson_t *new_id(const bson_t *entry)
{
    bson_t     *id = bson_new();
    bson_iter_t iter;

    if (bson_iter_init_find(&iter, entry, "_id"))
        bson_append_iter(id, NULL, 0, &iter);
    return id;
}

static enum tw_rc remove_one(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = new_id(entry);
    TW_AUTO(free_bson) bson_t *statement = BCON_NEW("q", BCON_DOCUMENT(id), "limit", BCON_INT32(1));

    return tw_writer_add(writer, statement, reterr);
}

static enum tw_rc remove_what_shadow_lacks(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return bson_has_field(entry, of_shadow) ? TW_OK : remove_one(writer, entry, reterr);
}

static enum tw_rc remove_what_live_lacks(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return bson_has_field(entry, of_live) ? TW_OK : remove_one(writer, entry, reterr);
}

static enum tw_rc put_document(struct tw_writer *writer, const bson_t *entry, const char *side, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *id = new_id(entry);
    bson_t                     document;

    return tw_bson_find_document(entry, side, &document) ? add_update(writer, id, &document, true, reterr) : TW_OK;
}

static enum tw_rc put_shadows(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return put_document(writer, entry, of_shadow, reterr);
}

static enum tw_rc put_lives(struct tw_writer *writer, const bson_t *entry, struct tw_err *reterr)
{
    return put_document(writer, entry, of_live, reterr);
}

/* A document may be refused for another's sake: a product that has its SKU and should not. Then all that differ go
 * first. */
static enum tw_rc settle_part(struct tw_exchange *exchange, const struct part *part, struct tw_mongo *to,
                              entry_fn *remove_lacking, entry_fn *put, struct tw_err *reterr)
{
    const struct job removing = {part->journal, to, "delete", part->collection, remove_lacking, false};
    const struct job putting = {part->journal, to, "update", part->collection, put, true};
    const struct job removing_all = {part->journal, to, "delete", part->collection, remove_one, false};
    const struct job again = {part->journal, to, "update", part->collection, put, false};
    bool             duplicates = false;

    TW_TRY(run(exchange, &removing, NULL, reterr));
    TW_TRY(run(exchange, &putting, &duplicates, reterr));
    if (!duplicates)
        return TW_OK;
    TW_TRY(run(exchange, &removing_all, NULL, reterr));
    TW_TRY(run(exchange, &again, &duplicates, reterr));
    return duplicates ? tw_fail(reterr, TW_BROKEN, where, 0, "MongoDB refuses a document of '%s': another is like it",
                                part->collection)
                      : TW_OK;
}

static enum tw_rc settle(struct tw_exchange *exchange, struct tw_mongo *to, entry_fn *remove_lacking, entry_fn *put,
                         struct tw_err *reterr)
{
    for (size_t i = 0; i < TW_LEN(parts); i++)
        TW_TRY(settle_part(exchange, &parts[i], to, remove_lacking, put, reterr));
    return TW_OK;
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */

enum tw_rc tw_exchange_compare(struct tw_exchange *exchange, struct tw_err *reterr)
{
    int64_t differing = 0;

    TW_TRY(tw_exchange_forget(exchange, reterr)); /* what an interrupted one wrote */
    for (size_t i = 0; i < TW_LEN(parts); i++) {
        TW_TRY(count_documents(exchange->live, parts[i].collection, &exchange->all, reterr));
        TW_TRY(count_documents(exchange->shadow, parts[i].collection, &exchange->all, reterr));
    }
    TW_TRY(compare_vectors(exchange, reterr));
    for (size_t i = 0; i < TW_LEN(parts); i++)
        TW_TRY(compare_part(exchange, &parts[i], reterr));
    TW_TRY(count_journal(exchange, &differing, reterr));
    exchange->all += 2 * differing;
    return TW_OK;
}

enum tw_rc tw_exchange_bring(struct tw_exchange *exchange, struct tw_err *reterr)
{
    struct tw_mongo *live = exchange->live;
    int64_t          differing = 0;

    TW_TRY(count_journal(exchange, &differing, reterr));
    if (!exchange->all) /* an interrupted one goes on here */
        exchange->all = 2 * differing;
    TW_TRY(write_progress(exchange, live, TW_MONGO_PROGRESS, drop_redo, reterr));
    TW_TRY(write_progress(exchange, live, TW_MONGO_APPLIED, lower_applied, reterr));
    TW_TRY(settle(exchange, live, remove_what_shadow_lacks, put_shadows, reterr));
    TW_TRY(write_progress(exchange, live, TW_MONGO_PROGRESS, bring_progress, reterr));
    return write_progress(exchange, live, TW_MONGO_APPLIED, bring_applied, reterr);
}

enum tw_rc tw_exchange_keep(struct tw_exchange *exchange, struct tw_err *reterr)
{
    struct tw_mongo *shadow = exchange->shadow;
    int64_t          differing = 0;

    TW_TRY(count_journal(exchange, &differing, reterr));
    if (!exchange->all)
        exchange->all = differing;
    TW_TRY(settle(exchange, shadow, remove_what_live_lacks, put_lives, reterr));
    TW_TRY(write_progress(exchange, shadow, TW_MONGO_PROGRESS, keep_progress, reterr));
    return write_progress(exchange, shadow, TW_MONGO_APPLIED, keep_applied, reterr);
}

enum tw_rc tw_exchange_forget(struct tw_exchange *exchange, struct tw_err *reterr)
{
    return tw_mongo_drop(exchange->shadow, is_of_journal, reterr);
}
