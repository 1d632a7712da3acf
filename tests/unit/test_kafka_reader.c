/* Links: PkgConfig::RDKAFKA */
/* Against librdkafka's own mock of a cluster, two brokers large. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/kafka.h"
#include "unit.h"

static rd_kafka_t              *host; /* carries the mock, and produces */
static rd_kafka_mock_cluster_t *cluster;
static struct tw_reader        *reader;

static int setup(void **state)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char             text[256];
    struct tw_err    err;

    (void)state;
    rd_kafka_conf_set(conf, "client.id", "mock", text, sizeof(text));
    host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_non_null(host);
    cluster = rd_kafka_mock_cluster_new(host, 2);
    rd_kafka_brokers_add(host, rd_kafka_mock_cluster_bootstraps(cluster));
    rd_kafka_mock_topic_create(cluster, "a", 2, 1);
    rd_kafka_mock_topic_create(cluster, "b", 1, 1);
    rd_kafka_mock_partition_set_leader(cluster, "a", 0, 1);
    rd_kafka_mock_partition_set_leader(cluster, "a", 1, 2);
    assert_rc(tw_reader_open(rd_kafka_mock_cluster_bootstraps(cluster), "test", &reader, &err), TW_OK, err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reader_close(reader);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    return 0;
}

static void produce(const char *topic, int32_t partition, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(rd_kafka_producev(host, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                           RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(host, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void ends__of_many_partitions_are_told_at_once(void **state)
{
    struct tw_position positions[] = {{"a", 1, -7}, {"b", 0, -7}, {"a", 0, -7}};
    struct tw_err      err;

    (void)state;
    assert_rc(tw_reader_ends(reader, positions, TW_LEN(positions), 10000, &err), TW_OK, err);
    for (size_t i = 0; i < TW_LEN(positions); i++)
        assert_int_equal(positions[i].offset, 0);
    produce("a", 1, 3);
    produce("b", 0, 5);
    assert_rc(tw_reader_ends(reader, positions, TW_LEN(positions), 10000, &err), TW_OK, err);
    assert_int_equal(positions[0].offset, 3);
    assert_int_equal(positions[1].offset, 5);
    assert_int_equal(positions[2].offset, 0);
}

static void ends__are_all_told_or_none(void **state)
{
    struct tw_position positions[] = {{"a", 0, -7}, {"a", 1, -7}};
    struct tw_err      err = {0};

    (void)state;
    rd_kafka_mock_broker_set_down(cluster, 2);
    assert_int_not_equal(tw_reader_ends(reader, positions, TW_LEN(positions), 700, &err), TW_OK);
    assert_int_equal(positions[0].offset, -7);
    rd_kafka_mock_broker_set_up(cluster, 2);
    for (int i = 0; i < 20 && tw_reader_ends(reader, positions, TW_LEN(positions), 1000, &err) != TW_OK; i++) {
    }
    assert_int_equal(positions[0].offset, 0);
}

static void partition_that_is_not_there__is_an_error(void **state)
{
    struct tw_position positions[] = {{"a", 0, -7}, {"a", 9, -7}};

    (void)state;
    assert_int_not_equal(tw_reader_ends(reader, positions, TW_LEN(positions), 2000, NULL), TW_OK);
    assert_int_equal(positions[0].offset, -7);
}

enum { MANY = TW_HEADERS_MAX + 20 };
#define TIME_MS INT64_C(1234567890123)

static struct tw_report last_report;

static void keep_report(void *self, const struct tw_report *report)
{
    (void)self;
    last_report = *report;
}

/* A record as it was elsewhere, with more headers than anybody looks at; one of them has nothing for a value. */
static void send_old_record(void)
{
    struct tw_producer_options options = {.brokers = rd_kafka_mock_cluster_bootstraps(cluster),
                                          .client_id = "test",
                                          .queue_kbytes = 1024,
                                          .report = keep_report};
    struct tw_header           headers[MANY];
    struct tw_record           record = {
                  .partition = 1, .timestamp_ms = TIME_MS, .key = {"", 0}, .headers = headers, .header_count = MANY};
    struct tw_producer *producer;
    struct tw_err       err;

    for (size_t i = 0; i < MANY; i++)
        headers[i] = (struct tw_header){TW_STR("name"), i ? TW_STR("") : (struct tw_str){NULL, 0}};
    assert_rc(tw_producer_open(&options, &producer, &err), TW_OK, err);
    assert_rc(tw_producer_send_record(producer, "a", &record, NULL, &err), TW_OK, err);
    tw_producer_close(producer, 10000);
    assert_int_equal(last_report.rc, TW_OK);
    assert_int_equal(last_report.partition, 1);
}

static void assert_old_record(void *self, const char *topic, const struct tw_record *record)
{
    size_t *header_count = self;

    assert_string_equal(topic, "a");
    assert_int_equal(record->timestamp_ms, TIME_MS);
    assert_int_equal(record->time_type, TW_TIME_CREATE);
    assert_true(record->key.ptr && record->key.len == 0); /* empty, and not none */
    assert_null(record->value.ptr);
    assert_int_equal(record->header_count, *header_count);
    assert_null(record->headers[0].value.ptr);
    assert_non_null(record->headers[1].value.ptr);
}

static void assert_read_with(size_t header_count)
{
    const struct tw_position beginning = {"a", 1, 0};
    struct tw_err            err;
    size_t                   count = 0;

    assert_rc(tw_reader_assign(reader, &beginning, 1, &err), TW_OK, err);
    for (int i = 0; i < 100 && !count; i++)
        tw_reader_poll(reader, 100, 10, assert_old_record, &header_count, &count, &err);
    assert_int_equal(count, 1);
}

static void a_record__keeps_its_time_and_all_its_headers_for_who_asks(void **state)
{
    (void)state;
    send_old_record();
    assert_read_with(TW_HEADERS_MAX);
    tw_reader_take_all_headers(reader, true);
    assert_read_with(MANY);
}

/* --- a queue that is full ----------------------------------------------------------------------------------------- */

/* One fills the queue, and all are less than the mock keeps. */
enum { LARGE_BYTES = 700 * 1024, LARGE_COUNT = 7 };

static void produce_large(void)
{
    char *value = tw_alloc_zeroed(1, LARGE_BYTES);

    for (int i = 0; i < LARGE_COUNT; i++)
        assert_int_equal(rd_kafka_producev(host, RD_KAFKA_V_TOPIC("a"), RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_VALUE(value, LARGE_BYTES), RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(host, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    free(value);
}

static void pass_over(void *self, const char *topic, const struct tw_record *record)
{
    (void)self;
    (void)topic;
    (void)record;
}

/* By itself librdkafka looks once a second: nearly every wait of half of one would be in vain. */
static void a_queue_that_was_emptied__is_filled_again_at_once(void **state)
{
    const struct tw_position beginning = {"a", 0, 0};
    struct tw_err            err;
    char                     brokers[256];
    size_t                   count, taken = 0;
    int                      in_vain = 0;

    (void)state;
    produce_large();
    tw_reader_close(reader);
    snprintf(brokers, sizeof(brokers), "%s?queued.max.messages.kbytes=1", rd_kafka_mock_cluster_bootstraps(cluster));
    assert_rc(tw_reader_open(brokers, "test", &reader, &err), TW_OK, err);
    assert_rc(tw_reader_assign(reader, &beginning, 1, &err), TW_OK, err);
    while (taken < LARGE_COUNT) {
        assert_rc(tw_reader_poll(reader, 500, 10, pass_over, NULL, &count, &err), TW_OK, err);
        in_vain += taken > 0 && count == 0;
        taken += count;
    }
    assert_in_range(in_vain, 0, 1); /* a machine may be busy */
}

/* --- assigning again and again ------------------------------------------------------------------------------------ */

enum { WIDE = 200, ASSIGNMENTS = 20 };

/* librdkafka ends the process when it is told to stop a partition that is stopping; many take a while. */
static void partitions__can_be_assigned_again_before_they_have_stopped(void **state)
{
    struct tw_position positions[WIDE];
    struct tw_err      err;

    (void)state;
    rd_kafka_mock_topic_create(cluster, "wide", WIDE, 1);
    for (int32_t i = 0; i < WIDE; i++)
        positions[i] = (struct tw_position){"wide", i, 0};
    for (int i = 0; i < ASSIGNMENTS; i++)
        assert_rc(tw_reader_assign(reader, positions, WIDE, &err), TW_OK, err);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(ends__of_many_partitions_are_told_at_once),
        TEST(ends__are_all_told_or_none),
        TEST(partition_that_is_not_there__is_an_error),
        TEST(a_record__keeps_its_time_and_all_its_headers_for_who_asks),
        TEST(a_queue_that_was_emptied__is_filled_again_at_once),
        TEST(partitions__can_be_assigned_again_before_they_have_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
