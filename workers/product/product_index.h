/**
 * Is an index of schemas/mongo the one that a server shows? Pure, over libbson; `struct _bson_t` is its bson_t.
 */
#ifndef TILLWIRE_PRODUCT_INDEX_H
#define TILLWIRE_PRODUCT_INDEX_H

#include <stdbool.h>

struct _bson_t;

/** What listIndexes gives is compared by what makes it another index: the fields in their order, and `unique`. Of a text
 *  index the server shows no fields in `key` but only in `weights`; they and its language are compared. */
bool tw_mongo_same_index(const struct _bson_t *wanted, const struct _bson_t *stored);

#endif
