#include "redis_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void put_scan(struct tw_lane *lane, const struct tw_redis_scan *scan, uint64_t cursor)
{
    char text[24];
    int  len = snprintf(text, sizeof(text), "%" PRIu64, cursor);

    tw_lane_command(lane, scan->command, 3 + (scan->key.len > 0 ? 1U : 0U) + (scan->pattern ? 2U : 0U));
    if (scan->key.len > 0)
        tw_lane_str(lane, scan->key);
    tw_lane_arg(lane, text, (size_t)len);
    if (scan->pattern) {
        tw_lane_text(lane, "MATCH");
        tw_lane_text(lane, scan->pattern);
    }
    tw_lane_text(lane, "COUNT");
    tw_lane_number(lane, (int64_t)scan->count);
}

/* [cursor, [text, …]] */
static bool is_page(const redisReply *reply)
{
    const redisReply *found = reply->elements == 2 ? reply->element[1] : NULL;

    if (!found || reply->element[0]->type != REDIS_REPLY_STRING || found->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < found->elements; i++)
        if (found->element[i]->type != REDIS_REPLY_STRING)
            return false;
    return true;
}

enum tw_rc tw_redis_scan(struct tw_lane *lane, const struct tw_redis_scan *scan, uint64_t *cursor, const char *where,
                         redisReply **ret_reply, struct tw_err *reterr)
{
    const char                        *what = scan->key.len > 0 ? scan->key.ptr : scan->command;
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    char                              *end;

    put_scan(lane, scan, *cursor);
    TW_TRY(tw_lane_send(lane, where, reterr));
    TW_TRY(tw_lane_receive(lane, REDIS_REPLY_ARRAY, where, what, &reply, reterr));
    if (!is_page(reply))
        return tw_lane_broken(lane, where, what, "the scan did not answer with a cursor and texts", reterr);
    *cursor = strtoull(reply->element[0]->str, &end, 10);
    *ret_reply = reply->element[1];
    reply->element[1] = NULL; /* the caller's now */
    return TW_OK;
}
