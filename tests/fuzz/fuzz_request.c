/* Links: tw_edge tw_test PkgConfig::JANSSON */
/*
 * Hostile HTTP requests, as bytes of a connection: cut as the HTTP library cuts them, then read as far as a route gets
 * them. Without a socket and without stores.
 *
 * Whatever is taken, a strict reader of the same bytes (RFC 9112, the few rules below) takes, too, and for the same
 * request: method, path, query, fields and length of the body. So no proxy that keeps to the rules can see another one.
 * What is refused is answered, and every answer is a well-formed one.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "answer.h"
#include "http_cut.h"
#include "own_writes.h"
#include "paging.h"
#include "proxies.h"
#include "routes/routes.h"
#include "tillwire/clock.h"

enum { BODY_MAX = 2000 };

static struct tw_edge   edge = {.opaque_key = {1, 2, 3}};
static struct tw_router router;
static struct tw_arena  arena;
static struct tw_reply  reply;

static const struct tw_request_limits limits = {
    .uri_bytes = 512, .headers_bytes = 1024, .body_bytes = BODY_MAX, .batch_bytes = BODY_MAX, .deadline_ms = 10000};

static void prepare(void)
{
    if (router.count > 0)
        return;
    tw_routes_public(&router);
    must(tw_proxies_parse("127.0.0.0/8, fd00::/8", &edge.proxies, NULL) == TW_OK);
    must(tw_cors_parse("https://shop.example", &edge.cors, NULL) == TW_OK);
}

/* --- a strict reader ---------------------------------------------------------------------------------------------- */

struct strict {
    struct tw_str method, path, query, version;
    struct tw_str fields[TW_HEADER_COUNT];
    int64_t       content_length; /* -1: chunked */
};

/* origin-form, or absolute-form of a host and perhaps a port. */
static bool read_target(struct tw_str target, struct strict *strict)
{
    const char   *question = memchr(target.ptr, '?', target.len);
    struct tw_str path = {target.ptr, question ? (size_t)(question - target.ptr) : target.len};
    const char   *authority = memmem(path.ptr, path.len, "://", 3);

    if (path.len > 0 && path.ptr[0] != '/') {
        const char *slash =
            authority ? memchr(authority + 3, '/', (size_t)(path.ptr + path.len - authority - 3)) : NULL;

        if (!slash || !tw_fuzz_is_of((struct tw_str){authority + 3, (size_t)(slash - authority - 3)},
                                     ALPHA DIGIT "-._~:[]%!$&'*+="))
            return false;
        path = (struct tw_str){slash, path.len - (size_t)(slash - path.ptr)};
    }
    strict->path = path;
    strict->query =
        question ? (struct tw_str){question + 1, target.len - (size_t)(question - target.ptr) - 1} : (struct tw_str){0};
    return path.len > 0 && path.ptr[0] == '/';
}

static bool read_request_line(struct tw_str line, struct strict *strict)
{
    struct tw_str target;

    strict->method = tw_fuzz_take(&line, ' ');
    target = tw_fuzz_take(&line, ' ');
    strict->version = line;
    return tw_fuzz_is_of(strict->method, ALPHA) && read_target(target, strict) &&
           (tw_str_is(line, "HTTP/1.1") || tw_str_is(line, "HTTP/1.0"));
}

static int field_number(struct tw_str name)
{
    static const char *const names[] = {
#define X(name, text, repeatable) text,
        TW_FIELD_MAP(X)
#undef X
    };

    for (int i = 0; i < TW_HEADER_COUNT; i++)
        if (strlen(names[i]) == name.len && strncasecmp(names[i], name.ptr, name.len) == 0)
            return i;
    return -1;
}

static bool read_field(struct tw_str line, struct strict *strict)
{
    bool          has_colon = memchr(line.ptr, ':', line.len);
    struct tw_str name = tw_fuzz_take(&line, ':');
    struct tw_str value = tw_fuzz_trimmed(line);
    int           number = field_number(name);

    if (!has_colon || !tw_fuzz_is_of(name, ALPHA DIGIT "!#$%&'*+-.^_`|~"))
        return false;
    if (number >= 0)
        strict->fields[number] =
            strict->fields[number].ptr
                ? tw_arena_printf(&arena, "%.*s, %.*s", TW_STR_ARG(strict->fields[number]), TW_STR_ARG(value))
                : value;
    return true;
}

static bool read_length(struct strict *strict)
{
    struct tw_str length = strict->fields[TW_HEADER_CONTENT_LENGTH];
    struct tw_str encoding = strict->fields[TW_HEADER_TRANSFER_ENCODING];

    strict->content_length = encoding.ptr ? -1 : 0;
    if (encoding.ptr)
        return !length.ptr && encoding.len == 7 && strncasecmp(encoding.ptr, "chunked", 7) == 0;
    return !length.ptr || (tw_fuzz_is_of(length, DIGIT) && tw_str_to_int(length, &strict->content_length));
}

/* Of the white space behind the request line the library leaves no trace but its length (docs/decisions/edge-http.md): that is
 * taken as right. Where there is more of it, no field is seen, and the connection ends. */
static struct tw_str with_first_line_end(struct tw_str head)
{
    const char *version = memmem(head.ptr, head.len, " HTTP/1.", 8);
    size_t      line = version ? (size_t)(version - head.ptr) + 9 : head.len;
    size_t      white = 0;

    while (line + white < head.len && strchr(" \r\n", head.ptr[line + white]))
        white++;
    if (white > 2)
        return tw_arena_printf(&arena, "%.*s\r\n\r\n", (int)line, head.ptr);
    if (white != 2)
        return head;
    return tw_arena_printf(&arena, "%.*s\r\n%.*s", (int)line, head.ptr, (int)(head.len - line - 2),
                           head.ptr + line + 2);
}

/* NULs stand behind them all. */
static char byte_at(struct tw_str bytes, size_t at)
{
    return at < bytes.len ? bytes.ptr[at] : '\0';
}

/* A head that ends with bare LFs, and behind it bytes that look like the end of another: the library does not say where it
 * saw the end. Behind a request line alone it leaves NULs for all white space, and more of them look like more of it. */
static bool looks_longer(const struct tw_http_cut *cut, struct tw_str bytes)
{
    size_t end = cut->head_len;

    return memcmp(bytes.ptr + end - 2, "\n\n", 2) == 0 &&
           byte_at(bytes, end) == (cut->raw.field_count > 0 ? '\r' : '\0') && byte_at(bytes, end + 1) == '\0';
}

/* All of @p head, which ends with its empty line. */
static bool read_strictly(struct tw_str head, struct strict *ret_strict)
{
    struct tw_str line;

    head = with_first_line_end(head);
    *ret_strict = (struct strict){.content_length = 0};
    if (!tw_fuzz_take_line(&head, &line) || !read_request_line(line, ret_strict))
        return false;
    while (tw_fuzz_take_line(&head, &line) && line.len > 0)
        if (!read_field(line, ret_strict))
            return false;
    return line.len == 0 && head.len == 0 && read_length(ret_strict);
}

static void must_be_read_alike(const struct tw_request *request, struct tw_str head)
{
    struct strict strict;

    must(read_strictly(head, &strict));
    must(request->method == TW_METHOD_OTHER || tw_str_is(strict.method, tw_method_name(request->method)));
    must(tw_str_eq(request->path, strict.path) && tw_str_eq(request->query, strict.query));
    must(request->http_1_0 == tw_str_is(strict.version, "HTTP/1.0"));
    must(request->content_length == strict.content_length);
    for (int i = 0; i < TW_HEADER_COUNT; i++)
        must(tw_str_eq(request->fields[i], strict.fields[i]) && !request->fields[i].ptr == !strict.fields[i].ptr);
}

/* --- what a route asks for ---------------------------------------------------------------------------------------- */

struct source {
    struct tw_str rest;
};

static int read_source(void *self, void *bytes, size_t len)
{
    struct source *source = self;
    size_t         n = len < source->rest.len ? len : source->rest.len;

    if (n)
        memcpy(bytes, source->rest.ptr, n);
    source->rest = (struct tw_str){source->rest.ptr + n, source->rest.len - n};
    return (int)n;
}

/* Decoded, and nothing in it that could mean two things. */
static void must_be_plain(struct tw_str text)
{
    must(tw_str_is_utf8(text));
    for (size_t i = 0; i < text.len; i++)
        must((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 127);
}

static void look_at_path(const struct tw_request *request)
{
    must(request->segment_count >= 1 && request->segment_count <= TW_SEGMENTS_MAX);
    for (size_t i = 0; i < request->segment_count; i++) {
        must_be_plain(request->segments[i]);
        must(!tw_str_is(request->segments[i], ".") && !tw_str_is(request->segments[i], ".."));
        must(!memchr(request->segments[i].ptr, '/', request->segments[i].len));
    }
}

static void look_at_query(const struct tw_request *request)
{
    static const char *const names[] = {"cursor", "limit", "q", "sort", "at"};
    struct tw_page           page = {0};
    struct tw_own_writes     writes;

    for (size_t i = 0; i < TW_LEN(names); i++) {
        struct tw_str value = {0};
        if (tw_request_query(request, names[i], &value) == TW_QUERY_OK)
            must_be_plain(value);
    }
    if (!tw_page_read(request, TW_STR("list"), &page, &reply))
        tw_fuzz_answer(&edge, request, &reply);
    else
        must(page.limit >= 1 && page.limit <= TW_PAGE_LIMIT_MAX);
    tw_reply_reset(&reply);
    if (!tw_own_writes_read(request, TW_DOMAIN_CART, &writes, &reply))
        tw_fuzz_answer(&edge, request, &reply);
    tw_reply_reset(&reply);
}

/* The link to the next page of a list, whose query is the request's. */
static void show_next_page(const struct tw_request *request)
{
    struct tw_page page = {.list = TW_STR("list"), .limit = 1};
    struct tw_json json = {&reply.body, false};

    tw_reply_json(&reply, 200);
    tw_json_open(&json, '{');
    tw_page_end(request, &page, TW_STR("place"), &json, &reply);
    tw_json_close(&json, '}');
    tw_fuzz_answer(&edge, request, &reply);
    tw_reply_reset(&reply);
}

static enum tw_problem read_body(struct tw_request *request, struct tw_str behind, const char **ret_detail)
{
    struct source   source = {behind};
    enum tw_problem problem = tw_request_read_body(request, BODY_MAX, read_source, &source, ret_detail);
    json_t         *json = NULL;

    if (problem == TW_PROBLEM_NONE && request->content_length > 0)
        must(request->body.len == (size_t)request->content_length);
    if (problem == TW_PROBLEM_NONE && request->body.len > 0)
        problem = tw_request_json(request, &json, ret_detail);
    json_decref(json);
    return problem;
}

static void look_at_fields(struct tw_request *request)
{
    struct tw_str address =
        tw_proxies_client(&edge.proxies, TW_STR("127.0.0.1"), request->fields[TW_HEADER_FORWARDED_FOR], &arena);
    int wait_s = tw_request_wait_s(request);

    must(wait_s >= -1 && wait_s <= 10);
    request->address = address;
    request->network = tw_address_network(address, &arena);
    must(tw_fuzz_is_of(address, DIGIT "abcdef.:") && tw_fuzz_is_of(request->network, DIGIT "abcdef.:"));
}

static void take(struct tw_request *request, struct tw_str behind)
{
    char            allow[TW_ALLOW_TEXT] = "";
    const char     *detail = "";
    enum tw_problem problem;

    look_at_path(request);
    request->route = tw_router_find(&router, request, allow);
    look_at_query(request);
    if (request->route)
        show_next_page(request);
    else if (tw_cors_preflight(&edge.cors, request, allow, &reply))
        tw_fuzz_answer(&edge, request, &reply);
    tw_reply_reset(&reply);
    problem = read_body(request, behind, &detail);
    if (problem == TW_PROBLEM_NONE)
        return;
    tw_reply_refuse(&reply, request, problem, detail);
    tw_fuzz_answer(&edge, request, &reply);
}

static void try_request(const struct tw_http_cut *cut, struct tw_str bytes)
{
    static const uint64_t random[3] = {1, 2, 3};
    struct tw_request     request = {
            .limits = &limits, .edge = &edge, .arena = &arena, .caller = {.scope = ""}, .start_us = tw_monotonic_us()};
    const char     *detail = "";
    enum tw_problem problem = tw_request_parse(&cut->raw, &request, &detail);
    size_t          blank = strspn(bytes.ptr, " \r\n\t\v\f"); /* the server sees to that: starts_the_buffer() */

    tw_reply_reset(&reply);
    look_at_fields(&request);
    tw_request_trace(&request, random);
    must(strlen(request.traceparent) == 55 && strlen(request.trace_id) == 32);
    if (problem == TW_PROBLEM_NONE && !looks_longer(cut, bytes)) {
        must_be_read_alike(&request, (struct tw_str){bytes.ptr + blank, cut->head_len - blank});
        take(&request, (struct tw_str){bytes.ptr + cut->head_len, bytes.len - cut->head_len});
        return;
    }
    if (problem == TW_PROBLEM_NONE)
        return;
    must(detail[0] != '\0');
    tw_reply_refuse(&reply, &request, problem, detail);
    tw_fuzz_answer(&edge, &request, &reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str      own = tw_fuzz_own((struct tw_str){(const char *)bytes, len});
    struct tw_http_cut cut = {0};
    bool               is_whole = tw_http_cut(own, &cut);

    prepare();
    if (is_whole)
        try_request(&cut, own);
    tw_http_cut_done(&cut);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)own.ptr);
    return is_whole ? 0 : -1; /* what is not even cut is not worth keeping */
}
