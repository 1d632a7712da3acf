/* Products, ratings and ledger rows as BSON. */
/* Links: tw_product_document tw_test PkgConfig::MONGOC */
#include "tillwire/product_document.h"

#include <bson/bson.h>
#include <stdio.h>
#include <string.h>

#include "sample_states.h"
#include "unit.h"

/* --- Decimal128 --------------------------------------------------------------------------------------------------- */

static const struct {
    int64_t     hundredths;
    const char *text;
} exact[] = {
    {0, "0.00"},
    {1, "0.01"},
    {10, "0.10"},
    {100, "1.00"},
    {19900, "199.00"},
    {19999, "199.99"},
    {-5, "-0.05"},
    {INT64_C(999999999999), "9999999999.99"},
    {INT64_C(9007199254740993), "90071992547409.93"}, /* no double has it */
    {INT64_MAX, "92233720368547758.07"},
};

static struct tw_decimal128 decimal_of_text(const char *text)
{
    bson_decimal128_t decimal;

    assert_true(bson_decimal128_from_string(text, &decimal));
    return (struct tw_decimal128){.low = decimal.low, .high = decimal.high};
}

static void a_decimal__is_bit_for_bit_what_libbson_reads_from_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_LEN(exact); i++) {
        struct tw_decimal128 ours = tw_decimal128_of(exact[i].hundredths);
        struct tw_decimal128 theirs = decimal_of_text(exact[i].text);

        assert_true(ours.low == theirs.low && ours.high == theirs.high);
    }
}

static void a_decimal__comes_back_exactly(void **state)
{
    int64_t back = -1;

    (void)state;
    for (size_t i = 0; i < TW_LEN(exact); i++) {
        assert_true(tw_decimal128_to_hundredths(tw_decimal128_of(exact[i].hundredths), &back));
        assert_true(back == exact[i].hundredths);
    }
}

static void a_decimal__in_another_spelling_is_the_same_number(void **state)
{
    static const char *const spellings[] = {"199", "199.0", "199.000000", "1.99E+2", "19900E-2", "1990000E-4"};
    int64_t                  back = -1;

    (void)state;
    for (size_t i = 0; i < TW_LEN(spellings); i++) {
        assert_true(tw_decimal128_to_hundredths(decimal_of_text(spellings[i]), &back));
        assert_int_equal(back, 19900);
    }
    assert_true(tw_decimal128_to_hundredths(decimal_of_text("0E-6176"), &back));
    assert_int_equal(back, 0);
    assert_true(tw_decimal128_to_hundredths(decimal_of_text("0E+6111"), &back));
    assert_int_equal(back, 0);
}

static void a_decimal__that_is_no_multiple_of_a_hundredth_or_too_large_is_refused(void **state)
{
    static const char *const others[] = {"0.001",
                                         "199.005",
                                         "1E-6176",
                                         "NaN",
                                         "Infinity",
                                         "-Infinity",
                                         "1E+17",
                                         "92233720368547758.08",
                                         "9.999999999999999999999999999999999E+6144"};
    int64_t                  back = -1;

    (void)state;
    for (size_t i = 0; i < TW_LEN(others); i++)
        assert_false(tw_decimal128_to_hundredths(decimal_of_text(others[i]), &back));
    assert_int_equal(back, -1);
}

/* --- products ----------------------------------------------------------------------------------------------------- */

static bson_t *document_of(const struct tw_product *product, int64_t guard)
{
    bson_t    *document = bson_new();
    bson_oid_t id;

    assert_true(tw_product_id_to_object_id(product->product_id, id.bytes));
    BSON_APPEND_OID(document, "_id", &id);
    tw_product_to_document(product, guard, document);
    return document;
}

static void a_product__comes_back_as_it_was(void **state)
{
    struct tw_arena arena = {0};
    struct tw_err   err = {0};

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        const struct tw_product *product = tw_sample_products.make(4 * i, 1 + i, &arena);
        bson_t                  *document = document_of(product, 7 + i);
        struct tw_product        back;
        int64_t                  guard = -1;

        assert_rc(tw_product_from_document(document, &arena, &back, &guard, &err), TW_OK, err);
        assert_int_equal(guard, 7 + i);
        assert_true(tw_uuid_eq(back.product_id, product->product_id));
        assert_int_equal(tw_product_compare(product, &back), TW_PRODUCT_SAME);
        bson_destroy(document);
    }
    tw_arena_done(&arena);
}

/* The names and types people query by; view_count and its like are longs, so that $max never mixes types. */
static void a_product__has_the_fields_of_the_data_model_in_its_types(void **state)
{
    static const struct {
        const char *name;
        bson_type_t type;
    } fields[] = {
        {"_id", BSON_TYPE_OID},
        {"sku", BSON_TYPE_UTF8},
        {"name", BSON_TYPE_UTF8},
        {"slug", BSON_TYPE_UTF8},
        {"description", BSON_TYPE_UTF8},
        {"price", BSON_TYPE_DECIMAL128},
        {"discount_price", BSON_TYPE_DECIMAL128},
        {"category", BSON_TYPE_UTF8},
        {"tags", BSON_TYPE_ARRAY},
        {"images", BSON_TYPE_DOCUMENT},
        {"view_count", BSON_TYPE_INT64},
        {"rating", BSON_TYPE_DECIMAL128},
        {"review_count", BSON_TYPE_INT64},
        {"is_active", BSON_TYPE_BOOL},
        {"created_at", BSON_TYPE_DATE_TIME},
        {"updated_at", BSON_TYPE_DATE_TIME},
        {"effective_price", BSON_TYPE_DECIMAL128},
        {"rating_sum", BSON_TYPE_INT64},
        {"version", BSON_TYPE_INT64},
        {"revision", BSON_TYPE_INT64},
        {"guard", BSON_TYPE_INT64},
    };
    struct tw_arena    arena = {0};
    struct tw_product *product = tw_sample_products.make(3, 4, &arena);
    bson_t            *document;
    bson_iter_t        iter;

    (void)state;
    product->has_description = true;
    product->description = (struct tw_str){NULL, 0}; /* empty, not null */
    document = document_of(product, 9);
    assert_int_equal(bson_count_keys(document), TW_LEN(fields));
    assert_true(bson_iter_init(&iter, document));
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        assert_true(bson_iter_next(&iter));
        assert_string_equal(bson_iter_key(&iter), fields[i].name);
        assert_int_equal(bson_iter_type(&iter), fields[i].type);
    }
    bson_destroy(document);
    tw_arena_done(&arena);
}

static void a_product__without_description_and_discount_says_null(void **state)
{
    struct tw_arena    arena = {0};
    struct tw_product *product = tw_sample_products.make(3, 4, &arena);
    bson_t            *document;
    bson_iter_t        iter;

    (void)state;
    product->has_description = product->has_discount_price = false;
    document = document_of(product, 9);
    assert_true(bson_iter_init_find(&iter, document, "description") && BSON_ITER_HOLDS_NULL(&iter));
    assert_true(bson_iter_init_find(&iter, document, "discount_price") && BSON_ITER_HOLDS_NULL(&iter));
    bson_destroy(document);
    tw_arena_done(&arena);
}

/* A document with one field left out, or replaced by a value of another type. */
static bson_t *spoilt(const bson_t *document, const char *name, bool left_out)
{
    bson_t     *other = bson_new();
    bson_iter_t iter;

    assert_true(bson_iter_init(&iter, document));
    while (bson_iter_next(&iter)) {
        if (strcmp(bson_iter_key(&iter), name) != 0)
            bson_append_iter(other, NULL, 0, &iter);
        else if (!left_out)
            BSON_APPEND_REGEX(other, name, "a", "");
    }
    return other;
}

static void assert_spoilt_is_broken(const bson_t *document, const char *name, bool left_out)
{
    bson_t           *other = spoilt(document, name, left_out);
    struct tw_arena   arena = {0};
    struct tw_err     err = {0};
    struct tw_product back;
    int64_t           guard;

    assert_rc(tw_product_from_document(other, &arena, &back, &guard, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, name));
    tw_arena_done(&arena);
    bson_destroy(other);
}

static void a_product__with_a_missing_or_strange_field_is_broken_and_names_it(void **state)
{
    struct tw_arena arena = {0};
    bson_t         *document = document_of(tw_sample_products.make(3, 4, &arena), 9);
    bson_iter_t     iter;

    (void)state;
    assert_true(bson_iter_init(&iter, document));
    while (bson_iter_next(&iter)) {
        const char *name = bson_iter_key(&iter);

        assert_spoilt_is_broken(document, name, false);
        if (strcmp(name, "description") != 0 && strcmp(name, "discount_price") != 0)
            assert_spoilt_is_broken(document, name, true);
    }
    bson_destroy(document);
    tw_arena_done(&arena);
}

static void a_product__with_fields_of_a_later_version_is_read(void **state)
{
    struct tw_arena          arena = {0};
    struct tw_err            err = {0};
    const struct tw_product *product = tw_sample_products.make(3, 4, &arena);
    bson_t                  *document = document_of(product, 9);
    struct tw_product        back;
    int64_t                  guard;

    (void)state;
    BSON_APPEND_UTF8(document, "brand", "later");
    assert_rc(tw_product_from_document(document, &arena, &back, &guard, &err), TW_OK, err);
    assert_int_equal(tw_product_compare(product, &back), TW_PRODUCT_SAME);
    bson_destroy(document);
    tw_arena_done(&arena);
}

/* Numbers typed by hand in a shell are int32 or doubles: the first is the same number, the second is not trusted. */
static void a_count__of_32_bits_is_read_and_a_double_is_not(void **state)
{
    struct tw_arena   arena = {0};
    struct tw_err     err = {0};
    bson_t           *document = document_of(tw_sample_products.make(3, 4, &arena), 9);
    bson_t           *narrow = spoilt(document, "view_count", true);
    bson_t           *floating = bson_copy(narrow);
    struct tw_product back;
    int64_t           guard;

    (void)state;
    BSON_APPEND_INT32(narrow, "view_count", 41);
    BSON_APPEND_DOUBLE(floating, "view_count", 41.0);
    assert_rc(tw_product_from_document(narrow, &arena, &back, &guard, &err), TW_OK, err);
    assert_int_equal(back.view_count, 41);
    assert_rc(tw_product_from_document(floating, &arena, &back, &guard, &err), TW_BROKEN, err);
    bson_destroy(floating);
    bson_destroy(narrow);
    bson_destroy(document);
    tw_arena_done(&arena);
}

/* --- differences -------------------------------------------------------------------------------------------------- */

static void a_difference__of_views_alone_is_told_apart(void **state)
{
    struct tw_arena    arena = {0};
    struct tw_product *before = tw_sample_products.make(3, 6, &arena);
    struct tw_product  after;

    (void)state;
    before->view_count = 6;
    after = *before;
    assert_int_equal(tw_product_compare(before, &after), TW_PRODUCT_SAME);
    after.view_count++;
    assert_int_equal(tw_product_compare(before, &after), TW_PRODUCT_VIEWED);
    after.is_active = !after.is_active;
    assert_int_equal(tw_product_compare(before, &after), TW_PRODUCT_CHANGED);
    after = *before;
    after.view_count--; /* never by a view */
    assert_int_equal(tw_product_compare(before, &after), TW_PRODUCT_CHANGED);
    tw_arena_done(&arena);
}

static void a_difference__lists_the_fields_that_are_not_the_same(void **state)
{
    struct tw_arena    arena = {0};
    struct tw_product *before = tw_sample_products.make(3, 6, &arena);
    struct tw_str      tag = TW_STR("summer");
    struct tw_product  after = *before;
    bson_t             changes = BSON_INITIALIZER;
    char              *json;

    (void)state;
    before->has_discount_price = true;
    before->tags = &tag;
    before->tags_len = 1;
    after.has_discount_price = false;
    after.price_minor = 12345;
    after.tags_len = 0;
    after.name = TW_STR("New");
    tw_product_append_changes(before, &after, &changes);
    json = bson_as_canonical_extended_json(&changes, NULL);
    assert_string_equal(json, "{ \"name\" : \"New\", \"price\" : { \"$numberDecimal\" : \"123.45\" }, "
                              "\"discount_price\" : null, \"tags\" : [  ] }");
    bson_free(json);
    bson_destroy(&changes);
    tw_arena_done(&arena);
}

static void every_field__makes_a_difference(void **state)
{
    struct tw_arena    arena = {0};
    struct tw_err      err = {0};
    struct tw_product *before = tw_sample_products.make(3, 1, &arena);
    struct tw_product *after = tw_sample_products.make(3, 3, &arena);
    bson_t            *document = document_of(before, 9);
    bson_t             changes = BSON_INITIALIZER;
    bson_iter_t        iter;
    struct tw_product  back;
    int64_t            guard;

    (void)state;
    tw_product_append_changes(before, after, &changes);
    assert_true(bson_iter_init(&iter, &changes));
    while (bson_iter_next(&iter)) { /* as $set does it */
        bson_t *other = spoilt(document, bson_iter_key(&iter), true);

        bson_append_iter(other, NULL, 0, &iter);
        bson_destroy(document);
        document = other;
    }
    assert_rc(tw_product_from_document(document, &arena, &back, &guard, &err), TW_OK, err);
    assert_int_equal(tw_product_compare(after, &back), TW_PRODUCT_SAME);
    bson_destroy(&changes);
    bson_destroy(document);
    tw_arena_done(&arena);
}

/* --- ratings ------------------------------------------------------------------------------------------------------ */

static bson_t *rating_document_of(const struct tw_product_rating *rating, int64_t guard)
{
    bson_t *document = bson_new();
    char    id[TW_RATING_DOCUMENT_ID + 1];

    tw_rating_document_id(rating->product_id, rating->member_id, id);
    BSON_APPEND_UTF8(document, "_id", id);
    tw_rating_to_document(rating, guard, document);
    return document;
}

static void a_rating__comes_back_as_it_was(void **state)
{
    struct tw_arena arena = {0};
    struct tw_err   err = {0};

    (void)state;
    for (uint32_t i = 1; i < 40; i += 4) {
        const struct tw_product_rating *rating = tw_sample_products.make(i, i, &arena);
        bson_t                         *document = rating_document_of(rating, 7 + i);
        struct tw_product_rating        back;
        int64_t                         guard = -1;

        assert_rc(tw_rating_from_document(document, &back, &guard, &err), TW_OK, err);
        assert_int_equal(guard, 7 + i);
        assert_true(tw_uuid_eq(back.product_id, rating->product_id));
        assert_true(tw_uuid_eq(back.member_id, rating->member_id));
        assert_int_equal(back.stars, rating->stars);
        assert_int_equal(back.rated_at_ms, rating->rated_at_ms);
        bson_destroy(document);
    }
    tw_arena_done(&arena);
}

static void a_rating__is_found_by_its_product_and_member(void **state)
{
    char id[TW_RATING_DOCUMENT_ID + 1];

    (void)state;
    tw_rating_document_id((struct tw_uuid){{1, 2}}, (struct tw_uuid){{0xfe}}, id);
    assert_string_equal(id, "01020000-0000-0000-0000-000000000000/fe000000-0000-0000-0000-000000000000");
    assert_int_equal(strlen(id), TW_RATING_DOCUMENT_ID);
}

static void a_rating__with_a_missing_or_strange_field_is_broken_and_names_it(void **state)
{
    struct tw_arena arena = {0};
    bson_t         *document = rating_document_of(tw_sample_products.make(1, 4, &arena), 9);
    bson_iter_t     iter;

    (void)state;
    assert_true(bson_iter_init(&iter, document) && bson_iter_next(&iter)); /* but the _id, which is never read */
    while (bson_iter_next(&iter)) {
        for (int left_out = 0; left_out < 2; left_out++) {
            bson_t                  *other = spoilt(document, bson_iter_key(&iter), left_out);
            struct tw_err            err = {0};
            struct tw_product_rating back;
            int64_t                  guard;

            assert_rc(tw_rating_from_document(other, &back, &guard, &err), TW_BROKEN, err);
            assert_non_null(strstr(err.msg, bson_iter_key(&iter)));
            bson_destroy(other);
        }
    }
    bson_destroy(document);
    tw_arena_done(&arena);
}

/* --- ledger rows -------------------------------------------------------------------------------------------------- */

static const struct tw_ledger_row sample_row = {
    .id = {{0x01, 0x92, 0xf5, 0xc0, 0x7b, 0x1e, 0x88, 0x00, 0x8f, 0x27, 0x6c, 0x1d, 0x2e, 0x3f, 0x4a, 0x5b}},
    .caller = {{2, 3}},
    .fingerprint = {4, 5},
    .type = {"product.create", 14},
    .outcome = {TW_REJECTED, 409, TW_PROBLEM_SKU_TAKEN, {"another product has this SKU", 28}, {NULL, 0}, false},
    .offset = INT64_C(0x0102030405060708),
    .submitted_ms = -1,
    .at_ms = INT64_C(1795428000123),
};

static void a_row__comes_back_as_it_was(void **state)
{
    struct tw_arena      arena = {0};
    struct tw_err        err = {0};
    bson_t               document = BSON_INITIALIZER;
    struct tw_ledger_row back;

    (void)state;
    tw_ledger_to_document(3, &sample_row, &document);
    assert_rc(tw_ledger_from_document(&document, &arena, &back, &err), TW_OK, err);
    assert_true(tw_uuid_eq(back.id, sample_row.id));
    assert_true(tw_uuid_eq(back.caller, sample_row.caller));
    assert_memory_equal(back.fingerprint, sample_row.fingerprint, TW_FINGERPRINT_BYTES);
    assert_str(back.type, "product.create");
    assert_int_equal(back.outcome.status, TW_REJECTED);
    assert_int_equal(back.outcome.http_status, 409);
    assert_int_equal(back.outcome.problem, TW_PROBLEM_SKU_TAKEN);
    assert_str(back.outcome.detail, "another product has this SKU");
    assert_str(back.outcome.resource, "");
    assert_true(back.offset == sample_row.offset);
    assert_true(back.submitted_ms == -1);
    assert_true(back.at_ms == sample_row.at_ms);
    bson_destroy(&document);
    tw_arena_done(&arena);
}

static void a_row__is_found_by_its_partition_and_command(void **state)
{
    char id[TW_LEDGER_DOCUMENT_ID + 1];

    (void)state;
    tw_ledger_document_id(3, sample_row.id, id);
    assert_string_equal(id, "3/0192f5c0-7b1e-8800-8f27-6c1d2e3f4a5b");
    tw_ledger_document_id(INT32_MIN, sample_row.id, id);
    assert_string_equal(id, "-2147483648/0192f5c0-7b1e-8800-8f27-6c1d2e3f4a5b");
}

static void a_row__with_a_missing_or_strange_field_is_broken_and_names_it(void **state)
{
    struct tw_arena arena = {0};
    bson_t          document = BSON_INITIALIZER;
    bson_iter_t     iter;

    (void)state;
    tw_ledger_to_document(3, &sample_row, &document);
    assert_true(bson_iter_init(&iter, &document));
    while (bson_iter_next(&iter)) {
        const char          *name = bson_iter_key(&iter);
        struct tw_err        err = {0};
        struct tw_ledger_row back;

        for (int left_out = 0; left_out < 2; left_out++) {
            bson_t *other = spoilt(&document, name, left_out);

            assert_rc(tw_ledger_from_document(other, &arena, &back, &err), TW_BROKEN, err);
            assert_non_null(strstr(err.msg, name));
            bson_destroy(other);
        }
    }
    bson_destroy(&document);
    tw_arena_done(&arena);
}

static void a_row__under_another_id_than_its_own_is_broken(void **state)
{
    static const char id[] = "3/0192f5c0-7b1e-8800-8f27-6c1d2e3f4a5c";
    struct tw_arena   arena = {0};
    bson_t            document = BSON_INITIALIZER, other = BSON_INITIALIZER;
    struct tw_err     err = {0};

    struct tw_ledger_row back;

    (void)state;
    tw_ledger_to_document(3, &sample_row, &document);
    bson_copy_to_excluding_noinit(&document, &other, "_id", NULL);
    BSON_APPEND_UTF8(&other, "_id", id);
    assert_rc(tw_ledger_from_document(&other, &arena, &back, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, id));
    assert_non_null(strstr(err.msg, "3/0192f5c0-7b1e-8800-8f27-6c1d2e3f4a5b"));
    bson_destroy(&other);
    bson_destroy(&document);
    tw_arena_done(&arena);
}

/* --- validators --------------------------------------------------------------------------------------------------- */

/* Validators only warn, so one that does not fit what is written would fill a server's log. The tests run in the source
 * folder. */
static bson_t *validator_of(const char *collection)
{
    char                path[128];
    bson_error_t        error;
    bson_json_reader_t *reader;
    bson_t             *file = bson_new();

    snprintf(path, sizeof(path), "schemas/mongo/%s.json", collection);
    reader = bson_json_reader_new_from_file(path, &error);
    if (!reader || bson_json_reader_read(reader, file, &error) != 1)
        fail_msg("%s: %s", path, error.message);
    bson_json_reader_destroy(reader);
    return file;
}

static bool find_path(const bson_t *document, const char *path, bson_iter_t *ret_found)
{
    bson_iter_t iter;

    return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, ret_found);
}

static const char *type_name(bson_type_t type)
{
    static const struct {
        bson_type_t type;
        const char *name;
    } names[] = {
        {BSON_TYPE_OID, "objectId"},   {BSON_TYPE_UTF8, "string"},    {BSON_TYPE_DECIMAL128, "decimal"},
        {BSON_TYPE_NULL, "null"},      {BSON_TYPE_ARRAY, "array"},    {BSON_TYPE_DOCUMENT, "object"},
        {BSON_TYPE_INT64, "long"},     {BSON_TYPE_INT32, "int"},      {BSON_TYPE_BOOL, "bool"},
        {BSON_TYPE_DATE_TIME, "date"}, {BSON_TYPE_BINARY, "binData"},
    };

    for (size_t i = 0; i < TW_LEN(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return "none of ours";
}

/* `bsonType` is a name or a list of names. */
static bool allows(const bson_iter_t *types, const char *name)
{
    bson_iter_t item;

    if (BSON_ITER_HOLDS_UTF8(types))
        return !strcmp(bson_iter_utf8(types, NULL), name);
    assert_true(BSON_ITER_HOLDS_ARRAY(types) && bson_iter_recurse(types, &item));
    while (bson_iter_next(&item))
        if (!strcmp(bson_iter_utf8(&item, NULL), name))
            return true;
    return false;
}

/* Every field has a property of its type, and every required one is there. */
static void assert_fits(const bson_t *document, const char *collection)
{
    bson_t     *file = validator_of(collection);
    bson_iter_t iter;
    bson_iter_t found;

    assert_true(bson_iter_init(&iter, document));
    while (bson_iter_next(&iter)) {
        char path[128];

        if (!strcmp(bson_iter_key(&iter), "status")) /* an enum */
            continue;
        snprintf(path, sizeof(path), "validator.$jsonSchema.properties.%s.bsonType", bson_iter_key(&iter));
        if (!find_path(file, path, &found) || !allows(&found, type_name(bson_iter_type(&iter))))
            fail_msg("%s: no %s, %s", collection, path, type_name(bson_iter_type(&iter)));
    }
    assert_true(find_path(file, "validator.$jsonSchema.required", &found) && bson_iter_recurse(&found, &iter));
    while (bson_iter_next(&iter))
        if (!bson_has_field(document, bson_iter_utf8(&iter, NULL)))
            fail_msg("%s: no %s in a document", collection, bson_iter_utf8(&iter, NULL));
    bson_destroy(file);
}

static void a_validator__takes_what_is_written(void **state)
{
    struct tw_arena arena = {0};
    bson_t          row = BSON_INITIALIZER;

    (void)state;
    for (int64_t generation = 1; generation < 7; generation++) { /* with and without what may be null */
        bson_t *product = document_of(tw_sample_products.make(4, generation, &arena), 9);
        bson_t *rating = rating_document_of(tw_sample_products.make(5, generation, &arena), 9);

        assert_fits(product, TW_MONGO_PRODUCTS);
        assert_fits(rating, TW_MONGO_RATINGS);
        bson_destroy(rating);
        bson_destroy(product);
    }
    tw_ledger_to_document(3, &sample_row, &row);
    assert_fits(&row, TW_MONGO_LEDGER);
    bson_destroy(&row);
    tw_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decimal__is_bit_for_bit_what_libbson_reads_from_the_text),
        cmocka_unit_test(a_decimal__comes_back_exactly),
        cmocka_unit_test(a_decimal__in_another_spelling_is_the_same_number),
        cmocka_unit_test(a_decimal__that_is_no_multiple_of_a_hundredth_or_too_large_is_refused),
        cmocka_unit_test(a_product__comes_back_as_it_was),
        cmocka_unit_test(a_product__has_the_fields_of_the_data_model_in_its_types),
        cmocka_unit_test(a_product__without_description_and_discount_says_null),
        cmocka_unit_test(a_product__with_a_missing_or_strange_field_is_broken_and_names_it),
        cmocka_unit_test(a_product__with_fields_of_a_later_version_is_read),
        cmocka_unit_test(a_count__of_32_bits_is_read_and_a_double_is_not),
        cmocka_unit_test(a_difference__of_views_alone_is_told_apart),
        cmocka_unit_test(a_difference__lists_the_fields_that_are_not_the_same),
        cmocka_unit_test(every_field__makes_a_difference),
        cmocka_unit_test(a_rating__comes_back_as_it_was),
        cmocka_unit_test(a_rating__is_found_by_its_product_and_member),
        cmocka_unit_test(a_rating__with_a_missing_or_strange_field_is_broken_and_names_it),
        cmocka_unit_test(a_row__comes_back_as_it_was),
        cmocka_unit_test(a_row__is_found_by_its_partition_and_command),
        cmocka_unit_test(a_row__with_a_missing_or_strange_field_is_broken_and_names_it),
        cmocka_unit_test(a_row__under_another_id_than_its_own_is_broken),
        cmocka_unit_test(a_validator__takes_what_is_written),
    };

    return cmocka_run_group_tests_name("product_document", tests, NULL, NULL);
}
