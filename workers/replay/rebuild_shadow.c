/* What a rebuild folds into: made, or gone on with where it was, and nobody else's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rebuild.h"

void tw_rebuild_make_note(struct tw_rebuild *r)
{
    int len = snprintf(r->note, sizeof(r->note), "%s", tw_rebuild_is_a_look(r) ? "until " : "rebuild");

    if (tw_rebuild_is_a_look(r))
        len += snprintf(r->note + len, sizeof(r->note) - (size_t)len, "%.100s", r->settings->until);
    if (r->snapshot && len > 0 && (size_t)len < sizeof(r->note))
        snprintf(r->note + len, sizeof(r->note) - (size_t)len, " from snapshot %.64s", tw_snapshot_hash(r->snapshot));
}

enum tw_rc tw_rebuild_refuse(const struct tw_rebuild *r, const char *why, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, "rebuild", 0, "%s: %s", r->shadow.place, why);
}

/* A log whose beginning is gone is told before anything is made. */
static enum tw_rc check_log(const struct tw_rebuild *r, struct tw_err *reterr)
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

enum tw_rc tw_rebuild_with_shadow_store(const struct tw_rebuild *r,
                                        enum tw_rc (*fn)(const struct tw_rebuild *r, struct tw_store *store,
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

enum tw_rc tw_rebuild_read_shadow(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};

    for (int32_t p = 0; p < r->partition_count; p++) {
        TW_TRY(store->watermark(store->self, p, &arena, &r->at[p], reterr));
        r->at[p].outbox = (struct tw_str){NULL, 0};
    }
    return TW_OK;
}

static enum tw_rc load_snapshot(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr)
{
    if (r->domain->bulk)
        r->domain->bulk(store);
    return tw_snapshot_load(r->snapshot, store, &tw_replay_stop, reterr);
}

static enum tw_rc make_shadow(const struct tw_rebuild *r, struct tw_err *reterr)
{
    TW_TRY(r->shadow.make(r->shadow.self, r->note, reterr));
    return r->snapshot ? tw_rebuild_with_shadow_store(r, load_snapshot, reterr) : TW_OK;
}

/* A snapshot that was loaded in part leaves a shadow that is of no use. */
static bool is_half_loaded(const struct tw_rebuild *r)
{
    const struct tw_progress *vector = r->snapshot ? tw_snapshot_vector(r->snapshot) : NULL;

    for (int32_t p = 0; vector && p < r->partition_count; p++)
        if (r->at[p].next_offset < vector[p].next_offset)
            return true;
    return false;
}

static enum tw_rc go_on_with_shadow(const struct tw_rebuild *r, struct tw_err *reterr)
{
    TW_TRY(tw_rebuild_with_shadow_store(r, tw_rebuild_read_shadow, reterr));
    if (!is_half_loaded(r))
        return TW_OK;
    TW_TRY(r->shadow.drop(r->shadow.self, reterr));
    return make_shadow(r, reterr);
}

enum tw_rc tw_rebuild_prepare_shadow(struct tw_rebuild *r, struct tw_err *reterr)
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
        return tw_rebuild_refuse(r,
                                 "it keeps the store before the last rebuild; forget it with --drop, or go back with "
                                 "--roll-back",
                                 reterr);
    case TW_SHADOW_FOREIGN:
        return tw_rebuild_refuse(r, "what is there is not a shadow of ours; name another place with --shadow", reterr);
    case TW_SHADOW_SWAPPING:
    case TW_SHADOW_SWAPPING_BACK:
        break; /* those were finished before */
    }
    return tw_rebuild_with_shadow_store(r, tw_rebuild_read_shadow, reterr);
}
