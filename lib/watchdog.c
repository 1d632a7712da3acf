#include "tillwire/watchdog.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/log.h"
#include "tillwire/supervisor.h"

enum { LOOK_MS = 1000, STEP_MS = 20, AWAKE_US = 2 * LOOK_MS * 1000, STOPPING_S = 15 };

struct tw_watchdog {
    struct tw_watchdog_options options;
    struct tw_watch            watch;
    pthread_t                  thread;
    atomic_bool                ending;
    bool                       told_ready;
    bool                       told_stopping;
    char                       status[TW_WATCHDOG_TEXT]; /* as it was told last */
};

int tw_watch_look(struct tw_watch *watch, int64_t now_us, int64_t limit_us)
{
    struct tw_pulse_view views[TW_PULSES_MAX];
    size_t               count = tw_pulse_look(views);
    int64_t              passed_us = now_us - watch->looked_us;
    int                  longest = -1;

    if (passed_us > AWAKE_US)
        passed_us = AWAKE_US;
    for (size_t i = 0; i < count; i++) {
        bool same = views[i].what && views[i].beats == watch->beats[i];

        watch->silent_us[i] = same ? watch->silent_us[i] + passed_us : 0;
        watch->beats[i] = views[i].beats;
        if (watch->silent_us[i] > limit_us && (longest < 0 || watch->silent_us[i] > watch->silent_us[longest]))
            longest = (int)i;
    }
    watch->looked_us = now_us;
    return longest;
}

/* Not exit(): destructors would wait for what hangs. */
static _Noreturn void end_hung(const struct tw_watch *watch, int which)
{
    struct tw_pulse_view views[TW_PULSES_MAX];

    tw_pulse_look(views);
    tw_supervisor_tell("STATUS=ended: a thread hung, see the last log line");
    tw_log(TW_LOG_ERROR, "a thread hangs: ending this process, only another one helps",
           TW_F_TEXT("thread", views[which].name), TW_F_TEXT("hangs_in", views[which].what ? views[which].what : ""),
           TW_F_INT("silent_s", watch->silent_us[which] / 1000000));
    _exit(TW_EXIT_HUNG);
}

static int64_t limit_us_of(const struct tw_watchdog *watchdog)
{
    int64_t limit_s = watchdog->options.hang_timeout_s;

    if (atomic_load(watchdog->options.stopping) && limit_s > STOPPING_S)
        limit_s = STOPPING_S;
    return limit_s * 1000000;
}

/* What is said twice is said once: a supervisor keeps the last status. */
static void tell_status(struct tw_watchdog *watchdog, bool ready, const char *why)
{
    char words[TW_WATCHDOG_TEXT + 64];
    char status[TW_WATCHDOG_TEXT];

    snprintf(status, sizeof(status), "%s%s%.450s", ready ? "ready" : "not ready", *why ? ": " : "", why);
    if (strcmp(status, watchdog->status) == 0)
        return;
    memcpy(watchdog->status, status, sizeof(status));
    snprintf(words, sizeof(words), "%sSTATUS=%s", ready && !watchdog->told_ready ? "READY=1\n" : "", status);
    watchdog->told_ready |= ready;
    tw_supervisor_tell(words);
}

static void tell_stopping(struct tw_watchdog *watchdog)
{
    if (atomic_load(watchdog->options.stopping) && !watchdog->told_stopping)
        watchdog->told_stopping = tw_supervisor_tell("STOPPING=1\nSTATUS=going down");
}

static void tell(struct tw_watchdog *watchdog)
{
    char why[TW_WATCHDOG_TEXT] = "";

    if (atomic_load(watchdog->options.stopping)) {
        tell_stopping(watchdog);
    } else {
        bool ready = watchdog->options.is_ready(watchdog->options.self, why);

        why[strcspn(why, "\n")] = '\0'; /* a line is a word of the protocol */
        tell_status(watchdog, ready, why);
    }
    tw_supervisor_tell("WATCHDOG=1");
}

static void *watchdog_main(void *self)
{
    struct tw_watchdog   *watchdog = self;
    const struct timespec step = {0, STEP_MS * 1000000L};

    pthread_setname_np(pthread_self(), "watchdog");
    watchdog->watch.looked_us = tw_monotonic_us();
    while (!atomic_load(&watchdog->ending)) {
        int hung = tw_watch_look(&watchdog->watch, tw_monotonic_us(), limit_us_of(watchdog));

        if (hung >= 0)
            end_hung(&watchdog->watch, hung);
        tell(watchdog);
        for (int waited = 0; waited < LOOK_MS && !atomic_load(&watchdog->ending); waited += STEP_MS)
            nanosleep(&step, NULL);
    }
    tell_stopping(watchdog); /* it may have gone down between two looks */
    return NULL;
}

struct tw_watchdog *tw_watchdog_start(const struct tw_watchdog_options *options)
{
    struct tw_watchdog *watchdog = tw_alloc_zeroed(1, sizeof(*watchdog));

    watchdog->options = *options;
    if (pthread_create(&watchdog->thread, NULL, watchdog_main, watchdog) != 0)
        tw_out_of_memory(sizeof(*watchdog));
    return watchdog;
}

void tw_watchdog_stop(struct tw_watchdog *watchdog)
{
    if (!watchdog)
        return;
    atomic_store(&watchdog->ending, true);
    pthread_join(watchdog->thread, NULL);
    free(watchdog);
}
