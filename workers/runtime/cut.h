/**
 * Where a batch ends: how many of the fetched records one commit takes.
 *
 * What a commit bears is counted in what it writes. Nearly every record leaves something of its own behind (a state, a
 * ledger row, events), so records are counted. Views of one product, however, share one write and one event, as many as
 * they are: the first of a batch counts, the others are free. A backlog of views so becomes a few large batches instead
 * of many that write the same products again and again.
 *
 * Only the limits decide, never what a record means: a fold is the same in batches of any size.
 *
 * Pure.
 */
#ifndef TILLWIRE_RUNTIME_CUT_H
#define TILLWIRE_RUNTIME_CUT_H

#include "index.h"
#include "tillwire/domain.h"

/** Of a batch: of what counts, and of all there is, because that has to be held in memory. */
struct tw_cut_limits {
    size_t records;
    size_t bytes;
    size_t all_records;
    size_t all_bytes;
};

/** `all_…` is more only where records of @p domain can share what they write. */
struct tw_cut_limits tw_cut_limits_of(const struct tw_domain *domain, size_t records, size_t bytes);

/** How much of a partition is worth fetching before it is folded: what makes a few batches, or one large one. */
size_t tw_cut_lane_records(const struct tw_cut_limits *limits);
size_t tw_cut_lane_bytes(const struct tw_cut_limits *limits);

struct tw_cut {
    const struct tw_domain *domain;
    struct tw_cut_limits    limits;
    const struct tw_record *records;
    size_t                  record_count; /**< of the batch so far */
    size_t                  at_hand;
    /* working state */
    size_t                  bytes;
    size_t                  counted;
    size_t                  counted_bytes;
    struct tw_index
        *sharing; /**< keys of records that share, by position of the first; NULL: none does in this domain */
};

/** Begins a batch of the @p at_hand records at @p records, or the first of them; they may be filled in one by one. */
void tw_cut_begin(struct tw_cut *cut, const struct tw_domain *domain, const struct tw_cut_limits *limits,
                  const struct tw_record *records, size_t at_hand, struct tw_arena *arena);
/** Does the record behind the batch so far go with it? Then it is part of it. The first one always goes. */
bool tw_cut_takes(struct tw_cut *cut);

#endif
