#include "product_load.h"

#include <stdlib.h>

#include "product_domain.h"
#include "tillwire/product_document.h"

static const char where[] = "product.store.load";

enum { ASKED_AT_ONCE = 500 };

struct loading {
    struct tw_load    *load;
    struct tw_arena   *arena;
    struct tw_entity **wanted; /* of one kind after another, sorted by key */
    size_t             wanted_count;
    size_t             row_cap;
    int64_t            newest_guard;
};

static int compare_keys(const struct tw_key *a, const struct tw_key *b)
{
    int of_ids = tw_uuid_cmp(a->id, b->id);

    return of_ids ? of_ids : tw_uuid_cmp(a->sub, b->sub);
}

static int compare_wanted(const void *a, const void *b)
{
    return compare_keys(&(*(struct tw_entity *const *)a)->key, &(*(struct tw_entity *const *)b)->key);
}

static int compare_with_wanted(const void *key, const void *wanted)
{
    return compare_keys(key, &(*(struct tw_entity *const *)wanted)->key);
}

/* Ids that no SKU can have are not asked for: there is no such product. */
static void collect_wanted(struct loading *loading, uint32_t kind)
{
    struct tw_load *load = loading->load;
    bson_oid_t      id;

    loading->wanted_count = 0;
    for (size_t i = 0; i < load->entity_count; i++)
        if (load->entities[i].key.kind == kind && tw_product_id_to_object_id(load->entities[i].key.id, id.bytes))
            loading->wanted[loading->wanted_count++] = &load->entities[i];
    qsort(loading->wanted, loading->wanted_count, sizeof(*loading->wanted), compare_wanted);
}

static void take(struct loading *loading, const struct tw_key *key, const void *before, int64_t guard)
{
    struct tw_entity **found =
        bsearch(key, loading->wanted, loading->wanted_count, sizeof(*loading->wanted), compare_with_wanted);

    if (!found)
        return;
    (*found)->before = before;
    (*found)->before_guard = guard;
    if (guard > loading->newest_guard)
        loading->newest_guard = guard;
}

static enum tw_rc take_product(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct loading    *loading = context;
    struct tw_product *product = TW_NEW(loading->arena, struct tw_product);
    int64_t            guard;

    TW_TRY(tw_product_from_document(document, loading->arena, product, &guard, reterr));
    take(loading, &(struct tw_key){.id = product->product_id}, product, guard);
    return TW_OK;
}

static enum tw_rc take_rating(void *context, const bson_t *document, struct tw_err *reterr)
{
    struct loading           *loading = context;
    struct tw_product_rating *rating = TW_NEW(loading->arena, struct tw_product_rating);
    int64_t                   guard;

    TW_TRY(tw_rating_from_document(document, rating, &guard, reterr));
    take(loading, &(struct tw_key){.id = rating->product_id, .sub = rating->member_id}, rating, guard);
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

/* The ids of one question, and who takes what is found. */
struct question {
    struct tw_mongo *mongo;
    const char      *collection;
    tw_mongo_found  *found;
    void            *context;
    bson_t           ids;
    uint32_t         count;
};

static enum tw_rc ask(struct question *question, struct tw_err *reterr)
{
    bson_t    *filter;
    bson_t    *options;
    enum tw_rc rc;

    if (!question->count)
        return TW_OK;
    filter = BCON_NEW("_id", "{", "$in", BCON_ARRAY(&question->ids), "}");
    options = BCON_NEW("batchSize", BCON_INT32((int32_t)question->count + 1)); /* one answer, closed at once */
    rc = tw_mongo_find(question->mongo, question->collection, filter, options, question->found, question->context,
                       where, reterr);
    bson_destroy(options);
    bson_destroy(filter);
    bson_reinit(&question->ids);
    question->count = 0;
    return rc;
}

/* Room for one more id, whose name in the array is in @p ret_name. The stand-in takes four times as long for twice as many
 * ids, so more than ASKED_AT_ONCE are several questions. */
static enum tw_rc make_room(struct question *question, char buffer[16], const char **ret_name, struct tw_err *reterr)
{
    if (question->count == ASKED_AT_ONCE)
        TW_TRY(ask(question, reterr));
    bson_uint32_to_string(question->count++, ret_name, buffer, 16);
    return TW_OK;
}

static void append_product_id(bson_t *ids, const char *name, const struct tw_key *key)
{
    bson_oid_t id;

    tw_product_id_to_object_id(key->id, id.bytes);
    bson_append_oid(ids, name, -1, &id);
}

static void append_rating_id(bson_t *ids, const char *name, const struct tw_key *key)
{
    char id[TW_RATING_DOCUMENT_ID + 1];

    tw_rating_document_id(key->id, key->sub, id);
    bson_append_utf8(ids, name, -1, id, TW_RATING_DOCUMENT_ID);
}

static const struct kind {
    const char *collection;
    void (*append_id)(bson_t *ids, const char *name, const struct tw_key *key);
    tw_mongo_found *take;
} kinds[] = {
    [TW_PRODUCT_ENTITY] = {TW_MONGO_PRODUCTS, append_product_id, take_product},
    [TW_RATING_ENTITY] = {TW_MONGO_RATINGS, append_rating_id, take_rating},
};

static enum tw_rc ask_for_kind(struct question *question, const struct loading *loading, uint32_t kind,
                               struct tw_err *reterr)
{
    for (size_t i = 0; i < loading->wanted_count; i++) {
        char        buffer[16];
        const char *name;

        TW_TRY(make_room(question, buffer, &name, reterr));
        kinds[kind].append_id(&question->ids, name, &loading->wanted[i]->key);
    }
    return ask(question, reterr);
}

static enum tw_rc load_kind(struct tw_mongo *mongo, struct loading *loading, uint32_t kind, struct tw_err *reterr)
{
    struct question question = {mongo, kinds[kind].collection, kinds[kind].take, loading, BSON_INITIALIZER, 0};
    enum tw_rc      rc;

    collect_wanted(loading, kind);
    rc = ask_for_kind(&question, loading, kind, reterr);
    bson_destroy(&question.ids);
    return rc;
}

static enum tw_rc load_entities(struct tw_mongo *mongo, struct loading *loading, struct tw_err *reterr)
{
    struct tw_load *load = loading->load;

    loading->wanted = TW_NEW_ARRAY(loading->arena, load->entity_count, struct tw_entity *);
    for (size_t i = 0; i < load->entity_count; i++) {
        load->entities[i].before = NULL;
        load->entities[i].before_guard = -1;
    }
    for (uint32_t kind = 0; kind < TW_LEN(kinds); kind++)
        TW_TRY(load_kind(mongo, loading, kind, reterr));
    return TW_OK;
}

static enum tw_rc ask_for_rows(struct question *question, int32_t partition, const struct tw_load *load,
                               struct tw_err *reterr)
{
    for (size_t i = 0; i < load->ledger_id_count; i++) {
        char        buffer[16];
        char        id[TW_LEDGER_DOCUMENT_ID + 1];
        const char *name;

        TW_TRY(make_room(question, buffer, &name, reterr));
        tw_ledger_document_id(partition, load->ledger_ids[i], id);
        bson_append_utf8(&question->ids, name, -1, id, -1);
    }
    return ask(question, reterr);
}

static enum tw_rc load_rows(struct tw_mongo *mongo, int32_t partition, struct loading *loading, struct tw_err *reterr)
{
    struct tw_load *load = loading->load;
    struct question question = {mongo, TW_MONGO_LEDGER, take_row, loading, BSON_INITIALIZER, 0};
    enum tw_rc      rc;

    load->row_count = 0;
    load->rows = TW_NEW_ARRAY(loading->arena, load->ledger_id_count, struct tw_ledger_row);
    loading->row_cap = load->ledger_id_count;
    rc = ask_for_rows(&question, partition, load, reterr);
    bson_destroy(&question.ids);
    return rc;
}

enum tw_rc tw_product_load(struct tw_mongo *mongo, int32_t partition, struct tw_load *load, struct tw_arena *arena,
                           int64_t *ret_newest_guard, struct tw_err *reterr)
{
    struct loading loading = {.load = load, .arena = arena, .newest_guard = -1};

    TW_TRY(load_entities(mongo, &loading, reterr));
    TW_TRY(load_rows(mongo, partition, &loading, reterr));
    *ret_newest_guard = loading.newest_guard;
    return TW_OK;
}
