/* Links: PkgConfig::RDKAFKA */
/* What a partition does when it meets a mark: on the store in memory and without a broker, so nothing can be published
 * and no log can be asked. What needs a broker, an outbox that is left over, is in tests/integration/test_worker.c. */
#include "partition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cart_domain.h"
#include "memory_store.h"
#include "records.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"
#include "unit.h"

enum { PARTITION = 3, PARTITIONS = 6, LEASE_US = TW_LEASE_MS * 1000 };

struct world {
    struct tw_store         store;
    struct tw_partition_env env;
    struct tw_partition    *partition;
    int64_t                 mark; /* that the test set */
};

static int set_up(void **state)
{
    struct tw_publisher_options options = {.brokers = "127.0.0.1:1",
                                           .client_id = "test",
                                           .domain = "cart",
                                           .events_topic = "cart.events",
                                           .dlq_topic = "cart.dlq",
                                           .queue_kbytes = 64};
    struct world               *world = tw_alloc_zeroed(1, sizeof(*world));

    tw_memory_store_open(&tw_cart_domain, &world->store);
    world->env = (struct tw_partition_env){
        .turn = {.domain = &tw_cart_domain, .store = &world->store, .partition_count = PARTITIONS},
        .commands_topic = "cart.commands",
        .dlq_topic = "cart.dlq",
        .batch = {.all_records = 100},
        .cache_bytes = 1 << 16,
        .broker_timeout_ms = 1,
    };
    assert_int_equal(tw_publisher_open(&options, &world->env.publisher, NULL), TW_OK);
    assert_int_equal(tw_reader_open("127.0.0.1:1", "test", &world->env.reader, NULL), TW_OK);
    world->partition = tw_partition_new(&world->env, PARTITION);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    tw_partition_free(world->partition, 0);
    tw_publisher_close(world->env.publisher, 0);
    tw_reader_close(world->env.reader);
    tw_memory_store_close(&world->store);
    tw_arena_done(&world->env.arena);
    free(world);
    return 0;
}

static void set_mark(struct world *world, int64_t mark)
{
    assert_int_equal(world->store.set_mark(world->store.self, PARTITION, 0, world->mark, mark, NULL), TW_OK);
    world->mark = mark;
}

static int64_t stored_mark(struct world *world)
{
    struct tw_progress progress;

    assert_int_equal(world->store.watermark(world->store.self, PARTITION, &world->env.arena, &progress, NULL), TW_OK);
    return progress.mark;
}

/* As if the time for it had come. */
static void step(struct world *world)
{
    world->partition->retry_at_us = 0;
    assert_int_equal(tw_partition_step(world->partition, NULL), TW_OK);
}

/* Idle, at its watermark. */
static void given_it_runs(struct world *world)
{
    world->partition->state = TW_PARTITION_RUNNING;
    world->partition->swept_at_us = tw_monotonic_us();
    world->partition->checked_at_us = 0;
}

static long metric(const char *name)
{
    char        line[64];
    const char *found;

    snprintf(line, sizeof(line), "\n%s ", name);
    found = strstr(tw_metrics_page(), line);
    assert_non_null(found);
    return strtol(found + strlen(line), NULL, 10);
}

static void a_frozen_partition__waits_for_good_without_trouble_or_back_off(void **state)
{
    struct world *world = *state;
    long          recoveries = metric("tillwire_recoveries_total");

    set_mark(world, 7);
    for (int looks = 0; looks < 20; looks++) {
        int64_t before_us = tw_monotonic_us();

        step(world);
        assert_true(tw_partition_is_frozen(world->partition));
        assert_int_equal(world->partition->state, TW_PARTITION_RECOVERING);
        assert_in_range(world->partition->retry_at_us, before_us + 1, tw_monotonic_us() + 200000);
        assert_int_equal(world->partition->backoff_ms, 0);
    }
    assert_int_equal(stored_mark(world), 7);
    assert_int_equal(metric("tillwire_frozen_partitions"), 1);
    assert_int_equal(metric("tillwire_recoveries_total"), recoveries);
}

static void a_frozen_partition__looks_again_only_when_it_is_time(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    world->partition->retry_at_us = tw_monotonic_us() + LEASE_US;
    set_mark(world, 0);
    assert_int_equal(tw_partition_step(world->partition, NULL), TW_OK);
    assert_true(tw_partition_is_frozen(world->partition));
}

static void an_idle_partition__finds_the_mark_and_forgets_what_it_kept(void **state)
{
    struct world *world = *state;
    struct tw_key key = {.id = tw_test_uuid(1)};
    struct tw_str packed;
    int64_t       guard;

    given_it_runs(world);
    tw_cache_put(world->partition->cache, &key, TW_STR("state"), 0);
    set_mark(world, -7);
    assert_int_equal(tw_partition_step(world->partition, NULL), TW_OK);
    assert_true(tw_partition_is_frozen(world->partition));
    assert_int_equal(world->partition->state, TW_PARTITION_RECOVERING);
    assert_false(
        tw_cache_get(world->partition->cache, &key, &packed, &guard)); /* another store may come in its place */
    step(world);
    assert_true(tw_partition_is_frozen(world->partition));
}

static void a_thawed_partition__goes_back_to_its_watermark(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    set_mark(world, 0);
    step(world);
    assert_false(tw_partition_is_frozen(world->partition));
    assert_int_equal(world->partition->mark, 0);
    assert_int_equal(world->partition->last_error.rc, TW_UNREACHED); /* it asks for the log, and there is no broker */
    assert_int_equal(metric("tillwire_frozen_partitions"), 0);
}

static void a_lease_nobody_renews__is_taken_away(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    world->partition->mark_since_us = tw_monotonic_us() - LEASE_US + 1000000;
    step(world);
    assert_int_equal(stored_mark(world), 7); /* not yet */
    world->partition->mark_since_us = tw_monotonic_us() - LEASE_US;
    step(world);
    assert_int_equal(stored_mark(world), 0);
    assert_int_equal(tw_partition_step(world->partition, NULL), TW_OK); /* at once */
    assert_int_equal(world->partition->mark, 0);
    assert_int_equal(metric("tillwire_frozen_partitions"), 0);
}

static void a_lease_that_is_renewed__begins_anew(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    world->partition->mark_since_us = tw_monotonic_us() - LEASE_US;
    set_mark(world, 8);
    for (int looks = 0; looks < 3; looks++)
        step(world);
    assert_int_equal(stored_mark(world), 8);
    assert_true(tw_partition_is_frozen(world->partition));
    assert_int_equal(metric("tillwire_frozen_partitions"), 1);
}

static void a_lasting_mark__is_never_taken_away(void **state)
{
    struct world *world = *state;

    set_mark(world, -7);
    step(world);
    world->partition->mark_since_us = tw_monotonic_us() - INT64_C(1000) * LEASE_US;
    step(world);
    assert_int_equal(stored_mark(world), -7);
    assert_true(tw_partition_is_frozen(world->partition));
}

/* A store that is away is trouble like any other, and no reason to take anything for thawed. */
static void a_frozen_partition__whose_store_is_away_says_so(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    tw_memory_fail(tw_memory_store_db(&world->store), 1, TW_UNREACHED);
    step(world);
    assert_false(tw_partition_is_frozen(world->partition));
    assert_int_equal(world->partition->last_error.rc, TW_UNREACHED);
    assert_int_equal(metric("tillwire_frozen_partitions"), 1);
    step(world);
    assert_true(tw_partition_is_frozen(world->partition));
    assert_int_equal(metric("tillwire_frozen_partitions"), 1);
}

static void a_frozen_partition__that_leaves_is_counted_no_more(void **state)
{
    struct world *world = *state;

    set_mark(world, 7);
    step(world);
    assert_int_equal(metric("tillwire_frozen_partitions"), 1);
    tw_partition_free(world->partition, 0);
    world->partition = NULL;
    assert_int_equal(metric("tillwire_frozen_partitions"), 0);
    assert_int_equal(stored_mark(world), 7);
}

int main(void)
{
#define PARTITION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PARTITION_TEST(a_frozen_partition__waits_for_good_without_trouble_or_back_off),
        PARTITION_TEST(a_frozen_partition__looks_again_only_when_it_is_time),
        PARTITION_TEST(an_idle_partition__finds_the_mark_and_forgets_what_it_kept),
        PARTITION_TEST(a_thawed_partition__goes_back_to_its_watermark),
        PARTITION_TEST(a_lease_nobody_renews__is_taken_away),
        PARTITION_TEST(a_lease_that_is_renewed__begins_anew),
        PARTITION_TEST(a_lasting_mark__is_never_taken_away),
        PARTITION_TEST(a_frozen_partition__whose_store_is_away_says_so),
        PARTITION_TEST(a_frozen_partition__that_leaves_is_counted_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
