#include "index.h"

#include <string.h>

struct tw_index *tw_index_new(struct tw_arena *arena, size_t max_count)
{
    struct tw_index *index = TW_NEW(arena, struct tw_index);
    size_t           size = 16;

    while (size < 2 * max_count)
        size *= 2;
    index->slots = TW_NEW_ARRAY(arena, size, uint32_t);
    index->mask = (uint32_t)(size - 1);
    return index;
}

uint64_t tw_index_hash(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t       hash = 0x9e3779b97f4a7c15u ^ len;

    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    for (; len; at++, len--)
        hash = (hash ^ *at) * 0x100000001b3u;
    return hash ^ (hash >> 29);
}
