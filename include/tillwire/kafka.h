/**
 * Kafka, as the whole tree uses it: a producer that reports every record, a reader of given partitions, and the topic
 * manifest. Shows no librdkafka type. The workers' group consumer is in workers/runtime.
 */
#ifndef TILLWIRE_KAFKA_H
#define TILLWIRE_KAFKA_H

#include "tillwire/envelope.h"
#include "tillwire/err.h"

/** Looks at the setting `kafka` without asking anybody. INVALID: what stands behind its `?` is no setting of librdkafka. */
enum tw_rc tw_kafka_check(const char *brokers, struct tw_err *reterr);

/* --- producer: idempotent, acks=all, murmur2_random; thread safe unless said otherwise ------------------------- */

struct tw_producer;

/** How a record ended: TW_OK with partition and offset; TW_UNREACHED not in the log; TW_UNKNOWN perhaps in the log. */
struct tw_report {
    enum tw_rc  rc;
    int32_t     partition;
    int64_t     offset;
    void       *opaque; /**< what tw_producer_send() was given */
    const char *text;   /**< librdkafka's words on a failure; static */
};
/** Called from tw_producer_poll() and tw_producer_close() only. */
typedef void (*tw_report_fn)(void *self, const struct tw_report *report);

struct tw_producer_options {
    const char  *brokers;
    const char  *client_id;
    int          linger_us;    /**< 500 at the edge, 0..5000 in workers, 50000 in bulk tools */
    int          timeout_ms;   /**< message.timeout.ms; 0: for ever, gapless (workers' outbox) */
    int          queue_kbytes; /**< queue.buffering.max.kbytes: the memory ceiling */
    bool         once;         /**< not idempotent, and never sent again: a lost answer is TW_UNKNOWN. For who may say
                                   *   "unknown" instead of retrying: docs/decisions/edge-sending.md */
    tw_report_fn report;
    void        *self;
};

enum tw_rc tw_producer_open(const struct tw_producer_options *options, struct tw_producer **ret_producer,
                            struct tw_err *reterr);
/** Copies everything. @p partition -1: by the key. UNREACHED: the queue is full or the producer is dead; no report
 *  follows. Never blocks. */
enum tw_rc tw_producer_send(struct tw_producer *producer, const char *topic, int32_t partition, struct tw_str key,
                            struct tw_str value, const struct tw_header *headers, size_t header_count, void *opaque,
                            struct tw_err *reterr);
/** The same for a record as it was elsewhere: to its partition, and with its time where the topic keeps a writer's time. */
enum tw_rc tw_producer_send_record(struct tw_producer *producer, const char *topic, const struct tw_record *record,
                                   void *opaque, struct tw_err *reterr);
/** Serves reports for up to @p timeout_ms; returns how many. One thread at a time. */
int        tw_producer_poll(struct tw_producer *producer, int timeout_ms);
/** Saves a look-up by name with every record of @p topic. Before the first send; asks nobody. */
enum tw_rc tw_producer_know(struct tw_producer *producer, const char *topic, struct tw_err *reterr);
/** Learns about the topics and gets the producer id, so that the first send is quick. UNREACHED when it takes longer. */
enum tw_rc tw_producer_warm(struct tw_producer *producer, const char *const *topics, size_t topic_count, int timeout_ms,
                            struct tw_err *reterr);
/** The idempotent producer gave up for good (librdkafka fatal error): close it and make another. */
bool       tw_producer_is_dead(struct tw_producer *producer);
/** Records and bytes waiting, and the share of the queue's ceiling in per cent. */
void       tw_producer_queue(struct tw_producer *producer, int64_t *ret_records, int *ret_percent);
/** At least one broker connection is up, by librdkafka's own callbacks. */
bool       tw_producer_is_connected(struct tw_producer *producer);
/** Waits up to @p flush_ms for what is on its way, then drops the rest: every record is reported. Accepts NULL. */
void       tw_producer_close(struct tw_producer *producer, int flush_ms);

/* --- reader: given partitions from given offsets, no group; one thread ------------------------------------------ */

struct tw_reader;
enum { TW_OFFSET_BEGINNING = -2, TW_OFFSET_END = -1 };

struct tw_position {
    const char *topic;
    int32_t     partition;
    int64_t     offset; /**< next to read, or one of the two above */
};
/** @p record lives until the function returns. */
typedef void (*tw_record_fn)(void *self, const char *topic, const struct tw_record *record);

enum tw_rc tw_reader_open(const char *brokers, const char *client_id, struct tw_reader **ret_reader,
                          struct tw_err *reterr);
/** Replaces what is read. */
enum tw_rc tw_reader_assign(struct tw_reader *reader, const struct tw_position *positions, size_t count,
                            struct tw_err *reterr);
/** From now on records have all their headers, or (as at the start) only the first TW_HEADERS_MAX. */
void       tw_reader_take_all_headers(struct tw_reader *reader, bool all);
/** Waits up to @p timeout_ms for a first record, hands over what is there (at most @p max) and returns TW_OK, with the
 *  number in @p ret_count. BROKEN: an offset is not in the log. UNREACHED: brokers are away. */
enum tw_rc tw_reader_poll(struct tw_reader *reader, int timeout_ms, size_t max, tw_record_fn fn, void *self,
                          size_t *ret_count, struct tw_err *reterr);
/** First offset there is and the one the next record will get. Asks the broker. */
enum tw_rc tw_reader_bounds(struct tw_reader *reader, const char *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_low, int64_t *ret_high, struct tw_err *reterr);
/** Fills in `offset` of each position with the one the next record will get, by one question to each broker. Any
 *  thread, also while another one polls. UNREACHED: not all of them were told in time; then nothing is filled in. */
enum tw_rc tw_reader_ends(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                          struct tw_err *reterr);
/** The same with the first offset there is. */
enum tw_rc tw_reader_beginnings(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                                struct tw_err *reterr);
/** The same with that of the first record of @p time_ms or later; TW_OFFSET_END where there is none. The time is a number
 *  above all offsets: later than 2000, say. */
enum tw_rc tw_reader_offsets_at(struct tw_reader *reader, int64_t time_ms, struct tw_position *positions, size_t count,
                                int timeout_ms, struct tw_err *reterr);
void       tw_reader_close(struct tw_reader *reader);

/* --- topics: the manifest of schemas/topics.json (generated: tillwire/gen/topics.h) ------------------------------ */

/** Compares the cluster with the manifest; each difference is a sentence appended to @p ret_differences (a line each).
 *  @p domain "cart" for its three topics, NULL for all. TW_OK also when there are differences. */
enum tw_rc tw_topics_diff(const char *brokers, const char *domain, int timeout_ms, struct tw_buf *ret_differences,
                          struct tw_err *reterr);
/** Creates what is missing (with @p replication copies) and sets what differs; never deletes, never changes a partition
 *  count: such a difference is BROKEN and says so. What was done is appended to @p ret_log. */
enum tw_rc tw_topics_apply(const char *brokers, int replication, int timeout_ms, struct tw_buf *ret_log,
                           struct tw_err *reterr);

struct tw_topic;

/** Partitions of a topic; 0: there is no such topic. */
enum tw_rc tw_topic_count_partitions(const char *brokers, const char *topic, int timeout_ms, int *ret_count,
                                     struct tw_err *reterr);
/** Lets records keep the time they were written with, and keeps them for ever, until tw_topic_restore(); creates the
 *  topic if need be. Settings otherwise as the manifest says. BROKEN: it has another number of partitions. */
enum tw_rc tw_topic_prepare_import(const char *brokers, const struct tw_topic *topic, int replication, int timeout_ms,
                                   struct tw_err *reterr);
/** All settings as the manifest says. */
enum tw_rc tw_topic_restore(const char *brokers, const struct tw_topic *topic, int timeout_ms, struct tw_err *reterr);

enum { TW_CLUSTER_ID_MAX = 64 };
/** The cluster's id; empty when it tells none. */
enum tw_rc tw_cluster_id(const char *brokers, int timeout_ms, char ret_id[TW_CLUSTER_ID_MAX + 1],
                         struct tw_err *reterr);

#endif
