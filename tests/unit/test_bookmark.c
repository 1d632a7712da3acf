#include "streams/bookmark.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/gen/topics.h"
#include "unit.h"

static const uint8_t key[TW_BOOKMARK_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[TW_BOOKMARK_KEY_BYTES] = {1, 2, 4};

static int64_t      *next;
static int64_t      *opened;
static struct tw_buf text;

static int setup(void **state)
{
    (void)state;
    next = tw_alloc_zeroed(tw_bookmark_places(), sizeof(*next));
    opened = tw_alloc_zeroed(tw_bookmark_places(), sizeof(*opened));
    for (size_t i = 0; i < tw_bookmark_places(); i++)
        next[i] = 1000000 + (int64_t)(i * 7919 % 1000);
    tw_bookmark_seal(key, next, &text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_buf_done(&text);
    free(opened);
    free(next);
    return 0;
}

static void bookmark__comes_back_as_it_was_sealed(void **state)
{
    (void)state;
    assert_true(tw_bookmark_open(key, tw_buf_str(&text), opened));
    assert_memory_equal(opened, next, tw_bookmark_places() * sizeof(*next));
}

static void bookmark__takes_offsets_of_any_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < tw_bookmark_places(); i++)
        next[i] = i % 2 ? 0 : INT64_C(1) << 60;
    tw_buf_clear(&text);
    tw_bookmark_seal(key, next, &text);
    assert_true(tw_bookmark_open(key, tw_buf_str(&text), opened));
    assert_memory_equal(opened, next, tw_bookmark_places() * sizeof(*next));
}

/** It stands in every event, and comes back in a header field. */
static void bookmark__is_short_and_plain(void **state)
{
    (void)state;
    assert_true(text.len < 24 + 5 * tw_bookmark_places());
    for (size_t i = 0; i < text.len; i++)
        assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text.ptr[i]));
}

static void bookmark__with_any_changed_character_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < text.len; i++) {
        char before = text.ptr[i];

        text.ptr[i] = before == 'A' ? 'B' : 'A';
        assert_false(tw_bookmark_open(key, tw_buf_str(&text), opened));
        text.ptr[i] = before;
    }
    assert_int_equal(opened[0], 0);
}

static void bookmark__of_another_key_or_cut_short_is_refused(void **state)
{
    (void)state;
    assert_false(tw_bookmark_open(other_key, tw_buf_str(&text), opened));
    for (size_t len = 0; len < text.len; len++)
        assert_false(tw_bookmark_open(key, (struct tw_str){text.ptr, len}, opened));
    assert_false(tw_bookmark_open(key, TW_STR("7"), opened));
    assert_false(tw_bookmark_open(key, TW_STR("no base64 at all!"), opened));
}

static void places__are_all_partitions_of_event_topics_and_no_others(void **state)
{
    size_t place = 0;

    (void)state;
    for (size_t i = 0; i < tw_topic_count; i++) {
        for (int32_t partition = 0; partition < tw_topics[i].partitions; partition++) {
            size_t found = tw_bookmark_place(tw_topics[i].name, partition);
            assert_int_equal(found, tw_topics[i].kind == TW_TOPIC_EVENTS ? place++ : tw_bookmark_places());
        }
        assert_int_equal(tw_bookmark_place(tw_topics[i].name, tw_topics[i].partitions), tw_bookmark_places());
    }
    assert_int_equal(place, tw_bookmark_places());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(bookmark__comes_back_as_it_was_sealed),
        TEST(bookmark__takes_offsets_of_any_size),
        TEST(bookmark__is_short_and_plain),
        TEST(bookmark__with_any_changed_character_is_refused),
        TEST(bookmark__of_another_key_or_cut_short_is_refused),
        TEST(places__are_all_partitions_of_event_topics_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
