/* A table of places: whoever begins takes a free one under the lock and then writes to it alone; readers never wait for
 * it. */
#include "tillwire/pulse.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/clock.h"

struct pulse {
    _Atomic(int64_t)      at_us;
    _Atomic(const char *) what; /* NULL: at rest, or nobody's */
    _Atomic(uint64_t)     beats;
    bool                  taken;               /* this and `name`: under the lock */
    char                  name[TW_PULSE_NAME]; /* stays when its thread has ended */
};

static pthread_mutex_t             lock = PTHREAD_MUTEX_INITIALIZER;
static struct pulse                pulses[TW_PULSES_MAX];
static _Thread_local struct pulse *mine;

static struct pulse *take_place(const char *name)
{
    for (size_t i = 0; i < TW_LEN(pulses); i++) {
        if (pulses[i].taken)
            continue;
        pulses[i].taken = true;
        snprintf(pulses[i].name, sizeof(pulses[i].name), "%s", name);
        return &pulses[i];
    }
    return NULL; /* more threads than anybody starts: the others are watched all the same */
}

void tw_pulse_begin(const char *name)
{
    pthread_mutex_lock(&lock);
    mine = take_place(name);
    pthread_mutex_unlock(&lock);
    tw_pulse_rest();
}

void tw_pulse_end(void)
{
    tw_pulse_rest();
    pthread_mutex_lock(&lock);
    if (mine)
        mine->taken = false;
    mine = NULL;
    pthread_mutex_unlock(&lock);
}

static void beat(const char *what)
{
    if (!mine)
        return;
    atomic_store_explicit(&mine->at_us, tw_monotonic_us(), memory_order_relaxed);
    atomic_store_explicit(&mine->what, what, memory_order_release);
    atomic_fetch_add_explicit(&mine->beats, 1, memory_order_relaxed);
}

void tw_pulse(const char *what)
{
    beat(what);
}

void tw_pulse_rest(void)
{
    beat(NULL);
}

size_t tw_pulse_look(struct tw_pulse_view ret_views[TW_PULSES_MAX])
{
    int64_t now_us = tw_monotonic_us();

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < TW_LEN(pulses); i++) {
        struct tw_pulse_view *view = &ret_views[i];

        memcpy(view->name, pulses[i].name, sizeof(view->name));
        view->beats = atomic_load_explicit(&pulses[i].beats, memory_order_relaxed);
        view->what = atomic_load_explicit(&pulses[i].what, memory_order_acquire);
        view->silent_us = view->what ? now_us - atomic_load_explicit(&pulses[i].at_us, memory_order_relaxed) : 0;
    }
    pthread_mutex_unlock(&lock);
    return TW_LEN(pulses);
}

bool tw_pulse_is_late(int64_t longer_than_us, char ret_text[TW_PULSE_TEXT])
{
    struct tw_pulse_view  views[TW_PULSES_MAX];
    size_t                count = tw_pulse_look(views);
    struct tw_pulse_view *longest = &views[0];

    for (size_t i = 1; i < count; i++)
        if (views[i].silent_us > longest->silent_us)
            longest = &views[i];
    if (longest->silent_us <= longer_than_us)
        return false;
    snprintf(ret_text, TW_PULSE_TEXT, "%s has been silent for %" PRId64 " s: %s", longest->name,
             longest->silent_us / 1000000, longest->what);
    return true;
}
