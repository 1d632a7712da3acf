/* The tail over a reader of our own: the linker takes these tw_reader_* and leaves the library's out. */
#include "tail.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "streams/hub.h"
#include "tillwire/clock.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/kafka.h"
#include "unit.h"
#include "watermarks.h"

struct tw_reader {
    int unused;
};

static _Atomic time_t ahead_s; /* of the real clock */

/* In place of the C library's, for the whole program. */
int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ret_time);

    if (id == CLOCK_MONOTONIC)
        ret_time->tv_sec += atomic_load(&ahead_s);
    return rc;
}

static _Atomic int     readers_opened;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool            waiting; /* an event to be read */
static struct tw_uuid  event_command;
static int64_t         event_offset;
static int             event_status;
static int64_t         event_record_offset; /* -1: the event has none */
static bool            event_is_of_tokens;
static bool            event_is_history; /* it was there before the tail began */
static _Atomic int64_t reading_begins = 42;
static _Atomic int64_t log_begins;
static bool            broker_away;
static bool            place_is_lost;
static int64_t         published_behind; /* records at the log's end that the reader does not come to */

enum tw_rc tw_reader_open(const char *brokers, const char *client_id, struct tw_reader **ret_reader,
                          struct tw_err *reterr)
{
    (void)brokers, (void)client_id, (void)reterr;
    *ret_reader = tw_alloc_zeroed(1, sizeof(struct tw_reader));
    atomic_fetch_add(&readers_opened, 1);
    return TW_OK;
}

enum tw_rc tw_reader_assign(struct tw_reader *reader, const struct tw_position *positions, size_t count,
                            struct tw_err *reterr)
{
    (void)reader, (void)reterr;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(positions[i].offset, reading_begins); /* a number asked for, not "the end" */
    return TW_OK;
}

enum tw_rc tw_reader_ends(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                          struct tw_err *reterr)
{
    (void)reader, (void)timeout_ms;
    pthread_mutex_lock(&lock);
    bool    away = broker_away;
    int64_t end = 42 + published_behind;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; !away && i < count; i++)
        positions[i].offset = end;
    return away ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

enum tw_rc tw_reader_beginnings(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                                struct tw_err *reterr)
{
    (void)reader, (void)timeout_ms, (void)reterr;
    for (size_t i = 0; i < count; i++)
        positions[i].offset = log_begins;
    return TW_OK;
}

static void hand_over_tokens(tw_record_fn fn, void *self)
{
    struct tw_revoked_token         tokens[] = {{{{9}}, 1000}, {{{8}}, 2000}};
    struct tw_member_tokens_revoked event = {.tokens = tokens, .tokens_len = 2, .version = 1};
    struct tw_buf                   value = {0};
    struct tw_header                headers[] = {{TW_STR(TW_H_TYPE), TW_STR("member.tokens_revoked.v1")}};
    struct tw_record                record = {.headers = headers, .header_count = 1, .offset = 42};

    tw_member_tokens_revoked_type.pack(&event, &value);
    record.value = tw_buf_str(&value);
    fn(self, "member.events", &record);
    tw_buf_done(&value);
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
        .has_record_offset = event_record_offset >= 0,
        .record_offset = event_record_offset,
    };
    char             offset[24];
    struct tw_buf    value = {0};
    struct tw_header headers[] = {{TW_STR(TW_H_TYPE), TW_STR("command.outcome.v1")},
                                  {TW_STR(TW_H_CAUSE_OFFSET), {offset, 0}}};
    struct tw_record record = {.headers = headers, .header_count = 2, .offset = event_is_history ? 41 : 42};

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
    if (waiting && event_is_of_tokens)
        hand_over_tokens(fn, self);
    else if (waiting)
        hand_over(fn, self);
    waiting = false;
    bool away = broker_away;
    bool lost = place_is_lost;
    place_is_lost = false;
    pthread_mutex_unlock(&lock);
    if (lost)
        return tw_fail(reterr, TW_BROKEN, "test", 0, "the offset is not in the log");
    return away ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

void tw_reader_close(struct tw_reader *reader)
{
    free(reader);
}

static void wait_until_read(void)
{
    bool left = true;

    for (int i = 0; i < 2000 && left; i++) {
        usleep(1000);
        pthread_mutex_lock(&lock);
        left = waiting;
        pthread_mutex_unlock(&lock);
    }
    assert_false(left);
}

static void publish_end_of(struct tw_uuid command, int64_t offset, int64_t record_offset, int status)
{
    pthread_mutex_lock(&lock);
    event_command = command;
    event_offset = offset;
    event_record_offset = record_offset;
    event_status = status;
    event_is_of_tokens = false;
    waiting = true;
    pthread_mutex_unlock(&lock);
    wait_until_read();
}

/** Has the tail read an outcome; returns once it was. */
static void publish(struct tw_uuid command, int64_t offset, int status)
{
    publish_end_of(command, offset, -1, status);
}

static void publish_revoked(void)
{
    pthread_mutex_lock(&lock);
    event_is_of_tokens = true;
    waiting = true;
    pthread_mutex_unlock(&lock);
    wait_until_read();
}

/* What the tail tells of revoked tokens. */
static atomic_int  told_count;
static atomic_int  load_count;
static atomic_bool load_fails;

static void tell(void *self, struct tw_uuid token_id, int64_t expires_at_ms)
{
    (void)self;
    assert_true(token_id.bytes[0] == 9 ? expires_at_ms == 1000 : expires_at_ms == 2000);
    atomic_fetch_add(&told_count, 1);
}

static enum tw_rc load(void *self, struct tw_err *reterr)
{
    (void)self;
    atomic_fetch_add(&load_count, 1);
    return atomic_load(&load_fails) ? tw_fail(reterr, TW_UNREACHED, "test", 0, "away") : TW_OK;
}

static const struct tw_revoked_sink sink = {tell, load, NULL};

/* Who waits for a store, and what they are told of. */
static atomic_bool  is_awaited;
static atomic_int   moved_count;
static atomic_llong moved_offset;

bool tw_watermarks_are_awaited(const struct tw_watermarks *watermarks)
{
    (void)watermarks;
    return atomic_load(&is_awaited);
}

void tw_watermarks_moved(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                         int64_t offset)
{
    (void)watermarks;
    assert_int_equal(domain, TW_DOMAIN_CART);
    assert_int_equal(partition, 0);
    atomic_store(&moved_offset, offset);
    atomic_fetch_add(&moved_count, 1);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static struct tw_tail      *tail;
static const struct tw_uuid mine = {{1}};
static const struct tw_uuid other = {{2}};

static int setup(void **state)
{
    (void)state;
    broker_away = false;
    published_behind = 0;
    atomic_store(&told_count, 0);
    atomic_store(&load_count, 0);
    atomic_store(&load_fails, false);
    tail = tw_tail_new("none", 2, &sink, NULL);
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

/* The record of a saga's last step is not the one that its outcome names: what can be read is the step's effect. */
static void event__tells_who_waits_for_its_store(void **state)
{
    static int watermarks;

    (void)state;
    publish(mine, 6, 200); /* nobody to tell yet */
    tw_tail_tell_watermarks(tail, (struct tw_watermarks *)&watermarks);
    publish(mine, 7, 200);
    assert_int_equal(atomic_load(&moved_count), 0);
    atomic_store(&is_awaited, true);
    publish_end_of(other, 8, 3, 200);
    assert_int_equal(atomic_load(&moved_count), 1);
    assert_int_equal(atomic_load(&moved_offset), 8);
    atomic_store(&is_awaited, false);
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

static void last_step_of_a_saga__ends_the_command_that_began_it(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    publish_end_of(mine, 9, 7, 200); /* record 9 ended what record 7 began */
    assert_false(await(seat, 9, 0, &told));
    tw_tail_leave(tail, seat);
    seat = tw_tail_sit(tail, mine);
    publish_end_of(mine, 9, 7, 200);
    assert_true(await(seat, 7, 0, &told));
    tw_tail_leave(tail, seat);
}

/** What the hub is given of the past must not answer who waits now: an id may come again. */
static void outcome_that_was_there_before__wakes_nobody(void **state)
{
    struct tw_seat *seat = tw_tail_sit(tail, mine);
    struct tw_told  told;

    (void)state;
    event_is_history = true;
    publish(mine, 7, 200);
    event_is_history = false;
    assert_false(await(seat, 7, 0, &told));
    tw_tail_leave(tail, seat);
}

static void await_up(const struct tw_tail *any)
{
    for (int i = 0; i < 5000 && !tw_tail_is_up(any); i++)
        usleep(1000);
    assert_true(tw_tail_is_up(any));
}

/** Reading for streams begins some records before the end, but not before the log. */
static void tail_with_a_hub__begins_in_the_past(void **state)
{
    struct tw_hub *hub = tw_hub_new(&(struct tw_hub_options){.history_bytes = 0, .slots = 1, .per_caller = 1});

    (void)state;
    await_up(tail); /* it has begun where it should */
    for (log_begins = 0; log_begins <= 42; log_begins += 42) {
        reading_begins = log_begins > 0 ? 42 : 42 - tw_hub_history_records(hub);
        struct tw_tail *other_tail = tw_tail_new("none", 2, &sink, hub);
        await_up(other_tail);
        tw_tail_free(other_tail);
    }
    log_begins = 0;
    reading_begins = 42;
    tw_hub_free(hub);
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

/** Who waits because he prefers to takes nothing from a login. */
static void who_must_wait__finds_a_seat_though_those_who_prefer_to_have_all_theirs(void **state)
{
    struct tw_seat *first = tw_tail_sit(tail, mine);
    struct tw_seat *second = tw_tail_sit(tail, mine);
    struct tw_seat *login = tw_tail_must_sit(tail, other);
    struct tw_told  told;

    (void)state;
    assert_non_null(login);
    assert_null(tw_tail_sit(tail, mine));
    publish(other, 7, 200);
    assert_true(await(login, 7, 5000, &told));
    tw_tail_leave(tail, first);
    first = tw_tail_sit(tail, mine);
    assert_non_null(first);
    assert_int_equal(tw_tail_seated(tail), 3);
    tw_tail_leave(tail, first);
    tw_tail_leave(tail, second);
    tw_tail_leave(tail, login);
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
    assert_false(await(seat, 7, 3600 * 1000, &told)); /* at once, not in an hour */
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

static bool becomes_fresh(bool fresh)
{
    for (int i = 0; i < 5000 && tw_tail_is_fresh(tail) != fresh; i++)
        usleep(1000);
    return tw_tail_is_fresh(tail) == fresh;
}

static void set_broker(bool away, int64_t behind)
{
    pthread_mutex_lock(&lock);
    broker_away = away;
    published_behind = behind;
    pthread_mutex_unlock(&lock);
}

static void revoked_tokens__are_told_of_though_nobody_waits(void **state)
{
    (void)state;
    assert_true(becomes_fresh(true));
    publish_revoked();
    assert_int_equal(atomic_load(&told_count), 2);
}

static void tail__is_fresh_while_it_comes_to_the_ends_in_time(void **state)
{
    (void)state;
    assert_true(becomes_fresh(true));
    set_broker(false, 1); /* somebody publishes, the reader hears nothing of it */
    assert_true(becomes_fresh(false));
    assert_true(tw_tail_is_up(tail));
    publish_revoked(); /* now it comes, at offset 42 */
    set_broker(false, 0);
    assert_true(becomes_fresh(true));
}

/* A reader that lost a partition looks like one with nothing to read. */
static void reader_that_stands_still__is_not_up_and_another_begins(void **state)
{
    int opened;

    (void)state;
    assert_true(becomes_fresh(true));
    opened = atomic_load(&readers_opened);
    set_broker(false, 1);
    assert_true(becomes_fresh(false));
    atomic_fetch_add(&ahead_s, 5);
    assert_true(becomes(false));
    assert_int_equal(atomic_load(&readers_opened), opened);
    atomic_store(&reading_begins, 43);
    atomic_fetch_add(&ahead_s, 6);
    for (int i = 0; i < 5000 && atomic_load(&readers_opened) == opened; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&readers_opened), opened + 1);
    assert_true(becomes(true));
    assert_true(becomes_fresh(true));
    atomic_store(&reading_begins, 42);
    set_broker(false, 0);
}

static void tail__is_not_fresh_without_a_broker(void **state)
{
    (void)state;
    assert_true(becomes_fresh(true));
    set_broker(true, 0);
    assert_true(becomes_fresh(false));
    set_broker(false, 0);
    assert_true(becomes_fresh(true));
    assert_int_equal(atomic_load(&load_count), 1); /* its place was kept: nothing was missed */
}

static void tail__is_not_fresh_before_it_has_loaded_what_was_revoked(void **state)
{
    (void)state;
    tw_tail_free(tail);
    atomic_store(&load_fails, true);
    atomic_store(&load_count, 0);
    tail = tw_tail_new("none", 2, &sink, NULL);
    for (int i = 0; i < 5000 && atomic_load(&load_count) < 2; i++)
        usleep(1000);
    assert_true(atomic_load(&load_count) >= 2);
    assert_false(tw_tail_is_fresh(tail));
    atomic_store(&load_fails, false);
    assert_true(becomes_fresh(true));
}

static void tail__loads_again_when_it_begins_again(void **state)
{
    (void)state;
    assert_true(becomes_fresh(true));
    pthread_mutex_lock(&lock);
    place_is_lost = true;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 5000 && atomic_load(&load_count) < 2; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&load_count), 2);
    assert_true(becomes_fresh(true));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(outcome__may_be_told_before_the_offset_is_known),
        TEST(event__tells_who_waits_for_its_store),
        TEST(outcome__wakes_who_waits_for_it),
        TEST(outcome_of_another_record__is_not_mine),
        TEST(last_step_of_a_saga__ends_the_command_that_began_it),
        TEST(outcome_that_was_there_before__wakes_nobody),
        TEST(tail_with_a_hub__begins_in_the_past),
        TEST(seats__are_counted),
        TEST(who_must_wait__finds_a_seat_though_those_who_prefer_to_have_all_theirs),
        TEST(seat__remembers_nothing_of_who_sat_before),
        TEST(draining__ends_waits),
        TEST(tail__is_up_while_the_broker_answers),
        TEST(reader_that_stands_still__is_not_up_and_another_begins),
        TEST(revoked_tokens__are_told_of_though_nobody_waits),
        TEST(tail__is_fresh_while_it_comes_to_the_ends_in_time),
        TEST(tail__is_not_fresh_without_a_broker),
        TEST(tail__is_not_fresh_before_it_has_loaded_what_was_revoked),
        TEST(tail__loads_again_when_it_begins_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
