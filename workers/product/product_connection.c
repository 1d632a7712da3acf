#include "product_connection.h"

#include <string.h>

#include "tillwire/log.h"
#include "tillwire/product_document.h"

/*
 * What an error code means for the statement that got it. What is not listed may have been executed: UNKNOWN is always
 * safe, for the watermark tells.
 */
static const struct {
    int32_t    code;
    enum tw_rc rc;
} codes[] = {
    {2, TW_REFUSED},       /* BadValue */
    {9, TW_REFUSED},       /* FailedToParse */
    {14, TW_REFUSED},      /* TypeMismatch */
    {22, TW_REFUSED},      /* InvalidBSON */
    {10334, TW_REFUSED},   /* BSONObjectTooLarge */
    {17419, TW_REFUSED},   /* the updated document would be too large */
    {17420, TW_REFUSED},   /* the same, in place */
    {24, TW_UNREACHED},    /* LockTimeout */
    {46, TW_UNREACHED},    /* LockBusy */
    {112, TW_UNREACHED},   /* WriteConflict */
    {10107, TW_UNREACHED}, /* NotWritablePrimary */
    {13435, TW_UNREACHED}, /* NotPrimaryNoSecondaryOk */
    {13436, TW_UNREACHED}, /* NotPrimaryOrSecondary */
    {14031, TW_UNREACHED}, /* OutOfDiskSpace */
    {13, TW_BROKEN},       /* Unauthorized */
    {18, TW_BROKEN},       /* AuthenticationFailed */
    {8000, TW_BROKEN},     /* AtlasError: the account may not */
    {59, TW_BROKEN},       /* CommandNotFound */
    {73, TW_BROKEN},       /* InvalidNamespace */
    {121, TW_BROKEN},      /* DocumentValidationFailure: our validators only warn */
};

enum { CODE_DUPLICATE_KEY = 11000 };

static enum tw_rc rc_of_code(int32_t code)
{
    for (size_t i = 0; i < TW_LEN(codes); i++)
        if (codes[i].code == code)
            return codes[i].rc;
    return TW_UNKNOWN;
}

enum tw_rc tw_mongo_rc(const bson_error_t *error)
{
    switch (error->domain) {
    case MONGOC_ERROR_SERVER_SELECTION: /* there was nobody to send it to */
        return TW_UNREACHED;
    case MONGOC_ERROR_CLIENT:
        return error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE ? TW_BROKEN : TW_UNKNOWN;
    case MONGOC_ERROR_BSON:
        return TW_REFUSED;
    case MONGOC_ERROR_SERVER:
        return rc_of_code((int32_t)error->code);
    default:
        return TW_UNKNOWN;
    }
}

/* Whatever is no answer of the server leaves the connection in doubt. */
static bool breaks_connection(const bson_error_t *error)
{
    return error->domain != MONGOC_ERROR_SERVER || tw_mongo_rc(error) == TW_UNREACHED ||
           tw_mongo_rc(error) == TW_UNKNOWN;
}

static void disconnect(struct tw_mongo *mongo)
{
    if (mongo->client)
        mongoc_client_destroy(mongo->client);
    mongo->client = NULL;
}

static enum tw_rc fail(struct tw_mongo *mongo, enum tw_rc rc, const char *where, const bson_error_t *error,
                       struct tw_err *reterr)
{
    tw_fail(reterr, rc, where, (long)error->code, "MongoDB: %s", error->message);
    if (breaks_connection(error))
        disconnect(mongo);
    return rc;
}

static enum tw_rc check_connected(const struct tw_mongo *mongo, const char *where, struct tw_err *reterr)
{
    if (!mongo->client)
        return tw_fail(reterr, TW_UNREACHED, where, 0, "the connection to MongoDB broke");
    return TW_OK;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void log_at_debug(mongoc_log_level_t level, const char *domain, const char *message, void *context)
{
    (void)level;
    (void)context;
    tw_log(TW_LOG_DEBUG, "libmongoc", TW_F_TEXT("domain", domain), TW_F_TEXT("text", message));
}

static bson_t *new_write_options(int32_t servers, bool journal)
{
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    bson_t                 *options = bson_new();

    mongoc_write_concern_set_w(concern, servers);
    mongoc_write_concern_set_journal(concern, journal);
    mongoc_write_concern_append(concern, options);
    mongoc_write_concern_destroy(concern);
    return options;
}

/* A retry, a check of an idle socket or a new look around by the driver would hide that the connection is another. */
static void settle_options(mongoc_uri_t *uri, int timeout_ms)
{
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETCHECKINTERVALMS, INT32_MAX);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, INT32_MAX);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, timeout_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS, timeout_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, timeout_ms);
    mongoc_uri_set_appname(uri, "tillwire-product");
}

enum tw_rc tw_mongo_init(const char *uri, int timeout_ms, struct tw_mongo *ret_mongo, struct tw_err *reterr)
{
    static const char where[] = "product.store.open";
    struct tw_mongo   mongo = {0};
    bson_error_t      error;

    mongoc_log_set_handler(log_at_debug, NULL); /* first: it has words to say, too */
    tw_mongo_begin();
    mongo.uri = mongoc_uri_new_with_error(uri, &error);
    if (!mongo.uri)
        return tw_fail(reterr, TW_INVALID, where, (long)error.code, "MongoDB URI: %s", error.message);
    mongo.database = mongoc_uri_get_database(mongo.uri);
    if (!mongo.database) {
        tw_mongo_done(&mongo);
        return tw_fail(reterr, TW_INVALID, where, 0, "MongoDB URI names no database");
    }
    settle_options(mongo.uri, timeout_ms);
    mongo.write_options = new_write_options(MONGOC_WRITE_CONCERN_W_MAJORITY, true);
    *ret_mongo = mongo;
    return TW_OK;
}

void tw_mongo_relax(struct tw_mongo *mongo)
{
    bson_destroy(mongo->write_options);
    mongo->write_options = new_write_options(1, false);
}

void tw_mongo_done(struct tw_mongo *mongo)
{
    disconnect(mongo);
    if (mongo->write_options)
        bson_destroy(mongo->write_options);
    if (mongo->uri)
        mongoc_uri_destroy(mongo->uri);
    *mongo = (struct tw_mongo){0};
}

static enum tw_rc new_client(const mongoc_uri_t *uri, mongoc_client_t **ret_client, struct tw_err *reterr)
{
    bson_error_t     error;
    mongoc_client_t *client = mongoc_client_new_from_uri_with_error(uri, &error);

    if (!client) /* a mongodb+srv:// name that does not resolve */
        return tw_fail(reterr, TW_UNREACHED, "product.store.connect", (long)error.code, "MongoDB: %s", error.message);
    mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2);
    *ret_client = client;
    return TW_OK;
}

enum tw_rc tw_mongo_connect(struct tw_mongo *mongo, struct tw_err *reterr)
{
    return mongo->client ? TW_OK : new_client(mongo->uri, &mongo->client, reterr);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bson_error_t error_in(const bson_t *reply_error)
{
    bson_error_t error = {.domain = MONGOC_ERROR_SERVER};
    bson_iter_t  iter;
    const char  *message = "no message";

    if (bson_iter_init_find(&iter, reply_error, "code"))
        error.code = (uint32_t)bson_iter_as_int64(&iter);
    if (bson_iter_init_find(&iter, reply_error, "errmsg") && BSON_ITER_HOLDS_UTF8(&iter))
        message = bson_iter_utf8(&iter, NULL);
    bson_strncpy(error.message, message, sizeof(error.message));
    return error;
}

/* The statements of a command fail one by one: the worst of them, which is the largest code, is the answer. */
static bool find_worst(const bson_t *reply, bson_error_t *ret_error, bool *ret_duplicates)
{
    bool        failed = false;
    bson_iter_t iter;
    bson_iter_t item;

    if (!bson_iter_init_find(&iter, reply, "writeErrors") || !bson_iter_recurse(&iter, &item))
        return false;
    while (bson_iter_next(&item)) {
        const uint8_t *bytes;
        uint32_t       len;
        bson_t         document;
        bson_error_t   error;

        bson_iter_document(&item, &len, &bytes);
        if (!bson_init_static(&document, bytes, len))
            continue;
        error = error_in(&document);
        if (error.code == CODE_DUPLICATE_KEY) {
            *ret_duplicates = true;
        } else if (!failed || tw_mongo_rc(&error) > tw_mongo_rc(ret_error)) {
            *ret_error = error;
            failed = true;
        }
    }
    return failed;
}

static enum tw_rc read_reply(struct tw_mongo *mongo, const bson_t *reply, const char *where,
                             struct tw_mongo_written *ret_written, struct tw_err *reterr)
{
    struct tw_mongo_written written = {0};
    bson_error_t            error;
    bson_iter_t             iter;

    if (find_worst(reply, &error, &written.duplicates))
        return fail(mongo, tw_mongo_rc(&error), where, &error, reterr);
    if (bson_iter_init_find(&iter, reply, "n"))
        written.matched = bson_iter_as_int64(&iter);
    *ret_written = written;
    return TW_OK;
}

enum tw_rc tw_mongo_write(struct tw_mongo *mongo, const bson_t *command, const char *where,
                          struct tw_mongo_written *ret_written, struct tw_err *reterr)
{
    bson_error_t error;
    bson_t       reply;
    enum tw_rc   rc;

    TW_TRY(check_connected(mongo, where, reterr));
    if (mongoc_client_write_command_with_opts(mongo->client, mongo->database, command, mongo->write_options, &reply,
                                              &error))
        rc = read_reply(mongo, &reply, where, ret_written, reterr);
    else
        rc = fail(mongo, tw_mongo_rc(&error), where, &error, reterr);
    bson_destroy(&reply);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static enum tw_rc rc_of_read(enum tw_rc rc)
{
    if (rc == TW_UNKNOWN)
        return TW_UNREACHED;
    return rc == TW_REFUSED ? TW_BROKEN : rc;
}

enum tw_rc tw_mongo_find(struct tw_mongo *mongo, const char *collection, const bson_t *filter, const bson_t *options,
                         tw_mongo_found *found, void *context, const char *where, struct tw_err *reterr)
{
    mongoc_collection_t *handle;
    mongoc_cursor_t     *cursor;
    const bson_t        *document;
    bson_error_t         error;
    bool                 failed;
    enum tw_rc           rc = TW_OK;

    TW_TRY(check_connected(mongo, where, reterr));
    handle = mongoc_client_get_collection(mongo->client, mongo->database, collection);
    cursor = mongoc_collection_find_with_opts(handle, filter, options, NULL);
    while (rc == TW_OK && mongoc_cursor_next(cursor, &document))
        rc = found(context, document, reterr);
    failed = rc == TW_OK && mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(handle);
    return failed ? fail(mongo, rc_of_read(tw_mongo_rc(&error)), where, &error, reterr) : rc;
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static const char where_command[] = "product.mongo.command";

static enum tw_rc fail_command(struct tw_mongo *mongo, const bson_error_t *error, const char *what,
                               struct tw_err *reterr)
{
    if (error->domain != MONGOC_ERROR_SERVER)
        disconnect(mongo);
    return tw_fail(reterr, rc_of_read(tw_mongo_rc(error)), where_command, (long)error->code, "%s: %s", what,
                   error->message);
}

enum tw_rc tw_mongo_command(struct tw_mongo *mongo, const bson_t *command, const char *what, bson_t *ret_reply,
                            struct tw_err *reterr)
{
    bson_error_t error;
    bson_t       reply;

    TW_TRY(check_connected(mongo, where_command, reterr));
    if (!mongoc_client_command_simple(mongo->client, mongo->database, command, NULL, &reply, &error)) {
        bson_destroy(&reply);
        return fail_command(mongo, &error, what, reterr);
    }
    if (ret_reply)
        bson_steal(ret_reply, &reply);
    else
        bson_destroy(&reply);
    return TW_OK;
}

static void drop_system_names(char **names)
{
    char **kept = names;

    for (char **name = names; *name; name++) {
        if (strncmp(*name, "system.", strlen("system.")) != 0)
            *kept++ = *name;
        else
            bson_free(*name);
    }
    *kept = NULL;
}

enum tw_rc tw_mongo_collections(struct tw_mongo *mongo, char ***ret_names, struct tw_err *reterr)
{
    mongoc_database_t *database;
    bson_error_t       error;
    char             **names;

    TW_TRY(check_connected(mongo, where_command, reterr));
    database = mongoc_client_get_database(mongo->client, mongo->database);
    names = mongoc_database_get_collection_names_with_opts(database, NULL, &error);
    mongoc_database_destroy(database);
    if (!names)
        return fail_command(mongo, &error, "listing collections", reterr);
    drop_system_names(names);
    *ret_names = names;
    return TW_OK;
}

enum tw_rc tw_mongo_drop(struct tw_mongo *mongo, bool (*goes)(const char *name), struct tw_err *reterr)
{
    char     **names = NULL;
    enum tw_rc rc = tw_mongo_collections(mongo, &names, reterr);

    for (char **name = names; rc == TW_OK && name && *name; name++) {
        bson_t *command = BCON_NEW("drop", BCON_UTF8(*name));

        if (goes(*name))
            rc = tw_mongo_command(mongo, command, *name, NULL, reterr);
        bson_destroy(command);
    }
    bson_strfreev(names);
    return rc;
}

/* --- scans -------------------------------------------------------------------------------------------------------- */

enum tw_rc tw_mongo_scan_begin(const struct tw_mongo *mongo, const char *collection, const bson_t *filter,
                               const bson_t *options, struct tw_mongo_scan *ret_scan, struct tw_err *reterr)
{
    struct tw_mongo_scan scan = {0};

    TW_TRY(new_client(mongo->uri, &scan.client, reterr));
    scan.collection = mongoc_client_get_collection(scan.client, mongo->database, collection);
    scan.cursor = mongoc_collection_find_with_opts(scan.collection, filter, options, NULL);
    *ret_scan = scan;
    return TW_OK;
}

enum tw_rc tw_mongo_scan_next(struct tw_mongo_scan *scan, const bson_t **ret_document, const char *where,
                              struct tw_err *reterr)
{
    const bson_t *document = NULL;
    bson_error_t  error;

    if (!mongoc_cursor_next(scan->cursor, &document) && mongoc_cursor_error(scan->cursor, &error))
        return tw_fail(reterr, rc_of_read(tw_mongo_rc(&error)), where, (long)error.code, "MongoDB: %s", error.message);
    *ret_document = document;
    return TW_OK;
}

void tw_mongo_scan_end(struct tw_mongo_scan *scan)
{
    if (scan->cursor)
        mongoc_cursor_destroy(scan->cursor);
    if (scan->collection)
        mongoc_collection_destroy(scan->collection);
    if (scan->client)
        mongoc_client_destroy(scan->client);
    *scan = (struct tw_mongo_scan){0};
}
