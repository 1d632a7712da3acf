/*
 * A worker is its loops (loop.h) and what they share: settings, the admin port, the signal to stop. The first loop that
 * finds a broken invariant stops the others.
 */
#include "worker.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "policy_loop.h"
#include "tillwire/kafka.h"
#include "tillwire/log.h"
#include "tillwire/pulse.h"
#include "tillwire/reload.h"
#include "tillwire/watchdog.h"

enum { EXIT_WRONG_SETTINGS = 2, EXIT_BROKEN = 3, LOOPS_MAX = 16, INSTANCE_ID_MAX = 100 };
enum { CALL_PARTS = 4 };      /* a call may connect, ask, and do both again, each within its time-out */
enum { OWN_SETTINGS = 5 };    /* rows that differ between workers */
enum { POLICY_SETTINGS = 2 }; /* at the end of a worker's own rows, only where there is a policy that needs them */

#define OFFSET(member) offsetof(struct tw_worker_settings, member)

/* Some rows are the worker's own: see read_settings(). */
static const struct tw_setting rows[] = {
    {.name = "kafka",
     .offset = OFFSET(kafka),
     .min = 1,
     .help = "Brokers, host:port with commas; ?name=value&… sets librdkafka's own settings."},
    {.name = "admin_listen",
     .offset = OFFSET(admin_listen),
     .min = 1,
     .fallback = "127.0.0.1:8082",
     .help = "Address of /healthz, /readyz and /metrics."},
    {.name = "id_key_file",
     .offset = OFFSET(id_key_file),
     .min = 1,
     .secret = true,
     .help = "File with the 32-byte id key as hex; the same for every program, for ever."},
    {.name = "group", .offset = OFFSET(group), .fallback = "", .help = "Consumer group; empty: the program's name."},
    {.name = "instance_id",
     .offset = OFFSET(instance_id),
     .fallback = "",
     .max = INSTANCE_ID_MAX,
     .help = "Static group member id (threads add -0, -1, …, a policy -policy): a restart keeps its partitions; empty: "
             "none."},
    {.name = "threads",
     .type = TW_SET_INT,
     .offset = OFFSET(threads),
     .fallback = "2",
     .min = 1,
     .max = LOOPS_MAX,
     .help = "Loops, each with its share of the partitions and connections of its own."},
    {.name = "cache_mbytes",
     .type = TW_SET_INT,
     .offset = OFFSET(cache_mbytes),
     .fallback = "32",
     .min = 0,
     .max = 4096,
     .help = "States kept between batches, MiB a partition."},
    {.name = "fetch_mbytes",
     .type = TW_SET_INT,
     .offset = OFFSET(fetch_mbytes),
     .fallback = "32",
     .min = 1,
     .max = 1024,
     .help = "Records fetched ahead, MiB a thread."},
    {.name = "publish_mbytes",
     .type = TW_SET_INT,
     .offset = OFFSET(publish_mbytes),
     .fallback = "64",
     .min = 4,
     .max = 1024,
     .help = "Events waiting for the broker, MiB a thread."},
    {.name = "linger_us",
     .type = TW_SET_INT,
     .offset = OFFSET(linger_us),
     .fallback = "0",
     .min = 0,
     .max = 100000,
     .help = "How long the producer waits for company, microseconds."},
    {.name = "store_timeout_ms",
     .type = TW_SET_INT,
     .offset = OFFSET(store_timeout_ms),
     .fallback = "5000",
     .min = 100,
     .max = 60000,
     .help = "A store call that takes longer has failed, ms."},
    {.name = "broker_timeout_ms",
     .type = TW_SET_INT,
     .offset = OFFSET(broker_timeout_ms),
     .fallback = "10000",
     .min = 500,
     .max = 60000,
     .help = "A question to the broker that takes longer has failed, ms."},
    {.name = "session_timeout_ms",
     .type = TW_SET_INT,
     .offset = OFFSET(session_timeout_ms),
     .fallback = "10000",
     .min = 6000,
     .max = 300000,
     .help = "Silent for this long, a worker loses its partitions, ms."},
    {.name = "hang_timeout_s",
     .type = TW_SET_INT,
     .offset = OFFSET(hang_timeout_s),
     .fallback = "120",
     .min = 2,
     .max = 3600,
     .help = "A thread that stands still in one call for longer ends the process, s; more than four of the time-outs "
             "above."},
    {.name = "log_level",
     .type = TW_SET_CHOICE,
     .offset = OFFSET(log_level),
     .fallback = "info",
     .choices = "error|warn|info|debug",
     .help = "Least important lines that are written."},
};

struct worker {
    struct tw_worker_settings settings;
    struct tw_setting         table[OWN_SETTINGS + TW_LEN(rows) + 1]; /* of `settings` */
    struct tw_loop_context    context;
    struct tw_watchdog       *watchdog;
    char                      program[64];
    pthread_mutex_t           lock; /* guards the two below */
    bool                      broken;
    struct tw_err             err; /* of the loop that broke first */
};

struct thread {
    struct worker *worker;
    int            number;
    pthread_t      id;
};

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

/* --- what is settled before any loop begins ------------------------------------------------------------------------ */

static enum tw_rc differences(const struct worker *worker, struct tw_buf *ret_differences, struct tw_err *reterr)
{
    const struct tw_worker_spec *spec = worker->context.spec;

    return (spec->diff_topics ? spec->diff_topics : tw_topics_diff)(
        worker->settings.kafka, spec->domain->name, (int)worker->settings.broker_timeout_ms, ret_differences, reterr);
}

/* The topics must be what the manifest says before anything is read: partition counts are part of the data. */
static enum tw_rc check_topics(struct worker *worker, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf found = {0};
    struct tw_retry                    retry = {.what = "waiting for the broker"};
    struct tw_err                      err;

    while (!stop_asked) {
        enum tw_rc rc;

        tw_pulse("asking the broker for its topics");
        rc = differences(worker, &found, &err);

        if (rc == TW_OK && !found.len)
            return TW_OK;
        if (rc == TW_OK)
            return tw_fail(reterr, TW_BROKEN, "worker", 0,
                           "topics differ from the manifest (see `twctl topics diff`): %.*s",
                           TW_STR_ARG(tw_buf_str(&found)));
        if (tw_rc_action(rc) != TW_RETRY) {
            *reterr = err;
            return rc;
        }
        tw_retry_pause(&retry, worker->context.admin, TW_ALL_LOOPS, &err);
    }
    return TW_OK;
}

/* The message of @p reterr gets the name of the setting that is to blame. */
static enum tw_rc refused(const char *setting, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_INVALID, reterr->where, reterr->native, "%s: %s", setting, reterr->msg);
}

static enum tw_rc read_id_key(struct worker *worker, struct tw_err *reterr)
{
    char *text = NULL;
    bool  valid;

    if (tw_secret_read(worker->settings.id_key_file, 1024, &text, reterr) != TW_OK)
        return refused("id_key_file", reterr);
    valid = tw_hex_parse(tw_str_of(text), worker->context.id_key, TW_ID_KEY_BYTES);
    free(text);
    if (valid)
        return TW_OK;
    return tw_fail(reterr, TW_INVALID, "worker", 0, "id_key_file: '%s' must hold %d bytes as hex",
                   worker->settings.id_key_file, TW_ID_KEY_BYTES);
}

/* A wrong address is told at once, not when the broker answers. */
static enum tw_rc check_store_uri(const struct worker *worker, struct tw_err *reterr)
{
    const struct tw_worker_spec *spec = worker->context.spec;
    struct tw_store              store;

    if (spec->open_store(worker->settings.store_uri, (int)worker->settings.store_timeout_ms, &store, reterr) != TW_OK)
        return refused(spec->store_uri, reterr);
    spec->close_store(&store);
    return TW_OK;
}

static enum tw_rc check_policy_uri(const struct worker *worker, struct tw_err *reterr)
{
    const struct tw_worker_spec *spec = worker->context.spec;
    struct tw_policy_settings    given = {
           .store_uri = worker->settings.store_uri,
           .uri = worker->settings.policy_uri,
           .timeout_ms = (int)worker->settings.store_timeout_ms,
    };
    void *policy = NULL;

    if (!spec->policy_uri)
        return TW_OK;
    if (spec->policy->work->open(&given, &policy, reterr) != TW_OK)
        return refused(spec->policy_uri, reterr);
    spec->policy->work->close(policy);
    return TW_OK;
}

/* The loops, and the policy behind them. */
static int thread_count(const struct worker *worker)
{
    return (int)worker->settings.threads + (worker->context.spec->policy != NULL);
}

/* Else a server that is away would end the process. */
static enum tw_rc check_hang_timeout(const struct tw_worker_settings *settings, struct tw_err *reterr)
{
    int64_t store_ms = settings->store_timeout_ms;
    int64_t longest_ms = store_ms > settings->broker_timeout_ms ? store_ms : settings->broker_timeout_ms;

    if (settings->hang_timeout_s * 1000 > CALL_PARTS * longest_ms)
        return TW_OK;
    return tw_fail(reterr, TW_INVALID, "worker", 0,
                   "hang_timeout_s: %" PRId64
                   " s are not more than %d times store_timeout_ms and broker_timeout_ms (%" PRId64 " ms)",
                   settings->hang_timeout_s, CALL_PARTS, longest_ms);
}

/* What can be known without asking a server. INVALID: a setting is wrong. */
static enum tw_rc check_settings(struct worker *worker, struct tw_err *reterr)
{
    TW_TRY(check_hang_timeout(&worker->settings, reterr));
    TW_TRY(read_id_key(worker, reterr));
    TW_TRY(tw_kafka_check(worker->settings.kafka, reterr));
    TW_TRY(check_store_uri(worker, reterr));
    return check_policy_uri(worker, reterr);
}

/* --check: as at a start, for a person who looks. */
static int tell_check(struct worker *worker)
{
    struct tw_err err;

    if (check_settings(worker, &err) == TW_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", worker->context.spec->program, err.msg);
    return EXIT_WRONG_SETTINGS;
}

static bool is_ready(void *self, char ret_why[TW_WATCHDOG_TEXT])
{
    static_assert((int)TW_ADMIN_WHY <= (int)TW_WATCHDOG_TEXT, "it fits");
    return tw_admin_is_ready(self, ret_why);
}

/* INVALID: a setting is wrong. */
static enum tw_rc open_shared(struct worker *worker, struct tw_err *reterr)
{
    TW_TRY(check_settings(worker, reterr));
    TW_TRY(tw_admin_open(worker->settings.admin_listen, thread_count(worker), worker->settings.hang_timeout_s,
                         &worker->context.admin, reterr));
    worker->watchdog = tw_watchdog_start(&(struct tw_watchdog_options){
        .hang_timeout_s = worker->settings.hang_timeout_s,
        .is_ready = is_ready,
        .self = worker->context.admin,
        .stopping = &stop_asked,
    });
    return check_topics(worker, reterr);
}

/* --- the loops ----------------------------------------------------------------------------------------------------- */

static void stop_broken(struct worker *worker, const struct tw_err *err)
{
    pthread_mutex_lock(&worker->lock);
    if (!worker->broken)
        worker->err = *err;
    worker->broken = true;
    pthread_mutex_unlock(&worker->lock);
    atomic_store(&stop_asked, true);
}

static void *thread_main(void *self)
{
    struct thread *thread = self;
    struct worker *worker = thread->worker;
    bool           is_policy = thread->number == worker->settings.threads;
    struct tw_err  err;

    if ((is_policy ? tw_policy_loop_run : tw_loop_run)(&worker->context, thread->number, &err) != TW_OK)
        stop_broken(worker, &err);
    return NULL;
}

static void run_loops(struct worker *worker)
{
    struct thread threads[LOOPS_MAX + 1];
    int           started = 0;
    struct tw_err err;

    for (; started < thread_count(worker); started++) {
        threads[started] = (struct thread){.worker = worker, .number = started};
        if (pthread_create(&threads[started].id, NULL, thread_main, &threads[started]) != 0) {
            tw_fail(&err, TW_BROKEN, "worker", 0, "cannot start thread %d", started);
            stop_broken(worker, &err);
            break;
        }
    }
    tw_pulse_rest();
    while (started > 0)
        pthread_join(threads[--started].id, NULL);
}

/* --- in and out ---------------------------------------------------------------------------------------------------- */

static enum tw_settings_result read_settings(struct worker *worker, int argc, char **argv)
{
    const struct tw_worker_spec *spec = worker->context.spec;
    const struct tw_setting      own[] = {
             {.name = spec->store_uri, .offset = OFFSET(store_uri), .min = 1, .secret = true, .help = spec->store_help},
             {.name = "batch_records",
              .type = TW_SET_INT,
              .offset = OFFSET(batch_records),
              .fallback = spec->batch_records,
              .min = 1,
              .max = 5000,
              .help = "Records folded in one commit, at most. Those that share what they write (views of one product) "
                           "count as one, up to eight times as many in all."},
             {.name = "batch_kbytes",
              .type = TW_SET_INT,
              .offset = OFFSET(batch_kbytes),
              .fallback = spec->batch_kbytes,
              .min = 1,
              .max = 1024,
              .help = "Bytes of records folded in one commit, KiB, counted alike; one record always goes."},
             {.name = spec->policy_uri, .offset = OFFSET(policy_uri), .min = 1, .secret = true, .help = spec->policy_help},
             {.name = "policy_rate",
              .type = TW_SET_INT,
              .offset = OFFSET(policy_rate),
              .fallback = "2000",
              .min = 1,
              .max = 1000000,
              .help = "Commands a second that this process's policy writes, for all events together (new prices in many "
                           "carts), at most."},
    };
    size_t own_count = TW_LEN(own) - (spec->policy_uri ? 0 : POLICY_SETTINGS);

    static_assert(TW_LEN(own) == OWN_SETTINGS, "the table has room for them all");
    memcpy(worker->table, own, own_count * sizeof(*own));
    memcpy(worker->table + own_count, rows, sizeof(rows));
    return tw_settings_read(worker->table, spec->program, spec->about, argc, argv, &worker->settings, NULL);
}

static struct tw_reload *start_reload(const struct worker *worker, int argc, char **argv)
{
    const struct tw_reload_options options = {
        .table = worker->table,
        .program = worker->context.spec->program,
        .argc = argc,
        .argv = argv,
        .settings = &worker->settings,
        .settings_bytes = sizeof(worker->settings),
    };

    return tw_reload_start(&options);
}

/* The exit code, and the last line of the log when it is not 0. */
static int tell_end(const struct worker *worker)
{
    static const struct {
        enum tw_rc  rc;
        int         code;
        const char *message;
    } ends[] = {
        {TW_INVALID, EXIT_WRONG_SETTINGS, "a setting is wrong"},
        {TW_FENCED, TW_EXIT_HUNG, "stopping: it cannot go on beside another process"},
    };

    if (!worker->broken)
        return 0;
    for (size_t i = 0; i < TW_LEN(ends); i++) {
        if (ends[i].rc != worker->err.rc)
            continue;
        tw_log_err(TW_LOG_ERROR, ends[i].message, &worker->err, NULL);
        return ends[i].code;
    }
    tw_log_err(TW_LOG_ERROR, "stopping: this needs a person", &worker->err, NULL);
    return EXIT_BROKEN;
}

int tw_worker_main(const struct tw_worker_spec *spec, int argc, char **argv)
{
    struct worker     worker = {.context = {.spec = spec, .stop = &stop_asked}, .lock = PTHREAD_MUTEX_INITIALIZER};
    enum tw_log_level level = TW_LOG_INFO;
    struct tw_reload *reload;
    struct tw_err     err;

    tw_reload_block();
    switch (read_settings(&worker, argc, argv)) {
    case TW_SETTINGS_EXIT_OK:
        return 0;
    case TW_SETTINGS_EXIT_BAD:
        return EXIT_WRONG_SETTINGS;
    case TW_SETTINGS_CHECK:
        return tell_check(&worker);
    case TW_SETTINGS_RUN:
        break;
    }
    atomic_store(&stop_asked, false);
    tw_log_level_parse(worker.settings.log_level, &level);
    tw_log_init(spec->program, level);
    snprintf(worker.program, sizeof(worker.program), "%s %s", spec->program, TW_VERSION);
    worker.context.settings = &worker.settings;
    worker.context.program = worker.program;
    catch_signals();
    reload = start_reload(&worker, argc, argv);
    tw_pulse_begin("start");
    if (open_shared(&worker, &err) != TW_OK)
        stop_broken(&worker, &err);
    else if (!stop_asked)
        run_loops(&worker);
    tw_pulse_end();
    tw_watchdog_stop(worker.watchdog);
    tw_admin_close(worker.context.admin);
    tw_reload_stop(reload);
    return tell_end(&worker);
}
