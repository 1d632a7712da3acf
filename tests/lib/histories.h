/**
 * Random histories of a domain, for what no single command shows: commands come one by one through the turn and the
 * store in memory, the test checks its promises after each of them, and the log that came about is folded again in
 * other batches, which must give the same.
 *
 * A test has a `struct history` of its own, with `struct tw_history base` in it; dice() and HOLDS() take that one. What
 * members of the domain do, what the test has seen of the store and what holds of it stay with the test. Every history
 * is the same on every run: all chance comes from dice().
 */
#ifndef TILLWIRE_TESTS_HISTORIES_H
#define TILLWIRE_TESTS_HISTORIES_H

#include "memory_store.h"
#include "records.h"
#include "turn.h"
#include "unit.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* --- folding ------------------------------------------------------------------------------------------------------ */

/** A store in memory and how far a log is folded into it. */
struct tw_fold {
    struct tw_store           store;
    struct tw_turn_config     config;
    struct tw_arena           arena; /**< of the last batch */
    struct tw_cache          *cache;
    struct tw_progress        progress;
    int32_t                   partition;
    struct tw_turn            turn; /**< the last batch */
    struct tw_buf             events;
    const struct tw_verdicts *verdicts;     /**< set before the first batch: offsets to pass over; NULL: none is */
    bool                      keeps_events; /**< set before the first batch: the dump ends with all that were emitted */
};

void tw_fold_open(struct tw_fold *fold, const struct tw_domain *domain, size_t cache_bytes);
void tw_fold_close(struct tw_fold *fold);
/** Folds the next @p batch records of @p log, or those that are left; false: none is. */
bool tw_fold_next(struct tw_fold *fold, const struct tw_test_log *log, size_t batch);
/** Removes from the store what has ended, which nobody can observe. */
void tw_fold_sweep(struct tw_fold *fold);
/** The store as text after a sweep and without its outbox, for comparing two folds. */
void tw_fold_dump(struct tw_fold *fold, struct tw_buf *out);

/* --- a history ---------------------------------------------------------------------------------------------------- */

/** What all histories have. */
struct tw_history {
    int                number; /**< told by who fails */
    uint64_t           random;
    struct tw_test_log log;
    struct tw_fold     live; /**< of the log, one by one */
    uint32_t           command_number;
};

void tw_history_open(struct tw_history *base, int number, uint64_t seed, const struct tw_domain *domain);
void tw_history_close(struct tw_history *base);

/** Holds, or tells where it does not. */
#define HOLDS(history, fact)                                                                                     \
    do {                                                                                                         \
        if (!(fact))                                                                                             \
            fail_msg("history %d, offset %u: %s", (history)->base.number, (unsigned)(history)->base.log.len - 1, \
                     #fact);                                                                                     \
    } while (0)

/** A number below @p sides, which is at least 1; of a test's own history. */
#define dice(history, sides) tw_history_dice(&(history)->base, (sides))
uint32_t tw_history_dice(struct tw_history *base, uint32_t sides);

/** Now and then the command was given up and is tried again now: decided as of when it was first. */
void                    tw_history_requeue_some(struct tw_history *base, struct tw_envelope *envelope);
/** A record of lately, in the log; NULL when there is none. */
const struct tw_record *tw_history_recent(struct tw_history *base);
/** The record comes once more. Accepts NULL. */
void                    tw_history_repeat(struct tw_history *base, const struct tw_record *record);

/** Folds the next record into the live fold; false when all are. None may become a dead letter. */
bool tw_history_step(struct tw_history *base);
/** Reads from the store what @p load asks for, as of the last step, into @p arena. */
void tw_history_load(const struct tw_history *base, struct tw_load *load, struct tw_arena *arena);
/** Did the last step emit an event of this type? */
bool tw_history_has_emitted(const struct tw_history *base, const struct tw_type *type);

/* --- what is done ------------------------------------------------------------------------------------------------- */

struct history; /* each test's own: it is only handed on */

/** Something that can come next, and how often in histories of each kind. */
struct tw_deed {
    void (*run)(struct history *history);
    uint32_t weights[3];
};

/** One of @p deeds, as likely as its weight for this @p kind says. */
const struct tw_deed *tw_history_choose(struct tw_history *base, const struct tw_deed *deeds, size_t count, int kind);

/* --- what came to pass -------------------------------------------------------------------------------------------- */

/** Over all histories of a test; what never came to pass is not proved by them. */
struct tw_tally {
    size_t succeeded[64]; /**< by place in the domain's commands */
    size_t events[64];    /**< by number of the domain's event */
    size_t problems[64];  /**< by problem, of outcomes */
};

/** Adds what the last step gave. */
void tw_tally_step(struct tw_tally *tally, const struct tw_history *base);
/** Every command of the domain went through, not only once. */
void tw_tally_assert_commands(const struct tw_tally *tally, const struct tw_domain *domain);
/** Each of these refused a command. */
void tw_tally_assert_problems(const struct tw_tally *tally, const enum tw_problem *problems, size_t count);

/* --- other batches ------------------------------------------------------------------------------------------------ */

/** The live fold and others of the whole log dump the same: all at once, in small and in larger batches, swept after
 *  each, with a cache and without, and in silence. The live one is at its end. */
void tw_history_assert_same_in_any_batches(struct tw_history *base);
/** The same of one other fold, which the test made itself in batches of @p batch. */
void tw_history_assert_same_dump(const struct tw_history *base, struct tw_fold *fold, const struct tw_buf *expected,
                                 size_t batch);

#endif
