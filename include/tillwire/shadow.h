/**
 * Port: where a second copy of a store is built from the log, and how it takes the live store's place. Adapters:
 * PostgreSQL (another schema), MongoDB (another database), Redis (another database number).
 *
 *     look -> make -> (folded through the store port at `uri`) -> swap -> the old one is kept -> roll back, or drop
 *
 * Threads: one. A call blocks up to the time-out for each question; swap() as long as it takes.
 */
#ifndef TILLWIRE_SHADOW_H
#define TILLWIRE_SHADOW_H

#include "tillwire/store.h"

/** What was found at the shadow's place. */
enum tw_shadow_content {
    TW_SHADOW_NONE,    /**< nothing: make() may be called */
    TW_SHADOW_MADE,    /**< a shadow that was begun, with its note */
    TW_SHADOW_OLD,     /**< the store as it was before the last swap(), kept for going back */
    TW_SHADOW_FOREIGN, /**< something that is not ours: it is never touched */
    /* A swap of several steps was begun and not ended; lasting marks hold what it has not reached. Only the same call, with
     * the marks there are, goes on with it; nothing else may be done. */
    TW_SHADOW_SWAPPING,
    TW_SHADOW_SWAPPING_BACK,
};

/** Longest note, without NUL. */
enum { TW_SHADOW_NOTE = 200 };

/** A frozen partition of the live store. */
struct tw_frozen {
    int64_t next_offset;
    int64_t mark; /**< that holds it */
};

/** Told while swap() works: @p done of @p all documents. Renews nothing. */
typedef void (*tw_swap_fn)(void *self, int64_t done, int64_t all);

struct tw_shadow {
    const char *uri;   /**< opens as a store of this kind; owned by the shadow. Holds secrets */
    const char *place; /**< for people: "schema tillwire_shadow"; owned by the shadow */

    /** @p ret_note: what make() was given; only for MADE, else empty. */
    enum tw_rc (*look)(void *self, enum tw_shadow_content *ret_content, char ret_note[TW_SHADOW_NOTE + 1],
                       struct tw_err *reterr);
    /** Makes an empty store with all that `twctl schema apply` makes, but what complete() makes. @p note: what it is for. */
    enum tw_rc (*make)(void *self, const char *note, struct tw_err *reterr);
    /** Makes one of the things that a fold does not need and that cost less when the shadow is full: again and again, until
     *  there is nothing @p ret_more. Can be interrupted, and is harmless when all is there. swap() refuses a shadow that
     *  lacks any (BROKEN). Blocks as long as one takes. NULL: make() makes all. */
    enum tw_rc (*complete)(void *self, bool *ret_more, struct tw_err *reterr);
    /** Forgets the shadow, or the old store that was kept. Never the live one, never what is FOREIGN. */
    enum tw_rc (*drop)(void *self, struct tw_err *reterr);
    /** Puts the shadow into the live store's place and keeps the old one; workers and edges need not be told. Needs every
     *  partition of the live store frozen as @p frozen says (FENCED when one is not: nothing has happened) and the shadow
     *  at the same watermarks. What stands in the shadow's outboxes is its maker's: it stays behind, nobody publishes it.
     *  At the end no partition is frozen. Where it is more than one step, the marks are made lasting ones first; when
     *  look() tells that it was interrupted, the call is made again with the marks of then, 0 where there is none. @p tell
     *  may be NULL. */
    enum tw_rc (*swap)(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                       void *teller, struct tw_err *reterr);
    /** The same with the old store, whatever its watermarks: workers fold on from there. What was the live one is kept as
     *  the old one. */
    enum tw_rc (*swap_back)(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                            void *teller, struct tw_err *reterr);
    void (*close)(void *self); /**< accepts NULL */
    void *self;
};

#endif
