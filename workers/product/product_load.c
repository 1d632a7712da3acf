#include "product_load.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/product_document.h"

static const char where[] = "product.store.load";

struct wanted {
    bson_oid_t        id;
    struct tw_entity *entity;
};

struct loading {
    struct tw_load  *load;
    struct tw_arena *arena;
    struct wanted   *wanted; /* sorted by id */
    size_t           wanted_count;
    size_t           row_cap;
    int64_t          newest_guard;
};

static int compare_wanted(const void *a, const void *b)
{
    return memcmp(&((const struct wanted *)a)->id, &((const struct wanted *)b)->id, sizeof(bson_oid_t));
}

/* Ids that no SKU can have are not asked for: there is no such product. */
static void collect_wanted(struct loading *loading)
{
    struct tw_load *load = loading->load;

    loading->wanted = TW_NEW_ARRAY(loading->arena, load->entity_count, struct wanted);
    for (size_t i = 0; i < load->entity_count; i++) {
        struct wanted *wanted = &loading->wanted[loading->wanted_count];

        load->entities[i].before = NULL;
        load->entities[i].before_guard = -1;
        wanted->entity = &load->entities[i];
        if (load->entities[i].key.kind == 0 && tw_product_id_to_object_id(load->entities[i].key.id, wanted->id.bytes))
            loading->wanted_count++;
    }
    qsort(loading->wanted, loading->wanted_count, sizeof(*loading->wanted), compare_wanted);
}

static enum tw_rc take_product(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct loading    *loading = context;
    struct tw_product *product = TW_NEW(loading->arena, struct tw_product);
    struct wanted      key = {0};
    struct wanted     *found;
    int64_t            guard;

    TW_TRY(tw_product_from_document(document, loading->arena, product, &guard, reterr));
    tw_product_id_to_object_id(product->product_id, key.id.bytes);
    found = bsearch(&key, loading->wanted, loading->wanted_count, sizeof(key), compare_wanted);
    if (!found)
        return TW_OK;
    found->entity->before = product;
    found->entity->before_guard = guard;
    if (guard > loading->newest_guard)
        loading->newest_guard = guard;
    return TW_OK;
}

static enum tw_rc take_row(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct loading *loading = context;
    struct tw_load *load = loading->load;

    if (load->row_count == loading->row_cap)
        return TW_OK; /* each id once: cannot be more */
    TW_TRY(tw_ledger_from_document(document, loading->arena, &load->rows[load->row_count], reterr));
    load->row_count++;
    return TW_OK;
}

static enum tw_rc find_in(struct tw_mongo *mongo, const char *collection, const bson_t *ids, size_t count,
                          tw_mongo_found *found, void *context, struct tw_err *reterr)
{
    bson_t    *filter;
    bson_t    *options;
    enum tw_rc rc;

    if (!count)
        return TW_OK;
    filter = BCON_NEW("_id", "{", "$in", BCON_ARRAY(ids), "}");
    options = BCON_NEW("batchSize", BCON_INT32((int32_t)count + 1)); /* one answer, closed at once */
    rc = tw_mongo_find(mongo, collection, filter, options, found, context, where, reterr);
    bson_destroy(options);
    bson_destroy(filter);
    return rc;
}

static enum tw_rc load_products(struct tw_mongo *mongo, struct loading *loading, struct tw_err *reterr)
{
    bson_t     ids = BSON_INITIALIZER;
    enum tw_rc rc;

    collect_wanted(loading);
    for (size_t i = 0; i < loading->wanted_count; i++) {
        char        buffer[16];
        const char *key;
        size_t      key_len = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));

        bson_append_oid(&ids, key, (int)key_len, &loading->wanted[i].id);
    }
    rc = find_in(mongo, TW_MONGO_PRODUCTS, &ids, loading->wanted_count, take_product, loading, reterr);
    bson_destroy(&ids);
    return rc;
}

static enum tw_rc load_rows(struct tw_mongo *mongo, int32_t partition, struct loading *loading, struct tw_err *reterr)
{
    struct tw_load *load = loading->load;
    bson_t          ids = BSON_INITIALIZER;
    enum tw_rc      rc;

    load->row_count = 0;
    load->rows = TW_NEW_ARRAY(loading->arena, load->ledger_id_count, struct tw_ledger_row);
    loading->row_cap = load->ledger_id_count;
    for (size_t i = 0; i < load->ledger_id_count; i++) {
        char        buffer[16];
        char        id[TW_LEDGER_DOCUMENT_ID + 1];
        const char *key;
        size_t      key_len = bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof(buffer));

        tw_ledger_document_id(partition, load->ledger_ids[i], id);
        bson_append_utf8(&ids, key, (int)key_len, id, -1);
    }
    rc = find_in(mongo, TW_MONGO_LEDGER, &ids, load->ledger_id_count, take_row, loading, reterr);
    bson_destroy(&ids);
    return rc;
}

enum tw_rc tw_product_load(struct tw_mongo *mongo, int32_t partition, struct tw_load *load, struct tw_arena *arena,
                           int64_t *ret_newest_guard, struct tw_err *reterr)
{
    struct loading loading = {.load = load, .arena = arena, .newest_guard = -1};

    TW_TRY(load_products(mongo, &loading, reterr));
    TW_TRY(load_rows(mongo, partition, &loading, reterr));
    *ret_newest_guard = loading.newest_guard;
    return TW_OK;
}
