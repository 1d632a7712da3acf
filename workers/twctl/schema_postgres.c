/*
 * PostgreSQL's part of `twctl schema`: the migrations of schemas/sql, one transaction each, and the pinned values. Two
 * runs at once wait for each other at an advisory lock, so each migration runs once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "parts.h"
#include "postgres.h"
#include "tillwire/embedded.h"

#define WHERE "twctl.schema"

/* "001_fold.sql" is number 1. */
static int64_t number_of(const struct tw_embedded_file *migration)
{
    return strtol(migration->name, NULL, 10);
}

static int64_t newest_version(void)
{
    return number_of(&tw_embedded_sql[tw_embedded_sql_count - 1]);
}

/* --- differences -------------------------------------------------------------------------------------------------- */

static void diff_version(const struct tw_ctl_meta *meta, struct tw_buf *ret_lines)
{
    if (meta->schema_version > newest_version())
        tw_buf_printf(ret_lines, "the schema has version %" PRId64 ", this program knows %" PRId64 "\n",
                      meta->schema_version, newest_version());
    for (size_t i = 0; i < tw_embedded_sql_count; i++)
        if (number_of(&tw_embedded_sql[i]) > meta->schema_version)
            tw_buf_printf(ret_lines, "migration %s is not applied\n", tw_embedded_sql[i].name);
}

static void diff_pins(const struct tw_ctl_meta *meta, const uint8_t id_key[TW_ID_KEY_BYTES], struct tw_buf *ret_lines)
{
    const char *conflict = tw_ctl_meta_conflict(meta, id_key);

    if (conflict)
        tw_buf_printf(ret_lines, "%s\n", conflict);
    if (meta->schema_version && (!*meta->id_key_check || !*meta->folding_version))
        tw_buf_printf(ret_lines, "id key and folding version are not pinned\n");
}

enum tw_rc tw_ctl_postgres_diff(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_close) PGconn *pg = NULL;
    struct tw_ctl_meta               meta;
    uint8_t                          id_key[TW_ID_KEY_BYTES];

    TW_TRY(tw_ctl_id_key_read(settings->id_key_file, id_key, reterr));
    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &pg, reterr));
    TW_TRY(tw_ctl_pg_meta(pg, &meta, reterr));
    diff_version(&meta, ret_lines);
    diff_pins(&meta, id_key, ret_lines);
    return TW_OK;
}

/* --- making it so ------------------------------------------------------------------------------------------------- */

static enum tw_rc check_recorded(PGconn *pg, const struct tw_embedded_file *migration, struct tw_err *reterr)
{
    struct tw_ctl_meta meta;

    TW_TRY(tw_ctl_pg_meta(pg, &meta, reterr));
    if (meta.schema_version != number_of(migration))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "migration %s does not record its number as schema_version",
                       migration->name);
    return TW_OK;
}

/* A failure leaves the transaction open: closing the connection undoes it. */
static enum tw_rc migrate(PGconn *pg, const struct tw_embedded_file *migration, struct tw_buf *ret_lines,
                          struct tw_err *reterr)
{
    char what[96];

    snprintf(what, sizeof(what), "migration %s", migration->name);
    TW_TRY(tw_ctl_pg_run(pg, "begin", what, reterr));
    TW_TRY(tw_ctl_pg_run(pg, migration->text, what, reterr));
    TW_TRY(check_recorded(pg, migration, reterr));
    TW_TRY(tw_ctl_pg_run(pg, "commit", what, reterr));
    tw_buf_printf(ret_lines, "%s applied\n", what);
    return TW_OK;
}

static enum tw_rc pin(PGconn *pg, const char *name, const char *value, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_free) PGresult *done = NULL;
    const char *const                 args[] = {name, value};

    TW_TRY(tw_ctl_pg_query(pg, "insert into tillwire.tw_meta (name, value) values ($1, $2)", 2, args, "pinning", &done,
                           reterr));
    tw_buf_printf(ret_lines, "%s pinned to %s\n", name, value);
    return TW_OK;
}

static enum tw_rc pin_missing(PGconn *pg, const struct tw_ctl_meta *meta, const uint8_t id_key[TW_ID_KEY_BYTES],
                              struct tw_buf *ret_lines, struct tw_err *reterr)
{
    char key_check[17];

    tw_id_key_check(id_key, key_check);
    if (!*meta->id_key_check)
        TW_TRY(pin(pg, "id_key_check", key_check, ret_lines, reterr));
    if (!*meta->folding_version)
        TW_TRY(pin(pg, "folding_version", tw_ctl_folding_version, ret_lines, reterr));
    return TW_OK;
}

/* Everything is judged before anything is changed. */
static enum tw_rc check_may_apply(const struct tw_ctl_meta *meta, const uint8_t id_key[TW_ID_KEY_BYTES],
                                  struct tw_err *reterr)
{
    const char *conflict = tw_ctl_meta_conflict(meta, id_key);

    if (conflict)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "%s", conflict);
    if (meta->schema_version > newest_version())
        return tw_fail(reterr, TW_BROKEN, WHERE, 0,
                       "the schema has version %" PRId64 ", this program knows %" PRId64 ": use a newer twctl",
                       meta->schema_version, newest_version());
    return TW_OK;
}

static enum tw_rc apply(PGconn *pg, const uint8_t id_key[TW_ID_KEY_BYTES], struct tw_buf *ret_lines,
                        struct tw_err *reterr)
{
    struct tw_ctl_meta meta;

    /* Held until the connection closes. */
    TW_TRY(
        tw_ctl_pg_run(pg, "select pg_advisory_lock(hashtext('tillwire schema'))", "waiting for another twctl", reterr));
    TW_TRY(tw_ctl_pg_meta(pg, &meta, reterr));
    TW_TRY(check_may_apply(&meta, id_key, reterr));
    for (size_t i = 0; i < tw_embedded_sql_count; i++)
        if (number_of(&tw_embedded_sql[i]) > meta.schema_version)
            TW_TRY(migrate(pg, &tw_embedded_sql[i], ret_lines, reterr));
    return pin_missing(pg, &meta, id_key, ret_lines, reterr);
}

enum tw_rc tw_ctl_postgres_apply(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines,
                                 struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_close) PGconn *pg = NULL;
    uint8_t                          id_key[TW_ID_KEY_BYTES];

    TW_TRY(tw_ctl_id_key_read(settings->id_key_file, id_key, reterr));
    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &pg, reterr));
    return apply(pg, id_key, ret_lines, reterr);
}

enum tw_rc tw_ctl_postgres_ping(const struct tw_ctl_settings *settings, struct tw_err *reterr)
{
    TW_AUTO(tw_ctl_pg_close) PGconn *pg = NULL;

    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &pg, reterr));
    return tw_ctl_pg_run(pg, "select 1", "asking", reterr);
}
