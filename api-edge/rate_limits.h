/**
 * How often something may happen: sliding counts per key (an account, an address), in memory of this edge. A bounded
 * table; when a place is needed the one that has been quiet longest goes, so a flood of keys costs no memory.
 */
#ifndef TILLWIRE_EDGE_RATE_LIMITS_H
#define TILLWIRE_EDGE_RATE_LIMITS_H

#include "tillwire/str.h"

struct tw_limits;

/** A kind of thing that is limited; static. */
struct tw_limit {
    const char *name; /**< part of the key, and of the RateLimit-Policy field: "login-account" */
    int         count;
    int         window_s;
};

struct tw_limits *tw_limits_new(void);
void              tw_limits_free(struct tw_limits *limits);

/** Counts one more if it fits. 0: it does; else seconds until one would. @p now_ms: a monotonic clock. */
int tw_limits_take(struct tw_limits *limits, const struct tw_limit *limit, struct tw_str key, int64_t now_ms);

#endif
