/* Links: PkgConfig::RDKAFKA */
/* Against librdkafka's own mock of a cluster. */
#include "verdicts.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "unit.h"

static rd_kafka_t              *host; /* carries the mock, and produces */
static rd_kafka_mock_cluster_t *cluster;
static struct tw_reader        *reader;

static int setup(void **state)
{
    char          text[256];
    struct tw_err err;

    (void)state;
    host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
    assert_non_null(host);
    cluster = rd_kafka_mock_cluster_new(host, 1);
    rd_kafka_brokers_add(host, rd_kafka_mock_cluster_bootstraps(cluster));
    rd_kafka_mock_topic_create(cluster, "dlq", 1, 1);
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

/* Of a record with @p header_count headers of its own. */
static void given_dead_letter(const char *offset, size_t header_count)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(header_count + 1);

    for (size_t i = 0; i < header_count; i++)
        rd_kafka_header_add(headers, "x", -1, "y", -1);
    rd_kafka_header_add(headers, TW_H_DLQ_OFFSET, -1, offset, -1);
    assert_int_equal(rd_kafka_producev(host, RD_KAFKA_V_TOPIC("dlq"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("x", 1),
                                       RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(host, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void verdicts__are_read_behind_any_number_of_headers_and_from_where_the_last_reading_ended(void **state)
{
    TW_AUTO(tw_verdicts_done) struct tw_verdicts verdicts = {0};
    struct tw_err                                err;

    (void)state;
    given_dead_letter("7", 0);
    given_dead_letter("9", TW_HEADERS_MAX);
    assert_rc(tw_verdicts_read(&verdicts, reader, "dlq", 0, 10000, &err), TW_OK, err);
    assert_int_equal(verdicts.count, 2);
    assert_true(tw_verdicts_has(&verdicts, 7) && tw_verdicts_has(&verdicts, 9));
    given_dead_letter("3", TW_HEADERS_MAX + 50);
    assert_rc(tw_verdicts_read(&verdicts, reader, "dlq", 0, 10000, &err), TW_OK, err);
    assert_int_equal(verdicts.read_to, 3);
    assert_true(tw_verdicts_has(&verdicts, 3));
    assert_false(tw_verdicts_has(&verdicts, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            verdicts__are_read_behind_any_number_of_headers_and_from_where_the_last_reading_ended, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
