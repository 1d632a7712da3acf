/**
 * Lists in pages: `?limit=` and `?cursor=` in, `next_cursor` and `Link: <…>; rel="next"` out. A list has an order without
 * ties; its place in that order, as bytes it makes itself, is what a cursor carries (tw_cursor_seal).
 */
#ifndef TILLWIRE_EDGE_PAGING_H
#define TILLWIRE_EDGE_PAGING_H

#include "tillwire/json_out.h"
#include "reply.h"
#include "request.h"

enum { TW_PAGE_LIMIT = 20, TW_PAGE_LIMIT_MAX = 100 };

struct tw_page {
    struct tw_str list; /**< names list, order and filters: a cursor is good for the same text only */
    size_t        limit;
    struct tw_str after; /**< the place behind which the page begins; ptr NULL: at the start */
};

/** What the request asks for. False: the answer is a 400. */
bool tw_page_read(const struct tw_request *request, struct tw_str list, struct tw_page *ret_page,
                  struct tw_reply *reply);

/** The member `next_cursor` and the Link. @p last: the place of the page's last item; ptr NULL: nothing comes behind. */
void tw_page_end(const struct tw_request *request, const struct tw_page *page, struct tw_str last, struct tw_json *json,
                 struct tw_reply *reply);

#endif
