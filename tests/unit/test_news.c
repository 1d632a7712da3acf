/* Links: PkgConfig::JANSSON */
/* Every event there is as a client sees it, by the golden message of its type. */
#include "streams/news.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/codec.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "unit.h"

static struct tw_arena arena;
static struct tw_buf   out;

static const struct {
    const struct tw_type *const *types;
    const size_t                *count;
} lists[] = {
    {tw_shared_events, &tw_shared_event_count},
    {tw_product_events, &tw_product_event_count},
    {tw_cart_events, &tw_cart_event_count},
    {tw_member_events, &tw_member_event_count},
};

#define MEMBER "3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11"

static int teardown(void **state)
{
    (void)state;
    tw_buf_done(&out);
    tw_arena_done(&arena);
    return 0;
}

static struct tw_news *news_of(const char *ce_type, struct tw_str value)
{
    struct tw_header headers[] = {
        {TW_STR(TW_H_ID), TW_STR("cart.commands/3/4711/0")},
        {TW_STR(TW_H_TYPE), tw_str_of(ce_type)},
        {TW_STR(TW_H_TIME), TW_STR("2026-11-23T10:00:00.000Z")},
        {TW_STR(TW_H_COMMAND_ID), TW_STR("0192f5c0-9a00-7c00-8123-456789abcdef")},
    };
    struct tw_record record = {
        .offset = 7, .key = TW_STR(MEMBER), .value = value, .headers = headers, .header_count = TW_LEN(headers)};

    return tw_news_of(&record, 3, &arena);
}

static void read_golden(const char *ce_type, struct tw_buf *bytes)
{
    char         path[200];
    unsigned int byte = 0;

    snprintf(path, sizeof(path), "tests/data/golden/%s.msgpack.hex", ce_type);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fscanf(file, "%2x", &byte) == 1)
        tw_buf_add(bytes, &(unsigned char){(unsigned char)byte}, 1);
    fclose(file);
}

static json_t *written(const struct tw_news *news)
{
    char  *data;
    size_t len;

    tw_buf_clear(&out);
    assert_true(tw_news_write(news, &arena, &out));
    assert_int_equal(out.ptr[out.len - 1], '\n');
    out.ptr[out.len - 1] = '\0';
    data = strstr(out.ptr, "\ndata: ");
    assert_non_null(data);
    data += strlen("\ndata: ");
    len = strlen(data);
    assert_null(memchr(data, '\n', len)); /* one line, whatever stands in it */
    json_t *json = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static json_type form_of(const struct tw_field *field)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_INT:
        return JSON_INTEGER;
    case TW_KIND_LIST:
        return JSON_ARRAY;
    case TW_KIND_MAP:
    case TW_KIND_STRUCT:
        return JSON_OBJECT;
    default:
        return JSON_STRING;
    }
}

/** Golden messages have all their fields. */
static void check_members(const struct tw_type *type, json_t *data)
{
    size_t shown = 0;

    for (size_t i = 0; i < type->layout->field_count; i++) {
        const struct tw_field *field = &type->layout->fields[i];
        const json_t          *member = json_object_get(data, field->name);

        if (field->internal) {
            assert_null(member);
            continue;
        }
        shown++;
        assert_non_null(member);
        assert_true(field->kind == TW_KIND_BOOL ? json_is_boolean(member) : json_typeof(member) == form_of(field));
    }
    assert_int_equal(json_object_size(data), shown);
}

static void check_event(const struct tw_type *type)
{
    struct tw_buf value = {0};

    read_golden(type->ce_type, &value);
    struct tw_news *news = news_of(type->ce_type, tw_buf_str(&value));
    assert_non_null(news);
    json_t *json = written(news);
    assert_string_equal(json_string_value(json_object_get(json, "type")), type->name);
    assert_int_equal(strncmp(out.ptr, "event: ", 7), 0);
    assert_int_equal(strncmp(out.ptr + 7, type->name, strlen(type->name)), 0);
    check_members(type, json_object_get(json, "data"));
    json_decref(json);
    free(news);
    tw_buf_done(&value);
}

static void every_event__becomes_json_by_its_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_LEN(lists); i++) {
        for (size_t j = 0; j < *lists[i].count; j++)
            check_event(lists[i].types[j]);
    }
}

static struct tw_news *news_from(const struct tw_type *type, const void *value)
{
    struct tw_buf packed = {0};

    type->pack(value, &packed);
    struct tw_news *news = news_of(type->ce_type, tw_buf_str(&packed));
    tw_buf_done(&packed);
    return news;
}

static void values__have_the_forms_of_the_http_api(void **state)
{
    struct tw_cart_item_added event = {
        .product_name = TW_STR("Tee \"M\"\nblack"),
        .price_minor = 14900,
        .added = 2,
        .quantity = 3,
        .product_version = 7,
        .version = 4,
        .total_items = 3,
        .total_price_minor = 44700,
        .expires_at_ms = INT64_C(1795428000000),
    };

    (void)state;
    tw_uuid_parse(TW_STR(MEMBER), &event.member_id);
    struct tw_news *news = news_from(&tw_cart_item_added_type, &event);
    tw_buf_clear(&out);
    assert_true(tw_news_write(news, &arena, &out));
    assert_str(tw_buf_str(&out),
               "event: cart.item_added\n"
               "data: {\"id\":\"cart.commands/3/4711/0\",\"type\":\"cart.item_added\","
               "\"time\":\"2026-11-23T10:00:00.000Z\",\"command_id\":\"0192f5c0-9a00-7c00-8123-456789abcdef\","
               "\"data\":{\"member_id\":\"" MEMBER "\",\"product_id\":\"00000000-0000-0000-0000-000000000000\","
               "\"product_name\":\"Tee \\\"M\\\"\\u000ablack\",\"price\":\"149.00\",\"added\":2,\"quantity\":3,"
               "\"product_version\":7,\"version\":4,\"total_items\":3,\"total_price\":\"447.00\","
               "\"expires_at\":\"2026-11-23T10:00:00.000Z\"}}\n");
    free(news);
}

static void member_event__is_of_the_member_it_is_keyed_by(void **state)
{
    struct tw_member_profile_changed event = {.version = 3};
    struct tw_uuid                   member;

    (void)state;
    tw_uuid_parse(TW_STR(MEMBER), &member);
    struct tw_news *news = news_from(&tw_member_profile_changed_type, &event);
    assert_true(tw_uuid_eq(news->owner, member));
    assert_int_equal(news->place, 3);
    assert_int_equal(news->offset, 7);
    free(news);
}

static void outcome__is_its_callers_whatever_its_key(void **state)
{
    struct tw_command_outcome event = {
        .command_type = TW_STR("product.create"), .http_status = 201, .has_caller = true, .caller = {{9}}};

    (void)state;
    struct tw_news *news = news_from(&tw_command_outcome_type, &event);
    assert_true(tw_uuid_eq(news->owner, event.caller));
    free(news);
    event.has_caller = false;
    news = news_from(&tw_command_outcome_type, &event);
    assert_true(tw_uuid_is_nil(news->owner));
    free(news);
}

/** The key of a claim is the identity of an address, which may be another member's, and the event says who wants it. */
static void claim_on_an_address__is_told_to_no_member(void **state)
{
    struct tw_member_email_claim_decided event = {.granted = false, .member_id = {{1}}};

    (void)state;
    struct tw_news *news = news_from(&tw_member_email_claim_decided_type, &event);
    assert_true(tw_uuid_is_nil(news->owner));
    free(news);
}

static void product_event__is_nobodys(void **state)
{
    struct tw_product_rated event = {.member_id = {{1}}, .review_count = 1, .version = 1};

    (void)state;
    struct tw_news *news = news_from(&tw_product_rated_type, &event);
    assert_true(tw_uuid_is_nil(news->owner));
    free(news);
}

static void what_is_unknown_or_broken__is_left_out(void **state)
{
    (void)state;
    assert_null(news_of("cart.item_added.v9", TW_STR("")));
    assert_null(news_of("", TW_STR("")));
    struct tw_news *news = news_of("cart.item_added.v1", TW_STR("\xc1"));
    tw_buf_clear(&out);
    assert_false(tw_news_write(news, &arena, &out));
    assert_int_equal(out.len, 0);
    free(news);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event__becomes_json_by_its_table),
        cmocka_unit_test(values__have_the_forms_of_the_http_api),
        cmocka_unit_test(member_event__is_of_the_member_it_is_keyed_by),
        cmocka_unit_test(outcome__is_its_callers_whatever_its_key),
        cmocka_unit_test(claim_on_an_address__is_told_to_no_member),
        cmocka_unit_test(product_event__is_nobodys),
        cmocka_unit_test(what_is_unknown_or_broken__is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
