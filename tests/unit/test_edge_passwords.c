#include "auth/passwords.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "unit.h"

static void password__matches_its_own_hash_only(void **state)
{
    struct tw_passwords *passwords = tw_passwords_new(1, 4);
    char                 hash[TW_PASSWORD_HASH_MAX];
    char                 again[TW_PASSWORD_HASH_MAX];
    bool                 matches = false;

    (void)state;
    assert_int_equal(tw_passwords_hash(passwords, TW_STR("correct horse"), hash, NULL), TW_OK);
    assert_int_equal(strncmp(hash, "$argon2id$v=19$m=65536,t=2,p=1$", 31), 0);
    assert_int_equal(tw_passwords_hash(passwords, TW_STR("correct horse"), again, NULL), TW_OK);
    assert_string_not_equal(hash, again);
    assert_int_equal(tw_passwords_verify(passwords, TW_STR("correct horse"), hash, &matches, NULL), TW_OK);
    assert_true(matches);
    assert_int_equal(tw_passwords_verify(passwords, TW_STR("correct horsf"), hash, &matches, NULL), TW_OK);
    assert_false(matches);
    tw_passwords_free(passwords);
}

static void unknown_account__costs_as_much_and_never_matches(void **state)
{
    struct tw_passwords *passwords = tw_passwords_new(1, 4);
    char                 hash[TW_PASSWORD_HASH_MAX];
    bool                 matches = true;

    (void)state;
    assert_int_equal(tw_passwords_hash(passwords, TW_STR("correct horse"), hash, NULL), TW_OK);
    clock_t start = clock(); /* processor time: whoever else is busy here counts for nothing */
    tw_passwords_verify(passwords, TW_STR("x"), hash, &matches, NULL);
    clock_t known = clock() - start;
    start = clock();
    assert_int_equal(tw_passwords_verify(passwords, TW_STR("no account has this password"), NULL, &matches, NULL),
                     TW_OK);
    clock_t unknown = clock() - start;
    assert_false(matches);
    assert_true(unknown > known / 4); /* a skipped hash would take a thousandth */
    tw_passwords_free(passwords);
}

static bool matches(struct tw_passwords *passwords, struct tw_str password, const char *hash)
{
    bool good = false;

    assert_int_equal(tw_passwords_verify(passwords, password, hash, &good, NULL), TW_OK);
    return good;
}

/** Bytes that C, old crypt() or a careless fold would drop. */
static void every_byte_of_a_password__counts(void **state)
{
    static const char    with_nul[] = "before\0behind";
    struct tw_passwords *passwords = tw_passwords_new(2, 4);
    char                 hash[TW_PASSWORD_HASH_MAX];
    char                 text[128];

    (void)state;
    assert_int_equal(tw_passwords_hash(passwords, (struct tw_str){with_nul, sizeof(with_nul) - 1}, hash, NULL), TW_OK);
    assert_true(matches(passwords, (struct tw_str){with_nul, sizeof(with_nul) - 1}, hash));
    assert_false(matches(passwords, TW_STR("before"), hash));
    assert_false(matches(passwords, (struct tw_str){with_nul, sizeof(with_nul)}, hash));

    memset(text, 'x', sizeof(text));
    assert_int_equal(tw_passwords_hash(passwords, (struct tw_str){text, sizeof(text)}, hash, NULL), TW_OK);
    assert_false(matches(passwords, (struct tw_str){text, sizeof(text) - 1}, hash));
    text[127] = 'y';
    assert_false(matches(passwords, (struct tw_str){text, sizeof(text)}, hash));

    assert_int_equal(tw_passwords_hash(passwords, TW_STR(" P\xc3\xa4ssw\xc3\xb6rd "), hash, NULL), TW_OK);
    assert_false(matches(passwords, TW_STR("P\xc3\xa4ssw\xc3\xb6rd"), hash));     /* blanks stay */
    assert_false(matches(passwords, TW_STR(" Pa\xcc\x88sswo\xcc\x88rd "), hash)); /* not normalised */
    assert_false(matches(passwords, TW_STR(" p\xc3\xa4ssw\xc3\xb6rd "), hash));   /* case */
    tw_passwords_free(passwords);
}

/** Made by Python's cryptography, with OWASP's smaller numbers. */
static void smaller_hash__still_matches_and_is_outdated(void **state)
{
    static const char small[] =
        "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk";
    struct tw_passwords *passwords = tw_passwords_new(1, 4);
    char                 hash[TW_PASSWORD_HASH_MAX];

    (void)state;
    assert_true(matches(passwords, TW_STR("correct horse"), small));
    assert_false(matches(passwords, TW_STR("correct horsf"), small));
    assert_true(tw_password_hash_is_outdated(small));
    assert_int_equal(tw_passwords_hash(passwords, TW_STR("correct horse"), hash, NULL), TW_OK);
    assert_false(tw_password_hash_is_outdated(hash));
    assert_false(tw_password_hash_is_outdated("no hash at all"));
    tw_passwords_free(passwords);
}

static void *hash_one(void *self)
{
    char hash[TW_PASSWORD_HASH_MAX];

    return tw_passwords_hash(self, TW_STR("correct horse"), hash, NULL) == TW_OK ? self : NULL;
}

static void full_queue__refuses(void **state)
{
    enum { CALLERS = 12 };
    struct tw_passwords *passwords = tw_passwords_new(1, 2);
    pthread_t            threads[CALLERS];
    int                  served = 0;

    (void)state;
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_one, passwords), 0);
    for (int i = 0; i < CALLERS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        served += result != NULL;
    }
    assert_true(served >= 2);
    assert_true(served < CALLERS);
    tw_passwords_free(passwords);
}

static void common_password__is_known_in_any_case(void **state)
{
    (void)state;
    assert_true(tw_password_is_common(TW_STR("password1")));
    assert_true(tw_password_is_common(TW_STR("PassWord1")));
    assert_false(tw_password_is_common(TW_STR("password1!x")));
    assert_false(tw_password_is_common(TW_STR("correct horse battery staple")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(password__matches_its_own_hash_only),
        cmocka_unit_test(unknown_account__costs_as_much_and_never_matches),
        cmocka_unit_test(every_byte_of_a_password__counts),
        cmocka_unit_test(smaller_hash__still_matches_and_is_outdated),
        cmocka_unit_test(full_queue__refuses),
        cmocka_unit_test(common_password__is_known_in_any_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
