/*
 * Floor of the workers: what librdkafka delivers when nothing is done with it. Reads given ranges of a topic and walks
 * through every record's headers.
 *
 *   bench_plain_consumer BROKERS TOPIC FROM TO      offsets by partition, with commas; TO is the first not read
 *
 * Prints `records=N seconds=S`, from the first batch to the last.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offsets.h"
#include "tillwire/base.h"
#include "tillwire/clock.h"

enum { BATCH = 1000, WAIT_MS = 100, PATIENCE_US = 30 * 1000000 };

struct drain {
    rd_kafka_t *rk;
    int64_t     to[BENCH_PARTITIONS_MAX];
    int64_t     wanted;
    int64_t     first; /* records of the batch that started the clock: read before it */
    int64_t     seen;
    int64_t     header_bytes;
    int64_t     started_us;
    int64_t     ended_us;
};

_Noreturn static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_plain_consumer: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[160];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        give_up(name, text);
}

static rd_kafka_t *open_consumer(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char             text[160];
    rd_kafka_t      *rk;

    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", "bench-plain-consumer");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "error");
    set(conf, "socket.nagle.disable", "true");
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!rk)
        give_up("consumer", text);
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

static void assign(struct drain *drain, const char *topic, const char *from, const char *to)
{
    int64_t                          starts[BENCH_PARTITIONS_MAX];
    size_t                           count = bench_offsets_read(from, starts);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    if (!count || bench_offsets_read(to, drain->to) != count)
        give_up(to, "FROM and TO are not offsets of the same number of partitions");
    for (size_t i = 0; i < count; i++) {
        drain->wanted += drain->to[i] - starts[i];
        rd_kafka_topic_partition_list_add(list, topic, (int32_t)i)->offset = starts[i];
    }
    rd_kafka_resp_err_t error = rd_kafka_assign(drain->rk, list);
    if (error)
        give_up(topic, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
}

static void walk_headers(struct drain *drain, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char         *name;
    const void         *value;
    size_t              size;

    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        drain->header_bytes += (int64_t)(strlen(name) + size);
}

static void take(struct drain *drain, rd_kafka_message_t *message)
{
    if (message->err)
        give_up("record", rd_kafka_message_errstr(message));
    if (message->offset < drain->to[message->partition]) {
        walk_headers(drain, message);
        drain->seen++;
    }
    rd_kafka_message_destroy(message);
}

static void take_batch(struct drain *drain, rd_kafka_queue_t *queue)
{
    rd_kafka_message_t *batch[BATCH];
    rd_kafka_message_t *first = rd_kafka_consumer_poll(drain->rk, WAIT_MS);

    if (!first)
        return;
    take(drain, first);
    /* With a time-out of its own the batch call would wait until the array is full. */
    ssize_t more = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH);
    for (ssize_t i = 0; i < more; i++)
        take(drain, batch[i]);
    drain->ended_us = tw_monotonic_us();
    if (!drain->started_us) {
        drain->started_us = drain->ended_us;
        drain->first = drain->seen;
    }
}

static void run(struct drain *drain)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(drain->rk);
    int64_t           give_up_us = tw_monotonic_us() + PATIENCE_US;

    while (drain->seen < drain->wanted) {
        if (tw_monotonic_us() > give_up_us)
            give_up("time-out", "not all records came");
        take_batch(drain, queue);
    }
    rd_kafka_queue_destroy(queue);
}

int main(int argc, char **argv)
{
    static struct drain drain;

    if (argc != 5)
        give_up("usage", "BROKERS TOPIC FROM TO");
    drain.rk = open_consumer(argv[1]);
    assign(&drain, argv[2], argv[3], argv[4]);
    run(&drain);
    printf("records=%" PRId64 " seconds=%.6f\n", drain.seen - drain.first,
           (double)(drain.ended_us - drain.started_us) / 1e6);
    rd_kafka_consumer_close(drain.rk);
    rd_kafka_destroy(drain.rk);
    return 0;
}
