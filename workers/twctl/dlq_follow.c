/*
 * A requeue or drop that ends its dead letter, or fails, is told of by the dead-letter topic. One that changes nothing has
 * an outcome among the events and no more. That outcome is published after all that was decided before the requeue, so
 * when it is seen, and the dead letters are read as far as they went then, the book says why nothing changed.
 */
#include "dlq_follow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "progress_bar.h"
#include "tillwire/clock.h"

enum { POLL_MS = 50, POLL_RECORDS = 1000, ASK_EVERY_US = 100000, NOT_ASKED = -1 };

struct part_followed {
    int64_t events_from;  /* next offset of the events to read */
    int64_t passed;       /* the worker has told what became of this record of the command log */
    int64_t asked_end;    /* where the dead letters ended, when … */
    int64_t asked_passed; /* … it had told so much */
    bool    has_written;
};

static const struct tw_topic *topic_of(const struct tw_dlq_follow *follow, enum tw_topic_kind kind)
{
    return tw_topic_of(follow->domain, kind);
}

static int32_t partitions(const struct tw_dlq_follow *follow)
{
    return topic_of(follow, TW_TOPIC_DLQ)->partitions;
}

static enum tw_rc ask_ends(const struct tw_dlq_follow *follow, enum tw_topic_kind kind, struct tw_position *positions,
                           struct tw_err *reterr)
{
    for (int32_t p = 0; p < partitions(follow); p++)
        positions[p] = (struct tw_position){topic_of(follow, kind)->name, p, 0};
    return tw_reader_ends(follow->log->reader, positions, (size_t)partitions(follow),
                          (int)follow->log->settings->broker_timeout_ms, reterr);
}

enum tw_rc tw_dlq_follow_begin(struct tw_dlq_follow *follow, struct tw_dlq_log *log, enum tw_domain_number domain,
                               struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_position                    *ends;

    *follow = (struct tw_dlq_follow){.log = log, .domain = domain};
    follow->parts = tw_alloc_zeroed((size_t)partitions(follow), sizeof(*follow->parts));
    ends = TW_NEW_ARRAY(&arena, (size_t)partitions(follow), struct tw_position);
    TW_TRY(ask_ends(follow, TW_TOPIC_EVENTS, ends, reterr));
    for (int32_t p = 0; p < partitions(follow); p++)
        follow->parts[p] = (struct part_followed){.events_from = ends[p].offset, .passed = -1, .asked_end = NOT_ASKED};
    return TW_OK;
}

void tw_dlq_follow_done(struct tw_dlq_follow *follow)
{
    free(follow->parts);
    follow->parts = NULL;
}

/* --- what is read ------------------------------------------------------------------------------------------------- */

static void take_event(struct tw_dlq_follow *follow, const struct tw_record *event)
{
    struct part_followed *part = &follow->parts[event->partition];
    int64_t               cause;

    part->events_from = event->offset + 1;
    if (!tw_str_to_int(tw_header_find(event, TW_H_CAUSE_OFFSET), &cause) || cause <= part->passed)
        return;
    part->passed = cause;
    follow->heard_us = tw_monotonic_us();
}

static void take(void *self, const char *topic, const struct tw_record *record)
{
    struct tw_dlq_follow  *follow = self;
    const struct tw_topic *dead_letters = topic_of(follow, TW_TOPIC_DLQ);

    if (strcmp(topic, dead_letters->name) != 0) {
        take_event(follow, record);
        return;
    }
    follow->log->read_to[follow->domain][record->partition] = record->offset + 1;
    follow->heard_us = tw_monotonic_us();
    if (follow->rc == TW_OK)
        follow->rc = tw_dlq_book_take(&follow->log->book, dead_letters, record, &follow->err);
}

static enum tw_rc assign(struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_position *positions = TW_NEW_ARRAY(&arena, 2 * (size_t)partitions(follow), struct tw_position);
    size_t              count = 0;

    for (int32_t p = 0; p < partitions(follow); p++) {
        if (!follow->parts[p].has_written)
            continue;
        positions[count++] =
            (struct tw_position){topic_of(follow, TW_TOPIC_DLQ)->name, p, follow->log->read_to[follow->domain][p]};
        positions[count++] =
            (struct tw_position){topic_of(follow, TW_TOPIC_EVENTS)->name, p, follow->parts[p].events_from};
    }
    return tw_reader_assign(follow->log->reader, positions, count, reterr);
}

/* Brokers may be away for a moment. */
static enum tw_rc poll_some(struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    size_t        count = 0;
    struct tw_err err = {0};
    enum tw_rc    rc = tw_reader_poll(follow->log->reader, POLL_MS, POLL_RECORDS, take, follow, &count, &err);

    if (follow->rc != TW_OK)
        return tw_fail(reterr, follow->rc, follow->err.where, follow->err.native, "%s", follow->err.msg);
    if (rc == TW_OK || rc == TW_UNREACHED)
        return TW_OK;
    return tw_fail(reterr, rc, err.where, err.native, "%s", err.msg);
}

/* --- what it means ------------------------------------------------------------------------------------------------ */

static bool is_followed(const struct tw_dlq_follow *follow, const struct tw_dlq_letter *letter)
{
    return letter->domain == follow->domain && letter->fate == TW_DLQ_WRITTEN;
}

static void decide(struct tw_dlq_letter *letter)
{
    if (!tw_dlq_is_open(letter))
        letter->fate = TW_DLQ_SETTLED;
    else if (letter->last_offset != letter->given_up_at)
        letter->fate = TW_DLQ_FAILED;
}

static bool was_told(const struct tw_dlq_letter *letter, int64_t passed)
{
    return letter->written_at >= 0 && letter->written_at <= passed;
}

/* Of what is left, after the dead letters were read far enough. */
static void judge(struct tw_dlq_follow *follow)
{
    tw_dlq_book_link(&follow->log->book);
    for (size_t i = 0; i < follow->log->book.count; i++) {
        struct tw_dlq_letter       *letter = follow->log->book.letters[i];
        const struct part_followed *part = &follow->parts[is_followed(follow, letter) ? letter->partition : 0];

        if (is_followed(follow, letter) && part->asked_end >= 0 &&
            follow->log->read_to[follow->domain][letter->partition] >= part->asked_end && letter->waits_for &&
            was_told(letter, part->asked_passed))
            letter->fate = TW_DLQ_NOT_HEARD;
    }
}

static enum tw_rc ask_how_far(struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    struct tw_position                    *ends = TW_NEW_ARRAY(&arena, (size_t)partitions(follow), struct tw_position);

    for (int32_t p = 0; p < partitions(follow); p++)
        follow->parts[p].asked_passed = follow->parts[p].passed;
    TW_TRY(ask_ends(follow, TW_TOPIC_DLQ, ends, reterr));
    for (int32_t p = 0; p < partitions(follow); p++)
        follow->parts[p].asked_end = ends[p].offset;
    return TW_OK;
}

/* Counts what is not decided; true when something is not though the worker has told of its record. */
static bool count_undecided(struct tw_dlq_follow *follow)
{
    bool is_silent = false;

    follow->undecided = 0;
    for (size_t i = 0; i < follow->log->book.count; i++) {
        struct tw_dlq_letter *letter = follow->log->book.letters[i];

        if (is_followed(follow, letter))
            decide(letter);
        if (!is_followed(follow, letter))
            continue;
        follow->undecided++;
        is_silent |= was_told(letter, follow->parts[letter->partition].passed);
    }
    return is_silent;
}

static enum tw_rc look_at_silent(struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    int64_t now_us = tw_monotonic_us();

    if (now_us - follow->asked_us < ASK_EVERY_US)
        return TW_OK;
    if (follow->asked_us)
        judge(follow);
    follow->asked_us = now_us;
    return ask_how_far(follow, reterr);
}

static enum tw_rc give_up(const struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    const char *topic = topic_of(follow, TW_TOPIC_DLQ)->name;

    return tw_fail(reterr, TW_UNREACHED, "twctl.dlq", 0,
                   "undecided: %zu; no word for %" PRId64 " s: is tillwire-%.*s running? What was asked is in its log; "
                   "`twctl dlq list --all --each` shows what became of it",
                   follow->undecided, follow->log->settings->wait_s, (int)strcspn(topic, "."), topic);
}

static void mark_partitions(struct tw_dlq_follow *follow)
{
    for (size_t i = 0; i < follow->log->book.count; i++)
        if (is_followed(follow, follow->log->book.letters[i]))
            follow->parts[follow->log->book.letters[i]->partition].has_written = true;
}

static enum tw_rc follow_all(struct tw_dlq_follow *follow, struct tw_progress_bar *bar, struct tw_err *reterr)
{
    int64_t all;

    count_undecided(follow);
    all = (int64_t)follow->undecided;
    tw_progress_bar_begin(bar, "decided", "dead letters", all);
    while (follow->undecided) {
        TW_TRY(poll_some(follow, reterr));
        TW_TRY(tw_dlq_go_on(reterr));
        if (count_undecided(follow))
            TW_TRY(look_at_silent(follow, reterr));
        tw_progress_bar_show(bar, all - (int64_t)follow->undecided);
        if (tw_monotonic_us() - follow->heard_us > follow->log->settings->wait_s * 1000000)
            return give_up(follow, reterr);
    }
    return TW_OK;
}

enum tw_rc tw_dlq_follow(struct tw_dlq_follow *follow, struct tw_err *reterr)
{
    struct tw_progress_bar bar;
    enum tw_rc             rc;

    mark_partitions(follow);
    TW_TRY(assign(follow, reterr));
    follow->heard_us = tw_monotonic_us();
    rc = follow_all(follow, &bar, reterr);
    tw_progress_bar_end(&bar);
    tw_dlq_book_link(&follow->log->book);
    return rc;
}
