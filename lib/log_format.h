/**
 * The bytes of an exported log, for those who write and those who read them (log_writer.c, log_reader.c); the layout is
 * in docs/log-files.md. Private to lib/.
 */
#ifndef TILLWIRE_LOG_FORMAT_H
#define TILLWIRE_LOG_FORMAT_H

#include "tillwire/log_file.h"

#define TW_LOG_MAGIC     "\x89TWLOG\r\n"
#define TW_LOG_END_MAGIC "TWLOGEND"
#define TW_LOG_BLOCK     UINT32_C(0x4B4C4254) /* "TBLK" */

enum {
    TW_LOG_MAGIC_BYTES = 8,
    TW_LOG_HASH_BYTES = 16,   /* BLAKE2b-128 */
    TW_LOG_PREFIX_BYTES = 20, /* magic, version, its complement, length of what follows */
    TW_LOG_BLOCK_HEAD_BYTES = 28,
    TW_LOG_ENTRY_BYTES = 32,
    TW_LOG_TRAILER_BYTES = 8 + 8 + TW_LOG_SHA256_BYTES + TW_LOG_HASH_BYTES + TW_LOG_MAGIC_BYTES,
    TW_LOG_BODY_MAX_BYTES = 1 << 20,
    TW_LOG_PARTITIONS_MAX = 10000,
    TW_LOG_TEXT_MAX_BYTES = 255,
    TW_LOG_BLOCK_FULL_BYTES = 1 << 20, /* a block ends with the record that brings it there */
    TW_LOG_BLOCK_MAX_BYTES = 64 << 20, /* so no record may be larger */
};

/** One block, as its head and the index have it. */
struct tw_log_entry {
    int64_t  position; /**< of its head in the file */
    int32_t  partition;
    int64_t  first_offset;
    uint32_t records;
    uint32_t raw_bytes;
    uint32_t packed_bytes;
};

/** Bytes of the block in the file, head and checksum included. */
int64_t tw_log_entry_size(const struct tw_log_entry *entry);

void tw_log_put_u32(struct tw_buf *out, uint32_t value);
void tw_log_put_i64(struct tw_buf *out, int64_t value);
/** Length and bytes. */
void tw_log_put_text(struct tw_buf *out, struct tw_str text);
void tw_log_put_block_head(struct tw_buf *out, const struct tw_log_entry *entry);
void tw_log_put_entry(struct tw_buf *out, const struct tw_log_entry *entry);
/** Checksum of @p bytes. */
void tw_log_hash(struct tw_str bytes, uint8_t ret_hash[TW_LOG_HASH_BYTES]);

/** Takes values off the front of bytes; `ok` falls at the first that is not there, and values are 0 then. */
struct tw_log_cursor {
    const char *at;
    const char *end;
    bool        ok;
};
uint32_t      tw_log_take_u32(struct tw_log_cursor *cursor);
int64_t       tw_log_take_i64(struct tw_log_cursor *cursor);
struct tw_str tw_log_take_text(struct tw_log_cursor *cursor);
/** The fields behind the position, or behind a block's mark. */
void          tw_log_take_entry(struct tw_log_cursor *cursor, struct tw_log_entry *ret_entry);

/** Appends one record of a block. @p last_ms: time of the one before, 0 in front of the first. */
void tw_log_put_record(struct tw_buf *out, const struct tw_record *record, int64_t *last_ms);

/** A list of headers that grows; free with tw_log_headers_done(). */
struct tw_log_headers {
    struct tw_header *items;
    size_t            cap;
};
/** Total: false when the bytes are no record. Partition and offset are the caller's. */
bool tw_log_take_record(struct tw_log_cursor *cursor, int64_t *last_ms, struct tw_log_headers *headers,
                        struct tw_record *ret_record);
void tw_log_headers_done(struct tw_log_headers *headers);

#endif
