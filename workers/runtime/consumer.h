/**
 * The group consumer of a worker: librdkafka's group protocol, and nothing of tillwire's rules. Kafka's committed offset
 * never decides where reading starts: the worker says so with tw_consumer_assign().
 *
 * librdkafka 2.0.2: eager `range`, one consuming thread, never pause or resume (they can skip offsets with the batch
 * interface). A partition that cannot go on is left out of the assignment instead.
 *
 * Threads: the worker's loop only; the callbacks run inside tw_consumer_poll() and tw_consumer_close().
 */
#ifndef TILLWIRE_RUNTIME_CONSUMER_H
#define TILLWIRE_RUNTIME_CONSUMER_H

#include "kafka_common.h"
#include "tillwire/kafka.h"

struct tw_consumer;

struct tw_consumer_options {
    const char *brokers;
    const char *client_id;
    const char *group;
    const char *instance_id; /**< static membership: a restart within the session keeps its partitions; "" for none */
    const char *const *topics;
    size_t             topic_count;
    int                session_timeout_ms;
    int                queue_kbytes; /**< fetched and not yet taken, all partitions together */
    int                gather_ms;    /**< how long a record may wait in its topic for company; 0: not at all */
    bool from_group; /**< TW_OFFSET_OF_GROUP can be assigned: where the group was last told, or the beginning */
    void (*assigned)(void *self, const char *topic, int32_t partition);
    void (*revoked)(void *self, const char *topic, int32_t partition);
    /** The group life of this round is over or begun: after all `revoked` / `assigned` calls. */
    void (*rebalanced)(void *self, bool joined);
    /** The callee destroys @p message. */
    void (*message)(void *self, rd_kafka_message_t *message);
    /** UNREACHED: passes by itself; BROKEN: the worker cannot go on; FENCED: another took this static member's place.
     *  @p partition -1: none in particular. */
    void (*failed)(void *self, int32_t partition, const struct tw_err *err);
    void *self;
};

/** An offset for tw_consumer_assign(): see `from_group`. */
#define TW_OFFSET_OF_GROUP RD_KAFKA_OFFSET_STORED

/** Messages handed over by one call, at most. */
enum { TW_CONSUMER_POLL_MAX = 1000 };

enum tw_rc tw_consumer_open(const struct tw_consumer_options *options, struct tw_consumer **ret_consumer,
                            struct tw_err *reterr);
/** Waits up to @p timeout_ms for a first message, then takes what is there, at most @p max and TW_CONSUMER_POLL_MAX.
 *  Returns how many. */
size_t     tw_consumer_poll(struct tw_consumer *consumer, int timeout_ms, size_t max);
/** What to fetch from now on; whatever was fetched before and not yet taken is dropped. */
enum tw_rc tw_consumer_assign(struct tw_consumer *consumer, const struct tw_position *positions, size_t count,
                              struct tw_err *reterr);
/** Tells the group's offsets to Kafka, for lag tools. Does not wait. */
void       tw_consumer_commit(struct tw_consumer *consumer, const struct tw_position *positions, size_t count);
/** Where the log of a partition that is fetched ends, as the last fetch told; negative: not known yet. Does not wait. */
int64_t    tw_consumer_log_end(const struct tw_consumer *consumer, const char *topic, int32_t partition);
bool       tw_consumer_is_connected(const struct tw_consumer *consumer);
/** Nothing has come from any broker for so long, as of a second ago or less; a consumer that fetches hears something
 *  twice a second. 0: not known, or just now. */
int64_t    tw_consumer_silent_us(const struct tw_consumer *consumer);
/** Leaves the group: `revoked` is called for what is owned. Accepts NULL. */
void       tw_consumer_close(struct tw_consumer *consumer);

#endif
