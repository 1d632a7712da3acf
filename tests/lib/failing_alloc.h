/**
 * Makes chosen allocations of this process fail, whoever asks: the program that links failing_alloc.c has its own
 * malloc() and its kin, which our code, the vendor libraries and the C library then call.
 *
 * Threads: a plan holds for all threads of the process.
 */
#ifndef TILLWIRE_TESTS_FAILING_ALLOC_H
#define TILLWIRE_TESTS_FAILING_ALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** What came of a plan; may lie in memory that outlives the process. */
struct tw_alloc_tally {
    _Atomic uint64_t asked;  /**< allocations since the plan began, those that failed included */
    _Atomic uint64_t failed; /**< by the plan */
};

/** From now on allocations are counted, and the @p nth fails, counted from 1; 0: none does. @p onward: so do all after
 *  it. @p tally, zeroed, lives until tw_alloc_plan_end(). */
void tw_alloc_plan_begin(uint64_t nth, bool onward, struct tw_alloc_tally *tally);
/** Within a plan: what a test does itself is neither counted nor fails, until tw_alloc_plan_resume(). */
void tw_alloc_plan_pause(void);
void tw_alloc_plan_resume(void);
void tw_alloc_plan_end(void);

#endif
