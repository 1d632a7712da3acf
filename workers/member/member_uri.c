/*
 * The schema goes along as a setting of the session, `tillwire.schema`, in libpq's parameter `options`: PostgreSQL takes
 * settings of any name with a dot. It is not search_path itself, which databases and roles may set for reasons of their
 * own.
 *
 * A URI may name several hosts, and a parameter twice, of which the last one counts. So nothing is appended to the text:
 * libpq reads it, and what it has read is written anew, every value as a parameter.
 */
#include "member_uri.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/str.h"

static void free_options(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static void add_encoded(struct tw_buf *uri, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";

    for (; *text; text++) {
        if (strchr(plain, *text))
            tw_buf_add(uri, text, 1);
        else
            tw_buf_printf(uri, "%%%02X", (unsigned char)*text);
    }
}

static void add_parameter(struct tw_buf *uri, const char *word, const char *value)
{
    tw_buf_printf(uri, "%s=", word);
    add_encoded(uri, value);
}

/* What the session is told already stays. */
static void add_schema(struct tw_buf *uri, const char *given, const char *schema)
{
    struct tw_buf options = {0};

    tw_buf_printf(&options, "%s%s-c tillwire.schema=%s", given, *given ? " " : "", schema);
    tw_buf_add(&options, "", 1);
    add_parameter(uri, "options", options.ptr);
    tw_buf_done(&options);
}

enum tw_rc tw_member_uri_of_schema(const char *uri, const char *schema, char **ret_uri, struct tw_err *reterr)
{
    TW_AUTO(free_options) PQconninfoOption *options = NULL;
    struct tw_buf                           text = {0};
    const char                             *given = "";

    errno = 0;
    options = PQconninfoParse(uri, NULL); /* its message may quote the password */
    if (!options && errno == ENOMEM)      /* libpq says the same of both */
        tw_out_of_memory(strlen(uri));
    if (!options)
        return tw_fail(reterr, TW_INVALID, "member.uri", 0, "the PostgreSQL URI cannot be read");
    tw_buf_printf(&text, "postgresql://?");
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val)
            continue;
        if (!strcmp(option->keyword, "options")) {
            given = option->val;
            continue;
        }
        add_parameter(&text, option->keyword, option->val);
        tw_buf_add(&text, "&", 1);
    }
    add_schema(&text, given, schema);
    tw_buf_add(&text, "", 1);
    *ret_uri = tw_strdup(text.ptr);
    tw_buf_done(&text);
    return TW_OK;
}
