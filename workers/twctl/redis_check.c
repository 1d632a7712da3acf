#include <stdio.h>

#include "parts.h"
#include "redis_lane.h"

/* Opening a lane is the worker's own check: 6.2 or later, no cluster, no eviction, transactions allowed. */
static enum tw_rc check_server(const struct tw_redis_uri *server, size_t index, int timeout_ms, struct tw_err *reterr)
{
    static struct tw_lane lane;
    struct tw_err         why = {0};
    enum tw_rc            rc;

    lane = (struct tw_lane){.partition = (int32_t)index, .server = server, .timeout_ms = timeout_ms};
    rc = tw_lane_open(&lane, "twctl.redis", &why);
    tw_lane_close(&lane);
    if (rc != TW_OK)
        return tw_fail(reterr, rc, why.where, why.native, "%s:%d: %s", server->host, server->port, why.msg);
    return TW_OK;
}

enum tw_rc tw_ctl_redis_check(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    static struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX];
    size_t                     count;

    (void)ret_lines; /* what is wrong with a server is a failure: nothing here can mend it */
    TW_TRY(tw_redis_uris_parse(settings->redis_uri, servers, &count, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(check_server(&servers[i], i, (int)settings->store_timeout_ms, reterr));
    return TW_OK;
}
