/* The edge's health over stores, a sender and a tail of our own: the linker takes these and leaves the edge's out. */
#include "health.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tillwire/pulse.h"
#include "unit.h"

static _Atomic time_t ahead_s; /* of the real clock */

/* In place of the C library's, for the whole program. */
int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ret_time);

    if (id == CLOCK_MONOTONIC)
        ret_time->tv_sec += atomic_load(&ahead_s);
    return rc;
}

static atomic_bool            postgres_away, mongo_hangs, tail_is_up, tail_is_fresh;
static atomic_int             mismatches;
static struct tw_sender_state sender_state;

enum tw_rc tw_members_check_pins(struct tw_members *members, const char *id_key_check, struct tw_err *reterr)
{
    (void)members, (void)id_key_check;
    return atomic_load(&postgres_away) ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

enum tw_rc tw_products_ping(struct tw_products *products, struct tw_err *reterr)
{
    (void)products, (void)reterr;
    while (atomic_load(&mongo_hangs))
        usleep(1000);
    return TW_OK;
}

enum tw_rc tw_carts_ping(struct tw_carts *carts, struct tw_err *reterr)
{
    (void)carts, (void)reterr;
    return TW_OK;
}

struct tw_sender_state tw_sender_state(struct tw_sender *sender)
{
    (void)sender;
    return sender_state;
}

bool tw_tail_is_up(const struct tw_tail *tail)
{
    (void)tail;
    return atomic_load(&tail_is_up);
}

bool tw_tail_is_fresh(const struct tw_tail *tail)
{
    (void)tail;
    return atomic_load(&tail_is_fresh);
}

static struct tw_edge    edge;
static struct tw_health *health;

static void on_mismatch(void)
{
    atomic_fetch_add(&mismatches, 1);
}

static int set_up(void **unused)
{
    (void)unused;
    atomic_store(&postgres_away, false);
    atomic_store(&mongo_hangs, false);
    atomic_store(&tail_is_up, true);
    atomic_store(&tail_is_fresh, true);
    sender_state = (struct tw_sender_state){.connected = true, .warm = true};
    edge.threads = 2;
    atomic_store(&edge.connections, 0);
    atomic_store(&edge.draining, false);
    health = tw_health_start(&edge, on_mismatch);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    atomic_store(&mongo_hangs, false);
    tw_health_stop(health);
    return 0;
}

/* Until /readyz would say so; "" when it is ready. */
static void await_why(const char *expected)
{
    struct tw_health_part parts[TW_HEALTH_PARTS];
    char                  why[TW_HEALTH_TEXT];
    bool                  ready = tw_health_look(&edge, parts, why);

    for (int i = 0; i < 5000 && strcmp(why, expected) != 0; i++) {
        usleep(1000);
        ready = tw_health_look(&edge, parts, why);
    }
    assert_string_equal(why, expected);
    assert_int_equal(ready, expected[0] == '\0');
}

static void edge_whose_parts_are_well__is_ready(void **unused)
{
    (void)unused;
    await_why("");
    assert_int_equal(atomic_load(&mismatches), 0);
}

static void part_that_is_away__is_named_and_comes_back(void **unused)
{
    (void)unused;
    await_why("");
    sender_state.connected = false;
    await_why("broker");
    sender_state = (struct tw_sender_state){.connected = true, .warm = false, .queue_percent = 80};
    await_why("producer_warm, queue");
    sender_state = (struct tw_sender_state){.connected = true, .warm = true};
    atomic_store(&edge.draining, true);
    await_why("not_draining");
    atomic_store(&edge.draining, false);
    await_why("");
}

/* Either the events or the table tell what is revoked; without both no token is let in. */
static void stale_view_of_what_is_revoked__is_named_when_the_table_is_away_too(void **unused)
{
    (void)unused;
    await_why("");
    atomic_store(&tail_is_fresh, false);
    await_why("");
    atomic_store(&postgres_away, true);
    await_why("revocations, postgres");
    atomic_store(&tail_is_fresh, true);
    await_why("postgres");
    atomic_store(&postgres_away, false);
    await_why("");
}

static void store_that_hangs__is_told_by_its_silence_and_keeps_no_news_of_others(void **unused)
{
    struct tw_health_part parts[TW_HEALTH_PARTS];
    char                  why[TW_HEALTH_TEXT];

    (void)unused;
    await_why("");
    atomic_store(&mongo_hangs, true);
    usleep(1500000); /* it is asked once a second */
    atomic_fetch_add(&ahead_s, 4);
    for (int i = 0; i < 5000; i++) { /* the other threads have said something since */
        tw_health_look(&edge, parts, why);
        if (strstr(why, "ask-mongo has been silent for ") && strstr(why, ": a question to MongoDB"))
            break;
        usleep(1000);
    }
    assert_non_null(strstr(why, "ask-mongo has been silent for "));
    atomic_store(&postgres_away, true);
    for (int i = 0; i < 5000 && !strstr(why, "postgres,"); i++) {
        usleep(1000);
        tw_health_look(&edge, parts, why);
    }
    assert_non_null(strstr(why, "postgres,"));
    atomic_store(&postgres_away, false);
    atomic_store(&mongo_hangs, false);
    await_why("");
}

static void edge_without_a_free_thread__is_not_ready(void **unused)
{
    (void)unused;
    await_why("");
    atomic_store(&edge.connections, 2);
    await_why("free_threads");
    atomic_store(&edge.connections, 1);
    await_why("");
}

static void threads_that_are_all_taken__serve_as_long_as_one_answers(void **unused)
{
    long long answered = atomic_load(&edge.answered);

    (void)unused;
    atomic_store(&edge.connections, 1);
    assert_true(tw_health_serves(&edge, &answered));
    atomic_store(&edge.connections, 2);
    assert_false(tw_health_serves(&edge, &answered));
    atomic_fetch_add(&edge.answered, 1);
    assert_true(tw_health_serves(&edge, &answered));
    assert_false(tw_health_serves(&edge, &answered));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(edge_whose_parts_are_well__is_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(part_that_is_away__is_named_and_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_view_of_what_is_revoked__is_named_when_the_table_is_away_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(store_that_hangs__is_told_by_its_silence_and_keeps_no_news_of_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(edge_without_a_free_thread__is_not_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_that_are_all_taken__serve_as_long_as_one_answers, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
