#include "auth/refresh_token.h"

#include <string.h>

#include "unit.h"

#define ROW    "7d0b1e52-43aa-8f0e-b1c5-91f3e7a4c820"
#define SECRET "pV3kD0c8mF2hQ7sZx1nT5bYwR9aLjE4uG6iOoP0qKtM"

static void token__names_its_row_and_hides_a_new_secret_each_time(void **state)
{
    struct tw_uuid row, read;
    char           first[TW_REFRESH_TEXT + 1];
    char           second[TW_REFRESH_TEXT + 1];

    (void)state;
    assert_true(tw_uuid_parse(tw_str_of(ROW), &row));
    tw_refresh_token_make(row, first);
    tw_refresh_token_make(row, second);
    assert_int_equal(strlen(first), TW_REFRESH_TEXT);
    assert_int_equal(strncmp(first, ROW ".", TW_UUID_TEXT + 1), 0);
    assert_string_not_equal(first, second);
    assert_true(tw_refresh_token_parse(tw_str_of(first), &read));
    assert_true(tw_uuid_eq(read, row));
}

static void text_of_another_form__names_no_row(void **state)
{
    static const char *const wrong[] = {
        "",
        ".",
        ROW,
        ROW ".",
        ROW "." SECRET "A",
        ROW "." SECRET "=",
        ROW " " SECRET,
        ROW ".pV3kD0c8mF2hQ7sZx1nT5bYwR9aLjE4uG6iOoP0qKt",
        ROW ".pV3kD0c8mF2hQ7sZx1nT5bYwR9aLjE4uG6iOoP0qKt+",
        ROW ".pV3kD0c8mF2hQ7sZx1nT5bYwR9aLjE4uG6iOoP0qKt'",
        "7d0b1e52-43aa-8f0e-b1c5-91f3e7a4c82g." SECRET,
        "7d0b1e5243aa-8f0e-b1c5-91f3e7a4c820-." SECRET,
        "'; drop table members; --            ." SECRET,
    };
    struct tw_uuid row;

    (void)state;
    assert_true(tw_refresh_token_parse(tw_str_of(ROW "." SECRET), &row));
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        struct tw_str guarded = tw_guarded(tw_str_of(wrong[i]));
        assert_false(tw_refresh_token_parse(guarded, &row));
        tw_guarded_free(guarded);
    }
    assert_false(tw_refresh_token_parse(
        (struct tw_str) {
            ROW
            "." SECRET "\0", TW_REFRESH_TEXT + 1
        },
        &row));
}

/** By sha256sum. */
static void hash__is_sha_256_of_the_whole_text(void **state)
{
    static const uint8_t expected[TW_TOKEN_HASH_BYTES] = {
        0x34, 0x0a, 0xa2, 0x90, 0xb2, 0x45, 0xf0, 0xad, 0xe3, 0xb7, 0x81, 0xc6, 0xf2, 0xa9, 0xd6, 0xa6,
        0x8e, 0x10, 0x61, 0xb4, 0xd3, 0xe9, 0xe6, 0x1f, 0xaa, 0x19, 0x8f, 0xbb, 0x1f, 0x54, 0x33, 0x28,
    };
    uint8_t hash[TW_TOKEN_HASH_BYTES];

    (void)state;
    tw_token_hash(tw_str_of(ROW "." SECRET), hash);
    assert_memory_equal(hash, expected, sizeof(hash));
    assert_true(tw_token_hash_is_of(expected, tw_str_of(ROW "." SECRET)));
    assert_false(tw_token_hash_is_of(expected, tw_str_of("7D0b1e52-43aa-8f0e-b1c5-91f3e7a4c820." SECRET)));
    assert_false(tw_token_hash_is_of(expected, tw_str_of(SECRET)));
    for (size_t i = 0; i < sizeof(hash); i++) {
        hash[i] ^= 0x10;
        assert_false(tw_token_hash_is_of(hash, tw_str_of(ROW "." SECRET)));
        hash[i] ^= 0x10;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token__names_its_row_and_hides_a_new_secret_each_time),
        cmocka_unit_test(text_of_another_form__names_no_row),
        cmocka_unit_test(hash__is_sha_256_of_the_whole_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
