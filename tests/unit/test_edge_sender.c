/* The sender over a producer of our own: the linker takes these tw_producer_* and leaves the library's out. */
#include "sender.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

enum { SENT_MAX = 64, LINGER_US = 500, PATIENCE_MS = 60000 };

struct tw_producer {
    struct tw_producer_options options;
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

static pthread_mutex_t     lock = PTHREAD_MUTEX_INITIALIZER;
static void               *sent[SENT_MAX]; /* opaques waiting for their report */
static size_t              sent_count;
static _Atomic(enum tw_rc) report_rc = TW_OK;
static atomic_bool         holds_reports;
static atomic_bool         refuses;
static atomic_bool         is_dead; /* the producer of the quiet line is, the other one lives */
static atomic_bool         connected = true;
static atomic_int          opened;

enum tw_rc tw_producer_open(const struct tw_producer_options *options, struct tw_producer **ret_producer,
                            struct tw_err *reterr)
{
    struct tw_producer *producer = tw_alloc_zeroed(1, sizeof(*producer));

    (void)reterr;
    producer->options = *options;
    *ret_producer = producer;
    if (options->linger_us == LINGER_US)
        atomic_store(&is_dead, false);
    atomic_fetch_add(&opened, 1);
    return TW_OK;
}

enum tw_rc tw_producer_send(struct tw_producer *producer, const char *topic, int32_t partition, struct tw_str key,
                            struct tw_str value, const struct tw_header *headers, size_t header_count, void *opaque,
                            struct tw_err *reterr)
{
    (void)producer, (void)topic, (void)partition, (void)key, (void)value, (void)headers, (void)header_count;
    if (atomic_load(&refuses))
        return tw_fail(reterr, TW_UNREACHED, "test", 0, "the queue is full");
    pthread_mutex_lock(&lock);
    assert_true(sent_count < SENT_MAX);
    sent[sent_count++] = opaque;
    pthread_mutex_unlock(&lock);
    return TW_OK;
}

int tw_producer_poll(struct tw_producer *producer, int timeout_ms)
{
    void  *opaques[SENT_MAX];
    size_t count = 0;

    (void)timeout_ms;
    usleep(1000);
    pthread_mutex_lock(&lock);
    if (!atomic_load(&holds_reports)) {
        count = sent_count;
        memcpy(opaques, sent, sizeof(opaques));
        sent_count = 0;
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++) {
        struct tw_report report = {report_rc, 3, 1000 + (int64_t)((uintptr_t)opaques[i] >> 32), opaques[i], "text"};
        producer->options.report(producer->options.self, &report);
    }
    return (int)count;
}

enum tw_rc tw_producer_warm(struct tw_producer *producer, const char *const *topics, size_t topic_count, int timeout_ms,
                            struct tw_err *reterr)
{
    (void)producer, (void)topics, (void)topic_count, (void)timeout_ms, (void)reterr;
    return TW_OK;
}

bool tw_producer_is_dead(struct tw_producer *producer)
{
    return producer->options.linger_us == LINGER_US && atomic_load(&is_dead);
}

void tw_producer_queue(struct tw_producer *producer, int64_t *ret_records, int *ret_percent)
{
    (void)producer;
    *ret_records = 0;
    *ret_percent = 7;
}

bool tw_producer_is_connected(struct tw_producer *producer)
{
    (void)producer;
    return atomic_load(&connected);
}

void tw_producer_close(struct tw_producer *producer, int flush_ms)
{
    (void)flush_ms;
    free(producer);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static struct tw_sender    *sender;
static int                  lane;
static const struct tw_send record = {"cart.commands", 0, {"k", 1}, {"v", 1}, NULL, 0};

static int setup(void **state)
{
    (void)state;
    report_rc = TW_OK;
    atomic_store(&holds_reports, false);
    atomic_store(&refuses, false);
    atomic_store(&connected, true);
    sent_count = 0; /* nobody else runs yet */
    sender = tw_sender_new(&(struct tw_sender_options){"none", LINGER_US, 1024});
    lane = tw_sender_lane(sender);
    for (int i = 0; i < PATIENCE_MS && !tw_sender_state(sender).warm; i++)
        usleep(1000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_sender_free(sender, 0);
    return 0;
}

static void report__wakes_the_sender_with_its_offset(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;

    (void)state;
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_OK, err);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_OK, err);
    assert_int_equal(offset, 1001); /* the first ticket */
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_OK, err);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_OK, err);
    assert_int_equal(offset, 1002);
}

static void failed_report__says_whether_the_record_may_be_in_the_log(void **state)
{
    struct tw_err err;
    int64_t       offset = -5;

    (void)state;
    report_rc = TW_UNREACHED;
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_UNREACHED, err);
    report_rc = TW_UNKNOWN;
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_UNKNOWN, err);
    assert_int_equal(offset, -5);
}

static void no_report_in_time__leaves_it_open(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;

    (void)state;
    atomic_store(&holds_reports, true);
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, 20, &offset, &err), TW_UNKNOWN, err);
}

static void late_report__is_not_taken_for_the_next_record(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;

    (void)state;
    atomic_store(&holds_reports, true);
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, 5, &offset, &err), TW_UNKNOWN, err);
    usleep(1100000);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_OK, err);
    pthread_mutex_lock(&lock);
    assert_int_equal(sent_count, 2);
    assert_ptr_not_equal(sent[0], sent[1]);
    sent_count = 1; /* report the late one only */
    pthread_mutex_unlock(&lock);
    atomic_store(&holds_reports, false);
    assert_rc(tw_sender_await(sender, lane, 50, &offset, &err), TW_UNKNOWN, err);
}

static void hanging_broker__is_asked_once_a_second(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;
    int           other = tw_sender_lane(sender);

    (void)state;
    atomic_store(&holds_reports, true);
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, 5, &offset, &err), TW_UNKNOWN, err);
    assert_false(tw_sender_state(sender).connected);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_UNREACHED, err);
    usleep(1100000);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_OK, err);
    assert_rc(tw_sender_begin(sender, other, &record, &err), TW_UNREACHED, err);
    atomic_store(&holds_reports, false);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_OK, err);
    assert_true(tw_sender_state(sender).connected);
    assert_rc(tw_sender_begin(sender, other, &record, &err), TW_OK, err);
    assert_rc(tw_sender_await(sender, other, PATIENCE_MS, &offset, &err), TW_OK, err);
}

/* Nobody is sent to an edge that is not ready, and only a request finds out that the broker is well again. */
static void stall_that_nobody_looks_at__is_not_known_for_ever(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;

    (void)state;
    atomic_store(&holds_reports, true);
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, 5, &offset, &err), TW_UNKNOWN, err);
    atomic_fetch_add(&ahead_s, TW_SENDER_STALL_US / 1000000 - 2);
    assert_false(tw_sender_state(sender).connected);
    atomic_fetch_add(&ahead_s, 3);
    assert_true(tw_sender_state(sender).connected);
    tw_sender_begin(sender, lane, &record, &err);
    assert_rc(tw_sender_await(sender, lane, 5, &offset, &err), TW_UNKNOWN, err);
    assert_false(tw_sender_state(sender).connected);
    atomic_store(&holds_reports, false);
}

static size_t waiting_records(void)
{
    pthread_mutex_lock(&lock);
    size_t count = sent_count;
    pthread_mutex_unlock(&lock);
    return count;
}

static void refused_record__is_not_waited_for(void **state)
{
    struct tw_err err;

    (void)state;
    atomic_store(&refuses, true);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_UNREACHED, err);
    atomic_store(&refuses, false);
    atomic_store(&connected, false);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_UNREACHED, err);
    assert_int_equal(waiting_records(), 0);
}

static void dead_producer__is_replaced(void **state)
{
    struct tw_err err;
    int64_t       offset = 0;
    int           before = atomic_load(&opened);

    (void)state;
    atomic_store(&is_dead, true);
    for (int i = 0; i < PATIENCE_MS && atomic_load(&opened) == before; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&opened), before + 1);
    for (int i = 0; i < PATIENCE_MS && !tw_sender_state(sender).warm; i++)
        usleep(1000);
    assert_rc(tw_sender_begin(sender, lane, &record, &err), TW_OK, err);
    assert_rc(tw_sender_await(sender, lane, PATIENCE_MS, &offset, &err), TW_OK, err);
}

static void *send_many(void *self)
{
    int     mine = tw_sender_lane(sender);
    int64_t offset = 0;

    for (int i = 0; i < 200; i++) {
        if (tw_sender_begin(sender, mine, &record, NULL) != TW_OK ||
            tw_sender_await(sender, mine, PATIENCE_MS, &offset, NULL) != TW_OK || offset != 1001 + i)
            return self;
    }
    return NULL;
}

static void many_threads__each_get_their_own_reports(void **state)
{
    pthread_t threads[16];
    int       wrong = 0;

    (void)state;
    for (size_t i = 0; i < TW_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &wrong), 0);
    for (size_t i = 0; i < TW_LEN(threads); i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        wrong += result != NULL;
    }
    assert_int_equal(wrong, 0);
}

static void spare_lanes__are_lent_to_one_at_a_time_and_come_back(void **state)
{
    int first[TW_SENDER_SPARE_LANES];
    int second[TW_SENDER_SPARE_LANES];

    (void)state;
    assert_int_equal(tw_sender_borrow(sender, 100, first), 100);
    assert_int_equal(tw_sender_borrow(sender, 100, second), TW_SENDER_SPARE_LANES - 100);
    assert_int_equal(tw_sender_borrow(sender, 1, second + 100), 0);
    for (size_t i = 0; i < 100; i++) {
        assert_in_range(first[i], TW_SENDER_LANES, TW_SENDER_LANES + TW_SENDER_SPARE_LANES - 1);
        for (size_t j = 0; j < TW_SENDER_SPARE_LANES - 100; j++)
            assert_int_not_equal(first[i], second[j]);
    }
    tw_sender_give_back(sender, second, TW_SENDER_SPARE_LANES - 100);
    tw_sender_give_back(sender, first, 100);
    assert_int_equal(tw_sender_borrow(sender, 1000, first), TW_SENDER_SPARE_LANES);
}

static void borrowed_lanes__each_get_the_report_of_their_record(void **state)
{
    int     lanes[20];
    int64_t offset = 0;

    (void)state;
    assert_int_equal(tw_sender_borrow(sender, TW_LEN(lanes), lanes), TW_LEN(lanes));
    atomic_store(&holds_reports, true);
    for (size_t i = 0; i < TW_LEN(lanes); i++)
        assert_int_equal(tw_sender_begin(sender, lanes[i], &record, NULL), TW_OK);
    assert_int_equal(waiting_records(), TW_LEN(lanes));
    atomic_store(&holds_reports, false);
    for (size_t i = 0; i < TW_LEN(lanes); i++)
        assert_int_equal(tw_sender_await(sender, lanes[i], 2000, &offset, NULL), TW_OK);
    tw_sender_give_back(sender, lanes, TW_LEN(lanes));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(report__wakes_the_sender_with_its_offset),
        TEST(failed_report__says_whether_the_record_may_be_in_the_log),
        TEST(no_report_in_time__leaves_it_open),
        TEST(late_report__is_not_taken_for_the_next_record),
        TEST(hanging_broker__is_asked_once_a_second),
        TEST(stall_that_nobody_looks_at__is_not_known_for_ever),
        TEST(refused_record__is_not_waited_for),
        TEST(dead_producer__is_replaced),
        TEST(many_threads__each_get_their_own_reports),
        TEST(spare_lanes__are_lent_to_one_at_a_time_and_come_back),
        TEST(borrowed_lanes__each_get_the_report_of_their_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
