/**
 * One event as streams keep it: the few headers a client is shown, the payload as it came, and whose it is. It is made by
 * the thread that reads the events, copied by those that tell of it, and becomes JSON only when somebody is told.
 */
#ifndef TILLWIRE_EDGE_NEWS_H
#define TILLWIRE_EDGE_NEWS_H

#include "tillwire/envelope.h"
#include "tillwire/type.h"

/** The texts of an event, in the order they are kept in. */
enum tw_news_text { TW_NEWS_ID, TW_NEWS_TIME, TW_NEWS_COMMAND, TW_NEWS_TRACE, TW_NEWS_VALUE, TW_NEWS_TEXTS };

struct tw_news {
    size_t                size;   /**< of this and its texts, bytes */
    int64_t               number; /**< its place in the edge's own history; set by it */
    size_t                place;  /**< the partition, as bookmarks count them */
    int64_t               offset;
    const struct tw_type *type;
    struct tw_uuid        owner; /**< the member it concerns; nil: nobody in particular */
    uint32_t              lens[TW_NEWS_TEXTS];
    char                  bytes[];
};

/** NULL: of a type this edge does not know. Free it with free(). @p arena is used on the way. */
struct tw_news *tw_news_of(const struct tw_record *record, size_t place, struct tw_arena *arena);
struct tw_str   tw_news_text(const struct tw_news *news, enum tw_news_text which);

/** Appends `event:` and `data:` lines. False: the payload cannot be read, and nothing was appended. */
bool tw_news_write(const struct tw_news *news, struct tw_arena *arena, struct tw_buf *out);

#endif
