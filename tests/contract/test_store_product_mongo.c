/* The products' store on MongoDB under the contract suite. EMPTIES all collections of the database that TW_MONGO_URI
 * names. */
#include <stdio.h>
#include <stdlib.h>

#include <mongoc/mongoc.h>

#include "net_faults.h"
#include "sample_states.h"
#include "store_contract.h"
#include "workers/product/product_store.h"

enum { TIMEOUT_MS = 5000 };

/* One document of a backup. */
struct kept {
    char   *collection;
    bson_t *document;
};

struct mongo {
    const char        *uri;
    mongoc_client_t   *client;
    mongoc_database_t *database;
    struct kept       *backup;
    size_t             backup_count;
    size_t             backup_cap;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "store_product_mongo: %s: %s\n", what, why);
    exit(1);
}

static void mongo_connect(void *self, const char *uri)
{
    struct mongo *mongo = self;
    bson_error_t  error;
    mongoc_uri_t *parsed = mongoc_uri_new_with_error(uri, &error);

    if (!parsed)
        die("TW_MONGO_URI", error.message);
    if (!mongoc_uri_get_database(parsed))
        die("TW_MONGO_URI", "names no database");
    mongoc_uri_set_option_as_int32(parsed, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, TIMEOUT_MS);
    mongo->uri = uri;
    mongo->client = mongoc_client_new_from_uri(parsed);
    mongo->database = mongoc_client_get_database(mongo->client, mongoc_uri_get_database(parsed));
    mongoc_uri_destroy(parsed);
}

static void mongo_open(void *self, struct tw_store *ret_store)
{
    struct mongo *mongo = self;
    struct tw_err err = {0};

    if (tw_product_store_open(mongo->uri, TIMEOUT_MS, ret_store, &err) != TW_OK)
        die("cannot open the store", err.msg);
}

static void mongo_close(void *self, struct tw_store *store)
{
    (void)self;
    tw_product_store_close(store);
}

/* Calls `each` with every collection there is. */
static void walk_collections(struct mongo *mongo, void (*each)(struct mongo *mongo, mongoc_collection_t *collection))
{
    bson_error_t error;
    char       **names = mongoc_database_get_collection_names_with_opts(mongo->database, NULL, &error);

    if (!names)
        die("cannot list collections", error.message);
    for (char **name = names; *name; name++) {
        mongoc_collection_t *collection = mongoc_database_get_collection(mongo->database, *name);

        each(mongo, collection);
        mongoc_collection_destroy(collection);
    }
    bson_strfreev(names);
}

static void empty(struct mongo *mongo, mongoc_collection_t *collection)
{
    bson_t       all = BSON_INITIALIZER;
    bson_error_t error;

    (void)mongo;
    if (!mongoc_collection_delete_many(collection, &all, NULL, NULL, &error))
        die(mongoc_collection_get_name(collection), error.message);
    bson_destroy(&all);
}

static void mongo_wipe(void *self)
{
    walk_collections(self, empty);
}

static void keep(struct mongo *mongo, mongoc_collection_t *collection)
{
    bson_t           all = BSON_INITIALIZER;
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, &all, NULL, NULL);
    const bson_t    *document;
    bson_error_t     error;

    while (mongoc_cursor_next(cursor, &document)) {
        if (mongo->backup_count == mongo->backup_cap) {
            mongo->backup_cap = mongo->backup_cap ? 2 * mongo->backup_cap : 64;
            mongo->backup = tw_realloc(mongo->backup, mongo->backup_cap * sizeof(*mongo->backup));
        }
        mongo->backup[mongo->backup_count++] =
            (struct kept){tw_strdup(mongoc_collection_get_name(collection)), bson_copy(document)};
    }
    if (mongoc_cursor_error(cursor, &error))
        die(mongoc_collection_get_name(collection), error.message);
    mongoc_cursor_destroy(cursor);
    bson_destroy(&all);
}

static void forget_backup(struct mongo *mongo)
{
    for (size_t i = 0; i < mongo->backup_count; i++) {
        free(mongo->backup[i].collection);
        bson_destroy(mongo->backup[i].document);
    }
    free(mongo->backup);
    mongo->backup = NULL;
    mongo->backup_count = mongo->backup_cap = 0;
}

static void mongo_take(void *self)
{
    forget_backup(self);
    walk_collections(self, keep);
}

static void mongo_put_back(void *self)
{
    struct mongo *mongo = self;

    mongo_wipe(mongo);
    for (size_t i = 0; i < mongo->backup_count; i++) {
        const struct kept   *kept = &mongo->backup[i];
        mongoc_collection_t *collection = mongoc_database_get_collection(mongo->database, kept->collection);
        bson_error_t         error;

        if (!mongoc_collection_insert_one(collection, kept->document, NULL, NULL, &error))
            die(kept->collection, error.message);
        mongoc_collection_destroy(collection);
    }
}

static void mongo_lose_request(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, NULL);
}

/* A commit is several requests; the one that counts swaps the progress document: the only write with this field. */
static const char commit_marker[] = "last_hash";

static void mongo_lose_commit(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, commit_marker);
}

static void mongo_lose_answer(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_ANSWER, commit_marker);
}

static bool mongo_end_fault(void *self)
{
    (void)self;
    return tw_net_fault_clear();
}

int main(int argc, char **argv)
{
    /* Every gap between the redo record (a), applying it (b) and tw_applied (c). */
    static const char *const stops[] = {
        "in_commit=stop",
        "after_redo=stop",
        "in_apply=stop@1",
        "in_apply=stop@2",
        "in_apply=stop@3",
        "before_applied=stop",
        NULL,
    };
    struct mongo            mongo = {0};
    struct tw_store_fixture fixture = {
        .name = "store_product_mongo",
        .variable = "TW_MONGO_URI",
        .states = &tw_sample_products,
        .connect = mongo_connect,
        .open = mongo_open,
        .close = mongo_close,
        .wipe = mongo_wipe,
        .take = mongo_take,
        .put_back = mongo_put_back,
        .lose_request = mongo_lose_request,
        .lose_commit = mongo_lose_commit,
        .lose_answer = mongo_lose_answer,
        .end_fault = mongo_end_fault,
        .stops = stops,
        .self = &mongo,
    };
    int failed;

    mongoc_init();
    failed = tw_store_contract_main(argc, argv, &fixture);
    forget_backup(&mongo);
    mongoc_database_destroy(mongo.database);
    mongoc_client_destroy(mongo.client);
    mongoc_cleanup();
    return failed;
}
