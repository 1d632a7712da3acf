/*
 * The functions below replace those of the C library, and of a sanitizer in front of it, for every library of the
 * process: the dynamic linker takes the program's first. What they do not refuse they hand to the sanitizer's, so that
 * it watches as ever; without one, to the C library's. No free() is needed: what is handed out is the allocator's own.
 *
 * mmap() is among them because libsodium takes the memory of a password's hash from it.
 *
 * This file is compiled without sanitizers: the first calls come before those are set up.
 */
#undef _FORTIFY_SOURCE /* its headers give these names bodies of their own */
#define _FORTIFY_SOURCE 0

#include "failing_alloc.h"

#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef TW_ALLOC_IS_SANITIZED
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *old, size_t size);
void *REAL(memalign)(size_t alignment, size_t size);
char *__strdup(const char *text); /* the C library's second name for it */

static struct {
    _Atomic bool           counts;
    uint64_t               nth;
    bool                   onward;
    struct tw_alloc_tally *tally;
} plan;

void tw_alloc_plan_begin(uint64_t nth, bool onward, struct tw_alloc_tally *tally)
{
    plan.nth = nth;
    plan.onward = onward;
    plan.tally = tally;
    atomic_store(&plan.counts, true);
}

void tw_alloc_plan_pause(void)
{
    atomic_store(&plan.counts, false);
}

void tw_alloc_plan_resume(void)
{
    atomic_store(&plan.counts, plan.tally != NULL);
}

void tw_alloc_plan_end(void)
{
    atomic_store(&plan.counts, false);
    plan.tally = NULL;
}

static bool fails(void)
{
    uint64_t n;

    if (!atomic_load(&plan.counts))
        return false;
    n = atomic_fetch_add(&plan.tally->asked, 1) + 1;
    if (plan.nth == 0 || n < plan.nth || (n > plan.nth && !plan.onward))
        return false;
    atomic_fetch_add(&plan.tally->failed, 1);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : REAL(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : REAL(calloc)(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : REAL(realloc)(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return fails() ? NULL : REAL(realloc)(old, total);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : REAL(memalign)(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory = memalign(alignment, size);

    if (!memory)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

/* Sanitizers have their own of these three, which would pass malloc() by. */
static char *duplicate(const char *text, size_t len)
{
    char *copy = malloc(len + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

#undef strdup
#undef strndup
char *strdup(const char *text)
{
    return duplicate(text, strlen(text));
}

char *__strdup(const char *text)
{
    return duplicate(text, strlen(text));
}

char *strndup(const char *text, size_t max)
{
    return duplicate(text, strnlen(text, max));
}

void *mmap(void *wanted, size_t len, int protection, int flags, int fd, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) && fails())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, wanted, len, protection, flags, fd, offset);
}
