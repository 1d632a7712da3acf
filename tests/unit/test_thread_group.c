/* One piece of work in several threads (workers/replay/thread_group.c). */
#include "thread_group.h"

#include <string.h>

#include "unit.h"

enum { PIECES = 1000, THREADS = 4 };

struct world {
    struct tw_thread_group group;
    atomic_int             next, done;
    int                    bad; /* piece that fails; -1: none */
    int                    looks;
    bool                   look_fails;
    struct tw_err          err;
};

static enum tw_rc take_pieces(void *self, struct tw_err *reterr)
{
    struct world *world = self;
    int           piece;

    while ((piece = atomic_fetch_add(&world->next, 1)) < PIECES && !tw_thread_group_must_end(&world->group)) {
        if (piece == world->bad)
            return tw_fail(reterr, TW_FENCED, "test", 0, "piece %d", piece);
        atomic_fetch_add(&world->done, 1);
    }
    return TW_OK;
}

/* As long as nobody says that it must end. */
static enum tw_rc wait_for_the_end(void *self, struct tw_err *reterr)
{
    struct world *world = self;

    (void)reterr;
    while (!tw_thread_group_must_end(&world->group)) {
    }
    atomic_fetch_add(&world->done, 1);
    return TW_OK;
}

static enum tw_rc look(void *self, struct tw_err *reterr)
{
    struct world *world = self;

    world->looks++;
    return world->look_fails ? tw_fail(reterr, TW_BROKEN, "test", 0, "nobody holds it any more") : TW_OK;
}

static enum tw_rc run(struct world *world, enum tw_rc (*work)(void *self, struct tw_err *reterr))
{
    world->group = (struct tw_thread_group){.wanted = THREADS, .run = work, .look_after = look, .self = world};
    return tw_thread_group_run(&world->group, &world->err);
}

static void all_pieces__are_done_by_somebody(void **state)
{
    struct world world = {.bad = -1};

    (void)state;
    assert_rc(run(&world, take_pieces), TW_OK, world.err);
    assert_int_equal(world.done, PIECES);
}

static void the_first_failure__is_told_and_ends_all(void **state)
{
    struct world world = {.bad = 3};

    (void)state;
    assert_rc(run(&world, take_pieces), TW_FENCED, world.err);
    assert_string_equal(world.err.msg, "piece 3");
    assert_true(tw_thread_group_must_end(&world.group));
}

static void a_failure_of_who_looks_after_it__ends_all(void **state)
{
    struct world world = {.look_fails = true};

    (void)state;
    assert_rc(run(&world, wait_for_the_end), TW_BROKEN, world.err);
    assert_string_equal(world.err.msg, "nobody holds it any more");
    assert_true(world.looks > 0);
    assert_int_equal(world.done, THREADS);
}

static void an_interruption__ends_all_and_is_told(void **state)
{
    struct world world = {0};

    (void)state;
    tw_replay_stop = true;
    assert_rc(run(&world, wait_for_the_end), TW_UNREACHED, world.err);
    tw_replay_stop = false;
    assert_non_null(strstr(world.err.msg, "interrupted"));
    assert_int_equal(world.done, THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pieces__are_done_by_somebody),
        cmocka_unit_test(the_first_failure__is_told_and_ends_all),
        cmocka_unit_test(a_failure_of_who_looks_after_it__ends_all),
        cmocka_unit_test(an_interruption__ends_all_and_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
