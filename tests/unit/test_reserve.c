#include "reserve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"

enum { THREADS = 3 * TW_RESERVE_FREE, PATIENCE = 5000 };

struct fixture {
    struct tw_reserve *reserve;
    pthread_t          threads[THREADS];
    atomic_int         came;
};

static void *join(void *self)
{
    struct fixture *fixture = self;

    tw_reserve_join(fixture->reserve);
    atomic_fetch_add(&fixture->came, 1);
    return NULL;
}

static void start(struct fixture *fixture)
{
    *fixture = (struct fixture){.reserve = tw_reserve_new()};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&fixture->threads[i], NULL, join, fixture), 0);
}

/** So many come, and when there was time for more, no more. */
static void assert_came(struct fixture *fixture, int expected)
{
    for (int i = 0; i < PATIENCE && atomic_load(&fixture->came) < expected; i++)
        usleep(1000);
    usleep(20000);
    assert_int_equal(atomic_load(&fixture->came), expected);
}

static void end(struct fixture *fixture)
{
    tw_reserve_end(fixture->reserve);
    for (int i = 0; i < THREADS; i++)
        pthread_join(fixture->threads[i], NULL);
    assert_int_equal(atomic_load(&fixture->came), THREADS);
    tw_reserve_free(fixture->reserve);
}

static void threads_come_as_connections_do_and_stay(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture);
    assert_came(&fixture, TW_RESERVE_FREE);
    tw_reserve_taken(fixture.reserve, 10);
    assert_came(&fixture, TW_RESERVE_FREE + 10);
    tw_reserve_taken(fixture.reserve, 3);
    tw_reserve_taken(fixture.reserve, 10);
    assert_came(&fixture, TW_RESERVE_FREE + 10);
    tw_reserve_taken(fixture.reserve, 11);
    assert_came(&fixture, TW_RESERVE_FREE + 11);
    end(&fixture);
}

static void *take(void *self)
{
    struct fixture *fixture = self;

    for (int i = 0; i <= TW_RESERVE_FREE; i++)
        tw_reserve_taken(fixture->reserve, i);
    return NULL;
}

static void who_is_called_by_several_at_once_comes_once(void **state)
{
    struct fixture fixture;
    pthread_t      takers[4];

    (void)state;
    start(&fixture);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&takers[i], NULL, take, &fixture), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(takers[i], NULL);
    assert_came(&fixture, 2 * TW_RESERVE_FREE);
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_come_as_connections_do_and_stay),
        cmocka_unit_test(who_is_called_by_several_at_once_comes_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
