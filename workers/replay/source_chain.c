/*
 * Exported files first, then what the cluster has beyond them. Where they meet, the cluster's record must be the one the
 * files end with: an export of another cluster is found there.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

struct chain {
    struct tw_source files;
    struct tw_source cluster;
    int32_t          partition; /* that is read */
    int64_t          next;      /* its next record */
    int64_t          files_end;
    bool             in_cluster;
    bool             joins;                           /* the cluster's next record is the files' last one */
    uint8_t          last_hash[TW_RECORD_HASH_BYTES]; /* of the record before `next` */
};

static enum tw_rc chain_bounds(void *source, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                               struct tw_err *reterr)
{
    struct chain *self = source;
    int64_t       low, high;

    TW_TRY(self->files.bounds(self->files.self, partition, ret_low, ret_high, reterr));
    TW_TRY(self->cluster.bounds(self->cluster.self, partition, &low, &high, reterr));
    if (high < *ret_high)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "partition %" PRId32 " ends at %" PRId64 " in the cluster, but at %" PRId64
                       " in %s: they are of another cluster, or it lost its tail",
                       partition, high, *ret_high, self->files.name);
    *ret_high = high;
    return TW_OK;
}

/* @p joins: the last record of the files is read once more, to be compared. */
static enum tw_rc go_to_cluster(struct chain *self, bool joins, struct tw_err *reterr)
{
    int64_t low, high;

    self->in_cluster = true;
    TW_TRY(self->cluster.bounds(self->cluster.self, self->partition, &low, &high, reterr));
    self->joins = joins;
    if (low > self->next - self->joins)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "partition %" PRId32 ": %s end before %" PRId64 ", and the cluster begins only at %" PRId64,
                       self->partition, self->files.name, self->next, low);
    return self->cluster.seek(self->cluster.self, self->partition, self->next - self->joins, reterr);
}

static enum tw_rc chain_seek(void *source, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    struct chain *self = source;
    int64_t       low;

    TW_TRY(self->files.bounds(self->files.self, partition, &low, &self->files_end, reterr));
    self->partition = partition;
    self->next = offset;
    self->in_cluster = false;
    if (offset < self->files_end)
        return self->files.seek(self->files.self, partition, offset, reterr);
    return go_to_cluster(self, false, reterr); /* nothing of the files was read: whoever folds has a hash to compare */
}

static enum tw_rc check_joint(struct chain *self, struct tw_record *records, size_t *count, struct tw_err *reterr)
{
    uint8_t hash[TW_RECORD_HASH_BYTES];

    self->joins = false;
    tw_record_hash(&records[0], hash);
    if (records[0].offset != self->files_end - 1 || memcmp(hash, self->last_hash, sizeof(hash)) != 0)
        return tw_fail(reterr, TW_BROKEN, "replay.source", 0,
                       "record %" PRId64 " of partition %" PRId32 " is another one in the cluster than in %s: they are "
                       "an export of another cluster",
                       self->files_end - 1, self->partition, self->files.name);
    memmove(records, records + 1, --*count * sizeof(*records));
    return TW_OK;
}

static enum tw_rc chain_read(void *source, size_t max, size_t max_bytes, struct tw_arena *arena,
                             struct tw_record *ret_records, size_t *ret_count, struct tw_err *reterr)
{
    struct chain     *self = source;
    struct tw_source *part;

    if (!self->in_cluster && self->next == self->files_end)
        TW_TRY(go_to_cluster(self, self->next > 0, reterr));
    part = self->in_cluster ? &self->cluster : &self->files;
    TW_TRY(part->read(part->self, max, max_bytes, arena, ret_records, ret_count, reterr));
    if (!*ret_count)
        return TW_OK;
    if (self->joins)
        TW_TRY(check_joint(self, ret_records, ret_count, reterr));
    if (!*ret_count)
        return TW_OK;
    self->next = ret_records[*ret_count - 1].offset + 1;
    tw_record_hash(&ret_records[*ret_count - 1], self->last_hash);
    return TW_OK;
}

/* The files' dead letters, then the cluster's from where the files end: both name offsets of the same log. */
static enum tw_rc chain_verdicts(void *source, int32_t partition, struct tw_verdicts *verdicts, struct tw_err *reterr)
{
    struct chain *self = source;

    TW_TRY(self->files.verdicts(self->files.self, partition, verdicts, reterr));
    return self->cluster.verdicts(self->cluster.self, partition, verdicts, reterr);
}

static void chain_close(void *source)
{
    struct chain *self = source;

    if (!self)
        return;
    self->files.close(self->files.self);
    self->cluster.close(self->cluster.self);
    free(self);
}

void tw_source_chain(struct tw_source files, struct tw_source cluster, struct tw_source *ret_source)
{
    struct chain *self = tw_alloc_zeroed(1, sizeof(*self));

    *self = (struct chain){.files = files, .cluster = cluster};
    *ret_source = (struct tw_source){
        .name = files.name,
        .bounds = chain_bounds,
        .seek = chain_seek,
        .read = chain_read,
        .verdicts = chain_verdicts,
        .close = chain_close,
        .self = self,
    };
}
