/* Links: PkgConfig::RDKAFKA */
/* What a partition does when it meets a mark: on the store in memory and without a broker, so nothing can be published
 * and no log can be asked. What needs a broker, an outbox that is left over, is in tests/integration/test_worker.c.
 *
 * And how large the batches are that it tries behind a link that is too narrow for them: with a log of its own, on
 * librdkafka's mock of a broker. */
#include "partition.h"

#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cart_domain.h"
#include "memory_store.h"
#include "records.h"
#include "tillwire/clock.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/metrics.h"
#include "unit.h"

enum { PARTITION = 3, PARTITIONS = 6, LEASE_US = TW_LEASE_MS * 1000, TRIED_MAX = 32 };

/* Between the partition and its store: commits of more records than pass fail. */
struct link {
    enum tw_rc (*commit)(void *self, const struct tw_changes *changes, struct tw_err *reterr); /* of the store */
    int64_t    width;
    enum tw_rc too_narrow;
    int64_t    tried[TRIED_MAX]; /* records of each commit */
    size_t     tried_count;
};

struct world {
    int32_t                 number;
    struct tw_store         store;
    struct tw_partition_env env;
    struct tw_partition    *partition;
    int64_t                 mark; /* that the test set */
    struct link             link;
    struct tw_test_log      log;
};

static void open_world(struct world *world, int32_t number)
{
    world->number = number;
    tw_memory_store_open(&tw_cart_domain, &world->store);
    world->env.turn =
        (struct tw_turn_config){.domain = &tw_cart_domain, .store = &world->store, .partition_count = PARTITIONS};
    world->env.commands_topic = "cart.commands";
    world->env.dlq_topic = "cart.dlq";
    world->env.batch = tw_cut_limits_of(&tw_cart_domain, 100, 1 << 20);
    world->env.cache_bytes = 1 << 16;
    world->env.broker_timeout_ms = 1;
    world->partition = tw_partition_new(&world->env, number);
}

static void close_world(struct world *world)
{
    tw_partition_free(world->partition, 0);
    tw_memory_store_close(&world->store);
    tw_arena_done(&world->env.arena);
}

static void open_clients(const char *brokers, struct tw_publisher **ret_publisher, struct tw_reader **ret_reader)
{
    struct tw_publisher_options options = {.brokers = brokers,
                                           .client_id = "test",
                                           .domain = "cart",
                                           .events_topic = "cart.events",
                                           .dlq_topic = "cart.dlq",
                                           .queue_kbytes = 64};

    assert_int_equal(tw_publisher_open(&options, ret_publisher, NULL), TW_OK);
    assert_int_equal(tw_reader_open(brokers, "test", ret_reader, NULL), TW_OK);
}

static int set_up(void **state)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    open_clients("127.0.0.1:1", &world->env.publisher, &world->env.reader);
    open_world(world, PARTITION);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    close_world(world);
    tw_publisher_close(world->env.publisher, 0);
    tw_reader_close(world->env.reader);
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
    world->partition->mark_since_us = tw_monotonic_us() - LEASE_US / 2;
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

/* --- a link that is too narrow ----------------------------------------------------------------------------------- */

/* One broker for all of these tests, because clients take a second to come and to go: each has a partition of its own. */
static struct {
    rd_kafka_t              *host; /* carries the mock */
    rd_kafka_mock_cluster_t *cluster;
    struct tw_publisher     *publisher;
    struct tw_reader        *reader;
    struct tw_producer      *producer;
    rd_kafka_t              *consumer;
    uint32_t                 written;
    int32_t                  tests;
    struct world            *world; /* of the test */
} lab;

static rd_kafka_t *new_client(rd_kafka_type_t type, const char *brokers)
{
    const char *const options[][2] = {
        {"bootstrap.servers", brokers}, {"group.id", "test"}, {"fetch.wait.max.ms", "10"}, {"log_level", "0"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char             text[256];
    rd_kafka_t      *client;

    for (size_t i = 0; i < TW_LEN(options); i++)
        assert_int_equal(rd_kafka_conf_set(conf, options[i][0], options[i][1], text, sizeof(text)), RD_KAFKA_CONF_OK);
    client = rd_kafka_new(type, conf, text, sizeof(text));
    assert_non_null(client);
    return client;
}

static void count_written(void *self, const struct tw_report *report)
{
    (void)self;
    assert_int_equal(report->rc, TW_OK);
    lab.written++;
}

static int open_lab(void **state)
{
    static const char *const   topics[] = {"cart.commands", "cart.events", "cart.dlq"};
    struct tw_producer_options options = {.client_id = "test", .queue_kbytes = 1024, .report = count_written};

    (void)state;
    lab.host = new_client(RD_KAFKA_PRODUCER, "127.0.0.1:1");
    lab.cluster = rd_kafka_mock_cluster_new(lab.host, 1);
    for (size_t i = 0; i < TW_LEN(topics); i++)
        rd_kafka_mock_topic_create(lab.cluster, topics[i], PARTITIONS, 1);
    options.brokers = rd_kafka_mock_cluster_bootstraps(lab.cluster);
    open_clients(options.brokers, &lab.publisher, &lab.reader);
    assert_int_equal(tw_producer_open(&options, &lab.producer, NULL), TW_OK);
    lab.consumer = new_client(RD_KAFKA_CONSUMER, options.brokers);
    rd_kafka_poll_set_consumer(lab.consumer);
    return 0;
}

static int close_lab(void **state)
{
    (void)state;
    tw_publisher_close(lab.publisher, 0);
    tw_reader_close(lab.reader);
    tw_producer_close(lab.producer, 0);
    rd_kafka_consumer_close(lab.consumer);
    rd_kafka_destroy(lab.consumer);
    rd_kafka_mock_cluster_destroy(lab.cluster);
    rd_kafka_destroy(lab.host);
    return 0;
}

static enum tw_rc commit_through_link(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct link *link = &lab.world->link;
    int64_t      count = changes->after.next_offset - changes->first_offset;

    assert_in_range(link->tried_count, 0, TRIED_MAX - 1);
    link->tried[link->tried_count++] = count;
    if (count <= link->width)
        return link->commit(self, changes, reterr);
    lab.world->store.abandon(self, changes->partition);
    return tw_fail(reterr, link->too_narrow, "test", 0, "no answer in time");
}

static int set_up_behind_a_link(void **state)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    assert_in_range(lab.tests, 0, PARTITIONS - 1);
    open_world(world, lab.tests++);
    world->env.publisher = lab.publisher;
    world->env.reader = lab.reader;
    world->env.broker_timeout_ms = 10000;
    world->link.commit = world->store.commit;
    world->store.commit = commit_through_link;
    tw_test_log_init(&world->log, world->number, PARTITIONS);
    *state = lab.world = world;
    return 0;
}

static int tear_down_behind_the_link(void **state)
{
    struct world *world = *state;

    close_world(world);
    tw_test_log_done(&world->log);
    free(world);
    return 0;
}

static void write_log(const struct world *world)
{
    struct tw_err err;

    lab.written = 0;
    for (uint32_t i = 0; i < world->log.len; i++)
        assert_rc(tw_producer_send_record(lab.producer, "cart.commands", &world->log.records[i], NULL, &err), TW_OK,
                  err);
    for (int polls = 0; lab.written < world->log.len; polls++) {
        assert_in_range(polls, 0, 1000);
        tw_producer_poll(lab.producer, 100);
    }
}

/* So many commands in its log, and a link on which commits of at most @p width records pass. */
static void given_a_link(struct world *world, uint32_t records, int64_t width, enum tw_rc too_narrow)
{
    world->link.width = width;
    world->link.too_narrow = too_narrow;
    for (uint32_t i = 0; i < records; i++) {
        struct tw_cart_add_item body = {.member_id = tw_test_id(&world->log, i),
                                        .product_id = tw_test_uuid(1000),
                                        .quantity = 1,
                                        .product_name = TW_STR("Tea"),
                                        .price_minor = 450,
                                        .product_version = 1};
        struct tw_envelope      envelope =
            tw_test_envelope(&world->log, &tw_cart_add_item_type, tw_test_command_id(&world->log, TW_DOMAIN_CART, i));

        tw_test_append(&world->log, &tw_cart_add_item_type, body.member_id, &body, &envelope);
    }
    write_log(world);
}

/* As the loop does for a partition that is ready: all there is, from where it wants it. */
static void fetch(struct world *world)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    assert_int_equal(world->partition->state, TW_PARTITION_READY);
    world->partition->state = TW_PARTITION_RUNNING;
    world->partition->swept_at_us = tw_monotonic_us();
    rd_kafka_topic_partition_list_add(list, "cart.commands", world->number)->offset =
        tw_partition_fetch_offset(world->partition);
    assert_int_equal(rd_kafka_assign(lab.consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    for (int polls = 0; world->partition->lane_end < world->log.len; polls++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(lab.consumer, 100);

        assert_in_range(polls, 0, 1000);
        if (message)
            assert_int_equal(tw_partition_take(world->partition, message, NULL), TW_OK);
    }
}

static void take_a_turn(struct world *world)
{
    if (world->partition->state == TW_PARTITION_RECOVERING) {
        step(world);
        fetch(world);
    }
    step(world);
}

/* Turns until @p offset is its watermark, as many as there may be. */
static void fold_up_to(struct world *world, int64_t offset)
{
    for (int turns = 0; world->partition->progress.next_offset < offset; turns++) {
        assert_in_range(turns, 0, TRIED_MAX);
        take_a_turn(world);
    }
}

static void assert_tried(const struct world *world, const int64_t *counts, size_t count)
{
    for (size_t i = 0; i < count && i < world->link.tried_count; i++)
        assert_int_equal(world->link.tried[i], counts[i]);
    assert_int_equal(world->link.tried_count, count);
}
#define ASSERT_TRIED(world, ...) \
    assert_tried(world, (const int64_t[]){__VA_ARGS__}, TW_LEN(((const int64_t[]){__VA_ARGS__})))

static void a_batch_that_is_too_large_for_its_link__is_halved_until_one_passes(void **state)
{
    struct world *world = *state;

    given_a_link(world, 16, 3, TW_UNREACHED);
    fold_up_to(world, 2);
    ASSERT_TRIED(world, 16, 8, 4, 2);
    assert_int_equal(world->partition->last_error.rc, TW_OK);
}

/* Also where it cannot tell what became of the batch: the watermark does. */
static void a_link_on_which_one_record_passes__lets_all_of_them_pass(void **state)
{
    struct world *world = *state;

    given_a_link(world, 5, 1, TW_UNKNOWN);
    fold_up_to(world, 5);
    ASSERT_TRIED(world, 5, 2, 1, 2, 1, 2, 1, 2, 1, 1);
}

static void batches__grow_again_when_they_pass(void **state)
{
    struct world *world = *state;

    given_a_link(world, 14, 0, TW_UNREACHED);
    for (int turns = 0; world->link.tried_count < 5; turns++) {
        assert_in_range(turns, 0, TRIED_MAX);
        take_a_turn(world);
    }
    world->link.width = 100;
    fold_up_to(world, 14);
    ASSERT_TRIED(world, 14, 7, 3, 1, 1, 1, 2, 4, 7);
}

/* Else a store that was away for long would be asked for one record at a time. */
static void a_store_that_is_away__costs_one_halving(void **state)
{
    struct world *world = *state;

    given_a_link(world, 16, 100, TW_UNREACHED);
    step(world);
    fetch(world);
    tw_memory_fail(tw_memory_store_db(&world->store), 5, TW_UNREACHED);
    step(world); /* the turn's load; the others are its recovery */
    for (int recoveries = 0; recoveries < 4; recoveries++)
        step(world);
    fold_up_to(world, 16);
    ASSERT_TRIED(world, 8, 8);
}

/* A batch whose answer was lost is not tried again. */
static void a_commit_that_came_about_unanswered__is_where_it_goes_on(void **state)
{
    struct world *world = *state;

    given_a_link(world, 16, 100, TW_UNREACHED);
    step(world);
    fetch(world);
    world->partition->batch_limit = 10;
    tw_memory_lose_answer(tw_memory_store_db(&world->store));
    step(world);
    fold_up_to(world, 16);
    ASSERT_TRIED(world, 10, 5, 1);
}

int main(void)
{
#define PARTITION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define LINK_TEST(name)      cmocka_unit_test_setup_teardown(name, set_up_behind_a_link, tear_down_behind_the_link)
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
        LINK_TEST(a_batch_that_is_too_large_for_its_link__is_halved_until_one_passes),
        LINK_TEST(a_link_on_which_one_record_passes__lets_all_of_them_pass),
        LINK_TEST(batches__grow_again_when_they_pass),
        LINK_TEST(a_store_that_is_away__costs_one_halving),
        LINK_TEST(a_commit_that_came_about_unanswered__is_where_it_goes_on),
    };

    return cmocka_run_group_tests(tests, open_lab, close_lab);
}
