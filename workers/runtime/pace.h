/**
 * A bounded rate: a bucket that fills by the clock and that every command takes from. Pure: the time comes in.
 *
 * Commands come in pages whose size is not known before, so a taker may leave a debt, which is paid before anybody takes
 * again. Over any time t at most `rate * t + burst + one page` commands go.
 */
#ifndef TILLWIRE_RUNTIME_PACE_H
#define TILLWIRE_RUNTIME_PACE_H

#include "tillwire/base.h"

struct tw_pace {
    int64_t rate;       /**< commands a second */
    int64_t at_us;      /**< when `millionths` was right */
    int64_t millionths; /**< of a command; negative: a debt */
};

/** @p rate at least 1. It begins with a full bucket: a twentieth of a second's commands, at least one. */
void    tw_pace_init(struct tw_pace *pace, int64_t rate, int64_t now_us);
/** How many commands may go now. 0 until half a bucket is there, so that they go in pages and not one by one. */
int64_t tw_pace_allows(struct tw_pace *pace, int64_t now_us);
/** So many went, whatever was allowed. */
void    tw_pace_spend(struct tw_pace *pace, int64_t count);
/** How long until tw_pace_allows() is more than 0; 0: it is. */
int64_t tw_pace_wait_us(struct tw_pace *pace, int64_t now_us);

#endif
