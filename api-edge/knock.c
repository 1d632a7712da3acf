#include "knock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tillwire/base.h"

enum { EVERY_US = 10000, ADDRESS_TEXT = 64 };

struct tw_knock {
    struct sockaddr_in address;
    atomic_bool        stopping;
    pthread_t          thread;
};

/** All addresses of this machine, and whatever is no IPv4 address, are reached by its own. */
static void read_address(const char *text, struct sockaddr_in *ret_address)
{
    const char *colon = strrchr(text, ':');
    char        host[ADDRESS_TEXT] = "";

    if (colon && (size_t)(colon - text) < sizeof(host))
        memcpy(host, text, (size_t)(colon - text));
    ret_address->sin_family = AF_INET;
    ret_address->sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : text, NULL, 10));
    if (inet_pton(AF_INET, host, &ret_address->sin_addr) != 1 || ret_address->sin_addr.s_addr == INADDR_ANY)
        ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void knock_once(const struct sockaddr_in *address)
{
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (door < 0)
        return;
    (void)!connect(door, (const struct sockaddr *)address, sizeof(*address)); /* that nobody opens is the aim */
    close(door);
}

static void *knock_main(void *self)
{
    struct tw_knock *knock = self;

    while (!atomic_load(&knock->stopping)) {
        usleep(EVERY_US);
        knock_once(&knock->address);
    }
    return NULL;
}

struct tw_knock *tw_knock_start(const char *address)
{
    struct tw_knock *knock = tw_alloc_zeroed(1, sizeof(*knock));

    read_address(address, &knock->address);
    if (pthread_create(&knock->thread, NULL, knock_main, knock) != 0)
        tw_out_of_memory(sizeof(*knock));
    return knock;
}

void tw_knock_stop(struct tw_knock *knock)
{
    atomic_store(&knock->stopping, true);
    pthread_join(knock->thread, NULL);
    free(knock);
}
