/*
 * Floor of a rebuild in MongoDB: what the server takes of the same documents when nothing else is done. All documents of
 * the store's collections are read from one database and inserted into another one, which has the same indexes and is
 * emptied first, in large unordered bulk writes; the clock runs only while they are written.
 *
 *   bench_plain_bulk SOURCE_URI TARGET_URI     both name their database
 *
 * Prints `documents=N seconds=S`.
 */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>

#include "tillwire/base.h"
#include "tillwire/clock.h"
#include "tillwire/product_document.h"

enum { AT_ONCE = 5000 };

struct copy {
    mongoc_collection_t *target;
    bson_t              *documents[AT_ONCE];
    size_t               count;
    int64_t              written;
    int64_t              us;
};

_Noreturn static void give_up(const char *what, const bson_error_t *error)
{
    fprintf(stderr, "bench_plain_bulk: %s: %s\n", what, error->message);
    exit(1);
}

static mongoc_client_t *connect_to(const char *uri)
{
    bson_error_t     error = {.message = "no MongoDB URI"};
    mongoc_client_t *client = mongoc_client_new(uri);

    if (!client)
        give_up(uri, &error);
    return client;
}

static mongoc_collection_t *collection_of(mongoc_client_t *client, const char *name)
{
    return mongoc_client_get_collection(client, mongoc_uri_get_database(mongoc_client_get_uri(client)), name);
}

static void write_documents(struct copy *copy)
{
    const bson_t *documents[AT_ONCE];
    bson_t       *options = BCON_NEW("ordered", BCON_BOOL(false));
    int64_t       started_us = tw_monotonic_us();
    bson_error_t  error;

    for (size_t i = 0; i < copy->count; i++)
        documents[i] = copy->documents[i];
    if (copy->count && !mongoc_collection_insert_many(copy->target, documents, copy->count, options, NULL, &error))
        give_up("insert", &error);
    copy->us += tw_monotonic_us() - started_us;
    copy->written += (int64_t)copy->count;
    bson_destroy(options);
    while (copy->count > 0)
        bson_destroy(copy->documents[--copy->count]);
}

static void copy_collection(struct copy *copy, mongoc_client_t *from, mongoc_client_t *to, const char *name)
{
    mongoc_collection_t *source = collection_of(from, name);
    bson_t               all = BSON_INITIALIZER;
    mongoc_cursor_t     *cursor = mongoc_collection_find_with_opts(source, &all, NULL, NULL);
    const bson_t        *document;
    bson_error_t         error;

    copy->target = collection_of(to, name);
    if (!mongoc_collection_delete_many(copy->target, &all, NULL, NULL, &error))
        give_up(name, &error);
    while (mongoc_cursor_next(cursor, &document)) {
        copy->documents[copy->count++] = bson_copy(document);
        if (copy->count == AT_ONCE)
            write_documents(copy);
    }
    if (mongoc_cursor_error(cursor, &error))
        give_up(name, &error);
    write_documents(copy);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(copy->target);
    mongoc_collection_destroy(source);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {TW_MONGO_PRODUCTS, TW_MONGO_RATINGS, TW_MONGO_LEDGER};
    static struct copy       copy;
    mongoc_client_t         *from, *to;

    if (argc != 3) {
        fprintf(stderr, "Usage: bench_plain_bulk SOURCE_URI TARGET_URI\n");
        return 2;
    }
    mongoc_init();
    from = connect_to(argv[1]);
    to = connect_to(argv[2]);
    for (size_t i = 0; i < TW_LEN(names); i++)
        copy_collection(&copy, from, to, names[i]);
    printf("documents=%lld seconds=%.3f\n", (long long)copy.written, (double)copy.us / 1e6);
    mongoc_client_destroy(from);
    mongoc_client_destroy(to);
    mongoc_cleanup();
    return 0;
}
