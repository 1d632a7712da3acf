#include "tillwire/supervisor.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

/* A socket that a supervisor would listen on, in the folder @p dir or, when that is NULL, in the abstract namespace. */
static int listen_on(const char *dir, char ret_name[108])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    if (dir)
        snprintf(ret_name, 108, "%s/notify", dir);
    else
        snprintf(ret_name, 108, "@tillwire-test-%d", (int)getpid());
    memcpy(address.sun_path, ret_name, strlen(ret_name));
    if (!dir)
        address.sun_path[0] = '\0';
    assert_int_equal(
        bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(ret_name))),
        0);
    setenv("NOTIFY_SOCKET", ret_name, 1);
    return fd;
}

static void assert_heard(int fd, const char *words)
{
    char    heard[256];
    ssize_t len = recv(fd, heard, sizeof(heard) - 1, 0);

    assert_true(len >= 0);
    heard[len] = '\0';
    assert_string_equal(heard, words);
}

static void words__arrive_as_they_are_at_a_socket_in_a_folder(void **unused)
{
    char dir[] = "/tmp/tw-supervisor-XXXXXX";
    char name[108];
    int  fd;

    (void)unused;
    assert_non_null(mkdtemp(dir));
    fd = listen_on(dir, name);
    assert_true(tw_supervisor_tell("READY=1\nSTATUS=ready"));
    assert_heard(fd, "READY=1\nSTATUS=ready");
    close(fd);
    assert_false(tw_supervisor_tell("WATCHDOG=1")); /* nobody listens any more: said in vain, and no harm done */
    unlink(name);
    rmdir(dir);
}

static void words__arrive_at_an_abstract_socket(void **unused)
{
    char name[108];
    int  fd = listen_on(NULL, name);

    (void)unused;
    assert_true(tw_supervisor_tell("WATCHDOG=1"));
    assert_heard(fd, "WATCHDOG=1");
    close(fd);
}

static void without_a_supervisor__nobody_is_told(void **unused)
{
    char too_long[200];

    (void)unused;
    unsetenv("NOTIFY_SOCKET");
    assert_false(tw_supervisor_tell("READY=1"));
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_false(tw_supervisor_tell("READY=1"));
    memset(too_long, '/', sizeof(too_long));
    too_long[sizeof(too_long) - 1] = '\0';
    setenv("NOTIFY_SOCKET", too_long, 1);
    assert_false(tw_supervisor_tell("READY=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__arrive_as_they_are_at_a_socket_in_a_folder),
        cmocka_unit_test(words__arrive_at_an_abstract_socket),
        cmocka_unit_test(without_a_supervisor__nobody_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
