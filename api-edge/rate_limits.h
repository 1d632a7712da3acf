/**
 * How often something may happen: sliding counts per key (an account, an address), in memory of this edge. A bounded
 * table; when a place is needed the one that has been quiet longest goes, so a flood of keys costs no memory.
 */
#ifndef TILLWIRE_EDGE_RATE_LIMITS_H
#define TILLWIRE_EDGE_RATE_LIMITS_H

#include "tillwire/settings.h"
#include "tillwire/str.h"

struct tw_limits;

/** A kind of thing that is limited. */
struct tw_limit {
    const char    *name; /**< part of the key, and of the RateLimit fields: "login-account"; static */
    struct tw_rate rate; /**< at most 1,000,000 a second */
};

/** What one key has left of a limit, as the RateLimit field tells it. */
struct tw_allowance {
    int left;
    int reset_s; /**< until all of it is back; after a refusal: until one more fits */
};

struct tw_limits *tw_limits_new(void);
void              tw_limits_free(struct tw_limits *limits);

/** Counts one more of @p limit for @p key if it fits. False: it does not, and nothing was counted. @p now_us: a monotonic
 *  clock. */
bool tw_limits_take(struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key, int64_t now_us,
                    struct tw_allowance *ret_allowance);

#endif
