/* Links: tw_ctl PkgConfig::PQ PkgConfig::MONGOC */
/*
 * `twctl schema` on real servers. DROPS the schema `tillwire` of the database that TW_POSTGRES_URI names and the
 * collections of the one that TW_MONGO_URI names, also at the end: other tests make what they need.
 */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"
#include "postgres.h"
#include "tillwire/product_document.h"
#include "unit.h"

enum { TIMEOUT_MS = 3000 };

struct world {
    struct tw_ctl_settings settings;
    struct tw_err          err;
    struct tw_buf          lines;
    PGconn                *pg;
    mongoc_client_t       *mongo;
    char                  *mongo_database;
    char                   key_path[64];
};

static void write_key(struct world *world, char digit)
{
    FILE *file = fopen(world->key_path, "w");

    assert_non_null(file);
    for (int i = 0; i < 2 * TW_ID_KEY_BYTES; i++)
        fputc(digit, file);
    fclose(file);
}

static void sql(struct world *world, const char *text)
{
    assert_rc(tw_ctl_pg_run(world->pg, text, "test", &world->err), TW_OK, world->err);
}

static void drop(struct world *world, const char *collection)
{
    mongoc_collection_t *handle = mongoc_client_get_collection(world->mongo, world->mongo_database, collection);

    mongoc_collection_drop(handle, NULL); /* fails when there is none */
    mongoc_collection_destroy(handle);
}

static void drop_all(struct world *world)
{
    sql(world, "drop schema if exists tillwire cascade");
    drop(world, TW_MONGO_PRODUCTS);
    drop(world, TW_MONGO_RATINGS);
    drop(world, TW_MONGO_APPLIED);
    drop(world, TW_MONGO_LEDGER);
    drop(world, TW_MONGO_PROGRESS);
}

static int setup(void **state)
{
    struct world *world = tw_alloc_zeroed(1, sizeof(*world));
    mongoc_uri_t *uri;
    int           fd;

    *state = world;
    strcpy(world->key_path, "/tmp/twctl-test-XXXXXX"); /* mkstemp: 0600, as a secret must be */
    fd = mkstemp(world->key_path);
    if (fd < 0)
        return -1;
    close(fd);
    write_key(world, 'a');
    world->settings = (struct tw_ctl_settings){
        .postgres_uri = getenv("TW_POSTGRES_URI"),
        .mongo_uri = getenv("TW_MONGO_URI"),
        .id_key_file = world->key_path,
        .store_timeout_ms = TIMEOUT_MS,
    };
    assert_rc(tw_ctl_pg_open(world->settings.postgres_uri, TIMEOUT_MS, &world->pg, &world->err), TW_OK, world->err);
    uri = mongoc_uri_new(world->settings.mongo_uri);
    world->mongo_database = tw_strdup(mongoc_uri_get_database(uri));
    world->mongo = mongoc_client_new_from_uri(uri);
    mongoc_uri_destroy(uri);
    drop_all(world);
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    drop_all(world);
    unlink(world->key_path);
    tw_ctl_pg_close(&world->pg);
    mongoc_client_destroy(world->mongo);
    tw_buf_done(&world->lines);
    free(world->mongo_database);
    free(world);
    return 0;
}

/* --- when, then --------------------------------------------------------------------------------------------------- */

typedef enum tw_rc part_fn(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr);

static struct tw_str lines_of(struct world *world, part_fn *part)
{
    tw_buf_clear(&world->lines);
    assert_rc(part(&world->settings, &world->lines, &world->err), TW_OK, world->err);
    return tw_buf_str(&world->lines);
}

static void assert_says(struct world *world, part_fn *part, const char *line)
{
    struct tw_str lines = lines_of(world, part);

    if (!lines.len || !memmem(lines.ptr, lines.len, line, strlen(line)))
        fail_msg("no '%s' in: %.*s", line, TW_STR_ARG(lines));
}

static void assert_silent(struct world *world, part_fn *part)
{
    assert_str(lines_of(world, part), "");
}

static void assert_refuses(struct world *world, part_fn *part, const char *clause)
{
    tw_buf_clear(&world->lines);
    assert_rc(part(&world->settings, &world->lines, &world->err), TW_BROKEN, world->err);
    if (!strstr(world->err.msg, clause))
        fail_msg("no '%s' in: %s", clause, world->err.msg);
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

static void empty_database__gets_every_migration_and_its_pins(void **state)
{
    assert_says(*state, tw_ctl_postgres_diff, "migration 004_marks.sql is not applied\n");
    assert_says(*state, tw_ctl_postgres_apply, "migration 004_marks.sql applied\nid_key_check pinned to ");
    assert_silent(*state, tw_ctl_postgres_diff);
}

static void second_apply__changes_nothing(void **state)
{
    lines_of(*state, tw_ctl_postgres_apply);
    assert_silent(*state, tw_ctl_postgres_apply);
}

static void apply__goes_on_where_another_one_died(void **state)
{
    struct world *world = *state;

    lines_of(world, tw_ctl_postgres_apply);
    sql(world, "delete from tillwire.tw_meta where name <> 'schema_version'");
    assert_says(world, tw_ctl_postgres_diff, "are not pinned\n");
    assert_says(world, tw_ctl_postgres_apply, "folding_version pinned to 1\n");
    assert_silent(world, tw_ctl_postgres_diff);
}

static void failing_migration__leaves_nothing_behind(void **state)
{
    struct world *world = *state;

    sql(world, "create schema tillwire; create table tillwire.tw_progress ()");
    assert_refuses(world, tw_ctl_postgres_apply, "migration 001_fold.sql: ");
    sql(world, "drop schema tillwire cascade");
    assert_says(world, tw_ctl_postgres_apply, "migration 001_fold.sql applied\n");
}

static void another_id_key__is_refused(void **state)
{
    struct world *world = *state;

    lines_of(world, tw_ctl_postgres_apply);
    write_key(world, 'b');
    assert_says(world, tw_ctl_postgres_diff, "another id key");
    assert_refuses(world, tw_ctl_postgres_apply, "another id key");
}

static void schema_of_a_later_release__is_refused(void **state)
{
    struct world *world = *state;

    lines_of(world, tw_ctl_postgres_apply);
    sql(world, "update tillwire.tw_meta set value = '999' where name = 'schema_version'");
    assert_says(world, tw_ctl_postgres_diff, "version 999");
    assert_refuses(world, tw_ctl_postgres_apply, "use a newer twctl");
}

/* --- MongoDB ------------------------------------------------------------------------------------------------------ */

/* Runs a command given as JSON; the collection is `products`. */
static void mongo(struct world *world, const char *json)
{
    bson_error_t error;
    bson_t      *command = bson_new_from_json((const uint8_t *)json, -1, &error);

    assert_non_null(command);
    if (!mongoc_client_command_simple(world->mongo, world->mongo_database, command, NULL, NULL, &error))
        fail_msg("%s: %s", json, error.message);
    bson_destroy(command);
}

static void empty_mongo__gets_every_collection_and_index(void **state)
{
    assert_says(*state, tw_ctl_mongo_diff, "collection products is missing\nindex ");
    assert_says(*state, tw_ctl_mongo_apply, "collection tw_progress created\n");
    assert_silent(*state, tw_ctl_mongo_diff);
    assert_silent(*state, tw_ctl_mongo_apply);
}

static void dropped_collection__is_made_again(void **state)
{
    struct world *world = *state;

    lines_of(world, tw_ctl_mongo_apply);
    drop(world, TW_MONGO_LEDGER);
    assert_says(world, tw_ctl_mongo_diff, "collection tw_ledger is missing\n");
    assert_says(world, tw_ctl_mongo_apply, "collection tw_ledger created\n");
    assert_silent(world, tw_ctl_mongo_diff);
}

static void index_of_other_keys__is_refused(void **state)
{
    struct world *world = *state;

    mongo(world, "{\"create\": \"products\"}");
    mongo(world, "{\"createIndexes\": \"products\", \"indexes\": ["
                 "{\"name\": \"id_revision\", \"key\": {\"revision\": 1, \"_id\": 1}, \"unique\": true},"
                 "{\"name\": \"sku\", \"key\": {\"sku\": -1}, \"unique\": true}]}");
    assert_says(world, tw_ctl_mongo_diff, "of products is another one\n");
    assert_refuses(world, tw_ctl_mongo_apply, "drop it, then apply again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_database__gets_every_migration_and_its_pins, setup, teardown),
        cmocka_unit_test_setup_teardown(second_apply__changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(apply__goes_on_where_another_one_died, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_migration__leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(another_id_key__is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(schema_of_a_later_release__is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_mongo__gets_every_collection_and_index, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_collection__is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(index_of_other_keys__is_refused, setup, teardown),
    };

    const char *skip = getenv("TW_SKIP_STORES");

    if (getenv("TW_POSTGRES_URI") && getenv("TW_MONGO_URI")) {
        mongoc_init();
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
    fprintf(stderr, "twctl_schema: NOT RUN: TW_POSTGRES_URI or TW_MONGO_URI names no server"
                    " (TW_SKIP_STORES=1 accepts that)\n");
    return skip && strcmp(skip, "1") == 0 ? 0 : 1;
}
