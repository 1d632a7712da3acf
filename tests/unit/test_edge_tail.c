/* The tail over a reader of our own: the linker takes these tw_reader_* and leaves the library's out. */
#include "tail.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/kafka.h"
#include "unit.h"

struct tw_reader {
    int unused;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool            waiting; /* an event to be read */
static struct tw_uuid  event_command;
static int64_t         event_offset;
static int             event_status;
static bool            broker_away;

enum tw_rc tw_reader_open(const char *brokers, const char *client_id, struct tw_reader **ret_reader,
                          struct tw_err *reterr)
{
    (void)brokers, (void)client_id, (void)reterr;
    *ret_reader = tw_alloc_zeroed(1, sizeof(struct tw_reader));
    return TW_OK;
}

enum tw_rc tw_reader_assign(struct tw_reader *reader, const struct tw_position *positions, size_t count,
                            struct tw_err *reterr)
{
    (void)reader, (void)reterr;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(positions[i].offset, 42); /* a number asked for, not "the end" */
    return TW_OK;
}

enum tw_rc tw_reader_bounds(struct tw_reader *reader, const char *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_low, int64_t *ret_high, struct tw_err *reterr)
{
    (void)reader, (void)topic, (void)partition, (void)timeout_ms;
    pthread_mutex_lock(&lock);
    bool away = broker_away;
    pthread_mutex_unlock(&lock);
    *ret_low = 0;
    *ret_high = 42;
    return away ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

static void hand_over(tw_record_fn fn, void *self)
{
    struct tw_command_outcome outcome = {
        .command_id = event_command,
        .command_type = TW_STR("cart.add_item"),
        .status = event_status == 200 ? TW_COMMAND_STATUS_SUCCEEDED : TW_COMMAND_STATUS_REJECTED,
        .http_status = event_status,
        .has_problem_code = event_status != 200,
        .problem_code = TW_STR("line-quantity-limit"),
        .has_resource = true,
        .resource = TW_STR("/v1/cart"),
    };
    char             offset[24];
    struct tw_buf    value = {0};
    struct tw_header headers[] = {{TW_STR(TW_H_TYPE), TW_STR("command.outcome.v1")},
                                  {TW_STR(TW_H_CAUSE_OFFSET), {offset, 0}}};
    struct tw_record record = {.headers = headers, .header_count = 2};

    headers[1].value.len = (size_t)snprintf(offset, sizeof(offset), "%lld", (long long)event_offset);
    tw_command_outcome_type.pack(&outcome, &value);
    record.value = tw_buf_str(&value);
    fn(self, "cart.events", &record);
    tw_buf_done(&value);
}

enum tw_rc tw_reader_poll(struct tw_reader *reader, int timeout_ms, size_t max, tw_record_fn fn, void *self,
                          size_t *ret_count, struct tw_err *reterr)
{
    (void)reader, (void)timeout_ms, (void)max;
    usleep(1000);
    pthread_mutex_lock(&lock);
    *ret_count = waiting ? 1 : 0;
    if (waiting)
        hand_over(fn, self);
    waiting = false;
    bool away = broker_away;
    pthread_mutex_unlock(&lock);
    return away ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

void tw_reader_close(struct tw_reader *reader)
{
    free(reader);
}

/** Has the tail read an outcome; returns once it was. */
static void publish(struct tw_uuid command, int64_t offset, int status)
{
    bool left = true;

    pthread_mutex_lock(&lock);
    event_command = command;
    event_offset = offset;
    event_status = status;
    waiting = true;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2000 && left; i++) {
        usleep(1000);
        pthread_mutex_lock(&lock);
        left = waiting;
        pthread_mutex_unlock(&lock);
    }
    assert_false(left);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static struct tw_tail      *tail;
static const struct tw_uuid mine = {{1}};
static const struct tw_uuid other = {{2}};

static int setup(void **state)
{
    (void)state;
    broker_away = false;
    tail = tw_tail_new("none", 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_tail_free(tail);
    return 0;
}

static bool await(struct tw_seat *seat, int64_t offset, int ms, struct tw_told *told)
{
    return tw_tail_await(tail, seat, offset, tw_monotonic_us() + INT64_C(1000) * ms, told);
}

static void outcome__may_be_told_before_the_offset_is_known(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    publish(mine, 7, 200);
    assert_true(await(seat, 7, 0, &told));
    assert_int_equal(told.outcome.http_status, 200);
    assert_str(told.outcome.resource, "/v1/cart");
    tw_tail_leave(tail, seat);
}

static void *publish_soon(void *unused)
{
    usleep(20000);
    publish(mine, 7, 422);
    return unused;
}

static void outcome__wakes_who_waits_for_it(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;
    pthread_t       thread;

    (void)state;
    pthread_create(&thread, NULL, publish_soon, NULL);
    assert_true(await(seat, 7, 5000, &told));
    assert_int_equal(told.outcome.status, TW_REJECTED);
    assert_int_equal(told.outcome.problem, TW_PROBLEM_LINE_QUANTITY_LIMIT);
    pthread_join(thread, NULL);
    tw_tail_leave(tail, seat);
}

static void outcome_of_another_record__is_not_mine(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    publish(mine, 6, 200); /* the same key, sent by somebody else a moment before */
    publish(other, 7, 200);
    assert_false(await(seat, 7, 20, &told));
    publish(mine, 6, 200);
    publish(mine, 7, 422);
    assert_true(await(seat, 7, 0, &told));
    assert_int_equal(told.outcome.http_status, 422);
    tw_tail_leave(tail, seat);
}

static void seats__are_counted(void **state)
{
    struct tw_seat *first = tw_tail_sit(tail, mine);
    struct tw_seat *second = tw_tail_sit(tail, mine);

    (void)state;
    assert_non_null(first);
    assert_non_null(second);
    assert_null(tw_tail_sit(tail, mine));
    tw_tail_leave(tail, first);
    struct tw_seat *third = tw_tail_sit(tail, other);
    assert_non_null(third);
    tw_tail_leave(tail, second);
    tw_tail_leave(tail, third);
}

static void seat__remembers_nothing_of_who_sat_before(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    publish(mine, 7, 200);
    tw_tail_leave(tail, seat);
    seat = tw_tail_sit(tail, mine);
    assert_false(await(seat, 7, 10, &told));
    tw_tail_leave(tail, seat);
}

static void draining__ends_waits(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    tw_tail_drain(tail);
    int64_t start_us = tw_monotonic_us();
    assert_false(await(seat, 7, 5000, &told));
    assert_true(tw_monotonic_us() - start_us < 1000000);
    assert_null(tw_tail_sit(tail, mine));
    tw_tail_leave(tail, seat);
}

static bool becomes(bool up)
{
    for (int i = 0; i < 5000 && tw_tail_is_up(tail) != up; i++)
        usleep(1000);
    return tw_tail_is_up(tail) == up;
}

static void tail__is_up_while_the_broker_answers(void **state)
{
    (void)state;
    assert_true(becomes(true));
    pthread_mutex_lock(&lock);
    broker_away = true;
    pthread_mutex_unlock(&lock);
    assert_true(becomes(false));
    pthread_mutex_lock(&lock);
    broker_away = false;
    pthread_mutex_unlock(&lock);
    assert_true(becomes(true));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(outcome__may_be_told_before_the_offset_is_known),
        TEST(outcome__wakes_who_waits_for_it),
        TEST(outcome_of_another_record__is_not_mine),
        TEST(seats__are_counted),
        TEST(seat__remembers_nothing_of_who_sat_before),
        TEST(draining__ends_waits),
        TEST(tail__is_up_while_the_broker_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
