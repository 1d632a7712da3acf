#include "log_scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tillwire/clock.h"

enum { POLL_MS = 100, POLL_RECORDS = 1000 };

enum tw_rc tw_ctl_topic_named(const char *name, const struct tw_topic **ret_topic, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf known = {0};

    for (size_t i = 0; i < tw_topic_count; i++) {
        if (!strcmp(tw_topics[i].name, name)) {
            *ret_topic = &tw_topics[i];
            return TW_OK;
        }
        tw_buf_printf(&known, "%s%s", i ? ", " : "", tw_topics[i].name);
    }
    return tw_fail(reterr, TW_INVALID, "twctl.log", 0, "'%.40s' is none of the topics %.*s", name,
                   TW_STR_ARG(tw_buf_str(&known)));
}

/* Ends first: what goes meanwhile is in neither. */
static enum tw_rc ask_bounds(struct tw_reader *reader, struct tw_position *positions, size_t count, int timeout_ms,
                             struct tw_log_bounds *ret_bounds, struct tw_err *reterr)
{
    TW_TRY(tw_reader_ends(reader, positions, count, timeout_ms, reterr));
    for (size_t i = 0; i < count; i++)
        ret_bounds[i].behind = positions[i].offset;
    TW_TRY(tw_reader_beginnings(reader, positions, count, timeout_ms, reterr));
    for (size_t i = 0; i < count; i++) {
        ret_bounds[i].first = positions[i].offset;
        if (ret_bounds[i].behind < ret_bounds[i].first)
            ret_bounds[i].behind = ret_bounds[i].first;
    }
    return TW_OK;
}

/* Of a topic that was just made brokers may not know yet who leads it. */
static enum tw_rc ask_bounds_patiently(struct tw_reader *reader, struct tw_position *positions, size_t count,
                                       int timeout_ms, struct tw_log_bounds *ret_bounds, struct tw_err *reterr)
{
    const struct timespec pause = {0, POLL_MS * 1000000L};
    int64_t               deadline_us = tw_monotonic_us() + (int64_t)timeout_ms * 1000;

    for (;;) {
        enum tw_rc rc = ask_bounds(reader, positions, count, timeout_ms, ret_bounds, reterr);

        if (rc != TW_UNREACHED || tw_monotonic_us() > deadline_us)
            return rc;
        nanosleep(&pause, NULL);
    }
}

enum tw_rc tw_ctl_topic_bounds(const char *brokers, struct tw_reader *reader, const struct tw_topic *topic,
                               int timeout_ms, struct tw_log_bounds *ret_bounds, struct tw_err *reterr)
{
    size_t              count = (size_t)topic->partitions;
    int                 there = 0;
    struct tw_position *positions;
    enum tw_rc          rc;

    TW_TRY(tw_topic_count_partitions(brokers, topic->name, timeout_ms, &there, reterr));
    if (!there)
        return tw_fail(reterr, TW_NOT_FOUND, "twctl.log", 0, "there is no topic '%s'", topic->name);
    if (there != topic->partitions)
        return tw_fail(reterr, TW_BROKEN, "twctl.log", 0, "topic '%s' has %d partitions, the manifest says %" PRId32,
                       topic->name, there, topic->partitions);
    positions = tw_alloc_zeroed(count, sizeof(*positions));
    for (size_t i = 0; i < count; i++)
        positions[i] = (struct tw_position){topic->name, (int32_t)i, 0};
    rc = ask_bounds_patiently(reader, positions, count, timeout_ms, ret_bounds, reterr);
    free(positions);
    return rc;
}

struct run {
    const struct tw_ctl_scan *scan;
    int64_t                   next;
    enum tw_rc                rc;
    struct tw_err            *reterr;
};

static void take(void *self, const char *topic, const struct tw_record *record)
{
    struct run               *run = self;
    const struct tw_ctl_scan *scan = run->scan;

    if (run->rc != TW_OK || record->offset >= scan->to)
        return;
    if (record->offset != run->next) {
        run->rc = tw_fail(run->reterr, TW_BROKEN, "twctl.log", 0,
                          "'%s' partition %" PRId32 ": offset %" PRId64 " comes where %" PRId64
                          " should: records are missing",
                          topic, scan->partition, record->offset, run->next);
        return;
    }
    run->next++;
    run->rc = scan->fn(scan->self, record, run->reterr);
}

/* Brokers may be away for a moment. */
static enum tw_rc poll_some(struct run *run, size_t *ret_count)
{
    struct tw_err err = {0};
    enum tw_rc    rc = tw_reader_poll(run->scan->reader, POLL_MS, POLL_RECORDS, take, run, ret_count, &err);

    if (run->rc != TW_OK)
        return run->rc;
    if (rc == TW_OK || rc == TW_UNREACHED)
        return TW_OK;
    return tw_fail(run->reterr, rc, err.where, err.native, "%s", err.msg);
}

enum tw_rc tw_ctl_scan_run(const struct tw_ctl_scan *scan, struct tw_err *reterr)
{
    const struct tw_position position = {scan->topic, scan->partition, scan->from};
    struct run               run = {scan, scan->from, TW_OK, reterr};
    int64_t                  heard_us = tw_monotonic_us();

    if (scan->from >= scan->to)
        return TW_OK;
    TW_TRY(tw_reader_assign(scan->reader, &position, 1, reterr));
    while (run.next < scan->to) {
        size_t count = 0;

        TW_TRY(poll_some(&run, &count));
        if (count)
            heard_us = tw_monotonic_us();
        else if (tw_monotonic_us() - heard_us > (int64_t)scan->timeout_ms * 1000)
            return tw_fail(reterr, TW_UNREACHED, "twctl.log", 0,
                           "'%s' partition %" PRId32 ": no record came for %d ms; %" PRId64 " of %" PRId64
                           " are read: brokers are slow, or records are missing at the end",
                           scan->topic, scan->partition, scan->timeout_ms, run.next - scan->from,
                           scan->to - scan->from);
    }
    return TW_OK;
}
