/*
 * A consumer without a group life: partitions are assigned by hand and no offset is ever committed. librdkafka asks for a
 * group.id all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "kafka_assignment.h"
#include "kafka_common.h"
#include "tillwire/kafka.h"
#include "tillwire/pulse.h"
#include "tillwire/log.h"

enum { BATCH_MAX = 1000 };
enum { EMPTIED_BYTES = 256 * 1024, WAKE_MS = 100 };

struct tw_reader {
    rd_kafka_t          *rk;
    rd_kafka_queue_t    *queue;
    struct tw_kafka_held held;
    rd_kafka_message_t  *batch[BATCH_MAX];
    size_t               taken_bytes; /* since the fetcher was woken */
    struct tw_buf        topic;       /* of the record that was taken last, with its NUL; and its partition */
    int32_t              partition;
    bool                 all_headers;
    struct tw_header    *headers; /* of the record that is handed over */
    size_t               header_cap;
};

enum tw_rc tw_reader_open(const char *brokers, const char *client_id, struct tw_reader **ret_reader,
                          struct tw_err *reterr)
{
    static const struct tw_kafka_option options[] = {
        {"group.id", "tillwire-reader"},         {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},   {"auto.offset.reset", "error"},
        {"isolation.level", "read_committed"},   {"fetch.wait.max.ms", "100"},
        {"queued.max.messages.kbytes", "16384"}, {"fetch.error.backoff.ms", "100"},
    };
    struct tw_reader *reader;
    rd_kafka_conf_t  *conf;
    rd_kafka_t       *rk;

    TW_TRY(tw_kafka_conf(brokers, client_id, options, TW_LEN(options), &conf, reterr));
    TW_TRY(tw_kafka_new(RD_KAFKA_CONSUMER, conf, &rk, reterr));
    rd_kafka_poll_set_consumer(rk);
    reader = tw_alloc_zeroed(1, sizeof(*reader));
    reader->rk = rk;
    reader->queue = rd_kafka_queue_get_consumer(rk);
    reader->header_cap = TW_KAFKA_HEADERS_MAX;
    reader->headers = tw_alloc(reader->header_cap * sizeof(*reader->headers));
    *ret_reader = reader;
    return TW_OK;
}

enum tw_rc tw_reader_assign(struct tw_reader *reader, const struct tw_position *positions, size_t count,
                            struct tw_err *reterr)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_resp_err_t              error;

    for (size_t i = 0; i < count; i++) {
        int64_t offset = positions[i].offset;

        if (offset == TW_OFFSET_BEGINNING)
            offset = RD_KAFKA_OFFSET_BEGINNING;
        else if (offset == TW_OFFSET_END)
            offset = RD_KAFKA_OFFSET_END;
        rd_kafka_topic_partition_list_add(list, positions[i].topic, positions[i].partition)->offset = offset;
    }
    error = tw_kafka_assign(reader->rk, list, &reader->held);
    rd_kafka_topic_partition_list_destroy(list);
    return error ? tw_kafka_fail(reterr, "reader.assign", error, "cannot assign partitions") : TW_OK;
}

/* librdkafka 2.0.2 looks once a second whether a queue that was full has room again. A question to the partition's broker
 * wakes the thread that fetches from it; what the answer is does not matter. */
static void wake_fetcher(struct tw_reader *reader)
{
    int64_t low, high;

    reader->taken_bytes = 0;
    rd_kafka_query_watermark_offsets(reader->rk, reader->topic.ptr, reader->partition, &low, &high, WAKE_MS);
}

static rd_kafka_message_t *take_first(struct tw_reader *reader, int timeout_ms)
{
    rd_kafka_message_t *first;

    tw_pulse("reading records");
    first = rd_kafka_consumer_poll(reader->rk, 0);
    if (first)
        return first;
    if (reader->taken_bytes >= EMPTIED_BYTES)
        wake_fetcher(reader);
    return rd_kafka_consumer_poll(reader->rk, timeout_ms);
}

static void note_taken(struct tw_reader *reader, const rd_kafka_message_t *last)
{
    const char *topic = last->rkt ? rd_kafka_topic_name(last->rkt) : "";

    tw_buf_clear(&reader->topic);
    tw_buf_add(&reader->topic, topic, strlen(topic) + 1);
    reader->partition = last->partition;
}

/* Waits for one, then takes what is there: rd_kafka_consume_batch_queue() alone would wait until the array is full. */
static size_t take_batch(struct tw_reader *reader, int timeout_ms, size_t max)
{
    rd_kafka_message_t *first = take_first(reader, timeout_ms);
    ssize_t             more;

    if (!first)
        return 0;
    reader->batch[0] = first;
    if (max > BATCH_MAX)
        max = BATCH_MAX;
    more = max > 1 ? rd_kafka_consume_batch_queue(reader->queue, 0, reader->batch + 1, max - 1) : 0;
    return 1 + (size_t)(more > 0 ? more : 0);
}

void tw_reader_take_all_headers(struct tw_reader *reader, bool all)
{
    reader->all_headers = all;
}

static void take_record(struct tw_reader *reader, const rd_kafka_message_t *message, struct tw_record *ret_record)
{
    size_t count = reader->all_headers ? tw_kafka_header_count(message) : 0;

    if (count > reader->header_cap) {
        reader->headers = tw_realloc(reader->headers, count * sizeof(*reader->headers));
        reader->header_cap = count;
    }
    tw_kafka_record_of(message, reader->headers, reader->all_headers ? count : TW_KAFKA_HEADERS_MAX, ret_record);
}

enum tw_rc tw_reader_poll(struct tw_reader *reader, int timeout_ms, size_t max, tw_record_fn fn, void *self,
                          size_t *ret_count, struct tw_err *reterr)
{
    size_t     taken = take_batch(reader, timeout_ms, max);
    size_t     count = 0;
    enum tw_rc rc = TW_OK;

    if (taken)
        note_taken(reader, reader->batch[taken - 1]);
    for (size_t i = 0; i < taken; i++) {
        rd_kafka_message_t *message = reader->batch[i];
        struct tw_record    record;

        reader->taken_bytes += message->len;
        if (message->err) {
            if (rc == TW_OK)
                rc = tw_kafka_fail(reterr, "reader.poll", message->err,
                                   message->rkt ? rd_kafka_topic_name(message->rkt) : "consumer");
        } else {
            take_record(reader, message, &record);
            fn(self, rd_kafka_topic_name(message->rkt), &record);
            count++;
        }
        rd_kafka_message_destroy(message);
    }
    *ret_count = count;
    return rc;
}

enum tw_rc tw_reader_bounds(struct tw_reader *reader, const char *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_low, int64_t *ret_high, struct tw_err *reterr)
{
    int64_t             low, high;
    rd_kafka_resp_err_t error;

    tw_pulse("asking the broker where a log begins and ends");
    error = rd_kafka_query_watermark_offsets(reader->rk, topic, partition, &low, &high, timeout_ms);
    if (error)
        return tw_kafka_fail(reterr, "reader.bounds", error, topic);
    *ret_low = low;
    *ret_high = high;
    return TW_OK;
}

/* An answer that left an offset out has the time that was asked for there. */
static enum tw_rc take_offsets(const rd_kafka_topic_partition_list_t *list, int64_t time, struct tw_position *positions,
                               size_t count, struct tw_err *reterr)
{
    for (size_t i = 0; i < count; i++) {
        if (list->elems[i].err)
            return tw_kafka_fail(reterr, "reader.offsets", list->elems[i].err, positions[i].topic);
        if (list->elems[i].offset == time || (time < 0 && list->elems[i].offset < 0))
            return tw_fail(reterr, TW_UNREACHED, "reader.offsets", 0, "an offset of '%s' %d was not told",
                           positions[i].topic, (int)positions[i].partition);
    }
    for (size_t i = 0; i < count; i++)
        positions[i].offset = list->elems[i].offset < 0 ? TW_OFFSET_END : list->elems[i].offset;
    return TW_OK;
}

/* A time of -1 means the end and one of -2 the beginning, in the protocol and so here; librdkafka 2.0.2 has no other call
 * that asks for many at once. */
static enum tw_rc ask_offsets(struct tw_reader *reader, int64_t time, struct tw_position *positions, size_t count,
                              int timeout_ms, struct tw_err *reterr)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_resp_err_t              error;
    enum tw_rc                       rc;

    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, positions[i].topic, positions[i].partition)->offset = time;
    tw_pulse("asking the broker for offsets");
    error = rd_kafka_offsets_for_times(reader->rk, list, timeout_ms);
    rc = error ? tw_kafka_fail(reterr, "reader.offsets", error, "cannot ask for offsets")
               : take_offsets(list, time, positions, count, reterr);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

enum tw_rc tw_reader_ends(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                          struct tw_err *reterr)
{
    return ask_offsets(reader, RD_KAFKA_OFFSET_END, positions, count, timeout_ms, reterr);
}

enum tw_rc tw_reader_beginnings(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                                struct tw_err *reterr)
{
    return ask_offsets(reader, RD_KAFKA_OFFSET_BEGINNING, positions, count, timeout_ms, reterr);
}

enum tw_rc tw_reader_offsets_at(struct tw_reader *reader, int64_t time_ms, struct tw_position *positions, size_t count,
                                int timeout_ms, struct tw_err *reterr)
{
    return ask_offsets(reader, time_ms, positions, count, timeout_ms, reterr);
}

void tw_reader_close(struct tw_reader *reader)
{
    if (!reader)
        return;
    tw_pulse("closing a reader");
    rd_kafka_queue_destroy(reader->queue);
    tw_kafka_leave(reader->rk, &reader->held);
    tw_buf_done(&reader->topic);
    free(reader->headers);
    free(reader);
}
