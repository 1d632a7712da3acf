/* Links: tw_torture tw_edge tw_member_store tw_product_store PkgConfig::PQ PkgConfig::MONGOC */
/* Addresses of stores: what a program reads before it connects. A good one is never called bad. */
#include <stdlib.h>

#include "api-edge/stores/pg_pool.h"
#include "api-edge/stores/redis_pool.h"
#include "member_uri.h"
#include "pg_pipeline.h"
#include "product_connection.h"
#include "torture.h"

static const char postgres_uri[] =
    "postgresql://tillwire:secret@db.example:5432/shop?sslmode=disable&options=-c%20x%3Dy";

static enum tw_rc open_pool(void *world, struct tw_err *reterr)
{
    struct tw_pg_pool *pool = NULL;

    (void)world;
    TW_TRY(tw_pg_pool_open(postgres_uri, 4, &pool, reterr));
    tw_pg_pool_free(pool);
    return TW_OK;
}

static enum tw_rc open_pipeline(void *world, struct tw_err *reterr)
{
    struct tw_pg *pg = NULL;

    (void)world;
    TW_TRY(tw_pg_new(postgres_uri, 1000, NULL, 0, &pg, reterr));
    tw_pg_free(pg);
    return TW_OK;
}

static enum tw_rc name_schema(void *world, struct tw_err *reterr)
{
    char *uri = NULL;

    (void)world;
    TW_TRY(tw_member_uri_of_schema(postgres_uri, "shadow", &uri, reterr));
    tw_torture_answer(tw_str_of(uri));
    free(uri);
    return TW_OK;
}

static void postgres_address__is_never_called_bad(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "PostgreSQL, the edge's", .run = open_pool});
    tw_torture(&(struct tw_torture){.name = "PostgreSQL, a worker's", .run = open_pipeline});
    tw_torture(&(struct tw_torture){.name = "PostgreSQL, another schema", .run = name_schema});
}

static enum tw_rc open_redis(void *world, struct tw_err *reterr)
{
    struct tw_redis_pool *pool = NULL;

    (void)world;
    TW_TRY(tw_redis_pool_open("redis://:secret@a.example:6379/1,redis://b.example/2", 4, &pool, reterr));
    tw_redis_pool_close(pool);
    return TW_OK;
}

static void redis_address__is_never_called_bad(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "Redis", .run = open_redis});
}

static enum tw_rc read_mongo(void *world, struct tw_err *reterr)
{
    struct tw_mongo mongo;

    (void)world;
    TW_TRY(tw_mongo_init("mongodb://tillwire:secret@db.example:27017/shop?authSource=admin", 1000, &mongo, reterr));
    tw_mongo_done(&mongo);
    return TW_OK;
}

static void mongo_address__is_never_called_bad(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){.name = "MongoDB", .run = read_mongo, .warm = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postgres_address__is_never_called_bad),
        cmocka_unit_test(redis_address__is_never_called_bad),
        cmocka_unit_test(mongo_address__is_never_called_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
