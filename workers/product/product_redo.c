/*
 * Statements are absolute and name what they expect, so repeating one, or a late one of a worker that was taken for
 * dead, changes nothing. Each product has one statement, in the cheapest form that is safe:
 *
 *   made        {_id}           $setOnInsert all, upsert    an existing _id: already done
 *   viewed      {_id}           $max view_count, guard      both only grow, so the larger is the later
 *   changed     {_id, version}  $set what differs, guard    a change moves the version, views do not
 *   otherwise   {_id, guard}    $set what differs, guard
 *
 * The hot one, a view, needs no second index that every view would have to move.
 */
#include "product_redo.h"

#include <assert.h>
#include <string.h>

#include "tillwire/product_document.h"

static bson_oid_t object_id_of(struct tw_uuid product_id)
{
    bson_oid_t id;
    bool       is_image = tw_product_id_to_object_id(product_id, id.bytes);

    assert(is_image); /* the domain only makes products whose id follows from their SKU */
    (void)is_image;
    return id;
}

static void append_filter(bson_t *statement, const bson_oid_t *id, const char *expected_name, int64_t expected)
{
    bson_t filter;

    BSON_APPEND_DOCUMENT_BEGIN(statement, "q", &filter);
    BSON_APPEND_OID(&filter, "_id", id);
    if (expected_name)
        BSON_APPEND_INT64(&filter, expected_name, expected);
    bson_append_document_end(statement, &filter);
}

static void append_insert(bson_t *statement, const bson_oid_t *id, const struct tw_product *product, int64_t guard)
{
    bson_t update;
    bson_t values;

    append_filter(statement, id, NULL, 0);
    BSON_APPEND_DOCUMENT_BEGIN(statement, "u", &update);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$setOnInsert", &values);
    tw_product_to_document(product, guard, &values);
    bson_append_document_end(&update, &values);
    bson_append_document_end(statement, &update);
    BSON_APPEND_BOOL(statement, "upsert", true);
}

static void append_view(bson_t *statement, const bson_oid_t *id, int64_t view_count, int64_t guard)
{
    bson_t update;
    bson_t values;

    append_filter(statement, id, NULL, 0);
    BSON_APPEND_DOCUMENT_BEGIN(statement, "u", &update);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &values);
    BSON_APPEND_INT64(&values, "view_count", view_count);
    BSON_APPEND_INT64(&values, "guard", guard);
    bson_append_document_end(&update, &values);
    bson_append_document_end(statement, &update);
}

static void append_change(bson_t *statement, const bson_oid_t *id, const struct tw_entity *entity)
{
    const struct tw_product *before = entity->before;
    const struct tw_product *after = entity->state;
    bson_t                   update;
    bson_t                   values;

    if (before->version != after->version)
        append_filter(statement, id, "version", before->version);
    else
        append_filter(statement, id, "guard", entity->before_guard);
    BSON_APPEND_DOCUMENT_BEGIN(statement, "u", &update);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &values);
    tw_product_append_changes(before, after, &values);
    BSON_APPEND_INT64(&values, "guard", entity->guard);
    bson_append_document_end(&update, &values);
    bson_append_document_end(statement, &update);
}

static void append_statement(bson_t *statement, const struct tw_entity *entity)
{
    const struct tw_product *after = entity->state;
    bson_oid_t               id = object_id_of(entity->key.id);

    assert(entity->key.kind == 0);
    if (!entity->before)
        append_insert(statement, &id, after, entity->guard);
    else if (tw_product_compare(entity->before, after) == TW_PRODUCT_CHANGED)
        append_change(statement, &id, entity);
    else
        append_view(statement, &id, after->view_count, entity->guard);
}

static size_t key_of(uint32_t index, char buffer[16], const char **ret_key)
{
    return bson_uint32_to_string(index, ret_key, buffer, 16);
}

void tw_product_redo_build(const struct tw_changes *changes, bson_t *ret_redo)
{
    bson_t      array;
    bson_t      item;
    char        buffer[16];
    const char *key;

    bson_init(ret_redo);
    BSON_APPEND_ARRAY_BEGIN(ret_redo, TW_MONGO_PRODUCTS, &array);
    for (size_t i = 0; i < changes->entity_count; i++) {
        size_t key_len = key_of((uint32_t)i, buffer, &key);

        bson_append_document_begin(&array, key, (int)key_len, &item);
        append_statement(&item, changes->entities[i]);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(ret_redo, &array);
    BSON_APPEND_ARRAY_BEGIN(ret_redo, TW_MONGO_LEDGER, &array);
    for (size_t i = 0; i < changes->row_count; i++) {
        size_t key_len = key_of((uint32_t)i, buffer, &key);

        bson_append_document_begin(&array, key, (int)key_len, &item);
        tw_ledger_to_document(changes->partition, &changes->rows[i], &item);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(ret_redo, &array);
}

bool tw_product_redo_guard(const bson_t *statement, int64_t *ret_guard)
{
    static const char *const paths[] = {"u.$setOnInsert.guard", "u.$max.guard", "u.$set.guard"};

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
