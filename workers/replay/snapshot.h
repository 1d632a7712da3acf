/**
 * Snapshots: a file with all that a store held at its watermarks, from which a rebuild can start instead of the log's
 * beginning.
 *
 *   "tillwire snapshot 1\n", then lines of text: domain, id_key, written, program, and "partition P NEXT CLOCK HASH" for
 *   each; an empty line. Then items, each a tag byte and parts of (length: 4 bytes little-endian, bytes):
 *     'E'  key (kind 4, id 16, sub 16), guard (8), packed state (schemas/state, by tw_type.pack)
 *     'R'  partition (4), id (16), packed row (tillwire/ledger.h)
 *     'Z'  nothing: the end. SHA-256 of all before it, 32 bytes, ends the file.
 *
 * The states are the worker's own form, which every later release reads.
 */
#ifndef TILLWIRE_REPLAY_SNAPSHOT_H
#define TILLWIRE_REPLAY_SNAPSHOT_H

#include <stdatomic.h>

#include "scan.h"

/** Room for the hash of a whole file as hex, with NUL. */
enum { TW_SNAPSHOT_HASH_TEXT = 65 };

struct tw_snapshot_head {
    const struct tw_domain   *domain;
    char                      id_key_check[17];
    int32_t                   partition_count;
    const struct tw_progress *vector; /**< without outboxes */
};

/** Writes all of @p scan to @p path, which must not exist; at the end it is there whole, or not at all. @p renew is called
 *  after each item. INVALID: the file is there already, or its folder cannot be written. REFUSED: another writer is at
 *  it. UNREACHED: the disk is full. */
enum tw_rc tw_snapshot_write(const char *path, const struct tw_snapshot_head *head, struct tw_scan *scan,
                             enum tw_rc (*renew)(void *self, struct tw_err *reterr), void *self,
                             char ret_hash[TW_SNAPSHOT_HASH_TEXT], int64_t *ret_items, struct tw_err *reterr);

struct tw_snapshot;

/** Reads the whole file once. BROKEN: a byte of it is not as it was written. INVALID: it is no snapshot, or one of another
 *  domain, id key or partition count than @p wanted (whose vector is not looked at). */
enum tw_rc tw_snapshot_open(const char *path, const struct tw_snapshot_head *wanted, struct tw_snapshot **ret_snapshot,
                            struct tw_err *reterr);
/** By partition; lives as long as the snapshot. */
const struct tw_progress *tw_snapshot_vector(const struct tw_snapshot *snapshot);
const char               *tw_snapshot_hash(const struct tw_snapshot *snapshot);
/** Puts all of it into an empty store, whose partitions then stand at the vector with their digest (digest.h) as outbox. A
 *  store in which this was interrupted is of no use. @p stop: set: ends with UNREACHED before the next item. */
enum tw_rc tw_snapshot_load(struct tw_snapshot *snapshot, const struct tw_store *store, const atomic_bool *stop,
                            struct tw_err *reterr);
/** Accepts NULL. */
void       tw_snapshot_close(struct tw_snapshot *snapshot);

#endif
