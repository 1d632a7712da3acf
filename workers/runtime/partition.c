#include "partition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_LAST_MS = 5000,
    IDLE_CHECK_US = 1000000,
    SWEEP_US = 10000000,
    FROZEN_LOOK_US = 200000,
    REPORT_WAIT_MS = 1000
};

#define FOLDED(outcome)                                                        \
    {                                                                          \
        .name = "tillwire_records_total", .labels = "outcome=\"" outcome "\"", \
        .help = "Command records folded, by what became of them."              \
    }
static struct tw_metric succeeded = FOLDED("succeeded");
static struct tw_metric rejected = FOLDED("rejected");
static struct tw_metric repeated = FOLDED("repeated");
static struct tw_metric dead = FOLDED("dead_lettered");
static struct tw_metric passed_over = FOLDED("passed_over");
#undef FOLDED
static struct tw_metric recoveries = {.name = "tillwire_recoveries_total",
                                      .help = "Times a partition went back to its watermark after trouble."};
static struct tw_metric fences = {.name = "tillwire_fences_total",
                                  .help = "Times another one had moved a partition's watermark."};
static struct tw_metric frozen = {.name = "tillwire_frozen_partitions",
                                  .kind = TW_GAUGE,
                                  .help = "Partitions of this worker that wait for a rebuild or verify."};
static struct tw_metric open_dead_letters = {
    .name = "tillwire_open_dead_letters", .kind = TW_GAUGE, .help = "Dead letters that wait for an operator."};
static struct tw_metric parked_keys = {.name = "tillwire_parked_keys",
                                       .kind = TW_GAUGE,
                                       .help = "Members or products whose commands wait behind a dead letter."};
static struct tw_metric batch_records = {
    .name = "tillwire_batch_records", .kind = TW_SIZES, .help = "Records of a committed batch."};
static struct tw_metric turn_time = {.name = "messaging_process_duration_seconds",
                                     .labels = "messaging_system=\"kafka\",messaging_operation_name=\"fold\"",
                                     .kind = TW_HISTOGRAM,
                                     .help = "From the first record of a batch to its commit."};
TW_METRICS_SHOWN(&succeeded, &rejected, &repeated, &dead, &passed_over, &recoveries, &fences, &frozen,
                 &open_dead_letters, &parked_keys, &batch_records, &turn_time)

struct tw_partition *tw_partition_new(struct tw_partition_env *env, int32_t number)
{
    struct tw_partition *partition = tw_alloc_zeroed(1, sizeof(*partition));

    partition->env = env;
    partition->number = number;
    partition->flight.partition = number;
    partition->condemned.offset = -1;
    partition->gap_at = -1;
    partition->told_offset = -1;
    partition->batch_limit = env->batch.all_records;
    partition->cache = tw_cache_new(env->cache_bytes);
    return partition;
}

static size_t bytes_of(const rd_kafka_message_t *message)
{
    return message->len + message->key_len;
}

static void drop_records(struct tw_partition *partition, size_t count)
{
    if (!count)
        return;
    for (size_t i = 0; i < count; i++) {
        partition->lane_bytes -= bytes_of(partition->lane[i]);
        rd_kafka_message_destroy(partition->lane[i]);
    }
    partition->lane_len -= count;
    memmove(partition->lane, partition->lane + count, partition->lane_len * sizeof(*partition->lane));
}

static void tell_dead_letters(struct tw_partition *partition, const struct tw_verdicts *verdicts)
{
    tw_metric_add(&open_dead_letters, (int64_t)verdicts->open_count - partition->told_open);
    tw_metric_add(&parked_keys, (int64_t)verdicts->parked_count - partition->told_parked);
    partition->told_open = (int64_t)verdicts->open_count;
    partition->told_parked = (int64_t)verdicts->parked_count;
}

void tw_partition_free(struct tw_partition *partition, int flush_ms)
{
    const struct tw_store *store;

    if (!partition)
        return;
    store = partition->env->turn.store;
    if (partition->mark)
        tw_metric_add(&frozen, -1);
    tell_dead_letters(partition, &(struct tw_verdicts){0});
    drop_records(partition, partition->lane_len);
    if (partition->env->publisher) { /* else it is closed: the last one out */
        tw_publisher_wait(partition->env->publisher, &partition->flight, flush_ms);
        tw_publisher_withdraw(partition->env->publisher, &partition->flight);
    }
    store->release(store->self, partition->number);
    tw_flight_done(&partition->flight);
    tw_verdicts_done(&partition->verdicts);
    tw_cache_free(partition->cache);
    free(partition->lane);
    free(partition);
}

/* --- trouble ----------------------------------------------------------------------------------------------------- */

static void retry_in(struct tw_partition *partition, int least_ms)
{
    int wait_ms = partition->backoff_ms < least_ms ? least_ms : partition->backoff_ms;

    /* Jitter of half to 1.5, another one in each process: workers that lost their store together come back apart. */
    partition->retry_at_us = tw_monotonic_us() + wait_ms * (INT64_C(500) + arc4random_uniform(1000));
    partition->backoff_ms = wait_ms * 2 < BACKOFF_LAST_MS ? wait_ms * 2 : BACKOFF_LAST_MS;
    if (!wait_ms)
        partition->backoff_ms = BACKOFF_FIRST_MS;
}

/* Nothing of what it has counts any more. */
static void go_back(struct tw_partition *partition)
{
    drop_records(partition, partition->lane_len);
    tw_cache_clear(partition->cache);
    partition->state = TW_PARTITION_RECOVERING;
    partition->retry_at_us = 0;
}

void tw_partition_fail(struct tw_partition *partition, const struct tw_err *err)
{
    const struct tw_log_field where[] = {TW_F_TEXT("topic", partition->env->commands_topic),
                                         TW_F_INT("partition", partition->number),
                                         TW_F_INT("offset", partition->progress.next_offset),
                                         {0}};
    bool                      news = partition->last_error.rc != err->rc;

    go_back(partition);
    partition->last_error = *err;
    if (tw_rc_action(err->rc) == TW_BISECT)
        partition->backoff_ms = 0; /* halving is progress, not trouble */
    retry_in(partition, tw_rc_action(err->rc) == TW_RETRY ? BACKOFF_FIRST_MS : 0);
    tw_log_err(news ? TW_LOG_WARN : TW_LOG_DEBUG, "partition goes back to its watermark", err, where);
    tw_metric_add(&recoveries, 1);
    if (err->rc == TW_FENCED)
        tw_metric_add(&fences, 1);
}

/* Something in this batch can never be written: halve until it stands alone, then it becomes a dead letter. */
static enum tw_rc narrow_down(struct tw_partition *partition, size_t batch_len, struct tw_err *reterr)
{
    if (batch_len > 1) {
        partition->batch_limit = batch_len / 2;
        return TW_REFUSED;
    }
    if (partition->condemned.offset == partition->progress.next_offset)
        return tw_fail(reterr, TW_BROKEN, "partition", 0,
                       "the store refuses even the dead letter of record %" PRId64 " of '%s' partition %d: %.120s",
                       partition->condemned.offset, partition->env->commands_topic, partition->number,
                       partition->condemned.message);
    partition->condemned.offset = partition->progress.next_offset;
    memcpy(partition->condemned.message, reterr->msg, sizeof(partition->condemned.message));
    return TW_REFUSED;
}

/* The way to the store may be too narrow for such a batch within the time that a call has: from the watermark on, half as
 * much is tried, down to one record. A store that is away costs one halving, not one for each time it is asked again. */
static void try_less(struct tw_partition *partition, size_t batch_len, enum tw_rc rc)
{
    if (tw_rc_action(rc) == TW_RETRY || rc == TW_UNKNOWN)
        partition->batch_limit = batch_len > 1 ? batch_len / 2 : 1;
}

/* --- frozen ------------------------------------------------------------------------------------------------------ */

static void see_mark(struct tw_partition *partition, int64_t mark)
{
    if (mark == partition->mark)
        return;
    if (!partition->mark || !mark) {
        tw_metric_add(&frozen, mark ? 1 : -1);
        tw_log(TW_LOG_INFO,
               mark ? "partition is frozen: a rebuild or verify is at work" : "partition is no longer frozen",
               TW_F_TEXT("topic", partition->env->commands_topic), TW_F_INT("partition", partition->number));
    }
    partition->mark = mark;
    partition->mark_since_us = tw_monotonic_us();
}

/* Whoever froze the partition waits for an empty outbox, and no commit will replace it. */
static enum tw_rc empty_outbox(struct tw_partition *partition, const struct tw_progress *progress,
                               struct tw_err *reterr)
{
    struct tw_partition_env *env = partition->env;
    const struct tw_store   *store = env->turn.store;

    if (!progress->outbox.len)
        return TW_OK;
    TW_TRY(tw_publisher_put(env->publisher, &partition->flight, progress->outbox, progress->next_offset, reterr));
    if (!tw_publisher_wait(env->publisher, &partition->flight, REPORT_WAIT_MS))
        return tw_fail(reterr, TW_UNREACHED, "partition", 0, "the broker does not acknowledge the outbox");
    return store->forget_outbox(store->self, partition->number, progress->next_offset, reterr);
}

static enum tw_rc take_lease_away(struct tw_partition *partition, struct tw_err *reterr)
{
    const struct tw_store *store = partition->env->turn.store;

    TW_TRY(
        store->set_mark(store->self, partition->number, partition->progress.next_offset, partition->mark, 0, reterr));
    tw_log(TW_LOG_WARN, "partition was frozen by somebody who is gone: it goes on",
           TW_F_TEXT("topic", partition->env->commands_topic), TW_F_INT("partition", partition->number));
    return TW_OK;
}

static enum tw_rc stay_frozen(struct tw_partition *partition, const struct tw_progress *progress, struct tw_err *reterr)
{
    bool is_lease = partition->mark > 0;

    TW_TRY(empty_outbox(partition, progress, reterr));
    partition->progress = *progress;
    partition->progress.outbox = (struct tw_str){NULL, 0};
    partition->last_error = (struct tw_err){0};
    partition->backoff_ms = 0;
    if (is_lease && tw_monotonic_us() - partition->mark_since_us >= TW_LEASE_MS * INT64_C(1000))
        return take_lease_away(partition, reterr); /* and looks at once */
    partition->retry_at_us = tw_monotonic_us() + FROZEN_LOOK_US;
    return TW_OK;
}

bool tw_partition_is_frozen(const struct tw_partition *partition)
{
    return partition->mark && partition->last_error.rc == TW_OK;
}

/* --- recovery ---------------------------------------------------------------------------------------------------- */

static enum tw_rc check_bounds(const struct tw_partition *partition, int64_t next_offset, struct tw_err *reterr)
{
    const struct tw_partition_env *env = partition->env;
    int64_t                        low, high;

    TW_TRY(tw_reader_bounds(env->reader, env->commands_topic, partition->number, env->broker_timeout_ms, &low, &high,
                            reterr));
    if (high < next_offset)
        return tw_fail(reterr, TW_BROKEN, "partition", 0,
                       "the log of '%s' partition %d ends at %" PRId64 ", but the store has folded it up to %" PRId64
                       ": lost tail, re-created topic or wrong cluster",
                       env->commands_topic, partition->number, high, next_offset);
    if (low > (next_offset ? next_offset - 1 : 0))
        return tw_fail(reterr, TW_BROKEN, "partition", 0,
                       "the log of '%s' partition %d begins at %" PRId64 ", but the store needs it from %" PRId64
                       ": truncated log",
                       env->commands_topic, partition->number, low, next_offset);
    return TW_OK;
}

/* What the outbox on its way will say in the dead-letter topic holds from now on. */
static void take_own_verdicts(struct tw_partition *partition)
{
    const struct tw_flight *flight = &partition->flight;

    for (size_t i = 0; i < flight->count; i++) {
        const struct tw_outbox_record *sent = &flight->records[i];
        const struct tw_record         record = {.partition = partition->number,
                                                 .key = sent->key,
                                                 .value = sent->value,
                                                 .headers = sent->headers,
                                                 .header_count = sent->header_count};

        if (sent->dead_letter)
            tw_verdicts_take(&partition->verdicts, &record);
    }
    tell_dead_letters(partition, &partition->verdicts);
}

static enum tw_rc recover(struct tw_partition *partition, struct tw_err *reterr)
{
    struct tw_partition_env *env = partition->env;
    const struct tw_store   *store = env->turn.store;
    struct tw_progress       progress;

    tw_arena_reset(&env->arena);
    TW_TRY(store->watermark(store->self, partition->number, &env->arena, &progress, reterr));
    /* What is still on its way may be a dead letter that the verdicts below must include. */
    if (!tw_publisher_wait(env->publisher, &partition->flight, REPORT_WAIT_MS))
        return tw_fail(reterr, TW_UNREACHED, "partition", 0, "the broker does not acknowledge the outbox");
    see_mark(partition, progress.mark);
    if (progress.mark)
        return stay_frozen(partition, &progress, reterr);
    TW_TRY(check_bounds(partition, progress.next_offset, reterr));
    TW_TRY(tw_verdicts_read(&partition->verdicts, env->reader, env->dlq_topic, partition->number,
                            env->broker_timeout_ms, reterr));
    if (progress.outbox.len)
        TW_TRY(tw_publisher_put(env->publisher, &partition->flight, progress.outbox, progress.next_offset, reterr));
    take_own_verdicts(partition);
    partition->outbox_stored = progress.outbox.len > 0;
    partition->progress = progress;
    partition->progress.outbox = (struct tw_str){NULL, 0};
    partition->lane_end = progress.next_offset;
    partition->checks_hash = progress.next_offset > 0;
    partition->checked_at_us = tw_monotonic_us();
    partition->state = TW_PARTITION_READY;
    tw_log(TW_LOG_INFO, "partition starts at its watermark", TW_F_TEXT("topic", env->commands_topic),
           TW_F_INT("partition", partition->number), TW_F_INT("offset", progress.next_offset),
           TW_F_INT("verdicts", partition->verdicts.count));
    return TW_OK;
}

/* --- taking records ---------------------------------------------------------------------------------------------- */

static enum tw_rc check_hash(struct tw_partition *partition, const rd_kafka_message_t *message, struct tw_err *reterr)
{
    struct tw_header headers[TW_KAFKA_HEADERS_MAX];
    struct tw_record record;
    uint8_t          hash[TW_RECORD_HASH_BYTES];

    tw_kafka_record(message, headers, &record);
    tw_record_hash(&record, hash);
    partition->checks_hash = false;
    if (!memcmp(hash, partition->progress.last_hash, sizeof(hash)))
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, "partition", 0,
                   "record %" PRId64
                   " of '%s' partition %d is not the one that was folded: lost tail, re-created topic "
                   "or wrong cluster",
                   message->offset, partition->env->commands_topic, partition->number);
}

/* Offsets of a command topic are contiguous. A gap is looked at once more from the watermark before it counts. */
static enum tw_rc on_gap(struct tw_partition *partition, int64_t offset, struct tw_err *reterr)
{
    struct tw_err err;

    tw_fail(&err, TW_FENCED, "partition", 0, "expected record %" PRId64 ", got %" PRId64, partition->lane_end, offset);
    if (partition->gap_at == partition->lane_end)
        return tw_fail(reterr, TW_BROKEN, "partition", 0,
                       "'%s' partition %d has no record %" PRId64 " (next is %" PRId64 "): the log has a gap",
                       partition->env->commands_topic, partition->number, partition->lane_end, offset);
    partition->gap_at = partition->lane_end;
    tw_partition_fail(partition, &err);
    return TW_OK;
}

static enum tw_rc place(struct tw_partition *partition, rd_kafka_message_t *message, bool *ret_kept,
                        struct tw_err *reterr)
{
    if (partition->state != TW_PARTITION_RUNNING)
        return TW_OK;
    if (partition->checks_hash && message->offset == partition->lane_end - 1)
        return check_hash(partition, message, reterr);
    if (message->offset < partition->lane_end)
        return TW_OK;
    if (message->offset > partition->lane_end || partition->checks_hash)
        return on_gap(partition, message->offset, reterr);
    if (partition->lane_len == partition->lane_cap) {
        partition->lane_cap = partition->lane_cap ? 2 * partition->lane_cap : 1024;
        partition->lane = tw_realloc(partition->lane, partition->lane_cap * sizeof(*partition->lane));
    }
    partition->lane[partition->lane_len++] = message;
    partition->lane_bytes += bytes_of(message);
    partition->lane_end = message->offset + 1;
    *ret_kept = true;
    return TW_OK;
}

enum tw_rc tw_partition_take(struct tw_partition *partition, rd_kafka_message_t *message, struct tw_err *reterr)
{
    bool       kept = false;
    enum tw_rc rc = place(partition, message, &kept, reterr);

    if (!kept)
        rd_kafka_message_destroy(message);
    return rc;
}

int64_t tw_partition_fetch_offset(const struct tw_partition *partition)
{
    return partition->checks_hash ? partition->lane_end - 1 : partition->lane_end;
}

bool tw_partition_is_full(const struct tw_partition *partition)
{
    return partition->lane_len >= tw_cut_lane_records(&partition->env->batch) ||
           partition->lane_bytes >= tw_cut_lane_bytes(&partition->env->batch);
}

bool tw_partition_is_busy(const struct tw_partition *partition)
{
    return partition->state == TW_PARTITION_RUNNING && partition->lane_len > 0;
}

/* --- a turn ------------------------------------------------------------------------------------------------------ */

static struct tw_record *make_records(struct tw_partition *partition, size_t *ret_count)
{
    struct tw_partition_env *env = partition->env;
    size_t limit = partition->batch_limit < partition->lane_len ? partition->batch_limit : partition->lane_len;
    struct tw_record *records = TW_NEW_ARRAY(&env->arena, limit, struct tw_record);
    struct tw_header  headers[TW_KAFKA_HEADERS_MAX];
    struct tw_cut     cut;

    tw_cut_begin(&cut, env->turn.domain, &env->batch, records, limit, &env->arena);
    while (cut.record_count < limit) {
        struct tw_record *record = &records[cut.record_count];
        struct tw_header *copy;

        tw_kafka_record(partition->lane[cut.record_count], headers, record);
        if (!tw_cut_takes(&cut))
            break;
        copy = TW_NEW_ARRAY(&env->arena, record->header_count, struct tw_header);
        memcpy(copy, headers, record->header_count * sizeof(*copy));
        record->headers = copy;
    }
    *ret_count = cut.record_count;
    return records;
}

static enum tw_rc stumble(const char *point, struct tw_err *reterr)
{
    (void)point;
    if (tw_failpoint(point))
        return tw_fail(reterr, TW_UNREACHED, "failpoint", 0, "failpoint '%s'", point);
    return TW_OK;
}

/* Everything but the last word of the commit; a turn that ends here without TW_OK is abandoned. */
static enum tw_rc prepare(struct tw_partition *partition, struct tw_turn *turn, struct tw_err *reterr)
{
    TW_TRY(stumble("after_consume", reterr));
    tw_turn_decode(turn);
    TW_TRY(stumble("after_decode", reterr));
    TW_TRY(tw_turn_load(turn, partition->cache, reterr));
    TW_TRY(stumble("after_load", reterr));
    tw_turn_decide(turn);
    return stumble("before_commit", reterr);
}

static void count_turn(const struct tw_turn *turn, int64_t started_us)
{
    tw_metric_add(&succeeded, (int64_t)turn->counts.succeeded);
    tw_metric_add(&rejected, (int64_t)turn->counts.rejected);
    tw_metric_add(&repeated, (int64_t)turn->counts.repeated);
    tw_metric_add(&dead, (int64_t)turn->counts.dead);
    tw_metric_add(&passed_over, (int64_t)turn->counts.passed_over);
    tw_metric_observe_size(&batch_records, (int64_t)turn->record_count);
    tw_metric_observe_us(&turn_time, tw_monotonic_us() - started_us);
}

static void calm_down(struct tw_partition *partition)
{
    size_t most = partition->env->batch.all_records;

    partition->batch_limit = partition->batch_limit < most / 2 ? partition->batch_limit * 2 : most;
    partition->backoff_ms = 0;
    partition->gap_at = -1;
    partition->last_error = (struct tw_err){0};
}

/* The commit happened: move on, publish, and only then let go of the records. */
static enum tw_rc move_on(struct tw_partition *partition, const struct tw_turn *turn, struct tw_err *reterr)
{
    const struct tw_progress *after = &turn->changes.after;

    TW_TRY(stumble("after_commit", reterr));
    TW_TRY(tw_publisher_put(partition->env->publisher, &partition->flight, after->outbox, after->next_offset, reterr));
    take_own_verdicts(partition);
    partition->outbox_stored = after->outbox.len > 0;
    partition->progress = *after;
    partition->progress.outbox = (struct tw_str){NULL, 0};
    partition->checked_at_us = tw_monotonic_us();
    calm_down(partition);
    drop_records(partition, turn->record_count);
    return TW_OK;
}

/* What a store says that can never hold what the command makes of one of its aggregates. */
static enum tw_rc commit_turn(struct tw_partition *partition, struct tw_turn *turn, struct tw_err *reterr)
{
    char id[TW_UUID_TEXT + 1];

    for (size_t i = 0; i < turn->changes.entity_count; i++) {
        if (tw_failpoint_of("store_refuses", (tw_uuid_format(turn->changes.entities[i]->key.id, id), tw_str_of(id)))) {
            turn->config->store->abandon(turn->config->store->self, partition->number);
            return tw_fail(reterr, TW_REFUSED, "failpoint", 0, "failpoint 'store_refuses'");
        }
    }
    return tw_turn_commit(turn, partition->cache, reterr);
}

static enum tw_rc fold_batch(struct tw_partition *partition, struct tw_err *reterr)
{
    struct tw_partition_env *env = partition->env;
    const struct tw_store   *store = env->turn.store;
    int64_t                  started_us = tw_monotonic_us();
    enum tw_rc               rc;
    TW_AUTO(tw_turn_done)
    struct tw_turn turn = {.config = &env->turn, .arena = &env->arena, .partition = partition->number};

    tw_arena_reset(&env->arena);
    turn.before = partition->progress;
    turn.records = make_records(partition, &turn.record_count);
    turn.verdicts = &partition->verdicts;
    turn.condemned = &partition->condemned;
    rc = prepare(partition, &turn, reterr);
    /* At most one unpublished batch a partition: its outbox is about to be replaced. */
    if (rc != TW_OK || !tw_publisher_wait(env->publisher, &partition->flight, REPORT_WAIT_MS)) {
        store->abandon(store->self, partition->number);
        try_less(partition, turn.record_count, rc);
        return rc; /* TW_OK: the broker is slow; the same records are tried again in the next round */
    }
    rc = commit_turn(partition, &turn, reterr);
    try_less(partition, turn.record_count, rc);
    if (rc == TW_REFUSED)
        return narrow_down(partition, turn.record_count, reterr);
    if (rc != TW_OK)
        return rc;
    count_turn(&turn, started_us);
    return move_on(partition, &turn, reterr);
}

/* Someone else may have moved the watermark or frozen the partition, or the store lost its tail: look every second. */
static enum tw_rc keep_house(struct tw_partition *partition, struct tw_err *reterr)
{
    struct tw_partition_env *env = partition->env;
    const struct tw_store   *store = env->turn.store;
    struct tw_progress       progress;

    if (tw_monotonic_us() - partition->checked_at_us < IDLE_CHECK_US)
        return TW_OK;
    partition->checked_at_us = tw_monotonic_us();
    if (partition->outbox_stored && tw_flight_is_done(&partition->flight)) {
        TW_TRY(store->forget_outbox(store->self, partition->number, partition->progress.next_offset, reterr));
        partition->outbox_stored = false;
    }
    tw_arena_reset(&env->arena);
    TW_TRY(store->watermark(store->self, partition->number, &env->arena, &progress, reterr));
    if (progress.next_offset != partition->progress.next_offset)
        return tw_fail(reterr, TW_FENCED, "partition", 0, "the store's watermark is %" PRId64 ", expected %" PRId64,
                       progress.next_offset, partition->progress.next_offset);
    see_mark(partition, progress.mark);
    if (progress.mark)
        go_back(partition);
    return TW_OK;
}

static enum tw_rc sweep(struct tw_partition *partition, struct tw_err *reterr)
{
    const struct tw_store *store = partition->env->turn.store;

    partition->swept_at_us = tw_monotonic_us();
    return store->sweep(store->self, partition->number, partition->progress.next_offset, partition->progress.clock_ms,
                        reterr);
}

static enum tw_rc step(struct tw_partition *partition, struct tw_err *reterr)
{
    if (partition->state == TW_PARTITION_RECOVERING)
        return tw_monotonic_us() < partition->retry_at_us ? TW_OK : recover(partition, reterr);
    if (partition->state == TW_PARTITION_RUNNING && tw_monotonic_us() - partition->swept_at_us > SWEEP_US)
        TW_TRY(sweep(partition, reterr));
    if (partition->state == TW_PARTITION_RUNNING && partition->lane_len)
        return fold_batch(partition, reterr);
    return keep_house(partition, reterr);
}

enum tw_rc tw_partition_step(struct tw_partition *partition, struct tw_err *reterr)
{
    struct tw_err err = {0};

    if (step(partition, &err) == TW_OK)
        return TW_OK;
    if (tw_rc_action(err.rc) == TW_STOP) {
        *reterr = err;
        return err.rc;
    }
    tw_partition_fail(partition, &err);
    return TW_OK;
}
