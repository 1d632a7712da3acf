#include "store_meter.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

enum operation { WATERMARK, LOAD, COMMIT, FORGET_OUTBOX, SWEEP, SET_MARK, LIST, LIST_ROWS, OPERATIONS };
enum { LABELS_MAX_BYTES = 128 };

static const char *const system_names[TW_STORE_SYSTEMS] = {"postgresql", "mongodb", "redis", "other"};
static const char *const operation_names[OPERATIONS] = {"watermark", "load",     "commit", "forget_outbox",
                                                        "sweep",     "set_mark", "list",   "list_rows"};
static const char *const error_names[] = {
#define X(name, action, http, text) #name,
    TW_RC_MAP(X)
#undef X
};

#define CALLS(system)                                                                               \
    {                                                                                               \
        "watermark of " system, "load of " system, "commit to " system, "forget_outbox of " system, \
            "sweep of " system, "set_mark of " system, "list of " system, "list_rows of " system    \
    }
/* What a pulse says: static texts. */
static const char *const calls[TW_STORE_SYSTEMS][OPERATIONS] = {CALLS("PostgreSQL"), CALLS("MongoDB"), CALLS("Redis"),
                                                                CALLS("the store")};
#undef CALLS

enum { RESULTS = TW_LEN(error_names) };

struct series {
    struct tw_metric metric;
    char             labels[LABELS_MAX_BYTES];
};

/* Made when first needed, of all loops of the process, and kept. */
static struct series *_Atomic table[TW_STORE_SYSTEMS][OPERATIONS][RESULTS];

enum tw_store_system tw_store_system_of(const char *setting)
{
    static const char *const settings[] = {"postgres_uri", "mongo_uri", "redis_uri"};

    for (size_t i = 0; i < TW_LEN(settings); i++)
        if (strcmp(setting, settings[i]) == 0)
            return (enum tw_store_system)i;
    return TW_STORE_OTHER;
}

static void put_error(char labels[LABELS_MAX_BYTES], enum tw_rc rc)
{
    size_t len = strlen(labels);

    len += (size_t)snprintf(labels + len, LABELS_MAX_BYTES - len, ",error_type=\"");
    for (const char *at = error_names[rc]; *at; at++)
        labels[len++] = (char)(*at == '_' ? '_' : *at | 0x20); /* lower case */
    snprintf(labels + len, LABELS_MAX_BYTES - len, "\"");
}

static struct series *make_series(enum tw_store_system system, enum operation operation, enum tw_rc rc)
{
    struct series *series = tw_alloc_zeroed(1, sizeof(*series));

    snprintf(series->labels, sizeof(series->labels), "db_system_name=\"%s\",db_operation_name=\"%s\"",
             system_names[system], operation_names[operation]);
    if (rc != TW_OK)
        put_error(series->labels, rc);
    series->metric.name = "db_client_operation_duration_seconds";
    series->metric.labels = series->labels;
    series->metric.kind = TW_HISTOGRAM;
    series->metric.help = "A store's answer, by kind of call; with an error_type: it failed.";
    return series;
}

static struct series *find_or_make(enum tw_store_system system, enum operation operation, enum tw_rc rc)
{
    struct series *_Atomic *place = &table[system][operation][rc];
    struct series          *found = atomic_load_explicit(place, memory_order_acquire);
    struct series          *made;

    if (found)
        return found;
    made = make_series(system, operation, rc);
    if (atomic_compare_exchange_strong(place, &found, made))
        return made;
    free(made);
    return found;
}

/* When; and the thread's pulse is in this call until count() says that it is over. */
static int64_t begin(const struct tw_store_meter *meter, enum operation operation)
{
    tw_pulse(calls[meter->system][operation]);
    return tw_monotonic_us();
}

static enum tw_rc count(const struct tw_store_meter *meter, enum operation operation, int64_t start_us, enum tw_rc rc)
{
    tw_pulse("folding");
    tw_metric_observe_us(&find_or_make(meter->system, operation, rc)->metric, tw_monotonic_us() - start_us);
    return rc;
}

static enum tw_rc watermark(void *self, int32_t partition, struct tw_arena *arena, struct tw_progress *ret_progress,
                            struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, WATERMARK);

    return count(meter, WATERMARK, start_us,
                 meter->store->watermark(meter->store->self, partition, arena, ret_progress, reterr));
}

static enum tw_rc load(void *self, int32_t partition, int64_t first_offset, struct tw_load *what,
                       struct tw_arena *arena, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, LOAD);

    return count(meter, LOAD, start_us,
                 meter->store->load(meter->store->self, partition, first_offset, what, arena, reterr));
}

static enum tw_rc commit(void *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, COMMIT);

    return count(meter, COMMIT, start_us, meter->store->commit(meter->store->self, changes, reterr));
}

static void abandon(void *self, int32_t partition)
{
    const struct tw_store_meter *meter = self;

    meter->store->abandon(meter->store->self, partition);
}

static enum tw_rc forget_outbox(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, FORGET_OUTBOX);

    return count(meter, FORGET_OUTBOX, start_us,
                 meter->store->forget_outbox(meter->store->self, partition, next_offset, reterr));
}

static enum tw_rc sweep(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, SWEEP);

    return count(meter, SWEEP, start_us,
                 meter->store->sweep(meter->store->self, partition, next_offset, clock_ms, reterr));
}

static void release(void *self, int32_t partition)
{
    const struct tw_store_meter *meter = self;

    meter->store->release(meter->store->self, partition);
}

static enum tw_rc set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                           struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, SET_MARK);

    return count(meter, SET_MARK, start_us,
                 meter->store->set_mark(meter->store->self, partition, next_offset, from, to, reterr));
}

static enum tw_rc list(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                       size_t *ret_count, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, LIST);

    return count(meter, LIST, start_us,
                 meter->store->list(meter->store->self, kind, from_start, ret_keys, max, ret_count, reterr));
}

static enum tw_rc list_rows(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                            size_t *ret_count, struct tw_err *reterr)
{
    const struct tw_store_meter *meter = self;
    int64_t                      start_us = begin(meter, LIST_ROWS);

    return count(meter, LIST_ROWS, start_us,
                 meter->store->list_rows(meter->store->self, partition, from_start, ret_ids, max, ret_count, reterr));
}

void tw_store_meter_wrap(struct tw_store_meter *meter, const struct tw_store *store, enum tw_store_system system,
                         struct tw_store *ret_metered)
{
    *meter = (struct tw_store_meter){store, system};
    *ret_metered = (struct tw_store){
        .watermark = watermark,
        .load = load,
        .commit = commit,
        .abandon = abandon,
        .forget_outbox = forget_outbox,
        .sweep = sweep,
        .release = release,
        .set_mark = set_mark,
        .list = list,
        .list_rows = list_rows,
        .self = meter,
    };
}
