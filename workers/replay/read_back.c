/*
 * Does the shadow hold what was folded into it? The commits of the fold wrote down what it should hold (digest.h), and all
 * of it is read as a worker would read it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "digest.h"
#include "progress_bar.h"
#include "rebuild.h"
#include "scan.h"
#include "thread_group.h"

/* Each thread reads a share of the partitions, on a connection of its own. */
struct reading {
    const struct tw_rebuild *rebuild;
    struct tw_thread_group   group;
    int32_t                  shares;
    atomic_int               next_share;
    atomic_llong             count; /* of aggregates */
    pthread_mutex_t          lock;  /* guards `read` */
    struct tw_digest         read;
    struct tw_progress_bar   bar; /* the caller's thread's */
};

/* What one thread works with. */
struct reader {
    const struct tw_replay_domain *domain;
    struct tw_store                store;
    struct tw_scan                *scan;
    struct tw_digest               read;
    struct tw_buf                  scratch;
};

static void reader_done(struct reader *reader)
{
    tw_scan_close(reader->scan);
    reader->domain->close_store(&reader->store);
    tw_buf_done(&reader->scratch);
}

static enum tw_rc go_on(void *self, struct tw_err *reterr)
{
    (void)self; /* nobody else moves a shadow */
    if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "rebuild", 0, "interrupted: the same command goes on from here");
    return TW_OK;
}

/* A load follows watermark(), which connects. */
static enum tw_rc open_reader(const struct tw_rebuild *r, struct reader *reader, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_progress                     ignored;

    TW_TRY(tw_replay_open_store(r->domain, r->settings, r->shadow.uri, &reader->store, reterr));
    for (int32_t p = 0; p < r->partition_count; p++)
        TW_TRY(reader->store.watermark(reader->store.self, p, &arena, &ignored, reterr));
    return TW_OK;
}

static enum tw_rc read_share(struct reading *reading, struct reader *reader, int32_t share, struct tw_err *reterr)
{
    const struct tw_rebuild *r = reading->rebuild;
    struct tw_scan_item      item;

    reader->scan = tw_scan_open(r->domain->domain, &reader->store, r->at, r->partition_count);
    tw_scan_take_share(reader->scan, share, reading->shares);
    TW_TRY(tw_scan_next(reader->scan, &item, reterr));
    while (item.what == TW_SCAN_ENTITY && !tw_thread_group_must_end(&reading->group)) {
        tw_digest_add(&reader->read, item.type, &item.entity->key, item.entity->before, &reader->scratch);
        atomic_fetch_add_explicit(&reading->count, 1, memory_order_relaxed);
        TW_TRY(tw_scan_next(reader->scan, &item, reterr));
    }
    tw_scan_close(reader->scan);
    reader->scan = NULL;
    return TW_OK;
}

static enum tw_rc run_thread(void *self, struct tw_err *reterr)
{
    struct reading                    *reading = self;
    TW_AUTO(reader_done) struct reader reader = {.domain = reading->rebuild->domain};
    int32_t                            share;

    TW_TRY(open_reader(reading->rebuild, &reader, reterr));
    while ((share = atomic_fetch_add(&reading->next_share, 1)) < reading->shares)
        TW_TRY(read_share(reading, &reader, share, reterr));
    pthread_mutex_lock(&reading->lock);
    tw_digest_join(&reading->read, &reader.read);
    pthread_mutex_unlock(&reading->lock);
    return TW_OK;
}

static enum tw_rc look_after(void *self, struct tw_err *reterr)
{
    struct reading *reading = self;

    (void)reterr;
    tw_progress_bar_show(&reading->bar, reading->count);
    return TW_OK;
}

static enum tw_rc read_all(const struct tw_rebuild *r, struct tw_digest *ret_read, int64_t *ret_count,
                           struct tw_err *reterr)
{
    struct reading reading = {.rebuild = r, .lock = PTHREAD_MUTEX_INITIALIZER};
    enum tw_rc     rc;

    reading.shares = r->settings->threads < r->partition_count ? (int32_t)r->settings->threads : r->partition_count;
    reading.group = (struct tw_thread_group){
        .wanted = reading.shares, .run = run_thread, .look_after = look_after, .self = &reading};
    tw_progress_bar_begin(&reading.bar, r->name, "aggregates read back", 0);
    rc = tw_thread_group_run(&reading.group, reterr);
    tw_progress_bar_end(&reading.bar);
    pthread_mutex_destroy(&reading.lock);
    *ret_read = reading.read;
    *ret_count = reading.count;
    return rc;
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
    struct tw_digest folded, read;
    int64_t          count;

    TW_TRY(read_digests(r, store, &folded, reterr));
    TW_TRY(read_all(r, &read, &count, reterr));
    if (!tw_digest_eq(&folded, &read))
        return tw_rebuild_refuse(r, "it does not hold what was folded into it: forget it with --drop", reterr);
    TW_TRY(check_readers(r, store, reterr));
    printf("%s: the shadow in %s holds what was folded: %" PRId64 " aggregates read back\n", r->name, r->shadow.place,
           count);
    return TW_OK;
}
