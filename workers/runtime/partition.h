/**
 * One owned partition: its lane of fetched records, its place in the log, and what to do when something fails.
 *
 *     RECOVERING --read watermark, verdicts, log bounds--> READY --in the assignment--> RUNNING
 *          ^                                                                               |
 *          +--------- any failure, fence, gap or moved watermark: the lane is dropped -----+
 *
 * There is one way back from every trouble: forget what was fetched, read the watermark, publish the outbox it carries,
 * and fetch again from there.
 *
 * A mark beside the watermark (tw_store.set_mark) freezes the partition: it stays RECOVERING and looks again a few times
 * a second. Whoever froze it waits for an empty outbox, so what is left of one is published and forgotten meanwhile. A
 * lease that nobody renews is taken away.
 *
 * Threads: the worker's loop only.
 */
#ifndef TILLWIRE_RUNTIME_PARTITION_H
#define TILLWIRE_RUNTIME_PARTITION_H

#include "consumer.h"
#include "cut.h"
#include "publisher.h"
#include "turn.h"

/** What all partitions of a worker share. */
struct tw_partition_env {
    struct tw_turn_config turn;
    struct tw_publisher  *publisher;
    struct tw_reader     *reader; /**< for bounds and dead letters while recovering */
    const char           *commands_topic;
    const char           *dlq_topic;
    struct tw_cut_limits  batch; /**< of what one commit takes */
    size_t                cache_bytes;
    int                   broker_timeout_ms;
    struct tw_arena       arena; /**< of the turn under way: one at a time */
};

enum tw_partition_state { TW_PARTITION_RECOVERING, TW_PARTITION_READY, TW_PARTITION_RUNNING };

struct tw_partition {
    struct tw_partition_env *env;
    int32_t                  number;
    enum tw_partition_state  state;
    struct tw_progress       progress;      /**< of the last known commit; without outbox */
    bool                     outbox_stored; /**< the store still keeps an outbox for this partition */
    struct tw_flight         flight;
    /* the lane */
    rd_kafka_message_t     **lane; /**< contiguous offsets from progress.next_offset */
    size_t                   lane_len, lane_cap;
    size_t                   lane_bytes;  /**< keys and values */
    int64_t                  lane_end;    /**< next offset to take */
    bool                     checks_hash; /**< the record before the watermark is still to come and to be compared */
    int64_t                  gap_at;      /**< watermark at which a gap was seen; -1: none */
    /* trouble */
    struct tw_verdicts       verdicts;
    int64_t                  told_open, told_parked; /* of the verdicts, in the metrics */
    struct tw_condemned      condemned;
    size_t                   batch_limit; /**< records a turn; halved while turns fail or a refused one is searched */
    int64_t                  retry_at_us;
    int                      backoff_ms;
    struct tw_err            last_error;    /**< why it is recovering; rc TW_OK: no trouble */
    int64_t                  mark;          /**< that freezes it, as last seen; 0: none */
    int64_t                  mark_since_us; /**< seen for the first time; by the monotonic clock */
    /* habits */
    struct tw_cache         *cache;
    int64_t                  checked_at_us; /**< watermark compared with the store */
    int64_t                  swept_at_us;
    bool                     in_assignment; /**< the consumer fetches it */
    int64_t                  told_offset;   /**< last offset told to Kafka */
};

struct tw_partition *tw_partition_new(struct tw_partition_env *env, int32_t number);
/** Gives the outbox on its way @p flush_ms, releases the store's part, frees. Accepts NULL. */
void                 tw_partition_free(struct tw_partition *partition, int flush_ms);

/** A fetched record; takes it over. Records before the lane's end are old and dropped. BROKEN: the log lies. */
enum tw_rc tw_partition_take(struct tw_partition *partition, rd_kafka_message_t *message, struct tw_err *reterr);
/** Where to fetch from; only for READY and RUNNING. */
int64_t    tw_partition_fetch_offset(const struct tw_partition *partition);
/** Enters RECOVERING. */
void       tw_partition_fail(struct tw_partition *partition, const struct tw_err *err);
/** One step: recovers, or folds one batch, or keeps house. BROKEN: the worker must stop; all else is handled here. */
enum tw_rc tw_partition_step(struct tw_partition *partition, struct tw_err *reterr);
/** Does it wait for whoever froze it, and for nothing else? */
bool       tw_partition_is_frozen(const struct tw_partition *partition);
/** Has it fetched enough for now? */
bool       tw_partition_is_full(const struct tw_partition *partition);
/** Has it something to do right now? */
bool       tw_partition_is_busy(const struct tw_partition *partition);

#endif
