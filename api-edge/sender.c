/*
 * A line is a producer and the delivery thread that owns its life: it opens it, warms it, polls it, and replaces one
 * that gave up for good. Request threads only send, under a read lock that keeps the producer from being closed under
 * them.
 *
 * There are two lines, which differ in how long a record waits for company. librdkafka sends one request a partition, so
 * with many requests under way it pays to wait until more of them can share one; with few, waiting is all they would do.
 */
#include "sender.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

#define WHERE "edge.sender"

enum { POLL_MS = 100, WARM_MS = 5000, WARM_PIECE_MS = 1000, WARM_NAP_MS = 100, REOPEN_MS = 500, PROBE_US = 1000000 };

/* From this many records under way on they go by the crowded line, which waits twice as long. Measured: at 32 connections
 * the longer wait halves what is accepted a second, at 64 it adds a fifth. */
enum { CROWD = 48, CROWD_LINGERS = 2 };

/* A lane's word: the ticket in the upper bits, the phase in the lower two. */
enum { PHASE_IDLE, PHASE_ARMED, PHASE_FILLING, PHASE_DONE, PHASE_BITS = 2, PHASE_MASK = 3 };

struct lane {
    _Alignas(64) _Atomic uint32_t word; /* futex */
    enum tw_rc  rc;                     /* written while FILLING, read when DONE */
    int64_t     offset;
    const char *text;
    int64_t     begun_us; /* of the thread whose lane it is */
};

enum { QUIET_LINE, CROWDED_LINE, LINES };

struct line {
    struct tw_sender   *sender;
    int                 linger_us;
    pthread_rwlock_t    lock; /* guards `producer`: read to send, write to replace */
    struct tw_producer *producer;
    atomic_bool         warm;
    pthread_t           thread;
};

struct tw_sender {
    struct tw_sender_options options;
    struct line              lines[LINES];
    atomic_bool              stopping;
    atomic_bool              stalled;   /* a report was waited for in vain and none has come since */
    atomic_llong             probed_us; /* when a record was last sent to see whether that is over */
    atomic_int               flush_ms;
    atomic_int               lane_count;
    atomic_int               under_way; /* lanes between begin and the end of await */
    struct lane              lanes[TW_SENDER_LANES + TW_SENDER_SPARE_LANES];
    pthread_mutex_t          spare_lock; /* guards the next two */
    int                      spare[TW_SENDER_SPARE_LANES];
    size_t                   spare_count;
};

#define SENT(error)                                                                              \
    {                                                                                            \
        .name = "messaging_client_sent_messages_total",                                          \
        .labels = "messaging_system=\"kafka\",messaging_operation_name=\"send\"" error,          \
        .help = "Command records the broker reported on; with an error_type: that did not work." \
    }
static struct tw_metric reports_ok = SENT("");
static struct tw_metric reports_failed = SENT(",error_type=\"not_acknowledged\"");
#undef SENT
static struct tw_metric send_time = {.name = "messaging_client_operation_duration_seconds",
                                     .labels = "messaging_system=\"kafka\",messaging_operation_name=\"send\"",
                                     .kind = TW_HISTOGRAM,
                                     .help = "From handing a command record over to the broker's acknowledgement."};
static struct tw_metric reports_late = {.name = "tillwire_edge_reports_late_total",
                                        .kind = TW_COUNTER,
                                        .help = "Reports that came after the request had been answered."};
TW_METRICS_SHOWN(&reports_ok, &reports_failed, &send_time, &reports_late)

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t timeout_us)
{
    struct timespec timeout = {timeout_us / 1000000, (timeout_us % 1000000) * 1000};

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout, NULL, 0);
}

static uint32_t word_of(uint32_t ticket, uint32_t phase)
{
    return (ticket << PHASE_BITS) | phase;
}

/** Lane number and ticket travel in the record's opaque pointer: 32 bits each, no memory to own. */
static void *opaque_of(int lane, uint32_t ticket)
{
    return (void *)(((uintptr_t)ticket << 32) |
                    (uintptr_t)(unsigned)lane); /* NOLINT: an integer in a pointer's clothes */
}

static void on_report(void *self, const struct tw_report *report)
{
    struct tw_sender *sender = ((struct line *)self)->sender;
    uintptr_t         opaque = (uintptr_t)report->opaque;
    struct lane      *lane = &sender->lanes[opaque & 0xffffffffu];
    uint32_t          ticket = (uint32_t)(opaque >> 32);
    uint32_t          armed = word_of(ticket, PHASE_ARMED);

    tw_metric_add(report->rc == TW_OK ? &reports_ok : &reports_failed, 1);
    if (report->rc == TW_OK && atomic_load_explicit(&sender->stalled, memory_order_relaxed))
        atomic_store_explicit(&sender->stalled, false, memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&lane->word, &armed, word_of(ticket, PHASE_FILLING),
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        tw_metric_add(&reports_late, 1);
        return;
    }
    lane->rc = report->rc;
    lane->offset = report->offset;
    lane->text = report->text;
    atomic_store_explicit(&lane->word, word_of(ticket, PHASE_DONE), memory_order_release);
    futex_wake(&lane->word);
}

int tw_sender_lane(struct tw_sender *sender)
{
    int lane = atomic_fetch_add(&sender->lane_count, 1);

    return lane < TW_SENDER_LANES ? lane : -1;
}

size_t tw_sender_borrow(struct tw_sender *sender, size_t want, int *ret_lanes)
{
    pthread_mutex_lock(&sender->spare_lock);
    size_t count = want < sender->spare_count ? want : sender->spare_count;
    for (size_t i = 0; i < count; i++)
        ret_lanes[i] = sender->spare[--sender->spare_count];
    pthread_mutex_unlock(&sender->spare_lock);
    return count;
}

void tw_sender_give_back(struct tw_sender *sender, const int *lanes, size_t count)
{
    pthread_mutex_lock(&sender->spare_lock);
    for (size_t i = 0; i < count; i++)
        sender->spare[sender->spare_count++] = lanes[i];
    pthread_mutex_unlock(&sender->spare_lock);
}

static enum tw_rc send_locked(struct line *line, const struct tw_send *send, void *opaque, struct tw_err *reterr)
{
    enum tw_rc rc;

    pthread_rwlock_rdlock(&line->lock);
    /* Never into a queue nobody drains: a broker that is away shows at once, not after the time-out. */
    if (line->producer && tw_producer_is_connected(line->producer))
        rc = tw_producer_send(line->producer, send->topic, send->partition, send->key, send->value, send->headers,
                              send->header_count, opaque, reterr);
    else
        rc = tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the broker is away");
    pthread_rwlock_unlock(&line->lock);
    return rc;
}

/** A broker that hangs keeps its connection. While it does, one record a second goes and asks; the others need not wait
 *  two seconds to hear the same. */
static bool may_send(struct tw_sender *sender)
{
    if (!atomic_load_explicit(&sender->stalled, memory_order_relaxed))
        return true;
    long long now_us = tw_monotonic_us();
    long long probed_us = atomic_load(&sender->probed_us);
    return now_us - probed_us > PROBE_US && atomic_compare_exchange_strong(&sender->probed_us, &probed_us, now_us);
}

enum tw_rc tw_sender_begin(struct tw_sender *sender, int lane, const struct tw_send *send, struct tw_err *reterr)
{
    struct lane *mine = &sender->lanes[lane];
    uint32_t     ticket = ((atomic_load_explicit(&mine->word, memory_order_relaxed) >> PHASE_BITS) + 1) & 0x3fffffffu;

    if (!may_send(sender))
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "the broker does not answer");
    mine->begun_us = tw_monotonic_us();
    atomic_store_explicit(&mine->word, word_of(ticket, PHASE_ARMED), memory_order_release);
    int          company = atomic_fetch_add_explicit(&sender->under_way, 1, memory_order_relaxed);
    struct line *line = &sender->lines[company < CROWD ? QUIET_LINE : CROWDED_LINE];
    enum tw_rc   rc = send_locked(line, send, opaque_of(lane, ticket), reterr);
    if (rc != TW_OK) {
        atomic_fetch_sub_explicit(&sender->under_way, 1, memory_order_relaxed);
        atomic_store_explicit(&mine->word, word_of(ticket, PHASE_IDLE), memory_order_release);
    }
    return rc;
}

/** True when the report came; false: the waiter has left and a later report finds the lane idle. */
static bool wait_until_done(struct lane *lane, int timeout_ms)
{
    int64_t  deadline_us = tw_monotonic_us() + INT64_C(1000) * timeout_ms;
    uint32_t word = atomic_load_explicit(&lane->word, memory_order_acquire);

    while ((word & PHASE_MASK) != PHASE_DONE) {
        int64_t left_us = deadline_us - tw_monotonic_us();
        if (left_us <= 0 && (word & PHASE_MASK) == PHASE_ARMED &&
            atomic_compare_exchange_strong(&lane->word, &word, word & ~(uint32_t)PHASE_MASK))
            return false;
        /* FILLING lasts a few instructions; a short sleep also covers a wake that has not come yet. */
        futex_wait(&lane->word, word, left_us > 0 ? left_us : 1000);
        word = atomic_load_explicit(&lane->word, memory_order_acquire);
    }
    return true;
}

enum tw_rc tw_sender_await(struct tw_sender *sender, int lane, int timeout_ms, int64_t *ret_offset,
                           struct tw_err *reterr)
{
    struct lane *mine = &sender->lanes[lane];
    bool         done = wait_until_done(mine, timeout_ms);

    atomic_fetch_sub_explicit(&sender->under_way, 1, memory_order_relaxed);
    if (!done) {
        atomic_store(&sender->probed_us, tw_monotonic_us());
        atomic_store(&sender->stalled, true);
        return tw_fail(reterr, TW_UNKNOWN, WHERE, 0, "no report within %d ms", timeout_ms);
    }
    if (mine->rc != TW_OK)
        return tw_fail(reterr, mine->rc, WHERE, 0, "the record was not acknowledged: %s", mine->text ? mine->text : "");
    *ret_offset = mine->offset;
    tw_metric_observe_us(&send_time, tw_monotonic_us() - mine->begun_us);
    return TW_OK;
}

/* --- the delivery thread ------------------------------------------------------------------------------------------ */

static enum tw_rc open_producer(struct line *line, struct tw_producer **ret_producer, struct tw_err *reterr)
{
    struct tw_producer_options options = {
        .brokers = line->sender->options.brokers,
        .client_id = "tillwire-edge",
        .linger_us = line->linger_us,
        .timeout_ms = 10000,
        .queue_kbytes = line->sender->options.queue_kbytes / LINES,
        .once = true,
        .report = on_report,
        .self = line,
    };

    return tw_producer_open(&options, ret_producer, reterr);
}

static void nap_ms(struct tw_sender *sender, int ms)
{
    for (int waited = 0; waited < ms && !atomic_load(&sender->stopping); waited += 20)
        usleep(20000);
}

/** Asks in short pieces: whoever stops the sender waits for one of them, not for all the time a broker may need. */
static enum tw_rc warm_topic(struct tw_sender *sender, struct tw_producer *producer, const char *topic,
                             int64_t deadline_us, struct tw_err *reterr)
{
    enum tw_rc rc = tw_producer_warm(producer, &topic, 1, WARM_PIECE_MS, reterr);

    while (rc != TW_OK && !atomic_load(&sender->stopping) && tw_monotonic_us() < deadline_us) {
        nap_ms(sender, WARM_NAP_MS);
        rc = tw_producer_warm(producer, &topic, 1, WARM_PIECE_MS, reterr);
    }
    return rc;
}

static enum tw_rc warm_producer(struct tw_sender *sender, struct tw_producer *producer, struct tw_err *reterr)
{
    int64_t deadline_us = tw_monotonic_us() + INT64_C(1000) * WARM_MS;

    for (size_t i = 0; i < tw_topic_count; i++) {
        if (tw_topics[i].kind == TW_TOPIC_COMMANDS)
            TW_TRY(warm_topic(sender, producer, tw_topics[i].name, deadline_us, reterr));
    }
    return TW_OK;
}

static void replace_producer(struct line *line, struct tw_producer *fresh)
{
    pthread_rwlock_wrlock(&line->lock);
    struct tw_producer *old = line->producer;
    line->producer = fresh;
    pthread_rwlock_unlock(&line->lock);
    tw_producer_close(old, 1000);
}

/** A new, warm producer, however long it takes; returns early when the sender stops. */
static void make_producer(struct line *line)
{
    bool said = false;

    while (!atomic_load(&line->sender->stopping)) {
        struct tw_producer *producer = NULL;
        struct tw_err       err = {0};

        if (open_producer(line, &producer, &err) == TW_OK && warm_producer(line->sender, producer, &err) == TW_OK) {
            replace_producer(line, producer);
            atomic_store(&line->warm, true);
            tw_log(TW_LOG_INFO, "producer is ready", TW_F_INT("linger_us", line->linger_us));
            return;
        }
        tw_producer_close(producer, 0);
        if (!said)
            tw_log_err(TW_LOG_WARN, "broker did not answer, trying again", &err, NULL);
        said = true;
        nap_ms(line->sender, REOPEN_MS);
    }
}

static void *delivery_main(void *self)
{
    struct line      *line = self;
    struct tw_sender *sender = line->sender;

    pthread_setname_np(pthread_self(), "delivery");
    tw_pulse_begin("delivery");
    tw_pulse("opening a producer");
    make_producer(line);
    while (!atomic_load_explicit(&sender->stopping, memory_order_relaxed)) {
        tw_producer_poll(line->producer, POLL_MS);
        if (tw_producer_is_dead(line->producer)) {
            tw_log(TW_LOG_WARN, "producer gave up, making another");
            atomic_store(&line->warm, false);
            replace_producer(line, NULL);
            make_producer(line);
        }
    }
    if (line->producer)
        tw_producer_close(line->producer, atomic_load(&sender->flush_ms));
    tw_pulse_end();
    return NULL;
}

static void start_line(struct tw_sender *sender, struct line *line, int linger_us)
{
    line->sender = sender;
    line->linger_us = linger_us;
    pthread_rwlock_init(&line->lock, NULL);
    if (pthread_create(&line->thread, NULL, delivery_main, line) != 0)
        tw_out_of_memory(sizeof(*line));
}

struct tw_sender *tw_sender_new(const struct tw_sender_options *options)
{
    struct tw_sender *sender = aligned_alloc(64, sizeof(*sender));

    if (!sender)
        tw_out_of_memory(sizeof(*sender));
    memset(sender, 0, sizeof(*sender));
    sender->options = *options;
    pthread_mutex_init(&sender->spare_lock, NULL);
    for (int i = TW_SENDER_SPARE_LANES - 1; i >= 0; i--)
        sender->spare[sender->spare_count++] = TW_SENDER_LANES + i;
    start_line(sender, &sender->lines[QUIET_LINE], options->linger_us);
    start_line(sender, &sender->lines[CROWDED_LINE], CROWD_LINGERS * options->linger_us);
    return sender;
}

void tw_sender_free(struct tw_sender *sender, int flush_ms)
{
    if (!sender)
        return;
    atomic_store(&sender->flush_ms, flush_ms);
    atomic_store(&sender->stopping, true);
    for (size_t i = 0; i < LINES; i++) {
        pthread_join(sender->lines[i].thread, NULL);
        pthread_rwlock_destroy(&sender->lines[i].lock);
    }
    pthread_mutex_destroy(&sender->spare_lock);
    free(sender);
}

static void add_state(struct line *line, struct tw_sender_state *state)
{
    int64_t records = 0;
    int     percent = 0;

    state->warm &= atomic_load(&line->warm);
    pthread_rwlock_rdlock(&line->lock);
    state->connected &= line->producer && tw_producer_is_connected(line->producer);
    if (line->producer)
        tw_producer_queue(line->producer, &records, &percent);
    pthread_rwlock_unlock(&line->lock);
    if (percent > state->queue_percent)
        state->queue_percent = percent;
}

/* An edge that is not ready is sent no requests, and only a request finds out that a stall is over. */
static bool is_known_to_stall(struct tw_sender *sender)
{
    return atomic_load(&sender->stalled) && tw_monotonic_us() - atomic_load(&sender->probed_us) < TW_SENDER_STALL_US;
}

/* The worse of both lines: requests cannot choose. */
struct tw_sender_state tw_sender_state(struct tw_sender *sender)
{
    struct tw_sender_state state = {.warm = true, .connected = !is_known_to_stall(sender)};

    for (size_t i = 0; i < LINES; i++)
        add_state(&sender->lines[i], &state);
    return state;
}
