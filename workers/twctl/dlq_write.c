/*
 * The bytes of a record are in the dead-letter topic and nowhere else, so what is chosen is read there once more, in the
 * order of the topic, which is that of the first offsets.
 */
#include "dlq_write.h"

#include <inttypes.h>
#include <time.h>

#include "log_scan.h"
#include "tillwire/clock.h"

enum { QUEUE_KBYTES = 32768, LINGER_US = 5000, POLL_MS = 20 };

static const struct tw_topic *topic_of(const struct tw_dlq_writer *writer, enum tw_topic_kind kind)
{
    return tw_topic_of(writer->domain, kind);
}

static void on_report(void *self, const struct tw_report *report)
{
    struct tw_dlq_writer *writer = self;
    struct tw_dlq_letter *letter = report->opaque;

    writer->unreported--;
    writer->heard_us = tw_monotonic_us();
    if (report->rc != TW_OK) {
        if (writer->rc == TW_OK)
            writer->rc = tw_fail(&writer->err, report->rc, "twctl.dlq", 0, "a record was not taken: %s", report->text);
        return;
    }
    letter->fate = TW_DLQ_WRITTEN;
    letter->written_at = report->offset;
    tw_progress_bar_show(&writer->bar, ++writer->done);
}

enum tw_rc tw_dlq_writer_open(struct tw_dlq_writer *writer, struct tw_err *reterr)
{
    const struct tw_ctl_settings    *settings = writer->log->settings;
    const char *const                topics[] = {topic_of(writer, TW_TOPIC_COMMANDS)->name};
    const struct tw_producer_options options = {
        .brokers = settings->kafka,
        .client_id = "twctl",
        .linger_us = LINGER_US,
        .timeout_ms = 0, /* no gaps: the order within a key is the point */
        .queue_kbytes = QUEUE_KBYTES,
        .report = on_report,
        .self = writer,
    };

    TW_TRY(tw_producer_open(&options, &writer->producer, reterr));
    return tw_producer_warm(writer->producer, topics, TW_LEN(topics), (int)settings->broker_timeout_ms, reterr);
}

void tw_dlq_writer_close(struct tw_dlq_writer *writer)
{
    tw_producer_close(writer->producer, 0);
    writer->producer = NULL;
}

static enum tw_rc serve_reports(struct tw_dlq_writer *writer, int wait_ms, struct tw_err *reterr)
{
    int64_t patience_ms = writer->log->settings->broker_timeout_ms;

    tw_producer_poll(writer->producer, wait_ms);
    if (writer->rc != TW_OK)
        return tw_fail(reterr, writer->rc, writer->err.where, writer->err.native, "%s", writer->err.msg);
    if (writer->unreported && tw_monotonic_us() - writer->heard_us > patience_ms * 1000)
        return tw_fail(reterr, TW_UNREACHED, "twctl.dlq", 0,
                       "no broker took a record for %" PRId64 " ms; the same command goes on where this one ended",
                       patience_ms);
    return TW_OK;
}

/* Others have commands in these partitions, too. */
static enum tw_rc keep_pace(struct tw_dlq_writer *writer, struct tw_err *reterr)
{
    int64_t now_us = tw_monotonic_us();

    for (; now_us < writer->next_us && !tw_dlq_stop; now_us = tw_monotonic_us()) {
        int64_t left_ms = (writer->next_us - now_us + 999) / 1000;

        TW_TRY(serve_reports(writer, left_ms < POLL_MS ? (int)left_ms : POLL_MS, reterr));
    }
    if (writer->log->settings->rate)
        writer->next_us = now_us + 1000000 / writer->log->settings->rate;
    return TW_OK;
}

static enum tw_rc make_record(struct tw_dlq_writer *writer, const struct tw_record *dead_letter,
                              struct tw_dlq_letter *letter, struct tw_arena *arena, struct tw_record *ret_record,
                              struct tw_err *reterr)
{
    struct tw_dead_letter said;

    tw_dead_letter_read(dead_letter, &said);
    said.attempts = letter->attempts; /* the record is that of the first time, the count that of the last */
    letter->given_up_at = letter->last_offset;
    if (!writer->is_drop)
        return tw_requeue_record(dead_letter, &said, &writer->word, arena, ret_record, reterr);
    writer->word.now_ms = tw_now_ms();
    writer->word.command_id = tw_command_id_new(writer->word.now_ms, writer->domain, letter->partition);
    *ret_record = tw_drop_record(dead_letter, &said, &writer->word, arena);
    return TW_OK;
}

static enum tw_rc send(struct tw_dlq_writer *writer, const struct tw_record *record, struct tw_dlq_letter *letter,
                       struct tw_err *reterr)
{
    if (!writer->unreported)
        writer->heard_us = tw_monotonic_us();
    for (;;) {
        enum tw_rc rc =
            tw_producer_send(writer->producer, topic_of(writer, TW_TOPIC_COMMANDS)->name, record->partition,
                             record->key, record->value, record->headers, record->header_count, letter, reterr);

        if (rc == TW_OK)
            writer->unreported++;
        if (rc != TW_UNREACHED || tw_producer_is_dead(writer->producer))
            return rc;
        TW_TRY(serve_reports(writer, POLL_MS, reterr)); /* the queue is full */
    }
}

static enum tw_rc take(void *self, const struct tw_record *dead_letter, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_dlq_writer                  *writer = self;
    struct tw_dead_letter                  said;
    struct tw_dlq_letter                  *letter;
    struct tw_record                       record;

    if (!tw_dead_letter_read(dead_letter, &said) || said.is_settlement)
        return TW_OK;
    letter = tw_dlq_book_find(&writer->log->book, writer->domain, dead_letter->partition, said.first_offset);
    if (!letter || letter->fate != TW_DLQ_CHOSEN || letter->record_at != dead_letter->offset)
        return TW_OK;
    TW_TRY(keep_pace(writer, reterr));
    TW_TRY(tw_dlq_go_on(reterr));
    TW_TRY(make_record(writer, dead_letter, letter, &arena, &record, reterr));
    TW_TRY(send(writer, &record, letter, reterr));
    return serve_reports(writer, 0, reterr);
}

/* From where to where the chosen ones of a partition stand. */
static void find_range(const struct tw_dlq_writer *writer, int32_t partition, struct tw_ctl_scan *scan)
{
    scan->from = INT64_MAX;
    scan->to = 0;
    for (size_t i = 0; i < writer->log->book.count; i++) {
        const struct tw_dlq_letter *letter = writer->log->book.letters[i];

        if (letter->domain != writer->domain || letter->partition != partition || letter->fate != TW_DLQ_CHOSEN)
            continue;
        if (letter->record_at < scan->from)
            scan->from = letter->record_at;
        if (letter->record_at >= scan->to)
            scan->to = letter->record_at + 1;
    }
}

static enum tw_rc write_partition(struct tw_dlq_writer *writer, int32_t partition, struct tw_err *reterr)
{
    struct tw_ctl_scan scan = {
        .reader = writer->log->reader,
        .topic = topic_of(writer, TW_TOPIC_DLQ)->name,
        .partition = partition,
        .timeout_ms = (int)writer->log->settings->broker_timeout_ms,
        .fn = take,
        .self = writer,
    };

    find_range(writer, partition, &scan);
    return tw_ctl_scan_run(&scan, reterr);
}

enum tw_rc tw_dlq_write(struct tw_dlq_writer *writer, struct tw_err *reterr)
{
    enum tw_rc rc = TW_OK, told = TW_OK;

    writer->done = 0;
    tw_progress_bar_begin(&writer->bar, writer->is_drop ? "dropping" : "requeueing", "dead letters", writer->all);
    for (int32_t p = 0; rc == TW_OK && p < topic_of(writer, TW_TOPIC_DLQ)->partitions; p++)
        rc = write_partition(writer, p, reterr);
    while (told == TW_OK && writer->unreported) /* also of what was written before it failed: it will be decided */
        told = serve_reports(writer, POLL_MS, rc == TW_OK ? reterr : NULL);
    tw_progress_bar_end(&writer->bar);
    return rc == TW_OK ? told : rc;
}
