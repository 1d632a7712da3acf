/* The edge's bounded memories: ids that exist, commands sent last, rates. */
#include <stdio.h>
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

/* --- rates -------------------------------------------------------------------------------------------------------- */

static const struct tw_limit five_a_minute = {"login", {5, 60}};
static const struct tw_limit others = {"registration", {5, 60}};
static const struct tw_limit many = {"reads", {30000, 60}};

static struct tw_limits *limits;

static int limits_setup(void **state)
{
    (void)state;
    limits = tw_limits_new();
    return 0;
}

static int limits_teardown(void **state)
{
    (void)state;
    tw_limits_free(limits);
    return 0;
}

/** Takes one at @p now_ms; then so many are left, and all is back (or one fits) after @p reset_s. */
static void takes(const struct tw_limit *limit, struct tw_str key, int64_t now_ms, bool fits, int left, int reset_s)
{
    struct tw_allowance allowance;

    assert_int_equal(tw_limits_take(limits, limit, key, 1000 * now_ms, &allowance), fits);
    assert_int_equal(allowance.left, left);
    assert_int_equal(allowance.reset_s, reset_s);
}

static void rate__allows_a_burst_then_one_at_a_time(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        takes(&five_a_minute, TW_STR("ada"), 1000, true, 4 - i, 12 * (i + 1));
    takes(&five_a_minute, TW_STR("ada"), 1000, false, 0, 12);
    takes(&five_a_minute, TW_STR("ada"), 1000 + 11999, false, 0, 1);
    takes(&five_a_minute, TW_STR("ada"), 1000 + 12000, true, 0, 60);
    takes(&five_a_minute, TW_STR("ada"), 1000 + 12000, false, 0, 12);
    for (int i = 0; i < 5; i++)
        takes(&five_a_minute, TW_STR("ada"), 1000 + 73000, true, 4 - i, 12 * (i + 1));
}

static void rate__of_more_than_one_a_millisecond_is_exact(void **state)
{
    static const struct tw_limit fast = {"fast", {120000, 60}};

    (void)state;
    for (int i = 0; i < 120000; i++)
        takes(&fast, TW_STR("ada"), 1000, true, 119999 - i, i / 2000 + 1);
    takes(&fast, TW_STR("ada"), 1000, false, 0, 1);
    takes(&fast, TW_STR("ada"), 1001, true, 1, 60);
}

static void rates__are_counted_by_kind_and_key(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        takes(&five_a_minute, TW_STR("ada"), 1000, true, 4 - i, 12 * (i + 1));
    takes(&five_a_minute, TW_STR("bob"), 1000, true, 4, 12);
    takes(&others, TW_STR("ada"), 1000, true, 4, 12);
    takes(&five_a_minute, TW_STR("ada"), 1000, false, 0, 12);
    takes(&five_a_minute, TW_STR(""), 1000, true, 4, 12);
}

/** Memory is bounded; what makes room are the keys that owe least, so that nobody forgets his failed logins by reading
 *  from a hundred thousand addresses. */
static void flood_of_keys__does_not_make_a_strict_limit_forget(void **state)
{
    char address[16];

    (void)state;
    for (int i = 0; i < 5; i++)
        takes(&five_a_minute, TW_STR("ada"), 1000, true, 4 - i, 12 * (i + 1));
    for (int i = 0; i < 100000; i++) {
        snprintf(address, sizeof(address), "%d", i);
        takes(&many, tw_str_of(address), 1000, true, 29999, 1);
    }
    takes(&five_a_minute, TW_STR("ada"), 1000, false, 0, 12);
}

int main(void)
{
#define RATE(name) cmocka_unit_test_setup_teardown(name, limits_setup, limits_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_id__is_remembered_and_no_other),   cmocka_unit_test(known_ids__overwrite_when_full),
        cmocka_unit_test(recent_command__is_found_by_its_id),     RATE(rate__allows_a_burst_then_one_at_a_time),
        RATE(rate__of_more_than_one_a_millisecond_is_exact),      RATE(rates__are_counted_by_kind_and_key),
        RATE(flood_of_keys__does_not_make_a_strict_limit_forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
