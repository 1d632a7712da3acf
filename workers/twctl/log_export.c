/* `twctl log export` and `twctl log check`: lib/log_writer.c and lib/log_reader.c do the work. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "log_scan.h"
#include "progress_bar.h"
#include "tillwire/arena.h"
#include "tillwire/clock.h"
#include "tillwire/settings.h"

struct export
{
    const struct tw_ctl_settings *settings;
    const struct tw_topic        *topic;
    const char                   *path;
    char                          cluster[TW_CLUSTER_ID_MAX + 1];
    struct tw_reader             *reader;
    struct tw_log_bounds         *bounds;
    struct tw_log_writer         *writer;
    struct tw_progress_bar        bar;
    int64_t                       done;
    uint8_t                       sha256[TW_LOG_SHA256_BYTES];
};

static void close_export(struct export *export)
{
    tw_log_writer_close(export->writer);
    tw_reader_close(export->reader);
    free(export->bounds);
}

static enum tw_rc add_record(void *self, const struct tw_record *record, struct tw_err *reterr)
{
    struct export *export = self;

    tw_progress_bar_show(&export->bar, ++export->done);
    return tw_log_writer_add(export->writer, record, reterr);
}

static enum tw_rc export_partition(struct export *export, int32_t partition, struct tw_err *reterr)
{
    const struct tw_ctl_scan scan = {
        .reader = export->reader,
        .topic = export->topic->name,
        .partition = partition,
        .from = export->bounds[partition].first,
        .to = export->bounds[partition].behind,
        .timeout_ms = (int)export->settings->broker_timeout_ms,
        .fn = add_record,
        .self = export,
    };

    return tw_ctl_scan_run(&scan, reterr);
}

static enum tw_rc write_file(struct export *export, struct tw_err *reterr)
{
    const struct tw_log_info info = {
        .topic = tw_str_of(export->topic->name),
        .cluster = tw_str_of(export->cluster),
        .program = TW_STR("twctl " TW_VERSION),
        .written_ms = tw_now_ms(),
        .partitions = export->bounds,
        .partition_count = export->topic->partitions,
    };
    enum tw_rc rc = TW_OK;

    TW_TRY(tw_log_writer_open(export->path, &info, &export->writer, reterr));
    tw_progress_bar_begin(&export->bar, export->topic->name, "records", tw_log_info_records(&info));
    for (int32_t i = 0; rc == TW_OK && i < info.partition_count; i++)
        rc = export_partition(export, i, reterr);
    tw_progress_bar_end(&export->bar);
    return rc == TW_OK ? tw_log_writer_finish(export->writer, export->sha256, reterr) : rc;
}

/* Commands and dead letters are kept for ever: somebody deleted what is gone. */
static void warn_of_beginnings(const struct export *export)
{
    for (int32_t i = 0; i < export->topic->partitions; i++)
        if (export->bounds[i].first > 0 && export->topic->kind != TW_TOPIC_EVENTS)
            fprintf(stderr,
                    "twctl: '%s' partition %" PRId32 " begins at offset %" PRId64
                    ": what was before is gone, and the file will not have it\n",
                    export->topic->name, i, export->bounds[i].first);
}

static enum tw_rc run_export(struct export *export, struct tw_err *reterr)
{
    const char *brokers = export->settings->kafka;
    int         timeout_ms = (int)export->settings->broker_timeout_ms;

    TW_TRY(tw_ctl_topic_named(export->settings->argument, &export->topic, reterr));
    TW_TRY(tw_reader_open(brokers, "twctl", &export->reader, reterr));
    tw_reader_take_all_headers(export->reader, true);
    export->bounds = tw_alloc_zeroed((size_t) export->topic->partitions, sizeof(*export->bounds));
    TW_TRY(tw_ctl_topic_bounds(brokers, export->reader, export->topic, timeout_ms, export->bounds, reterr));
    TW_TRY(tw_cluster_id(brokers, timeout_ms, export->cluster, reterr));
    warn_of_beginnings(export);
    return write_file(export, reterr);
}

static void print_sha256(const uint8_t sha256[TW_LOG_SHA256_BYTES])
{
    char text[2 * TW_LOG_SHA256_BYTES + 1];

    tw_hex_format(sha256, TW_LOG_SHA256_BYTES, text);
    printf("SHA-256 %s\n", text);
}

enum tw_ctl_exit tw_ctl_log_export(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    TW_AUTO(close_export) struct export export = {.settings = settings};
    struct tw_err err = {0};

    signal(SIGXFSZ, SIG_IGN); /* so that a file that may not grow is told by write() */
    export.path = tw_arena_printf(&arena, "%s/%s.twlog", settings->to, settings->argument).ptr;
    if (run_export(&export, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    printf("%s: %" PRId64 " records of %" PRId32 " partitions are in %s\n", export.topic->name, export.done,
           export.topic->partitions, export.path);
    print_sha256(export.sha256);
    return TW_CTL_DONE;
}

/* --- log check ---------------------------------------------------------------------------------------------------- */

static void show_progress(void *self, int64_t done_bytes, int64_t all_bytes)
{
    (void)all_bytes;
    tw_progress_bar_show(self, done_bytes);
}

static enum tw_rc check_file(struct tw_log_reader *reader, struct tw_err *reterr)
{
    struct tw_progress_bar bar;
    enum tw_rc             rc;

    tw_progress_bar_begin(&bar, "checking", "bytes", tw_log_reader_size(reader));
    rc = tw_log_reader_check(reader, show_progress, &bar, reterr);
    tw_progress_bar_end(&bar);
    return rc;
}

static void print_info(const struct tw_log_info *info)
{
    char time[TW_TIME_TEXT + 1];

    tw_time_format(info->written_ms, time);
    printf("%.*s: %" PRId64 " records, written %s by %.*s from the cluster %.*s\n", TW_STR_ARG(info->topic),
           tw_log_info_records(info), time, TW_STR_ARG(info->program), TW_STR_ARG(info->cluster));
    for (int32_t i = 0; i < info->partition_count; i++)
        if (info->partitions[i].behind > info->partitions[i].first)
            printf("partition %" PRId32 ": offsets %" PRId64 " to %" PRId64 "\n", i, info->partitions[i].first,
                   info->partitions[i].behind - 1);
        else
            printf("partition %" PRId32 ": no records, the next would be offset %" PRId64 "\n", i,
                   info->partitions[i].behind);
}

static void close_reader(struct tw_log_reader **reader)
{
    tw_log_reader_close(*reader);
}

enum tw_ctl_exit tw_ctl_log_check(const struct tw_ctl_settings *settings)
{
    TW_AUTO(close_reader) struct tw_log_reader *reader = NULL;
    struct tw_err                               err = {0};

    if (tw_log_reader_open(settings->argument, &reader, &err) != TW_OK || check_file(reader, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    print_info(tw_log_reader_info(reader));
    print_sha256(tw_log_reader_sha256(reader));
    return TW_CTL_DONE;
}
