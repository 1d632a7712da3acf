/**
 * Reads topics of the manifest from one offset to another, record by record and without gaps: what `log export`,
 * `log import` and `trace` share.
 */
#ifndef TILLWIRE_TWCTL_LOG_SCAN_H
#define TILLWIRE_TWCTL_LOG_SCAN_H

#include "tillwire/gen/topics.h"
#include "tillwire/kafka.h"
#include "tillwire/log_file.h"

/** The topic of the manifest that is called so. INVALID: there is none; the sentence lists them. */
enum tw_rc tw_ctl_topic_named(const char *name, const struct tw_topic **ret_topic, struct tw_err *reterr);
/** Offsets of all its partitions as they are now; @p ret_bounds has room for `topic->partitions`. NOT_FOUND: the cluster
 *  has no such topic. BROKEN: it has another number of partitions. */
enum tw_rc tw_ctl_topic_bounds(const char *brokers, struct tw_reader *reader, const struct tw_topic *topic,
                               int timeout_ms, struct tw_log_bounds *ret_bounds, struct tw_err *reterr);

/** @p record lives until the function returns. Anything but TW_OK ends the scan. */
typedef enum tw_rc (*tw_ctl_scan_fn)(void *self, const struct tw_record *record, struct tw_err *reterr);

struct tw_ctl_scan {
    struct tw_reader *reader;
    const char       *topic;
    int32_t           partition;
    int64_t           from;
    int64_t           to; /**< behind the last */
    int               timeout_ms;
    tw_ctl_scan_fn    fn;
    void             *self;
};

/** Hands over every record of it. BROKEN: offsets are missing. UNREACHED: no record came for `timeout_ms`,
 *  which is also how a gap at the end looks. */
enum tw_rc tw_ctl_scan_run(const struct tw_ctl_scan *scan, struct tw_err *reterr);

#endif
