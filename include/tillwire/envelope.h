/**
 * The envelope of every record: CloudEvents 1.0 in Kafka binary mode, as headers, with tillwire's own beside them.
 * This header knows no Kafka: a record is plain bytes, so loops and checkers are tested without a broker.
 */
#ifndef TILLWIRE_ENVELOPE_H
#define TILLWIRE_ENVELOPE_H

#include "tillwire/arena.h"
#include "tillwire/err.h"
#include "tillwire/uuid.h"

struct tw_header {
    struct tw_str name;
    struct tw_str value;
};

/** What a record's timestamp is, where it was read from a topic or a file. */
enum tw_time_type { TW_TIME_UNKNOWN, TW_TIME_CREATE, TW_TIME_LOG_APPEND };

/** Nobody looks at the headers of a record behind this many. */
enum { TW_HEADERS_MAX = 64 };

/** One record of a topic partition as it was read or as it is to be written. Views; see who made it for their life. */
struct tw_record {
    int32_t                 partition;
    int64_t                 offset;       /**< -1 when not yet written */
    int64_t                 timestamp_ms; /**< the broker's append time */
    struct tw_str           key;
    struct tw_str           value;
    const struct tw_header *headers;
    size_t                  header_count;
    enum tw_time_type       time_type; /**< not part of tw_record_hash() */
};

enum { TW_FINGERPRINT_BYTES = 16, TW_RECORD_HASH_BYTES = 16 };

/** What the headers of a command record say. */
struct tw_envelope {
    struct tw_str  type;         /**< ce_type: "cart.add_item.v1" */
    struct tw_uuid command_id;   /**< ce_id */
    int64_t        submitted_ms; /**< ce_time: when the edge wrote it; information only, never for deciding */
    struct tw_str  traceparent;  /**< W3C, empty when absent */
    struct tw_uuid caller;       /**< tw_caller: the member on whose behalf; nil when anonymous */
    uint8_t        fingerprint[TW_FINGERPRINT_BYTES]; /**< tw_fingerprint (hex): HMAC of the body; zeros when absent */
    int64_t        if_version;                        /**< tw_if_version: If-Match; -1 when absent */
    int64_t        original_ms; /**< tw_time: original time of a requeued command; -1 when absent */
    /* read only: an operator's tool puts them behind the headers a record has */
    int64_t requeue_of; /**< tw_requeue_of: first offset of the dead letter this is the next attempt of; -1: of none */
    int64_t attempt;    /**< tw_attempt: of a requeue, 2 and up; -1 when absent */
    int64_t drop_of;    /**< tw_drop_of: first offset of the dead letter that is given up for good; -1: of none */
};

/** Header names, on the wire. */
#define TW_H_ID               "ce_id"
#define TW_H_TYPE             "ce_type"
#define TW_H_SOURCE           "ce_source"
#define TW_H_TIME             "ce_time"
#define TW_H_SPECVERSION      "ce_specversion"
#define TW_H_CONTENT_TYPE     "content-type"
#define TW_H_TRACEPARENT      "traceparent"
#define TW_H_CALLER           "tw_caller"
#define TW_H_FINGERPRINT      "tw_fingerprint"
#define TW_H_IF_VERSION       "tw_if_version"
#define TW_H_ORIGINAL_TIME    "tw_time"
#define TW_H_COMMAND_ID       "tw_command_id"   /* events: the command that caused it */
#define TW_H_CAUSE_OFFSET     "tw_cause_offset" /* events: offset of the cause in the command topic, decimal */
#define TW_H_N                "tw_n"            /* events: 0, 1, … among those of one cause, decimal */
/* an operator's word on a dead letter: a requeue is the record again with the first five, a drop has no payload */
#define TW_H_REQUEUE_OF       "tw_requeue_of" /* offset of the record that was given up first, same partition */
#define TW_H_ATTEMPT          "tw_attempt"    /* 2, 3, … */
#define TW_H_OPERATOR         "tw_operator"   /* who */
#define TW_H_BECAUSE          "tw_because"    /* why; may be absent */
#define TW_H_DROP_OF          "tw_drop_of"    /* as tw_requeue_of */
/* dead letters: the untouched record's headers, then these */
#define TW_H_DLQ_TOPIC        "tw_dlq_topic"
#define TW_H_DLQ_PARTITION    "tw_dlq_partition"
#define TW_H_DLQ_OFFSET       "tw_dlq_offset"
#define TW_H_DLQ_TIMESTAMP    "tw_dlq_timestamp"    /* ms since 1970 */
#define TW_H_DLQ_REASON       "tw_dlq_reason"       /* a code of TW_DEAD_MAP (dead_letter.h) */
#define TW_H_DLQ_MESSAGE      "tw_dlq_message"      /* a clause for people */
#define TW_H_DLQ_PROGRAM      "tw_dlq_program"      /* "tillwire-cart 0.1.0" */
#define TW_H_DLQ_FIRST_OFFSET "tw_dlq_first_offset" /* of the record that was given up first; names the dead letter */
#define TW_H_DLQ_ATTEMPTS     "tw_dlq_attempts"     /* 1, 2, … */
#define TW_H_DLQ_FIRST_FAILED "tw_dlq_first_failed" /* ms since 1970, by the partition's clock */
#define TW_H_DLQ_LAST_FAILED  "tw_dlq_last_failed"  /* the same */
/* settlements, in the dead-letter topic, too */
#define TW_H_DLQ_SETTLES      "tw_dlq_settles"    /* the first offset of the dead letter */
#define TW_H_DLQ_SETTLED_BY   "tw_dlq_settled_by" /* offset of the requeue or drop */
#define TW_H_DLQ_SETTLED_AS   "tw_dlq_settled_as" /* succeeded, rejected, accepted (a saga), repeated, dropped */
#define TW_H_DLQ_SETTLED_AT   "tw_dlq_settled_at" /* ms since 1970, by the partition's clock */

#define TW_CONTENT_TYPE "application/msgpack"

/** Empty view when there is no such header; the last one counts when repeated. */
struct tw_str tw_header_find(const struct tw_record *record, const char *name);

/** Reads a command's envelope. INVALID names the header that is missing or wrong. Views point into the record. */
enum tw_rc tw_envelope_read(const struct tw_record *record, struct tw_envelope *ret_envelope, struct tw_err *reterr);

/** The headers of a command record about to be written, in @p arena. @p ce_source: "/tillwire/edge". */
void tw_envelope_write(const struct tw_envelope *envelope, const char *ce_source, struct tw_arena *arena,
                       const struct tw_header **ret_headers, size_t *ret_count);

/** A copy of @p record with its first @p headers_max headers, and of all it points to, in @p arena. Null stays null. */
struct tw_record tw_record_copy(const struct tw_record *record, size_t headers_max, struct tw_arena *arena);

/** BLAKE2b-128 of offset, timestamp, key, value and headers: tells one record from any other, whatever the topic. */
void tw_record_hash(const struct tw_record *record, uint8_t ret_hash[TW_RECORD_HASH_BYTES]);

/** murmur2 of the key as Java's default partitioner has it (librdkafka's `murmur2_random` for keyed records). Key to
 *  partition is part of the data: pinned for ever. */
int32_t tw_partition_of(struct tw_str key, int32_t partition_count);
/** Of an aggregate: its id as text is the key of its records. */
int32_t tw_partition_of_id(struct tw_uuid id, int32_t partition_count);

#endif
