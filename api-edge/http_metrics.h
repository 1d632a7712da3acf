/**
 * How long requests take, by route, method and status. There are as many series as there are routes and statuses that
 * occurred; whatever has no route shares one of each status.
 *
 * Threads: any; a request costs a look into a table and two atomic additions.
 */
#ifndef TILLWIRE_EDGE_HTTP_METRICS_H
#define TILLWIRE_EDGE_HTTP_METRICS_H

#include "request.h"

/** @p request was answered with @p status after this long. */
void tw_http_metrics_observe(const struct tw_request *request, int status, int64_t microseconds);

#endif
