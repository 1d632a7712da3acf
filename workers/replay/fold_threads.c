#include "fold_threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "progress_bar.h"

enum { THREADS_MAX = 16 };

struct work {
    const struct tw_fold_threads *threads;
    int32_t                       partition_count;
    atomic_llong                  folded;
    atomic_int                    next_partition;
    atomic_int                    running;
    pthread_mutex_t               lock; /* guards the two below */
    enum tw_rc                    rc;
    struct tw_err                 err; /* of whoever failed first */
};

/* What one thread works with. */
struct tools {
    const struct tw_replay_domain *domain;
    struct tw_store                store;
    struct tw_source               source;
};

static void tools_done(struct tools *tools)
{
    tools->domain->close_store(&tools->store);
    if (tools->source.close)
        tools->source.close(tools->source.self);
}

static bool must_end(struct work *work)
{
    bool failed;

    pthread_mutex_lock(&work->lock);
    failed = work->rc != TW_OK;
    pthread_mutex_unlock(&work->lock);
    return failed || atomic_load(&tw_replay_stop);
}

static enum tw_rc fold_partitions(struct work *work, struct tools *tools, struct tw_err *reterr)
{
    const struct tw_fold_threads *threads = work->threads;
    struct tw_fold                fold;
    int32_t                       partition;

    TW_TRY(tw_replay_open_store(threads->domain, threads->settings, threads->uri, &tools->store, reterr));
    if (threads->domain->bulk)
        threads->domain->bulk(&tools->store);
    TW_TRY(tw_replay_open_source(threads->domain, threads->settings, &tools->source, reterr));
    TW_TRY(tw_replay_fold_config(threads->domain, threads->settings, &fold, reterr));
    fold.config.store = &tools->store;
    fold.source = &tools->source;
    fold.keeps_digest = true;
    fold.sweeps = threads->domain->sweeps_rows;
    fold.folded = &work->folded;
    while ((partition = atomic_fetch_add(&work->next_partition, 1)) < work->partition_count && !must_end(work))
        TW_TRY(tw_fold_partition(&fold, partition, threads->ends[partition], &threads->at[partition], reterr));
    return TW_OK;
}

static void give_up(struct work *work, enum tw_rc rc, const struct tw_err *err)
{
    pthread_mutex_lock(&work->lock);
    if (work->rc == TW_OK) {
        work->err = *err;
        work->rc = rc;
    }
    pthread_mutex_unlock(&work->lock);
}

static void *thread_main(void *argument)
{
    struct work                     *work = argument;
    struct tw_err                    err;
    enum tw_rc                       rc;
    TW_AUTO(tools_done) struct tools tools = {.domain = work->threads->domain};

    rc = fold_partitions(work, &tools, &err);
    if (rc != TW_OK)
        give_up(work, rc, &err);
    atomic_fetch_sub(&work->running, 1);
    return NULL;
}

/* Records from where the shadow stands; the part that is there already is counted by whoever folds it: nobody. */
static int64_t count_records(const struct tw_fold_threads *threads, int32_t partition_count)
{
    int64_t count = 0;

    for (int32_t p = 0; p < partition_count; p++)
        if (threads->ends[p].time_ms == INT64_MAX && threads->ends[p].offset > threads->at[p].next_offset)
            count += threads->ends[p].offset - threads->at[p].next_offset;
    return count;
}

static bool is_there(const struct tw_fold_threads *threads, int32_t partition_count)
{
    for (int32_t p = 0; p < partition_count; p++)
        if (threads->at[p].next_offset < threads->ends[p].offset)
            return false;
    return true;
}

static void watch(struct work *work, int64_t all)
{
    struct tw_progress_bar bar;

    tw_progress_bar_begin(&bar, work->threads->domain->domain->name, "records", all);
    while (atomic_load(&work->running)) {
        struct tw_err err;
        enum tw_rc    rc = work->threads->go_on ? work->threads->go_on(work->threads->self, &err) : TW_OK;

        if (rc != TW_OK)
            give_up(work, rc, &err);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        tw_progress_bar_show(&bar, work->folded);
    }
    tw_progress_bar_end(&bar);
}

enum tw_rc tw_fold_threads_run(const struct tw_fold_threads *threads, struct tw_err *reterr)
{
    struct work work = {
        .threads = threads,
        .partition_count = tw_replay_partition_count(threads->domain),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    int64_t   all = count_records(threads, work.partition_count); /* before the threads move it */
    pthread_t ids[THREADS_MAX];
    int       count = 0;

    if (is_there(threads, work.partition_count)) /* no connection is worth making, while the live store is held least */
        return TW_OK;
    for (; count < threads->settings->threads && count < THREADS_MAX; count++) {
        atomic_fetch_add(&work.running, 1);
        if (pthread_create(&ids[count], NULL, thread_main, &work) == 0)
            continue;
        atomic_fetch_sub(&work.running, 1);
        break;
    }
    if (!count)
        return tw_fail(reterr, TW_UNREACHED, "fold", 0, "cannot start a thread");
    watch(&work, all);
    while (count > 0)
        pthread_join(ids[--count], NULL);
    pthread_mutex_destroy(&work.lock);
    if (work.rc != TW_OK)
        *reterr = work.err;
    else if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "fold", 0, "interrupted: the same command goes on from here");
    return work.rc;
}
