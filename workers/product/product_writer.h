/**
 * Many writes to one collection, sent as few commands: each is as large as servers take it and is answered within a
 * time-out. Nothing is sent before a command is full or tw_writer_flush().
 */
#ifndef TILLWIRE_PRODUCT_WRITER_H
#define TILLWIRE_PRODUCT_WRITER_H

#include "product_connection.h"

/** "insert" takes documents, "update" and "delete" statements. */
struct tw_writer {
    struct tw_mongo *mongo;
    const char      *verb;
    const char      *collection;
    bson_t           items; /**< an array on its way */
    uint32_t         count;
    bool             duplicates; /**< something met a document that is already there, and was not written */
    /** Asked before each command; another code than OK ends the writing. NULL: nobody is. */
    enum tw_rc (*may_go_on)(void *asked, struct tw_err *reterr);
    void *asked;
};

void       tw_writer_init(struct tw_writer *writer, struct tw_mongo *mongo, const char *verb, const char *collection);
/** Codes as tw_mongo_write(). */
enum tw_rc tw_writer_add(struct tw_writer *writer, const bson_t *item, struct tw_err *reterr);
enum tw_rc tw_writer_flush(struct tw_writer *writer, struct tw_err *reterr);
/** Forgets what was not sent. */
void       tw_writer_done(struct tw_writer *writer);

#endif
