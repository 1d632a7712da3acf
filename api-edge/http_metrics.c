/*
 * Series are made when they are first needed and found by hashing; nothing is ever taken out, so that finding needs no
 * lock. Two threads that make the same one at once: the later one throws its own away.
 */
#include "http_metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "router.h"
#include "tillwire/metrics.h"

enum { SERIES_MAX = 4096, LABELS_MAX_BYTES = 256 }; /* some 60 routes with some 12 statuses each */

struct series {
    const struct tw_route *route;
    enum tw_method         method;
    int                    status;
    struct tw_metric       metric;
    char                   labels[LABELS_MAX_BYTES];
};

static struct series *_Atomic table[SERIES_MAX];

static bool is_of(const struct series *series, const struct tw_request *request, int status)
{
    return series->route == request->route && series->method == request->method && series->status == status;
}

static size_t place_of(const struct tw_request *request, int status)
{
    uint64_t mixed = (uintptr_t)request->route / sizeof(struct tw_route) * 64 + (uint64_t)request->method * 8;

    return (size_t)((mixed + (uint64_t)status) * UINT64_C(0x9e3779b97f4a7c15) >> 52) % SERIES_MAX;
}

static struct series *make_series(const struct tw_request *request, int status)
{
    struct series *series = tw_alloc_zeroed(1, sizeof(*series));
    const char    *method = request->method == TW_METHOD_OTHER ? "_OTHER" : tw_method_name(request->method);

    series->route = request->route;
    series->method = request->method;
    series->status = status;
    snprintf(series->labels, sizeof(series->labels),
             "http_request_method=\"%s\",http_response_status_code=\"%d\"%s%s%s", method, status,
             request->route ? ",http_route=\"" : "", request->route ? request->route->pattern : "",
             request->route ? "\"" : "");
    series->metric.name = "http_server_request_duration_seconds";
    series->metric.labels = series->labels;
    series->metric.kind = TW_HISTOGRAM;
    series->metric.help = "From the end of a request's head to its answer.";
    return series;
}

static struct series *find_or_make(const struct tw_request *request, int status)
{
    struct series *made = NULL;

    for (size_t i = place_of(request, status), tried = 0; tried < SERIES_MAX; i = (i + 1) % SERIES_MAX, tried++) {
        struct series *found = atomic_load_explicit(&table[i], memory_order_acquire);

        if (!found) {
            made = made ? made : make_series(request, status);
            if (atomic_compare_exchange_strong(&table[i], &found, made))
                return made;
        }
        if (is_of(found, request, status)) {
            free(made);
            return found;
        }
    }
    free(made);
    return NULL;
}

void tw_http_metrics_observe(const struct tw_request *request, int status, int64_t microseconds)
{
    struct series *series = find_or_make(request, status);

    if (series)
        tw_metric_observe_us(&series->metric, microseconds);
}
