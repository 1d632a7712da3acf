#include "worker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "partition.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/settings.h"

enum { EXIT_WRONG_SETTINGS = 2, EXIT_BROKEN = 3 };
enum { REOPEN_AFTER_US = 2000000 };
enum { IDLE_POLL_MS = 100, RECOVERING_POLL_MS = 10, START_RETRY_MS = 1000, STOP_FLUSH_MS = 3000, REVOKE_FLUSH_MS = 5000 };

struct settings {
    const char *kafka;
    const char *store_uri;
    const char *admin_listen;
    const char *id_key_file;
    const char *group;
    const char *instance_id;
    const char *log_level;
    int64_t     batch_records;
    int64_t     batch_kbytes;
    int64_t     cache_mbytes;
    int64_t     fetch_mbytes;
    int64_t     publish_mbytes;
    int64_t     linger_us;
    int64_t     store_timeout_ms;
    int64_t     broker_timeout_ms;
    int64_t     session_timeout_ms;
};

#define OFFSET(member) offsetof(struct settings, member)

/* The row of the store's address is the worker's own: see make_table(). */
static const struct tw_setting rows[] = {
    {.name = "kafka", .offset = OFFSET(kafka), .help = "Brokers, host:port with commas; ?name=value&… sets librdkafka's own settings."},
    {.name = "admin_listen", .offset = OFFSET(admin_listen), .fallback = "127.0.0.1:8082", .help = "Address of /healthz, /readyz and /metrics."},
    {.name = "id_key_file", .offset = OFFSET(id_key_file), .secret = true, .help = "File with the 32-byte id key as hex; the same for every program, for ever."},
    {.name = "group", .offset = OFFSET(group), .fallback = "", .help = "Consumer group; empty: the program's name."},
    {.name = "instance_id", .offset = OFFSET(instance_id), .fallback = "", .help = "Static group member id: a restart keeps its partitions; empty: none."},
    {.name = "cache_mbytes", .type = TW_SET_INT, .offset = OFFSET(cache_mbytes), .fallback = "32", .min = 0, .max = 4096, .help = "States kept between batches, MiB a partition."},
    {.name = "fetch_mbytes", .type = TW_SET_INT, .offset = OFFSET(fetch_mbytes), .fallback = "32", .min = 1, .max = 1024, .help = "Records fetched ahead, MiB."},
    {.name = "publish_mbytes", .type = TW_SET_INT, .offset = OFFSET(publish_mbytes), .fallback = "64", .min = 4, .max = 1024, .help = "Events waiting for the broker, MiB."},
    {.name = "linger_us", .type = TW_SET_INT, .offset = OFFSET(linger_us), .fallback = "0", .min = 0, .max = 1000000, .help = "How long the producer waits for company, microseconds."},
    {.name = "store_timeout_ms", .type = TW_SET_INT, .offset = OFFSET(store_timeout_ms), .fallback = "5000", .min = 100, .max = 60000, .help = "A store call that takes longer has failed, ms."},
    {.name = "broker_timeout_ms", .type = TW_SET_INT, .offset = OFFSET(broker_timeout_ms), .fallback = "10000", .min = 500, .max = 60000, .help = "A question to the broker that takes longer has failed, ms."},
    {.name = "session_timeout_ms", .type = TW_SET_INT, .offset = OFFSET(session_timeout_ms), .fallback = "10000", .min = 6000, .max = 300000, .help = "Silent for this long, a worker loses its partitions, ms."},
    {.name = "log_level", .type = TW_SET_CHOICE, .offset = OFFSET(log_level), .fallback = "info", .choices = "error|warn|info|debug", .help = "Least important lines that are written."},
};

struct worker {
    const struct tw_worker_spec *spec;
    struct settings              settings;
    struct tw_store              store;
    struct tw_partition_env      env;
    struct tw_consumer          *consumer;
    struct tw_admin             *admin;
    struct tw_partition        **partitions; /* by number; NULL: not ours */
    bool                         joined;
    bool                         consumer_lost; /* it gave up for good: a new one takes its place */
    int64_t                      reopen_at_us;
    bool                         broken; /* stop: `err` says why */
    struct tw_err                err;
    int64_t                      told_at_us;
    char                         program[64];
};

static struct tw_metric owned = {.name = "tillwire_partitions", .kind = TW_GAUGE, .help = "Command partitions this worker owns."};

static atomic_bool stop_asked; /* lock-free: set in a signal handler */

static void on_stop_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&stop_asked, true);
}

static void catch_signals(void)
{
    struct sigaction stop = {.sa_handler = on_stop_signal};

    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void stop_broken(struct worker *worker, const struct tw_err *err)
{
    if (worker->broken)
        return;
    worker->broken = true;
    worker->err = *err;
}

/* --- what the consumer tells ------------------------------------------------------------------------------------- */

static void on_assigned(void *self, int32_t partition)
{
    struct worker *worker = self;

    if (partition >= worker->env.turn.partition_count) {
        struct tw_err err;

        tw_fail(&err, TW_BROKEN, "worker", 0, "'%s' has partition %" PRId32 ", the manifest only %" PRId32,
                worker->env.commands_topic, partition, worker->env.turn.partition_count);
        stop_broken(worker, &err);
        return;
    }
    if (!worker->partitions[partition])
        worker->partitions[partition] = tw_partition_new(&worker->env, partition);
}

static void on_revoked(void *self, int32_t partition)
{
    struct worker *worker = self;

    tw_failpoint("in_revoke");
    tw_partition_free(worker->partitions[partition], REVOKE_FLUSH_MS);
    worker->partitions[partition] = NULL;
}

static void on_rebalanced(void *self, bool joined)
{
    struct worker *worker = self;
    int64_t        count = 0;

    worker->joined = joined;
    for (int32_t i = 0; i < worker->env.turn.partition_count; i++)
        count += worker->partitions[i] != NULL;
    tw_metric_set(&owned, count);
    tw_log(TW_LOG_INFO, "group rebalanced", TW_F_BOOL("joined", joined), TW_F_INT("partitions", count));
}

static void on_message(void *self, rd_kafka_message_t *message)
{
    struct worker       *worker = self;
    struct tw_partition *partition = worker->partitions[message->partition];
    struct tw_err        err;

    if (!partition)
        rd_kafka_message_destroy(message); /* fetched before it was revoked */
    else if (tw_partition_take(partition, message, &err) != TW_OK)
        stop_broken(worker, &err);
}

/* A broker that was restarted may take a static member for its own rival. A new consumer joins under the same name;
 * the store's fence keeps everything right even when there really are two. */
static void lose_consumer(struct worker *worker, const struct tw_err *err)
{
    if (!worker->consumer_lost)
        tw_log_err(TW_LOG_WARN, "the group consumer is lost; a new one joins", err, NULL);
    worker->consumer_lost = true;
    worker->joined = false;
    worker->reopen_at_us = tw_monotonic_us() + REOPEN_AFTER_US;
}

static void on_failed(void *self, int32_t partition, const struct tw_err *err)
{
    struct worker *worker = self;

    if (partition >= 0 && worker->partitions[partition])
        tw_partition_fail(worker->partitions[partition], err); /* its recovery finds out whether the log lies */
    else if (err->native == RD_KAFKA_RESP_ERR__FATAL)
        lose_consumer(worker, err);
    else
        tw_log_err(TW_LOG_WARN, "consumer", err, NULL);
}

static const char *topic_name(const struct tw_domain *domain, enum tw_topic_kind kind)
{
    return tw_topic_of(domain->number, kind)->name;
}

static enum tw_rc open_consumer(struct worker *worker, struct tw_err *reterr)
{
    const struct settings     *settings = &worker->settings;
    struct tw_consumer_options consumer = {
        .brokers = settings->kafka,
        .client_id = worker->spec->program,
        .group = *settings->group ? settings->group : worker->spec->program,
        .instance_id = settings->instance_id,
        .topic = worker->env.commands_topic,
        .session_timeout_ms = (int)settings->session_timeout_ms,
        .queue_kbytes = (int)settings->fetch_mbytes * 1024,
        .assigned = on_assigned,
        .revoked = on_revoked,
        .rebalanced = on_rebalanced,
        .message = on_message,
        .failed = on_failed,
        .self = worker,
    };

    return tw_consumer_open(&consumer, &worker->consumer, reterr);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

/* A partition that cannot go on is left out of what is fetched; one that is ready comes in; the others go on at their
 * next offset. */
static void settle_assignment(struct worker *worker)
{
    struct tw_position *positions = tw_alloc_zeroed((size_t)worker->env.turn.partition_count, sizeof(*positions));
    size_t              count = 0;
    bool                changed = false;
    struct tw_err       err;

    for (int32_t i = 0; i < worker->env.turn.partition_count; i++) {
        struct tw_partition *partition = worker->partitions[i];

        if (!partition)
            continue;
        changed |= partition->state == TW_PARTITION_READY;
        changed |= partition->state == TW_PARTITION_RECOVERING && partition->in_assignment;
        partition->in_assignment = partition->state != TW_PARTITION_RECOVERING;
        if (partition->in_assignment)
            positions[count++] = (struct tw_position){worker->env.commands_topic, i, tw_partition_fetch_offset(partition)};
    }
    if (changed) {
        if (tw_consumer_assign(worker->consumer, positions, count, &err) == TW_OK) {
            for (size_t i = 0; i < count; i++)
                worker->partitions[positions[i].partition]->state = TW_PARTITION_RUNNING;
        } else {
            tw_log_err(TW_LOG_WARN, "cannot assign; trying again", &err, NULL);
        }
    }
    free(positions);
}

/* Room for one more fetch, and how long to wait for it. */
static size_t room_to_fetch(const struct worker *worker, int *ret_timeout_ms)
{
    size_t room = 4 * worker->env.batch_records;

    *ret_timeout_ms = tw_publisher_is_waiting(worker->env.publisher) ? 1 : IDLE_POLL_MS;
    for (int32_t i = 0; i < worker->env.turn.partition_count; i++) {
        const struct tw_partition *partition = worker->partitions[i];

        if (!partition)
            continue;
        if (partition->lane_len >= 4 * worker->env.batch_records)
            room = 0;
        if (tw_partition_is_busy(partition))
            *ret_timeout_ms = 0;
        else if (partition->state == TW_PARTITION_RECOVERING && *ret_timeout_ms > RECOVERING_POLL_MS)
            *ret_timeout_ms = RECOVERING_POLL_MS;
    }
    return room;
}

/* One call hands over a bounded number, often of one partition alone: goes on while there is more at hand, so that a
 * backlog is folded in full batches. */
static void fetch(struct worker *worker)
{
    int    timeout_ms;
    size_t room = room_to_fetch(worker, &timeout_ms);

    while (room && tw_consumer_poll(worker->consumer, timeout_ms, room) == TW_CONSUMER_POLL_MAX)
        room = room_to_fetch(worker, &timeout_ms);
}

static void tell_offsets(struct worker *worker)
{
    struct tw_position *positions;
    size_t              count = 0;

    if (tw_monotonic_us() - worker->told_at_us < 1000000)
        return;
    worker->told_at_us = tw_monotonic_us();
    positions = tw_alloc_zeroed((size_t)worker->env.turn.partition_count, sizeof(*positions));
    for (int32_t i = 0; i < worker->env.turn.partition_count; i++) {
        struct tw_partition *partition = worker->partitions[i];

        if (!partition || partition->progress.next_offset == partition->told_offset || !partition->progress.next_offset)
            continue;
        partition->told_offset = partition->progress.next_offset;
        positions[count++] = (struct tw_position){worker->env.commands_topic, i, partition->told_offset};
    }
    if (count) {
        tw_failpoint("before_offset_commit");
        tw_consumer_commit(worker->consumer, positions, count);
        tw_failpoint("after_offset_commit");
    }
    free(positions);
}

static void tell_health(struct worker *worker)
{
    char        text[256];
    const char *reason = NULL;

    if (stop_asked)
        reason = "stopping";
    else if (worker->consumer_lost)
        reason = "the group consumer gave up; a new one is about to join";
    else if (!worker->joined)
        reason = "waiting for the broker: not in the consumer group yet";
    else if (!tw_consumer_is_connected(worker->consumer))
        reason = "the broker does not answer";
    for (int32_t i = 0; !reason && i < worker->env.turn.partition_count; i++) {
        const struct tw_partition *partition = worker->partitions[i];

        if (!partition || partition->state == TW_PARTITION_RUNNING)
            continue;
        snprintf(text, sizeof(text), "partition %" PRId32 " is recovering: %.200s", i,
                 partition->last_error.rc ? partition->last_error.msg : "reading its watermark");
        reason = text;
    }
    tw_admin_set(worker->admin, reason);
}

static void drop_partitions(struct worker *worker)
{
    for (int32_t i = 0; i < worker->env.turn.partition_count; i++) {
        tw_partition_free(worker->partitions[i], 0);
        worker->partitions[i] = NULL;
    }
}

static void replace_consumer(struct worker *worker)
{
    struct tw_err err;

    tw_consumer_close(worker->consumer);
    worker->consumer = NULL;
    drop_partitions(worker);
    if (open_consumer(worker, &err) == TW_OK) {
        worker->consumer_lost = false;
    } else {
        tw_log_err(TW_LOG_WARN, "no new consumer yet", &err, NULL);
        worker->reopen_at_us = tw_monotonic_us() + REOPEN_AFTER_US;
    }
}

static void run(struct worker *worker)
{
    while (!stop_asked && !worker->broken) {
        if (worker->consumer_lost && tw_monotonic_us() >= worker->reopen_at_us)
            replace_consumer(worker);
        if (worker->consumer)
            fetch(worker);
        else
            tw_publisher_serve(worker->env.publisher, IDLE_POLL_MS);
        tw_publisher_serve(worker->env.publisher, 0);
        for (int32_t i = 0; i < worker->env.turn.partition_count && !worker->broken; i++) {
            struct tw_err err;

            if (worker->partitions[i] && tw_partition_step(worker->partitions[i], &err) != TW_OK)
                stop_broken(worker, &err);
        }
        if (!worker->consumer_lost) {
            settle_assignment(worker);
            tell_offsets(worker);
        }
        tell_health(worker);
    }
}

/* --- in and out -------------------------------------------------------------------------------------------------- */

static void pause_before_retry(struct worker *worker, const char *what, const struct tw_err *err, bool *told)
{
    const struct timespec pause = {START_RETRY_MS / 1000, START_RETRY_MS % 1000 * 1000000L};

    if (!*told)
        tw_log_err(TW_LOG_WARN, what, err, NULL);
    *told = true;
    tw_admin_set(worker->admin, err->msg);
    nanosleep(&pause, NULL);
}

/* The topics must be what the manifest says before anything is read: partition counts are part of the data. */
static enum tw_rc check_topics(struct worker *worker, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf differences = {0};
    struct tw_err err;
    bool          told = false;

    while (!stop_asked) {
        enum tw_rc rc = (worker->spec->diff_topics ? worker->spec->diff_topics : tw_topics_diff)(
            worker->settings.kafka, worker->spec->domain->name, (int)worker->settings.broker_timeout_ms, &differences,
            &err);

        if (rc == TW_OK && !differences.len)
            return TW_OK;
        if (rc == TW_OK)
            return tw_fail(reterr, TW_BROKEN, "worker", 0, "topics differ from the manifest (see `twctl topics diff`): %.*s",
                           TW_STR_ARG(tw_buf_str(&differences)));
        if (tw_rc_action(rc) != TW_RETRY) {
            *reterr = err;
            return rc;
        }
        pause_before_retry(worker, "waiting for the broker", &err, &told);
    }
    return TW_OK;
}

/* Nothing is folded before the store has answered once: its set-up errors are told here, by name. */
static enum tw_rc check_store(struct worker *worker, struct tw_err *reterr)
{
    struct tw_err err;
    bool          told = false;

    while (!stop_asked) {
        struct tw_progress progress;
        enum tw_rc         rc;

        tw_arena_reset(&worker->env.arena);
        rc = worker->store.watermark(worker->store.self, 0, &worker->env.arena, &progress, &err);
        if (rc == TW_OK) {
            worker->store.release(worker->store.self, 0);
            return TW_OK;
        }
        if (tw_rc_action(rc) == TW_STOP) {
            *reterr = err;
            return rc;
        }
        pause_before_retry(worker, "waiting for the store", &err, &told);
    }
    return TW_OK;
}

static enum tw_rc read_id_key(struct worker *worker, struct tw_err *reterr)
{
    char *text = NULL;
    bool  valid;

    TW_TRY(tw_secret_read(worker->settings.id_key_file, 1024, &text, reterr));
    valid = tw_hex_parse(tw_str_of(text), worker->env.turn.id_key, TW_ID_KEY_BYTES);
    free(text);
    if (valid)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, "worker", 0, "id_key_file '%s' must hold %d bytes as hex",
                   worker->settings.id_key_file, TW_ID_KEY_BYTES);
}

static enum tw_rc open_all(struct worker *worker, struct tw_err *reterr)
{
    const struct tw_domain     *domain = worker->spec->domain;
    const struct settings      *settings = &worker->settings;
    struct tw_publisher_options publisher = {
        .brokers = settings->kafka,
        .client_id = worker->spec->program,
        .domain = domain->name,
        .events_topic = topic_name(domain, TW_TOPIC_EVENTS),
        .dlq_topic = topic_name(domain, TW_TOPIC_DLQ),
        .linger_us = (int)settings->linger_us,
        .queue_kbytes = (int)settings->publish_mbytes * 1024,
    };

    worker->env.turn.domain = domain;
    worker->env.turn.store = &worker->store;
    worker->env.turn.partition_count = tw_topic_of(domain->number, TW_TOPIC_COMMANDS)->partitions;
    worker->env.turn.program = worker->program;
    worker->env.commands_topic = topic_name(domain, TW_TOPIC_COMMANDS);
    worker->env.dlq_topic = publisher.dlq_topic;
    worker->env.batch_records = (size_t)settings->batch_records;
    worker->env.batch_bytes = (size_t)settings->batch_kbytes * 1024;
    worker->env.cache_bytes = (size_t)settings->cache_mbytes * 1024 * 1024 / 2; /* two generations */
    worker->env.broker_timeout_ms = (int)settings->broker_timeout_ms;
    worker->partitions = tw_alloc_zeroed((size_t)worker->env.turn.partition_count, sizeof(*worker->partitions));
    TW_TRY(tw_admin_open(settings->admin_listen, &worker->admin, reterr));
    TW_TRY(read_id_key(worker, reterr));
    TW_TRY(worker->spec->open_store(settings->store_uri, (int)settings->store_timeout_ms, &worker->store, reterr));
    if (worker->spec->pin_id_key) {
        char check[17];

        tw_id_key_check(worker->env.turn.id_key, check);
        worker->spec->pin_id_key(&worker->store, check);
    }
    TW_TRY(check_topics(worker, reterr));
    TW_TRY(check_store(worker, reterr));
    TW_TRY(tw_publisher_open(&publisher, &worker->env.publisher, reterr));
    TW_TRY(tw_reader_open(settings->kafka, worker->spec->program, &worker->env.reader, reterr));
    return open_consumer(worker, reterr);
}

/* Order: events out, group left, store closed. What was not acknowledged is in the store's outbox. */
static void close_all(struct worker *worker)
{
    tw_failpoint("in_shutdown");
    tw_publisher_close(worker->env.publisher, STOP_FLUSH_MS);
    worker->env.publisher = NULL;
    tw_consumer_close(worker->consumer);
    drop_partitions(worker);
    free(worker->partitions);
    tw_reader_close(worker->env.reader);
    if (worker->store.self)
        worker->spec->close_store(&worker->store);
    tw_admin_close(worker->admin);
    tw_arena_done(&worker->env.arena);
}

static enum tw_settings_result read_settings(struct worker *worker, int argc, char **argv)
{
    const struct tw_worker_spec *spec = worker->spec;
    struct tw_setting table[TW_LEN(rows) + 4] = {
        {.name = spec->store_uri, .offset = OFFSET(store_uri), .secret = true, .help = spec->store_help},
        {.name = "batch_records", .type = TW_SET_INT, .offset = OFFSET(batch_records), .fallback = spec->batch_records, .min = 1, .max = 5000, .help = "Records folded in one commit, at most."},
        {.name = "batch_kbytes", .type = TW_SET_INT, .offset = OFFSET(batch_kbytes), .fallback = spec->batch_kbytes, .min = 1, .max = 1024, .help = "Bytes of records folded in one commit, KiB; one record always goes."},
    };

    memcpy(table + 3, rows, sizeof(rows));
    return tw_settings_read(table, spec->program, spec->about, argc, argv, &worker->settings, NULL);
}

int tw_worker_main(const struct tw_worker_spec *spec, int argc, char **argv)
{
    struct worker     worker = {.spec = spec};
    enum tw_log_level level = TW_LOG_INFO;

    switch (read_settings(&worker, argc, argv)) {
    case TW_SETTINGS_EXIT_OK:
        return 0;
    case TW_SETTINGS_EXIT_BAD:
        return EXIT_WRONG_SETTINGS;
    case TW_SETTINGS_RUN:
        break;
    }
    atomic_store(&stop_asked, false);
    tw_log_level_parse(worker.settings.log_level, &level);
    tw_log_init(spec->program, level);
    snprintf(worker.program, sizeof(worker.program), "%s %s", spec->program, TW_VERSION);
    catch_signals();
    if (open_all(&worker, &worker.err) != TW_OK)
        worker.broken = true;
    else
        run(&worker);
    if (worker.broken)
        tw_log_err(TW_LOG_ERROR, "stopping: this needs a person", &worker.err, NULL);
    close_all(&worker);
    return worker.broken ? EXIT_BROKEN : 0;
}
