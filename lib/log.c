/*
 * A line is built on the stack and leaves in one write(2): lines of threads and processes that share a descriptor do
 * not mix, and nothing is allocated, so that even "out of memory" gets out.
 */
#include "tillwire/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tillwire/clock.h"

enum {
    LINE_BYTES = 8192,
    TEXT_MAX_BYTES = 512,
    TAIL_BYTES = 32, /* kept free for `,"truncated":true}` and the line end */
};

static const char *const   level_names[] = {"error", "warn", "info", "debug"};
static const char         *program_name; /* set before threads start */
static _Atomic int         level_now = TW_LOG_INFO;
static const struct tw_str replacement = {"\xEF\xBF\xBD", 3}; /* U+FFFD */

struct line {
    char   bytes[LINE_BYTES];
    size_t len;
    bool   full; /* a member did not fit: it and what follows it are left out */
};

void tw_log_init(const char *program, enum tw_log_level level)
{
    program_name = program;
    tw_log_set_level(level);
}

void tw_log_set_level(enum tw_log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

bool tw_log_level_parse(const char *text, enum tw_log_level *ret_level)
{
    for (size_t i = 0; i < TW_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum tw_log_level)i;
            return true;
        }
    }
    return false;
}

bool tw_log_on(enum tw_log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

static void put(struct line *line, struct tw_str s)
{
    if (line->full || s.len > LINE_BYTES - TAIL_BYTES - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->len, s.ptr, s.len);
    line->len += s.len;
}

static void put_int(struct line *line, int64_t number)
{
    char text[24];
    int  len = snprintf(text, sizeof(text), "%" PRId64, number);

    put(line, (struct tw_str){text, (size_t)len});
}

/* One character of at most 4 bytes, as JSON wants it. */
static void put_char(struct line *line, struct tw_str c)
{
    unsigned char first = (unsigned char)c.ptr[0];

    if (first == '"' || first == '\\') {
        put(line, (struct tw_str){"\\", 1});
        put(line, c);
    } else if (first < 0x20 || first == 0x7F) {
        char escape[8];
        int  len = snprintf(escape, sizeof(escape), "\\u%04x", (unsigned int)first);

        put(line, (struct tw_str){escape, (size_t)len});
    } else {
        put(line, c);
    }
}

static void put_text(struct line *line, struct tw_str text)
{
    size_t at = 0;

    put(line, TW_STR("\""));
    while (at < text.len) {
        struct tw_str rest = {text.ptr + at, text.len - at};
        size_t        step = tw_str_utf8_step(rest);

        if (at + (step ? step : 1) > TEXT_MAX_BYTES)
            break;
        put_char(line, step ? (struct tw_str){rest.ptr, step} : replacement);
        at += step ? step : 1;
    }
    put(line, at < text.len ? TW_STR("…\"") : TW_STR("\""));
}

static void put_name(struct line *line, const char *name)
{
    put(line, line->len > 1 ? TW_STR(",\"") : TW_STR("\""));
    put(line, tw_str_of(name));
    put(line, TW_STR("\":"));
}

static void put_field(struct line *line, const struct tw_log_field *field)
{
    size_t before = line->len;

    put_name(line, field->name);
    if (field->kind == TW_FIELD_STR)
        put_text(line, field->text);
    else if (field->kind == TW_FIELD_INT)
        put_int(line, field->number);
    else
        put(line, field->number ? TW_STR("true") : TW_STR("false"));
    if (line->full)
        line->len = before;
}

static void put_fields(struct line *line, const struct tw_log_field *fields)
{
    for (; fields && fields->kind != TW_FIELD_END; fields++)
        put_field(line, fields);
}

static void start_line(struct line *line, enum tw_log_level level, const char *message)
{
    char now[TW_TIME_TEXT + 1];

    line->len = 0;
    line->full = false;
    tw_time_format(tw_now_ms(), now);
    put(line, TW_STR("{"));
    put_fields(line, (const struct tw_log_field[]){
                         TW_F_TEXT("time", now),
                         TW_F_TEXT("level", level_names[level]),
                         TW_F_TEXT("program", program_name ? program_name : program_invocation_short_name),
                         TW_F_INT("pid", getpid()),
                         TW_F_TEXT("message", message),
                         {0},
                     });
}

static void end_line(struct line *line)
{
    struct tw_str end = line->full ? TW_STR(",\"truncated\":true}\n") : TW_STR("}\n");
    ssize_t       written;

    memcpy(line->bytes + line->len, end.ptr, end.len);
    do
        written = write(STDERR_FILENO, line->bytes, line->len + end.len);
    while (written < 0 && errno == EINTR); /* any other failure: there is nowhere left to say so */
}

void tw_log_write(enum tw_log_level level, const char *message, const struct tw_log_field *fields)
{
    struct line line;
    int         saved_errno = errno;

    if (!tw_log_on(level))
        return;
    start_line(&line, level, message);
    put_fields(&line, fields);
    end_line(&line);
    errno = saved_errno;
}

void tw_log_err(enum tw_log_level level, const char *message, const struct tw_err *err, const struct tw_log_field *more)
{
    struct line line;
    int         saved_errno = errno;

    if (!tw_log_on(level))
        return;
    start_line(&line, level, message);
    put_fields(&line, (const struct tw_log_field[]){
                          TW_F_TEXT("rc", tw_rc_name(err->rc)),
                          TW_F_TEXT("where", err->where),
                          TW_F_INT("native", err->native),
                          TW_F_TEXT("error", err->msg),
                          {0},
                      });
    put_fields(&line, more);
    end_line(&line);
    errno = saved_errno;
}
