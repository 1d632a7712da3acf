#include "consumer.h"

#include <stdio.h>
#include <stdlib.h>

#include "kafka_assignment.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"
#include "tillwire/pulse.h"

/* A fetch that finds nothing is answered after so long. One that gathers company waits for this much of it. */
enum { IDLE_FETCH_MS = 500 };
#define GATHER_BYTES "65536"

struct tw_consumer {
    struct tw_consumer_options options;
    rd_kafka_t                *rk;
    rd_kafka_queue_t          *queue;
    struct tw_kafka_held       held;
    int                        brokers_up;
    int64_t                    silent_us;
    rd_kafka_message_t        *batch[TW_CONSUMER_POLL_MAX];
};

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct tw_consumer              *consumer = opaque;
    bool                             joined = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);

    for (int i = 0; i < list->cnt; i++) {
        if (joined)
            consumer->options.assigned(consumer->options.self, list->elems[i].topic, list->elems[i].partition);
        else
            consumer->options.revoked(consumer->options.self, list->elems[i].topic, list->elems[i].partition);
    }
    /* Nothing is fetched until a partition has read its watermark: see tw_consumer_assign(). */
    rd_kafka_assign(rk, joined ? none : NULL);
    rd_kafka_topic_partition_list_destroy(none);
    consumer->options.rebalanced(consumer->options.self, joined);
}

static bool is_fenced(rd_kafka_t *rk)
{
    return rd_kafka_fatal_error(rk, NULL, 0) == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    struct tw_consumer *consumer = opaque;
    struct tw_err       err;
    enum tw_rc          rc = is_fenced(rk) ? TW_FENCED : TW_BROKEN;

    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        consumer->brokers_up = 0;
    if (error != RD_KAFKA_RESP_ERR__FATAL) {
        tw_log(TW_LOG_DEBUG, "consumer error", TW_F_INT("code", error), TW_F_TEXT("text", reason));
        return;
    }
    tw_fail(&err, rc, "consumer", error, "the group consumer gave up: %s", reason);
    consumer->options.failed(consumer->options.self, -1, &err);
}

static int on_statistics(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    struct tw_consumer *consumer = opaque;

    (void)rk;
    (void)len;
    consumer->brokers_up = tw_kafka_brokers_up(json);
    consumer->silent_us = tw_kafka_silent_us(json);
    return 0;
}

enum tw_rc tw_consumer_open(const struct tw_consumer_options *options, struct tw_consumer **ret_consumer,
                            struct tw_err *reterr)
{
    char                             session[16], heartbeat[16], kbytes[16], wait[16];
    struct tw_consumer              *consumer;
    rd_kafka_conf_t                 *conf;
    rd_kafka_topic_partition_list_t *topics;
    rd_kafka_resp_err_t              error;
    struct tw_kafka_option           table[] = {
                  {"group.id", options->group},
                  {"group.instance.id", options->instance_id},
                  {"partition.assignment.strategy", "range"},
                  {"enable.auto.commit", "false"},
                  {"enable.auto.offset.store", "false"},
                  {"auto.offset.reset", options->from_group ? "earliest" : "error"},
                  {"isolation.level", "read_committed"},
                  {"session.timeout.ms", session},
                  {"heartbeat.interval.ms", heartbeat},
                  {"queued.max.messages.kbytes", kbytes},
                  {"fetch.error.backoff.ms", "100"},
                  {"fetch.min.bytes", options->gather_ms > 0 ? GATHER_BYTES : "1"},
                  {"fetch.wait.max.ms", wait},
                  {"statistics.interval.ms", "1000"},
    };

    snprintf(session, sizeof(session), "%d", options->session_timeout_ms);
    snprintf(heartbeat, sizeof(heartbeat), "%d", options->session_timeout_ms / 4);
    snprintf(kbytes, sizeof(kbytes), "%d", options->queue_kbytes);
    snprintf(wait, sizeof(wait), "%d", options->gather_ms > 0 ? options->gather_ms : IDLE_FETCH_MS);
    if (!*options->instance_id)
        table[1] = (struct tw_kafka_option){"enable.partition.eof", "false"};
    TW_TRY(tw_kafka_conf(options->brokers, options->client_id, table, TW_LEN(table), &conf, reterr));
    consumer = tw_alloc_zeroed(1, sizeof(*consumer));
    consumer->options = *options;
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    if (tw_kafka_new(RD_KAFKA_CONSUMER, conf, &consumer->rk, reterr) != TW_OK) {
        free(consumer);
        return TW_BROKEN;
    }
    rd_kafka_poll_set_consumer(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    topics = rd_kafka_topic_partition_list_new((int)options->topic_count);
    for (size_t i = 0; i < options->topic_count; i++)
        rd_kafka_topic_partition_list_add(topics, options->topics[i], RD_KAFKA_PARTITION_UA);
    error = rd_kafka_subscribe(consumer->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (error) {
        tw_consumer_close(consumer);
        return tw_kafka_fail(reterr, "consumer.open", error, options->topics[0]);
    }
    *ret_consumer = consumer;
    return TW_OK;
}

static void take(struct tw_consumer *consumer, rd_kafka_message_t *message)
{
    struct tw_err err;

    if (!message->err) {
        consumer->options.message(consumer->options.self, message);
        return;
    }
    tw_kafka_fail(&err, "consumer", message->err, rd_kafka_message_errstr(message));
    if (message->err == RD_KAFKA_RESP_ERR__FATAL && is_fenced(consumer->rk))
        err.rc = TW_FENCED;
    consumer->options.failed(consumer->options.self, message->rkt ? message->partition : -1, &err);
    rd_kafka_message_destroy(message);
}

size_t tw_consumer_poll(struct tw_consumer *consumer, int timeout_ms, size_t max)
{
    rd_kafka_message_t *first;
    ssize_t             more;

    tw_pulse("polling the group consumer");
    first = rd_kafka_consumer_poll(consumer->rk, timeout_ms);
    if (!first)
        return 0;
    take(consumer, first);
    if (max > TW_CONSUMER_POLL_MAX)
        max = TW_CONSUMER_POLL_MAX;
    /* With a time-out of its own the batch call would wait until the array is full. */
    more = max > 1 ? rd_kafka_consume_batch_queue(consumer->queue, 0, consumer->batch, max - 1) : 0;
    for (ssize_t i = 0; i < more; i++)
        take(consumer, consumer->batch[i]);
    return 1 + (size_t)(more > 0 ? more : 0);
}

static rd_kafka_topic_partition_list_t *make_list(const struct tw_position *positions, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, positions[i].topic, positions[i].partition)->offset =
            positions[i].offset;
    return list;
}

enum tw_rc tw_consumer_assign(struct tw_consumer *consumer, const struct tw_position *positions, size_t count,
                              struct tw_err *reterr)
{
    rd_kafka_topic_partition_list_t *list = make_list(positions, count);
    rd_kafka_resp_err_t              error;

    tw_pulse("assigning partitions");
    error = tw_kafka_assign(consumer->rk, list, &consumer->held);
    rd_kafka_topic_partition_list_destroy(list);
    return error ? tw_kafka_fail(reterr, "consumer.assign", error, "cannot assign partitions") : TW_OK;
}

void tw_consumer_commit(struct tw_consumer *consumer, const struct tw_position *positions, size_t count)
{
    rd_kafka_topic_partition_list_t *list = make_list(positions, count);

    if (rd_kafka_commit(consumer->rk, list, 1))
        tw_log(TW_LOG_DEBUG, "offsets not told to Kafka");
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t tw_consumer_log_end(const struct tw_consumer *consumer, const char *topic, int32_t partition)
{
    int64_t low = -1;
    int64_t high = -1;

    rd_kafka_get_watermark_offsets(consumer->rk, topic, partition, &low, &high);
    return high;
}

bool tw_consumer_is_connected(const struct tw_consumer *consumer)
{
    return consumer->brokers_up > 0;
}

int64_t tw_consumer_silent_us(const struct tw_consumer *consumer)
{
    return consumer->silent_us;
}

void tw_consumer_close(struct tw_consumer *consumer)
{
    if (!consumer)
        return;
    tw_pulse("leaving the consumer group");
    rd_kafka_queue_destroy(consumer->queue);
    tw_kafka_leave(consumer->rk, &consumer->held);
    free(consumer);
}
