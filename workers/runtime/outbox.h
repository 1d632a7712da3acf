/**
 * The outbox: one packed value per partition and batch, saved by the same commit as the state, published in order after
 * it. Entries stand in the order (cause offset, n); the same packed bytes always render to the same records.
 */
#ifndef TILLWIRE_RUNTIME_OUTBOX_H
#define TILLWIRE_RUNTIME_OUTBOX_H

#include "tillwire/domain.h"

/** A record to publish; views into the packed bytes and the arena it was rendered in. */
struct tw_outbox_record {
    bool                    dead_letter; /**< or settlement: to the domain's dlq topic, else to its events topic */
    struct tw_str           key;
    struct tw_str           value;
    const struct tw_header *headers;
    size_t                  header_count;
};

void tw_outbox_pack_event(struct tw_buf *out, const struct tw_event *event);
/** Why a record is given up, beside what the record itself says. */
struct tw_dead_entry {
    const char   *reason;
    struct tw_str message;
    const char   *program;
    int64_t       first_offset; /**< its own, or that of the dead letter it is a requeue of */
    int64_t       attempts;
    int64_t       first_failed_ms;
    int64_t       last_failed_ms;
};
/** @p record's bytes and headers untouched, with why and where from. */
void tw_outbox_pack_dead_letter(struct tw_buf *out, const struct tw_record *record, const struct tw_dead_entry *entry);
/** To the dead-letter topic: the requeue or drop @p record settled the dead letter @p first_offset. */
void tw_outbox_pack_settlement(struct tw_buf *out, const struct tw_record *record, int64_t first_offset,
                               const char *settled_as, int64_t at_ms);

/** Renders all entries of @p packed. BROKEN: these are not bytes that were packed here. */
enum tw_rc tw_outbox_render(struct tw_str packed, const char *domain, int32_t partition, struct tw_arena *arena,
                            struct tw_outbox_record **ret_records, size_t *ret_count, struct tw_err *reterr);

#endif
