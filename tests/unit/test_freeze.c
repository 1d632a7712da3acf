/* Holding a store still (workers/replay/freeze.c), on the store in memory. */
#include "freeze.h"

#include <string.h>

#include "filled_store.h"
#include "memory_store.h"
#include "sample_states.h"
#include "unit.h"

enum { PARTITIONS = 3 };

struct world {
    struct tw_store      store;  /* ours */
    struct tw_store      worker; /* another handle on the same one */
    struct tw_memory_db *db;
    struct tw_progress   vector[PARTITIONS];
    struct tw_freeze     freeze;
    atomic_bool          stop;
    struct tw_err        err;
};

static struct world world;

static int begin(void **state)
{
    static const struct tw_filling filling = {&tw_sample_carts, 5, 2, 0, PARTITIONS};

    (void)state;
    memset(&world, 0, sizeof(world));
    tw_memory_store_open(filling.samples->domain, &world.store);
    world.db = tw_memory_store_db(&world.store);
    tw_memory_store_join(world.db, &world.worker);
    tw_fill_store(&world.worker, &filling, world.vector);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tw_freeze_done(&world.freeze);
    tw_memory_store_close(&world.store);
    tw_memory_store_close(&world.worker);
    return 0;
}

/* --- the worker --------------------------------------------------------------------------------------------------- */

static struct tw_progress look(int32_t partition)
{
    struct tw_arena    arena = {0};
    struct tw_progress progress;

    assert_rc(world.worker.watermark(world.worker.self, partition, &arena, &progress, &world.err), TW_OK, world.err);
    tw_arena_done(&arena); /* its outbox is gone; its length is all that tests look at */
    return progress;
}

/* One record more, with something left to publish. */
static enum tw_rc move_on(int32_t partition, const char *outbox)
{
    struct tw_progress before = look(partition);
    struct tw_load     nothing = {0};
    struct tw_arena    arena = {0};
    struct tw_changes  changes = {.partition = partition, .first_offset = before.next_offset, .after = before};

    changes.after.next_offset++;
    changes.after.mark = 0;
    changes.after.outbox = tw_str_of(outbox);
    assert_rc(world.worker.load(world.worker.self, partition, before.next_offset, &nothing, &arena, &world.err), TW_OK,
              world.err);
    tw_arena_done(&arena);
    return world.worker.commit(world.worker.self, &changes, &world.err);
}

static void forget(int32_t partition)
{
    assert_rc(world.worker.forget_outbox(world.worker.self, partition, look(partition).next_offset, &world.err), TW_OK,
              world.err);
}

static void set_mark(int32_t partition, int64_t from, int64_t to)
{
    assert_rc(world.worker.set_mark(world.worker.self, partition, look(partition).next_offset, from, to, &world.err),
              TW_OK, world.err);
}

static void assert_frozen(bool is_frozen)
{
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_rc(move_on(p, ""), is_frozen ? TW_FENCED : TW_OK, world.err);
}

static enum tw_rc take(void)
{
    return tw_freeze_take(&world.freeze, &world.store, PARTITIONS, "schema beside", &world.err);
}

/* As if the last renewal were long ago. */
static enum tw_rc renew(void)
{
    world.freeze.renewed_at_us -= 10000000;
    return tw_freeze_renew(&world.freeze, &world.err);
}

static void assert_says(const char *words)
{
    if (!strstr(world.err.msg, words))
        fail_msg("'%s' does not say '%s'", world.err.msg, words);
}

/* --- taking and giving back --------------------------------------------------------------------------------------- */

static void a_frozen_store__stands_still_at_the_vector_until_it_is_released(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    assert_frozen(true);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(world.freeze.vector[p].next_offset, world.vector[p].next_offset);
        assert_int_equal(world.freeze.frozen[p].next_offset, world.vector[p].next_offset);
        assert_memory_equal(world.freeze.vector[p].last_hash, world.vector[p].last_hash, TW_RECORD_HASH_BYTES);
        assert_int_equal(world.freeze.vector[p].mark, 0);
        assert_int_equal(world.freeze.frozen[p].mark, look(p).mark);
        assert_true(world.freeze.frozen[p].mark > 0);
    }
    tw_freeze_release(&world.freeze);
    assert_frozen(false);
    assert_int_equal(world.freeze.vector[0].next_offset, world.vector[0].next_offset); /* it stays */
}

static void a_freeze_that_is_done__is_released(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    tw_freeze_done(&world.freeze);
    assert_frozen(false);
    tw_freeze_done(&world.freeze);
    tw_freeze_done(NULL);
}

static void a_freeze_that_is_handed_over__is_another_s(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    tw_freeze_hand_over(&world.freeze);
    tw_freeze_done(&world.freeze);
    assert_frozen(true);
}

static void a_store_nothing_was_folded_of__can_be_frozen(void **state)
{
    (void)state;
    tw_memory_wipe(world.db);
    assert_rc(take(), TW_OK, world.err);
    assert_int_equal(world.freeze.vector[0].next_offset, 0);
    assert_frozen(true);
}

static void an_outbox__is_no_part_of_the_vector(void **state)
{
    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    assert_rc(take(), TW_OK, world.err);
    assert_int_equal(world.freeze.vector[1].outbox.len, 0);
}

/* --- others ------------------------------------------------------------------------------------------------------- */

static void a_partition_that_another_holds__leaves_nothing_frozen_of_ours(void **state)
{
    (void)state;
    set_mark(2, 0, 77);
    assert_rc(take(), TW_FENCED, world.err);
    assert_says("partition 2 is held by another verify, rebuild or snapshot");
    assert_int_equal(look(0).mark, 0);
    assert_int_equal(look(1).mark, 0);
    assert_int_equal(look(2).mark, 77);
}

static void a_lasting_mark__is_told_to_be_of_a_swap(void **state)
{
    (void)state;
    set_mark(0, 0, -5);
    assert_rc(take(), TW_FENCED, world.err);
    assert_says("partition 0 is held by a swap that was interrupted: give the rebuild command again");
    assert_int_equal(look(0).mark, -5);
}

static void a_mark__tells_what_place_it_was_made_for_also_as_a_lasting_one(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    assert_true(tw_freeze_is_of(look(0).mark, "schema beside"));
    assert_rc(renew(), TW_OK, world.err);
    assert_true(tw_freeze_is_of(-look(0).mark, "schema beside"));
    assert_false(tw_freeze_is_of(-look(0).mark, "schema elsewhere"));
    assert_false(tw_freeze_is_of(-5, "schema beside"));
}

static enum tw_rc (*real_set_mark)(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                   struct tw_err *reterr);
static int moves_left;

/* The worker is always a little faster. */
static enum tw_rc set_mark_too_late(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                    struct tw_err *reterr)
{
    if (moves_left && moves_left--)
        assert_rc(move_on(partition, ""), TW_OK, world.err);
    return real_set_mark(self, partition, next_offset, from, to, reterr);
}

static void a_worker_that_moves_on__is_caught_at_its_new_watermark(void **state)
{
    (void)state;
    real_set_mark = world.store.set_mark;
    world.store.set_mark = set_mark_too_late;
    moves_left = 20;
    assert_rc(take(), TW_OK, world.err);
    assert_int_equal(moves_left, 0);
    assert_int_equal(world.freeze.vector[0].next_offset, world.vector[0].next_offset + 20);
    assert_frozen(true);
}

static void a_worker_that_cannot_be_caught__leaves_nothing_frozen(void **state)
{
    (void)state;
    real_set_mark = world.store.set_mark;
    world.store.set_mark = set_mark_too_late;
    moves_left = -1;
    assert_rc(take(), TW_FENCED, world.err);
    moves_left = 0;
    assert_frozen(false);
}

/* --- lost answers ------------------------------------------------------------------------------------------------- */

static void a_lost_answer__does_not_keep_it_from_being_taken(void **state)
{
    (void)state;
    tw_memory_lose_answer(world.db);
    assert_rc(take(), TW_OK, world.err);
    assert_true(tw_memory_faults_happened(world.db));
    assert_frozen(true);
    tw_freeze_release(&world.freeze);
    assert_frozen(false);
}

static void a_lost_request__does_not_keep_it_from_being_taken(void **state)
{
    (void)state;
    tw_memory_lose_request(world.db);
    assert_rc(take(), TW_OK, world.err);
    assert_true(tw_memory_faults_happened(world.db));
    assert_frozen(true);
}

static void a_store_that_is_away__is_not_frozen(void **state)
{
    (void)state;
    for (unsigned calls = 1; calls < 2; calls++) {
        tw_memory_fail(world.db, calls, TW_UNREACHED);
        assert_rc(take(), TW_UNREACHED, world.err);
        tw_freeze_done(&world.freeze);
    }
    assert_frozen(false);
}

/* --- renewing ----------------------------------------------------------------------------------------------------- */

static void renewing__replaces_the_marks_when_it_is_time(void **state)
{
    int64_t mark;

    (void)state;
    assert_rc(take(), TW_OK, world.err);
    mark = look(0).mark;
    assert_rc(tw_freeze_renew(&world.freeze, &world.err), TW_OK, world.err);
    assert_int_equal(look(0).mark, mark);
    for (int i = 0; i < 3; i++)
        assert_rc(renew(), TW_OK, world.err);
    assert_int_equal(look(0).mark, mark + 3);
    assert_frozen(true);
    tw_freeze_release(&world.freeze);
    assert_frozen(false);
}

static void a_lost_answer__does_not_lose_what_is_held(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    tw_memory_lose_answer(world.db);
    assert_rc(renew(), TW_OK, world.err);
    tw_memory_lose_request(world.db);
    assert_rc(renew(), TW_OK, world.err);
    assert_rc(renew(), TW_OK, world.err);
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_int_equal(world.freeze.frozen[p].mark, look(p).mark);
    tw_freeze_release(&world.freeze);
    assert_frozen(false);
}

static void a_mark_that_was_taken_away__is_found(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    set_mark(1, look(1).mark, 0);
    assert_rc(renew(), TW_FENCED, world.err);
    assert_says("partition 1 was taken from us");
}

static void a_partition_that_moved_on_meanwhile__is_found(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    set_mark(1, look(1).mark, 0);
    assert_rc(move_on(1, ""), TW_OK, world.err);
    assert_rc(renew(), TW_FENCED, world.err);
    tw_freeze_release(&world.freeze);
    assert_frozen(false);
}

static void what_was_held__goes_free_although_an_answer_was_lost(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    tw_memory_lose_request(world.db);
    tw_freeze_release(&world.freeze);
    assert_true(tw_memory_faults_happened(world.db));
    assert_frozen(false);
}

static void another_s_mark__is_never_taken_away(void **state)
{
    (void)state;
    assert_rc(take(), TW_OK, world.err);
    set_mark(1, look(1).mark, 77);
    tw_freeze_release(&world.freeze);
    assert_int_equal(look(0).mark, 0);
    assert_int_equal(look(1).mark, 77);
}

/* --- outboxes ----------------------------------------------------------------------------------------------------- */

static enum tw_rc (*real_watermark)(void *self, int32_t partition, struct tw_arena *arena,
                                    struct tw_progress *ret_progress, struct tw_err *reterr);
static int looks_left;
enum then { FORGETS, MOVES_ON, INTERRUPTS };
static enum then then;

/* After some looks the worker has published it, or the operator had enough. */
static enum tw_rc watermark_and_then(void *self, int32_t partition, struct tw_arena *arena,
                                     struct tw_progress *ret_progress, struct tw_err *reterr)
{
    TW_TRY(real_watermark(self, partition, arena, ret_progress, reterr));
    if (!ret_progress->outbox.len || --looks_left != 0)
        return TW_OK;
    if (then == FORGETS)
        forget(partition);
    else if (then == MOVES_ON)
        assert_rc(move_on(partition, "others"), TW_OK, world.err);
    else
        world.stop = true;
    return TW_OK;
}

static void after_looks(int looks, enum then what)
{
    real_watermark = world.store.watermark;
    world.store.watermark = watermark_and_then;
    looks_left = looks;
    then = what;
}

static void an_outbox__is_waited_for(void **state)
{
    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    assert_rc(take(), TW_OK, world.err);
    after_looks(3, FORGETS);
    assert_rc(tw_freeze_wait_for_outboxes(&world.freeze, &world.stop, &world.err), TW_OK, world.err);
    assert_true(looks_left <= 0);
    assert_int_equal(look(1).outbox.len, 0);
    assert_frozen(true);
}

static void waiting_for_an_outbox__can_be_interrupted(void **state)
{
    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    assert_rc(take(), TW_OK, world.err);
    after_looks(2, INTERRUPTS);
    assert_rc(tw_freeze_wait_for_outboxes(&world.freeze, &world.stop, &world.err), TW_UNREACHED, world.err);
    assert_says("interrupted");
}

static void a_settled_vector__waits_until_the_outboxes_it_saw_are_published(void **state)
{
    struct tw_progress vector[PARTITIONS];

    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    after_looks(3, FORGETS);
    assert_rc(tw_settled_vector(&world.store, PARTITIONS, &world.stop, vector, &world.err), TW_OK, world.err);
    assert_true(looks_left <= 0);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(vector[p].next_offset, look(p).next_offset);
        assert_int_equal(vector[p].outbox.len, 0);
    }
}

static void a_settled_vector__takes_a_watermark_that_moved_on_for_published(void **state)
{
    struct tw_progress vector[PARTITIONS];

    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    after_looks(3, MOVES_ON);
    assert_rc(tw_settled_vector(&world.store, PARTITIONS, &world.stop, vector, &world.err), TW_OK, world.err);
    assert_int_equal(vector[1].next_offset, look(1).next_offset - 1);
}

static void a_settled_vector__is_there_although_the_wait_was_interrupted(void **state)
{
    struct tw_progress vector[PARTITIONS] = {0};

    (void)state;
    assert_rc(move_on(1, "events"), TW_OK, world.err);
    after_looks(2, INTERRUPTS);
    assert_rc(tw_settled_vector(&world.store, PARTITIONS, &world.stop, vector, &world.err), TW_UNREACHED, world.err);
    assert_says("interrupted");
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_int_equal(vector[p].next_offset, look(p).next_offset);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_frozen_store__stands_still_at_the_vector_until_it_is_released),
        TEST(a_freeze_that_is_done__is_released),
        TEST(a_freeze_that_is_handed_over__is_another_s),
        TEST(a_store_nothing_was_folded_of__can_be_frozen),
        TEST(an_outbox__is_no_part_of_the_vector),
        TEST(a_partition_that_another_holds__leaves_nothing_frozen_of_ours),
        TEST(a_lasting_mark__is_told_to_be_of_a_swap),
        TEST(a_mark__tells_what_place_it_was_made_for_also_as_a_lasting_one),
        TEST(a_worker_that_moves_on__is_caught_at_its_new_watermark),
        TEST(a_worker_that_cannot_be_caught__leaves_nothing_frozen),
        TEST(a_lost_answer__does_not_keep_it_from_being_taken),
        TEST(a_lost_request__does_not_keep_it_from_being_taken),
        TEST(a_store_that_is_away__is_not_frozen),
        TEST(renewing__replaces_the_marks_when_it_is_time),
        TEST(a_lost_answer__does_not_lose_what_is_held),
        TEST(a_mark_that_was_taken_away__is_found),
        TEST(a_partition_that_moved_on_meanwhile__is_found),
        TEST(what_was_held__goes_free_although_an_answer_was_lost),
        TEST(another_s_mark__is_never_taken_away),
        TEST(an_outbox__is_waited_for),
        TEST(waiting_for_an_outbox__can_be_interrupted),
        TEST(a_settled_vector__waits_until_the_outboxes_it_saw_are_published),
        TEST(a_settled_vector__takes_a_watermark_that_moved_on_for_published),
        TEST(a_settled_vector__is_there_although_the_wait_was_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
