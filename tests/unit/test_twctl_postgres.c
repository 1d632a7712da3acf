/* Links: tw_ctl PkgConfig::PQ */
#include "postgres.h"
#include "unit.h"

static const uint8_t id_key[TW_ID_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[TW_ID_KEY_BYTES] = {1, 2, 4};

static struct tw_ctl_meta pinned(void)
{
    struct tw_ctl_meta meta = {.schema_version = 3, .folding_version = "1"};

    tw_id_key_check(id_key, meta.id_key_check);
    return meta;
}

static void pins__of_this_key_and_folding_are_fine(void **state)
{
    struct tw_ctl_meta meta = pinned();

    (void)state;
    assert_null(tw_ctl_meta_conflict(&meta, id_key));
}

static void pins__that_are_not_there_yet_are_fine(void **state)
{
    struct tw_ctl_meta meta = {0};

    (void)state;
    assert_null(tw_ctl_meta_conflict(&meta, id_key));
}

static void pins__of_another_key_are_refused(void **state)
{
    struct tw_ctl_meta meta = pinned();

    (void)state;
    assert_non_null(tw_ctl_meta_conflict(&meta, other_key));
}

static void pins__of_another_folding_are_refused(void **state)
{
    struct tw_ctl_meta meta = pinned();

    (void)state;
    meta.folding_version[0] = '2';
    assert_non_null(tw_ctl_meta_conflict(&meta, id_key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pins__of_this_key_and_folding_are_fine),
        cmocka_unit_test(pins__that_are_not_there_yet_are_fine),
        cmocka_unit_test(pins__of_another_key_are_refused),
        cmocka_unit_test(pins__of_another_folding_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
