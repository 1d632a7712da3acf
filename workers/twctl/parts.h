/**
 * The stores, each as one part of a command. To add a store: these functions, a row in schema.c and one in ping.c.
 */
#ifndef TILLWIRE_CTL_PARTS_H
#define TILLWIRE_CTL_PARTS_H

#include "ctl.h"

/** Makes the store what this program wants. What was done is appended to @p ret_lines, a line each, also before a
 *  failure; nothing when all was there. BROKEN: something differs that must not be changed. */
enum tw_rc tw_ctl_postgres_apply(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines,
                                 struct tw_err *reterr);
enum tw_rc tw_ctl_mongo_apply(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr);

/** Appends each difference as a line. TW_OK also when there are differences. */
enum tw_rc tw_ctl_postgres_diff(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines,
                                struct tw_err *reterr);
enum tw_rc tw_ctl_mongo_diff(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr);

/** Redis has no schema: are all servers as the cart worker needs them? Changes nothing. */
enum tw_rc tw_ctl_redis_check(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr);

/** Does the server answer, with these credentials? */
enum tw_rc tw_ctl_postgres_ping(const struct tw_ctl_settings *settings, struct tw_err *reterr);
enum tw_rc tw_ctl_mongo_ping(const struct tw_ctl_settings *settings, struct tw_err *reterr);

#endif
