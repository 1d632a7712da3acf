/*
 * One mutex guards everything; the reading thread holds it for a look into a hash table, a stream's thread for a copy of
 * one event. What is an outcome's caller is found out before it is taken.
 *
 * A stream first reads the history on from its bookmark, by number. Once it has come to the end, a member's stream gets the
 * numbers of what is its own put into a queue; one that sees all goes on by number. An event's number finds it in the
 * history; when it is not there any more, the stream was too slow, just as when its queue is full.
 *
 * A stream's bookmark moves with what it was told, and to where the reader is whenever nothing is left to tell: so it is
 * exact for what is the stream's own, and does not grow old while others' events go by. It may be ahead of the reader,
 * when another edge gave it: then what lies before it is passed over.
 */
#include "streams/hub.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "streams/bookmark.h"
#include "streams/history.h"
#include "tillwire/clock.h"
#include "tillwire/metrics.h"

enum {
    BUCKETS = 4096,
    SCAN_MAX = 2048,         /* events a stream looks at before it lets others have the lock */
    RECORD_BYTES = 1024,     /* what an event takes in the history, guessed high: to fill it, not more */
    KEEP_COPY_BYTES = 16384, /* of a stream's room for one event */
    WATCH_BATCH = 64,
    AHEAD_US = 20000000, /* a reader that is so far behind another edge's is not behind: its log is another one */
};

#define STOP_WATCHING UINT64_MAX

struct tw_stream {
    struct tw_hub    *hub;
    struct tw_stream *next;     /* in its caller's bucket, or among the free ones */
    struct tw_stream *next_all; /* among those that see all */
    pthread_cond_t    woken;
    struct tw_uuid    caller;
    uint32_t          ticket; /* tells this stream from others that had its place */
    int               socket; /* -1: not watched */
    bool              is_open;
    bool              sees_all;
    bool              is_waiting;
    bool              is_gone;
    bool              is_slow;
    bool              is_lost;        /* its bookmark cannot be read */
    bool              has_bookmark;   /* `bookmark` says where it is */
    bool              by_number;      /* reads on from `number`; else the queue has what is its own */
    int64_t           ahead_since_us; /* its bookmark is of what the reader has not come to; 0: it is not */
    uint32_t          epoch;          /* of the hub, when it was last placed; 0: not yet */
    int64_t           number;         /* in the history: what it looks at next */
    int64_t          *bookmark;
    struct tw_news   *copy;
    size_t            copy_bytes;
    size_t            queue_head;
    size_t            queue_len;
    int64_t           queue[TW_STREAM_BACKLOG];
};

/* The last event of a partition, as its cause and its place among the cause's events. */
struct last {
    int64_t cause;
    int64_t n;
};

struct tw_hub {
    struct tw_hub_options options;
    pthread_mutex_t       lock; /* guards all below */
    struct tw_history    *history;
    struct tw_stream     *streams;
    struct tw_stream     *free;
    struct tw_stream     *all;
    struct tw_stream     *buckets[BUCKETS];
    size_t                places;
    int64_t              *bookmarks; /* of all streams */
    int64_t              *ends;      /* of the log when reading began */
    struct last          *last;      /* of each place; the reading thread's own */
    struct tw_arena       arena;     /* of the reading thread */
    uint32_t              epoch;     /* goes up when reading begins; 0: it has not yet */
    bool                  draining;
    atomic_size_t         open;
    int                   watched; /* epoll */
    int                   stop;    /* eventfd */
    pthread_t             watcher;
};

static struct tw_metric open_streams = {
    .name = "tillwire_edge_streams", .kind = TW_GAUGE, .help = "Open streams of events."};
static struct tw_metric refused = {.name = "tillwire_edge_streams_refused_total",
                                   .kind = TW_COUNTER,
                                   .help = "Streams that were not opened because there was no slot for them."};
static struct tw_metric slow = {.name = "tillwire_edge_streams_slow_total",
                                .kind = TW_COUNTER,
                                .help = "Streams that ended because their client did not read fast enough."};
static struct tw_metric resets = {.name = "tillwire_edge_streams_reset_total",
                                  .kind = TW_COUNTER,
                                  .help = "Streams whose client was told that events were missed."};
TW_METRICS_SHOWN(&open_streams, &refused, &slow, &resets)

/* --- who goes away ------------------------------------------------------------------------------------------------ */

static void wake(struct tw_stream *stream)
{
    if (stream->is_waiting)
        pthread_cond_signal(&stream->woken);
}

static uint64_t watch_word(const struct tw_stream *stream)
{
    return (uint64_t)stream->ticket << 32 | (uint64_t)(stream - stream->hub->streams);
}

static void on_hang_up(struct tw_hub *hub, uint64_t word)
{
    struct tw_stream *stream = &hub->streams[word & UINT32_MAX];

    pthread_mutex_lock(&hub->lock);
    if (stream->is_open && stream->ticket == word >> 32) {
        stream->is_gone = true;
        wake(stream);
    }
    pthread_mutex_unlock(&hub->lock);
}

static void *watcher_main(void *self)
{
    struct tw_hub     *hub = self;
    struct epoll_event events[WATCH_BATCH];

    pthread_setname_np(pthread_self(), "streams-watch");
    for (;;) {
        int count = epoll_wait(hub->watched, events, WATCH_BATCH, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == STOP_WATCHING)
                return NULL;
            on_hang_up(hub, events[i].data.u64);
        }
    }
}

void tw_stream_watch(struct tw_stream *stream, int socket)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = watch_word(stream)};

    if (socket < 0 || epoll_ctl(stream->hub->watched, EPOLL_CTL_ADD, socket, &event) != 0)
        return;
    pthread_mutex_lock(&stream->hub->lock);
    stream->socket = socket;
    pthread_mutex_unlock(&stream->hub->lock);
}

static void watcher_start(struct tw_hub *hub)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = STOP_WATCHING};

    hub->watched = epoll_create1(EPOLL_CLOEXEC);
    hub->stop = eventfd(0, EFD_CLOEXEC);
    if (hub->watched < 0 || hub->stop < 0 || epoll_ctl(hub->watched, EPOLL_CTL_ADD, hub->stop, &event) != 0 ||
        pthread_create(&hub->watcher, NULL, watcher_main, hub) != 0)
        tw_out_of_memory(sizeof(*hub));
}

static void watcher_stop(struct tw_hub *hub)
{
    eventfd_write(hub->stop, 1);
    pthread_join(hub->watcher, NULL);
    close(hub->stop);
    close(hub->watched);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct tw_hub *tw_hub_new(const struct tw_hub_options *options)
{
    struct tw_hub     *hub = tw_alloc_zeroed(1, sizeof(*hub));
    pthread_condattr_t attr;

    hub->options = *options;
    hub->places = tw_bookmark_places();
    hub->history = tw_history_new(options->history_bytes, hub->places);
    hub->streams = tw_alloc_zeroed(options->slots + 1, sizeof(struct tw_stream));
    hub->bookmarks = tw_alloc_zeroed((options->slots + 1) * hub->places, sizeof(int64_t));
    hub->ends = tw_alloc_zeroed(hub->places, sizeof(int64_t));
    hub->last = tw_alloc_zeroed(hub->places, sizeof(struct last));
    pthread_mutex_init(&hub->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (size_t i = options->slots; i-- > 0;) {
        struct tw_stream *stream = &hub->streams[i];
        pthread_cond_init(&stream->woken, &attr);
        stream->hub = hub;
        stream->bookmark = hub->bookmarks + i * hub->places;
        stream->next = hub->free;
        hub->free = stream;
    }
    pthread_condattr_destroy(&attr);
    watcher_start(hub);
    return hub;
}

void tw_hub_free(struct tw_hub *hub)
{
    if (!hub)
        return;
    watcher_stop(hub);
    for (size_t i = 0; i < hub->options.slots; i++)
        pthread_cond_destroy(&hub->streams[i].woken);
    pthread_mutex_destroy(&hub->lock);
    tw_history_free(hub->history);
    tw_arena_done(&hub->arena);
    free(hub->last);
    free(hub->ends);
    free(hub->bookmarks);
    free(hub->streams);
    free(hub);
}

static struct tw_stream **bucket_of(struct tw_hub *hub, struct tw_uuid caller)
{
    uint32_t number;

    memcpy(&number, caller.bytes + 10, sizeof(number)); /* ids are hashes there */
    return &hub->buckets[number % BUCKETS];
}

/* --- the reading thread ------------------------------------------------------------------------------------------- */

int64_t tw_hub_history_records(const struct tw_hub *hub)
{
    return (int64_t)(hub->options.history_bytes / RECORD_BYTES / hub->places) + 1;
}

void tw_hub_begin(struct tw_hub *hub, const int64_t *from, const int64_t *ends)
{
    for (size_t i = 0; i < hub->places; i++)
        hub->last[i] = (struct last){-1, -1};
    pthread_mutex_lock(&hub->lock);
    tw_history_begin(hub->history, from);
    memcpy(hub->ends, ends, hub->places * sizeof(*ends));
    hub->epoch++;
    for (size_t i = 0; i < hub->options.slots; i++)
        wake(&hub->streams[i]);
    pthread_mutex_unlock(&hub->lock);
}

static void put(struct tw_stream *stream, const struct tw_news *news)
{
    if (stream->queue_len == TW_STREAM_BACKLOG)
        stream->is_slow = true;
    else
        stream->queue[(stream->queue_head + stream->queue_len++) % TW_STREAM_BACKLOG] = news->number;
    wake(stream);
}

/** Locked. */
static void tell(struct tw_hub *hub, const struct tw_news *news)
{
    struct tw_stream *stream = tw_uuid_is_nil(news->owner) ? NULL : *bucket_of(hub, news->owner);

    for (; stream; stream = stream->next) {
        if (!tw_uuid_eq(stream->caller, news->owner) || stream->sees_all || stream->epoch != hub->epoch)
            continue;
        if (stream->by_number)
            wake(stream);
        else
            put(stream, news);
    }
    for (stream = hub->all; stream; stream = stream->next_all)
        wake(stream);
}

/** The rule for every reader of events: what is not above the last one is a repeat. */
static bool is_repeat(struct last *last, const struct tw_record *record)
{
    int64_t cause = -1;
    int64_t n = -1;

    if (!tw_str_to_int(tw_header_find(record, TW_H_CAUSE_OFFSET), &cause) ||
        !tw_str_to_int(tw_header_find(record, TW_H_N), &n))
        return false;
    if (cause < last->cause || (cause == last->cause && n <= last->n))
        return true;
    *last = (struct last){cause, n};
    return false;
}

void tw_hub_tell(struct tw_hub *hub, size_t place, const struct tw_record *record)
{
    bool            repeat = is_repeat(&hub->last[place], record);
    struct tw_news *news = repeat ? NULL : tw_news_of(record, place, &hub->arena);

    pthread_mutex_lock(&hub->lock);
    if (news) {
        tw_history_add(hub->history, news);
        tell(hub, news);
    } else {
        tw_history_pass(hub->history, place, record->offset);
    }
    pthread_mutex_unlock(&hub->lock);
}

/* --- where a stream is -------------------------------------------------------------------------------------------- */

/** Locked: nothing is left to tell, so the bookmark may move to where the reader is. */
static void catch_up_bookmark(struct tw_stream *stream)
{
    const int64_t *next = tw_history_next(stream->hub->history);

    for (size_t i = 0; i < stream->hub->places; i++) {
        if (stream->bookmark[i] < next[i])
            stream->bookmark[i] = next[i];
    }
}

/** Locked: from now on. The log's ends as they were when reading began count, too: a reader that is not there yet would
 *  tell of what happened before. */
static void start_now(struct tw_stream *stream)
{
    struct tw_hub *hub = stream->hub;

    memcpy(stream->bookmark, hub->ends, hub->places * sizeof(int64_t));
    catch_up_bookmark(stream);
    stream->has_bookmark = true;
    stream->is_lost = false;
    stream->ahead_since_us = 0;
    stream->queue_head = stream->queue_len = 0;
    stream->by_number = true;
    stream->number = tw_history_end(hub->history);
}

/** Locked: the reader began, perhaps anew. False: the stream cannot go on without a gap. */
static bool take_place(struct tw_stream *stream)
{
    struct tw_hub *hub = stream->hub;
    bool           reaches = !stream->is_lost &&
                   (!stream->has_bookmark || tw_history_reaches(hub->history, stream->bookmark, stream->sees_all));

    stream->epoch = hub->epoch;
    if (!reaches || !stream->has_bookmark) {
        start_now(stream);
        return reaches;
    }
    stream->queue_head = stream->queue_len = 0;
    stream->by_number = true;
    stream->number = 0;
    const struct tw_news *first = tw_history_find(hub->history, 0, stream->sees_all);
    stream->number = first ? first->number : tw_history_end(hub->history);
    return true;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

/** Locked. */
static size_t count_of(struct tw_hub *hub, struct tw_uuid caller)
{
    size_t count = 0;

    for (const struct tw_stream *stream = *bucket_of(hub, caller); stream; stream = stream->next)
        count += tw_uuid_eq(stream->caller, caller) ? 1 : 0;
    return count;
}

/** Locked; there is a free one. Everything but the parts that stay with the slot begins anew. */
static struct tw_stream *take_slot(struct tw_hub *hub, const struct tw_stream_wish *wish)
{
    struct tw_stream  *stream = hub->free;
    struct tw_stream **bucket = bucket_of(hub, wish->caller);

    hub->free = stream->next;
    stream->next = *bucket;
    *bucket = stream;
    if (wish->sees_all) {
        stream->next_all = hub->all;
        hub->all = stream;
    }
    stream->ticket++;
    stream->socket = -1;
    stream->caller = wish->caller;
    stream->is_open = true;
    stream->sees_all = wish->sees_all;
    stream->is_waiting = stream->is_gone = stream->is_slow = false;
    stream->ahead_since_us = 0;
    stream->is_lost = wish->is_lost;
    stream->has_bookmark = wish->bookmark != NULL;
    stream->epoch = 0;
    stream->queue_head = stream->queue_len = 0;
    if (wish->bookmark)
        memcpy(stream->bookmark, wish->bookmark, hub->places * sizeof(int64_t));
    else
        memset(stream->bookmark, 0, hub->places * sizeof(int64_t));
    return stream;
}

/** Locked. */
static enum tw_stream_open open_one(struct tw_hub *hub, const struct tw_stream_wish *wish,
                                    struct tw_stream **ret_stream)
{
    if (hub->draining)
        return TW_STREAM_GOING_DOWN;
    if (count_of(hub, wish->caller) >= hub->options.per_caller)
        return TW_STREAM_CALLER_HAS_ALL;
    if (!hub->free)
        return TW_STREAM_NO_SLOT;
    struct tw_stream *stream = take_slot(hub, wish);
    /* The client has its answer before the first tw_stream_next(): what happens in between is told, too. */
    if (hub->epoch > 0 && !wish->bookmark && !wish->is_lost)
        take_place(stream);
    *ret_stream = stream;
    tw_metric_set(&open_streams, (int64_t)atomic_fetch_add(&hub->open, 1) + 1);
    return TW_STREAM_OPENED;
}

enum tw_stream_open tw_stream_open(struct tw_hub *hub, const struct tw_stream_wish *wish, struct tw_stream **ret_stream)
{
    pthread_mutex_lock(&hub->lock);
    enum tw_stream_open opened = open_one(hub, wish, ret_stream);
    pthread_mutex_unlock(&hub->lock);
    if (opened != TW_STREAM_OPENED)
        tw_metric_add(&refused, 1);
    return opened;
}

static void unlink_from(struct tw_stream **list, struct tw_stream *stream)
{
    while (*list != stream)
        list = &(*list)->next;
    *list = stream->next;
}

static void unlink_from_all(struct tw_stream **list, struct tw_stream *stream)
{
    while (*list != stream)
        list = &(*list)->next_all;
    *list = stream->next_all;
}

void tw_stream_close(struct tw_stream *stream)
{
    if (!stream)
        return;
    struct tw_hub *hub = stream->hub;

    if (stream->socket >= 0)
        epoll_ctl(hub->watched, EPOLL_CTL_DEL, stream->socket, NULL);
    pthread_mutex_lock(&hub->lock);
    unlink_from(bucket_of(hub, stream->caller), stream);
    if (stream->sees_all)
        unlink_from_all(&hub->all, stream);
    stream->is_open = false;
    stream->next = hub->free;
    hub->free = stream;
    free(stream->copy);
    stream->copy = NULL;
    stream->copy_bytes = 0;
    tw_metric_set(&open_streams, (int64_t)atomic_fetch_sub(&hub->open, 1) - 1);
    pthread_mutex_unlock(&hub->lock);
}

/* --- what a stream is told ---------------------------------------------------------------------------------------- */

static bool wants(const struct tw_stream *stream, const struct tw_news *news)
{
    return news->offset >= stream->bookmark[news->place] &&
           (stream->sees_all || tw_uuid_eq(news->owner, stream->caller));
}

/** Locked. The next that the stream wants, by number; NULL: none, or not among the next SCAN_MAX. */
static const struct tw_news *scan(struct tw_stream *stream)
{
    struct tw_history    *history = stream->hub->history;
    const struct tw_news *news = NULL;

    if (!tw_history_has_from(history, stream->number, stream->sees_all)) {
        stream->is_slow = true;
        return NULL;
    }
    for (int i = 0; i < SCAN_MAX; i++) {
        news = tw_history_find(history, stream->number, stream->sees_all);
        stream->number = news ? news->number + 1 : tw_history_end(history);
        if (!news || wants(stream, news))
            break;
        news = NULL;
    }
    if (stream->number == tw_history_end(history))
        stream->by_number = stream->sees_all;
    return news;
}

/** Locked. */
static const struct tw_news *pop(struct tw_stream *stream)
{
    while (stream->queue_len > 0) {
        int64_t               number = stream->queue[stream->queue_head];
        const struct tw_news *news = tw_history_find(stream->hub->history, number, false);

        stream->queue_head = (stream->queue_head + 1) % TW_STREAM_BACKLOG;
        stream->queue_len--;
        if (!news || news->number != number) {
            stream->is_slow = true;
            return NULL;
        }
        if (wants(stream, news))
            return news;
    }
    return NULL;
}

/** Locked. */
static bool has_more(const struct tw_stream *stream)
{
    return stream->by_number ? stream->number < tw_history_end(stream->hub->history) : stream->queue_len > 0;
}

static void keep_copy(struct tw_stream *stream, const struct tw_news *news)
{
    if (news->size > stream->copy_bytes || stream->copy_bytes > KEEP_COPY_BYTES) {
        free(stream->copy);
        stream->copy = tw_alloc(news->size);
        stream->copy_bytes = news->size;
    }
    memcpy(stream->copy, news, news->size);
}

/** Locked. */
static bool take(struct tw_stream *stream)
{
    const struct tw_news *news = stream->by_number ? scan(stream) : pop(stream);

    if (news) {
        keep_copy(stream, news);
        stream->bookmark[news->place] = news->offset + 1;
    }
    if (!stream->is_slow && !has_more(stream))
        catch_up_bookmark(stream);
    return news != NULL;
}

/** Locked. A bookmark may come from an edge that read further; this one comes there soon, or its log is another one. */
static bool is_ahead(const struct tw_stream *stream)
{
    const int64_t *next = tw_history_next(stream->hub->history);

    for (size_t i = 0; i < stream->hub->places; i++) {
        if (stream->bookmark[i] > next[i])
            return true;
    }
    return false;
}

/** Locked: nothing happened in the time given. */
static enum tw_stream_news quiet(struct tw_stream *stream)
{
    int64_t now_us = tw_monotonic_us();

    if (stream->epoch == 0 || !is_ahead(stream))
        stream->ahead_since_us = 0;
    else if (stream->ahead_since_us == 0)
        stream->ahead_since_us = now_us;
    if (stream->ahead_since_us == 0 || now_us - stream->ahead_since_us < AHEAD_US)
        return TW_STREAM_QUIET;
    start_now(stream);
    return TW_STREAM_RESET;
}

/** Locked. False: nothing yet. */
static bool look(struct tw_stream *stream, enum tw_stream_news *ret_news)
{
    struct tw_hub *hub = stream->hub;

    if (hub->draining)
        *ret_news = TW_STREAM_DRAINED;
    else if (stream->is_gone)
        *ret_news = TW_STREAM_GONE;
    else if (hub->epoch != stream->epoch && !take_place(stream))
        *ret_news = TW_STREAM_RESET;
    else if (!stream->is_slow && hub->epoch > 0 && take(stream))
        *ret_news = TW_STREAM_NEWS;
    else if (stream->is_slow)
        *ret_news = TW_STREAM_SLOW;
    else
        return false;
    return true;
}

/** Locked; lets go of the lock while it waits. */
static enum tw_stream_news await(struct tw_stream *stream, int64_t until_us)
{
    struct timespec     until = {until_us / 1000000, (until_us % 1000000) * 1000};
    enum tw_stream_news news = TW_STREAM_QUIET;
    int                 rc = 0;

    while (!look(stream, &news)) {
        if (rc != 0)
            return quiet(stream);
        if (stream->epoch > 0 && has_more(stream)) { /* others first */
            pthread_mutex_unlock(&stream->hub->lock);
            pthread_mutex_lock(&stream->hub->lock);
            continue;
        }
        stream->is_waiting = true;
        rc = pthread_cond_timedwait(&stream->woken, &stream->hub->lock, &until);
        stream->is_waiting = false;
    }
    return news;
}

enum tw_stream_news tw_stream_next(struct tw_stream *stream, int64_t until_us, const struct tw_news **ret_news)
{
    pthread_mutex_lock(&stream->hub->lock);
    enum tw_stream_news news = await(stream, until_us);
    pthread_mutex_unlock(&stream->hub->lock);
    if (news == TW_STREAM_NEWS)
        *ret_news = stream->copy;
    else if (news == TW_STREAM_RESET)
        tw_metric_add(&resets, 1);
    else if (news == TW_STREAM_SLOW)
        tw_metric_add(&slow, 1);
    return news;
}

const int64_t *tw_stream_bookmark(const struct tw_stream *stream)
{
    return stream->epoch > 0 ? stream->bookmark : NULL;
}

/** Locked. Its thread may be in the middle of a write that the client does not take; what the kernel has is still sent. An
 *  open stream's socket is open: it is closed after the stream. */
static void cut_off(const struct tw_stream *stream)
{
    if (stream->is_open && stream->socket >= 0)
        shutdown(stream->socket, SHUT_RDWR);
}

void tw_hub_drain(struct tw_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->draining = true;
    for (size_t i = 0; i < hub->options.slots; i++) {
        wake(&hub->streams[i]);
        cut_off(&hub->streams[i]);
    }
    pthread_mutex_unlock(&hub->lock);
}

size_t tw_hub_open_streams(const struct tw_hub *hub)
{
    return atomic_load_explicit(&hub->open, memory_order_relaxed);
}
