/* Links: tw_edge */
#include "auth/key_ring.h"

#include <pthread.h>
#include <stdlib.h>

#include "unit.h"

#define OLD_KEY "old:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define NEW_KEY "new:202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n"

enum { NOW_S = 1800000000, SIGNERS = 3, TOKENS = 200, ROTATIONS = 200 };

static struct tw_key_ring *ring;

static struct tw_token_keys keys_of(const char *text)
{
    struct tw_token_keys keys;

    assert_int_equal(tw_token_keys_parse(TW_TOKEN_HS256, tw_str_of(text), &keys, NULL), TW_OK);
    return keys;
}

static void put_in_force(const char *text)
{
    struct tw_token_keys keys = keys_of(text);

    tw_key_ring_replace(ring, &keys);
}

static int setup(void **state)
{
    struct tw_token_keys keys = keys_of(OLD_KEY);

    (void)state;
    ring = tw_key_ring_new(&keys, "tillwire", "api");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_key_ring_free(ring);
    return 0;
}

static char *sign(void)
{
    static const struct tw_token_claims claims = {
        .subject = {{3}}, .token_id = {{7}}, .issued_s = NOW_S, .expires_s = NOW_S + 600};
    char *token = NULL;

    return tw_key_ring_sign(ring, &claims, &token, NULL) == TW_OK ? token : NULL;
}

static enum tw_rc verify(const char *token)
{
    struct tw_token_claims claims;
    unsigned               generation = 0;

    return tw_key_ring_verify(ring, tw_str_of(token), NOW_S, &claims, &generation, NULL);
}

static void the_new_first_key__signs_and_all_verify(void **state)
{
    char *by_old = sign();

    (void)state;
    put_in_force(NEW_KEY OLD_KEY);
    char *by_new = sign();
    assert_int_equal(verify(by_old), TW_OK);
    assert_int_equal(verify(by_new), TW_OK);
    put_in_force(NEW_KEY);
    assert_int_equal(verify(by_old), TW_INVALID);
    assert_int_equal(verify(by_new), TW_OK);
    put_in_force(OLD_KEY);
    assert_int_equal(verify(by_old), TW_OK);
    assert_int_equal(verify(by_new), TW_INVALID);
    free(by_old);
    free(by_new);
}

static void every_replacement__is_a_new_generation(void **state)
{
    struct tw_token_claims claims;
    unsigned               first = tw_key_ring_generation(ring);
    unsigned               asked = 0;

    (void)state;
    assert_true(first > 0);
    put_in_force(OLD_KEY);
    assert_int_equal(tw_key_ring_generation(ring), first + 1);
    assert_int_equal(tw_key_ring_verify(ring, TW_STR("nonsense"), NOW_S, &claims, &asked, NULL), TW_INVALID);
    assert_int_equal(asked, first + 1);
}

static void secrets__have_no_public_half_to_show(void **state)
{
    struct tw_buf text = {0};

    (void)state;
    assert_false(tw_key_ring_jwks(ring, &text));
    assert_int_equal(text.len, 0);
    tw_buf_done(&text);
}

static void *sign_and_verify(void *unused)
{
    intptr_t refused = 0;

    (void)unused;
    for (int i = 0; i < TOKENS; i++) {
        char *token = sign();
        refused += !token || verify(token) != TW_OK;
        free(token);
    }
    return (void *)refused; /* NOLINT: a number on its way out of a thread */
}

static void rotation_under_way__refuses_nobody_whose_key_stays(void **state)
{
    pthread_t            threads[SIGNERS];
    struct tw_token_keys old_first = keys_of(OLD_KEY NEW_KEY);
    struct tw_token_keys new_first = keys_of(NEW_KEY OLD_KEY);

    (void)state;
    tw_key_ring_replace(ring, &new_first);
    for (size_t i = 0; i < SIGNERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_and_verify, NULL), 0);
    for (int i = 0; i < ROTATIONS; i++)
        tw_key_ring_replace(ring, i % 2 ? &old_first : &new_first);
    for (size_t i = 0; i < SIGNERS; i++) {
        void *refused = NULL;
        pthread_join(threads[i], &refused);
        assert_null(refused);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_new_first_key__signs_and_all_verify),
        TEST(every_replacement__is_a_new_generation),
        TEST(secrets__have_no_public_half_to_show),
        TEST(rotation_under_way__refuses_nobody_whose_key_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
