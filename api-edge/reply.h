/**
 * What goes back: handlers fill a `struct tw_reply`, the server renders it and writes it with one mg_write. Outcomes
 * and problems become statuses and RFC 9457 documents here and nowhere else.
 */
#ifndef TILLWIRE_EDGE_REPLY_H
#define TILLWIRE_EDGE_REPLY_H

#include "rate_limits.h"
#include "tillwire/outcome.h"
#include "tillwire/str.h"

struct tw_field_errors;
struct tw_json;
struct tw_request;

enum tw_cacheable {
    TW_CACHE_NO_STORE, /**< private */
    TW_CACHE_PUBLIC,   /**< the catalogue: max-age=30 */
};

/** What a stream writes to. */
struct tw_stream_out {
    /** False: the client went, or has not taken anything for some seconds. Blocks until the bytes are the kernel's. */
    bool (*write)(void *self, struct tw_str bytes);
    void *self;
    int   socket; /**< for watching, never for reading or writing; -1: unknown */
};
/** Writes the body bit by bit, on the request's thread, until it is at its end; then the connection is closed. */
typedef void (*tw_stream_fn)(struct tw_request *request, void *self, const struct tw_stream_out *out);

enum { TW_REPLY_RATES_MAX = 4 };

/** What one limit has left for the caller. */
struct tw_reply_rate {
    struct tw_limit     limit;
    struct tw_allowance allowance;
};

struct tw_reply {
    tw_stream_fn         stream;      /**< instead of a body: called once the head is written; NULL: there is a body */
    void                *stream_self; /**< lives as long as the request */
    int                  status;
    const char          *content_type; /**< of the body; static */
    enum tw_cacheable    cache;
    bool                 close;  /**< the connection ends after this */
    struct tw_buf        fields; /**< more header lines, each ended by CR LF */
    struct tw_buf        body;
    struct tw_str        fixed_body; /**< instead of `body` when its ptr is set: static text */
    struct tw_str        policy; /**< Content-Security-Policy when its ptr is set, else `default-src 'none'`: static */
    bool                 is_stale; /**< not all the writes the client named show: it is told, and no cache keeps it */
    struct tw_reply_rate rates[TW_REPLY_RATES_MAX]; /**< each limit that counted the request */
    size_t               rate_count;
};

/** Ready for the next request; the buffers' memory is kept, but see tw_reply_let_go(). */
void tw_reply_reset(struct tw_reply *reply);
void tw_reply_done(struct tw_reply *reply);
/** Frees a buffer of a thread that one large answer blew up: there are many threads, and few large answers. */
void tw_reply_let_go(struct tw_buf *buf);

/** A header line. @p value must hold no control characters: never a text from the request. */
void tw_reply_field(struct tw_reply *reply, const char *name, struct tw_str value);

/** Status and an empty JSON body to be filled through tw_json. */
void tw_reply_json(struct tw_reply *reply, int status);
/** 204. */
void tw_reply_empty(struct tw_reply *reply);
/** 304: the header fields stay, the body goes. */
void tw_reply_not_modified(struct tw_reply *reply);

/** An RFC 9457 object as one JSON value. */
void tw_problem_write(struct tw_json *json, const struct tw_request *request, enum tw_problem problem,
                      struct tw_str detail, const struct tw_field_errors *errors);
/** A problem document; @p detail may be empty, @p errors NULL. */
void tw_reply_problem(struct tw_reply *reply, const struct tw_request *request, enum tw_problem problem,
                      struct tw_str detail, const struct tw_field_errors *errors);
/** The same with static text. */
void tw_reply_refuse(struct tw_reply *reply, const struct tw_request *request, enum tw_problem problem,
                     const char *detail);
/** 503 `unavailable` with Retry-After: 1. */
void tw_reply_unavailable(struct tw_reply *reply, const struct tw_request *request, const char *detail);
/** 503, 429 and the like carry this. */
void tw_reply_retry_after(struct tw_reply *reply, int seconds);

/** RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers) get an item for @p limit. */
void tw_reply_rate(struct tw_reply *reply, const struct tw_limit *limit, const struct tw_allowance *allowance);

/** Head and body as they go on the wire, appended to @p out. @p date: 29 characters, RFC 9110 form. @p head_only: the
 *  answer to HEAD. */
void tw_reply_render(const struct tw_reply *reply, const char *date, bool head_only, bool http_1_0, struct tw_buf *out);

#endif
