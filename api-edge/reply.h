/**
 * What goes back: handlers fill a `struct tw_reply`, the server renders it and writes it with one mg_write. Outcomes
 * and problems become statuses and RFC 9457 documents here and nowhere else.
 */
#ifndef TILLWIRE_EDGE_REPLY_H
#define TILLWIRE_EDGE_REPLY_H

#include "tillwire/outcome.h"
#include "tillwire/str.h"

struct tw_field_errors;
struct tw_json;
struct tw_request;

enum tw_cacheable {
    TW_CACHE_NO_STORE, /**< private */
    TW_CACHE_PUBLIC,   /**< the catalogue: max-age=30 */
};

struct tw_reply {
    int               status;
    const char       *content_type; /**< of the body; static */
    enum tw_cacheable cache;
    bool              close;  /**< the connection ends after this */
    struct tw_buf     fields; /**< more header lines, each ended by CR LF */
    struct tw_buf     body;
    struct tw_str     fixed_body; /**< instead of `body` when its ptr is set: static text */
    struct tw_str     policy;     /**< Content-Security-Policy when its ptr is set, else `default-src 'none'`: static */
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

/** Head and body as they go on the wire, appended to @p out. @p date: 29 characters, RFC 9110 form. @p head_only: the
 *  answer to HEAD. */
void tw_reply_render(const struct tw_reply *reply, const char *date, bool head_only, bool http_1_0, struct tw_buf *out);

#endif
