/*
 * Products and ledger rows as MongoDB documents; see tillwire/product_document.h.
 *
 * One table says how each field of a product is held in C and in BSON. Writing, reading and comparing walk it, so a new
 * field costs a row.
 */
#include "tillwire/product_document.h"

#include <assert.h>
#include <bson/bson.h>
#include <string.h>

enum field_kind { FIELD_TEXT, FIELD_DECIMAL, FIELD_INT, FIELD_BOOL, FIELD_TIME, FIELD_TEXTS, FIELD_PAIRS };

struct field {
    const char     *name;
    enum field_kind kind;
    size_t          offset;
    size_t          has_offset; /* of the flag of a field that may be null; ALWAYS_THERE */
};

enum { ALWAYS_THERE = SIZE_MAX };
#define FIELD(name, kind, member) {name, kind, offsetof(struct tw_product, member), SIZE_MAX}
#define NULLABLE(name, kind, member, has) \
    {name, kind, offsetof(struct tw_product, member), offsetof(struct tw_product, has)}

/* In the order documents have them; `_id` stands before and `guard` behind. */
static const struct field fields[] = {
    FIELD("sku", FIELD_TEXT, sku),
    FIELD("name", FIELD_TEXT, name),
    FIELD("slug", FIELD_TEXT, slug),
    NULLABLE("description", FIELD_TEXT, description, has_description),
    FIELD("price", FIELD_DECIMAL, price_minor),
    NULLABLE("discount_price", FIELD_DECIMAL, discount_price_minor, has_discount_price),
    FIELD("category", FIELD_TEXT, category),
    FIELD("tags", FIELD_TEXTS, tags),
    FIELD("images", FIELD_PAIRS, images),
    FIELD("view_count", FIELD_INT, view_count),
    FIELD("rating", FIELD_DECIMAL, rating_hundredths),
    FIELD("review_count", FIELD_INT, review_count),
    FIELD("is_active", FIELD_BOOL, is_active),
    FIELD("created_at", FIELD_TIME, created_at_ms),
    FIELD("updated_at", FIELD_TIME, updated_at_ms),
    FIELD("effective_price", FIELD_DECIMAL, effective_price_minor),
    FIELD("rating_sum", FIELD_INT, rating_sum),
    FIELD("version", FIELD_INT, version),
};
