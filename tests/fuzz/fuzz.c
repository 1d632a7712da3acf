#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "unit.h"

void tw_fuzz_must(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

struct tw_str tw_fuzz_own(struct tw_str bytes)
{
    char *own = tw_alloc(bytes.len ? bytes.len : 1);

    if (bytes.len)
        memcpy(own, bytes.ptr, bytes.len);
    return (struct tw_str){own, bytes.len};
}

struct tw_str tw_fuzz_take(struct tw_str *rest, char end)
{
    const char   *at = rest->len ? memchr(rest->ptr, end, rest->len) : NULL;
    struct tw_str taken = {rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len};
    size_t        used = taken.len + (at ? 1 : 0);

    *rest = (struct tw_str){rest->ptr + used, rest->len - used};
    return taken;
}

uint8_t tw_fuzz_take_byte(struct tw_str *rest)
{
    if (rest->len == 0)
        return 0;
    *rest = (struct tw_str){rest->ptr + 1, rest->len - 1};
    return (uint8_t)rest->ptr[-1];
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

size_t tw_fuzz_dice(uint64_t *random, size_t sides)
{
    return (size_t)(tw_random(random) >> 32) % sides;
}

void tw_fuzz_add_mutated(struct tw_buf *out, struct tw_str bytes, size_t room)
{
    uint8_t *copy = tw_alloc(bytes.len + room + 1);

    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    tw_buf_add(out, copy, LLVMFuzzerMutate(copy, bytes.len, bytes.len + room + 1));
    free(copy);
}

size_t tw_fuzz_replace(uint8_t *bytes, size_t len, size_t max, struct tw_buf *out)
{
    size_t new_len = out->len;

    if (new_len > 0 && new_len <= max)
        memcpy(bytes, out->ptr, new_len);
    else
        new_len = LLVMFuzzerMutate(bytes, len, max);
    tw_buf_done(out);
    return new_len;
}
