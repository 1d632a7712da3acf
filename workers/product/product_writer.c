#include "product_writer.h"

#include <string.h>

#include "tillwire/failpoint.h"

static const char where[] = "product.writer";

enum { ITEMS_MAX = 1000, BYTES_MAX = 8 << 20 };

static const char *name_of_array(const char *verb)
{
    if (!strcmp(verb, "insert"))
        return "documents";
    return !strcmp(verb, "update") ? "updates" : "deletes";
}

void tw_writer_init(struct tw_writer *writer, struct tw_mongo *mongo, const char *verb, const char *collection)
{
    *writer = (struct tw_writer){.mongo = mongo, .verb = verb, .collection = collection};
    bson_init(&writer->items);
}

enum tw_rc tw_writer_add(struct tw_writer *writer, const bson_t *item, struct tw_err *reterr)
{
    char        buffer[16];
    const char *name;
    size_t      name_len;

    if (writer->count == ITEMS_MAX || (writer->count > 0 && writer->items.len + item->len > BYTES_MAX))
        TW_TRY(tw_writer_flush(writer, reterr));
    name_len = bson_uint32_to_string(writer->count++, &name, buffer, sizeof(buffer));
    bson_append_document(&writer->items, name, (int)name_len, item);
    return TW_OK;
}

enum tw_rc tw_writer_flush(struct tw_writer *writer, struct tw_err *reterr)
{
    struct tw_mongo_written written = {0};
    bson_t                 *command;
    enum tw_rc              rc;

    if (!writer->count)
        return TW_OK;
    if (writer->may_go_on)
        TW_TRY(writer->may_go_on(writer->asked, reterr));
    command = BCON_NEW(writer->verb, BCON_UTF8(writer->collection), name_of_array(writer->verb),
                       BCON_ARRAY(&writer->items), "ordered", BCON_BOOL(false));
    rc = tw_mongo_write(writer->mongo, command, where, &written, reterr);
    bson_destroy(command);
    bson_reinit(&writer->items);
    writer->count = 0;
    writer->duplicates |= written.duplicates;
    if (rc == TW_OK && tw_failpoint("in_swap"))
        return tw_fail(reterr, TW_UNKNOWN, where, 0, "failpoint in_swap");
    return rc;
}

void tw_writer_done(struct tw_writer *writer)
{
    bson_destroy(&writer->items);
}
