/* The members' store on PostgreSQL under the contract suite. EMPTIES the schema `tillwire` of the database that
 * TW_POSTGRES_URI names, and makes it when it is not there. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "net_faults.h"
#include "sample_states.h"
#include "store_contract.h"
#include "workers/member/member_store.h"

/* An allocation that fails in libpq may cost an answer, for which the adapter then waits that long. */
enum { TIMEOUT_MS = 1500, FILE_MAX_BYTES = 1 << 20 };

struct postgres {
    const char *uri;
    PGconn     *link;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "store_member_pg: %s: %s\n", what, why);
    exit(1);
}

static void free_result(PGresult **result)
{
    PQclear(*result);
}

static PGresult *run(struct postgres *postgres, const char *sql)
{
    PGresult      *result = PQexec(postgres->link, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(postgres->link));
    return result;
}

static void run_only(struct postgres *postgres, const char *sql)
{
    PQclear(run(postgres, sql));
}

/* --- the schema -------------------------------------------------------------------------------------------------- */

static void run_file(struct postgres *postgres, const char *name)
{
    char   path[512];
    char  *sql = tw_alloc_zeroed(1, FILE_MAX_BYTES);
    FILE  *file;
    size_t len;

    snprintf(path, sizeof(path), "%s/%s", TW_SQL_DIR, name);
    file = fopen(path, "r");
    if (!file)
        die(path, "cannot be read");
    len = fread(sql, 1, FILE_MAX_BYTES - 1, file);
    fclose(file);
    if (len == FILE_MAX_BYTES - 1)
        die(path, "is too long");
    run_only(postgres, sql);
    free(sql);
}

static int is_migration(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');

    return end && strcmp(end, ".sql") == 0;
}

/* What `twctl schema apply` does, without its program: this suite needs the adapter alone. */
static void make_schema(struct postgres *postgres)
{
    TW_AUTO(free_result) PGresult *schema = run(postgres, "select 1 from pg_namespace where nspname = 'tillwire'");
    struct dirent                **files;
    int                            count;

    if (PQntuples(schema) > 0)
        return;
    count = scandir(TW_SQL_DIR, &files, is_migration, alphasort);
    if (count <= 0)
        die(TW_SQL_DIR, "holds no migrations");
    run_only(postgres, "begin");
    for (int i = 0; i < count; i++) {
        run_file(postgres, files[i]->d_name);
        free(files[i]);
    }
    free(files);
    run_only(postgres, "insert into tillwire.tw_meta (name, value) values"
                       " ('id_key_check', '0123456789abcdef'), ('folding_version', '1')");
    run_only(postgres, "commit");
}

/* --- the fixture ------------------------------------------------------------------------------------------------- */

static void postgres_connect(void *self, const char *uri)
{
    struct postgres *postgres = self;

    postgres->uri = uri;
    postgres->link = PQconnectdb(uri);
    if (PQstatus(postgres->link) != CONNECTION_OK)
        die("cannot connect", PQerrorMessage(postgres->link));
    run_only(postgres, "set client_min_messages = warning");
    make_schema(postgres);
}

static void postgres_open(void *self, struct tw_store *ret_store)
{
    struct postgres *postgres = self;
    struct tw_err    err = {0};

    if (tw_member_store_open(postgres->uri, TIMEOUT_MS, ret_store, &err) != TW_OK)
        die("cannot open the store", err.msg);
#ifdef TW_TEST_BULK
    tw_member_store_bulk(ret_store);
#endif
}

static void postgres_close(void *self, struct tw_store *store)
{
    (void)self;
    tw_member_store_close(store);
}

/* All tables but the pinned values; `members` first, because others refer to it. */
static PGresult *tables(struct postgres *postgres)
{
    return run(postgres, "select tablename from pg_tables where schemaname = 'tillwire' and tablename <> 'tw_meta'"
                         " order by tablename <> 'members', tablename");
}

/* Runs <before><name><between><name> for every table. */
static void run_each(struct postgres *postgres, PGresult *names, const char *before, const char *between)
{
    for (int i = 0; i < PQntuples(names); i++) {
        struct tw_buf sql = {0};
        const char   *name = PQgetvalue(names, i, 0);

        tw_buf_printf(&sql, "%s%s%s%s", before, name, between, name);
        tw_buf_add(&sql, "", 1);
        run_only(postgres, sql.ptr);
        tw_buf_done(&sql);
    }
}

static void postgres_wipe(void *self)
{
    struct postgres               *postgres = self;
    TW_AUTO(free_result) PGresult *names = tables(postgres);
    struct tw_buf                  sql = {0};

    tw_buf_printf(&sql, "truncate");
    for (int i = 0; i < PQntuples(names); i++)
        tw_buf_printf(&sql, "%s tillwire.%s", i ? "," : "", PQgetvalue(names, i, 0));
    tw_buf_add(&sql, "", 1);
    run_only(postgres, sql.ptr);
    tw_buf_done(&sql);
}

static void postgres_take(void *self)
{
    struct postgres               *postgres = self;
    TW_AUTO(free_result) PGresult *names = tables(postgres);

    run_only(postgres, "discard temp");
    run_each(postgres, names, "create temp table backup_of_", " as table tillwire.");
}

static void postgres_put_back(void *self)
{
    struct postgres               *postgres = self;
    TW_AUTO(free_result) PGresult *names = tables(postgres);

    run_only(postgres, "begin");
    postgres_wipe(postgres);
    run_each(postgres, names, "insert into tillwire.", " table pg_temp.backup_of_");
    run_only(postgres, "commit");
}

static void postgres_lose_request(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, NULL);
}

/* The name of the prepared statement in the request that ends a transaction. */
static const char commit_marker[] = "commit";

static void postgres_lose_commit(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, commit_marker);
}

static void postgres_lose_answer(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_ANSWER, commit_marker);
}

static bool postgres_end_fault(void *self)
{
    (void)self;
    return tw_net_fault_clear();
}

int main(int argc, char **argv)
{
    static const char *const stops[] = {"in_commit=stop", NULL};
    struct postgres          postgres = {0};
    struct tw_store_fixture  fixture = {
         .name = "store_member_pg",
         .variable = "TW_POSTGRES_URI",
         .states = &tw_sample_members,
         .connect = postgres_connect,
         .open = postgres_open,
         .close = postgres_close,
         .wipe = postgres_wipe,
         .take = postgres_take,
         .put_back = postgres_put_back,
         .lose_request = postgres_lose_request,
         .lose_commit = postgres_lose_commit,
         .lose_answer = postgres_lose_answer,
         .end_fault = postgres_end_fault,
         .stops = stops,
         .self = &postgres,
    };
    int failed = tw_store_contract_main(argc, argv, &fixture);

    PQfinish(postgres.link);
    return failed;
}
