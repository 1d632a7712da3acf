#include "streams/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

/* A connection over the loopback device: what was accepted, and who connected. */
static int accepted;
static int client;
static int client_port;

static int setup(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(address);
    int                listener = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
    accepted = accept(listener, NULL, NULL);
    assert_int_equal(getsockname(client, (struct sockaddr *)&address, &len), 0);
    client_port = ntohs(address.sin_port);
    close(listener);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(client);
    close(accepted);
    return 0;
}

static void socket__is_found_by_its_peer(void **state)
{
    (void)state;
    assert_int_equal(tw_socket_of_peer("127.0.0.1", client_port), accepted);
}

static void peer_that_is_not_there__has_no_socket(void **state)
{
    (void)state;
    assert_int_equal(tw_socket_of_peer("127.0.0.2", client_port), -1);
    assert_int_equal(tw_socket_of_peer("not an address", client_port), -1);
    close(accepted);
    assert_int_equal(tw_socket_of_peer("127.0.0.1", client_port), -1);
}

/** The kernel would else keep megabytes for a client that does not read. */
static void bounded_socket__takes_little_that_nobody_reads(void **state)
{
    static char bytes[65536];
    size_t      total = 0;
    ssize_t     n;

    (void)state;
    tw_socket_bound(accepted, 65536);
    tw_socket_bound(client, 65536); /* not of this size, but it may not grow either */
    while ((n = send(accepted, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        total += (size_t)n;
    assert_in_range(total, 1, 1024 * 1024);
    tw_socket_bound(-1, 65536);
}

/** Of a client that vanished without a word nothing comes any more, not even a refusal; the kernel would try for a
 *  quarter of an hour. */
static void socket_whose_client_is_silent__ends_after_the_time_it_may_be_silent(void **state)
{
    unsigned  silent_ms = 0;
    socklen_t len = sizeof(silent_ms);

    (void)state;
    tw_socket_may_be_silent(accepted, 20000);
    assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, &len), 0);
    assert_int_equal(silent_ms, 20000);
    tw_socket_may_be_silent(-1, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(socket__is_found_by_its_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(peer_that_is_not_there__has_no_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(bounded_socket__takes_little_that_nobody_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(socket_whose_client_is_silent__ends_after_the_time_it_may_be_silent, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
