/*
 * One way back, as for partitions: whatever goes wrong (a report that failed, a consumer that was lost), consumer and
 * producer are closed and opened again, and reading starts where the group was last told.
 */
#include "policy_loop.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consumer.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

enum { POLL_MS = 100, POLL_MAX = 500, REPORT_POLL_MS = 20, TELL_US = 1000000, REOPEN_MS = 500, FLUSH_MS = 2000 };
enum { QUEUE_KBYTES = 8192 };

static struct tw_metric commands_sent = {.name = "tillwire_policy_commands_total",
                                         .help = "Commands written by this worker's policy."};

/* How far one partition's events were followed. */
struct place {
    int64_t next_offset; /* of the event topic; -1: nothing read yet */
    int64_t told_offset;
    int64_t cause, n; /* highest (tw_cause_offset, tw_n): events that are not above it are repeats */
};

struct policy_loop {
    const struct tw_loop_context *context;
    const struct tw_policy       *policy;
    int                           number;
    const char                   *topic;
    int32_t                       partition_count;
    struct place                 *places; /* by partition */
    bool                         *owned;  /* by partition */
    struct tw_consumer           *consumer;
    struct tw_producer           *producer;
    struct tw_arena               arena; /* of one event */
    struct tw_buf                 pack;
    size_t                        unreported;
    bool                          joined;
    bool                          failed; /* open everything anew */
    int64_t                       told_at_us;
};

struct tw_policy_out {
    struct policy_loop     *loop;
    const struct tw_record *event;
    int                     count; /* commands of this event so far */
};

static bool must_stop(const struct policy_loop *loop)
{
    return atomic_load_explicit(loop->context->stop, memory_order_relaxed);
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

/* The same event and place among its commands always give the same id. */
static struct tw_uuid command_id(const struct tw_policy_out *out, const struct tw_policy_command *command,
                                 int32_t partition)
{
    struct tw_str            event_id = tw_header_find(out->event, TW_H_ID);
    crypto_generichash_state state;
    uint8_t                  digest[16];
    uint8_t                  count = (uint8_t)out->count;

    crypto_generichash_init(&state, NULL, 0, sizeof(digest));
    crypto_generichash_update(&state, (const uint8_t *)"tillwire/policy/v1", sizeof("tillwire/policy/v1"));
    crypto_generichash_update(&state, (const uint8_t *)out->loop->policy->name, strlen(out->loop->policy->name) + 1);
    crypto_generichash_update(&state, (const uint8_t *)event_id.ptr, event_id.len);
    crypto_generichash_update(&state, &count, sizeof(count));
    crypto_generichash_final(&state, digest, sizeof(digest));
    return tw_command_id_keyed(digest, command->domain, partition);
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
        if (rc != TW_OK)
            tw_producer_poll(loop->producer, REPORT_POLL_MS); /* the queue is full, or the broker is away */
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
            .traceparent = tw_header_find(out->event, TW_H_TRACEPARENT),
            .caller = command->caller,
            .if_version = -1,
            .original_ms = -1,
    };

    tw_uuid_format(command->aggregate, key);
    partition = tw_partition_of((struct tw_str){key, TW_UUID_TEXT}, topic->partitions);
    envelope.command_id = command_id(out, command, partition);
    tw_buf_clear(&loop->pack);
    command->type->pack(command->body, &loop->pack);
    crypto_generichash(envelope.fingerprint, sizeof(envelope.fingerprint), (const uint8_t *)loop->pack.ptr,
                       loop->pack.len, NULL, 0);
    produce(loop, topic->name, partition, (struct tw_str){key, TW_UUID_TEXT}, &envelope);
    out->count++;
}

/* --- following ---------------------------------------------------------------------------------------------------- */

static void on_assigned(void *self, int32_t partition)
{
    struct policy_loop *loop = self;

    if (partition >= loop->partition_count)
        return;
    loop->owned[partition] = true;
    loop->places[partition] = (struct place){.next_offset = -1, .told_offset = -1, .cause = -1, .n = -1};
}

static void on_revoked(void *self, int32_t partition)
{
    struct policy_loop *loop = self;

    if (partition < loop->partition_count)
        loop->owned[partition] = false;
}

static void on_rebalanced(void *self, bool joined)
{
    struct policy_loop *loop = self;
    struct tw_position *positions = tw_alloc_zeroed((size_t)loop->partition_count, sizeof(*positions));
    size_t              count = 0;
    struct tw_err       err;

    loop->joined = joined;
    for (int32_t i = 0; i < loop->partition_count; i++)
        if (loop->owned[i])
            positions[count++] = (struct tw_position){loop->topic, i, TW_OFFSET_OF_GROUP};
    if (joined && tw_consumer_assign(loop->consumer, positions, count, &err) != TW_OK) {
        tw_log_err(TW_LOG_WARN, "policy: cannot assign; joining again", &err, NULL);
        loop->failed = true;
    }
    free(positions);
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

static void follow(struct policy_loop *loop, const struct tw_record *record)
{
    struct tw_policy_out   out = {.loop = loop, .event = record};
    struct tw_policy_event event = {tw_header_find(record, TW_H_TYPE), record->value};
    struct tw_err          err;

    tw_arena_reset(&loop->arena);
    if (loop->policy->react(&event, &loop->arena, &out, &err) != TW_OK)
        tw_log_err(TW_LOG_ERROR, "policy: an event that cannot be read is passed over", &err,
                   (const struct tw_log_field[]){TW_F_TEXT("topic", loop->topic),
                                                 TW_F_INT("partition", record->partition),
                                                 TW_F_INT("offset", record->offset),
                                                 {0}});
    if (out.count)
        tw_failpoint("policy_after_produce");
}

static void on_message(void *self, rd_kafka_message_t *message)
{
    struct policy_loop *loop = self;
    struct place       *place = &loop->places[message->partition];
    struct tw_header    headers[TW_KAFKA_HEADERS_MAX];
    struct tw_record    record;

    if (loop->owned[message->partition] && !loop->failed) {
        tw_kafka_record(message, headers, &record);
        tw_failpoint("policy_after_consume");
        if (is_new(place, &record))
            follow(loop, &record);
        place->next_offset = message->offset + 1;
    }
    rd_kafka_message_destroy(message);
}

static void on_failed(void *self, int32_t partition, const struct tw_err *err)
{
    struct policy_loop *loop = self;

    tw_log_err(TW_LOG_WARN, "policy: consumer", err, NULL);
    loop->failed |= partition >= 0 || err->native == RD_KAFKA_RESP_ERR__FATAL;
}

/* Only what is surely in the log is passed: every command of the events before has its report. */
static void tell_offsets(struct policy_loop *loop)
{
    struct tw_position *positions;
    size_t              count = 0;

    if (tw_monotonic_us() - loop->told_at_us < TELL_US)
        return;
    loop->told_at_us = tw_monotonic_us();
    positions = tw_alloc_zeroed((size_t)loop->partition_count, sizeof(*positions));
    for (int32_t i = 0; i < loop->partition_count; i++) {
        struct place *place = &loop->places[i];

        if (!loop->owned[i] || place->next_offset < 0 || place->next_offset == place->told_offset)
            continue;
        place->told_offset = place->next_offset;
        positions[count++] = (struct tw_position){loop->topic, i, place->told_offset};
    }
    if (count) {
        tw_failpoint("policy_before_offset_commit");
        tw_consumer_commit(loop->consumer, positions, count);
    }
    free(positions);
}

static void wait_for_reports(struct policy_loop *loop)
{
    while (loop->unreported && !loop->failed && !must_stop(loop)) {
        tw_producer_poll(loop->producer, REPORT_POLL_MS);
        loop->failed |= tw_producer_is_dead(loop->producer);
        tw_admin_set(loop->context->admin, loop->number, NULL);
    }
}

static void run(struct policy_loop *loop)
{
    while (!must_stop(loop) && !loop->failed) {
        tw_consumer_poll(loop->consumer, POLL_MS, POLL_MAX);
        wait_for_reports(loop);
        tw_producer_poll(loop->producer, 0);
        if (!loop->unreported && !loop->failed)
            tell_offsets(loop);
        tw_admin_set(loop->context->admin, loop->number,
                     loop->joined ? NULL : "waiting for the broker: the policy is not in its consumer group yet");
    }
}

/* --- in and out --------------------------------------------------------------------------------------------------- */

static enum tw_rc open_all(struct policy_loop *loop, struct tw_err *reterr)
{
    const struct tw_worker_settings *settings = loop->context->settings;
    const char                      *program = loop->context->spec->program;
    char                             group[160];
    char                             instance_id[128] = "";
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
        .instance_id = instance_id,
        .topic = loop->topic,
        .session_timeout_ms = (int)settings->session_timeout_ms,
        .queue_kbytes = QUEUE_KBYTES,
        .from_group = true,
        .assigned = on_assigned,
        .revoked = on_revoked,
        .rebalanced = on_rebalanced,
        .message = on_message,
        .failed = on_failed,
        .self = loop,
    };

    if (*settings->instance_id)
        snprintf(instance_id, sizeof(instance_id), "%s-policy", settings->instance_id);
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
    memset(loop->owned, 0, (size_t)loop->partition_count * sizeof(*loop->owned));
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
    return TW_OK;
}

enum tw_rc tw_policy_loop_run(const struct tw_loop_context *context, int number, struct tw_err *reterr)
{
    const struct tw_policy *policy = context->spec->policy;
    const struct tw_topic  *topic = tw_topic_of(policy->follows, TW_TOPIC_EVENTS);
    struct policy_loop      loop = {
             .context = context,
             .policy = policy,
             .number = number,
             .topic = topic->name,
             .partition_count = topic->partitions,
             .places = tw_alloc_zeroed((size_t)topic->partitions, sizeof(struct place)),
             .owned = tw_alloc_zeroed((size_t)topic->partitions, sizeof(bool)),
    };
    enum tw_rc rc = live(&loop, reterr);

    tw_buf_done(&loop.pack);
    tw_arena_done(&loop.arena);
    free(loop.places);
    free(loop.owned);
    return rc;
}
