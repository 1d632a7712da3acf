/*
 * `twctl token list`: the rows of issued tokens, read and nothing else. A row stays for a day after its token ended, and
 * until the member's next change.
 */
#include <stdio.h>

#include "ctl.h"
#include "postgres.h"
#include "table.h"
#include "tillwire/arena.h"

#define TIME(column) "to_char(t." column ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define ISSUED_TOKENS                                                           \
    " from tillwire.jwt_tokens t join tillwire.members m on m.id = t.member_id" \
    " where t.kind = 'service' order by t.created_at, t.id"

static const char table_sql[] = "select t.id, m.full_name, t.scope, t.label, " TIME("created_at") ", " TIME(
    "expires_at") ", case when t.is_revoked then 'yes' else 'no' end" ISSUED_TOKENS;

/* A row is an object already: the server knows how to write one. */
static const char json_sql[] =
    "select json_build_object('id', t.id, 'member_id', t.member_id, 'name', m.full_name,"
    " 'scopes', string_to_array(t.scope, ' '), 'label', t.label, 'issued_at', " TIME(
        "created_at") ", 'expires_at', " TIME("expires_at") ", 'is_revoked', t.is_revoked)" ISSUED_TOKENS;

static void add_json(const PGresult *rows, struct tw_arena *arena, struct tw_buf *out)
{
    (void)arena;
    tw_buf_printf(out, "[");
    for (int i = 0; i < PQntuples(rows); i++)
        tw_buf_printf(out, "%s\n  %s", i ? "," : "", PQgetvalue(rows, i, 0));
    tw_buf_printf(out, "%s]\n", PQntuples(rows) ? "\n" : "");
}

static void add_table(const PGresult *rows, struct tw_arena *arena, struct tw_buf *out)
{
    static const char *const heading[] = {"ID", "MEMBER", "SCOPES", "LABEL", "ISSUED", "ENDS", "REVOKED"};
    size_t                   count = (size_t)PQntuples(rows) + 1;
    const char             **cells = TW_NEW_ARRAY(arena, count * TW_LEN(heading), const char *);

    for (size_t i = 0; i < TW_LEN(heading); i++)
        cells[i] = heading[i];
    for (size_t i = TW_LEN(heading); i < count * TW_LEN(heading); i++)
        cells[i] = PQgetvalue(rows, (int)(i / TW_LEN(heading)) - 1, (int)(i % TW_LEN(heading)));
    tw_ctl_table_add(out, cells, count, TW_LEN(heading));
}

static enum tw_rc list(const struct tw_ctl_settings *settings, struct tw_buf *out, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    TW_AUTO(tw_ctl_pg_close) PGconn       *pg = NULL;
    TW_AUTO(tw_ctl_pg_free) PGresult      *rows = NULL;
    struct tw_ctl_meta                     meta;

    TW_TRY(tw_ctl_pg_open(settings->postgres_uri, (int)settings->store_timeout_ms, &pg, reterr));
    TW_TRY(tw_ctl_pg_meta_needed(pg, &meta, reterr));
    TW_TRY(tw_ctl_pg_query(pg, settings->json ? json_sql : table_sql, 0, NULL, "reading tokens", &rows, reterr));
    (settings->json ? add_json : add_table)(rows, &arena, out);
    return TW_OK;
}

enum tw_ctl_exit tw_ctl_token_list(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {0};
    struct tw_err                      err = {0};

    if (list(settings, &out, &err) != TW_OK)
        return tw_ctl_failed("PostgreSQL", &err);
    fwrite(out.ptr, 1, out.len, stdout);
    return TW_CTL_DONE;
}
