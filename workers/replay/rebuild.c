/*
 * A rebuild, step by step:
 *
 *   fold the log into the shadow, while the worker goes on, until it is nearly where the live store is
 *   read the shadow back and compare it with what was folded
 *   hold the live store still, wait until its last events are published, fold the rest
 *   swap
 *
 * Every step can be interrupted and the command given again: the shadow's own watermarks say how far it is. What holds the
 * live store is a lease, until a swap that takes several steps makes it lasting.
 */
#include "rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catch_up.h"
#include "fold_threads.h"
#include "until.h"

static void rebuild_done(struct tw_rebuild *r)
{
    tw_freeze_done(&r->freeze);
    tw_snapshot_close(r->snapshot);
    if (r->shadow.close)
        r->shadow.close(r->shadow.self);
    r->domain->close_store(&r->live);
    free(r->ends);
    free(r->live_vector);
    free(r->at);
}

bool tw_rebuild_is_a_look(const struct tw_rebuild *r)
{
    return *r->settings->until != '\0';
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

static enum tw_rc renew(void *self, struct tw_err *reterr)
{
    struct tw_rebuild *r = self;

    return r->freeze.frozen ? tw_freeze_renew(&r->freeze, reterr) : TW_OK;
}

static void set_ends(struct tw_rebuild *r, const struct tw_progress *vector)
{
    for (int32_t p = 0; p < r->partition_count; p++)
        r->ends[p] = (struct tw_fold_end){vector[p].next_offset, INT64_MAX};
}

/* Up to the ends. */
static enum tw_rc fold(struct tw_rebuild *r, struct tw_err *reterr)
{
    const struct tw_fold_threads threads = {
        .domain = r->domain,
        .settings = r->settings,
        .uri = r->shadow.uri,
        .ends = r->ends,
        .at = r->at,
        .go_on = renew,
        .self = r,
    };

    return tw_fold_threads_run(&threads, reterr);
}

enum tw_rc tw_rebuild_fold_to(struct tw_rebuild *r, const struct tw_progress *vector, struct tw_err *reterr)
{
    set_ends(r, vector);
    return fold(r, reterr);
}

static enum tw_rc fold_round(void *self, struct tw_err *reterr)
{
    struct tw_rebuild *r = self;

    return tw_rebuild_fold_to(r, r->live_vector, reterr);
}

static enum tw_rc catch_up(struct tw_rebuild *r, struct tw_err *reterr)
{
    struct tw_catch_up catch_up = {
        .live = &r->live,
        .partition_count = r->partition_count,
        .vector = r->live_vector,
        .at = r->at,
        .needs_worker = true,
        .fold = fold_round,
        .self = r,
    };

    return tw_catch_up(&catch_up, reterr);
}

/* Where a look ends. What cannot be meant is told before anything is made. */
static enum tw_rc apply_until(struct tw_rebuild *r, struct tw_err *reterr)
{
    TW_TRY(tw_settled_vector(&r->live, r->partition_count, &tw_replay_stop, r->live_vector, reterr));
    set_ends(r, r->live_vector);
    TW_TRY(tw_until_apply(r->settings->until, r->ends, r->partition_count, reterr));
    return r->snapshot ? tw_until_check(r->ends, tw_snapshot_vector(r->snapshot), r->partition_count, reterr) : TW_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void tell_place(const struct tw_rebuild *r)
{
    int64_t records = 0;

    for (int32_t p = 0; p < r->partition_count; p++)
        records += r->at[p].next_offset;
    if (tw_rebuild_is_a_look(r))
        printf("%s: as it was up to %s, %" PRId64 " records, in %s; forget it with --drop\n", r->name,
               r->settings->until, records, r->shadow.place);
    else
        printf("%s: rebuilt from %" PRId64 " records. The store before is kept: --roll-back puts it back, --drop "
               "forgets it\n",
               r->name, records);
}

static enum tw_rc build(struct tw_rebuild *r, struct tw_err *reterr)
{
    bool swapped;

    TW_TRY(tw_rebuild_finish_interrupted_swap(r, &swapped, reterr));
    if (swapped)
        return TW_OK;
    if (r->settings->roll_back)
        return tw_rebuild_roll_back(r, reterr);
    TW_TRY(tw_replay_check_live(r->domain, r->settings, &r->live, reterr));
    if (tw_rebuild_is_a_look(r))
        TW_TRY(apply_until(r, reterr));
    TW_TRY(tw_rebuild_prepare_shadow(r, reterr));
    TW_TRY(tw_rebuild_is_a_look(r) ? fold(r, reterr) : catch_up(r, reterr));
    TW_TRY(tw_rebuild_with_shadow_store(r, tw_rebuild_complete, reterr));
    TW_TRY(tw_rebuild_with_shadow_store(r, tw_rebuild_read_back, reterr));
    if (!tw_rebuild_is_a_look(r))
        TW_TRY(tw_rebuild_take_the_place(r, reterr));
    tell_place(r);
    return TW_OK;
}

static enum tw_rc drop(struct tw_rebuild *r, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(r->shadow.look(r->shadow.self, &content, note, reterr));
    if (content == TW_SHADOW_FOREIGN)
        return tw_rebuild_refuse(r, "what is there is not ours", reterr);
    if (content == TW_SHADOW_SWAPPING || content == TW_SHADOW_SWAPPING_BACK)
        return tw_rebuild_refuse(r, "a swap was interrupted; finish it first: the same command without --drop", reterr);
    if (content == TW_SHADOW_NONE) {
        printf("%s: there is nothing to forget in %s\n", r->name, r->shadow.place);
        return TW_OK;
    }
    TW_TRY(r->shadow.drop(r->shadow.self, reterr));
    printf("%s: %s is forgotten\n", r->name,
           content == TW_SHADOW_OLD ? "the store before the last rebuild" : "the shadow");
    return TW_OK;
}

static enum tw_rc open_snapshot(struct tw_rebuild *r, struct tw_err *reterr)
{
    struct tw_snapshot_head wanted = {.domain = r->domain->domain, .partition_count = r->partition_count};
    uint8_t                 id_key[TW_ID_KEY_BYTES];

    if (!*r->settings->snapshot)
        return TW_OK;
    TW_TRY(tw_ctl_id_key_read(r->settings->id_key_file, id_key, reterr));
    tw_id_key_check(id_key, wanted.id_key_check);
    return tw_snapshot_open(r->settings->snapshot, &wanted, &r->snapshot, reterr);
}

static enum tw_rc run(struct tw_rebuild *r, const char *live_uri, struct tw_err *reterr)
{
    TW_TRY(tw_replay_open_store(r->domain, r->settings, live_uri, &r->live, reterr));
    TW_TRY(
        r->domain->open_shadow(live_uri, r->settings->shadow, (int)r->settings->store_timeout_ms, &r->shadow, reterr));
    if (r->settings->drop)
        return drop(r, reterr);
    TW_TRY(open_snapshot(r, reterr));
    tw_rebuild_make_note(r);
    return build(r, reterr);
}

/* Whoever asks for two things at once means one of them: better none is done. */
static bool asks_for_one_thing(const struct tw_ctl_settings *settings)
{
    if (settings->drop + settings->roll_back + (*settings->until != '\0') <= 1)
        return true;
    fprintf(stderr, "twctl: rebuild: until, roll_back and drop are three things to do: give one of them\n");
    return false;
}

enum tw_ctl_exit tw_replay_rebuild(const struct tw_ctl_settings *settings)
{
    const struct tw_replay_domain *domain = tw_replay_domain_find(settings->argument, TW_REPLAY_DOMAINS);
    const char                    *uri = domain ? tw_replay_uri(domain, settings) : NULL;
    struct tw_err                  err;

    if (!uri || !asks_for_one_thing(settings))
        return TW_CTL_USAGE;
    TW_AUTO(rebuild_done)
    struct tw_rebuild r = {
        .domain = domain,
        .settings = settings,
        .name = domain->domain->name,
        .partition_count = tw_replay_partition_count(domain),
    };
    r.ends = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.ends));
    r.live_vector = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.live_vector));
    r.at = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.at));
    return run(&r, uri, &err) == TW_OK ? TW_CTL_DONE : tw_ctl_failed(r.name, &err);
}
