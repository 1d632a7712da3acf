/* Who is let in while the tail is fresh, stale, or the table is away. The tail's word and the rows are ours: the linker
 * takes these and leaves the library's out. */
#include "auth/caller.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/revocations.h"
#include "stores/sessions.h"
#include "tail.h"
#include "tillwire/clock.h"
#include "unit.h"

static bool       is_fresh;
static enum tw_rc row; /* what the table says of every token */
static int        rows_read;

bool tw_tail_is_fresh(const struct tw_tail *tail)
{
    (void)tail;
    return is_fresh;
}

enum tw_rc tw_sessions_token_counts(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid member_id,
                                    struct tw_err *reterr)
{
    (void)sessions, (void)token_id, (void)member_id;
    rows_read++;
    return row == TW_OK ? TW_OK : tw_fail(reterr, row, "test", 0, "as the test wants it");
}

static struct tw_token_keys   keys;
static struct tw_token_rules  rules = {&keys, "tillwire", "api"};
static struct tw_key_ring    *ring;
static struct tw_revocations *revocations;
static struct tw_callers     *callers;
static struct tw_arena        arena;
static char                  *token;
static const struct tw_uuid   member_id = {{3}};
static const struct tw_uuid   token_id = {{7}};

static int setup(void **state)
{
    int64_t                now_s = tw_now_ms() / 1000;
    struct tw_token_claims claims = {
        .subject = member_id, .token_id = token_id, .issued_s = now_s, .expires_s = now_s + 600};

    (void)state;
    is_fresh = true;
    row = TW_OK;
    rows_read = 0;
    revocations = tw_revocations_new();
    ring = tw_key_ring_new(&keys, "tillwire", "api");
    callers = tw_callers_new(&(struct tw_callers_parts){ring, revocations, NULL, NULL});
    return tw_token_sign(&rules, &claims, &token, NULL) == TW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(token);
    tw_callers_free(callers);
    tw_key_ring_free(ring);
    tw_revocations_free(revocations);
    tw_arena_done(&arena);
    return 0;
}

static enum tw_rc identify(void)
{
    struct tw_buf     field = {0};
    struct tw_request request = {.arena = &arena};
    struct tw_caller  caller = {0};

    tw_buf_printf(&field, "bearer %s", token);
    request.fields[TW_HEADER_AUTHORIZATION] = tw_buf_str(&field);
    enum tw_rc rc = tw_callers_identify(callers, &request, &caller, NULL);
    tw_buf_done(&field);
    assert_true(rc != TW_OK || (caller.known && tw_uuid_eq(caller.member_id, member_id)));
    return rc;
}

static void revoke_it(void)
{
    tw_revocations_add(revocations, token_id, tw_now_ms() + 600000, tw_now_ms());
}

static void fresh_tail__needs_no_row(void **state)
{
    (void)state;
    row = TW_UNREACHED;
    for (int i = 0; i < 10; i++)
        assert_int_equal(identify(), TW_OK);
    assert_int_equal(rows_read, 0);
}

static void revoked_token__is_refused_at_once_whatever_was_remembered(void **state)
{
    (void)state;
    assert_int_equal(identify(), TW_OK);
    revoke_it();
    assert_int_equal(identify(), TW_INVALID);
    is_fresh = false;
    assert_int_equal(identify(), TW_INVALID);
    assert_int_equal(rows_read, 0);
}

static void stale_tail__asks_the_row_once_a_second(void **state)
{
    int64_t start_us = tw_monotonic_us();

    (void)state;
    is_fresh = false;
    for (int i = 0; i < 10; i++)
        assert_int_equal(identify(), TW_OK);
    assert_in_range(rows_read, 1, 1 + (tw_monotonic_us() - start_us) / 1000000);
    rows_read = 1;
    usleep(1050000);
    row = TW_NOT_FOUND;
    assert_int_equal(identify(), TW_INVALID);
    assert_int_equal(rows_read, 2);
}

static void stale_tail__refuses_what_its_row_does_not_let_in(void **state)
{
    (void)state;
    assert_int_equal(identify(), TW_OK); /* remembered without a row */
    is_fresh = false;
    row = TW_NOT_FOUND;
    assert_int_equal(identify(), TW_INVALID);
    assert_int_equal(identify(), TW_INVALID);
}

static void stale_tail_and_no_table__cannot_tell(void **state)
{
    (void)state;
    is_fresh = false;
    row = TW_UNREACHED;
    assert_int_equal(identify(), TW_UNREACHED);
    is_fresh = true;
    assert_int_equal(identify(), TW_OK);
}

static void bad_token__is_refused_without_asking_anybody(void **state)
{
    (void)state;
    is_fresh = false;
    token[strlen(token) - 1] ^= 1;
    assert_int_equal(identify(), TW_INVALID);
    assert_int_equal(rows_read, 0);
}

#define OLD_KEY "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define NEW_KEY "k2:202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"

static void put_in_force(const char *text)
{
    struct tw_token_keys others;

    assert_int_equal(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(text), &others, NULL), TW_OK);
    tw_key_ring_replace(ring, &others);
}

static void rotation__lets_old_tokens_in_while_their_key_is_there(void **state)
{
    (void)state;
    assert_int_equal(identify(), TW_OK);
    put_in_force(NEW_KEY OLD_KEY);
    assert_int_equal(identify(), TW_OK);
    put_in_force(NEW_KEY);
    assert_int_equal(identify(), TW_INVALID);
    assert_int_equal(identify(), TW_INVALID);
    put_in_force(OLD_KEY);
    assert_int_equal(identify(), TW_OK);
}

static int read_keys(void **state)
{
    (void)state;
    return (int)tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(OLD_KEY), &keys, NULL);
}

static enum tw_rc recheck(void)
{
    return tw_callers_recheck(callers, token_id, member_id, NULL);
}

/** Of a stream, which outlives its request. */
static void caller_that_stays__is_looked_at_like_one_that_comes(void **state)
{
    (void)state;
    assert_int_equal(recheck(), TW_OK);
    assert_int_equal(rows_read, 0);
    is_fresh = false;
    assert_int_equal(recheck(), TW_OK);
    row = TW_NOT_FOUND;
    assert_int_equal(recheck(), TW_INVALID);
    row = TW_UNREACHED;
    assert_int_equal(recheck(), TW_UNREACHED);
    assert_int_equal(rows_read, 3);
    is_fresh = true;
    revoke_it();
    assert_int_equal(recheck(), TW_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(fresh_tail__needs_no_row),
        TEST(revoked_token__is_refused_at_once_whatever_was_remembered),
        TEST(stale_tail__asks_the_row_once_a_second),
        TEST(stale_tail__refuses_what_its_row_does_not_let_in),
        TEST(stale_tail_and_no_table__cannot_tell),
        TEST(caller_that_stays__is_looked_at_like_one_that_comes),
        TEST(bad_token__is_refused_without_asking_anybody),
        TEST(rotation__lets_old_tokens_in_while_their_key_is_there),
    };

    return cmocka_run_group_tests(tests, read_keys, NULL);
}
