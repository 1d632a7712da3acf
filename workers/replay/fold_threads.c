#include "fold_threads.h"

#include "progress_bar.h"
#include "thread_group.h"

struct work {
    const struct tw_fold_threads *fold;
    struct tw_thread_group        group;
    int32_t                       partition_count;
    atomic_llong                  folded;
    atomic_int                    next_partition;
    struct tw_progress_bar        bar; /* the caller's thread's */
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

static enum tw_rc fold_partitions(struct work *work, struct tools *tools, struct tw_err *reterr)
{
    const struct tw_fold_threads *given = work->fold;
    struct tw_fold                fold;
    int32_t                       partition;

    TW_TRY(tw_replay_open_store(given->domain, given->settings, given->uri, &tools->store, reterr));
    if (given->domain->bulk)
        given->domain->bulk(&tools->store);
    TW_TRY(tw_replay_open_source(given->domain, given->settings, &tools->source, reterr));
    TW_TRY(tw_replay_fold_config(given->domain, given->settings, &fold, reterr));
    fold.config.store = &tools->store;
    fold.source = &tools->source;
    fold.keeps_digest = true;
    fold.sweeps = given->domain->sweeps_rows;
    fold.folded = &work->folded;
    while ((partition = atomic_fetch_add(&work->next_partition, 1)) < work->partition_count &&
           !tw_thread_group_must_end(&work->group))
        TW_TRY(tw_fold_partition(&fold, partition, given->ends[partition], &given->at[partition], reterr));
    return TW_OK;
}

static enum tw_rc run_thread(void *self, struct tw_err *reterr)
{
    struct work                     *work = self;
    TW_AUTO(tools_done) struct tools tools = {.domain = work->fold->domain};

    return fold_partitions(work, &tools, reterr);
}

static enum tw_rc look_after(void *self, struct tw_err *reterr)
{
    struct work *work = self;

    tw_progress_bar_show(&work->bar, work->folded);
    return work->fold->go_on ? work->fold->go_on(work->fold->self, reterr) : TW_OK;
}

/* Records from where the shadow stands; the part that is there already is counted by whoever folds it: nobody. */
static int64_t count_records(const struct tw_fold_threads *fold, int32_t partition_count)
{
    int64_t count = 0;

    for (int32_t p = 0; p < partition_count; p++)
        if (fold->ends[p].time_ms == INT64_MAX && fold->ends[p].offset > fold->at[p].next_offset)
            count += fold->ends[p].offset - fold->at[p].next_offset;
    return count;
}

static bool is_there(const struct tw_fold_threads *fold, int32_t partition_count)
{
    for (int32_t p = 0; p < partition_count; p++)
        if (fold->at[p].next_offset < fold->ends[p].offset)
            return false;
    return true;
}

enum tw_rc tw_fold_threads_run(const struct tw_fold_threads *fold, struct tw_err *reterr)
{
    struct work work = {.fold = fold, .partition_count = tw_replay_partition_count(fold->domain)};
    enum tw_rc  rc;

    if (is_there(fold, work.partition_count)) /* no connection is worth making, while the live store is held least */
        return TW_OK;
    work.group = (struct tw_thread_group){
        .wanted = fold->settings->threads, .run = run_thread, .look_after = look_after, .self = &work};
    tw_progress_bar_begin(&work.bar, fold->domain->domain->name, "records", count_records(fold, work.partition_count));
    rc = tw_thread_group_run(&work.group, reterr);
    tw_progress_bar_end(&work.bar);
    return rc;
}
