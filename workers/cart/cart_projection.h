/**
 * What readers find in Redis: a cart's lines and totals as JSON values, and what a change of the cart changes of them.
 * Pure. Fields and forms are the data model's: prices are numbers with exactly two decimals, times RFC 3339.
 */
#ifndef TILLWIRE_CART_PROJECTION_H
#define TILLWIRE_CART_PROJECTION_H

#include "tillwire/gen/cart_messages.h"

enum { TW_CART_LINES_MAX = 100 }; /**< by the schema of struct tw_cart */

/** A cart before and after. A cart that is swept has no lines after. */
struct tw_cart_change {
    struct tw_uuid        member_id;
    const struct tw_cart *before; /**< NULL: there was none */
    const struct tw_cart *after;
};

/** A line before and after; NULL: it is not in that cart. */
struct tw_cart_line_pair {
    const struct tw_cart_line *before, *after;
};

/** Room for the pairs of any change. */
enum { TW_CART_PAIRS_MAX = 2 * TW_CART_LINES_MAX };

/** Pairs up the lines of both carts; returns how many pairs. A line that left and came back stands twice, gone first
 *  and new later, so that writing the pairs in order is right. */
size_t tw_cart_pair_lines(const struct tw_cart_change *change, struct tw_cart_line_pair ret_pairs[TW_CART_PAIRS_MAX]);

/** Have both lines the same value for readers? */
bool tw_cart_reads_the_same(const struct tw_cart_line *a, const struct tw_cart_line *b);

/** Replace the content of @p out by the value of `cart:<member_id>:<product_id>`, or of `cart:<member_id>:summary`. */
void tw_cart_item_value(const struct tw_cart_line *line, struct tw_buf *out);
void tw_cart_summary_value(const struct tw_cart *cart, struct tw_buf *out);

#endif
