/* Allocation that never returns NULL; see tillwire/base.h for why. */
#include "tillwire/base.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tillwire/failpoint.h"
#include "tillwire/log.h"

_Noreturn void tw_out_of_memory(size_t wanted_bytes)
{
    /* tw_log() works on the stack, and _exit() skips handlers that might allocate. */
    tw_log(TW_LOG_ERROR, "out of memory", TW_F_INT("wanted_bytes", wanted_bytes));
    _exit(EX_OSERR);
}

void *tw_alloc(size_t size_bytes)
{
    void *memory = tw_failpoint("alloc") ? NULL : malloc(size_bytes ? size_bytes : 1);

    if (!memory)
        tw_out_of_memory(size_bytes);
    return memory;
}

void *tw_alloc_zeroed(size_t count, size_t size_bytes)
{
    size_t total;
    bool   fits = !__builtin_mul_overflow(count, size_bytes, &total);
    void  *memory = fits && !tw_failpoint("alloc") ? calloc(1, total ? total : 1) : NULL;

    if (!memory)
        tw_out_of_memory(fits ? total : SIZE_MAX);
    return memory;
}

void *tw_realloc(void *old, size_t size_bytes)
{
    void *memory = tw_failpoint("alloc") ? NULL : realloc(old, size_bytes ? size_bytes : 1);

    if (!memory)
        tw_out_of_memory(size_bytes);
    return memory;
}

char *tw_strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(tw_alloc(size), text, size);
}
