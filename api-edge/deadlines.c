#include "deadlines.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "tillwire/base.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"

enum { LOOK_MS = 500, NS_PER_MS = 1000000, MS_PER_S = 1000 };

struct tw_deadlines {
    pthread_t          thread;
    pthread_mutex_t    lock; /* guards what follows */
    pthread_cond_t     stop_asked;
    bool               stop;
    struct tw_reading *first;
};

static bool is_late(struct tw_reading *reading, int64_t now_us)
{
    int64_t until_us = atomic_load_explicit(&reading->until_us, memory_order_acquire);

    return until_us > 0 && until_us < now_us;
}

static bool is_of(const struct sockaddr_in *peer, struct tw_reading *reading)
{
    return peer->sin_family == AF_INET && peer->sin_addr.s_addr == atomic_load(&reading->address) &&
           ntohs(peer->sin_port) == atomic_load(&reading->port);
}

/** Ends what goes on on @p fd when it is the socket of a late one. Asked a second time, because the thread may just have
 *  come to the end of its body. */
static void end_if_late(struct tw_deadlines *deadlines, int fd, int64_t now_us)
{
    struct sockaddr_in peer = {0};
    socklen_t          len = sizeof(peer);

    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 || len != sizeof(peer))
        return;
    for (struct tw_reading *reading = deadlines->first; reading; reading = reading->next) {
        if (is_late(reading, now_us) && is_of(&peer, reading))
            shutdown(fd, atomic_load(&reading->how));
    }
}

static void end_late_reads(struct tw_deadlines *deadlines, int64_t now_us)
{
    DIR           *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir) {
        tw_log(TW_LOG_WARN, "slow requests cannot be ended: /proc/self/fd cannot be read", TW_F_INT("errno", errno));
        return;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            end_if_late(deadlines, (int)strtol(entry->d_name, NULL, 10), now_us);
    }
    closedir(dir);
}

/** The lock is held. */
static void look(struct tw_deadlines *deadlines)
{
    int64_t now_us = tw_monotonic_us();

    for (struct tw_reading *reading = deadlines->first; reading; reading = reading->next) {
        if (is_late(reading, now_us)) {
            end_late_reads(deadlines, now_us);
            return;
        }
    }
}

static struct timespec next_look(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += (long)LOOK_MS * NS_PER_MS;
    at.tv_sec += at.tv_nsec / ((long)NS_PER_MS * MS_PER_S);
    at.tv_nsec %= (long)NS_PER_MS * MS_PER_S;
    return at;
}

static void *deadlines_main(void *self)
{
    struct tw_deadlines *deadlines = self;

    pthread_mutex_lock(&deadlines->lock);
    while (!deadlines->stop) {
        struct timespec at = next_look();
        pthread_cond_timedwait(&deadlines->stop_asked, &deadlines->lock, &at);
        look(deadlines);
    }
    pthread_mutex_unlock(&deadlines->lock);
    return NULL;
}

struct tw_deadlines *tw_deadlines_new(void)
{
    struct tw_deadlines *deadlines = tw_alloc_zeroed(1, sizeof(*deadlines));
    pthread_condattr_t   attr;

    pthread_mutex_init(&deadlines->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&deadlines->stop_asked, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&deadlines->thread, NULL, deadlines_main, deadlines) != 0)
        abort();
    pthread_setname_np(deadlines->thread, "deadlines");
    return deadlines;
}

void tw_deadlines_free(struct tw_deadlines *deadlines)
{
    if (!deadlines)
        return;
    pthread_mutex_lock(&deadlines->lock);
    deadlines->stop = true;
    pthread_cond_signal(&deadlines->stop_asked);
    pthread_mutex_unlock(&deadlines->lock);
    pthread_join(deadlines->thread, NULL);
    pthread_cond_destroy(&deadlines->stop_asked);
    pthread_mutex_destroy(&deadlines->lock);
    free(deadlines);
}

void tw_deadlines_add(struct tw_deadlines *deadlines, struct tw_reading *reading)
{
    pthread_mutex_lock(&deadlines->lock);
    reading->next = deadlines->first;
    deadlines->first = reading;
    pthread_mutex_unlock(&deadlines->lock);
}

void tw_deadlines_remove(struct tw_deadlines *deadlines, struct tw_reading *reading)
{
    pthread_mutex_lock(&deadlines->lock);
    for (struct tw_reading **at = &deadlines->first; *at; at = &(*at)->next) {
        if (*at == reading) {
            *at = reading->next;
            break;
        }
    }
    pthread_mutex_unlock(&deadlines->lock);
}

static void begin(struct tw_reading *reading, const char *address, int port, int64_t until_us, int how)
{
    struct in_addr parsed = {0};

    inet_pton(AF_INET, address, &parsed);
    atomic_store_explicit(&reading->address, parsed.s_addr, memory_order_relaxed);
    atomic_store_explicit(&reading->port, (uint_least16_t)port, memory_order_relaxed);
    atomic_store_explicit(&reading->how, how, memory_order_relaxed);
    atomic_store_explicit(&reading->until_us, until_us, memory_order_release);
}

void tw_reading_begin(struct tw_reading *reading, const char *address, int port, int64_t until_us)
{
    begin(reading, address, port, until_us, SHUT_RD);
}

void tw_writing_begin(struct tw_reading *reading, const char *address, int port, int64_t until_us)
{
    begin(reading, address, port, until_us, SHUT_RDWR);
}

void tw_reading_end(struct tw_reading *reading)
{
    atomic_store_explicit(&reading->until_us, 0, memory_order_release);
}
