/*
 * Does the shadow hold what was folded into it? The commits of the fold wrote down what it should hold (digest.h), and all
 * of it is read as a worker would read it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "progress_bar.h"
#include "rebuild.h"
#include "scan.h"

struct reading {
    struct tw_digest read;
    int64_t          count;
    struct tw_buf    scratch;
};

static enum tw_rc go_on(void *self, struct tw_err *reterr)
{
    (void)self; /* nobody else moves a shadow */
    if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "rebuild", 0, "interrupted: the same command goes on from here");
    return TW_OK;
}

static enum tw_rc read_back(const struct tw_rebuild *r, struct tw_scan *scan, struct reading *reading,
                            struct tw_err *reterr)
{
    TW_AUTO(tw_progress_bar_end) struct tw_progress_bar bar = {0};
    struct tw_scan_item                                 item;

    tw_progress_bar_begin(&bar, r->name, "aggregates read back", 0);
    TW_TRY(tw_scan_next(scan, &item, reterr));
    for (; item.what == TW_SCAN_ENTITY; reading->count++) {
        tw_digest_add(&reading->read, item.type, &item.entity->key, item.entity->before, &reading->scratch);
        tw_progress_bar_show(&bar, reading->count);
        TW_TRY(go_on(NULL, reterr));
        TW_TRY(tw_scan_next(scan, &item, reterr));
    }
    return TW_OK;
}

/* What was folded, by what the commits themselves wrote down. */
static enum tw_rc read_digests(const struct tw_rebuild *r, struct tw_store *store, struct tw_digest *ret_sum,
                               struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    *ret_sum = (struct tw_digest){0};
    for (int32_t p = 0; p < r->partition_count; p++) {
        struct tw_digest of_partition;

        TW_TRY(store->watermark(store->self, p, &arena, &r->at[p], reterr));
        if (!tw_digest_read(r->at[p].outbox, &of_partition))
            return tw_rebuild_refuse(r, "it was not made by a rebuild of this release", reterr);
        tw_digest_join(ret_sum, &of_partition);
        r->at[p].outbox = (struct tw_str){NULL, 0};
    }
    return TW_OK;
}

/* The first of the lines, as much of it as a failure can tell. */
static struct tw_str first_of(struct tw_str lines)
{
    const char *end = lines.len ? memchr(lines.ptr, '\n', lines.len) : NULL;
    size_t      len = end ? (size_t)(end - lines.ptr) : lines.len;

    return (struct tw_str){lines.ptr, len < 150 ? len : 150};
}

static enum tw_rc check_readers(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    struct tw_readers_check check = {.go_on = go_on};
    enum tw_rc              rc = TW_OK;

    if (r->domain->check_readers)
        rc = r->domain->check_readers(store, r->partition_count, &check, reterr);
    if (rc == TW_OK && check.count)
        rc = tw_fail(reterr, TW_BROKEN, "rebuild", 0, "%s: %" PRId64 " differences, the first: %.*s", r->shadow.place,
                     check.count, TW_STR_ARG(first_of(tw_buf_str(&check.findings))));
    tw_buf_done(&check.findings);
    return rc;
}

enum tw_rc tw_rebuild_complete(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    bool more = r->shadow.complete != NULL;

    while (more) {
        TW_TRY(r->shadow.complete(r->shadow.self, &more, reterr));
        TW_TRY(go_on(NULL, reterr));
    }
    TW_TRY(tw_rebuild_read_shadow(r, store, reterr));
    for (int32_t p = 0; r->domain->complete && p < r->partition_count; p++) {
        TW_TRY(r->domain->complete(store, p, reterr));
        TW_TRY(go_on(NULL, reterr));
    }
    return TW_OK;
}

enum tw_rc tw_rebuild_read_back(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    struct reading   reading = {0};
    struct tw_digest folded;
    struct tw_scan  *scan;
    enum tw_rc       rc;

    TW_TRY(read_digests(r, store, &folded, reterr));
    scan = tw_scan_open(r->domain->domain, store, r->at, r->partition_count);
    rc = read_back(r, scan, &reading, reterr);
    tw_scan_close(scan);
    tw_buf_done(&reading.scratch);
    TW_TRY(rc);
    if (!tw_digest_eq(&folded, &reading.read))
        return tw_rebuild_refuse(r, "it does not hold what was folded into it: forget it with --drop", reterr);
    TW_TRY(check_readers(r, store, reterr));
    printf("%s: the shadow in %s holds what was folded: %" PRId64 " aggregates read back\n", r->name, r->shadow.place,
           reading.count);
    return TW_OK;
}
