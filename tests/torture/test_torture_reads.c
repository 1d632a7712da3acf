/* Links: tw_torture tw_edge PkgConfig::PQ PkgConfig::HIREDIS */
/* What the edge reads from PostgreSQL and Redis, with failing allocations: all of an answer, or none. */
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "api-edge/stores/pg_pool.h"
#include "api-edge/stores/redis_pool.h"
#include "torture.h"

enum { CONNECTIONS = 2 };

static const char *address(const char *variable)
{
    const char *uri = getenv(variable);

    if (!uri)
        fail_msg("%s is not set: no server to test against", variable);
    return uri;
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

static enum tw_rc query(struct tw_pg_pool *pool, struct tw_err *reterr)
{
    PGresult *result = NULL;

    TW_TRY(tw_pg_pool_query(pool, "select i::text, repeat('x', i) from generate_series(1, 100) i", 0, NULL, &result,
                            reterr));
    for (int row = 0; row < PQntuples(result); row++)
        tw_torture_answer(tw_str_of(PQgetvalue(result, row, 1)));
    PQclear(result);
    return TW_OK;
}

static void *open_postgres(void)
{
    struct tw_pg_pool *pool = NULL;

    if (tw_pg_pool_open(address("TW_POSTGRES_URI"), CONNECTIONS, &pool, NULL) != TW_OK)
        abort();
    return pool;
}

static void *connect_postgres(void)
{
    struct tw_pg_pool *pool = open_postgres();

    if (query(pool, NULL) != TW_OK)
        abort();
    return pool;
}

static enum tw_rc query_postgres(void *world, struct tw_err *reterr)
{
    return query(world, reterr);
}

static void close_postgres(void *world)
{
    tw_pg_pool_free(world);
}

static void rows__are_all_there_or_none(void **state)
{
    (void)state;
    tw_torture(&(struct tw_torture){
        .name = "a query", .before = connect_postgres, .run = query_postgres, .after = close_postgres});
    tw_torture(&(struct tw_torture){.name = "a first query",
                                    .before = open_postgres,
                                    .run = query_postgres,
                                    .after = close_postgres,
                                    .warm = true,
                                    .places = 10});
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

static void answer_reply(const redisReply *reply)
{
    tw_torture_answer((struct tw_str){(const char *)&reply->integer, sizeof(reply->integer)});
    if (reply->type == REDIS_REPLY_STRING)
        tw_torture_answer((struct tw_str){reply->str, reply->len});
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        answer_reply(reply->element[i]);
}

static enum tw_rc ask(struct tw_redis_pool *pool, struct tw_err *reterr)
{
    const char  *words[] = {"EVAL", "return {1, 'a', {'b', {2, false, 'c'}}, 'd'}", "0"};
    const size_t lengths[] = {strlen(words[0]), strlen(words[1]), strlen(words[2])};
    redisReply  *reply = NULL;

    TW_TRY(tw_redis_pool_run(pool, 0, TW_LEN(words), words, lengths, &reply, reterr));
    answer_reply(reply);
    freeReplyObject(reply);
    return TW_OK;
}

static void *open_redis(void)
{
    struct tw_redis_pool *pool = NULL;

    if (tw_redis_pool_open(address("TW_REDIS_URI"), CONNECTIONS, &pool, NULL) != TW_OK)
        abort();
    return pool;
}

static void *connect_redis(void)
{
    struct tw_redis_pool *pool = open_redis();

    if (ask(pool, NULL) != TW_OK)
        abort();
    return pool;
}

static enum tw_rc ask_redis(void *world, struct tw_err *reterr)
{
    return ask(world, reterr);
}

static void close_redis(void *world)
{
    tw_redis_pool_close(world);
}

static void reply__is_all_there_or_none(void **state)
{
    (void)state;
    tw_torture(
        &(struct tw_torture){.name = "a command", .before = connect_redis, .run = ask_redis, .after = close_redis});
    tw_torture(
        &(struct tw_torture){.name = "a first command", .before = open_redis, .run = ask_redis, .after = close_redis});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows__are_all_there_or_none),
        cmocka_unit_test(reply__is_all_there_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
