#include "streams/history.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

enum { PLACES = 2, EVENT_BYTES = sizeof(struct tw_news) + 100 };

static const struct tw_uuid somebody = {{1}};
static struct tw_history   *history;
static const int64_t        begin[PLACES] = {100, 200};

static int setup(void **state)
{
    (void)state;
    history = tw_history_new((size_t)20 * EVENT_BYTES, PLACES); /* ten for members, ten for nobody */
    tw_history_begin(history, begin);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_history_free(history);
    return 0;
}

static void add(struct tw_uuid owner, size_t place, int64_t offset)
{
    struct tw_news *news = tw_alloc_zeroed(1, EVENT_BYTES);

    *news = (struct tw_news){.size = EVENT_BYTES, .place = place, .offset = offset, .owner = owner};
    tw_history_add(history, news);
}

static int64_t offset_of(int64_t number, bool all)
{
    const struct tw_news *news = tw_history_find(history, number, all);

    return news ? news->offset : -1;
}

static void events__are_found_by_number(void **state)
{
    (void)state;
    add(somebody, 0, 100);
    add(tw_uuid_nil, 1, 200);
    add(somebody, 1, 201);
    assert_int_equal(offset_of(0, false), 100);
    assert_int_equal(offset_of(1, false), 201);
    assert_int_equal(offset_of(1, true), 200);
    assert_int_equal(offset_of(2, true), 201);
    assert_int_equal(offset_of(3, true), -1);
    assert_int_equal(tw_history_end(history), 3);
}

/** Whoever comes back begins behind what he has, and behind what was dropped of what he sees. */
static void start__is_near_the_first_that_is_not_known(void **state)
{
    const int64_t from[PLACES] = {104, 203};

    (void)state;
    assert_int_equal(tw_history_start(history, begin, false), 0);
    for (int64_t i = 0; i < 8; i++)
        add(somebody, i % 2 ? 1 : 0, (i % 2 ? 200 : 100) + i);
    assert_int_equal(tw_history_start(history, begin, false), 0);
    assert_int_equal(tw_history_start(history, from, false), 3); /* 203 at place 1 is the fourth */
    assert_int_equal(tw_history_start(history, (const int64_t[]){1000, 1000}, true), 7);
    for (int64_t i = 0; i < 15; i++) /* five more than there is room for */
        add(tw_uuid_nil, 0, 108 + i);
    assert_int_equal(tw_history_start(history, from, false), 3);
    assert_int_equal(tw_history_start(history, from, true), 13);
    tw_history_begin(history, begin);
    assert_int_equal(tw_history_start(history, begin, true), 23);
}

/** More marks than there is room for: the oldest go, and what they told of is looked for from the beginning. */
static void start__is_the_beginning_for_who_comes_from_before_the_marks(void **state)
{
    struct tw_history *large = tw_history_new((size_t)1024 * 1024, PLACES);
    struct tw_history *small = history;

    (void)state;
    history = large;
    tw_history_begin(history, begin);
    for (int64_t i = 0; i < 6000; i++) {
        struct tw_news *news = tw_alloc_zeroed(1, sizeof(*news));
        *news = (struct tw_news){.size = sizeof(*news), .offset = 100 + i, .owner = somebody};
        tw_history_add(history, news);
    }
    assert_true(tw_history_reaches(history, begin, false));
    assert_int_equal(tw_history_start(history, begin, false), 0);
    assert_in_range(tw_history_start(history, (const int64_t[]){100 + 5990, 200}, false), 5980, 5990);
    history = small;
    tw_history_free(large);
}

static void reader__is_where_the_last_record_was(void **state)
{
    (void)state;
    add(somebody, 0, 100);
    tw_history_pass(history, 1, 200);
    assert_int_equal(tw_history_next(history)[0], 101);
    assert_int_equal(tw_history_next(history)[1], 201);
}

static void what_is_older_than_the_beginning__is_not_reached(void **state)
{
    const int64_t before[PLACES] = {99, 200};

    (void)state;
    assert_true(tw_history_reaches(history, begin, true));
    assert_false(tw_history_reaches(history, before, false));
}

static void oldest__go_when_the_room_is_full(void **state)
{
    const int64_t kept[PLACES] = {102, 200};
    const int64_t gone[PLACES] = {101, 200};

    (void)state;
    for (int64_t i = 0; i < 12; i++)
        add(somebody, 0, 100 + i);
    assert_int_equal(offset_of(0, false), 102);
    assert_true(tw_history_reaches(history, kept, true));
    assert_false(tw_history_reaches(history, gone, false));
    assert_true(tw_history_has_from(history, 2, false));
    assert_false(tw_history_has_from(history, 1, false));
}

static void crowd_of_views__takes_nothing_from_members(void **state)
{
    (void)state;
    add(somebody, 0, 100);
    for (int64_t i = 0; i < 1000; i++)
        add(tw_uuid_nil, 1, 200 + i);
    assert_int_equal(offset_of(0, false), 100);
    assert_true(tw_history_reaches(history, begin, false));
    assert_false(tw_history_reaches(history, begin, true));
    assert_int_equal(offset_of(900, true), 1190);
}

static void newest__stays_however_large(void **state)
{
    struct tw_news *news = tw_alloc_zeroed(1, (size_t)100 * EVENT_BYTES);

    (void)state;
    add(somebody, 0, 100);
    *news = (struct tw_news){.size = (size_t)100 * EVENT_BYTES, .place = 0, .offset = 101, .owner = somebody};
    tw_history_add(history, news);
    assert_int_equal(offset_of(0, false), 101);
}

static void beginning_anew__forgets_events_and_goes_on_counting(void **state)
{
    const int64_t later[PLACES] = {500, 600};

    (void)state;
    add(somebody, 0, 100);
    tw_history_begin(history, later);
    assert_int_equal(offset_of(0, true), -1);
    assert_false(tw_history_has_from(history, 0, false));
    assert_true(tw_history_has_from(history, 1, false));
    assert_true(tw_history_reaches(history, later, true));
    assert_false(tw_history_reaches(history, begin, false));
    add(somebody, 0, 500);
    assert_int_equal(offset_of(1, false), 500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(events__are_found_by_number),
        TEST(start__is_near_the_first_that_is_not_known),
        TEST(start__is_the_beginning_for_who_comes_from_before_the_marks),
        TEST(reader__is_where_the_last_record_was),
        TEST(what_is_older_than_the_beginning__is_not_reached),
        TEST(oldest__go_when_the_room_is_full),
        TEST(crowd_of_views__takes_nothing_from_members),
        TEST(newest__stays_however_large),
        TEST(beginning_anew__forgets_events_and_goes_on_counting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
