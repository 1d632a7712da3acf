/*
 * What a reader trusts it has compared with a checksum first: the end of the file leads to the index, the index says where
 * each block is and what it must hold, and so a damaged block can be named.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "log_format.h"
#include "tillwire/settings.h"

enum { SHOWN_HASH_BYTES = 6, WHAT_BYTES = 192, SMALLEST_RECORD_BYTES = 3 };

/* Memory that is used again for each block. */
struct space {
    char  *ptr;
    size_t cap;
};

struct tw_log_reader {
    char                 *name; /* the file's, without its folder */
    int                   fd;
    int64_t               size;
    struct space          head; /* what `info` shows */
    int64_t               head_bytes;
    struct tw_log_info    info;
    struct tw_log_bounds *partitions;
    int64_t               index_position;
    uint8_t               sha256[TW_LOG_SHA256_BYTES];
    struct tw_log_entry  *entries;
    size_t                entry_count;

    int32_t               partition; /* of the next record */
    int64_t               offset;
    size_t                block; /* whose records `raw` has; entry_count: none */
    ZSTD_DCtx            *zstd;
    struct space          packed; /* a block as the file has it */
    struct space          raw;
    struct tw_log_cursor  cursor;
    int64_t               cursor_offset; /* of the record at the cursor */
    int64_t               last_ms;
    struct tw_log_headers headers;
};

int64_t tw_log_info_records(const struct tw_log_info *info)
{
    int64_t records = 0;

    for (int32_t i = 0; i < info->partition_count; i++)
        records += info->partitions[i].behind - info->partitions[i].first;
    return records;
}

static void make_room(struct space *space, size_t len)
{
    if (len > space->cap) {
        space->ptr = tw_realloc(space->ptr, len);
        space->cap = len;
    }
}

static enum tw_rc cut_short(const struct tw_log_reader *reader, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "log_reader", 0,
                   "'%s' is cut short, or was never finished: its %" PRId64 " bytes do not end with the closing mark",
                   reader->name, reader->size);
}

static enum tw_rc damaged(const struct tw_log_reader *reader, const char *what, const char *why, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "log_reader", 0, "'%s': %s is damaged: %s", reader->name, what, why);
}

static enum tw_rc compare_hash(const struct tw_log_reader *reader, const char *what, struct tw_str bytes,
                               const char *expected, struct tw_err *reterr)
{
    uint8_t hash[TW_LOG_HASH_BYTES], wanted[TW_LOG_HASH_BYTES];
    char    hash_text[2 * SHOWN_HASH_BYTES + 1], wanted_text[2 * SHOWN_HASH_BYTES + 1];

    tw_log_hash(bytes, hash);
    memcpy(wanted, expected, sizeof(wanted));
    if (!memcmp(hash, wanted, sizeof(hash)))
        return TW_OK;
    tw_hex_format(hash, SHOWN_HASH_BYTES, hash_text);
    tw_hex_format(wanted, SHOWN_HASH_BYTES, wanted_text);
    return tw_fail(reterr, TW_BROKEN, "log_reader", 0, "'%s': %s is damaged: its checksum is %s..., expected %s...",
                   reader->name, what, hash_text, wanted_text);
}

/* The checksum stands behind what it seals. */
static enum tw_rc check_seal(const struct tw_log_reader *reader, const char *what, const char *bytes, size_t len,
                             struct tw_err *reterr)
{
    return compare_hash(reader, what, (struct tw_str){bytes, len}, bytes + len, reterr);
}

static enum tw_rc read_at(const struct tw_log_reader *reader, int64_t position, void *ret_bytes, size_t len,
                          struct tw_err *reterr)
{
    char *to = ret_bytes;

    while (len > 0) {
        ssize_t got = pread(reader->fd, to, len, position);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tw_fail(reterr, TW_BROKEN, "log_reader", errno, "cannot read '%s' at byte %" PRId64 ": %s",
                           reader->name, position, strerror(errno));
        if (got == 0)
            return cut_short(reader, reterr);
        to += got;
        position += got;
        len -= (size_t)got;
    }
    return TW_OK;
}

/* --- the head ----------------------------------------------------------------------------------------------------- */

/* A damaged version is no later one: its complement stands beside it. */
static enum tw_rc read_prefix(const struct tw_log_reader *reader, uint32_t *ret_body_bytes, struct tw_err *reterr)
{
    char                 bytes[TW_LOG_PREFIX_BYTES];
    struct tw_log_cursor cursor = {bytes + TW_LOG_MAGIC_BYTES, bytes + sizeof(bytes), true};
    uint32_t             version, complement;

    if (reader->size >= TW_LOG_MAGIC_BYTES)
        TW_TRY(read_at(reader, 0, bytes, TW_LOG_MAGIC_BYTES, reterr));
    if (reader->size < TW_LOG_MAGIC_BYTES || memcmp(bytes, TW_LOG_MAGIC, TW_LOG_MAGIC_BYTES) != 0)
        return tw_fail(reterr, TW_INVALID, "log_reader", 0, "'%s' is no exported log: it does not begin as one",
                       reader->name);
    TW_TRY(read_at(reader, 0, bytes, sizeof(bytes), reterr));
    version = tw_log_take_u32(&cursor);
    complement = tw_log_take_u32(&cursor);
    *ret_body_bytes = tw_log_take_u32(&cursor);
    if (version != ~complement)
        return damaged(reader, "the head", "its format version and the complement of it do not agree", reterr);
    if (version != TW_LOG_FILE_VERSION)
        return tw_fail(reterr, TW_INVALID, "log_reader", 0,
                       "'%s' has format version %" PRIu32 "; this program reads version %d", reader->name, version,
                       TW_LOG_FILE_VERSION);
    if (*ret_body_bytes > TW_LOG_BODY_MAX_BYTES)
        return damaged(reader, "the head", "its length is impossible", reterr);
    return TW_OK;
}

static bool take_partitions(struct tw_log_reader *reader, struct tw_log_cursor *cursor)
{
    int32_t count = reader->info.partition_count;

    if (count < 1 || count > TW_LOG_PARTITIONS_MAX || cursor->end - cursor->at != (ptrdiff_t)count * 16)
        return false;
    reader->partitions = tw_alloc((size_t)count * sizeof(*reader->partitions));
    reader->info.partitions = reader->partitions;
    for (int32_t i = 0; i < count; i++) {
        struct tw_log_bounds *bounds = &reader->partitions[i];

        bounds->first = tw_log_take_i64(cursor);
        bounds->behind = tw_log_take_i64(cursor);
        if (bounds->first < 0 || bounds->behind < bounds->first)
            return false;
    }
    return true;
}

static enum tw_rc read_head(struct tw_log_reader *reader, struct tw_err *reterr)
{
    struct tw_log_cursor cursor;
    uint32_t             body_bytes = 0;
    size_t               sealed;

    TW_TRY(read_prefix(reader, &body_bytes, reterr));
    sealed = TW_LOG_PREFIX_BYTES + (size_t)body_bytes;
    reader->head_bytes = (int64_t)sealed + TW_LOG_HASH_BYTES;
    if (reader->head_bytes > reader->size)
        return cut_short(reader, reterr);
    make_room(&reader->head, (size_t)reader->head_bytes);
    TW_TRY(read_at(reader, 0, reader->head.ptr, (size_t)reader->head_bytes, reterr));
    TW_TRY(check_seal(reader, "the head", reader->head.ptr, sealed, reterr));
    cursor = (struct tw_log_cursor){reader->head.ptr + TW_LOG_PREFIX_BYTES, reader->head.ptr + sealed, true};
    reader->info.written_ms = tw_log_take_i64(&cursor);
    reader->info.partition_count = (int32_t)tw_log_take_u32(&cursor);
    reader->info.topic = tw_log_take_text(&cursor);
    reader->info.cluster = tw_log_take_text(&cursor);
    reader->info.program = tw_log_take_text(&cursor);
    if (!cursor.ok || !take_partitions(reader, &cursor))
        return damaged(reader, "the head", "its values are impossible", reterr);
    return TW_OK;
}

/* --- the end and the index ---------------------------------------------------------------------------------------- */

static enum tw_rc read_trailer(struct tw_log_reader *reader, struct tw_err *reterr)
{
    enum { SEALED = TW_LOG_TRAILER_BYTES - TW_LOG_HASH_BYTES - TW_LOG_MAGIC_BYTES };
    char                 bytes[TW_LOG_TRAILER_BYTES];
    struct tw_log_cursor cursor = {bytes, bytes + SEALED, true};
    int64_t              entry_count, room;

    if (reader->size < reader->head_bytes + TW_LOG_HASH_BYTES + TW_LOG_TRAILER_BYTES)
        return cut_short(reader, reterr);
    TW_TRY(read_at(reader, reader->size - TW_LOG_TRAILER_BYTES, bytes, sizeof(bytes), reterr));
    if (memcmp(bytes + sizeof(bytes) - TW_LOG_MAGIC_BYTES, TW_LOG_END_MAGIC, TW_LOG_MAGIC_BYTES) != 0)
        return cut_short(reader, reterr);
    TW_TRY(check_seal(reader, "the end", bytes, SEALED, reterr));
    reader->index_position = tw_log_take_i64(&cursor);
    entry_count = tw_log_take_i64(&cursor);
    memcpy(reader->sha256, cursor.at, sizeof(reader->sha256));
    room = reader->size - TW_LOG_TRAILER_BYTES - TW_LOG_HASH_BYTES - reader->index_position;
    if (reader->index_position < reader->head_bytes || entry_count < 0 || room < 0 || room % TW_LOG_ENTRY_BYTES != 0 ||
        entry_count != room / TW_LOG_ENTRY_BYTES)
        return damaged(reader, "the end", "the index is not where it says", reterr);
    reader->entry_count = (size_t)entry_count;
    return TW_OK;
}

/* Follows the blocks of the index through the file and through the offsets of the partitions. */
struct walk {
    int64_t position;
    int32_t partition;
    int64_t offset;
};

static void pass_over_full(const struct tw_log_reader *reader, struct walk *walk)
{
    while (walk->partition < reader->info.partition_count && walk->offset == reader->partitions[walk->partition].behind)
        if (++walk->partition < reader->info.partition_count)
            walk->offset = reader->partitions[walk->partition].first;
}

static bool follows(const struct tw_log_reader *reader, const struct tw_log_entry *entry, struct walk *walk)
{
    if (walk->partition == reader->info.partition_count || entry->position != walk->position ||
        entry->partition != walk->partition || entry->first_offset != walk->offset || entry->records == 0 ||
        entry->records > reader->partitions[entry->partition].behind - entry->first_offset ||
        entry->raw_bytes > TW_LOG_BLOCK_MAX_BYTES || entry->raw_bytes / SMALLEST_RECORD_BYTES < entry->records)
        return false;
    walk->position += tw_log_entry_size(entry);
    walk->offset += entry->records;
    pass_over_full(reader, walk);
    return walk->position <= reader->index_position;
}

static enum tw_rc check_index(const struct tw_log_reader *reader, struct tw_err *reterr)
{
    struct walk walk = {reader->head_bytes, 0, reader->partitions[0].first};
    char        what[WHAT_BYTES];

    pass_over_full(reader, &walk);
    for (size_t i = 0; i < reader->entry_count; i++) {
        if (!follows(reader, &reader->entries[i], &walk)) {
            snprintf(what, sizeof(what), "the index, at block %zu,", i);
            return damaged(reader, what, "it does not follow the one before", reterr);
        }
    }
    if (walk.partition != reader->info.partition_count || walk.position != reader->index_position)
        return damaged(reader, "the index", "blocks are missing in it", reterr);
    return TW_OK;
}

static enum tw_rc read_index(struct tw_log_reader *reader, struct tw_err *reterr)
{
    size_t               bytes = reader->entry_count * TW_LOG_ENTRY_BYTES;
    struct tw_log_cursor cursor;
    char                 what[WHAT_BYTES];

    make_room(&reader->packed, bytes + TW_LOG_HASH_BYTES);
    TW_TRY(read_at(reader, reader->index_position, reader->packed.ptr, bytes + TW_LOG_HASH_BYTES, reterr));
    snprintf(what, sizeof(what), "the index (bytes %" PRId64 " to %" PRId64 ")", reader->index_position,
             reader->size - TW_LOG_TRAILER_BYTES - 1);
    TW_TRY(check_seal(reader, what, reader->packed.ptr, bytes, reterr));
    reader->entries = tw_alloc(reader->entry_count * sizeof(*reader->entries));
    cursor = (struct tw_log_cursor){reader->packed.ptr, reader->packed.ptr + bytes, true};
    for (size_t i = 0; i < reader->entry_count; i++) {
        reader->entries[i].position = tw_log_take_i64(&cursor);
        tw_log_take_entry(&cursor, &reader->entries[i]);
    }
    return check_index(reader, reterr);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static enum tw_rc open_file(struct tw_log_reader *reader, const char *path, struct tw_err *reterr)
{
    struct stat about;

    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0 || fstat(reader->fd, &about) != 0)
        return tw_fail(reterr, TW_INVALID, "log_reader", errno, "cannot open '%s': %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return tw_fail(reterr, TW_INVALID, "log_reader", 0, "'%s' is no file", path);
    reader->size = about.st_size;
    return TW_OK;
}

static enum tw_rc read_all_but_blocks(struct tw_log_reader *reader, const char *path, struct tw_err *reterr)
{
    TW_TRY(open_file(reader, path, reterr));
    TW_TRY(read_head(reader, reterr));
    TW_TRY(read_trailer(reader, reterr));
    return read_index(reader, reterr);
}

enum tw_rc tw_log_reader_open(const char *path, struct tw_log_reader **ret_reader, struct tw_err *reterr)
{
    struct tw_log_reader *reader = tw_alloc_zeroed(1, sizeof(*reader));
    const char           *slash = strrchr(path, '/');
    enum tw_rc            rc;

    reader->fd = -1;
    reader->name = tw_strdup(slash ? slash + 1 : path);
    reader->zstd = ZSTD_createDCtx();
    if (!reader->zstd)
        tw_out_of_memory(sizeof(reader->zstd));
    rc = read_all_but_blocks(reader, path, reterr);
    if (rc != TW_OK) {
        tw_log_reader_close(reader);
        return rc;
    }
    reader->block = reader->entry_count;
    reader->offset = reader->partitions[0].first;
    *ret_reader = reader;
    return TW_OK;
}

const struct tw_log_info *tw_log_reader_info(const struct tw_log_reader *reader)
{
    return &reader->info;
}

int64_t tw_log_reader_size(const struct tw_log_reader *reader)
{
    return reader->size;
}

const uint8_t *tw_log_reader_sha256(const struct tw_log_reader *reader)
{
    return reader->sha256;
}

void tw_log_reader_close(struct tw_log_reader *reader)
{
    if (!reader)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    ZSTD_freeDCtx(reader->zstd);
    tw_log_headers_done(&reader->headers);
    free(reader->raw.ptr);
    free(reader->packed.ptr);
    free(reader->entries);
    free(reader->partitions);
    free(reader->head.ptr);
    free(reader->name);
    free(reader);
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static void name_block(const struct tw_log_reader *reader, size_t number, char ret_what[WHAT_BYTES])
{
    const struct tw_log_entry *entry = &reader->entries[number];

    snprintf(ret_what, WHAT_BYTES,
             "block %zu (partition %" PRId32 ", offsets %" PRId64 " to %" PRId64 "; bytes %" PRId64 " to %" PRId64 ")",
             number, entry->partition, entry->first_offset, entry->first_offset + entry->records - 1, entry->position,
             entry->position + tw_log_entry_size(entry) - 1);
}

static bool head_is_of(const struct tw_log_entry *entry, const char *bytes)
{
    struct tw_log_cursor cursor = {bytes, bytes + TW_LOG_BLOCK_HEAD_BYTES, true};
    struct tw_log_entry  found;

    if (tw_log_take_u32(&cursor) != TW_LOG_BLOCK)
        return false;
    tw_log_take_entry(&cursor, &found);
    return found.partition == entry->partition && found.first_offset == entry->first_offset &&
           found.records == entry->records && found.raw_bytes == entry->raw_bytes &&
           found.packed_bytes == entry->packed_bytes;
}

/* Into `packed`, compared with its checksum. */
static enum tw_rc read_block(struct tw_log_reader *reader, size_t number, struct tw_err *reterr)
{
    const struct tw_log_entry *entry = &reader->entries[number];
    size_t                     size = (size_t)tw_log_entry_size(entry);
    char                       what[WHAT_BYTES];

    name_block(reader, number, what);
    make_room(&reader->packed, size);
    TW_TRY(read_at(reader, entry->position, reader->packed.ptr, size, reterr));
    TW_TRY(check_seal(reader, what, reader->packed.ptr, size - TW_LOG_HASH_BYTES, reterr));
    return head_is_of(entry, reader->packed.ptr)
               ? TW_OK
               : damaged(reader, what, "it is whole, but not the block that the index has there", reterr);
}

static enum tw_rc unpack_block(struct tw_log_reader *reader, size_t number, struct tw_err *reterr)
{
    const struct tw_log_entry *entry = &reader->entries[number];
    char                       what[WHAT_BYTES];
    size_t                     len;

    reader->block = reader->entry_count;
    TW_TRY(read_block(reader, number, reterr));
    make_room(&reader->raw, entry->raw_bytes);
    len = ZSTD_decompressDCtx(reader->zstd, reader->raw.ptr, entry->raw_bytes,
                              reader->packed.ptr + TW_LOG_BLOCK_HEAD_BYTES, entry->packed_bytes);
    if (len != entry->raw_bytes) {
        name_block(reader, number, what);
        return damaged(reader, what, ZSTD_isError(len) ? ZSTD_getErrorName(len) : "it holds another length", reterr);
    }
    reader->cursor = (struct tw_log_cursor){reader->raw.ptr, reader->raw.ptr + len, true};
    reader->cursor_offset = entry->first_offset;
    reader->last_ms = 0;
    reader->block = number;
    return TW_OK;
}

static enum tw_rc take_record(struct tw_log_reader *reader, struct tw_record *ret_record, struct tw_err *reterr)
{
    const struct tw_log_entry *entry = &reader->entries[reader->block];
    bool                       is_last = reader->cursor_offset + 1 == entry->first_offset + entry->records;
    char                       what[WHAT_BYTES];

    if (!tw_log_take_record(&reader->cursor, &reader->last_ms, &reader->headers, ret_record) ||
        is_last != (reader->cursor.at == reader->cursor.end)) {
        name_block(reader, reader->block, what);
        reader->block = reader->entry_count;
        return damaged(reader, what, "what is in it are no records", reterr);
    }
    ret_record->partition = entry->partition;
    ret_record->offset = reader->cursor_offset++;
    return TW_OK;
}

/* The block that holds the next record. */
static size_t find_block(const struct tw_log_reader *reader)
{
    size_t low = 0, high = reader->entry_count;

    while (high - low > 1) {
        size_t                     middle = (low + high) / 2;
        const struct tw_log_entry *entry = &reader->entries[middle];

        if (entry->partition < reader->partition ||
            (entry->partition == reader->partition && entry->first_offset <= reader->offset))
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool is_at_hand(const struct tw_log_reader *reader)
{
    const struct tw_log_entry *entry = &reader->entries[reader->block];

    return reader->block < reader->entry_count && entry->partition == reader->partition &&
           reader->cursor_offset <= reader->offset && reader->offset < entry->first_offset + entry->records;
}

enum tw_rc tw_log_reader_seek(struct tw_log_reader *reader, int32_t partition, int64_t offset, struct tw_err *reterr)
{
    const struct tw_log_bounds *bounds;

    if (partition < 0 || partition >= reader->info.partition_count)
        return tw_fail(reterr, TW_INVALID, "log_reader", 0, "'%s' has partitions 0 to %" PRId32 ", not %" PRId32,
                       reader->name, reader->info.partition_count - 1, partition);
    bounds = &reader->partitions[partition];
    if (offset < bounds->first || offset > bounds->behind)
        return tw_fail(reterr, TW_INVALID, "log_reader", 0,
                       "'%s' has offsets %" PRId64 " to %" PRId64 " of partition %" PRId32 ", not %" PRId64,
                       reader->name, bounds->first, bounds->behind - 1, partition, offset);
    reader->partition = partition;
    reader->offset = offset;
    return TW_OK;
}

enum tw_rc tw_log_reader_next(struct tw_log_reader *reader, struct tw_record *ret_record, bool *ret_there,
                              struct tw_err *reterr)
{
    struct tw_record record;

    if (reader->offset == reader->partitions[reader->partition].behind) {
        *ret_there = false;
        return TW_OK;
    }
    if (!is_at_hand(reader))
        TW_TRY(unpack_block(reader, find_block(reader), reterr));
    do {
        TW_TRY(take_record(reader, &record, reterr));
    } while (record.offset < reader->offset);
    reader->offset++;
    *ret_record = record;
    *ret_there = true;
    return TW_OK;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static enum tw_rc check_block(struct tw_log_reader *reader, size_t number, crypto_hash_sha256_state *sha256,
                              struct tw_err *reterr)
{
    const struct tw_log_entry *entry = &reader->entries[number];
    struct tw_record           record;

    TW_TRY(unpack_block(reader, number, reterr));
    for (uint32_t i = 0; i < entry->records; i++)
        TW_TRY(take_record(reader, &record, reterr));
    crypto_hash_sha256_update(sha256, (const uint8_t *)reader->packed.ptr, (size_t)tw_log_entry_size(entry));
    return TW_OK;
}

/* Head and index were compared with their checksums, so what the file has there is what was read. */
static enum tw_rc hash_part(struct tw_log_reader *reader, int64_t from, int64_t to, crypto_hash_sha256_state *sha256,
                            struct tw_err *reterr)
{
    make_room(&reader->packed, (size_t)(to - from));
    TW_TRY(read_at(reader, from, reader->packed.ptr, (size_t)(to - from), reterr));
    crypto_hash_sha256_update(sha256, (const uint8_t *)reader->packed.ptr, (size_t)(to - from));
    return TW_OK;
}

static enum tw_rc compare_sha256(const struct tw_log_reader *reader, crypto_hash_sha256_state *sha256,
                                 struct tw_err *reterr)
{
    uint8_t hash[TW_LOG_SHA256_BYTES];
    char    hash_text[2 * SHOWN_HASH_BYTES + 1], expected_text[2 * SHOWN_HASH_BYTES + 1];

    crypto_hash_sha256_final(sha256, hash);
    if (!memcmp(hash, reader->sha256, sizeof(hash)))
        return TW_OK;
    tw_hex_format(hash, SHOWN_HASH_BYTES, hash_text);
    tw_hex_format(reader->sha256, SHOWN_HASH_BYTES, expected_text);
    return tw_fail(
        reterr, TW_BROKEN, "log_reader", 0,
        "'%s': every part is whole, but together they are not what was written: SHA-256 %s..., expected %s...",
        reader->name, hash_text, expected_text);
}

enum tw_rc tw_log_reader_check(struct tw_log_reader *reader, tw_log_tell_fn tell, void *teller, struct tw_err *reterr)
{
    crypto_hash_sha256_state sha256;

    crypto_hash_sha256_init(&sha256);
    TW_TRY(hash_part(reader, 0, reader->head_bytes, &sha256, reterr));
    for (size_t i = 0; i < reader->entry_count; i++) {
        TW_TRY(check_block(reader, i, &sha256, reterr));
        if (tell)
            tell(teller, reader->entries[i].position + tw_log_entry_size(&reader->entries[i]), reader->size);
    }
    TW_TRY(hash_part(reader, reader->index_position, reader->size - TW_LOG_TRAILER_BYTES, &sha256, reterr));
    reader->block = reader->entry_count;
    return compare_sha256(reader, &sha256, reterr);
}
