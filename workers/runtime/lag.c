#include "lag.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tillwire/metrics.h"

enum { LABELS_MAX_BYTES = 64 };

struct lag {
    struct tw_metric records;
    struct tw_metric seconds;
    char             labels[LABELS_MAX_BYTES];
    int64_t          behind_since_ms; /* 0: it is not */
};

static struct lag *_Atomic table[TW_LAG_PARTITIONS_MAX]; /* made when first needed, and kept */

static struct lag *make_lag(int32_t partition)
{
    struct lag *lag = tw_alloc_zeroed(1, sizeof(*lag));

    snprintf(lag->labels, sizeof(lag->labels), "messaging_destination_partition_id=\"%" PRId32 "\"", partition);
    lag->records.name = "tillwire_consumer_lag_records";
    lag->records.kind = TW_GAUGE;
    lag->records.help = "Records of the command log that are not folded yet, by partition.";
    lag->seconds.name = "tillwire_consumer_lag_seconds";
    lag->seconds.kind = TW_GAUGE;
    lag->seconds.help = "Age of the oldest record that is not folded yet, by partition; 0: all are.";
    lag->records.labels = lag->seconds.labels = lag->labels;
    return lag;
}

static struct lag *lag_of(int32_t partition)
{
    struct lag *found = atomic_load_explicit(&table[partition], memory_order_acquire);
    struct lag *made;

    if (found)
        return found;
    made = make_lag(partition);
    if (atomic_compare_exchange_strong(&table[partition], &found, made))
        return made;
    free(made);
    return found;
}

/* Of the oldest record at hand; when none is, since it was first seen to be behind. */
static int64_t age_s(struct lag *lag, const struct tw_partition *partition, int64_t records, int64_t now_ms)
{
    int64_t since_ms = now_ms;

    if (partition->lane_len > 0)
        since_ms = rd_kafka_message_timestamp(partition->lane[0], NULL);
    else if (records > 0)
        since_ms = lag->behind_since_ms ? lag->behind_since_ms : now_ms;
    lag->behind_since_ms = records > 0 ? since_ms : 0;
    return now_ms > since_ms ? (now_ms - since_ms) / 1000 : 0;
}

void tw_lag_tell(const struct tw_partition *partition, int64_t log_end, int64_t now_ms)
{
    int64_t     records = (int64_t)partition->lane_len;
    struct lag *lag;

    if (partition->number >= TW_LAG_PARTITIONS_MAX)
        return;
    if (log_end - partition->progress.next_offset > records)
        records = log_end - partition->progress.next_offset;
    lag = lag_of(partition->number);
    tw_metric_set(&lag->seconds, age_s(lag, partition, records, now_ms));
    tw_metric_set(&lag->records, records);
    tw_metric_show(&lag->seconds);
    tw_metric_show(&lag->records);
}

void tw_lag_forget(int32_t partition)
{
    struct lag *lag = partition < TW_LAG_PARTITIONS_MAX ? atomic_load(&table[partition]) : NULL;

    if (!lag)
        return;
    tw_metric_hide(&lag->seconds);
    tw_metric_hide(&lag->records);
    lag->behind_since_ms = 0;
}
