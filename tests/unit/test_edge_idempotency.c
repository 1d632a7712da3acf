#include "idempotency.h"

#include <pthread.h>
#include <string.h>

#include "unit.h"

static const uint8_t key[TW_IDEMPOTENCY_KEY_BYTES] = {7};

static void fingerprint_of(const char *body, uint8_t fingerprint[TW_FINGERPRINT_BYTES])
{
    tw_fingerprint(key, tw_str_of(body), fingerprint);
}

static bool same(const char *a, const char *b)
{
    uint8_t first[TW_FINGERPRINT_BYTES];
    uint8_t second[TW_FINGERPRINT_BYTES];

    fingerprint_of(a, first);
    fingerprint_of(b, second);
    return memcmp(first, second, sizeof(first)) == 0;
}

static void fingerprint__is_of_what_is_said_not_how(void **state)
{
    (void)state;
    assert_true(same("{\"a\":1,\"b\":\"\\u0041\"}", " { \"b\" : \"A\", \"a\" : 1 } "));
    assert_false(same("{\"a\":1}", "{\"a\":2}"));
    assert_false(same("{\"a\":1}", "{\"a\":\"1\"}"));
    assert_false(same("{\"a\":[1,2]}", "{\"a\":[2,1]}"));
    assert_false(same("", "{}"));
}

/* As deep as the parser goes, on a stack as small as that of a thread of requests. */
static void *fingerprint_of_brackets(void *ret_fingerprint)
{
    enum { DEEP = 2000 };
    static char body[2 * DEEP + 1];

    memset(body, '[', DEEP);
    memset(body + DEEP, ']', DEEP);
    fingerprint_of(body, ret_fingerprint);
    return NULL;
}

static void fingerprint__of_what_nests_too_deep_is_of_its_bytes(void **state)
{
    enum { STACK_BYTES = 256 * 1024 };
    uint8_t        fingerprint[TW_FINGERPRINT_BYTES] = {0};
    uint8_t        none[TW_FINGERPRINT_BYTES] = {0};
    pthread_attr_t attr;
    pthread_t      thread;

    (void)state;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, fingerprint_of_brackets, fingerprint), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    assert_memory_not_equal(fingerprint, none, sizeof(none));
}

static void fingerprint__needs_the_key(void **state)
{
    static const uint8_t other[TW_IDEMPOTENCY_KEY_BYTES] = {8};
    uint8_t              first[TW_FINGERPRINT_BYTES];
    uint8_t              second[TW_FINGERPRINT_BYTES];

    (void)state;
    fingerprint_of("{\"password\":\"x\"}", first);
    tw_fingerprint(other, TW_STR("{\"password\":\"x\"}"), second);
    assert_memory_not_equal(first, second, sizeof(first));
}

static const uint8_t         print_a[TW_FINGERPRINT_BYTES] = {1};
static const uint8_t         print_b[TW_FINGERPRINT_BYTES] = {2};
static struct tw_idempotency base(void)
{
    return (struct tw_idempotency){{{9}}, TW_STR("POST"), TW_STR("/v1/cart/items"), TW_STR("k1"), print_a};
}

static bool same_id(struct tw_idempotency a, struct tw_idempotency b)
{
    uint8_t first[16];
    uint8_t second[16];

    tw_idempotency_digest(key, &a, first);
    tw_idempotency_digest(key, &b, second);
    return memcmp(first, second, sizeof(first)) == 0;
}

static void command_id__follows_from_caller_method_path_and_key(void **state)
{
    struct tw_idempotency other;

    (void)state;
    assert_true(same_id(base(), base()));
    other = base();
    other.caller.bytes[0]++;
    assert_false(same_id(base(), other));
    other = base();
    other.method = TW_STR("PUT");
    assert_false(same_id(base(), other));
    other = base();
    other.path = TW_STR("/v1/cart/item");
    other.key = TW_STR("sk1");
    assert_false(same_id(base(), other));
    other = base();
    other.key = TW_STR("k2");
    assert_false(same_id(base(), other));
}

static void body__counts_for_anonymous_callers_only(void **state)
{
    struct tw_idempotency first = base();
    struct tw_idempotency second = base();

    (void)state;
    second.fingerprint = print_b;
    assert_true(same_id(first, second));
    first.caller = second.caller = tw_uuid_nil;
    assert_false(same_id(first, second));
}

static void key__is_1_to_255_characters_and_may_be_quoted(void **state)
{
    char          text[300];
    struct tw_str read;

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_true(tw_idempotency_key_read((struct tw_str){text, 255}, &read));
    assert_false(tw_idempotency_key_read((struct tw_str){text, 256}, &read));
    assert_false(tw_idempotency_key_read(TW_STR(""), &read));
    assert_false(tw_idempotency_key_read(TW_STR("\"\""), &read));
    assert_false(tw_idempotency_key_read(TW_STR("a\tb"), &read));
    assert_true(tw_idempotency_key_read(TW_STR("\"8e03978e\""), &read));
    assert_str(read, "8e03978e");
    assert_true(tw_idempotency_key_read(TW_STR("8e03978e"), &read));
    assert_str(read, "8e03978e");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprint__is_of_what_is_said_not_how),
        cmocka_unit_test(fingerprint__of_what_nests_too_deep_is_of_its_bytes),
        cmocka_unit_test(fingerprint__needs_the_key),
        cmocka_unit_test(command_id__follows_from_caller_method_path_and_key),
        cmocka_unit_test(body__counts_for_anonymous_callers_only),
        cmocka_unit_test(key__is_1_to_255_characters_and_may_be_quoted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
