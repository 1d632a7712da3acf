/* What one look sees, with times that the test makes up; and a whole process with a thread that hangs. */
#include "tillwire/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tillwire/pulse.h"
#include "unit.h"

enum { S = 1000000, LIMIT_US = 10 * S };

static int tear_down(void **unused)
{
    (void)unused;
    tw_pulse_end();
    return 0;
}

/* Looks once a second from @p from_s on, @p seconds times; what the last one saw. */
static int look_on(struct tw_watch *watch, int64_t from_s, int seconds)
{
    int found = -1;

    for (int i = 0; i < seconds && found < 0; i++)
        found = tw_watch_look(watch, (from_s + i) * S, LIMIT_US);
    return found;
}

static void silence__beyond_the_limit_is_a_hang(void **unused)
{
    struct tw_watch      watch = {0};
    struct tw_pulse_view views[TW_PULSES_MAX];
    int                  found;

    (void)unused;
    tw_pulse_begin("loop 0");
    tw_pulse("commit to Redis");
    assert_int_equal(look_on(&watch, 100, 11), -1);
    found = look_on(&watch, 111, 2);
    assert_true(found >= 0);
    tw_pulse_look(views);
    assert_string_equal(views[found].name, "loop 0");
    assert_string_equal(views[found].what, "commit to Redis");
}

static void thread_that_goes_on_or_rests__does_not_hang(void **unused)
{
    struct tw_watch watch = {0};

    (void)unused;
    tw_pulse_begin("loop 0");
    for (int i = 0; i < 100; i += 10) {
        tw_pulse("commit to Redis");
        assert_int_equal(look_on(&watch, 100 + i, 10), -1);
    }
    tw_pulse_rest();
    assert_int_equal(look_on(&watch, 200, 100), -1);
}

/* After SIGCONT a thread may find that an hour has passed in its call; it deserves a chance to say so. */
static void time_the_watch_itself_slept__blames_nobody(void **unused)
{
    struct tw_watch watch = {0};

    (void)unused;
    tw_pulse_begin("loop 0");
    tw_pulse("commit to Redis");
    assert_int_equal(look_on(&watch, 100, 5), -1);
    assert_int_equal(look_on(&watch, 3700, 5), -1);
    assert_true(look_on(&watch, 3705, 5) >= 0);
}

/* --- a whole process ---------------------------------------------------------------------------------------------- */

static bool says_no(void *self, char ret_why[TW_WATCHDOG_TEXT])
{
    snprintf(ret_why, TW_WATCHDOG_TEXT, "%s", (const char *)self);
    return false;
}

static bool says_yes(void *self, char ret_why[TW_WATCHDOG_TEXT])
{
    (void)self;
    ret_why[0] = '\0';
    return true;
}

static int supervisor_socket(void)
{
    struct sockaddr_un   address = {.sun_family = AF_UNIX};
    const struct timeval patience = {30, 0};
    char                 name[64];
    int                  fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(name, sizeof(name), "/tmp/tw-watchdog-%d", (int)getpid());
    unlink(name);
    memcpy(address.sun_path, name, strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

/* Until a datagram that begins so. */
static void hear(int fd, const char *beginning, char ret_words[1024])
{
    ssize_t len;

    do {
        len = recv(fd, ret_words, 1023, 0);
        assert_true(len > 0);
        ret_words[len] = '\0';
    } while (strncmp(ret_words, beginning, strlen(beginning)) != 0);
}

static _Noreturn void hang(bool (*is_ready)(void *, char *), int stderr_fd)
{
    static atomic_bool stopping;

    dup2(stderr_fd, STDERR_FILENO);
    tw_watchdog_start(&(struct tw_watchdog_options){
        .hang_timeout_s = 1, .is_ready = is_ready, .self = "no\nbroker", .stopping = &stopping});
    tw_pulse_begin("loop 0");
    tw_pulse("commit to Redis");
    for (;;)
        pause();
}

static void hang__ends_the_process_with_a_reason_and_its_own_exit_code(void **unused)
{
    int    fd = supervisor_socket();
    int    pipe_fds[2];
    int    status = 0;
    char   words[1024];
    char   log[1024] = "";
    pid_t  child;
    size_t used = 0;

    (void)unused;
    assert_int_equal(pipe(pipe_fds), 0);
    child = fork();
    if (child == 0)
        hang(says_no, pipe_fds[1]);
    close(pipe_fds[1]);
    hear(fd, "STATUS=", words);
    assert_string_equal(words, "STATUS=not ready: no"); /* one line, or the rest would be a word of its own */
    hear(fd, "STATUS=ended", words);
    for (ssize_t got; (got = read(pipe_fds[0], log + used, sizeof(log) - 1 - used)) > 0;)
        used += (size_t)got;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), TW_EXIT_HUNG);
    assert_non_null(strstr(log, "\"thread\":\"loop 0\",\"hangs_in\":\"commit to Redis\""));
    close(pipe_fds[0]);
    close(fd);
}

static void supervisor__hears_once_that_it_is_ready_and_each_second_that_nothing_hangs(void **unused)
{
    static atomic_bool  stopping;
    int                 fd = supervisor_socket();
    char                words[1024];
    struct tw_watchdog *watchdog = tw_watchdog_start(
        &(struct tw_watchdog_options){.hang_timeout_s = 100, .is_ready = says_yes, .stopping = &stopping});

    (void)unused;
    hear(fd, "", words);
    assert_string_equal(words, "READY=1\nSTATUS=ready");
    hear(fd, "", words);
    assert_string_equal(words, "WATCHDOG=1");
    hear(fd, "", words); /* the same status is not told again */
    assert_string_equal(words, "WATCHDOG=1");
    atomic_store(&stopping, true);
    hear(fd, "STOPPING", words);
    assert_string_equal(words, "STOPPING=1\nSTATUS=going down");
    tw_watchdog_stop(watchdog);
    close(fd);
}

static int clean_up(void **unused)
{
    char name[64];

    (void)unused;
    snprintf(name, sizeof(name), "/tmp/tw-watchdog-%d", (int)getpid());
    unlink(name);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(silence__beyond_the_limit_is_a_hang, tear_down),
        cmocka_unit_test_teardown(thread_that_goes_on_or_rests__does_not_hang, tear_down),
        cmocka_unit_test_teardown(time_the_watch_itself_slept__blames_nobody, tear_down),
        cmocka_unit_test(hang__ends_the_process_with_a_reason_and_its_own_exit_code),
        cmocka_unit_test(supervisor__hears_once_that_it_is_ready_and_each_second_that_nothing_hangs),
    };

    return cmocka_run_group_tests(tests, NULL, clean_up);
}
