/**
 * Port: where the records of a domain's log come from. Adapters: the cluster (source_kafka.c), exported files
 * (source_file.c). Each handle reads one partition at a time and belongs to one thread; threads open their own.
 */
#ifndef TILLWIRE_REPLAY_SOURCE_H
#define TILLWIRE_REPLAY_SOURCE_H

#include "tillwire/envelope.h"
#include "verdicts.h"

struct tw_source {
    const char *name; /**< for people: "the cluster", "the files in /backup/monday" */

    /** First offset of the command partition there is, and the one behind the last. BROKEN: there is no such topic, or
     *  it has another number of partitions than the manifest. */
    enum tw_rc (*bounds)(void *self, int32_t partition, int64_t *ret_low, int64_t *ret_high, struct tw_err *reterr);
    /** The next read() begins with record @p offset of @p partition. */
    enum tw_rc (*seek)(void *self, int32_t partition, int64_t offset, struct tw_err *reterr);
    /** The next records in order, at most @p max of them and about @p max_bytes of keys and values (one always goes),
     *  with all they point to in @p arena. May wait a second for the first; 0: none came. BROKEN: what is read is not
     *  what was written, or offsets are missing. */
    enum tw_rc (*read)(void *self, size_t max, size_t max_bytes, struct tw_arena *arena, struct tw_record *ret_records,
                       size_t *ret_count, struct tw_err *reterr);
    /** Adds what the partition's dead letters name, from where the last call ended. */
    enum tw_rc (*verdicts)(void *self, int32_t partition, struct tw_verdicts *verdicts, struct tw_err *reterr);
    void (*close)(void *self); /**< accepts NULL */
    void *self;
};

enum tw_rc tw_source_open_kafka(const char *brokers, enum tw_domain_number domain, int timeout_ms,
                                struct tw_source *ret_source, struct tw_err *reterr);
/** @p folder holds <topic>.twlog of the domain's command topic and of its dead letters, as `twctl log export` writes
 *  them. */
enum tw_rc tw_source_open_files(const char *folder, enum tw_domain_number domain, struct tw_source *ret_source,
                                struct tw_err *reterr);
/** Reads @p files and then @p cluster, both of which it closes. */
void       tw_source_chain(struct tw_source files, struct tw_source cluster, struct tw_source *ret_source);

#endif
