/*
 * How the shadow takes the live store's place, and how the old one comes back. A swap of several steps that was interrupted
 * comes before all else: its marks are what holds the live store together.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress_bar.h"
#include "rebuild.h"
#include "tillwire/failpoint.h"

static void show_swap(void *self, int64_t done, int64_t all)
{
    struct tw_progress_bar *bar = self;

    bar->all = all;
    tw_progress_bar_show(bar, done);
}

typedef enum tw_rc (*swap_fn)(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                              void *teller, struct tw_err *reterr);

static enum tw_rc swap(struct tw_rebuild *r, swap_fn swap_or_back, const struct tw_frozen *frozen,
                       struct tw_err *reterr)
{
    struct tw_progress_bar bar;
    enum tw_rc             rc;

    tw_progress_bar_begin(&bar, r->name, "documents", 0);
    rc = swap_or_back(r->shadow.self, frozen, r->partition_count, show_swap, &bar, reterr);
    tw_progress_bar_end(&bar);
    return rc;
}

/* The same records were folded into both. */
static enum tw_rc check_watermarks(const struct tw_rebuild *r, struct tw_err *reterr)
{
    for (int32_t p = 0; p < r->partition_count; p++) {
        const struct tw_progress *at = &r->at[p];

        if (at->next_offset != r->freeze.vector[p].next_offset ||
            memcmp(at->last_hash, r->freeze.vector[p].last_hash, sizeof(at->last_hash)) != 0)
            return tw_fail(reterr, TW_BROKEN, "rebuild", 0,
                           "partition %" PRId32 ": the shadow is at %" PRId64 ", the live store at %" PRId64
                           ", or they have folded different records: forget the shadow with --drop",
                           p, at->next_offset, r->freeze.vector[p].next_offset);
    }
    return TW_OK;
}

enum tw_rc tw_rebuild_take_the_place(struct tw_rebuild *r, struct tw_err *reterr)
{
    TW_TRY(tw_freeze_take(&r->freeze, &r->live, r->partition_count, r->shadow.place, reterr));
    TW_TRY(tw_freeze_wait_for_outboxes(&r->freeze, &tw_replay_stop, reterr));
    TW_TRY(tw_rebuild_fold_to(r, r->freeze.vector, reterr));
    TW_TRY(tw_freeze_renew(&r->freeze, reterr));
    TW_TRY(tw_rebuild_with_shadow_store(r, tw_rebuild_complete, reterr)); /* also what was empty until now */
    TW_TRY(check_watermarks(r, reterr));
    TW_TRY(tw_freeze_renew(&r->freeze, reterr));
    if (tw_failpoint("before_swap"))
        return tw_fail(reterr, TW_UNREACHED, "rebuild", 0, "stopped at a failpoint");
    TW_TRY(swap(r, r->shadow.swap, r->freeze.frozen, reterr));
    tw_freeze_hand_over(&r->freeze);
    return TW_OK;
}

enum tw_rc tw_rebuild_roll_back(struct tw_rebuild *r, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(r->shadow.look(r->shadow.self, &content, note, reterr));
    if (content != TW_SHADOW_OLD)
        return tw_rebuild_refuse(r, "no old store is kept there", reterr);
    TW_TRY(tw_freeze_take(&r->freeze, &r->live, r->partition_count, r->shadow.place, reterr));
    TW_TRY(tw_freeze_wait_for_outboxes(&r->freeze, &tw_replay_stop, reterr));
    TW_TRY(swap(r, r->shadow.swap_back, r->freeze.frozen, reterr));
    tw_freeze_hand_over(&r->freeze);
    printf("%s: the store before the last rebuild is back; the worker folds on from where it was\n", r->name);
    return TW_OK;
}

/* --- a swap that was interrupted ---------------------------------------------------------------------------------- */

/* The marks that last, 0 where there is none: somebody's swap of several steps ended half way. */
static enum tw_rc read_lasting(struct tw_rebuild *r, struct tw_frozen *ret_frozen, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    for (int32_t p = 0; p < r->partition_count; p++) {
        struct tw_progress progress;

        TW_TRY(r->live.watermark(r->live.self, p, &arena, &progress, reterr));
        ret_frozen[p] = (struct tw_frozen){progress.next_offset, progress.mark < 0 ? progress.mark : 0};
    }
    return TW_OK;
}

/* Another shadow's swap may be half done: its marks are all that holds the store together. */
static enum tw_rc check_lasting(const struct tw_rebuild *r, const struct tw_frozen *frozen, struct tw_err *reterr)
{
    for (int32_t p = 0; p < r->partition_count; p++)
        if (frozen[p].mark && !tw_freeze_is_of(frozen[p].mark, r->shadow.place))
            return tw_fail(reterr, TW_FENCED, "rebuild", 0,
                           "partition %" PRId32 " is held by a swap of another place than %s, at work or interrupted: "
                           "give that command again, with its --shadow",
                           p, r->shadow.place);
    return TW_OK;
}

/* It had not begun to change anything, or had ended: only marks are left. */
static enum tw_rc take_lasting_away(struct tw_rebuild *r, const struct tw_frozen *frozen, struct tw_err *reterr)
{
    for (int32_t p = 0; p < r->partition_count; p++)
        if (frozen[p].mark)
            TW_TRY(r->live.set_mark(r->live.self, p, frozen[p].next_offset, frozen[p].mark, 0, reterr));
    return TW_OK;
}

static enum tw_rc go_on_with_swap(struct tw_rebuild *r, enum tw_shadow_content content, const struct tw_frozen *frozen,
                                  struct tw_err *reterr)
{
    fprintf(stderr, "%s: going on with the swap that was interrupted\n", r->name);
    TW_TRY(swap(r, content == TW_SHADOW_SWAPPING ? r->shadow.swap : r->shadow.swap_back, frozen, reterr));
    printf("%s: the swap that was interrupted is done\n", r->name);
    return TW_OK;
}

enum tw_rc tw_rebuild_finish_interrupted_swap(struct tw_rebuild *r, bool *ret_swapped, struct tw_err *reterr)
{
    struct tw_frozen      *frozen = tw_alloc_zeroed((size_t)r->partition_count, sizeof(*frozen));
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];
    enum tw_rc             rc = read_lasting(r, frozen, reterr);

    if (rc == TW_OK)
        rc = check_lasting(r, frozen, reterr);
    if (rc == TW_OK)
        rc = r->shadow.look(r->shadow.self, &content, note, reterr);
    if (rc == TW_OK) {
        *ret_swapped = content == TW_SHADOW_SWAPPING || content == TW_SHADOW_SWAPPING_BACK;
        rc = *ret_swapped ? go_on_with_swap(r, content, frozen, reterr) : take_lasting_away(r, frozen, reterr);
    }
    free(frozen);
    return rc;
}
