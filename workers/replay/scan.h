/**
 * Reads all that a store holds, in the canonical order: entities by (kind, id, sub), then remembered commands by
 * (partition, id). The store must stand still at the watermarks that are given: frozen, or nobody else's.
 *
 *     tw_scan_open(…)
 *     while (tw_scan_next(scan, &item, reterr) == TW_OK && item.what != TW_SCAN_END) …
 *
 * Memory: a page of what is read. One thread.
 */
#ifndef TILLWIRE_REPLAY_SCAN_H
#define TILLWIRE_REPLAY_SCAN_H

#include "tillwire/domain.h"

enum tw_scan_what { TW_SCAN_END, TW_SCAN_ENTITY, TW_SCAN_ROW };

/** Lives until the next call. What has ended but was not swept yet is among them. */
struct tw_scan_item {
    enum tw_scan_what           what;
    int32_t                     partition;
    const struct tw_type       *type;   /**< ENTITY: of the state */
    const struct tw_entity     *entity; /**< key, before, before_guard */
    const struct tw_ledger_row *row;
};

struct tw_scan;

/** @p vector: the watermark of each partition; all three live longer than the scan. */
struct tw_scan *tw_scan_open(const struct tw_domain *domain, const struct tw_store *store,
                             const struct tw_progress *vector, int32_t partition_count);
/** Before the first item: of the entities only those of every @p shares -th partition are read, from @p share on. Each of
 *  so many scans reads another share of all. */
void            tw_scan_take_share(struct tw_scan *scan, int32_t share, int32_t shares);
/** FENCED: the store moved. BROKEN: it holds what cannot be read. */
enum tw_rc      tw_scan_next(struct tw_scan *scan, struct tw_scan_item *ret_item, struct tw_err *reterr);
/** Accepts NULL. */
void            tw_scan_close(struct tw_scan *scan);

/** Order of two items of scans of one domain; END is behind everything. */
int tw_scan_cmp(const struct tw_scan_item *a, const struct tw_scan_item *b);

#endif
