#include "array_source.h"

static enum tw_rc array_bounds(void *self, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                               struct tw_err *reterr)
{
    const struct tw_array_source *array = self;

    (void)partition;
    (void)reterr;
    *ret_low = array->low;
    *ret_high = array->high;
    return TW_OK;
}

static enum tw_rc array_seek(void *self, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    struct tw_array_source *array = self;

    (void)partition;
    (void)reterr;
    array->seeks++;
    for (array->next = 0; array->next < array->count && array->records[array->next].offset < offset;)
        array->next++;
    return TW_OK;
}

static enum tw_rc array_read(void *self, size_t max, size_t max_bytes, struct tw_arena *arena,
                             struct tw_record *ret_records, size_t *ret_count, struct tw_err *reterr)
{
    struct tw_array_source *array = self;
    size_t                  most = array->per_read < max ? array->per_read : max;

    (void)max_bytes;
    (void)arena;
    (void)reterr;
    if (array->stop && array->reads == array->stop_after)
        atomic_store(array->stop, true);
    array->reads++;
    *ret_count = 0;
    while (*ret_count < most && array->next < array->count)
        ret_records[(*ret_count)++] = array->records[array->next++];
    return TW_OK;
}

static enum tw_rc array_verdicts(void *self, int32_t partition, struct tw_verdicts *verdicts, struct tw_err *reterr)
{
    const struct tw_array_source *array = self;

    (void)partition;
    (void)reterr;
    for (size_t i = 0; i < array->dead_count; i++)
        tw_verdicts_add(verdicts, array->dead[i]);
    return TW_OK;
}

static void array_close(void *self)
{
    struct tw_array_source *array = self;

    if (array)
        array->is_closed = true;
}

void tw_array_source_open(struct tw_array_source *array, const struct tw_test_log *log, struct tw_source *ret_source)
{
    *array = (struct tw_array_source){
        .records = log->records,
        .count = log->len,
        .high = log->len,
        .per_read = SIZE_MAX,
    };
    *ret_source = (struct tw_source){
        .name = "the arrays",
        .bounds = array_bounds,
        .seek = array_seek,
        .read = array_read,
        .verdicts = array_verdicts,
        .close = array_close,
        .self = array,
    };
}
