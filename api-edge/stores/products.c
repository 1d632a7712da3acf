#include "stores/products.h"

#include <mongoc/mongoc.h>
#include <stdlib.h>

#include "stores/known_ids.h"
#include "tillwire/log.h"
#include "tillwire/product_document.h"

#define WHERE "edge.products"

enum { TIMEOUT_MS = 2000 };

struct tw_products {
    mongoc_client_pool_t *pool;
    char                 *database;
    struct tw_known_ids   known;
};

/** A client out of the pool for the length of a scope. */
struct loan {
    mongoc_client_pool_t *pool;
    mongoc_client_t      *client;
};

static void loan_end(struct loan *loan)
{
    if (loan->client)
        mongoc_client_pool_push(loan->pool, loan->client);
}

static void on_mongoc_log(mongoc_log_level_t level, const char *domain, const char *message, void *self)
{
    (void)self;
    if (level <= MONGOC_LOG_LEVEL_WARNING)
        tw_log(TW_LOG_DEBUG, "mongo client", TW_F_TEXT("domain", domain), TW_F_TEXT("text", message));
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

    mongoc_init();
    mongoc_log_set_handler(on_mongoc_log, NULL);
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
    mongoc_client_pool_set_appname(products->pool, "tillwire-edge");
    mongoc_uri_destroy(uri);
    tw_known_ids_init(&products->known);
    *ret_products = products;
    return TW_OK;
}

void tw_products_close(struct tw_products *products)
{
    if (!products)
        return;
    mongoc_client_pool_destroy(products->pool);
    mongoc_cleanup();
    free(products->database);
    free(products);
}

static enum tw_rc borrow(struct tw_products *products, struct loan *ret_loan, struct tw_err *reterr)
{
    mongoc_client_t *client = mongoc_client_pool_pop(products->pool);

    if (!client)
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "all connections are busy");
    *ret_loan = (struct loan){products->pool, client};
    return TW_OK;
}

/** Called with the one document found. */
typedef enum tw_rc (*document_fn)(const bson_t *document, struct tw_arena *arena, void *ret_value,
                                  struct tw_err *reterr);

static enum tw_rc find_one(struct tw_products *products, const char *collection, const bson_t *filter,
                           const bson_t *options, document_fn read, struct tw_arena *arena, void *ret_value,
                           struct tw_err *reterr)
{
    TW_AUTO(loan_end) struct loan loan = {0};
    const bson_t                 *document = NULL;
    bson_error_t                  error;
    enum tw_rc                    rc = TW_OK;

    TW_TRY(borrow(products, &loan, reterr));
    mongoc_collection_t *handle = mongoc_client_get_collection(loan.client, products->database, collection);
    mongoc_cursor_t     *cursor = mongoc_collection_find_with_opts(handle, filter, options, NULL);
    if (mongoc_cursor_next(cursor, &document))
        rc = read(document, arena, ret_value, reterr);
    else if (mongoc_cursor_error(cursor, &error))
        rc = tw_fail(reterr, TW_UNREACHED, WHERE, (long)error.code, "MongoDB did not answer");
    else
        rc = tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such document");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(handle);
    return rc;
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

static enum tw_rc read_row(const bson_t *document, struct tw_arena *arena, void *ret_value, struct tw_err *reterr)
{
    return tw_ledger_from_document(document, arena, ret_value, reterr);
}

enum tw_rc tw_products_ledger(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *arena,
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
