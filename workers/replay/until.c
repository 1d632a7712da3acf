#include "until.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"

/* The text before @p mark, which goes from *rest together with the mark; all of it when there is none. */
static struct tw_str cut(struct tw_str *rest, char mark)
{
    const char   *at = rest->len ? memchr(rest->ptr, mark, rest->len) : NULL;
    struct tw_str part = {rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len};
    size_t        step = at ? part.len + 1 : part.len;

    *rest = (struct tw_str){rest->ptr + step, rest->len - step};
    return part;
}

struct ends {
    struct tw_fold_end *of;       /* by partition */
    bool               *is_named; /* beside it */
    int32_t             partition_count;
};

static enum tw_rc apply_one(struct tw_str pair, struct ends *ends, struct tw_err *reterr)
{
    struct tw_str rest = pair;
    int64_t       partition, offset;

    if (!tw_str_to_int(cut(&rest, ':'), &partition) || !tw_str_to_int(rest, &offset) || offset < 0)
        return tw_fail(reterr, TW_INVALID, "until", 0,
                       "until: '%.*s' is neither a time like 2026-11-23T10:00:00Z nor an offset like 0:120",
                       TW_STR_ARG(pair));
    if (partition < 0 || partition >= ends->partition_count)
        return tw_fail(reterr, TW_INVALID, "until", 0, "until: there is no partition %" PRId64 ", only 0 to %" PRId32,
                       partition, ends->partition_count - 1);
    if (ends->is_named[partition])
        return tw_fail(reterr, TW_INVALID, "until", 0, "until: partition %" PRId64 " is named twice", partition);
    if (offset > ends->of[partition].offset)
        return tw_fail(reterr, TW_INVALID, "until", 0,
                       "until: partition %" PRId64 " is folded up to %" PRId64 " so far, not %" PRId64, partition,
                       ends->of[partition].offset, offset);
    ends->is_named[partition] = true;
    ends->of[partition].offset = offset;
    return TW_OK;
}

static enum tw_rc apply_all(struct tw_str list, struct ends *ends, struct tw_err *reterr)
{
    bool is_last;

    do {
        is_last = !list.len || !memchr(list.ptr, ',', list.len);
        TW_TRY(apply_one(cut(&list, ','), ends, reterr));
    } while (!is_last);
    return TW_OK;
}

enum tw_rc tw_until_apply(const char *text, struct tw_fold_end *ends, int32_t partition_count, struct tw_err *reterr)
{
    struct ends all = {.of = ends, .partition_count = partition_count};
    int64_t     time_ms;
    enum tw_rc  rc;

    if (tw_time_parse(tw_str_of(text), &time_ms)) {
        for (int32_t p = 0; p < partition_count; p++)
            ends[p].time_ms = time_ms;
        return TW_OK;
    }
    all.is_named = tw_alloc_zeroed((size_t)partition_count, sizeof(*all.is_named));
    rc = apply_all(tw_str_of(text), &all, reterr);
    free(all.is_named);
    return rc;
}

enum tw_rc tw_until_check(const struct tw_fold_end *ends, const struct tw_progress *at, int32_t partition_count,
                          struct tw_err *reterr)
{
    char time[TW_TIME_TEXT + 1];

    for (int32_t p = 0; p < partition_count; p++) {
        if (at[p].next_offset <= ends[p].offset && at[p].clock_ms <= ends[p].time_ms)
            continue;
        tw_time_format(at[p].clock_ms, time);
        return tw_fail(reterr, TW_REFUSED, "until", 0,
                       "until: the snapshot is of a later moment: it has partition %" PRId32 " up to %" PRId64
                       ", which was at %s",
                       p, at[p].next_offset, time);
    }
    return TW_OK;
}
