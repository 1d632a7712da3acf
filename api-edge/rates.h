/**
 * Limits as requests meet them: what is counted for whom, the 429, and the RateLimit fields of every answer that was
 * counted. The counting itself is in rate_limits.h.
 */
#ifndef TILLWIRE_EDGE_RATES_H
#define TILLWIRE_EDGE_RATES_H

#include "rate_limits.h"
#include "reply.h"
#include "request.h"

/** Counts one more of @p limit for @p key. False: the answer is a 429. */
bool tw_rate_within(const struct tw_request *request, const struct tw_limit *limit, struct tw_str key,
                    struct tw_reply *reply);

/** Counts the request as a read or a write of its caller: of the member it is known to come from, else of its address.
 *  False: the answer is a 429. */
bool tw_rate_admit(const struct tw_request *request, struct tw_reply *reply);

#endif
