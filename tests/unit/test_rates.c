#include "rates.h"

#include <string.h>

#include "edge.h"
#include "unit.h"

static const char date[] = "Mon, 23 Nov 2026 10:00:00 GMT";

static struct tw_edge_settings settings = {
    .write_limit = {2, 60},
    .read_limit = {3, 60},
    .address_write_limit = {4, 60},
    .address_read_limit = {5, 60},
};
static struct tw_edge    edge = {.settings = &settings};
static struct tw_reply   reply;
static struct tw_buf     out;
static struct tw_request request;

static int setup(void **state)
{
    (void)state;
    edge.limits = tw_limits_new();
    tw_reply_reset(&reply);
    request = (struct tw_request){.edge = &edge, .method = TW_METHOD_POST, .network = TW_STR("192.0.2.1")};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_limits_free(edge.limits);
    tw_reply_done(&reply);
    tw_buf_done(&out);
    return 0;
}

static bool answer_has(const char *line)
{
    tw_buf_clear(&out);
    tw_reply_render(&reply, date, false, false, &out);
    return memmem(out.ptr, out.len, line, strlen(line)) != NULL;
}

/** As for the next request of a connection. */
static bool admitted(void)
{
    tw_reply_reset(&reply);
    return tw_rate_admit(&request, &reply);
}

static void be_member(uint8_t number)
{
    request.caller = (struct tw_caller){.known = true, .scope = ""};
    request.caller.member_id.bytes[15] = number;
}

static void one_too_many__is_a_429_that_says_when_to_come_again(void **state)
{
    static const struct tw_limit three_a_minute = {"test-account", {3, 60}};

    (void)state;
    for (int i = 0; i < 3; i++) {
        tw_reply_reset(&reply);
        assert_true(tw_rate_within(&request, &three_a_minute, TW_STR("ana"), &reply));
    }
    tw_reply_reset(&reply);
    assert_true(tw_rate_within(&request, &three_a_minute, TW_STR("ben"), &reply));
    tw_reply_reset(&reply);
    assert_false(tw_rate_within(&request, &three_a_minute, TW_STR("ana"), &reply));
    assert_int_equal(reply.status, 429);
    assert_true(answer_has("\r\nRetry-After: 20\r\n"));
    assert_true(answer_has("\r\nRateLimit-Policy: \"test-account\";q=3;w=60\r\n"));
    assert_true(answer_has("\r\nRateLimit: \"test-account\";r=0;t=20\r\n"));
}

static void answer__tells_of_every_limit_that_counted(void **state)
{
    static const struct tw_limit account = {"login-account", {5, 60}};

    (void)state;
    assert_true(admitted());
    assert_true(tw_rate_within(&request, &account, TW_STR("ana"), &reply));
    assert_true(answer_has("\r\nRateLimit-Policy: \"writes\";q=4;w=60, \"login-account\";q=5;w=60\r\n"));
    assert_true(answer_has("\r\nRateLimit: \"writes\";r=3;t=15, \"login-account\";r=4;t=12\r\n"));
    tw_reply_reset(&reply);
    assert_false(answer_has("RateLimit"));
}

static void nothing__is_limited_or_told_when_limits_are_off(void **state)
{
    (void)state;
    tw_limits_free(edge.limits);
    edge.limits = NULL;
    for (int i = 0; i < 100; i++)
        assert_true(admitted());
    assert_false(answer_has("RateLimit"));
}

static void members__have_buckets_of_their_own_wherever_they_come_from(void **state)
{
    (void)state;
    be_member(1);
    assert_true(admitted());
    request.network = TW_STR("192.0.2.2");
    assert_true(admitted());
    assert_false(admitted());
    be_member(2);
    assert_true(admitted());
}

static void strangers__are_counted_by_address(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(admitted());
    assert_false(admitted());
    request.network = TW_STR("192.0.2.2");
    assert_true(admitted());
    request.network = TW_STR("192.0.2.1");
    be_member(1);
    assert_true(admitted());
}

static void reads__and_writes_do_not_take_from_each_other(void **state)
{
    static const enum tw_method reads[] = {TW_METHOD_GET, TW_METHOD_HEAD};
    static const enum tw_method writes[] = {TW_METHOD_PUT, TW_METHOD_DELETE};

    (void)state;
    be_member(1);
    for (size_t i = 0; i < 3; i++) {
        request.method = reads[i % 2];
        assert_true(admitted());
        assert_true(answer_has("\"reads\";q=3"));
    }
    assert_false(admitted());
    for (size_t i = 0; i < 2; i++) {
        request.method = writes[i];
        assert_true(admitted());
        assert_true(answer_has("\"writes\";q=2"));
    }
    assert_false(admitted());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_too_many__is_a_429_that_says_when_to_come_again),
        TEST(answer__tells_of_every_limit_that_counted),
        TEST(nothing__is_limited_or_told_when_limits_are_off),
        TEST(members__have_buckets_of_their_own_wherever_they_come_from),
        TEST(strangers__are_counted_by_address),
        TEST(reads__and_writes_do_not_take_from_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
