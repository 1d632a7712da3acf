/* Links: tw_log_file */
/*
 * Hostile files of exported logs. The first byte says what the rest is:
 *
 *   0  a file as it is: nearly always ends at a seal
 *   1  a file whose seals are put right first: gets to what they protect
 *   2  the records of a block, unpacked
 *
 * A file that is found whole must give the records its head promises, and must give them whole.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "log_format.h"

enum { FILE_MAX_BYTES = 1 << 16, READ_MAX_RECORDS = 100000 };

/* Reads every byte, so that one that is nobody's is found. */
static void touch(const struct tw_record *record)
{
    uint8_t hash[TW_RECORD_HASH_BYTES];

    tw_record_hash(record, hash);
}

static void read_partition(struct tw_log_reader *reader, int32_t partition)
{
    const struct tw_log_bounds *bounds = &tw_log_reader_info(reader)->partitions[partition];
    struct tw_record            record;
    bool                        there = true;

    must(tw_log_reader_seek(reader, partition, bounds->first, NULL) == TW_OK);
    for (int64_t offset = bounds->first; offset < bounds->behind; offset++) {
        must(tw_log_reader_next(reader, &record, &there, NULL) == TW_OK);
        must(there && record.partition == partition && record.offset == offset);
        touch(&record);
    }
    must(tw_log_reader_next(reader, &record, &there, NULL) == TW_OK && !there);
}

static void read_file(int fd)
{
    struct tw_log_reader *reader;
    struct tw_err         err;
    char                  path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (tw_log_reader_open(path, &reader, &err) != TW_OK)
        return;
    if (tw_log_reader_check(reader, NULL, NULL, &err) == TW_OK &&
        tw_log_info_records(tw_log_reader_info(reader)) < READ_MAX_RECORDS)
        for (int32_t p = 0; p < tw_log_reader_info(reader)->partition_count; p++)
            read_partition(reader, p);
    tw_log_reader_close(reader);
}

static void try_file(const char *bytes, size_t len)
{
    int fd = memfd_create("log", MFD_CLOEXEC);

    must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    read_file(fd);
    close(fd);
}

/* --- putting seals right ------------------------------------------------------------------------------------------ */

static void seal(char *bytes, size_t len, size_t from, size_t size)
{
    uint8_t hash[TW_LOG_HASH_BYTES];

    if (from > len || size > len - from || TW_LOG_HASH_BYTES > len - from - size)
        return;
    tw_log_hash((struct tw_str){bytes + from, size}, hash);
    memcpy(bytes + from + size, hash, sizeof(hash));
}

static void seal_blocks(char *bytes, size_t len, size_t from, size_t to)
{
    for (; from + TW_LOG_ENTRY_BYTES <= to; from += TW_LOG_ENTRY_BYTES) {
        struct tw_log_cursor cursor = {bytes + from, bytes + len, true};
        struct tw_log_entry  entry;
        int64_t              position = tw_log_take_i64(&cursor);

        tw_log_take_entry(&cursor, &entry);
        if (position >= 0 && (uint64_t)position < len)
            seal(bytes, len, (size_t)position, TW_LOG_BLOCK_HEAD_BYTES + (size_t)entry.packed_bytes);
    }
}

static void put_right(char *bytes, size_t len)
{
    struct tw_log_cursor head = {bytes + TW_LOG_PREFIX_BYTES - 4, bytes + len, true};
    size_t               end = len - TW_LOG_TRAILER_BYTES;
    struct tw_log_cursor trailer = {bytes + end, bytes + len, true};
    size_t               index = (size_t)tw_log_take_i64(&trailer);

    seal(bytes, len, 0, TW_LOG_PREFIX_BYTES + (size_t)tw_log_take_u32(&head));
    if (index < end && end - index >= TW_LOG_HASH_BYTES) {
        seal_blocks(bytes, len, index, end - TW_LOG_HASH_BYTES);
        seal(bytes, len, index, end - TW_LOG_HASH_BYTES - index);
    }
    crypto_hash_sha256((uint8_t *)bytes + end + 16, (const uint8_t *)bytes, end);
    seal(bytes, len, end, 16 + TW_LOG_SHA256_BYTES);
    memcpy(bytes + len - TW_LOG_MAGIC_BYTES, TW_LOG_END_MAGIC, TW_LOG_MAGIC_BYTES);
}

static void try_put_right(const char *bytes, size_t len)
{
    char copy[FILE_MAX_BYTES];

    if (len < TW_LOG_PREFIX_BYTES + TW_LOG_TRAILER_BYTES || len > sizeof(copy))
        return;
    memcpy(copy, bytes, len);
    put_right(copy, len);
    try_file(copy, len);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static void try_records(const char *bytes, size_t len)
{
    char                 *own = malloc(len ? len : 1); /* so that one byte too many is found */
    struct tw_log_cursor  cursor;
    struct tw_log_headers headers = {0};
    struct tw_record      record;
    int64_t               last_ms = 0;

    must(own != NULL);
    memcpy(own, bytes, len);
    cursor = (struct tw_log_cursor){own, own + len, true};
    while (cursor.at < cursor.end && tw_log_take_record(&cursor, &last_ms, &headers, &record))
        touch(&record);
    tw_log_headers_done(&headers);
    free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *rest = (const char *)bytes + 1;

    must(sodium_init() >= 0);
    if (len < 1)
        return -1;
    switch (bytes[0]) {
    case '0':
        try_file(rest, len - 1);
        break;
    case '1':
        try_put_right(rest, len - 1);
        break;
    case '2':
        try_records(rest, len - 1);
        break;
    default:
        return -1; /* not worth keeping */
    }
    return 0;
}
