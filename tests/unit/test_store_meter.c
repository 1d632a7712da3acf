#include "store_meter.h"

#include <string.h>

#include "tillwire/metrics.h"
#include "unit.h"

/* A store that only says what the test wants. */
static enum tw_rc answer;
static int        calls;

static enum tw_rc watermark(void *self, int32_t partition, struct tw_arena *arena, struct tw_progress *ret_progress,
                            struct tw_err *reterr)
{
    (void)self, (void)partition, (void)arena, (void)reterr;
    ret_progress->next_offset = 42;
    calls++;
    return answer;
}

static enum tw_rc commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    (void)self, (void)changes;
    calls++;
    return answer == TW_OK ? TW_OK : tw_fail(reterr, answer, "test", 0, "as the test wants it");
}

static void release(void *self, int32_t partition)
{
    (void)self;
    calls += 100 + partition;
}

static enum tw_rc set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                           struct tw_err *reterr)
{
    (void)self, (void)reterr;
    assert_int_equal(partition * 1000 + next_offset * 100 + from * 10 + to, 3456);
    return answer;
}

static enum tw_rc list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                       size_t *ret_count, struct tw_err *reterr)
{
    (void)self, (void)reterr;
    assert_true(from_start);
    ret_keys[0].kind = kind;
    *ret_count = max;
    return answer;
}

static enum tw_rc list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                            size_t *ret_count, struct tw_err *reterr)
{
    (void)self, (void)reterr;
    assert_false(from_start);
    ret_ids[0].bytes[0] = (uint8_t)partition;
    *ret_count = max;
    return answer;
}

static const struct tw_store store = {.watermark = watermark,
                                      .commit = commit,
                                      .release = release,
                                      .set_mark = set_mark,
                                      .list = list,
                                      .list_rows = list_rows};

static void calls__that_look_at_a_whole_store_reach_it_too(void **state)
{
    struct tw_store_meter meter;
    struct tw_store       metered;
    struct tw_key         key;
    struct tw_uuid        id;
    size_t                count;

    (void)state;
    tw_store_meter_wrap(&meter, &store, TW_STORE_REDIS, &metered);
    answer = TW_UNKNOWN;
    assert_int_equal(metered.set_mark(metered.self, 3, 4, 5, 6, NULL), TW_UNKNOWN);
    assert_int_equal(metered.list(metered.self, 7, true, &key, 8, &count, NULL), TW_UNKNOWN);
    assert_int_equal(key.kind + count, 15);
    assert_int_equal(metered.list_rows(metered.self, 9, false, &id, 10, &count, NULL), TW_UNKNOWN);
    assert_int_equal(id.bytes[0] + count, 19);
    answer = TW_OK;
}

static void calls__reach_the_store_and_come_back(void **state)
{
    struct tw_store_meter meter;
    struct tw_store       metered;
    struct tw_progress    progress = {0};
    struct tw_err         err = {0};

    (void)state;
    tw_store_meter_wrap(&meter, &store, TW_STORE_MONGODB, &metered);
    assert_int_equal(metered.watermark(metered.self, 0, NULL, &progress, &err), TW_OK);
    assert_int_equal(progress.next_offset, 42);
    answer = TW_FENCED;
    assert_int_equal(metered.commit(metered.self, NULL, &err), TW_FENCED);
    assert_string_equal(err.msg, "as the test wants it");
    metered.release(metered.self, 5);
    assert_int_equal(calls, 107);
}

static void calls__are_counted_by_kind_and_result(void **state)
{
    struct tw_store_meter meter;
    struct tw_store       metered;

    (void)state;
    tw_store_meter_wrap(&meter, &store, tw_store_system_of("redis_uri"), &metered);
    answer = TW_OK;
    for (int i = 0; i < 3; i++)
        metered.commit(metered.self, NULL, NULL);
    answer = TW_FENCED;
    metered.commit(metered.self, NULL, NULL);
    const char *text = tw_metrics_page();
#define COUNT "db_client_operation_duration_seconds_count{db_system_name=\"redis\",db_operation_name=\"commit\""
    assert_non_null(strstr(text, COUNT "} 3\n"));
    assert_non_null(strstr(text, COUNT ",error_type=\"fenced\"} 1\n"));
    assert_null(strstr(text, COUNT ",error_type=\"ok\""));
}

static void the_system__follows_from_the_settings_name(void **state)
{
    (void)state;
    assert_int_equal(tw_store_system_of("postgres_uri"), TW_STORE_POSTGRESQL);
    assert_int_equal(tw_store_system_of("mongo_uri"), TW_STORE_MONGODB);
    assert_int_equal(tw_store_system_of("memory"), TW_STORE_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls__reach_the_store_and_come_back),
        cmocka_unit_test(calls__that_look_at_a_whole_store_reach_it_too),
        cmocka_unit_test(calls__are_counted_by_kind_and_result),
        cmocka_unit_test(the_system__follows_from_the_settings_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
