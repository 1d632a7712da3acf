/* Links: tw_product_shadow tw_embedded PkgConfig::MONGOC */
/* Which indexes are the same, as servers show them; which of schemas/mongo a server and a shadow have. */
#include "product_index.h"

#include <bson/bson.h>
#include <stdio.h>

#include "product_bson.h"
#include "tillwire/embedded.h"
#include "unit.h"

static bson_t *bson_of(const char *json)
{
    bson_error_t error;
    bson_t      *document = bson_new_from_json((const uint8_t *)json, -1, &error);

    if (!document)
        fail_msg("%s: %s", json, error.message);
    return document;
}

static bool same(const char *wanted, const char *stored)
{
    bson_t *a = bson_of(wanted);
    bson_t *b = bson_of(stored);
    bool    is_same = tw_mongo_same_index(a, b);

    bson_destroy(b);
    bson_destroy(a);
    return is_same;
}

static void an_index__is_the_same_in_another_type_of_number(void **state)
{
    (void)state;
    assert_true(
        same("{\"name\": \"newest\", \"key\": {\"is_active\": 1, \"_id\": -1}, \"unique\": false, \"why\": \"\"}",
             "{\"v\": 2, \"key\": {\"is_active\": 1.0, \"_id\": {\"$numberLong\": \"-1\"}}, \"name\": \"newest\"}"));
}

static void an_index__of_other_fields_order_direction_or_uniqueness_is_another_one(void **state)
{
    static const char        wanted[] = "{\"key\": {\"a\": 1, \"b\": 1}, \"unique\": true}";
    static const char *const others[] = {
        "{\"key\": {\"a\": 1}, \"unique\": true}",
        "{\"key\": {\"a\": 1, \"b\": 1, \"c\": 1}, \"unique\": true}",
        "{\"key\": {\"a\": 1, \"c\": 1}, \"unique\": true}",
        "{\"key\": {\"b\": 1, \"a\": 1}, \"unique\": true}",
        "{\"key\": {\"a\": 1, \"b\": -1}, \"unique\": true}",
        "{\"key\": {\"a\": 1, \"b\": \"hashed\"}, \"unique\": true}",
        "{\"key\": {\"a\": 1, \"b\": 1}}",
        "{\"unique\": true}",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(others); i++)
        if (same(wanted, others[i]))
            fail_msg("%s", others[i]);
}

/* As mongod shows it: its own key, weights sorted by name, defaults filled in. */
#define STORED(key, weights, language)                                                  \
    "{\"v\": 2, \"key\": {" key "}, \"name\": \"search\", \"weights\": {" weights "}, " \
    "\"default_language\": \"" language "\", \"language_override\": \"language\", \"textIndexVersion\": 3}"

static const char wanted_search[] =
    "{\"key\": {\"name\": \"text\", \"tags\": \"text\"}, \"weights\": {\"name\": 10, \"tags\": 5}, "
    "\"default_language\": \"none\"}";

static void a_text_index__is_known_by_its_weights_and_language(void **state)
{
    (void)state;
    assert_true(same(wanted_search, STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"tags\": 5, \"name\": 10", "none")));
}

static void a_text_index__with_other_weights_or_language_is_another_one(void **state)
{
    static const char *const others[] = {
        STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"tags\": 5, \"name\": 10", "english"),
        STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"tags\": 5, \"name\": 9", "none"),
        STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"name\": 10", "none"),
        STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"name\": 10, \"description\": 5", "none"),
        STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"description\": 1, \"name\": 10, \"tags\": 5", "none"),
        STORED("\"name\": 1, \"tags\": 1", "\"name\": 10, \"tags\": 5", "none"),
        "{\"key\": {\"name\": 1}, \"name\": \"search\"}",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(others); i++)
        if (same(wanted_search, others[i]))
            fail_msg("%s", others[i]);
}

static void an_index__of_plain_fields_is_no_text_index(void **state)
{
    (void)state;
    assert_false(same("{\"key\": {\"name\": 1}}", STORED("\"_fts\": \"text\", \"_ftsx\": 1", "\"name\": 1", "none")));
}

static void add_names(const struct tw_embedded_file *file, bool is_stand_in, bool is_shadow, struct tw_buf *names)
{
    bson_t     *document = bson_of(file->text);
    bson_t      indexes;
    bson_iter_t iter;

    assert_true(tw_bson_find_document(document, "indexes", &indexes) && bson_iter_init(&iter, &indexes));
    while (bson_iter_next(&iter)) {
        const uint8_t *bytes;
        uint32_t       len;
        bson_t         index;

        bson_iter_document(&iter, &len, &bytes);
        assert_true(bson_init_static(&index, bytes, len));
        if (tw_mongo_wants_index(&index, is_stand_in, is_shadow))
            tw_buf_printf(names, "%s.%s ", tw_bson_find_text(document, "collection"),
                          tw_bson_find_text(&index, "name"));
    }
    bson_destroy(document);
}

static void assert_indexes(bool is_stand_in, bool is_shadow, const char *names)
{
    struct tw_buf found = {0};

    for (size_t i = 0; i < tw_embedded_mongo_count; i++)
        add_names(&tw_embedded_mongo[i], is_stand_in, is_shadow, &found);
    tw_buf_add(&found, "", 1);
    assert_string_equal(found.ptr, names);
    tw_buf_done(&found);
}

static void a_shadow__has_the_indexes_that_its_fold_asks_by_and_none_of_readers(void **state)
{
    (void)state;
    assert_indexes(true, true, "products.id_revision tw_ratings.id_guard ");
    assert_indexes(false, true, "tw_ledger.partition_at ");
}

static void a_store__has_all_indexes_that_are_for_its_server(void **state)
{
    (void)state;
    assert_indexes(true, false, "products.id_revision tw_ratings.id_guard ");
    assert_indexes(
        false, false,
        "products.sku products.newest products.effective_price products.rating products.view_count "
        "products.name products.category products.tags products.slug products.search tw_ledger.partition_at ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index__is_the_same_in_another_type_of_number),
        cmocka_unit_test(an_index__of_other_fields_order_direction_or_uniqueness_is_another_one),
        cmocka_unit_test(a_text_index__is_known_by_its_weights_and_language),
        cmocka_unit_test(a_text_index__with_other_weights_or_language_is_another_one),
        cmocka_unit_test(an_index__of_plain_fields_is_no_text_index),
        cmocka_unit_test(a_shadow__has_the_indexes_that_its_fold_asks_by_and_none_of_readers),
        cmocka_unit_test(a_store__has_all_indexes_that_are_for_its_server),
    };

    return cmocka_run_group_tests_name("twctl_mongo_index", tests, NULL, NULL);
}
