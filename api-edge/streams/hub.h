/**
 * Where events meet the streams that want them. The thread that reads the event topics tells the hub of each record; the
 * hub keeps it in the history and wakes the streams it concerns. A stream is served by the thread of its connection, which
 * asks for the next event and sleeps until there is one.
 *
 * Nothing is copied for a stream but the numbers of what it has not been told yet, at most TW_STREAM_BACKLOG of them. A
 * client that reads more slowly than events come loses its stream, not the edge its memory; it resumes by its bookmark.
 */
#ifndef TILLWIRE_EDGE_HUB_H
#define TILLWIRE_EDGE_HUB_H

#include "streams/news.h"

struct tw_hub;
struct tw_stream;

enum { TW_STREAM_BACKLOG = 256 };

struct tw_hub_options {
    size_t history_bytes; /**< of the events that are kept for who comes back */
    size_t slots;         /**< streams at once */
    size_t per_caller;    /**< streams of one member at once */
};

struct tw_hub *tw_hub_new(const struct tw_hub_options *options);
/** Accepts NULL. No stream may be open any more. */
void           tw_hub_free(struct tw_hub *hub);

/* --- the reading thread ------------------------------------------------------------------------------------------- */

/** How many records a reader should begin before the end of each partition, to fill the history. */
int64_t tw_hub_history_records(const struct tw_hub *hub);
/** Reading begins at @p from, an offset for each place of a bookmark; @p ends are the ends of the log as they are now.
 *  What lies between is history. Streams that came further than @p from go on, others are reset. */
void    tw_hub_begin(struct tw_hub *hub, const int64_t *from, const int64_t *ends);
void    tw_hub_tell(struct tw_hub *hub, size_t place, const struct tw_record *record);

/* --- streams ------------------------------------------------------------------------------------------------------ */

struct tw_stream_wish {
    struct tw_uuid caller;
    bool           sees_all; /**< not only what is the caller's */
    const int64_t *bookmark; /**< where an earlier stream ended; NULL: it begins when it is opened */
    bool           is_lost;  /**< there was a bookmark and nobody can read it: a reset comes first */
};

enum tw_stream_open { TW_STREAM_OPENED, TW_STREAM_NO_SLOT, TW_STREAM_CALLER_HAS_ALL, TW_STREAM_GOING_DOWN };
enum tw_stream_open tw_stream_open(struct tw_hub *hub, const struct tw_stream_wish *wish,
                                   struct tw_stream **ret_stream);
/** Accepts NULL. */
void                tw_stream_close(struct tw_stream *stream);
/** Notices when the other side of @p socket goes away, so that a dead stream does not hold its slot until the next write.
 *  The socket stays open until the stream is closed. */
void                tw_stream_watch(struct tw_stream *stream, int socket);

enum tw_stream_news {
    TW_STREAM_NEWS,    /**< an event */
    TW_STREAM_RESET,   /**< events were missed: the client must read its things again */
    TW_STREAM_QUIET,   /**< nothing until then */
    TW_STREAM_SLOW,    /**< more came than a stream may leave unread: it is over */
    TW_STREAM_GONE,    /**< the client went */
    TW_STREAM_DRAINED, /**< the edge is going down */
};
/** Blocks until something happens, at most until @p until_us (tw_monotonic_us). @p ret_news is valid until the next call. */
enum tw_stream_news tw_stream_next(struct tw_stream *stream, int64_t until_us, const struct tw_news **ret_news);
/** Where a client that was sent all of this stream so far goes on; NULL before reading began. Valid until the next call. */
const int64_t      *tw_stream_bookmark(const struct tw_stream *stream);

/** Streams end now, also those that are being written to, and no more are opened. */
void   tw_hub_drain(struct tw_hub *hub);
size_t tw_hub_open_streams(const struct tw_hub *hub);

#endif
