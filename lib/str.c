/* Views and growing buffers of bytes; see tillwire/str.h. */
#include "tillwire/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

static const size_t default_max_bytes = 64U << 20;

struct tw_str tw_str_of(const char *text)
{
    return (struct tw_str){text, text ? strlen(text) : 0};
}

bool tw_str_eq(struct tw_str a, struct tw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool tw_str_is(struct tw_str a, const char *text)
{
    return tw_str_eq(a, tw_str_of(text));
}

int tw_str_cmp(struct tw_str a, struct tw_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int    order = common ? memcmp(a.ptr, b.ptr, common) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* Table 3-7 of the Unicode standard: only the second byte has ranges of its own, by the first. */
size_t tw_str_utf8_step(struct tw_str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;

    if (s.len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4 || s.len < 2)
        return 0;
    if (p[0] < 0xE0)
        return is_continuation(p[1]) ? 2 : 0;

    unsigned char low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    size_t        len = p[0] < 0xF0 ? 3 : 4;

    if (s.len < len || p[1] < low || p[1] > high || !is_continuation(p[2]))
        return 0;
    return len == 3 || is_continuation(p[3]) ? len : 0;
}

bool tw_str_is_utf8(struct tw_str s)
{
    size_t at = 0;

    while (at < s.len) {
        size_t step = s.ptr[at] ? tw_str_utf8_step((struct tw_str){s.ptr + at, s.len - at}) : 0;

        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

bool tw_str_to_int(struct tw_str s, int64_t *ret_value)
{
    bool    negative = s.len > 0 && s.ptr[0] == '-';
    int64_t value = 0;

    if (s.len == (negative ? 1U : 0U))
        return false;
    for (size_t i = negative; i < s.len; i++) {
        int digit = s.ptr[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

struct tw_str tw_str_of_int(int64_t value, char text[TW_INT_TEXT])
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char    *at = text + TW_INT_TEXT;

    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    return (struct tw_str){at, (size_t)(text + TW_INT_TEXT - at)};
}

/* Makes room for `more` bytes behind the content; false, with `overflow` set, when the ceiling forbids it. */
static bool reserve(struct tw_buf *buf, size_t more)
{
    size_t max = buf->max_bytes ? buf->max_bytes : default_max_bytes;
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;

    if (buf->overflow || more > max || buf->len > max - more) {
        buf->overflow = true;
        return false;
    }
    if (buf->len + more <= buf->cap)
        return true;
    while (cap < buf->len + more)
        cap *= 2;
    if (cap > max)
        cap = max; /* tw_buf_add() looks at the room alone */
    buf->ptr = tw_realloc(buf->ptr, cap);
    buf->cap = cap;
    return true;
}

void tw_buf_add_slowly(struct tw_buf *buf, const void *bytes, size_t len)
{
    if (len == 0 || !reserve(buf, len))
        return;
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

void tw_buf_add_str(struct tw_buf *buf, struct tw_str s)
{
    tw_buf_add(buf, s.ptr, s.len);
}

void tw_buf_printf(struct tw_buf *buf, const char *format, ...)
{
    va_list args;
    char    text[512];
    int     len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0)
        return;
    if ((size_t)len < sizeof(text)) {
        tw_buf_add(buf, text, (size_t)len);
        return;
    }
    if (!reserve(buf, (size_t)len + 1))
        return;
    va_start(args, format);
    buf->len += (size_t)vsnprintf(buf->ptr + buf->len, (size_t)len + 1, format, args);
    va_end(args);
}

void tw_buf_clear(struct tw_buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
}

void tw_buf_done(struct tw_buf *buf)
{
    if (!buf)
        return;
    free(buf->ptr);
    *buf = (struct tw_buf){.max_bytes = buf->max_bytes};
}

struct tw_str tw_buf_str(const struct tw_buf *buf)
{
    return (struct tw_str){buf->ptr, buf->len};
}
