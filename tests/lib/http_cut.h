/**
 * The head of an HTTP request, cut as civetweb 1.15 cuts it: the rules of its parse_http_request(), get_uri_type() and
 * handle_request() in small, lenient as they are, for tests of what the edge makes of it without a socket.
 */
#ifndef TILLWIRE_TESTS_HTTP_CUT_H
#define TILLWIRE_TESTS_HTTP_CUT_H

#include "api-edge/request.h"

struct tw_http_cut {
    struct tw_raw_request raw;      /**< views of `bytes` */
    size_t                head_len; /**< where the body begins in what was given */
    struct tw_raw_field   fields[TW_HEADERS_MAX_COUNT];
    char                 *bytes;
};

/** Cuts a copy of @p bytes. False: civetweb refuses it, or waits for the rest; nothing is to be released. An absolute URI is
 *  taken as one of this server. */
bool tw_http_cut(struct tw_str bytes, struct tw_http_cut *ret_cut);
/** Accepts a zeroed one. */
void tw_http_cut_done(struct tw_http_cut *cut);

#endif
