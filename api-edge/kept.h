/**
 * An answer that is the same for everybody and dear to make: it is kept for as long as `Cache-Control` lets caches keep
 * it, and made by one asker at a time.
 *
 * Threads: any number of them.
 */
#ifndef TILLWIRE_EDGE_KEPT_H
#define TILLWIRE_EDGE_KEPT_H

#include "tillwire/err.h"
#include "tillwire/str.h"

enum { TW_KEPT_S = 30 };

struct tw_kept;

struct tw_kept *tw_kept_new(void);
/** Accepts NULL. */
void            tw_kept_free(struct tw_kept *kept);

/**
 * OK: the body is appended to @p out and @p ret_age_s says how old it is. NOT_FOUND: the caller is the one to make it
 * and must call tw_kept_put(). UNREACHED: another makes it and did not succeed, or not within @p wait_ms.
 * While one makes it anew the others get the last one, unless that is twice as old as it may get.
 * @p now_us: tw_monotonic_us().
 */
enum tw_rc tw_kept_get(struct tw_kept *kept, int64_t now_us, int wait_ms, struct tw_buf *out, int *ret_age_s);
/** The end of what a NOT_FOUND began. @p body: copied; ptr NULL: it could not be made, and the last one stays. */
void       tw_kept_put(struct tw_kept *kept, struct tw_str body);

#endif
