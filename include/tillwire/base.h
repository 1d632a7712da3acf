/**
 * The few macros every file may use: cleanup on scope exit, early return on failure, array length.
 */
#ifndef TILLWIRE_BASE_H
#define TILLWIRE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Calls `fn(&variable)` when the variable leaves its scope, on every path. */
#define TW_AUTO(fn) __attribute__((cleanup(fn)))

/** Returns the code of a failed call to the caller; goes on after TW_OK. Needs tillwire/err.h. */
#define TW_TRY(call)                   \
    do {                               \
        enum tw_rc tw_try_rc = (call); \
        if (tw_try_rc != TW_OK)        \
            return tw_try_rc;          \
    } while (0)

#define TW_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define TW_PRINTF(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))

/** Ends the process cleanly (exit code 71, EX_OSERR) with one log line; for allocation failures. A worker that ends
 *  here has not moved its watermark, so nothing is lost: this is why no allocation in the tree returns NULL. Libraries
 *  that take an allocation from whoever uses them are given ours (jansson, OpenSSL, libbson, hiredis); where another
 *  says the same of bad input and of missing memory, errno tells which. */
_Noreturn void tw_out_of_memory(size_t wanted_bytes);

/** malloc/calloc/realloc/strdup that end the process instead of returning NULL. Free with free(). */
void *tw_alloc(size_t size_bytes);
void *tw_alloc_zeroed(size_t count, size_t size_bytes);
void *tw_realloc(void *old, size_t size_bytes);
char *tw_strdup(const char *text);

#endif
