/* Which statement a change becomes. */
/* Links: PkgConfig::MONGOC */
#include "workers/product/product_redo.h"

#include <stdlib.h>
#include <string.h>

#include "sample_states.h"
#include "tillwire/product_document.h"
#include "unit.h"

/* One product of a batch: `state` made from `before` by the test. */
struct given {
    struct tw_arena    arena;
    struct tw_product *before;
    struct tw_product *after;
    struct tw_entity   entity;
};

static struct tw_product *make(struct tw_arena *arena)
{
    struct tw_product *product = tw_sample_products.make(3, 6, arena);

    product->view_count = product->version = product->rating_sum = 6;
    product->is_active = true;
    return product;
}

static int given_product(void **state)
{
    struct given *given = tw_alloc_zeroed(1, sizeof(*given));

    given->before = make(&given->arena);
    given->after = make(&given->arena);
    given->entity = (struct tw_entity){
        .key = tw_sample_products.key(3),
        .before = given->before,
        .before_guard = 40,
        .state = given->after,
        .guard = 51,
        .changed = true,
    };
    *state = given;
    return 0;
}

static int done(void **state)
{
    struct given *given = *state;

    tw_arena_done(&given->arena);
    free(given);
    return 0;
}

/* The statement as JSON, with the _id replaced by a star. */
static void assert_statement(const struct given *given, const char *expected)
{
    const struct tw_entity *entities[] = {&given->entity};
    struct tw_changes       changes = {.partition = 3, .first_offset = 50, .entities = entities, .entity_count = 1};
    bson_oid_t              id;
    char                    hex[25];
    bson_t                  redo;
    bson_iter_t             iter;
    bson_iter_t             statement;
    char                   *json;
    char                   *at;

    assert_true(tw_product_id_to_object_id(given->entity.key.id, id.bytes));
    bson_oid_to_string(&id, hex);
    tw_product_redo_build(&changes, &redo);
    assert_true(bson_iter_init(&iter, &redo) && bson_iter_find_descendant(&iter, "products.0", &statement));
    json = bson_as_relaxed_extended_json(&redo, NULL);
    at = strstr(json, hex);
    assert_non_null(at);
    memset(at, '*', 24);
    assert_string_equal(json, expected);
    bson_free(json);
    bson_destroy(&redo);
}

#define REDO(statement) "{ \"products\" : [ { " statement " } ], \"tw_ledger\" : [  ] }"
#define ID              "{ \"$oid\" : \"************************\" }"

static void a_view__asks_for_the_larger_count_by_id_alone(void **state)
{
    struct given *given = *state;

    given->after->view_count = given->before->view_count + 3;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID " }, "
                                 "\"u\" : { \"$max\" : { \"view_count\" : 9, \"guard\" : 51 } }"));
}

static void a_change__expects_its_version_and_sets_what_differs(void **state)
{
    struct given *given = *state;

    given->after->is_active = false;
    given->after->version = 7;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"version\" : 6 }, "
                                 "\"u\" : { \"$set\" : { \"is_active\" : false, \"version\" : 7, \"guard\" : 51 } }"));
}

static void a_change__with_views_in_the_same_batch_is_one_statement(void **state)
{
    struct given *given = *state;

    given->after->view_count = 8;
    given->after->version = 7;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"version\" : 6 }, "
                                 "\"u\" : { \"$set\" : { \"view_count\" : 8, \"version\" : 7, \"guard\" : 51 } }"));
}

/* Ratings go down, too, and do not move the version. */
static void a_change__that_leaves_the_version_expects_its_guard(void **state)
{
    struct given *given = *state;

    given->after->rating_sum = 1;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"guard\" : 40 }, "
                                 "\"u\" : { \"$set\" : { \"rating_sum\" : 1, \"guard\" : 51 } }"));
}

static void a_new_product__is_inserted_and_never_overwritten(void **state)
{
    struct given *given = *state;
    bson_t        values = BSON_INITIALIZER;
    struct tw_str expected;
    char         *json;

    given->entity.before = NULL;
    given->entity.before_guard = -1;
    tw_product_to_document(given->after, 51, &values);
    json = bson_as_relaxed_extended_json(&values, NULL);
    expected = tw_arena_printf(&given->arena,
                               REDO("\"q\" : { \"_id\" : " ID " }, "
                                    "\"u\" : { \"$setOnInsert\" : %s }, \"upsert\" : true"),
                               json);
    assert_statement(given, expected.ptr);
    bson_free(json);
    bson_destroy(&values);
}

static void every_form__tells_its_guard(void **state)
{
    static const char *const forms[] = {
        "{\"q\": {\"_id\": 1}, \"u\": {\"$setOnInsert\": {\"version\": 1, \"guard\": {\"$numberLong\": \"51\"}}}}",
        "{\"q\": {\"_id\": 1}, \"u\": {\"$max\": {\"guard\": {\"$numberLong\": \"51\"}}}}",
        "{\"q\": {\"_id\": 1, \"guard\": 4}, \"u\": {\"$set\": {\"guard\": {\"$numberLong\": \"51\"}}}}",
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(forms); i++) {
        bson_t *statement = bson_new_from_json((const uint8_t *)forms[i], -1, NULL);
        int64_t guard = -1;

        assert_true(tw_product_redo_guard(statement, &guard));
        assert_int_equal(guard, 51);
        bson_destroy(statement);
    }
}

static void something_else__has_no_guard(void **state)
{
    bson_t *statement = BCON_NEW("u", "{", "$inc", "{", "guard", BCON_INT64(1), "}", "}");
    int64_t guard = -1;

    (void)state;
    assert_false(tw_product_redo_guard(statement, &guard));
    assert_int_equal(guard, -1);
    bson_destroy(statement);
}

static void ledger_rows__stand_beside_the_products(void **state)
{
    struct given              *given = *state;
    const struct tw_ledger_row rows[] = {{.id = {{1}}, .offset = 50}, {.id = {{2}}, .offset = 51}};
    struct tw_changes          changes = {.partition = 3, .rows = rows, .row_count = TW_LEN(rows)};
    struct tw_ledger_row       row;
    bson_t                     redo;
    bson_t                     view;
    bson_iter_t                iter;
    bson_iter_t                item;
    const uint8_t             *bytes;
    uint32_t                   len;
    struct tw_err              err = {0};

    tw_product_redo_build(&changes, &redo);
    assert_true(bson_iter_init(&iter, &redo) && bson_iter_find_descendant(&iter, "tw_ledger.1", &item));
    bson_iter_document(&item, &len, &bytes);
    assert_true(bson_init_static(&view, bytes, len));
    assert_rc(tw_ledger_from_document(&view, &given->arena, &row, &err), TW_OK, err);
    assert_int_equal(row.offset, 51);
    assert_false(bson_iter_init(&iter, &redo) && bson_iter_find_descendant(&iter, "tw_ledger.2", &item));
    bson_destroy(&redo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_view__asks_for_the_larger_count_by_id_alone, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__expects_its_version_and_sets_what_differs, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__with_views_in_the_same_batch_is_one_statement, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__that_leaves_the_version_expects_its_guard, given_product, done),
        cmocka_unit_test_setup_teardown(a_new_product__is_inserted_and_never_overwritten, given_product, done),
        cmocka_unit_test(every_form__tells_its_guard),
        cmocka_unit_test(something_else__has_no_guard),
        cmocka_unit_test_setup_teardown(ledger_rows__stand_beside_the_products, given_product, done),
    };

    return cmocka_run_group_tests_name("product_redo", tests, NULL, NULL);
}
