/**
 * Looks once a second whether the threads of this process go on (pulse.h) and whether it does its work, and tells whoever
 * supervises it (supervisor.h): READY=1 when it is ready for the first time, STATUS= with what it waits for, WATCHDOG=1 as
 * long as no thread hangs.
 *
 * A server that is away is waited for, for ever: a new process would wait, too. A thread that stands still in one call for
 * longer than that call may take is another thing: nothing in this process can end it. Then the watchdog ends the process,
 * with a last log line that names thread and call, and exit code TW_EXIT_HUNG; whoever supervises it starts another.
 */
#ifndef TILLWIRE_WATCHDOG_H
#define TILLWIRE_WATCHDOG_H

#include <stdatomic.h>

#include "tillwire/pulse.h"

/** Nothing is wrong that a new process would find again: start one. EX_SOFTWARE of sysexits.h. */
enum { TW_EXIT_HUNG = 70 };

enum { TW_WATCHDOG_TEXT = 512 };

struct tw_watchdog_options {
    int64_t hang_timeout_s; /**< a thread may be silent for so long; longer than any call may take */
    /** Does it do its work? Otherwise writes why not. From the watchdog's thread; must not block. */
    bool (*is_ready)(void *self, char ret_why[TW_WATCHDOG_TEXT]);
    void              *self;
    const atomic_bool *stopping; /**< it is going down: a hang is not waited out for longer than 15 s from then on */
};

struct tw_watchdog;

struct tw_watchdog *tw_watchdog_start(const struct tw_watchdog_options *options);
/** Accepts NULL. */
void                tw_watchdog_stop(struct tw_watchdog *watchdog);

/** What one look does, and what is kept from look to look; for tests, which have no second to wait. */
struct tw_watch {
    int64_t  looked_us;
    uint64_t beats[TW_PULSES_MAX];
    int64_t  silent_us[TW_PULSES_MAX];
};
/** Which place in the list of pulses has been silent for longer than @p limit_us, -1: none. Time counts only while the
 *  watch itself was awake: after SIGCONT, or on a machine that slept, nobody is blamed for what all of them missed. */
int tw_watch_look(struct tw_watch *watch, int64_t now_us, int64_t limit_us);

#endif
