/*
 * Threads: tw_producer_send() from any; librdkafka queues and batches. Reports come out of tw_producer_poll() in bulk on
 * the one thread that calls it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_common.h"
#include "tillwire/clock.h"
#include "tillwire/kafka.h"
#include "tillwire/log.h"
#include "tillwire/pulse.h"

enum { TOPICS_MAX = 16 };

struct tw_producer {
    rd_kafka_t       *rk;
    tw_report_fn      report;
    void             *self;
    atomic_bool       dead;
    atomic_bool       connected;
    int               queue_max_kbytes;
    atomic_llong      queued_bytes;
    rd_kafka_topic_t *topics[TOPICS_MAX]; /* filled before the first send, read-only then */
    size_t            topic_count;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct tw_producer *producer = opaque;
    struct tw_report    report = {TW_OK, message->partition, message->offset, message->_private, NULL};

    (void)rk;
    atomic_fetch_sub_explicit(&producer->queued_bytes, (long long)(message->len + message->key_len),
                              memory_order_relaxed);
    if (message->err) {
        report.rc = rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED ? TW_UNREACHED : TW_UNKNOWN;
        report.text = rd_kafka_err2str(message->err);
    } else {
        atomic_store_explicit(&producer->connected, true, memory_order_relaxed);
    }
    producer->report(producer->self, &report);
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    struct tw_producer *producer = opaque;

    (void)rk;
    if (error == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&producer->dead, true);
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        atomic_store(&producer->connected, false);
    tw_log(error == RD_KAFKA_RESP_ERR__FATAL ? TW_LOG_WARN : TW_LOG_DEBUG, "producer error", TW_F_INT("code", error),
           TW_F_TEXT("text", reason));
}

static int on_statistics(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    struct tw_producer *producer = opaque;

    (void)rk;
    (void)len;
    atomic_store(&producer->connected, tw_kafka_brokers_up(json) > 0);
    return 0;
}

enum tw_rc tw_producer_open(const struct tw_producer_options *options, struct tw_producer **ret_producer,
                            struct tw_err *reterr)
{
    char                   linger[32], timeout[16], kbytes[16];
    struct tw_producer    *producer;
    rd_kafka_conf_t       *conf;
    struct tw_kafka_option table[] = {
        {"enable.idempotence", options->once ? "false" : "true"},
        {"message.send.max.retries", options->once ? "0" : "2147483647"},
        {"acks", "all"},
        {"linger.ms", linger},
        {"message.timeout.ms", timeout},
        {"queue.buffering.max.kbytes", kbytes},
        {"queue.buffering.max.messages", "1000000"},
        {"message.max.bytes", "2000000"}, /* a dead letter is a full record and its reason */
        {"partitioner", "murmur2_random"},
        {"compression.type", "lz4"},
        {"statistics.interval.ms", "1000"},
        {"enable.gapless.guarantee", options->timeout_ms || options->once ? "false" : "true"},
    };

    snprintf(linger, sizeof(linger), "%d.%03d", options->linger_us / 1000, options->linger_us % 1000);
    snprintf(timeout, sizeof(timeout), "%d", options->timeout_ms);
    snprintf(kbytes, sizeof(kbytes), "%d", options->queue_kbytes);
    TW_TRY(tw_kafka_conf(options->brokers, options->client_id, table, TW_LEN(table), &conf, reterr));
    producer = tw_alloc_zeroed(1, sizeof(*producer));
    producer->report = options->report;
    producer->self = options->self;
    producer->queue_max_kbytes = options->queue_kbytes;
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_statistics);
    if (tw_kafka_new(RD_KAFKA_PRODUCER, conf, &producer->rk, reterr) != TW_OK) {
        free(producer);
        return TW_BROKEN;
    }
    *ret_producer = producer;
    return TW_OK;
}

static rd_kafka_topic_t *find_topic(const struct tw_producer *producer, const char *topic)
{
    for (size_t i = 0; i < producer->topic_count; i++)
        if (!strcmp(rd_kafka_topic_name(producer->topics[i]), topic))
            return producer->topics[i];
    return NULL;
}

static rd_kafka_headers_t *make_headers(const struct tw_header *headers, size_t count)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(count);

    for (size_t i = 0; i < count; i++)
        rd_kafka_header_add(list, headers[i].name.ptr, (ssize_t)headers[i].name.len, headers[i].value.ptr,
                            (ssize_t)headers[i].value.len);
    return list;
}

/* With a timestamp of 0 librdkafka takes the present time. */
enum tw_rc tw_producer_send_record(struct tw_producer *producer, const char *topic, const struct tw_record *record,
                                   void *opaque, struct tw_err *reterr)
{
    rd_kafka_topic_t   *handle = find_topic(producer, topic);
    rd_kafka_headers_t *list = make_headers(record->headers, record->header_count);
    int32_t             partition = record->partition < 0 ? RD_KAFKA_PARTITION_UA : record->partition;
    long long           bytes = (long long)record->value.len + (long long)record->key.len;
    rd_kafka_vu_t       arguments[] = {
              {.vtype = handle ? RD_KAFKA_VTYPE_RKT : RD_KAFKA_VTYPE_TOPIC},
              {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
              {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
              {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
              {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
              {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms},
              {.vtype = RD_KAFKA_VTYPE_VALUE},
              {.vtype = RD_KAFKA_VTYPE_KEY},
    };
    size_t              argument_count = TW_LEN(arguments);
    rd_kafka_error_t   *error;
    rd_kafka_resp_err_t code;

    if (handle)
        arguments[0].u.rkt = handle;
    else
        arguments[0].u.cstr = topic;
    /* librdkafka takes `void *` and copies (MSG_F_COPY); the union keeps the const away without a cast. */
    memcpy(&arguments[6].u.mem.ptr, &record->value.ptr, sizeof(record->value.ptr));
    arguments[6].u.mem.size = record->value.len;
    memcpy(&arguments[7].u.mem.ptr, &record->key.ptr, sizeof(record->key.ptr));
    arguments[7].u.mem.size = record->key.len;
    if (!record->key.ptr)
        argument_count--;
    atomic_fetch_add_explicit(&producer->queued_bytes, bytes, memory_order_relaxed);
    error = rd_kafka_produceva(producer->rk, arguments, argument_count);
    if (!error)
        return TW_OK;
    atomic_fetch_sub_explicit(&producer->queued_bytes, bytes, memory_order_relaxed);
    code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    rd_kafka_headers_destroy(list);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        atomic_store(&producer->dead, true);
        return tw_fail(reterr, TW_UNREACHED, "producer.send", code, "the producer gave up and must be made anew");
    }
    return tw_kafka_fail(reterr, "producer.send", code, topic);
}

enum tw_rc tw_producer_send(struct tw_producer *producer, const char *topic, int32_t partition, struct tw_str key,
                            struct tw_str value, const struct tw_header *headers, size_t header_count, void *opaque,
                            struct tw_err *reterr)
{
    const struct tw_record record = {.partition = partition,
                                     .offset = -1,
                                     .key = key,
                                     .value = value,
                                     .headers = headers,
                                     .header_count = header_count};

    return tw_producer_send_record(producer, topic, &record, opaque, reterr);
}

int tw_producer_poll(struct tw_producer *producer, int timeout_ms)
{
    tw_pulse("serving reports of the broker");
    return rd_kafka_poll(producer->rk, timeout_ms);
}

enum tw_rc tw_producer_know(struct tw_producer *producer, const char *topic, struct tw_err *reterr)
{
    rd_kafka_topic_t *handle;

    if (find_topic(producer, topic))
        return TW_OK;
    if (producer->topic_count == TOPICS_MAX)
        return tw_fail(reterr, TW_BROKEN, "producer.know", 0, "more than %d topics", TOPICS_MAX);
    handle = rd_kafka_topic_new(producer->rk, topic, NULL);
    if (!handle)
        return tw_kafka_fail(reterr, "producer.know", rd_kafka_last_error(), topic);
    producer->topics[producer->topic_count++] = handle;
    return TW_OK;
}

static enum tw_rc warm_topic(struct tw_producer *producer, const char *topic, int timeout_ms, struct tw_err *reterr)
{
    const rd_kafka_metadata_t *metadata;
    rd_kafka_resp_err_t        error;
    int                        partitions;

    TW_TRY(tw_producer_know(producer, topic, reterr));
    tw_pulse("asking the broker for a topic");
    error = rd_kafka_metadata(producer->rk, 0, find_topic(producer, topic), &metadata, timeout_ms);
    if (error)
        return tw_kafka_fail(reterr, "producer.warm", error, topic);
    error = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    partitions = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    if (error || !partitions)
        return tw_kafka_fail(reterr, "producer.warm", error ? error : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, topic);
    atomic_store(&producer->connected, true);
    return TW_OK;
}

enum tw_rc tw_producer_warm(struct tw_producer *producer, const char *const *topics, size_t topic_count, int timeout_ms,
                            struct tw_err *reterr)
{
    int64_t deadline_us = tw_monotonic_us() + (int64_t)timeout_ms * 1000;

    for (size_t i = 0; i < topic_count; i++) {
        int left_ms = (int)((deadline_us - tw_monotonic_us()) / 1000);

        if (left_ms <= 0)
            return tw_fail(reterr, TW_UNREACHED, "producer.warm", 0, "no metadata within %d ms", timeout_ms);
        TW_TRY(warm_topic(producer, topics[i], left_ms, reterr));
    }
    return TW_OK;
}

bool tw_producer_is_dead(struct tw_producer *producer)
{
    return atomic_load(&producer->dead);
}

void tw_producer_queue(struct tw_producer *producer, int64_t *ret_records, int *ret_percent)
{
    long long bytes = atomic_load_explicit(&producer->queued_bytes, memory_order_relaxed);

    *ret_records = rd_kafka_outq_len(producer->rk);
    *ret_percent = (int)(bytes * 100 / 1024 / producer->queue_max_kbytes);
}

bool tw_producer_is_connected(struct tw_producer *producer)
{
    return atomic_load(&producer->connected);
}

void tw_producer_close(struct tw_producer *producer, int flush_ms)
{
    if (!producer)
        return;
    tw_pulse("closing a producer");
    rd_kafka_flush(producer->rk, flush_ms);
    rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(producer->rk, 1000); /* serves the purged ones' reports */
    for (size_t i = 0; i < producer->topic_count; i++)
        rd_kafka_topic_destroy(producer->topics[i]);
    rd_kafka_destroy(producer->rk);
    free(producer);
}
