#include "cart_pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

static bool is_same_server(const struct tw_redis_uri *a, const struct tw_redis_uri *b)
{
    return a->port == b->port && !strcmp(a->host, b->host);
}

/* No database is two things. */
static enum tw_rc check_apart(const struct tw_cart_pairs *pairs, struct tw_err *reterr)
{
    for (size_t i = 0; i < pairs->server_count; i++)
        for (size_t k = 0; k < pairs->server_count; k++) {
            if (!is_same_server(&pairs->servers[i], &pairs->servers[k]))
                continue;
            if (pairs->dbs[i] == pairs->servers[k].db)
                return tw_fail(reterr, TW_INVALID, "cart.shadow", 0,
                               "database %d of Redis address %zu is live: it cannot be the shadow", pairs->dbs[i],
                               k + 1);
            if (i != k && pairs->dbs[i] == pairs->dbs[k])
                return tw_fail(reterr, TW_INVALID, "cart.shadow", 0,
                               "Redis addresses %zu and %zu would share database %d as their shadow", i + 1, k + 1,
                               pairs->dbs[i]);
        }
    return TW_OK;
}

static enum tw_rc choose_databases(struct tw_cart_pairs *pairs, const char *name, struct tw_err *reterr)
{
    int64_t number = 0;

    if (*name && (!tw_str_to_int(tw_str_of(name), &number) || number < 0 || number > INT32_MAX))
        return tw_fail(reterr, TW_INVALID, "cart.shadow", 0, "the shadow of carts is a database number, not '%.40s'",
                       name);
    for (size_t i = 0; i < pairs->server_count; i++) {
        if (!*name && pairs->servers[i].db == INT32_MAX)
            return tw_fail(reterr, TW_INVALID, "cart.shadow", 0, "there is no database number behind %d", INT32_MAX);
        pairs->dbs[i] = *name ? (int)number : pairs->servers[i].db + 1;
    }
    return check_apart(pairs, reterr);
}

static void make_lanes(struct tw_cart_pairs *pairs, int timeout_ms)
{
    pairs->lanes = tw_alloc_zeroed(pairs->server_count, sizeof(*pairs->lanes));
    for (size_t i = 0; i < pairs->server_count; i++) {
        pairs->lanes[i].partition = (int32_t)i; /* which lives there */
        pairs->lanes[i].server = &pairs->servers[i];
        pairs->lanes[i].timeout_ms = timeout_ms;
    }
}

enum tw_rc tw_cart_pairs_init(struct tw_cart_pairs *pairs, const char *live_uris, const char *name, int timeout_ms,
                              struct tw_err *reterr)
{
    TW_TRY(tw_redis_uris_parse(live_uris, pairs->servers, &pairs->server_count, reterr));
    TW_TRY(choose_databases(pairs, name, reterr));
    make_lanes(pairs, timeout_ms);
    return TW_OK;
}

void tw_cart_pairs_done(struct tw_cart_pairs *pairs)
{
    for (size_t i = 0; pairs->lanes && i < pairs->server_count; i++)
        tw_lane_close(&pairs->lanes[i]);
    free(pairs->lanes);
    explicit_bzero(pairs->servers, sizeof(pairs->servers));
}

/* ---- commands ---- */

enum tw_rc tw_cart_pairs_connect(struct tw_cart_pairs *pairs, size_t server, const char *where,
                                 struct tw_lane **ret_lane, struct tw_err *reterr)
{
    struct tw_lane *lane = &pairs->lanes[server];

    if (!lane->redis)
        TW_TRY(tw_lane_open(lane, where, reterr));
    *ret_lane = lane;
    return TW_OK;
}

void tw_cart_put_select(struct tw_lane *lane, int db)
{
    tw_lane_command(lane, "SELECT", 1);
    tw_lane_number(lane, db);
}

void tw_cart_put_on_text(struct tw_lane *lane, const char *name, const char *key)
{
    tw_lane_command(lane, name, 1);
    tw_lane_text(lane, key);
}

const char *tw_cart_server_text(const struct tw_cart_pairs *pairs, size_t server, char ret_text[TW_CART_SERVER_TEXT])
{
    snprintf(ret_text, TW_CART_SERVER_TEXT, "%zu/%zu", server + 1, pairs->server_count);
    return ret_text;
}

const char *tw_cart_key_of_content(enum tw_shadow_content what)
{
    return what == TW_SHADOW_OLD ? TW_CART_KEY_OLD : TW_CART_KEY_SHADOW;
}

enum tw_rc tw_cart_pairs_fail(const struct tw_cart_pairs *pairs, size_t server, const char *what, const char *where,
                              struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, where, 0, "database %d of Redis %s:%d %s", pairs->dbs[server],
                   pairs->servers[server].host, pairs->servers[server].port, what);
}

/* ---- what is there ---- */

static void put_hash(struct tw_lane *lane, const char *key)
{
    tw_lane_command(lane, "HMGET", 4);
    tw_lane_text(lane, key);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, "note");
    tw_lane_text(lane, "going");
}

static bool is_text(const redisReply *value)
{
    return value->type == REDIS_REPLY_STRING;
}

static void read_hash(const redisReply *reply, const char *server, enum tw_shadow_content what,
                      struct tw_cart_content *content)
{
    if (!is_text(reply->element[0]))
        return;
    content->what = what;
    content->is_elsewhere = strcmp(reply->element[0]->str, server) != 0;
    if (is_text(reply->element[1]))
        snprintf(content->note, sizeof(content->note), "%s", reply->element[1]->str);
    content->is_going = is_text(reply->element[2]);
}

/* A key of another type is not ours: what remains is FOREIGN. */
static enum tw_rc receive_hash(struct tw_lane *lane, const char *server, enum tw_shadow_content what, const char *where,
                               struct tw_cart_content *content, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = tw_lane_answer(lane, TW_UNREACHED, where, reterr);

    if (!reply)
        return TW_UNREACHED;
    if (reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "WRONGTYPE", sizeof("WRONGTYPE") - 1))
        return TW_OK;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return tw_lane_refuse(lane, reply, where, tw_cart_key_of_content(what), reterr);
    read_hash(reply, server, what, content);
    return TW_OK;
}

enum tw_rc tw_cart_pairs_look(struct tw_cart_pairs *pairs, size_t server, const char *where,
                              struct tw_cart_content *ret_content, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *size = NULL;
    struct tw_cart_content             content;
    struct tw_lane                    *lane;
    char                               text[TW_CART_SERVER_TEXT];

    TW_TRY(tw_cart_pairs_connect(pairs, server, where, &lane, reterr));
    tw_cart_put_select(lane, pairs->dbs[server]);
    tw_lane_command(lane, "DBSIZE", 0);
    put_hash(lane, TW_CART_KEY_OLD);
    put_hash(lane, TW_CART_KEY_SHADOW);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_INTEGER, where, "DBSIZE", &size, reterr));
    content = (struct tw_cart_content){.what = size->integer > 0 ? TW_SHADOW_FOREIGN : TW_SHADOW_NONE};
    tw_cart_server_text(pairs, server, text);
    TW_TRY(receive_hash(lane, text, TW_SHADOW_OLD, where, &content, reterr));
    TW_TRY(receive_hash(lane, text, TW_SHADOW_MADE, where, &content, reterr));
    *ret_content = content;
    return TW_OK;
}

enum tw_rc tw_cart_pairs_look_all(struct tw_cart_pairs *pairs, const char *where,
                                  struct tw_cart_content ret_contents[TW_REDIS_SERVERS_MAX], struct tw_err *reterr)
{
    for (size_t i = 0; i < pairs->server_count; i++)
        TW_TRY(tw_cart_pairs_look(pairs, i, where, &ret_contents[i], reterr));
    return TW_OK;
}

/* See cart_swap.c. */
bool tw_cart_is_half_swapped(const struct tw_cart_pairs *pairs, const struct tw_cart_content *contents)
{
    return pairs->server_count > 1 && contents[pairs->server_count - 1].is_going;
}
