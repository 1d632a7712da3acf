/* The protocol of sd_notify(3) is this one sendto(); libsystemd would be one more library in every image for it. */
#include "tillwire/supervisor.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A name that begins with '@' is in the abstract namespace, whose names begin with NUL. */
static bool address_of(const char *name, struct sockaddr_un *ret_address, socklen_t *ret_len)
{
    size_t len = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || len >= sizeof(ret_address->sun_path))
        return false;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, name, len);
    if (name[0] == '@')
        ret_address->sun_path[0] = '\0';
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

bool tw_supervisor_tell(const char *words)
{
    const char        *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t          len;
    ssize_t            sent;
    int                fd;

    if (!name || !address_of(name, &address, &len))
        return false;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    sent = sendto(fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, len);
    close(fd);
    return sent >= 0;
}
