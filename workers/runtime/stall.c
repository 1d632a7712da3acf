#include "stall.h"

#include <inttypes.h>
#include <stdio.h>

static bool has_records(const struct tw_partition *partition, int64_t log_end)
{
    return partition->lane_len > 0 || log_end > partition->progress.next_offset;
}

static const char *what_it_waits_for(const struct tw_partition *partition)
{
    if (!tw_flight_is_done(&partition->flight))
        return "the broker does not acknowledge its events or dead letters";
    if (partition->lane_len == 0)
        return "no records come, though its log has some";
    return "its batch is not committed";
}

bool tw_stall_look(struct tw_stall *stall, const struct tw_partition *partition, int64_t log_end, int64_t now_us,
                   char ret_text[TW_STALL_TEXT])
{
    bool waits = partition->state == TW_PARTITION_RUNNING &&
                 (has_records(partition, log_end) || !tw_flight_is_done(&partition->flight));

    if (!waits || !stall->moved_us || partition->progress.next_offset != stall->next_offset)
        stall->moved_us = now_us;
    stall->next_offset = partition->progress.next_offset;
    if (waits && partition->last_error.rc != TW_OK) {
        snprintf(ret_text, TW_STALL_TEXT, "partition %" PRId32 " tries again: %.200s", partition->number,
                 partition->last_error.msg);
        return true;
    }
    if (now_us - stall->moved_us < TW_STALL_US)
        return false;
    snprintf(ret_text, TW_STALL_TEXT, "partition %" PRId32 " has not come on for %" PRId64 " s: %s", partition->number,
             (now_us - stall->moved_us) / 1000000, what_it_waits_for(partition));
    return true;
}
