/**
 * Counters, gauges and histograms in Prometheus text form. Metrics are static objects registered once; updating one is
 * an atomic add, from any thread. Names are OpenTelemetry's where it has one, in Prometheus' spelling; ours begin with
 * tillwire_. docs/metrics.md lists all of them: a test compares it with what the programs serve.
 */
#ifndef TILLWIRE_METRICS_H
#define TILLWIRE_METRICS_H

#include <stdatomic.h>

#include "tillwire/str.h"

enum tw_metric_kind {
    TW_COUNTER,
    TW_GAUGE,
    TW_HISTOGRAM, /**< of durations */
    TW_SIZES,     /**< a histogram of whole numbers */
};
enum { TW_BUCKETS = 20 };

struct tw_metric {
    const char         *name;   /**< "tillwire_records_total", units in the name; durations are in seconds */
    const char         *labels; /**< `outcome="rejected"`, or NULL */
    enum tw_metric_kind kind;
    const char         *help;
    _Atomic int64_t     value;                   /**< counter, gauge; a histogram's sum: microseconds or sizes */
    _Atomic int64_t     buckets[TW_BUCKETS + 1]; /**< counts up to 100 us * 2^i (sizes: 2^i), then +Inf */
    struct tw_metric   *next;                    /**< registry */
    atomic_bool         registered;
    atomic_bool         hidden;
};

/** Registers on first use; thread safe. */
void tw_metric_add(struct tw_metric *metric, int64_t n);
void tw_metric_set(struct tw_metric *metric, int64_t value);
void tw_metric_observe_us(struct tw_metric *metric, int64_t microseconds);
void tw_metric_observe_size(struct tw_metric *metric, int64_t size);
/** Shows it with its value, 0 when nothing has happened yet: nobody can be woken by a line that is not there. */
void tw_metric_show(struct tw_metric *metric);
/** Leaves it out until tw_metric_show(): a gauge of what this process no longer has. */
void tw_metric_hide(struct tw_metric *metric);
/** Once in a file, at its top: shows these from the program's start. */
#define TW_METRICS_SHOWN(...)                                   \
    __attribute__((constructor)) static void show_metrics(void) \
    {                                                           \
        struct tw_metric *const list[] = {__VA_ARGS__};         \
        for (size_t i = 0; i < TW_LEN(list); i++)               \
            tw_metric_show(list[i]);                            \
    }
/** All registered metrics, grouped by name with one HELP and TYPE line each, plus process_* (resident memory, open
 *  descriptors, threads, cpu seconds, start time) under the names of Prometheus' own clients. */
void tw_metrics_render(struct tw_buf *out);

#endif
