#include "live_store.h"

#include <inttypes.h>

enum tw_rc tw_live_store_was_folded(const struct tw_store *store, int32_t partition_count, bool *ret_was,
                                    struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    bool                                   was = false;

    for (int32_t p = 0; !was && p < partition_count; p++) {
        struct tw_progress progress;

        TW_TRY(store->watermark(store->self, p, &arena, &progress, reterr));
        was = progress.next_offset > 0;
    }
    *ret_was = was;
    return TW_OK;
}

enum tw_rc tw_live_store_check_log(const struct tw_source *log, int32_t partition_count, const char *uri_setting,
                                   struct tw_err *reterr)
{
    int64_t records = 0;

    for (int32_t p = 0; p < partition_count; p++) {
        int64_t low, high;

        TW_TRY(log->bounds(log->self, p, &low, &high, reterr));
        records += high;
    }
    if (!records)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, "live_store", 0,
                   "nothing was ever folded into this store, and its log has %" PRId64
                   " records: is %s the right one? If it is, start the worker",
                   records, uri_setting);
}
