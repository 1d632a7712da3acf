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
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "fold_threads.h"
#include "freeze.h"
#include "progress_bar.h"
#include "replay.h"
#include "scan.h"
#include "snapshot.h"
#include "until.h"

enum { NEARLY_THERE = 5000, ROUNDS_MAX = 20 };

struct rebuild {
    const struct tw_replay_domain *domain;
    const struct tw_ctl_settings  *settings;
    const char                    *name;
    int32_t                        partition_count;
    struct tw_store                live;
    struct tw_shadow               shadow;
    struct tw_snapshot            *snapshot; /* NULL: from the log's beginning */
    char                           note[TW_SHADOW_NOTE + 1];
    struct tw_fold_end            *ends;
    struct tw_progress            *live_vector;
    struct tw_progress            *at;           /* the shadow's */
    bool                          *has_digest;   /* beside it */
    bool                           keeps_digest; /* all have one; else it was read back, and interrupted afterwards */
    struct tw_freeze               freeze;
};

static void rebuild_done(struct rebuild *r)
{
    tw_freeze_done(&r->freeze);
    tw_snapshot_close(r->snapshot);
    if (r->shadow.close)
        r->shadow.close(r->shadow.self);
    r->domain->close_store(&r->live);
    free(r->ends);
    free(r->live_vector);
    free(r->at);
    free(r->has_digest);
}

static bool is_a_look(const struct rebuild *r)
{
    return *r->settings->until != '\0';
}

/* --- what the shadow is for ---------------------------------------------------------------------------------------- */

static void make_note(struct rebuild *r)
{
    int len = snprintf(r->note, sizeof(r->note), "%s", is_a_look(r) ? "until " : "rebuild");

    if (is_a_look(r))
        len += snprintf(r->note + len, sizeof(r->note) - (size_t)len, "%.100s", r->settings->until);
    if (r->snapshot && len > 0 && (size_t)len < sizeof(r->note))
        snprintf(r->note + len, sizeof(r->note) - (size_t)len, " from snapshot %.64s", tw_snapshot_hash(r->snapshot));
}

static enum tw_rc refuse_place(const struct rebuild *r, const char *why, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "rebuild", 0, "%s: %s", r->shadow.place, why);
}

/* A log whose beginning is gone is told before anything is made. */
static enum tw_rc check_log(const struct rebuild *r, struct tw_err *reterr)
{
    struct tw_source source;
    enum tw_rc       rc = TW_OK;

    TW_TRY(tw_replay_open_source(r->domain, r->settings, &source, reterr));
    for (int32_t p = 0; rc == TW_OK && p < r->partition_count; p++) {
        int64_t low, high, wanted = r->snapshot ? tw_snapshot_vector(r->snapshot)[p].next_offset : 0;

        rc = source.bounds(source.self, p, &low, &high, reterr);
        if (rc == TW_OK && low > (wanted ? wanted - 1 : 0))
            rc = tw_fail(reterr, TW_BROKEN, "rebuild", 0,
                         "the log of partition %" PRId32 " begins at %" PRId64 " in %s, but is needed from %" PRId64
                         ": its beginning is gone, unless --log-folder or --snapshot has it",
                         p, low, source.name, wanted ? wanted - 1 : 0);
    }
    source.close(source.self);
    return rc;
}

static enum tw_rc with_shadow_store(const struct rebuild *r,
                                    enum tw_rc (*fn)(const struct rebuild *r, struct tw_store *store,
                                                     struct tw_err *reterr),
                                    struct tw_err *reterr)
{
    struct tw_store store = {0};
    enum tw_rc      rc = tw_replay_open_store(r->domain, r->settings, r->shadow.uri, &store, reterr);

    if (rc == TW_OK)
        rc = fn(r, &store, reterr);
    r->domain->close_store(&store);
    return rc;
}

static enum tw_rc read_shadow(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    for (int32_t p = 0; p < r->partition_count; p++) {
        TW_TRY(store->watermark(store->self, p, &arena, &r->at[p], reterr));
        r->has_digest[p] = !r->at[p].next_offset || r->at[p].outbox.len;
        r->at[p].outbox = (struct tw_str){NULL, 0};
    }
    return TW_OK;
}

static enum tw_rc load_snapshot(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    if (r->domain->bulk)
        r->domain->bulk(store);
    return tw_snapshot_load(r->snapshot, store, &tw_replay_stop, reterr);
}

static enum tw_rc make_shadow(const struct rebuild *r, struct tw_err *reterr)
{
    TW_TRY(r->shadow.make(r->shadow.self, r->note, reterr));
    return r->snapshot ? with_shadow_store(r, load_snapshot, reterr) : TW_OK;
}

/* A snapshot that was loaded in part leaves a shadow that is of no use. */
static bool is_half_loaded(const struct rebuild *r)
{
    const struct tw_progress *vector = r->snapshot ? tw_snapshot_vector(r->snapshot) : NULL;

    for (int32_t p = 0; vector && p < r->partition_count; p++)
        if (r->at[p].next_offset < vector[p].next_offset)
            return true;
    return false;
}

static enum tw_rc go_on_with_shadow(const struct rebuild *r, struct tw_err *reterr)
{
    TW_TRY(with_shadow_store(r, read_shadow, reterr));
    if (!is_half_loaded(r))
        return TW_OK;
    TW_TRY(r->shadow.drop(r->shadow.self, reterr));
    return make_shadow(r, reterr);
}

static enum tw_rc prepare_shadow(const struct rebuild *r, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(r->shadow.look(r->shadow.self, &content, note, reterr));
    switch (content) {
    case TW_SHADOW_NONE:
        TW_TRY(check_log(r, reterr));
        TW_TRY(make_shadow(r, reterr));
        break;
    case TW_SHADOW_MADE:
        if (strcmp(note, r->note) != 0)
            return tw_fail(reterr, TW_BROKEN, "rebuild", 0,
                           "%s holds a shadow that was begun for '%.100s': give that command again, or forget it with "
                           "--drop",
                           r->shadow.place, note);
        TW_TRY(go_on_with_shadow(r, reterr));
        break;
    case TW_SHADOW_OLD:
        return refuse_place(r,
                            "it keeps the store before the last rebuild; forget it with --drop, or go back with "
                            "--roll-back",
                            reterr);
    case TW_SHADOW_FOREIGN:
        return refuse_place(r, "what is there is not a shadow of ours; name another place with --shadow", reterr);
    case TW_SHADOW_SWAPPING:
    case TW_SHADOW_SWAPPING_BACK:
        break; /* those were finished before */
    }
    return with_shadow_store(r, read_shadow, reterr);
}

/* finish_shadow() takes the digests away: what was interrupted there was read back before. */
static bool has_digests(const struct rebuild *r)
{
    for (int32_t p = 0; p < r->partition_count; p++)
        if (!r->has_digest[p])
            return false;
    return true;
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

static enum tw_rc renew(void *self, struct tw_err *reterr)
{
    struct rebuild *r = self;

    return r->freeze.frozen ? tw_freeze_renew(&r->freeze, reterr) : TW_OK;
}

static enum tw_rc fold(struct rebuild *r, struct tw_err *reterr)
{
    const struct tw_fold_threads threads = {
        .domain = r->domain,
        .settings = r->settings,
        .uri = r->shadow.uri,
        .keeps_digest = r->keeps_digest,
        .ends = r->ends,
        .ret_at = r->at,
        .go_on = renew,
        .self = r,
    };

    return tw_fold_threads_run(&threads, reterr);
}

static int64_t set_ends(struct rebuild *r, const struct tw_progress *vector)
{
    int64_t behind = 0;

    for (int32_t p = 0; p < r->partition_count; p++) {
        r->ends[p] = (struct tw_fold_end){vector[p].next_offset, INT64_MAX};
        behind += vector[p].next_offset - r->at[p].next_offset;
    }
    return behind;
}

/* To where the live store is, or nearly: each round is shorter than the one before. */
static enum tw_rc catch_up(struct rebuild *r, struct tw_err *reterr)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        TW_TRY(tw_settled_vector(&r->live, r->partition_count, &tw_replay_stop, r->live_vector, reterr));
        if (set_ends(r, r->live_vector) < NEARLY_THERE && round > 0)
            return TW_OK;
        if (is_a_look(r))
            TW_TRY(tw_until_apply(r->settings->until, r->ends, r->partition_count, reterr));
        TW_TRY(fold(r, reterr));
        if (is_a_look(r))
            return TW_OK;
    }
    return TW_OK; /* the log grows faster than it is folded: the rest is folded while the worker waits */
}

/* What cannot be meant is told before anything is made. */
static enum tw_rc check_until(struct rebuild *r, struct tw_err *reterr)
{
    if (!is_a_look(r))
        return TW_OK;
    TW_TRY(tw_settled_vector(&r->live, r->partition_count, &tw_replay_stop, r->live_vector, reterr));
    set_ends(r, r->live_vector);
    TW_TRY(tw_until_apply(r->settings->until, r->ends, r->partition_count, reterr));
    return r->snapshot ? tw_until_check(r->ends, tw_snapshot_vector(r->snapshot), r->partition_count, reterr) : TW_OK;
}

/* --- reading it back ---------------------------------------------------------------------------------------------- */

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

static enum tw_rc read_back(const struct rebuild *r, struct tw_scan *scan, struct reading *reading,
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
static enum tw_rc read_digests(const struct rebuild *r, struct tw_store *store, struct tw_digest *ret_sum,
                               struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    *ret_sum = (struct tw_digest){0};
    for (int32_t p = 0; p < r->partition_count; p++) {
        struct tw_digest of_partition;

        TW_TRY(store->watermark(store->self, p, &arena, &r->at[p], reterr));
        if (!tw_digest_read(r->at[p].outbox, &of_partition))
            return refuse_place(r, "it was not made by a rebuild of this release", reterr);
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

static enum tw_rc check_readers(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
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

static enum tw_rc complete_shadow(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    bool more = r->shadow.complete != NULL;

    while (more) {
        TW_TRY(r->shadow.complete(r->shadow.self, &more, reterr));
        TW_TRY(go_on(NULL, reterr));
    }
    TW_TRY(read_shadow(r, store, reterr));
    for (int32_t p = 0; r->domain->complete && p < r->partition_count; p++) {
        TW_TRY(r->domain->complete(store, p, reterr));
        TW_TRY(go_on(NULL, reterr));
    }
    return TW_OK;
}

static enum tw_rc verify_shadow(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    struct reading   reading = {0};
    struct tw_digest folded;
    struct tw_scan  *scan;
    enum tw_rc       rc;

    if (!r->keeps_digest) {
        printf("%s: the shadow in %s was read back before it was interrupted\n", r->name, r->shadow.place);
        return check_readers(r, store, reterr);
    }
    TW_TRY(read_digests(r, store, &folded, reterr));
    scan = tw_scan_open(r->domain->domain, store, r->at, r->partition_count);
    rc = read_back(r, scan, &reading, reterr);
    tw_scan_close(scan);
    tw_buf_done(&reading.scratch);
    TW_TRY(rc);
    if (!tw_digest_eq(&folded, &reading.read))
        return refuse_place(r, "it does not hold what was folded into it: forget it with --drop", reterr);
    TW_TRY(check_readers(r, store, reterr));
    printf("%s: the shadow in %s holds what was folded: %" PRId64 " aggregates read back\n", r->name, r->shadow.place,
           reading.count);
    return TW_OK;
}

/* --- taking the place --------------------------------------------------------------------------------------------- */

static void show_swap(void *self, int64_t done, int64_t all)
{
    struct tw_progress_bar *bar = self;

    bar->all = all;
    tw_progress_bar_show(bar, done);
}

typedef enum tw_rc (*swap_fn)(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                              void *teller, struct tw_err *reterr);

static enum tw_rc swap(struct rebuild *r, swap_fn swap_or_back, const struct tw_frozen *frozen, struct tw_err *reterr)
{
    struct tw_progress_bar bar;
    enum tw_rc             rc;

    tw_progress_bar_begin(&bar, r->name, "documents", 0);
    rc = swap_or_back(r->shadow.self, frozen, r->partition_count, show_swap, &bar, reterr);
    tw_progress_bar_end(&bar);
    return rc;
}

/* The shadow becomes a store like any other: without digests, and without what has ended. */
static enum tw_rc finish_shadow(const struct rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    TW_TRY(read_shadow(r, store, reterr));
    for (int32_t p = 0; p < r->partition_count; p++) {
        const struct tw_progress *at = &r->at[p];

        if (at->next_offset != r->freeze.vector[p].next_offset ||
            memcmp(at->last_hash, r->freeze.vector[p].last_hash, sizeof(at->last_hash)) != 0)
            return tw_fail(reterr, TW_BROKEN, "rebuild", 0,
                           "partition %" PRId32 ": the shadow is at %" PRId64 ", the live store at %" PRId64
                           ", or they have folded different records: forget the shadow with --drop",
                           p, at->next_offset, r->freeze.vector[p].next_offset);
        if (r->domain->complete) /* it was empty, and the first records came now */
            TW_TRY(r->domain->complete(store, p, reterr));
        TW_TRY(store->forget_outbox(store->self, p, at->next_offset, reterr));
    }
    return TW_OK;
}

static enum tw_rc take_the_place(struct rebuild *r, struct tw_err *reterr)
{
    TW_TRY(tw_freeze_take(&r->freeze, &r->live, r->partition_count, r->shadow.place, reterr));
    TW_TRY(tw_freeze_wait_for_outboxes(&r->freeze, &tw_replay_stop, reterr));
    set_ends(r, r->freeze.vector);
    TW_TRY(fold(r, reterr));
    TW_TRY(tw_freeze_renew(&r->freeze, reterr));
    TW_TRY(with_shadow_store(r, finish_shadow, reterr));
    TW_TRY(tw_freeze_renew(&r->freeze, reterr));
    TW_TRY(swap(r, r->shadow.swap, r->freeze.frozen, reterr));
    tw_freeze_hand_over(&r->freeze);
    return TW_OK;
}

static enum tw_rc roll_back(struct rebuild *r, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(r->shadow.look(r->shadow.self, &content, note, reterr));
    if (content != TW_SHADOW_OLD)
        return refuse_place(r, "no old store is kept there", reterr);
    TW_TRY(tw_freeze_take(&r->freeze, &r->live, r->partition_count, r->shadow.place, reterr));
    TW_TRY(tw_freeze_wait_for_outboxes(&r->freeze, &tw_replay_stop, reterr));
    TW_TRY(swap(r, r->shadow.swap_back, r->freeze.frozen, reterr));
    tw_freeze_hand_over(&r->freeze);
    printf("%s: the store before the last rebuild is back; the worker folds on from where it was\n", r->name);
    return TW_OK;
}

/* --- a swap that was interrupted ---------------------------------------------------------------------------------- */

/* The marks that last, 0 where there is none: somebody's swap of several steps ended half way. */
static enum tw_rc read_lasting(struct rebuild *r, struct tw_frozen *ret_frozen, struct tw_err *reterr)
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
static enum tw_rc check_lasting(const struct rebuild *r, const struct tw_frozen *frozen, struct tw_err *reterr)
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
static enum tw_rc take_lasting_away(struct rebuild *r, const struct tw_frozen *frozen, struct tw_err *reterr)
{
    for (int32_t p = 0; p < r->partition_count; p++)
        if (frozen[p].mark)
            TW_TRY(r->live.set_mark(r->live.self, p, frozen[p].next_offset, frozen[p].mark, 0, reterr));
    return TW_OK;
}

static enum tw_rc go_on_with_swap(struct rebuild *r, enum tw_shadow_content content, const struct tw_frozen *frozen,
                                  struct tw_err *reterr)
{
    fprintf(stderr, "%s: going on with the swap that was interrupted\n", r->name);
    TW_TRY(swap(r, content == TW_SHADOW_SWAPPING ? r->shadow.swap : r->shadow.swap_back, frozen, reterr));
    printf("%s: the swap that was interrupted is done\n", r->name);
    return TW_OK;
}

static enum tw_rc finish_interrupted_swap(struct rebuild *r, bool *ret_swapped, struct tw_err *reterr)
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

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void tell_place(const struct rebuild *r)
{
    int64_t records = 0;

    for (int32_t p = 0; p < r->partition_count; p++)
        records += r->at[p].next_offset;
    if (is_a_look(r))
        printf("%s: as it was up to %s, %" PRId64 " records, in %s; forget it with --drop\n", r->name,
               r->settings->until, records, r->shadow.place);
    else
        printf("%s: rebuilt from %" PRId64 " records. The store before is kept: --roll-back puts it back, --drop "
               "forgets it\n",
               r->name, records);
}

static enum tw_rc build(struct rebuild *r, struct tw_err *reterr)
{
    bool swapped;

    TW_TRY(finish_interrupted_swap(r, &swapped, reterr));
    if (swapped)
        return TW_OK;
    if (r->settings->roll_back)
        return roll_back(r, reterr);
    TW_TRY(check_until(r, reterr));
    TW_TRY(prepare_shadow(r, reterr));
    r->keeps_digest = has_digests(r);
    TW_TRY(catch_up(r, reterr));
    TW_TRY(with_shadow_store(r, complete_shadow, reterr));
    TW_TRY(with_shadow_store(r, verify_shadow, reterr));
    if (!is_a_look(r))
        TW_TRY(take_the_place(r, reterr));
    tell_place(r);
    return TW_OK;
}

static enum tw_rc drop(struct rebuild *r, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(r->shadow.look(r->shadow.self, &content, note, reterr));
    if (content == TW_SHADOW_FOREIGN)
        return refuse_place(r, "what is there is not ours", reterr);
    if (content == TW_SHADOW_SWAPPING || content == TW_SHADOW_SWAPPING_BACK)
        return refuse_place(r, "a swap was interrupted; finish it first: the same command without --drop", reterr);
    if (content == TW_SHADOW_NONE) {
        printf("%s: there is nothing to forget in %s\n", r->name, r->shadow.place);
        return TW_OK;
    }
    TW_TRY(r->shadow.drop(r->shadow.self, reterr));
    printf("%s: %s is forgotten\n", r->name,
           content == TW_SHADOW_OLD ? "the store before the last rebuild" : "the shadow");
    return TW_OK;
}

static enum tw_rc open_snapshot(struct rebuild *r, struct tw_err *reterr)
{
    struct tw_snapshot_head wanted = {.domain = r->domain->domain, .partition_count = r->partition_count};
    uint8_t                 id_key[TW_ID_KEY_BYTES];

    if (!*r->settings->snapshot)
        return TW_OK;
    TW_TRY(tw_ctl_id_key_read(r->settings->id_key_file, id_key, reterr));
    tw_id_key_check(id_key, wanted.id_key_check);
    return tw_snapshot_open(r->settings->snapshot, &wanted, &r->snapshot, reterr);
}

static enum tw_rc run(struct rebuild *r, const char *live_uri, struct tw_err *reterr)
{
    TW_TRY(tw_replay_open_store(r->domain, r->settings, live_uri, &r->live, reterr));
    TW_TRY(
        r->domain->open_shadow(live_uri, r->settings->shadow, (int)r->settings->store_timeout_ms, &r->shadow, reterr));
    if (r->settings->drop)
        return drop(r, reterr);
    TW_TRY(open_snapshot(r, reterr));
    make_note(r);
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
    const struct tw_replay_domain *domain = tw_replay_domain_find(settings->argument);
    const char                    *uri = domain ? tw_replay_uri(domain, settings) : NULL;
    struct tw_err                  err;

    if (!uri || !asks_for_one_thing(settings))
        return TW_CTL_USAGE;
    TW_AUTO(rebuild_done)
    struct rebuild r = {
        .domain = domain,
        .settings = settings,
        .name = domain->domain->name,
        .partition_count = tw_replay_partition_count(domain),
    };
    r.ends = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.ends));
    r.live_vector = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.live_vector));
    r.at = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.at));
    r.has_digest = tw_alloc_zeroed((size_t)r.partition_count, sizeof(*r.has_digest));
    return run(&r, uri, &err) == TW_OK ? TW_CTL_DONE : tw_ctl_failed(r.name, &err);
}
