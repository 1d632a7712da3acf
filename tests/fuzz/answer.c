#include "answer.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

bool tw_fuzz_take_line(struct tw_str *rest, struct tw_str *ret_line)
{
    const char *end = memmem(rest->ptr, rest->len, "\r\n", 2);
    size_t      len = end ? (size_t)(end - rest->ptr) : 0;

    if (!end || memchr(rest->ptr, '\n', len) || memchr(rest->ptr, '\r', len))
        return false;
    *ret_line = (struct tw_str){rest->ptr, len};
    *rest = (struct tw_str){end + 2, rest->len - len - 2};
    return true;
}

bool tw_fuzz_is_of(struct tw_str text, const char *allowed)
{
    for (size_t i = 0; i < text.len; i++)
        if (!text.ptr[i] || !strchr(allowed, text.ptr[i]))
            return false;
    return text.len > 0;
}

struct tw_str tw_fuzz_trimmed(struct tw_str text)
{
    while (text.len > 0 && strchr(" \t", text.ptr[0]))
        text = (struct tw_str){text.ptr + 1, text.len - 1};
    while (text.len > 0 && strchr(" \t", text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static bool is_named(struct tw_str name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp(name.ptr, wanted, name.len) == 0;
}

/* A field's value where it has this name. */
static void read_fields(struct tw_str *rest, int64_t *ret_length, bool *ret_is_json)
{
    struct tw_str line;

    for (;;) {
        must(tw_fuzz_take_line(rest, &line));
        if (line.len == 0)
            return;
        struct tw_str name = tw_fuzz_take(&line, ':');

        must(tw_fuzz_is_of(name, ALPHA DIGIT "-"));
        for (size_t i = 0; i < line.len; i++)
            must((unsigned char)line.ptr[i] >= ' ' && (unsigned char)line.ptr[i] < 127);
        if (is_named(name, "content-length"))
            must(tw_str_to_int(tw_fuzz_trimmed(line), ret_length));
        if (is_named(name, "content-type"))
            *ret_is_json = memmem(line.ptr, line.len, "json", 4) != NULL;
    }
}

static void must_be_well_formed(struct tw_str answer, bool has_body)
{
    struct tw_str line;
    int64_t       length = 0;
    bool          is_json = false;
    json_t       *json;

    must(tw_fuzz_take_line(&answer, &line) && line.len > 12 && memcmp(line.ptr, "HTTP/1.1 ", 9) == 0);
    read_fields(&answer, &length, &is_json);
    must(answer.len == (has_body ? (size_t)length : 0));
    if (!is_json || answer.len == 0)
        return;
    json = json_loadb(answer.ptr, answer.len, JSON_REJECT_DUPLICATES, NULL);
    must(json != NULL);
    json_decref(json);
}

void tw_fuzz_answer(const struct tw_edge *edge, const struct tw_request *request, struct tw_reply *reply)
{
    struct tw_buf out = {0};
    bool          head_only = request->method == TW_METHOD_HEAD;

    tw_cors_fields(&edge->cors, request, reply);
    tw_reply_field(reply, "Traceparent", tw_str_of(request->traceparent));
    tw_reply_render(reply, "Mon, 23 Nov 2026 10:00:00 GMT", head_only, request->http_1_0, &out);
    must_be_well_formed(tw_buf_str(&out), !head_only && !reply->stream);
    tw_buf_done(&out);
}
