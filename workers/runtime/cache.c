#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "index.h"

/* A generation is a chained hash table; entries are one allocation each: header and packed state. */
struct entry {
    struct entry *next;
    struct tw_key key;
    int64_t       guard;
    size_t        len;
    char          packed[];
};

enum { BUCKETS = 1 << 14 };

struct generation {
    struct entry *buckets[BUCKETS];
    size_t        bytes;
};

struct tw_cache {
    size_t             max_bytes;
    struct generation *young;
    struct generation *old;
};

static bool key_eq(const struct tw_key *a, const struct tw_key *b)
{
    return a->kind == b->kind && tw_uuid_eq(a->id, b->id) && tw_uuid_eq(a->sub, b->sub);
}

static struct entry **find_slot(struct generation *generation, const struct tw_key *key)
{
    uint64_t       hash = tw_index_hash(key->id.bytes, 16) ^ tw_index_hash(key->sub.bytes, 16) ^ key->kind;
    struct entry **slot = &generation->buckets[hash & (BUCKETS - 1)];

    while (*slot && !key_eq(&(*slot)->key, key))
        slot = &(*slot)->next;
    return slot;
}

static void empty(struct generation *generation)
{
    if (!generation->bytes)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (generation->buckets[i]) {
            struct entry *entry = generation->buckets[i];

            generation->buckets[i] = entry->next;
            free(entry);
        }
    }
    generation->bytes = 0;
}

struct tw_cache *tw_cache_new(size_t max_bytes)
{
    struct tw_cache *cache = tw_alloc_zeroed(1, sizeof(*cache));

    cache->max_bytes = max_bytes;
    cache->young = tw_alloc_zeroed(1, sizeof(*cache->young));
    cache->old = tw_alloc_zeroed(1, sizeof(*cache->old));
    return cache;
}

void tw_cache_clear(struct tw_cache *cache)
{
    empty(cache->young);
    empty(cache->old);
}

void tw_cache_free(struct tw_cache *cache)
{
    if (!cache)
        return;
    tw_cache_clear(cache);
    free(cache->young);
    free(cache->old);
    free(cache);
}

bool tw_cache_get(struct tw_cache *cache, const struct tw_key *key, struct tw_str *ret_packed, int64_t *ret_guard)
{
    struct entry *entry = *find_slot(cache->young, key);

    if (!entry)
        entry = *find_slot(cache->old, key);
    if (!entry)
        return false;
    *ret_packed = (struct tw_str){entry->packed, entry->len};
    *ret_guard = entry->guard;
    return true;
}

static void remove_from(struct generation *generation, const struct tw_key *key)
{
    struct entry **slot = find_slot(generation, key);
    struct entry  *entry = *slot;

    if (!entry)
        return;
    *slot = entry->next;
    generation->bytes -= sizeof(*entry) + entry->len;
    free(entry);
}

static void turn_generations(struct tw_cache *cache)
{
    struct generation *old = cache->old;

    empty(old);
    cache->old = cache->young;
    cache->young = old;
}

void tw_cache_put(struct tw_cache *cache, const struct tw_key *key, struct tw_str packed, int64_t guard)
{
    struct entry  *entry;
    struct entry **slot;

    remove_from(cache->young, key);
    remove_from(cache->old, key); /* else an older state would come back when the young generation is dropped */
    if (sizeof(*entry) + packed.len > cache->max_bytes)
        return;
    if (cache->young->bytes + sizeof(*entry) + packed.len > cache->max_bytes)
        turn_generations(cache);
    entry = tw_alloc(sizeof(*entry) + packed.len);
    entry->key = *key;
    entry->guard = guard;
    entry->len = packed.len;
    memcpy(entry->packed, packed.ptr, packed.len);
    slot = find_slot(cache->young, key);
    entry->next = *slot;
    *slot = entry;
    cache->young->bytes += sizeof(*entry) + packed.len;
}
