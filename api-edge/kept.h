/**
 * An answer that is the same for everybody and dear to make: it is kept for as long as `Cache-Control` lets caches keep
 * it, and made by one asker at a time.
 *
 * Threads: any number of them.
 */
#ifndef TILLWIRE_EDGE_KEPT_H
#define TILLWIRE_EDGE_KEPT_H

#include "opaque.h"
#include "tillwire/err.h"

enum { TW_KEPT_S = 30 };

struct tw_kept;

struct tw_kept *tw_kept_new(void);
/** Accepts NULL. */
void            tw_kept_free(struct tw_kept *kept);

struct tw_kept_ask {
    int64_t                      now_us;  /**< tw_monotonic_us() */
    int                          wait_ms; /**< for another that makes it */
    const struct tw_consistency *writes;  /**< of one domain: what it must show */
    size_t                       write_count;
};

struct tw_kept_answer {
    int  age_s;
    bool is_stale; /**< not all of the writes show: it could not be made anew in time */
};

/**
 * OK: the body is appended to @p out. NOT_FOUND: the caller is the one to make it and must call tw_kept_put().
 * UNREACHED: another makes it and did not succeed, or not within the time.
 * While one makes it anew the others get the last one, unless that is twice as old as it may get or does not show what
 * they ask for.
 */
enum tw_rc tw_kept_get(struct tw_kept *kept, const struct tw_kept_ask *ask, struct tw_buf *out,
                       struct tw_kept_answer *ret_answer);
/** The end of what a NOT_FOUND began. @p body: copied; ptr NULL: it could not be made, and the last one stays.
 *  @p next_offsets: how far each partition could be read before the body was made; copied. */
void       tw_kept_put(struct tw_kept *kept, struct tw_str body, const int64_t *next_offsets, size_t count);

#endif
