/*
 * The functions below replace those of the C library for every library of the process: the dynamic linker takes the
 * program's first. Without a fault they are the real ones and a branch.
 */
#undef _FORTIFY_SOURCE /* its headers give these names bodies of their own */
#define _FORTIFY_SOURCE 0

#include "net_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local struct {
    enum tw_net_fault fault;
    const char       *marker;
    bool              sent; /* the request that is meant went out */
    bool              happened;
} net;

void tw_net_fault(enum tw_net_fault fault, const char *marker)
{
    net.fault = fault;
    net.marker = marker;
    net.sent = false;
    net.happened = false;
}

bool tw_net_fault_clear(void)
{
    bool happened = net.happened;

    tw_net_fault(TW_NET_WHOLE, NULL);
    return happened;
}

static bool is_socket(int fd)
{
    struct stat about;

    return fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode);
}

static ssize_t break_connection(int fd)
{
    net.happened = true;
    net.fault = TW_NET_WHOLE;
    shutdown(fd, SHUT_RDWR);
    errno = ECONNRESET;
    return -1;
}

static bool is_marked(const struct iovec *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memmem(parts[i].iov_base, parts[i].iov_len, net.marker, strlen(net.marker)))
            return true;
    return false;
}

/* Asked before bytes are written. */
static bool breaks_write(int fd, const struct iovec *parts, size_t count)
{
    if (net.fault == TW_NET_WHOLE || !is_socket(fd) || (net.marker && !is_marked(parts, count)))
        return false;
    net.sent = true;
    return net.fault == TW_NET_LOSE_REQUEST;
}

static bool breaks_bytes(int fd, const void *bytes, size_t len)
{
    union {
        const void *constant;
        void       *plain;
    } base = {.constant = bytes};
    struct iovec part = {base.plain, len};

    return breaks_write(fd, &part, 1);
}

/* Asked after bytes were read. */
static bool breaks_read(int fd, ssize_t count)
{
    return net.fault == TW_NET_LOSE_ANSWER && net.sent && count > 0 && is_socket(fd);
}

/* The real function behind ours; a union because ISO C has no cast from an object pointer to a function pointer. */
#define REAL(result, name, ...)      \
    static union {                   \
        void *found;                 \
        result (*call)(__VA_ARGS__); \
    } real;                          \
    if (!real.found)                 \
    real.found = dlsym(RTLD_NEXT, name)

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);
    return breaks_bytes(fd, bytes, len) ? break_connection(fd) : real.call(fd, bytes, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
    return breaks_write(fd, message->msg_iov, message->msg_iovlen) ? break_connection(fd)
                                                                   : real.call(fd, message, flags);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    return breaks_bytes(fd, bytes, len) ? break_connection(fd) : real.call(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return breaks_write(fd, parts, (size_t)count) ? break_connection(fd) : real.call(fd, parts, count);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    REAL(ssize_t, "recv", int, void *, size_t, int);
    ssize_t count = real.call(fd, bytes, len, flags);

    return breaks_read(fd, count) ? break_connection(fd) : count;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
    ssize_t count = real.call(fd, message, flags);

    return breaks_read(fd, count) ? break_connection(fd) : count;
}

ssize_t read(int fd, void *bytes, size_t len)
{
    REAL(ssize_t, "read", int, void *, size_t);
    ssize_t count = real.call(fd, bytes, len);

    return breaks_read(fd, count) ? break_connection(fd) : count;
}
