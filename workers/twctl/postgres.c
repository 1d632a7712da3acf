#include "postgres.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/email.h"

#define WHERE                "twctl.postgres"
#define TEXT_OF(number)      #number
#define TEXT_OF_VALUE(macro) TEXT_OF(macro)

const char tw_ctl_folding_version[] = TEXT_OF_VALUE(TW_FOLDING_VERSION);

static void ignore_notice(void *self, const PGresult *result)
{
    (void)self;
    (void)result;
}

/* The server's sentence is the first line; what follows is for people who see the statement. */
static enum tw_rc fail(const PGconn *pg, enum tw_rc rc, const char *what, struct tw_err *reterr)
{
    const char *text = PQerrorMessage(pg);

    return tw_fail(reterr, rc, WHERE, 0, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
}

/* libpq's own sentence would show the URI and the password in it. */
static enum tw_rc check_uri(const char *uri, struct tw_err *reterr)
{
    PQconninfoOption *parsed;

    errno = 0;
    parsed = PQconninfoParse(uri, NULL);
    if (!parsed && errno == ENOMEM) /* libpq says the same of both */
        tw_out_of_memory(strlen(uri));
    if (!parsed)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "postgres_uri is no connection string of PostgreSQL");
    PQconninfoFree(parsed);
    return TW_OK;
}

enum tw_rc tw_ctl_pg_open(const char *uri, int timeout_ms, PGconn **ret_pg, struct tw_err *reterr)
{
    char              timeout_s[16];
    const char *const names[] = {"gssencmode", "dbname", "connect_timeout", "application_name", NULL};
    const char *const values[] = {"disable", uri, timeout_s, "twctl", NULL}; /* the URI may say otherwise */
    PGconn           *pg;

    TW_TRY(check_uri(uri, reterr));
    snprintf(timeout_s, sizeof(timeout_s), "%d", (timeout_ms + 999) / 1000);
    pg = PQconnectdbParams(names, values, 1);
    if (!pg)
        tw_out_of_memory(0);
    if (PQstatus(pg) != CONNECTION_OK) {
        enum tw_rc rc = fail(pg, TW_UNREACHED, "cannot connect", reterr);
        PQfinish(pg);
        return rc;
    }
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    *ret_pg = pg;
    return TW_OK;
}

void tw_ctl_pg_close(PGconn **pg)
{
    if (*pg)
        PQfinish(*pg);
}

void tw_ctl_pg_free(PGresult **result)
{
    PQclear(*result);
}

static enum tw_rc check(const PGconn *pg, const PGresult *result, const char *what, struct tw_err *reterr)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return TW_OK;
    return fail(pg, PQstatus(pg) == CONNECTION_OK ? TW_BROKEN : TW_UNREACHED, what, reterr);
}

enum tw_rc tw_ctl_pg_run(PGconn *pg, const char *sql, const char *what, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *result = PQexec(pg, sql);

    return check(pg, result, what, reterr);
}

enum tw_rc tw_ctl_pg_query(PGconn *pg, const char *sql, int arg_count, const char *const *args, const char *what,
                           PGresult **ret_result, struct tw_err *reterr)
{
    PGresult  *result = PQexecParams(pg, sql, arg_count, NULL, args, NULL, NULL, 0);
    enum tw_rc rc = check(pg, result, what, reterr);

    if (rc == TW_OK)
        *ret_result = result;
    else
        PQclear(result);
    return rc;
}

static void copy_cell(const PGresult *result, int row, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%s", PQgetvalue(result, row, 1));
}

static enum tw_rc read_meta(PGconn *pg, struct tw_ctl_meta *ret_meta, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *rows = NULL;

    TW_TRY(tw_ctl_pg_query(pg, "select name, value from tillwire.tw_meta", 0, NULL, "reading tillwire.tw_meta", &rows,
                           reterr));
    for (int i = 0; i < PQntuples(rows); i++) {
        const char *name = PQgetvalue(rows, i, 0);

        if (!strcmp(name, "schema_version") &&
            !tw_str_to_int(tw_str_of(PQgetvalue(rows, i, 1)), &ret_meta->schema_version))
            return tw_fail(reterr, TW_BROKEN, WHERE, 0, "the schema_version in tillwire.tw_meta is no number");
        if (!strcmp(name, "id_key_check"))
            copy_cell(rows, i, ret_meta->id_key_check, sizeof(ret_meta->id_key_check));
        if (!strcmp(name, "folding_version"))
            copy_cell(rows, i, ret_meta->folding_version, sizeof(ret_meta->folding_version));
    }
    return TW_OK;
}

enum tw_rc tw_ctl_pg_meta(PGconn *pg, struct tw_ctl_meta *ret_meta, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *there = NULL;

    *ret_meta = (struct tw_ctl_meta){0};
    TW_TRY(tw_ctl_pg_query(pg, "select to_regclass('tillwire.tw_meta') is not null", 0, NULL, "looking for the schema",
                           &there, reterr));
    return *PQgetvalue(there, 0, 0) == 't' ? read_meta(pg, ret_meta, reterr) : TW_OK;
}

enum tw_rc tw_ctl_pg_meta_needed(PGconn *pg, struct tw_ctl_meta *ret_meta, struct tw_err *reterr)
{
    TW_TRY(tw_ctl_pg_meta(pg, ret_meta, reterr));
    if (!ret_meta->schema_version)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "the schema is not there: run `twctl schema apply`");
    return TW_OK;
}

const char *tw_ctl_meta_conflict(const struct tw_ctl_meta *meta, const uint8_t id_key[TW_ID_KEY_BYTES])
{
    char key_check[17];

    tw_id_key_check(id_key, key_check);
    if (*meta->id_key_check && strcmp(meta->id_key_check, key_check) != 0)
        return "the database holds members that were made with another id key than that of id_key_file";
    if (*meta->folding_version && strcmp(meta->folding_version, tw_ctl_folding_version) != 0)
        return "the database holds e-mail addresses that were folded in another way than this program does";
    return NULL;
}
