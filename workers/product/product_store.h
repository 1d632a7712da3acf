/**
 * The products' store: the port of tillwire/store.h on MongoDB, which may be a standalone server without transactions.
 * Documents: tillwire/product_document.h; collections, indexes and fields: schemas/mongo/README.md.
 */
#ifndef TILLWIRE_PRODUCT_STORE_H
#define TILLWIRE_PRODUCT_STORE_H

#include "tillwire/store.h"

/**
 * @p uri: `mongodb://…/database`; the database must be named. Writes wait for a majority and its journals, and are
 * never retried by the driver, whatever the URI says.
 * @p timeout_ms bounds finding the server, connecting and every answer. Connects nowhere yet: tw_store.watermark()
 * does. INVALID: the sentence says what is wrong with the URI. Close with tw_product_store_close().
 */
enum tw_rc tw_product_store_open(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr);

/**
 * The store is a shadow that nobody else writes or reads: batches may be much larger, writes wait for no disk, and what
 * is new is inserted. It still goes on where it was after any crash of ours, and after one of the server where that
 * has the beginning of all that was written; else watermark() or load() refuses it. Commits of new entities may go from
 * offset 0 to offset 0, as many as a snapshot needs; the one that ends them moves the watermark.
 */
void tw_product_store_bulk(struct tw_store *store);

/** Accepts NULL and a zeroed store. */
void tw_product_store_close(struct tw_store *store);

#endif
