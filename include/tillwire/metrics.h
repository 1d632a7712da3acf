/**
 * Counters, gauges and histograms in Prometheus text form. Metrics are static objects registered once; updating one is
 * an atomic add, from any thread.
 */
#ifndef TILLWIRE_METRICS_H
#define TILLWIRE_METRICS_H

#include <stdatomic.h>

#include "tillwire/str.h"

enum tw_metric_kind { TW_COUNTER, TW_GAUGE, TW_HISTOGRAM };
enum { TW_BUCKETS = 20 };

struct tw_metric {
    const char         *name;   /**< "tillwire_records_total", units in the name; histograms are in seconds */
    const char         *labels; /**< `outcome="rejected"`, or NULL */
    enum tw_metric_kind kind;
    const char         *help;
    _Atomic int64_t     value;                   /**< counter, gauge; histogram: sum in microseconds */
    _Atomic int64_t     buckets[TW_BUCKETS + 1]; /**< histogram: counts up to 100 us * 2^i, then +Inf */
    struct tw_metric   *next;                    /**< registry */
    atomic_bool         registered;
};

/** Registers on first use; thread safe. */
void tw_metric_add(struct tw_metric *metric, int64_t n);
void tw_metric_set(struct tw_metric *metric, int64_t value);
void tw_metric_observe_us(struct tw_metric *metric, int64_t microseconds);
/** All registered metrics, grouped by name with one HELP and TYPE line each, plus process_* (resident memory, open
 *  descriptors, threads, cpu seconds, start time). */
void tw_metrics_render(struct tw_buf *out);

#endif
