#include "tillwire/reload.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/log.h"
#include "unit.h"

struct settings {
    const char *log_level;
    int64_t     threads;
};

static const struct tw_setting table[] = {
    {"log_level", TW_SET_CHOICE, offsetof(struct settings, log_level), "info", 0, 0, "error|warn|info|debug", false,
     "Least level."},
    {"threads", TW_SET_INT, offsetof(struct settings, threads), "2", 1, 16, NULL, false, "How many."},
    TW_SETTING_END,
};

static atomic_int also_called;

static void also(void *self)
{
    (void)self;
    atomic_fetch_add(&also_called, 1);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    fputs(text, file);
    fclose(file);
}

static void hang_up_and_wait(void)
{
    int before = atomic_load(&also_called);

    kill(getpid(), SIGHUP);
    while (atomic_load(&also_called) == before)
        usleep(1000);
}

/* A program with a file of settings; `arg` is what the file says when SIGHUP comes. Prints its levels. */
static int run_program(void *arg)
{
    char              path[] = "/tmp/test_reload_XXXXXX";
    struct settings   settings = {0};
    char              program[] = "tillwire-test", option[] = "--config";
    char             *argv[] = {program, option, path, NULL};
    struct tw_reload *reload;

    clearenv();
    tw_reload_block();
    tw_log_init(program, TW_LOG_INFO);
    close(mkstemp(path));
    if (tw_settings_read(table, program, "Tests.", 3, argv, &settings, NULL) != TW_SETTINGS_RUN)
        return 9;
    reload = tw_reload_start(&(struct tw_reload_options){.table = table,
                                                         .program = program,
                                                         .argc = 3,
                                                         .argv = argv,
                                                         .settings = &settings,
                                                         .settings_bytes = sizeof(settings),
                                                         .also = also});
    printf("%d", tw_log_on(TW_LOG_DEBUG));
    write_file(path, arg);
    hang_up_and_wait();
    printf("%d%d", tw_log_on(TW_LOG_INFO), tw_log_on(TW_LOG_DEBUG));
    tw_reload_stop(reload);
    unlink(path);
    return 0;
}

static struct tw_child child;

static void assert_levels(const char *file, const char *levels)
{
    tw_child_run(run_program, (void *)(uintptr_t)file, &child);
    assert_int_equal(child.exit_code, 0);
    assert_string_equal(child.out, levels);
}

static void hangup__sets_the_log_level_of_the_file(void **state)
{
    (void)state;
    assert_levels("log_level = debug\n", "011");
    assert_null(strstr(child.err, "restart"));
    assert_non_null(strstr(child.err, "settings were read anew"));
    assert_levels("log_level = error\n", "000");
}

static void what_is_not_read_anew__is_named(void **state)
{
    (void)state;
    assert_levels("log_level = debug\nthreads = 3\n", "011");
    assert_non_null(strstr(child.err, "\"message\":\"a setting changed and needs a restart\",\"setting\":\"threads\""));
    assert_null(strstr(child.err, "\"setting\":\"log_level\""));
}

static void a_wrong_file__changes_nothing_and_is_told(void **state)
{
    (void)state;
    assert_levels("log_level = debug\nthreads = 17\n", "010");
    assert_non_null(strstr(child.err, "\"level\":\"error\""));
    assert_non_null(strstr(child.err, "threads (--threads, TW_THREADS) cannot be '17': allowed is 1..16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hangup__sets_the_log_level_of_the_file),
        cmocka_unit_test(what_is_not_read_anew__is_named),
        cmocka_unit_test(a_wrong_file__changes_nothing_and_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
