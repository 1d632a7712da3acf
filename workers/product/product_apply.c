#include "product_apply.h"

#include <string.h>

#include "product_redo.h"
#include "tillwire/failpoint.h"
#include "tillwire/product_document.h"

static const char where[] = "product.store.apply";

/* One command's share of a record: few enough to be answered well within a time-out, and what every server takes. */
enum { STATEMENTS_MAX = 1000 };

struct chunk {
    bson_t      command;
    bson_t      items; /* a view of the command's array */
    const char *collection;
    const char *id_path; /* of the `_id` within an item */
    uint32_t    count;
};

static void chunk_done(struct chunk *chunk)
{
    bson_destroy(&chunk->command);
}

static void begin_command(bson_t *command, const char *verb, const char *collection)
{
    bson_init(command);
    BSON_APPEND_UTF8(command, verb, collection);
    BSON_APPEND_BOOL(command, "ordered", false);
}

static bool view_document(const bson_iter_t *iter, bson_t *ret_view)
{
    const uint8_t *bytes = NULL;
    uint32_t       len = 0;

    if (BSON_ITER_HOLDS_DOCUMENT(iter))
        bson_iter_document(iter, &len, &bytes);
    else if (BSON_ITER_HOLDS_ARRAY(iter))
        bson_iter_array(iter, &len, &bytes);
    return bytes && bson_init_static(ret_view, bytes, len);
}

static void append_item(bson_t *array, uint32_t *count, const bson_t *item)
{
    char        buffer[16];
    const char *key;
    size_t      key_len = bson_uint32_to_string(*count, &key, buffer, sizeof(buffer));

    bson_append_document(array, key, (int)key_len, item);
    ++*count;
}

/* --- what stands there already ------------------------------------------------------------------------------------ */

static bool find_path(const bson_t *document, const char *path, bson_iter_t *ret_found)
{
    bson_iter_t iter;

    return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, ret_found);
}

static bool find_number(const bson_t *document, const char *name, int64_t *ret_number)
{
    bson_iter_t iter;

    if (!find_path(document, name, &iter) || !BSON_ITER_HOLDS_INT(&iter))
        return false;
    *ret_number = bson_iter_as_int64(&iter);
    return true;
}

static bool same_id(const bson_iter_t *a, const bson_iter_t *b)
{
    if (bson_iter_type(a) != bson_iter_type(b))
        return false;
    if (BSON_ITER_HOLDS_OID(a))
        return bson_oid_equal(bson_iter_oid(a), bson_iter_oid(b));
    return BSON_ITER_HOLDS_UTF8(a) && !strcmp(bson_iter_utf8(a, NULL), bson_iter_utf8(b, NULL));
}

/* The chunk's item with the `_id` of a document. Linear: this is not done but after a crash. */
static bool find_item(const struct chunk *chunk, const bson_t *document, bson_t *ret_item)
{
    bson_iter_t wanted;
    bson_iter_t iter;
    bson_iter_t id;

    if (!find_path(document, "_id", &wanted) || !bson_iter_init(&iter, &chunk->items))
        return false;
    while (bson_iter_next(&iter))
        if (view_document(&iter, ret_item) && find_path(ret_item, chunk->id_path, &id) && same_id(&id, &wanted))
            return true;
    return false;
}

static void collect_ids(const struct chunk *chunk, bson_t *ret_ids)
{
    uint32_t    count = 0;
    bson_iter_t iter;
    bson_iter_t id;
    bson_t      item;

    if (!bson_iter_init(&iter, &chunk->items))
        return;
    while (bson_iter_next(&iter)) {
        char        buffer[16];
        const char *key;
        size_t      key_len = bson_uint32_to_string(count++, &key, buffer, sizeof(buffer));

        if (view_document(&iter, &item) && find_path(&item, chunk->id_path, &id))
            bson_append_iter(ret_ids, key, (int)key_len, &id);
    }
}

/* Reads one field of the documents that the chunk is about. */
static enum tw_rc find_documents(struct tw_mongo *mongo, const struct chunk *chunk, const char *field,
                                 tw_mongo_found *found, void *context, struct tw_err *reterr)
{
    bson_t     ids = BSON_INITIALIZER;
    bson_t    *filter;
    bson_t    *options;
    enum tw_rc rc;

    collect_ids(chunk, &ids);
    filter = BCON_NEW("_id", "{", "$in", BCON_ARRAY(&ids), "}");
    options = BCON_NEW("projection", "{", field, BCON_INT32(1), "}", "batchSize", BCON_INT32(STATEMENTS_MAX));
    rc = tw_mongo_find(mongo, chunk->collection, filter, options, found, context, where, reterr);
    bson_destroy(options);
    bson_destroy(filter);
    bson_destroy(&ids);
    return rc;
}

/* --- products and ratings ----------------------------------------------------------------------------------------- */

struct checking {
    const struct chunk *chunk;
    uint32_t            done;
};

static enum tw_rc count_when_done(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct checking *checking = context;
    int64_t          theirs;
    int64_t          ours;
    bson_t           statement;

    (void)reterr;
    if (find_item(checking->chunk, document, &statement) && tw_product_redo_guard(&statement, &ours) &&
        find_number(document, "guard", &theirs) && theirs >= ours)
        checking->done++;
    return TW_OK;
}

/* Some statement found nothing to do. That is as it should be when it was done before. */
static enum tw_rc check_done(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr)
{
    struct checking checking = {.chunk = chunk};

    TW_TRY(find_documents(mongo, chunk, "guard", count_when_done, &checking, reterr));
    if (checking.done == chunk->count)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, where, 0,
                   "%u documents of '%s' are missing or older than the redo record says: was the store restored in "
                   "parts?",
                   (unsigned int)(chunk->count - checking.done), chunk->collection);
}

static enum tw_rc apply_statements(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr)
{
    struct tw_mongo_written written;

    TW_TRY(tw_mongo_write(mongo, &chunk->command, where, &written, reterr));
    return written.matched < chunk->count || written.duplicates ? check_done(mongo, chunk, reterr) : TW_OK;
}

/* `n` is not to be relied on; what is there already was met. */
static enum tw_rc apply_new(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr)
{
    struct tw_mongo_written written;

    TW_TRY(tw_mongo_write(mongo, &chunk->command, where, &written, reterr));
    return written.duplicates ? check_done(mongo, chunk, reterr) : TW_OK;
}

/* --- ledger rows -------------------------------------------------------------------------------------------------- */

/* A row may stand there because it was written already, or because its command id was used before and counts no more:
 * then the row of the later offset is the one to keep. */
struct replacing {
    const struct chunk *chunk;
    bson_t              updates; /* array of statements */
    uint32_t            count;
};

static enum tw_rc replace_when_older(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct replacing *replacing = context;
    int64_t           theirs;
    int64_t           ours;
    bson_iter_t       id;
    bson_t            row;
    bson_t           *statement;

    if (!find_item(replacing->chunk, document, &row) || !find_path(&row, "_id", &id) ||
        !find_number(document, "offset", &theirs) || !find_number(&row, "offset", &ours))
        return tw_fail(reterr, TW_BROKEN, where, 0, "a ledger row's 'offset' is missing or malformed");
    if (theirs >= ours)
        return TW_OK;
    statement = BCON_NEW("q", "{", "_id", BCON_UTF8(bson_iter_utf8(&id, NULL)), "offset", BCON_INT64(theirs), "}", "u",
                         BCON_DOCUMENT(&row));
    append_item(&replacing->updates, &replacing->count, statement);
    bson_destroy(statement);
    return TW_OK;
}

static enum tw_rc replace_older_rows(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr)
{
    struct replacing        replacing = {.chunk = chunk, .updates = BSON_INITIALIZER};
    struct tw_mongo_written written;
    bson_t                  command;
    enum tw_rc              rc = find_documents(mongo, chunk, "offset", replace_when_older, &replacing, reterr);

    begin_command(&command, "update", TW_MONGO_LEDGER);
    BSON_APPEND_ARRAY(&command, "updates", &replacing.updates);
    if (rc == TW_OK && replacing.count > 0)
        rc = tw_mongo_write(mongo, &command, where, &written, reterr);
    bson_destroy(&command);
    bson_destroy(&replacing.updates);
    return rc;
}

static enum tw_rc apply_rows(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr)
{
    struct tw_mongo_written written;

    TW_TRY(tw_mongo_write(mongo, &chunk->command, where, &written, reterr));
    return written.duplicates ? replace_older_rows(mongo, chunk, reterr) : TW_OK;
}

/* --- the record --------------------------------------------------------------------------------------------------- */

static const struct part {
    const char *name;
    const char *collection;
    const char *verb;
    const char *array_name;
    const char *id_path;
    enum tw_rc (*apply)(struct tw_mongo *mongo, const struct chunk *chunk, struct tw_err *reterr);
} parts[] = {
    {TW_REDO_NEW_PRODUCTS, TW_MONGO_PRODUCTS, "insert", "documents", "_id", apply_new},
    {TW_REDO_NEW_RATINGS, TW_MONGO_RATINGS, "insert", "documents", "_id", apply_new},
    {TW_MONGO_PRODUCTS, TW_MONGO_PRODUCTS, "update", "updates", "q._id", apply_statements},
    {TW_MONGO_RATINGS, TW_MONGO_RATINGS, "update", "updates", "q._id", apply_statements},
    {TW_MONGO_LEDGER, TW_MONGO_LEDGER, "insert", "documents", "_id", apply_rows},
};

/* The next items as one command; none left: an empty chunk. */
static void take_chunk(const struct part *part, bson_iter_t *items, struct chunk *ret_chunk)
{
    bson_t      array;
    bson_t      item;
    bson_iter_t iter;

    *ret_chunk = (struct chunk){.collection = part->collection, .id_path = part->id_path};
    begin_command(&ret_chunk->command, part->verb, part->collection);
    BSON_APPEND_ARRAY_BEGIN(&ret_chunk->command, part->array_name, &array);
    while (ret_chunk->count < STATEMENTS_MAX && bson_iter_next(items))
        if (view_document(items, &item))
            append_item(&array, &ret_chunk->count, &item);
    bson_append_array_end(&ret_chunk->command, &array);
    if (bson_iter_init_find(&iter, &ret_chunk->command, part->array_name))
        view_document(&iter, &ret_chunk->items);
}

static enum tw_rc apply_part(struct tw_mongo *mongo, const struct part *part, bson_iter_t *items, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK;

    for (bool more = true; rc == TW_OK && more;) {
        TW_AUTO(chunk_done) struct chunk chunk;

        take_chunk(part, items, &chunk);
        more = chunk.count > 0;
        if (more)
            rc = part->apply(mongo, &chunk, reterr);
        if (rc == TW_OK && more && tw_failpoint("in_apply"))
            rc = tw_fail(reterr, TW_UNKNOWN, where, 0, "failpoint in_apply");
    }
    /* After step (a) nothing may refuse. */
    return rc == TW_REFUSED ? tw_fail(reterr, TW_BROKEN, where, 0, "MongoDB refuses a write that is committed") : rc;
}

/* What is new stands apart only where it may. */
static bool may_lack(const struct part *part)
{
    return part->apply == apply_new;
}

enum tw_rc tw_product_apply(struct tw_mongo *mongo, const bson_t *redo, struct tw_err *reterr)
{
    for (size_t i = 0; i < TW_LEN(parts); i++) {
        bson_iter_t iter;
        bson_iter_t items;
        bool        is_there = bson_iter_init_find(&iter, redo, parts[i].name);

        if (!is_there && may_lack(&parts[i]))
            continue;
        if (!is_there || !BSON_ITER_HOLDS_ARRAY(&iter) || !bson_iter_recurse(&iter, &items))
            return tw_fail(reterr, TW_BROKEN, where, 0, "the redo record has no '%s'", parts[i].name);
        TW_TRY(apply_part(mongo, &parts[i], &items, reterr));
    }
    return TW_OK;
}
