/*
 * The records go out in rounds, as many at once as there are lanes to lend, so that a hundred of them take about as long
 * as one. With no lane to lend the thread's own sends them one by one.
 */
#include "submission_batch.h"

#include <string.h>

#include "submission_parts.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/ledger.h"
#include "tillwire/log.h"

/** A command under way. */
struct item {
    const struct tw_batch_command *command;
    struct tw_acceptance           acceptance;
    bool                           is_known; /* the ledger has it: it was sent before */
};

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static void take_new_ids(struct tw_batch_command *commands, size_t count)
{
    int64_t now_ms = tw_now_ms();

    for (size_t i = 0; i < count; i++) {
        struct tw_submission *submission = &commands[i].submission;
        submission->id = tw_command_id_new(now_ms, submission->domain, submission->partition);
    }
}

/** `/v1/products:batch#7`: no path has a `#`. The fingerprint is the whole body's, so that the key is good for exactly
 *  this batch. */
static void derive_ids(struct tw_request *request, struct tw_batch_command *commands, size_t count, struct tw_str key)
{
    uint8_t fingerprint[TW_FINGERPRINT_BYTES];

    tw_fingerprint(request->edge->idempotency_key, request->body, fingerprint);
    for (size_t i = 0; i < count; i++) {
        struct tw_submission *submission = &commands[i].submission;
        struct tw_str         path = tw_arena_printf(request->arena, "%.*s#%zu", TW_STR_ARG(request->path), i);

        memcpy(submission->fingerprint, fingerprint, sizeof(fingerprint));
        tw_command_derive_id(request, path, key, submission);
    }
}

/** False: answered. */
static bool take_ids(struct tw_request *request, struct tw_batch_command *commands, size_t count,
                     struct tw_reply *reply)
{
    struct tw_str field = request->fields[TW_HEADER_IDEMPOTENCY_KEY];
    struct tw_str key;

    for (size_t i = 0; i < count; i++) {
        struct tw_submission *submission = &commands[i].submission;
        submission->partition = tw_command_partition(submission->aggregate, submission->domain);
        submission->if_version = -1;
    }
    if (!field.ptr) {
        take_new_ids(commands, count);
        return true;
    }
    if (!tw_idempotency_key_read(field, &key)) {
        tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST,
                        "an Idempotency-Key has 1 to 255 characters of ASCII");
        return false;
    }
    derive_ids(request, commands, count, key);
    return true;
}

/** What the ledger says of one item. False: the key was used for something else. */
static bool take_row(struct item *item, const struct tw_ledger_row *row)
{
    const struct tw_submission *submission = &item->command->submission;

    if (memcmp(row->fingerprint, submission->fingerprint, sizeof(row->fingerprint)) != 0)
        return false;
    item->is_known = true;
    item->acceptance.location =
        (struct tw_location){submission->type->number, submission->partition, row->offset, row->submitted_ms};
    return true;
}

/** Which of the commands the ledger has, in one question. A ledger that cannot be read is no obstacle: the worker
 *  settles what the key means. False: answered. */
static bool look_back(struct tw_request *request, struct item *items, size_t count, struct tw_reply *reply)
{
    struct tw_uuid              *ids = TW_NEW_ARRAY(request->arena, count, struct tw_uuid);
    const struct tw_ledger_row **rows = TW_NEW_ARRAY(request->arena, count, const struct tw_ledger_row *);
    int64_t                      now_ms = tw_now_ms();

    if (!items[0].command->submission.keyed)
        return true;
    for (size_t i = 0; i < count; i++)
        ids[i] = items[i].command->submission.id;
    if (tw_products_ledgers(request->edge->products, ids, count, request->arena, rows, NULL) != TW_OK)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (rows[i] && tw_ledger_row_counts(rows[i], now_ms) && !take_row(&items[i], rows[i])) {
            tw_reply_refuse(reply, request, TW_PROBLEM_KEY_REUSED, "");
            return false;
        }
    }
    return true;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/** How it went: OK; UNREACHED: surely nothing of this batch was written; UNKNOWN: some of it may have been. */
struct sending {
    struct tw_request *request;
    int64_t            deadline_us; /* of all rounds together */
    size_t             known_count;
    enum tw_rc         rc;
    struct tw_err      err;
    bool               any_written;
};

static void note(struct sending *sending, enum tw_rc rc, const struct tw_err *err)
{
    sending->any_written |= rc == TW_OK || rc == TW_UNKNOWN;
    if (rc != TW_OK && sending->rc == TW_OK) {
        sending->rc = rc;
        sending->err = *err;
    }
}

static int left_ms(int64_t deadline_us)
{
    int64_t left_us = deadline_us - tw_monotonic_us();

    return left_us > 0 ? (int)(left_us / 1000) : 0;
}

static void await_report(struct sending *sending, struct item *item, int lane, int64_t now_ms, int64_t deadline_us)
{
    const struct tw_submission *submission = &item->command->submission;
    struct tw_request          *request = sending->request;
    struct tw_err               err = {0};
    int64_t                     offset = -1;
    enum tw_rc                  rc = tw_sender_await(request->edge->sender, lane, left_ms(deadline_us), &offset, &err);

    if (rc == TW_OK && tw_failpoint("after_report_before_reply"))
        rc = tw_fail(&err, TW_UNKNOWN, "edge.commands", 0, "failpoint");
    note(sending, rc, &err);
    if (rc != TW_OK)
        return;
    item->acceptance.location = (struct tw_location){submission->type->number, submission->partition, offset, now_ms};
    if (tw_command_has_outcome(submission))
        tw_recent_add(request->edge->recent, submission->id, request->caller.member_id, &item->acceptance.location);
}

/** Sends up to one command a lane, from @p items on, and waits for the reports of those that went out. */
static void send_round(struct sending *sending, struct item **items, size_t count, const int *lanes)
{
    int64_t now_ms = tw_now_ms();
    int64_t round_us = tw_monotonic_us() + INT64_C(1000) * TW_REPORT_MS;
    int64_t deadline_us = round_us < sending->deadline_us ? round_us : sending->deadline_us;
    size_t  begun = 0;

    while (begun < count && sending->rc == TW_OK) {
        const struct tw_batch_command *command = items[begun]->command;
        struct tw_err                  err = {0};
        enum tw_rc                     rc =
            tw_command_begin(sending->request, &command->submission, command->body, lanes[begun], now_ms, &err);
        if (rc == TW_OK)
            begun++;
        else
            note(sending, rc, &err);
    }
    for (size_t i = 0; i < begun; i++)
        await_report(sending, items[i], lanes[i], now_ms, deadline_us);
}

/** Few lanes and slow reports make many rounds: what is not sent by the deadline is not sent. */
static bool is_in_time(struct sending *sending)
{
    struct tw_err err = {0};

    if (left_ms(sending->deadline_us) == 0)
        note(sending, tw_fail(&err, TW_UNREACHED, "edge.commands", 0, "the batch took too long"), &err);
    return sending->rc == TW_OK;
}

static void send_all(struct sending *sending, struct item **items, size_t count)
{
    struct tw_sender *sender = sending->request->edge->sender;
    int               lanes[TW_SENDER_SPARE_LANES];
    size_t            lent = tw_sender_borrow(sender, count < TW_LEN(lanes) ? count : TW_LEN(lanes), lanes);
    size_t            width = lent > 0 ? lent : 1;

    if (lent == 0)
        lanes[0] = sending->request->thread->lane;
    for (size_t at = 0; at < count && sending->rc == TW_OK && is_in_time(sending); at += width)
        send_round(sending, items + at, count - at < width ? count - at : width, lanes);
    tw_sender_give_back(sender, lanes, lent);
}

static void reply_not_sent(const struct sending *sending, size_t count, struct tw_reply *reply)
{
    tw_log_err(TW_LOG_DEBUG, "batch was not acknowledged", &sending->err, NULL);
    tw_fate_count(sending->any_written ? TW_FATE_UNKNOWN : TW_FATE_NOT_SENT, count);
    if (!sending->any_written) {
        tw_reply_unavailable(reply, sending->request,
                             sending->known_count > 0
                                 ? "the command log cannot be written now; nothing more was accepted"
                                 : "the command log cannot be written now; nothing was accepted");
        return;
    }
    tw_reply_refuse(reply, sending->request, TW_PROBLEM_ENQUEUE_TIMEOUT,
                    "the broker did not acknowledge all of the batch; some of it may have been accepted");
    tw_reply_retry_after(reply, 1);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

/** Is it the last of its partition? What shows it shows the others. */
static bool is_last(const struct item *items, size_t count, size_t number)
{
    const struct tw_location *own = &items[number].acceptance.location;

    for (size_t i = 0; i < count; i++) {
        const struct tw_location *other = &items[i].acceptance.location;

        if (other->partition == own->partition &&
            (other->offset > own->offset || (other->offset == own->offset && i > number)))
            return false;
    }
    return true;
}

/** One field with a token for each partition: the client sends back what it got. */
static void add_consistency(const struct tw_request *request, const struct item *items, size_t count,
                            struct tw_reply *reply)
{
    const char *separator = "Consistency-Token: ";
    char        text[TW_CONSISTENCY_TEXT + 1];

    for (size_t i = 0; i < count; i++) {
        if (!is_last(items, count, i))
            continue;
        tw_consistency_text(request, &items[i].command->submission, items[i].acceptance.location.offset, text);
        tw_buf_printf(&reply->fields, "%s%s", separator, text);
        separator = ", ";
    }
    tw_buf_add_str(&reply->fields, TW_STR("\r\n"));
}

static void reply_accepted(const struct tw_request *request, struct item *items, size_t count, struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, 202);
    tw_buf_add_str(&reply->fields, TW_STR("Retry-After: 1\r\n"));
    add_consistency(request, items, count, reply);
    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        tw_acceptance_seal(request, &items[i].command->submission, &items[i].acceptance);
        tw_acceptance_write(&items[i].command->submission, &items[i].acceptance, &json);
    }
    tw_json_close(&json, ']');
    tw_json_close(&json, '}');
}

void tw_batch_submit(struct tw_request *request, struct tw_batch_command *commands, size_t count,
                     struct tw_reply *reply)
{
    struct item   *items = TW_NEW_ARRAY(request->arena, count, struct item);
    struct item  **fresh = TW_NEW_ARRAY(request->arena, count, struct item *);
    struct sending sending = {.request = request, .deadline_us = tw_request_until_us(request)};
    size_t         fresh_count = 0;

    for (size_t i = 0; i < count; i++)
        items[i].command = &commands[i];
    if (!take_ids(request, commands, count, reply) || !look_back(request, items, count, reply))
        return;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].is_known)
            fresh[fresh_count++] = &items[i];
    }
    sending.known_count = count - fresh_count;
    send_all(&sending, fresh, fresh_count);
    if (sending.rc != TW_OK) {
        reply_not_sent(&sending, fresh_count, reply);
        return;
    }
    tw_fate_count(TW_FATE_ACCEPTED, fresh_count);
    tw_fate_count(TW_FATE_REPLAYED, sending.known_count);
    reply_accepted(request, items, count, reply);
    if (fresh_count == 0)
        tw_buf_add_str(&reply->fields, TW_STR("Idempotent-Replayed: true\r\n"));
}
