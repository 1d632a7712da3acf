#include "streams/socket.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool is_peer(int socket, const struct sockaddr_in *peer)
{
    struct sockaddr_in found;
    socklen_t          len = sizeof(found);

    memset(&found, 0, sizeof(found));
    return getpeername(socket, (struct sockaddr *)&found, &len) == 0 && found.sin_family == AF_INET &&
           found.sin_port == peer->sin_port && found.sin_addr.s_addr == peer->sin_addr.s_addr;
}

int tw_socket_of_peer(const char *address, int port)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    DIR               *folder = inet_pton(AF_INET, address, &peer.sin_addr) == 1 ? opendir("/proc/self/fd") : NULL;
    int                found = -1;

    if (!folder)
        return -1;
    for (const struct dirent *entry = readdir(folder); entry && found < 0; entry = readdir(folder)) {
        char *end = NULL;
        long  number = strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == '\0' && is_peer((int)number, &peer))
            found = (int)number;
    }
    closedir(folder);
    return found;
}

void tw_socket_bound(int socket, int bytes)
{
    if (socket >= 0)
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void tw_socket_may_be_silent(int socket, int ms)
{
    unsigned silent_ms = (unsigned)ms;

    if (socket >= 0)
        setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof(silent_ms));
}
