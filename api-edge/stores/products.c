#include "stores/products.h"

#include <errno.h>
#include <mongoc/mongoc.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stores/known_ids.h"
#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/product_document.h"

#define WHERE "edge.products"

enum {
    TIMEOUT_MS = 2000,
    LIST_MAX_MS = 1500, /* the server gives a list up before we do, or it would go on for nobody */
    LIST_WAIT_MS = 500,
    NO_TEXT_INDEX_US = 60000000,
};

struct tw_products {
    mongoc_client_pool_t *pool;
    char                 *database;
    struct tw_known_ids   known;
    atomic_llong          no_text_until_us; /* the server refused a $text; until then it is not asked again */
    sem_t                 lists;            /* how many more may be read at once */
};

/** A client out of the pool for the length of a scope. */
struct loan {
    mongoc_client_pool_t *pool;
    mongoc_client_t      *client;
    sem_t                *lists; /* a place among the lists, too; NULL: none */
};

static void loan_end(struct loan *loan)
{
    if (loan->client)
        mongoc_client_pool_push(loan->pool, loan->client);
    if (loan->lists)
        sem_post(loan->lists);
}

static void on_mongoc_log(mongoc_log_level_t level, const char *domain, const char *message, void *self)
{
    (void)self;
    if (level <= MONGOC_LOG_LEVEL_WARNING)
        tw_log(TW_LOG_DEBUG, "mongo client", TW_F_TEXT("domain", domain), TW_F_TEXT("text", message));
}

static struct tw_metric duration = {.name = "db_client_operation_duration_seconds",
                                    .labels = "db_system_name=\"mongodb\",db_operation_name=\"command\"",
                                    .kind = TW_HISTOGRAM,
                                    .help = "A store's answer, by kind of call; with an error_type: it failed."};
TW_METRICS_SHOWN(&duration)

static void on_answer(const mongoc_apm_command_succeeded_t *answer)
{
    tw_metric_observe_us(&duration, mongoc_apm_command_succeeded_get_duration(answer));
}

static void watch_answers(mongoc_client_pool_t *pool)
{
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();

    mongoc_apm_set_command_succeeded_cb(callbacks, on_answer);
    mongoc_client_pool_set_apm_callbacks(pool, callbacks, NULL);
    mongoc_apm_callbacks_destroy(callbacks);
}

static void set_options(mongoc_uri_t *uri, size_t connections)
{
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, (int32_t)connections);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, TIMEOUT_MS);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, TIMEOUT_MS);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS, TIMEOUT_MS);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, TIMEOUT_MS);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, true);
}

enum tw_rc tw_products_open(const char *mongo_uri, size_t connections, struct tw_products **ret_products,
                            struct tw_err *reterr)
{
    bson_error_t        error;
    mongoc_uri_t       *uri;
    struct tw_products *products;

    mongoc_log_set_handler(on_mongoc_log, NULL); /* first: it has words to say, too */
    tw_mongo_begin();
    uri = mongoc_uri_new_with_error(mongo_uri, &error);
    if (!uri || !mongoc_uri_get_database(uri)) {
        mongoc_uri_destroy(uri);
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the MongoDB URI is wrong or names no database");
    }
    set_options(uri, connections);
    products = tw_alloc_zeroed(1, sizeof(*products));
    products->database = tw_strdup(mongoc_uri_get_database(uri));
    products->pool = mongoc_client_pool_new(uri);
    mongoc_client_pool_set_error_api(products->pool, MONGOC_ERROR_API_VERSION_2);
    watch_answers(products->pool);
    mongoc_client_pool_set_appname(products->pool, "tillwire-edge");
    mongoc_uri_destroy(uri);
    tw_known_ids_init(&products->known);
    sem_init(&products->lists, 0, connections > 1 ? (unsigned)(connections / 2) : 1);
    *ret_products = products;
    return TW_OK;
}

void tw_products_close(struct tw_products *products)
{
    if (!products)
        return;
    mongoc_client_pool_destroy(products->pool);
    mongoc_cleanup();
    sem_destroy(&products->lists);
    free(products->database);
    free(products);
}

static enum tw_rc borrow(struct tw_products *products, struct loan *ret_loan, struct tw_err *reterr)
{
    mongoc_client_t *client = mongoc_client_pool_pop(products->pool);

    if (!client)
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "all connections are busy");
    ret_loan->pool = products->pool;
    ret_loan->client = client;
    return TW_OK;
}

/** Lists, searches and counts take long. Half of the connections stay free of them, for what reads one product. */
static enum tw_rc borrow_for_list(struct tw_products *products, struct loan *ret_loan, struct tw_err *reterr)
{
    int64_t         until_us = tw_monotonic_us() + INT64_C(1000) * LIST_WAIT_MS;
    struct timespec until = {until_us / 1000000, (until_us % 1000000) * 1000};
    int             rc;

    do {
        rc = sem_clockwait(&products->lists, CLOCK_MONOTONIC, &until);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "too many lists are read at once");
    ret_loan->lists = &products->lists;
    return borrow(products, ret_loan, reterr);
}

/** Called with each document found. */
typedef enum tw_rc (*document_fn)(const bson_t *document, struct tw_arena *arena, void *ret_value,
                                  struct tw_err *reterr);

/** What a server says that cannot look for words: it has no text index, or, as the stand-in, no `$text`. */
static bool lacks_text_index(const bson_error_t *error)
{
    enum { BAD_VALUE = 2, INDEX_NOT_FOUND = 27 };

    return error->domain == MONGOC_ERROR_SERVER && (error->code == INDEX_NOT_FOUND || error->code == BAD_VALUE);
}

/** Hands all documents of @p cursor to @p read; ends the cursor. INVALID: see lacks_text_index(). */
static enum tw_rc read_all(mongoc_cursor_t *cursor, document_fn read, struct tw_arena *arena, void *ret_value,
                           size_t *ret_seen, struct tw_err *reterr)
{
    const bson_t *document = NULL;
    bson_error_t  error;
    size_t        seen = 0;
    enum tw_rc    rc = TW_OK;

    for (; rc == TW_OK && mongoc_cursor_next(cursor, &document); seen++)
        rc = read(document, arena, ret_value, reterr);
    if (rc == TW_OK && mongoc_cursor_error(cursor, &error))
        rc = tw_fail(reterr, lacks_text_index(&error) ? TW_INVALID : TW_UNREACHED, WHERE, (long)error.code,
                     "MongoDB did not answer");
    mongoc_cursor_destroy(cursor);
    *ret_seen = seen;
    return rc;
}

static enum tw_rc find_with(struct tw_products *products, const struct loan *loan, const char *collection,
                            const bson_t *filter, const bson_t *options, document_fn read, struct tw_arena *arena,
                            void *ret_value, size_t *ret_seen, struct tw_err *reterr)
{
    mongoc_collection_t *handle = mongoc_client_get_collection(loan->client, products->database, collection);
    enum tw_rc rc = read_all(mongoc_collection_find_with_opts(handle, filter, options, NULL), read, arena, ret_value,
                             ret_seen, reterr);

    mongoc_collection_destroy(handle);
    return rc;
}

static enum tw_rc find(struct tw_products *products, const char *collection, const bson_t *filter,
                       const bson_t *options, document_fn read, struct tw_arena *arena, void *ret_value,
                       size_t *ret_seen, struct tw_err *reterr)
{
    TW_AUTO(loan_end) struct loan loan = {0};

    TW_TRY(borrow(products, &loan, reterr));
    return find_with(products, &loan, collection, filter, options, read, arena, ret_value, ret_seen, reterr);
}

static enum tw_rc find_one(struct tw_products *products, const char *collection, const bson_t *filter,
                           const bson_t *options, document_fn read, struct tw_arena *arena, void *ret_value,
                           struct tw_err *reterr)
{
    size_t seen = 0;

    TW_TRY(find(products, collection, filter, options, read, arena, ret_value, &seen, reterr));
    return seen > 0 ? TW_OK : tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such document");
}

static enum tw_rc find_product(struct tw_products *products, struct tw_uuid product_id, bool id_only, document_fn read,
                               struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    bson_oid_t oid;
    bson_t     filter = BSON_INITIALIZER;
    bson_t    *options;

    if (!tw_product_id_to_object_id(product_id, oid.bytes)) {
        bson_destroy(&filter);
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "no product can have this id");
    }
    options = id_only ? BCON_NEW("limit", BCON_INT64(1), "projection", "{", "_id", BCON_INT32(1), "}")
                      : BCON_NEW("limit", BCON_INT64(1));
    BSON_APPEND_OID(&filter, "_id", &oid);
    enum tw_rc rc = find_one(products, TW_MONGO_PRODUCTS, &filter, options, read, arena, ret_value, reterr);
    bson_destroy(options);
    bson_destroy(&filter);
    if (rc == TW_OK)
        tw_known_ids_add(&products->known, product_id);
    return rc;
}

static enum tw_rc read_product(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    int64_t guard = 0;

    return tw_product_from_document(document, arena, ret_value, &guard, reterr);
}

static enum tw_rc read_nothing(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    (void)document;
    (void)arena;
    (void)ret_value;
    (void)reterr;
    return TW_OK;
}

enum tw_rc tw_products_get(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                           struct tw_product *ret_product, struct tw_err *reterr)
{
    return find_product(products, product_id, false, read_product, arena, ret_product, reterr);
}

enum tw_rc tw_products_exists(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                              struct tw_err *reterr)
{
    if (tw_known_ids_has(&products->known, product_id))
        return TW_OK;
    return find_product(products, product_id, true, read_nothing, arena, NULL, reterr);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

struct product_list {
    struct tw_product *items;
    size_t             count;
    size_t             cap;
};

static enum tw_rc add_product(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    struct product_list *list = ret_value;

    if (list->count == list->cap)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "MongoDB sends more products than were asked for");
    TW_TRY(read_product(document, arena, &list->items[list->count], reterr));
    list->count++;
    return TW_OK;
}

static enum tw_rc list_by(struct tw_products *products, const struct tw_product_filter *filter,
                          const struct tw_product_place *after, bool has_text_index, size_t limit,
                          struct tw_arena *arena, struct product_list *ret_list, struct tw_err *reterr)
{
    TW_AUTO(loan_end) struct loan loan = {0};
    bson_t                        query = BSON_INITIALIZER;
    bson_t                        options = BSON_INITIALIZER;
    bson_t                        order;
    size_t                        seen = 0;

    TW_TRY(borrow_for_list(products, &loan, reterr));
    tw_product_query_filter(filter, after, has_text_index, arena, &query);
    BSON_APPEND_DOCUMENT_BEGIN(&options, "sort", &order);
    tw_product_query_order(filter->sort, &order);
    bson_append_document_end(&options, &order);
    BSON_APPEND_INT64(&options, "limit", (int64_t)limit);
    BSON_APPEND_INT32(&options, "maxTimeMS", LIST_MAX_MS);
    *ret_list = (struct product_list){TW_NEW_ARRAY(arena, limit, struct tw_product), 0, limit};
    enum tw_rc rc =
        find_with(products, &loan, TW_MONGO_PRODUCTS, &query, &options, add_product, arena, ret_list, &seen, reterr);
    bson_destroy(&options);
    bson_destroy(&query);
    return rc;
}

/** A server that has no text index is found out by asking: the index may come at any time, and with it the next minute's
 *  searches use it. */
enum tw_rc tw_products_list(struct tw_products *products, const struct tw_product_filter *filter,
                            const struct tw_product_place *after, size_t limit, struct tw_arena *arena,
                            struct tw_product **ret_list, size_t *ret_count, struct tw_err *reterr)
{
    struct product_list list;
    bool                by_index = filter->q.ptr && tw_monotonic_us() >= atomic_load(&products->no_text_until_us);
    enum tw_rc          rc = list_by(products, filter, after, by_index, limit, arena, &list, reterr);

    if (by_index && rc == TW_INVALID) {
        atomic_store(&products->no_text_until_us, tw_monotonic_us() + NO_TEXT_INDEX_US);
        rc = list_by(products, filter, after, false, limit, arena, &list, reterr);
    }
    if (rc != TW_OK)
        return rc;
    *ret_list = list.items;
    *ret_count = list.count;
    return TW_OK;
}

struct name_list {
    struct tw_name_count *items;
    uint32_t              count;
    uint32_t              cap;
};

static enum tw_rc add_name(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    struct name_list *list = ret_value;
    bson_iter_t       name;
    bson_iter_t       count;

    if (!bson_iter_init_find(&name, document, "_id") || !BSON_ITER_HOLDS_UTF8(&name) ||
        !bson_iter_init_find(&count, document, "count"))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "a name that was counted is no text");
    uint32_t    len = 0;
    const char *text = bson_iter_utf8(&name, &len);
    list->items = tw_arena_grow(arena, list->items, list->count, &list->cap, sizeof(*list->items));
    list->items[list->count++] =
        (struct tw_name_count){tw_arena_copy(arena, (struct tw_str){text, len}), bson_iter_as_int64(&count)};
    return TW_OK;
}

/** Takes over @p pipeline. */
static enum tw_rc count_names(struct tw_products *products, bson_t *pipeline, struct tw_arena *arena,
                              struct tw_name_count **ret_list, size_t *ret_count, struct tw_err *reterr)
{
    TW_AUTO(loan_end) struct loan loan = {0};
    bson_t                       *options = BCON_NEW("maxTimeMS", BCON_INT32(LIST_MAX_MS));
    struct name_list              list = {0};
    size_t                        seen = 0;
    enum tw_rc                    rc = borrow_for_list(products, &loan, reterr);

    if (rc == TW_OK) {
        mongoc_collection_t *handle = mongoc_client_get_collection(loan.client, products->database, TW_MONGO_PRODUCTS);
        rc = read_all(mongoc_collection_aggregate(handle, MONGOC_QUERY_NONE, pipeline, options, NULL), add_name, arena,
                      &list, &seen, reterr);
        mongoc_collection_destroy(handle);
    }
    bson_destroy(options);
    bson_destroy(pipeline);
    if (rc != TW_OK)
        return rc;
    *ret_list = list.items;
    *ret_count = list.count;
    return TW_OK;
}

#define FOR_SALE    "{", "$match", "{", "is_active", BCON_BOOL(true), "}", "}"
#define BY_NAME     "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}", "{", "$limit", BCON_INT32(TW_NAME_COUNTS_MAX), "}"
#define COUNT(name) "{", "$group", "{", "_id", BCON_UTF8(name), "count", "{", "$sum", BCON_INT32(1), "}", "}", "}"

enum tw_rc tw_products_categories(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                                  size_t *ret_count, struct tw_err *reterr)
{
    bson_t *pipeline = BCON_NEW("pipeline", "[", FOR_SALE, COUNT("$category"), BY_NAME, "]");

    return count_names(products, pipeline, arena, ret_list, ret_count, reterr);
}

/** A tag that a product has twice counts once. */
enum tw_rc tw_products_tags(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                            size_t *ret_count, struct tw_err *reterr)
{
    bson_t *pipeline = BCON_NEW("pipeline", "[", FOR_SALE, "{", "$project", "{", "tags", "{", "$setUnion", "[", /* */
                                BCON_UTF8("$tags"), "[", "]", "]", "}", "}", "}",                               /* */
                                "{", "$unwind", BCON_UTF8("$tags"), "}", COUNT("$tags"), BY_NAME, "]");

    return count_names(products, pipeline, arena, ret_list, ret_count, reterr);
}

/* --- watermarks --------------------------------------------------------------------------------------------------- */

/** Offsets of partitions from `first` on; 0 where there is no document. */
struct offsets {
    int64_t *items;
    int32_t  first;
    size_t   count;
};

static enum tw_rc read_applied(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    struct offsets *offsets = ret_value;
    bson_iter_t     partition;
    bson_iter_t     applied;

    (void)arena;
    if (!bson_iter_init_find(&partition, document, "_id") || !bson_iter_init_find(&applied, document, "applied") ||
        !BSON_ITER_HOLDS_INT64(&applied))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "how far a partition is applied cannot be read");
    int64_t number = bson_iter_as_int64(&partition) - offsets->first;
    if (number >= 0 && (size_t)number < offsets->count)
        offsets->items[number] = bson_iter_int64(&applied);
    return TW_OK;
}

enum tw_rc tw_products_watermarks(struct tw_products *products, struct tw_arena *arena, int64_t **ret_next_offsets,
                                  size_t *ret_count, struct tw_err *reterr)
{
    size_t         count = (size_t)tw_topic_of(TW_DOMAIN_PRODUCT, TW_TOPIC_COMMANDS)->partitions;
    struct offsets offsets = {TW_NEW_ARRAY(arena, count, int64_t), 0, count};
    bson_t         all = BSON_INITIALIZER;
    size_t         seen = 0;

    enum tw_rc rc = find(products, TW_MONGO_APPLIED, &all, NULL, read_applied, arena, &offsets, &seen, reterr);
    bson_destroy(&all);
    if (rc != TW_OK)
        return rc;
    *ret_next_offsets = offsets.items;
    *ret_count = count;
    return TW_OK;
}

enum tw_rc tw_products_watermark(struct tw_products *products, int32_t partition, int64_t *ret_next_offset,
                                 struct tw_err *reterr)
{
    bson_t        *filter = BCON_NEW("_id", BCON_INT32(partition));
    int64_t        applied = 0;
    struct offsets offsets = {&applied, partition, 1};
    size_t         seen = 0;
    enum tw_rc     rc = find(products, TW_MONGO_APPLIED, filter, NULL, read_applied, NULL, &offsets, &seen, reterr);

    bson_destroy(filter);
    if (rc == TW_OK)
        *ret_next_offset = applied;
    return rc;
}

/* --- ledger and health -------------------------------------------------------------------------------------------- */

static enum tw_rc read_row(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    return tw_ledger_from_document(document, arena, ret_value, reterr);
}

static enum tw_rc row_of_partition(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *arena,
                                   struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    char    id[TW_LEDGER_DOCUMENT_ID + 1];
    bson_t *options = BCON_NEW("limit", BCON_INT64(1));
    bson_t  filter = BSON_INITIALIZER;

    tw_ledger_document_id(tw_command_id_partition(command_id), tw_command_id_ledger(command_id), id);
    BSON_APPEND_UTF8(&filter, "_id", id);
    enum tw_rc rc = find_one(products, TW_MONGO_LEDGER, &filter, options, read_row, arena, ret_row, reterr);
    bson_destroy(&filter);
    bson_destroy(options);
    return rc;
}

/** `{_id: {$in: [...]}}`: these commands' rows in all partitions. */
static void append_ledger_ids(const struct tw_uuid *command_ids, size_t count, bson_t *filter)
{
    int32_t  partitions = tw_topic_of(TW_DOMAIN_PRODUCT, TW_TOPIC_COMMANDS)->partitions;
    uint32_t at = 0;
    bson_t   condition;
    bson_t   ids;

    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &ids);
    for (size_t i = 0; i < count; i++) {
        for (int32_t p = 0; p < partitions; p++) {
            char        id[TW_LEDGER_DOCUMENT_ID + 1];
            char        buffer[16];
            const char *key;
            size_t      key_len = bson_uint32_to_string(at++, &key, buffer, sizeof(buffer));

            tw_ledger_document_id(p, tw_command_id_ledger(command_ids[i]), id);
            bson_append_utf8(&ids, key, (int)key_len, id, -1);
        }
    }
    bson_append_array_end(&condition, &ids);
    bson_append_document_end(filter, &condition);
}

struct row_list {
    const struct tw_uuid        *command_ids;
    const struct tw_ledger_row **rows;
    size_t                       count;
};

/** A row of the command's own partition goes before one of another. */
static enum tw_rc keep_row(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    struct row_list      *list = ret_value;
    struct tw_ledger_row *row = TW_NEW(arena, struct tw_ledger_row);
    bson_iter_t           partition;

    TW_TRY(read_row(document, arena, row, reterr));
    if (!bson_iter_init_find(&partition, document, "partition"))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "a ledger row has no partition");
    for (size_t i = 0; i < list->count; i++) {
        struct tw_uuid id = list->command_ids[i];

        if (tw_uuid_eq(row->id, tw_command_id_ledger(id)) &&
            (!list->rows[i] || bson_iter_as_int64(&partition) == tw_command_id_partition(id)))
            list->rows[i] = row;
    }
    return TW_OK;
}

enum tw_rc tw_products_ledgers(struct tw_products *products, const struct tw_uuid *command_ids, size_t count,
                               struct tw_arena *arena, const struct tw_ledger_row **ret_rows, struct tw_err *reterr)
{
    struct row_list list = {command_ids, ret_rows, count};
    bson_t          filter = BSON_INITIALIZER;
    size_t          seen = 0;

    for (size_t i = 0; i < count; i++)
        ret_rows[i] = NULL;
    append_ledger_ids(command_ids, count, &filter);
    enum tw_rc rc = find(products, TW_MONGO_LEDGER, &filter, NULL, keep_row, arena, &list, &seen, reterr);
    bson_destroy(&filter);
    return rc;
}

/* The same key may have gone elsewhere before, with another SKU: that is what makes it a reused one. */
enum tw_rc tw_products_ledger(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *arena,
                              struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    const struct tw_ledger_row *row;

    if (!tw_command_id_is_keyed(command_id))
        return row_of_partition(products, command_id, arena, ret_row, reterr);
    TW_TRY(tw_products_ledgers(products, &command_id, 1, arena, &row, reterr));
    if (!row)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "the ledger does not know the command");
    *ret_row = *row;
    return TW_OK;
}

enum tw_rc tw_products_ping(struct tw_products *products, struct tw_err *reterr)
{
    TW_AUTO(loan_end) struct loan loan = {0};
    bson_t                        command = BSON_INITIALIZER;
    bson_error_t                  error;

    TW_TRY(borrow(products, &loan, reterr));
    BSON_APPEND_INT32(&command, "ping", 1);
    bool answered = mongoc_client_command_simple(loan.client, products->database, &command, NULL, NULL, &error);
    bson_destroy(&command);
    return answered ? TW_OK : tw_fail(reterr, TW_UNREACHED, WHERE, (long)error.code, "MongoDB did not answer");
}
