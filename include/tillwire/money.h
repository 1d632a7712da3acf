/**
 * Decimal numbers with two places, as integer hundredths: money in minor units, ratings in hundredths of a star. Never
 * a double on any way from JSON text to Decimal128 and back.
 */
#ifndef TILLWIRE_MONEY_H
#define TILLWIRE_MONEY_H

#include "tillwire/str.h"

/** 9,999,999,999.99: a full cart (100 lines of 999) of it still fits an int64. */
#define TW_MONEY_MAX_MINOR INT64_C(999999999999)

enum { TW_MONEY_TEXT = 24 }; /**< room for any int64 as a decimal and a NUL */

/** Reads `199`, `199.5`, `199.00`: digits, at most two behind the point, no sign, no exponent, no spaces, no leading
 *  zeros but one, at most TW_MONEY_MAX_MINOR. */
bool   tw_money_parse(struct tw_str text, int64_t *ret_minor);
/** Writes `199.00`, always two places; returns the length. */
size_t tw_money_format(int64_t minor, char ret_text[TW_MONEY_TEXT]);

#endif
