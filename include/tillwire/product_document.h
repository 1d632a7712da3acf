/**
 * How products, ratings and ledger rows look in MongoDB, for the worker that writes them and the edge that reads them.
 * Documents hold every field of the data model under its name; what is added to it is explained in
 * schemas/mongo/README.md.
 *
 * Pure functions over libbson; `struct _bson_t` is its bson_t. They never talk to a server.
 */
#ifndef TILLWIRE_PRODUCT_DOCUMENT_H
#define TILLWIRE_PRODUCT_DOCUMENT_H

#include "tillwire/gen/product_messages.h"
#include "tillwire/store.h"

struct _bson_t;

#define TW_MONGO_PRODUCTS "products"    /* _id: ObjectId */
#define TW_MONGO_RATINGS  "tw_ratings"  /* _id: tw_rating_document_id() */
#define TW_MONGO_PROGRESS "tw_progress" /* _id: partition; the worker's own */
#define TW_MONGO_APPLIED  "tw_applied"  /* _id: partition; `applied`: first offset whose effect is not readable yet */
#define TW_MONGO_LEDGER   "tw_ledger"   /* _id: tw_ledger_document_id() */

/** The 128 bits of an IEEE 754-2008 decimal in its binary encoding: what BSON calls Decimal128. */
struct tw_decimal128 {
    uint64_t low;
    uint64_t high;
};

/** Exactly @p hundredths / 100 with two places: 19900 is `199.00`. */
struct tw_decimal128 tw_decimal128_of(int64_t hundredths);
/** Any spelling of a multiple of 0.01 that fits, `199`, `199.000` or `1.99E+2` too; false for anything else. */
bool                 tw_decimal128_to_hundredths(struct tw_decimal128 decimal, int64_t *ret_hundredths);

/** Appends every field but `_id`. @p guard: offset of the last record that changed the product. */
void       tw_product_to_document(const struct tw_product *product, int64_t guard, struct _bson_t *ret_document);
/** Total: any document gives a product or BROKEN with a clause that names the field. Texts are copied into @p arena;
 *  fields this version does not know are passed over. */
enum tw_rc tw_product_from_document(const struct _bson_t *document, struct tw_arena *arena,
                                    struct tw_product *ret_product, int64_t *ret_guard, struct tw_err *reterr);

/** Which fields of a product differ. */
enum tw_product_difference {
    TW_PRODUCT_SAME,
    TW_PRODUCT_VIEWED, /**< nothing but a larger view_count */
    TW_PRODUCT_CHANGED,
};
enum tw_product_difference tw_product_compare(const struct tw_product *before, const struct tw_product *after);
/** Appends the fields of @p after that are not as in @p before. */
void                       tw_product_append_changes(const struct tw_product *before, const struct tw_product *after,
                                                     struct _bson_t *ret_fields);

enum { TW_RATING_DOCUMENT_ID = 2 * TW_UUID_TEXT + 1 }; /**< `_id` of a rating, without NUL */

/** `_id` of a rating: "<product id>/<member id>". */
void tw_rating_document_id(struct tw_uuid product_id, struct tw_uuid member_id, char ret_id[TW_RATING_DOCUMENT_ID + 1]);
/** Appends every field but `_id`, as tw_product_to_document(). The id of its product must follow from a SKU. */
void tw_rating_to_document(const struct tw_product_rating *rating, int64_t guard, struct _bson_t *ret_document);
/** Total, as tw_product_from_document(). */
enum tw_rc tw_rating_from_document(const struct _bson_t *document, struct tw_product_rating *ret_rating,
                                   int64_t *ret_guard, struct tw_err *reterr);

enum { TW_LEDGER_DOCUMENT_ID = 48 }; /**< longest `_id` of a ledger row, without NUL */

/** `_id` of a row: "<partition>/<command id with its partition bits zeroed>". Two partitions may remember the same id:
 *  who looks for a command asks for all of them, or for the one its id names. */
void       tw_ledger_document_id(int32_t partition, struct tw_uuid ledger_id, char ret_id[TW_LEDGER_DOCUMENT_ID + 1]);
void       tw_ledger_to_document(int32_t partition, const struct tw_ledger_row *row, struct _bson_t *ret_document);
/** Total, as tw_product_from_document(). */
enum tw_rc tw_ledger_from_document(const struct _bson_t *document, struct tw_arena *arena,
                                   struct tw_ledger_row *ret_row, struct tw_err *reterr);

/** Starts libmongoc, once or again: before all of its calls but that of its log handler. libbson, and libmongoc with it,
 *  would end the process by abort() when there is no memory; from here on it ends as ours do (tillwire/base.h). */
void tw_mongo_begin(void);

#endif
