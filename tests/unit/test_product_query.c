/* Lists of products as BSON. Expected documents are written as JSON, in MongoDB's canonical form where types matter. */
/* Links: PkgConfig::MONGOC */
#include "stores/product_query.h"

#include <bson/bson.h>
#include <string.h>

#include "unit.h"

static struct tw_arena          arena;
static struct tw_product_filter filter;

static int setup(void **state)
{
    (void)state;
    filter = (struct tw_product_filter){.min_price_minor = -1, .max_price_minor = -1, .min_rating_hundredths = -1};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

static void assert_document(bson_t *found, const char *expected)
{
    char *json = bson_as_canonical_extended_json(found, NULL);

    assert_string_equal(json, expected);
    bson_free(json);
    bson_destroy(found);
}

static void assert_filter(const struct tw_product_place *after, bool has_text_index, const char *expected)
{
    bson_t query = BSON_INITIALIZER;

    tw_product_query_filter(&filter, after, has_text_index, &arena, &query);
    assert_document(&query, expected);
}

static void order__has_a_name_and_ends_with_the_id(void **state)
{
    static const struct {
        const char *name;
        const char *order;
    } orders[] = {
        {"newest", "{ \"created_at\" : { \"$numberInt\" : \"-1\" }, \"_id\" : { \"$numberInt\" : \"-1\" } }"},
        {"price", "{ \"effective_price\" : { \"$numberInt\" : \"1\" }, \"_id\" : { \"$numberInt\" : \"1\" } }"},
        {"-price", "{ \"effective_price\" : { \"$numberInt\" : \"-1\" }, \"_id\" : { \"$numberInt\" : \"-1\" } }"},
        {"-rating", "{ \"rating\" : { \"$numberInt\" : \"-1\" }, \"_id\" : { \"$numberInt\" : \"-1\" } }"},
        {"-view_count", "{ \"view_count\" : { \"$numberInt\" : \"-1\" }, \"_id\" : { \"$numberInt\" : \"-1\" } }"},
        {"name", "{ \"name\" : { \"$numberInt\" : \"1\" }, \"_id\" : { \"$numberInt\" : \"1\" } }"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(orders); i++) {
        enum tw_product_sort sort = TW_SORT_NAME;
        bson_t               order = BSON_INITIALIZER;

        assert_true(tw_product_sort_parse(tw_str_of(orders[i].name), &sort));
        tw_product_query_order(sort, &order);
        assert_document(&order, orders[i].order);
    }
}

static void order__of_another_name_is_none(void **state)
{
    static const char *const names[] = {"", "Price", "price ", "-name", "rating", "effective_price"};
    enum tw_product_sort     sort = TW_SORT_NAME;

    (void)state;
    for (size_t i = 0; i < TW_LEN(names); i++)
        assert_false(tw_product_sort_parse(tw_str_of(names[i]), &sort));
    assert_int_equal(sort, TW_SORT_NAME);
}

static void filter__of_nothing_keeps_what_is_for_sale(void **state)
{
    (void)state;
    assert_filter(NULL, true, "{ \"is_active\" : true }");
    filter.with_inactive = true;
    assert_filter(NULL, true, "{ }");
}

static void filters__are_all_in_one_document(void **state)
{
    (void)state;
    filter.with_inactive = true;
    filter.category = TW_STR("shirts");
    filter.tag = TW_STR("$gt");
    filter.sku = TW_STR("A-1");
    filter.slug = TW_STR("");
    filter.on_sale = TW_SALE_NONE;
    assert_filter(NULL, true,
                  "{ \"category\" : \"shirts\", \"tags\" : \"$gt\", \"sku\" : \"A-1\", \"slug\" : \"\", "
                  "\"discount_price\" : null }");
    setup(NULL);
    filter.on_sale = TW_SALE_ONLY;
    assert_filter(NULL, true, "{ \"is_active\" : true, \"discount_price\" : { \"$ne\" : null } }");
}

static void amounts__are_decimals(void **state)
{
    (void)state;
    filter.with_inactive = true;
    filter.min_price_minor = 0;
    filter.max_price_minor = 1000;
    filter.min_rating_hundredths = 450;
    assert_filter(
        NULL, true,
        "{ \"effective_price\" : { \"$gte\" : { \"$numberDecimal\" : \"0.00\" }, \"$lte\" : { "
        "\"$numberDecimal\" : \"10.00\" } }, \"rating\" : { \"$gte\" : { \"$numberDecimal\" : \"4.50\" } } }");
    filter.min_price_minor = -1;
    filter.min_rating_hundredths = -1;
    assert_filter(NULL, true, "{ \"effective_price\" : { \"$lte\" : { \"$numberDecimal\" : \"10.00\" } } }");
}

#define WORD(word)                                                                                  \
    "{ \"$or\" : [ "                                                                                \
    "{ \"name\" : { \"$regularExpression\" : { \"pattern\" : \"(^|[^\\\\p{L}\\\\p{N}])" word        \
    "($|[^\\\\p{L}\\\\p{N}])\", \"options\" : \"i\" } } }, "                                        \
    "{ \"description\" : { \"$regularExpression\" : { \"pattern\" : \"(^|[^\\\\p{L}\\\\p{N}])" word \
    "($|[^\\\\p{L}\\\\p{N}])\", \"options\" : \"i\" } } }, "                                        \
    "{ \"tags\" : { \"$regularExpression\" : { \"pattern\" : \"(^|[^\\\\p{L}\\\\p{N}])" word        \
    "($|[^\\\\p{L}\\\\p{N}])\", \"options\" : \"i\" } } } ] }"

static void words__are_phrases_for_an_index_and_expressions_for_what_it_finds(void **state)
{
    (void)state;
    filter.with_inactive = true;
    filter.q = TW_STR("  T-shirt \"black\"  -caf\xc3\xa9");
    assert_filter(
        NULL, true,
        "{ \"$text\" : { \"$search\" : \"\\\"T-shirt\\\" \\\"black\\\" \\\"-caf\xc3\xa9\\\" \", \"$language\" : "
        "\"none\" }, \"$and\" : [ " WORD("T\\\\-shirt") ", " WORD("black") ", " WORD("\\\\-caf\xc3\xa9") " ] }");
}

static void words__are_escaped_expressions_without_an_index(void **state)
{
    (void)state;
    filter.with_inactive = true;
    filter.q = TW_STR("a.b* caf\xc3\xa9 \\");
    assert_filter(NULL, false,
                  "{ \"$and\" : [ " WORD("a\\\\.b\\\\*") ", " WORD("caf\xc3\xa9") ", " WORD("\\\\\\\\") " ] }");
}

static void text__without_words_has_none(void **state)
{
    (void)state;
    assert_false(tw_product_has_words(TW_STR("")));
    assert_false(tw_product_has_words(TW_STR(" \" \" ")));
    assert_true(tw_product_has_words(TW_STR("\"x")));
}

static struct tw_product some_product(void)
{
    struct tw_product product = {
        .name = TW_STR("Cap"),
        .created_at_ms = 5,
        .effective_price_minor = 999,
        .rating_hundredths = 425,
        .view_count = INT64_C(3000000000),
    };

    product.product_id = tw_product_id_of_sku(TW_STR("X"));
    return product;
}

/* The product's own values, in the order's direction, and its id where they tie. */
static void assert_place(enum tw_product_sort sort, const char *field, const char *value, const char *behind)
{
    struct tw_product       product = some_product();
    struct tw_product_place place = tw_product_place_of(&product, sort);
    char                    id[25];
    bson_oid_t              oid;

    memcpy(oid.bytes, place.object_id, sizeof(oid.bytes));
    bson_oid_to_string(&oid, id);
    filter.with_inactive = true;
    filter.sort = sort;
    struct tw_str expected = tw_arena_printf(
        &arena,
        "{ \"$or\" : [ { \"%s\" : { \"%s\" : %s } }, { \"%s\" : %s, \"_id\" : { \"%s\" : { \"$oid\" : \"%s\" } } } ] }",
        field, behind, value, field, value, behind, id);
    assert_filter(&place, true, expected.ptr);
}

static void page__begins_behind_a_place(void **state)
{
    (void)state;
    assert_place(TW_SORT_NEWEST, "created_at", "{ \"$date\" : { \"$numberLong\" : \"5\" } }", "$lt");
    assert_place(TW_SORT_PRICE, "effective_price", "{ \"$numberDecimal\" : \"9.99\" }", "$gt");
    assert_place(TW_SORT_PRICE_DOWN, "effective_price", "{ \"$numberDecimal\" : \"9.99\" }", "$lt");
    assert_place(TW_SORT_RATING_DOWN, "rating", "{ \"$numberDecimal\" : \"4.25\" }", "$lt");
    assert_place(TW_SORT_VIEWS_DOWN, "view_count", "{ \"$numberLong\" : \"3000000000\" }", "$lt");
    assert_place(TW_SORT_NAME, "name", "\"Cap\"", "$gt");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(order__has_a_name_and_ends_with_the_id),
        TEST(order__of_another_name_is_none),
        TEST(filter__of_nothing_keeps_what_is_for_sale),
        TEST(filters__are_all_in_one_document),
        TEST(amounts__are_decimals),
        TEST(words__are_phrases_for_an_index_and_expressions_for_what_it_finds),
        TEST(words__are_escaped_expressions_without_an_index),
        TEST(text__without_words_has_none),
        TEST(page__begins_behind_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
