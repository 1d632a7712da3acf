#include "deadlines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "unit.h"

static struct tw_deadlines *deadlines;
static struct tw_reading    reading;
static int                  client, server; /* the two ends of a connection */
static int                  client_port;

static int port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t          len = sizeof(address);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static int setup(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval     give_up = {.tv_sec = 60}; /* a test that fails shall not hang */
    int                listener = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    address.sin_port = htons((uint16_t)port_of(listener));
    client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    server = accept(listener, NULL, NULL);
    assert_int_equal(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &give_up, sizeof(give_up)), 0);
    assert_int_equal(setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &give_up, sizeof(give_up)), 0);
    client_port = port_of(client);
    close(listener);
    deadlines = tw_deadlines_new();
    memset(&reading, 0, sizeof(reading));
    tw_deadlines_add(deadlines, &reading);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_deadlines_remove(deadlines, &reading);
    tw_deadlines_free(deadlines);
    close(client);
    close(server);
    return 0;
}

static void read__that_is_too_late_ends_and_the_client_can_be_told(void **state)
{
    char    byte;
    int64_t start_us = tw_monotonic_us();

    (void)state;
    tw_reading_begin(&reading, "127.0.0.1", client_port, start_us + 100000);
    assert_int_equal(recv(server, &byte, 1, 0), 0); /* blocks until it is ended */
    assert_true(tw_monotonic_us() - start_us > 100000);
    tw_reading_end(&reading);
    assert_int_equal(send(server, "x", 1, 0), 1);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
}

static void write__that_is_too_late_ends(void **state)
{
    static const char bytes[65536];
    ssize_t           sent;
    int64_t           start_us = tw_monotonic_us();

    (void)state;
    tw_writing_begin(&reading, "127.0.0.1", client_port, start_us + 100000);
    do /* nobody takes them: sooner or later it blocks until it is ended */
        sent = send(server, bytes, sizeof(bytes), MSG_NOSIGNAL);
    while (sent > 0);
    assert_int_equal(errno, EPIPE);
    assert_true(tw_monotonic_us() - start_us > 100000);
    tw_reading_end(&reading);
}

/** Waits for more than a look; then, would a read go on waiting? */
static bool still_reads(void)
{
    char byte;

    usleep(700000);
    return recv(server, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN; /* an ended one gives 0 */
}

static void others__are_left_alone(void **state)
{
    (void)state;
    tw_reading_begin(&reading, "127.0.0.1", client_port + 1, 1);
    assert_true(still_reads());
    tw_reading_begin(&reading, "127.0.0.2", client_port, 1);
    assert_true(still_reads());
}

static void read__that_has_time_or_has_ended_is_left_alone(void **state)
{
    static struct tw_reading late;

    (void)state;
    tw_deadlines_add(deadlines, &late);
    tw_reading_begin(&late, "127.0.0.1", client_port + 1, 1); /* so that there is something to look for */
    tw_reading_begin(&reading, "127.0.0.1", client_port, tw_monotonic_us() + 60000000);
    assert_true(still_reads());
    tw_deadlines_remove(deadlines, &reading); /* a look shall not come in between */
    tw_reading_begin(&reading, "127.0.0.1", client_port, 1);
    tw_reading_end(&reading);
    tw_deadlines_add(deadlines, &reading);
    assert_true(still_reads());
    tw_deadlines_remove(deadlines, &late);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(read__that_is_too_late_ends_and_the_client_can_be_told),
        TEST(write__that_is_too_late_ends),
        TEST(others__are_left_alone),
        TEST(read__that_has_time_or_has_ended_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
