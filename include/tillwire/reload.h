/**
 * SIGHUP: what a program reads anew without a restart. That is `log_level` and whatever the program adds; of other
 * settings that changed meanwhile the log says that they need a restart.
 *
 * Threads: one of its own waits for the signal, so whatever it calls may take its time.
 */
#ifndef TILLWIRE_RELOAD_H
#define TILLWIRE_RELOAD_H

#include "tillwire/settings.h"

struct tw_reload;

struct tw_reload_options {
    const struct tw_setting *table; /**< with a row "log_level"; outlives the reload */
    const char              *program;
    int                      argc; /**< as main() got them: the same sources are read again */
    char                   **argv;
    const void              *settings; /**< as they were read at the start; outlives the reload */
    size_t                   settings_bytes;
    void (*also)(void *self); /**< what else is read anew; writes its own log lines. NULL: nothing */
    void *self;
};

/** First thing in main(), before any thread is made: SIGHUP waits instead of ending the process. */
void              tw_reload_block(void);
struct tw_reload *tw_reload_start(const struct tw_reload_options *options);
/** Waits for a reload under way. Accepts NULL. */
void              tw_reload_stop(struct tw_reload *reload);

#endif
