/*
 * A shadow is a schema beside `tillwire`, and takes its place by changes of names in one transaction. Nobody is told:
 * sessions find their tables by the schema's name or through their search_path, and PostgreSQL makes every plan anew
 * when a schema's name changes. docs/decisions/swapping-a-schema.md says why that is safe.
 *
 * Whose a schema is stands in its tw_meta: a shadow has a row `shadow`, its note; a store that was replaced has a row
 * `replaced`; the live one has neither. Rows `later NAME` of a shadow say how to make what it still lacks.
 */
#include "member_shadow.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member_store.h"
#include "member_uri.h"
#include "pg_pipeline.h"
#include "tillwire/embedded.h"

#define WHERE "member.shadow"

/* PostgreSQL takes 63 bytes, of which `_old` needs four. */
enum { NAME_MAX_BYTES = 59 };

struct member_shadow {
    struct tw_pg *pg;      /* beside the live store */
    struct tw_pg *builder; /* in the shadow */
    char         *live_uri;
    char         *uri;
    char          place[sizeof("schema ") + NAME_MAX_BYTES];
    char          name[NAME_MAX_BYTES + 1];
    char          old[NAME_MAX_BYTES + sizeof("_old")]; /* where a swap puts the live store */
};

/* --- questions ---------------------------------------------------------------------------------------------------- */

/* Connects when needed. A transaction that fails is undone by closing the connection it was begun on. */
static enum tw_rc ask(struct member_shadow *self, const char *what, const char *sql, struct tw_pg_results *ret_results,
                      struct tw_err *reterr)
{
    enum tw_rc rc;

    if (!tw_pg_is_open(self->pg))
        TW_TRY(tw_pg_open(self->pg, reterr));
    rc = tw_pg_query(self->pg, what, sql, ret_results, reterr);
    if (rc != TW_OK)
        tw_pg_close(self->pg);
    return rc;
}

/* Asks what was printed into @p sql, which is empty afterwards. */
static enum tw_rc ask_printed(struct member_shadow *self, const char *what, struct tw_buf *sql,
                              struct tw_pg_results *ret_results, struct tw_err *reterr)
{
    enum tw_rc rc;

    tw_buf_add(sql, "", 1);
    rc = ask(self, what, sql->ptr, ret_results, reterr);
    tw_buf_done(sql);
    return rc;
}

/* Asks for a sentence that says why to stop, which is then the failure; empty: nothing stands in the way. */
static enum tw_rc check(struct member_shadow *self, const char *what, struct tw_buf *sql, enum tw_rc rc,
                        struct tw_err *reterr)
{
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    struct tw_str                                    why;

    TW_TRY(ask_printed(self, what, sql, &results, reterr));
    why = tw_pg_bytes(results.at[0], 0, 0);
    if (!why.len)
        return TW_OK;
    tw_pg_close(self->pg);
    return tw_fail(reterr, rc, WHERE, 0, "%.*s", TW_STR_ARG(why));
}

static enum tw_rc commit(struct member_shadow *self, const char *what, struct tw_err *reterr)
{
    enum tw_rc rc = ask(self, what, "commit", NULL, reterr);

    if (rc != TW_UNREACHED)
        return rc;
    return tw_fail(reterr, TW_UNKNOWN, WHERE, 0, "%s: the answer was lost: look at what is there", what);
}

/* --- look --------------------------------------------------------------------------------------------------------- */

enum found { NOTHING, OURS, FOREIGN };

/* Through the catalogue alone: a schema of somebody else's may not be ours to read. */
#define HAS_OUR_META                                                                                      \
    "select (select count(*) from pg_class c join pg_attribute a on a.attrelid = c.oid"                   \
    " where c.relnamespace = n.oid and c.relname = 'tw_meta'"                                             \
    " and a.attname in ('name', 'value') and a.atttypid = 'varchar'::regtype and not a.attisdropped) = 2" \
    " from pg_namespace n where n.nspname = '%s'"

/* What is in @p schema; OURS has the row @p row in its tw_meta, @p ret_value. */
static enum tw_rc find(struct member_shadow *self, const char *schema, const char *row, enum found *ret_found,
                       char ret_value[TW_SHADOW_NOTE + 1], struct tw_err *reterr)
{
    TW_AUTO(tw_pg_results_done) struct tw_pg_results schemas = {0}, rows = {0};
    struct tw_buf                                    sql = {0};

    tw_buf_printf(&sql, HAS_OUR_META, schema);
    TW_TRY(ask_printed(self, "looking for a schema", &sql, &schemas, reterr));
    *ret_found = PQntuples(schemas.at[0]) ? FOREIGN : NOTHING;
    if (*ret_found == NOTHING || !tw_str_is(tw_pg_bytes(schemas.at[0], 0, 0), "t"))
        return TW_OK;
    tw_buf_printf(&sql, "select value from \"%s\".tw_meta where name = '%s'", schema, row);
    TW_TRY(ask_printed(self, "reading tw_meta", &sql, &rows, reterr));
    if (!PQntuples(rows.at[0]))
        return TW_OK;
    *ret_found = OURS;
    snprintf(ret_value, TW_SHADOW_NOTE + 1, "%s", PQgetvalue(rows.at[0], 0, 0));
    return TW_OK;
}

static enum tw_rc find_shadow(struct member_shadow *self, enum found *ret_found, char ret_note[TW_SHADOW_NOTE + 1],
                              struct tw_err *reterr)
{
    return find(self, self->name, "shadow", ret_found, ret_note, reterr);
}

static enum tw_rc find_old(struct member_shadow *self, enum found *ret_found, struct tw_err *reterr)
{
    char value[TW_SHADOW_NOTE + 1];

    return find(self, self->old, "replaced", ret_found, value, reterr);
}

static enum tw_rc shadow_look(void *shadow, enum tw_shadow_content *ret_content, char ret_note[TW_SHADOW_NOTE + 1],
                              struct tw_err *reterr)
{
    static const enum tw_shadow_content of_old[] = {
        [NOTHING] = TW_SHADOW_NONE, [OURS] = TW_SHADOW_OLD, [FOREIGN] = TW_SHADOW_FOREIGN};
    struct member_shadow *self = shadow;
    char                  note[TW_SHADOW_NOTE + 1] = "";
    enum found            found, old;

    TW_TRY(find_shadow(self, &found, note, reterr));
    TW_TRY(find_old(self, &old, reterr));
    if (found == NOTHING)
        *ret_content = of_old[old];
    else
        *ret_content = found == OURS ? TW_SHADOW_MADE : TW_SHADOW_FOREIGN;
    memcpy(ret_note, note, sizeof(note));
    return TW_OK;
}

/* --- rights ------------------------------------------------------------------------------------------------------- */

/* Statements that give what others may do with schema %1$s, its tables and their columns, with schema %2$s, too; and
 * what its owner wants others to be allowed with tables to come. */
#define GRANTS_OF                                                                                                     \
    "with acls (object, rights, owner) as ("                                                                          \
    " select format('schema %%I', '%2$s'), nspacl, nspowner from pg_namespace where nspname = '%1$s'"                 \
    " union all select format('%%I.%%I', '%2$s', relname), relacl, relowner from pg_class"                            \
    "  where relnamespace = '\"%1$s\"'::regnamespace and relkind = 'r'),"                                             \
    " columns (object, part, rights, owner) as ("                                                                     \
    " select format('%%I.%%I', '%2$s', relname), format(' (%%I)', attname), attacl, relowner from pg_class"           \
    "  join pg_attribute on attrelid = pg_class.oid"                                                                  \
    "  where relnamespace = '\"%1$s\"'::regnamespace and relkind = 'r' and attacl is not null and not attisdropped)," \
    " given (prefix, privilege, part, object, grantee, grantable) as ("                                               \
    " select '', a.privilege_type, '', object, a.grantee, a.is_grantable from acls, aclexplode(rights) a"             \
    "  where a.grantee <> owner"                                                                                      \
    " union all select '', a.privilege_type, part, object, a.grantee, a.is_grantable"                                 \
    "  from columns, aclexplode(rights) a where a.grantee <> owner"                                                   \
    " union all select format('alter default privileges in schema %%I ', '%2$s'), a.privilege_type, '', 'tables',"    \
    "  a.grantee, a.is_grantable from pg_default_acl, aclexplode(defaclacl) a"                                        \
    "  where defaclnamespace = '\"%1$s\"'::regnamespace and defaclobjtype = 'r'"                                      \
    "  and defaclrole = quote_ident(current_user)::regrole)"                                                          \
    " select coalesce(string_agg(format('%%sgrant %%s%%s on %%s to %%s%%s', prefix, privilege, part, object,"         \
    "  case grantee when 0 then 'public' else grantee::regrole::text end,"                                            \
    "  case when grantable then ' with grant option' else '' end), '; '), '') from given"

/* Whoever may read or write the live store may do so with what takes its place. */
static enum tw_rc give_rights(struct member_shadow *self, const char *schema, struct tw_err *reterr)
{
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    struct tw_buf                                    sql = {0};

    tw_buf_printf(&sql, GRANTS_OF, "tillwire", schema);
    TW_TRY(ask_printed(self, "reading rights", &sql, &results, reterr));
    return ask(self, "giving rights", PQgetvalue(results.at[0], 0, 0), NULL, reterr);
}

/* --- what is made last --------------------------------------------------------------------------------------------- */

/* Takes out of schema %1$s what only readers and the server's own checks need, and not a fold: made at the end it costs a
 * fraction of what it costs to keep it while rows come. How to make it again stands in tw_meta, one row each. */
#define TAKE_OUT                                                                                                     \
    "do $$ declare item record; begin for item in"                                                                   \
    " select conname as name, pg_get_constraintdef(c.oid) as definition,"                                            \
    "  format('alter table \"%1$s\".%%I ', relname) as alter_table, '' as index"                                     \
    "  from pg_constraint c join pg_class t on t.oid = conrelid"                                                     \
    "  where connamespace = '\"%1$s\"'::regnamespace and contype in ('f', 'u')"                                      \
    " union all select relname, pg_get_indexdef(oid), '', format('\"%1$s\".%%I', relname) from pg_class"             \
    "  where relnamespace = '\"%1$s\"'::regnamespace"                                                                \
    "  and relname in ('members_page', 'members_page_not_active', 'member_addresses_one_default')"                   \
    " loop if item.index <> '' then execute 'drop index ' || item.index;"                                            \
    "  else execute item.alter_table || format('drop constraint %%I', item.name);"                                   \
    "   item.definition := item.alter_table || format('add constraint %%I ', item.name) || item.definition; end if;" \
    "  insert into \"%1$s\".tw_meta (name, value) values ('later ' || item.name, item.definition);"                  \
    " end loop; end $$"

static enum tw_rc take_out(struct member_shadow *self, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    tw_buf_printf(&sql, TAKE_OUT, self->name);
    return ask_printed(self, "leaving out indexes", &sql, NULL, reterr);
}

/* As long as it takes: there may be an hour's work in one index. Whoever looks at the shadow meanwhile holds it up. */
static enum tw_rc connect_builder(struct member_shadow *self, struct tw_err *reterr)
{
    if (tw_pg_is_open(self->builder))
        return TW_OK;
    TW_TRY(tw_pg_open(self->builder, reterr));
    return tw_pg_query(self->builder, "set-up",
                       "set enable_seqscan = on; set maintenance_work_mem = '128MB'; set lock_timeout = '30s'", NULL,
                       reterr);
}

/* One statement, or what stands in one text, is one transaction: it is made and forgotten, or neither. */
static enum tw_rc make_next(struct member_shadow *self, bool *ret_more, struct tw_err *reterr)
{
    static const char next[] = "select name, value from tw_meta where name like 'later %' order by name limit 1";
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    TW_AUTO(tw_buf_done) struct tw_buf               sql = {0};

    TW_TRY(connect_builder(self, reterr));
    TW_TRY(tw_pg_query(self->builder, "looking for what is left out", next, &results, reterr));
    *ret_more = PQntuples(results.at[0]) > 0;
    if (!*ret_more)
        return TW_OK;
    tw_buf_printf(&sql, "%s; delete from tw_meta where name = '%s'", PQgetvalue(results.at[0], 0, 1),
                  PQgetvalue(results.at[0], 0, 0));
    tw_buf_add(&sql, "", 1);
    return tw_pg_query(self->builder, PQgetvalue(results.at[0], 0, 0), sql.ptr, NULL, reterr);
}

static enum tw_rc shadow_complete(void *shadow, bool *ret_more, struct tw_err *reterr)
{
    struct member_shadow *self = shadow;
    enum tw_rc            rc = make_next(self, ret_more, reterr);

    if (rc != TW_OK || !*ret_more)
        tw_pg_close(self->builder);
    return rc;
}

/* --- make --------------------------------------------------------------------------------------------------------- */

/* What schema %1$s is used by through more than its name: it goes on using that very schema, whatever its name. */
#define USERS_OF                                                                                               \
    "with mine as (select oid, relname, relkind from pg_class where relnamespace = '\"%1$s\"'::regnamespace)," \
    " others (classid, objid) as ("                                                                            \
    " select 'pg_class'::regclass, ev_class from pg_depend join pg_rewrite on pg_rewrite.oid = objid"          \
    "  where classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass"                           \
    "  and refobjid in (select oid from mine)"                                                                 \
    " union all select 'pg_constraint'::regclass, oid from pg_constraint where contype = 'f'"                  \
    "  and confrelid in (select oid from mine) and conrelid not in (select oid from mine)"                     \
    " union all select 'pg_publication_rel'::regclass, oid from pg_publication_rel"                            \
    "  where prrelid in (select oid from mine)"                                                                \
    " union all select 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal"                     \
    "  and tgrelid in (select oid from mine)"
/* What is in %1$s and not in %2$s: it would go away with the schema that holds it. */
#define ALONE_IN                                                                                                  \
    " union all select 'pg_class'::regclass, oid from mine where not exists (select from pg_class o where"        \
    "  o.relname = mine.relname and o.relkind = mine.relkind and o.relnamespace = '\"%2$s\"'::regnamespace)"      \
    " union all select 'pg_proc'::regclass, oid from pg_proc p where pronamespace = '\"%1$s\"'::regnamespace and" \
    "  not exists (select from pg_proc o where o.proname = p.proname and o.pronamespace = '\"%2$s\"'::regnamespace)"
#define THE_FIRST                                                                              \
    ") select coalesce((select 'schema %1$s has or is used by what is not the store''s own: '" \
    " || pg_describe_object(classid, objid, 0) from others limit 1), '')"

/* Whatever else hangs on the live store would silently stay with the old one: better nothing is swapped. */
static enum tw_rc check_left_behind(struct member_shadow *self, const char *schema, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    tw_buf_printf(&sql, USERS_OF ALONE_IN THE_FIRST, "tillwire", schema);
    return check(self, "looking at what depends on the schema", &sql, TW_BROKEN, reterr);
}

static enum tw_rc check_live(struct member_shadow *self, struct tw_err *reterr)
{
    static const char is_there[] = "select case when to_regclass('tillwire.tw_meta') is null then"
                                   " 'the schema is not there: run `twctl schema apply`' else '' end";
    static const char is_complete[] =
        "select case when (select value from tillwire.tw_meta where name = 'schema_version') <>"
        " '" TW_MEMBER_SCHEMA_VERSION "' then"
        " 'the schema has another version than this program: run `twctl schema apply`'"
        " when (select nspowner from pg_namespace where nspname = 'tillwire') <> quote_ident(current_user)::regrole "
        "then"
        " 'the schema belongs to another role than the one of this URI'"
        " when (select count(*) from tillwire.tw_meta where name in ('id_key_check', 'folding_version')) < 2 then"
        " 'id key and folding version are not pinned: run `twctl schema apply`' else '' end";
    struct tw_buf sql = {0};

    tw_buf_printf(&sql, "%s", is_there);
    TW_TRY(check(self, "looking for the schema", &sql, TW_BROKEN, reterr));
    tw_buf_printf(&sql, "%s", is_complete);
    return check(self, "looking at the schema", &sql, TW_BROKEN, reterr);
}

static enum tw_rc check_free(struct member_shadow *self, struct tw_err *reterr)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    TW_TRY(shadow_look(self, &content, note, reterr));
    if (content == TW_SHADOW_NONE)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schema %s or %s is there already", self->name, self->old);
}

static bool is_in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Migrations name the schema `tillwire`: here every such word becomes another's name. */
static void print_for_schema(struct tw_buf *sql, const char *migration, const char *schema)
{
    static const char word[] = "tillwire";
    const size_t      len = sizeof(word) - 1;

    for (const char *at = migration; *at;) {
        if (strncmp(at, word, len) != 0 || is_in_name(at[len]) || (at > migration && is_in_name(at[-1]))) {
            tw_buf_add(sql, at++, 1);
            continue;
        }
        tw_buf_printf(sql, "\"%s\"", schema);
        at += len;
    }
}

static enum tw_rc migrate(struct member_shadow *self, struct tw_err *reterr)
{
    for (size_t i = 0; i < tw_embedded_sql_count; i++) {
        struct tw_buf sql = {0};

        print_for_schema(&sql, tw_embedded_sql[i].text, self->name);
        TW_TRY(ask_printed(self, tw_embedded_sql[i].name, &sql, NULL, reterr));
    }
    return TW_OK;
}

static enum tw_rc write_meta(struct member_shadow *self, const char *note, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    tw_buf_printf(&sql,
                  "set standard_conforming_strings = on; insert into \"%1$s\".tw_meta (name, value) select name, value"
                  " from tillwire.tw_meta where name in ('id_key_check', 'folding_version');"
                  "insert into \"%1$s\".tw_meta (name, value) values ('shadow', '",
                  self->name);
    for (; *note; note++)
        tw_buf_add(&sql, *note == '\'' ? "''" : note, *note == '\'' ? 2 : 1);
    tw_buf_printf(&sql, "')");
    return ask_printed(self, "writing tw_meta", &sql, NULL, reterr);
}

static enum tw_rc shadow_make(void *shadow, const char *note, struct tw_err *reterr)
{
    struct member_shadow *self = shadow;

    assert(strlen(note) <= TW_SHADOW_NOTE);
    TW_TRY(check_free(self, reterr));
    TW_TRY(check_live(self, reterr));
    TW_TRY(ask(self, "beginning", "begin", NULL, reterr));
    TW_TRY(migrate(self, reterr));
    TW_TRY(write_meta(self, note, reterr));
    TW_TRY(give_rights(self, self->name, reterr));
    TW_TRY(check_left_behind(self, self->name, reterr));
    TW_TRY(take_out(self, reterr));
    return commit(self, "making the shadow", reterr);
}

/* --- drop --------------------------------------------------------------------------------------------------------- */

/* All that the migrations make, and never with what others made to depend on it. */
#define DROP_SCHEMA                                                                         \
    "do $$ declare names text; begin"                                                       \
    " select string_agg(format('%%I.%%I', '%1$s', relname), ', ') into names from pg_class" \
    "  where relnamespace = '\"%1$s\"'::regnamespace and relkind = 'r';"                    \
    " if names is not null then execute 'drop table ' || names; end if;"                    \
    " select string_agg(oid::regprocedure::text, ', ') into names from pg_proc"             \
    "  where pronamespace = '\"%1$s\"'::regnamespace;"                                      \
    " if names is not null then execute 'drop function ' || names; end if;"                 \
    " select string_agg(oid::regtype::text, ', ') into names from pg_type"                  \
    "  where typnamespace = '\"%1$s\"'::regnamespace and typtype = 'e';"                    \
    " if names is not null then execute 'drop type ' || names; end if;"                     \
    " execute format('drop schema %%I', '%1$s'); end $$"

static enum tw_rc drop_found(struct member_shadow *self, const char *schema, enum found found, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    if (found == NOTHING)
        return TW_OK;
    if (found == FOREIGN)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schema %s is not ours: nothing was dropped", schema);
    tw_buf_printf(&sql, USERS_OF THE_FIRST, schema);
    TW_TRY(check(self, "looking at what depends on the schema", &sql, TW_BROKEN, reterr));
    tw_buf_printf(&sql, DROP_SCHEMA, schema);
    return ask_printed(self, "dropping", &sql, NULL, reterr);
}

static enum tw_rc shadow_drop(void *shadow, struct tw_err *reterr)
{
    struct member_shadow *self = shadow;
    char                  note[TW_SHADOW_NOTE + 1];
    enum found            found, old;

    TW_TRY(find_shadow(self, &found, note, reterr));
    if (found != NOTHING)
        return drop_found(self, self->name, found, reterr);
    TW_TRY(find_old(self, &old, reterr));
    return drop_found(self, self->old, old, reterr);
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

/* Every load and every commit begins with tw_progress: with its lock none is under way, and none begins. */
#define LOCK "begin; lock table tillwire.tw_progress, \"%s\".tw_progress in access exclusive mode"

#define LIVE_AGREES                                                                                                \
    " select coalesce((select format('partition %%s of the live store is not frozen at offset %%s with mark %%s'," \
    " f.partition, f.next_offset, f.mark) from frozen f left join tillwire.tw_progress p using (partition)"        \
    " where f.mark = 0 or (p.next_offset, p.mark) is distinct from (f.next_offset, f.mark)"                        \
    " order by f.partition limit 1),"                                                                              \
    " (select format('partition %%s of the live store is not among the frozen ones', p.partition)"                 \
    " from tillwire.tw_progress p where not exists (select from frozen f where f.partition = p.partition)"         \
    " order by p.partition limit 1), '')"

#define SHADOW_AGREES                                                                                              \
    " select coalesce((select format('the shadow''s partition %%s is folded up to offset %%s, the live one up to " \
    "%%s',"                                                                                                        \
    " f.partition, coalesce(p.next_offset, 0), f.next_offset) from frozen f left join \"%1$s\".tw_progress p"      \
    " using (partition) where coalesce(p.next_offset, 0) <> f.next_offset order by f.partition limit 1),"          \
    " (select 'the shadow has no ' || substr(name, length('later ') + 1) || ' yet' from \"%1$s\".tw_meta"          \
    " where name like 'later %%' order by name limit 1), '')"

#define SAME_RELEASE                                                                         \
    "select case when (select value from \"%1$s\".tw_meta where name = 'schema_version') <>" \
    " (select value from tillwire.tw_meta where name = 'schema_version') then"               \
    " 'schema %1$s is of another release than the live one: drop it' else '' end"

/* What was the live store stays frozen for ever: whoever still commits there must not think that it counts. */
#define EXCHANGE                                                                                       \
    "update tillwire.tw_progress set mark = -1; update \"%1$s\".tw_progress set mark = 0;"             \
    "delete from \"%1$s\".tw_meta where name in ('shadow', 'replaced');"                               \
    "insert into tillwire.tw_meta (name, value) values ('replaced', 'by another store in its place');" \
    "alter schema \"%1$s\" rename to tillwire_next; alter schema tillwire rename to \"%2$s\";"         \
    "alter schema tillwire_next rename to tillwire"

static void print_frozen(struct tw_buf *sql, const struct tw_frozen *frozen, int32_t partition_count)
{
    tw_buf_printf(sql, "with frozen (partition, next_offset, mark) as (values");
    for (int32_t i = 0; i < partition_count; i++)
        tw_buf_printf(sql, "%s (%" PRId32 ", %" PRId64 "::bigint, %" PRId64 "::bigint)", i ? "," : "", i,
                      frozen[i].next_offset, frozen[i].mark);
    tw_buf_printf(sql, ")");
}

/* Begins the transaction that puts @p schema into the live store's place, as far as nothing has changed yet. */
static enum tw_rc lock_live(struct member_shadow *self, const char *schema, const struct tw_frozen *frozen,
                            int32_t partition_count, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    tw_buf_printf(&sql, LOCK, schema);
    TW_TRY(ask_printed(self, "locking", &sql, NULL, reterr));
    print_frozen(&sql, frozen, partition_count);
    tw_buf_printf(&sql, LIVE_AGREES);
    TW_TRY(check(self, "comparing", &sql, TW_FENCED, reterr));
    tw_buf_printf(&sql, SAME_RELEASE, schema);
    return check(self, "comparing", &sql, TW_BROKEN, reterr);
}

static enum tw_rc exchange(struct member_shadow *self, const char *schema, struct tw_err *reterr)
{
    struct tw_buf sql = {0};

    TW_TRY(check_left_behind(self, schema, reterr));
    TW_TRY(give_rights(self, schema, reterr));
    tw_buf_printf(&sql, EXCHANGE, schema, self->old);
    TW_TRY(ask_printed(self, "exchanging schemas", &sql, NULL, reterr));
    return commit(self, "exchanging schemas", reterr);
}

static enum tw_rc check_swap(struct member_shadow *self, struct tw_err *reterr)
{
    char       note[TW_SHADOW_NOTE + 1];
    enum found found, old;

    TW_TRY(find_shadow(self, &found, note, reterr));
    if (found != OURS)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schema %s is no shadow", self->name);
    TW_TRY(find_old(self, &old, reterr));
    if (old == NOTHING)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schema %s is in the way: %s", self->old,
                   old == OURS ? "it keeps the store of before an earlier swap; drop it first"
                               : "it is not ours; give it another name");
}

static enum tw_rc shadow_swap(void *shadow, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                              void *teller, struct tw_err *reterr)
{
    struct member_shadow *self = shadow;
    struct tw_buf         sql = {0};

    (void)tell; /* one step */
    (void)teller;
    assert(partition_count > 0);
    TW_TRY(check_swap(self, reterr));
    TW_TRY(lock_live(self, self->name, frozen, partition_count, reterr));
    print_frozen(&sql, frozen, partition_count);
    tw_buf_printf(&sql, SHADOW_AGREES, self->name);
    TW_TRY(check(self, "comparing", &sql, TW_BROKEN, reterr));
    tw_buf_printf(&sql, "update \"%s\".tw_progress set outbox = ''", self->name); /* its maker's, not to publish */
    TW_TRY(ask_printed(self, "forgetting outboxes", &sql, NULL, reterr));
    return exchange(self, self->name, reterr);
}

static enum tw_rc shadow_swap_back(void *shadow, const struct tw_frozen *frozen, int32_t partition_count,
                                   tw_swap_fn tell, void *teller, struct tw_err *reterr)
{
    struct member_shadow *self = shadow;
    enum found            old;

    (void)tell; /* one step */
    (void)teller;
    assert(partition_count > 0);
    TW_TRY(find_old(self, &old, reterr));
    if (old != OURS)
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "schema %s keeps no store to go back to", self->old);
    TW_TRY(lock_live(self, self->old, frozen, partition_count, reterr));
    return exchange(self, self->old, reterr);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static enum tw_rc set_names(struct member_shadow *self, const char *name, struct tw_err *reterr)
{
    static const char suffix[] = "_shadow";
    size_t            len;

    if (!*name)
        name = "tillwire_shadow";
    len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (!is_in_name(name[i]) || (unsigned char)name[i] > 127)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "a shadow's name holds letters, digits and _ only");
    if (len > NAME_MAX_BYTES)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "a shadow's name is not longer than %d bytes", NAME_MAX_BYTES);
    if (!strcmp(name, "tillwire") || !strcmp(name, "tillwire_next") || !strncmp(name, "pg_", 3))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%s' cannot be a shadow's name", name);
    snprintf(self->name, sizeof(self->name), "%s", name);
    snprintf(self->place, sizeof(self->place), "schema %s", name);
    if (len >= strlen(suffix) && !strcmp(name + len - strlen(suffix), suffix))
        len -= strlen(suffix);
    snprintf(self->old, sizeof(self->old), "%.*s_old", (int)len, name);
    return TW_OK;
}

static void shadow_close(void *shadow)
{
    struct member_shadow *self = shadow;

    if (!self)
        return;
    tw_pg_free(self->pg);
    tw_pg_free(self->builder);
    free(self->live_uri);
    free(self->uri);
    free(self);
}

static enum tw_rc fill(struct member_shadow *self, const char *name, int timeout_ms, struct tw_err *reterr)
{
    TW_TRY(set_names(self, name, reterr));
    TW_TRY(tw_pg_new(self->live_uri, timeout_ms, NULL, 0, &self->pg, reterr));
    TW_TRY(tw_member_uri_of_schema(self->live_uri, self->name, &self->uri, reterr));
    TW_TRY(tw_pg_new(self->uri, timeout_ms, NULL, 0, &self->builder, reterr));
    tw_pg_wait_longer(self->builder, INT_MAX);
    return TW_OK;
}

enum tw_rc tw_member_shadow_open(const char *live_uri, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                                 struct tw_err *reterr)
{
    struct member_shadow *self = tw_alloc_zeroed(1, sizeof(*self));
    enum tw_rc            rc;

    self->live_uri = tw_strdup(live_uri);
    rc = fill(self, name, timeout_ms, reterr);
    if (rc != TW_OK) {
        shadow_close(self);
        return rc;
    }
    *ret_shadow = (struct tw_shadow){
        .uri = self->uri,
        .place = self->place,
        .look = shadow_look,
        .make = shadow_make,
        .complete = shadow_complete,
        .drop = shadow_drop,
        .swap = shadow_swap,
        .swap_back = shadow_swap_back,
        .close = shadow_close,
        .self = self,
    };
    return TW_OK;
}
