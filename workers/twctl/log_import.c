/*
 * `twctl log import`: the file is checked as a whole first; then the topic must be empty, or hold what the file begins
 * with, which is how an import that was interrupted goes on. Records keep their time while the topic is set so; every
 * record that was written is read back and compared before the topic gets the manifest's settings.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "log_import.h"
#include "log_scan.h"
#include "progress_bar.h"
#include "tillwire/clock.h"

enum { QUEUE_KBYTES = 64 * 1024, LINGER_US = 50000, POLL_EVERY = 64, POLL_MS = 100 };

struct import {
    const struct tw_ctl_settings *settings;
    const struct tw_topic        *topic;
    struct tw_log_reader         *file;
    const struct tw_log_info     *info;
    struct tw_reader             *reader;
    bool                          exists; /* the topic, when it began */
    struct tw_log_bounds         *there;  /* in it then */
    struct tw_producer           *producer;
    int64_t                      *reported; /* by partition: the offset that the next report must have */
    int64_t                       waiting;  /* sent and not reported */
    int64_t                heard_us; /* of the last report, or of the first record sent since all were reported */
    enum tw_rc             rc;       /* what a report told */
    struct tw_err          err;
    struct tw_progress_bar bar;
    int64_t                done; /* of the bar */
    int64_t                written;
};

static void close_import(struct import *import)
{
    tw_producer_close(import->producer, 0);
    tw_reader_close(import->reader);
    tw_log_reader_close(import->file);
    free(import->there);
    free(import->reported);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static void show_bytes(void *self, int64_t done_bytes, int64_t all_bytes)
{
    (void)all_bytes;
    tw_progress_bar_show(self, done_bytes);
}

/* Offsets are part of a log, and a topic begins at 0. */
static enum tw_rc check_beginning(const struct import *import, struct tw_err *reterr)
{
    for (int32_t i = 0; i < import->info->partition_count; i++)
        if (import->info->partitions[i].first > 0)
            return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                           "the file begins at offset %" PRId64 " of partition %" PRId32
                           ": a topic begins at 0, and offsets are part of a log, so it cannot be imported",
                           import->info->partitions[i].first, i);
    return TW_OK;
}

static enum tw_rc open_file(struct import *import, struct tw_err *reterr)
{
    char topic[64];

    TW_TRY(tw_log_reader_open(import->settings->argument, &import->file, reterr));
    import->info = tw_log_reader_info(import->file);
    snprintf(topic, sizeof(topic), "%.*s", TW_STR_ARG(import->info->topic));
    TW_TRY(tw_ctl_topic_named(topic, &import->topic, reterr));
    if (import->info->partition_count != import->topic->partitions)
        return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                       "the file has %" PRId32 " partitions of '%s', the manifest says %" PRId32
                       ": which key goes where is part of the data",
                       import->info->partition_count, import->topic->name, import->topic->partitions);
    return check_beginning(import, reterr);
}

static enum tw_rc check_file(struct import *import, struct tw_err *reterr)
{
    enum tw_rc rc;

    tw_progress_bar_begin(&import->bar, "checking the file", "bytes", tw_log_reader_size(import->file));
    rc = tw_log_reader_check(import->file, show_bytes, &import->bar, reterr);
    tw_progress_bar_end(&import->bar);
    return rc;
}

/* --- what is there already ---------------------------------------------------------------------------------------- */

static bool differs(struct tw_str a, struct tw_str b)
{
    return !a.ptr != !b.ptr || !tw_str_eq(a, b); /* null is not empty */
}

static bool headers_differ(const struct tw_record *a, const struct tw_record *b)
{
    if (a->header_count != b->header_count)
        return true;
    for (size_t i = 0; i < a->header_count; i++)
        if (differs(a->headers[i].name, b->headers[i].name) || differs(a->headers[i].value, b->headers[i].value))
            return true;
    return false;
}

const char *tw_ctl_record_difference(const struct tw_record *a, const struct tw_record *b)
{
    if (a->offset != b->offset)
        return "offset";
    if (a->timestamp_ms != b->timestamp_ms)
        return "time";
    if (differs(a->key, b->key))
        return "key";
    if (differs(a->value, b->value))
        return "value";
    return headers_differ(a, b) ? "list of headers" : NULL;
}

static enum tw_rc compare_record(void *self, const struct tw_record *record, struct tw_err *reterr)
{
    struct import   *import = self;
    struct tw_record expected;
    const char      *difference;
    bool             there = false;

    TW_TRY(tw_log_reader_next(import->file, &expected, &there, reterr));
    difference = there ? tw_ctl_record_difference(record, &expected) : "place";
    if (difference)
        return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                       "'%s' partition %" PRId32 " offset %" PRId64 " has another %s than the file",
                       import->topic->name, record->partition, record->offset, difference);
    tw_progress_bar_show(&import->bar, ++import->done);
    return TW_OK;
}

static enum tw_rc compare_partition(struct import *import, int32_t partition, int64_t from, int64_t to,
                                    struct tw_err *reterr)
{
    const struct tw_ctl_scan scan = {
        .reader = import->reader,
        .topic = import->topic->name,
        .partition = partition,
        .from = from,
        .to = to,
        .timeout_ms = (int)import->settings->broker_timeout_ms,
        .fn = compare_record,
        .self = import,
    };

    TW_TRY(tw_log_reader_seek(import->file, partition, from, reterr));
    return tw_ctl_scan_run(&scan, reterr);
}

static enum tw_rc check_room(const struct import *import, struct tw_err *reterr)
{
    for (int32_t i = 0; i < import->topic->partitions; i++) {
        if (import->there[i].first > 0)
            return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                           "'%s' partition %" PRId32 " held records that were deleted: its next offset is %" PRId64
                           ". Delete the topic first",
                           import->topic->name, i, import->there[i].behind);
        if (import->there[i].behind > import->info->partitions[i].behind)
            return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                           "'%s' is not empty: partition %" PRId32 " has %" PRId64 " records, the file %" PRId64,
                           import->topic->name, i, import->there[i].behind, import->info->partitions[i].behind);
    }
    return TW_OK;
}

static int64_t count_there(const struct import *import)
{
    int64_t count = 0;

    for (int32_t i = 0; i < import->topic->partitions; i++)
        count += import->there[i].behind;
    return count;
}

static enum tw_rc compare_what_is_there(struct import *import, struct tw_err *reterr)
{
    struct tw_err err = {0};
    enum tw_rc    rc = TW_OK;

    TW_TRY(check_room(import, reterr));
    import->done = 0;
    tw_progress_bar_begin(&import->bar, "comparing what is there", "records", count_there(import));
    for (int32_t i = 0; rc == TW_OK && i < import->topic->partitions; i++)
        rc = compare_partition(import, i, 0, import->there[i].behind, &err);
    tw_progress_bar_end(&import->bar);
    if (rc != TW_OK)
        return tw_fail(reterr, rc, err.where, err.native, rc == TW_REFUSED ? "it is not empty: %s" : "%s", err.msg);
    return TW_OK;
}

static enum tw_rc look_at_topic(struct import *import, struct tw_err *reterr)
{
    int        timeout_ms = (int)import->settings->broker_timeout_ms;
    enum tw_rc rc;

    import->there = tw_alloc_zeroed((size_t)import->topic->partitions, sizeof(*import->there));
    TW_TRY(tw_reader_open(import->settings->kafka, "twctl", &import->reader, reterr));
    tw_reader_take_all_headers(import->reader, true);
    rc = tw_ctl_topic_bounds(import->settings->kafka, import->reader, import->topic, timeout_ms, import->there, reterr);
    import->exists = rc != TW_NOT_FOUND;
    if (!import->exists) /* it is made soon */
        return TW_OK;
    return rc == TW_OK ? compare_what_is_there(import, reterr) : rc;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void on_report(void *self, const struct tw_report *report)
{
    struct import *import = self;
    int64_t        expected;

    import->waiting--;
    import->heard_us = tw_monotonic_us();
    if (import->rc != TW_OK)
        return;
    if (report->rc != TW_OK) {
        import->rc = tw_fail(&import->err, report->rc, "twctl.import", 0, "a record was not taken: %s", report->text);
        return;
    }
    expected = import->reported[report->partition]++;
    if (report->offset >= 0 && report->offset != expected) /* below 0: the broker did not tell, as after a repeat */
        import->rc = tw_fail(&import->err, TW_REFUSED, "twctl.import", 0,
                             "'%s' partition %" PRId32 ": record %" PRId64 " became offset %" PRId64
                             ": somebody else writes there. Delete the topic, and begin again when nobody does",
                             import->topic->name, report->partition, expected, report->offset);
    tw_progress_bar_show(&import->bar, ++import->done);
}

static enum tw_rc serve_reports(struct import *import, int wait_ms, struct tw_err *reterr)
{
    tw_producer_poll(import->producer, wait_ms);
    if (import->rc == TW_OK && tw_monotonic_us() - import->heard_us > import->settings->broker_timeout_ms * 1000)
        import->rc =
            tw_fail(&import->err, TW_UNREACHED, "twctl.import", 0,
                    "no broker took a record for %" PRId64 " ms; the same command goes on where this one ended",
                    import->settings->broker_timeout_ms);
    return import->rc == TW_OK
               ? TW_OK
               : tw_fail(reterr, import->rc, import->err.where, import->err.native, "%s", import->err.msg);
}

static enum tw_rc send_record(struct import *import, const struct tw_record *record, struct tw_err *reterr)
{
    enum tw_rc rc;

    if (record->timestamp_ms <= 0) /* means "now" to a producer */
        return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                       "partition %" PRId32 " offset %" PRId64 " has no time that could be written", record->partition,
                       record->offset);
    if (import->waiting == 0)
        import->heard_us = tw_monotonic_us();
    for (;;) {
        rc = tw_producer_send_record(import->producer, import->topic->name, record, NULL, reterr);
        if (rc != TW_UNREACHED || tw_producer_is_dead(import->producer))
            break;
        TW_TRY(serve_reports(import, POLL_MS, reterr)); /* the queue is full, or a partition not known yet */
    }
    if (rc == TW_OK)
        import->waiting++;
    return rc;
}

static enum tw_rc write_partition(struct import *import, int32_t partition, struct tw_err *reterr)
{
    struct tw_record record;
    bool             there = true;

    TW_TRY(tw_log_reader_seek(import->file, partition, import->there[partition].behind, reterr));
    for (;;) {
        TW_TRY(tw_log_reader_next(import->file, &record, &there, reterr));
        if (!there)
            return TW_OK;
        TW_TRY(send_record(import, &record, reterr));
        if (++import->written % POLL_EVERY == 0)
            TW_TRY(serve_reports(import, 0, reterr));
    }
}

static enum tw_rc open_producer(struct import *import, struct tw_err *reterr)
{
    const struct tw_producer_options options = {
        .brokers = import->settings->kafka,
        .client_id = "twctl",
        .linger_us = LINGER_US,
        .timeout_ms = 0, /* no gaps */
        .queue_kbytes = QUEUE_KBYTES,
        .report = on_report,
        .self = import,
    };

    TW_TRY(tw_producer_open(&options, &import->producer, reterr));
    import->reported = tw_alloc_zeroed((size_t)import->topic->partitions, sizeof(*import->reported));
    for (int32_t i = 0; i < import->topic->partitions; i++)
        import->reported[i] = import->there[i].behind;
    return tw_producer_warm(import->producer, (const char *const[]){import->topic->name}, 1,
                            (int)import->settings->broker_timeout_ms, reterr);
}

static enum tw_rc write_records(struct import *import, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK;

    TW_TRY(open_producer(import, reterr));
    import->done = 0;
    tw_progress_bar_begin(&import->bar, "importing", "records",
                          tw_log_info_records(import->info) - count_there(import));
    for (int32_t i = 0; rc == TW_OK && i < import->topic->partitions; i++)
        rc = write_partition(import, i, reterr);
    while (rc == TW_OK && import->waiting > 0)
        rc = serve_reports(import, POLL_MS, reterr);
    tw_progress_bar_end(&import->bar);
    return rc;
}

static void free_bounds(struct tw_log_bounds **bounds)
{
    free(*bounds);
}

/* Every partition ends where @p expected says, else somebody else writes there. */
static enum tw_rc check_ends(struct import *import, const struct tw_log_bounds *expected, struct tw_err *reterr)
{
    TW_AUTO(free_bounds) struct tw_log_bounds *now = tw_alloc_zeroed((size_t)import->topic->partitions, sizeof(*now));

    TW_TRY(tw_ctl_topic_bounds(import->settings->kafka, import->reader, import->topic,
                               (int)import->settings->broker_timeout_ms, now, reterr));
    for (int32_t i = 0; i < import->topic->partitions; i++)
        if (now[i].behind != expected[i].behind)
            return tw_fail(reterr, TW_REFUSED, "twctl.import", 0,
                           "'%s' partition %" PRId32 " has %" PRId64 " records and should have %" PRId64
                           ": somebody else writes there",
                           import->topic->name, i, now[i].behind, expected[i].behind);
    return TW_OK;
}

/* What we wrote is what the file has. */
static enum tw_rc compare_what_was_written(struct import *import, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK;

    TW_TRY(check_ends(import, import->info->partitions, reterr));
    import->done = 0;
    tw_progress_bar_begin(&import->bar, "comparing what was written", "records", import->written);
    for (int32_t i = 0; rc == TW_OK && i < import->topic->partitions; i++)
        rc = compare_partition(import, i, import->there[i].behind, import->info->partitions[i].behind, reterr);
    tw_progress_bar_end(&import->bar);
    return rc;
}

static enum tw_rc write_rest(struct import *import, struct tw_err *reterr)
{
    TW_TRY(tw_topic_prepare_import(import->settings->kafka, import->topic, (int)import->settings->replication,
                                   (int)import->settings->broker_timeout_ms, reterr));
    TW_TRY(check_ends(import, import->there, reterr));
    TW_TRY(write_records(import, reterr));
    return compare_what_was_written(import, reterr);
}

static enum tw_rc run_import(struct import *import, struct tw_err *reterr)
{
    TW_TRY(open_file(import, reterr));
    TW_TRY(check_file(import, reterr));
    TW_TRY(look_at_topic(import, reterr));
    if (!import->exists || count_there(import) < tw_log_info_records(import->info))
        TW_TRY(write_rest(import, reterr));
    return tw_topic_restore(import->settings->kafka, import->topic, (int)import->settings->broker_timeout_ms, reterr);
}

enum tw_ctl_exit tw_ctl_log_import(const struct tw_ctl_settings *settings)
{
    TW_AUTO(close_import) struct import import = {.settings = settings};
    struct tw_err                       err = {0};

    if (run_import(&import, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    printf("%s: %" PRId64 " records were imported, %" PRId64 " were there already; all are as in the file\n",
           import.topic->name, import.written, count_there(&import));
    return TW_CTL_DONE;
}
