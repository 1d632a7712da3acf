#include "cut.h"

/* More would save little and take memory: about a kilobyte a record while its turn lasts, the fetched message included. */
enum { SHARING_TIMES = 8 };
enum { LANE_BATCHES = 4 };

/* Records share when they neither have a ledger row nor an event of their own. */
static bool can_share(const struct tw_domain *domain)
{
    return domain->coalesced != NULL;
}

struct tw_cut_limits tw_cut_limits_of(const struct tw_domain *domain, size_t records, size_t bytes)
{
    size_t times = can_share(domain) ? SHARING_TIMES : 1;

    return (struct tw_cut_limits){records, bytes, times * records, times * bytes};
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t tw_cut_lane_records(const struct tw_cut_limits *limits)
{
    return larger(LANE_BATCHES * limits->records, limits->all_records);
}

size_t tw_cut_lane_bytes(const struct tw_cut_limits *limits)
{
    return larger(LANE_BATCHES * limits->bytes, limits->all_bytes);
}

void tw_cut_begin(struct tw_cut *cut, const struct tw_domain *domain, const struct tw_cut_limits *limits,
                  const struct tw_record *records, size_t at_hand, struct tw_arena *arena)
{
    *cut = (struct tw_cut){
        .domain = domain,
        .limits = *limits,
        .records = records,
        .at_hand = at_hand,
        .sharing = can_share(domain) ? tw_index_new(arena, at_hand) : NULL,
    };
}

/* By its headers alone. One that turns out to be a dead letter leaves something after all: all_bytes bounds that. */
static bool shares(const struct tw_cut *cut, const struct tw_record *record)
{
    const struct tw_type *type = tw_domain_command(cut->domain, tw_header_find(record, TW_H_TYPE));
    struct tw_uuid        id;

    return type && type->quiet && tw_uuid_parse(tw_header_find(record, TW_H_ID), &id) && !tw_command_id_is_keyed(id);
}

/* Is it the first one that shares this key? From now on there is one. */
static bool begins_to_share(struct tw_cut *cut, const struct tw_record *record)
{
    struct tw_index *index = cut->sharing;
    uint32_t         slot = tw_index_first(index, tw_index_hash(record->key.ptr, record->key.len));

    for (; index->slots[slot]; slot = tw_index_next(index, slot))
        if (tw_str_eq(cut->records[index->slots[slot] - 1].key, record->key))
            return false;
    index->slots[slot] = (uint32_t)cut->record_count + 1;
    return true;
}

static bool is_free(struct tw_cut *cut, const struct tw_record *record)
{
    return cut->sharing && shares(cut, record) && !begins_to_share(cut, record);
}

bool tw_cut_takes(struct tw_cut *cut)
{
    const struct tw_record *record = &cut->records[cut->record_count];
    size_t                  bytes;
    bool                    counts;

    if (cut->record_count == cut->at_hand || cut->record_count == cut->limits.all_records)
        return false;
    bytes = record->value.len + record->key.len;
    counts = !is_free(cut, record);
    cut->bytes += bytes;
    cut->counted += counts;
    cut->counted_bytes += counts ? bytes : 0;
    if (cut->record_count && (cut->counted > cut->limits.records || cut->counted_bytes > cut->limits.bytes ||
                              cut->bytes > cut->limits.all_bytes))
        return false;
    cut->record_count++;
    return true;
}
