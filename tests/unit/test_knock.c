#include "knock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

static int listener;
static int port;

static int setup(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(address);

    (void)state;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(listener);
    return 0;
}

static void is_knocked_at(const char *address)
{
    struct pollfd    listening = {.fd = listener, .events = POLLIN};
    struct tw_knock *knock = tw_knock_start(address);

    assert_int_equal(poll(&listening, 1, 1500), 1);
    tw_knock_stop(knock);
    for (int visitor; poll(&listening, 1, 0) == 1 && (visitor = accept(listener, NULL, NULL)) >= 0;)
        close(visitor);
}

static void knock__comes_at_whatever_is_listened_on(void **state)
{
    static const char *const hosts[] = {"127.0.0.1:", "0.0.0.0:", ""};
    char                     address[64];

    (void)state;
    for (size_t i = 0; i < TW_LEN(hosts); i++) {
        snprintf(address, sizeof(address), "%s%d", hosts[i], port);
        is_knocked_at(address);
    }
}

static void knock__ends_although_nobody_is_there(void **state)
{
    (void)state;
    close(listener);
    listener = -1;
    tw_knock_stop(tw_knock_start("127.0.0.1:1"));
    tw_knock_stop(tw_knock_start("nonsense"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(knock__comes_at_whatever_is_listened_on, setup, teardown),
        cmocka_unit_test_setup_teardown(knock__ends_although_nobody_is_there, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
