/**
 * What a record of a dead-letter topic says: that a command was given up and why, or what an operator's word made of it
 * afterwards. Together with the command log these records are all there is to know: which offsets are passed over, which
 * commands are parked, and which of them are settled. docs/dead-letters.md has the rules.
 */
#ifndef TILLWIRE_DEAD_LETTER_H
#define TILLWIRE_DEAD_LETTER_H

#include "tillwire/envelope.h"

/** Reasons, in the dead letter's headers. Released names: rows are only added. The third column: could the command be
 *  read, so that later ones with its key must wait for it? */
#define TW_DEAD_MAP(X)                            \
    X(BAD_ENVELOPE, "bad_envelope", false)        \
    X(UNKNOWN_TYPE, "unknown_type", false)        \
    X(UNDECODABLE, "undecodable", false)          \
    X(MISROUTED, "misrouted", false)              \
    X(REFUSED_BY_STORE, "refused_by_store", true) \
    X(PARKED, "parked", true)

enum tw_dead_reason {
#define X(name, code, parks) TW_DEAD_##name,
    TW_DEAD_MAP(X)
#undef X
};
const char *tw_dead_reason_code(enum tw_dead_reason reason);

/** The type of the record by which an operator gives a dead letter up for good; it has no payload. */
#define TW_DROP_TYPE "dead_letter.drop.v1"

/** A dead letter is settled as the status its requeue ended with, as "dropped", or as this: the requeue changed nothing,
 *  because another record of its command's id has had the effect meanwhile. */
#define TW_SETTLED_REPEATED "repeated"

struct tw_dead_letter {
    bool          is_settlement;   /**< else it gives a record up */
    int64_t       offset;          /**< in the command topic: of the record given up, or of the one that settles */
    int64_t       first_offset;    /**< of the record that was given up first: what all its requeues name */
    struct tw_str reason;          /**< a code of TW_DEAD_MAP */
    struct tw_str message;         /**< a clause for people */
    struct tw_str program;         /**< "tillwire-cart 0.1.0" */
    bool          parks;           /**< later commands of its key wait for it */
    int64_t       timestamp_ms;    /**< of the record given up */
    int64_t       attempts;        /**< 1 and up */
    int64_t       first_failed_ms; /**< by the partition's clock; a requeue is decided at this time */
    int64_t       last_failed_ms;
    int64_t       settled_at_ms;
    struct tw_str
        settled_as; /**< "dropped", or what became of the requeue: "succeeded", "rejected", "accepted", "repeated" */
    struct tw_str asked_by; /**< the operator */
    struct tw_str because;  /**< why, as the operator has it; may be empty */
};

/** The headers that stand behind a record's own in its dead letter. */
enum { TW_DEAD_LETTER_HEADERS = 11 };

/** Reads @p record of a dead-letter topic; false when it is neither. Views point into the record. Only the last
 *  TW_DEAD_LETTER_HEADERS headers are a worker's words: read records with all their headers. */
bool tw_dead_letter_read(const struct tw_record *record, struct tw_dead_letter *ret_letter);

/** How many headers of @p dead_letter are those of the record that was given up; the worker's are behind them. REFUSED: at
 *  its end are not all of the worker's, in its order; the sentence names what is there instead. */
enum tw_rc tw_dead_letter_own_headers(const struct tw_record *dead_letter, size_t *ret_count, struct tw_err *reterr);

/** What an operator says about a dead letter. */
struct tw_operator_word {
    struct tw_str  asked_by;   /**< who; not empty */
    struct tw_str  because;    /**< why; may be empty */
    struct tw_uuid command_id; /**< of a drop, made for the partition */
    int64_t        now_ms;     /**< of a drop: when it is written */
};

/** The record that requeues what @p dead_letter gave up, as @p letter says: the same key and value, and the record's own
 *  headers behind those of the requeue, but for such as have their names. Written to the same partition. In @p arena, or
 *  views into @p dead_letter. REFUSED: what its own headers are cannot be told, tw_dead_letter_own_headers(). */
enum tw_rc       tw_requeue_record(const struct tw_record *dead_letter, const struct tw_dead_letter *letter,
                                   const struct tw_operator_word *word, struct tw_arena *arena, struct tw_record *ret_record,
                                   struct tw_err *reterr);
/** The record that gives it up for good. */
struct tw_record tw_drop_record(const struct tw_record *record, const struct tw_dead_letter *letter,
                                const struct tw_operator_word *word, struct tw_arena *arena);

#endif
