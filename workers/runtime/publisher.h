/**
 * Publishes outboxes, in order and without gaps. Repeats are possible (a new producer sends again from the first record
 * that was not reported), gaps are not: readers drop repeats by (cause offset, n).
 *
 * Why no gap: a broker that knows a producer in a partition refuses a request whose sequence numbers leave one out. It
 * knows it once it has appended a first record; until then, a request behind a failed one would get in. So the first
 * event of a producer in a partition goes alone, and the rest follow its report.
 *
 * Threads: the worker's loop only.
 */
#ifndef TILLWIRE_RUNTIME_PUBLISHER_H
#define TILLWIRE_RUNTIME_PUBLISHER_H

#include "outbox.h"
#include "tillwire/kafka.h"

struct tw_publisher;
struct tw_flight_slot;

/** One partition's outbox on its way. Zero-initialised: nothing to send. */
struct tw_flight {
    int32_t                  partition;
    int64_t                  next_offset; /**< the watermark of the commit that saved this outbox */
    struct tw_buf            packed;
    struct tw_arena          arena;
    struct tw_outbox_record *records;
    struct tw_flight_slot   *slots; /**< one a record: what the producer reports to */
    size_t                   count;
    size_t                   sent;     /**< handed to the producer */
    size_t                   reported; /**< all before this one are in the log */
    unsigned                 known_to; /**< number of the producer that the broker knows in this partition */
    int64_t                  known_at_us;
    int64_t                  put_at_us;
    struct tw_flight        *next; /**< those on their way */
    bool                     on_its_way;
};

struct tw_publisher_options {
    const char *brokers;
    const char *client_id;
    const char *domain;
    const char *events_topic;
    const char *dlq_topic;
    int         linger_us;
    int         queue_kbytes;
};

enum tw_rc tw_publisher_open(const struct tw_publisher_options *options, struct tw_publisher **ret_publisher,
                             struct tw_err *reterr);
/** Takes a copy of @p packed and starts sending. The flight must be done. BROKEN: the bytes are damaged. */
enum tw_rc tw_publisher_put(struct tw_publisher *publisher, struct tw_flight *flight, struct tw_str packed,
                            int64_t next_offset, struct tw_err *reterr);
/** Serves reports for up to @p timeout_ms, sends what waits for room, and makes a new producer when the old one failed. */
void       tw_publisher_serve(struct tw_publisher *publisher, int timeout_ms);
bool       tw_flight_is_done(const struct tw_flight *flight);
/** Some records wait for a report of others, or for room: serve again soon. */
bool       tw_publisher_is_waiting(const struct tw_publisher *publisher);
/** Serves until the flight is done or @p timeout_ms are over; tells which. */
bool       tw_publisher_wait(struct tw_publisher *publisher, struct tw_flight *flight, int timeout_ms);
/** The flight is no longer this worker's: forgets it, with a new producer if records are still on their way. */
void       tw_publisher_withdraw(struct tw_publisher *publisher, struct tw_flight *flight);
void       tw_flight_done(struct tw_flight *flight);
/** False: there is no producer, and none could be made; it is tried again and again. */
bool       tw_publisher_has_producer(const struct tw_publisher *publisher);
/** Waits up to @p flush_ms. Accepts NULL. */
void       tw_publisher_close(struct tw_publisher *publisher, int flush_ms);

#endif
