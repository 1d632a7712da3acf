/*
 * Two players meet in most tests: `first` is the worker that had the partition and does not know that it lost it,
 * `second` is the one that has it now. What a batch writes follows from its few numbers, so the tests compare whole
 * states with what they must be, and another process can play a batch too (see "zombies in a process of their own").
 */
#include "store_contract.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_torture.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"
#include "unit.h"

#define DAY_MS   (INT64_C(24) * 60 * 60 * 1000)
#define NOON_MS  (INT64_C(20780) * DAY_MS + DAY_MS / 2) /* 2026-11-23T12:00Z: the partitions' clock at offset 0 */
#define Y0001_MS INT64_C(-62135596800000)
#define Y9999_MS INT64_C(253402300799999)

enum { ENTITIES_APART = 1000, PARTITIONS_MAX = 1024, PATIENCE_MS = 20000 };

/* --- batches ----------------------------------------------------------------------------------------------------- */

/* What a worker folds in one turn. Entity k of partition p is sample state p * ENTITIES_APART + k. */
struct batch {
    int32_t  partition;
    int64_t  first; /* offsets first..next - 1 */
    int64_t  next;
    int64_t  generation; /* of the states it writes */
    uint32_t from;       /* entities from .. from + entities - 1 */
    uint32_t entities;
    uint32_t rows;        /* ledger rows of its first records */
    uint32_t replaced;    /* the first so many of them replace the rows of the partition's first records */
    size_t   outbox_size; /* bytes */
    int64_t  clock_ms;    /* 0: follows from `next` */
};

/* A batch on its way: between load and commit. */
struct turn {
    struct batch    batch;
    struct tw_arena arena;
    struct tw_load  load;
};

struct player {
    const struct tw_store_fixture *fixture;
    struct tw_store                store;
    bool                           has_asked[PARTITIONS_MAX]; /* for the watermark, since it last heard of trouble */
};

static const struct tw_store_fixture *fixture_of(void **state)
{
    return *state;
}

static struct player enter(void **state)
{
    struct player player = {.fixture = fixture_of(state)};

    player.fixture->open(player.fixture->self, &player.store);
    return player;
}

static void leave(struct player *player)
{
    player->fixture->close(player->fixture->self, &player->store);
}

static void fill_pattern(uint8_t *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i + (i >> 8) * 7 + seed * 31); /* every value, no short period */
}

/* The progress a batch leaves. */
static struct tw_progress progress_after(const struct batch *batch, struct tw_arena *arena)
{
    struct tw_progress progress = {
        .next_offset = batch->next,
        .clock_ms = batch->clock_ms ? batch->clock_ms : NOON_MS + batch->next,
    };
    uint8_t *outbox = tw_arena_alloc(arena, batch->outbox_size);

    fill_pattern(progress.last_hash, sizeof(progress.last_hash), (uint64_t)batch->next + (uint64_t)batch->partition);
    fill_pattern(outbox, batch->outbox_size, (uint64_t)batch->next * 3 + (uint64_t)batch->partition);
    progress.outbox = (struct tw_str){(const char *)outbox, batch->outbox_size};
    return progress;
}

/* The same in every partition, as it is when one Idempotency-Key is used for two aggregates. */
static struct tw_uuid row_id(const struct tw_store_fixture *fixture, int64_t offset)
{
    uint8_t  digest[16];
    uint64_t number = (uint64_t)offset;

    for (size_t i = 0; i < sizeof(digest); i++) {
        number = (number ^ (number >> 29)) * UINT64_C(0xbf58476d1ce4e5b9) + i;
        digest[i] = (uint8_t)(number >> 32);
    }
    return tw_command_id_ledger(tw_command_id_keyed(digest, fixture->states->domain->number, 0));
}

/* Offset of the record that brought the command of row n; of a replaced row, the first one that did. */
static int64_t command_offset(const struct batch *batch, uint32_t n)
{
    return n < batch->replaced ? n : batch->first + n;
}

/* How the command of a record ends, or that it is pending: every outcome there is, sooner or later. */
static struct tw_outcome outcome_at(const struct tw_store_fixture *fixture, const struct batch *batch, int64_t offset)
{
    static const struct tw_outcome outcomes[] = {
        {.status = TW_SUCCEEDED, .http_status = 201, .resource = {"/v1/things/42", 13}},
        {.status = TW_REJECTED,
         .http_status = 409,
         .problem = TW_PROBLEM_SKU_TAKEN,
         .detail = {"it's \"taken\", {NULL} \\ %s\n", 26}},
        {.status = TW_DEAD_LETTERED,
         .http_status = 500,
         .problem = TW_PROBLEM_DEAD_LETTERED,
         .detail = {"\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x99\x82", 9},
         .resource = {"/v1/cart", 8}},
        {.status = TW_SUCCEEDED, .http_status = 204},
        {.status = TW_PENDING, .http_status = 202, .resource = {"/v1/members/me", 14}},
    };
    uint64_t number = (uint64_t)(offset + batch->partition);

    return outcomes[number % (TW_LEN(outcomes) - !fixture->states->has_sagas)];
}

/* Ledger row n of a batch. One that replaces a pending row is of the same record, any other of the one that brought the
 * command again. */
static struct tw_ledger_row row_of(const struct tw_store_fixture *fixture, const struct batch *batch, uint32_t n)
{
    int64_t              command = command_offset(batch, n);
    int64_t              offset = command;
    struct tw_outcome    outcome = outcome_at(fixture, batch, command);
    struct tw_ledger_row row;

    if (n < batch->replaced && outcome.status == TW_PENDING) {
        outcome = tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "ended");
    } else if (n < batch->replaced) {
        offset = batch->first + n;
        outcome = outcome_at(fixture, batch, offset);
    }
    row = (struct tw_ledger_row){
        .id = row_id(fixture, command),
        .caller = offset % 3 ? row_id(fixture, offset + batch->partition + 1) : tw_uuid_nil,
        .type = offset % 2 ? TW_STR("thing.do") : TW_STR("some.rather_longer_name_of_a_command"),
        .outcome = outcome,
        .offset = offset,
        .submitted_ms = offset % 5 == 4   ? Y0001_MS
                        : offset % 5 == 3 ? Y9999_MS
                                          : NOON_MS - offset % 1000,
        .at_ms = (batch->clock_ms ? batch->clock_ms : NOON_MS + batch->next) - (batch->next - offset),
        .replaces = n < batch->replaced,
    };

    fill_pattern(row.fingerprint, sizeof(row.fingerprint), (uint64_t)(offset + batch->partition));
    return row;
}

static int compare_entities(const void *left, const void *right)
{
    const struct tw_key *a = &((const struct tw_entity *)left)->key, *b = &((const struct tw_entity *)right)->key;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return tw_uuid_cmp(a->id, b->id) ? tw_uuid_cmp(a->id, b->id) : tw_uuid_cmp(a->sub, b->sub);
}

static int compare_rows(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct tw_ledger_row *)left)->id, ((const struct tw_ledger_row *)right)->id);
}

static uint32_t sample_of(const struct batch *batch, uint32_t k)
{
    return (uint32_t)batch->partition * ENTITIES_APART + k;
}

static void assert_code(enum tw_rc rc, enum tw_rc expected)
{
    assert_string_equal(tw_rc_name(rc), tw_rc_name(expected));
}

/* A failure is described; what no test of ours expects is shown. */
static void assert_says_why(enum tw_rc rc, const struct tw_err *err)
{
    if (rc == TW_OK)
        return;
    if (rc == TW_BROKEN || rc == TW_REFUSED || rc == TW_INVALID)
        print_error("%s: %s: %s\n", err->where, tw_rc_name(rc), err->msg);
    assert_code(err->rc, rc);
    assert_non_null(err->where);
    assert_true(err->msg[0] != '\0');
}

/* The watermark, as the runtime asks for it: again while the store is away. */
static struct tw_progress ask(struct player *player, int32_t partition, struct tw_arena *arena)
{
    int64_t            give_up_us = tw_monotonic_us() + PATIENCE_MS * INT64_C(1000);
    struct tw_progress progress = {0};
    struct tw_err      err = {0};
    enum tw_rc         rc;

    while ((rc = player->store.watermark(player->store.self, partition, arena, &progress, &err)) == TW_UNREACHED &&
           tw_monotonic_us() < give_up_us)
        usleep(20000);
    assert_says_why(rc, &err);
    assert_code(rc, TW_OK);
    player->has_asked[partition] = true;
    return progress;
}

/* What the port asks of its user: watermark() comes first, and first again after every failure. */
static void ask_if_due(struct player *player, int32_t partition)
{
    struct tw_arena arena = {0};

    if (!player->has_asked[partition])
        (void)ask(player, partition, &arena);
    tw_arena_done(&arena);
}

/* Asks the store for the entities of `batch` and for the ledger rows of its records, with the watermark at `offset`. */
static enum tw_rc load_at(struct player *player, const struct batch *batch, int64_t offset, struct turn *ret_turn)
{
    struct tw_arena *arena = &ret_turn->arena;
    struct tw_uuid  *ids;
    struct tw_err    err = {0};
    enum tw_rc       rc;

    *ret_turn = (struct turn){.batch = *batch};
    ids = TW_NEW_ARRAY(arena, batch->rows, struct tw_uuid);
    for (uint32_t n = 0; n < batch->rows; n++)
        ids[n] = row_id(player->fixture, command_offset(batch, n));
    ret_turn->load = (struct tw_load){
        .entities = TW_NEW_ARRAY(arena, batch->entities, struct tw_entity),
        .entity_count = batch->entities,
        .ledger_ids = ids,
        .ledger_id_count = batch->rows,
    };
    for (uint32_t n = 0; n < batch->entities; n++) {
        struct tw_entity *entity = &ret_turn->load.entities[n];

        entity->key = player->fixture->states->key(sample_of(batch, batch->from + n));
        entity->before_guard = entity->guard = entity->coalesce_offset = -1;
    }
    ask_if_due(player, batch->partition);
    rc = player->store.load(player->store.self, batch->partition, offset, &ret_turn->load, arena, &err);
    assert_says_why(rc, &err);
    player->has_asked[batch->partition] = rc == TW_OK;
    return rc;
}

/* Begins to fold `batch`; the turn is to be ended by finish(), give_up() or, when this failed, drop(). */
static enum tw_rc begin(struct player *player, const struct batch *batch, struct turn *ret_turn)
{
    return load_at(player, batch, batch->first, ret_turn);
}

/* Forgets a turn whose load or commit failed. */
static void drop(struct turn *turn)
{
    tw_arena_done(&turn->arena);
    *turn = (struct turn){0};
}

static void give_up(struct player *player, struct turn *turn)
{
    player->store.abandon(player->store.self, turn->batch.partition);
    drop(turn);
}

static const struct tw_entity **decide_entities(struct player *player, struct turn *turn)
{
    const struct batch      *batch = &turn->batch;
    const struct tw_entity **changed = TW_NEW_ARRAY(&turn->arena, batch->entities, const struct tw_entity *);

    for (uint32_t n = 0; n < batch->entities; n++) {
        struct tw_entity *entity = &turn->load.entities[n];

        entity->state =
            player->fixture->states->make(sample_of(batch, batch->from + n), batch->generation, &turn->arena);
        entity->guard = batch->next - 1 - n % (batch->next - batch->first);
        entity->changed = true;
    }
    qsort(turn->load.entities, batch->entities, sizeof(*turn->load.entities), compare_entities);
    for (uint32_t n = 0; n < batch->entities; n++)
        changed[n] = &turn->load.entities[n];
    return changed;
}

/* Commits the turn as if the watermark had been `first_offset` when it was loaded. */
static enum tw_rc finish_at(struct player *player, struct turn *turn, int64_t first_offset)
{
    const struct batch   *batch = &turn->batch;
    struct tw_ledger_row *rows = TW_NEW_ARRAY(&turn->arena, batch->rows, struct tw_ledger_row);
    struct tw_changes     changes = {
            .partition = batch->partition,
            .first_offset = first_offset,
            .after = progress_after(batch, &turn->arena),
            .entities = decide_entities(player, turn),
            .entity_count = batch->entities,
            .rows = rows,
            .row_count = batch->rows,
    };
    struct tw_err err = {0};
    enum tw_rc    rc;

    for (uint32_t n = 0; n < batch->rows; n++)
        rows[n] = row_of(player->fixture, batch, n);
    qsort(rows, batch->rows, sizeof(*rows), compare_rows);
    rc = player->store.commit(player->store.self, &changes, &err);
    assert_says_why(rc, &err);
    player->has_asked[batch->partition] = rc == TW_OK;
    drop(turn);
    return rc;
}

static enum tw_rc finish(struct player *player, struct turn *turn)
{
    return finish_at(player, turn, turn->batch.first);
}

static enum tw_rc forget(struct player *player, int32_t partition, int64_t next_offset)
{
    struct tw_err err = {0};
    enum tw_rc    rc;

    ask_if_due(player, partition);
    rc = player->store.forget_outbox(player->store.self, partition, next_offset, &err);
    assert_says_why(rc, &err);
    player->has_asked[partition] = rc == TW_OK;
    return rc;
}

static enum tw_rc sweep(struct player *player, int32_t partition, int64_t next_offset, int64_t clock_ms)
{
    struct tw_err err = {0};
    enum tw_rc    rc;

    ask_if_due(player, partition);
    rc = player->store.sweep(player->store.self, partition, next_offset, clock_ms, &err);
    assert_says_why(rc, &err);
    player->has_asked[partition] = rc == TW_OK;
    return rc;
}

static enum tw_rc set_mark(struct player *player, int32_t partition, int64_t next_offset, int64_t from, int64_t to)
{
    struct tw_err err = {0};
    enum tw_rc    rc;

    ask_if_due(player, partition);
    rc = player->store.set_mark(player->store.self, partition, next_offset, from, to, &err);
    assert_says_why(rc, &err);
    player->has_asked[partition] = rc == TW_OK;
    return rc;
}

static void release(struct player *player, int32_t partition)
{
    player->store.release(player->store.self, partition);
    player->has_asked[partition] = false;
}

/* Load and commit, both must work. */
static void fold(struct player *player, const struct batch *batch)
{
    struct turn turn;

    assert_code(begin(player, batch, &turn), TW_OK);
    assert_code(finish(player, &turn), TW_OK);
}

/* --- what the store says ----------------------------------------------------------------------------------------- */

static void assert_str_equal(struct tw_str is, struct tw_str expected)
{
    assert_int_equal(is.len, expected.len);
    if (is.len)
        assert_memory_equal(is.ptr, expected.ptr, is.len);
}

static void assert_progress(struct player *player, int32_t partition, const struct tw_progress *expected)
{
    struct tw_arena    arena = {0};
    struct tw_progress is = ask(player, partition, &arena);

    assert_int_equal(is.next_offset, expected->next_offset);
    assert_int_equal(is.clock_ms, expected->clock_ms);
    assert_memory_equal(is.last_hash, expected->last_hash, sizeof(is.last_hash));
    assert_str_equal(is.outbox, expected->outbox);
    assert_int_equal(is.mark, expected->mark);
    tw_arena_done(&arena);
}

static void assert_progress_is_after(struct player *player, const struct batch *batch)
{
    struct tw_arena    arena = {0};
    struct tw_progress expected = progress_after(batch, &arena);

    assert_progress(player, batch->partition, &expected);
    tw_arena_done(&arena);
}

static void assert_nothing_folded(struct player *player, int32_t partition)
{
    assert_progress(player, partition, &(struct tw_progress){0});
}

/* `generation` 0: there is none. */
static void assert_state(const struct tw_store_fixture *fixture, const struct tw_entity *entity, uint32_t sample,
                         int64_t generation)
{
    const struct tw_type *type = fixture->states->domain->states[entity->key.kind];
    struct tw_arena       arena = {0};
    struct tw_buf         is = {0}, expected = {0};

    if (generation == 0) {
        assert_null(entity->before);
        assert_int_equal(entity->before_guard, -1);
        return;
    }
    assert_non_null(entity->before);
    type->pack(entity->before, &is);
    type->pack(fixture->states->make(sample, generation, &arena), &expected);
    assert_str_equal(tw_buf_str(&is), tw_buf_str(&expected));
    tw_buf_done(&is);
    tw_buf_done(&expected);
    tw_arena_done(&arena);
}

static void assert_states(const struct turn *turn, const struct tw_store_fixture *fixture, int64_t generation)
{
    for (uint32_t n = 0; n < turn->batch.entities; n++)
        assert_state(fixture, &turn->load.entities[n], sample_of(&turn->batch, turn->batch.from + n), generation);
}

static void assert_row(const struct tw_ledger_row *is, const struct tw_ledger_row *expected)
{
    assert_true(tw_uuid_eq(is->id, expected->id));
    assert_true(tw_uuid_eq(is->caller, expected->caller));
    assert_memory_equal(is->fingerprint, expected->fingerprint, sizeof(is->fingerprint));
    assert_str_equal(is->type, expected->type);
    assert_int_equal(is->outcome.status, expected->outcome.status);
    assert_int_equal(is->outcome.http_status, expected->outcome.http_status);
    assert_int_equal(is->outcome.problem, expected->outcome.problem);
    assert_str_equal(is->outcome.detail, expected->outcome.detail);
    assert_str_equal(is->outcome.resource, expected->outcome.resource);
    assert_int_equal(is->offset, expected->offset);
    assert_int_equal(is->submitted_ms, expected->submitted_ms);
    assert_int_equal(is->at_ms, expected->at_ms);
}

static struct tw_ledger_row loaded_row(const struct turn *turn, struct tw_uuid id)
{
    struct tw_ledger_row found = {0};
    int                  count = 0;

    for (size_t n = 0; n < turn->load.row_count; n++) {
        if (!tw_uuid_eq(turn->load.rows[n].id, id))
            continue;
        found = turn->load.rows[n];
        count++;
    }
    assert_int_equal(count, 1);
    return found;
}

/* The rows of `written` among those a turn loaded. */
static void assert_rows_of(const struct turn *turn, const struct tw_store_fixture *fixture, const struct batch *written)
{
    for (uint32_t n = 0; n < written->rows; n++) {
        struct tw_ledger_row expected = row_of(fixture, written, n);
        struct tw_ledger_row is = loaded_row(turn, expected.id);

        assert_row(&is, &expected);
    }
}

/* A turn that asks for the states and rows of `batch` with the watermark behind it. */
static void look_at(struct player *player, const struct batch *batch, int64_t watermark, struct turn *ret_turn)
{
    assert_code(load_at(player, batch, watermark, ret_turn), TW_OK);
}

/* All of `batch` is there, exactly; `watermark` is where the partition is now. */
static void assert_is_there(struct player *player, const struct batch *batch, int64_t watermark)
{
    struct turn turn;

    look_at(player, batch, watermark, &turn);
    assert_states(&turn, player->fixture, batch->generation);
    assert_int_equal(turn.load.row_count, batch->rows);
    assert_rows_of(&turn, player->fixture, batch);
    give_up(player, &turn);
}

/* Nothing of `batch` is there. */
static void assert_is_not_there(struct player *player, const struct batch *batch, int64_t watermark)
{
    struct turn turn;

    look_at(player, batch, watermark, &turn);
    assert_states(&turn, player->fixture, 0);
    assert_int_equal(turn.load.row_count, 0);
    give_up(player, &turn);
}

/* --- reading back ------------------------------------------------------------------------------------------------ */

static const struct batch opening = {
    .partition = 0, .first = 0, .next = 10, .generation = 1, .entities = 5, .rows = 10, .outbox_size = 300};

static void an_empty_store__has_watermark_zero_and_knows_nothing(void **state)
{
    struct player first = enter(state);

    assert_nothing_folded(&first, 0);
    assert_nothing_folded(&first, 5);
    assert_is_not_there(&first, &opening, 0);
    leave(&first);
}

static void commit__moves_watermark_clock_hash_and_outbox(void **state)
{
    struct player first = enter(state), second = enter(state);

    fold(&first, &opening);
    assert_progress_is_after(&first, &opening);
    assert_progress_is_after(&second, &opening);
    assert_nothing_folded(&second, 1);
    leave(&second);
    leave(&first);
}

static void commit__of_passed_over_records_moves_progress_alone(void **state)
{
    struct player first = enter(state);
    struct batch  empty = {.partition = 3, .first = 0, .next = 7};

    fold(&first, &empty);
    assert_progress_is_after(&first, &empty);
    empty = (struct batch){.partition = 3, .first = 7, .next = 8};
    fold(&first, &empty);
    assert_progress_is_after(&first, &empty);
    leave(&first);
}

static void commit__replaces_the_outbox_of_the_one_before(void **state)
{
    struct player first = enter(state);
    struct batch  next = {.partition = 0, .first = 10, .next = 11, .outbox_size = 0};

    fold(&first, &opening);
    fold(&first, &next);
    assert_progress_is_after(&first, &next);
    leave(&first);
}

/* A third of what `whole` leaves behind, without what a batch has to do with it; the last one moves the watermark. */
static void fill(struct player *player, const struct batch *whole, uint32_t third)
{
    struct tw_arena          arena = {0};
    uint32_t                 entities = whole->entities / 3, rows = whole->rows / 3;
    struct tw_entity        *filled = TW_NEW_ARRAY(&arena, entities, struct tw_entity);
    const struct tw_entity **changed = TW_NEW_ARRAY(&arena, entities, const struct tw_entity *);
    struct tw_ledger_row    *ledger = TW_NEW_ARRAY(&arena, rows, struct tw_ledger_row);
    struct tw_load           nothing = {0};
    struct tw_err            err = {0};
    struct tw_changes        changes = {
               .partition = whole->partition,
               .entities = changed,
               .entity_count = entities,
               .rows = ledger,
               .row_count = rows,
    };

    for (uint32_t n = 0; n < entities; n++) {
        uint32_t sample = sample_of(whole, third * entities + n);

        filled[n] = (struct tw_entity){
            .key = player->fixture->states->key(sample),
            .before_guard = -1,
            .state = player->fixture->states->make(sample, whole->generation, &arena),
            .guard = whole->next - 1 - n,
            .changed = true,
            .coalesce_offset = -1,
        };
    }
    qsort(filled, entities, sizeof(*filled), compare_entities);
    for (uint32_t n = 0; n < entities; n++)
        changed[n] = &filled[n];
    for (uint32_t n = 0; n < rows; n++)
        ledger[n] = row_of(player->fixture, whole, third * rows + n);
    qsort(ledger, rows, sizeof(*ledger), compare_rows);
    changes.after = progress_after(whole, &arena);
    if (third < 2)
        changes.after = (struct tw_progress){.clock_ms = changes.after.clock_ms};
    ask_if_due(player, whole->partition);
    assert_code(player->store.load(player->store.self, whole->partition, 0, &nothing, &arena, &err), TW_OK);
    assert_code(player->store.commit(player->store.self, &changes, &err), TW_OK);
    tw_arena_done(&arena);
}

static void commit__from_zero_to_zero_fills_a_store_that_has_folded_nothing(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  whole = {.partition = 0, .next = 30, .generation = 1, .entities = 9, .rows = 30, .outbox_size = 32};
    struct batch  next = {.partition = 0, .first = 30, .next = 40, .generation = 2, .entities = 9, .rows = 10};

    for (uint32_t third = 0; third < 3; third++)
        fill(&first, &whole, third);
    assert_progress_is_after(&second, &whole);
    assert_is_there(&second, &whole, whole.next);
    fold(&second, &next);
    assert_progress_is_after(&first, &next);
    assert_is_there(&first, &next, next.next);
    leave(&second);
    leave(&first);
}

static void load__gives_states_and_ledger_rows_back_exactly(void **state)
{
    struct player first = enter(state), second = enter(state);

    fold(&first, &opening);
    assert_progress_is_after(&second, &opening);
    assert_is_there(&first, &opening, opening.next);
    assert_is_there(&second, &opening, opening.next);
    leave(&second);
    leave(&first);
}

static void load__gives_every_generation_of_a_state_back_exactly(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  batch = {.partition = 0, .entities = 6, .outbox_size = 10};

    for (batch.generation = 1; batch.generation <= 24; batch.generation++) {
        batch.first = batch.next;
        batch.next += 7;
        fold(&first, &batch);
        assert_int_equal(batch.next, batch.generation * 7);
        assert_progress_is_after(&second, &batch);
        assert_is_there(&second, &batch, batch.next);
    }
    leave(&second);
    leave(&first);
}

static void load__gives_the_guard_of_what_it_found_or_none_at_all(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {.partition = 0, .first = 0, .next = 40, .generation = 1, .entities = 1};
    struct turn   turn;

    fold(&first, &batch);
    look_at(&first, &batch, 40, &turn);
    assert_true(turn.load.entities[0].before_guard == 39 || turn.load.entities[0].before_guard == -1);
    give_up(&first, &turn);
    leave(&first);
}

static void load__leaves_out_what_it_does_not_know(void **state)
{
    struct player first = enter(state);
    struct batch  wider = opening;
    struct turn   turn;

    fold(&first, &opening);
    wider.from = 3; /* 3 and 4 are known */
    wider.rows = 20;
    look_at(&first, &wider, opening.next, &turn);
    for (uint32_t n = 0; n < wider.entities; n++)
        assert_state(first.fixture, &turn.load.entities[n], wider.from + n, n < 2 ? 1 : 0);
    assert_int_equal(turn.load.row_count, 10);
    assert_rows_of(&turn, first.fixture, &opening);
    give_up(&first, &turn);
    leave(&first);
}

/* The first sample that has the id of another one before it, of another kind. */
static bool find_twins(const struct tw_sample_states *states, uint32_t *ret_one, uint32_t *ret_other)
{
    for (uint32_t other = 1; other < 16; other++)
        for (uint32_t one = 0; one < other; one++)
            if (tw_uuid_eq(states->key(one).id, states->key(other).id) &&
                states->key(one).kind != states->key(other).kind) {
                *ret_one = one;
                *ret_other = other;
                return true;
            }
    return false;
}

static void load__tells_kinds_of_one_id_apart(void **state)
{
    const struct tw_sample_states *states = fixture_of(state)->states;
    struct player                  first;
    struct batch                   one = {.partition = 0, .first = 0, .next = 1, .generation = 1, .entities = 1};
    struct batch                   other = {.partition = 0, .first = 1, .next = 2, .generation = 2, .entities = 1};
    struct batch                   both = {.partition = 0, .first = 2, .next = 3, .generation = 3};

    if (!find_twins(states, &one.from, &other.from)) {
        assert_int_equal(states->domain->state_count, 1); /* nothing to tell apart; else the samples show too little */
        return;
    }
    first = enter(state);
    fold(&first, &one);
    assert_is_there(&first, &one, 1);
    assert_is_not_there(&first, &other, 1);
    fold(&first, &other);
    assert_is_there(&first, &one, 2);
    assert_is_there(&first, &other, 2);
    both.from = one.from;
    both.entities = other.from - one.from + 1;
    fold(&first, &both); /* in one load and one commit */
    assert_is_there(&first, &both, 3);
    leave(&first);
}

static void load__gives_ledger_rows_of_its_own_partition_only(void **state)
{
    struct player first = enter(state);
    struct batch  other = opening;

    other.partition = 1;
    fold(&first, &opening);
    assert_is_not_there(&first, &other, 0);
    fold(&first, &other); /* the same command ids, other rows */
    assert_is_there(&first, &opening, opening.next);
    assert_is_there(&first, &other, other.next);
    leave(&first);
}

static void load__gives_ledger_rows_for_24_hours_whatever_the_day(void **state)
{
    struct player first = enter(state);
    int64_t       midnight = NOON_MS + DAY_MS / 2;
    struct batch  late = {.partition = 0, .first = 0, .next = 5, .rows = 5, .clock_ms = midnight - 1000};
    struct batch  early = {.partition = 0, .first = 5, .next = 9, .rows = 4, .clock_ms = midnight + 1000};
    struct batch  next_evening = {
         .partition = 0, .first = 9, .next = 12, .rows = 3, .clock_ms = midnight + DAY_MS - 2000};

    fold(&first, &late);
    fold(&first, &early);
    assert_is_there(&first, &late, 9);
    assert_is_there(&first, &early, 9);
    fold(&first, &next_evening);
    assert_is_there(&first, &late, 12);
    assert_is_there(&first, &early, 12);
    assert_is_there(&first, &next_evening, 12);
    leave(&first);
}

/* A pending command that ends; one that comes again after it was given up, or after a day. Rows of new commands stand
 * beside. */
static void commit__puts_rows_in_the_place_of_those_they_replace(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  ends = {.partition = 0, .first = 10, .next = 20, .rows = 10, .replaced = 6};
    struct batch  untouched = {.partition = 0, .first = 6, .next = 10, .rows = 4};
    struct batch  of_other = opening;

    of_other.partition = 1;
    untouched.clock_ms = NOON_MS + opening.next; /* when they were written */
    fold(&first, &opening);
    fold(&first, &of_other); /* rows of the same ids, which must stay */
    fold(&first, &ends);
    assert_is_there(&second, &ends, ends.next);
    assert_is_there(&second, &untouched, ends.next);
    assert_is_there(&second, &of_other, of_other.next);
    leave(&second);
    leave(&first);
}

static void commit__replaces_rows_of_the_day_before(void **state)
{
    struct player first = enter(state);
    int64_t       midnight = NOON_MS + DAY_MS / 2;
    struct batch  late = {.partition = 0, .first = 0, .next = 5, .rows = 5, .clock_ms = midnight - 1000};
    struct batch  early = {
         .partition = 0, .first = 5, .next = 10, .rows = 5, .replaced = 5, .clock_ms = midnight + 1000};

    fold(&first, &late);
    fold(&first, &early);
    assert_is_there(&first, &early, early.next);
    leave(&first);
}

static void commit__replaces_rows_that_were_swept_meanwhile(void **state)
{
    struct player first = enter(state);
    struct batch  ends = {
         .partition = 0, .first = 10, .next = 20, .rows = 8, .replaced = 4, .clock_ms = NOON_MS + 2 * DAY_MS};

    fold(&first, &opening);
    assert_code(sweep(&first, 0, opening.next, NOON_MS + 2 * DAY_MS), TW_OK);
    fold(&first, &ends);
    assert_is_there(&first, &ends, ends.next);
    leave(&first);
}

static void commit__keeps_a_large_outbox_of_any_bytes(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {.partition = 0, .first = 0, .next = 500, .outbox_size = 200 * 1024};

    fold(&first, &batch);
    assert_progress_is_after(&first, &batch);
    leave(&first);
}

static void commit__keeps_extreme_numbers(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {.partition = 1023, .first = 0, .next = 1};

    fold(&first, &batch);
    batch = (struct batch){
        .partition = 1023, .first = 1, .next = INT64_C(1) << 62, .clock_ms = Y9999_MS, .generation = 4, .entities = 3};
    fold(&first, &batch);
    assert_progress_is_after(&first, &batch);
    batch.first = batch.next;
    batch.next += 5;
    batch.generation = 9;
    batch.rows = 5;
    fold(&first, &batch); /* the clock stands still */
    assert_progress_is_after(&first, &batch);
    assert_is_there(&first, &batch, batch.next);
    leave(&first);
}

static void commit__takes_a_batch_of_hundreds(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {
         .partition = 0, .first = 0, .next = 500, .generation = 2, .entities = 200, .rows = 500, .outbox_size = 100000};

    fold(&first, &batch);
    assert_progress_is_after(&first, &batch);
    assert_is_there(&first, &batch, batch.next);
    leave(&first);
}

/* --- the fence --------------------------------------------------------------------------------------------------- */

static void load__is_fenced_when_the_batch_does_not_begin_at_the_watermark(void **state)
{
    static const int64_t wrong[] = {0, 9, 11, 20};
    struct player        first = enter(state);
    struct batch         batch = opening;
    struct turn          turn;

    fold(&first, &opening);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        batch.first = wrong[i];
        batch.next = wrong[i] + 5;
        batch.rows = 5;
        assert_code(begin(&first, &batch, &turn), TW_FENCED);
        drop(&turn);
        assert_progress_is_after(&first, &opening);
    }
    leave(&first);
}

static void load__of_an_empty_store_is_fenced_above_zero(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {.partition = 0, .first = 3, .next = 5, .entities = 2, .rows = 2};
    struct turn   turn;

    assert_code(begin(&first, &batch, &turn), TW_FENCED);
    drop(&turn);
    assert_nothing_folded(&first, 0);
    leave(&first);
}

static void commit__with_a_wrong_first_offset_writes_nothing(void **state)
{
    static const int64_t wrong[] = {9, 11};
    struct player        first = enter(state);
    struct batch         batch = {.partition = 0,
                                  .first = 10,
                                  .next = 15,
                                  .generation = 2,
                                  .from = 50,
                                  .entities = 3,
                                  .rows = 5,
                                  .outbox_size = 9};
    struct turn          turn;

    fold(&first, &opening);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        assert_code(begin(&first, &batch, &turn), TW_OK);
        assert_code(finish_at(&first, &turn, wrong[i]), TW_FENCED);
        assert_progress_is_after(&first, &opening);
        assert_is_there(&first, &opening, opening.next);
        assert_is_not_there(&first, &batch, opening.next);
    }
    leave(&first);
}

static void commit__of_an_empty_store_is_fenced_above_zero(void **state)
{
    struct player first = enter(state);
    struct batch  batch = {.partition = 0, .first = 0, .next = 5, .generation = 1, .entities = 2, .rows = 3};
    struct turn   turn;

    assert_code(begin(&first, &batch, &turn), TW_OK);
    assert_code(finish_at(&first, &turn, 1), TW_FENCED);
    assert_nothing_folded(&first, 0);
    assert_is_not_there(&first, &batch, 0);
    leave(&first);
}

/* The zombie's own schedule: it consumed 100-199 and slept, the new owner committed 100-149. */
static const struct batch before_it = {
    .partition = 0, .first = 0, .next = 100, .generation = 1, .entities = 4, .rows = 5, .outbox_size = 50};
static const struct batch of_zombie = {
    .partition = 0, .first = 100, .next = 200, .generation = 9, .entities = 4, .rows = 60, .outbox_size = 70};
static const struct batch of_owner = {
    .partition = 0, .first = 100, .next = 150, .generation = 2, .entities = 3, .rows = 50, .outbox_size = 60};

/* The store is as the new owner left it. */
static void assert_zombie_did_nothing(struct player *player)
{
    struct batch zombies_own = of_zombie;
    struct batch untouched = before_it;

    assert_progress_is_after(player, &of_owner);
    assert_is_there(player, &of_owner, of_owner.next);
    untouched.from = 3;
    untouched.entities = 1;
    assert_is_there(player, &untouched, of_owner.next);
    zombies_own.first = of_owner.next;
    zombies_own.rows = 10;
    zombies_own.from = 100;
    assert_is_not_there(player, &zombies_own, of_owner.next);
}

static void a_zombie__that_slept_before_its_load_is_fenced(void **state)
{
    struct player zombie = enter(state), owner = enter(state);
    struct turn   turn;

    fold(&zombie, &before_it);
    assert_progress_is_after(&owner, &before_it);
    fold(&owner, &of_owner);
    assert_code(begin(&zombie, &of_zombie, &turn), TW_FENCED);
    drop(&turn);
    assert_zombie_did_nothing(&owner);
    assert_zombie_did_nothing(&zombie);
    leave(&owner);
    leave(&zombie);
}

static void a_zombie__that_slept_between_load_and_commit_is_fenced(void **state)
{
    struct player zombie = enter(state), owner = enter(state);
    struct turn   turn;

    fold(&zombie, &before_it);
    assert_code(begin(&zombie, &of_zombie, &turn), TW_OK);
    assert_progress_is_after(&owner, &before_it);
    fold(&owner, &of_owner);
    assert_code(finish(&zombie, &turn), TW_FENCED);
    assert_zombie_did_nothing(&owner);
    assert_zombie_did_nothing(&zombie);
    leave(&owner);
    leave(&zombie);
}

static void a_zombie__at_the_very_first_batch_is_fenced(void **state)
{
    struct player zombie = enter(state), owner = enter(state);
    struct batch  longer = opening,
                 beyond = {.partition = 0, .first = 15, .next = 20, .from = 90, .entities = 5, .rows = 5};
    struct turn turn;

    longer.next = 30;
    longer.generation = 5;
    assert_code(begin(&zombie, &longer, &turn), TW_OK);
    fold(&owner, &opening);
    assert_code(finish(&zombie, &turn), TW_FENCED);
    assert_progress_is_after(&owner, &opening);
    assert_is_there(&owner, &opening, opening.next);
    assert_is_not_there(&owner, &beyond, opening.next);
    leave(&owner);
    leave(&zombie);
}

static void a_zombie__catches_up_after_a_fresh_watermark(void **state)
{
    struct player zombie = enter(state), owner = enter(state);
    struct batch  next = {.partition = 0, .first = 150, .next = 160, .generation = 3, .entities = 4, .rows = 10};
    struct turn   turn;

    fold(&zombie, &before_it);
    fold(&owner, &of_owner);
    assert_code(begin(&zombie, &of_zombie, &turn), TW_FENCED);
    drop(&turn);
    assert_progress_is_after(&zombie, &of_owner);
    fold(&zombie, &next);
    assert_progress_is_after(&owner, &next);
    assert_is_there(&owner, &next, next.next);
    leave(&owner);
    leave(&zombie);
}

/* --- lost answers, lost connections ------------------------------------------------------------------------------ */

static const struct batch going_on = {
    .partition = 0, .first = 10, .next = 25, .generation = 2, .entities = 5, .rows = 15, .outbox_size = 40};

static void a_lost_answer__is_unknown_and_the_watermark_tells_that_it_happened(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct turn                    turn;

    fold(&first, &opening);
    assert_code(begin(&first, &going_on, &turn), TW_OK);
    fixture->lose_answer(fixture->self);
    assert_code(finish(&first, &turn), TW_UNKNOWN);
    assert_true(fixture->end_fault(fixture->self));
    assert_progress_is_after(&first, &going_on);
    assert_is_there(&first, &going_on, going_on.next);
    leave(&first);
}

static void a_lost_answer__is_found_out_by_another_owner_too(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state), second = enter(state);
    struct batch next = {.partition = 0, .first = 25, .next = 30, .generation = 3, .entities = 5, .rows = 5};
    struct turn  turn;

    fold(&first, &opening);
    assert_code(begin(&first, &going_on, &turn), TW_OK);
    fixture->lose_answer(fixture->self);
    assert_code(finish(&first, &turn), TW_UNKNOWN);
    assert_true(fixture->end_fault(fixture->self));
    assert_progress_is_after(&second, &going_on);
    fold(&second, &next);
    assert_progress_is_after(&first, &next);
    assert_is_there(&first, &next, next.next);
    leave(&second);
    leave(&first);
}

static void lose_and_do_again(void **state, void (*lose)(void *self))
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct turn                    turn;
    enum tw_rc                     rc;

    fold(&first, &opening);
    assert_code(begin(&first, &going_on, &turn), TW_OK);
    lose(fixture->self);
    rc = finish(&first, &turn);
    assert_true(fixture->end_fault(fixture->self));
    assert_true(rc == TW_UNKNOWN || rc == TW_UNREACHED);
    assert_progress_is_after(&first, &opening);
    assert_is_there(&first, &opening, opening.next);
    fold(&first, &going_on);
    assert_progress_is_after(&first, &going_on);
    assert_is_there(&first, &going_on, going_on.next);
    leave(&first);
}

static void a_lost_request__writes_nothing_and_the_batch_can_be_done_again(void **state)
{
    lose_and_do_again(state, fixture_of(state)->lose_request);
}

static void a_lost_commit__writes_nothing_and_the_batch_can_be_done_again(void **state)
{
    lose_and_do_again(state, fixture_of(state)->lose_commit);
}

/* The connection that loaded is gone at the commit, and another owner went on meanwhile: whatever the adapter does
 * about its connection, this commit must not go through. */
static void a_reconnect__between_load_and_commit_never_passes_the_fence(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state), second = enter(state);
    struct batch                   of_second = going_on;
    struct turn                    turn;

    of_second.next = 20;
    of_second.rows = 10;
    of_second.generation = 3;
    fold(&first, &opening);
    assert_progress_is_after(&second, &opening);
    assert_code(begin(&first, &going_on, &turn), TW_OK);
    fold(&second, &of_second);
    fixture->lose_request(fixture->self);
    assert_int_not_equal(finish(&first, &turn), TW_OK);
    assert_true(fixture->end_fault(fixture->self));
    assert_progress_is_after(&first, &of_second);
    assert_is_there(&first, &of_second, of_second.next);
    leave(&second);
    leave(&first);
}

static void a_reconnect__of_one_partition_leaves_the_fences_of_others_standing(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state), second = enter(state);
    struct batch                   ours = opening, theirs = opening;
    struct turn                    turn, other;

    ours.partition = theirs.partition = 1;
    theirs.next = 5;
    theirs.rows = 5;
    theirs.generation = 4;
    assert_code(begin(&first, &ours, &turn), TW_OK);
    assert_code(begin(&first, &opening, &other), TW_OK);
    fixture->lose_request(fixture->self);
    assert_int_not_equal(finish(&first, &other), TW_OK);
    assert_true(fixture->end_fault(fixture->self));
    assert_nothing_folded(&first, 0); /* may have connected anew */
    fold(&second, &theirs);
    assert_int_not_equal(finish(&first, &turn), TW_OK);
    assert_progress_is_after(&first, &theirs);
    assert_is_there(&first, &theirs, theirs.next);
    leave(&second);
    leave(&first);
}

static void a_broken_connection__at_load_is_unreached_and_comes_back(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct turn                    turn;
    enum tw_rc                     rc;

    fold(&first, &opening);
    fixture->lose_request(fixture->self);
    rc = begin(&first, &going_on, &turn);
    if (fixture->end_fault(fixture->self))
        assert_code(rc, TW_UNREACHED);
    give_up(&first, &turn);
    assert_progress_is_after(&first, &opening);
    fold(&first, &going_on);
    leave(&first);
}

/* --- stores that lose their tail --------------------------------------------------------------------------------- */

static void a_restored_backup__shows_its_older_watermark_and_is_refilled(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);

    fold(&first, &opening);
    fixture->take(fixture->self);
    fold(&first, &going_on);
    fixture->put_back(fixture->self);
    assert_progress_is_after(&first, &opening);
    assert_is_there(&first, &opening, opening.next);
    fold(&first, &going_on);
    assert_progress_is_after(&first, &going_on);
    assert_is_there(&first, &going_on, going_on.next);
    leave(&first);
}

static void a_restored_backup__between_load_and_commit_fences_the_commit(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct batch next = {.partition = 0, .first = 25, .next = 30, .generation = 3, .entities = 5, .rows = 5};
    struct turn  turn;

    fold(&first, &opening);
    fixture->take(fixture->self);
    fold(&first, &going_on);
    assert_code(begin(&first, &next, &turn), TW_OK);
    fixture->put_back(fixture->self);
    assert_int_not_equal(finish(&first, &turn), TW_OK);
    assert_progress_is_after(&first, &opening);
    assert_is_there(&first, &opening, opening.next);
    leave(&first);
}

static void an_emptied_store__shows_watermark_zero_and_is_refilled(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct turn                    turn;

    fold(&first, &opening);
    fixture->wipe(fixture->self);
    assert_code(begin(&first, &going_on, &turn), TW_FENCED);
    drop(&turn);
    assert_nothing_folded(&first, 0);
    assert_is_not_there(&first, &opening, 0);
    fold(&first, &opening);
    assert_is_there(&first, &opening, opening.next);
    leave(&first);
}

static void an_emptied_store__between_load_and_commit_fences_the_commit(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct turn                    turn;

    fold(&first, &opening);
    assert_code(begin(&first, &going_on, &turn), TW_OK);
    fixture->wipe(fixture->self);
    assert_int_not_equal(finish(&first, &turn), TW_OK);
    assert_nothing_folded(&first, 0);
    assert_is_not_there(&first, &opening, 0);
    leave(&first);
}

/* --- several partitions, several owners -------------------------------------------------------------------------- */

static void partitions__are_folded_side_by_side_in_one_handle(void **state)
{
    struct player first = enter(state);
    struct batch  other = opening;
    struct turn   turns[2];

    other.partition = 1;
    assert_code(begin(&first, &opening, &turns[0]), TW_OK);
    assert_code(begin(&first, &other, &turns[1]), TW_OK);
    assert_code(finish(&first, &turns[0]), TW_OK);
    assert_code(finish(&first, &turns[1]), TW_OK);
    assert_progress_is_after(&first, &opening);
    assert_progress_is_after(&first, &other);
    assert_is_there(&first, &opening, opening.next);
    assert_is_there(&first, &other, other.next);
    leave(&first);
}

static void partitions__do_not_share_their_fences(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  ours = opening, theirs = opening, shorter = opening;
    struct turn   turns[2];

    ours.partition = 1;
    theirs.partition = 2;
    shorter.next = 4;
    shorter.rows = 4;
    assert_code(begin(&first, &opening, &turns[0]), TW_OK);
    assert_code(begin(&first, &ours, &turns[1]), TW_OK);
    fold(&second, &shorter); /* partition 0 moved away */
    fold(&second, &theirs);
    assert_code(finish(&first, &turns[0]), TW_FENCED);
    assert_progress_is_after(&first, &shorter);
    assert_code(finish(&first, &turns[1]), TW_OK);
    assert_progress_is_after(&second, &ours);
    assert_progress_is_after(&second, &theirs);
    leave(&second);
    leave(&first);
}

static void abandon__ends_a_turn_without_a_trace(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct turn   turn;

    first.store.abandon(first.store.self, 0); /* also when there is no turn */
    assert_code(begin(&first, &opening, &turn), TW_OK);
    give_up(&first, &turn);
    assert_is_not_there(&first, &opening, 0);
    fold(&second, &opening);
    assert_progress_is_after(&first, &opening);
    fold(&first, &going_on);
    assert_progress_is_after(&second, &going_on);
    leave(&second);
    leave(&first);
}

static void release__lets_another_owner_go_on_and_the_partition_come_back(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  next = {.partition = 0, .first = 25, .next = 30, .generation = 3, .entities = 5, .rows = 5};

    fold(&first, &opening);
    release(&first, 0);
    release(&first, 4); /* never had it */
    assert_progress_is_after(&second, &opening);
    fold(&second, &going_on);
    assert_progress_is_after(&first, &going_on);
    fold(&first, &next);
    assert_is_there(&first, &next, next.next);
    leave(&second);
    leave(&first);
}

/* --- housekeeping ------------------------------------------------------------------------------------------------ */

static void forget_outbox__empties_it_and_changes_nothing_else(void **state)
{
    struct player      first = enter(state);
    struct tw_arena    arena = {0};
    struct tw_progress expected = progress_after(&opening, &arena);

    fold(&first, &opening);
    for (int twice = 0; twice < 2; twice++) {
        assert_code(forget(&first, 0, opening.next), TW_OK);
        expected.outbox = (struct tw_str){NULL, 0};
        assert_progress(&first, 0, &expected);
        assert_is_there(&first, &opening, opening.next);
    }
    fold(&first, &going_on);
    assert_progress_is_after(&first, &going_on);
    tw_arena_done(&arena);
    leave(&first);
}

static void forget_outbox__is_fenced(void **state)
{
    struct player zombie = enter(state), owner = enter(state);

    fold(&zombie, &opening);
    assert_progress_is_after(&owner, &opening);
    fold(&owner, &going_on);
    assert_code(forget(&zombie, 0, opening.next), TW_FENCED);
    assert_progress_is_after(&zombie, &going_on);
    assert_code(forget(&zombie, 0, going_on.next + 1), TW_FENCED);
    assert_progress_is_after(&zombie, &going_on);
    assert_code(forget(&zombie, 1, 1), TW_FENCED);
    leave(&owner);
    leave(&zombie);
}

static void sweep__changes_nothing_that_still_counts(void **state)
{
    struct player first = enter(state);
    struct batch  old = {
         .partition = 0, .first = 0, .next = 10, .generation = 1, .entities = 5, .rows = 10, .clock_ms = NOON_MS};
    struct batch day_later = {.partition = 0,
                              .first = 10,
                              .next = 30,
                              .generation = 2,
                              .from = 3,
                              .entities = 5,
                              .rows = 20,
                              .outbox_size = 30,
                              .clock_ms = NOON_MS + DAY_MS};
    struct batch of_other = old, untouched = old, rows_of_old = old;

    of_other.partition = 1;
    fold(&first, &old);
    fold(&first, &of_other);
    assert_code(sweep(&first, 0, 10, NOON_MS + DAY_MS - 12), TW_OK);
    assert_progress_is_after(&first, &old);
    rows_of_old.entities = 0;
    assert_is_there(&first, &rows_of_old, 10); /* to the millisecond: its first row ends one later */
    fold(&first, &day_later);
    for (int again = 0; again < 3; again++)
        assert_code(sweep(&first, 0, 30, NOON_MS + DAY_MS), TW_OK);
    assert_progress_is_after(&first, &day_later);
    assert_is_there(&first, &day_later, 30);
    untouched.entities = 3;
    untouched.rows = 0;
    assert_is_there(&first, &untouched, 30);
    assert_is_there(&first, &of_other, 10); /* its own clock still says noon */
    leave(&first);
}

static void sweep__is_fenced(void **state)
{
    struct player zombie = enter(state), owner = enter(state);

    fold(&zombie, &opening);
    assert_progress_is_after(&owner, &opening);
    fold(&owner, &going_on);
    assert_code(sweep(&zombie, 0, opening.next, NOON_MS + 3 * DAY_MS), TW_FENCED);
    assert_progress_is_after(&zombie, &going_on);
    assert_is_there(&zombie, &going_on, going_on.next);
    leave(&owner);
    leave(&zombie);
}

/* --- frozen partitions ------------------------------------------------------------------------------------------- */

enum { MARK = 4711, OTHER_MARK = 4712 };

/* The partition is as `batch` left it, and frozen; everything of it can be read. */
static void assert_frozen_after(struct player *player, const struct batch *batch, int64_t mark)
{
    struct tw_arena    arena = {0};
    struct tw_progress expected = progress_after(batch, &arena);

    expected.mark = mark;
    assert_progress(player, batch->partition, &expected);
    assert_is_there(player, batch, batch->next);
    assert_progress(player, batch->partition, &expected);
    tw_arena_done(&arena);
}

static void assert_commit_is_fenced(struct player *player, const struct batch *batch)
{
    struct turn turn;

    assert_code(begin(player, batch, &turn), TW_OK);
    assert_code(finish(player, &turn), TW_FENCED);
}

static void set_mark__freezes_a_partition_until_it_is_taken_away(void **state)
{
    static const int64_t marks[] = {1, -1, INT64_C(1) << 62, INT64_MAX, INT64_MIN};
    struct player        first = enter(state), second = enter(state);

    fold(&first, &opening);
    for (size_t i = 0; i < TW_LEN(marks); i++) {
        assert_code(set_mark(&second, 0, opening.next, 0, marks[i]), TW_OK);
        assert_frozen_after(&first, &opening, marks[i]);
        assert_frozen_after(&second, &opening, marks[i]);
        assert_commit_is_fenced(&first, &going_on);
        assert_commit_is_fenced(&second, &going_on);
        assert_frozen_after(&first, &opening, marks[i]);
        assert_code(set_mark(&second, 0, opening.next, marks[i], 0), TW_OK);
        assert_progress_is_after(&first, &opening);
    }
    fold(&first, &going_on);
    assert_progress_is_after(&second, &going_on);
    assert_is_there(&second, &going_on, going_on.next);
    leave(&second);
    leave(&first);
}

static void set_mark__fences_a_commit_whose_load_went_before(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  new_ones = going_on;
    struct turn   turn;

    new_ones.from = 50;
    fold(&first, &opening);
    assert_code(begin(&first, &new_ones, &turn), TW_OK);
    assert_code(set_mark(&second, 0, opening.next, 0, MARK), TW_OK);
    assert_code(finish(&first, &turn), TW_FENCED);
    assert_frozen_after(&first, &opening, MARK);
    assert_is_not_there(&first, &new_ones, opening.next);
    assert_frozen_after(&second, &opening, MARK);
    leave(&second);
    leave(&first);
}

static void set_mark__at_a_wrong_watermark_changes_nothing(void **state)
{
    static const int64_t wrong[] = {0, 9, 11};
    struct player        first = enter(state);

    fold(&first, &opening);
    assert_code(set_mark(&first, 1, 1, 0, MARK), TW_FENCED); /* nothing was folded there */
    assert_nothing_folded(&first, 1);
    for (size_t i = 0; i < TW_LEN(wrong); i++)
        assert_code(set_mark(&first, 0, wrong[i], 0, MARK), TW_FENCED);
    assert_progress_is_after(&first, &opening);
    assert_code(set_mark(&first, 0, opening.next, 0, MARK), TW_OK);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        assert_code(set_mark(&first, 0, wrong[i], MARK, OTHER_MARK), TW_FENCED);
        assert_code(set_mark(&first, 0, wrong[i], MARK, 0), TW_FENCED);
    }
    assert_frozen_after(&first, &opening, MARK);
    leave(&first);
}

static void set_mark__over_another_mark_than_it_names_changes_nothing(void **state)
{
    struct player first = enter(state);

    fold(&first, &opening);
    assert_code(set_mark(&first, 0, opening.next, OTHER_MARK, MARK), TW_FENCED);
    assert_code(set_mark(&first, 0, opening.next, OTHER_MARK, 0), TW_FENCED);
    assert_code(set_mark(&first, 1, 0, OTHER_MARK, MARK), TW_FENCED);
    assert_nothing_folded(&first, 1);
    assert_progress_is_after(&first, &opening);
    assert_code(set_mark(&first, 0, opening.next, 0, MARK), TW_OK);
    assert_code(set_mark(&first, 0, opening.next, 0, OTHER_MARK), TW_FENCED);
    assert_code(set_mark(&first, 0, opening.next, -MARK, OTHER_MARK), TW_FENCED);
    assert_code(set_mark(&first, 0, opening.next, OTHER_MARK, 0), TW_FENCED);
    assert_frozen_after(&first, &opening, MARK);
    leave(&first);
}

/* A lease is replaced every few seconds; who holds an old one finds out. */
static void set_mark__replaces_a_mark_by_the_next(void **state)
{
    struct player first = enter(state), second = enter(state);

    fold(&first, &opening);
    assert_code(set_mark(&first, 0, opening.next, 0, MARK), TW_OK);
    assert_code(set_mark(&second, 0, opening.next, MARK, OTHER_MARK), TW_OK);
    assert_code(set_mark(&first, 0, opening.next, MARK, MARK + 7), TW_FENCED);
    assert_frozen_after(&first, &opening, OTHER_MARK);
    assert_commit_is_fenced(&first, &going_on);
    assert_code(set_mark(&second, 0, opening.next, OTHER_MARK, -1), TW_OK);
    assert_frozen_after(&first, &opening, -1);
    assert_code(set_mark(&first, 0, opening.next, -1, 0), TW_OK);
    fold(&second, &going_on);
    assert_progress_is_after(&first, &going_on);
    leave(&second);
    leave(&first);
}

static void set_mark__freezes_a_partition_nothing_was_folded_of(void **state)
{
    struct player      first = enter(state), second = enter(state);
    struct tw_progress frozen = {.mark = MARK};
    struct turn        turn;

    assert_code(begin(&first, &opening, &turn), TW_OK);
    assert_code(set_mark(&second, 0, 0, 0, MARK), TW_OK);
    assert_code(finish(&first, &turn), TW_FENCED);
    assert_progress(&first, 0, &frozen);
    assert_is_not_there(&first, &opening, 0);
    assert_commit_is_fenced(&first, &opening);
    assert_code(set_mark(&second, 0, 0, 0, OTHER_MARK), TW_FENCED);
    assert_progress(&second, 0, &frozen);
    assert_code(set_mark(&second, 0, 0, MARK, 0), TW_OK);
    assert_nothing_folded(&first, 0);
    fold(&first, &opening);
    assert_progress_is_after(&second, &opening);
    assert_is_there(&second, &opening, opening.next);
    leave(&second);
    leave(&first);
}

static void set_mark__leaves_other_partitions_alone(void **state)
{
    struct player first = enter(state), second = enter(state);
    struct batch  other = opening;
    struct turn   turn;

    other.partition = 1;
    fold(&first, &opening);
    assert_code(begin(&first, &other, &turn), TW_OK);
    assert_code(set_mark(&second, 0, opening.next, 0, MARK), TW_OK);
    assert_code(finish(&first, &turn), TW_OK);
    assert_progress_is_after(&first, &other);
    assert_frozen_after(&first, &opening, MARK);
    leave(&second);
    leave(&first);
}

static void set_mark__outlives_whoever_set_it(void **state)
{
    struct player first = enter(state), second = enter(state);

    fold(&first, &opening);
    assert_code(set_mark(&second, 0, opening.next, 0, MARK), TW_OK);
    release(&second, 0);
    leave(&second);
    assert_frozen_after(&first, &opening, MARK);
    assert_commit_is_fenced(&first, &going_on);
    assert_code(set_mark(&first, 0, opening.next, MARK, 0), TW_OK); /* by another one, as a worker does */
    fold(&first, &going_on);
    leave(&first);
}

static void set_mark__ends_with_the_store_it_was_set_in(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);

    fold(&first, &opening);
    fixture->take(fixture->self);
    assert_code(set_mark(&first, 0, opening.next, 0, MARK), TW_OK);
    fixture->put_back(fixture->self);
    assert_code(set_mark(&first, 0, opening.next, MARK, OTHER_MARK), TW_FENCED);
    assert_progress_is_after(&first, &opening);
    assert_code(set_mark(&first, 0, opening.next, 0, MARK), TW_OK);
    fixture->wipe(fixture->self);
    assert_nothing_folded(&first, 0);
    fold(&first, &opening);
    leave(&first);
}

static void a_frozen_partition__is_kept_in_order_as_ever(void **state)
{
    struct player      first = enter(state), second = enter(state);
    struct tw_arena    arena = {0};
    struct tw_progress expected = progress_after(&opening, &arena);

    fold(&first, &opening);
    assert_code(set_mark(&second, 0, opening.next, 0, MARK), TW_OK);
    expected.mark = MARK;
    assert_code(sweep(&first, 0, opening.next, NOON_MS + 2 * DAY_MS), TW_OK);
    assert_progress(&second, 0, &expected);
    assert_code(forget(&first, 0, opening.next), TW_OK);
    expected.outbox = (struct tw_str){NULL, 0};
    assert_progress(&second, 0, &expected);
    assert_code(forget(&first, 0, opening.next + 1), TW_FENCED);
    assert_code(sweep(&first, 0, opening.next + 1, NOON_MS + 2 * DAY_MS), TW_FENCED);
    assert_progress(&second, 0, &expected);
    assert_code(set_mark(&second, 0, opening.next, MARK, 0), TW_OK);
    fold(&first, &going_on);
    assert_progress_is_after(&first, &going_on);
    tw_arena_done(&arena);
    leave(&second);
    leave(&first);
}

/* Nothing happened while it slept: its commit may go through. A store may be stricter than it must. */
static void a_zombie__that_slept_while_the_partition_was_frozen_and_thawed_loses_nothing(void **state)
{
    struct player zombie = enter(state), freezer = enter(state);
    struct turn   turn;
    enum tw_rc    rc;

    fold(&zombie, &opening);
    assert_code(begin(&zombie, &going_on, &turn), TW_OK);
    assert_code(set_mark(&freezer, 0, opening.next, 0, MARK), TW_OK);
    assert_code(set_mark(&freezer, 0, opening.next, MARK, 0), TW_OK);
    rc = finish(&zombie, &turn);
    if (rc != TW_OK) {
        assert_code(rc, TW_FENCED);
        assert_progress_is_after(&freezer, &opening);
        assert_is_there(&freezer, &opening, opening.next);
        fold(&zombie, &going_on);
    }
    assert_progress_is_after(&freezer, &going_on);
    assert_is_there(&freezer, &going_on, going_on.next);
    leave(&freezer);
    leave(&zombie);
}

/* The watermark tells what became of a mark whose answer was lost; then it can be set or taken away. */
static void lose_and_mark_again(void **state, void (*lose)(void *self))
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  first = enter(state);
    struct tw_arena                arena = {0};
    int64_t                        mark;
    enum tw_rc                     rc;

    fold(&first, &opening);
    lose(fixture->self);
    rc = set_mark(&first, 0, opening.next, 0, MARK);
    if (fixture->end_fault(fixture->self))
        assert_true(rc == TW_UNKNOWN || rc == TW_UNREACHED);
    else
        assert_code(rc, TW_OK); /* it is another part of a call that the fixture breaks */
    mark = ask(&first, 0, &arena).mark;
    assert_true(mark == MARK || (mark == 0 && rc != TW_OK));
    if (mark == MARK)
        assert_int_not_equal(rc, TW_UNREACHED); /* that is: surely not written */
    assert_code(set_mark(&first, 0, opening.next, mark, OTHER_MARK), TW_OK);
    assert_frozen_after(&first, &opening, OTHER_MARK);
    assert_code(set_mark(&first, 0, opening.next, OTHER_MARK, 0), TW_OK);
    fold(&first, &going_on);
    tw_arena_done(&arena);
    leave(&first);
}

static void a_lost_request__of_a_mark_can_be_made_again(void **state)
{
    lose_and_mark_again(state, fixture_of(state)->lose_request);
}

static void a_lost_commit__of_a_mark_can_be_made_again(void **state)
{
    lose_and_mark_again(state, fixture_of(state)->lose_commit);
}

static void a_lost_answer__of_a_mark_is_found_out(void **state)
{
    lose_and_mark_again(state, fixture_of(state)->lose_answer);
}

/* --- lists ------------------------------------------------------------------------------------------------------- */

enum { LISTED_PARTITIONS = 3, LISTED_MAX = 64 };

/* What was folded before a list is made: some entities of each kind in each partition, and rows of the same ids. */
static const struct batch listed_batches[LISTED_PARTITIONS] = {
    {.partition = 0, .next = 10, .generation = 1, .entities = 13, .rows = 10},
    {.partition = 1, .next = 7, .generation = 2, .entities = 8, .rows = 4},
    {.partition = 2, .next = 1, .generation = 1, .entities = 1},
};

static int compare_keys(const void *left, const void *right)
{
    const struct tw_key *a = left, *b = right;

    return tw_uuid_cmp(a->id, b->id) ? tw_uuid_cmp(a->id, b->id) : tw_uuid_cmp(a->sub, b->sub);
}

static int compare_ids(const void *left, const void *right)
{
    return tw_uuid_cmp(*(const struct tw_uuid *)left, *(const struct tw_uuid *)right);
}

static size_t expected_keys(const struct tw_sample_states *states, uint32_t kind, struct tw_key *ret_keys)
{
    size_t count = 0;

    for (int32_t p = 0; p < LISTED_PARTITIONS; p++)
        for (uint32_t k = 0; k < listed_batches[p].entities; k++) {
            struct tw_key key = states->key(sample_of(&listed_batches[p], k));

            if (key.kind == kind)
                ret_keys[count++] = key;
        }
    qsort(ret_keys, count, sizeof(*ret_keys), compare_keys);
    return count;
}

static size_t list(struct player *player, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max)
{
    size_t        count = SIZE_MAX;
    struct tw_err err = {0};
    enum tw_rc    rc = player->store.list(player->store.self, kind, from_start, ret_keys, max, &count, &err);

    assert_says_why(rc, &err);
    assert_code(rc, TW_OK);
    assert_true(count <= max);
    return count;
}

static size_t list_rows(struct player *player, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max)
{
    size_t        count = SIZE_MAX;
    struct tw_err err = {0};
    enum tw_rc    rc;

    ask_if_due(player, partition);
    rc = player->store.list_rows(player->store.self, partition, from_start, ret_ids, max, &count, &err);
    assert_says_why(rc, &err);
    assert_code(rc, TW_OK);
    assert_true(count <= max);
    return count;
}

static void assert_same_key(const struct tw_key *is, const struct tw_key *expected)
{
    assert_int_equal(is->kind, expected->kind);
    assert_true(tw_uuid_eq(is->id, expected->id));
    assert_true(tw_uuid_eq(is->sub, expected->sub));
}

/* Reads the list in pages of `max`, and some of what it names meanwhile, as who dumps a store does. */
static void assert_lists(struct player *player, uint32_t kind, size_t max)
{
    struct tw_key expected[LISTED_MAX], page[LISTED_MAX + 1];
    size_t        count = expected_keys(player->fixture->states, kind, expected);
    size_t        seen = 0, n;

    assert_true(count > 0); /* else the samples show too little */
    do {
        n = list(player, kind, seen == 0, page, max);
        assert_true(seen + n <= count);
        for (size_t i = 0; i < n; i++)
            assert_same_key(&page[i], &expected[seen + i]);
        seen += n;
        assert_is_there(player, &listed_batches[1], listed_batches[1].next);
    } while (n == max);
    assert_int_equal(seen, count);
}

static void fold_listed(struct player *player)
{
    for (int32_t p = 0; p < LISTED_PARTITIONS; p++)
        fold(player, &listed_batches[p]);
}

static void list__of_an_empty_store_is_empty(void **state)
{
    struct player  first = enter(state);
    uint32_t       kinds = (uint32_t)first.fixture->states->domain->state_count;
    struct tw_key  key;
    struct tw_uuid id;

    for (uint32_t kind = 0; kind < kinds; kind++)
        assert_int_equal(list(&first, kind, true, &key, 1), 0);
    assert_int_equal(list_rows(&first, 0, true, &id, 1), 0);
    leave(&first);
}

static void list__gives_every_kind_of_all_partitions_in_order_in_pages_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 5, LISTED_MAX};
    struct player       first = enter(state), second = enter(state);
    uint32_t            kinds = (uint32_t)first.fixture->states->domain->state_count;

    fold_listed(&first);
    for (uint32_t kind = 0; kind < kinds; kind++) {
        for (size_t i = 0; i < TW_LEN(sizes); i++)
            assert_lists(&second, kind, sizes[i]);
        assert_lists(&first, kind, LISTED_MAX);
    }
    leave(&second);
    leave(&first);
}

static void list__begins_again_when_it_is_told_to(void **state)
{
    struct player first = enter(state);
    struct tw_key expected[LISTED_MAX], page[LISTED_MAX];
    size_t        count;

    fold_listed(&first);
    count = expected_keys(first.fixture->states, 0, expected);
    assert_true(count > 3);
    assert_int_equal(list(&first, 0, true, page, 2), 2);
    assert_int_equal(list(&first, 0, false, page, 1), 1);
    assert_same_key(&page[0], &expected[2]);
    assert_int_equal(list(&first, 0, true, page, 1), 1);
    assert_same_key(&page[0], &expected[0]);
    assert_int_equal(list(&first, 0, false, page, count - 1),
                     count - 1); /* exactly all: who asks again hears of none */
    assert_same_key(&page[count - 2], &expected[count - 1]);
    assert_int_equal(list(&first, 0, false, page, 1), 0);
    leave(&first);
}

static void assert_lists_rows(struct player *player, int32_t partition, const struct tw_uuid *expected, size_t count,
                              size_t max)
{
    struct tw_uuid page[LISTED_MAX];
    size_t         seen = 0, n;

    do {
        n = list_rows(player, partition, seen == 0, page, max);
        assert_true(seen + n <= count);
        for (size_t i = 0; i < n; i++)
            assert_true(tw_uuid_eq(page[i], expected[seen + i]));
        seen += n;
        assert_is_there(player, &listed_batches[1], listed_batches[1].next);
    } while (n == max);
    assert_int_equal(seen, count);
}

static void assert_lists_rows_of(struct player *player, const struct batch *batch, size_t max)
{
    struct tw_uuid expected[LISTED_MAX];

    for (uint32_t n = 0; n < batch->rows; n++)
        expected[n] = row_id(player->fixture, command_offset(batch, n));
    qsort(expected, batch->rows, sizeof(*expected), compare_ids);
    assert_lists_rows(player, batch->partition, expected, batch->rows, max);
}

static void list_rows__gives_the_rows_of_one_partition_in_order_in_pages_of_any_size(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 10, LISTED_MAX};
    struct player       first = enter(state), second = enter(state);

    fold_listed(&first);
    for (size_t i = 0; i < TW_LEN(sizes); i++)
        for (int32_t p = 0; p < LISTED_PARTITIONS; p++) {
            assert_lists_rows_of(&second, &listed_batches[p], sizes[i]);
            assert_lists_rows_of(&first, &listed_batches[p], sizes[i]);
        }
    leave(&second);
    leave(&first);
}

static void list_rows__gives_a_row_once_whatever_was_in_its_place_before(void **state)
{
    struct player first = enter(state);
    int64_t       midnight = NOON_MS + DAY_MS / 2;
    struct batch  late = {.partition = 0, .first = 0, .next = 5, .rows = 5, .clock_ms = midnight - 1000};
    struct batch  early = {
         .partition = 0, .first = 5, .next = 10, .rows = 5, .replaced = 3, .clock_ms = midnight + 1000};
    struct tw_uuid expected[7];

    fold(&first, &listed_batches[1]);
    fold(&first, &late);
    fold(&first, &early);
    for (uint32_t n = 0; n < 5; n++)
        expected[n] = row_id(first.fixture, n); /* three of them replaced, two of the evening */
    for (uint32_t n = 5; n < 7; n++)
        expected[n] = row_id(first.fixture, command_offset(&early, n - 2));
    qsort(expected, TW_LEN(expected), sizeof(*expected), compare_ids);
    assert_lists_rows(&first, 0, expected, TW_LEN(expected), 2);
    assert_lists_rows(&first, 0, expected, TW_LEN(expected), LISTED_MAX);
    leave(&first);
}

/* --- zombies in a process of their own --------------------------------------------------------------------------- */

/* The zombie stops inside its commit, at a failpoint; the new owner finishes what was begun and goes on by one batch;
 * then the zombie is woken and does the rest of what it thinks is left to do. */

static const struct batch of_sleeper = {
    .partition = 0, .first = 10, .next = 20, .generation = 2, .entities = 5, .rows = 10, .outbox_size = 40};

enum { SLEEPER_NOT_STARTED = 98, SLEEPER_SAW_NO_LOAD, SLEEPER_ENDED /* + rc of its commit */ };

static int play_sleeper(const struct tw_store_fixture *fixture)
{
    struct player player = {.fixture = fixture};
    struct turn   turn;
    enum tw_rc    rc;

    fixture->open(fixture->self, &player.store);
    rc = begin(&player, &of_sleeper, &turn);
    if (rc != TW_OK)
        return SLEEPER_SAW_NO_LOAD;
    rc = finish(&player, &turn);
    leave(&player);
    return SLEEPER_ENDED + (int)rc;
}

static pid_t start_sleeper(const char *failpoints)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when it sleeps */
        setenv("TW_FAIL", failpoints, 1);
        execl("/proc/self/exe", "sleeper", "sleeper", (char *)NULL);
        _exit(SLEEPER_NOT_STARTED);
    }
    return pid;
}

static int status_of(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, WUNTRACED) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

/* Folds the sleeper's batch, unless its commit went through; it may still be on its way. */
static void make_sure_of(struct player *owner, const struct batch *batch)
{
    for (;;) {
        struct tw_arena    arena = {0};
        struct tw_progress progress = ask(owner, batch->partition, &arena);
        struct turn        turn;
        enum tw_rc         rc;

        tw_arena_done(&arena);
        if (progress.next_offset == batch->next)
            return;
        assert_int_equal(progress.next_offset, batch->first);
        rc = begin(owner, batch, &turn);
        if (rc == TW_OK)
            rc = finish(owner, &turn);
        else
            drop(&turn);
        assert_true(rc == TW_OK || rc == TW_FENCED);
    }
}

/* The new owner goes on by one batch. */
static struct batch take_over(struct player *owner)
{
    struct batch next = {
        .partition = 0, .first = 20, .next = 30, .generation = 7, .entities = 4, .rows = 10, .outbox_size = 55};

    make_sure_of(owner, &of_sleeper);
    assert_progress_is_after(owner, &of_sleeper);
    assert_is_there(owner, &of_sleeper, of_sleeper.next);
    fold(owner, &next);
    return next;
}

static void assert_taken_over(struct player *owner, const struct batch *next)
{
    struct batch last_entity = of_sleeper;

    assert_progress_is_after(owner, next);
    assert_is_there(owner, next, next->next);
    last_entity.from = 4;
    last_entity.entities = 1;
    assert_is_there(owner, &last_entity, next->next);
}

/* A sleeper that stopped at the failpoint, in a store with the batch before its own. */
static pid_t put_to_sleep(struct player *owner, const char *failpoint)
{
    pid_t sleeper;
    int   status;

    owner->fixture->wipe(owner->fixture->self);
    assert_nothing_folded(owner, 0);
    fold(owner, &opening);
    print_message("             the sleeper stops at %s\n", failpoint);
    sleeper = start_sleeper(failpoint);
    status = status_of(sleeper);
    assert_true(WIFSTOPPED(status)); /* else the failpoint was never reached */
    return sleeper;
}

/* Lets it do what it thinks is left to do. */
static void wake(pid_t sleeper)
{
    int status;

    kill(sleeper, SIGCONT);
    status = status_of(sleeper);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) >= SLEEPER_ENDED && WEXITSTATUS(status) <= SLEEPER_ENDED + TW_FENCED);
}

static void wake_after_take_over(struct player *owner, const char *failpoint)
{
    pid_t        sleeper = put_to_sleep(owner, failpoint);
    struct batch next = take_over(owner);

    wake(sleeper);
    assert_taken_over(owner, &next);
}

static void wake_when_frozen(struct player *owner, const char *failpoint)
{
    pid_t sleeper = put_to_sleep(owner, failpoint);

    make_sure_of(owner, &of_sleeper);
    assert_code(set_mark(owner, 0, of_sleeper.next, 0, MARK), TW_OK);
    wake(sleeper);
    assert_frozen_after(owner, &of_sleeper, MARK);
}

static void at_every_stop(void **state, void (*play)(struct player *owner, const char *failpoint))
{
    const struct tw_store_fixture *fixture = fixture_of(state);
    struct player                  owner;

#ifndef TW_FAILPOINTS
    print_message("             not built with TW_FAILPOINTS\n");
    skip();
#endif
    owner = enter(state);
    for (const char *const *stop = fixture->stops; *stop; stop++)
        play(&owner, *stop);
    leave(&owner);
}

static void a_zombie__that_slept_inside_its_commit_changes_nothing_any_more(void **state)
{
    at_every_stop(state, wake_after_take_over);
}

static void a_zombie__that_slept_inside_its_commit_changes_nothing_of_a_frozen_partition(void **state)
{
    at_every_stop(state, wake_when_frozen);
}

/* --- anything, in any order -------------------------------------------------------------------------------------- */

enum { STEPS = 300, OWNERS = 2, PARTITIONS = 2, ENTITIES = 4 };

/* What the store must hold. */
struct model {
    struct batch last; /* next 0: nothing was folded */
    bool         outbox_forgotten;
    int64_t      mark; /* frozen unless 0 */
    int64_t      generations[ENTITIES];
    unsigned     writes; /* of any kind, to tell that somebody was there between load and commit */
};

/* What one owner thinks of one partition. */
struct view {
    bool        is_known;
    int64_t     next;
    bool        in_turn;
    struct turn turn;
    unsigned    writes_at_load;
};

struct game {
    const struct tw_store_fixture *fixture;
    uint64_t                       random;
    int                            step;
    struct player                  owners[OWNERS];
    struct model                   models[PARTITIONS];
    struct view                    views[OWNERS][PARTITIONS];
    unsigned                       commits, fenced, lost, freezes;
};

static uint32_t pick(struct game *game, uint32_t below)
{
    return (uint32_t)(tw_random(&game->random) % below);
}

static void check_watermark(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    const struct model *model = &game->models[partition];
    struct tw_arena     arena = {0};
    struct tw_progress  expected = {0};

    if (model->last.next > 0)
        expected = progress_after(&model->last, &arena);
    if (model->outbox_forgotten)
        expected.outbox = (struct tw_str){NULL, 0};
    expected.mark = model->mark;
    assert_progress(owner, partition, &expected);
    view->is_known = true;
    view->next = expected.next_offset;
    tw_arena_done(&arena);
}

static void check_loaded(struct game *game, const struct view *view)
{
    const struct model *model = &game->models[view->turn.batch.partition];
    const struct batch *batch = &view->turn.batch;

    for (uint32_t n = 0; n < batch->entities; n++)
        assert_state(game->fixture, &view->turn.load.entities[n], sample_of(batch, batch->from + n),
                     model->generations[batch->from + n]);
    assert_int_equal(view->turn.load.row_count, 0); /* its commands are new */
}

static void play_load(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    struct batch batch = {
        .partition = partition,
        .first = view->next,
        .next = view->next + 1 + pick(game, 20),
        .generation = 1 + game->step, /* no two attempts write the same */
        .outbox_size = pick(game, 500),
    };
    bool       is_current = view->next == game->models[partition].last.next;
    enum tw_rc rc;

    batch.from = pick(game, ENTITIES);
    batch.entities = pick(game, ENTITIES - batch.from + 1);
    batch.rows = pick(game, (uint32_t)(batch.next - batch.first) + 1);
    rc = begin(owner, &batch, &view->turn);
    assert_code(rc, is_current ? TW_OK : TW_FENCED);
    if (rc != TW_OK) {
        drop(&view->turn);
        view->is_known = false;
        return;
    }
    check_loaded(game, view);
    view->in_turn = true;
    view->writes_at_load = game->models[partition].writes;
}

static void fold_model(struct model *model, const struct batch *batch)
{
    model->last = *batch;
    model->outbox_forgotten = false;
    model->writes++;
    for (uint32_t n = 0; n < batch->entities; n++)
        model->generations[batch->from + n] = batch->generation;
}

static void play_commit(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    struct model *model = &game->models[partition];
    struct batch  batch = view->turn.batch;
    bool          is_current = batch.first == model->last.next;
    bool          was_touched = view->writes_at_load != model->writes;
    enum tw_rc    rc = finish(owner, &view->turn);

    view->in_turn = false;
    view->is_known = rc == TW_OK;
    view->next = batch.next;
    if (is_current && !was_touched && !model->mark)
        assert_code(rc, TW_OK);
    if (!is_current || model->mark)
        assert_code(rc, TW_FENCED);
    if (rc == TW_OK)
        fold_model(model, &batch);
    else
        assert_code(rc, TW_FENCED); /* touched by housekeeping: a store may be stricter than it must */
    game->commits += rc == TW_OK;
    game->fenced += rc == TW_FENCED;
}

static void play_broken_commit(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    const struct tw_store_fixture *fixture = game->fixture;
    void (*const faults[])(void *) = {fixture->lose_answer, fixture->lose_request, fixture->lose_commit};
    struct model      *model = &game->models[partition];
    struct batch       batch = view->turn.batch;
    uint32_t           fault = pick(game, TW_LEN(faults));
    bool               is_current = batch.first == model->last.next;
    struct tw_arena    arena = {0};
    struct tw_progress progress;

    faults[fault](fixture->self);
    assert_int_not_equal(finish(owner, &view->turn), TW_OK);
    game->lost += fixture->end_fault(fixture->self);
    view->in_turn = false;
    progress = ask(owner, partition, &arena);
    if (faults[fault] == fixture->lose_answer && is_current && progress.next_offset == batch.next)
        fold_model(model, &batch);
    check_watermark(game, owner, partition, view);
    tw_arena_done(&arena);
}

static void play_housekeeping(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    struct model *model = &game->models[partition];
    bool          is_current = view->next == model->last.next;
    bool          forgets = pick(game, 3) > 0;
    enum tw_rc    rc =
        forgets ? forget(owner, partition, view->next) : sweep(owner, partition, view->next, NOON_MS + view->next);

    assert_code(rc, is_current ? TW_OK : TW_FENCED);
    view->is_known = rc == TW_OK;
    if (rc == TW_OK) {
        model->writes++;
        model->outbox_forgotten |= forgets;
    }
}

/* Freezes, replaces the mark, thaws; now and then with a mark that is not there. */
static void play_mark(struct game *game, struct player *owner, int32_t partition, struct view *view)
{
    struct model *model = &game->models[partition];
    int64_t       from = pick(game, 5) ? model->mark : model->mark + 1;
    int64_t       to = from ? (int64_t)pick(game, 2) * (game->step + 1) : game->step + 1;
    bool          is_right = view->next == model->last.next && from == model->mark;

    assert_code(set_mark(owner, partition, view->next, from, to), is_right ? TW_OK : TW_FENCED);
    view->is_known = is_right;
    if (!is_right)
        return;
    model->mark = to;
    model->writes++;
    game->freezes += to != 0;
}

static void play_step(struct game *game)
{
    uint32_t       who = pick(game, OWNERS);
    int32_t        partition = (int32_t)pick(game, PARTITIONS);
    struct player *owner = &game->owners[who];
    struct view   *view = &game->views[who][partition];
    uint32_t       dice = pick(game, 100);

    if (view->in_turn && dice < 75) {
        play_commit(game, owner, partition, view);
    } else if (view->in_turn && dice < 85) {
        play_broken_commit(game, owner, partition, view);
    } else if (view->in_turn) {
        give_up(owner, &view->turn);
        view->in_turn = false;
    } else if (!view->is_known || dice < 10) {
        check_watermark(game, owner, partition, view);
    } else if (dice < (game->models[partition].mark ? 50 : 20)) {
        play_mark(game, owner, partition, view);
    } else if (dice < 80) {
        play_load(game, owner, partition, view);
    } else if (dice < 95) {
        play_housekeeping(game, owner, partition, view);
    } else {
        release(owner, partition);
        view->is_known = false;
    }
}

static void check_all(struct game *game)
{
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        struct model *model = &game->models[partition];
        struct view   view = {0};
        struct batch  all = {.partition = partition, .entities = ENTITIES};
        struct turn   turn;

        check_watermark(game, &game->owners[0], partition, &view);
        look_at(&game->owners[0], &all, view.next, &turn);
        for (uint32_t n = 0; n < ENTITIES; n++)
            assert_state(game->fixture, &turn.load.entities[n], sample_of(&all, n), model->generations[n]);
        give_up(&game->owners[0], &turn);
        all = model->last;
        all.entities = 0;
        assert_is_there(&game->owners[0], &all, view.next);
    }
}

static uint64_t seed_of_game(void)
{
    const char *seed = getenv("TW_SEED");

    return seed && *seed ? strtoull(seed, NULL, 0) : UINT64_C(20261123);
}

static void interleavings__of_two_owners_and_two_partitions_follow_the_model(void **state)
{
    uint64_t    seed = seed_of_game();
    struct game game = {.fixture = fixture_of(state), .random = seed};

    print_message("             TW_SEED=%llu\n", (unsigned long long)seed);
    for (int who = 0; who < OWNERS; who++)
        game.owners[who] = enter(state);
    for (; game.step < STEPS; game.step++)
        play_step(&game);
    for (int who = 0; who < OWNERS; who++)
        for (int32_t partition = 0; partition < PARTITIONS; partition++)
            if (game.views[who][partition].in_turn)
                give_up(&game.owners[who], &game.views[who][partition].turn);
    check_all(&game);
    print_message("             %u commits, %u fenced, %u lost, %u freezes\n", game.commits, game.fenced, game.lost,
                  game.freezes);
    assert_true(game.commits > 20 && game.fenced > 0 && game.lost > 0 && game.freezes > 0); /* else it was no test */
    for (int who = 0; who < OWNERS; who++)
        leave(&game.owners[who]);
}

/* --- the program ------------------------------------------------------------------------------------------------- */

static int wipe_before(void **state)
{
    const struct tw_store_fixture *fixture = fixture_of(state);

    fixture->end_fault(fixture->self); /* of a test that failed before it */
    fixture->wipe(fixture->self);
    return 0;
}

static void failing_allocations__leave_a_batch_in_the_store_or_out_of_it(void **state)
{
    if (fixture_of(state)->variable)
        tw_store_torture(fixture_of(state));
}

static int run_all(const struct tw_store_fixture *fixture)
{
#define RULE(name)                           \
    {                                        \
#name, name, wipe_before, NULL, NULL \
    }
    struct CMUnitTest rules[] = {
        RULE(an_empty_store__has_watermark_zero_and_knows_nothing),
        RULE(commit__moves_watermark_clock_hash_and_outbox),
        RULE(commit__of_passed_over_records_moves_progress_alone),
        RULE(commit__replaces_the_outbox_of_the_one_before),
        RULE(commit__from_zero_to_zero_fills_a_store_that_has_folded_nothing),
        RULE(load__gives_states_and_ledger_rows_back_exactly),
        RULE(load__gives_every_generation_of_a_state_back_exactly),
        RULE(load__gives_the_guard_of_what_it_found_or_none_at_all),
        RULE(load__leaves_out_what_it_does_not_know),
        RULE(load__tells_kinds_of_one_id_apart),
        RULE(load__gives_ledger_rows_of_its_own_partition_only),
        RULE(load__gives_ledger_rows_for_24_hours_whatever_the_day),
        RULE(commit__puts_rows_in_the_place_of_those_they_replace),
        RULE(commit__replaces_rows_of_the_day_before),
        RULE(commit__replaces_rows_that_were_swept_meanwhile),
        RULE(commit__keeps_a_large_outbox_of_any_bytes),
        RULE(commit__keeps_extreme_numbers),
        RULE(commit__takes_a_batch_of_hundreds),
        RULE(load__is_fenced_when_the_batch_does_not_begin_at_the_watermark),
        RULE(load__of_an_empty_store_is_fenced_above_zero),
        RULE(commit__with_a_wrong_first_offset_writes_nothing),
        RULE(commit__of_an_empty_store_is_fenced_above_zero),
        RULE(a_zombie__that_slept_before_its_load_is_fenced),
        RULE(a_zombie__that_slept_between_load_and_commit_is_fenced),
        RULE(a_zombie__at_the_very_first_batch_is_fenced),
        RULE(a_zombie__catches_up_after_a_fresh_watermark),
        RULE(a_lost_answer__is_unknown_and_the_watermark_tells_that_it_happened),
        RULE(a_lost_answer__is_found_out_by_another_owner_too),
        RULE(a_lost_request__writes_nothing_and_the_batch_can_be_done_again),
        RULE(a_lost_commit__writes_nothing_and_the_batch_can_be_done_again),
        RULE(a_reconnect__between_load_and_commit_never_passes_the_fence),
        RULE(a_reconnect__of_one_partition_leaves_the_fences_of_others_standing),
        RULE(a_broken_connection__at_load_is_unreached_and_comes_back),
        RULE(a_restored_backup__shows_its_older_watermark_and_is_refilled),
        RULE(a_restored_backup__between_load_and_commit_fences_the_commit),
        RULE(an_emptied_store__shows_watermark_zero_and_is_refilled),
        RULE(an_emptied_store__between_load_and_commit_fences_the_commit),
        RULE(partitions__are_folded_side_by_side_in_one_handle),
        RULE(partitions__do_not_share_their_fences),
        RULE(abandon__ends_a_turn_without_a_trace),
        RULE(release__lets_another_owner_go_on_and_the_partition_come_back),
        RULE(forget_outbox__empties_it_and_changes_nothing_else),
        RULE(forget_outbox__is_fenced),
        RULE(sweep__changes_nothing_that_still_counts),
        RULE(sweep__is_fenced),
        RULE(set_mark__freezes_a_partition_until_it_is_taken_away),
        RULE(set_mark__fences_a_commit_whose_load_went_before),
        RULE(set_mark__at_a_wrong_watermark_changes_nothing),
        RULE(set_mark__over_another_mark_than_it_names_changes_nothing),
        RULE(set_mark__replaces_a_mark_by_the_next),
        RULE(set_mark__freezes_a_partition_nothing_was_folded_of),
        RULE(set_mark__leaves_other_partitions_alone),
        RULE(set_mark__outlives_whoever_set_it),
        RULE(set_mark__ends_with_the_store_it_was_set_in),
        RULE(a_frozen_partition__is_kept_in_order_as_ever),
        RULE(a_zombie__that_slept_while_the_partition_was_frozen_and_thawed_loses_nothing),
        RULE(a_lost_request__of_a_mark_can_be_made_again),
        RULE(a_lost_commit__of_a_mark_can_be_made_again),
        RULE(a_lost_answer__of_a_mark_is_found_out),
        RULE(list__of_an_empty_store_is_empty),
        RULE(list__gives_every_kind_of_all_partitions_in_order_in_pages_of_any_size),
        RULE(list__begins_again_when_it_is_told_to),
        RULE(list_rows__gives_the_rows_of_one_partition_in_order_in_pages_of_any_size),
        RULE(list_rows__gives_a_row_once_whatever_was_in_its_place_before),
        RULE(interleavings__of_two_owners_and_two_partitions_follow_the_model),
        RULE(failing_allocations__leave_a_batch_in_the_store_or_out_of_it),
        /* last: not all stores can */
        RULE(a_zombie__that_slept_inside_its_commit_changes_nothing_any_more),
        RULE(a_zombie__that_slept_inside_its_commit_changes_nothing_of_a_frozen_partition),
    };
#undef RULE
    size_t                  count = TW_LEN(rules) - (fixture->stops ? 0 : 2);
    struct tw_store_fixture copy = *fixture; /* cmocka hands it on without const */

    for (size_t i = 0; i < count; i++)
        rules[i].initial_state = &copy;
    return _cmocka_run_group_tests(fixture->name, rules, count, NULL, NULL);
}

int tw_store_contract_main(int argc, char **argv, const struct tw_store_fixture *fixture)
{
    const char *uri = fixture->variable ? getenv(fixture->variable) : "";
    const char *skips = getenv("TW_SKIP_STORES");

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
    tw_log_init(fixture->name, TW_LOG_ERROR);
    if ((!uri || !*uri) && fixture->variable) {
        bool may_skip = skips && strcmp(skips, "1") == 0;

        fprintf(stderr, "%s: %s is not set: %s\n", fixture->name, fixture->variable,
                may_skip ? "ALL STORE TESTS OF THIS ADAPTER ARE SKIPPED (TW_SKIP_STORES=1)"
                         : "no server to test against");
        return may_skip ? 0 : 1;
    }
    fixture->connect(fixture->self, uri);
    if (argc == 2 && strcmp(argv[1], "sleeper") == 0)
        return play_sleeper(fixture);
    return run_all(fixture);
}
