/*
 * `twctl trace`: reads the partitions in which an id can be met, from their beginnings; there is no index. A command's id
 * names domain and partition; an aggregate's id is a key, which goes to one partition of each domain. Only ids of version
 * 7 are surely a command's: any other is looked for as one first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "log_scan.h"
#include "progress_bar.h"
#include "tillwire/clock.h"
#include "tillwire/dead_letter.h"
#include "trace_lines.h"

enum { LINES_MAX = 200000, KINDS = 3, DOMAINS = 3, RANGES_MAX = KINDS * DOMAINS, VERSION_7 = 7 };

/** Where a time that is asked for is surely no offset: 2000-01-01. */
static const int64_t earliest_time_ms = INT64_C(946684800000);

struct range {
    const struct tw_topic *topic;
    int32_t                partition;
    int64_t                from, to;
};

struct trace {
    const struct tw_ctl_settings *settings;
    struct tw_uuid                id;
    enum tw_trace_subject         subject;
    int64_t                       from_ms, until_ms;
    struct tw_reader             *reader;
    struct range                  ranges[RANGES_MAX];
    size_t                        range_count;
    const struct tw_topic        *topic; /* that is read */
    struct tw_progress_bar        bar;
    int64_t                       done;
    struct tw_arena               arena;
    struct tw_trace_line         *lines;
    uint32_t                      count, cap;
    int64_t *names; /* first offsets of the command's dead letters: words on them name these alone */
    uint32_t name_count, name_cap;
};

static void close_trace(struct trace *trace)
{
    tw_reader_close(trace->reader);
    tw_arena_done(&trace->arena);
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static enum tw_rc read_time(const char *name, const char *text, int64_t *time_ms, struct tw_err *reterr)
{
    if (*text == '\0' || tw_time_parse(tw_str_of(text), time_ms))
        return TW_OK;
    return tw_fail(reterr, TW_INVALID, "twctl.trace", 0, "%s '%s' is no time like 2026-11-23T10:00:00Z", name, text);
}

static enum tw_rc read_question(struct trace *trace, struct tw_err *reterr)
{
    if (!tw_uuid_parse(tw_str_of(trace->settings->argument), &trace->id) || tw_uuid_is_nil(trace->id))
        return tw_fail(reterr, TW_INVALID, "twctl.trace", 0,
                       "'%.60s' is no id of a command, a member or a product: that is a UUID",
                       trace->settings->argument);
    trace->from_ms = INT64_MIN;
    trace->until_ms = INT64_MAX;
    TW_TRY(read_time("from", trace->settings->from, &trace->from_ms, reterr));
    return read_time("until", trace->settings->until, &trace->until_ms, reterr);
}

static void add_ranges(struct trace *trace, enum tw_domain_number domain, int32_t partition)
{
    static const enum tw_topic_kind kinds[KINDS] = {TW_TOPIC_DLQ, TW_TOPIC_COMMANDS, TW_TOPIC_EVENTS};

    for (size_t i = 0; i < KINDS; i++) /* dead letters first: their names are looked for in the commands */
        trace->ranges[trace->range_count++] = (struct range){tw_topic_of(domain, kinds[i]), partition, 0, 0};
}

static void choose_command(struct trace *trace)
{
    enum tw_domain_number domain = tw_command_id_domain(trace->id);
    int32_t               partition = tw_command_id_partition(trace->id);

    trace->subject = TW_TRACE_COMMAND;
    trace->range_count = 0;
    if (domain && partition < tw_topic_of(domain, TW_TOPIC_COMMANDS)->partitions)
        add_ranges(trace, domain, partition);
}

static void choose_aggregate(struct trace *trace)
{
    trace->subject = TW_TRACE_AGGREGATE;
    trace->range_count = 0;
    for (int domain = TW_DOMAIN_MEMBER; domain <= TW_DOMAIN_CART; domain++)
        add_ranges(
            trace, (enum tw_domain_number)domain,
            tw_partition_of_id(trace->id, tw_topic_of((enum tw_domain_number)domain, TW_TOPIC_COMMANDS)->partitions));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void keep_name(struct trace *trace, const struct tw_record *record)
{
    struct tw_dead_letter said;

    if (trace->topic->kind != TW_TOPIC_DLQ || !tw_dead_letter_read(record, &said) || said.is_settlement)
        return;
    trace->names =
        tw_arena_grow(&trace->arena, trace->names, trace->name_count, &trace->name_cap, sizeof(*trace->names));
    trace->names[trace->name_count++] = said.first_offset;
}

static bool is_word_on_it(const struct trace *trace, const struct tw_record *record)
{
    for (uint32_t i = 0; i < trace->name_count; i++)
        if (trace->topic->kind != TW_TOPIC_EVENTS && tw_trace_is_word_on(record, trace->names[i]))
            return true;
    return false;
}

/* Drops and settlements have ids of their own, or none: a command's are known by the dead letter that they name. */
static bool is_wanted(struct trace *trace, const struct tw_record *record)
{
    if (tw_trace_is_about(trace->topic, record, trace->subject, trace->id)) {
        if (trace->subject == TW_TRACE_COMMAND)
            keep_name(trace, record);
        return true;
    }
    return is_word_on_it(trace, record);
}

static enum tw_rc take_record(void *self, const struct tw_record *record, struct tw_err *reterr)
{
    struct trace *trace = self;

    tw_progress_bar_show(&trace->bar, ++trace->done);
    if (record->timestamp_ms < trace->from_ms || record->timestamp_ms >= trace->until_ms || !is_wanted(trace, record))
        return TW_OK;
    if (trace->count == LINES_MAX)
        return tw_fail(reterr, TW_REFUSED, "twctl.trace", 0, "more than %d records: narrow them by --from and --until",
                       LINES_MAX);
    trace->lines = tw_arena_grow(&trace->arena, trace->lines, trace->count, &trace->cap, sizeof(*trace->lines));
    trace->lines[trace->count++] = tw_trace_line_of(trace->topic, record, &trace->arena);
    return TW_OK;
}

static enum tw_rc fill_range(struct trace *trace, struct range *range, struct tw_err *reterr)
{
    int                timeout_ms = (int)trace->settings->broker_timeout_ms;
    struct tw_position position = {range->topic->name, range->partition, 0};

    TW_TRY(tw_reader_bounds(trace->reader, range->topic->name, range->partition, timeout_ms, &range->from, &range->to,
                            reterr));
    if (trace->from_ms < earliest_time_ms)
        return TW_OK;
    TW_TRY(tw_reader_offsets_at(trace->reader, trace->from_ms, &position, 1, timeout_ms, reterr));
    range->from = position.offset == TW_OFFSET_END ? range->to : position.offset;
    return TW_OK;
}

static enum tw_rc read_range(struct trace *trace, const struct range *range, struct tw_err *reterr)
{
    const struct tw_ctl_scan scan = {
        .reader = trace->reader,
        .topic = range->topic->name,
        .partition = range->partition,
        .from = range->from,
        .to = range->to,
        .timeout_ms = (int)trace->settings->broker_timeout_ms,
        .fn = take_record,
        .self = trace,
    };

    trace->topic = range->topic;
    return tw_ctl_scan_run(&scan, reterr);
}

static enum tw_rc read_ranges(struct trace *trace, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK;
    int64_t    all = 0;

    for (size_t i = 0; i < trace->range_count; i++) {
        TW_TRY(fill_range(trace, &trace->ranges[i], reterr));
        all += trace->ranges[i].to - trace->ranges[i].from;
    }
    tw_progress_bar_begin(&trace->bar, "reading", "records", all);
    trace->done = 0;
    for (size_t i = 0; rc == TW_OK && i < trace->range_count; i++)
        rc = read_range(trace, &trace->ranges[i], reterr);
    tw_progress_bar_end(&trace->bar);
    return rc;
}

static bool is_surely_a_command(struct tw_uuid id)
{
    return id.bytes[6] >> 4 == VERSION_7;
}

static void add_searched(const struct trace *trace, struct tw_buf *searched)
{
    for (size_t i = 0; i < trace->range_count; i++) {
        const struct range *range = &trace->ranges[i];

        tw_buf_printf(searched, "  %s partition %" PRId32 ", ", range->topic->name, range->partition);
        if (range->to > range->from)
            tw_buf_printf(searched, "offsets %" PRId64 " to %" PRId64, range->from, range->to - 1);
        else
            tw_buf_printf(searched, "no records");
        tw_buf_printf(searched, ", as a %s\n", trace->subject == TW_TRACE_COMMAND ? "command's id" : "key");
    }
}

/* What was searched is appended to @p searched. */
static enum tw_rc search(struct trace *trace, struct tw_buf *searched, struct tw_err *reterr)
{
    TW_TRY(read_question(trace, reterr));
    TW_TRY(tw_reader_open(trace->settings->kafka, "twctl", &trace->reader, reterr));
    tw_reader_take_all_headers(trace->reader, true);
    choose_command(trace);
    TW_TRY(read_ranges(trace, reterr));
    add_searched(trace, searched);
    if (trace->count > 0 || is_surely_a_command(trace->id))
        return TW_OK;
    choose_aggregate(trace);
    TW_TRY(read_ranges(trace, reterr));
    add_searched(trace, searched);
    return TW_OK;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

static enum tw_ctl_exit tell_nothing(const struct trace *trace, const struct tw_buf *searched)
{
    fprintf(stderr, "twctl: nothing is known of %s%s. What was searched:\n%.*s", trace->settings->argument,
            *trace->settings->from || *trace->settings->until ? " at that time" : "", TW_STR_ARG(tw_buf_str(searched)));
    if (trace->range_count == 0)
        fprintf(stderr,
                "  nothing: its bits name no domain and partition, and only commands have ids of its version\n");
    return TW_CTL_REFUSED;
}

static enum tw_ctl_exit tell(struct trace *trace)
{
    TW_AUTO(tw_buf_done) struct tw_buf out = {.max_bytes = (size_t)1 << 30};
    size_t                             count = tw_trace_sort(trace->lines, trace->count);

    (trace->settings->json ? tw_trace_add_json : tw_trace_add_table)(trace->lines, count, &out);
    if (out.overflow) {
        fprintf(stderr, "twctl: more than can be shown at once: narrow it by --from and --until\n");
        return TW_CTL_REFUSED;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return TW_CTL_DONE;
}

enum tw_ctl_exit tw_ctl_trace(const struct tw_ctl_settings *settings)
{
    TW_AUTO(close_trace) struct trace  trace = {.settings = settings};
    TW_AUTO(tw_buf_done) struct tw_buf searched = {0};
    struct tw_err                      err = {0};

    if (search(&trace, &searched, &err) != TW_OK)
        return tw_ctl_failed(NULL, &err);
    return trace.count > 0 ? tell(&trace) : tell_nothing(&trace, &searched);
}
