/**
 * One connection to MongoDB and the one place where its failures become ours. A connection is never mended behind the
 * caller's back: after it broke, every call says UNREACHED until tw_mongo_connect(), so nobody goes on with what was
 * read from a server that may have been restored meanwhile.
 *
 * Threads: one at a time, as mongoc_client_t.
 */
#ifndef TILLWIRE_PRODUCT_CONNECTION_H
#define TILLWIRE_PRODUCT_CONNECTION_H

#include <mongoc/mongoc.h>

#include "tillwire/err.h"

struct tw_mongo {
    mongoc_uri_t    *uri;
    const char      *database;      /**< within `uri` */
    bson_t          *write_options; /**< w: majority, j: true; see tw_mongo_relax() */
    mongoc_client_t *client;        /**< NULL: not connected */
};

/** INVALID: @p uri cannot be parsed or names no database. */
enum tw_rc tw_mongo_init(const char *uri, int timeout_ms, struct tw_mongo *ret_mongo, struct tw_err *reterr);
/** Writes the URI of another database of the same server, for the same account; free it with free(). @p database:
 *  letters, digits, `_` and `-`. INVALID: it has others, is too long, the server's own or that of @p uri. */
enum tw_rc tw_mongo_uri_beside(const char *uri, const char *database, char **ret_uri, struct tw_err *reterr);
/** From now on a write is answered when the server has it, in memory. What a server loses so is always the end of all
 *  that was written. */
void       tw_mongo_relax(struct tw_mongo *mongo);
/** Accepts half-built ones. */
void       tw_mongo_done(struct tw_mongo *mongo);
/** Makes a client when there is none; the server is first spoken to by the next call. */
enum tw_rc tw_mongo_connect(struct tw_mongo *mongo, struct tw_err *reterr);

/** What an error of libmongoc means for the write that got it: UNREACHED, UNKNOWN, REFUSED or BROKEN. Total. */
enum tw_rc tw_mongo_rc(const bson_error_t *error);

/** What a write command did. */
struct tw_mongo_written {
    int64_t matched;    /**< documents found or inserted; do not rely on it for `insert` */
    bool    duplicates; /**< some statement met a document that is already there */
};
/** Runs an insert, update or delete command. UNREACHED: surely not written. UNKNOWN: perhaps, also in part. REFUSED,
 *  BROKEN: the server will never take it. */
enum tw_rc tw_mongo_write(struct tw_mongo *mongo, const bson_t *command, const char *where,
                          struct tw_mongo_written *ret_written, struct tw_err *reterr);

/** Called for each document found; another code than OK ends the search. */
typedef enum tw_rc tw_mongo_found(void *context, const bson_t *document, struct tw_err *reterr);
/** UNREACHED: worth retrying. BROKEN: the server will never answer this. */
enum tw_rc tw_mongo_find(struct tw_mongo *mongo, const char *collection, const bson_t *filter, const bson_t *options,
                         tw_mongo_found *found, void *context, const char *where, struct tw_err *reterr);

/** Runs a command that neither reads nor writes documents. @p what begins the sentence of a failure. @p ret_reply may be
 *  NULL; else free it with bson_destroy(). Codes as tw_mongo_find(). */
enum tw_rc tw_mongo_command(struct tw_mongo *mongo, const bson_t *command, const char *what, bson_t *ret_reply,
                            struct tw_err *reterr);

/** Names of the database's collections but the server's own; free them with bson_strfreev(). */
enum tw_rc tw_mongo_collections(struct tw_mongo *mongo, char ***ret_names, struct tw_err *reterr);
/** Drops those of them that @p goes says. */
enum tw_rc tw_mongo_drop(struct tw_mongo *mongo, bool (*goes)(const char *name), struct tw_err *reterr);

/** A query whose answer is read bit by bit, for as long as it takes. It has a connection of its own, so that it neither
 *  disturbs what goes on beside it nor breaks with it. All zero: none. */
struct tw_mongo_scan {
    mongoc_client_t     *client;
    mongoc_collection_t *collection;
    mongoc_cursor_t     *cursor;
};
/** @p mongo need not be connected. The server is first spoken to by tw_mongo_scan_next(). */
enum tw_rc tw_mongo_scan_begin(const struct tw_mongo *mongo, const char *collection, const bson_t *filter,
                               const bson_t *options, struct tw_mongo_scan *ret_scan, struct tw_err *reterr);
/** The next document, valid until the next call; NULL: there are no more. Codes as tw_mongo_find(). */
enum tw_rc tw_mongo_scan_next(struct tw_mongo_scan *scan, const bson_t **ret_document, const char *where,
                              struct tw_err *reterr);
/** Accepts half-built ones. */
void       tw_mongo_scan_end(struct tw_mongo_scan *scan);

#endif
