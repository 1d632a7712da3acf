/*
 * One way back, as for partitions: whatever goes wrong (a report that failed, a consumer that was lost), consumer and
 * producer are closed and opened again, the policy forgets what it had left to do, and reading starts where the group
 * was last told. A store that the policy asks and that is away is no such thing: the step is tried again.
 */
#include "policy_loop.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "consumer.h"
#include "pace.h"
#include "policy_id.h"
#include "rival.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

enum { POLL_MS = 100, POLL_MAX = 500, REPORT_POLL_MS = 20, REOPEN_MS = 500, FLUSH_MS = 2000 };
enum { TELL_US = 1000000, TELL_AGAIN_US = 10000000, RETRY_US = 500000 };
enum { QUEUE_KBYTES = 8192, NICE = 10 };

static struct tw_metric commands_sent = {.name = "tillwire_policy_commands_total",
                                         .help = "Commands written by this worker's policy."};
static struct tw_metric is_spreading = {.name = "tillwire_policy_spreading",
                                        .kind = TW_GAUGE,
                                        .help = "1 while commands of an event wait for their turn, else 0."};
TW_METRICS_SHOWN(&commands_sent, &is_spreading)

/* How far one partition's events were followed. */
struct place {
    bool    owned;
    int64_t next_offset; /* of the event topic; -1: nothing read yet */
    int64_t told_offset;
    int64_t cause, n; /* highest (tw_cause_offset, tw_n): events that are not above it are repeats */
};

/* One topic of events. */
struct feed {
    enum tw_domain_number domain;
    const char           *topic;
    int32_t               partition_count;
    bool                  resting; /* assigned nothing of it, because the policy is full */
    struct place         *places;  /* by partition */
};

/* One of the two things the policy's work does, each with troubles of its own. */
struct step {
    int64_t retry_at_us;                                     /* of one that failed; 0: it did not */
    char    trouble[sizeof(((struct tw_err *)0)->msg) + 16]; /* why it did */
};

struct policy_loop {
    const struct tw_loop_context *context;
    const struct tw_policy       *policy;
    void                         *self; /* of the policy's work */
    int                           number;
    struct feed                   feeds[TW_POLICY_FOLLOWS_MAX];
    size_t                        feed_count;
    struct tw_consumer           *consumer;
    struct tw_producer           *producer;
    struct tw_arena               arena; /* of one event or step */
    struct tw_buf                 pack;
    struct tw_pace                pace;
    size_t                        unreported;
    bool                          joined;
    bool                          fetches; /* something is assigned */
    bool                          failed;  /* open everything anew */
    struct tw_rival               rival;
    char                          instance_id[128]; /* empty: no static member */
    struct tw_err                 err;              /* FENCED: another process is in its place */
    int64_t                       reported_us;      /* all was, when this was looked at last */
    int64_t                       told_at_us;
    int64_t                       told_all_at_us;
    struct step                   settling, spreading;
    bool                          paced; /* nothing could be done: what went before has to be paid for */
};

struct tw_policy_out {
    struct policy_loop *loop;
    int64_t             count; /* commands of this event or step so far */
};

static bool must_stop(const struct policy_loop *loop)
{
    return atomic_load_explicit(loop->context->stop, memory_order_relaxed) || loop->err.rc != TW_OK;
}

static struct feed *find_feed(struct policy_loop *loop, const char *topic)
{
    for (size_t i = 0; i < loop->feed_count; i++)
        if (!strcmp(loop->feeds[i].topic, topic))
            return &loop->feeds[i];
    return NULL;
}

static struct place *find_place(struct feed *feed, int32_t partition)
{
    return feed && partition < feed->partition_count ? &feed->places[partition] : NULL;
}

/* Reports come in a moment while the broker is well. */
static bool waits_for_reports(struct policy_loop *loop)
{
    if (!loop->unreported)
        loop->reported_us = tw_monotonic_us();
    return tw_monotonic_us() - loop->reported_us > TW_PULSE_LATE_US;
}

static bool broker_is_silent(const struct policy_loop *loop)
{
    return !tw_consumer_is_connected(loop->consumer) ||
           (loop->fetches && tw_consumer_silent_us(loop->consumer) > TW_PULSE_LATE_US);
}

static const char *why_not_ready(struct policy_loop *loop)
{
    if (tw_rival_is_near(&loop->rival, tw_monotonic_us()))
        return "policy: another process took its place in the group: each needs an instance_id of its own";
    if (!loop->joined)
        return "waiting for the broker: the policy is not in its consumer group yet";
    if (waits_for_reports(loop))
        return "policy: the broker does not acknowledge its commands";
    if (broker_is_silent(loop))
        return "policy: the broker does not answer";
    if (loop->settling.trouble[0])
        return loop->settling.trouble;
    return loop->spreading.trouble[0] ? loop->spreading.trouble : NULL;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void on_report(void *self, const struct tw_report *report)
{
    struct policy_loop *loop = self;

    loop->unreported--;
    if (report->rc == TW_OK)
        tw_metric_add(&commands_sent, 1);
    else
        loop->failed = true;
}

static void produce(struct policy_loop *loop, const char *topic, int32_t partition, struct tw_str key,
                    const struct tw_envelope *envelope)
{
    const struct tw_header *headers;
    size_t                  header_count;
    struct tw_str           source = tw_arena_printf(&loop->arena, "/tillwire/policy/%s", loop->policy->name);
    struct tw_err           err = {0};
    enum tw_rc              rc;

    tw_envelope_write(envelope, source.ptr, &loop->arena, &headers, &header_count);
    do {
        rc = tw_producer_send(loop->producer, topic, partition, key, tw_buf_str(&loop->pack), headers, header_count,
                              NULL, &err);
        if (rc != TW_OK) { /* the queue is full, or the broker is away */
            tw_producer_poll(loop->producer, REPORT_POLL_MS);
            tw_admin_set(loop->context->admin, loop->number, why_not_ready(loop));
        }
    } while (rc != TW_OK && !must_stop(loop) && !tw_producer_is_dead(loop->producer));
    if (rc == TW_OK)
        loop->unreported++;
    else
        loop->failed = true;
}

void tw_policy_send(struct tw_policy_out *out, const struct tw_policy_command *command)
{
    struct policy_loop    *loop = out->loop;
    const struct tw_topic *topic = tw_topic_of(command->domain, TW_TOPIC_COMMANDS);
    char                   key[TW_UUID_TEXT + 1];
    int32_t                partition;
    struct tw_envelope     envelope = {
            .type = tw_str_of(command->type->ce_type),
            .submitted_ms = tw_now_ms(),
            .traceparent = command->cause->traceparent,
            .caller = command->caller,
            .if_version = -1,
            .original_ms = -1,
    };

    tw_uuid_format(command->aggregate, key);
    partition = tw_partition_of((struct tw_str){key, TW_UUID_TEXT}, topic->partitions);
    tw_buf_clear(&loop->pack);
    command->type->pack(command->body, &loop->pack);
    envelope.command_id = tw_policy_command_id(loop->policy->name, command, tw_buf_str(&loop->pack), partition);
    crypto_generichash(envelope.fingerprint, sizeof(envelope.fingerprint), (const uint8_t *)loop->pack.ptr,
                       loop->pack.len, NULL, 0);
    produce(loop, topic->name, partition, (struct tw_str){key, TW_UUID_TEXT}, &envelope);
    out->count++;
}

/* --- the group ---------------------------------------------------------------------------------------------------- */

static void leave(struct policy_loop *loop, struct feed *feed, int32_t partition)
{
    if (loop->policy->work)
        loop->policy->work->suspend(loop->self, feed->domain, partition);
    feed->places[partition] = (struct place){.next_offset = -1, .told_offset = -1, .cause = -1, .n = -1};
}

/* @p all: also what is owned. */
static void forget(struct policy_loop *loop, bool all)
{
    for (size_t i = 0; i < loop->feed_count && loop->policy->work; i++)
        for (int32_t p = 0; p < loop->feeds[i].partition_count; p++)
            if (all || !loop->feeds[i].places[p].owned)
                loop->policy->work->forget(loop->self, loop->feeds[i].domain, p);
}

static void on_assigned(void *self, const char *topic, int32_t partition)
{
    struct policy_loop *loop = self;
    struct feed        *feed = find_feed(loop, topic);

    if (!find_place(feed, partition))
        return;
    leave(loop, feed, partition);
    feed->places[partition].owned = true;
}

static void on_revoked(void *self, const char *topic, int32_t partition)
{
    struct policy_loop *loop = self;
    struct feed        *feed = find_feed(loop, topic);

    if (find_place(feed, partition))
        leave(loop, feed, partition);
}

static size_t partitions_of_all(const struct policy_loop *loop)
{
    size_t count = 0;

    for (size_t i = 0; i < loop->feed_count; i++)
        count += (size_t)loop->feeds[i].partition_count;
    return count;
}

/* What is owned, from where it was followed to; nothing of a topic that rests: the group goes on, and what was fetched
 * is fetched again later. */
static void assign(struct policy_loop *loop)
{
    struct tw_position *positions = tw_alloc_zeroed(partitions_of_all(loop), sizeof(*positions));
    size_t              count = 0;
    struct tw_err       err;

    for (size_t i = 0; i < loop->feed_count; i++) {
        const struct feed *feed = &loop->feeds[i];

        for (int32_t p = 0; p < feed->partition_count && !feed->resting; p++) {
            const struct place *place = &feed->places[p];

            if (place->owned)
                positions[count++] = (struct tw_position){
                    feed->topic, p, place->next_offset < 0 ? TW_OFFSET_OF_GROUP : place->next_offset};
        }
    }
    loop->fetches = count > 0;
    if (tw_consumer_assign(loop->consumer, positions, count, &err) != TW_OK) {
        tw_log_err(TW_LOG_WARN, "policy: cannot assign; joining again", &err, NULL);
        loop->failed = true;
    }
    free(positions);
}

static void on_rebalanced(void *self, bool joined)
{
    struct policy_loop *loop = self;

    loop->joined = joined;
    if (!joined)
        return;
    forget(loop, false); /* in a rebalance all is taken away; what did not come back is another's */
    assign(loop);
}

static void rest_when_full(struct policy_loop *loop)
{
    const struct tw_policy_work *work = loop->policy->work;
    bool                         changed = false;

    if (!work || !loop->joined)
        return;
    for (size_t i = 0; i < loop->feed_count; i++) {
        bool full = work->is_full(loop->self, loop->feeds[i].domain);

        changed |= full != loop->feeds[i].resting;
        loop->feeds[i].resting = full;
    }
    if (changed)
        assign(loop);
}

static void on_failed(void *self, int32_t partition, const struct tw_err *err)
{
    struct policy_loop *loop = self;

    tw_log_err(TW_LOG_WARN, "policy: consumer", err, NULL);
    loop->failed |= partition >= 0 || err->native == RD_KAFKA_RESP_ERR__FATAL;
    if (err->rc == TW_FENCED)
        tw_rival_seen(&loop->rival, tw_monotonic_us(), loop->instance_id, &loop->err);
}

/* --- following ---------------------------------------------------------------------------------------------------- */

static bool is_followed(const struct tw_policy *policy, struct tw_str ce_type)
{
    for (size_t i = 0; policy->types[i]; i++)
        if (tw_str_is(ce_type, policy->types[i]->ce_type))
            return true;
    return false;
}

/* Repeats of events are dropped by the readers' rule: see docs/events.md. */
static bool is_new(struct place *place, const struct tw_record *event)
{
    int64_t cause, n;

    if (!tw_str_to_int(tw_header_find(event, TW_H_CAUSE_OFFSET), &cause) ||
        !tw_str_to_int(tw_header_find(event, TW_H_N), &n))
        return false;
    if (cause < place->cause || (cause == place->cause && n <= place->n))
        return false;
    place->cause = cause;
    place->n = n;
    return true;
}

static void sent(const struct tw_policy_out *out)
{
    if (out->count)
        tw_failpoint("policy_after_produce");
}

static void react(struct policy_loop *loop, const struct feed *feed, const struct tw_record *record)
{
    struct tw_policy_out   out = {.loop = loop};
    struct tw_policy_event event = {
        .cause = {.id = tw_header_find(record, TW_H_ID), .traceparent = tw_header_find(record, TW_H_TRACEPARENT)},
        .domain = feed->domain,
        .partition = record->partition,
        .offset = record->offset,
        .type = tw_header_find(record, TW_H_TYPE),
        .payload = record->value,
    };
    struct tw_err err;

    tw_arena_reset(&loop->arena);
    if (!tw_time_parse(tw_header_find(record, TW_H_TIME), &event.cause.time_ms))
        event.cause.time_ms = record->timestamp_ms;
    if (loop->policy->react(loop->self, &event, &loop->arena, &out, &err) != TW_OK)
        tw_log_err(TW_LOG_ERROR, "policy: an event that cannot be read is passed over", &err,
                   (const struct tw_log_field[]){TW_F_TEXT("topic", feed->topic),
                                                 TW_F_INT("partition", record->partition),
                                                 TW_F_INT("offset", record->offset),
                                                 {0}});
    sent(&out);
}

/* Most events are none of the policy's: their type says so, and nothing else of them is looked at. */
static void follow(struct policy_loop *loop, const struct feed *feed, struct place *place,
                   const struct tw_record *record)
{
    if (is_followed(loop->policy, tw_header_find(record, TW_H_TYPE)) &&
        (is_new(place, record) || loop->policy->repeats))
        react(loop, feed, record);
    place->next_offset = record->offset + 1;
}

static void on_message(void *self, rd_kafka_message_t *message)
{
    struct policy_loop *loop = self;
    struct feed        *feed = find_feed(loop, rd_kafka_topic_name(message->rkt));
    struct place       *place = find_place(feed, message->partition);
    struct tw_header    headers[TW_KAFKA_HEADERS_MAX];
    struct tw_record    record;

    if (place && place->owned && !loop->failed) {
        tw_kafka_record(message, headers, &record);
        tw_failpoint("policy_after_consume");
        follow(loop, feed, place, &record);
    }
    rd_kafka_message_destroy(message);
}

/* --- the policy's work -------------------------------------------------------------------------------------------- */

/* A step that failed is done again after a while; why is told once, until it is for another reason. */
static void step_done(struct step *step, enum tw_rc rc, const struct tw_err *err)
{
    char trouble[sizeof(step->trouble)];

    if (rc == TW_OK) {
        *step = (struct step){0};
        return;
    }
    snprintf(trouble, sizeof(trouble), "policy: %s", err->msg);
    if (strcmp(trouble, step->trouble) != 0)
        tw_log_err(tw_rc_action(rc) == TW_RETRY ? TW_LOG_WARN : TW_LOG_ERROR, "policy: it will be tried again", err,
                   NULL);
    memcpy(step->trouble, trouble, sizeof(trouble));
    step->retry_at_us = tw_monotonic_us() + RETRY_US;
}

static bool is_due(const struct step *step)
{
    return tw_monotonic_us() >= step->retry_at_us;
}

static void settle(struct policy_loop *loop)
{
    struct tw_policy_out out = {.loop = loop};
    struct tw_err        err;
    enum tw_rc           rc;

    tw_arena_reset(&loop->arena);
    tw_pulse("the policy asks its stores");
    rc = loop->policy->work->settle(loop->self, tw_monotonic_us(), &loop->arena, &out, &err);
    tw_pace_spend(&loop->pace, out.count);
    sent(&out);
    step_done(&loop->settling, rc, &err);
}

static void spread(struct policy_loop *loop, size_t max)
{
    struct tw_policy_out out = {.loop = loop};
    struct tw_err        err;
    enum tw_rc           rc;

    tw_arena_reset(&loop->arena);
    tw_pulse("the policy spreads a page");
    rc = loop->policy->work->spread(loop->self, max, &loop->arena, &out, &err);
    tw_pace_spend(&loop->pace, out.count);
    sent(&out);
    step_done(&loop->spreading, rc, &err);
}

/* Both may do what was allowed before either: so neither starves the other. The debt is paid before the next time. */
static void work(struct policy_loop *loop)
{
    const struct tw_policy_work *work = loop->policy->work;
    int64_t                      allowed;

    if (!work || loop->failed)
        return;
    allowed = tw_pace_allows(&loop->pace, tw_monotonic_us());
    loop->paced = !allowed;
    if (allowed && is_due(&loop->settling))
        settle(loop);
    if (allowed && is_due(&loop->spreading) && !loop->failed)
        spread(loop, (size_t)allowed);
    tw_metric_set(&is_spreading, work->is_spreading(loop->self));
}

/* How long to wait for events: less when there is something else to do. */
static int poll_ms(struct policy_loop *loop)
{
    bool spreads = loop->policy->work && !loop->spreading.retry_at_us && loop->policy->work->is_spreading(loop->self);
    int64_t wait_ms;

    if (!spreads && !loop->paced)
        return POLL_MS;
    wait_ms = (tw_pace_wait_us(&loop->pace, tw_monotonic_us()) + 999) / 1000;
    return wait_ms < POLL_MS ? (int)wait_ms : POLL_MS;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* Where a restart shall begin: before the oldest event that is not finished. */
static int64_t finished_offset(const struct policy_loop *loop, const struct feed *feed, int32_t partition)
{
    const struct tw_policy_work *work = loop->policy->work;
    int64_t                      oldest = work ? work->oldest(loop->self, feed->domain, partition) : INT64_MAX;
    int64_t                      next = feed->places[partition].next_offset;

    return oldest < next ? oldest : next;
}

/* What is news, or @p all. */
static size_t collect_offsets(struct policy_loop *loop, bool all, struct tw_position *ret_positions)
{
    size_t count = 0;

    for (size_t i = 0; i < loop->feed_count; i++) {
        const struct feed *feed = &loop->feeds[i];

        for (int32_t p = 0; p < feed->partition_count; p++) {
            struct place *place = &feed->places[p];
            int64_t       finished = finished_offset(loop, feed, p);

            if (!place->owned || finished < 0 || (finished == place->told_offset && !all))
                continue;
            place->told_offset = finished;
            ret_positions[count++] = (struct tw_position){feed->topic, p, finished};
        }
    }
    return count;
}

/* Only what is surely in the log is passed: every command of the events before has its report. Nobody waits for Kafka's
 * answer, so what was told once may be lost: from time to time all is told again. */
static void tell_offsets(struct policy_loop *loop)
{
    int64_t             now_us = tw_monotonic_us();
    bool                all = now_us - loop->told_all_at_us >= TELL_AGAIN_US;
    struct tw_position *positions;
    size_t              count;

    if (now_us - loop->told_at_us < TELL_US)
        return;
    loop->told_at_us = now_us;
    if (all)
        loop->told_all_at_us = now_us;
    positions = tw_alloc_zeroed(partitions_of_all(loop), sizeof(*positions));
    count = collect_offsets(loop, all, positions);
    if (count && !tw_failpoint("policy_before_offset_commit"))
        tw_consumer_commit(loop->consumer, positions, count);
    free(positions);
}

static void wait_for_reports(struct policy_loop *loop)
{
    while (loop->unreported && !loop->failed && !must_stop(loop)) {
        tw_producer_poll(loop->producer, REPORT_POLL_MS);
        loop->failed |= tw_producer_is_dead(loop->producer);
        tw_admin_set(loop->context->admin, loop->number, why_not_ready(loop));
    }
}

static void run(struct policy_loop *loop)
{
    while (!must_stop(loop) && !loop->failed) {
        rest_when_full(loop);
        tw_consumer_poll(loop->consumer, poll_ms(loop), POLL_MAX);
        work(loop);
        wait_for_reports(loop);
        tw_producer_poll(loop->producer, 0);
        if (!loop->unreported && !loop->failed)
            tell_offsets(loop);
        tw_admin_set(loop->context->admin, loop->number, why_not_ready(loop));
    }
}

/* --- in and out --------------------------------------------------------------------------------------------------- */

static enum tw_rc open_all(struct policy_loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    const char                      *program = loop->context->spec->program;
    const char                      *topics[TW_POLICY_FOLLOWS_MAX];
    char                             group[160];
    struct tw_producer_options       producer = {
              .brokers = settings->kafka,
              .client_id = program,
              .queue_kbytes = QUEUE_KBYTES,
              .report = on_report,
              .self = loop,
    };
    struct tw_consumer_options consumer = {
        .brokers = settings->kafka,
        .client_id = program,
        .group = group,
        .instance_id = loop->instance_id,
        .topics = topics,
        .topic_count = loop->feed_count,
        .session_timeout_ms = (int)settings->session_timeout_ms,
        .queue_kbytes = QUEUE_KBYTES,
        .gather_ms = loop->policy->gather_ms,
        .from_group = true,
        .assigned = on_assigned,
        .revoked = on_revoked,
        .rebalanced = on_rebalanced,
        .message = on_message,
        .failed = on_failed,
        .self = loop,
    };

    for (size_t i = 0; i < loop->feed_count; i++)
        topics[i] = loop->feeds[i].topic;
    if (*settings->instance_id)
        snprintf(loop->instance_id, sizeof(loop->instance_id), "%s-policy", settings->instance_id);
    snprintf(group, sizeof(group), "%s-policy", *settings->group ? settings->group : program);
    TW_TRY(tw_producer_open(&producer, &loop->producer, reterr));
    return tw_consumer_open(&consumer, &loop->consumer, reterr);
}

static void close_all(struct policy_loop *loop)
{
    tw_consumer_close(loop->consumer);
    tw_producer_close(loop->producer, FLUSH_MS);
    loop->consumer = NULL;
    loop->producer = NULL;
    loop->unreported = 0;
    loop->joined = false;
    for (size_t i = 0; i < loop->feed_count; i++) {
        loop->feeds[i].resting = false;
        for (int32_t p = 0; p < loop->feeds[i].partition_count; p++)
            leave(loop, &loop->feeds[i], p);
    }
    forget(loop, true);
}

static enum tw_rc live(struct policy_loop *loop, struct tw_err *reterr)
{
    const struct timespec pause = {0, REOPEN_MS * 1000000L};

    while (!must_stop(loop)) {
        enum tw_rc rc = open_all(loop, reterr);

        if (rc == TW_OK)
            run(loop);
        close_all(loop);
        if (rc != TW_OK)
            return rc;
        if (!loop->failed)
            continue;
        tw_log(TW_LOG_WARN, "policy: opening consumer and producer anew");
        loop->failed = false;
        nanosleep(&pause, NULL);
    }
    if (loop->err.rc != TW_OK)
        *reterr = loop->err;
    return loop->err.rc;
}

/* librdkafka's threads, made later, are as nice as the one that makes them. */
static void be_nice(void)
{
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) != 0)
        tw_log(TW_LOG_DEBUG, "the policy's thread keeps its priority");
}

static enum tw_rc open_work(struct policy_loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    struct tw_policy_settings        given = {
               .store_uri = settings->store_uri,
               .uri = settings->policy_uri,
               .timeout_ms = (int)settings->store_timeout_ms,
    };

    if (!loop->policy->work)
        return TW_OK;
    be_nice();
    tw_pace_init(&loop->pace, settings->policy_rate, tw_monotonic_us());
    return loop->policy->work->open(&given, &loop->self, reterr);
}

static void open_feeds(struct policy_loop *loop)
{
    const struct tw_policy *policy = loop->policy;

    while (loop->feed_count < TW_LEN(loop->feeds) && policy->follows[loop->feed_count]) {
        struct feed           *feed = &loop->feeds[loop->feed_count];
        const struct tw_topic *topic = tw_topic_of(policy->follows[loop->feed_count], TW_TOPIC_EVENTS);

        feed->domain = policy->follows[loop->feed_count++];
        feed->topic = topic->name;
        feed->partition_count = topic->partitions;
        feed->places = tw_alloc_zeroed((size_t)topic->partitions, sizeof(*feed->places));
    }
}

enum tw_rc tw_policy_loop_run(const struct tw_loop_context *context, int number, struct tw_err *reterr)
{
    struct policy_loop loop = {.context = context, .policy = context->spec->policy, .number = number};
    enum tw_rc         rc;

    tw_pulse_begin("policy");
    tw_pulse("opening the policy's stores");
    rc = open_work(&loop, reterr);
    open_feeds(&loop);
    if (rc == TW_OK)
        rc = live(&loop, reterr);
    if (loop.policy->work)
        loop.policy->work->close(loop.self);
    tw_buf_done(&loop.pack);
    tw_arena_done(&loop.arena);
    for (size_t i = 0; i < loop.feed_count; i++)
        free(loop.feeds[i].places);
    tw_pulse_end();
    return rc;
}
