/*
 * Statements are absolute and name what they expect, so repeating one, or a late one of a worker that was taken for
 * dead, changes nothing. Each document has one statement, in the cheapest form that is safe:
 *
 *   made            {_id}            $setOnInsert all, upsert    an existing _id: already done
 *   viewed          {_id}            $max view_count, guard      both only grow, so the larger is the later
 *   changed, rated  {_id, revision}  $set what differs, guard    each of these moves the revision, views do not
 *   a rating        {_id, guard}     $set all, guard             every write moves its guard
 *
 * The hot one, a view, needs no second index that every view would have to move.
 */
#include "product_redo.h"

#include <assert.h>
#include <string.h>

#include "product_domain.h"
#include "tillwire/failpoint.h"
#include "tillwire/ledger.h"
#include "tillwire/product_document.h"

static void append_id(bson_t *document, const struct tw_key *key)
{
    char       text[TW_RATING_DOCUMENT_ID + 1];
    bson_oid_t id;
    bool       is_image = tw_product_id_to_object_id(key->id, id.bytes);

    assert(is_image); /* the domain only makes products whose id follows from their SKU, and rates what it made */
    (void)is_image;
    if (key->kind == TW_PRODUCT_ENTITY) {
        BSON_APPEND_OID(document, "_id", &id);
    } else {
        tw_rating_document_id(key->id, key->sub, text);
        BSON_APPEND_UTF8(document, "_id", text);
    }
}

static void append_filter(bson_t *statement, const struct tw_key *key, const char *expected_name, int64_t expected)
{
    bson_t filter;

    BSON_APPEND_DOCUMENT_BEGIN(statement, "q", &filter);
    append_id(&filter, key);
    if (expected_name)
        BSON_APPEND_INT64(&filter, expected_name, expected);
    bson_append_document_end(statement, &filter);
}

/* `{u: {<operator>: …}}`, to be filled and ended. */
static void begin_update(bson_t *statement, const char *operator_name, bson_t *update, bson_t *values)
{
    BSON_APPEND_DOCUMENT_BEGIN(statement, "u", update);
    BSON_APPEND_DOCUMENT_BEGIN(update, operator_name, values);
}

static void end_update(bson_t *statement, bson_t *update, bson_t *values)
{
    bson_append_document_end(update, values);
    bson_append_document_end(statement, update);
}

static void append_values(bson_t *values, const struct tw_entity *entity)
{
    if (entity->key.kind == TW_PRODUCT_ENTITY)
        tw_product_to_document(entity->state, entity->guard, values);
    else
        tw_rating_to_document(entity->state, entity->guard, values);
}

static void append_insert(bson_t *statement, const struct tw_entity *entity)
{
    bson_t update;
    bson_t values;

    append_filter(statement, &entity->key, NULL, 0);
    begin_update(statement, "$setOnInsert", &update, &values);
    append_values(&values, entity);
    end_update(statement, &update, &values);
    BSON_APPEND_BOOL(statement, "upsert", true);
}

static void append_view(bson_t *statement, const struct tw_entity *entity)
{
    const struct tw_product *after = entity->state;
    bson_t                   update;
    bson_t                   values;

    append_filter(statement, &entity->key, NULL, 0);
    begin_update(statement, "$max", &update, &values);
    BSON_APPEND_INT64(&values, "view_count", after->view_count + (tw_failpoint("mutant_view_twice") ? 1 : 0));
    BSON_APPEND_INT64(&values, "guard", entity->guard);
    end_update(statement, &update, &values);
}

static void append_change(bson_t *statement, const struct tw_entity *entity)
{
    const struct tw_product *before = entity->before;
    const struct tw_product *after = entity->state;
    bson_t                   update;
    bson_t                   values;

    assert(after->revision > before->revision); /* else a late write of this one would match */
    append_filter(statement, &entity->key, "revision", before->revision);
    begin_update(statement, "$set", &update, &values);
    tw_product_append_changes(before, after, &values);
    BSON_APPEND_INT64(&values, "guard", entity->guard);
    end_update(statement, &update, &values);
}

static void append_rating(bson_t *statement, const struct tw_entity *entity)
{
    bson_t update;
    bson_t values;

    append_filter(statement, &entity->key, "guard", entity->before_guard);
    begin_update(statement, "$set", &update, &values);
    append_values(&values, entity);
    end_update(statement, &update, &values);
}

static void append_statement(bson_t *statement, const struct tw_entity *entity)
{
    if (!entity->before)
        append_insert(statement, entity);
    else if (entity->key.kind == TW_RATING_ENTITY)
        append_rating(statement, entity);
    else if (tw_product_compare(entity->before, entity->state) == TW_PRODUCT_CHANGED)
        append_change(statement, entity);
    else
        append_view(statement, entity);
}

static size_t key_of(uint32_t index, char buffer[16], const char **ret_key)
{
    return bson_uint32_to_string(index, ret_key, buffer, 16);
}

static void append_document(bson_t *document, const struct tw_entity *entity)
{
    append_id(document, &entity->key);
    append_values(document, entity);
}

/* An array of what `append` makes of all entities of one kind; @p are_new: those that are new, else the others. NULL: of
 * all. */
static void append_entities(bson_t *redo, const char *name, const struct tw_changes *changes, uint32_t kind,
                            const bool *are_new, void (*append)(bson_t *item, const struct tw_entity *entity))
{
    uint32_t    count = 0;
    bson_t      array;
    bson_t      item;
    char        buffer[16];
    const char *key;

    BSON_APPEND_ARRAY_BEGIN(redo, name, &array);
    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];
        size_t                  key_len;

        if (entity->key.kind != kind || (are_new && *are_new != !entity->before))
            continue;
        key_len = key_of(count++, buffer, &key);
        bson_append_document_begin(&array, key, (int)key_len, &item);
        append(&item, entity);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(redo, &array);
}

/* @p counting_at: leaves out those that do not count by this clock, but for those that take another's place. */
static void append_rows(bson_t *redo, const struct tw_changes *changes, const int64_t *counting_at)
{
    uint32_t    count = 0;
    bson_t      array;
    bson_t      item;
    char        buffer[16];
    const char *key;

    BSON_APPEND_ARRAY_BEGIN(redo, TW_MONGO_LEDGER, &array);
    for (size_t i = 0; i < changes->row_count; i++) {
        const struct tw_ledger_row *row = &changes->rows[i];
        size_t                      key_len;

        if (counting_at && !row->replaces && !tw_ledger_row_counts(row, *counting_at))
            continue;
        key_len = key_of(count++, buffer, &key);
        bson_append_document_begin(&array, key, (int)key_len, &item);
        tw_ledger_to_document(changes->partition, row, &item);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(redo, &array);
}

void tw_product_redo_build(const struct tw_changes *changes, bson_t *ret_redo)
{
    bson_init(ret_redo);
    append_entities(ret_redo, TW_MONGO_PRODUCTS, changes, TW_PRODUCT_ENTITY, NULL, append_statement);
    append_entities(ret_redo, TW_MONGO_RATINGS, changes, TW_RATING_ENTITY, NULL, append_statement);
    append_rows(ret_redo, changes, NULL);
}

void tw_product_redo_build_bulk(const struct tw_changes *changes, bson_t *ret_redo)
{
    static const bool are_new = true;
    static const bool are_old = false;

    bson_init(ret_redo);
    append_entities(ret_redo, TW_REDO_NEW_PRODUCTS, changes, TW_PRODUCT_ENTITY, &are_new, append_document);
    append_entities(ret_redo, TW_REDO_NEW_RATINGS, changes, TW_RATING_ENTITY, &are_new, append_document);
    append_entities(ret_redo, TW_MONGO_PRODUCTS, changes, TW_PRODUCT_ENTITY, &are_old, append_statement);
    append_entities(ret_redo, TW_MONGO_RATINGS, changes, TW_RATING_ENTITY, &are_old, append_statement);
    append_rows(ret_redo, changes, &changes->after.clock_ms);
}

bool tw_product_redo_guard(const bson_t *statement, int64_t *ret_guard)
{
    static const char *const paths[] = {"u.$setOnInsert.guard", "u.$max.guard", "u.$set.guard", "guard"};

    for (size_t i = 0; i < TW_LEN(paths); i++) {
        bson_iter_t iter;
        bson_iter_t found;

        if (bson_iter_init(&iter, statement) && bson_iter_find_descendant(&iter, paths[i], &found)) {
            *ret_guard = bson_iter_as_int64(&found);
            return true;
        }
    }
    return false;
}
