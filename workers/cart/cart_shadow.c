#include "cart_shadow.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cart_swap.h"

struct cart_shadow {
    struct tw_cart_pairs pairs;
    struct tw_buf        uri, place;
};

static struct tw_cart_pairs *pairs_of(void *self)
{
    struct cart_shadow *shadow = self;

    return &shadow->pairs;
}

/* ---- look, make, drop ---- */

/* Of all servers: what must be cared for first. */
static enum tw_shadow_content sum_up(const struct tw_cart_content *contents, size_t count)
{
    static const enum tw_shadow_content order[] = {TW_SHADOW_FOREIGN, TW_SHADOW_MADE, TW_SHADOW_OLD};

    for (size_t o = 0; o < TW_LEN(order); o++)
        for (size_t i = 0; i < count; i++)
            if (contents[i].what == order[o])
                return order[o];
    return TW_SHADOW_NONE;
}

/* Half made, or made for other servers, it is nobody's: the note is empty. A server that was swapped has none left. */
static const char *common_note(const struct tw_cart_content *contents, size_t count)
{
    const char *note = contents[count - 1].note;

    for (size_t i = 0; i < count; i++) {
        if (contents[i].is_elsewhere || contents[i].what == TW_SHADOW_NONE)
            return "";
        if (contents[i].what == TW_SHADOW_MADE && strcmp(contents[i].note, note) != 0)
            return "";
    }
    return note;
}

static enum tw_rc shadow_look(void *self, enum tw_shadow_content *ret_content, char ret_note[TW_SHADOW_NOTE + 1],
                              struct tw_err *reterr)
{
    struct tw_cart_pairs  *pairs = pairs_of(self);
    struct tw_cart_content contents[TW_REDIS_SERVERS_MAX];
    enum tw_shadow_content all;

    TW_TRY(tw_cart_pairs_look_all(pairs, "cart.shadow.look", contents, reterr));
    all = sum_up(contents, pairs->server_count);
    if (tw_cart_is_half_swapped(pairs, contents))
        all = contents[pairs->server_count - 1].what == TW_SHADOW_MADE ? TW_SHADOW_SWAPPING : TW_SHADOW_SWAPPING_BACK;
    snprintf(ret_note, TW_SHADOW_NOTE + 1, "%s",
             all == TW_SHADOW_MADE ? common_note(contents, pairs->server_count) : "");
    *ret_content = all;
    return TW_OK;
}

static enum tw_rc make_on(struct tw_cart_pairs *pairs, size_t server, const char *note, const char *where,
                          struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *added = NULL;
    struct tw_lane                    *lane;
    char                               text[TW_CART_SERVER_TEXT];

    TW_TRY(tw_cart_pairs_connect(pairs, server, where, &lane, reterr));
    tw_cart_put_select(lane, pairs->dbs[server]);
    tw_lane_command(lane, "HSET", 5);
    tw_lane_text(lane, TW_CART_KEY_SHADOW);
    tw_lane_text(lane, "server");
    tw_lane_text(lane, tw_cart_server_text(pairs, server, text));
    tw_lane_text(lane, "note");
    tw_lane_text(lane, note);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    return tw_lane_receive(lane, REDIS_REPLY_INTEGER, where, TW_CART_KEY_SHADOW, &added, reterr);
}

static enum tw_rc shadow_make(void *self, const char *note, struct tw_err *reterr)
{
    static const char      where[] = "cart.shadow.make";
    struct tw_cart_pairs  *pairs = pairs_of(self);
    struct tw_cart_content contents[TW_REDIS_SERVERS_MAX];

    assert(strlen(note) <= TW_SHADOW_NOTE);
    TW_TRY(tw_cart_pairs_look_all(pairs, where, contents, reterr));
    for (size_t i = 0; i < pairs->server_count; i++)
        if (contents[i].what != TW_SHADOW_NONE)
            return tw_cart_pairs_fail(pairs, i, "is not empty", where, reterr);
    for (size_t i = 0; i < pairs->server_count; i++)
        TW_TRY(make_on(pairs, i, note, where, reterr));
    return TW_OK;
}

/* Whoever made it his own since we looked is not hurt: both hashes are watched. */
static enum tw_rc drop_on(struct tw_cart_pairs *pairs, size_t server, const char *where, struct tw_err *reterr)
{
    struct tw_lane        *lane;
    struct tw_cart_content content;

    TW_TRY(tw_cart_pairs_connect(pairs, server, where, &lane, reterr));
    tw_cart_put_select(lane, pairs->dbs[server]);
    tw_lane_command(lane, "WATCH", 2);
    tw_lane_text(lane, TW_CART_KEY_SHADOW);
    tw_lane_text(lane, TW_CART_KEY_OLD);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "SELECT", reterr));
    TW_TRY(tw_lane_receive_ok(lane, where, "WATCH", reterr));
    TW_TRY(tw_cart_pairs_look(pairs, server, where, &content, reterr));
    tw_lane_command(lane, "MULTI", 0);
    if (content.what == TW_SHADOW_MADE || content.what == TW_SHADOW_OLD)
        tw_cart_put_on_text(lane, "FLUSHDB", "ASYNC");
    tw_lane_command(lane, "EXEC", 0);
    TW_TRY(tw_lane_send(lane, where, reterr));
    return tw_lane_receive_transaction(lane, where, reterr);
}

static enum tw_rc shadow_drop(void *self, struct tw_err *reterr)
{
    static const char      where[] = "cart.shadow.drop";
    struct tw_cart_pairs  *pairs = pairs_of(self);
    struct tw_cart_content contents[TW_REDIS_SERVERS_MAX];

    TW_TRY(tw_cart_pairs_look_all(pairs, where, contents, reterr));
    for (size_t i = 0; i < pairs->server_count; i++)
        if (contents[i].what == TW_SHADOW_FOREIGN)
            return tw_cart_pairs_fail(pairs, i, "holds something that is not ours", where, reterr);
    if (tw_cart_is_half_swapped(pairs, contents))
        return tw_fail(reterr, TW_BROKEN, where, 0,
                       "a swap ended between two Redis servers: it must be finished first");
    for (size_t i = 0; i < pairs->server_count; i++)
        TW_TRY(drop_on(pairs, i, where, reterr));
    return TW_OK;
}

static enum tw_rc shadow_swap(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                              void *teller, struct tw_err *reterr)
{
    return tw_cart_swap(pairs_of(self), TW_SHADOW_MADE, frozen, partition_count, tell, teller, "cart.shadow.swap",
                        reterr);
}

static enum tw_rc shadow_swap_back(void *self, const struct tw_frozen *frozen, int32_t partition_count, tw_swap_fn tell,
                                   void *teller, struct tw_err *reterr)
{
    return tw_cart_swap(pairs_of(self), TW_SHADOW_OLD, frozen, partition_count, tell, teller, "cart.shadow.swap_back",
                        reterr);
}

/* ---- life ---- */

/* "database 1 of Redis" or, when it is not the same everywhere, "databases 1, 7 of Redis". */
static void name_place(struct cart_shadow *shadow)
{
    const struct tw_cart_pairs *pairs = &shadow->pairs;
    bool                        same = true;

    for (size_t i = 1; i < pairs->server_count; i++)
        same = same && pairs->dbs[i] == pairs->dbs[0];
    tw_buf_printf(&shadow->place, "database%s %d", same ? "" : "s", pairs->dbs[0]);
    for (size_t i = 1; !same && i < pairs->server_count; i++)
        tw_buf_printf(&shadow->place, ", %d", pairs->dbs[i]);
    tw_buf_printf(&shadow->place, " of Redis");
    tw_buf_add(&shadow->place, "", 1);
}

static void shadow_close(void *self)
{
    struct cart_shadow *shadow = self;

    if (!shadow)
        return;
    tw_cart_pairs_done(&shadow->pairs);
    if (shadow->uri.ptr)
        explicit_bzero(shadow->uri.ptr, shadow->uri.len);
    tw_buf_done(&shadow->uri);
    tw_buf_done(&shadow->place);
    free(shadow);
}

enum tw_rc tw_cart_shadow_open(const char *live_uris, const char *name, int timeout_ms, struct tw_shadow *ret_shadow,
                               struct tw_err *reterr)
{
    struct cart_shadow *shadow = tw_alloc_zeroed(1, sizeof(*shadow));
    enum tw_rc          rc = tw_cart_pairs_init(&shadow->pairs, live_uris, name, timeout_ms, reterr);

    if (rc != TW_OK) {
        shadow_close(shadow);
        return rc;
    }
    tw_redis_uris_on(live_uris, shadow->pairs.dbs, &shadow->uri);
    tw_buf_add(&shadow->uri, "", 1);
    name_place(shadow);
    *ret_shadow = (struct tw_shadow){
        .uri = shadow->uri.ptr,
        .place = shadow->place.ptr,
        .look = shadow_look,
        .make = shadow_make,
        .drop = shadow_drop,
        .swap = shadow_swap,
        .swap_back = shadow_swap_back,
        .close = shadow_close,
        .self = shadow,
    };
    return TW_OK;
}