/* Consistency-Token on reads, with stores and seats of our own: the linker takes these and leaves the library's out. */
#include "own_writes.h"

#include <stdio.h>
#include <string.h>

#include "submission_parts.h"
#include "tillwire/clock.h"
#include "unit.h"

/* What happens, in order: 'l' a watermark is looked at, 's' a seat is taken, 'a' somebody waits, 'e' the seat is left. */
static char       steps[64];
static enum tw_rc looked; /* what a look says */
static enum tw_rc awaited;
static bool       seat_is_free;
static int64_t    waited_s; /* how long somebody would have */
static int64_t    last_offset;

static struct tw_edge    edge = {.opaque_key = {1, 2, 3}};
static struct tw_arena   arena;
static struct tw_reply   reply;
static struct tw_request request;

static void step(char what)
{
    size_t len = strlen(steps);

    assert_true(len + 1 < sizeof(steps));
    steps[len] = what;
}

enum tw_rc tw_watermarks_look(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                              int64_t offset, struct tw_err *reterr)
{
    (void)watermarks, (void)domain, (void)partition, (void)reterr;
    step('l');
    last_offset = offset;
    return looked;
}

enum tw_rc tw_watermarks_await(struct tw_watermarks *watermarks, enum tw_domain_number domain, int32_t partition,
                               int64_t offset, int64_t until_us, struct tw_err *reterr)
{
    (void)watermarks, (void)domain, (void)partition, (void)offset, (void)reterr;
    step('a');
    waited_s = (until_us - tw_monotonic_us() + 500000) / 1000000;
    return awaited;
}

struct tw_seat *tw_tail_sit(struct tw_tail *tail, struct tw_uuid command_id)
{
    static int seat;

    (void)tail;
    assert_true(tw_uuid_is_nil(command_id));
    step('s');
    return seat_is_free ? (struct tw_seat *)&seat : NULL;
}

void tw_tail_leave(struct tw_tail *tail, struct tw_seat *seat)
{
    (void)tail;
    if (seat)
        step('e');
}

int64_t tw_request_until_us(const struct tw_request *asked)
{
    return asked->start_us + 9000000;
}

static int setup(void **state)
{
    (void)state;
    memset(steps, 0, sizeof(steps));
    looked = TW_OK;
    awaited = TW_OK;
    seat_is_free = true;
    waited_s = -1;
    tw_reply_reset(&reply);
    tw_reply_json(&reply, 200);
    request = (struct tw_request){.edge = &edge, .arena = &arena, .method = TW_METHOD_GET};
    request.start_us = tw_monotonic_us();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_reply_done(&reply);
    tw_arena_done(&arena);
    return 0;
}

static const char *token(enum tw_domain_number domain, int32_t partition, int64_t offset)
{
    struct tw_consistency consistency = {domain, partition, offset};
    char                  text[TW_CONSISTENCY_TEXT + 1];

    tw_consistency_seal(edge.opaque_key, &consistency, text);
    return tw_arena_printf(&arena, "%s", text).ptr;
}

static void given_tokens(const char *text)
{
    request.fields[TW_HEADER_CONSISTENCY_TOKEN] = tw_arena_copy(&arena, tw_str_of(text));
}

static bool heed(void)
{
    return tw_own_writes_heed(&request, TW_DOMAIN_CART, &reply);
}

static bool reply_has(const char *line)
{
    struct tw_buf out = {0};

    tw_reply_render(&reply, "Mon, 23 Nov 2026 10:00:00 GMT", false, false, &out);
    bool found = memmem(out.ptr, out.len, line, strlen(line)) != NULL;
    tw_buf_done(&out);
    return found;
}

static void read_without_a_token__asks_nothing(void **state)
{
    (void)state;
    assert_true(heed());
    assert_string_equal(steps, "");
    assert_false(reply_has("Consistency: stale\r\n"));
}

static void write_that_can_be_read__costs_no_seat(void **state)
{
    (void)state;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    assert_true(heed());
    assert_string_equal(steps, "l");
    assert_int_equal(last_offset, 77);
    assert_false(reply.is_stale);
}

static void write_on_its_way__is_waited_for_a_second_in_a_seat(void **state)
{
    (void)state;
    looked = TW_NOT_FOUND;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    assert_true(heed());
    assert_string_equal(steps, "lsae");
    assert_int_equal(waited_s, 1);
    assert_false(reply.is_stale);
    assert_false(reply_has("Preference-Applied"));
}

static void preference__says_how_long(void **state)
{
    (void)state;
    looked = TW_NOT_FOUND;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    request.fields[TW_HEADER_PREFER] = TW_STR("wait=7");
    assert_true(heed());
    assert_int_equal(waited_s, 7);
    assert_true(reply_has("Preference-Applied: wait=7\r\n"));
    request.fields[TW_HEADER_PREFER] = TW_STR("wait=10");
    assert_true(heed());
    assert_int_equal(waited_s, 9); /* no request takes longer */
    request.fields[TW_HEADER_PREFER] = TW_STR("wait=0");
    memset(steps, 0, sizeof(steps));
    assert_true(heed());
    assert_string_equal(steps, "l");
    assert_true(reply.is_stale);
}

static void late_write__is_told_and_no_cache_keeps_the_answer(void **state)
{
    (void)state;
    looked = awaited = TW_NOT_FOUND;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    reply.cache = TW_CACHE_PUBLIC;
    assert_true(reply_has("Cache-Control: public, max-age=30\r\n"));
    assert_true(heed());
    assert_true(reply_has("Consistency: stale\r\n"));
    assert_true(reply_has("Cache-Control: no-store\r\n"));
    tw_reply_not_modified(&reply);
    assert_true(reply_has("Consistency: stale\r\n"));
}

static void no_free_seat__means_no_waiting(void **state)
{
    (void)state;
    looked = TW_NOT_FOUND;
    seat_is_free = false;
    request.fields[TW_HEADER_PREFER] = TW_STR("wait=7");
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    assert_true(heed());
    assert_string_equal(steps, "ls");
    assert_true(reply.is_stale);
    assert_false(reply_has("Preference-Applied"));
}

static void store_that_is_away__is_not_waited_for(void **state)
{
    (void)state;
    looked = TW_UNREACHED;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    assert_true(heed());
    assert_string_equal(steps, "l");
    assert_true(reply.is_stale);
}

static void write_of_another_domain__is_no_reason_to_wait(void **state)
{
    (void)state;
    looked = TW_NOT_FOUND;
    given_tokens(token(TW_DOMAIN_MEMBER, 3, 77));
    assert_true(heed());
    assert_string_equal(steps, "");
    assert_false(reply.is_stale);
}

static void several_tokens__are_all_waited_for_in_one_seat(void **state)
{
    (void)state;
    looked = TW_NOT_FOUND;
    given_tokens(tw_arena_printf(&arena, " %s,%s ,, %s, %s", token(TW_DOMAIN_CART, 0, 1),
                                 token(TW_DOMAIN_PRODUCT, 0, 2), token(TW_DOMAIN_CART, 1, 3),
                                 token(TW_DOMAIN_CART, 1, 4))
                     .ptr);
    assert_true(heed());
    assert_string_equal(steps, "lsalalae");
    assert_int_equal(last_offset, 4);
}

static void what_we_did_not_give__is_refused(void **state)
{
    struct tw_consistency other = {TW_DOMAIN_CART, 1, 1};
    char                  foreign[TW_CONSISTENCY_TEXT + 1];
    uint8_t               other_key[TW_OPAQUE_KEY_BYTES] = {9};
    char                  changed[TW_CONSISTENCY_TEXT + 1];

    (void)state;
    tw_consistency_seal(other_key, &other, foreign);
    memcpy(changed, token(TW_DOMAIN_CART, 1, 1), sizeof(changed));
    changed[8] = changed[8] == 'A' ? 'B' : 'A';
    const char *wrong[] = {
        "",
        " , ",
        "x",
        foreign,
        changed,
        token(TW_DOMAIN_CART, 60000, 1),
        token((enum tw_domain_number)9, 0, 1),
        tw_arena_printf(&arena, "%s, x", token(TW_DOMAIN_CART, 1, 1)).ptr,
        tw_arena_printf(&arena, "%sA", token(TW_DOMAIN_CART, 1, 1)).ptr,
    };
    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        reply.status = 0;
        given_tokens(wrong[i]);
        assert_false(heed());
        assert_int_equal(reply.status, 400);
        assert_string_equal(steps, "");
    }
}

static void a_hundred_tokens__are_enough(void **state)
{
    struct tw_buf text = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        tw_buf_printf(&text, "%s, ", token(TW_DOMAIN_MEMBER, 0, i));
    given_tokens(tw_arena_printf(&arena, "%.*s", TW_STR_ARG(tw_buf_str(&text))).ptr);
    assert_true(heed());
    tw_buf_printf(&text, "%s", token(TW_DOMAIN_MEMBER, 0, 100));
    given_tokens(tw_arena_printf(&arena, "%.*s", TW_STR_ARG(tw_buf_str(&text))).ptr);
    assert_false(heed());
    tw_buf_done(&text);
}

static void head__waits_like_get_and_writes_do_not(void **state)
{
    (void)state;
    given_tokens(token(TW_DOMAIN_CART, 3, 77));
    request.method = TW_METHOD_PUT;
    assert_true(heed());
    assert_string_equal(steps, "");
    request.method = TW_METHOD_HEAD;
    assert_true(heed());
    assert_string_equal(steps, "l");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(read_without_a_token__asks_nothing),
        TEST(write_that_can_be_read__costs_no_seat),
        TEST(write_on_its_way__is_waited_for_a_second_in_a_seat),
        TEST(preference__says_how_long),
        TEST(late_write__is_told_and_no_cache_keeps_the_answer),
        TEST(no_free_seat__means_no_waiting),
        TEST(store_that_is_away__is_not_waited_for),
        TEST(write_of_another_domain__is_no_reason_to_wait),
        TEST(several_tokens__are_all_waited_for_in_one_seat),
        TEST(what_we_did_not_give__is_refused),
        TEST(a_hundred_tokens__are_enough),
        TEST(head__waits_like_get_and_writes_do_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
