/**
 * The member domain's store: PostgreSQL. An adapter of the port tillwire/store.h; tables and functions are in
 * schemas/sql/, which `twctl schema apply` puts into the database.
 */
#ifndef TILLWIRE_MEMBER_STORE_H
#define TILLWIRE_MEMBER_STORE_H

#include "tillwire/store.h"

/** Number of the last migration in schemas/sql; a database with another one is refused (BROKEN). */
#define TW_MEMBER_SCHEMA_VERSION "4"

/** @p uri: a libpq connection URI, several hosts allowed; copied. @p timeout_ms: of each call. Connects with the first
 *  watermark(). INVALID: the URI cannot be read. */
enum tw_rc tw_member_store_open(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr);
/** From now on only a database whose members were made with the id key of this check value is used, others are BROKEN.
 *  @p id_key_check as tw_id_key_check() gives it. */
void       tw_member_store_pin(struct tw_store *store, const char *id_key_check);
/** Before it is used: the store is one that nobody reads yet and that can be made anew. Its commits take large batches
 *  (50,000 records, 16 MiB), calls wait ten times as long, and a crash of the server may undo the last commits. */
void       tw_member_store_bulk(struct tw_store *store);
/** Accepts NULL and a store that was never opened. */
void       tw_member_store_close(struct tw_store *store);

#endif
