/**
 * Collections, validators and indexes of schemas/mongo, in the database of a connection.
 */
#ifndef TILLWIRE_PRODUCT_SCHEMA_H
#define TILLWIRE_PRODUCT_SCHEMA_H

#include "product_connection.h"
#include "tillwire/str.h"

/** Makes what is missing. What was done is appended to @p ret_lines, a line each, also before a failure; nothing when all
 *  was there. BROKEN: something differs that must not be changed. */
enum tw_rc tw_product_schema_apply(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr);

/** The same for a shadow, which has no indexes but those that its fold asks by. */
enum tw_rc tw_product_schema_apply_shadow(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr);

/** Appends each difference as a line. TW_OK also when there are differences. */
enum tw_rc tw_product_schema_diff(struct tw_mongo *mongo, struct tw_buf *ret_lines, struct tw_err *reterr);

#endif
