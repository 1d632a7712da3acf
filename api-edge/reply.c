#include "reply.h"

#include <assert.h>
#include <string.h>

#include "tillwire/json_out.h"
#include "request.h"
#include "tillwire/body.h"

#define PROBLEM_TYPE "application/problem+json"
#define JSON_TYPE    "application/json; charset=utf-8"

/** Of every answer. Handlers add to it, none takes away. */
#define BEFORE_POLICY "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: "
#define USUAL_POLICY  "default-src 'none'"
#define AFTER_POLICY  "\r\nReferrer-Policy: no-referrer\r\n"

enum { KEEP_BODY_BYTES = 262144 };

static const struct {
    int         status;
    const char *line;
} status_lines[] = {
    {202, "HTTP/1.1 202 Accepted\r\n"},
    {200, "HTTP/1.1 200 OK\r\n"},
    {201, "HTTP/1.1 201 Created\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {304, "HTTP/1.1 304 Not Modified\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {401, "HTTP/1.1 401 Unauthorized\r\n"},
    {403, "HTTP/1.1 403 Forbidden\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    {408, "HTTP/1.1 408 Request Timeout\r\n"},
    {409, "HTTP/1.1 409 Conflict\r\n"},
    {410, "HTTP/1.1 410 Gone\r\n"},
    {412, "HTTP/1.1 412 Precondition Failed\r\n"},
    {413, "HTTP/1.1 413 Content Too Large\r\n"},
    {414, "HTTP/1.1 414 URI Too Long\r\n"},
    {415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
    {422, "HTTP/1.1 422 Unprocessable Content\r\n"},
    {429, "HTTP/1.1 429 Too Many Requests\r\n"},
    {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n"}, /* last: what an unlisted status becomes */
};

static const char *status_line(int status)
{
    size_t i = 0;

    while (i + 1 < TW_LEN(status_lines) && status_lines[i].status != status)
        i++;
    return status_lines[i].line;
}

void tw_reply_let_go(struct tw_buf *buf)
{
    if (buf->cap > KEEP_BODY_BYTES)
        tw_buf_done(buf);
}

void tw_reply_reset(struct tw_reply *reply)
{
    tw_reply_let_go(&reply->body);
    tw_buf_clear(&reply->fields);
    tw_buf_clear(&reply->body);
    reply->status = 500;
    reply->content_type = NULL;
    reply->cache = TW_CACHE_NO_STORE;
    reply->close = false;
    reply->stream = NULL;
    reply->is_stale = false;
    reply->rate_count = 0;
    reply->fixed_body = (struct tw_str){0};
    reply->policy = (struct tw_str){0};
}

void tw_reply_done(struct tw_reply *reply)
{
    tw_buf_done(&reply->fields);
    tw_buf_done(&reply->body);
}

static void add_text(struct tw_buf *out, const char *text)
{
    tw_buf_add(out, text, strlen(text));
}

void tw_reply_field(struct tw_reply *reply, const char *name, struct tw_str value)
{
    add_text(&reply->fields, name);
    tw_buf_add(&reply->fields, ": ", 2);
    tw_buf_add_str(&reply->fields, value);
    tw_buf_add(&reply->fields, "\r\n", 2);
}

void tw_reply_json(struct tw_reply *reply, int status)
{
    reply->status = status;
    reply->content_type = JSON_TYPE;
    tw_buf_clear(&reply->body);
}

static void reply_without_body(struct tw_reply *reply, int status)
{
    reply->status = status;
    reply->content_type = NULL;
    tw_buf_clear(&reply->body);
}

void tw_reply_empty(struct tw_reply *reply)
{
    reply_without_body(reply, 204);
}

void tw_reply_not_modified(struct tw_reply *reply)
{
    reply_without_body(reply, 304);
}

/* --- problems ----------------------------------------------------------------------------------------------------- */

static void add_errors(struct tw_json *json, const struct tw_field_errors *errors)
{
    tw_json_key(json, "errors");
    tw_json_open(json, '[');
    for (size_t i = 0; i < errors->count; i++) {
        tw_json_open(json, '{');
        tw_json_key(json, "pointer");
        tw_json_text(json, errors->items[i].pointer);
        tw_json_key(json, "code");
        tw_json_text(json, errors->items[i].code);
        tw_json_key(json, "detail");
        tw_json_text(json, errors->items[i].detail);
        tw_json_close(json, '}');
    }
    tw_json_close(json, ']');
}

/** A path that is not UTF-8 cannot stand in JSON; it is then left out. */
static void add_instance(struct tw_json *json, const struct tw_request *request)
{
    tw_json_key(json, "instance");
    tw_json_text(json, tw_str_is_utf8(request->path) ? request->path : TW_STR(""));
}

void tw_problem_write(struct tw_json *json, const struct tw_request *request, enum tw_problem problem,
                      struct tw_str detail, const struct tw_field_errors *errors)
{
    const char *code = tw_problem_code(problem);

    tw_json_open(json, '{');
    tw_json_key(json, "type");
    tw_buf_printf(json->out, "\"/problems/%s\"", code);
    json->comma = true;
    tw_json_key(json, "title");
    tw_json_text(json, tw_str_of(tw_problem_title(problem)));
    tw_json_key(json, "status");
    tw_json_int(json, tw_problem_http(problem));
    tw_json_key(json, "detail");
    tw_json_text(json, detail.len > 0 ? detail : tw_str_of(tw_problem_title(problem)));
    add_instance(json, request);
    tw_json_key(json, "code");
    tw_json_text(json, tw_str_of(code));
    tw_json_key(json, "trace_id");
    tw_json_text(json, tw_str_of(request->trace_id));
    if (errors && errors->count > 0)
        add_errors(json, errors);
    tw_json_close(json, '}');
}

void tw_reply_problem(struct tw_reply *reply, const struct tw_request *request, enum tw_problem problem,
                      struct tw_str detail, const struct tw_field_errors *errors)
{
    struct tw_json json = {&reply->body, false};

    reply->status = tw_problem_http(problem);
    reply->content_type = PROBLEM_TYPE;
    reply->cache = TW_CACHE_NO_STORE;
    reply->fixed_body = (struct tw_str){0};
    reply->policy = (struct tw_str){0};
    tw_buf_clear(&reply->body);
    tw_problem_write(&json, request, problem, detail, errors);
    if (problem == TW_PROBLEM_UNAUTHENTICATED)
        tw_reply_field(reply, "WWW-Authenticate", TW_STR("Bearer"));
}

void tw_reply_refuse(struct tw_reply *reply, const struct tw_request *request, enum tw_problem problem,
                     const char *detail)
{
    tw_reply_problem(reply, request, problem, tw_str_of(detail), NULL);
}

void tw_reply_retry_after(struct tw_reply *reply, int seconds)
{
    tw_buf_printf(&reply->fields, "Retry-After: %d\r\n", seconds);
}

void tw_reply_unavailable(struct tw_reply *reply, const struct tw_request *request, const char *detail)
{
    tw_reply_refuse(reply, request, TW_PROBLEM_UNAVAILABLE, detail);
    tw_reply_retry_after(reply, 1);
}

void tw_reply_rate(struct tw_reply *reply, const struct tw_limit *limit, const struct tw_allowance *allowance)
{
    assert(reply->rate_count < TW_REPLY_RATES_MAX);
    reply->rates[reply->rate_count++] = (struct tw_reply_rate){*limit, *allowance};
}

/* --- the wire ----------------------------------------------------------------------------------------------------- */

static void add_number(struct tw_buf *out, size_t value)
{
    char  text[24];
    char *at = text + sizeof(text);

    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    tw_buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

/** `"writes";q=600;w=60`, or `"writes";r=12;t=3`. */
static void add_rate(struct tw_buf *out, const char *name, const char *first, int a, const char *second, int b)
{
    tw_buf_add(out, "\"", 1);
    add_text(out, name);
    add_text(out, first);
    add_number(out, (size_t)a);
    add_text(out, second);
    add_number(out, (size_t)b);
}

static void add_rates(struct tw_buf *out, const struct tw_reply *reply)
{
    for (size_t i = 0; i < reply->rate_count; i++) {
        const struct tw_reply_rate *item = &reply->rates[i];
        add_text(out, i == 0 ? "RateLimit-Policy: " : ", ");
        add_rate(out, item->limit.name, "\";q=", item->limit.rate.count, ";w=", item->limit.rate.window_s);
    }
    for (size_t i = 0; i < reply->rate_count; i++) {
        const struct tw_reply_rate *item = &reply->rates[i];
        add_text(out, i == 0 ? "\r\nRateLimit: " : ", ");
        add_rate(out, item->limit.name, "\";r=", item->allowance.left, ";t=", item->allowance.reset_s);
    }
    tw_buf_add(out, "\r\n", 2);
}

void tw_reply_render(const struct tw_reply *reply, const char *date, bool head_only, bool http_1_0, struct tw_buf *out)
{
    struct tw_str body = reply->fixed_body.ptr ? reply->fixed_body : tw_buf_str(&reply->body);

    add_text(out, status_line(reply->status));
    tw_buf_add(out, "Date: ", 6);
    tw_buf_add(out, date, 29);
    tw_buf_add(out, "\r\n", 2);
    tw_buf_add_str(out, TW_STR(BEFORE_POLICY));
    tw_buf_add_str(out, reply->policy.ptr ? reply->policy : TW_STR(USUAL_POLICY));
    tw_buf_add_str(out, TW_STR(AFTER_POLICY));
    tw_buf_add_str(out, reply->cache == TW_CACHE_PUBLIC && !reply->is_stale
                            ? TW_STR("Cache-Control: public, max-age=30\r\n")
                            : TW_STR("Cache-Control: no-store\r\n"));
    if (reply->is_stale)
        tw_buf_add_str(out, TW_STR("Consistency: stale\r\n"));
    if (reply->content_type) {
        add_text(out, "Content-Type: ");
        add_text(out, reply->content_type);
        tw_buf_add(out, "\r\n", 2);
    }
    if (reply->status != 204 && reply->status != 304 && !reply->stream) { /* a 304's length would be that of the 200 */
        add_text(out, "Content-Length: ");
        add_number(out, body.len);
        tw_buf_add(out, "\r\n", 2);
    }
    if (reply->close)
        tw_buf_add_str(out, TW_STR("Connection: close\r\n"));
    else if (http_1_0)
        tw_buf_add_str(out, TW_STR("Connection: keep-alive\r\n"));
    if (reply->rate_count > 0)
        add_rates(out, reply);
    tw_buf_add_str(out, tw_buf_str(&reply->fields));
    tw_buf_add(out, "\r\n", 2);
    if (!head_only)
        tw_buf_add_str(out, body);
}
