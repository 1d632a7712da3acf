/* An answer that is kept for half a minute. */
#include "kept.h"

#include <pthread.h>
#include <unistd.h>

#include "unit.h"

static const int64_t second_us = 1000000;

static struct tw_kept *kept;
static struct tw_buf   out;
static int             age_s;

static int setup(void **state)
{
    (void)state;
    kept = tw_kept_new();
    age_s = -1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_kept_free(kept);
    tw_buf_done(&out);
    return 0;
}

static enum tw_rc get(int64_t second)
{
    tw_buf_clear(&out);
    return tw_kept_get(kept, second * second_us, 0, &out, &age_s);
}

static void given_answer_of(int64_t second, const char *text)
{
    assert_int_equal(get(second), TW_NOT_FOUND);
    tw_kept_put(kept, tw_str_of(text));
}

static void answer__is_kept_for_half_a_minute_and_tells_its_age(void **state)
{
    (void)state;
    given_answer_of(100, "one");
    assert_int_equal(get(100), TW_OK);
    assert_int_equal(age_s, 0);
    assert_int_equal(get(129), TW_OK);
    assert_str(tw_buf_str(&out), "one");
    assert_int_equal(age_s, 29);
    given_answer_of(130, "two");
    assert_int_equal(get(131), TW_OK);
    assert_str(tw_buf_str(&out), "two");
}

static void last_answer__is_given_while_one_makes_it_anew(void **state)
{
    (void)state;
    given_answer_of(0, "one");
    assert_int_equal(get(31), TW_NOT_FOUND);
    assert_int_equal(get(32), TW_OK);
    assert_str(tw_buf_str(&out), "one");
    assert_int_equal(age_s, 32);
    assert_int_equal(get(60), TW_UNREACHED);
    tw_kept_put(kept, TW_STR("two"));
    assert_int_equal(get(60), TW_OK);
    assert_str(tw_buf_str(&out), "two");
}

static void answer_that_could_not_be_made__is_asked_for_again_and_the_last_one_stays(void **state)
{
    (void)state;
    given_answer_of(0, "one");
    assert_int_equal(get(40), TW_NOT_FOUND);
    tw_kept_put(kept, (struct tw_str){0});
    assert_int_equal(get(41), TW_NOT_FOUND);
    assert_int_equal(get(41), TW_OK);
    assert_str(tw_buf_str(&out), "one");
}

static void *wait_for_it(void *result)
{
    struct tw_buf mine = {0};
    int           age = -1;
    enum tw_rc    rc = tw_kept_get(kept, second_us, 10000, &mine, &age);

    *(enum tw_rc *)result = rc == TW_OK && !tw_str_is(tw_buf_str(&mine), "one") ? TW_BROKEN : rc;
    tw_buf_done(&mine);
    return NULL;
}

static void wait_beside_asker(struct tw_str made, enum tw_rc expected)
{
    pthread_t  threads[4];
    enum tw_rc results[4];

    assert_int_equal(get(1), TW_NOT_FOUND);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, &results[i]), 0);
    usleep(50000);
    tw_kept_put(kept, made);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], expected);
    }
}

static void others__wait_for_the_first_answer(void **state)
{
    (void)state;
    wait_beside_asker(TW_STR("one"), TW_OK);
}

static void others__do_not_ask_in_turn_for_what_failed(void **state)
{
    (void)state;
    wait_beside_asker((struct tw_str){0}, TW_UNREACHED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answer__is_kept_for_half_a_minute_and_tells_its_age),
        TEST(last_answer__is_given_while_one_makes_it_anew),
        TEST(answer_that_could_not_be_made__is_asked_for_again_and_the_last_one_stays),
        TEST(others__wait_for_the_first_answer),
        TEST(others__do_not_ask_in_turn_for_what_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
