#include "cors.h"

#include <string.h>

#define WHERE "edge.cors"

/** What clients send beyond what every page may; the answer does not follow the question, so caches need not, either. */
#define ALLOWED_FIELDS                                                                                   \
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, Consistency-Token, " \
    "Last-Event-ID, traceparent"
/** What pages may read of an answer beyond type, length and caching. */
#define EXPOSED_FIELDS                                                                         \
    "Location, ETag, Link, Retry-After, Consistency-Token, Consistency, Idempotent-Replayed, " \
    "Preference-Applied, Age, RateLimit, RateLimit-Policy, WWW-Authenticate, Allow, traceparent"
/** Seconds for which a browser need not ask again; a withdrawn origin is gone after it. */
#define MAX_AGE "600"

/* --- the list ----------------------------------------------------------------------------------------------------- */

/** Length of the scheme with `://`, 0 when it is none that browsers have pages of. */
static size_t scheme_len(struct tw_str origin)
{
    static const char *const schemes[] = {"https://", "http://"};

    for (size_t i = 0; i < TW_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (origin.len > len && memcmp(origin.ptr, schemes[i], len) == 0)
            return len;
    }
    return 0;
}

static bool ends_with(struct tw_str text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

/** NULL, or why no browser would ever send this text. */
static const char *fault_of(struct tw_str origin)
{
    size_t scheme = scheme_len(origin);

    if (scheme == 0)
        return "does not start with https:// or http:// and a host (a list is exact: there is no '*')";
    for (size_t i = scheme; i < origin.len; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-._:[]", origin.ptr[i]))
            return "has more than a scheme, a host in lower case and a port";
    }
    if (ends_with(origin, scheme == strlen("https://") ? ":443" : ":80"))
        return "names its scheme's own port, which browsers leave out";
    return NULL;
}

static struct tw_str trim(struct tw_str text)
{
    while (text.len > 0 && text.ptr[0] == ' ')
        text = (struct tw_str){text.ptr + 1, text.len - 1};
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    return text;
}

enum tw_rc tw_cors_parse(const char *list, struct tw_cors *ret_cors, struct tw_err *reterr)
{
    struct tw_cors cors = {.count = 0};

    for (const char *at = list; *at != '\0';) {
        size_t        len = strcspn(at, ",");
        struct tw_str origin = trim((struct tw_str){at, len});
        const char   *fault = fault_of(origin);

        if (cors.count == TW_CORS_ORIGINS_MAX)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "more than %d origins", TW_CORS_ORIGINS_MAX);
        if (fault)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s' %s", TW_STR_ARG(origin), fault);
        cors.origins[cors.count++] = origin;
        at += len + (at[len] == ',');
    }
    *ret_cors = cors;
    return TW_OK;
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

/** The listed origin the request comes from, ptr NULL when there is none: text of the list, never of the request. */
static struct tw_str origin_of(const struct tw_cors *cors, const struct tw_request *request)
{
    struct tw_str origin = request->fields[TW_HEADER_ORIGIN];

    for (size_t i = 0; origin.ptr && i < cors->count; i++) {
        if (tw_str_eq(origin, cors->origins[i]))
            return cors->origins[i];
    }
    return (struct tw_str){0};
}

bool tw_cors_preflight(const struct tw_cors *cors, const struct tw_request *request, const char *allow,
                       struct tw_reply *reply)
{
    if (request->method != TW_METHOD_OPTIONS || !request->fields[TW_HEADER_REQUEST_METHOD].ptr ||
        !origin_of(cors, request).ptr)
        return false;
    tw_reply_empty(reply);
    tw_reply_field(reply, "Access-Control-Allow-Methods", tw_str_of(allow));
    tw_reply_field(reply, "Access-Control-Allow-Headers", TW_STR(ALLOWED_FIELDS));
    tw_reply_field(reply, "Access-Control-Max-Age", TW_STR(MAX_AGE));
    return true;
}

void tw_cors_fields(const struct tw_cors *cors, const struct tw_request *request, struct tw_reply *reply)
{
    struct tw_str origin = origin_of(cors, request);

    if (cors->count > 0)
        tw_reply_field(reply, "Vary", TW_STR("Origin"));
    if (!origin.ptr)
        return;
    tw_reply_field(reply, "Access-Control-Allow-Origin", origin);
    if (request->method != TW_METHOD_OPTIONS)
        tw_reply_field(reply, "Access-Control-Expose-Headers", TW_STR(EXPOSED_FIELDS));
}
