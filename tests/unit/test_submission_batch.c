/* Many commands of one request, with a ledger and a sender of our own: the linker takes these and leaves the library's
 * out. */
#include "submission_batch.h"

#include <string.h>
#include <unistd.h>

#include "submission_parts.h"
#include "tillwire/clock.h"
#include "tillwire/gen/product_messages.h"
#include "unit.h"

enum { COUNT = 5, OWN_LANE = 7, FIRST_LENT = 100, SENT_MAX = 16 };

static int        sent_lanes[SENT_MAX]; /* in the order of begin */
static size_t     sent_count;
static size_t     awaited_count;
static size_t     most_under_way;
static size_t     lanes_to_lend;
static size_t     lanes_out;
static size_t     refused_begin; /* which begin is refused; SIZE_MAX: none */
static enum tw_rc report_rc;     /* of the last report that is awaited */
static size_t     failed_report; /* which report has it */
static size_t     ledger_reads;
static enum tw_rc ledger_rc;
static unsigned   known;             /* a bit for each command that has a row */
static bool       known_differently; /* with another body */
static int64_t    known_ms;          /* when what is known was decided */
static int        report_ms;         /* what a report takes */

static struct tw_edge           edge;
static struct tw_thread         thread = {.lane = OWN_LANE};
static struct tw_arena          arena;
static struct tw_reply          reply;
static struct tw_request        request;
static struct tw_batch_command  commands[COUNT];
static struct tw_product_create bodies[COUNT];

size_t tw_sender_borrow(struct tw_sender *sender, size_t want, int *ret_lanes)
{
    (void)sender;
    lanes_out = want < lanes_to_lend ? want : lanes_to_lend;
    for (size_t i = 0; i < lanes_out; i++)
        ret_lanes[i] = FIRST_LENT + (int)i;
    return lanes_out;
}

void tw_sender_give_back(struct tw_sender *sender, const int *lanes, size_t count)
{
    (void)sender, (void)lanes;
    lanes_out -= count;
}

enum tw_rc tw_sender_begin(struct tw_sender *sender, int lane, const struct tw_send *send, struct tw_err *reterr)
{
    (void)sender, (void)send;
    if (sent_count == refused_begin)
        return tw_fail(reterr, TW_UNREACHED, "test", 0, "the queue is full");
    assert_true(sent_count < SENT_MAX);
    sent_lanes[sent_count++] = lane;
    size_t under_way = sent_count - awaited_count;
    most_under_way = under_way > most_under_way ? under_way : most_under_way;
    return TW_OK;
}

enum tw_rc tw_sender_await(struct tw_sender *sender, int lane, int timeout_ms, int64_t *ret_offset,
                           struct tw_err *reterr)
{
    (void)sender;
    assert_in_range(timeout_ms, 0, 2000);
    assert_int_equal(lane, sent_lanes[awaited_count]);
    usleep(1000 * (useconds_t)(report_ms < timeout_ms ? report_ms : timeout_ms));
    if (report_ms > timeout_ms) {
        awaited_count++;
        return tw_fail(reterr, TW_UNKNOWN, "test", 0, "no report in time");
    }
    if (awaited_count++ == failed_report)
        return tw_fail(reterr, report_rc, "test", 0, "no report");
    *ret_offset = 40 + (int64_t)awaited_count;
    return TW_OK;
}

/** Of one command; a batch asks for all at once. */
enum tw_rc tw_products_ledger(struct tw_products *products, struct tw_uuid command_id, struct tw_arena *from_arena,
                              struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    (void)products, (void)command_id, (void)from_arena, (void)ret_row;
    fail();
    return tw_fail(reterr, TW_NOT_FOUND, "test", 0, "no row");
}

enum tw_rc tw_products_ledgers(struct tw_products *products, const struct tw_uuid *command_ids, size_t count,
                               struct tw_arena *from_arena, const struct tw_ledger_row **ret_rows,
                               struct tw_err *reterr)
{
    (void)products;
    ledger_reads++;
    if (ledger_rc != TW_OK)
        return tw_fail(reterr, ledger_rc, "test", 0, "no answer");
    for (size_t i = 0; i < count; i++) {
        struct tw_ledger_row *row = TW_NEW(from_arena, struct tw_ledger_row);

        assert_true(tw_uuid_eq(command_ids[i], commands[i].submission.id));
        *row = (struct tw_ledger_row){.offset = 9, .at_ms = known_ms, .outcome = {.status = TW_SUCCEEDED}};
        memcpy(row->fingerprint, commands[0].submission.fingerprint, sizeof(row->fingerprint));
        row->fingerprint[0] ^= known_differently;
        ret_rows[i] = known >> i & 1 ? row : NULL;
    }
    return TW_OK;
}

static int setup(void **state)
{
    (void)state;
    sent_count = awaited_count = most_under_way = ledger_reads = lanes_out = 0;
    lanes_to_lend = COUNT;
    refused_begin = failed_report = SIZE_MAX;
    report_rc = TW_OK;
    ledger_rc = TW_OK;
    known = 0;
    report_ms = 0;
    known_differently = false;
    known_ms = tw_now_ms();
    edge.recent = tw_recent_new();
    tw_reply_reset(&reply);
    request = (struct tw_request){
        .edge = &edge,
        .thread = &thread,
        .arena = &arena,
        .method = TW_METHOD_POST,
        .path = TW_STR("/v1/products:batch"),
        .body = TW_STR("{}"),
        .start_us = tw_monotonic_us(),
    };
    memset(request.traceparent, '0', 55);
    for (int i = 0; i < COUNT; i++) {
        struct tw_str sku = tw_arena_printf(&arena, "SKU-%d", i);
        bodies[i] = (struct tw_product_create){.product_id = tw_product_id_of_sku(sku), .sku = sku};
        commands[i] = (struct tw_batch_command){
            .submission = {.type = &tw_product_create_type,
                           .domain = TW_DOMAIN_PRODUCT,
                           .aggregate = bodies[i].product_id,
                           .resource = tw_arena_printf(&arena, "/v1/products/%d", i)},
            .body = &bodies[i],
        };
    }
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

static void submit(void)
{
    tw_batch_submit(&request, commands, COUNT, &reply);
    assert_int_equal(lanes_out, 0);
    assert_int_equal(awaited_count, sent_count);
}

static bool body_has(const char *text)
{
    return memmem(reply.body.ptr, reply.body.len, text, strlen(text)) != NULL;
}

static bool is_replayed(void)
{
    return reply.fields.len > 0 && memmem(reply.fields.ptr, reply.fields.len, "Idempotent-Replayed: true", 25) != NULL;
}

/* The tokens that a reader sends back, opened. */
static size_t read_tokens(struct tw_consistency ret_writes[COUNT])
{
    const char *at = memmem(reply.fields.ptr, reply.fields.len, "Consistency-Token: ", 19);
    size_t      count = 0;

    assert_non_null(at);
    for (at += 19; count < COUNT; at += 2) {
        assert_true(
            tw_consistency_open(edge.opaque_key, (struct tw_str){at, TW_CONSISTENCY_TEXT}, &ret_writes[count++]));
        at += TW_CONSISTENCY_TEXT;
        if (*at == '\r')
            return count;
        assert_memory_equal(at, ", ", 2);
    }
    fail();
    return 0;
}

static void given_key(void)
{
    request.fields[TW_HEADER_IDEMPOTENCY_KEY] = TW_STR("a key");
}

static void commands__go_out_side_by_side(void **state)
{
    (void)state;
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(sent_count, COUNT);
    assert_int_equal(most_under_way, COUNT);
    assert_int_equal(ledger_reads, 0);
    assert_false(is_replayed());
}

static void token_of_a_batch__is_the_last_record_of_each_partition(void **state)
{
    struct tw_consistency writes[COUNT];
    bool                  is_named[COUNT] = {false};

    (void)state;
    submit();
    size_t count = read_tokens(writes);
    for (size_t w = 0; w < count; w++) {
        assert_int_equal(writes[w].domain, TW_DOMAIN_PRODUCT);
        for (size_t i = 0; i < COUNT; i++) { /* reports come in order: 41, 42, ... */
            if (commands[i].submission.partition != writes[w].partition)
                continue;
            assert_false(is_named[i]);
            is_named[i] = true;
            assert_true(41 + (int64_t)i <= writes[w].offset);
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_true(is_named[i]);
}

static void batch_of_the_day_before__is_sent_again(void **state)
{
    (void)state;
    given_key();
    known = (1U << COUNT) - 1;
    known_ms = tw_now_ms() - TW_LEDGER_LIFE_MS;
    submit();
    assert_int_equal(sent_count, COUNT);
    assert_false(is_replayed());
}

static void fewer_lanes__take_more_rounds(void **state)
{
    static const int lanes[] = {FIRST_LENT, FIRST_LENT + 1, FIRST_LENT, FIRST_LENT + 1, FIRST_LENT};

    (void)state;
    lanes_to_lend = 2;
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(most_under_way, 2);
    assert_memory_equal(sent_lanes, lanes, sizeof(lanes));
}

static void no_lane_to_lend__leaves_the_threads_own(void **state)
{
    (void)state;
    lanes_to_lend = 0;
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(most_under_way, 1);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(sent_lanes[i], OWN_LANE);
}

static void refused_first_record__means_that_nothing_was_accepted(void **state)
{
    (void)state;
    refused_begin = 0;
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("\"code\":\"unavailable\""));
    assert_int_equal(sent_count, 0);
}

static void refused_later_record__leaves_open_what_was_accepted(void **state)
{
    (void)state;
    refused_begin = 3;
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("\"code\":\"enqueue-timeout\""));
    assert_int_equal(awaited_count, 3);
    assert_false(body_has("items"));
}

static void failed_report__refuses_all_after_the_others_came(void **state)
{
    (void)state;
    failed_report = 1;
    report_rc = TW_UNKNOWN;
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("\"code\":\"enqueue-timeout\""));
    assert_int_equal(awaited_count, COUNT);
}

static void report_that_says_no__of_a_batch_with_others_leaves_it_open_too(void **state)
{
    (void)state;
    failed_report = 4;
    report_rc = TW_UNREACHED;
    submit();
    assert_true(body_has("\"code\":\"enqueue-timeout\""));
}

static void failed_round__is_the_last(void **state)
{
    (void)state;
    lanes_to_lend = 2;
    failed_report = 1;
    report_rc = TW_UNKNOWN;
    submit();
    assert_int_equal(reply.status, 503);
    assert_int_equal(sent_count, 2);
}

static void same_key__gives_the_same_ids_and_each_index_its_own(void **state)
{
    struct tw_uuid first[COUNT];

    (void)state;
    given_key();
    submit();
    for (size_t i = 0; i < COUNT; i++) {
        first[i] = commands[i].submission.id;
        for (size_t j = 0; j < i; j++)
            assert_false(tw_uuid_eq(first[i], first[j]));
    }
    tw_reply_reset(&reply);
    submit();
    for (size_t i = 0; i < COUNT; i++)
        assert_true(tw_uuid_eq(first[i], commands[i].submission.id));
    assert_int_equal(ledger_reads, 2);
}

static void known_commands__are_not_sent_again(void **state)
{
    (void)state;
    given_key();
    known = 0x1f;
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(sent_count, 0);
    assert_true(is_replayed());
    known = 0x05;
    tw_reply_reset(&reply);
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(sent_count, 3);
    assert_false(is_replayed());
}

static void key_of_another_batch__is_refused_before_anything_is_sent(void **state)
{
    (void)state;
    given_key();
    known = 0x10;
    known_differently = true;
    submit();
    assert_int_equal(reply.status, 422);
    assert_true(body_has("\"code\":\"idempotency-key-reused\""));
    assert_int_equal(sent_count, 0);
}

static void ledger_that_is_away__is_asked_once(void **state)
{
    (void)state;
    given_key();
    ledger_rc = TW_UNREACHED;
    submit();
    assert_int_equal(reply.status, 202);
    assert_int_equal(ledger_reads, 1);
    assert_int_equal(sent_count, COUNT);
}

static void given_time_left(int ms)
{
    request.start_us = tw_monotonic_us() + INT64_C(1000) * ms - INT64_C(12000000);
}

static void slow_reports_on_one_lane__end_with_the_requests_time(void **state)
{
    (void)state;
    lanes_to_lend = 0;
    report_ms = 80; /* each in time; five of them are not */
    given_time_left(200);
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("\"code\":\"enqueue-timeout\""));
    assert_in_range(sent_count, 1, 3);
}

static void time_that_is_over_before_the_first_record__means_that_nothing_was_accepted(void **state)
{
    (void)state;
    given_key();
    given_time_left(0);
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("\"code\":\"unavailable\""));
    assert_true(body_has("nothing was accepted"));
    assert_int_equal(sent_count, 0);
}

static void refused_rest__of_a_batch_that_is_known_in_part_does_not_deny_that_part(void **state)
{
    (void)state;
    given_key();
    known = 0x03;
    refused_begin = 0;
    submit();
    assert_int_equal(reply.status, 503);
    assert_true(body_has("nothing more was accepted"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(commands__go_out_side_by_side),
        TEST(token_of_a_batch__is_the_last_record_of_each_partition),
        TEST(batch_of_the_day_before__is_sent_again),
        TEST(fewer_lanes__take_more_rounds),
        TEST(no_lane_to_lend__leaves_the_threads_own),
        TEST(refused_first_record__means_that_nothing_was_accepted),
        TEST(refused_later_record__leaves_open_what_was_accepted),
        TEST(failed_report__refuses_all_after_the_others_came),
        TEST(report_that_says_no__of_a_batch_with_others_leaves_it_open_too),
        TEST(failed_round__is_the_last),
        TEST(same_key__gives_the_same_ids_and_each_index_its_own),
        TEST(known_commands__are_not_sent_again),
        TEST(key_of_another_batch__is_refused_before_anything_is_sent),
        TEST(ledger_that_is_away__is_asked_once),
        TEST(slow_reports_on_one_lane__end_with_the_requests_time),
        TEST(time_that_is_over_before_the_first_record__means_that_nothing_was_accepted),
        TEST(refused_rest__of_a_batch_that_is_known_in_part_does_not_deny_that_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
