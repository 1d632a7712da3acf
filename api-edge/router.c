#include "router.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static size_t split_pattern(const char *pattern, struct tw_str segments[TW_SEGMENTS_MAX])
{
    size_t count = 0;

    for (const char *at = pattern; *at == '/';) {
        assert(count < TW_SEGMENTS_MAX);
        size_t len = strcspn(at + 1, "/");
        segments[count++] = (struct tw_str){at + 1, len};
        at += 1 + len;
    }
    return count;
}

void tw_router_add(struct tw_router *router, const struct tw_route *table)
{
    for (const struct tw_route *route = table; route->pattern; route++) {
        for (size_t i = 0; i < router->count; i++)
            assert(route->method != router->routes[i]->method ||
                   strcmp(route->pattern, router->routes[i]->pattern) != 0);
        assert(router->count < TW_ROUTES_MAX);
        router->segment_counts[router->count] = (uint8_t)split_pattern(route->pattern, router->segments[router->count]);
        router->routes[router->count++] = route;
    }
}

bool tw_router_takes_batch(const struct tw_route *route)
{
    static const char batch[] = ":batch";
    size_t            len = route ? strlen(route->pattern) : 0;

    return len >= strlen(batch) && strcmp(route->pattern + len - strlen(batch), batch) == 0;
}

static bool segment_fits(struct tw_str pattern, struct tw_str segment)
{
    return pattern.len > 0 && pattern.ptr[0] == '{' ? segment.len > 0 : tw_str_eq(pattern, segment);
}

/** How many segments fit as they are written, -1 when the path does not fit: `/members/me` goes before
 *  `/members/{id}`. */
static int path_fit(const struct tw_router *router, size_t row, const struct tw_request *request)
{
    int literal = 0;

    if (router->segment_counts[row] != request->segment_count)
        return -1;
    for (size_t i = 0; i < request->segment_count; i++) {
        struct tw_str pattern = router->segments[row][i];
        if (!segment_fits(pattern, request->segments[i]))
            return -1;
        literal += pattern.len > 0 && pattern.ptr[0] != '{';
    }
    return literal;
}

static int best_fit(const struct tw_router *router, const struct tw_request *request)
{
    int best = -1;

    for (size_t i = 0; i < router->count; i++) {
        int fit = path_fit(router, i, request);
        best = fit > best ? fit : best;
    }
    return best;
}

static void allow_add(char *allow, const char *method)
{
    size_t len = strlen(allow);

    snprintf(allow + len, TW_ALLOW_TEXT - len, "%s%s", len > 0 ? ", " : "", method);
}

const struct tw_route *tw_router_find(const struct tw_router *router, const struct tw_request *request,
                                      char ret_allow[TW_ALLOW_TEXT])
{
    enum tw_method method = request->method == TW_METHOD_HEAD ? TW_METHOD_GET : request->method;
    int            best = best_fit(router, request);

    ret_allow[0] = '\0';
    for (size_t i = 0; best >= 0 && i < router->count; i++) {
        if (path_fit(router, i, request) != best)
            continue;
        if (router->routes[i]->method == method)
            return router->routes[i];
        allow_add(ret_allow, tw_method_name(router->routes[i]->method));
        if (router->routes[i]->method == TW_METHOD_GET)
            allow_add(ret_allow, "HEAD");
    }
    return NULL;
}
