/**
 * The offsets of a command partition that its dead-letter topic names. A verdict given once holds for ever: every fold
 * passes over these offsets instead of judging the records again.
 */
#ifndef TILLWIRE_RUNTIME_VERDICTS_H
#define TILLWIRE_RUNTIME_VERDICTS_H

#include "tillwire/kafka.h"

struct tw_verdicts {
    int64_t *offsets; /**< sorted, without duplicates */
    size_t   count, cap;
    int64_t  read_to; /**< next offset of the dead-letter partition to read */
};

bool       tw_verdicts_has(const struct tw_verdicts *verdicts, int64_t offset);
void       tw_verdicts_add(struct tw_verdicts *verdicts, int64_t offset);
/** Adds what one record of the dead-letter topic names, and moves `read_to` behind it. */
void       tw_verdicts_take(struct tw_verdicts *verdicts, const struct tw_record *dead_letter);
/** Reads what the partition of @p dlq_topic holds beyond `read_to`. Blocks; only while a partition recovers. */
enum tw_rc tw_verdicts_read(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                            int32_t partition, int timeout_ms, struct tw_err *reterr);
void       tw_verdicts_done(struct tw_verdicts *verdicts);

#endif
