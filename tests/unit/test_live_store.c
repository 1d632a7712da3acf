/* A store that is to be read as the truth (workers/replay/live_store.c): the one in memory, and a log of arrays. */
#include "live_store.h"

#include "array_source.h"
#include "filled_store.h"
#include "memory_store.h"
#include "sample_states.h"
#include "unit.h"

enum { PARTITIONS = 3 };

static const struct tw_filling filling = {&tw_sample_carts, 5, 2, 0, PARTITIONS};

static void a_store__is_known_by_any_partition_that_was_folded(void **state)
{
    struct tw_progress vector[PARTITIONS];
    struct tw_store    store;
    struct tw_err      err;
    bool               was = true;

    (void)state;
    tw_memory_store_open(filling.samples->domain, &store);
    assert_rc(tw_live_store_was_folded(&store, PARTITIONS, &was, &err), TW_OK, err);
    assert_false(was);
    tw_fill_store(&store, &filling, vector);
    assert_rc(tw_live_store_was_folded(&store, PARTITIONS, &was, &err), TW_OK, err);
    assert_true(was);
    tw_memory_store_close(&store);
}

static void a_log_with_records__is_not_that_of_a_store_nothing_was_folded_into(void **state)
{
    struct tw_array_source array = {.high = 7};
    struct tw_test_log     nothing = {0};
    struct tw_source       log;
    struct tw_err          err;

    (void)state;
    tw_array_source_open(&array, &nothing, &log);
    array.high = 0;
    assert_rc(tw_live_store_check_log(&log, PARTITIONS, "redis_uri", &err), TW_OK, err);
    array.low = 3; /* those at its beginning are gone, but there were some */
    array.high = 3;
    assert_int_equal(tw_live_store_check_log(&log, PARTITIONS, "redis_uri", &err), TW_BROKEN);
    assert_string_equal(err.msg, "nothing was ever folded into this store, and its log has 9 records: is redis_uri the "
                                 "right one? If it is, start the worker");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store__is_known_by_any_partition_that_was_folded),
        cmocka_unit_test(a_log_with_records__is_not_that_of_a_store_nothing_was_folded_into),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
