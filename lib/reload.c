#include "tillwire/reload.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/log.h"

struct tw_reload {
    struct tw_reload_options options;
    void                    *fresh; /* settings as they were read last */
    pthread_t                thread;
    atomic_bool              stopping;
};

static void only_hangup(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGHUP);
}

void tw_reload_block(void)
{
    sigset_t hangup;

    only_hangup(&hangup);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL);
}

static bool is_live(const struct tw_setting *row)
{
    return strcmp(row->name, "log_level") == 0;
}

static void set_log_level(const struct tw_setting *row, const void *settings)
{
    enum tw_log_level level;

    if (tw_log_level_parse(*(const char *const *)((const char *)settings + row->offset), &level))
        tw_log_set_level(level);
}

/* Those of the start are in force still; what is not read anew is told, so that nobody waits for it to take effect. */
static void tell_what_needs_a_restart(const struct tw_reload *reload)
{
    const struct tw_setting *row = reload->options.table;

    while ((row = tw_settings_differ(row, reload->options.settings, reload->fresh))) {
        if (!is_live(row))
            tw_log(TW_LOG_WARN, "a setting changed and needs a restart", TW_F_TEXT("setting", row->name));
        row++;
    }
}

static void read_settings(const struct tw_reload *reload)
{
    const struct tw_reload_options *options = &reload->options;
    struct tw_err                   err;

    memset(reload->fresh, 0, options->settings_bytes);
    if (tw_settings_read_again(options->table, options->program, options->argc, options->argv, reload->fresh, &err) !=
        TW_OK) {
        tw_log_err(TW_LOG_ERROR, "a setting is wrong; all stay as they were", &err, NULL);
        return;
    }
    for (const struct tw_setting *row = options->table; row->name; row++)
        if (is_live(row))
            set_log_level(row, reload->fresh);
    tell_what_needs_a_restart(reload);
}

static void *reload_main(void *self)
{
    struct tw_reload *reload = self;
    sigset_t          hangup;
    int               number;

    pthread_setname_np(pthread_self(), "reload");
    only_hangup(&hangup);
    while (sigwait(&hangup, &number) == 0 && !atomic_load(&reload->stopping)) {
        read_settings(reload);
        if (reload->options.also)
            reload->options.also(reload->options.self);
        tw_log(TW_LOG_INFO, "settings were read anew");
    }
    return NULL;
}

struct tw_reload *tw_reload_start(const struct tw_reload_options *options)
{
    struct tw_reload *reload = tw_alloc_zeroed(1, sizeof(*reload));

    reload->options = *options;
    reload->fresh = tw_alloc_zeroed(1, options->settings_bytes);
    if (pthread_create(&reload->thread, NULL, reload_main, reload) != 0)
        tw_out_of_memory(sizeof(*reload));
    return reload;
}

void tw_reload_stop(struct tw_reload *reload)
{
    if (!reload)
        return;
    atomic_store(&reload->stopping, true);
    pthread_kill(reload->thread, SIGHUP);
    pthread_join(reload->thread, NULL);
    free(reload->fresh);
    free(reload);
}
