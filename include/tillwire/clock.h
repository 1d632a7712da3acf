/**
 * Time as int64 milliseconds since 1970-01-01T00:00:00Z, and its RFC 3339 form. Workers never read a wall clock to
 * decide: a partition's clock comes from its records. tw_now_ms() is for edges, logs, metrics and time-outs.
 */
#ifndef TILLWIRE_CLOCK_H
#define TILLWIRE_CLOCK_H

#include "tillwire/str.h"

enum { TW_TIME_TEXT = 24 }; /**< `2026-11-23T10:00:00.000Z` */

int64_t tw_now_ms(void);
/** Monotonic, for time-outs and measuring. */
int64_t tw_monotonic_us(void);
/** Always UTC with milliseconds; years 0001..9999 (clamped). */
void    tw_time_format(int64_t time_ms, char ret_text[TW_TIME_TEXT + 1]);
/** Reads RFC 3339 with `Z` or an offset and 0..9 digits of fraction; false for anything else. */
bool    tw_time_parse(struct tw_str text, int64_t *ret_time_ms);

#endif
