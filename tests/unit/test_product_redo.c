/* Which statement a change becomes. */
/* Links: PkgConfig::MONGOC */
#include "workers/product/product_redo.h"

#include <stdlib.h>
#include <string.h>

#include "sample_states.h"
#include "tillwire/product_document.h"
#include "unit.h"
#include "workers/product/product_domain.h"

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
    product->revision = 8;
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

static void star_out(char *json, const char *text)
{
    for (char *at = json; (at = strstr(at, text));)
        memset(at, '*', strlen(text));
}

/* The redo record of the entity as JSON, with the product's ids replaced by stars. */
static void assert_redo(const struct tw_entity *entity, const char *expected)
{
    struct tw_changes changes = {.partition = 3, .first_offset = 50, .entities = &entity, .entity_count = 1};
    bson_oid_t        id;
    char              hex[25], uuid[TW_UUID_TEXT + 1];
    bson_t            redo;
    char             *json;

    assert_true(tw_product_id_to_object_id(entity->key.id, id.bytes));
    bson_oid_to_string(&id, hex);
    tw_uuid_format(entity->key.id, uuid);
    tw_product_redo_build(&changes, &redo);
    json = bson_as_relaxed_extended_json(&redo, NULL);
    star_out(json, hex);
    star_out(json, uuid);
    assert_string_equal(json, expected);
    bson_free(json);
    bson_destroy(&redo);
}

static void assert_statement(const struct given *given, const char *expected)
{
    assert_redo(&given->entity, expected);
}

#define REDO(statement) "{ \"products\" : [ { " statement " } ], \"tw_ratings\" : [  ], \"tw_ledger\" : [  ] }"
#define ID              "{ \"$oid\" : \"************************\" }"

static void a_view__asks_for_the_larger_count_by_id_alone(void **state)
{
    struct given *given = *state;

    given->after->view_count = given->before->view_count + 3;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID " }, "
                                 "\"u\" : { \"$max\" : { \"view_count\" : 9, \"guard\" : 51 } }"));
}

static void a_change__expects_its_revision_and_sets_what_differs(void **state)
{
    struct given *given = *state;

    given->after->is_active = false;
    given->after->version = 7;
    given->after->revision = 9;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"revision\" : 8 }, "
                                 "\"u\" : { \"$set\" : { \"is_active\" : false, \"version\" : 7, \"revision\" : 9, "
                                 "\"guard\" : 51 } }"));
}

static void a_change__with_views_in_the_same_batch_is_one_statement(void **state)
{
    struct given *given = *state;

    given->after->view_count = 8;
    given->after->version = 7;
    given->after->revision = 9;
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"revision\" : 8 }, "
                                 "\"u\" : { \"$set\" : { \"view_count\" : 8, \"version\" : 7, \"revision\" : 9, "
                                 "\"guard\" : 51 } }"));
}

/* Ratings go down, too, and do not move the version. */
static void a_change__that_leaves_the_version_expects_its_revision_as_well(void **state)
{
    struct given *given = *state;

    given->after->rating_sum = 1;
    given->after->revision = 10; /* two commands of one batch */
    assert_statement(given, REDO("\"q\" : { \"_id\" : " ID ", \"revision\" : 8 }, "
                                 "\"u\" : { \"$set\" : { \"rating_sum\" : 1, \"revision\" : 10, \"guard\" : 51 } }"));
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

/* --- ratings ------------------------------------------------------------------------------------------------------ */

#define PRODUCT                "************************************"
#define RATER                  "0a0b0c00-0000-0000-0000-000000000000"
#define RATER_BYTES            "{ \"$binary\" : { \"base64\" : \"CgsMAAAAAAAAAAAAAAAAAA==\", \"subType\" : \"04\" } }"
#define RATING_REDO(statement) "{ \"products\" : [  ], \"tw_ratings\" : [ { " statement " } ], \"tw_ledger\" : [  ] }"

/* A rating of the product, changed from `before`; NULL: it is the first. */
static void assert_rating_statement(const struct given *given, const struct tw_product_rating *before,
                                    const char *expected)
{
    struct tw_product_rating rating = {
        .product_id = given->entity.key.id, .member_id = {{10, 11, 12}}, .stars = 4, .rated_at_ms = 1795428000123};
    const struct tw_entity entity = {
        .key = {.kind = TW_RATING_ENTITY, .id = rating.product_id, .sub = rating.member_id},
        .before = before,
        .before_guard = before ? 40 : -1,
        .state = &rating,
        .guard = 51,
        .changed = true,
    };

    assert_redo(&entity, expected);
}

#define RATING_VALUES                                                             \
    "{ \"product_id\" : " ID ", \"member_id\" : " RATER_BYTES ", \"stars\" : 4, " \
    "\"rated_at\" : { \"$date\" : \"2026-11-23T10:00:00.123Z\" }, \"guard\" : 51 }"

static void a_first_rating__is_inserted_and_never_overwritten(void **state)
{
    assert_rating_statement(*state, NULL,
                            RATING_REDO("\"q\" : { \"_id\" : \"" PRODUCT "/" RATER "\" }, "
                                        "\"u\" : { \"$setOnInsert\" : " RATING_VALUES " }, \"upsert\" : true"));
}

static void a_changed_rating__expects_its_guard(void **state)
{
    const struct tw_product_rating before = {.stars = 5};

    assert_rating_statement(*state, &before,
                            RATING_REDO("\"q\" : { \"_id\" : \"" PRODUCT "/" RATER "\", \"guard\" : 40 }, "
                                        "\"u\" : { \"$set\" : " RATING_VALUES " }"));
}

/* --- guards and rows ---------------------------------------------------------------------------------------------- */

static void every_form__tells_its_guard(void **state)
{
    static const char *const forms[] = {
        "{\"q\": {\"_id\": 1}, \"u\": {\"$setOnInsert\": {\"version\": 1, \"guard\": {\"$numberLong\": \"51\"}}}}",
        "{\"q\": {\"_id\": 1}, \"u\": {\"$max\": {\"guard\": {\"$numberLong\": \"51\"}}}}",
        "{\"q\": {\"_id\": 1, \"guard\": 4}, \"u\": {\"$set\": {\"guard\": {\"$numberLong\": \"51\"}}}}",
        "{\"_id\": 1, \"guard\": {\"$numberLong\": \"51\"}}",
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

/* --- in bulk ------------------------------------------------------------------------------------------------------ */

static uint32_t count_in(const bson_t *redo, const char *name)
{
    uint32_t    count = 0;
    bson_iter_t iter;
    bson_iter_t item;

    assert_true(bson_iter_init_find(&iter, redo, name) && bson_iter_recurse(&iter, &item));
    while (bson_iter_next(&item))
        count++;
    return count;
}

/* A shadow's redo record of this one product. */
static void assert_bulk(const struct given *given, uint32_t new_products, uint32_t statements)
{
    const struct tw_entity *entity = &given->entity;
    struct tw_changes       changes = {.partition = 3, .first_offset = 50, .entities = &entity, .entity_count = 1};
    bson_t                  redo;

    tw_product_redo_build_bulk(&changes, &redo);
    assert_int_equal(count_in(&redo, TW_REDO_NEW_PRODUCTS), new_products);
    assert_int_equal(count_in(&redo, TW_REDO_NEW_RATINGS), 0);
    assert_int_equal(count_in(&redo, TW_MONGO_PRODUCTS), statements);
    assert_int_equal(count_in(&redo, TW_MONGO_RATINGS), 0);
    bson_destroy(&redo);
}

static void in_bulk__what_is_new_is_a_document_and_any_other_a_statement(void **state)
{
    struct given *given = *state;

    given->after->view_count++;
    assert_bulk(given, 0, 1);
    given->entity.before = NULL;
    assert_bulk(given, 1, 0);
}

static void in_bulk__a_new_document_is_the_whole_product(void **state)
{
    struct given           *given = *state;
    const struct tw_entity *entity = &given->entity;
    struct tw_changes       changes = {.entities = &entity, .entity_count = 1};
    struct tw_product       product;
    int64_t                 guard;
    bson_t                  redo;
    bson_t                  view;
    bson_iter_t             iter;
    bson_iter_t             item;
    const uint8_t          *bytes;
    uint32_t                len;
    struct tw_err           err = {0};

    given->entity.before = NULL;
    tw_product_redo_build_bulk(&changes, &redo);
    assert_true(bson_iter_init(&iter, &redo) && bson_iter_find_descendant(&iter, TW_REDO_NEW_PRODUCTS ".0", &item));
    bson_iter_document(&item, &len, &bytes);
    assert_true(bson_init_static(&view, bytes, len));
    assert_rc(tw_product_from_document(&view, &given->arena, &product, &guard, &err), TW_OK, err);
    assert_int_equal(tw_product_compare(given->after, &product), TW_PRODUCT_SAME);
    assert_int_equal(guard, 51);
    bson_destroy(&redo);
}

static void in_bulk__rows_that_count_no_more_are_left_out_unless_they_take_a_place(void **state)
{
    const int64_t              now_ms = 1795428000000;
    const struct tw_ledger_row rows[] = {
        {.id = {{1}}, .at_ms = now_ms - TW_LEDGER_LIFE_MS},
        {.id = {{2}}, .at_ms = now_ms - TW_LEDGER_LIFE_MS + 1},
        {.id = {{3}}, .at_ms = now_ms - TW_LEDGER_LIFE_MS, .replaces = true},
    };
    struct tw_changes changes = {.rows = rows, .row_count = TW_LEN(rows), .after = {.clock_ms = now_ms}};
    bson_t            redo;

    (void)state;
    tw_product_redo_build_bulk(&changes, &redo);
    assert_int_equal(count_in(&redo, TW_MONGO_LEDGER), 2);
    bson_destroy(&redo);
    tw_product_redo_build(&changes, &redo);
    assert_int_equal(count_in(&redo, TW_MONGO_LEDGER), 3);
    bson_destroy(&redo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_view__asks_for_the_larger_count_by_id_alone, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__expects_its_revision_and_sets_what_differs, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__with_views_in_the_same_batch_is_one_statement, given_product, done),
        cmocka_unit_test_setup_teardown(a_change__that_leaves_the_version_expects_its_revision_as_well, given_product,
                                        done),
        cmocka_unit_test_setup_teardown(a_new_product__is_inserted_and_never_overwritten, given_product, done),
        cmocka_unit_test_setup_teardown(a_first_rating__is_inserted_and_never_overwritten, given_product, done),
        cmocka_unit_test_setup_teardown(a_changed_rating__expects_its_guard, given_product, done),
        cmocka_unit_test(every_form__tells_its_guard),
        cmocka_unit_test(something_else__has_no_guard),
        cmocka_unit_test_setup_teardown(ledger_rows__stand_beside_the_products, given_product, done),
        cmocka_unit_test_setup_teardown(in_bulk__what_is_new_is_a_document_and_any_other_a_statement, given_product,
                                        done),
        cmocka_unit_test_setup_teardown(in_bulk__a_new_document_is_the_whole_product, given_product, done),
        cmocka_unit_test(in_bulk__rows_that_count_no_more_are_left_out_unless_they_take_a_place),
    };

    return cmocka_run_group_tests_name("product_redo", tests, NULL, NULL);
}
