/*
 * Records from exported files. They come as the workers saw them: with their first TW_HEADERS_MAX headers, so that hashes
 * of records are those that stores keep. Dead letters come whole, because what they name stands in their last headers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log_file.h"

struct file_source {
    struct tw_log_reader *commands;
    struct tw_log_reader *dead_letters;
    char                 *name;
};

static const struct tw_log_bounds *bounds_of(const struct tw_log_reader *reader, int32_t partition)
{
    const struct tw_log_info *info = tw_log_reader_info(reader);

    return partition >= 0 && partition < info->partition_count ? &info->partitions[partition] : NULL;
}

static enum tw_rc file_bounds(void *source, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                              struct tw_err *reterr)
{
    const struct file_source   *self = source;
    const struct tw_log_bounds *bounds = bounds_of(self->commands, partition);

    if (!bounds)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0, "there is no partition %" PRId32 " in %s", partition,
                       self->name);
    *ret_low = bounds->first;
    *ret_high = bounds->behind;
    return TW_OK;
}

static enum tw_rc file_seek(void *source, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    const struct file_source *self = source;

    return tw_log_reader_seek(self->commands, partition, offset, reterr);
}

static enum tw_rc file_read(void *source, size_t max, size_t max_bytes, struct tw_arena *arena,
                            struct tw_record *ret_records, size_t *ret_count, struct tw_err *reterr)
{
    const struct file_source *self = source;
    struct tw_record          record;
    size_t                    count = 0, bytes = 0;
    bool                      there = true;

    while (count < max && bytes < max_bytes) {
        TW_TRY(tw_log_reader_next(self->commands, &record, &there, reterr));
        if (!there)
            break;
        ret_records[count++] = tw_record_copy(&record, TW_HEADERS_MAX, arena);
        bytes += record.key.len + record.value.len;
    }
    *ret_count = count;
    return TW_OK;
}

static enum tw_rc file_verdicts(void *source, int32_t partition, struct tw_verdicts *verdicts, struct tw_err *reterr)
{
    const struct file_source   *self = source;
    const struct tw_log_bounds *bounds = bounds_of(self->dead_letters, partition);
    struct tw_record            record;
    bool                        there = true;

    if (!bounds)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "there are no dead letters of partition %" PRId32 " in %s", partition, self->name);
    if (verdicts->read_to < bounds->first)
        verdicts->read_to = bounds->first;
    if (verdicts->read_to >= bounds->behind)
        return TW_OK;
    TW_TRY(tw_log_reader_seek(self->dead_letters, partition, verdicts->read_to, reterr));
    for (;;) {
        TW_TRY(tw_log_reader_next(self->dead_letters, &record, &there, reterr));
        if (!there)
            return TW_OK;
        tw_verdicts_take(verdicts, &record);
        verdicts->read_to = record.offset + 1;
    }
}

static void file_close(void *source)
{
    struct file_source *self = source;

    if (!self)
        return;
    tw_log_reader_close(self->commands);
    tw_log_reader_close(self->dead_letters);
    free(self->name);
    free(self);
}

/* A file holds what its name and the manifest say, or it is none of this log. */
static enum tw_rc open_topic(const char *folder, const struct tw_topic *topic, struct tw_log_reader **ret_reader,
                             struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    const char                            *path = tw_arena_printf(&arena, "%s/%s.twlog", folder, topic->name).ptr;
    const struct tw_log_info              *info;

    TW_TRY(tw_log_reader_open(path, ret_reader, reterr));
    info = tw_log_reader_info(*ret_reader);
    if (!tw_str_is(info->topic, topic->name))
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0, "'%s' holds the topic '%.*s'", path,
                       TW_STR_ARG(info->topic));
    if (info->partition_count != topic->partitions)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "'%s' holds a topic of %" PRId32 " partitions, the manifest says %" PRId32, path,
                       info->partition_count, topic->partitions);
    return TW_OK;
}

enum tw_rc tw_source_open_files(const char *folder, enum tw_domain_number domain, struct tw_source *ret_source,
                                struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct file_source                    *self = tw_alloc_zeroed(1, sizeof(*self));
    enum tw_rc                             rc;

    self->name = tw_strdup(tw_arena_printf(&arena, "the files in %s", folder).ptr);
    rc = open_topic(folder, tw_topic_of(domain, TW_TOPIC_COMMANDS), &self->commands, reterr);
    if (rc == TW_OK)
        rc = open_topic(folder, tw_topic_of(domain, TW_TOPIC_DLQ), &self->dead_letters, reterr);
    if (rc != TW_OK) {
        file_close(self);
        return rc;
    }
    *ret_source = (struct tw_source){
        .name = self->name,
        .bounds = file_bounds,
        .seek = file_seek,
        .read = file_read,
        .verdicts = file_verdicts,
        .close = file_close,
        .self = self,
    };
    return TW_OK;
}
