/**
 * What every test program includes: cmocka with the headers it wants before it, and a few helpers of ours.
 */
#ifndef TILLWIRE_TESTS_UNIT_H
#define TILLWIRE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tillwire/err.h"
#include "tillwire/str.h"

/** A view equals a literal; on failure both are shown. */
#define assert_str(actual, expected)   tw_assert_str((actual), tw_str_of(expected), __FILE__, __LINE__)
/** A call gives this code; on failure the error's message is shown. @p err is the struct tw_err the call fills. */
#define assert_rc(call, expected, err) tw_assert_rc((call), (expected), &(err), __FILE__, __LINE__)

void tw_assert_str(struct tw_str actual, struct tw_str expected, const char *file, int line);
void tw_assert_rc(enum tw_rc actual, enum tw_rc expected, const struct tw_err *err, const char *file, int line);

/** How a function ended that ran in a process of its own. */
struct tw_child {
    int  exit_code; /**< 128 + signal when one ended it */
    char out[1 << 16];
    char err[1 << 16];
};
/** Runs `fn(arg)` in a forked process that ends with its result, and catches what it prints. */
void tw_child_run(int (*fn)(void *arg), void *arg, struct tw_child *ret_child);
/** The same for a program. @p env holds `NAME=value` to add; both lists end with NULL. */
void tw_child_exec(const char *const *argv, const char *const *env, struct tw_child *ret_child);

/** A copy of @p bytes whose end lies against a page nobody may read, so that reading one byte too many crashes. */
struct tw_str tw_guarded(struct tw_str bytes);
void          tw_guarded_free(struct tw_str guarded);

/** What /metrics would show now; good until the next call. */
const char *tw_metrics_page(void);

/** Pseudo-random numbers, the same on every machine; @p state starts with any number and is printed by who fails. */
uint64_t tw_random(uint64_t *state);

#endif
