/**
 * Builds command records as an edge writes them, for tests that need no broker.
 */
#ifndef TILLWIRE_TESTS_RECORDS_H
#define TILLWIRE_TESTS_RECORDS_H

#include "tillwire/domain.h"

/** A partition's log under construction; offsets count from 0, timestamps go up by a second. */
struct tw_test_log {
    struct tw_arena   arena;
    struct tw_record *records;
    uint32_t          len, cap;
    int32_t           partition;
    int32_t           partition_count;
    int64_t           now_ms;
};

void tw_test_log_init(struct tw_test_log *log, int32_t partition, int32_t partition_count);
void tw_test_log_done(struct tw_test_log *log);

/** An id by its number, in whatever partition. */
struct tw_uuid tw_test_uuid(uint32_t n);
/** The @p n-th id whose key belongs to the log's partition: always the same one. */
struct tw_uuid tw_test_id(const struct tw_test_log *log, uint32_t n);
/** The @p n-th command id of version 7 for the log's partition. */
struct tw_uuid tw_test_command_id(const struct tw_test_log *log, enum tw_domain_number domain, uint32_t n);
/** The @p n-th keyed one. */
struct tw_uuid tw_test_keyed_id(const struct tw_test_log *log, enum tw_domain_number domain, uint32_t n);

/** What the record's headers say unless a test wants otherwise. */
struct tw_envelope tw_test_envelope(const struct tw_test_log *log, const struct tw_type *type,
                                    struct tw_uuid command_id);
/** Appends a record; the caller may spoil it afterwards. The pointer lives until the next append. */
struct tw_record  *tw_test_append(struct tw_test_log *log, const struct tw_type *type, struct tw_uuid key,
                                  const void *body, const struct tw_envelope *envelope);

#endif
