/**
 * What the dead-letter topic of a domain says about one command partition.
 *
 * A verdict given once holds for ever: every fold passes over the offsets it names instead of judging the records again.
 * A dead letter is *open* until an operator's requeue of it is decided, or a drop comes; it is again when that one becomes a
 * dead letter of its name, in a store that went back and folds it once more. While an open one could be read
 * (it *parks*), later commands of its key become dead letters, too, behind it.
 *
 * All answers are as of an offset: what the log says after it is not known yet. So a fold may begin anywhere, with all
 * dead letters read before, and comes to the same decisions as the one that made them.
 */
#ifndef TILLWIRE_RUNTIME_VERDICTS_H
#define TILLWIRE_RUNTIME_VERDICTS_H

#include "tillwire/dead_letter.h"
#include "tillwire/kafka.h"

struct tw_verdicts {
    int64_t *offsets; /**< to pass over; sorted, without duplicates */
    size_t   count, cap;
    int64_t  read_to;      /**< next offset of the dead-letter partition to read */
    void    *letters;      /**< by first offset; tsearch(3) */
    void    *keys;         /**< those that park or parked; tsearch(3) */
    size_t   open_count;   /**< dead letters that wait for an operator */
    size_t   parked_count; /**< keys whose commands wait */
};

/** Is the record at @p offset passed over? */
bool    tw_verdicts_has(const struct tw_verdicts *verdicts, int64_t offset);
/** Is the dead letter with @p first_offset open as of @p offset? */
bool    tw_verdicts_is_open(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset);
/** Does it park its key as of @p offset? */
bool    tw_verdicts_is_parking(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset);
/** Does the topic say that the record at @p offset settled it? Before that is decided: by a store that went back since. */
bool    tw_verdicts_is_settled_by(const struct tw_verdicts *verdicts, int64_t first_offset, int64_t offset);
/** The first offset of the dead letter that a command of @p key waits for as of @p offset; -1: none. @p first_offset is
 *  the command's own, or that of the dead letter it is a requeue of: only older ones are waited for. */
int64_t tw_verdicts_parked_behind(const struct tw_verdicts *verdicts, struct tw_uuid key, int64_t first_offset,
                                  int64_t offset);

/** An offset to pass over that parks nothing. */
void       tw_verdicts_add(struct tw_verdicts *verdicts, int64_t offset);
/** Adds what one record of the dead-letter topic says, or will say when it is published. */
void       tw_verdicts_take(struct tw_verdicts *verdicts, const struct tw_record *dead_letter);
/** Reads what the partition of @p dlq_topic holds beyond `read_to`. Blocks; only while a partition recovers. */
enum tw_rc tw_verdicts_read(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                            int32_t partition, int timeout_ms, struct tw_err *reterr);
void       tw_verdicts_done(struct tw_verdicts *verdicts);

#endif
