/* The URI of a database beside another; see product_connection.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "product_connection.h"
#include "tillwire/str.h"

static const char where[] = "product.uri";

enum { NAME_MAX_BYTES = 63 };

static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

static bool is_of_server(const char *name)
{
    static const char *const names[] = {"admin", "config", "local"};

    for (size_t i = 0; i < TW_LEN(names); i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static enum tw_rc check_name(const char *name, const char *other, struct tw_err *reterr)
{
    size_t len = strlen(name);

    if (!len || len > NAME_MAX_BYTES || name[strspn(name, name_characters)])
        return tw_fail(reterr, TW_INVALID, where, 0,
                       "'%.80s' cannot be the name of a database: 1 to %d letters, digits, '_' and '-'", name,
                       NAME_MAX_BYTES);
    if (is_of_server(name))
        return tw_fail(reterr, TW_INVALID, where, 0, "database %s is the server's own", name);
    if (!strcmp(name, other))
        return tw_fail(reterr, TW_INVALID, where, 0, "database %s is the live one", name);
    return TW_OK;
}

static void print_escaped(struct tw_buf *uri, const char *text)
{
    for (; *text; text++)
        if (strchr(name_characters, *text))
            tw_buf_add(uri, text, 1);
        else
            tw_buf_printf(uri, "%%%02X", (unsigned int)(unsigned char)*text);
}

/* mongodb://user:password@host1,host2/database?options: all but the database. A slash elsewhere would be escaped. */
static void print_uri(struct tw_buf *uri, const char *live_uri, const char *database, const char *auth_source)
{
    const char *hosts = strstr(live_uri, "://") + strlen("://");
    const char *path = hosts + strcspn(hosts, "/");
    const char *options = path + strcspn(path, "?");

    tw_buf_add(uri, live_uri, (size_t)(path - live_uri));
    tw_buf_printf(uri, "/%s%s", database, options);
    if (auth_source) {
        tw_buf_printf(uri, "%sauthSource=", *options ? "&" : "?");
        print_escaped(uri, auth_source);
    }
    tw_buf_add(uri, "", 1);
}

/* Where accounts are looked up follows from the database unless the URI, or the DNS of mongodb+srv, says it. */
static const char *auth_source_of(const mongoc_uri_t *uri, const char *text)
{
    bool says_it = bson_has_field(mongoc_uri_get_credentials(uri), MONGOC_URI_AUTHSOURCE) ||
                   !strncmp(text, "mongodb+srv:", strlen("mongodb+srv:"));

    return mongoc_uri_get_username(uri) && !says_it ? mongoc_uri_get_auth_source(uri) : NULL;
}

enum tw_rc tw_mongo_uri_beside(const char *uri, const char *database, char **ret_uri, struct tw_err *reterr)
{
    struct tw_buf   text = {0};
    struct tw_mongo mongo = {0};
    enum tw_rc      rc;

    TW_TRY(tw_mongo_init(uri, 0, &mongo, reterr));
    rc = check_name(database, mongo.database, reterr);
    if (rc == TW_OK) {
        print_uri(&text, uri, database, auth_source_of(mongo.uri, uri));
        *ret_uri = text.ptr;
    }
    tw_mongo_done(&mongo);
    return rc;
}
