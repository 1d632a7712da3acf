#include "http_cut.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BUFFER_GOES_ON = 4 }; /* bytes behind the head that can be read: there is more of the buffer */

/* 0: there is no whole head, or a byte that it must not have. */
static size_t head_length(struct tw_str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];

        if (c < 128 && c != '\r' && c != '\n' && !isprint(c))
            return 0;
        if (bytes.len - i >= 2 && memcmp(bytes.ptr + i, "\n\n", 2) == 0)
            return i + 2;
        if (bytes.len - i >= 4 && memcmp(bytes.ptr + i, "\r\n\r\n", 4) == 0)
            return i + 4;
    }
    return 0;
}

/* NULL: refused. */
static char *word_end(char *at, bool is_last)
{
    while (isgraph((unsigned char)*at))
        at++;
    if (is_last ? *at != '\r' && *at != '\n' : *at != ' ')
        return NULL;
    do
        *at++ = '\0';
    while (isspace((unsigned char)*at));
    return is_last || isgraph((unsigned char)*at) ? at : NULL;
}

/* Cuts one line; NULL: refused. */
static char *cut_field(char *at, struct tw_raw_field *field)
{
    field->name = at;
    while (*at != ':' && *at >= 33 && *at <= 126)
        at++;
    while (*at == ' ')
        *at++ = '\0';
    if (*at != ':')
        return NULL;
    *at = '\0';
    do
        at++;
    while (*at == ' ' || *at == '\t');
    field->value = at;
    while (*at != '\0' && *at != '\r' && *at != '\n')
        at++;
    if (*at == '\r') {
        *at++ = '\0';
        if (*at != '\n')
            return NULL;
    }
    return at;
}

static bool cut_fields(char *at, struct tw_http_cut *cut)
{
    while (cut->raw.field_count < TW_HEADERS_MAX_COUNT) {
        if (*at == ':' || *at < 33 || *at > 126)
            return true; /* here it takes the head to end */
        at = cut_field(at, &cut->fields[cut->raw.field_count]);
        if (!at)
            return false;
        cut->raw.field_count++;
        if (*at == '\0')
            return true;
        *at++ = '\0';
        if (*at == '\r' || *at == '\n')
            return true;
    }
    return true;
}

static bool is_known(const char *method)
{
    static const char *const known[] = {"GET",   "POST",     "PUT",   "DELETE", "HEAD",   "OPTIONS",   "CONNECT",
                                        "PATCH", "PROPFIND", "MKCOL", "LOCK",   "UNLOCK", "PROPPATCH", "REPORT"};

    for (size_t i = 0; i < TW_LEN(known); i++)
        if (strcmp(known[i], method) == 0)
            return true;
    return false;
}

/* NULL: it has none, and the connection is closed. */
static const char *local_path(const char *uri)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};

    if (*uri == '/')
        return uri;
    for (size_t i = 0; i < TW_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);

        if (strncasecmp(uri, schemes[i], len) == 0) {
            const char *slash = strchr(uri + len, '/');
            const char *port = strchr(uri + len, ':');
            char       *port_end = NULL;

            return slash && (!port || (strtoul(port + 1, &port_end, 10) > 0 && port_end == slash)) ? slash : NULL;
        }
    }
    return NULL;
}

static bool cut_head(char *at, struct tw_http_cut *cut)
{
    struct tw_raw_request *raw = &cut->raw;
    char                  *uri;

    raw->fields = cut->fields;
    raw->method = at;
    raw->uri = uri = word_end(at, false);
    raw->version = uri ? word_end(uri, false) : NULL;
    at = raw->version ? word_end(at + (raw->version - at), true) : NULL;
    if (!at || strncmp(raw->version, "HTTP/", 5) != 0 || !is_known(raw->method) || !cut_fields(at, cut))
        return false;
    raw->version += 5;
    raw->path = local_path(uri);
    if ((strcmp(raw->version, "1.0") != 0 && strcmp(raw->version, "1.1") != 0) || !raw->path)
        return false;
    char *question = strchr(uri, '?');
    if (question) {
        *question = '\0';
        raw->query = question + 1;
    }
    return true;
}

bool tw_http_cut(struct tw_str bytes, struct tw_http_cut *ret_cut)
{
    struct tw_http_cut *cut = ret_cut;
    size_t              blank = 0, len;

    while (blank < bytes.len && isspace((unsigned char)bytes.ptr[blank]))
        blank++;
    len = head_length((struct tw_str){bytes.ptr + blank, bytes.len - blank});
    if (len == 0)
        return false;
    *cut = (struct tw_http_cut){.head_len = blank + len, .bytes = tw_alloc_zeroed(1, bytes.len + BUFFER_GOES_ON)};
    memcpy(cut->bytes, bytes.ptr, bytes.len);
    cut->bytes[blank + len - 1] = '\0';
    if (cut_head(cut->bytes + blank, cut))
        return true;
    tw_http_cut_done(cut);
    return false;
}

void tw_http_cut_done(struct tw_http_cut *cut)
{
    free(cut->bytes);
    cut->bytes = NULL;
}
