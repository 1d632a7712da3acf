/**
 * Is an index of schemas/mongo for this server and store, and the one that the server shows? Pure, over libbson;
 * `struct _bson_t` is its bson_t.
 */
#ifndef TILLWIRE_PRODUCT_INDEX_H
#define TILLWIRE_PRODUCT_INDEX_H

#include <stdbool.h>

struct _bson_t;

/** Should a store have this index of schemas/mongo? @p is_stand_in: its server is not a mongod. A shadow has those that its
 *  fold asks by, and never any other: a swap moves documents into the database that has them all. */
bool tw_mongo_wants_index(const struct _bson_t *index, bool is_stand_in, bool is_shadow);

/** What listIndexes gives is compared by what makes it another index: the fields in their order, and `unique`. Of a text
 *  index the server shows no fields in `key` but only in `weights`; they and its language are compared. */
bool tw_mongo_same_index(const struct _bson_t *wanted, const struct _bson_t *stored);

#endif
