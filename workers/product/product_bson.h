/**
 * Reads members of BSON documents that may be absent or of another type than is asked for.
 */
#ifndef TILLWIRE_PRODUCT_BSON_H
#define TILLWIRE_PRODUCT_BSON_H

#include <bson/bson.h>

/** The document or array @p name of @p in; false: there is none. @p ret_view is a view, valid as long as @p in. */
bool        tw_bson_find_document(const bson_t *in, const char *name, bson_t *ret_view);
/** The text @p name, empty when there is none; as long as @p in. */
const char *tw_bson_find_text(const bson_t *in, const char *name);

#endif
