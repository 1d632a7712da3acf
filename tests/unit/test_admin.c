/* The admin port, asked over a socket, with a monotonic clock that the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "tillwire/pulse.h"

enum { HANG_S = 60, LOOPS = 3 };

static time_t           ahead_s; /* of the real clock */
static struct tw_admin *admin;
static char             listen_on[32];
static uint16_t         port;

/* In place of the C library's, for the whole program. */
int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ret_time);

    if (id == CLOCK_MONOTONIC)
        ret_time->tv_sec += ahead_s;
    return rc;
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(address);
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* The status code; @p ret_answer gets all of the answer. */
static int ask(const char *path, char ret_answer[2048])
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int     fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t  used = 0;
    ssize_t got;
    char    request[128];
    int     len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path);
    int     status = 0;

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, request, (size_t)len), len);
    while ((got = read(fd, ret_answer + used, 2047 - used)) > 0)
        used += (size_t)got;
    close(fd);
    ret_answer[used] = '\0';
    assert_int_equal(sscanf(ret_answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static void assert_answer(const char *path, int status, const char *words)
{
    char answer[2048];

    assert_int_equal(ask(path, answer), status);
    assert_non_null(strstr(answer, words));
}

static int set_up(void **unused)
{
    (void)unused;
    ahead_s = 0;
    port = free_port();
    snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%u", port);
    return tw_admin_open(listen_on, LOOPS, HANG_S, &admin, NULL) == TW_OK ? 0 : -1;
}

static int tear_down(void **unused)
{
    (void)unused;
    tw_admin_close(admin);
    tw_pulse_end();
    return 0;
}

static void readiness__needs_every_loop(void **unused)
{
    (void)unused;
    assert_answer("/readyz", 503, "starting");
    for (int i = 0; i < LOOPS; i++) {
        assert_answer("/readyz", 503, "starting");
        tw_admin_set(admin, i, NULL);
    }
    assert_answer("/readyz", 200, "ready");
    tw_admin_set(admin, 1, "the store is away");
    assert_answer("/readyz", 503, "the store is away");
}

/* A rolling restart must not wait for a rebuild. */
static void a_remark__leaves_it_ready_and_is_shown(void **unused)
{
    (void)unused;
    tw_admin_set_ready(admin, TW_ALL_LOOPS, NULL);
    assert_answer("/readyz", 200, "\r\n\r\nready\n");
    tw_admin_set_ready(admin, 1, "a rebuild is at work");
    assert_answer("/readyz", 200, "\r\n\r\nready: a rebuild is at work\n");
    tw_admin_set(admin, 2, "the store is away");
    assert_answer("/readyz", 503, "\r\n\r\nthe store is away\n");
    tw_admin_set_ready(admin, 2, NULL);
    assert_answer("/readyz", 200, "ready: a rebuild is at work");
    tw_admin_set_ready(admin, 1, NULL);
    assert_answer("/readyz", 200, "\r\n\r\nready\n");
}

/* It has said "ready" before it hung; a server that hangs is told within five seconds. */
static void thread_that_stands_still__is_not_ready_and_after_the_limit_no_health(void **unused)
{
    (void)unused;
    tw_admin_set_ready(admin, TW_ALL_LOOPS, NULL);
    tw_pulse_begin("loop 1");
    tw_pulse("commit to PostgreSQL");
    ahead_s += 2;
    assert_answer("/readyz", 200, "ready");
    ahead_s += 2;
    assert_answer("/readyz", 503, "\r\n\r\nloop 1 has been silent for 4 s: commit to PostgreSQL\n");
    assert_answer("/healthz", 200, "alive");
    ahead_s += HANG_S;
    assert_answer("/healthz", 503, "commit to PostgreSQL");
    tw_pulse("folding");
    assert_answer("/readyz", 200, "ready");
    assert_answer("/healthz", 200, "alive");
}

static void silence__stands_behind_what_is_wrong_already(void **unused)
{
    (void)unused;
    tw_admin_set(admin, 0, "partition 2 is recovering");
    tw_pulse_begin("loop 0");
    tw_pulse("watermark of Redis");
    ahead_s += 4;
    assert_answer("/readyz", 503, "partition 2 is recovering; loop 0 has been silent for 4 s: watermark of Redis");
}

/* An orchestrator would restart a worker again and again that only waits for its broker. */
static void waiting_before_any_loop_began__is_healthy(void **unused)
{
    struct tw_retry retry = {.what = "waiting for the broker"};
    struct tw_err   err = {.rc = TW_UNREACHED, .where = "test", .msg = "nobody is there"};

    (void)unused;
    tw_pulse_begin("start");
    tw_pulse("asking the broker");
    ahead_s += 2 * HANG_S;
    tw_retry_pause(&retry, admin, TW_ALL_LOOPS, &err);
    assert_answer("/healthz", 200, "alive");
    assert_answer("/readyz", 503, "nobody is there");
}

static void address_that_is_none__is_refused_by_name(void **unused)
{
    static const char *const wrong[] = {"",     "junk", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:0",
                                        "8080s"};
    struct tw_admin         *none = NULL;
    struct tw_err            err;

    (void)unused;
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        assert_int_equal(tw_admin_open(wrong[i], 1, HANG_S, &none, &err), TW_INVALID);
        assert_non_null(strstr(err.msg, "admin_listen"));
    }
    assert_int_equal(tw_admin_open(listen_on, 1, HANG_S, &none, &err), TW_BROKEN); /* it is ours already */
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readiness__needs_every_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_remark__leaves_it_ready_and_is_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(thread_that_stands_still__is_not_ready_and_after_the_limit_no_health, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(silence__stands_behind_what_is_wrong_already, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waiting_before_any_loop_began__is_healthy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(address_that_is_none__is_refused_by_name, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
