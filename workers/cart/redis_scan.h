/**
 * SCAN, HSCAN, SSCAN and ZSCAN page by page: none blocks the server for long. What is there all the time is on some
 * page; what comes or goes meanwhile may be, and some come twice.
 */
#ifndef TILLWIRE_CART_REDIS_SCAN_H
#define TILLWIRE_CART_REDIS_SCAN_H

#include "redis_lane.h"

struct tw_redis_scan {
    const char   *command; /**< "SCAN", "HSCAN" … */
    struct tw_str key;     /**< empty for SCAN */
    const char   *pattern; /**< of keys; NULL: all */
    size_t        count;   /**< of a page, about */
};

/** The next page; @p cursor 0: the first, and 0 after the last. @p ret_reply: an array of strings. UNREACHED, BROKEN: as
 *  tw_lane_receive(). */
enum tw_rc tw_redis_scan(struct tw_lane *lane, const struct tw_redis_scan *scan, uint64_t *cursor, const char *where,
                         redisReply **ret_reply, struct tw_err *reterr);

#endif
