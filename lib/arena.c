/*
 * A list of chunks, the newest in use. Chunks double, so that a loop of steady batches soon works in the one chunk a
 * reset keeps. Under the address sanitizer all memory that is not handed out is poisoned: a view that outlives its
 * batch is an error there, not luck.
 */
#include "tillwire/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(POISONING) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size_bytes)   ((void)(address), (void)(size_bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, size_bytes) ((void)(address), (void)(size_bytes))
#endif

enum {
    ALIGNMENT = _Alignof(max_align_t),
    FIRST_CHUNK_BYTES = 16 << 10,
    LARGEST_CHUNK_BYTES = 8 << 20, /* what an idle arena holds on to, at most */
};

struct tw_arena_chunk {
    struct tw_arena_chunk *next;
    size_t                 cap;
    size_t                 used;
    _Alignas(ALIGNMENT) char bytes[];
};

static struct tw_arena_chunk *add_chunk(struct tw_arena *arena, size_t size_bytes)
{
    size_t                 cap = arena->chunks ? arena->chunks->cap * 2 : FIRST_CHUNK_BYTES;
    struct tw_arena_chunk *chunk;

    if (cap > LARGEST_CHUNK_BYTES)
        cap = LARGEST_CHUNK_BYTES;
    if (cap < size_bytes)
        cap = size_bytes;
    chunk = tw_alloc(sizeof(*chunk) + cap);
    chunk->next = arena->chunks;
    chunk->cap = cap;
    chunk->used = 0;
    ASAN_POISON_MEMORY_REGION(chunk->bytes, cap);
    arena->chunks = chunk;
    return chunk;
}

static void free_chunk(struct tw_arena_chunk *chunk)
{
    ASAN_UNPOISON_MEMORY_REGION(chunk->bytes, chunk->cap);
    free(chunk);
}

static size_t round_up(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2)
        tw_out_of_memory(size_bytes);
    return (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Not zeroed; `size_bytes` may be 0. */
static void *take(struct tw_arena *arena, size_t size_bytes)
{
    size_t                 rounded = round_up(size_bytes);
    struct tw_arena_chunk *chunk = arena->chunks;
    void                  *memory;

    if (!chunk || chunk->cap - chunk->used < rounded)
        chunk = add_chunk(arena, rounded);
    memory = chunk->bytes + chunk->used;
    ASAN_UNPOISON_MEMORY_REGION(memory, size_bytes);
    chunk->used += rounded;
    arena->used_bytes += rounded;
    return memory;
}

void *tw_arena_alloc(struct tw_arena *arena, size_t size_bytes)
{
    return memset(take(arena, size_bytes), 0, size_bytes);
}

void *tw_arena_array(struct tw_arena *arena, size_t count, size_t size_bytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, size_bytes, &total))
        tw_out_of_memory(SIZE_MAX);
    return tw_arena_alloc(arena, total);
}

struct tw_str tw_arena_copy(struct tw_arena *arena, struct tw_str s)
{
    char *copy = take(arena, s.len + 1);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return (struct tw_str){copy, s.len};
}

struct tw_str tw_arena_printf(struct tw_arena *arena, const char *format, ...)
{
    va_list args;
    char   *text;
    int     len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    text = take(arena, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return (struct tw_str){text, (size_t)len};
}

void *tw_arena_grow(struct tw_arena *arena, void *array, uint32_t len, uint32_t *cap, size_t size_bytes)
{
    uint32_t wanted = *cap ? *cap : 4;
    void    *grown;

    assert(len <= *cap);
    if (len < *cap)
        return array;
    if (*cap && __builtin_mul_overflow(*cap, 2, &wanted))
        tw_out_of_memory(SIZE_MAX);
    grown = tw_arena_array(arena, wanted, size_bytes);
    if (len)
        memcpy(grown, array, len * size_bytes);
    *cap = wanted;
    return grown;
}

void tw_arena_reset(struct tw_arena *arena)
{
    struct tw_arena_chunk *kept = arena->chunks;

    arena->used_bytes = 0;
    if (!kept)
        return;
    if (kept->cap > LARGEST_CHUNK_BYTES) {
        tw_arena_done(arena);
        return;
    }
    while (kept->next) {
        struct tw_arena_chunk *older = kept->next;

        kept->next = older->next;
        free_chunk(older);
    }
    kept->used = 0;
    ASAN_POISON_MEMORY_REGION(kept->bytes, kept->cap);
}

void tw_arena_done(struct tw_arena *arena)
{
    if (!arena)
        return;
    while (arena->chunks) {
        struct tw_arena_chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        free_chunk(chunk);
    }
    arena->used_bytes = 0;
}
