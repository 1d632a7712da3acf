#include "request.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "json_scan.h"
#include "tillwire/clock.h"

static const char *const method_names[] = {
    [TW_METHOD_GET] = "GET",         [TW_METHOD_HEAD] = "HEAD",   [TW_METHOD_POST] = "POST",
    [TW_METHOD_PUT] = "PUT",         [TW_METHOD_PATCH] = "PATCH", [TW_METHOD_DELETE] = "DELETE",
    [TW_METHOD_OPTIONS] = "OPTIONS", [TW_METHOD_OTHER] = "",
};

static const struct {
    struct tw_str name;
    bool          repeatable;
} field_rules[TW_HEADER_COUNT] = {
#define X(name, text, repeatable) {{text, sizeof(text) - 1}, repeatable},
    TW_FIELD_MAP(X)
#undef X
};

const char *tw_method_name(enum tw_method method)
{
    return method_names[method];
}

static enum tw_method method_of(const char *name)
{
    for (size_t i = 0; i < TW_METHOD_OTHER; i++) {
        if (strcmp(method_names[i], name) == 0)
            return (enum tw_method)i;
    }
    return TW_METHOD_OTHER;
}

static enum tw_problem refuse(const char **ret_detail, enum tw_problem problem, const char *detail)
{
    *ret_detail = detail;
    return problem;
}

/* --- framing ------------------------------------------------------------------------------------------------------ */

enum { REQUEST_LINE_REST = 32 }; /* more than a method, a version and what stands between take */

/** Does the head end behind the line that ends at @p end? Behind a request line it wrote NULs over all white space. */
static bool is_last_line(const struct tw_raw_request *raw, const char *end)
{
    return end[2] == (raw->field_count > 0 ? '\r' : '\0') && end[3] == '\0';
}

/**
 * civetweb wrote a NUL over each separator. One byte between two texts is one space or a bare LF, two are CRLF; so the
 * distances show what it was too lenient about. After the last field's CRLF must come the CR of the empty line, and then
 * the NUL that it wrote over the end of the head: anything else is a folded line, a bare CR or LF, no field, or one beyond
 * the 64th, all of which it drops in silence with everything behind.
 */
static enum tw_problem check_lines(const struct tw_raw_request *raw, const struct tw_request_limits *limits,
                                   const char **ret_detail)
{
    static const char *const bad_line = "lines end with CR LF and have single spaces";
    const char              *query_end = raw->query ? raw->query + strlen(raw->query) : raw->uri + strlen(raw->uri);

    if (raw->uri != raw->method + strlen(raw->method) + 1 || raw->version - strlen("HTTP/") != query_end + 1)
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, bad_line);
    const char *end = raw->version + strlen(raw->version);
    for (size_t i = 0; i < raw->field_count; i++) {
        if (raw->fields[i].name != end + 2)
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, bad_line);
        end = raw->fields[i].value + strlen(raw->fields[i].value);
    }
    if ((size_t)(end - raw->method) > limits->uri_bytes + limits->headers_bytes + REQUEST_LINE_REST)
        return TW_PROBLEM_NONE; /* it is refused for its length in a moment; behind it the buffer may end */
    if (is_last_line(raw, end))
        return TW_PROBLEM_NONE;
    if (raw->field_count >= TW_HEADERS_MAX_COUNT)
        return refuse(ret_detail, TW_PROBLEM_HEADERS_TOO_LARGE, "at most 64 header fields are read");
    return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, bad_line);
}

/** RFC 9110's token. A name with anything else in it means one thing to us and perhaps another to a proxy. */
static bool is_token(struct tw_str name)
{
    static const bool others[128] = {
        ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true,
        ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true,  ['~'] = true};

    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool          plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c >= 128 || !others[c]))
            return false;
    }
    return name.len > 0;
}

static int field_find(const char *name, size_t len)
{
    for (int i = 0; i < TW_HEADER_COUNT; i++) {
        if (field_rules[i].name.len == len && strncasecmp(field_rules[i].name.ptr, name, len) == 0)
            return i;
    }
    return -1;
}

/** `a: 1` and `a: 2` are `a: 1, 2`. */
static struct tw_str join(struct tw_arena *arena, struct tw_str first, struct tw_str second)
{
    return first.ptr ? tw_arena_printf(arena, "%.*s, %.*s", TW_STR_ARG(first), TW_STR_ARG(second)) : second;
}

static enum tw_problem take_fields(const struct tw_raw_request *raw, struct tw_request *request,
                                   const char **ret_detail)
{
    size_t total = 0;

    for (size_t i = 0; i < raw->field_count; i++) {
        struct tw_str name = tw_str_of(raw->fields[i].name);
        struct tw_str value = tw_str_of(raw->fields[i].value);

        total += (size_t)(value.ptr + value.len - name.ptr) + strlen("\r\n");
        /* Where the colon stood there is a NUL; a second one before the value was a space, which RFC 9112 forbids. */
        if (name.ptr[name.len + 1] == '\0' && value.ptr != name.ptr + name.len + 1)
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST,
                          "there is a space before the colon of a header field");
        if (!is_token(name))
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the name of a header field is no token");
        while (value.len > 0 && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
            value.len--;
        int known = field_find(name.ptr, name.len);
        if (known < 0)
            continue;
        if (request->fields[known].ptr && !field_rules[known].repeatable)
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "a header field that may stand once is repeated");
        request->fields[known] = join(request->arena, request->fields[known], value);
    }
    if (total > request->limits->headers_bytes)
        return refuse(ret_detail, TW_PROBLEM_HEADERS_TOO_LARGE,
                      tw_arena_printf(request->arena, "the header fields take more than %zu bytes",
                                      request->limits->headers_bytes)
                          .ptr);
    return TW_PROBLEM_NONE;
}

static enum tw_problem check_uri_length(const struct tw_raw_request *raw, const struct tw_request *request,
                                        const char **ret_detail)
{
    size_t max = request->limits->uri_bytes;
    size_t len = strlen(raw->uri) + (raw->query ? request->query.len + 1 : 0);

    return len <= max ? TW_PROBLEM_NONE
                      : refuse(ret_detail, TW_PROBLEM_URI_TOO_LONG,
                               tw_arena_printf(request->arena, "a URI has at most %zu bytes", max).ptr);
}

/** A host and perhaps a port: no user, path or list, which another parser would cut elsewhere. */
static bool is_host(struct tw_str host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= ' ' || c >= 127 || strchr("/\\@?#,;\"<>(){}^`|", c))
            return false;
    }
    return host.len > 0;
}

/** An absolute URI (`http://shop.example/v1/cart`) is cut by civetweb at its first slash, also where that is one of the
 *  query. */
static enum tw_problem check_target(const struct tw_raw_request *raw, const char **ret_detail)
{
    const char *scheme_end = strstr(raw->uri, "://");
    const char *authority = scheme_end ? scheme_end + strlen("://") : raw->uri;

    if (raw->path == raw->uri || (raw->path > authority && raw->path <= raw->uri + strlen(raw->uri) &&
                                  is_host((struct tw_str){authority, (size_t)(raw->path - authority)})))
        return TW_PROBLEM_NONE;
    return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the URI is neither a path nor one of this host");
}

static enum tw_problem check_host(const struct tw_request *request, const char **ret_detail)
{
    struct tw_str host = request->fields[TW_HEADER_HOST];

    if (!host.ptr)
        return request->http_1_0 ? TW_PROBLEM_NONE
                                 : refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "there is no Host");
    return is_host(host) ? TW_PROBLEM_NONE
                         : refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the Host is no host and port");
}

/** Digits only: strtoll(), which civetweb uses, also takes "+5", "5,5" and overflows to the largest number. */
static enum tw_problem check_length(struct tw_request *request, const char **ret_detail)
{
    struct tw_str length = request->fields[TW_HEADER_CONTENT_LENGTH];
    struct tw_str encoding = request->fields[TW_HEADER_TRANSFER_ENCODING];

    if (encoding.ptr) {
        if (length.ptr || request->http_1_0 || encoding.len != 7 || strncasecmp(encoding.ptr, "chunked", 7) != 0)
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the length of the body is not clear");
        request->content_length = -1;
        return TW_PROBLEM_NONE;
    }
    if (!length.ptr)
        return TW_PROBLEM_NONE;
    for (size_t i = 0; i < length.len; i++) {
        if (length.ptr[i] < '0' || length.ptr[i] > '9')
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the content length is not a number");
    }
    if (length.len == 0)
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the content length is not a number");
    if (!tw_str_to_int(length, &request->content_length)) {
        request->content_length = INT64_MAX;
        return refuse(ret_detail, TW_PROBLEM_TOO_LARGE, "the body is larger than this resource takes");
    }
    return TW_PROBLEM_NONE;
}

static bool has_token(struct tw_str list, const char *token)
{
    size_t len = strlen(token);

    for (size_t i = 0; i + len <= list.len; i++) {
        bool starts = i == 0 || strchr(", \t", list.ptr[i - 1]);
        bool ends = i + len == list.len || strchr(", \t", list.ptr[i + len]);
        if (starts && ends && strncasecmp(list.ptr + i, token, len) == 0)
            return true;
    }
    return false;
}

/** As civetweb will see it: a Connection field without keep-alive makes it close. Beside `close` keep-alive means
 *  nothing (RFC 9112). */
static bool wants_keep_alive(const struct tw_request *request)
{
    struct tw_str connection = request->fields[TW_HEADER_CONNECTION];

    return connection.ptr ? has_token(connection, "keep-alive") && !has_token(connection, "close") : !request->http_1_0;
}

/* --- path --------------------------------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/** Percent-decodes into the arena. False: bad escape, control character, or not UTF-8. */
static bool percent_decode(struct tw_arena *arena, struct tw_str raw, bool plus_is_space, struct tw_str *ret_text)
{
    if (!memchr(raw.ptr, '%', raw.len) && !(plus_is_space && memchr(raw.ptr, '+', raw.len))) {
        *ret_text = raw;
        return tw_str_is_utf8(raw);
    }
    char  *text = tw_arena_alloc(arena, raw.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            int high = i + 2 < raw.len ? hex_value(raw.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_value(raw.ptr[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(unsigned char)(high * 16 + low);
            i += 2;
        } else if (plus_is_space && c == '+') {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        text[len++] = c;
    }
    *ret_text = (struct tw_str){text, len};
    return tw_str_is_utf8(*ret_text);
}

static bool segment_is_allowed(struct tw_str segment)
{
    return !tw_str_is(segment, ".") && !tw_str_is(segment, "..") && !memchr(segment.ptr, '/', segment.len);
}

/** Decoded segment by segment, so that %2F stays inside one and is seen; dot segments are refused, never resolved. */
static enum tw_problem split_path(struct tw_request *request, const char **ret_detail)
{
    const char *at = request->path.ptr;
    const char *end = at + request->path.len;

    if (at == end || *at != '/')
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the path does not start with a slash");
    while (at < end) {
        const char   *start = at + 1;
        const char   *slash = memchr(start, '/', (size_t)(end - start));
        const char   *stop = slash ? slash : end;
        struct tw_str segment = {start, (size_t)(stop - start)};

        if (!percent_decode(request->arena, segment, false, &segment) || !segment_is_allowed(segment))
            return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST,
                          "the path has a dot segment, an encoded slash or a bad escape");
        if (request->segment_count == TW_SEGMENTS_MAX)
            return refuse(ret_detail, TW_PROBLEM_NOT_FOUND, "no resource lies that deep");
        request->segments[request->segment_count++] = segment;
        at = stop;
    }
    return TW_PROBLEM_NONE;
}

enum tw_problem tw_request_parse(const struct tw_raw_request *raw, struct tw_request *ret_request,
                                 const char **ret_detail)
{
    struct tw_request *request = ret_request;
    enum tw_problem    problem;

    request->path = tw_str_of(raw->path);
    request->query = tw_str_of(raw->query);
    request->method = method_of(raw->method);
    request->http_1_0 = strcmp(raw->version, "1.0") == 0;
    problem = check_lines(raw, request->limits, ret_detail);
    if (problem ==
        TW_PROBLEM_NONE) /* before other refusals: their answers, too, look at where the request comes from */
        problem = take_fields(raw, request, ret_detail);
    if (problem == TW_PROBLEM_NONE)
        problem = check_uri_length(raw, request, ret_detail);
    if (problem == TW_PROBLEM_NONE)
        problem = check_target(raw, ret_detail);
    if (problem == TW_PROBLEM_NONE)
        problem = check_host(request, ret_detail);
    if (problem == TW_PROBLEM_NONE)
        problem = check_length(request, ret_detail);
    if (problem == TW_PROBLEM_NONE)
        problem = split_path(request, ret_detail);
    request->keep_alive = wants_keep_alive(request);
    return problem;
}

/* --- body --------------------------------------------------------------------------------------------------------- */

enum { CHUNK_MAX = 1024, QUICK_US = 2000, STALLED_US = 1000000 };

/**
 * A read blocks until it has all it was asked for, however slowly the bytes drip, so the deadline is only seen between
 * reads. Hence: ask for one byte, and for twice as much each time the bytes were already there. A dripping client never
 * gets beyond one byte a read; a quick one soon gets 1 KiB, and when it turns slow then, deadlines.c ends the read.
 */
struct body_reader {
    tw_read_fn read;
    void      *self;
    int64_t    deadline_us;
    size_t     chunk;
    bool       late;
};

static int read_some(struct body_reader *reader, char *bytes, size_t len)
{
    int64_t before_us = tw_monotonic_us();

    if (before_us > reader->deadline_us) {
        reader->late = true;
        return -1;
    }
    int     n = reader->read(reader->self, bytes, len < reader->chunk ? len : reader->chunk);
    int64_t took_us = tw_monotonic_us() - before_us;
    if (took_us > QUICK_US)
        reader->chunk = 1;
    else if (reader->chunk < CHUNK_MAX)
        reader->chunk *= 2;
    /* The library gave up waiting, or the deadline ended the read: the client did not hang up. */
    reader->late = n < 1 && (took_us > STALLED_US || before_us + took_us > reader->deadline_us);
    return n;
}

static enum tw_problem read_exactly(struct tw_request *request, struct body_reader *reader, size_t len,
                                    const char **ret_detail)
{
    char *bytes = tw_arena_alloc(request->arena, len + 1);

    for (size_t have = 0; have < len;) {
        int n = read_some(reader, bytes + have, len - have);
        if (n < 1)
            return refuse(ret_detail, reader->late ? TW_PROBLEM_REQUEST_TIMEOUT : TW_PROBLEM_MALFORMED_REQUEST,
                          "the body did not arrive whole");
        have += (size_t)n;
    }
    request->body = (struct tw_str){bytes, len};
    return TW_PROBLEM_NONE;
}

static enum tw_problem read_chunked(struct tw_request *request, struct body_reader *reader, size_t max_bytes,
                                    const char **ret_detail)
{
    char  *bytes = tw_arena_alloc(request->arena, max_bytes + 1);
    size_t have = 0;

    for (;;) {
        int n = read_some(reader, bytes + have, max_bytes + 1 - have);
        if (n == 0)
            break;
        if (n < 0)
            return refuse(ret_detail, reader->late ? TW_PROBLEM_REQUEST_TIMEOUT : TW_PROBLEM_MALFORMED_REQUEST,
                          "the chunks of the body are not well formed or did not arrive whole");
        have += (size_t)n;
        if (have > max_bytes)
            return refuse(ret_detail, TW_PROBLEM_TOO_LARGE, "the body is larger than this resource takes");
    }
    request->body = (struct tw_str){bytes, have};
    return TW_PROBLEM_NONE;
}

int64_t tw_request_deadline_us(const struct tw_request *request)
{
    return request->start_us + INT64_C(1000) * request->limits->deadline_ms;
}

enum tw_problem tw_request_read_body(struct tw_request *request, size_t max_bytes, tw_read_fn read, void *self,
                                     const char **ret_detail)
{
    struct body_reader reader = {read, self, tw_request_deadline_us(request), 1, false};

    if (request->content_length == 0)
        return TW_PROBLEM_NONE;
    if (request->content_length < 0)
        return read_chunked(request, &reader, max_bytes, ret_detail);
    if ((uint64_t)request->content_length > max_bytes)
        return refuse(ret_detail, TW_PROBLEM_TOO_LARGE, "the body is larger than this resource takes");
    return read_exactly(request, &reader, (size_t)request->content_length, ret_detail);
}

/** @p plain, with `charset=utf-8` at most. */
static bool is_of_type(struct tw_str type, struct tw_str plain)
{
    if (type.len < plain.len || strncasecmp(type.ptr, plain.ptr, plain.len) != 0)
        return false;
    struct tw_str rest = {type.ptr + plain.len, type.len - plain.len};
    if (rest.len > 0 && !strchr(" \t;", rest.ptr[0]))
        return false;
    while (rest.len > 0 && strchr(" \t;", rest.ptr[0]))
        rest = (struct tw_str){rest.ptr + 1, rest.len - 1};
    return rest.len == 0 ||
           ((rest.len == 13 || rest.len == 15) && (strncasecmp(rest.ptr, "charset=utf-8", rest.len) == 0 ||
                                                   strncasecmp(rest.ptr, "charset=\"utf-8\"", rest.len) == 0));
}

static bool is_json(const struct tw_request *request)
{
    struct tw_str type = request->fields[TW_HEADER_CONTENT_TYPE];

    return is_of_type(type, TW_STR("application/json")) ||
           (request->method == TW_METHOD_PATCH && is_of_type(type, TW_STR("application/merge-patch+json")));
}

/** A number that no integer or double holds fits no body either, but it is JSON: with zeros in the place of such numbers
 *  the body is read all the same, and its reader says where they stand, because no member takes a number with a point. */
static json_t *parse(const struct tw_request *request)
{
    json_error_t error;
    json_t      *json = json_loadb(request->body.ptr, request->body.len, JSON_REJECT_DUPLICATES, &error);

    if (json || json_error_code(&error) != json_error_numeric_overflow)
        return json;
    char *tamed = tw_arena_alloc(request->arena, request->body.len);
    memcpy(tamed, request->body.ptr, request->body.len);
    tw_json_tame_numbers(tamed, request->body.len);
    return json_loadb(tamed, request->body.len, JSON_REJECT_DUPLICATES, &error);
}

enum tw_problem tw_request_json(const struct tw_request *request, struct json_t **ret_json, const char **ret_detail)
{
    if (request->body.len == 0)
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "a JSON body is expected");
    if (!is_json(request))
        return refuse(ret_detail, TW_PROBLEM_UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
    if (tw_json_depth(request->body) > TW_JSON_MAX_DEPTH)
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "the JSON nests deeper than 32");
    json_t *json = parse(request);
    if (!json)
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST,
                      "the body is not one JSON object in UTF-8 without repeated members");
    *ret_json = json;
    return TW_PROBLEM_NONE;
}

/* --- smaller things ----------------------------------------------------------------------------------------------- */

/** RFC 7240 takes a token or a quoted text as a preference's value. */
static struct tw_str unquoted(struct tw_str text)
{
    bool is_quoted = text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"';

    return is_quoted ? (struct tw_str){text.ptr + 1, text.len - 2} : text;
}

int tw_request_wait_s(const struct tw_request *request)
{
    struct tw_str prefer = request->fields[TW_HEADER_PREFER];
    const char   *at = prefer.ptr;
    const char   *end = at + prefer.len;

    while (at && at < end) {
        const char   *comma = memchr(at, ',', (size_t)(end - at));
        struct tw_str item = {at, (size_t)((comma ? comma : end) - at)};
        int64_t       seconds = 0;

        at = comma ? comma + 1 : end;
        while (item.len > 0 && (item.ptr[0] == ' ' || item.ptr[0] == '\t'))
            item = (struct tw_str){item.ptr + 1, item.len - 1};
        const char *semicolon = memchr(item.ptr, ';', item.len);
        item.len = semicolon ? (size_t)(semicolon - item.ptr) : item.len;
        while (item.len > 0 && (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t'))
            item.len--;
        if (item.len < 6 || strncasecmp(item.ptr, "wait=", 5) != 0)
            continue;
        struct tw_str value = unquoted((struct tw_str){item.ptr + 5, item.len - 5});
        /* RFC 7240: the first of repeated preferences counts; what cannot be understood is ignored. */
        if (value.len == 0 || value.ptr[0] < '0' || value.ptr[0] > '9' || !tw_str_to_int(value, &seconds))
            return -1;
        return seconds > 10 ? 10 : (int)seconds;
    }
    return -1;
}

/** The next pair of @p rest, which moves behind it. False: there is none. */
static bool next_pair(struct tw_str *rest, struct tw_str *ret_pair)
{
    if (rest->len == 0)
        return false;
    const char *stop = memchr(rest->ptr, '&', rest->len);
    size_t      len = stop ? (size_t)(stop - rest->ptr) : rest->len;
    size_t      used = stop ? len + 1 : len;

    *ret_pair = (struct tw_str){rest->ptr, len};
    *rest = (struct tw_str){rest->ptr + used, rest->len - used};
    return true;
}

/** Is it `name=…`, or `name` alone? */
static bool is_named(struct tw_str pair, const char *name, size_t name_len)
{
    return pair.len >= name_len && memcmp(pair.ptr, name, name_len) == 0 &&
           (pair.len == name_len || pair.ptr[name_len] == '=');
}

enum tw_query tw_request_query(const struct tw_request *request, const char *name, struct tw_str *ret_value)
{
    size_t        name_len = strlen(name);
    struct tw_str rest = request->query;
    struct tw_str found = {0};
    struct tw_str pair;

    while (next_pair(&rest, &pair)) {
        if (!is_named(pair, name, name_len))
            continue;
        if (found.ptr)
            return TW_QUERY_REPEATED;
        if (pair.len == name_len)
            return TW_QUERY_NO_VALUE;
        found = (struct tw_str){pair.ptr + name_len + 1, pair.len - name_len - 1};
    }
    if (!found.ptr)
        return TW_QUERY_ABSENT;
    return percent_decode(request->arena, found, true, ret_value) ? TW_QUERY_OK : TW_QUERY_BAD_ENCODING;
}

static bool is_lower_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    }
    return true;
}

/** `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero (W3C Trace Context). A later version starts alike and may go on
 *  behind a dash; `ff` is none. */
static bool traceparent_is_valid(struct tw_str text)
{
    const char *p = text.ptr;
    bool        is_first_version = text.len >= 2 && memcmp(p, "00", 2) == 0;

    return text.len >= 55 && is_lower_hex(p, 2) && memcmp(p, "ff", 2) != 0 &&
           (text.len == 55 || (!is_first_version && p[55] == '-')) && p[2] == '-' && is_lower_hex(p + 3, 32) &&
           p[35] == '-' && is_lower_hex(p + 36, 16) && p[52] == '-' && is_lower_hex(p + 53, 2) &&
           strspn(p + 3, "0") < 32 && strspn(p + 36, "0") < 16;
}

static void hex_write(uint64_t value, char ret_hex[16])
{
    for (int i = 15; i >= 0; i--, value >>= 4)
        ret_hex[i] = "0123456789abcdef"[value & 15];
}

void tw_request_trace(struct tw_request *request, const uint64_t random[3])
{
    struct tw_str given = request->fields[TW_HEADER_TRACEPARENT];
    char         *out = request->traceparent;

    memcpy(out, "00-", 3);
    if (given.ptr && traceparent_is_valid(given)) {
        memcpy(out + 3, given.ptr + 3, 32);
        memcpy(out + 52, hex_value(given.ptr[54]) & 1 ? "-01" : "-00",
               3); /* sampled; other flags are not ours to pass */
    } else {
        hex_write(random[0] | 1, out + 3);
        hex_write(random[1], out + 19);
        memcpy(out + 52, "-00", 3);
    }
    out[35] = '-';
    hex_write(random[2] | 1, out + 36);
    out[55] = '\0';
    memcpy(request->trace_id, out + 3, 32);
    request->trace_id[32] = '\0';
}
