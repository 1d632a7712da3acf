#include "verdicts.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/log.h"

static size_t lower_bound(const struct tw_verdicts *verdicts, int64_t offset)
{
    size_t low = 0;
    size_t high = verdicts->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (verdicts->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tw_verdicts_has(const struct tw_verdicts *verdicts, int64_t offset)
{
    size_t at = lower_bound(verdicts, offset);

    return at < verdicts->count && verdicts->offsets[at] == offset;
}

void tw_verdicts_add(struct tw_verdicts *verdicts, int64_t offset)
{
    size_t at = lower_bound(verdicts, offset);

    if (at < verdicts->count && verdicts->offsets[at] == offset)
        return;
    if (verdicts->count == verdicts->cap) {
        verdicts->cap = verdicts->cap ? 2 * verdicts->cap : 16;
        verdicts->offsets = tw_realloc(verdicts->offsets, verdicts->cap * sizeof(*verdicts->offsets));
    }
    memmove(&verdicts->offsets[at + 1], &verdicts->offsets[at], (verdicts->count - at) * sizeof(*verdicts->offsets));
    verdicts->offsets[at] = offset;
    verdicts->count++;
}

void tw_verdicts_take(struct tw_verdicts *verdicts, const struct tw_record *dead_letter)
{
    int64_t offset;

    verdicts->read_to = dead_letter->offset + 1;
    if (tw_str_to_int(tw_header_find(dead_letter, TW_H_DLQ_OFFSET), &offset))
        tw_verdicts_add(verdicts, offset);
    else
        tw_log(TW_LOG_WARN, "dead letter without an origin offset is ignored",
               TW_F_INT("partition", dead_letter->partition), TW_F_INT("offset", dead_letter->offset));
}

static void take_dead_letter(void *self, const char *topic, const struct tw_record *record)
{
    (void)topic;
    tw_verdicts_take(self, record);
}

static enum tw_rc read_dead_letters(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                                    int32_t partition, int timeout_ms, struct tw_err *reterr)
{
    int64_t            deadline_us = tw_monotonic_us() + (int64_t)timeout_ms * 1000;
    int64_t            low, high;
    struct tw_position position = {dlq_topic, partition, 0};

    TW_TRY(tw_reader_bounds(reader, dlq_topic, partition, timeout_ms, &low, &high, reterr));
    if (verdicts->read_to < low)
        verdicts->read_to = low;
    if (verdicts->read_to >= high)
        return TW_OK;
    position.offset = verdicts->read_to;
    TW_TRY(tw_reader_assign(reader, &position, 1, reterr));
    while (verdicts->read_to < high) {
        size_t count;

        TW_TRY(tw_reader_poll(reader, 100, 1000, take_dead_letter, verdicts, &count, reterr));
        if (!count && tw_monotonic_us() > deadline_us)
            return tw_fail(reterr, TW_UNREACHED, "verdicts.read", 0, "reading '%s' partition %d took over %d ms",
                           dlq_topic, partition, timeout_ms);
    }
    return TW_OK;
}

/* What a dead letter names stands behind the headers of the record that was given up, however many those are. */
enum tw_rc tw_verdicts_read(struct tw_verdicts *verdicts, struct tw_reader *reader, const char *dlq_topic,
                            int32_t partition, int timeout_ms, struct tw_err *reterr)
{
    enum tw_rc rc;

    tw_reader_take_all_headers(reader, true);
    rc = read_dead_letters(verdicts, reader, dlq_topic, partition, timeout_ms, reterr);
    tw_reader_take_all_headers(reader, false);
    return rc;
}

void tw_verdicts_done(struct tw_verdicts *verdicts)
{
    if (!verdicts)
        return;
    free(verdicts->offsets);
    *verdicts = (struct tw_verdicts){0};
}
