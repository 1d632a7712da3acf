#include "rival.h"

enum tw_rc tw_rival_seen(struct tw_rival *rival, int64_t now_us, const char *instance_id, struct tw_err *reterr)
{
    if (now_us - rival->seen_us > TW_RIVAL_GONE_US)
        rival->times = 0;
    rival->seen_us = now_us;
    if (++rival->times < TW_RIVAL_WINS)
        return TW_OK;
    return tw_fail(
        reterr, TW_FENCED, "rival", 0,
        "another process goes on taking the place of '%s' in its group: each needs an instance_id of its own",
        instance_id);
}

bool tw_rival_is_near(const struct tw_rival *rival, int64_t now_us)
{
    return rival->times > 0 && now_us - rival->seen_us < TW_RIVAL_NEAR_US;
}
