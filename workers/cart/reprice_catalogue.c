/*
 * Reads only. From the primary, whatever the address says: a secondary may not have yet what was published already, and
 * a change that is overlooked here is overlooked for good.
 */
#include <mongoc/mongoc.h>
#include <stdlib.h>
#include <string.h>

#include "cart_policy.h"
#include "tillwire/log.h"
#include "tillwire/product_document.h"

static const char where[] = "cart.reprice.catalogue";

struct mongo_catalogue {
    mongoc_uri_t    *uri;
    mongoc_client_t *client; /* NULL: not connected */
};

/* --- documents ---------------------------------------------------------------------------------------------------- */

static bool read_price(const bson_iter_t *iter, int64_t *ret_minor)
{
    bson_decimal128_t decimal;

    return BSON_ITER_HOLDS_DECIMAL128(iter) && bson_iter_decimal128(iter, &decimal) &&
           tw_decimal128_to_hundredths((struct tw_decimal128){decimal.low, decimal.high}, ret_minor);
}

static bool read_field(const bson_iter_t *iter, struct tw_arena *arena, struct tw_catalogue_product *product)
{
    const char *field = bson_iter_key(iter);
    uint32_t    len;
    const char *text;

    if (!strcmp(field, "_id") && BSON_ITER_HOLDS_OID(iter)) {
        product->product_id = tw_product_id(bson_iter_oid(iter)->bytes);
    } else if (!strcmp(field, "name") && BSON_ITER_HOLDS_UTF8(iter)) {
        text = bson_iter_utf8(iter, &len);
        product->name = tw_arena_copy(arena, (struct tw_str){text, len});
    } else if (!strcmp(field, "effective_price")) {
        return read_price(iter, &product->price_minor);
    } else if (!strcmp(field, "version") && BSON_ITER_HOLDS_INT(iter)) {
        product->version = bson_iter_as_int64(iter);
    } else if (!strcmp(field, "is_active") && BSON_ITER_HOLDS_BOOL(iter)) {
        product->available = bson_iter_bool(iter);
    } else {
        return false;
    }
    return true;
}

/* It would hold up all others: those are looked up, and its lines stay as they are. */
static void tell_unreadable(const bson_t *document, const struct tw_err *err)
{
    char        id[TW_UUID_TEXT + 1] = "?";
    bson_iter_t iter;

    if (bson_iter_init_find(&iter, document, "_id") && BSON_ITER_HOLDS_OID(&iter))
        tw_uuid_format(tw_product_id(bson_iter_oid(&iter)->bytes), id);
    tw_log_err(TW_LOG_ERROR, "policy: a product that cannot be read is passed over", err,
               (const struct tw_log_field[]){TW_F_TEXT("product_id", id), {0}});
}

/* Exactly the five fields of the projection, each of its type. */
static enum tw_rc read_product(const bson_t *document, struct tw_arena *arena, struct tw_catalogue_product *ret_product,
                               struct tw_err *reterr)
{
    struct tw_catalogue_product product = {0};
    bson_iter_t                 iter;
    int                         fields = 0;

    if (bson_iter_init(&iter, document))
        for (; bson_iter_next(&iter); fields++)
            if (!read_field(&iter, arena, &product))
                return tw_fail(reterr, TW_BROKEN, where, 0, "a product's '%.64s' is malformed", bson_iter_key(&iter));
    if (fields != 5)
        return tw_fail(reterr, TW_BROKEN, where, 0, "a product lacks one of the fields a cart needs");
    *ret_product = product;
    return TW_OK;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void disconnect(struct mongo_catalogue *catalogue)
{
    if (catalogue->client)
        mongoc_client_destroy(catalogue->client);
    catalogue->client = NULL;
}

static enum tw_rc connect_catalogue(struct mongo_catalogue *catalogue, struct tw_err *reterr)
{
    bson_error_t error;

    if (catalogue->client)
        return TW_OK;
    catalogue->client = mongoc_client_new_from_uri_with_error(catalogue->uri, &error);
    if (!catalogue->client) /* a mongodb+srv:// name that does not resolve */
        return tw_fail(reterr, TW_UNREACHED, where, (long)error.code, "MongoDB: %s", error.message);
    mongoc_client_set_error_api(catalogue->client, MONGOC_ERROR_API_VERSION_2);
    return TW_OK;
}

/* Ids that no SKU can have are left out: there is no such product. */
static bson_t *new_filter(const struct tw_uuid *ids, size_t count)
{
    bson_t   list = BSON_INITIALIZER;
    bson_t  *filter;
    uint32_t len = 0;

    for (size_t i = 0; i < count; i++) {
        bson_oid_t  id;
        char        buffer[16];
        const char *key;
        size_t      key_len;

        if (!tw_product_id_to_object_id(ids[i], id.bytes))
            continue;
        key_len = bson_uint32_to_string(len++, &key, buffer, sizeof(buffer));
        bson_append_oid(&list, key, (int)key_len, &id);
    }
    filter = BCON_NEW("_id", "{", "$in", BCON_ARRAY(&list), "}");
    bson_destroy(&list);
    return filter;
}

static mongoc_cursor_t *find(struct mongo_catalogue *catalogue, const struct tw_uuid *ids, size_t count)
{
    mongoc_collection_t *products =
        mongoc_client_get_collection(catalogue->client, mongoc_uri_get_database(catalogue->uri), TW_MONGO_PRODUCTS);
    bson_t *filter = new_filter(ids, count);
    bson_t *options = BCON_NEW("projection", "{", "name", BCON_INT32(1), "effective_price", BCON_INT32(1), "is_active",
                               BCON_INT32(1), "version", BCON_INT32(1), "}", "batchSize",
                               BCON_INT32((int32_t)count + 1)); /* one answer, closed at once */
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(products, filter, options, NULL);

    bson_destroy(options);
    bson_destroy(filter);
    mongoc_collection_destroy(products);
    return cursor;
}

static enum tw_rc mongo_look_up(void *self, const struct tw_uuid *ids, size_t count, struct tw_arena *arena,
                                struct tw_catalogue_product **ret_products, size_t *ret_count, struct tw_err *reterr)
{
    struct mongo_catalogue      *catalogue = self;
    struct tw_catalogue_product *products = TW_NEW_ARRAY(arena, count, struct tw_catalogue_product);
    size_t                       found = 0;
    mongoc_cursor_t             *cursor;
    const bson_t                *document;
    bson_error_t                 error;
    enum tw_rc                   rc = TW_OK;

    TW_TRY(connect_catalogue(catalogue, reterr));
    cursor = find(catalogue, ids, count);
    while (found < count && mongoc_cursor_next(cursor, &document)) {
        struct tw_err err;

        if (read_product(document, arena, &products[found], &err) == TW_OK)
            found++;
        else
            tell_unreadable(document, &err);
    }
    if (mongoc_cursor_error(cursor, &error))
        rc = tw_fail(reterr, TW_UNREACHED, where, (long)error.code, "MongoDB: %s", error.message);
    mongoc_cursor_destroy(cursor);
    if (rc != TW_OK) {
        disconnect(catalogue);
        return rc;
    }
    *ret_products = products;
    *ret_count = found;
    return TW_OK;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void log_at_debug(mongoc_log_level_t level, const char *domain, const char *message, void *context)
{
    (void)level;
    (void)context;
    tw_log(TW_LOG_DEBUG, "libmongoc", TW_F_TEXT("domain", domain), TW_F_TEXT("text", message));
}

static void settle_options(mongoc_uri_t *uri, int timeout_ms)
{
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);

    mongoc_uri_set_read_prefs_t(uri, primary);
    mongoc_read_prefs_destroy(primary);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, timeout_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS, timeout_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, timeout_ms);
    mongoc_uri_set_appname(uri, "tillwire-cart");
}

static void close_catalogue(void *self)
{
    struct mongo_catalogue *catalogue = self;

    if (!catalogue)
        return;
    disconnect(catalogue);
    mongoc_uri_destroy(catalogue->uri);
    free(catalogue);
}

enum tw_rc tw_mongo_catalogue_open(const char *mongo_uri, int timeout_ms, struct tw_catalogue *ret_catalogue,
                                   struct tw_err *reterr)
{
    struct mongo_catalogue *catalogue;
    mongoc_uri_t           *uri;
    bson_error_t            error;

    mongoc_log_set_handler(log_at_debug, NULL); /* first: it has words to say, too */
    tw_mongo_begin();
    uri = mongoc_uri_new_with_error(mongo_uri, &error);
    if (!uri)
        return tw_fail(reterr, TW_INVALID, where, (long)error.code, "MongoDB URI: %s", error.message);
    if (!mongoc_uri_get_database(uri)) {
        mongoc_uri_destroy(uri);
        return tw_fail(reterr, TW_INVALID, where, 0, "MongoDB URI names no database");
    }
    settle_options(uri, timeout_ms);
    catalogue = tw_alloc_zeroed(1, sizeof(*catalogue));
    catalogue->uri = uri;
    *ret_catalogue = (struct tw_catalogue){.look_up = mongo_look_up, .close = close_catalogue, .self = catalogue};
    return TW_OK;
}
