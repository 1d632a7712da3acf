#include "health.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/log.h"
#include "tillwire/pulse.h"

enum { EVERY_MS = 1000, STEP_MS = 50, QUEUE_FULL_PERCENT = 80 };

struct watcher {
    struct tw_health *health;
    const char       *name; /* of the thread and its pulse */
    const char       *what; /* its pulse says */
    void (*look)(struct watcher *watcher);
    pthread_t thread;
    bool      told;     /* the first round is over */
    long long answered; /* requests, when last looked at */
};

enum { OF_POSTGRES, OF_MONGO, OF_REDIS, OF_REQUESTS, WATCHERS };

struct tw_health {
    struct tw_edge *edge;
    void (*on_mismatch)(void);
    struct watcher watchers[WATCHERS];
    atomic_bool    stopping;
};

/** Said at first and when it changes, not every second. */
static void set_part(struct watcher *watcher, atomic_bool *part, const char *name, bool good, const struct tw_err *err)
{
    bool was_good = atomic_exchange(part, good);
    bool is_news = good != was_good || !watcher->told;

    watcher->told = true;
    if (!is_news)
        return;
    if (good)
        tw_log(TW_LOG_INFO, "store answers", TW_F_TEXT("store", name));
    else
        tw_log_err(TW_LOG_WARN, "store does not answer", err,
                   (const struct tw_log_field[]){TW_F_TEXT("store", name), {0}});
}

static void look_at_postgres(struct watcher *watcher)
{
    struct tw_edge        *edge = watcher->health->edge;
    struct tw_edge_health *parts = &edge->health;
    struct tw_err          err = {0};
    enum tw_rc             pins = tw_members_check_pins(edge->members, edge->id_key_check, &err);

    set_part(watcher, &parts->postgres, "postgres", pins != TW_UNREACHED, &err);
    if (pins != TW_UNREACHED)
        atomic_store(&parts->pins, pins == TW_OK);
    if (pins == TW_INVALID) {
        tw_log_err(TW_LOG_ERROR, "this edge must not run against this database", &err, NULL);
        watcher->health->on_mismatch();
    }
}

static void look_at_mongo(struct watcher *watcher)
{
    struct tw_edge *edge = watcher->health->edge;
    struct tw_err   err = {0};
    bool            good = tw_products_ping(edge->products, &err) == TW_OK;

    set_part(watcher, &edge->health.mongo, "mongo", good, &err);
}

static void look_at_redis(struct watcher *watcher)
{
    struct tw_edge *edge = watcher->health->edge;
    struct tw_err   err = {0};
    bool            good = tw_carts_ping(edge->carts, &err) == TW_OK;

    set_part(watcher, &edge->health.redis, "redis", good, &err);
}

static bool has_free_threads(const struct tw_edge *edge)
{
    return atomic_load(&edge->connections) < edge->threads;
}

bool tw_health_serves(const struct tw_edge *edge, long long *last_answered)
{
    long long before = *last_answered;

    *last_answered = atomic_load(&edge->answered);
    return has_free_threads(edge) || *last_answered != before;
}

/* Its pulse is that of all request threads: it goes on as long as they do. */
static void look_at_requests(struct watcher *watcher)
{
    if (tw_health_serves(watcher->health->edge, &watcher->answered))
        tw_pulse(watcher->what);
}

static void *watcher_main(void *self)
{
    struct watcher   *watcher = self;
    struct tw_health *health = watcher->health;

    pthread_setname_np(pthread_self(), watcher->name);
    tw_pulse_begin(watcher->name);
    tw_pulse(watcher->what);
    while (!atomic_load(&health->stopping)) {
        if (watcher->look != look_at_requests)
            tw_pulse(watcher->what);
        watcher->look(watcher);
        for (int waited = 0; waited < EVERY_MS && !atomic_load(&health->stopping); waited += STEP_MS)
            usleep(STEP_MS * 1000);
    }
    tw_pulse_end();
    return NULL;
}

struct tw_health *tw_health_start(struct tw_edge *edge, void (*on_mismatch)(void))
{
    static const struct watcher watchers[WATCHERS] = {
        [OF_POSTGRES] = {.name = "ask-postgres", .what = "a question to PostgreSQL", .look = look_at_postgres},
        [OF_MONGO] = {.name = "ask-mongo", .what = "a question to MongoDB", .look = look_at_mongo},
        [OF_REDIS] = {.name = "ask-redis", .what = "a question to Redis", .look = look_at_redis},
        [OF_REQUESTS] = {.name = "requests",
                         .what = "all threads are taken and none answers",
                         .look = look_at_requests},
    };
    struct tw_health *health = tw_alloc_zeroed(1, sizeof(*health));

    health->edge = edge;
    health->on_mismatch = on_mismatch;
    memcpy(health->watchers, watchers, sizeof(watchers));
    for (size_t i = 0; i < WATCHERS; i++) {
        health->watchers[i].health = health;
        if (pthread_create(&health->watchers[i].thread, NULL, watcher_main, &health->watchers[i]) != 0)
            tw_out_of_memory(sizeof(*health));
    }
    return health;
}

void tw_health_end(struct tw_health *health)
{
    atomic_store(&health->stopping, true);
}

void tw_health_stop(struct tw_health *health)
{
    if (!health)
        return;
    tw_health_end(health);
    for (size_t i = 0; i < WATCHERS; i++)
        pthread_join(health->watchers[i].thread, NULL);
    free(health);
}

/* --- what is shown ------------------------------------------------------------------------------------------------ */

static void add_why(char why[TW_HEALTH_TEXT], const char *word)
{
    size_t len = strlen(why);

    snprintf(why + len, TW_HEALTH_TEXT - len, "%s%s", len ? ", " : "", word);
}

bool tw_health_look(struct tw_edge *edge, struct tw_health_part ret_parts[TW_HEALTH_PARTS],
                    char ret_why[TW_HEALTH_TEXT])
{
    struct tw_sender_state      sender = tw_sender_state(edge->sender);
    bool                        postgres = atomic_load(&edge->health.postgres);
    char                        late[TW_PULSE_TEXT];
    const struct tw_health_part parts[] = {
        {"broker", sender.connected},
        {"producer_warm", sender.warm},
        {"queue", sender.queue_percent < QUEUE_FULL_PERCENT},
        {"event_tail", tw_tail_is_up(edge->tail)},
        {"revocations", tw_tail_is_fresh(edge->tail) || postgres}, /* see auth/caller.c: one of the two is asked */
        {"postgres", postgres},
        {"mongo", atomic_load(&edge->health.mongo)},
        {"redis", atomic_load(&edge->health.redis)},
        {"id_key", atomic_load(&edge->health.pins)},
        {"free_threads", has_free_threads(edge)},
        {"threads_go_on", !tw_pulse_is_late(TW_PULSE_LATE_US, late)},
        {"not_draining", !atomic_load(&edge->draining)},
    };

    static_assert(TW_LEN(parts) == TW_HEALTH_PARTS, "all are shown");
    memcpy(ret_parts, parts, sizeof(parts));
    ret_why[0] = '\0';
    for (size_t i = 0; i < TW_HEALTH_PARTS; i++)
        if (!parts[i].good)
            add_why(ret_why, strcmp(parts[i].name, "threads_go_on") == 0 ? late : parts[i].name);
    return ret_why[0] == '\0';
}
