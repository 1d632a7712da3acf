/**
 * What the dead-letter topics say, as far as they are read: every dead letter with what became of it, and who waits for
 * whom. The bytes of the records stay in the topics. Pure: reads no topic and no clock. docs/dead-letters.md has the rules.
 */
#ifndef TILLWIRE_TWCTL_DLQ_BOOK_H
#define TILLWIRE_TWCTL_DLQ_BOOK_H

#include "tillwire/dead_letter.h"
#include "tillwire/gen/topics.h"

/** What became of one that was chosen; TW_DLQ_UNTOUCHED: it was not. */
enum tw_dlq_fate {
    TW_DLQ_UNTOUCHED,
    TW_DLQ_CHOSEN,    /**< to be written */
    TW_DLQ_WRITTEN,   /**< requeue or drop is in the command log */
    TW_DLQ_SETTLED,   /**< by that one, or by somebody else meanwhile */
    TW_DLQ_FAILED,    /**< it is a dead letter once more */
    TW_DLQ_NOT_HEARD, /**< the worker says that it changes nothing: an older one of its key is open */
    TW_DLQ_REFUSED,   /**< nothing was written: `why_not` */
};

struct tw_dlq_letter {
    enum tw_domain_number domain;
    int32_t               partition;
    int64_t               first_offset; /**< domain, partition and this are its name */
    int64_t               record_at;    /**< where its first dead letter stands in the dead-letter topic */
    int64_t               last_offset;  /**< of the record that was given up last */
    const char           *key;          /**< as text, "" for none; bytes that are no text are told as such */
    const char           *type;
    const char           *reason;
    const char           *message;
    const char           *program;
    struct tw_uuid        key_id;  /**< nil: the key is no id, so nobody waits for anybody */
    bool                  parks;   /**< later ones of its key wait for it while it is open */
    bool                  follows; /**< chosen because one before it was */
    const char           *broken;  /**< why its record cannot be told from what a worker added; NULL: it can */
    int64_t               attempts;
    int64_t               timestamp_ms;
    int64_t               first_failed_ms;
    int64_t               last_failed_ms;
    int64_t               settled_by; /**< offset of the requeue or drop; -1: it is open */
    int64_t               settled_at_ms;
    const char           *settled_as;
    const char           *asked_by;
    const char           *because;
    struct tw_dlq_letter *waits_for; /**< the oldest open one of its key, when that is another; tw_dlq_book_link() */
    enum tw_dlq_fate      fate;
    const char           *why_not;
    int64_t               written_at;  /**< offset of the requeue or drop; -1: not known */
    int64_t               given_up_at; /**< `last_offset` when that was written */
};

enum { TW_DLQ_LETTERS_MAX = 2000000 };

struct tw_dlq_book {
    struct tw_arena        arena;
    struct tw_dlq_letter **letters; /**< by domain, partition, first offset */
    struct tw_dlq_letter **by_key;  /**< by domain, partition, key, first offset, as of the last tw_dlq_book_link() */
    size_t                 count, cap;
};

/** Adds what one record of @p topic says; the same record again changes nothing. REFUSED: there are more dead letters than
 *  TW_DLQ_LETTERS_MAX. */
enum tw_rc tw_dlq_book_take(struct tw_dlq_book *book, const struct tw_topic *topic, const struct tw_record *record,
                            struct tw_err *reterr);
/** NULL: there is none of that name. */
struct tw_dlq_letter *tw_dlq_book_find(const struct tw_dlq_book *book, enum tw_domain_number domain, int32_t partition,
                                       int64_t first_offset);
/** Sets `waits_for` of all of them, and `by_key`. */
void                  tw_dlq_book_link(struct tw_dlq_book *book);
bool                  tw_dlq_is_open(const struct tw_dlq_letter *letter);
bool                  tw_dlq_same_key(const struct tw_dlq_letter *letter, const struct tw_dlq_letter *other);
/** "cart/3/17" */
struct tw_str         tw_dlq_name(const struct tw_dlq_letter *letter, struct tw_arena *arena);
/** Accepts NULL. */
void                  tw_dlq_book_done(struct tw_dlq_book *book);

#endif
