/*
 * JSON bodies: what is accepted, and which pointer, code and words each fault gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/gen/bodies.h"

static struct tw_arena        arena;
static struct tw_field_errors errors;

static int tear_down(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

static json_t *json_of(const char *text)
{
    json_error_t error;
    json_t      *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

    if (!json)
        fail_msg("%s: %s", text, error.text);
    return json;
}

typedef enum tw_rc (*read_fn)(const json_t *json, void *ret_body);

static enum tw_rc read_add_item(const json_t *json, void *ret_body)
{
    return tw_cart_add_item_body_from_json(json, &arena, ret_body, &errors);
}

static enum tw_rc read_create(const json_t *json, void *ret_body)
{
    return tw_product_create_body_from_json(json, &arena, ret_body, &errors);
}

static enum tw_rc read_change(const json_t *json, void *ret_body)
{
    return tw_product_change_body_from_json(json, &arena, ret_body, &errors);
}

static enum tw_rc read_register(const json_t *json, void *ret_body)
{
    return tw_member_register_body_from_json(json, &arena, ret_body, &errors);
}

static enum tw_rc read_profile(const json_t *json, void *ret_body)
{
    return tw_member_change_profile_body_from_json(json, &arena, ret_body, &errors);
}

static enum tw_rc read_text(read_fn read, const char *text, void *ret_body)
{
    json_t    *json = json_of(text);
    enum tw_rc rc = read(json, ret_body);

    json_decref(json); /* the body must not point into it */
    return rc;
}

/* "pointer code detail" of error @p index. */
static void assert_error(size_t index, const char *expected)
{
    const struct tw_field_error *error = &errors.items[index];
    char                         text[400];

    assert_true(index < errors.count);
    snprintf(text, sizeof(text), "%.*s %.*s %.*s", TW_STR_ARG(error->pointer), TW_STR_ARG(error->code),
             TW_STR_ARG(error->detail));
    assert_string_equal(text, expected);
}

static void assert_only_error(read_fn read, const char *text, const char *expected)
{
    union {
        struct tw_product_create_body        create;
        struct tw_member_register_body       member;
        struct tw_cart_add_item_body         item;
        struct tw_member_change_profile_body profile;
    } body;

    memset(&body, 0x5a, sizeof(body));
    if (read_text(read, text, &body) != TW_INVALID)
        fail_msg("accepted: %s", text);
    assert_int_equal(errors.count, 1);
    assert_error(0, expected);
    assert_int_equal(((const char *)&body)[0], 0x5a); /* a failed call leaves ret_body as it was */
}

#define ITEM(quantity) "{\"product_id\":\"0192f5c0-7b1e-8d3a-8f27-6c1d2e3f4a5b\",\"quantity\":" quantity "}"
#define PRODUCT(more)  "{\"sku\":\"TEE\",\"name\":\"Tee\",\"price\":\"199.00\",\"category\":\"shirts\"" more "}"

static void a_good_body_is_read(void **state)
{
    struct tw_cart_add_item_body body;

    (void)state;
    assert_int_equal(read_text(read_add_item, ITEM("2"), &body), TW_OK);
    assert_int_equal(body.quantity, 2);
    assert_int_equal(body.product_id.bytes[0], 0x01);
    assert_int_equal(errors.count, 0);
}

static void a_full_product_is_read(void **state)
{
    struct tw_product_create_body body;

    (void)state;
    assert_int_equal(read_text(read_create,
                               PRODUCT(",\"slug\":\"tee\",\"description\":\"caf\\u00e9\",\"discount_price\":\"0.5\","
                                       "\"tags\":[\"a\",\"b\"],"
                                       "\"images\":{\"front\":\"https://a/b.jpg\"},\"is_active\":false"),
                               &body),
                     TW_OK);
    assert_int_equal(body.price_minor, 19900);
    assert_true(body.has_discount_price);
    assert_int_equal(body.discount_price_minor, 50);
    assert_true(body.has_description && tw_str_is(body.description, "caf\xc3\xa9"));
    assert_int_equal(body.tags_len, 2);
    assert_true(tw_str_is(body.tags[1], "b"));
    assert_int_equal(body.images_len, 1);
    assert_true(tw_str_is(body.images[0].name, "front") && tw_str_is(body.images[0].value, "https://a/b.jpg"));
    assert_true(body.has_is_active && !body.is_active);
}

static void optional_members_may_be_absent_or_null(void **state)
{
    struct tw_product_create_body body;

    (void)state;
    assert_int_equal(read_text(read_create, PRODUCT(",\"description\":null,\"tags\":null"), &body), TW_OK);
    assert_false(body.has_description || body.has_tags || body.has_images || body.has_is_active || body.has_slug);
    assert_int_equal(body.tags_len, 0);
}

static void null_clears_what_absent_leaves_alone(void **state)
{
    struct tw_member_change_profile_body body;

    (void)state;
    assert_int_equal(read_text(read_profile, "{\"full_name\":\"Ana\"}", &body), TW_OK);
    assert_true(body.has_full_name);
    assert_false(body.has_phone_number || body.clear_phone_number);
    assert_int_equal(read_text(read_profile, "{\"phone_number\":null}", &body), TW_OK);
    assert_true(body.clear_phone_number);
    assert_false(body.has_phone_number || body.has_full_name);
    assert_int_equal(read_text(read_profile, "{\"phone_number\":\"+628123\"}", &body), TW_OK);
    assert_true(body.has_phone_number);
    assert_false(body.clear_phone_number);
    assert_int_equal(read_text(read_profile, "{\"full_name\":null}", &body), TW_OK); /* a name cannot be cleared */
    assert_false(body.has_full_name || body.clear_phone_number);
}

static void names_that_are_null_in_a_map_are_told(void **state)
{
    struct tw_product_change_body body;

    (void)state;
    assert_int_equal(
        read_text(read_change, "{\"images\":{\"front\":\"https://a.example/f.jpg\",\"back\":null}}", &body), TW_OK);
    assert_true(body.has_images);
    assert_int_equal(body.images_len, 1);
    assert_true(tw_str_is(body.images[0].name, "front"));
    assert_int_equal(body.removed_images_len, 1);
    assert_true(tw_str_is(body.removed_images[0], "back"));
    assert_int_equal(read_text(read_change, "{\"images\":null}", &body), TW_OK);
    assert_false(body.has_images || body.removed_images_len);
    assert_only_error(read_change, "{\"images\":{\"a.b\":null}}",
                      "/images/a.b wrong-name the name must have 1 to 100 bytes without '$' and '.'");
    assert_only_error(read_change, "{\"images\":{\"front\":1}}", "/images/front wrong-type must be text");
    assert_only_error(read_change, "{\"removed_images\":[\"front\"]}",
                      "/removed_images unknown-member is no member of this body");
}

static void the_bool_behind_a_null_is_no_member(void **state)
{
    (void)state;
    assert_only_error(read_profile, "{\"clear_phone_number\":true}",
                      "/clear_phone_number unknown-member is no member of this body");
    assert_only_error(read_profile, "{\"phone_number\":null,\"full_name\":\"\"}",
                      "/full_name wrong-length must be 1 to 200 bytes long");
}

static void a_body_must_be_an_object(void **state)
{
    (void)state;
    assert_only_error(read_add_item, "[]", " wrong-type must be an object");
    assert_only_error(read_add_item, "null", " wrong-type must be an object");
    assert_only_error(read_add_item, "3", " wrong-type must be an object");
}

static void all_faults_are_collected(void **state)
{
    struct tw_cart_add_item_body body;

    (void)state;
    assert_int_equal(read_text(read_add_item, "{\"quantity\":0,\"price\":\"1.00\",\"a/b~c\":1}", &body), TW_INVALID);
    assert_int_equal(errors.count, 4);
    assert_error(0, "/product_id missing is missing");
    assert_error(1, "/quantity out-of-range must be 1 to 999");
    assert_error(2, "/price unknown-member is no member of this body");
    assert_error(3, "/a~1b~0c unknown-member is no member of this body");
}

static void each_fault_of_an_item_has_its_own_words(void **state)
{
    (void)state;
    assert_only_error(read_add_item, ITEM("0"), "/quantity out-of-range must be 1 to 999");
    assert_only_error(read_add_item, ITEM("1000"), "/quantity out-of-range must be 1 to 999");
    assert_only_error(read_add_item, ITEM("-1"), "/quantity out-of-range must be 1 to 999");
    assert_only_error(read_add_item, ITEM("9223372036854775807"), "/quantity out-of-range must be 1 to 999");
    assert_only_error(read_add_item, ITEM("2.0"), "/quantity wrong-type must be an integer");
    assert_only_error(read_add_item, ITEM("\"2\""), "/quantity wrong-type must be an integer");
    assert_only_error(read_add_item, ITEM("true"), "/quantity wrong-type must be an integer");
    assert_only_error(read_add_item, ITEM("null"), "/quantity wrong-type must be an integer");
    assert_only_error(read_add_item, "{\"product_id\":\"x\",\"quantity\":1}",
                      "/product_id wrong-format must be a UUID");
    assert_only_error(read_add_item, "{\"product_id\":1,\"quantity\":1}", "/product_id wrong-type must be a UUID");
}

static void money_is_a_text_and_exact(void **state)
{
    static const char not_money[] = "must be a decimal text such as \"199.00\"";
    char              expected[100];

    (void)state;
    snprintf(expected, sizeof(expected), "/discount_price wrong-type %s", not_money);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":199.00"), expected);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":199"), expected);
    snprintf(expected, sizeof(expected), "/discount_price wrong-format %s", not_money);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":\"1.999\""), expected);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":\"-1.00\""), expected);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":\"1e3\""), expected);
    assert_only_error(read_create, PRODUCT(",\"discount_price\":\"10000000000.00\""),
                      "/discount_price out-of-range must be 0.00 to 9999999999.99");
}

static void pointers_lead_into_lists_and_maps(void **state)
{
    (void)state;
    assert_only_error(read_create, PRODUCT(",\"tags\":[\"a\",\"\"]"),
                      "/tags/1 wrong-length must be 1 to 50 bytes long");
    assert_only_error(read_create, PRODUCT(",\"tags\":[1]"), "/tags/0 wrong-type must be text");
    assert_only_error(read_create, PRODUCT(",\"tags\":{}"), "/tags wrong-type must be a list");
    assert_only_error(read_create, PRODUCT(",\"images\":[]"), "/images wrong-type must be an object");
    assert_only_error(read_create, PRODUCT(",\"images\":{\"a/b\":\"x\"}"),
                      "/images/a~1b wrong-format must be an http or https URL");
    assert_only_error(read_create, PRODUCT(",\"images\":{\"a.b\":\"https://x\"}"),
                      "/images/a.b wrong-name the name must have 1 to 100 bytes without '$' and '.'");
    assert_only_error(read_create, PRODUCT(",\"images\":{\"\":\"https://x\"}"),
                      "/images/ wrong-name the name must have 1 to 100 bytes without '$' and '.'");
}

static void counts_are_kept(void **state)
{
    (void)state;
    assert_only_error(
        read_create,
        PRODUCT(",\"tags\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"0\",\"1\",\"2\",\"3\","
                "\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"0\",\"1\"]"),
        "/tags wrong-count must have 0 to 20 elements");
}

static void texts_are_checked(void **state)
{
#define PERSON(password, more) "{\"email\":\"a@b.c\",\"full_name\":\"Ana\",\"password\":\"" password "\"" more "}"
    (void)state;
    assert_only_error(read_register, PERSON("1234567", ""), "/password wrong-length must be 8 to 128 bytes long");
    assert_only_error(read_register, PERSON("12345678\\u0000", ""), "/password wrong-format must be UTF-8 without NUL");
    assert_only_error(read_register, PERSON("12345678", ",\"phone_number\":\"0812\""),
                      "/phone_number wrong-format must be a telephone number in E.164 form, such as +6281234567890");
    assert_only_error(read_register, PERSON("12345678", ",\"password_hash\":\"x\""),
                      "/password_hash unknown-member is no member of this body");
    assert_only_error(read_create, PRODUCT(",\"is_active\":1"), "/is_active wrong-type must be true or false");
    assert_only_error(read_create, PRODUCT(",\"slug\":\"A b\""),
                      "/slug wrong-format must have no ASCII characters but a-z, 0-9 and -_.~");
}

static void a_flood_of_faults_is_cut(void **state)
{
    struct tw_cart_add_item_body body;
    json_t                      *json = json_object();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char name[16];

        snprintf(name, sizeof(name), "m%d", i);
        json_object_set_new(json, name, json_null());
    }
    assert_int_equal(read_add_item(json, &body), TW_INVALID);
    assert_int_equal(errors.count, TW_FIELD_ERRORS_MAX);
    assert_error(0, "/product_id missing is missing"); /* the body's own members come first */
    json_decref(json);
}

static void a_route_can_add_its_own_error(void **state)
{
    (void)state;
    errors.count = 0;
    tw_field_errors_add(&errors, &arena, TW_STR("/email"), TW_BODY_FORMAT, "has no domain");
    assert_error(0, "/email wrong-format has no domain");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_good_body_is_read),
        TEST(a_full_product_is_read),
        TEST(optional_members_may_be_absent_or_null),
        TEST(null_clears_what_absent_leaves_alone),
        TEST(names_that_are_null_in_a_map_are_told),
        TEST(the_bool_behind_a_null_is_no_member),
        TEST(a_body_must_be_an_object),
        TEST(all_faults_are_collected),
        TEST(each_fault_of_an_item_has_its_own_words),
        TEST(money_is_a_text_and_exact),
        TEST(pointers_lead_into_lists_and_maps),
        TEST(counts_are_kept),
        TEST(texts_are_checked),
        TEST(a_flood_of_faults_is_cut),
        TEST(a_route_can_add_its_own_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
