#include "auth/revocations.h"

#include <pthread.h>
#include <string.h>

#include "unit.h"

#define NOW INT64_C(1795432108000)

static struct tw_revocations *revocations;

static int setup(void **state)
{
    (void)state;
    revocations = tw_revocations_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_revocations_free(revocations);
    return 0;
}

static struct tw_uuid id_of(uint32_t number)
{
    struct tw_uuid id = {{1}};

    memcpy(id.bytes + 12, &number, sizeof(number));
    return id;
}

static void revoked_token__is_found_and_no_other(void **state)
{
    (void)state;
    assert_false(tw_revocations_has(revocations, id_of(1)));
    tw_revocations_add(revocations, id_of(1), NOW + 1000, NOW);
    tw_revocations_add(revocations, id_of(1), NOW + 1000, NOW); /* events repeat */
    assert_true(tw_revocations_has(revocations, id_of(1)));
    assert_false(tw_revocations_has(revocations, id_of(2)));
    assert_false(tw_revocations_has(revocations, tw_uuid_nil));
    assert_int_equal(tw_revocations_count(revocations), 1);
}

static void nil_id__takes_no_place(void **state)
{
    (void)state;
    tw_revocations_add(revocations, tw_uuid_nil, NOW + 1000, NOW);
    assert_int_equal(tw_revocations_count(revocations), 0);
    assert_false(tw_revocations_has(revocations, tw_uuid_nil));
}

static void set__grows_with_what_is_live(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20000; i++)
        tw_revocations_add(revocations, id_of(i), NOW + 1000, NOW);
    assert_int_equal(tw_revocations_count(revocations), 20000);
    for (uint32_t i = 0; i < 20000; i++) {
        assert_true(tw_revocations_has(revocations, id_of(i)));
        assert_false(tw_revocations_has(revocations, id_of(100000 + i)));
    }
}

static void entry__stays_as_long_as_a_verifier_may_take_the_token(void **state)
{
    (void)state;
    tw_revocations_add(revocations, id_of(1), NOW, NOW);
    for (uint32_t i = 0; i < 1000; i++) /* has it built anew */
        tw_revocations_add(revocations, id_of(10 + i), NOW + 900000, NOW + TW_REVOCATION_LEEWAY_MS - 1);
    assert_true(tw_revocations_has(revocations, id_of(1)));
    tw_revocations_add(revocations, id_of(2), NOW + 900000, NOW + 2 * TW_REVOCATION_LEEWAY_MS);
    assert_false(tw_revocations_has(revocations, id_of(1)));
}

static void expired_entries__go(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 100; round++) {
        int64_t now = NOW + round * INT64_C(600000);

        for (uint32_t i = 0; i < 1000; i++)
            tw_revocations_add(revocations, id_of(1000 * round + i), now + 500000, now);
        assert_true(tw_revocations_count(revocations) <= 2000);
    }
}

static void token_that_has_ended__is_not_kept_at_all(void **state)
{
    (void)state;
    tw_revocations_add(revocations, id_of(1), NOW - TW_REVOCATION_LEEWAY_MS, NOW);
    assert_int_equal(tw_revocations_count(revocations), 0);
}

static void *add_many(void *unused)
{
    for (uint32_t i = 0; i < 5000; i++)
        tw_revocations_add(revocations, id_of(i), NOW + 1000, NOW);
    return unused;
}

static void entry__is_found_while_the_set_is_built_anew(void **state)
{
    pthread_t thread;

    (void)state;
    tw_revocations_add(revocations, id_of(99999), NOW + 1000, NOW);
    assert_int_equal(pthread_create(&thread, NULL, add_many, NULL), 0);
    for (int i = 0; i < 20000; i++)
        assert_true(tw_revocations_has(revocations, id_of(99999)));
    pthread_join(thread, NULL);
    assert_int_equal(tw_revocations_count(revocations), 5001);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(revoked_token__is_found_and_no_other),
        TEST(nil_id__takes_no_place),
        TEST(set__grows_with_what_is_live),
        TEST(entry__stays_as_long_as_a_verifier_may_take_the_token),
        TEST(expired_entries__go),
        TEST(token_that_has_ended__is_not_kept_at_all),
        TEST(entry__is_found_while_the_set_is_built_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
