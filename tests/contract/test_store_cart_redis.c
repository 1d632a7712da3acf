/* The carts' store on Redis under the contract suite. EMPTIES the database that TW_REDIS_URI names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "net_faults.h"
#include "sample_states.h"
#include "store_contract.h"
#include "tillwire/cart_keys.h"
#include "workers/cart/cart_store.h"

enum { TIMEOUT_MS = 2000 };

/* One key of a backup. */
struct kept {
    size_t      server;
    redisReply *key;
    redisReply *dump;
    char        ttl_ms[24];
};

struct redis {
    const char         *uris;
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    redisContext       *links[TW_REDIS_SERVERS_MAX];
    size_t              server_count;
    struct kept        *backup;
    size_t              backup_count;
};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "store_cart_redis: %s: %s\n", what, why);
    exit(1);
}

/* The reply of a command, never an error. */
static redisReply *run(struct redis *redis, size_t server, int argc, const char **argv, const size_t *lengths)
{
    redisReply *reply = redisCommandArgv(redis->links[server], argc, argv, lengths);

    if (!reply)
        die(argv[0], redis->links[server]->errstr);
    if (reply->type == REDIS_REPLY_ERROR)
        die(argv[0], reply->str);
    return reply;
}

static void run_words(struct redis *redis, size_t server, int argc, const char **argv)
{
    freeReplyObject(run(redis, server, argc, argv, NULL));
}

static void link_server(struct redis *redis, size_t server)
{
    const struct tw_redis_uri *uri = &redis->servers[server];
    struct timeval             timeout = {.tv_sec = TIMEOUT_MS / 1000};
    char                       db[16];

    redis->links[server] = redisConnectWithTimeout(uri->host, uri->port, timeout);
    if (!redis->links[server] || redis->links[server]->err)
        die("cannot connect", redis->links[server] ? redis->links[server]->errstr : "no memory");
    if (*uri->user)
        run_words(redis, server, 3, (const char *[]){"AUTH", uri->user, uri->password});
    else if (*uri->password)
        run_words(redis, server, 2, (const char *[]){"AUTH", uri->password});
    snprintf(db, sizeof(db), "%d", uri->db);
    run_words(redis, server, 2, (const char *[]){"SELECT", db});
}

static void redis_connect(void *self, const char *uri)
{
    struct redis *redis = self;
    struct tw_err err = {0};

    redis->uris = uri;
    if (tw_redis_uris_parse(uri, redis->servers, &redis->server_count, &err) != TW_OK)
        die("TW_REDIS_URI", err.msg);
    for (size_t server = 0; server < redis->server_count; server++)
        link_server(redis, server);
}

static void redis_open(void *self, struct tw_store *ret_store)
{
    struct redis *redis = self;
    struct tw_err err = {0};

    if (tw_cart_store_open(redis->uris, TIMEOUT_MS, ret_store, &err) != TW_OK)
        die("cannot open the store", err.msg);
}

static void redis_close(void *self, struct tw_store *store)
{
    (void)self;
    tw_cart_store_close(store);
}

static void redis_wipe(void *self)
{
    struct redis *redis = self;

    for (size_t server = 0; server < redis->server_count; server++)
        run_words(redis, server, 1, (const char *[]){"FLUSHDB"});
}

static void free_backup(struct redis *redis)
{
    for (size_t i = 0; i < redis->backup_count; i++) {
        freeReplyObject(redis->backup[i].key);
        freeReplyObject(redis->backup[i].dump);
    }
    free(redis->backup);
    redis->backup = NULL;
    redis->backup_count = 0;
}

static void keep(struct redis *redis, size_t server, redisReply *key)
{
    struct kept *kept = &redis->backup[redis->backup_count++];
    redisReply  *ttl = run(redis, server, 2, (const char *[]){"PTTL", key->str}, (const size_t[]){4, key->len});

    *kept = (struct kept){.server = server, .key = key};
    kept->dump = run(redis, server, 2, (const char *[]){"DUMP", key->str}, (const size_t[]){4, key->len});
    snprintf(kept->ttl_ms, sizeof(kept->ttl_ms), "%lld", ttl->integer > 0 ? ttl->integer : 0);
    freeReplyObject(ttl);
}

static void redis_take(void *self)
{
    struct redis *redis = self;

    free_backup(redis);
    for (size_t server = 0; server < redis->server_count; server++) {
        redisReply *keys = run(redis, server, 2, (const char *[]){"KEYS", "*"}, NULL);

        redis->backup = tw_realloc(redis->backup, (redis->backup_count + keys->elements + 1) * sizeof(*redis->backup));
        for (size_t i = 0; i < keys->elements; i++) {
            keep(redis, server, keys->element[i]);
            keys->element[i] = NULL;
        }
        freeReplyObject(keys);
    }
}

static void redis_put_back(void *self)
{
    struct redis *redis = self;

    redis_wipe(redis);
    for (size_t i = 0; i < redis->backup_count; i++) {
        const struct kept *kept = &redis->backup[i];

        freeReplyObject(run(redis, kept->server, 4,
                            (const char *[]){"RESTORE", kept->key->str, kept->ttl_ms, kept->dump->str},
                            (const size_t[]){7, kept->key->len, strlen(kept->ttl_ms), kept->dump->len}));
    }
}

static void redis_lose_request(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, NULL);
}

/* A commit may ask for the types of keys first, or go out in two parts: the one that counts has the EXEC. */
static const char commit_marker[] = "EXEC";

static void redis_lose_commit(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_REQUEST, commit_marker);
}

static void redis_lose_answer(void *self)
{
    (void)self;
    tw_net_fault(TW_NET_LOSE_ANSWER, commit_marker);
}

static bool redis_end_fault(void *self)
{
    (void)self;
    return tw_net_fault_clear();
}

int main(int argc, char **argv)
{
    static const char *const stops[] = {"in_commit=stop", NULL};
    struct redis             redis = {0};
    struct tw_store_fixture  fixture = {
         .name = "store_cart_redis",
         .variable = "TW_REDIS_URI",
         .states = &tw_sample_carts,
         .connect = redis_connect,
         .open = redis_open,
         .close = redis_close,
         .wipe = redis_wipe,
         .take = redis_take,
         .put_back = redis_put_back,
         .lose_request = redis_lose_request,
         .lose_commit = redis_lose_commit,
         .lose_answer = redis_lose_answer,
         .end_fault = redis_end_fault,
         .stops = stops,
         .self = &redis,
    };
    int failed = tw_store_contract_main(argc, argv, &fixture);

    free_backup(&redis);
    for (size_t server = 0; server < redis.server_count; server++)
        redisFree(redis.links[server]);
    return failed;
}
