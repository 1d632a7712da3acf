/**
 * How lists of products are asked for in MongoDB: filter, order and place as BSON. Pure: never talks to a server.
 *
 * An order is a field and then `_id`, both in one direction, so that it has no ties. A page begins behind a place, the
 * values of the last product seen: what is written meanwhile moves no other product over the place.
 */
#ifndef TILLWIRE_EDGE_PRODUCT_QUERY_H
#define TILLWIRE_EDGE_PRODUCT_QUERY_H

#include "tillwire/gen/product_messages.h"

struct _bson_t; /* libbson's bson_t */

enum tw_product_sort {
    TW_SORT_NEWEST,
    TW_SORT_PRICE,
    TW_SORT_PRICE_DOWN,
    TW_SORT_RATING_DOWN,
    TW_SORT_VIEWS_DOWN,
    TW_SORT_NAME,
};
/** "newest", "price", "-price", "-rating", "-view_count", "name". False: no order has this name. */
bool tw_product_sort_parse(struct tw_str text, enum tw_product_sort *ret_sort);

enum tw_on_sale { TW_SALE_ANY, TW_SALE_ONLY, TW_SALE_NONE };

struct tw_product_filter {
    bool                 with_inactive;
    struct tw_str        q;        /**< words; ptr NULL: any product. All must be found, in whatever order and case */
    struct tw_str        category; /**< ptr NULL: any; so with the next three */
    struct tw_str        tag;
    struct tw_str        sku;
    struct tw_str        slug;
    int64_t              min_price_minor; /**< of the effective price; -1: any; so with the next two */
    int64_t              max_price_minor;
    int64_t              min_rating_hundredths;
    enum tw_on_sale      on_sale;
    enum tw_product_sort sort;
};

/** A product's place in an order. */
struct tw_product_place {
    int64_t       number; /**< milliseconds, hundredths or views, whatever the order is by */
    struct tw_str name;   /**< TW_SORT_NAME only */
    uint8_t       object_id[12];
};
struct tw_product_place tw_product_place_of(const struct tw_product *product, enum tw_product_sort sort);

/** Appends the filter. @p after: the page begins behind it; NULL: at the start. @p has_text_index: words are looked for
 *  by `$text`; else by a regular expression a word, which reads every product that fits the rest of the filter. */
void tw_product_query_filter(const struct tw_product_filter *filter, const struct tw_product_place *after,
                             bool has_text_index, struct tw_arena *arena, struct _bson_t *ret_query);
/** Appends the order: `{effective_price: 1, _id: 1}`. */
void tw_product_query_order(enum tw_product_sort sort, struct _bson_t *ret_order);

/** Is there a word in @p text? */
bool tw_product_has_words(struct tw_str text);

#endif
