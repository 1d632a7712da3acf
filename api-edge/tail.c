/*
 * One thread reads; seats are guarded by one mutex, taken by the reader only while somebody sits. Outcomes that arrive
 * while a seat does not know its offset yet are kept with the seat, newest first to go: several records can carry one
 * command id (a client's retries), and only the one at the seat's own offset is its answer.
 *
 * A second thread asks the broker for the ends of the member events a few times a second, which tells whether the
 * broker is there and how old the reader's knowledge is, and loads what was revoked before the reader began. It has its
 * own thread because neither question may hold up outcomes.
 *
 * What was revoked is complete because of the order: the reader's first offset is noted, then the table is read. An
 * event is published after its effect is committed, so what lies before that offset is in the table.
 */
#include "tail.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "freshness.h"
#include "streams/bookmark.h"
#include "streams/hub.h"
#include "tillwire/arena.h"
#include "tillwire/clock.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/gen/topics.h"
#include "tillwire/kafka.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"
#include "watermarks.h"

#define WHERE "edge.tail"

enum {
    POLL_MS = 200,
    POLL_MAX = 500,
    RETRY_MS = 500,
    START_MS = 5000,
    START_NAP_MS = 100,
    POSITIONS_MAX = 3072,
    EARLY_MAX = 4,
    MUST_SEATS = 64, /* beside the others: as many logins at once as passwords are hashed at once, and then some */
    ASK_EVERY_MS = 250,
    ASK_MS = 1000,
    STILL_US = 4000000,         /* behind for so long and nothing read: not up */
    STARTS_AGAIN_US = 10000000, /* then with another reader */
    NAP_STEP_MS = 10,
};

struct early {
    int64_t        offset; /* of the cause; -1: empty */
    struct tw_told told;
};

struct tw_seat {
    pthread_cond_t woken;
    bool           taken;
    struct tw_uuid command_id;
    int64_t        offset; /* of the command's record; -1: not known yet */
    bool           is_told;
    struct tw_told told;
    struct early   early[EARLY_MAX];
    size_t         early_count;
};

struct tw_tail {
    const char     *brokers;
    pthread_t       thread;
    atomic_bool     stopping;
    atomic_bool     up;
    atomic_bool     behind;  /* records are there that were not read when their ends were asked for */
    _Atomic int64_t read_us; /* when one came, or reading began */
    pthread_mutex_t lock;    /* guards the seats and `draining` */
    bool            draining;
    atomic_size_t   taken_count;
    size_t          prefer_count; /* of the seats: the first are for everybody */
    size_t          seat_count;
    struct tw_seat *seats;
    struct tw_arena arena; /* of the reading thread */

    struct tw_hub *hub;  /* NULL: nobody streams */
    int64_t       *ends; /* of the log when reading began, for each place of a bookmark */

    struct tw_revoked_sink sink;
    const struct tw_topic *member_events;
    struct tw_freshness   *freshness; /* of member_events */

    _Atomic(struct tw_watermarks *) watermarks;
};

static struct tw_metric events_read = {.name = "messaging_client_consumed_messages_total",
                                       .labels = "messaging_system=\"kafka\"",
                                       .kind = TW_COUNTER,
                                       .help = "Records read: of the edge all events, of a worker its commands."};
static struct tw_metric seats_refused = {.name = "tillwire_edge_waits_refused_total",
                                         .kind = TW_COUNTER,
                                         .help = "Waits for an outcome that found no free seat."};
TW_METRICS_SHOWN(&events_read, &seats_refused)

/* --- seats -------------------------------------------------------------------------------------------------------- */

/** Among the first @p count, the last ones first. */
static struct tw_seat *find_free(struct tw_tail *tail, size_t count)
{
    for (size_t i = count; !tail->draining && i-- > 0;) {
        if (!tail->seats[i].taken)
            return &tail->seats[i];
    }
    return NULL;
}

static struct tw_seat *sit(struct tw_tail *tail, struct tw_uuid command_id, size_t count)
{
    pthread_mutex_lock(&tail->lock);
    struct tw_seat *seat = find_free(tail, count);
    if (seat) {
        seat->taken = true;
        seat->command_id = command_id;
        seat->offset = -1;
        seat->is_told = false;
        seat->early_count = 0;
        atomic_fetch_add(&tail->taken_count, 1);
    }
    pthread_mutex_unlock(&tail->lock);
    if (!seat)
        tw_metric_add(&seats_refused, 1);
    return seat;
}

struct tw_seat *tw_tail_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    return sit(tail, command_id, tail->prefer_count);
}

struct tw_seat *tw_tail_must_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    return sit(tail, command_id, tail->seat_count);
}

void tw_tail_leave(struct tw_tail *tail, struct tw_seat *seat)
{
    if (!seat)
        return;
    pthread_mutex_lock(&tail->lock);
    seat->taken = false;
    atomic_fetch_sub(&tail->taken_count, 1);
    pthread_mutex_unlock(&tail->lock);
}

static void told_copy(const struct tw_told *from, struct tw_told *to)
{
    *to = *from;
    to->outcome.detail.ptr = to->detail;
    to->outcome.resource.ptr = to->resource;
}

static void take_early(struct tw_seat *seat)
{
    for (size_t i = 0; i < seat->early_count; i++) {
        if (seat->early[i].offset == seat->offset) {
            told_copy(&seat->early[i].told, &seat->told);
            seat->is_told = true;
        }
    }
}

static struct timespec timespec_of_us(int64_t monotonic_us)
{
    return (struct timespec){monotonic_us / 1000000, (monotonic_us % 1000000) * 1000};
}

bool tw_tail_await(struct tw_tail *tail, struct tw_seat *seat, int64_t offset, int64_t deadline_us,
                   struct tw_told *ret_told)
{
    struct timespec deadline = timespec_of_us(deadline_us);

    pthread_mutex_lock(&tail->lock);
    seat->offset = offset;
    take_early(seat);
    while (!seat->is_told && !tail->draining && pthread_cond_timedwait(&seat->woken, &tail->lock, &deadline) == 0) {
    }
    bool is_told = seat->is_told;
    if (is_told)
        told_copy(&seat->told, ret_told);
    pthread_mutex_unlock(&tail->lock);
    return is_told;
}

size_t tw_tail_seated(const struct tw_tail *tail)
{
    return atomic_load_explicit(&tail->taken_count, memory_order_relaxed);
}

void tw_tail_drain(struct tw_tail *tail)
{
    pthread_mutex_lock(&tail->lock);
    tail->draining = true;
    for (size_t i = 0; i < tail->seat_count; i++)
        pthread_cond_signal(&tail->seats[i].woken);
    pthread_mutex_unlock(&tail->lock);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void keep_text(struct tw_str from, char *room, size_t size, struct tw_str *ret_text)
{
    size_t len = from.len < size ? from.len : size;

    if (len > 0)
        memcpy(room, from.ptr, len);
    *ret_text = (struct tw_str){room, len};
}

static void read_told(const struct tw_command_outcome *event, struct tw_told *told)
{
    told->outcome.status = (enum tw_status)event->status; /* same order by design */
    told->outcome.http_status = (int)event->http_status;
    told->outcome.problem = event->has_problem_code ? tw_problem_of_code(event->problem_code) : TW_PROBLEM_NONE;
    told->repeated = event->repeated;
    keep_text(event->has_detail ? event->detail : (struct tw_str){0}, told->detail, sizeof(told->detail),
              &told->outcome.detail);
    keep_text(event->has_resource ? event->resource : (struct tw_str){0}, told->resource, sizeof(told->resource),
              &told->outcome.resource);
}

static void seat_tell(struct tw_seat *seat, int64_t offset, const struct tw_command_outcome *event)
{
    if (seat->offset == offset) {
        read_told(event, &seat->told);
        seat->is_told = true;
        pthread_cond_signal(&seat->woken);
    } else if (seat->offset < 0) {
        struct early *early = &seat->early[seat->early_count < EARLY_MAX ? seat->early_count++ : EARLY_MAX - 1];
        early->offset = offset;
        read_told(event, &early->told);
    }
}

static void tell_seats(struct tw_tail *tail, int64_t offset, const struct tw_command_outcome *event)
{
    pthread_mutex_lock(&tail->lock);
    for (size_t i = 0; i < tail->seat_count; i++) {
        struct tw_seat *seat = &tail->seats[i];
        if (seat->taken && !seat->is_told && tw_uuid_eq(seat->command_id, event->command_id))
            seat_tell(seat, offset, event);
    }
    pthread_mutex_unlock(&tail->lock);
}

static void read_outcome(struct tw_tail *tail, const struct tw_record *record)
{
    struct tw_command_outcome event = {0};
    int64_t                   offset = -1;

    tw_arena_reset(&tail->arena);
    if (!tw_str_to_int(tw_header_find(record, TW_H_CAUSE_OFFSET), &offset) ||
        tw_command_outcome_type.unpack(record->value, &tail->arena, &event, NULL) != TW_OK)
        return;
    /* The last step of a saga ends the command that began it. */
    tell_seats(tail, event.has_record_offset ? event.record_offset : offset, &event);
}

static void read_revoked(struct tw_tail *tail, const struct tw_record *record)
{
    struct tw_member_tokens_revoked event = {0};
    struct tw_err                   err = {0};

    tw_arena_reset(&tail->arena);
    if (tw_member_tokens_revoked_type.unpack(record->value, &tail->arena, &event, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, "an event of revoked tokens cannot be read", &err, NULL);
        return;
    }
    for (uint32_t i = 0; i < event.tokens_len; i++)
        tail->sink.tell(tail->sink.self, event.tokens[i].token_id, event.tokens[i].expires_at_ms);
}

/** An event moves what it is caused by: records of one domain, same partition number. */
static void move_watermark(struct tw_tail *tail, const char *topic, const struct tw_record *record)
{
    struct tw_watermarks *watermarks = atomic_load_explicit(&tail->watermarks, memory_order_acquire);
    int64_t               offset = -1;

    if (!watermarks || !tw_watermarks_are_awaited(watermarks) ||
        !tw_str_to_int(tw_header_find(record, TW_H_CAUSE_OFFSET), &offset))
        return;
    for (size_t i = 0; i < tw_topic_count; i++) {
        if (strcmp(tw_topics[i].name, topic) == 0)
            tw_watermarks_moved(watermarks, tw_topics[i].domain, record->partition, offset);
    }
}

static void on_record(void *self, const char *topic, const struct tw_record *record)
{
    struct tw_tail *tail = self;
    size_t          place = tw_bookmark_place(topic, record->partition);
    bool            of_members = strcmp(topic, tail->member_events->name) == 0;
    bool            awaited = record->offset >= tail->ends[place] && tw_tail_seated(tail) > 0;
    struct tw_str   type = of_members || awaited ? tw_header_find(record, TW_H_TYPE) : (struct tw_str){0};

    tw_metric_add(&events_read, 1);
    if (awaited && tw_str_is(type, tw_command_outcome_type.ce_type))
        read_outcome(tail, record);
    else if (of_members && tw_str_is(type, tw_member_tokens_revoked_type.ce_type))
        read_revoked(tail, record);
    /* Whom an event wakes must know by then which tokens are revoked. */
    if (tail->hub)
        tw_hub_tell(tail->hub, place, record);
    move_watermark(tail, topic, record);
    if (of_members)
        tw_freshness_read(tail->freshness, record->partition, record->offset + 1);
}

/* --- the asking thread -------------------------------------------------------------------------------------------- */

/** Lives from the moment the reader has its first offsets until it ends. */
struct asker {
    struct tw_tail   *tail;
    struct tw_reader *reader;
    pthread_t         thread;
    atomic_bool       stopping;
    bool              loaded; /* what was revoked before the reader began */
    bool              said;
};

static void load_revoked(struct asker *asker)
{
    struct tw_err err = {0};

    tw_pulse("loading what is revoked");
    asker->loaded = asker->tail->sink.load(asker->tail->sink.self, &err) == TW_OK;
    if (!asker->loaded && !asker->said)
        tw_log_err(TW_LOG_WARN, "cannot load what is revoked, trying again; tokens are asked for one by one", &err,
                   NULL);
    asker->said = !asker->loaded;
}

static void ask(struct asker *asker, struct tw_position *positions, int64_t *ends)
{
    struct tw_tail *tail = asker->tail;
    size_t          count = (size_t)tail->member_events->partitions;
    int64_t         asked_us = tw_monotonic_us();
    enum tw_rc      rc = tw_reader_ends(asker->reader, positions, count, ASK_MS, NULL);

    atomic_store_explicit(&tail->up, rc == TW_OK, memory_order_relaxed);
    if (rc != TW_OK)
        return;
    if (!asker->loaded)
        load_revoked(asker);
    for (size_t i = 0; i < count; i++)
        ends[i] = positions[i].offset;
    if (asker->loaded)
        tw_freshness_ends(tail->freshness, asked_us, ends);
    atomic_store(&tail->behind, asker->loaded && !tw_tail_is_fresh(tail));
}

static void *asker_main(void *self)
{
    struct asker          *asker = self;
    const struct tw_topic *topic = asker->tail->member_events;
    struct tw_position    *positions = tw_alloc_zeroed((size_t)topic->partitions, sizeof(*positions));
    int64_t               *ends = tw_alloc_zeroed((size_t)topic->partitions, sizeof(*ends));

    pthread_setname_np(pthread_self(), "tail-ends");
    tw_pulse_begin("tail-ends");
    for (int32_t i = 0; i < topic->partitions; i++)
        positions[i] = (struct tw_position){topic->name, i, 0};
    while (!atomic_load(&asker->stopping)) {
        int64_t again_us = tw_monotonic_us() + INT64_C(1000) * ASK_EVERY_MS;

        ask(asker, positions, ends);
        while (!atomic_load(&asker->stopping) && tw_monotonic_us() < again_us)
            usleep(1000 * NAP_STEP_MS);
    }
    free(ends);
    free(positions);
    tw_pulse_end();
    return NULL;
}

static void asker_start(struct asker *asker)
{
    if (pthread_create(&asker->thread, NULL, asker_main, asker) != 0)
        tw_out_of_memory(sizeof(*asker));
}

static void asker_stop(struct asker *asker)
{
    atomic_store(&asker->stopping, true);
    pthread_join(asker->thread, NULL);
}

/* --- the reading thread ------------------------------------------------------------------------------------------- */

static size_t list_partitions(struct tw_position *positions)
{
    size_t count = 0;

    for (size_t i = 0; i < tw_topic_count; i++) {
        for (int32_t partition = 0; partition < tw_topics[i].partitions && count < POSITIONS_MAX; partition++) {
            if (tw_topics[i].kind == TW_TOPIC_EVENTS)
                positions[count++] = (struct tw_position){tw_topics[i].name, partition, 0};
        }
    }
    return count;
}

static void note_positions(struct tw_tail *tail, const struct tw_position *positions, size_t count)
{
    int64_t *offsets = tw_alloc_zeroed((size_t)tail->member_events->partitions, sizeof(*offsets));

    for (size_t i = 0; i < count; i++) {
        if (positions[i].topic == tail->member_events->name)
            offsets[positions[i].partition] = positions[i].offset;
    }
    tw_freshness_begin(tail->freshness, offsets);
    free(offsets);
}

static void nap_ms(struct tw_tail *tail, int ms)
{
    for (int waited = 0; waited < ms && !atomic_load(&tail->stopping); waited += 20)
        usleep(20000);
}

typedef enum tw_rc (*ask_fn)(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                             struct tw_err *reterr);

/** In short pieces: whoever stops the tail waits for one of them, not for all the time a broker may need. */
static enum tw_rc ask_patiently(struct tw_tail *tail, ask_fn ask_once, struct tw_reader *reader,
                                struct tw_position *positions, size_t count, struct tw_err *reterr)
{
    int64_t    deadline_us = tw_monotonic_us() + INT64_C(1000) * START_MS;
    enum tw_rc rc = ask_once(reader, positions, count, ASK_MS, reterr);

    while (rc == TW_UNREACHED && !atomic_load(&tail->stopping) && tw_monotonic_us() < deadline_us) {
        nap_ms(tail, START_NAP_MS);
        rc = ask_once(reader, positions, count, ASK_MS, reterr);
    }
    return rc;
}

/** Moves each position back, so that the hub gets some history; not before the log's beginning. */
static enum tw_rc go_back(struct tw_tail *tail, struct tw_reader *reader, struct tw_position *positions, size_t count,
                          struct tw_err *reterr)
{
    int64_t             records = tail->hub ? tw_hub_history_records(tail->hub) : 0;
    struct tw_position *first = tw_alloc(count * sizeof(*first));
    enum tw_rc          rc = TW_OK;

    memcpy(first, positions, count * sizeof(*first));
    if (records > 0)
        rc = ask_patiently(tail, tw_reader_beginnings, reader, first, count, reterr);
    for (size_t i = 0; rc == TW_OK && i < count; i++) {
        int64_t back = positions[i].offset - records;
        positions[i].offset = back > first[i].offset ? back : first[i].offset;
    }
    free(first);
    return rc;
}

/** Before the first record: what was there already is history, and wakes nobody who waits. */
static void begin_hub(struct tw_tail *tail, const struct tw_position *positions, size_t count)
{
    int64_t *from = tw_alloc_zeroed(tw_bookmark_places() + 1, sizeof(*from));

    for (size_t i = 0; i < count; i++)
        from[tw_bookmark_place(positions[i].topic, positions[i].partition)] = positions[i].offset;
    if (tail->hub)
        tw_hub_begin(tail->hub, from, tail->ends);
    free(from);
}

static void note_ends(struct tw_tail *tail, const struct tw_position *positions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tail->ends[tw_bookmark_place(positions[i].topic, positions[i].partition)] = positions[i].offset;
}

static enum tw_rc start_reading(struct tw_tail *tail, struct tw_reader *reader, struct tw_err *reterr)
{
    struct tw_position *positions = tw_alloc_zeroed(POSITIONS_MAX, sizeof(*positions));
    size_t              count = list_partitions(positions);
    /* The ends as they are now, as numbers: "from the end" would be settled later than the first command is sent. */
    enum tw_rc          rc = ask_patiently(tail, tw_reader_ends, reader, positions, count, reterr);

    if (rc == TW_OK) {
        note_ends(tail, positions, count);
        rc = go_back(tail, reader, positions, count, reterr);
    }
    if (rc == TW_OK)
        rc = tw_reader_assign(reader, positions, count, reterr);
    if (rc == TW_OK) {
        note_positions(tail, positions, count);
        begin_hub(tail, positions, count);
    }
    free(positions);
    return rc;
}

/* Records are there, and none has come for so long: librdkafka has forgotten a partition. One that lags reads on. */
static bool stands_still(const struct tw_tail *tail, int64_t for_us)
{
    return atomic_load(&tail->behind) && tw_monotonic_us() - atomic_load(&tail->read_us) > for_us;
}

static enum tw_rc read_on(struct tw_tail *tail, struct tw_reader *reader, struct tw_err *reterr)
{
    while (!atomic_load_explicit(&tail->stopping, memory_order_relaxed)) {
        size_t     count = 0;
        enum tw_rc rc = tw_reader_poll(reader, POLL_MS, POLL_MAX, on_record, tail, &count, reterr);

        if (count > 0)
            atomic_store(&tail->read_us, tw_monotonic_us());
        if (rc == TW_BROKEN)
            return rc;
        if (stands_still(tail, STARTS_AGAIN_US))
            return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "no events come, though there are some");
        if (rc != TW_OK)
            atomic_store_explicit(&tail->up, false, memory_order_relaxed);
    }
    return TW_OK;
}

/** Reads until an offset is not there any more or the tail stops; librdkafka reconnects by itself. */
static enum tw_rc follow(struct tw_tail *tail, struct tw_reader *reader, struct tw_err *reterr)
{
    struct asker asker = {.tail = tail, .reader = reader};

    TW_TRY(start_reading(tail, reader, reterr));
    tw_log(TW_LOG_INFO, "following the event topics");
    atomic_store(&tail->read_us, tw_monotonic_us());
    asker_start(&asker);
    enum tw_rc rc = read_on(tail, reader, reterr);
    asker_stop(&asker);
    atomic_store(&tail->behind, false);
    tw_freshness_end(tail->freshness);
    return rc;
}

static void *tail_main(void *self)
{
    struct tw_tail *tail = self;
    bool            said = false;

    pthread_setname_np(pthread_self(), "tail");
    tw_pulse_begin("tail");
    while (!atomic_load(&tail->stopping)) {
        struct tw_reader *reader = NULL;
        struct tw_err     err = {0};
        enum tw_rc        rc = tw_reader_open(tail->brokers, "tillwire-edge", &reader, &err);

        if (rc == TW_OK)
            rc = follow(tail, reader, &err);
        tw_reader_close(reader);
        atomic_store(&tail->up, false);
        if (rc != TW_OK && !said)
            tw_log_err(TW_LOG_WARN, "cannot follow the event topics, trying again", &err, NULL);
        said = rc != TW_OK;
        tw_pulse("waiting to open a reader");
        nap_ms(tail, RETRY_MS);
    }
    tw_arena_done(&tail->arena);
    tw_pulse_end();
    return NULL;
}

struct tw_tail *tw_tail_new(const char *brokers, size_t seats, const struct tw_revoked_sink *sink, struct tw_hub *hub)
{
    struct tw_tail    *tail = tw_alloc_zeroed(1, sizeof(*tail));
    pthread_condattr_t attr;

    tail->brokers = brokers;
    tail->sink = *sink;
    tail->hub = hub;
    tail->member_events = tw_topic_of(TW_DOMAIN_MEMBER, TW_TOPIC_EVENTS);
    tail->freshness = tw_freshness_new((size_t)tail->member_events->partitions);
    tail->ends = tw_alloc_zeroed(tw_bookmark_places() + 1, sizeof(int64_t));
    tail->prefer_count = seats;
    tail->seat_count = seats + MUST_SEATS;
    tail->seats = tw_alloc_zeroed(tail->seat_count, sizeof(*tail->seats));
    pthread_mutex_init(&tail->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (size_t i = 0; i < tail->seat_count; i++)
        pthread_cond_init(&tail->seats[i].woken, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&tail->thread, NULL, tail_main, tail) != 0)
        tw_out_of_memory(sizeof(*tail));
    return tail;
}

void tw_tail_stop(struct tw_tail *tail)
{
    atomic_store(&tail->stopping, true);
}

void tw_tail_free(struct tw_tail *tail)
{
    if (!tail)
        return;
    tw_tail_stop(tail);
    pthread_join(tail->thread, NULL);
    for (size_t i = 0; i < tail->seat_count; i++)
        pthread_cond_destroy(&tail->seats[i].woken);
    pthread_mutex_destroy(&tail->lock);
    tw_freshness_free(tail->freshness);
    free(tail->seats);
    free(tail->ends);
    free(tail);
}

void tw_tail_tell_watermarks(struct tw_tail *tail, struct tw_watermarks *watermarks)
{
    atomic_store_explicit(&tail->watermarks, watermarks, memory_order_release);
}

bool tw_tail_is_up(const struct tw_tail *tail)
{
    return atomic_load_explicit(&tail->up, memory_order_relaxed) && !stands_still(tail, STILL_US);
}

bool tw_tail_is_fresh(const struct tw_tail *tail)
{
    return tw_freshness_holds(tail->freshness, tw_monotonic_us());
}
