/**
 * Per-batch memory: everything decoded or built for one batch or one request comes from its arena and is gone with one
 * reset. Allocation never fails (tw_out_of_memory) and is never freed singly. One thread at a time.
 */
#ifndef TILLWIRE_ARENA_H
#define TILLWIRE_ARENA_H

#include "tillwire/str.h"

struct tw_arena_chunk;
struct tw_arena {
    struct tw_arena_chunk *chunks;     /**< newest first */
    size_t                 used_bytes; /**< handed out since the last reset */
};

/** Zeroed memory, aligned for any type. A size of 0 gives a valid pointer. */
void         *tw_arena_alloc(struct tw_arena *arena, size_t size_bytes);
/** Zeroed array; ends the process when count * size overflows. */
void         *tw_arena_array(struct tw_arena *arena, size_t count, size_t size_bytes);
/** A copy of @p s, NUL-terminated behind its last byte. */
struct tw_str tw_arena_copy(struct tw_arena *arena, struct tw_str s);
struct tw_str tw_arena_printf(struct tw_arena *arena, const char *format, ...) TW_PRINTF(2, 3);
/** Grows an array of @p size_bytes elements so that one more fits; the old memory stays until the reset. */
void         *tw_arena_grow(struct tw_arena *arena, void *array, uint32_t len, uint32_t *cap, size_t size_bytes);

#define TW_NEW(arena, type)              ((type *)tw_arena_alloc((arena), sizeof(type)))
#define TW_NEW_ARRAY(arena, count, type) ((type *)tw_arena_array((arena), (count), sizeof(type)))

/** Forgets everything; keeps one chunk so that a steady loop stops calling malloc. */
void tw_arena_reset(struct tw_arena *arena);
/** Frees everything. Accepts NULL; zero-initialised is valid. */
void tw_arena_done(struct tw_arena *arena);

#endif
