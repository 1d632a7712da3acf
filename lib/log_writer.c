/*
 * Records gather in one block, which is compressed, sealed with its checksum and written when it is full or its partition
 * ends. The file has its name only when all of it is on the disk (tillwire/part_file.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "log_format.h"
#include "tillwire/part_file.h"

enum { LEVEL = 6, INDEX_STEP = 1000 };

struct tw_log_writer {
    struct tw_part_file      file;
    int64_t                  position;
    crypto_hash_sha256_state sha256;
    ZSTD_CCtx               *zstd;
    char                    *topic;
    struct tw_log_bounds    *partitions;
    int32_t                  partition_count;
    int32_t                  partition; /* of the next record */
    int64_t                  offset;
    struct tw_buf            raw;
    struct tw_buf            out;
    struct tw_log_entry      block; /* what is gathered; `records` 0: nothing */
    int64_t                  last_ms;
    struct tw_log_entry     *entries;
    size_t                   entry_count, entry_cap;
};

static enum tw_rc write_all(struct tw_log_writer *writer, struct tw_str bytes, struct tw_err *reterr)
{
    writer->position += (int64_t)bytes.len;
    while (bytes.len > 0) {
        ssize_t written = write(writer->file.fd, bytes.ptr, bytes.len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return tw_fail(reterr, TW_REFUSED, "log_writer", errno, "cannot write '%s': %s", writer->file.part,
                           strerror(errno));
        bytes = (struct tw_str){bytes.ptr + written, bytes.len - (size_t)written};
    }
    return TW_OK;
}

/* Writes what `out` holds; it counts in the file's SHA-256. */
static enum tw_rc write_out(struct tw_log_writer *writer, struct tw_err *reterr)
{
    crypto_hash_sha256_update(&writer->sha256, (const uint8_t *)writer->out.ptr, writer->out.len);
    TW_TRY(write_all(writer, tw_buf_str(&writer->out), reterr));
    tw_buf_clear(&writer->out);
    return TW_OK;
}

static void seal(struct tw_buf *out)
{
    uint8_t hash[TW_LOG_HASH_BYTES];

    tw_log_hash(tw_buf_str(out), hash);
    tw_buf_add(out, hash, sizeof(hash));
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static enum tw_rc check_info(const struct tw_log_info *info, struct tw_err *reterr)
{
    if (info->partition_count < 1 || info->partition_count > TW_LOG_PARTITIONS_MAX ||
        info->topic.len > TW_LOG_TEXT_MAX_BYTES || info->cluster.len > TW_LOG_TEXT_MAX_BYTES ||
        info->program.len > TW_LOG_TEXT_MAX_BYTES)
        return tw_fail(reterr, TW_INVALID, "log_writer", 0, "a topic of %" PRId32 " partitions, or with such a name",
                       info->partition_count);
    return TW_OK;
}

static void put_head(struct tw_buf *out, const struct tw_log_info *info)
{
    TW_AUTO(tw_buf_done) struct tw_buf body = {0};

    tw_log_put_i64(&body, info->written_ms);
    tw_log_put_u32(&body, (uint32_t)info->partition_count);
    tw_log_put_text(&body, info->topic);
    tw_log_put_text(&body, info->cluster);
    tw_log_put_text(&body, info->program);
    for (int32_t i = 0; i < info->partition_count; i++) {
        tw_log_put_i64(&body, info->partitions[i].first);
        tw_log_put_i64(&body, info->partitions[i].behind);
    }
    tw_buf_add(out, TW_LOG_MAGIC, TW_LOG_MAGIC_BYTES);
    tw_log_put_u32(out, TW_LOG_FILE_VERSION);
    tw_log_put_u32(out, ~(uint32_t)TW_LOG_FILE_VERSION);
    tw_log_put_u32(out, (uint32_t)body.len);
    tw_buf_add_str(out, tw_buf_str(&body));
    seal(out);
}

/* The first partition from here on that still wants records is the next one. */
static void pass_over_empty(struct tw_log_writer *writer)
{
    while (writer->partition < writer->partition_count &&
           writer->offset >= writer->partitions[writer->partition].behind)
        if (++writer->partition < writer->partition_count)
            writer->offset = writer->partitions[writer->partition].first;
}

static struct tw_log_writer *make_writer(const struct tw_log_info *info)
{
    struct tw_log_writer *writer = tw_alloc_zeroed(1, sizeof(*writer));

    writer->topic = tw_alloc_zeroed(1, info->topic.len + 1);
    memcpy(writer->topic, info->topic.ptr, info->topic.len);
    writer->partition_count = info->partition_count;
    writer->partitions = tw_alloc((size_t)info->partition_count * sizeof(*writer->partitions));
    memcpy(writer->partitions, info->partitions, (size_t)info->partition_count * sizeof(*writer->partitions));
    writer->offset = writer->partitions[0].first;
    writer->raw.max_bytes = TW_LOG_BLOCK_MAX_BYTES;
    writer->out.max_bytes = 2 * (size_t)TW_LOG_BLOCK_MAX_BYTES;
    crypto_hash_sha256_init(&writer->sha256);
    writer->zstd = ZSTD_createCCtx();
    if (!writer->zstd)
        tw_out_of_memory(sizeof(writer->zstd));
    ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL);
    pass_over_empty(writer);
    return writer;
}

enum tw_rc tw_log_writer_open(const char *path, const struct tw_log_info *info, struct tw_log_writer **ret_writer,
                              struct tw_err *reterr)
{
    struct tw_log_writer *writer;
    enum tw_rc            rc;

    TW_TRY(check_info(info, reterr));
    writer = make_writer(info);
    rc = tw_part_file_open(path, &writer->file, reterr);
    if (rc == TW_OK) {
        put_head(&writer->out, info);
        rc = write_out(writer, reterr);
    }
    if (rc != TW_OK) {
        tw_log_writer_close(writer);
        return rc;
    }
    *ret_writer = writer;
    return TW_OK;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static enum tw_rc compress_block(struct tw_log_writer *writer, struct tw_err *reterr)
{
    size_t bound = ZSTD_compressBound(writer->raw.len);
    void  *packed = tw_alloc(bound);
    size_t len = ZSTD_compress2(writer->zstd, packed, bound, writer->raw.ptr, writer->raw.len);

    if (ZSTD_isError(len)) {
        free(packed);
        return tw_fail(reterr, TW_BROKEN, "log_writer", 0, "zstd: %s", ZSTD_getErrorName(len));
    }
    writer->block.packed_bytes = (uint32_t)len;
    tw_log_put_block_head(&writer->out, &writer->block);
    tw_buf_add(&writer->out, packed, len);
    free(packed);
    seal(&writer->out);
    return TW_OK;
}

static void remember_block(struct tw_log_writer *writer)
{
    if (writer->entry_count == writer->entry_cap) {
        writer->entry_cap = writer->entry_cap ? 2 * writer->entry_cap : 64;
        writer->entries = tw_realloc(writer->entries, writer->entry_cap * sizeof(*writer->entries));
    }
    writer->entries[writer->entry_count++] = writer->block;
}

static enum tw_rc flush_block(struct tw_log_writer *writer, struct tw_err *reterr)
{
    if (writer->block.records == 0)
        return TW_OK;
    writer->block.position = writer->position;
    writer->block.raw_bytes = (uint32_t)writer->raw.len;
    TW_TRY(compress_block(writer, reterr));
    TW_TRY(write_out(writer, reterr));
    remember_block(writer);
    tw_buf_clear(&writer->raw);
    writer->last_ms = 0;
    writer->block.records = 0;
    return TW_OK;
}

static enum tw_rc check_place(const struct tw_log_writer *writer, const struct tw_record *record, struct tw_err *reterr)
{
    if (writer->partition < writer->partition_count && record->partition == writer->partition &&
        record->offset == writer->offset)
        return TW_OK;
    if (writer->partition == writer->partition_count)
        return tw_fail(reterr, TW_BROKEN, "log_writer", 0,
                       "'%s' has more records than it said: partition %" PRId32 " offset %" PRId64, writer->topic,
                       record->partition, record->offset);
    return tw_fail(reterr, TW_BROKEN, "log_writer", 0,
                   "'%s' partition %" PRId32 " should go on with offset %" PRId64 ", but partition %" PRId32
                   " offset %" PRId64 " comes: records are missing",
                   writer->topic, writer->partition, writer->offset, record->partition, record->offset);
}

enum tw_rc tw_log_writer_add(struct tw_log_writer *writer, const struct tw_record *record, struct tw_err *reterr)
{
    TW_TRY(check_place(writer, record, reterr));
    if (writer->block.records == 0)
        writer->block = (struct tw_log_entry){.partition = record->partition, .first_offset = record->offset};
    tw_log_put_record(&writer->raw, record, &writer->last_ms);
    if (writer->raw.overflow)
        return tw_fail(reterr, TW_BROKEN, "log_writer", 0,
                       "'%s' partition %" PRId32 " offset %" PRId64
                       ": a record of %zu bytes is larger than a block may be",
                       writer->topic, record->partition, record->offset, record->key.len + record->value.len);
    writer->block.records++;
    writer->offset++;
    pass_over_empty(writer);
    if (writer->raw.len >= TW_LOG_BLOCK_FULL_BYTES || writer->partition != record->partition)
        return flush_block(writer, reterr);
    return TW_OK;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static enum tw_rc write_index(struct tw_log_writer *writer, struct tw_err *reterr)
{
    crypto_generichash_state state;
    uint8_t                  hash[TW_LOG_HASH_BYTES];

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    for (size_t i = 0; i < writer->entry_count; i++) {
        tw_log_put_entry(&writer->out, &writer->entries[i]);
        if (i % INDEX_STEP == INDEX_STEP - 1 || i + 1 == writer->entry_count) {
            crypto_generichash_update(&state, (const uint8_t *)writer->out.ptr, writer->out.len);
            TW_TRY(write_out(writer, reterr));
        }
    }
    crypto_generichash_final(&state, hash, sizeof(hash));
    tw_buf_add(&writer->out, hash, sizeof(hash));
    return write_out(writer, reterr);
}

static enum tw_rc write_trailer(struct tw_log_writer *writer, int64_t index_position,
                                uint8_t ret_sha256[TW_LOG_SHA256_BYTES], struct tw_err *reterr)
{
    crypto_hash_sha256_final(&writer->sha256, ret_sha256);
    tw_log_put_i64(&writer->out, index_position);
    tw_log_put_i64(&writer->out, (int64_t)writer->entry_count);
    tw_buf_add(&writer->out, ret_sha256, TW_LOG_SHA256_BYTES);
    seal(&writer->out);
    tw_buf_add(&writer->out, TW_LOG_END_MAGIC, TW_LOG_MAGIC_BYTES);
    return write_all(writer, tw_buf_str(&writer->out), reterr);
}

enum tw_rc tw_log_writer_finish(struct tw_log_writer *writer, uint8_t ret_sha256[TW_LOG_SHA256_BYTES],
                                struct tw_err *reterr)
{
    uint8_t sha256[TW_LOG_SHA256_BYTES];
    int64_t index_position;

    if (writer->partition < writer->partition_count)
        return tw_fail(reterr, TW_BROKEN, "log_writer", 0,
                       "'%s' partition %" PRId32 ": offsets %" PRId64 " to %" PRId64 " are missing", writer->topic,
                       writer->partition, writer->offset, writer->partitions[writer->partition].behind - 1);
    TW_TRY(flush_block(writer, reterr));
    index_position = writer->position;
    TW_TRY(write_index(writer, reterr));
    TW_TRY(write_trailer(writer, index_position, sha256, reterr));
    TW_TRY(tw_part_file_finish(&writer->file, reterr));
    memcpy(ret_sha256, sha256, sizeof(sha256));
    return TW_OK;
}

void tw_log_writer_close(struct tw_log_writer *writer)
{
    if (!writer)
        return;
    tw_part_file_done(&writer->file);
    ZSTD_freeCCtx(writer->zstd);
    tw_buf_done(&writer->raw);
    tw_buf_done(&writer->out);
    free(writer->entries);
    free(writer->partitions);
    free(writer->topic);
    free(writer);
}
