/*
 * Looking and mending are one walk over what should be there, so they cannot disagree: `mends` says which of the two it
 * is.
 *
 * The stand-in (mongo-java-server) has no collMod and shows no validators: its validators are given at creation only.
 */
#include "product_schema.h"

#include <string.h>

#include "product_bson.h"
#include "product_index.h"
#include "tillwire/embedded.h"

#define WHERE "product.schema"

enum { CODE_NAMESPACE_EXISTS = 48 };

struct walk {
    struct tw_mongo *mongo;
    bool             is_stand_in;
    bool             mends;
    bool             is_shadow;
    struct tw_buf   *lines;
};

/* One file of schemas/mongo. */
struct collection {
    const char *name;
    bson_t     *file;
};

static void free_bson(bson_t **document)
{
    bson_destroy(*document);
}

static enum tw_rc fail(const bson_error_t *error, const char *what, struct tw_err *reterr)
{
    enum tw_rc rc = tw_mongo_rc(error);

    return tw_fail(reterr, rc == TW_UNKNOWN ? TW_UNREACHED : rc, WHERE, (long)error->code, "%s: %s", what,
                   error->message);
}

/* --- reading the files -------------------------------------------------------------------------------------------- */

static enum tw_rc parse(const struct tw_embedded_file *file, struct collection *ret_collection, struct tw_err *reterr)
{
    bson_error_t error;
    bson_t       unused;
    bson_t      *document = bson_new_from_json((const uint8_t *)file->text, -1, &error);

    if (!document)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schemas/mongo/%s: %s", file->name, error.message);
    if (!*tw_bson_find_text(document, "collection") || !tw_bson_find_document(document, "validator", &unused) ||
        !tw_bson_find_document(document, "indexes", &unused)) {
        bson_destroy(document);
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schemas/mongo/%s names no collection, validator or indexes",
                       file->name);
    }
    *ret_collection = (struct collection){tw_bson_find_text(document, "collection"), document};
    return TW_OK;
}

/* --- collections and their validators ----------------------------------------------------------------------------- */

static void append_validator(const struct collection *collection, bson_t *to)
{
    bson_t validator;

    if (tw_bson_find_document(collection->file, "validator", &validator))
        BSON_APPEND_DOCUMENT(to, "validator", &validator);
    BSON_APPEND_UTF8(to, "validationAction", tw_bson_find_text(collection->file, "validationAction"));
}

/* Runs `{<verb>: <name>, validator, validationAction}`. */
static enum tw_rc set_validator(struct walk *walk, const struct collection *collection, const char *verb,
                                struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *document = bson_new();

    BSON_APPEND_UTF8(document, verb, collection->name);
    append_validator(collection, document);
    return tw_mongo_command(walk->mongo, document, collection->name, NULL, reterr);
}

static enum tw_rc create(struct walk *walk, const struct collection *collection, struct tw_err *reterr)
{
    struct tw_err why = {0};

    if (walk->mends && set_validator(walk, collection, "create", &why) != TW_OK &&
        why.native != CODE_NAMESPACE_EXISTS) /* another twctl was quicker */
        return tw_fail(reterr, why.rc, why.where, why.native, "%s", why.msg);
    tw_buf_printf(walk->lines, walk->mends ? "collection %s created\n" : "collection %s is missing\n",
                  collection->name);
    return TW_OK;
}

static bool has_validator(const struct collection *collection, const bson_t *options)
{
    bson_t wanted, stored;

    return tw_bson_find_document(collection->file, "validator", &wanted) &&
           tw_bson_find_document(options, "validator", &stored) && bson_equal(&wanted, &stored) &&
           !strcmp(tw_bson_find_text(collection->file, "validationAction"),
                   tw_bson_find_text(options, "validationAction"));
}

static enum tw_rc walk_validator(struct walk *walk, const struct collection *collection, const bson_t *options,
                                 struct tw_err *reterr)
{
    if (walk->is_stand_in || has_validator(collection, options))
        return TW_OK;
    if (walk->mends)
        TW_TRY(set_validator(walk, collection, "collMod", reterr));
    tw_buf_printf(walk->lines, walk->mends ? "validator of %s set\n" : "the validator of %s is another one\n",
                  collection->name);
    return TW_OK;
}

/* A copy of the collection's options as the server has them; NULL: there is no such collection. */
static enum tw_rc find_collection(struct walk *walk, const char *name, bson_t **ret_options, struct tw_err *reterr)
{
    mongoc_database_t         *database = mongoc_client_get_database(walk->mongo->client, walk->mongo->database);
    TW_AUTO(free_bson) bson_t *filter = BCON_NEW("filter", "{", "name", BCON_UTF8(name), "}");
    mongoc_cursor_t           *cursor = mongoc_database_find_collections_with_opts(database, filter);
    bson_error_t               error;
    const bson_t              *found;
    bool                       failed;

    *ret_options = NULL;
    while (!*ret_options && mongoc_cursor_next(cursor, &found)) {
        bson_t options;

        if (!strcmp(tw_bson_find_text(found, "name"), name)) /* the stand-in may pass over the filter */
            *ret_options = tw_bson_find_document(found, "options", &options) ? bson_copy(&options) : bson_new();
    }
    failed = mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    mongoc_database_destroy(database);
    return failed ? fail(&error, "listing collections", reterr) : TW_OK;
}

/* --- indexes ------------------------------------------------------------------------------------------------------ */

/* A copy of the index of this name as the server has it; NULL: there is none. */
static enum tw_rc find_index(struct walk *walk, const char *collection, const char *name, bson_t **ret_index,
                             struct tw_err *reterr)
{
    mongoc_collection_t *handle = mongoc_client_get_collection(walk->mongo->client, walk->mongo->database, collection);
    mongoc_cursor_t     *cursor = mongoc_collection_find_indexes_with_opts(handle, NULL);
    bson_error_t         error;
    const bson_t        *found;
    bool                 failed;

    *ret_index = NULL;
    while (!*ret_index && mongoc_cursor_next(cursor, &found))
        if (!strcmp(tw_bson_find_text(found, "name"), name))
            *ret_index = bson_copy(found);
    failed = mongoc_cursor_error(cursor, &error);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(handle);
    return failed ? fail(&error, "listing indexes", reterr) : TW_OK;
}

/* The server gets all there is of it but what is said to us and to people. */
static enum tw_rc create_index(struct walk *walk, const char *collection, const bson_t *index, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *spec = bson_new();
    TW_AUTO(free_bson) bson_t *document = NULL;

    bson_copy_to_excluding_noinit(index, spec, "server", "shadow", "why", NULL);
    document = BCON_NEW("createIndexes", BCON_UTF8(collection), "indexes", "[", BCON_DOCUMENT(spec), "]");
    return tw_mongo_command(walk->mongo, document, collection, NULL, reterr);
}

static enum tw_rc walk_index(struct walk *walk, const char *collection, const bson_t *index, struct tw_err *reterr)
{
    const char                *name = tw_bson_find_text(index, "name");
    TW_AUTO(free_bson) bson_t *stored = NULL;

    TW_TRY(find_index(walk, collection, name, &stored, reterr));
    if (!stored) {
        if (walk->mends)
            TW_TRY(create_index(walk, collection, index, reterr));
        tw_buf_printf(walk->lines, walk->mends ? "index %s of %s created\n" : "index %s of %s is missing\n", name,
                      collection);
        return TW_OK;
    }
    if (tw_mongo_same_index(index, stored))
        return TW_OK;
    if (walk->mends)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "index %s of %s is another one: drop it, then apply again", name,
                       collection);
    tw_buf_printf(walk->lines, "index %s of %s is another one\n", name, collection);
    return TW_OK;
}

static enum tw_rc walk_indexes(struct walk *walk, const struct collection *collection, struct tw_err *reterr)
{
    bson_t      indexes;
    bson_iter_t iter;

    if (!tw_bson_find_document(collection->file, "indexes", &indexes) || !bson_iter_init(&iter, &indexes))
        return TW_OK;
    while (bson_iter_next(&iter)) {
        const uint8_t *bytes;
        uint32_t       len;
        bson_t         index;

        bson_iter_document(&iter, &len, &bytes);
        if (bson_init_static(&index, bytes, len) && tw_mongo_wants_index(&index, walk->is_stand_in, walk->is_shadow))
            TW_TRY(walk_index(walk, collection->name, &index, reterr));
    }
    return TW_OK;
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

static enum tw_rc walk_collection(struct walk *walk, const struct collection *collection, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *options = NULL;

    TW_TRY(find_collection(walk, collection->name, &options, reterr));
    if (options)
        TW_TRY(walk_validator(walk, collection, options, reterr));
    else
        TW_TRY(create(walk, collection, reterr));
    return walk_indexes(walk, collection, reterr);
}

static enum tw_rc look_at_server(struct walk *walk, struct tw_err *reterr)
{
    TW_AUTO(free_bson) bson_t *build_info = BCON_NEW("buildInfo", BCON_INT32(1));
    bson_t                     reply;

    TW_TRY(tw_mongo_command(walk->mongo, build_info, "asking for its version", &reply, reterr));
    walk->is_stand_in = !bson_has_field(&reply, "storageEngines");
    bson_destroy(&reply);
    return TW_OK;
}

static enum tw_rc walk_all(struct walk *walk, struct tw_err *reterr)
{
    TW_TRY(look_at_server(walk, reterr));
    for (size_t i = 0; i < tw_embedded_mongo_count; i++) {
        struct collection collection = {0};
        enum tw_rc        rc;

        TW_TRY(parse(&tw_embedded_mongo[i], &collection, reterr));
        rc = walk_collection(walk, &collection, reterr);
        bson_destroy(collection.file);
        TW_TRY(rc);
    }
    return TW_OK;
}

enum tw_rc tw_product_schema_apply(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    struct walk walk = {.mongo = mongo, .mends = true, .lines = ret_lines};

    return walk_all(&walk, reterr);
}

enum tw_rc tw_product_schema_apply_shadow(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    struct walk walk = {.mongo = mongo, .mends = true, .is_shadow = true, .lines = ret_lines};

    return walk_all(&walk, reterr);
}

enum tw_rc tw_product_schema_diff(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    struct walk walk = {.mongo = mongo, .lines = ret_lines};

    return walk_all(&walk, reterr);
}
