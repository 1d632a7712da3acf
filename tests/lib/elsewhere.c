/*
 * Preloaded into a program under test, it puts it elsewhere: into the locale that the environment names, although the
 * program asks for none, and, with ELSEWHERE_AHEAD_S, that many seconds into the future. Clocks that only measure stay as
 * they are, and whoever waits until a time of the shown clock waits as long as they meant to.
 *
 * ELSEWHERE_AHEAD_FILE names a file of eight bytes instead, a number in this machine's order: whoever writes another one
 * makes the clock of the running program jump.
 *
 * A locale that is not there ends the program: nobody shall believe to have been there.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CODE = 87, LEAST_S = 1000000000 }; /* a time below it is no date: it comes from a clock that measures */

static _Atomic int64_t  ahead_from_start;
static _Atomic int64_t *ahead = &ahead_from_start; /* seconds */

/* The next one of that name. @version: of its symbol, where there are several. */
static void *next(const char *name, const char *version)
{
    void *found = version ? dlvsym(RTLD_NEXT, name, version) : NULL;

    return found ? found : dlsym(RTLD_NEXT, name);
}

static void complain(const char *what)
{
    fprintf(stderr, "elsewhere: %s\n", what);
    _Exit(EXIT_CODE);
}

/* Seen through by everybody who has it open. */
static void follow_file(const char *path)
{
    int   fd = open(path, O_RDONLY | O_CLOEXEC);
    void *seen = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);

    if (seen == MAP_FAILED)
        complain("the file that ELSEWHERE_AHEAD_FILE names cannot be read");
    close(fd);
    ahead = seen;
}

__attribute__((constructor)) static void go_there(void)
{
    const char *seconds = getenv("ELSEWHERE_AHEAD_S");
    const char *file = getenv("ELSEWHERE_AHEAD_FILE");

    atomic_store(&ahead_from_start, seconds ? strtol(seconds, NULL, 10) : 0);
    if (file)
        follow_file(file);
    if (!setlocale(LC_ALL, ""))
        complain("there is no such locale");
}

static struct timespec shown_to_real(const struct timespec *until)
{
    struct timespec real = *until;

    if (real.tv_sec > LEAST_S)
        real.tv_sec -= atomic_load(ahead);
    return real;
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int (*real)(clockid_t, struct timespec *) = next("clock_gettime", NULL);
    int rc = real(clock, ret_now);

    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_now->tv_sec += atomic_load(ahead);
    return rc;
}

time_t time(time_t *ret_now)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret_now = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

int timespec_get(struct timespec *ret_now, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ret_now) == 0 ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *) =
        next("pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec at = shown_to_real(until);

    return real(cond, mutex, &at);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    int (*real)(cnd_t *, mtx_t *, const struct timespec *) = next("cnd_timedwait", NULL);
    struct timespec at = shown_to_real(until);

    return real(cond, mutex, &at);
}
