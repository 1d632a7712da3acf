#include "opaque.h"

#include <string.h>

#include "unit.h"

static const uint8_t            key[TW_OPAQUE_KEY_BYTES] = {1, 2, 3};
static const uint8_t            other_key[TW_OPAQUE_KEY_BYTES] = {1, 2, 4};
static const struct tw_uuid     command = {{1, 0x92, 0xf5}};
static const struct tw_uuid     caller = {{0x3e, 0x7c}};
static const struct tw_location location = {3, 1023, (INT64_C(1) << 47) + 5, INT64_C(1795432108123)};

static void location__comes_back_as_it_was_sealed(void **state)
{
    struct tw_location opened;
    struct tw_uuid     from;
    char               text[TW_LOCATION_TEXT + 1];

    (void)state;
    tw_location_seal(key, command, caller, &location, text);
    assert_int_equal(strlen(text), TW_LOCATION_TEXT);
    assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                     TW_LOCATION_TEXT);
    assert_true(tw_location_open(key, command, tw_str_of(text), &from, &opened));
    assert_true(tw_uuid_eq(from, caller));
    assert_int_equal(opened.type, location.type);
    assert_int_equal(opened.partition, location.partition);
    assert_int_equal(opened.offset, location.offset);
    assert_int_equal(opened.submitted_ms, location.submitted_ms);
}

static void location__is_of_one_command_and_key(void **state)
{
    struct tw_location opened;
    struct tw_uuid     from;
    struct tw_uuid     other_command = {{1, 0x92, 0xf6}};
    char               text[TW_LOCATION_TEXT + 1];

    (void)state;
    tw_location_seal(key, command, caller, &location, text);
    assert_false(tw_location_open(key, other_command, tw_str_of(text), &from, &opened));
    assert_false(tw_location_open(other_key, command, tw_str_of(text), &from, &opened));
}

static void location__with_any_changed_character_is_refused(void **state)
{
    struct tw_location opened;
    struct tw_uuid     from;
    char               text[TW_LOCATION_TEXT + 1];

    (void)state;
    tw_location_seal(key, command, caller, &location, text);
    for (size_t i = 0; i < TW_LOCATION_TEXT; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        assert_false(tw_location_open(key, command, tw_str_of(text), &from, &opened));
        text[i] = kept;
        assert_false(tw_location_open(key, command, (struct tw_str){text, i}, &from, &opened));
    }
    assert_false(tw_location_open(key, command, TW_STR(""), &from, &opened));
}

static void consistency_token__comes_back_or_is_refused(void **state)
{
    struct tw_consistency consistency = {TW_DOMAIN_CART, 5, INT64_C(123456789012)};
    struct tw_consistency opened;
    char                  text[TW_CONSISTENCY_TEXT + 1];

    (void)state;
    tw_consistency_seal(key, &consistency, text);
    assert_int_equal(strlen(text), TW_CONSISTENCY_TEXT);
    assert_true(tw_consistency_open(key, tw_str_of(text), &opened));
    assert_int_equal(opened.domain, consistency.domain);
    assert_int_equal(opened.partition, consistency.partition);
    assert_int_equal(opened.offset, consistency.offset);
    assert_false(tw_consistency_open(other_key, tw_str_of(text), &opened));
    for (size_t i = 0; i < TW_CONSISTENCY_TEXT; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        assert_false(tw_consistency_open(key, tw_str_of(text), &opened));
        text[i] = kept;
    }
}

static struct tw_arena arena;

static void cursor__comes_back_as_it_was_sealed(void **state)
{
    static const char position[] = "\x00\x01\xff of any bytes";
    struct tw_str     list = TW_STR("members status=ACTIVE");
    struct tw_str     opened;

    (void)state;
    for (size_t len = 0; len < sizeof(position); len++) {
        struct tw_str text = tw_cursor_seal(key, list, (struct tw_str){position, len}, &arena);

        assert_int_equal(strspn(text.ptr, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         text.len);
        assert_true(tw_cursor_open(key, list, text, &arena, &opened));
        assert_int_equal(opened.len, len);
        assert_memory_equal(opened.ptr, position, len);
    }
    tw_arena_done(&arena);
}

static void cursor__is_of_one_list_and_key(void **state)
{
    struct tw_str list = TW_STR("members status=ACTIVE");
    struct tw_str text = tw_cursor_seal(key, list, TW_STR("place"), &arena);
    struct tw_str opened;

    (void)state;
    assert_false(tw_cursor_open(key, TW_STR("members status=ACTIVX"), text, &arena, &opened));
    assert_false(tw_cursor_open(key, TW_STR("members status="), text, &arena, &opened));
    assert_false(tw_cursor_open(other_key, list, text, &arena, &opened));
    tw_arena_done(&arena);
}

static void cursor__with_any_changed_character_is_refused(void **state)
{
    struct tw_str list = TW_STR("members");
    struct tw_str sealed = tw_cursor_seal(key, list, TW_STR("place"), &arena);
    struct tw_str opened;
    char          text[64];

    (void)state;
    assert_true(sealed.len < sizeof(text));
    memcpy(text, sealed.ptr, sealed.len);
    for (size_t i = 0; i < sealed.len; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        assert_false(tw_cursor_open(key, list, (struct tw_str){text, sealed.len}, &arena, &opened));
        text[i] = kept;
        assert_false(tw_cursor_open(key, list, (struct tw_str){text, i}, &arena, &opened));
    }
    tw_arena_done(&arena);
}

static void texts__of_another_kind_are_no_cursor(void **state)
{
    struct tw_consistency consistency = {TW_DOMAIN_CART, 5, 7};
    struct tw_str         opened;
    char                  text[TW_CONSISTENCY_TEXT + 1];

    (void)state;
    tw_consistency_seal(key, &consistency, text);
    assert_false(tw_cursor_open(key, TW_STR(""), tw_str_of(text), &arena, &opened));
    assert_false(tw_cursor_open(key, TW_STR(""), TW_STR(""), &arena, &opened));
    tw_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(location__comes_back_as_it_was_sealed),
        cmocka_unit_test(location__is_of_one_command_and_key),
        cmocka_unit_test(location__with_any_changed_character_is_refused),
        cmocka_unit_test(consistency_token__comes_back_or_is_refused),
        cmocka_unit_test(cursor__comes_back_as_it_was_sealed),
        cmocka_unit_test(cursor__is_of_one_list_and_key),
        cmocka_unit_test(cursor__with_any_changed_character_is_refused),
        cmocka_unit_test(texts__of_another_kind_are_no_cursor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
