/*
 * Everything here belongs to one thread; loops of a worker share nothing but the read-only context, the health they
 * report, metrics and the log.
 */
#include "loop.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lag.h"
#include "partition.h"
#include "rival.h"
#include "stall.h"
#include "store_meter.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

enum { REOPEN_AFTER_US = 2000000, TELL_HEALTH_US = 500000 };
enum { IDLE_POLL_MS = 100, RECOVERING_POLL_MS = 10, STOP_FLUSH_MS = 3000, REVOKE_FLUSH_MS = 5000 };

struct loop {
    const struct tw_loop_context *context;
    int                           number;
    struct tw_store               store;
    struct tw_store_meter         meter;
    struct tw_store               metered; /* what partitions use */
    struct tw_partition_env       env;
    struct tw_consumer           *consumer;
    struct tw_partition         **partitions; /* by number; NULL: not ours */
    struct tw_stall              *stalls;     /* the same */
    struct tw_rival               rival;
    char                          instance_id[128]; /* empty: no static member */
    int64_t                       owned_count;
    bool                          joined;
    bool                          consumer_lost; /* it gave up for good: a new one takes its place */
    int64_t                       reopen_at_us;
    bool                          broken; /* stop: `err` says why */
    struct tw_err                 err;
    int64_t                       told_at_us;
    int64_t                       told_health_at_us;
};

static struct tw_metric owned = {
    .name = "tillwire_partitions", .kind = TW_GAUGE, .help = "Command partitions this worker owns."};
static struct tw_metric consumed = {.name = "messaging_client_consumed_messages_total",
                                    .labels = "messaging_system=\"kafka\"",
                                    .help = "Records read: of the edge all events, of a worker its commands."};
TW_METRICS_SHOWN(&owned, &consumed)

static bool must_stop(const struct loop *loop)
{
    return atomic_load_explicit(loop->context->stop, memory_order_relaxed) || loop->broken;
}

static void stop_broken(struct loop *loop, const struct tw_err *err)
{
    if (loop->broken)
        return;
    loop->broken = true;
    loop->err = *err;
}

/* --- what the consumer tells ------------------------------------------------------------------------------------- */

static void on_assigned(void *self, const char *topic, int32_t partition)
{
    struct loop *loop = self;

    (void)topic; /* it follows one only */
    if (partition >= loop->env.turn.partition_count) {
        struct tw_err err;

        tw_fail(&err, TW_BROKEN, "loop", 0, "'%s' has partition %" PRId32 ", the manifest only %" PRId32,
                loop->env.commands_topic, partition, loop->env.turn.partition_count);
        stop_broken(loop, &err);
        return;
    }
    if (!loop->partitions[partition])
        loop->partitions[partition] = tw_partition_new(&loop->env, partition);
    loop->stalls[partition] = (struct tw_stall){0};
}

static void on_revoked(void *self, const char *topic, int32_t partition)
{
    struct loop *loop = self;

    (void)topic;
    tw_failpoint("in_revoke");
    tw_partition_free(loop->partitions[partition], REVOKE_FLUSH_MS);
    loop->partitions[partition] = NULL;
    tw_lag_forget(partition);
}

static void on_rebalanced(void *self, bool joined)
{
    struct loop *loop = self;
    int64_t      count = 0;

    loop->joined = joined;
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++)
        count += loop->partitions[i] != NULL;
    tw_metric_add(&owned, count - loop->owned_count);
    loop->owned_count = count;
    tw_log(TW_LOG_INFO, "group rebalanced", TW_F_INT("loop", loop->number), TW_F_BOOL("joined", joined),
           TW_F_INT("partitions", count));
}

static void on_message(void *self, rd_kafka_message_t *message)
{
    struct loop         *loop = self;
    struct tw_partition *partition = loop->partitions[message->partition];
    struct tw_err        err;

    if (!partition)
        rd_kafka_message_destroy(message); /* fetched before it was revoked */
    else if (tw_partition_take(partition, message, &err) != TW_OK)
        stop_broken(loop, &err);
}

/* A broker that was restarted may take a static member for its own rival. A new consumer joins under the same name;
 * the store's fence keeps everything right even when there really are two. */
static void lose_consumer(struct loop *loop, const struct tw_err *err)
{
    struct tw_err lost;

    if (!loop->consumer_lost)
        tw_log_err(TW_LOG_WARN, "the group consumer is lost; a new one joins", err, NULL);
    loop->consumer_lost = true;
    loop->joined = false;
    loop->reopen_at_us = tw_monotonic_us() + REOPEN_AFTER_US;
    if (err->rc == TW_FENCED && tw_rival_seen(&loop->rival, tw_monotonic_us(), loop->instance_id, &lost) != TW_OK)
        stop_broken(loop, &lost);
}

static void on_failed(void *self, int32_t partition, const struct tw_err *err)
{
    struct loop *loop = self;

    if (partition >= 0 && loop->partitions[partition])
        tw_partition_fail(loop->partitions[partition], err); /* its recovery finds out whether the log lies */
    else if (err->native == RD_KAFKA_RESP_ERR__FATAL)
        lose_consumer(loop, err);
    else
        tw_log_err(TW_LOG_WARN, "consumer", err, NULL);
}

static const char *topic_name(const struct tw_domain *domain, enum tw_topic_kind kind)
{
    return tw_topic_of(domain->number, kind)->name;
}

static enum tw_rc open_consumer(struct loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    struct tw_consumer_options       consumer = {
              .brokers = settings->kafka,
              .client_id = loop->context->spec->program,
              .group = *settings->group ? settings->group : loop->context->spec->program,
              .instance_id = loop->instance_id,
              .topics = &loop->env.commands_topic,
              .topic_count = 1,
              .session_timeout_ms = (int)settings->session_timeout_ms,
              .queue_kbytes = (int)settings->fetch_mbytes * 1024,
              .assigned = on_assigned,
              .revoked = on_revoked,
              .rebalanced = on_rebalanced,
              .message = on_message,
              .failed = on_failed,
              .self = loop,
    };

    if (*settings->instance_id)
        snprintf(loop->instance_id, sizeof(loop->instance_id), "%s-%d", settings->instance_id, loop->number);
    return tw_consumer_open(&consumer, &loop->consumer, reterr);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

/* A partition that cannot go on is left out of what is fetched; one that is ready comes in; the others go on at their
 * next offset. */
static void settle_assignment(struct loop *loop)
{
    struct tw_position *positions = tw_alloc_zeroed((size_t)loop->env.turn.partition_count, sizeof(*positions));
    size_t              count = 0;
    bool                changed = false;
    struct tw_err       err;

    for (int32_t i = 0; i < loop->env.turn.partition_count; i++) {
        struct tw_partition *partition = loop->partitions[i];

        if (!partition)
            continue;
        changed |= partition->state == TW_PARTITION_READY;
        changed |= partition->state == TW_PARTITION_RECOVERING && partition->in_assignment;
        partition->in_assignment = partition->state != TW_PARTITION_RECOVERING;
        if (partition->in_assignment)
            positions[count++] =
                (struct tw_position){loop->env.commands_topic, i, tw_partition_fetch_offset(partition)};
    }
    if (changed) {
        if (tw_consumer_assign(loop->consumer, positions, count, &err) == TW_OK) {
            for (size_t i = 0; i < count; i++)
                loop->partitions[positions[i].partition]->state = TW_PARTITION_RUNNING;
        } else {
            tw_log_err(TW_LOG_WARN, "cannot assign; trying again", &err, NULL);
        }
    }
    free(positions);
}

/* Room for one more fetch, and how long to wait for it. */
static size_t room_to_fetch(const struct loop *loop, int *ret_timeout_ms)
{
    size_t room = tw_cut_lane_records(&loop->env.batch);

    *ret_timeout_ms = tw_publisher_is_waiting(loop->env.publisher) ? 1 : IDLE_POLL_MS;
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++) {
        const struct tw_partition *partition = loop->partitions[i];

        if (!partition)
            continue;
        if (tw_partition_is_full(partition))
            room = 0;
        if (tw_partition_is_busy(partition))
            *ret_timeout_ms = 0;
        else if (partition->state == TW_PARTITION_RECOVERING && !tw_partition_is_frozen(partition) &&
                 *ret_timeout_ms > RECOVERING_POLL_MS)
            *ret_timeout_ms = RECOVERING_POLL_MS;
    }
    return room;
}

/* One call hands over a bounded number, often of one partition alone: goes on while there is more at hand, so that a
 * backlog is folded in full batches. */
static void fetch(struct loop *loop)
{
    int    timeout_ms;
    size_t room = room_to_fetch(loop, &timeout_ms);
    size_t count = TW_CONSUMER_POLL_MAX;

    while (room && count == TW_CONSUMER_POLL_MAX) {
        count = tw_consumer_poll(loop->consumer, timeout_ms, room);
        tw_metric_add(&consumed, (int64_t)count);
        room = room_to_fetch(loop, &timeout_ms);
    }
}

static void tell_lags(const struct loop *loop)
{
    int64_t now_ms = tw_now_ms();

    for (int32_t i = 0; i < loop->env.turn.partition_count; i++)
        if (loop->partitions[i])
            tw_lag_tell(loop->partitions[i], tw_consumer_log_end(loop->consumer, loop->env.commands_topic, i), now_ms);
}

static void tell_offsets(struct loop *loop)
{
    struct tw_position *positions;
    size_t              count = 0;

    if (tw_monotonic_us() - loop->told_at_us < 1000000)
        return;
    loop->told_at_us = tw_monotonic_us();
    tell_lags(loop);
    positions = tw_alloc_zeroed((size_t)loop->env.turn.partition_count, sizeof(*positions));
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++) {
        struct tw_partition *partition = loop->partitions[i];

        if (!partition || partition->progress.next_offset == partition->told_offset || !partition->progress.next_offset)
            continue;
        partition->told_offset = partition->progress.next_offset;
        positions[count++] = (struct tw_position){
            loop->env.commands_topic, i, partition->told_offset + (tw_failpoint("mutant_offset_ahead") ? 1 : 0)};
    }
    if (count) {
        tw_failpoint("before_offset_commit");
        tw_consumer_commit(loop->consumer, positions, count);
        tw_failpoint("after_offset_commit");
    }
    free(positions);
}

/* It has records to fold; what it is sent of other partitions may wait behind them. */
static bool is_behind(const struct loop *loop)
{
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++)
        if (loop->partitions[i] && loop->partitions[i]->lane_len > 0)
            return true;
    return false;
}

/* A broker that hangs keeps its connections. Whoever is behind fetches nothing while it has enough, and hears little. */
static bool broker_is_silent(const struct loop *loop)
{
    bool fetches = false;

    for (int32_t i = 0; i < loop->env.turn.partition_count; i++)
        fetches |= loop->partitions[i] && loop->partitions[i]->in_assignment;
    return fetches && !is_behind(loop) && tw_consumer_silent_us(loop->consumer) > TW_PULSE_LATE_US;
}

static const char *why_outside_the_group(const struct loop *loop, char text[TW_ADMIN_TEXT])
{
    if (*loop->context->stop)
        return "stopping";
    if (tw_rival_is_near(&loop->rival, tw_monotonic_us())) {
        snprintf(text, TW_ADMIN_TEXT, "another process took the place of instance_id '%s' in the group",
                 loop->instance_id);
        return text;
    }
    if (loop->consumer_lost)
        return "the group consumer gave up; a new one is about to join";
    if (!loop->joined)
        return "waiting for the broker: not in the consumer group yet";
    if (!tw_consumer_is_connected(loop->consumer) || broker_is_silent(loop))
        return "the broker does not answer";
    return tw_publisher_has_producer(loop->env.publisher) ? NULL : "no producer for the events can be made";
}

static bool is_held_up(struct loop *loop, const struct tw_partition *partition, char text[TW_ADMIN_TEXT])
{
    int32_t number = partition->number;
    int64_t log_end = is_behind(loop) ? -1 : tw_consumer_log_end(loop->consumer, loop->env.commands_topic, number);

    static_assert((int)TW_STALL_TEXT <= (int)TW_ADMIN_TEXT, "it fits");
    if (tw_stall_look(&loop->stalls[number], partition, log_end, tw_monotonic_us(), text))
        return true;
    if (partition->state == TW_PARTITION_RUNNING || tw_partition_is_frozen(partition))
        return false;
    snprintf(text, TW_ADMIN_TEXT, "partition %" PRId32 " is recovering: %.200s", number,
             partition->last_error.rc ? partition->last_error.msg : "reading its watermark");
    return true;
}

static const char *why_not_ready(struct loop *loop, char text[TW_ADMIN_TEXT])
{
    const char *outside = why_outside_the_group(loop, text);
    const char *reason = outside;
    char        held_up[TW_ADMIN_TEXT];

    /* All are looked at each time: each keeps when it last moved. */
    for (int32_t i = 0; i < loop->env.turn.partition_count && !loop->consumer_lost; i++) {
        if (!loop->partitions[i] || !is_held_up(loop, loop->partitions[i], held_up) || reason)
            continue;
        memcpy(text, held_up, sizeof(held_up));
        reason = text;
    }
    return reason;
}

/* Somebody wants the store to stand still. That is no fault of the worker: it is ready to go on. */
static const char *what_is_frozen(const struct loop *loop, char text[TW_ADMIN_TEXT])
{
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++) {
        const struct tw_partition *partition = loop->partitions[i];

        if (!partition || !tw_partition_is_frozen(partition))
            continue;
        snprintf(text, TW_ADMIN_TEXT, "partition %" PRId32 " is frozen: a rebuild or verify is at work%s", i,
                 partition->mark > 0 ? "" : "; if none runs, start the rebuild again: it goes on");
        return text;
    }
    return NULL;
}

static void tell_health(struct loop *loop)
{
    char        text[TW_ADMIN_TEXT];
    const char *reason = why_not_ready(loop, text);

    loop->told_health_at_us = tw_monotonic_us();
    if (reason)
        tw_admin_set(loop->context->admin, loop->number, reason);
    else
        tw_admin_set_ready(loop->context->admin, loop->number, what_is_frozen(loop, text));
}

static void drop_partitions(struct loop *loop)
{
    for (int32_t i = 0; i < loop->env.turn.partition_count; i++) {
        tw_partition_free(loop->partitions[i], 0);
        loop->partitions[i] = NULL;
    }
}

static void replace_consumer(struct loop *loop)
{
    struct tw_err err;

    tw_consumer_close(loop->consumer);
    loop->consumer = NULL;
    drop_partitions(loop);
    if (open_consumer(loop, &err) == TW_OK) {
        loop->consumer_lost = false;
    } else {
        tw_log_err(TW_LOG_WARN, "no new consumer yet", &err, NULL);
        loop->reopen_at_us = tw_monotonic_us() + REOPEN_AFTER_US;
    }
}

static void run(struct loop *loop)
{
    while (!must_stop(loop)) {
        if (loop->consumer_lost && tw_monotonic_us() >= loop->reopen_at_us)
            replace_consumer(loop);
        if (loop->consumer)
            fetch(loop);
        else
            tw_publisher_serve(loop->env.publisher, IDLE_POLL_MS);
        tw_publisher_serve(loop->env.publisher, 0);
        for (int32_t i = 0; i < loop->env.turn.partition_count && !loop->broken; i++) {
            struct tw_err err;

            if (loop->partitions[i] && tw_partition_step(loop->partitions[i], &err) != TW_OK)
                stop_broken(loop, &err);
            if (tw_monotonic_us() - loop->told_health_at_us > TELL_HEALTH_US) /* a step may wait long for the broker */
                tell_health(loop);
        }
        if (!loop->consumer_lost) {
            settle_assignment(loop);
            tell_offsets(loop);
        }
        tell_health(loop);
    }
}

/* --- in and out -------------------------------------------------------------------------------------------------- */

/* Nothing is folded before the store has answered once: its set-up errors are told here, by name. */
static enum tw_rc check_store(struct loop *loop, struct tw_err *reterr)
{
    struct tw_retry retry = {.what = "waiting for the store"};
    struct tw_err   err;

    while (!must_stop(loop)) {
        struct tw_progress progress;
        enum tw_rc         rc;

        tw_arena_reset(&loop->env.arena);
        tw_pulse("first question to the store");
        rc = loop->store.watermark(loop->store.self, 0, &loop->env.arena, &progress, &err);
        if (rc == TW_OK) {
            loop->store.release(loop->store.self, 0);
            return TW_OK;
        }
        if (tw_rc_action(rc) == TW_STOP) {
            *reterr = err;
            return rc;
        }
        tw_retry_pause(&retry, loop->context->admin, loop->number, &err);
    }
    return TW_OK;
}

static void fill_env(struct loop *loop)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    const struct tw_domain          *domain = loop->context->spec->domain;
    struct tw_partition_env         *env = &loop->env;

    tw_store_meter_wrap(&loop->meter, &loop->store, tw_store_system_of(loop->context->spec->store_uri), &loop->metered);
    env->turn.domain = domain;
    env->turn.store = &loop->metered;
    env->turn.partition_count = tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->partitions;
    env->turn.program = loop->context->program;
    memcpy(env->turn.id_key, loop->context->id_key, sizeof(env->turn.id_key));
    env->commands_topic = topic_name(domain, TW_TOPIC_COMMANDS);
    env->dlq_topic = topic_name(domain, TW_TOPIC_DLQ);
    env->batch = tw_cut_limits_of(domain, (size_t)settings->batch_records, (size_t)settings->batch_kbytes * 1024);
    env->cache_bytes = (size_t)settings->cache_mbytes * 1024 * 1024 / 2; /* two generations */
    env->broker_timeout_ms = (int)settings->broker_timeout_ms;
    loop->partitions = tw_alloc_zeroed((size_t)env->turn.partition_count, sizeof(*loop->partitions));
    loop->stalls = tw_alloc_zeroed((size_t)env->turn.partition_count, sizeof(*loop->stalls));
}

static enum tw_rc open_store(struct loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_spec     *spec = loop->context->spec;
    const struct tw_worker_settings *settings = loop->context->settings;

    TW_TRY(spec->open_store(settings->store_uri, (int)settings->store_timeout_ms, &loop->store, reterr));
    if (spec->pin_id_key) {
        char check[17];

        tw_id_key_check(loop->context->id_key, check);
        spec->pin_id_key(&loop->store, check);
    }
    return check_store(loop, reterr);
}

static enum tw_rc open_kafka(struct loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    const struct tw_domain          *domain = loop->context->spec->domain;
    struct tw_publisher_options      publisher = {
             .brokers = settings->kafka,
             .client_id = loop->context->spec->program,
             .domain = domain->name,
             .events_topic = topic_name(domain, TW_TOPIC_EVENTS),
             .dlq_topic = loop->env.dlq_topic,
             .linger_us = (int)settings->linger_us,
             .queue_kbytes = (int)settings->publish_mbytes * 1024,
    };

    TW_TRY(tw_publisher_open(&publisher, &loop->env.publisher, reterr));
    TW_TRY(tw_reader_open(settings->kafka, loop->context->spec->program, &loop->env.reader, reterr));
    return open_consumer(loop, reterr);
}

static enum tw_rc open_all(struct loop *loop, struct tw_err *reterr)
{
    fill_env(loop);
    TW_TRY(open_store(loop, reterr));
    return open_kafka(loop, reterr);
}

/* Order: events out, group left, store closed. What was not acknowledged is in the store's outbox. */
static void close_all(struct loop *loop)
{
    tw_failpoint("in_shutdown");
    tw_publisher_close(loop->env.publisher, STOP_FLUSH_MS);
    loop->env.publisher = NULL;
    tw_consumer_close(loop->consumer);
    drop_partitions(loop);
    free(loop->partitions);
    free(loop->stalls);
    tw_reader_close(loop->env.reader);
    if (loop->store.self)
        loop->context->spec->close_store(&loop->store);
    tw_arena_done(&loop->env.arena);
}

enum tw_rc tw_loop_run(const struct tw_loop_context *context, int number, struct tw_err *reterr)
{
    struct loop loop = {.context = context, .number = number};
    char        name[TW_PULSE_NAME];

    snprintf(name, sizeof(name), "loop %d", number);
    tw_pulse_begin(name);
    tw_pulse("opening store and consumer");
    if (open_all(&loop, &loop.err) != TW_OK)
        loop.broken = true;
    else
        run(&loop);
    close_all(&loop);
    tw_pulse_end();
    if (!loop.broken)
        return TW_OK;
    *reterr = loop.err;
    return loop.err.rc;
}
