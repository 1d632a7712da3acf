#include "fold.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "tillwire/clock.h"

/* Of one turn, where the fold does not say: what makes few commits of much, in memory that stays small. */
enum { TURN_RECORDS = 10000, TURN_BYTES = 4 << 20 };
enum { QUIET_READS_MAX = 30 }; /* reads of a second each that bring nothing although there is more */

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

struct state {
    const struct tw_fold *fold;
    int32_t               partition;
    struct tw_fold_end    end;
    struct tw_progress    at;
    struct tw_verdicts    verdicts;
    struct tw_cache      *cache;
    struct tw_digest      digest;
    char                  digest_bytes[TW_DIGEST_BYTES];
    struct tw_arena       records_arena;
    struct tw_arena       turn_arena;
    struct tw_buf         scratch;
    size_t                turn_records;
    struct tw_record     *records; /* turn_records of them */
    size_t                count;
    size_t                limit;       /* of a turn: halved when the store refuses one as too large */
    bool                  checks_hash; /* the next record is the one before the watermark */
    bool                  has_ended;
};

static void state_done(struct state *state)
{
    tw_verdicts_done(&state->verdicts);
    tw_cache_free(state->cache);
    tw_arena_done(&state->records_arena);
    tw_arena_done(&state->turn_arena);
    tw_buf_done(&state->scratch);
    free(state->records);
}

/* --- before the first record -------------------------------------------------------------------------------------- */

static enum tw_rc check_bounds(const struct state *state, struct tw_err *reterr)
{
    struct tw_source *source = state->fold->source;
    int64_t           next = state->at.next_offset, low, high;
    int64_t folded = state->end.offset != INT64_MAX ? state->end.offset : next; /* by the store that is copied */

    TW_TRY(source->bounds(source->self, state->partition, &low, &high, reterr));
    if (low > (next ? next - 1 : 0))
        return tw_fail(reterr, TW_BROKEN, "fold", 0,
                       "the log of partition %" PRId32 " begins at %" PRId64 " in %s, but is needed from %" PRId64
                       ": its beginning is gone, unless --log-folder or --snapshot has it",
                       state->partition, low, source->name, next ? next - 1 : 0);
    if (high < folded)
        return tw_fail(reterr, TW_BROKEN, "fold", 0,
                       "the log of partition %" PRId32 " ends at %" PRId64 " in %s, but was folded up to %" PRId64
                       ": lost tail, re-created topic or another cluster",
                       state->partition, high, source->name, folded);
    return TW_OK;
}

static enum tw_rc read_digest(struct state *state, struct tw_err *reterr)
{
    if (state->fold->keeps_digest && !tw_digest_read(state->at.outbox, &state->digest))
        return tw_fail(reterr, TW_BROKEN, "fold", 0,
                       "partition %" PRId32 " was not made by a rebuild of this release: forget the shadow with --drop",
                       state->partition);
    return TW_OK;
}

static enum tw_rc begin(struct state *state, struct tw_err *reterr)
{
    const struct tw_store *store = state->fold->config.store;
    struct tw_source      *source = state->fold->source;

    TW_TRY(store->watermark(store->self, state->partition, &state->records_arena, &state->at, reterr));
    TW_TRY(read_digest(state, reterr));
    state->at.outbox = (struct tw_str){NULL, 0};
    if (state->at.next_offset >= state->end.offset) {
        state->has_ended = true;
        return TW_OK;
    }
    TW_TRY(check_bounds(state, reterr));
    TW_TRY(source->verdicts(source->self, state->partition, &state->verdicts, reterr));
    state->checks_hash = state->at.next_offset > 0;
    return source->seek(source->self, state->partition, state->at.next_offset - state->checks_hash, reterr);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static enum tw_rc check_first(struct state *state, struct tw_err *reterr)
{
    uint8_t hash[TW_RECORD_HASH_BYTES];

    state->checks_hash = false;
    tw_record_hash(&state->records[0], hash);
    if (state->records[0].offset != state->at.next_offset - 1 || memcmp(hash, state->at.last_hash, sizeof(hash)) != 0)
        return tw_fail(reterr, TW_BROKEN, "fold", 0,
                       "record %" PRId64 " of partition %" PRId32 " in %s is not the one that was folded: lost tail, "
                       "re-created topic or another cluster",
                       state->at.next_offset - 1, state->partition, state->fold->source->name);
    memmove(state->records, state->records + 1, --state->count * sizeof(*state->records));
    return TW_OK;
}

/* Offsets of a command topic are contiguous: no transactions, no compaction. */
static enum tw_rc check_gaps(const struct state *state, struct tw_err *reterr)
{
    for (size_t i = 0; i < state->count; i++) {
        int64_t wanted = state->at.next_offset + (int64_t)i;

        assert(state->records[i].partition == state->partition);
        if (state->records[i].offset != wanted)
            return tw_fail(reterr, TW_BROKEN, "fold", 0,
                           "the log of partition %" PRId32 " has no record %" PRId64 " in %s (next is %" PRId64
                           "): the log has a gap",
                           state->partition, wanted, state->fold->source->name, state->records[i].offset);
    }
    return TW_OK;
}

static void cut_at_end(struct state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        if (state->records[i].offset < state->end.offset && state->records[i].timestamp_ms <= state->end.time_ms)
            continue;
        state->count = i;
        state->has_ended = true;
        return;
    }
}

/* No more than is to be folded: a source waits a while for what comes behind. */
static size_t wanted_count(const struct state *state)
{
    int64_t left = state->end.offset - state->at.next_offset + state->checks_hash;

    return left < (int64_t)state->turn_records ? (size_t)left : state->turn_records;
}

static size_t turn_bytes(const struct tw_fold *fold)
{
    return fold->turn_bytes ? fold->turn_bytes : TURN_BYTES;
}

static enum tw_rc read_more(struct state *state, struct tw_err *reterr)
{
    struct tw_source *source = state->fold->source;

    state->count = 0;
    tw_arena_reset(&state->records_arena);
    for (int quiet = 0; !state->count; quiet++) {
        if (quiet == QUIET_READS_MAX)
            return tw_fail(reterr, TW_UNREACHED, "fold", 0,
                           "%s: record %" PRId64 " of partition %" PRId32 " does not come", source->name,
                           state->at.next_offset, state->partition);
        if (atomic_load_explicit(state->fold->stop, memory_order_relaxed))
            return TW_OK;
        TW_TRY(source->read(source->self, wanted_count(state), turn_bytes(state->fold), &state->records_arena,
                            state->records, &state->count, reterr));
    }
    if (state->checks_hash)
        TW_TRY(check_first(state, reterr));
    TW_TRY(check_gaps(state, reterr));
    cut_at_end(state);
    return TW_OK;
}

/* --- a turn ------------------------------------------------------------------------------------------------------- */

static void move_digest(struct state *state, struct tw_turn *turn)
{
    for (size_t i = 0; i < turn->changes.entity_count; i++) {
        const struct tw_entity *entity = turn->changes.entities[i];
        const struct tw_type   *type = turn->config->domain->states[entity->key.kind];

        if (entity->before)
            tw_digest_subtract(&state->digest, type, &entity->key, entity->before, &state->scratch);
        tw_digest_add(&state->digest, type, &entity->key, entity->state, &state->scratch);
    }
    tw_digest_write(&state->digest, state->digest_bytes);
    turn->changes.after.outbox = (struct tw_str){state->digest_bytes, TW_DIGEST_BYTES};
}

static enum tw_rc run_turn(struct state *state, struct tw_turn *turn, struct tw_err *reterr)
{
    tw_turn_decode(turn);
    TW_TRY(tw_turn_load(turn, state->cache, reterr));
    tw_turn_decide(turn);
    if (state->fold->keeps_digest)
        move_digest(state, turn);
    return tw_turn_commit(turn, state->cache, reterr);
}

static enum tw_rc sweep_when_a_day_is_over(struct state *state, int64_t clock_before_ms, struct tw_err *reterr)
{
    const struct tw_store *store = state->fold->config.store;

    if (!state->fold->sweeps || clock_before_ms / DAY_MS == state->at.clock_ms / DAY_MS)
        return TW_OK;
    return store->sweep(store->self, state->partition, state->at.next_offset, state->at.clock_ms, reterr);
}

/* The first of @p count records, all or some. TW_REFUSED: too much for one commit. */
static enum tw_rc fold_some(struct state *state, const struct tw_record *records, size_t count, size_t *ret_done,
                            struct tw_err *reterr)
{
    const struct tw_store *store = state->fold->config.store;
    struct tw_digest       digest_before = state->digest;
    int64_t                clock_before_ms = state->at.clock_ms;
    enum tw_rc             rc;
    TW_AUTO(tw_turn_done)
    struct tw_turn turn = {.config = &state->fold->config,
                           .arena = &state->turn_arena,
                           .partition = state->partition,
                           .before = state->at,
                           .records = records,
                           .record_count = count,
                           .verdicts = &state->verdicts};

    tw_arena_reset(&state->turn_arena);
    rc = run_turn(state, &turn, reterr);
    if (rc != TW_OK) {
        store->abandon(store->self, state->partition);
        state->digest = digest_before;
        return rc;
    }
    *ret_done = turn.record_count;
    state->at = turn.changes.after;
    state->at.outbox = (struct tw_str){NULL, 0};
    if (state->fold->folded)
        atomic_fetch_add_explicit(state->fold->folded, (long long)turn.record_count, memory_order_relaxed);
    return sweep_when_a_day_is_over(state, clock_before_ms, reterr);
}

/* Some stores bear less in one commit than others: what is refused is tried in halves. */
static enum tw_rc narrow_down(struct state *state, size_t count, struct tw_err *reterr)
{
    struct tw_err refused = *reterr;

    if (count > 1) {
        state->limit = count / 2;
        return TW_OK;
    }
    return tw_fail(reterr, TW_BROKEN, "fold", 0, "record %" PRId64 " of partition %" PRId32 " cannot be stored: %.140s",
                   state->at.next_offset, state->partition, refused.msg);
}

static enum tw_rc fold_what_was_read(struct state *state, struct tw_err *reterr)
{
    size_t done = 0;

    while (done < state->count && !atomic_load_explicit(state->fold->stop, memory_order_relaxed)) {
        size_t     count = state->count - done < state->limit ? state->count - done : state->limit;
        size_t     folded = 0;
        enum tw_rc rc = fold_some(state, state->records + done, count, &folded, reterr);

        if (rc == TW_REFUSED) {
            TW_TRY(narrow_down(state, count, reterr));
        } else if (rc != TW_OK) {
            return rc;
        } else {
            done += folded;
            if (state->limit < state->turn_records)
                state->limit += state->limit / 8 + 1;
        }
    }
    return TW_OK;
}

static enum tw_rc fold_all(struct state *state, struct tw_err *reterr)
{
    TW_TRY(begin(state, reterr));
    while (!state->has_ended && state->at.next_offset < state->end.offset &&
           !atomic_load_explicit(state->fold->stop, memory_order_relaxed)) {
        TW_TRY(read_more(state, reterr));
        TW_TRY(fold_what_was_read(state, reterr));
    }
    return TW_OK;
}

enum tw_rc tw_fold_partition(const struct tw_fold *fold, int32_t partition, struct tw_fold_end end,
                             struct tw_progress *ret_at, struct tw_err *reterr)
{
    TW_AUTO(state_done)
    struct state state = {.fold = fold, .partition = partition, .end = end};

    state.cache = tw_cache_new(fold->cache_bytes);
    state.limit = state.turn_records = fold->turn_records ? fold->turn_records : TURN_RECORDS;
    state.records = tw_alloc_zeroed(state.turn_records, sizeof(*state.records));
    TW_TRY(fold_all(&state, reterr));
    *ret_at = state.at;
    return TW_OK;
}
