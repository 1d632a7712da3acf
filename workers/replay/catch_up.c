#include "catch_up.h"

#include "freeze.h"

enum { NEARLY_THERE = 5000, ROUNDS_MAX = 20 }; /* records */

static enum tw_rc ask(struct tw_catch_up *catch_up, struct tw_err *reterr)
{
    enum tw_rc rc =
        tw_settled_vector(catch_up->live, catch_up->partition_count, &tw_replay_stop, catch_up->vector, reterr);

    catch_up->is_published = rc == TW_OK;
    return rc == TW_UNREACHED && !catch_up->needs_worker ? TW_OK : rc;
}

static int64_t count_left(const struct tw_catch_up *catch_up)
{
    int64_t left = 0;

    for (int32_t p = 0; p < catch_up->partition_count; p++)
        left += catch_up->vector[p].next_offset - catch_up->at[p].next_offset;
    return left;
}

enum tw_rc tw_catch_up(struct tw_catch_up *catch_up, struct tw_err *reterr)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        TW_TRY(ask(catch_up, reterr));
        if (round > 0 && count_left(catch_up) < NEARLY_THERE)
            return TW_OK;
        TW_TRY(catch_up->fold(catch_up->self, reterr));
        if (!catch_up->is_published)
            return TW_OK;
    }
    return TW_OK; /* the log grows faster than it is folded */
}
