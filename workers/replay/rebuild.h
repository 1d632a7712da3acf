/**
 * A rebuild under way, for the files that are its steps: rebuild.c says which comes after which.
 *
 * Threads: one, that of the command; folding starts some of its own.
 */
#ifndef TILLWIRE_REPLAY_REBUILD_H
#define TILLWIRE_REPLAY_REBUILD_H

#include "freeze.h"
#include "replay.h"
#include "snapshot.h"

struct tw_rebuild {
    const struct tw_replay_domain *domain;
    const struct tw_ctl_settings  *settings;
    const char                    *name;
    int32_t                        partition_count;
    struct tw_store                live;
    struct tw_shadow               shadow;
    struct tw_snapshot            *snapshot; /**< NULL: from the log's beginning */
    char                           note[TW_SHADOW_NOTE + 1];
    struct tw_fold_end            *ends;
    struct tw_progress            *live_vector;
    struct tw_progress            *at; /**< the shadow's */
    struct tw_freeze               freeze;
};

/** Is it for looking at an earlier moment? Then it never takes the live store's place. */
bool       tw_rebuild_is_a_look(const struct tw_rebuild *r);
/** BROKEN, with @p why behind the name of the shadow's place. */
enum tw_rc tw_rebuild_refuse(const struct tw_rebuild *r, const char *why, struct tw_err *reterr);

/* --- what it folds into: rebuild_shadow.c --- */

/** The note says what the shadow is for. */
void       tw_rebuild_make_note(struct tw_rebuild *r);
/** Makes it, or finds the one that was begun; `at` says how far it is. */
enum tw_rc tw_rebuild_prepare_shadow(struct tw_rebuild *r, struct tw_err *reterr);
/** Calls @p fn with the shadow, opened as a store. */
enum tw_rc tw_rebuild_with_shadow_store(const struct tw_rebuild *r,
                                        enum tw_rc (*fn)(const struct tw_rebuild *r, struct tw_store *store,
                                                         struct tw_err *reterr),
                                        struct tw_err *reterr);
/** How far it is, into `at`. */
enum tw_rc tw_rebuild_read_shadow(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr);

/* --- folding: rebuild.c --- */

/** As far as @p vector; `at` moves. */
enum tw_rc tw_rebuild_fold_to(struct tw_rebuild *r, const struct tw_progress *vector, struct tw_err *reterr);

/* --- reading it back: read_back.c --- */

/** What the shadow and its bulk commits have left out. */
enum tw_rc tw_rebuild_complete(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr);
/** BROKEN: it does not hold what was folded, or readers would see something else. */
enum tw_rc tw_rebuild_read_back(const struct tw_rebuild *r, struct tw_store *store, struct tw_err *reterr);

/* --- taking the place: take_place.c --- */

enum tw_rc tw_rebuild_take_the_place(struct tw_rebuild *r, struct tw_err *reterr);
enum tw_rc tw_rebuild_roll_back(struct tw_rebuild *r, struct tw_err *reterr);
/** Comes before all else. @p ret_swapped: there was one, and nothing more is to be done. */
enum tw_rc tw_rebuild_finish_interrupted_swap(struct tw_rebuild *r, bool *ret_swapped, struct tw_err *reterr);

#endif
