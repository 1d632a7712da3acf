/* Links: tw_member_store tw_member_domain tw_embedded PkgConfig::PQ */
/*
 * The members' store and a second copy of it that takes its place. DROPS the schemas tillwire, tillwire_shadow and
 * tillwire_old of the database that TW_POSTGRES_URI names, also at the end: other tests make what they need.
 */
#include "workers/member/member_shadow.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "tillwire/embedded.h"
#include "tillwire/gen/member_messages.h"
#include "unit.h"
#include "workers/member/member_domain.h"
#include "workers/member/member_store.h"

enum { TIMEOUT_MS = 2000, PARTITIONS = 2, MARK = 77 };
#define AT_MS INT64_C(1795428000123)

static const char *uri;

struct world {
    PGconn          *admin; /* the owner's; looks at what is there */
    struct tw_store  live, copy;
    struct tw_shadow shadow;
    struct tw_arena  arena;
    struct tw_err    err;
};

/* --- the server --------------------------------------------------------------------------------------------------- */

static void run(struct world *world, const char *sql)
{
    PGresult      *result = PQexec(world->admin, sql);
    ExecStatusType status = PQresultStatus(result);

    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(world->admin));
}

/* The first cell of a query, in memory of the arena. */
static const char *ask(struct world *world, const char *sql)
{
    PGresult     *result = PQexec(world->admin, sql);
    struct tw_str value;

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0)
        fail_msg("%s: %s", sql, PQerrorMessage(world->admin));
    value = tw_arena_printf(&world->arena, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return value.ptr;
}

#define assert_answer(world, sql, expected) assert_string_equal(ask(world, sql), expected)

static void drop_all(struct world *world)
{
    run(world, "drop schema if exists tillwire, tillwire_shadow, tillwire_old, beside cascade");
}

static void make_live(struct world *world)
{
    for (size_t i = 0; i < tw_embedded_sql_count; i++)
        run(world, tw_embedded_sql[i].text);
    run(world, "insert into tillwire.tw_meta values ('id_key_check', '0123456789abcdef'), ('folding_version', '1')");
}

static int setup(void **state)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    *state = world;
    world->admin = PQconnectdb(uri);
    if (PQstatus(world->admin) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(world->admin));
    run(world, "set client_min_messages = warning; set search_path = pg_temp");
    drop_all(world);
    make_live(world);
    assert_rc(tw_member_store_open(uri, TIMEOUT_MS, &world->live, &world->err), TW_OK, world->err);
    assert_rc(tw_member_shadow_open(uri, "", TIMEOUT_MS, &world->shadow, &world->err), TW_OK, world->err);
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    tw_member_store_close(&world->live);
    tw_member_store_close(&world->copy);
    world->shadow.close(world->shadow.self);
    drop_all(world);
    PQfinish(world->admin);
    tw_arena_done(&world->arena);
    free(world);
    return 0;
}

/* --- given, when -------------------------------------------------------------------------------------------------- */

static struct tw_progress progress(struct world *world, struct tw_store *store, int32_t partition)
{
    struct tw_progress found;

    store->release(store->self, partition); /* as if for the first time: no swap is noticed */
    assert_rc(store->watermark(store->self, partition, &world->arena, &found, &world->err), TW_OK, world->err);
    return found;
}

/* The live store's handle is told once that the schema is another one. */
static void notice_the_swap(struct world *world)
{
    struct tw_progress ignored;

    assert_rc(world->live.watermark(world->live.self, 0, &world->arena, &ignored, &world->err), TW_UNREACHED,
              world->err);
    if (!strstr(world->err.msg, "took the place"))
        fail_msg("'%s' says nothing of a swap", world->err.msg);
}

static struct tw_member member(uint8_t n, const char *email)
{
    return (struct tw_member){
        .member_id = {{n}},
        .email = tw_str_of(email),
        .email_folded = tw_str_of(email),
        .full_name = TW_STR("Ana Lim"),
        .status = TW_MEMBER_STATUS_SUSPENDED,
        .created_at_ms = AT_MS,
        .updated_at_ms = AT_MS,
        .version = 1,
        .credential_version = 1,
    };
}

/* Commits up to @p next_offset; @p added, @p before and @p row may be NULL. */
static enum tw_rc commit(struct world *world, struct tw_store *store, int32_t partition, int64_t next_offset,
                         const struct tw_member *before, struct tw_member *added, const struct tw_ledger_row *row)
{
    struct tw_entity        entity = {.before = before, .state = added, .changed = true};
    const struct tw_entity *entities[] = {&entity};
    struct tw_changes       changes = {
              .partition = partition,
              .first_offset = progress(world, store, partition).next_offset,
              .after = {.next_offset = next_offset, .clock_ms = AT_MS},
              .entities = entities,
              .entity_count = added ? 1 : 0,
              .rows = row,
              .row_count = row ? 1 : 0,
    };

    if (added)
        entity.key.id = added->member_id;
    return store->commit(store->self, &changes, &world->err);
}

/* A store whose partition 0 has one member and a ledger row, and watermark 5. */
static void fold_into(struct world *world, struct tw_store *store, uint8_t id, const char *email)
{
    struct tw_member     added = member(id, email);
    struct tw_ledger_row row = {
        .id = {{31, id}},
        .type = TW_STR("member.register"),
        .outcome = tw_succeeded(201, TW_STR("/v1/members/me")),
        .at_ms = AT_MS,
    };

    assert_rc(commit(world, store, 0, 5, NULL, &added, &row), TW_OK, world->err);
}

static struct tw_member *load(struct world *world, struct tw_store *store, uint8_t id)
{
    struct tw_uuid    ledger_id = {{31, id}};
    struct tw_entity  entity = {.key = {.id = {{id}}}};
    struct tw_load    wanted = {.entities = &entity, .entity_count = 1, .ledger_ids = &ledger_id, .ledger_id_count = 1};
    struct tw_member *found;

    assert_rc(store->load(store->self, 0, progress(world, store, 0).next_offset, &wanted, &world->arena, &world->err),
              TW_OK, world->err);
    assert_int_equal(wanted.row_count, entity.before ? 1 : 0);
    if (!entity.before)
        return NULL;
    found = TW_NEW(&world->arena, struct tw_member);
    memcpy(found, entity.before, sizeof(*found));
    return found;
}

static void make_shadow(struct world *world)
{
    assert_rc(world->shadow.make(world->shadow.self, "of a test", &world->err), TW_OK, world->err);
    assert_rc(tw_member_store_open(world->shadow.uri, TIMEOUT_MS, &world->copy, &world->err), TW_OK, world->err);
}

/* Returns how many things were made. */
static int complete(struct world *world)
{
    bool more = true;
    int  made = -1;

    for (; more; made++)
        assert_rc(world->shadow.complete(world->shadow.self, &more, &world->err), TW_OK, world->err);
    return made;
}

static void freeze(struct world *world)
{
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_rc(world->live.set_mark(world->live.self, p, progress(world, &world->live, p).next_offset, 0, MARK + p,
                                       &world->err),
                  TW_OK, world->err);
}

/* Live: member 1 as of an old fold; shadow: member 2. Both at watermark 5, the live one frozen. */
static void ready(struct world *world)
{
    fold_into(world, &world->live, 1, "ana@example.com");
    make_shadow(world);
    fold_into(world, &world->copy, 2, "ben@example.com");
    complete(world);
    freeze(world);
}

static const struct tw_frozen both_frozen[PARTITIONS] = {{5, MARK}, {0, MARK + 1}};

static enum tw_rc swap(struct world *world, const struct tw_frozen frozen[PARTITIONS])
{
    return world->shadow.swap(world->shadow.self, frozen, PARTITIONS, NULL, NULL, &world->err);
}

static enum tw_rc swap_back(struct world *world, const struct tw_frozen frozen[PARTITIONS])
{
    return world->shadow.swap_back(world->shadow.self, frozen, PARTITIONS, NULL, NULL, &world->err);
}

/* --- then --------------------------------------------------------------------------------------------------------- */

static enum tw_shadow_content content(struct world *world)
{
    enum tw_shadow_content found;
    char                   note[TW_SHADOW_NOTE + 1];

    assert_rc(world->shadow.look(world->shadow.self, &found, note, &world->err), TW_OK, world->err);
    return found;
}

static void assert_clause(const struct world *world, const char *part)
{
    if (!strstr(world->err.msg, part))
        fail_msg("'%s' does not say '%s'", world->err.msg, part);
}

/* That the live store, the shadow and all marks are as ready() left them. */
static void assert_nothing_happened(struct world *world)
{
    assert_int_equal(content(world), TW_SHADOW_MADE);
    assert_answer(world, "select string_agg(email, ' ') from tillwire.members", "ana@example.com");
    assert_answer(world, "select string_agg(email, ' ') from tillwire_shadow.members", "ben@example.com");
    assert_answer(world,
                  "select string_agg(next_offset || ':' || mark, ' ' order by partition) from tillwire.tw_progress",
                  "5:77 0:78");
    assert_answer(world, "select count(*) from pg_namespace where nspname = 'tillwire_old'", "0");
}

/* --- make, look, drop --------------------------------------------------------------------------------------------- */

static void a_shadow__is_there_once_it_was_made_with_its_note(void **state)
{
    struct world          *world = *state;
    enum tw_shadow_content found;
    char                   note[TW_SHADOW_NOTE + 1];

    assert_int_equal(content(world), TW_SHADOW_NONE);
    assert_rc(world->shadow.make(world->shadow.self, "it's \\ of 'now'", &world->err), TW_OK, world->err);
    assert_rc(world->shadow.look(world->shadow.self, &found, note, &world->err), TW_OK, world->err);
    assert_int_equal(found, TW_SHADOW_MADE);
    assert_string_equal(note, "it's \\ of 'now'");
    assert_string_equal(world->shadow.place, "schema tillwire_shadow");
    assert_rc(world->shadow.make(world->shadow.self, "again", &world->err), TW_BROKEN, world->err);
    assert_clause(world, "is there already");
}

/* All that the catalogue says of a schema's tables, columns, indexes, constraints, types and functions. */
static const char *shape_of(struct world *world, const char *schema)
{
    struct tw_str sql = tw_arena_printf(
        &world->arena,
        "with s as (select '%s'::regnamespace::oid as oid)"
        " select replace(string_agg(line, E'\\n' order by line), '%s', 'tillwire') from ("
        " select relname || ' ' || attname || ' ' || format_type(atttypid, atttypmod) || attnotnull::text || attnum"
        "  || coalesce(reloptions::text, '') || attstorage::text || coalesce(attcollation::regcollation::text, '')"
        "  || coalesce(pg_get_expr(adbin, adrelid), '')"
        "  from s, pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0"
        "  left join pg_attrdef on adrelid = attrelid and adnum = attnum"
        "  where relnamespace = s.oid and relkind = 'r'"
        " union all select pg_get_indexdef(pg_class.oid) from s, pg_class where relnamespace = s.oid and relkind = 'i'"
        " union all select conname || pg_get_constraintdef(pg_constraint.oid) from s, pg_constraint where connamespace "
        "= s.oid"
        " union all select typname || enum_range from s, pg_type, lateral (select string_agg(enumlabel, ',' order by"
        "  enumsortorder) as enum_range from pg_enum where enumtypid = pg_type.oid) e"
        "  where typnamespace = s.oid and typtype = 'e'"
        " union all select pg_get_functiondef(pg_proc.oid) from s, pg_proc where pronamespace = s.oid) x (line)",
        schema, schema);

    return ask(world, sql.ptr);
}

static void a_shadow__has_all_that_the_live_store_has(void **state)
{
    struct world *world = *state;
    const char   *live = shape_of(world, "tillwire");

    make_shadow(world);
    assert_non_null(strstr(live, "members_email_folded_key"));
    assert_non_null(strstr(live, "tw_advance"));
    assert_non_null(strstr(live, "ACTIVE,INACTIVE,SUSPENDED"));
    complete(world);
    assert_string_equal(shape_of(world, "tillwire_shadow"), live);
    assert_answer(world,
                  "select string_agg(name || '=' || value, ' ' order by name) from tillwire_shadow.tw_meta"
                  " where name <> 'schema_version'",
                  "folding_version=1 id_key_check=0123456789abcdef shadow=of a test");
}

#define INDEXES_OF_SHADOW                                            \
    "select string_agg(relname, ' ' order by relname) from pg_class" \
    " where relnamespace = 'tillwire_shadow'::regnamespace and relkind = 'i'"

static void a_shadow_that_is_filled__has_the_indexes_a_fold_needs_and_no_others(void **state)
{
    struct world *world = *state;

    make_shadow(world);
    assert_answer(world, INDEXES_OF_SHADOW,
                  "jwt_tokens_member_id jwt_tokens_pkey member_addresses_member_id member_addresses_pkey members_pkey"
                  " tw_email_changes_pkey tw_email_claims_pkey tw_ledger_pkey tw_meta_pkey tw_progress_pkey");
    assert_answer(world,
                  "select count(*) from pg_constraint where connamespace = 'tillwire_shadow'::regnamespace"
                  " and contype in ('f', 'u')",
                  "0");
}

static void completing__goes_on_where_it_was_interrupted_and_can_be_done_again(void **state)
{
    struct world *world = *state;
    const char   *live = shape_of(world, "tillwire");
    bool          more;

    make_shadow(world);
    fold_into(world, &world->copy, 2, "ben@example.com");
    assert_rc(world->shadow.complete(world->shadow.self, &more, &world->err), TW_OK, world->err);
    assert_true(more);
    world->shadow.close(world->shadow.self);
    assert_rc(tw_member_shadow_open(uri, "", TIMEOUT_MS, &world->shadow, &world->err), TW_OK, world->err);
    assert_int_equal(complete(world), 6);
    assert_string_equal(shape_of(world, "tillwire_shadow"), live);
    assert_int_equal(complete(world), 0);
    assert_string_equal(shape_of(world, "tillwire_shadow"), live);
}

static void completing__is_refused_where_rows_break_a_rule_and_names_it(void **state)
{
    struct world *world = *state;
    bool          more = true;
    enum tw_rc    rc = TW_OK;

    make_shadow(world);
    fold_into(world, &world->copy, 2, "ben@example.com");
    run(world,
        "insert into tillwire_shadow.members select '00000000-0000-8000-8000-000000000009', email, password_hash,"
        " full_name, phone_number, status, created_at, updated_at, last_login_at, email_folded, version,"
        " credential_version, is_service from tillwire_shadow.members");
    while (rc == TW_OK && more)
        rc = world->shadow.complete(world->shadow.self, &more, &world->err);
    assert_rc(rc, TW_BROKEN, world->err);
    assert_clause(world, "members_email_folded_key");
}

static void a_shadow_that_is_not_complete__is_not_swapped(void **state)
{
    struct world *world = *state;

    fold_into(world, &world->live, 1, "ana@example.com");
    make_shadow(world);
    fold_into(world, &world->copy, 2, "ben@example.com");
    freeze(world);
    assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "the shadow has no jwt_tokens_member_id_fkey yet");
    assert_nothing_happened(world);
}

static void folding_into_a_shadow__does_not_touch_the_live_store(void **state)
{
    struct world *world = *state;

    ready(world);
    assert_nothing_happened(world);
    assert_rc(world->copy.forget_outbox(world->copy.self, 0, 5, &world->err), TW_OK, world->err);
    assert_rc(world->copy.sweep(world->copy.self, 0, 5, 2 * AT_MS, &world->err), TW_OK, world->err);
    assert_answer(world, "select count(*) from tillwire.tw_ledger", "1");
    assert_answer(world, "select count(*) from tillwire_shadow.tw_ledger", "0");
}

static void a_shadow_that_is_dropped__leaves_nothing_and_can_be_made_again(void **state)
{
    struct world *world = *state;

    make_shadow(world);
    tw_member_store_close(&world->copy);
    assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_OK, world->err);
    assert_int_equal(content(world), TW_SHADOW_NONE);
    assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_OK, world->err); /* there is none */
    assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_OK, world->err);
    assert_int_equal(progress(world, &world->live, 0).next_offset, 0);
}

static void what_is_not_ours__is_foreign_and_never_touched(void **state)
{
    static const char *const schemas[] = {
        "create schema tillwire_shadow; create table tillwire_shadow.kept ()",
        "create schema tillwire_shadow; create table tillwire_shadow.tw_meta (name varchar, value varchar)",
        "create schema tillwire_shadow; create table tillwire_shadow.tw_meta (whatever integer)",
        "create schema tillwire_old; create table tillwire_old.kept ()",
    };
    struct world *world = *state;

    for (size_t i = 0; i < TW_LEN(schemas); i++) {
        run(world, schemas[i]);
        assert_int_equal(content(world), TW_SHADOW_FOREIGN);
        assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_BROKEN, world->err);
        assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_BROKEN, world->err);
        assert_clause(world, "not ours");
        assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
        assert_rc(swap_back(world, both_frozen), TW_BROKEN, world->err);
        assert_answer(world, "select count(*) from pg_tables where schemaname in ('tillwire_shadow', 'tillwire_old')",
                      "1");
        run(world, "drop schema if exists tillwire_shadow, tillwire_old cascade");
    }
}

static void what_others_made_depend_on_a_shadow__is_not_dropped_with_it(void **state)
{
    struct world *world = *state;

    make_shadow(world);
    run(world, "create schema beside; create view beside.emails as select email from tillwire_shadow.members");
    assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_BROKEN, world->err);
    assert_clause(world, "view beside.emails");
    assert_int_equal(content(world), TW_SHADOW_MADE);
}

static void a_name__is_letters_digits_and_underscores_and_not_the_live_schema(void **state)
{
    static const char *const names[] = {
        "tillwire",
        "a b",
        "a;b",
        "a\"b",
        "a'b",
        "a.b",
        "\xc3\xa9t\xc3\xa9",
        "pg_x",
        "tillwire_next",
        "a123456789b123456789c123456789d123456789e123456789f123456789", /* 60 */
    };
    struct world    *world = *state;
    struct tw_shadow shadow = {0};

    for (size_t i = 0; i < TW_LEN(names); i++)
        if (tw_member_shadow_open(uri, names[i], TIMEOUT_MS, &shadow, &world->err) != TW_INVALID)
            fail_msg("'%s' is taken for a name", names[i]);
    assert_rc(tw_member_shadow_open("postgresql://u:secret@h/d?no=1", "", TIMEOUT_MS, &shadow, &world->err), TW_INVALID,
              world->err);
    assert_null(strstr(world->err.msg, "secret"));
    tw_member_store_close(&world->copy);
}

static void a_shadow_of_any_name__is_a_store_of_its_own(void **state)
{
    struct world    *world = *state;
    struct tw_shadow shadow;

    assert_rc(tw_member_shadow_open(uri, "Monday_9", TIMEOUT_MS, &shadow, &world->err), TW_OK, world->err);
    assert_rc(shadow.make(shadow.self, "", &world->err), TW_OK, world->err);
    assert_rc(tw_member_store_open(shadow.uri, TIMEOUT_MS, &world->copy, &world->err), TW_OK, world->err);
    fold_into(world, &world->copy, 2, "ben@example.com");
    assert_answer(world, "select count(*) from \"Monday_9\".members", "1");
    assert_int_equal(content(world), TW_SHADOW_NONE); /* elsewhere */
    tw_member_store_close(&world->copy);
    assert_rc(shadow.drop(shadow.self, &world->err), TW_OK, world->err);
    shadow.close(shadow.self);
}

static void a_live_store_that_is_not_complete__has_no_shadow(void **state)
{
    struct world *world = *state;

    run(world, "delete from tillwire.tw_meta where name = 'id_key_check'");
    assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_BROKEN, world->err);
    assert_clause(world, "not pinned");
    run(world, "update tillwire.tw_meta set value = '3' where name = 'schema_version'");
    assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_BROKEN, world->err);
    assert_clause(world, "another version");
    run(world, "drop schema tillwire cascade");
    assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_BROKEN, world->err);
    assert_clause(world, "twctl schema apply");
    assert_int_equal(content(world), TW_SHADOW_NONE);
}

/* How many stuck transactions end that hold something of @p schema. */
static const char *end_stuck(struct world *world, PGconn *session, const char *schema)
{
    struct tw_str sql = tw_arena_printf(&world->arena, "set search_path = %s; select tw_end_stuck(0)", schema);
    PGresult     *result = PQexec(session, sql.ptr);
    struct tw_str count;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(session));
    count = tw_arena_printf(&world->arena, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return count.ptr;
}

static void a_slow_commit_into_a_shadow__is_not_taken_for_a_stuck_worker(void **state)
{
    struct world *world = *state;
    PGconn       *other;

    make_shadow(world);
    run(world, "set search_path = tillwire_shadow; begin; select tw_advance(0, 0, 1, 0, '', '')");
    other = PQconnectdb(uri);
    assert_string_equal(end_stuck(world, other, "tillwire"), "0");
    assert_string_equal(end_stuck(world, other, "tillwire_shadow"), "1");
    PQfinish(other);
    PQreset(world->admin);
    run(world, "set client_min_messages = warning");
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

static const char sessions[] = "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity"
                               " where application_name = 'tillwire-member' and datname = current_database()";

static void a_swap__puts_the_shadow_into_the_live_place_and_keeps_the_old_store(void **state)
{
    struct world *world = *state;

    ready(world);
    run(world, "update tillwire_shadow.tw_progress set outbox = 'a note of its maker'");
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    assert_int_equal(content(world), TW_SHADOW_OLD);
    assert_answer(world, "select count(*) from tillwire.tw_progress where outbox <> ''", "0");
    assert_answer(world, "select string_agg(email, ' ') from tillwire.members", "ben@example.com");
    assert_answer(world, "select string_agg(email, ' ') from tillwire_old.members", "ana@example.com");
    assert_answer(world, "select count(*) from tillwire.tw_progress where mark <> 0", "0");
    assert_answer(world, "select count(*) from tillwire.tw_meta where name in ('shadow', 'replaced')", "0");
}

static void sessions_of_a_worker__go_on_with_the_new_store(void **state)
{
    struct world     *world = *state;
    struct tw_member *before, *after;
    const char       *pids;

    ready(world);
    assert_non_null(load(world, &world->live, 1)); /* every statement was planned on the old one */
    assert_rc(world->live.forget_outbox(world->live.self, 0, 5, &world->err), TW_OK, world->err);
    pids = ask(world, sessions);
    assert_non_null(strchr(pids, ' ')); /* there are several */
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    notice_the_swap(world);
    assert_null(load(world, &world->live, 1));
    before = load(world, &world->live, 2);
    assert_non_null(before);
    assert_int_equal(before->status, TW_MEMBER_STATUS_SUSPENDED);
    after = TW_NEW(&world->arena, struct tw_member);
    memcpy(after, before, sizeof(*after));
    after->status = TW_MEMBER_STATUS_ACTIVE;
    assert_rc(commit(world, &world->live, 0, 6, before, after, NULL), TW_OK, world->err);
    assert_rc(world->live.forget_outbox(world->live.self, 0, 6, &world->err), TW_OK, world->err);
    assert_rc(world->live.sweep(world->live.self, 0, 6, 2 * AT_MS, &world->err), TW_OK, world->err);
    assert_answer(world, "select status || ' ' || (select count(*) from tillwire.tw_ledger) from tillwire.members",
                  "ACTIVE 0");
    assert_answer(world, "select next_offset from tillwire_old.tw_progress where partition = 0", "5");
    assert_answer(world, "select count(*) from tillwire_old.tw_ledger", "1");
    assert_string_equal(ask(world, sessions), pids); /* none of them connected anew */
}

/* The watermark is the same in both stores, and what a worker remembers is of the one that is gone. */
static void a_worker_that_slept_all_the_time__commits_nothing_of_what_it_remembers(void **state)
{
    struct world           *world = *state;
    struct tw_store         sleeper;
    struct tw_member        remembered = member(1, "ana@example.com");
    struct tw_member        changed = remembered;
    struct tw_entity        entity = {.key = {.id = remembered.member_id}, .before = &remembered, .state = &changed};
    const struct tw_entity *entities[] = {&entity};
    struct tw_changes       changes = {
              .first_offset = 5, .after = {.next_offset = 6, .clock_ms = AT_MS}, .entities = entities, .entity_count = 1};

    ready(world);
    assert_rc(tw_member_store_open(uri, TIMEOUT_MS, &sleeper, &world->err), TW_OK, world->err);
    assert_int_equal(progress(world, &sleeper, 0).next_offset, 5);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    entity.changed = true;
    changed.status = TW_MEMBER_STATUS_ACTIVE;
    assert_rc(sleeper.commit(sleeper.self, &changes, &world->err), TW_FENCED, world->err);
    changes.entity_count = 0; /* nothing that could be missing */
    assert_rc(sleeper.commit(sleeper.self, &changes, &world->err), TW_FENCED, world->err);
    assert_answer(world, "select next_offset from tillwire.tw_progress where partition = 0", "5");
    tw_member_store_close(&sleeper);
    notice_the_swap(world);
    assert_int_equal(progress(world, &world->live, 0).next_offset, 5);
    assert_rc(commit(world, &world->live, 0, 6, NULL, NULL, NULL), TW_OK, world->err);
}

static void sessions_of_an_edge__see_the_new_store(void **state)
{
    static const char        select[] = "select email from tillwire.members"
                                        " where $1::tillwire.member_status is null or status = $1";
    static const char *const args[] = {"SUSPENDED"};
    struct world            *world = *state;
    PGresult                *result;

    ready(world);
    PQclear(PQprepare(world->admin, "by_status", select, 0, NULL));
    result = PQexecPrepared(world->admin, "by_status", 1, args, NULL, NULL, 0);
    assert_string_equal(PQgetvalue(result, 0, 0), "ana@example.com");
    PQclear(result);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    result = PQexecParams(world->admin, select, 1, NULL, args, NULL, NULL, 0);
    assert_string_equal(PQgetvalue(result, 0, 0), "ben@example.com");
    PQclear(result);
}

static void whoever_still_writes_the_old_store__is_fenced(void **state)
{
    struct world *world = *state;

    ready(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    run(world, "set search_path = tillwire_old");
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct tw_str sql = tw_arena_printf(&world->arena, "select tw_advance(%d, %lld, 9, 0, '', '')", p,
                                            (long long)both_frozen[p].next_offset);
        PGresult     *result = PQexec(world->admin, sql.ptr);

        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "TW001");
        PQclear(result);
    }
}

static void a_live_store_that_is_not_frozen_as_said__is_fenced(void **state)
{
    static const struct tw_frozen wrong[][PARTITIONS] = {
        {{5, MARK}, {0, MARK}},     /* another mark */
        {{4, MARK}, {0, MARK + 1}}, /* another watermark */
        {{5, MARK}, {0, 0}},        /* none */
    };
    struct world *world = *state;

    ready(world);
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        assert_rc(swap(world, wrong[i]), TW_FENCED, world->err);
        assert_clause(world, i == 1 ? "partition 0" : "partition 1");
        assert_nothing_happened(world);
    }
    assert_rc(world->shadow.swap(world->shadow.self, both_frozen, 1, NULL, NULL, &world->err), TW_FENCED, world->err);
    assert_clause(world, "partition 1 of the live store is not among");
    assert_nothing_happened(world);
}

static void a_live_store_without_marks__is_fenced(void **state)
{
    static const struct tw_frozen unmarked[PARTITIONS] = {{5, 0}, {0, 0}};
    struct world                 *world = *state;

    ready(world);
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_rc(
            world->live.set_mark(world->live.self, p, both_frozen[p].next_offset, both_frozen[p].mark, 0, &world->err),
            TW_OK, world->err);
    assert_rc(swap(world, both_frozen), TW_FENCED, world->err);
    assert_rc(swap(world, unmarked), TW_FENCED, world->err);
    assert_rc(commit(world, &world->live, 0, 6, NULL, NULL, NULL), TW_OK, world->err);
}

static void a_shadow_that_is_not_where_the_live_store_is__is_not_swapped(void **state)
{
    struct world *world = *state;

    ready(world);
    run(world, "update tillwire_shadow.tw_progress set next_offset = 4");
    assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "partition 0 is folded up to offset 4, the live one up to 5");
    assert_nothing_happened(world);
}

static void an_older_store_that_is_kept__is_in_the_way(void **state)
{
    struct world *world = *state;

    ready(world);
    run(world, "create schema tillwire_old");
    assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "not ours");
    run(world, "create table tillwire_old.tw_meta (name varchar, value varchar);"
               "insert into tillwire_old.tw_meta values ('replaced', '')");
    assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "drop it first");
    run(world, "drop schema tillwire_old cascade");
    assert_nothing_happened(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
}

static void a_turn_that_is_under_way__is_waited_for_and_not_long(void **state)
{
    struct world *world = *state;

    ready(world);
    run(world, "begin isolation level repeatable read; select next_offset from tillwire.tw_progress");
    assert_rc(swap(world, both_frozen), TW_UNREACHED, world->err);
    assert_clause(world, "55P03");
    run(world, "commit");
    assert_nothing_happened(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
}

static void rights_of_others__hold_after_a_swap(void **state)
{
    static const char rights[] =
        "select string_agg(what, E'\\n' order by what) from ("
        " select 'schema ' || (select string_agg(a::text, ' ' order by a::text) from unnest(nspacl) a) as what"
        "  from pg_namespace where nspname = 'tillwire'"
        " union all select relname || ' ' || (select string_agg(a::text, ' ' order by a::text) from unnest(relacl) a)"
        "  from pg_class where relnamespace = 'tillwire'::regnamespace"
        " union all select relname || '.' || attname || attacl::text from pg_class join pg_attribute"
        "  on attrelid = pg_class.oid where relnamespace = 'tillwire'::regnamespace"
        " union all select 'to come ' || defaclacl::text from pg_default_acl"
        "  where defaclnamespace = 'tillwire'::regnamespace) x where what is not null";
    struct world *world = *state;
    const char   *before;

    run(world, "grant usage on schema tillwire to tillwire_edge;"
               "grant select on tillwire.members, tillwire.jwt_tokens to tillwire_edge with grant option;"
               "grant select on tillwire.tw_meta to public");
    ready(world);
    run(world, "grant select (partition, next_offset) on tillwire.tw_progress to tillwire_edge;" /* after make() */
               "alter default privileges in schema tillwire grant select on tables to tillwire_edge");
    before = ask(world, rights);
    assert_non_null(strstr(before, "schema "));
    assert_non_null(strstr(before, "members "));
    assert_non_null(strstr(before, "tw_progress.next_offset"));
    assert_non_null(strstr(before, "to come "));
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    assert_string_equal(ask(world, rights), before);
}

/* One after the other: what a swap would leave behind, how it is named, and how it goes again. */
static void what_a_swap_would_leave_behind__is_in_the_way(void **state)
{
    static const struct {
        const char *made, *clause, *gone;
    } things[] = {
        {"create view beside.emails as select email from tillwire.members", "view beside.emails",
         "drop view beside.emails"},
        {"create table beside.notes (member_id uuid references tillwire.members)", "constraint notes_member_id_fkey",
         "drop table beside.notes"},
        {"create table tillwire.member_keys ()", "table member_keys", "drop table tillwire.member_keys"},
        {"create index by_name on tillwire.members (full_name)", "index by_name", "drop index tillwire.by_name"},
        {"create function tillwire.helper() returns integer language sql as 'select 1'", "function helper()",
         "drop function tillwire.helper()"},
        {"create publication of_members for table tillwire.members", "publication of_members",
         "drop publication of_members"},
        {"create trigger of_members before update on tillwire.members for each row execute function"
         " suppress_redundant_updates_trigger()",
         "trigger of_members", "drop trigger of_members on tillwire.members"},
    };
    struct world *world = *state;

    run(world, "create schema beside");
    ready(world);
    for (size_t i = 0; i < TW_LEN(things); i++) {
        run(world, things[i].made);
        assert_rc(swap(world, both_frozen), TW_BROKEN, world->err);
        assert_clause(world, things[i].clause);
        run(world, things[i].gone);
        assert_nothing_happened(world);
    }
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    run(world, things[0].made);
    assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_OK, world->err);
    assert_rc(world->shadow.make(world->shadow.self, "", &world->err), TW_BROKEN, world->err); /* before any work */
    assert_int_equal(content(world), TW_SHADOW_NONE);
}

/* --- a worker that never stops ------------------------------------------------------------------------------------ */

/* Folds "the member's version is the watermark", one record a commit, as fast as it can. */
struct busy_worker {
    struct tw_store store;
    struct tw_arena arena;
    atomic_bool     stop;
    atomic_bool     failed;
    atomic_long     commits;
    char            complaint[300]; /* empty: none */
};

static bool complain(struct busy_worker *worker, const char *what, const struct tw_err *err)
{
    snprintf(worker->complaint, sizeof(worker->complaint), "%s: %s %s", what, tw_rc_name(err->rc), err->msg);
    atomic_store(&worker->failed, true);
    return false;
}

/* False: the thread is over. What is fenced or not reached is tried again, as the runtime does. */
static bool one_turn(struct busy_worker *worker)
{
    struct tw_store        *store = &worker->store;
    struct tw_err           err = {0};
    struct tw_progress      at;
    struct tw_member        after;
    struct tw_entity        entity = {.key = {.id = {{1}}}};
    const struct tw_entity *entities[] = {&entity};
    struct tw_load          wanted = {.entities = &entity, .entity_count = 1};
    struct tw_changes       changes = {.entities = entities, .entity_count = 1};
    enum tw_rc              rc;

    tw_arena_reset(&worker->arena);
    rc = store->watermark(store->self, 0, &worker->arena, &at, &err);
    if (rc == TW_OK)
        rc = store->load(store->self, 0, at.next_offset, &wanted, &worker->arena, &err);
    if (rc == TW_FENCED || rc == TW_UNREACHED)
        return true;
    if (rc != TW_OK)
        return complain(worker, "load", &err);
    memcpy(&after, entity.before, sizeof(after));
    if (after.version != at.next_offset)
        return complain(worker, "a member of another moment than its watermark", &err);
    after.version = changes.after.next_offset = at.next_offset + 1;
    changes.first_offset = at.next_offset;
    entity.state = &after;
    entity.changed = true;
    rc = store->commit(store->self, &changes, &err);
    if (rc != TW_OK && rc != TW_FENCED && rc != TW_UNREACHED)
        return complain(worker, "commit", &err);
    if (rc == TW_OK)
        atomic_fetch_add(&worker->commits, 1);
    return true;
}

static int turn_for_ever(void *arg)
{
    struct busy_worker *worker = arg;

    while (!atomic_load(&worker->stop) && one_turn(worker))
        ;
    return 0;
}

static void wait_for_commits(struct busy_worker *worker, long more)
{
    long enough = atomic_load(&worker->commits) + more;

    while (atomic_load(&worker->commits) < enough && !atomic_load(&worker->failed))
        thrd_sleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
}

/* Freezes partition 0 wherever it is, and says where. */
static int64_t freeze_moving(struct world *world)
{
    for (;;) {
        int64_t    at = progress(world, &world->live, 0).next_offset;
        enum tw_rc rc = world->live.set_mark(world->live.self, 0, at, 0, MARK, &world->err);

        if (rc == TW_OK)
            return at;
        assert_int_equal(rc, TW_FENCED);
    }
}

static void swap_under(struct world *world)
{
    struct tw_member added = member(1, "ana@example.com");
    struct tw_frozen frozen = {.mark = MARK};

    make_shadow(world);
    frozen.next_offset = added.version = freeze_moving(world);
    assert_rc(commit(world, &world->copy, 0, frozen.next_offset, NULL, &added, NULL), TW_OK, world->err);
    complete(world);
    tw_member_store_close(&world->copy);
    while (world->shadow.swap(world->shadow.self, &frozen, 1, NULL, NULL, &world->err) != TW_OK)
        assert_rc(world->err.rc, TW_UNREACHED, world->err); /* a turn held its lock */
}

static void a_worker_that_never_stops__loses_no_commit_to_a_swap(void **state)
{
    struct world      *world = *state;
    struct busy_worker worker = {0};
    struct tw_member   first = member(1, "ana@example.com");
    thrd_t             thread;

    assert_rc(commit(world, &world->live, 0, 1, NULL, &first, NULL), TW_OK, world->err);
    assert_rc(tw_member_store_open(uri, TIMEOUT_MS, &worker.store, &world->err), TW_OK, world->err);
    assert_int_equal(thrd_create(&thread, turn_for_ever, &worker), thrd_success);
    for (int i = 0; i < 5; i++) {
        wait_for_commits(&worker, 5);
        swap_under(world);
        wait_for_commits(&worker, 5);
        assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_OK, world->err);
    }
    atomic_store(&worker.stop, true);
    thrd_join(thread, NULL);
    assert_string_equal(worker.complaint, "");
    assert_int_equal(progress(world, &world->live, 0).next_offset, 1 + atomic_load(&worker.commits));
    tw_member_store_close(&worker.store);
    tw_arena_done(&worker.arena);
}

/* --- swap back ---------------------------------------------------------------------------------------------------- */

static void going_back__brings_the_old_store_at_its_own_watermark(void **state)
{
    static const struct tw_frozen later[PARTITIONS] = {{8, MARK}, {0, MARK + 1}};
    struct world                 *world = *state;

    ready(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    assert_rc(commit(world, &world->live, 0, 8, NULL, NULL, NULL), TW_OK, world->err);
    freeze(world);
    assert_rc(swap_back(world, later), TW_OK, world->err);
    assert_int_equal(content(world), TW_SHADOW_OLD);
    assert_non_null(load(world, &world->live, 1));
    assert_rc(commit(world, &world->live, 0, 6, NULL, NULL, NULL), TW_OK, world->err); /* folds on from 5 */
    assert_rc(commit(world, &world->live, 1, 1, NULL, NULL, NULL), TW_OK, world->err);
    assert_answer(world, "select string_agg(email, ' ') from tillwire_old.members", "ben@example.com");
    assert_answer(world, "select string_agg(next_offset::text, ' ' order by partition) from tillwire_old.tw_progress",
                  "8 0");
}

static void going_back_and_forth__works_as_often_as_one_likes(void **state)
{
    struct world *world = *state;

    ready(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    for (int i = 0; i < 4; i++) {
        freeze(world);
        assert_rc(swap_back(world, both_frozen), TW_OK, world->err);
        assert_answer(world, "select string_agg(email, ' ') from tillwire.members",
                      i % 2 ? "ben@example.com" : "ana@example.com");
    }
    assert_rc(world->shadow.drop(world->shadow.self, &world->err), TW_OK, world->err);
    assert_int_equal(content(world), TW_SHADOW_NONE);
    assert_answer(world, "select string_agg(email, ' ') from tillwire.members", "ben@example.com");
}

static void going_back__needs_a_frozen_store_and_one_to_go_to(void **state)
{
    struct world *world = *state;

    ready(world);
    assert_rc(swap_back(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "no store to go back to");
    assert_nothing_happened(world);
    assert_rc(swap(world, both_frozen), TW_OK, world->err);
    assert_rc(swap_back(world, both_frozen), TW_FENCED, world->err);
    assert_answer(world, "select string_agg(email, ' ') from tillwire.members", "ben@example.com");
    run(world, "update tillwire.tw_meta set value = '999' where name = 'schema_version'");
    run(world, "update tillwire.tw_progress set mark = case partition when 0 then 77 else 78 end;"
               "insert into tillwire.tw_progress values (1, 0, 0, '', '', 78)");
    assert_rc(swap_back(world, both_frozen), TW_BROKEN, world->err);
    assert_clause(world, "another release");
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_shadow__is_there_once_it_was_made_with_its_note),
        RULE(a_shadow__has_all_that_the_live_store_has),
        RULE(a_shadow_that_is_filled__has_the_indexes_a_fold_needs_and_no_others),
        RULE(completing__goes_on_where_it_was_interrupted_and_can_be_done_again),
        RULE(completing__is_refused_where_rows_break_a_rule_and_names_it),
        RULE(a_shadow_that_is_not_complete__is_not_swapped),
        RULE(folding_into_a_shadow__does_not_touch_the_live_store),
        RULE(a_shadow_that_is_dropped__leaves_nothing_and_can_be_made_again),
        RULE(what_is_not_ours__is_foreign_and_never_touched),
        RULE(what_others_made_depend_on_a_shadow__is_not_dropped_with_it),
        RULE(a_name__is_letters_digits_and_underscores_and_not_the_live_schema),
        RULE(a_shadow_of_any_name__is_a_store_of_its_own),
        RULE(a_live_store_that_is_not_complete__has_no_shadow),
        RULE(a_slow_commit_into_a_shadow__is_not_taken_for_a_stuck_worker),
        RULE(a_swap__puts_the_shadow_into_the_live_place_and_keeps_the_old_store),
        RULE(sessions_of_a_worker__go_on_with_the_new_store),
        RULE(a_worker_that_slept_all_the_time__commits_nothing_of_what_it_remembers),
        RULE(sessions_of_an_edge__see_the_new_store),
        RULE(whoever_still_writes_the_old_store__is_fenced),
        RULE(a_live_store_that_is_not_frozen_as_said__is_fenced),
        RULE(a_live_store_without_marks__is_fenced),
        RULE(a_shadow_that_is_not_where_the_live_store_is__is_not_swapped),
        RULE(an_older_store_that_is_kept__is_in_the_way),
        RULE(a_turn_that_is_under_way__is_waited_for_and_not_long),
        RULE(rights_of_others__hold_after_a_swap),
        RULE(what_a_swap_would_leave_behind__is_in_the_way),
        RULE(a_worker_that_never_stops__loses_no_commit_to_a_swap),
        RULE(going_back__brings_the_old_store_at_its_own_watermark),
        RULE(going_back_and_forth__works_as_often_as_one_likes),
        RULE(going_back__needs_a_frozen_store_and_one_to_go_to),
    };
    const char *skip = getenv("TW_SKIP_STORES");

    uri = getenv("TW_POSTGRES_URI");
    if (uri)
        return cmocka_run_group_tests(tests, NULL, NULL);
    fprintf(stderr, "member_shadow: NOT RUN: TW_POSTGRES_URI names no server (TW_SKIP_STORES=1 accepts that)\n");
    return skip && strcmp(skip, "1") == 0 ? 0 : 1;
}
