/**
 * States kept from a worker's own last commits, packed. They count as loaded at the watermark of that commit, so a busy
 * aggregate is not read again; whatever makes the watermark uncertain empties the cache.
 *
 * Two generations: when the young one is full it becomes the old one and the old one is dropped, so memory stays under
 * twice the limit and a state that is used stays.
 */
#ifndef TILLWIRE_RUNTIME_CACHE_H
#define TILLWIRE_RUNTIME_CACHE_H

#include "tillwire/store.h"

struct tw_cache;

/** @p max_bytes for each generation; 0: keeps nothing. */
struct tw_cache *tw_cache_new(size_t max_bytes);
void             tw_cache_free(struct tw_cache *cache);
void             tw_cache_clear(struct tw_cache *cache);
/** The view lives until the next change of the cache. */
bool tw_cache_get(struct tw_cache *cache, const struct tw_key *key, struct tw_str *ret_packed, int64_t *ret_guard);
void tw_cache_put(struct tw_cache *cache, const struct tw_key *key, struct tw_str packed, int64_t guard);

#endif
