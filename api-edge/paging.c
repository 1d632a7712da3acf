#include "paging.h"

#include <string.h>

#include "edge.h"
#include "routes/routes.h"

static bool read_limit(const struct tw_request *request, size_t *ret_limit, struct tw_reply *reply)
{
    struct tw_str text;
    int64_t       limit = TW_PAGE_LIMIT;

    if (!tw_route_query(request, "limit", &text, reply))
        return false;
    if (text.ptr && (!tw_str_to_int(text, &limit) || limit < 1 || limit > TW_PAGE_LIMIT_MAX))
        return tw_route_refuse_query(request, "limit", TW_BODY_OUT_OF_RANGE, "must be 1 to 100", reply);
    *ret_limit = (size_t)limit;
    return true;
}

bool tw_page_read(const struct tw_request *request, struct tw_str list, struct tw_page *ret_page,
                  struct tw_reply *reply)
{
    struct tw_page page = {.list = list};
    struct tw_str  cursor;

    if (!read_limit(request, &page.limit, reply) || !tw_route_query(request, "cursor", &cursor, reply))
        return false;
    if (cursor.ptr && !tw_cursor_open(request->edge->opaque_key, list, cursor, request->arena, &page.after))
        return tw_route_refuse_query(request, "cursor", TW_BODY_VALUE, "is not of this list and filter", reply);
    *ret_page = page;
    return true;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~=+%", c));
}

/** The request's query but for its cursor, with nothing in it that could end a URI or a header field. */
static void add_query(struct tw_str query, struct tw_buf *out)
{
    while (query.len > 0) {
        const char   *stop = memchr(query.ptr, '&', query.len);
        struct tw_str pair = {query.ptr, stop ? (size_t)(stop - query.ptr) : query.len};

        query = (struct tw_str){query.ptr + pair.len, query.len - pair.len};
        if (query.len > 0)
            query = (struct tw_str){query.ptr + 1, query.len - 1};
        if (pair.len == 0 || (pair.len >= 7 && memcmp(pair.ptr, "cursor=", 7) == 0))
            continue;
        for (size_t i = 0; i < pair.len; i++)
            tw_buf_printf(out, is_plain(pair.ptr[i]) ? "%c" : "%%%02X", (unsigned char)pair.ptr[i]);
        tw_buf_add(out, "&", 1);
    }
}

static void add_link(const struct tw_request *request, struct tw_str cursor, struct tw_reply *reply)
{
    tw_buf_printf(&reply->fields, "Link: <%s?", request->route->pattern);
    add_query(request->query, &reply->fields);
    tw_buf_printf(&reply->fields, "cursor=%.*s>; rel=\"next\"\r\n", TW_STR_ARG(cursor));
}

void tw_page_end(const struct tw_request *request, const struct tw_page *page, struct tw_str last, struct tw_json *json,
                 struct tw_reply *reply)
{
    tw_json_key(json, "next_cursor");
    if (!last.ptr) {
        tw_json_null(json);
        return;
    }
    struct tw_str cursor = tw_cursor_seal(request->edge->opaque_key, page->list, last, request->arena);
    tw_json_text(json, cursor);
    add_link(request, cursor, reply);
}
