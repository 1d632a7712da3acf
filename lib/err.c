/* The table of failures; see tillwire/err.h. */
#include "tillwire/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char    *name;
    enum tw_action action;
    int            http;
    const char    *text;
} rows[] = {
#define X(name, action, http, text) {#name, action, http, text},
    TW_RC_MAP(X)
#undef X
};

const char *tw_rc_name(enum tw_rc rc)
{
    assert((size_t)rc < TW_LEN(rows));
    return rows[rc].name;
}

const char *tw_rc_text(enum tw_rc rc)
{
    assert((size_t)rc < TW_LEN(rows));
    return rows[rc].text;
}

enum tw_action tw_rc_action(enum tw_rc rc)
{
    assert((size_t)rc < TW_LEN(rows));
    return rows[rc].action;
}

int tw_rc_http(enum tw_rc rc)
{
    assert((size_t)rc < TW_LEN(rows));
    return rows[rc].http;
}

enum tw_rc(tw_fail)(struct tw_err *reterr, enum tw_rc rc, const char *where, long native, const char *format, ...)
{
    struct tw_err err = {.rc = rc, .where = where, .native = native};
    va_list       args;

    assert(rc != TW_OK);
    if (!reterr)
        return rc;
    va_start(args, format);
    vsnprintf(err.msg, sizeof(err.msg), format, args);
    va_end(args);
    *reterr = err; /* last: an argument may be the old message */
    return rc;
}
