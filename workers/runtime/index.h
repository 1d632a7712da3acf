/**
 * A hash index from 16-byte ids to positions in an array, for the length of one turn. Open addressing, never more than
 * half full, never shrinks.
 */
#ifndef TILLWIRE_RUNTIME_INDEX_H
#define TILLWIRE_RUNTIME_INDEX_H

#include "tillwire/arena.h"

struct tw_index {
    uint32_t *slots; /**< position + 1; 0: empty */
    uint32_t  mask;
};

/** Room for @p max_count entries. */
struct tw_index *tw_index_new(struct tw_arena *arena, size_t max_count);
/** Mixes well enough for ids that other people choose. */
uint64_t         tw_index_hash(const void *bytes, size_t len);

/** Walks the candidates for @p hash: `for (uint32_t slot = tw_index_first(i, h); i->slots[slot]; slot = next)`. */
static inline uint32_t tw_index_first(const struct tw_index *index, uint64_t hash)
{
    return (uint32_t)hash & index->mask;
}
static inline uint32_t tw_index_next(const struct tw_index *index, uint32_t slot)
{
    return (slot + 1) & index->mask;
}

#endif
