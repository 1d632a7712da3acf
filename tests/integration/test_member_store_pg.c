/* Links: tw_net_faults PkgConfig::PQ */
/*
 * What the contract suite cannot know of the members' store: columns, constraints, what PostgreSQL's failures mean,
 * what is checked at connecting. EMPTIES the schema `tillwire` of the database that TW_POSTGRES_URI names, and makes it
 * when it is not there.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_faults.h"
#include "tillwire/clock.h"
#include "tillwire/gen/member_messages.h"
#include "unit.h"
#include "workers/member/member_domain.h"
#include "workers/member/member_store.h"
#include "workers/member/pg_pipeline.h"

enum { TIMEOUT_MS = 2000, PARTITION = 3 };
#define AT_MS INT64_C(1795428000123)

static const char *uri;
static PGconn     *admin; /* looks at what the store wrote, and gets in its way */
/* Functions of the schema look for their tables there. */
static const char  admin_session[] = "set client_min_messages = warning; set search_path = tillwire";

/* --- the server --------------------------------------------------------------------------------------------------- */

static void run(const char *sql)
{
    PGresult      *result = PQexec(admin, sql);
    ExecStatusType status = PQresultStatus(result);

    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(admin));
}

/* The first cell of a query, in static memory. */
static const char *ask(const char *sql)
{
    static char value[4096];
    PGresult   *result = PQexec(admin, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0)
        fail_msg("%s: %s", sql, PQerrorMessage(admin));
    snprintf(value, sizeof(value), "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return value;
}

static int is_migration(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');

    return end && strcmp(end, ".sql") == 0;
}

static void run_file(const char *name)
{
    static char sql[1 << 18];
    char        path[300];
    FILE       *file;
    size_t      len;

    snprintf(path, sizeof(path), "schemas/sql/%s", name);
    file = fopen(path, "r");
    assert_non_null(file);
    len = fread(sql, 1, sizeof(sql) - 1, file);
    fclose(file);
    sql[len] = '\0';
    run(sql);
}

static int connect_admin(void **state)
{
    struct dirent **files;

    (void)state;
    admin = PQconnectdb(uri);
    if (PQstatus(admin) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(admin));
    run(admin_session);
    if (*ask("select count(*) from pg_namespace where nspname = 'tillwire'") == '1')
        return 0;
    for (int i = 0, count = scandir("schemas/sql", &files, is_migration, alphasort); i < count; i++) {
        run_file(files[i]->d_name);
        free(files[i]);
    }
    free(files);
    run("insert into tillwire.tw_meta values ('id_key_check', '0123456789abcdef'), ('folding_version', '1')");
    return 0;
}

static int disconnect_admin(void **state)
{
    (void)state;
    PQfinish(admin);
    return 0;
}

/* --- given, when -------------------------------------------------------------------------------------------------- */

struct world {
    struct tw_store  store;
    struct tw_arena  arena;
    struct tw_err    err;
    struct tw_member member; /* a valid one that tests spoil */
};

static const char emptying[] = "truncate members, member_addresses, jwt_tokens, tw_ledger, tw_progress,"
                               " tw_email_claims, tw_email_changes";

static int setup(void **state)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));

    run(emptying);
    assert_rc(tw_member_store_open(uri, TIMEOUT_MS, &world->store, &world->err), TW_OK, world->err);
    world->member = (struct tw_member){
        .member_id = {{1}},
        .email = TW_STR("Ana@example.com"),
        .email_folded = TW_STR("ana@example.com"),
        .has_password_hash = true,
        .password_hash = TW_STR("$argon2id$x"),
        .full_name = TW_STR("Ana Lim"),
        .created_at_ms = AT_MS,
        .updated_at_ms = AT_MS,
        .version = 1,
        .credential_version = 1,
    };
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    tw_member_store_close(&world->store);
    tw_arena_done(&world->arena);
    free(world);
    return 0;
}

static enum tw_rc watermark(struct world *world, struct tw_progress *ret_progress)
{
    return world->store.watermark(world->store.self, PARTITION, &world->arena, ret_progress, &world->err);
}

static int64_t next_offset(struct world *world)
{
    struct tw_progress progress;

    assert_rc(watermark(world, &progress), TW_OK, world->err);
    return progress.next_offset;
}

/* Commits the step from @p first_offset to the next with what is given; @p entity and @p row may be NULL. */
static enum tw_rc commit_entity(struct world *world, int64_t first_offset, const struct tw_entity *entity,
                                const struct tw_ledger_row *row)
{
    const struct tw_entity *entities[] = {entity};
    struct tw_changes       changes = {
              .partition = PARTITION,
              .first_offset = first_offset,
              .after = {.next_offset = first_offset + 1, .clock_ms = AT_MS, .outbox = TW_STR("to publish")},
              .entities = entities,
              .entity_count = entity ? 1 : 0,
              .rows = row,
              .row_count = row ? 1 : 0,
    };

    return world->store.commit(world->store.self, &changes, &world->err);
}

/* The same with a member; `before` and `after` may be NULL. */
static enum tw_rc commit(struct world *world, int64_t first_offset, const struct tw_member *before,
                         struct tw_member *after, const struct tw_ledger_row *row)
{
    struct tw_entity entity = {.before = before, .state = after, .changed = true};

    if (after)
        entity.key.id = after->member_id;
    return commit_entity(world, first_offset, after ? &entity : NULL, row);
}

static enum tw_rc commit_claim(struct world *world, int64_t first_offset, const struct tw_member_claim *before,
                               struct tw_member_claim *after)
{
    struct tw_entity entity = {
        .key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = after->claim_id},
        .before = before,
        .state = after,
        .changed = true,
    };

    return commit_entity(world, first_offset, &entity, NULL);
}

static const struct tw_member *load(struct world *world, int64_t first_offset)
{
    struct tw_entity entity = {.key = {.id = world->member.member_id}};
    struct tw_load   wanted = {.entities = &entity, .entity_count = 1};

    assert_rc(world->store.load(world->store.self, PARTITION, first_offset, &wanted, &world->arena, &world->err), TW_OK,
              world->err);
    return entity.before;
}

static struct tw_member *copy(struct world *world, const struct tw_member *member)
{
    struct tw_member *other = TW_NEW(&world->arena, struct tw_member);

    tw_member_type.copy(member, &world->arena, other);
    return other;
}

static void give_addresses(struct world *world, uint32_t count)
{
    struct tw_member *member = &world->member;

    member->addresses = TW_NEW_ARRAY(&world->arena, count, struct tw_member_address);
    member->addresses_len = member->addresses_cap = count;
    for (uint32_t i = 0; i < count; i++)
        member->addresses[i] = (struct tw_member_address){
            .address_id = {{11, (uint8_t)i}},
            .label = TW_STR("Home"),
            .address_line1 = TW_STR("Jl. Sudirman 1"),
            .city = TW_STR("Jakarta"),
            .province = TW_STR("DKI Jakarta"),
            .postal_code = TW_STR("10220"),
            .is_default = i == 0,
            .created_at_ms = AT_MS + i,
        };
}

static void give_tokens(struct world *world, uint32_t count)
{
    struct tw_member *member = &world->member;

    member->tokens = TW_NEW_ARRAY(&world->arena, count, struct tw_member_token);
    member->tokens_len = member->tokens_cap = count;
    for (uint32_t i = 0; i < count; i++)
        member->tokens[i] = (struct tw_member_token){
            .token_id = {{21, (uint8_t)i}}, .family_id = {{22}}, .expires_at_ms = AT_MS, .created_at_ms = AT_MS + i};
}

static void give_email_change(struct tw_member *member, uint8_t n)
{
    member->has_email_change = true;
    member->email_change = (struct tw_member_email_change){
        .change_id = {{41, n}},
        .email = TW_STR("Ana@example.org"),
        .email_folded = TW_STR("ana@example.org"),
        .caller = member->member_id,
        .fingerprint = {0xab, n},
        .record_offset = n,
        .submitted_at_ms = AT_MS,
    };
}

static struct tw_ledger_row ledger_row(uint8_t n, int64_t at_ms)
{
    return (struct tw_ledger_row){
        .id = {{31, n}},
        .type = TW_STR("member.register"),
        .outcome = tw_succeeded(201, TW_STR("/v1/members/me")),
        .offset = n,
        .at_ms = at_ms,
    };
}

static void assert_clause(const struct world *world, const char *part)
{
    if (!strstr(world->err.msg, part))
        fail_msg("'%s' does not say '%s'", world->err.msg, part);
}

/* --- the schema --------------------------------------------------------------------------------------------------- */

#define COLUMNS_OF(table)                                                                                      \
    "select string_agg(attname || ' ' || format_type(atttypid, null), ', ' order by attnum) from pg_attribute" \
    " where attrelid = 'tillwire." table "'::regclass and attnum > 0 and not attisdropped"

static void tables__begin_with_the_columns_of_the_data_model(void **state)
{
    static const struct {
        const char *query;
        const char *columns;
    } tables[] = {
        {COLUMNS_OF("members"),
         "id uuid, email character varying, password_hash character varying, full_name character varying,"
         " phone_number character varying, status tillwire.member_status, created_at timestamp without time zone,"
         " updated_at timestamp without time zone, last_login_at timestamp without time zone,"},
        {COLUMNS_OF("member_addresses"),
         "id uuid, member_id uuid, label character varying, address_line1 text, address_line2 text,"
         " city character varying, province character varying, postal_code character varying, is_default boolean,"
         " created_at timestamp without time zone"},
        {COLUMNS_OF("jwt_tokens"),
         "id uuid, member_id uuid, token_hash character varying, expires_at timestamp without time zone,"
         " is_revoked boolean, created_at timestamp without time zone,"},
    };

    (void)state;
    run("set search_path = pg_temp");
    for (size_t i = 0; i < TW_LEN(tables); i++) {
        const char *columns = ask(tables[i].query);

        if (strncmp(columns, tables[i].columns, strlen(tables[i].columns)) != 0)
            fail_msg("%s", columns);
    }
    run(admin_session);
    assert_string_equal(ask("select enum_range(null::tillwire.member_status)"), "{ACTIVE,INACTIVE,SUSPENDED}");
}

static void values__are_readable_in_the_table(void **state)
{
    struct world *world = *state;

    next_offset(world);
    give_tokens(world, 1);
    memset(world->member.tokens[0].token_hash, 0xab, sizeof(world->member.tokens[0].token_hash));
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    assert_string_equal(ask("select created_at from tillwire.members"), "2026-11-23 10:00:00.123");
    assert_string_equal(ask("select phone_number is null and last_login_at is null from tillwire.members"), "t");
    assert_string_equal(ask("select token_hash = repeat('ab', 32) from tillwire.jwt_tokens"), "t");
}

static void default_address__may_move_within_one_commit(void **state)
{
    struct world           *world = *state;
    const struct tw_member *before;
    struct tw_member       *after;

    next_offset(world);
    give_addresses(world, 3);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    before = load(world, 1);
    for (uint32_t to = 2; to > 0; to--) { /* to a later and to an earlier row of the statement */
        after = copy(world, before);
        for (uint32_t i = 0; i < 3; i++)
            after->addresses[i].is_default = i == to;
        assert_rc(commit(world, 3 - to, before, after, NULL), TW_OK, world->err);
        before = load(world, 4 - to);
        assert_true(before->addresses[to].is_default);
    }
    after = copy(world, before); /* the default is deleted, another takes its place */
    after->addresses[1] = after->addresses[2];
    after->addresses_len = 2;
    after->addresses[0].is_default = true;
    assert_rc(commit(world, 3, before, after, NULL), TW_OK, world->err);
    assert_string_equal(ask("select count(*) from tillwire.member_addresses where is_default"), "1");
}

static void two_defaults__are_a_broken_invariant(void **state)
{
    struct world *world = *state;

    next_offset(world);
    give_addresses(world, 2);
    world->member.addresses[1].is_default = true;
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_BROKEN, world->err);
    assert_clause(world, "member_addresses_one_default");
    assert_int_equal(next_offset(world), 0);
}

static void one_address_for_two_members__is_a_broken_invariant(void **state)
{
    struct world *world = *state;

    next_offset(world);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    world->member.member_id.bytes[0] = 2;
    assert_rc(commit(world, 1, NULL, &world->member, NULL), TW_BROKEN, world->err);
    assert_clause(world, "23505 members_email_folded_key");
    assert_null(strstr(world->err.msg, "ana"));
    assert_int_equal(next_offset(world), 1);
}

static void a_new_member_that_is_there__is_a_broken_invariant(void **state)
{
    struct world *world = *state;

    next_offset(world);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    assert_rc(commit(world, 1, NULL, &world->member, NULL), TW_BROKEN, world->err);
}

/* --- commit ------------------------------------------------------------------------------------------------------- */

static void what_can_never_be_written__is_refused_and_leaves_nothing(void **state)
{
    struct world *world = *state;

    next_offset(world);
    world->member.has_phone_number = true;
    world->member.phone_number = TW_STR("+12345678901234567");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_REFUSED, world->err);
    assert_clause(world, "22001");
    world->member.phone_number = TW_STR("\xff");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_REFUSED, world->err);
    assert_clause(world, "22021");
    assert_null(strstr(world->err.msg, "0xff")); /* the server's message quotes the bytes */
    assert_string_equal(ask("select count(*) from tillwire.members"), "0");
    world->member.has_phone_number = false;
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err); /* on the same connection */
}

static void rows_that_did_not_change__are_not_written(void **state)
{
    static const char       versions[] = "select t.xmin || ' ' || m.xmin || ' ' || c.xmin"
                                         " from tillwire.jwt_tokens t, tillwire.members m, tillwire.tw_email_changes c"
                                         " where t.created_at = '2026-11-23 10:00:00.123'";
    struct world           *world = *state;
    const struct tw_member *before;
    struct tw_member       *after;
    char                    untouched[64];

    next_offset(world);
    give_tokens(world, 3);
    give_email_change(&world->member, 1);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    before = load(world, 1);
    snprintf(untouched, sizeof(untouched), "%s", ask(versions));
    after = copy(world, before);
    after->tokens[1].is_revoked = true;
    after->tokens_len = 2;
    assert_rc(commit(world, 1, before, after, NULL), TW_OK, world->err);
    assert_string_equal(ask(versions), untouched);
    assert_string_equal(ask("select string_agg(is_revoked::text, ' ' order by id) from tillwire.jwt_tokens"),
                        "false true");
}

static void the_first_commit__is_won_by_one_of_two_owners(void **state)
{
    struct world *world = *state;

    next_offset(world);
    run("begin");
    run("select tillwire.tw_advance(3, 0, 5, 0, '\\x00', '')");
    assert_true(PQsendQuery(admin, "select pg_sleep(0.3); commit")); /* while the other one waits for it */
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_FENCED, world->err);
    for (PGresult *result; (result = PQgetResult(admin));)
        PQclear(result);
    assert_int_equal(next_offset(world), 5);
    assert_string_equal(ask("select count(*) from tillwire.members"), "0");
}

static void a_stale_owner__is_fenced_and_can_go_on(void **state)
{
    struct world *world = *state;

    next_offset(world);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    run("update tillwire.tw_progress set next_offset = 7");
    assert_rc(commit(world, 1, NULL, NULL, NULL), TW_FENCED, world->err);
    assert_rc(commit(world, 0, NULL, NULL, NULL), TW_FENCED, world->err);
    assert_rc(commit(world, 7, NULL, NULL, NULL), TW_OK, world->err);
}

static void a_session_ended_by_the_server__is_unreached_then_replaced(void **state)
{
    struct world *world = *state;

    next_offset(world);
    run("select pg_terminate_backend(pid, 1000) from pg_stat_activity where application_name = 'tillwire-member'");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNREACHED, world->err);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNREACHED, world->err);
    assert_clause(world, "not connected");
    assert_int_equal(next_offset(world), 0);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
}

static void a_connection_lost_before_commit_was_sent__surely_wrote_nothing(void **state)
{
    struct world *world = *state;

    next_offset(world);
    tw_net_fault(TW_NET_LOSE_REQUEST, "insert_members");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNREACHED, world->err);
    assert_true(tw_net_fault_clear());
    assert_int_equal(next_offset(world), 0);
    tw_net_fault(TW_NET_LOSE_REQUEST, "commit");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNKNOWN, world->err);
    assert_true(tw_net_fault_clear());
    assert_rc(commit(world, next_offset(world), NULL, &world->member, NULL), TW_OK, world->err);
}

static void an_owner_asleep_in_a_commit__is_ended_by_the_next(void **state)
{
    struct world *world = *state;
    int64_t       give_up_us = tw_monotonic_us() + 10 * TIMEOUT_MS * 1000;
    int           refusals = 0;

    next_offset(world);
    run("begin");
    run("select tillwire.tw_advance(3, 0, 5, 0, '\\x00', '')"); /* and its COMMIT never comes */
    while (commit(world, 0, NULL, &world->member, NULL) != TW_OK) {
        refusals++;
        assert_int_equal(world->err.rc, TW_UNREACHED);
        assert_true(tw_monotonic_us() < give_up_us);
        assert_int_equal(next_offset(world), 0);
    }
    assert_true(refusals > 0);
    PQreset(admin);
    run(admin_session);
}

static void a_lock__is_waited_for_only_so_long(void **state)
{
    struct world *world = *state;

    next_offset(world);
    run("begin; lock table tillwire.members");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNREACHED, world->err);
    assert_clause(world, "55P03");
    run("rollback");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
}

/* --- bulk commits -------------------------------------------------------------------------------------------------- */

/* A commit with new rows of every kind and every optional value, there and not. */
static void commit_everything(struct world *world)
{
    struct tw_member       other = world->member;
    struct tw_member_claim claim = {.claim_id = {{1}}, .member_id = {{77}}, .created_at_ms = AT_MS};
    struct tw_ledger_row   rows[] = {ledger_row(1, AT_MS), ledger_row(2, AT_MS + 1)};
    struct tw_entity       entities[] = {
              {.key = {.id = world->member.member_id}, .state = &world->member, .changed = true},
              {.key = {.id = {{2}}}, .state = &other, .changed = true},
              {.key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = claim.claim_id}, .state = &claim, .changed = true},
    };
    const struct tw_entity *changed[] = {&entities[0], &entities[1], &entities[2]};
    struct tw_changes       changes = {
              .partition = PARTITION,
              .after = {.next_offset = 1, .clock_ms = AT_MS, .last_hash = {1, 2, 3}},
              .entities = changed,
              .entity_count = TW_LEN(changed),
              .rows = rows,
              .row_count = TW_LEN(rows),
    };

    give_addresses(world, 2);
    world->member.addresses[1].has_address_line2 = true;
    world->member.addresses[1].address_line2 = TW_STR("2nd floor\t\\ \"quoted\"\n");
    give_tokens(world, 3);
    memset(world->member.tokens[2].token_hash, 0xfe, sizeof(world->member.tokens[2].token_hash));
    give_email_change(&world->member, 1);
    other.member_id = (struct tw_uuid){{2}};
    other.email = other.email_folded = TW_STR("");
    other.addresses_len = other.tokens_len = 0;
    other.has_password_hash = other.has_email_change = false;
    other.has_phone_number = other.has_last_login_at = true;
    other.phone_number = TW_STR("+62");
    other.last_login_at_ms = 0;
    rows[1].caller = other.member_id;
    rows[1].outcome = tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "a member with this e-mail address exists");
    assert_int_equal(next_offset(world), 0);
    assert_rc(world->store.commit(world->store.self, &changes, &world->err), TW_OK, world->err);
}

static void use_bulk(struct world *world)
{
    tw_member_store_close(&world->store);
    assert_rc(tw_member_store_open(uri, TIMEOUT_MS, &world->store, &world->err), TW_OK, world->err);
    tw_member_store_bulk(&world->store);
}

static void a_bulk_commit__writes_the_same_rows_as_any_other(void **state)
{
    static const char content[] =
        "select (select string_agg(m::text, ' ' order by id) from members m) ||"
        " (select string_agg(a::text, ' ' order by id) from member_addresses a) ||"
        " (select string_agg(t::text, ' ' order by id) from jwt_tokens t) ||"
        " (select string_agg(c::text, ' ') from tw_email_changes c) || (select string_agg(c::text, ' ')"
        " from tw_email_claims c) || (select string_agg(l::text, ' ' order by id) from tw_ledger l) ||"
        " (select string_agg(p::text, ' ') from tw_progress p)";
    struct world *world = *state;
    char          expected[4096];

    commit_everything(world);
    snprintf(expected, sizeof(expected), "%s", ask(content));
    assert_true(strlen(expected) > 1500);
    run(emptying);
    use_bulk(world);
    commit_everything(world);
    assert_string_equal(ask(content), expected);
}

static void bulk_commits__follow_one_another_at_the_watermark_of_a_snapshot(void **state)
{
    struct world           *world = *state;
    struct tw_entity        entity = {.state = &world->member, .changed = true};
    const struct tw_entity *entities[] = {&entity};
    struct tw_changes       changes = {.partition = PARTITION, .entities = entities, .entity_count = 1};
    char                    email[32];

    use_bulk(world);
    assert_int_equal(next_offset(world), 0);
    for (uint8_t n = 1; n <= 3; n++) { /* all but the last from 0 to 0 */
        snprintf(email, sizeof(email), "ana.%d@example.com", n);
        world->member.member_id = entity.key.id = (struct tw_uuid){{n}};
        world->member.email_folded = tw_str_of(email);
        changes.after.next_offset = n == 3 ? 4711 : 0;
        assert_rc(world->store.commit(world->store.self, &changes, &world->err), TW_OK, world->err);
    }
    assert_string_equal(ask("select count(*) from members"), "3");
    assert_int_equal(next_offset(world), 4711);
}

static void a_bulk_commit__of_what_can_never_be_written_leaves_nothing(void **state)
{
    struct world *world = *state;

    use_bulk(world);
    next_offset(world);
    world->member.full_name = TW_STR("\xff");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_REFUSED, world->err);
    assert_clause(world, "insert_members: SQLSTATE 22021");
    world->member.full_name = TW_STR("Ana");
    give_addresses(world, 2);
    world->member.addresses[1].is_default = true;
    assert_int_equal(next_offset(world), 0);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_BROKEN, world->err);
    assert_int_equal(next_offset(world), 0);
    assert_string_equal(ask("select count(*) from members"), "0");
    world->member.addresses_len = 1;
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
}

static void a_bulk_commit__does_not_wait_for_the_disk(void **state)
{
    struct world *world = *state;

    run("create function tillwire.note_setting() returns trigger language plpgsql as $$ begin"
        " new.password_hash := current_setting('synchronous_commit'); return new; end $$;"
        "create trigger note_setting before insert on members for each row execute function tillwire.note_setting()");
    next_offset(world);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    use_bulk(world);
    next_offset(world);
    world->member.member_id.bytes[0]++;
    world->member.email_folded = TW_STR("ben@example.com");
    assert_rc(commit(world, 1, NULL, &world->member, NULL), TW_OK, world->err);
    run("drop trigger note_setting on members; drop function tillwire.note_setting()");
    assert_string_equal(ask("select string_agg(password_hash, ' ' order by id) from members"), "on off");
}

static void a_connection_lost_in_a_copy__surely_wrote_nothing(void **state)
{
    struct world *world = *state;

    use_bulk(world);
    next_offset(world);
    tw_net_fault(TW_NET_LOSE_REQUEST, "PGCOPY");
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_UNREACHED, world->err);
    assert_true(tw_net_fault_clear());
    assert_int_equal(next_offset(world), 0);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
}

/* A batch of thousands of rows, each of them found again. */
static void a_large_bulk_commit__is_one_step(void **state)
{
    enum { COUNT = 50000 };
    struct world            *world = *state;
    struct tw_member_claim  *claims = tw_alloc_zeroed(COUNT, sizeof(*claims));
    struct tw_entity        *entities = tw_alloc_zeroed(COUNT, sizeof(*entities));
    const struct tw_entity **changed = tw_alloc_zeroed(COUNT, sizeof(struct tw_entity *));
    struct tw_changes        changes = {
               .partition = PARTITION, .after.next_offset = 9, .entities = changed, .entity_count = COUNT};

    for (size_t i = 0; i < COUNT; i++) {
        claims[i].claim_id = (struct tw_uuid){{(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        entities[i] = (struct tw_entity){
            .key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = claims[i].claim_id}, .state = &claims[i], .changed = true};
        changed[i] = &entities[i];
    }
    use_bulk(world);
    next_offset(world);
    assert_rc(world->store.commit(world->store.self, &changes, &world->err), TW_OK, world->err);
    assert_string_equal(ask("select count(*) from tw_email_claims"), "50000");
    assert_int_equal(next_offset(world), 9);
    free(claims);
    free(entities);
    free(changed);
}

/* --- marks and lists ---------------------------------------------------------------------------------------------- */

static void a_mark_on_a_partition_without_records__is_a_row_of_zeros(void **state)
{
    struct world      *world = *state;
    struct tw_progress progress;

    assert_rc(world->store.set_mark(world->store.self, PARTITION, 0, 0, -5, &world->err), TW_OK, world->err);
    assert_string_equal(ask("select next_offset || ' ' || clock_ms || ' ' || last_hash || ' ' || outbox || ' ' || mark"
                            " from tw_progress"),
                        "0 0 \\x00000000000000000000000000000000 \\x -5");
    assert_rc(watermark(world, &progress), TW_OK, world->err);
    assert_int_equal(progress.mark, -5);
}

static void the_last_id_there_can_be__ends_a_list(void **state)
{
    struct world          *world = *state;
    struct tw_member_claim claim = {.member_id = {{77}}};
    struct tw_key          key;
    size_t                 count;

    next_offset(world);
    memset(&claim.claim_id, 0xff, sizeof(claim.claim_id));
    assert_rc(commit_claim(world, 0, NULL, &claim), TW_OK, world->err);
    for (size_t page = 0; page < 3; page++) {
        assert_rc(world->store.list(world->store.self, TW_MEMBER_CLAIM_ENTITY, page == 0, &key, 1, &count, &world->err),
                  TW_OK, world->err);
        assert_int_equal(count, page == 0 ? 1 : 0);
    }
}

/* --- changes of e-mail addresses ---------------------------------------------------------------------------------- */

static void an_email_change__is_a_row_that_comes_changes_and_goes(void **state)
{
    static const char content[] = "select coalesce(string_agg(member_id || ' ' || change_id || ' ' || email || ' ' ||"
                                  " email_folded || ' ' || record_offset || ' ' || submitted_at, ', '), '')"
                                  " from tillwire.tw_email_changes";
    struct world     *world = *state;
    const struct tw_member *before;
    struct tw_member       *after;

    next_offset(world);
    give_email_change(&world->member, 1);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    assert_string_equal(ask(content), "01000000-0000-0000-0000-000000000000 29010000-0000-0000-0000-000000000000"
                                      " Ana@example.org ana@example.org 1 2026-11-23 10:00:00.123");
    before = load(world, 1);
    after = copy(world, before);
    give_email_change(after, 2);
    assert_rc(commit(world, 1, before, after, NULL), TW_OK, world->err);
    assert_string_equal(ask("select change_id || ' ' || record_offset from tillwire.tw_email_changes"),
                        "29020000-0000-0000-0000-000000000000 2");
    before = load(world, 2);
    after = copy(world, before);
    after->has_email_change = false;
    assert_rc(commit(world, 2, before, after, NULL), TW_OK, world->err);
    assert_string_equal(ask(content), "");
    assert_false(load(world, 3)->has_email_change);
}

static void a_member_whose_email_change_ends__takes_the_address_in_the_same_commit(void **state)
{
    struct world           *world = *state;
    const struct tw_member *before;
    struct tw_member       *after;

    next_offset(world);
    give_email_change(&world->member, 1);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    before = load(world, 1);
    after = copy(world, before);
    after->email = before->email_change.email;
    after->email_folded = before->email_change.email_folded;
    after->has_email_change = false;
    assert_rc(commit(world, 1, before, after, NULL), TW_OK, world->err);
    assert_string_equal(ask("select email_folded || ' ' || (select count(*) from tillwire.tw_email_changes)"
                            " from tillwire.members"),
                        "ana@example.org 0");
}

static void a_claim__names_a_member_of_any_partition(void **state)
{
    struct world          *world = *state;
    struct tw_member_claim claim = {.claim_id = {{1}}, .member_id = {{77}}, .created_at_ms = AT_MS};

    next_offset(world);
    assert_rc(commit_claim(world, 0, NULL, &claim), TW_OK, world->err); /* no member 77 was ever folded */
    assert_string_equal(ask("select id || ' ' || member_id || ' ' || created_at from tillwire.tw_email_claims"),
                        "01000000-0000-0000-0000-000000000000 4d000000-0000-0000-0000-000000000000"
                        " 2026-11-23 10:00:00.123");
    assert_null(load(world, 1)); /* the claim's id is no member's for that */
}

static void a_claim__is_loaded_beside_the_member_of_its_id(void **state)
{
    struct world          *world = *state;
    struct tw_member_claim claim = {.claim_id = world->member.member_id, .member_id = {{77}}, .created_at_ms = AT_MS};
    struct tw_entity       entities[] = {
              {.key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = {{2}}}},
              {.key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = claim.claim_id}},
              {.key = {.kind = TW_MEMBER_ENTITY, .id = world->member.member_id}},
    };
    struct tw_load                wanted = {.entities = entities, .entity_count = TW_LEN(entities)};
    const struct tw_member_claim *found;
    const struct tw_member       *member;

    next_offset(world);
    assert_rc(commit_claim(world, 0, NULL, &claim), TW_OK, world->err);
    assert_rc(commit(world, 1, NULL, &world->member, NULL), TW_OK, world->err);
    assert_rc(world->store.load(world->store.self, PARTITION, 2, &wanted, &world->arena, &world->err), TW_OK,
              world->err);
    assert_null(entities[0].before);
    found = entities[1].before;
    member = entities[2].before;
    assert_int_equal(found->member_id.bytes[0], 77);
    assert_int_equal(found->created_at_ms, AT_MS);
    assert_str(member->full_name, "Ana Lim");
}

static void a_new_claim_that_is_there__is_a_broken_invariant(void **state)
{
    struct world          *world = *state;
    struct tw_member_claim claim = {.claim_id = {{1}}, .member_id = {{77}}, .created_at_ms = AT_MS};

    next_offset(world);
    assert_rc(commit_claim(world, 0, NULL, &claim), TW_OK, world->err);
    claim.member_id.bytes[0] = 78;
    assert_rc(commit_claim(world, 1, NULL, &claim), TW_BROKEN, world->err);
    assert_string_equal(ask("select member_id from tillwire.tw_email_claims"), "4d000000-0000-0000-0000-000000000000");
}

/* --- ledger and housekeeping -------------------------------------------------------------------------------------- */

static void an_old_ledger_row__is_replaced_by_its_id_used_again(void **state)
{
    struct world        *world = *state;
    struct tw_ledger_row row = ledger_row(1, AT_MS);

    next_offset(world);
    assert_rc(commit(world, 0, NULL, NULL, &row), TW_OK, world->err);
    row.offset = 99;
    row.replaces = true;
    assert_rc(commit(world, 1, NULL, NULL, &row), TW_OK, world->err);
    assert_string_equal(ask("select string_agg(cause_offset::text, ' ') from tillwire.tw_ledger"), "99");
}

static void a_ledger_row_that_was_not_to_be_there__is_a_broken_invariant(void **state)
{
    struct world        *world = *state;
    struct tw_ledger_row row = ledger_row(1, AT_MS);

    next_offset(world);
    assert_rc(commit(world, 0, NULL, NULL, &row), TW_OK, world->err);
    assert_rc(commit(world, 1, NULL, NULL, &row), TW_BROKEN, world->err);
    assert_clause(world, "23505 tw_ledger_pkey");
    assert_int_equal(next_offset(world), 1);
}

static void a_pending_row__reads_accepted_until_its_command_ends(void **state)
{
    static const char    content[] = "select string_agg(status || ' ' || http_status || ' ' || cause_offset, ', ')"
                                     " from tillwire.tw_ledger";
    struct world        *world = *state;
    struct tw_ledger_row row = ledger_row(1, AT_MS);

    next_offset(world);
    row.outcome = tw_pending(TW_STR("/v1/members/me"));
    assert_rc(commit(world, 0, NULL, NULL, &row), TW_OK, world->err);
    assert_string_equal(ask(content), "accepted 202 1");
    row.outcome = tw_rejected(TW_PROBLEM_EMAIL_TAKEN, "a member with this e-mail address exists");
    row.replaces = true;
    assert_rc(commit(world, 1, NULL, NULL, &row), TW_OK, world->err);
    assert_string_equal(ask(content), "rejected 409 1");
}

static void sweep__drops_only_rows_that_count_no_more(void **state)
{
    struct world        *world = *state;
    struct tw_ledger_row old = ledger_row(1, AT_MS - 1);
    struct tw_ledger_row young = ledger_row(2, AT_MS);

    next_offset(world);
    assert_rc(commit(world, 0, NULL, NULL, &old), TW_OK, world->err);
    assert_rc(commit(world, 1, NULL, NULL, &young), TW_OK, world->err);
    run("insert into tillwire.tw_ledger select id, 4, caller, fingerprint, command_type, status, http_status, problem,"
        " detail, resource, cause_offset, submitted_at, decided_at from tillwire.tw_ledger");
    assert_rc(world->store.sweep(world->store.self, PARTITION, 1, AT_MS + TW_LEDGER_LIFE_MS, &world->err), TW_FENCED,
              world->err);
    assert_rc(world->store.sweep(world->store.self, PARTITION, 2, AT_MS + TW_LEDGER_LIFE_MS, &world->err), TW_OK,
              world->err);
    assert_string_equal(ask("select string_agg(partition || ':' || cause_offset, ' ' order by partition, cause_offset)"
                            " from tillwire.tw_ledger"),
                        "3:2 4:1 4:2");
}

/* A ledger of several pages, all of it old, behind watermark 1. */
static void fill_old_ledger(struct world *world, int rows)
{
    char sql[300];

    next_offset(world);
    assert_rc(commit(world, 0, NULL, NULL, NULL), TW_OK, world->err);
    snprintf(sql, sizeof(sql),
             "insert into tw_ledger select gen_random_uuid(), 3, null, '\\x00', 'member.register', 'succeeded', 201,"
             " null, null, null, n, '2026-11-01', '2026-11-01' from generate_series(1, %d) as n",
             rows);
    run(sql);
    assert_string_equal(ask("select pg_relation_size('tillwire.tw_ledger') >= 5 * 8192"), "t");
}

static void sweep__drops_a_bounded_amount(void **state)
{
    fill_old_ledger(*state, 500);
    run("select tillwire.tw_sweep(3, 1, '2026-11-02', 1024, 10)");
    assert_string_equal(ask("select count(*) from tillwire.tw_ledger"), "490");
    run("select tillwire.tw_sweep(3, 1, '2026-11-02', 1, 500)");
    assert_string_equal(ask("select count(*) between 300 and 489 from tillwire.tw_ledger"), "t"); /* one page of it */
}

static void sweep__comes_to_every_page_sooner_or_later(void **state)
{
    fill_old_ledger(*state, 500);
    run("select tillwire.tw_sweep(3, 1, '2026-11-02', 2, 500) from generate_series(1, 300)");
    assert_string_equal(ask("select count(*) from tillwire.tw_ledger"), "0");
}

static void sweep__of_a_store_in_the_making_drops_all_there_are(void **state)
{
    struct world *world = *state;

    fill_old_ledger(world, 6000); /* more than a sweep takes at once */
    use_bulk(world);
    next_offset(world);
    assert_rc(world->store.sweep(world->store.self, PARTITION, 1, AT_MS, &world->err), TW_OK, world->err);
    assert_string_equal(ask("select count(*) from tillwire.tw_ledger"), "0");
}

static void sweep__leaves_ended_tokens_to_the_next_change_of_their_member(void **state)
{
    struct world *world = *state;

    next_offset(world);
    give_tokens(world, 1);
    assert_rc(commit(world, 0, NULL, &world->member, NULL), TW_OK, world->err);
    assert_rc(world->store.sweep(world->store.self, PARTITION, 1, AT_MS * 2, &world->err), TW_OK, world->err);
    assert_string_equal(ask("select count(*) from tillwire.jwt_tokens"), "1");
}

static void forget_outbox__empties_it_under_the_fence(void **state)
{
    struct world *world = *state;

    assert_int_equal(next_offset(world), 0);
    assert_rc(world->store.forget_outbox(world->store.self, PARTITION, 0, &world->err), TW_OK, world->err);
    assert_rc(commit(world, 0, NULL, NULL, NULL), TW_OK, world->err);
    assert_rc(world->store.forget_outbox(world->store.self, PARTITION, 0, &world->err), TW_FENCED, world->err);
    assert_string_equal(ask("select convert_from(outbox, 'UTF8') from tillwire.tw_progress"), "to publish");
    assert_rc(world->store.forget_outbox(world->store.self, PARTITION, 1, &world->err), TW_OK, world->err);
    assert_string_equal(ask("select outbox = '' from tillwire.tw_progress"), "t");
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void assert_refused_with(struct world *world, const char *part)
{
    struct tw_progress progress;

    assert_rc(watermark(world, &progress), TW_BROKEN, world->err);
    assert_clause(world, part);
}

static void another_schema_version__is_refused(void **state)
{
    struct world *world = *state;

    run("update tillwire.tw_meta set value = value || '0' where name = 'schema_version'");
    assert_refused_with(world, "schema has another version");
    run("update tillwire.tw_meta set value = left(value, -1) where name = 'schema_version'");
    assert_int_equal(next_offset(world), 0);
}

static void no_schema__is_refused(void **state)
{
    struct world *world = *state;

    run("alter schema tillwire rename to tillwire_hidden");
    assert_refused_with(world, "twctl schema apply");
    run("alter schema tillwire_hidden rename to tillwire");
    assert_int_equal(next_offset(world), 0);
}

static void another_id_key_or_folding__is_refused(void **state)
{
    struct world *world = *state;
    char          check[17];

    run("update tillwire.tw_meta set value = '2' where name = 'folding_version'");
    assert_refused_with(world, "folded in another way");
    run("update tillwire.tw_meta set value = '1' where name = 'folding_version'");
    tw_member_store_pin(&world->store, "ffffffffffffffff");
    assert_refused_with(world, "another id key");
    snprintf(check, sizeof(check), "%s", ask("select value from tillwire.tw_meta where name = 'id_key_check'"));
    tw_member_store_pin(&world->store, check);
    assert_int_equal(next_offset(world), 0);
}

static void a_server_that_may_forget_commits__is_refused(void **state)
{
    struct world *world = *state;
    char          forgetful[600];

    snprintf(forgetful, sizeof(forgetful), "%s%soptions=-csynchronous_commit%%3Doff", uri,
             strchr(uri, '?') ? "&" : "?");
    tw_member_store_close(&world->store);
    assert_rc(tw_member_store_open(forgetful, TIMEOUT_MS, &world->store, &world->err), TW_OK, world->err);
    assert_refused_with(world, "synchronous_commit off");
}

static void a_uri_that_is_none__is_invalid_and_not_repeated(void **state)
{
    struct world   *world = *state;
    struct tw_store store = {0};

    assert_rc(tw_member_store_open("postgresql://u:secret@h/d?no_such_word=1", TIMEOUT_MS, &store, &world->err),
              TW_INVALID, world->err);
    assert_null(strstr(world->err.msg, "secret"));
    tw_member_store_close(&store);
    tw_member_store_close(NULL);
}

static void a_server_that_is_silent__is_unreached_in_time(void **state)
{
    struct world      *world = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof(address);
    int                silent = socket(AF_INET, SOCK_STREAM, 0);
    struct tw_progress progress;
    char               silent_uri[64];

    assert_int_equal(bind(silent, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(silent, 1), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &len), 0);
    snprintf(silent_uri, sizeof(silent_uri), "postgresql://u@127.0.0.1:%d/d", ntohs(address.sin_port));
    tw_member_store_close(&world->store);
    assert_rc(tw_member_store_open(silent_uri, 1000, &world->store, &world->err), TW_OK, world->err);
    assert_rc(watermark(world, &progress), TW_UNREACHED, world->err);
    close(silent);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

static void sqlstates__mean_what_the_table_says(void **state)
{
    static const struct {
        const char *sqlstate;
        enum tw_rc  rc;
    } rows[] = {
        {"TW001", TW_FENCED},    {"40001", TW_UNREACHED}, {"40P01", TW_UNREACHED}, {"40003", TW_UNKNOWN},
        {"57P01", TW_UNREACHED}, {"57P02", TW_UNREACHED}, {"57P03", TW_UNREACHED}, {"57014", TW_UNREACHED},
        {"08006", TW_UNREACHED}, {"53100", TW_UNREACHED}, {"53300", TW_UNREACHED}, {"55P03", TW_UNREACHED},
        {"58030", TW_UNREACHED}, {"25006", TW_UNREACHED}, {"XX000", TW_UNREACHED}, {"XX001", TW_BROKEN},
        {"22001", TW_REFUSED},   {"22021", TW_REFUSED},   {"23502", TW_REFUSED},   {"23514", TW_REFUSED},
        {"23505", TW_BROKEN},    {"54000", TW_REFUSED},   {"42P01", TW_BROKEN},    {"42501", TW_BROKEN},
        {"21000", TW_BROKEN},    {"P0001", TW_BROKEN},    {"ZZZZZ", TW_BROKEN},    {"TW002", TW_BROKEN},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(rows); i++)
        if (tw_pg_rc(rows[i].sqlstate) != rows[i].rc)
            fail_msg("%s is %s", rows[i].sqlstate, tw_rc_name(tw_pg_rc(rows[i].sqlstate)));
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(tables__begin_with_the_columns_of_the_data_model),
        RULE(values__are_readable_in_the_table),
        RULE(default_address__may_move_within_one_commit),
        RULE(two_defaults__are_a_broken_invariant),
        RULE(one_address_for_two_members__is_a_broken_invariant),
        RULE(a_new_member_that_is_there__is_a_broken_invariant),
        RULE(what_can_never_be_written__is_refused_and_leaves_nothing),
        RULE(rows_that_did_not_change__are_not_written),
        RULE(the_first_commit__is_won_by_one_of_two_owners),
        RULE(a_stale_owner__is_fenced_and_can_go_on),
        RULE(a_session_ended_by_the_server__is_unreached_then_replaced),
        RULE(a_connection_lost_before_commit_was_sent__surely_wrote_nothing),
        RULE(an_owner_asleep_in_a_commit__is_ended_by_the_next),
        RULE(a_lock__is_waited_for_only_so_long),
        RULE(a_bulk_commit__writes_the_same_rows_as_any_other),
        RULE(bulk_commits__follow_one_another_at_the_watermark_of_a_snapshot),
        RULE(a_bulk_commit__of_what_can_never_be_written_leaves_nothing),
        RULE(a_bulk_commit__does_not_wait_for_the_disk),
        RULE(a_connection_lost_in_a_copy__surely_wrote_nothing),
        RULE(a_large_bulk_commit__is_one_step),
        RULE(a_mark_on_a_partition_without_records__is_a_row_of_zeros),
        RULE(the_last_id_there_can_be__ends_a_list),
        RULE(an_email_change__is_a_row_that_comes_changes_and_goes),
        RULE(a_member_whose_email_change_ends__takes_the_address_in_the_same_commit),
        RULE(a_claim__names_a_member_of_any_partition),
        RULE(a_claim__is_loaded_beside_the_member_of_its_id),
        RULE(a_new_claim_that_is_there__is_a_broken_invariant),
        RULE(an_old_ledger_row__is_replaced_by_its_id_used_again),
        RULE(a_ledger_row_that_was_not_to_be_there__is_a_broken_invariant),
        RULE(a_pending_row__reads_accepted_until_its_command_ends),
        RULE(sweep__drops_only_rows_that_count_no_more),
        RULE(sweep__drops_a_bounded_amount),
        RULE(sweep__comes_to_every_page_sooner_or_later),
        RULE(sweep__of_a_store_in_the_making_drops_all_there_are),
        RULE(sweep__leaves_ended_tokens_to_the_next_change_of_their_member),
        RULE(forget_outbox__empties_it_under_the_fence),
        RULE(another_schema_version__is_refused),
        RULE(no_schema__is_refused),
        RULE(another_id_key_or_folding__is_refused),
        RULE(a_server_that_may_forget_commits__is_refused),
        RULE(a_uri_that_is_none__is_invalid_and_not_repeated),
        RULE(a_server_that_is_silent__is_unreached_in_time),
        RULE(sqlstates__mean_what_the_table_says),
    };
    const char *skip = getenv("TW_SKIP_STORES");

    uri = getenv("TW_POSTGRES_URI");
    if (uri)
        return cmocka_run_group_tests(tests, connect_admin, disconnect_admin);
    fprintf(stderr, "member_store_pg: NOT RUN: TW_POSTGRES_URI names no server (TW_SKIP_STORES=1 accepts that)\n");
    return skip && strcmp(skip, "1") == 0 ? 0 : 1;
}
