/**
 * Walks a scenario through every allocation it makes: each time in a process of its own, the n-th fails, once alone and
 * once with all behind it. What may come of it is what the tree promises (tillwire/base.h): the process ends cleanly
 * with exit code 71 and its line, or the scenario ends with an error that says what failed, or it goes on without the
 * memory to the same answer. Never a crash, a leak, another answer, a verdict on good input, or half an effect.
 *
 * For tests/torture/: the program that uses it has failing allocations built in (failing_alloc.h).
 */
#ifndef TILLWIRE_TESTS_TORTURE_H
#define TILLWIRE_TESTS_TORTURE_H

#include "failing_alloc.h"
#include "unit.h"

struct tw_torture {
    const char *name;
    enum tw_rc  gives; /**< when nothing fails */
    /** Makes what the scenario works on; no allocation fails yet. NULL: nothing. */
    void *(*before)(void);
    /** The scenario. Its code, the sentence with it and tw_torture_answer() are its answer. It frees what it allocates,
     *  unless it hangs on @p world. */
    enum tw_rc (*run)(void *world, struct tw_err *reterr);
    /** Frees what before() made, and what hangs on it; no allocation fails any more. NULL: nothing. */
    void (*after)(void *world);
    /** A digest of what outlives the process, such as a file or a store, as another process finds it; puts all back to
     *  the beginning. NULL: nothing does. */
    uint64_t (*remains)(void);
    /** What is set up once in a process is set up before: where that takes thousands of allocations. */
    bool     warm;
    /** How much is walked of a long scenario: so many allocations from the first on, and as many of the others; 0: 25. */
    uint64_t places;
};

/** Walks all of it: fails the test at the first place where something else comes of it, and prints how often what came
 *  of it. A long scenario is walked in part, the places chosen from a printed seed; with TW_TORTURE=all that part is of
 *  5,000 allocations. */
void tw_torture(const struct tw_torture *torture);

/** Part of the scenario's answer, besides its code. Allocates nothing. */
void     tw_torture_answer(struct tw_str part);
/** The scenario has just had an effect, such as a commit: @p image is all of it so far. Whenever the process ends, its
 *  effects are the first of those it has when nothing fails, each whole. Allocates nothing. */
void     tw_torture_effect(struct tw_str image);
/** FNV-1a of @p bytes, going on from @p digest (0 at first). */
uint64_t tw_torture_digest(uint64_t digest, struct tw_str bytes);

#endif
