#include <stdlib.h>
#include <string.h>

#include "source.h"
#include "tillwire/gen/topics.h"
#include "tillwire/kafka.h"

enum { FIRST_RECORD_MS = 1000, MORE_RECORDS_MS = 50 };

struct kafka_source {
    struct tw_reader     *reader;
    enum tw_domain_number domain;
    int                   timeout_ms;
    /* of the read under way */
    struct tw_arena      *arena;
    struct tw_record     *records;
    size_t                count;
    size_t                bytes;
};

static const char *commands_of(const struct kafka_source *self)
{
    return tw_topic_of(self->domain, TW_TOPIC_COMMANDS)->name;
}

static enum tw_rc kafka_bounds(void *source, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                               struct tw_err *reterr)
{
    struct kafka_source *self = source;

    return tw_reader_bounds(self->reader, commands_of(self), partition, self->timeout_ms, ret_low, ret_high, reterr);
}

static enum tw_rc kafka_seek(void *source, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    struct kafka_source     *self = source;
    const struct tw_position position = {commands_of(self), partition, offset};

    return tw_reader_assign(self->reader, &position, 1, reterr);
}

/* What the record points to goes with librdkafka's buffer when this returns. */
static void keep(void *source, const char *topic, const struct tw_record *record)
{
    struct kafka_source *self = source;

    (void)topic;
    self->records[self->count++] = tw_record_copy(record, TW_HEADERS_MAX, self->arena);
    self->bytes += record->key.len + record->value.len;
}

static enum tw_rc kafka_read(void *source, size_t max, size_t max_bytes, struct tw_arena *arena,
                             struct tw_record *ret_records, size_t *ret_count, struct tw_err *reterr)
{
    struct kafka_source *self = source;
    size_t               came = 1;

    self->arena = arena;
    self->records = ret_records;
    self->count = self->bytes = 0;
    while (came && self->count < max && self->bytes < max_bytes)
        TW_TRY(tw_reader_poll(self->reader, self->count ? MORE_RECORDS_MS : FIRST_RECORD_MS, max - self->count, keep,
                              self, &came, reterr));
    *ret_count = self->count;
    return TW_OK;
}

/* Dead letters that were deleted cannot be told, and without them a fold may decide what was given up. */
static enum tw_rc kafka_verdicts(void *source, int32_t partition, struct tw_verdicts *verdicts, struct tw_err *reterr)
{
    struct kafka_source *self = source;
    const char          *topic = tw_topic_of(self->domain, TW_TOPIC_DLQ)->name;
    int64_t              low, high;

    TW_TRY(tw_reader_bounds(self->reader, topic, partition, self->timeout_ms, &low, &high, reterr));
    if (verdicts->read_to < low)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "'%s' partition %d begins at %lld, but is needed from %lld: its beginning is gone", topic,
                       (int)partition, (long long)low, (long long)verdicts->read_to);
    return tw_verdicts_read(verdicts, self->reader, topic, partition, self->timeout_ms, reterr);
}

static void kafka_close(void *source)
{
    struct kafka_source *self = source;

    if (!self)
        return;
    tw_reader_close(self->reader);
    free(self);
}

static enum tw_rc check_topics(const char *brokers, enum tw_domain_number domain, int timeout_ms, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf     differences = {0};
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    const char                            *commands = tw_topic_of(domain, TW_TOPIC_COMMANDS)->name;
    struct tw_str name = tw_arena_copy(&arena, (struct tw_str){commands, strcspn(commands, ".")});

    TW_TRY(tw_topics_diff(brokers, name.ptr, timeout_ms, &differences, reterr));
    if (differences.len)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0, "topics differ from the manifest: %.*s",
                       TW_STR_ARG(tw_buf_str(&differences)));
    return TW_OK;
}

/* Several of them are open at once, and one that is read all the time needs little ahead. Whoever goes from partition to
 * partition waits for the answer to the last question at each end. */
static enum tw_rc open_reader(const char *brokers, struct tw_reader **ret_reader, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_str with_options = tw_arena_printf(&arena, "%s%cqueued.max.messages.kbytes=4096&fetch.wait.max.ms=10",
                                                 brokers, strchr(brokers, '?') ? '&' : '?');

    return tw_reader_open(with_options.ptr, "tillwire-replay", ret_reader, reterr);
}

enum tw_rc tw_source_open_kafka(const char *brokers, enum tw_domain_number domain, int timeout_ms,
                                struct tw_source *ret_source, struct tw_err *reterr)
{
    struct kafka_source *self;
    struct tw_reader    *reader;

    TW_TRY(check_topics(brokers, domain, timeout_ms, reterr));
    TW_TRY(open_reader(brokers, &reader, reterr));
    self = tw_alloc_zeroed(1, sizeof(*self));
    *self = (struct kafka_source){.reader = reader, .domain = domain, .timeout_ms = timeout_ms};
    *ret_source = (struct tw_source){
        .name = "the cluster",
        .bounds = kafka_bounds,
        .seek = kafka_seek,
        .read = kafka_read,
        .verdicts = kafka_verdicts,
        .close = kafka_close,
        .self = self,
    };
    return TW_OK;
}
