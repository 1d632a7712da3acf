/* The edge's bounded memories: ids that exist, commands sent last, rates. */
#include <stdlib.h>
#include <string.h>

#include "rate_limits.h"
#include "recent.h"
#include "stores/known_ids.h"
#include "tillwire/base.h"
#include "unit.h"

static struct tw_uuid id_of(uint32_t number)
{
    struct tw_uuid id = {{0}};

    memcpy(id.bytes + 12, &number, sizeof(number));
    return id;
}

static void known_id__is_remembered_and_no_other(void **state)
{
    struct tw_known_ids *ids = tw_alloc(sizeof(*ids));

    (void)state;
    tw_known_ids_init(ids);
    assert_false(tw_known_ids_has(ids, tw_uuid_nil));
    for (uint32_t i = 0; i < 5000; i++)
        tw_known_ids_add(ids, id_of(2 * i));
    int kept = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        kept += tw_known_ids_has(ids, id_of(2 * i));
        assert_false(tw_known_ids_has(ids, id_of(2 * i + 1)));
    }
    assert_true(kept > 4990);
    free(ids);
}

static void known_ids__overwrite_when_full(void **state)
{
    struct tw_known_ids *ids = tw_alloc(sizeof(*ids));

    (void)state;
    tw_known_ids_init(ids);
    for (uint32_t i = 0; i < 4 * TW_KNOWN_SETS * TW_KNOWN_WAYS; i++) {
        tw_known_ids_add(ids, id_of(i));
        assert_true(tw_known_ids_has(ids, id_of(i)));
    }
    free(ids);
}

static void recent_command__is_found_by_its_id(void **state)
{
    struct tw_recent  *recent = tw_recent_new();
    struct tw_location location = {1, 2, 3, 4};
    struct tw_location found;
    struct tw_uuid     caller;

    (void)state;
    assert_false(tw_recent_find(recent, tw_uuid_nil, &caller, &found));
    tw_recent_add(recent, id_of(1), id_of(77), &location);
    assert_true(tw_recent_find(recent, id_of(1), &caller, &found));
    assert_true(tw_uuid_eq(caller, id_of(77)));
    assert_int_equal(found.offset, 3);
    assert_false(tw_recent_find(recent, id_of(1 + 16384), &caller, &found)); /* same place, another command */
    tw_recent_add(recent, id_of(1 + 16384), id_of(77), &location);
    assert_false(tw_recent_find(recent, id_of(1), &caller, &found));
    tw_recent_free(recent);
}

static const struct tw_limit five_a_minute = {"login", 5, 60};
static const struct tw_limit others = {"registration", 5, 60};

static void rate__allows_a_burst_then_one_at_a_time(void **state)
{
    struct tw_limits *limits = tw_limits_new();

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000), 0);
    assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000), 12);
    assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000 + 11999), 1);
    assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000 + 12000), 0);
    assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000 + 12000), 12);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000 + 73000), 0);
    tw_limits_free(limits);
}

static void rates__are_counted_by_kind_and_key(void **state)
{
    struct tw_limits *limits = tw_limits_new();

    (void)state;
    for (int i = 0; i < 5; i++)
        tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000);
    assert_int_equal(tw_limits_take(limits, &five_a_minute, TW_STR("bob"), 1000), 0);
    assert_int_equal(tw_limits_take(limits, &others, TW_STR("ada"), 1000), 0);
    assert_int_not_equal(tw_limits_take(limits, &five_a_minute, TW_STR("ada"), 1000), 0);
    tw_limits_free(limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_id__is_remembered_and_no_other),
        cmocka_unit_test(known_ids__overwrite_when_full),
        cmocka_unit_test(recent_command__is_found_by_its_id),
        cmocka_unit_test(rate__allows_a_burst_then_one_at_a_time),
        cmocka_unit_test(rates__are_counted_by_kind_and_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
