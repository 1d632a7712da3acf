/*
 * The server sorts by `_id`, which gives the order of keys: a product's UUID is its ObjectId with four bytes in the
 * middle that all have, and the texts of other `_id`s are UUIDs in lower-case hexadecimal, whose order is that of their
 * bytes.
 */
#include "product_list.h"

#include <stdio.h>

#include "product_domain.h"
#include "tillwire/product_document.h"

static const char where[] = "product.store.list";

/* Answers of the server are this long, in documents. */
enum { DOCUMENTS_A_TIME = 5000 };

static enum tw_rc begin(const struct tw_mongo *mongo, struct tw_product_list *list, const char *collection,
                        const bson_t *filter, struct tw_err *reterr)
{
    bson_t    *options = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}", "sort", "{", "_id", BCON_INT32(1), "}",
                                  "batchSize", BCON_INT32(DOCUMENTS_A_TIME));
    enum tw_rc rc;

    tw_product_list_end(list);
    rc = tw_mongo_scan_begin(mongo, collection, filter, options, &list->scan, reterr);
    bson_destroy(options);
    return rc;
}

/* The `_id` of the next document; false: the list is over. */
static enum tw_rc next_id(struct tw_product_list *list, bool *ret_found, bson_iter_t *ret_id, struct tw_err *reterr)
{
    const bson_t *document = NULL;

    *ret_found = false;
    if (list->is_over)
        return TW_OK;
    if (!list->scan.cursor)
        return tw_fail(reterr, TW_UNREACHED, where, 0, "the list was interrupted: it has to be begun again");
    TW_TRY(tw_mongo_scan_next(&list->scan, &document, where, reterr));
    if (!document) {
        tw_product_list_end(list);
        list->is_over = true;
        return TW_OK;
    }
    *ret_found = bson_iter_init_find(ret_id, document, "_id");
    return *ret_found ? TW_OK : tw_fail(reterr, TW_BROKEN, where, 0, "a document has no '_id'");
}

static struct tw_str text_of(const bson_iter_t *id)
{
    uint32_t    len = 0;
    const char *text = BSON_ITER_HOLDS_UTF8(id) ? bson_iter_utf8(id, &len) : "";

    return (struct tw_str){text, len};
}

static bool take_product(const bson_iter_t *id, struct tw_key *ret_key)
{
    if (!BSON_ITER_HOLDS_OID(id))
        return false;
    *ret_key = (struct tw_key){.kind = TW_PRODUCT_ENTITY, .id = tw_product_id(bson_iter_oid(id)->bytes)};
    return true;
}

static bool take_rating(const bson_iter_t *id, struct tw_key *ret_key)
{
    struct tw_str text = text_of(id);
    struct tw_key key = {.kind = TW_RATING_ENTITY};

    if (text.len != TW_RATING_DOCUMENT_ID || text.ptr[TW_UUID_TEXT] != '/' ||
        !tw_uuid_parse((struct tw_str){text.ptr, TW_UUID_TEXT}, &key.id) ||
        !tw_uuid_parse((struct tw_str){text.ptr + TW_UUID_TEXT + 1, TW_UUID_TEXT}, &key.sub))
        return false;
    *ret_key = key;
    return true;
}

static const struct kind {
    const char *collection;
    bool (*take)(const bson_iter_t *id, struct tw_key *ret_key);
} kinds[] = {
    [TW_PRODUCT_ENTITY] = {TW_MONGO_PRODUCTS, take_product},
    [TW_RATING_ENTITY] = {TW_MONGO_RATINGS, take_rating},
};

/* Ends a list that failed, so that nobody takes what follows for the rest of it. */
static enum tw_rc end_failed(struct tw_product_list *list, enum tw_rc rc)
{
    if (rc != TW_OK)
        tw_product_list_end(list);
    return rc;
}

static enum tw_rc take_keys(struct tw_product_list *list, const struct kind *kind, struct tw_key *ret_keys, size_t max,
                            size_t *ret_count, struct tw_err *reterr)
{
    size_t      count = 0;
    bool        found = true;
    bson_iter_t id;

    while (count < max) {
        TW_TRY(next_id(list, &found, &id, reterr));
        if (!found)
            break;
        if (!kind->take(&id, &ret_keys[count++]))
            return tw_fail(reterr, TW_BROKEN, where, 0, "an '_id' in '%s' is none of ours", kind->collection);
    }
    *ret_count = count;
    return TW_OK;
}

enum tw_rc tw_product_list_keys(const struct tw_mongo *mongo, struct tw_product_list *list, uint32_t kind,
                                bool from_start, struct tw_key *ret_keys, size_t max, size_t *ret_count,
                                struct tw_err *reterr)
{
    bson_t     all = BSON_INITIALIZER;
    enum tw_rc rc = TW_OK;

    if (from_start)
        rc = begin(mongo, list, kinds[kind].collection, &all, reterr);
    if (rc == TW_OK)
        rc = take_keys(list, &kinds[kind], ret_keys, max, ret_count, reterr);
    return end_failed(list, rc);
}

/* --- ledger rows -------------------------------------------------------------------------------------------------- */

/* `_id`s begin with the partition and a slash; what stands behind the slash in ASCII ends them. */
static bson_t *new_filter_of_rows(int32_t partition)
{
    char from[16];
    char to[16];

    snprintf(from, sizeof(from), "%d/", (int)partition);
    snprintf(to, sizeof(to), "%d0", (int)partition);
    return BCON_NEW("_id", "{", "$gte", BCON_UTF8(from), "$lt", BCON_UTF8(to), "}");
}

static bool take_row(const bson_iter_t *id, struct tw_uuid *ret_id)
{
    struct tw_str text = text_of(id);
    const char   *slash = memchr(text.ptr, '/', text.len);

    if (!slash)
        return false;
    slash++;
    return tw_uuid_parse((struct tw_str){slash, text.len - (size_t)(slash - text.ptr)}, ret_id);
}

static enum tw_rc take_rows(struct tw_product_list *list, struct tw_uuid *ret_ids, size_t max, size_t *ret_count,
                            struct tw_err *reterr)
{
    size_t      count = 0;
    bool        found = true;
    bson_iter_t id;

    while (count < max) {
        TW_TRY(next_id(list, &found, &id, reterr));
        if (!found)
            break;
        if (!take_row(&id, &ret_ids[count++]))
            return tw_fail(reterr, TW_BROKEN, where, 0, "an '_id' in '" TW_MONGO_LEDGER "' is none of ours");
    }
    *ret_count = count;
    return TW_OK;
}

enum tw_rc tw_product_list_rows(const struct tw_mongo *mongo, struct tw_product_list *list, int32_t partition,
                                bool from_start, struct tw_uuid *ret_ids, size_t max, size_t *ret_count,
                                struct tw_err *reterr)
{
    bson_t    *filter = new_filter_of_rows(partition);
    enum tw_rc rc = TW_OK;

    if (from_start)
        rc = begin(mongo, list, TW_MONGO_LEDGER, filter, reterr);
    if (rc == TW_OK)
        rc = take_rows(list, ret_ids, max, ret_count, reterr);
    bson_destroy(filter);
    return end_failed(list, rc);
}

void tw_product_list_end(struct tw_product_list *list)
{
    tw_mongo_scan_end(&list->scan);
    list->is_over = false;
}
