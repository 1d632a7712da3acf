/* An answer that is kept for half a minute. */
#include "kept.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"

static const int64_t second_us = 1000000;

static struct tw_kept       *kept;
static struct tw_buf         out;
static struct tw_kept_answer answer;

static int setup(void **state)
{
    (void)state;
    kept = tw_kept_new();
    answer = (struct tw_kept_answer){.age_s = -1};
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
    return tw_kept_get(kept, &(struct tw_kept_ask){.now_us = second * second_us}, &out, &answer);
}

static void given_answer_of(int64_t second, const char *text)
{
    assert_int_equal(get(second), TW_NOT_FOUND);
    tw_kept_put(kept, tw_str_of(text), NULL, 0);
}

static void answer__is_kept_for_half_a_minute_and_tells_its_age(void **state)
{
    (void)state;
    given_answer_of(100, "one");
    assert_int_equal(get(100), TW_OK);
    assert_int_equal(answer.age_s, 0);
    assert_int_equal(get(129), TW_OK);
    assert_str(tw_buf_str(&out), "one");
    assert_int_equal(answer.age_s, 29);
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
    assert_int_equal(answer.age_s, 32);
    assert_int_equal(get(60), TW_UNREACHED);
    tw_kept_put(kept, TW_STR("two"), NULL, 0);
    assert_int_equal(get(60), TW_OK);
    assert_str(tw_buf_str(&out), "two");
}

static void answer_that_could_not_be_made__is_asked_for_again_and_the_last_one_stays(void **state)
{
    (void)state;
    given_answer_of(0, "one");
    assert_int_equal(get(40), TW_NOT_FOUND);
    tw_kept_put(kept, (struct tw_str){0}, NULL, 0);
    assert_int_equal(get(41), TW_NOT_FOUND);
    assert_int_equal(get(41), TW_OK);
    assert_str(tw_buf_str(&out), "one");
}

static atomic_int asking;

static void *wait_for_it(void *result)
{
    struct tw_buf         mine = {0};
    struct tw_kept_ask    ask = {.now_us = second_us, .wait_ms = 10000};
    struct tw_kept_answer told;
    enum tw_rc            rc;

    atomic_fetch_add(&asking, 1);
    rc = tw_kept_get(kept, &ask, &mine, &told);

    *(enum tw_rc *)result = rc == TW_OK && !tw_str_is(tw_buf_str(&mine), "one") ? TW_BROKEN : rc;
    tw_buf_done(&mine);
    return NULL;
}

static void wait_beside_asker(struct tw_str made, enum tw_rc expected)
{
    pthread_t  threads[4];
    enum tw_rc results[4];

    atomic_store(&asking, 0);
    assert_int_equal(get(1), TW_NOT_FOUND);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_it, &results[i]), 0);
    while (atomic_load(&asking) < 4)
        usleep(1000);
    usleep(50000);
    tw_kept_put(kept, made, NULL, 0);
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

/* --- what it must show -------------------------------------------------------------------------------------------- */

static enum tw_rc get_with(int64_t second, int32_t partition, int64_t offset)
{
    struct tw_consistency write = {TW_DOMAIN_PRODUCT, partition, offset};
    struct tw_kept_ask    ask = {.now_us = second * second_us, .writes = &write, .write_count = 1};

    tw_buf_clear(&out);
    return tw_kept_get(kept, &ask, &out, &answer);
}

static void given_made_at(int64_t second, const char *text, int64_t next_of_0, int64_t next_of_1)
{
    int64_t next_offsets[] = {next_of_0, next_of_1};

    tw_kept_put(kept, tw_str_of(text), next_offsets, 2);
    assert_int_equal(get(second), TW_OK);
    assert_str(tw_buf_str(&out), text);
}

static void answer_from_before_a_write__is_made_anew_for_who_wrote(void **state)
{
    (void)state;
    assert_int_equal(get(0), TW_NOT_FOUND);
    given_made_at(0, "one", 5, 9);
    assert_int_equal(get_with(1, 0, 4), TW_OK);
    assert_int_equal(get_with(1, 1, 8), TW_OK);
    assert_false(answer.is_stale);
    assert_int_equal(get_with(1, 0, 5), TW_NOT_FOUND);
    given_made_at(2, "two", 6, 9);
    assert_int_equal(get_with(2, 0, 5), TW_OK);
    assert_str(tw_buf_str(&out), "two");
}

static void writer__gets_the_last_answer_as_stale_when_no_other_is_made_in_time(void **state)
{
    (void)state;
    assert_int_equal(get(0), TW_NOT_FOUND);
    given_made_at(0, "one", 5, 9);
    assert_int_equal(get_with(1, 0, 5), TW_NOT_FOUND); /* somebody is at it from here on */
    assert_int_equal(get_with(1, 0, 5), TW_OK);
    assert_str(tw_buf_str(&out), "one");
    assert_true(answer.is_stale);
    assert_int_equal(get_with(1, 0, 4), TW_OK);
    assert_false(answer.is_stale);
    tw_kept_put(kept, (struct tw_str){0}, NULL, 0);
}

static void *write_and_get(void *result)
{
    struct tw_buf         mine = {0};
    struct tw_consistency write = {TW_DOMAIN_PRODUCT, 0, 7};
    struct tw_kept_ask    ask = {.now_us = second_us, .wait_ms = 10000, .writes = &write, .write_count = 1};
    struct tw_kept_answer told;

    *(enum tw_rc *)result = tw_kept_get(kept, &ask, &mine, &told);
    tw_buf_done(&mine);
    return NULL;
}

static void writer__makes_it_when_what_others_made_began_before_the_write(void **state)
{
    pthread_t  thread;
    enum tw_rc result = TW_OK;
    int64_t    next_offset = 7;

    (void)state;
    assert_int_equal(get(1), TW_NOT_FOUND);
    assert_int_equal(pthread_create(&thread, NULL, write_and_get, &result), 0);
    usleep(50000);
    tw_kept_put(kept, TW_STR("one"), &next_offset, 1);
    pthread_join(thread, NULL);
    assert_int_equal(result, TW_NOT_FOUND);
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
        TEST(answer_from_before_a_write__is_made_anew_for_who_wrote),
        TEST(writer__gets_the_last_answer_as_stale_when_no_other_is_made_in_time),
        TEST(writer__makes_it_when_what_others_made_began_before_the_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
