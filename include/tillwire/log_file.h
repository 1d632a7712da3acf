/**
 * Exported logs: one topic in one file, `<topic>.twlog`, with every byte of every record, so that another cluster can be
 * given the same log, and a fold can read it without one. docs/log-files.md has the layout.
 *
 * Memory is flat: one block of records at a time, and 32 bytes for each block there is (a block is about a MiB of records).
 * Threads: a writer or reader belongs to one.
 */
#ifndef TILLWIRE_LOG_FILE_H
#define TILLWIRE_LOG_FILE_H

#include "tillwire/envelope.h"

enum { TW_LOG_FILE_VERSION = 1, TW_LOG_SHA256_BYTES = 32 };

/** Offsets of one partition: the first there is and the one behind the last. Equal: it has no records. */
struct tw_log_bounds {
    int64_t first;
    int64_t behind;
};

/** What the head of a file says. Views live as long as the reader that gave it. */
struct tw_log_info {
    struct tw_str               topic;      /**< "cart.commands" */
    struct tw_str               cluster;    /**< id of the cluster it was read from; empty: it has none */
    struct tw_str               program;    /**< that wrote it: "twctl 0.1.0" */
    int64_t                     written_ms; /**< when writing began */
    const struct tw_log_bounds *partitions;
    int32_t                     partition_count;
};

/** Records of all partitions together. */
int64_t tw_log_info_records(const struct tw_log_info *info);

/** Told while a file is worked through. */
typedef void (*tw_log_tell_fn)(void *self, int64_t done_bytes, int64_t all_bytes);

/* --- writing ----------------------------------------------------------------------------------------------------- */

struct tw_log_writer;

/** Begins `<path>.part`; nothing of the name @p path is there before finish(). INVALID: @p path is there already,
 *  or its folder cannot be written. REFUSED: another writer is at it. */
enum tw_rc tw_log_writer_open(const char *path, const struct tw_log_info *info, struct tw_log_writer **ret_writer,
                              struct tw_err *reterr);
/** Partitions ascending, offsets as `info` says and without gaps: BROKEN names what is missing. REFUSED: it cannot be
 *  written (disk full). After a failure only close() makes sense. */
enum tw_rc tw_log_writer_add(struct tw_log_writer *writer, const struct tw_record *record, struct tw_err *reterr);
/** All records must be there (BROKEN). Writes the index, brings everything to the disk and gives the file its name. */
enum tw_rc tw_log_writer_finish(struct tw_log_writer *writer, uint8_t ret_sha256[TW_LOG_SHA256_BYTES],
                                struct tw_err *reterr);
/** Removes what was not finished. Accepts NULL. */
void       tw_log_writer_close(struct tw_log_writer *writer);

/* --- reading ----------------------------------------------------------------------------------------------------- */

struct tw_log_reader;

/** Reads and checks head, index and end. INVALID: no such file, not one of ours, or of a later format version. BROKEN:
 *  damaged or cut short, and where. */
enum tw_rc tw_log_reader_open(const char *path, struct tw_log_reader **ret_reader, struct tw_err *reterr);
const struct tw_log_info *tw_log_reader_info(const struct tw_log_reader *reader);
/** Bytes of the file. */
int64_t                   tw_log_reader_size(const struct tw_log_reader *reader);
/** The SHA-256 that stands in the file. */
const uint8_t            *tw_log_reader_sha256(const struct tw_log_reader *reader);
/** The next record will be @p offset of @p partition. INVALID: the file does not reach there; the offset behind the last
 *  is allowed. */
enum tw_rc tw_log_reader_seek(struct tw_log_reader *reader, int32_t partition, int64_t offset, struct tw_err *reterr);
/** The next record of that partition; false at its end. Views live until the next call. BROKEN: a block is damaged: which,
 *  what it holds, and what its checksum should be. */
enum tw_rc tw_log_reader_next(struct tw_log_reader *reader, struct tw_record *ret_record, bool *ret_there,
                              struct tw_err *reterr);
/** Reads everything once and compares all checksums; seek() before the next next(). @p tell may be NULL. */
enum tw_rc tw_log_reader_check(struct tw_log_reader *reader, tw_log_tell_fn tell, void *teller, struct tw_err *reterr);
/** Accepts NULL. */
void       tw_log_reader_close(struct tw_log_reader *reader);

#endif
