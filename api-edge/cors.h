/**
 * Which pages of other origins may use the edge from a browser (CORS, Fetch standard). Off unless origins are listed.
 * A list is exact: no `*`, no patterns. Credentials mode is never allowed: callers show a bearer token, there are no
 * cookies that a browser would add by itself, so a listed page can do nothing that its own user did not hand it.
 */
#ifndef TILLWIRE_EDGE_CORS_H
#define TILLWIRE_EDGE_CORS_H

#include "reply.h"
#include "request.h"
#include "tillwire/err.h"

enum { TW_CORS_ORIGINS_MAX = 32 };

struct tw_cors {
    struct tw_str origins[TW_CORS_ORIGINS_MAX]; /**< lie in the setting's text */
    size_t        count;
};

/** Reads `https://shop.example, http://localhost:3000`; an empty list is good. INVALID says which item is not, and why.
 *  @p list outlives @p ret_cors. */
enum tw_rc tw_cors_parse(const char *list, struct tw_cors *ret_cors, struct tw_err *reterr);

/** Answers the preflight of a listed origin. @p allow: methods of the path. False: it is none; nothing was done. */
bool tw_cors_preflight(const struct tw_cors *cors, const struct tw_request *request, const char *allow,
                       struct tw_reply *reply);

/** Adds what any answer to a listed origin carries, problems too; and when origins are listed, `Vary` for all. */
void tw_cors_fields(const struct tw_cors *cors, const struct tw_request *request, struct tw_reply *reply);

#endif
