/**
 * Read-only: products and the product domain's ledger, from MongoDB. And which products exist, remembered: they never
 * cease to, so a view needs no look-up once its product was seen.
 *
 * All calls: UNREACHED when MongoDB is away or busy, NOT_FOUND when there is no such document. Texts are copied into the arena.
 */
#ifndef TILLWIRE_EDGE_PRODUCTS_H
#define TILLWIRE_EDGE_PRODUCTS_H

#include "tillwire/arena.h"
#include "stores/product_query.h"
#include "tillwire/store.h"

struct tw_products;

/** INVALID: the URI cannot be parsed or names no database. */
enum tw_rc tw_products_open(const char *mongo_uri, size_t connections, struct tw_products **ret_products,
                            struct tw_err *reterr);
/** Accepts NULL. */
void       tw_products_close(struct tw_products *products);

enum tw_rc tw_products_get(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                           struct tw_product *ret_product, struct tw_err *reterr);
/** OK: it exists. Asks MongoDB only for products it does not remember. */
enum tw_rc tw_products_exists(struct tw_products *products, struct tw_uuid product_id, struct tw_arena *arena,
                              struct tw_err *reterr);

/** Up to @p limit products behind @p after (NULL: from the first). Words are looked for by the server's text index, or
 *  without it where the server has none: docs/decisions/product-search.md. */
enum tw_rc tw_products_list(struct tw_products *products, const struct tw_product_filter *filter,
                            const struct tw_product_place *after, size_t limit, struct tw_arena *arena,
                            struct tw_product **ret_list, size_t *ret_count, struct tw_err *reterr);

enum { TW_NAME_COUNTS_MAX = 10000 };
struct tw_name_count {
    struct tw_str name;
    int64_t       count; /**< of products for sale */
};
/** All categories, or all tags, by name; at most TW_NAME_COUNTS_MAX. */
enum tw_rc tw_products_categories(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                                  size_t *ret_count, struct tw_err *reterr);
enum tw_rc tw_products_tags(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                            size_t *ret_count, struct tw_err *reterr);

/** The first offset of a partition of product.commands whose effect cannot be read yet; 0: nothing was folded. */
enum tw_rc tw_products_watermark(struct tw_products *products, int32_t partition, int64_t *ret_next_offset,
                                 struct tw_err *reterr);
/** The same of all partitions, in the arena. */
enum tw_rc tw_products_watermarks(struct tw_products *products, struct tw_arena *arena, int64_t **ret_next_offsets,
                                  size_t *ret_count, struct tw_err *reterr);

enum tw_rc tw_products_ledger(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *arena,
                              struct tw_ledger_row *ret_row, struct tw_err *reterr);

/** The rows of many keyed commands, in one question; @p ret_rows has @p count places, NULL where there is none. Not
 *  finding any is OK. */
enum tw_rc tw_products_ledgers(struct tw_products *products, const struct tw_uuid *command_ids, size_t count,
                               struct tw_arena *arena, const struct tw_ledger_row **ret_rows, struct tw_err *reterr);

/** OK: MongoDB answers. */
enum tw_rc tw_products_ping(struct tw_products *products, struct tw_err *reterr);

#endif
