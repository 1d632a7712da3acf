/* See histories.h. */
#include "histories.h"

#include <assert.h>

#include "tillwire/gen/shared_messages.h"

/* --- folding ------------------------------------------------------------------------------------------------------ */

void tw_fold_open(struct tw_fold *fold, const struct tw_domain *domain, size_t cache_bytes)
{
    *fold = (struct tw_fold){.config = {.domain = domain, .partition_count = 1, .program = "test 1"}};
    tw_memory_store_open(domain, &fold->store);
    fold->config.store = &fold->store;
    fold->cache = tw_cache_new(cache_bytes);
}

void tw_fold_close(struct tw_fold *fold)
{
    tw_turn_done(&fold->turn);
    tw_memory_store_close(&fold->store);
    tw_cache_free(fold->cache);
    tw_arena_done(&fold->arena);
    tw_buf_done(&fold->events);
}

static void keep_events(struct tw_fold *fold)
{
    for (uint32_t i = 0; i < fold->turn.event_count; i++) {
        const struct tw_event *event = &fold->turn.events[i];

        tw_buf_printf(&fold->events, "%d %d %s ", (int)event->cause_offset, event->n, event->type->ce_type);
        tw_buf_add_str(&fold->events, event->payload);
    }
}

static void fold_batch(struct tw_fold *fold, const struct tw_test_log *log, size_t count)
{
    struct tw_err err = {0};

    tw_turn_done(&fold->turn);
    tw_arena_reset(&fold->arena);
    fold->turn = (struct tw_turn){
        .config = &fold->config,
        .arena = &fold->arena,
        .partition = fold->partition,
        .before = fold->progress,
        .records = log->records + fold->progress.next_offset,
        .record_count = count,
        .verdicts = fold->verdicts,
    };
    tw_turn_decode(&fold->turn);
    assert_rc(tw_turn_load(&fold->turn, fold->cache, &err), TW_OK, err);
    tw_turn_decide(&fold->turn);
    assert_rc(tw_turn_commit(&fold->turn, fold->cache, &err), TW_OK, err);
    fold->progress = fold->turn.changes.after;
}

bool tw_fold_next(struct tw_fold *fold, const struct tw_test_log *log, size_t batch)
{
    size_t left = log->len - (size_t)fold->progress.next_offset;

    if (!left)
        return false;
    fold_batch(fold, log, left < batch ? left : batch);
    if (fold->keeps_events)
        keep_events(fold);
    return true;
}

void tw_fold_sweep(struct tw_fold *fold)
{
    assert_int_equal(fold->store.sweep(fold->store.self, 0, fold->progress.next_offset, fold->progress.clock_ms, NULL),
                     TW_OK);
}

void tw_fold_dump(struct tw_fold *fold, struct tw_buf *out)
{
    tw_fold_sweep(fold);
    assert_int_equal(fold->store.forget_outbox(fold->store.self, 0, fold->progress.next_offset, NULL), TW_OK);
    tw_memory_dump(tw_memory_store_db(&fold->store), out);
    tw_buf_add_str(out, tw_buf_str(&fold->events));
}

/* --- a history ---------------------------------------------------------------------------------------------------- */

void tw_history_open(struct tw_history *base, int number, uint64_t seed, const struct tw_domain *domain)
{
    *base = (struct tw_history){.number = number, .random = seed};
    tw_test_log_init(&base->log, 0, 1);
    tw_fold_open(&base->live, domain, 1 << 20);
}

void tw_history_close(struct tw_history *base)
{
    tw_fold_close(&base->live);
    tw_test_log_done(&base->log);
}

uint32_t tw_history_dice(struct tw_history *base, uint32_t sides)
{
    assert(sides > 0);
    return (uint32_t)(tw_random(&base->random) >> 32) % sides;
}

void tw_history_requeue_some(struct tw_history *base, struct tw_envelope *envelope)
{
    if (tw_history_dice(base, 40) == 0)
        envelope->original_ms = base->log.now_ms - (int64_t)tw_history_dice(base, 3 * 24) * HOUR_MS;
}

const struct tw_record *tw_history_recent(struct tw_history *base)
{
    const struct tw_test_log *log = &base->log;

    if (!log->len)
        return NULL;
    return &log->records[log->len - 1 - tw_history_dice(base, log->len < 30 ? log->len : 30)];
}

void tw_history_repeat(struct tw_history *base, const struct tw_record *record)
{
    struct tw_test_log *log = &base->log;
    struct tw_record    repeated;

    if (!record)
        return;
    repeated = *record; /* which may move when the log grows */
    repeated.offset = log->len;
    repeated.timestamp_ms = log->now_ms;
    log->records = tw_arena_grow(&log->arena, log->records, log->len, &log->cap, sizeof(*log->records));
    log->records[log->len++] = repeated;
    log->now_ms += 1000;
}

bool tw_history_step(struct tw_history *base)
{
    if (!tw_fold_next(&base->live, &base->log, 1))
        return false;
    if (base->live.turn.counts.dead)
        fail_msg("history %d, offset %u: a dead letter", base->number, (unsigned)base->log.len - 1);
    return true;
}

void tw_history_load(const struct tw_history *base, struct tw_load *load, struct tw_arena *arena)
{
    const struct tw_store *store = &base->live.store;
    struct tw_err          err = {0};

    assert_rc(store->load(store->self, 0, base->live.progress.next_offset, load, arena, &err), TW_OK, err);
    store->abandon(store->self, 0);
}

bool tw_history_has_emitted(const struct tw_history *base, const struct tw_type *type)
{
    const struct tw_turn *turn = &base->live.turn;

    for (uint32_t i = 0; i < turn->event_count; i++)
        if (turn->events[i].type == type)
            return true;
    return false;
}

/* --- what is done ------------------------------------------------------------------------------------------------- */

const struct tw_deed *tw_history_choose(struct tw_history *base, const struct tw_deed *deeds, size_t count, int kind)
{
    uint32_t sum = 0, at;

    for (size_t i = 0; i < count; i++)
        sum += deeds[i].weights[kind];
    at = tw_history_dice(base, sum);
    while (at >= deeds->weights[kind])
        at -= deeds++->weights[kind];
    return deeds;
}

/* --- what came to pass -------------------------------------------------------------------------------------------- */

static void count_success(struct tw_tally *tally, const struct tw_history *base)
{
    const struct tw_turn   *turn = &base->live.turn;
    const struct tw_domain *domain = turn->config->domain;
    struct tw_envelope      envelope;

    assert_int_equal(tw_envelope_read(&turn->records[0], &envelope, NULL), TW_OK);
    assert_true(domain->command_count <= TW_LEN(tally->succeeded));
    for (size_t i = 0; i < domain->command_count; i++)
        if (tw_str_is(envelope.type, domain->commands[i]->ce_type))
            tally->succeeded[i] += turn->counts.succeeded;
}

static void count_problem(struct tw_tally *tally, const struct tw_event *event, struct tw_arena *arena)
{
    struct tw_command_outcome outcome;
    enum tw_problem           problem;

    assert_int_equal(tw_command_outcome_type.unpack(event->payload, arena, &outcome, NULL), TW_OK);
    if (!outcome.has_problem_code)
        return;
    problem = tw_problem_of_code(outcome.problem_code);
    assert_true((size_t)problem < TW_LEN(tally->problems));
    tally->problems[problem]++;
}

void tw_tally_step(struct tw_tally *tally, const struct tw_history *base)
{
    const struct tw_turn *turn = &base->live.turn;

    count_success(tally, base);
    for (uint32_t i = 0; i < turn->event_count; i++) {
        const struct tw_event *event = &turn->events[i];

        assert_true(event->type->number < TW_LEN(tally->events));
        if (event->type == &tw_command_outcome_type)
            count_problem(tally, event, turn->arena);
        else
            tally->events[event->type->number]++;
    }
}

void tw_tally_assert_commands(const struct tw_tally *tally, const struct tw_domain *domain)
{
    for (size_t i = 0; i < domain->command_count; i++)
        if (tally->succeeded[i] < 5)
            fail_msg("%s succeeded %zu times", domain->commands[i]->ce_type, tally->succeeded[i]);
}

void tw_tally_assert_problems(const struct tw_tally *tally, const enum tw_problem *problems, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!tally->problems[problems[i]])
            fail_msg("%s never came", tw_problem_code(problems[i]));
}

/* --- other batches ------------------------------------------------------------------------------------------------ */

void tw_history_assert_same_dump(const struct tw_history *base, struct tw_fold *fold, const struct tw_buf *expected,
                                 size_t batch)
{
    struct tw_buf actual = {0};

    tw_fold_dump(fold, &actual);
    if (!tw_str_eq(tw_buf_str(&actual), tw_buf_str(expected)))
        fail_msg("history %d is another one in batches of %zu", base->number, batch);
    tw_buf_done(&actual);
}

/* Folds the log anew in batches, swept after each. */
static void assert_same_in_batches_of(const struct tw_history *base, const struct tw_buf *expected, size_t batch,
                                      size_t cache_bytes)
{
    struct tw_fold fold;

    tw_fold_open(&fold, base->live.config.domain, cache_bytes);
    fold.keeps_events = base->live.keeps_events;
    while (tw_fold_next(&fold, &base->log, batch))
        tw_fold_sweep(&fold);
    tw_history_assert_same_dump(base, &fold, expected, batch);
    tw_fold_close(&fold);
}

/* A fold that tells nobody what happened, as that of a rebuild: the same but for the events, which are lent to it. */
static void assert_same_in_silence(const struct tw_history *base, const struct tw_buf *expected)
{
    struct tw_fold fold;

    tw_fold_open(&fold, base->live.config.domain, 4096);
    fold.config.silent = true;
    while (tw_fold_next(&fold, &base->log, 50))
        if (fold.turn.event_count || fold.turn.changes.after.outbox.len)
            fail_msg("history %d: a silent fold tells something", base->number);
    tw_buf_add_str(&fold.events, tw_buf_str(&base->live.events));
    tw_history_assert_same_dump(base, &fold, expected, 50);
    tw_fold_close(&fold);
}

void tw_history_assert_same_in_any_batches(struct tw_history *base)
{
    struct tw_buf expected = {0};

    tw_fold_dump(&base->live, &expected);
    assert_same_in_batches_of(base, &expected, base->log.len, 0);
    assert_same_in_batches_of(base, &expected, 8, 0);
    assert_same_in_batches_of(base, &expected, 100, 4096);
    assert_same_in_silence(base, &expected);
    tw_buf_done(&expected);
}
