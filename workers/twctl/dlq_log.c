#include "dlq_log.h"

#include <stdlib.h>

#include "log_scan.h"
#include "progress_bar.h"

volatile sig_atomic_t tw_dlq_stop;

enum tw_rc tw_dlq_go_on(struct tw_err *reterr)
{
    return tw_dlq_stop ? tw_fail(reterr, TW_UNREACHED, "twctl.dlq", 0,
                                 "interrupted: what is written will be decided; the same command goes on with the rest")
                       : TW_OK;
}

struct part {
    struct tw_dlq_log      *log;
    const struct tw_topic  *topic;
    struct tw_progress_bar *bar;
    int64_t                *done;
};

enum tw_rc tw_dlq_log_open(const struct tw_ctl_settings *settings, struct tw_dlq_log *ret_log, struct tw_err *reterr)
{
    *ret_log = (struct tw_dlq_log){.settings = settings};
    TW_TRY(tw_reader_open(settings->kafka, "twctl", &ret_log->reader, reterr));
    tw_reader_take_all_headers(ret_log->reader, true);
    return TW_OK;
}

static enum tw_rc take(void *self, const struct tw_record *record, struct tw_err *reterr)
{
    struct part *part = self;

    tw_progress_bar_show(part->bar, ++*part->done);
    if (part->log->fn)
        part->log->fn(part->log->self, part->topic, record);
    return tw_dlq_book_take(&part->log->book, part->topic, record, reterr);
}

static enum tw_rc read_part(struct part *part, int32_t partition, int64_t *from, int64_t to, struct tw_err *reterr)
{
    const struct tw_ctl_scan scan = {
        .reader = part->log->reader,
        .topic = part->topic->name,
        .partition = partition,
        .from = *from,
        .to = to,
        .timeout_ms = (int)part->log->settings->broker_timeout_ms,
        .fn = take,
        .self = part,
    };

    TW_TRY(tw_ctl_scan_run(&scan, reterr));
    *from = to > *from ? to : *from;
    return TW_OK;
}

/* Partitions from @p first up to, but without, @p behind. */
static enum tw_rc read_parts(struct part *part, const struct tw_log_bounds *bounds, int32_t first, int32_t behind,
                             struct tw_err *reterr)
{
    int64_t *read_to = part->log->read_to[part->topic->domain];

    for (int32_t p = first; p < behind; p++) {
        if (read_to[p] < bounds[p].first)
            read_to[p] = bounds[p].first;
        TW_TRY(read_part(part, p, &read_to[p], bounds[p].behind, reterr));
    }
    return TW_OK;
}

static int64_t records_in(const struct tw_log_bounds *bounds, const int64_t *read_to, int32_t first, int32_t behind)
{
    int64_t all = 0;

    for (int32_t p = first; p < behind; p++)
        all += bounds[p].behind - (read_to[p] > bounds[p].first ? read_to[p] : bounds[p].first);
    return all;
}

static enum tw_rc read_topic(struct tw_dlq_log *log, const struct tw_topic *topic, int32_t first, int32_t behind,
                             struct tw_err *reterr)
{
    struct tw_log_bounds  *bounds = tw_alloc_zeroed((size_t)topic->partitions, sizeof(*bounds));
    struct tw_progress_bar bar;
    int64_t                done = 0;
    struct part            part = {log, topic, &bar, &done};
    enum tw_rc             rc;

    if (!log->read_to[topic->domain])
        log->read_to[topic->domain] = tw_alloc_zeroed((size_t)topic->partitions, sizeof(int64_t));
    rc = tw_ctl_topic_bounds(log->settings->kafka, log->reader, topic, (int)log->settings->broker_timeout_ms, bounds,
                             reterr);
    if (rc == TW_OK) {
        tw_progress_bar_begin(&bar, topic->name, "records",
                              records_in(bounds, log->read_to[topic->domain], first, behind));
        rc = read_parts(&part, bounds, first, behind, reterr);
        tw_progress_bar_end(&bar);
    }
    free(bounds);
    return rc;
}

enum tw_rc tw_dlq_log_read(struct tw_dlq_log *log, enum tw_domain_number domain, struct tw_err *reterr)
{
    for (int d = TW_DOMAIN_MEMBER; d <= TW_DOMAIN_CART; d++) {
        const struct tw_topic *topic = tw_topic_of((enum tw_domain_number)d, TW_TOPIC_DLQ);

        if (!domain || d == (int)domain)
            TW_TRY(read_topic(log, topic, 0, topic->partitions, reterr));
    }
    tw_dlq_book_link(&log->book);
    return TW_OK;
}

enum tw_rc tw_dlq_log_read_partition(struct tw_dlq_log *log, enum tw_domain_number domain, int32_t partition,
                                     struct tw_err *reterr)
{
    TW_TRY(read_topic(log, tw_topic_of(domain, TW_TOPIC_DLQ), partition, partition + 1, reterr));
    tw_dlq_book_link(&log->book);
    return TW_OK;
}

void tw_dlq_log_close(struct tw_dlq_log *log)
{
    tw_reader_close(log->reader);
    tw_dlq_book_done(&log->book);
    for (size_t i = 0; i < TW_LEN(log->read_to); i++)
        free(log->read_to[i]);
}
