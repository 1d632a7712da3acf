#include "submission.h"

#include <string.h>

#include "conditional.h"
#include "submission_parts.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/gen/topics.h"
#include "tillwire/ledger.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

#define FATE(text)                                                                                   \
    {                                                                                                \
        .name = "tillwire_edge_commands_total", .labels = "result=\"" text "\"", .kind = TW_COUNTER, \
        .help = "Commands by what became of sending them."                                           \
    }
static struct tw_metric fates[TW_FATES] = {
    [TW_FATE_ACCEPTED] = FATE("accepted"),
    [TW_FATE_NOT_SENT] = FATE("not_sent"),
    [TW_FATE_UNKNOWN] = FATE("unknown"),
    [TW_FATE_REPLAYED] = FATE("replayed"),
};
#undef FATE
TW_METRICS_SHOWN(&fates[TW_FATE_ACCEPTED], &fates[TW_FATE_NOT_SENT], &fates[TW_FATE_UNKNOWN], &fates[TW_FATE_REPLAYED])

void tw_fate_count(enum tw_fate fate, size_t commands)
{
    tw_metric_add(&fates[fate], (int64_t)commands);
}

/* --- ids ---------------------------------------------------------------------------------------------------------- */

static enum tw_rc read_ledger(const struct tw_request *request, struct tw_uuid command_id,
                              struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    struct tw_edge *edge = request->edge;

    switch (tw_command_id_domain(command_id)) {
    case TW_DOMAIN_MEMBER:
        return tw_members_ledger(edge->members, command_id, request->arena, ret_row, reterr);
    case TW_DOMAIN_PRODUCT:
        return tw_products_ledger(edge->products, command_id, request->arena, ret_row, reterr);
    case TW_DOMAIN_CART:
        return tw_carts_ledger(edge->carts, command_id, tw_now_ms(), request->arena, ret_row, reterr);
    default:
        return tw_fail(reterr, TW_NOT_FOUND, "edge.commands", 0, "the id names no domain");
    }
}

/* A row that has not been swept yet counts for no longer than one that has. Whether a key is free again is the worker's
 * to say, by the partition's clock; the edge only stops answering for it. */
enum tw_rc tw_command_ledger(struct tw_request *request, struct tw_uuid command_id, struct tw_ledger_row *ret_row,
                             struct tw_err *reterr)
{
    struct tw_ledger_row row = {0};

    TW_TRY(read_ledger(request, command_id, &row, reterr));
    if (!tw_ledger_row_counts(&row, tw_now_ms()))
        return tw_fail(reterr, TW_NOT_FOUND, "edge.commands", 0, "outcomes are kept for 24 hours");
    *ret_row = row;
    return TW_OK;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t tw_request_until_us(const struct tw_request *request)
{
    return request->start_us + INT64_C(1000) * (TW_REQUEST_DEADLINE_MS + TW_REPORT_MS);
}

/** Until when a request may wait: its preference, but within the time a whole request has. */
static int64_t wait_until_us(const struct tw_request *request, int wait_s)
{
    return earlier(tw_monotonic_us() + INT64_C(1000000) * wait_s, tw_request_until_us(request));
}

static bool has_no_end(enum tw_rc rc, const struct tw_ledger_row *row)
{
    return rc == TW_NOT_FOUND || (rc == TW_OK && row->outcome.status == TW_PENDING);
}

/* The ledger is read once the seat is taken: an end that came before is in the row, a later one wakes the seat. */
enum tw_rc tw_command_await_end(struct tw_request *request, struct tw_uuid command_id, int64_t offset, int wait_s,
                                struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    struct tw_tail *tail = request->edge->tail;
    int64_t         until_us = wait_until_us(request, wait_s);
    struct tw_seat *seat = tw_tail_sit(tail, command_id);
    struct tw_told *told = TW_NEW(request->arena, struct tw_told);
    enum tw_rc      rc = tw_command_ledger(request, command_id, ret_row, reterr);

    if (seat && has_no_end(rc, ret_row)) {
        tw_tail_await(tail, seat, offset, until_us, told);
        rc = tw_command_ledger(request, command_id, ret_row, reterr);
    }
    tw_tail_leave(tail, seat);
    return rc;
}

int32_t tw_command_partition(struct tw_uuid aggregate, enum tw_domain_number domain)
{
    char key[TW_UUID_TEXT + 1];

    tw_uuid_format(aggregate, key);
    return tw_partition_of((struct tw_str){key, TW_UUID_TEXT}, tw_topic_of(domain, TW_TOPIC_COMMANDS)->partitions);
}

void tw_command_derive_id(struct tw_request *request, struct tw_str path, struct tw_str key,
                          struct tw_submission *submission)
{
    uint8_t               digest[16];
    struct tw_idempotency idempotency = {
        .caller = request->caller.member_id,
        .method = tw_str_of(tw_method_name(request->method)),
        .path = path,
        .key = key,
        .fingerprint = submission->fingerprint,
    };

    tw_idempotency_digest(request->edge->idempotency_key, &idempotency, digest);
    submission->id = tw_command_id_keyed(digest, submission->domain, submission->partition);
    submission->keyed = true;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

void tw_acceptance_seal(const struct tw_request *request, const struct tw_submission *submission,
                        struct tw_acceptance *acceptance)
{
    static const char prefix[] = "/v1/commands/";
    static const char query[] = "?at=";
    char             *at = acceptance->path;

    memcpy(at, prefix, sizeof(prefix) - 1);
    at += sizeof(prefix) - 1;
    tw_uuid_format(submission->id, at);
    at += TW_UUID_TEXT;
    memcpy(at, query, sizeof(query) - 1);
    at += sizeof(query) - 1;
    tw_location_seal(request->edge->opaque_key, submission->id, request->caller.member_id, &acceptance->location, at);
    acceptance->path_len = (size_t)(at - acceptance->path) + TW_LOCATION_TEXT;
}

struct tw_str tw_consistency_text(const struct tw_request *request, const struct tw_submission *submission,
                                  int64_t offset, char ret_text[TW_CONSISTENCY_TEXT + 1])
{
    struct tw_consistency consistency = {submission->domain, submission->partition, offset};

    tw_consistency_seal(request->edge->opaque_key, &consistency, ret_text);
    return (struct tw_str){ret_text, TW_CONSISTENCY_TEXT};
}

static void add_consistency(const struct tw_request *request, const struct tw_submission *submission, int64_t offset,
                            struct tw_reply *reply)
{
    char text[TW_CONSISTENCY_TEXT + 1];

    tw_reply_field(reply, "Consistency-Token", tw_consistency_text(request, submission, offset, text));
}

void tw_acceptance_write(const struct tw_submission *submission, const struct tw_acceptance *acceptance,
                         struct tw_json *json)
{
    tw_json_open(json, '{');
    tw_json_key(json, "command_id");
    tw_json_uuid(json, submission->id);
    tw_json_key(json, "type");
    tw_json_text(json, tw_str_of(submission->type->name));
    tw_buf_add_str(json->out, TW_STR(",\"status\":\"accepted\",\"resource\":"));
    json->comma = false;
    tw_json_text(json, submission->resource);
    tw_buf_add_str(json->out, TW_STR(",\"links\":{\"self\":"));
    json->comma = false;
    tw_json_text(json, (struct tw_str){acceptance->path, acceptance->path_len});
    tw_buf_add_str(json->out, TW_STR("}}"));
}

static void reply_accepted(const struct tw_request *request, const struct tw_submission *submission,
                           struct tw_acceptance *acceptance, struct tw_reply *reply)
{
    struct tw_json json = {&reply->body, false};

    tw_acceptance_seal(request, submission, acceptance);
    tw_reply_json(reply, 202);
    tw_reply_field(reply, "Location", (struct tw_str){acceptance->path, acceptance->path_len});
    tw_buf_add_str(&reply->fields, TW_STR("Retry-After: 1\r\n"));
    add_consistency(request, submission, acceptance->location.offset, reply);
    tw_acceptance_write(submission, acceptance, &json);
}

/** The final code: what a client that waited gets. */
static void reply_outcome(struct tw_request *request, const struct tw_submission *submission,
                          const struct tw_outcome *outcome, struct tw_reply *reply)
{
    if (outcome->status != TW_SUCCEEDED) {
        enum tw_problem problem = outcome->problem != TW_PROBLEM_NONE ? outcome->problem : TW_PROBLEM_DEAD_LETTERED;
        tw_reply_problem(reply, request, problem, outcome->detail, NULL);
        return;
    }
    if (!submission->show || outcome->http_status == 204) {
        tw_reply_empty(reply);
        return;
    }
    submission->show(request, submission, reply);
    if (reply->status != 200)
        return; /* the store went away between the event and the read: its 503 stands */
    reply->status = outcome->http_status;
    if (outcome->http_status == 201)
        tw_reply_field(reply, "Location", tw_arena_copy(request->arena, submission->resource));
}

static void add_preference(struct tw_reply *reply, int wait_s)
{
    tw_buf_printf(&reply->fields, "Preference-Applied: wait=%d\r\n", wait_s);
}

/** A keyed command the ledger knows: the same answer as the first time. */
static void reply_replayed(struct tw_request *request, const struct tw_submission *submission,
                           struct tw_ledger_row *row, struct tw_reply *reply)
{
    int                  wait_s = tw_request_wait_s(request);
    struct tw_acceptance acceptance = {
        .location = {submission->type->number, submission->partition, row->offset, row->submitted_ms},
    };

    tw_fate_count(TW_FATE_REPLAYED, 1);
    if (wait_s > 0 && row->outcome.status == TW_PENDING)
        tw_command_await_end(request, submission->id, row->offset, wait_s, row, NULL);
    if (wait_s > 0 && row->outcome.status != TW_PENDING) {
        reply_outcome(request, submission, &row->outcome, reply);
        add_preference(reply, wait_s);
        add_consistency(request, submission, row->offset, reply);
    } else {
        reply_accepted(request, submission, &acceptance, reply);
    }
    tw_buf_add_str(&reply->fields, TW_STR("Idempotent-Replayed: true\r\n"));
}

/** False: answered. A ledger that cannot be read is no obstacle: the worker settles what the key means. */
static bool look_back(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply)
{
    struct tw_ledger_row row = {0};

    if (tw_command_ledger(request, submission->id, &row, NULL) != TW_OK)
        return true;
    if (memcmp(row.fingerprint, submission->fingerprint, sizeof(row.fingerprint)) == 0 ||
        tw_failpoint("mutant_any_body"))
        reply_replayed(request, submission, &row, reply);
    else
        tw_reply_refuse(reply, request, TW_PROBLEM_KEY_REUSED, "");
    return false;
}

static void name_new_item(const struct tw_request *request, struct tw_submission *submission)
{
    char id[TW_UUID_TEXT + 1];

    if (!submission->new_item)
        return;
    submission->item = tw_derived_id(submission->id, submission->aggregate, submission->new_item);
    tw_uuid_format(submission->item, id);
    submission->resource = tw_arena_printf(request->arena, "%.*s/%s", TW_STR_ARG(submission->resource), id);
}

/** Settles the id. False: answered. */
static bool take_id(struct tw_request *request, struct tw_submission *submission, struct tw_reply *reply)
{
    struct tw_str field = request->fields[TW_HEADER_IDEMPOTENCY_KEY];
    struct tw_str key;

    if (!field.ptr || submission->ignores_key) {
        submission->id = tw_command_id_new(tw_now_ms(), submission->domain, submission->partition);
        name_new_item(request, submission);
        return true;
    }
    if (!tw_idempotency_key_read(field, &key)) {
        tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST,
                        "an Idempotency-Key has 1 to 255 characters of ASCII");
        return false;
    }
    tw_fingerprint(request->edge->idempotency_key, request->body, submission->fingerprint);
    tw_command_derive_id(request, request->path, key, submission);
    name_new_item(request, submission);
    return look_back(request, submission, reply);
}

/** False: answered. */
static bool take_condition(const struct tw_request *request, struct tw_submission *submission, struct tw_reply *reply)
{
    struct tw_str field = request->fields[TW_HEADER_IF_MATCH];

    submission->if_version = -1;
    if (submission->has_etag && request->fields[TW_HEADER_IF_NONE_MATCH].ptr) {
        /* "Only if there is none yet", say, that was passed over would lose what there is. */
        tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST,
                        "If-None-Match is for reads; a write may have an If-Match");
        return false;
    }
    if (!field.ptr || !submission->has_etag || tw_if_match_version(field, &submission->if_version))
        return true;
    tw_reply_refuse(reply, request, TW_PROBLEM_PRECONDITION_FAILED, "If-Match names no tag this resource ever had");
    return false;
}

bool tw_command_prepare(struct tw_request *request, struct tw_submission *submission, struct tw_reply *reply)
{
    submission->partition = tw_command_partition(submission->aggregate, submission->domain);
    bool has_id = take_id(request, submission, reply);
    request->command_id = submission->id;
    return has_id && take_condition(request, submission, reply);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

enum tw_rc tw_command_begin(struct tw_request *request, const struct tw_submission *submission, const void *body,
                            int lane, int64_t now_ms, struct tw_err *reterr)
{
    struct tw_buf     *pack = &request->thread->pack;
    char               key[TW_UUID_TEXT + 1];
    struct tw_envelope envelope = {
        .type = tw_str_of(submission->type->ce_type),
        .command_id = submission->id,
        .submitted_ms = now_ms,
        .traceparent = {request->traceparent, 55},
        .caller = request->caller.member_id,
        .if_version = submission->if_version,
        .original_ms = -1,
    };
    struct tw_send record = {
        .topic = tw_topic_of(submission->domain, TW_TOPIC_COMMANDS)->name,
        .partition = submission->partition,
        .key = {key, TW_UUID_TEXT},
    };

    memcpy(envelope.fingerprint, submission->fingerprint, sizeof(envelope.fingerprint));
    tw_uuid_format(submission->aggregate, key);
    tw_buf_clear(pack);
    submission->type->pack(body, pack);
    record.value = tw_buf_str(pack);
    tw_envelope_write(&envelope, "/tillwire/edge", request->arena, &record.headers, &record.header_count);
    TW_TRY(tw_sender_begin(request->edge->sender, lane, &record, reterr));
    if (tw_failpoint("after_produce_before_report"))
        return tw_fail(reterr, TW_UNKNOWN, "edge.commands", 0, "failpoint");
    return TW_OK;
}

static enum tw_rc send(struct tw_request *request, const struct tw_submission *submission, const void *body,
                       int64_t now_ms, int64_t *ret_offset, struct tw_err *reterr)
{
    int lane = request->thread->lane;

    if (tw_failpoint("mutant_accepted_unsent")) {
        *ret_offset = 0;
        return TW_OK;
    }
    TW_TRY(tw_command_begin(request, submission, body, lane, now_ms, reterr));
    TW_TRY(tw_sender_await(request->edge->sender, lane, TW_REPORT_MS, ret_offset, reterr));
    if (tw_failpoint("after_report_before_reply"))
        return tw_fail(reterr, TW_UNKNOWN, "edge.commands", 0, "failpoint");
    return TW_OK;
}

static void reply_not_sent(const struct tw_request *request, const struct tw_err *err, struct tw_reply *reply)
{
    if (err->rc == TW_UNKNOWN) {
        tw_fate_count(TW_FATE_UNKNOWN, 1);
        tw_reply_refuse(reply, request, TW_PROBLEM_ENQUEUE_TIMEOUT, "");
        tw_reply_retry_after(reply, 1);
    } else {
        tw_fate_count(TW_FATE_NOT_SENT, 1);
        tw_reply_unavailable(reply, request, "the command log cannot be written now; nothing was accepted");
    }
}

/** False: answered with what went wrong. */
static bool send_or_refuse(struct tw_request *request, const struct tw_submission *submission, const void *body,
                           struct tw_acceptance *acceptance, struct tw_reply *reply)
{
    struct tw_err err = {0};
    int64_t       now_ms = tw_now_ms();
    int64_t       offset = -1;

    if (send(request, submission, body, now_ms, &offset, &err) != TW_OK) {
        tw_log_err(TW_LOG_DEBUG, "command was not acknowledged", &err, NULL);
        reply_not_sent(request, &err, reply);
        return false;
    }
    tw_fate_count(TW_FATE_ACCEPTED, 1);
    acceptance->location = (struct tw_location){submission->type->number, submission->partition, offset, now_ms};
    return true;
}

bool tw_command_has_outcome(const struct tw_submission *submission)
{
    return !submission->type->quiet || submission->keyed;
}

static void reply_told(struct tw_request *request, const struct tw_submission *submission, const struct tw_told *told,
                       int64_t offset, int wait_s, struct tw_reply *reply)
{
    reply_outcome(request, submission, &told->outcome, reply);
    add_preference(reply, wait_s);
    add_consistency(request, submission, offset, reply);
    if (told->repeated)
        tw_buf_add_str(&reply->fields, TW_STR("Idempotent-Replayed: true\r\n"));
}

/** Nothing is told of a record that repeats a saga still under way, so whoever sent one looks into the ledger in the
 *  end. True: answered. */
static bool reply_from_ledger(struct tw_request *request, const struct tw_submission *submission,
                              struct tw_reply *reply)
{
    struct tw_ledger_row row = {0};

    if (!submission->keyed || tw_command_ledger(request, submission->id, &row, NULL) != TW_OK ||
        row.outcome.status == TW_PENDING ||
        memcmp(row.fingerprint, submission->fingerprint, sizeof(row.fingerprint)) != 0)
        return false;
    reply_replayed(request, submission, &row, reply);
    return true;
}

void tw_command_submit(struct tw_request *request, const struct tw_submission *submission, const void *body,
                       struct tw_reply *reply)
{
    int                  wait_s = tw_command_has_outcome(submission) ? tw_request_wait_s(request) : -1;
    struct tw_tail      *tail = request->edge->tail;
    struct tw_seat      *seat = wait_s > 0 ? tw_tail_sit(tail, submission->id) : NULL;
    struct tw_told      *told = seat ? TW_NEW(request->arena, struct tw_told) : NULL;
    struct tw_acceptance acceptance;

    if (send_or_refuse(request, submission, body, &acceptance, reply)) {
        int64_t offset = acceptance.location.offset;

        if (tw_command_has_outcome(submission))
            tw_recent_add(request->edge->recent, submission->id, request->caller.member_id, &acceptance.location);
        if (seat && tw_tail_await(tail, seat, offset, wait_until_us(request, wait_s), told))
            reply_told(request, submission, told, offset, wait_s, reply);
        else if (!seat || !reply_from_ledger(request, submission, reply))
            reply_accepted(request, submission, &acceptance, reply);
    }
    tw_tail_leave(tail, seat);
}

bool tw_command_finish(struct tw_request *request, const struct tw_submission *submission, const void *body,
                       int timeout_ms, struct tw_told *ret_told, struct tw_reply *reply)
{
    struct tw_tail      *tail = request->edge->tail;
    struct tw_seat      *seat = tw_tail_must_sit(tail, submission->id);
    struct tw_acceptance acceptance;
    bool                 told = false;

    if (!seat) {
        tw_reply_unavailable(reply, request, "too many requests wait for an outcome");
        return false;
    }
    if (send_or_refuse(request, submission, body, &acceptance, reply)) {
        told = tw_tail_await(tail, seat, acceptance.location.offset, tw_monotonic_us() + INT64_C(1000) * timeout_ms,
                             ret_told);
        if (!told)
            tw_reply_unavailable(reply, request, "the outcome did not come in time");
    }
    tw_tail_leave(tail, seat);
    return told;
}
