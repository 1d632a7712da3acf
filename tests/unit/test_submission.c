/* Commands with a ledger, a tail and a sender of our own: the linker takes these and leaves the library's out. */
#include "submission.h"

#include <stdio.h>
#include <string.h>

#include "tillwire/json_out.h"
#include "tillwire/clock.h"
#include "tillwire/gen/member_messages.h"
#include "unit.h"

enum { SAGA_OFFSET = 41, SENT_OFFSET = 52, ROWS_MAX = 4 };

/* What happens, in order: 's' a seat is taken, 'r' the ledger is read, 'a' somebody waits, 'l' the seat is left,
 * 'p' a record is produced. */
static char                 steps[64];
static struct tw_ledger_row rows[ROWS_MAX]; /* what the ledger says, read by read; the last one stays */
static bool                 row_is_there[ROWS_MAX];
static size_t               row_count;
static size_t               reads;
static bool                 seat_is_free;
static int64_t              awaited_offset;
static bool                 is_told;
static struct tw_told       told_now;
static char                 if_version_sent[24];

static struct tw_edge    edge;
static struct tw_thread  thread = {.lane = 0};
static struct tw_arena   arena;
static struct tw_reply   reply;
static struct tw_request request;

static void step(char what)
{
    size_t len = strlen(steps);

    assert_true(len + 1 < sizeof(steps));
    steps[len] = what;
}

struct tw_seat *tw_tail_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    static int seat;

    (void)tail, (void)command_id;
    step('s');
    return seat_is_free ? (struct tw_seat *)&seat : NULL;
}

struct tw_seat *tw_tail_must_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    return tw_tail_sit(tail, command_id);
}

bool tw_tail_await(struct tw_tail *tail, struct tw_seat *seat, int64_t offset, int64_t deadline_us,
                   struct tw_told *ret_told)
{
    (void)tail, (void)seat;
    assert_true(deadline_us > tw_monotonic_us());
    step('a');
    awaited_offset = offset;
    *ret_told = told_now;
    return is_told;
}

void tw_tail_leave(struct tw_tail *tail, struct tw_seat *seat)
{
    (void)tail;
    if (seat)
        step('l');
}

enum tw_rc tw_members_ledger(struct tw_members *members, struct tw_uuid command_id, struct tw_arena *from_arena,
                             struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    size_t number = reads < row_count ? reads : row_count - 1;

    (void)members, (void)command_id, (void)from_arena;
    step('r');
    reads++;
    if (row_count == 0 || !row_is_there[number])
        return tw_fail(reterr, TW_NOT_FOUND, "test", 0, "no row");
    *ret_row = rows[number];
    return TW_OK;
}

enum tw_rc tw_sender_begin(struct tw_sender *sender, int lane, const struct tw_send *send, struct tw_err *reterr)
{
    (void)sender, (void)lane, (void)reterr;
    step('p');
    if_version_sent[0] = '\0';
    for (size_t i = 0; i < send->header_count; i++) {
        if (tw_str_is(send->headers[i].name, TW_H_IF_VERSION))
            snprintf(if_version_sent, sizeof(if_version_sent), "%.*s", TW_STR_ARG(send->headers[i].value));
    }
    return TW_OK;
}

enum tw_rc tw_sender_await(struct tw_sender *sender, int lane, int timeout_ms, int64_t *ret_offset,
                           struct tw_err *reterr)
{
    (void)sender, (void)lane, (void)timeout_ms, (void)reterr;
    *ret_offset = SENT_OFFSET;
    return TW_OK;
}

/* --- given -------------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    memset(steps, 0, sizeof(steps));
    row_count = reads = 0;
    awaited_offset = -1;
    is_told = false;
    told_now = (struct tw_told){0};
    seat_is_free = true;
    edge.recent = tw_recent_new();
    tw_arena_reset(&arena);
    tw_reply_reset(&reply);
    request = (struct tw_request){
        .edge = &edge,
        .thread = &thread,
        .arena = &arena,
        .method = TW_METHOD_POST,
        .path = TW_STR("/v1/members/me/email"),
        .body = TW_STR("{}"),
        .start_us = tw_monotonic_us(),
    };
    request.caller = (struct tw_caller){.known = true, .member_id = {{0x3e, 0x7c}}};
    memset(request.traceparent, '0', 55);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_recent_free(edge.recent);
    tw_arena_done(&arena);
    tw_reply_done(&reply);
    tw_buf_done(&thread.pack);
    return 0;
}

static void given_fields(const char *key, const char *prefer)
{
    request.fields[TW_HEADER_IDEMPOTENCY_KEY] = tw_str_of(key);
    request.fields[TW_HEADER_PREFER] = tw_str_of(prefer);
}

/* The ledger's next answer. */
static void given_row(enum tw_status status, int http_status)
{
    struct tw_ledger_row row = {.type = TW_STR("member.change_email"), .offset = SAGA_OFFSET, .at_ms = tw_now_ms()};

    row.outcome = (struct tw_outcome){.status = status, .http_status = http_status};
    tw_fingerprint(edge.idempotency_key, request.body, row.fingerprint);
    row_is_there[row_count] = true;
    rows[row_count++] = row;
}

static void given_no_row(void)
{
    row_is_there[row_count++] = false;
}

static void show(struct tw_request *shown, const struct tw_submission *submission, struct tw_reply *to)
{
    (void)shown, (void)submission;
    tw_reply_json(to, 200);
    tw_buf_add_str(&to->body, TW_STR("{\"shown\":true}"));
}

static struct tw_submission submission_of(const struct tw_type *type)
{
    return (struct tw_submission){
        .type = type,
        .domain = TW_DOMAIN_MEMBER,
        .aggregate = request.caller.member_id,
        .resource = TW_STR("/v1/members/me"),
        .show = show,
        .has_etag = true,
    };
}

static bool has_field(const char *line)
{
    tw_buf_add(&reply.fields, "", 1);
    bool found = strstr(reply.fields.ptr, line) != NULL;
    reply.fields.len--;
    return found;
}

static void submit_deactivate(struct tw_submission *submission)
{
    struct tw_member_deactivate command = {.member_id = request.caller.member_id};

    tw_command_submit(&request, submission, &command, &reply);
}

/* --- waiting for the end of a saga -------------------------------------------------------------------------------- */

static enum tw_rc await_end(struct tw_ledger_row *ret_row)
{
    struct tw_uuid command_id = tw_command_id_new(tw_now_ms(), TW_DOMAIN_MEMBER, 3);

    return tw_command_await_end(&request, command_id, SAGA_OFFSET, 5, ret_row, NULL);
}

static void await_end__sits_down_before_it_reads_the_ledger(void **state)
{
    struct tw_ledger_row row = {0};

    (void)state;
    given_row(TW_PENDING, 202);
    given_row(TW_SUCCEEDED, 200);
    is_told = true;
    assert_int_equal(await_end(&row), TW_OK);
    assert_string_equal(steps, "srarl");
    assert_int_equal(awaited_offset, SAGA_OFFSET);
    assert_int_equal(row.outcome.status, TW_SUCCEEDED);
}

static void await_end__waits_for_a_command_without_a_row_too(void **state)
{
    struct tw_ledger_row row = {0};

    (void)state;
    given_no_row();
    given_row(TW_REJECTED, 409);
    assert_int_equal(await_end(&row), TW_OK);
    assert_string_equal(steps, "srarl");
    assert_int_equal(row.outcome.http_status, 409);
}

static void await_end__does_not_wait_for_what_ended_before_it_sat_down(void **state)
{
    struct tw_ledger_row row = {0};

    (void)state;
    given_row(TW_SUCCEEDED, 200);
    assert_int_equal(await_end(&row), TW_OK);
    assert_string_equal(steps, "srl");
}

static void await_end__without_a_free_seat_tells_what_the_ledger_has(void **state)
{
    struct tw_ledger_row row = {0};

    (void)state;
    seat_is_free = false;
    given_row(TW_PENDING, 202);
    assert_int_equal(await_end(&row), TW_OK);
    assert_string_equal(steps, "sr");
    assert_int_equal(row.outcome.status, TW_PENDING);
}

/* --- repeats of a keyed saga -------------------------------------------------------------------------------------- */

static void repeat_of_a_saga__is_accepted_again_without_a_second_record(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_change_email_type);

    (void)state;
    given_fields("k", NULL);
    given_row(TW_PENDING, 202);
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_string_equal(steps, "r");
    assert_int_equal(reply.status, 202);
    assert_true(has_field("Idempotent-Replayed: true\r\n"));
}

static void repeat_of_a_saga__waits_for_its_end_when_asked_to(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_change_email_type);

    (void)state;
    given_fields("k", "wait=5");
    given_row(TW_PENDING, 202);
    given_row(TW_PENDING, 202);
    given_row(TW_SUCCEEDED, 200);
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_string_equal(steps, "rsrarl");
    assert_int_equal(awaited_offset, SAGA_OFFSET);
    assert_int_equal(reply.status, 200);
    assert_str(tw_buf_str(&reply.body), "{\"shown\":true}");
    assert_true(has_field("Preference-Applied: wait=5\r\n"));
    assert_true(has_field("Idempotent-Replayed: true\r\n"));
}

static void repeat_of_a_saga__that_does_not_end_in_time_is_accepted(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_change_email_type);

    (void)state;
    given_fields("k", "wait=5");
    given_row(TW_PENDING, 202);
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_string_equal(steps, "rsrarl");
    assert_int_equal(reply.status, 202);
    assert_false(has_field("Preference-Applied"));
    assert_true(has_field("Idempotent-Replayed: true\r\n"));
}

/* Two requests with one key at once: both find no row and send; of the second record nothing is ever told. */
static void record_that_repeats_a_saga__is_answered_from_the_ledger_in_the_end(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    given_fields("k", "wait=5");
    given_no_row();
    given_row(TW_SUCCEEDED, 200);
    assert_true(tw_command_prepare(&request, &submission, &reply));
    submit_deactivate(&submission);
    assert_string_equal(steps, "rsparl");
    assert_int_equal(awaited_offset, SENT_OFFSET);
    assert_int_equal(reply.status, 200);
    assert_true(has_field("Idempotent-Replayed: true\r\n"));
}

static void record_that_is_not_told_of__is_accepted_while_its_saga_goes_on(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    given_fields("k", "wait=5");
    given_no_row();
    given_row(TW_PENDING, 202);
    assert_true(tw_command_prepare(&request, &submission, &reply));
    submit_deactivate(&submission);
    assert_int_equal(reply.status, 202);
    assert_false(has_field("Idempotent-Replayed"));
}

/* The store may not have swept it yet, and by the partition's clock the key may still be taken: the worker says. */
static void key_of_the_day_before__is_answered_by_the_worker(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    given_fields("k", NULL);
    given_row(TW_SUCCEEDED, 200);
    rows[0].at_ms = tw_now_ms() - TW_LEDGER_LIFE_MS + 60000;
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_true(has_field("Idempotent-Replayed: true\r\n"));
    tw_reply_reset(&reply);
    rows[0].at_ms = tw_now_ms() - TW_LEDGER_LIFE_MS;
    assert_true(tw_command_prepare(&request, &submission, &reply));
    submit_deactivate(&submission);
    assert_string_equal(steps, "rrp");
    assert_int_equal(reply.status, 202);
    assert_false(has_field("Idempotent-Replayed"));
}

/* --- conditions and new things ------------------------------------------------------------------------------------ */

static void if_match__goes_into_the_command(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    request.fields[TW_HEADER_IF_MATCH] = TW_STR("\"12.00\"");
    assert_true(tw_command_prepare(&request, &submission, &reply));
    submit_deactivate(&submission);
    assert_string_equal(if_version_sent, "12");
    assert_int_equal(reply.status, 202);
}

static void command__without_a_condition_says_nothing_of_versions(void **state)
{
    struct tw_submission plain = submission_of(&tw_member_deactivate_type);
    struct tw_submission any = plain;
    struct tw_submission untagged = plain;

    (void)state;
    untagged.has_etag = false;
    assert_true(tw_command_prepare(&request, &plain, &reply));
    submit_deactivate(&plain);
    assert_string_equal(if_version_sent, "");
    request.fields[TW_HEADER_IF_MATCH] = TW_STR("*");
    assert_true(tw_command_prepare(&request, &any, &reply));
    submit_deactivate(&any);
    assert_string_equal(if_version_sent, "");
    request.fields[TW_HEADER_IF_MATCH] = TW_STR("\"12.00\"");
    assert_true(tw_command_prepare(&request, &untagged, &reply));
    submit_deactivate(&untagged);
    assert_string_equal(if_version_sent, "");
}

static void if_match__that_nothing_can_fit_is_a_412_at_once(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    request.fields[TW_HEADER_IF_MATCH] = TW_STR("\"of another server\"");
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_int_equal(reply.status, 412);
    assert_string_equal(steps, "");
}

static void if_none_match__of_a_write_is_refused_and_not_passed_over(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_deactivate_type);

    (void)state;
    request.fields[TW_HEADER_IF_NONE_MATCH] = TW_STR("*");
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_int_equal(reply.status, 400);
    assert_string_equal(steps, "");
}

static void new_thing__is_named_before_a_repeat_is_answered(void **state)
{
    struct tw_submission submission = submission_of(&tw_member_add_address_type);
    char                 path[TW_UUID_TEXT + 16] = "/folder/";

    (void)state;
    submission.resource = TW_STR("/folder");
    submission.new_item = "address";
    given_fields("k", "wait=5");
    given_row(TW_SUCCEEDED, 201);
    assert_false(tw_command_prepare(&request, &submission, &reply));
    assert_int_equal(reply.status, 201);
    assert_false(tw_uuid_is_nil(submission.item));
    assert_true(tw_uuid_eq(submission.item, tw_derived_id(submission.id, submission.aggregate, "address")));
    tw_uuid_format(submission.item, path + strlen("/folder/"));
    assert_str(submission.resource, path);
    assert_true(has_field("Location: /folder/"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(await_end__sits_down_before_it_reads_the_ledger),
        TEST(await_end__waits_for_a_command_without_a_row_too),
        TEST(await_end__does_not_wait_for_what_ended_before_it_sat_down),
        TEST(await_end__without_a_free_seat_tells_what_the_ledger_has),
        TEST(repeat_of_a_saga__is_accepted_again_without_a_second_record),
        TEST(repeat_of_a_saga__waits_for_its_end_when_asked_to),
        TEST(repeat_of_a_saga__that_does_not_end_in_time_is_accepted),
        TEST(record_that_repeats_a_saga__is_answered_from_the_ledger_in_the_end),
        TEST(record_that_is_not_told_of__is_accepted_while_its_saga_goes_on),
        TEST(key_of_the_day_before__is_answered_by_the_worker),
        TEST(if_match__goes_into_the_command),
        TEST(command__without_a_condition_says_nothing_of_versions),
        TEST(if_match__that_nothing_can_fit_is_a_412_at_once),
        TEST(if_none_match__of_a_write_is_refused_and_not_passed_over),
        TEST(new_thing__is_named_before_a_repeat_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
