/**
 * Byte strings. `struct tw_str` is a view: it owns nothing, need not end in NUL, and never outlives the arena, record
 * or literal that holds its bytes. `struct tw_buf` owns a growing run of bytes.
 */
#ifndef TILLWIRE_STR_H
#define TILLWIRE_STR_H

#include <string.h>

#include "tillwire/base.h"

struct tw_str {
    const char *ptr; /**< may be NULL when len is 0 */
    size_t      len; /**< bytes */
};

/** A view of a string literal. */
#define TW_STR(literal) ((struct tw_str){(literal), sizeof(literal) - 1})
/** For printf("%.*s"): TW_STR_ARG(s). */
#define TW_STR_ARG(s)   ((int)(s).len), ((s).ptr ? (s).ptr : "")

/** A view of a NUL-terminated text; NULL gives the empty view. */
struct tw_str tw_str_of(const char *text);
bool          tw_str_eq(struct tw_str a, struct tw_str b);
bool          tw_str_is(struct tw_str a, const char *text);
/** Byte order, shorter first when one is a prefix of the other; for qsort and canonical dumps. */
int           tw_str_cmp(struct tw_str a, struct tw_str b);
/** Well-formed UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms)? */
bool          tw_str_is_utf8(struct tw_str s);
/** Bytes of the well-formed UTF-8 character at the front of @p s; 0 when there is none (or @p s is empty). */
size_t        tw_str_utf8_step(struct tw_str s);
/** Reads a whole decimal int64; false when there is anything else in it or it overflows. */
bool          tw_str_to_int(struct tw_str s, int64_t *ret_value);

enum { TW_INT_TEXT = 24 }; /**< room for any int64 as decimal text */
/** The decimal text of @p value, a view into @p text (at its end, not NUL-terminated). Ten times as fast as printf. */
struct tw_str tw_str_of_int(int64_t value, char text[TW_INT_TEXT]);

/**
 * A growing byte buffer. Zero-initialised is valid and empty. Growth beyond `max_bytes` (0: 64 MiB) does not happen:
 * the bytes are dropped and `overflow` is set, so check it once at the end.
 */
struct tw_buf {
    char  *ptr;
    size_t len;
    size_t cap;
    size_t max_bytes;
    bool   overflow;
};

/** The way of tw_buf_add() when there is no room yet. */
void               tw_buf_add_slowly(struct tw_buf *buf, const void *bytes, size_t len);
static inline void tw_buf_add(struct tw_buf *buf, const void *bytes, size_t len)
{
    if (buf->overflow || len > buf->cap - buf->len) {
        tw_buf_add_slowly(buf, bytes, len);
    } else if (len > 0) {
        memcpy(buf->ptr + buf->len, bytes, len);
        buf->len += len;
    }
}
void          tw_buf_add_str(struct tw_buf *buf, struct tw_str s);
void          tw_buf_printf(struct tw_buf *buf, const char *format, ...) TW_PRINTF(2, 3);
/** Forgets the content, keeps the memory. */
void          tw_buf_clear(struct tw_buf *buf);
/** Frees the memory; the buffer is empty and usable again. Accepts NULL. */
void          tw_buf_done(struct tw_buf *buf);
/** The content as a view, valid until the next change. */
struct tw_str tw_buf_str(const struct tw_buf *buf);

#endif
