/**
 * One JSON line per fact on standard error, written once by the code that decides what happens next. Passwords, tokens,
 * e-mails and addresses never appear, at any level. Any thread.
 */
#ifndef TILLWIRE_LOG_H
#define TILLWIRE_LOG_H

#include "tillwire/err.h"
#include "tillwire/str.h"

enum tw_log_level { TW_LOG_ERROR, TW_LOG_WARN, TW_LOG_INFO, TW_LOG_DEBUG };

/** Typed members of a line, made by the macros below; the list ends with TW_END. */
struct tw_log_field {
    const char *name;
    enum { TW_FIELD_END, TW_FIELD_STR, TW_FIELD_INT, TW_FIELD_BOOL } kind;
    struct tw_str text;
    int64_t       number;
};
#define TW_F_STR(name, text)   ((struct tw_log_field){(name), TW_FIELD_STR, (text), 0})
#define TW_F_TEXT(name, cstr)  ((struct tw_log_field){(name), TW_FIELD_STR, tw_str_of(cstr), 0})
#define TW_F_INT(name, value)  ((struct tw_log_field){(name), TW_FIELD_INT, {NULL, 0}, (int64_t)(value)})
#define TW_F_BOOL(name, value) ((struct tw_log_field){(name), TW_FIELD_BOOL, {NULL, 0}, (value) ? 1 : 0})

/** @p program: "tillwire-cart"; written into every line. Level from the settings. Call once, first thing. */
void tw_log_init(const char *program, enum tw_log_level level);
void tw_log_set_level(enum tw_log_level level);
bool tw_log_level_parse(const char *text, enum tw_log_level *ret_level);
bool tw_log_on(enum tw_log_level level);

/** tw_log(TW_LOG_WARN, "store did not answer", TW_F_INT("partition", 3)); control characters are escaped, each text is
 *  cut at 512 bytes. */
#define tw_log(level, message, ...) \
    tw_log_write((level), (message), (const struct tw_log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
void tw_log_write(enum tw_log_level level, const char *message, const struct tw_log_field *fields);
/** A failure with its rc, where, native code and message as members, and @p more (may be NULL). */
void tw_log_err(enum tw_log_level level, const char *message, const struct tw_err *err,
                const struct tw_log_field *more);

#endif
