/* Links: tw_ctl */
#include "dlq_choice.h"

#include <inttypes.h>
#include <stdio.h>

#include "dlq_lines.h"
#include "unit.h"

#define A "8d546db7-4db5-8236-b176-2a7b606eca26"
#define B "8d546db7-4db5-8236-b176-2a7b606eca27"

static struct tw_arena    arena;
static struct tw_dlq_book book;
static struct tw_buf      out;
static int64_t            next_offset; /* of the dead-letter topic */

static int forget(void **state)
{
    (void)state;
    tw_dlq_book_done(&book);
    tw_arena_done(&arena);
    tw_buf_done(&out);
    next_offset = 0;
    return 0;
}

static const struct tw_topic *topic(void)
{
    return tw_topic_of(TW_DOMAIN_CART, TW_TOPIC_DLQ);
}

/* Name and value in turn; ends with NULL. */
static void take(const char *key, const char *const *texts)
{
    struct tw_header *headers = TW_NEW_ARRAY(&arena, 16, struct tw_header);
    struct tw_record  record = {.partition = 3, .offset = next_offset++, .key = tw_str_of(key), .headers = headers};
    struct tw_err     err;

    for (; *texts; texts += 2)
        headers[record.header_count++] = (struct tw_header){tw_str_of(texts[0]), tw_str_of(texts[1])};
    assert_int_equal(tw_dlq_book_take(&book, topic(), &record, &err), TW_OK);
}

static const char *number(int64_t value)
{
    return tw_arena_printf(&arena, "%" PRId64, value).ptr;
}

/* Attempt @p attempts of @p first, whose record is @p offset. */
static void given_up(const char *key, int64_t first, int64_t offset, const char *reason, int64_t attempts)
{
    take(key, (const char *const[]){TW_H_TYPE,
                                    "cart.clear.v1",
                                    TW_H_DLQ_TOPIC,
                                    "cart.commands",
                                    TW_H_DLQ_PARTITION,
                                    "3",
                                    TW_H_DLQ_OFFSET,
                                    number(offset),
                                    TW_H_DLQ_TIMESTAMP,
                                    number(offset),
                                    TW_H_DLQ_REASON,
                                    reason,
                                    TW_H_DLQ_MESSAGE,
                                    "so it is",
                                    TW_H_DLQ_PROGRAM,
                                    "test 1",
                                    TW_H_DLQ_FIRST_OFFSET,
                                    number(first),
                                    TW_H_DLQ_ATTEMPTS,
                                    number(attempts),
                                    TW_H_DLQ_FIRST_FAILED,
                                    number(1000 + first),
                                    TW_H_DLQ_LAST_FAILED,
                                    number(1000 + offset),
                                    NULL});
}

static void dead(const char *key, int64_t first, const char *reason)
{
    given_up(key, first, first, reason, 1);
}

static void settled(const char *key, int64_t first, int64_t by, const char *as)
{
    take(key,
         (const char *const[]){TW_H_DLQ_SETTLES, number(first), TW_H_DLQ_SETTLED_BY, number(by), TW_H_DLQ_SETTLED_AS,
                               as, TW_H_DLQ_SETTLED_AT, "5000", TW_H_OPERATOR, "ana", TW_H_BECAUSE, "mended", NULL});
}

static struct tw_dlq_letter *letter(int64_t first)
{
    struct tw_dlq_letter *found = tw_dlq_book_find(&book, TW_DOMAIN_CART, 3, first);

    assert_non_null(found);
    return found;
}

static size_t choose(struct tw_dlq_wish wish)
{
    wish.domain = TW_DOMAIN_CART;
    wish.reason = wish.reason ? wish.reason : "";
    wish.key = wish.key ? wish.key : "";
    tw_dlq_book_link(&book);
    return tw_dlq_choose(&book, &wish);
}

/* Two carts: of A the first three, of B one; and one that nobody could read. */
static void a_bad_night(void)
{
    dead(A, 5, "refused_by_store");
    dead(B, 6, "refused_by_store");
    dead(A, 7, "parked");
    dead(A, 9, "undecodable");
    dead(A, 11, "parked");
}

static void assert_fate(int64_t first, enum tw_dlq_fate fate)
{
    assert_int_equal(letter(first)->fate, fate);
}

static void a_name__is_domain_partition_and_offset(void **state)
{
    static const char *const bad[] = {"",         "cart",      "cart/3",     "cart/3/",   "cart/3/x", "cart/3/-1",
                                      "cart/6/1", "cart/-1/1", "basket/3/1", "cart/3/1/", "/3/1",     "cart//1"};
    struct tw_dlq_place      place;
    struct tw_err            err;

    (void)state;
    assert_int_equal(tw_dlq_name_parse(TW_STR("cart/3/17"), &place, &err), TW_OK);
    assert_int_equal(place.domain, TW_DOMAIN_CART);
    assert_int_equal(place.partition, 3);
    assert_int_equal(place.first_offset, 17);
    for (size_t i = 0; i < TW_LEN(bad); i++)
        if (tw_dlq_name_parse(tw_str_of(bad[i]), &place, &err) != TW_INVALID)
            fail_msg("'%s' is taken for a name", bad[i]);
}

static void names__must_be_of_the_domain_that_is_asked_for(void **state)
{
    struct tw_dlq_wish wish = {0};
    struct tw_err      err;

    (void)state;
    assert_int_equal(tw_dlq_names_parse("cart/3/17,cart/0/2", TW_DOMAIN_CART, &arena, &wish, &err), TW_OK);
    assert_int_equal(wish.place_count, 2);
    assert_int_equal(wish.places[1].first_offset, 2);
    assert_int_equal(tw_dlq_names_parse("cart/3/17,member/0/2", TW_DOMAIN_CART, &arena, &wish, &err), TW_INVALID);
    assert_non_null(strstr(err.msg, "member/0/2"));
    assert_int_equal(tw_dlq_names_parse("cart/3/17,,", TW_DOMAIN_CART, &arena, &wish, &err), TW_INVALID);
}

static void a_reason__is_one_of_those_there_are(void **state)
{
    struct tw_err err;

    (void)state;
    assert_int_equal(tw_dlq_reason_check("parked", &err), TW_OK);
    assert_int_equal(tw_dlq_reason_check("tired", &err), TW_INVALID);
    assert_non_null(strstr(err.msg, "refused_by_store, parked"));
}

static void later_ones_of_a_key__wait_for_its_oldest_that_is_open(void **state)
{
    (void)state;
    a_bad_night();
    tw_dlq_book_link(&book);
    assert_null(letter(5)->waits_for);
    assert_null(letter(6)->waits_for);
    assert_ptr_equal(letter(7)->waits_for, letter(5));
    assert_ptr_equal(letter(11)->waits_for, letter(5));
    settled(A, 5, 20, "succeeded");
    tw_dlq_book_link(&book);
    assert_null(letter(7)->waits_for);
    assert_ptr_equal(letter(11)->waits_for, letter(7));
}

static void what_was_delivered_again__changes_nothing(void **state)
{
    (void)state;
    a_bad_night();
    given_up(A, 5, 15, "refused_by_store", 2);
    dead(A, 5, "refused_by_store");
    settled(B, 6, 16, "succeeded");
    settled(B, 6, 17, "dropped");
    assert_int_equal(book.count, 5);
    assert_int_equal(letter(5)->attempts, 2);
    assert_int_equal(letter(5)->last_offset, 15);
    assert_int_equal(letter(5)->record_at, 0);
    assert_int_equal(letter(6)->settled_by, 16);
    assert_string_equal(letter(6)->settled_as, "succeeded");
}

static void a_requeue_of_all__is_allowed_in_the_order_of_each_key(void **state)
{
    (void)state;
    a_bad_night();
    assert_int_equal(choose((struct tw_dlq_wish){.max_attempts = 5}), 5);
    assert_int_equal(tw_dlq_left_behind(&book), 0);
}

static void what_stands_behind_an_open_one__is_refused_by_name(void **state)
{
    (void)state;
    a_bad_night();
    assert_int_equal(choose((struct tw_dlq_wish){.reason = "parked", .max_attempts = 5}), 0);
    assert_fate(7, TW_DLQ_REFUSED);
    assert_fate(11, TW_DLQ_REFUSED);
    assert_non_null(strstr(letter(11)->why_not, "cart/3/5"));
    assert_fate(5, TW_DLQ_UNTOUCHED);
}

/* It is refused itself, so that what is behind it would only be refused by the worker. */
static void what_has_failed_too_often__stands_in_the_way_as_well(void **state)
{
    (void)state;
    a_bad_night();
    given_up(A, 5, 15, "refused_by_store", 5);
    assert_int_equal(choose((struct tw_dlq_wish){.max_attempts = 5}), 1);
    assert_fate(5, TW_DLQ_REFUSED);
    assert_non_null(strstr(letter(5)->why_not, "has failed 5 times"));
    assert_fate(6, TW_DLQ_CHOSEN);
    assert_fate(7, TW_DLQ_REFUSED);
    assert_int_equal(choose((struct tw_dlq_wish){.max_attempts = 6}), 5);
}

/* By a worker whose store went back, to before it was mended. */
static void what_was_settled_by_a_record_that_is_given_up_later__is_open_again(void **state)
{
    (void)state;
    a_bad_night();
    settled(A, 5, 20, "succeeded");
    given_up(A, 5, 20, "refused_by_store", 2);
    settled(A, 5, 20, "succeeded");
    assert_true(tw_dlq_is_open(letter(5)));
    tw_dlq_book_link(&book);
    assert_ptr_equal(letter(7)->waits_for, letter(5));
    settled(A, 5, 30, "succeeded");
    assert_int_equal(letter(5)->settled_by, 30);
}

static void what_is_settled__is_refused_when_it_is_named(void **state)
{
    const struct tw_dlq_place places[] = {{TW_DOMAIN_CART, 3, 5}, {TW_DOMAIN_CART, 3, 99}};

    (void)state;
    a_bad_night();
    settled(A, 5, 20, "dropped");
    assert_int_equal(choose((struct tw_dlq_wish){.places = places, .place_count = 2, .max_attempts = 5}), 0);
    assert_fate(5, TW_DLQ_REFUSED);
    assert_string_equal(letter(5)->why_not, "is not open: dropped, by ana at 1970-01-01T00:00:05.000Z");
}

static void what_is_not_as_a_worker_writes_it__can_only_be_dropped(void **state)
{
    (void)state;
    take(A, (const char *const[]){TW_H_TYPE, "cart.clear.v1", TW_H_DLQ_OFFSET, "5", TW_H_DLQ_REASON, "refused_by_store",
                                  NULL});
    dead(A, 7, "parked");
    assert_int_equal(choose((struct tw_dlq_wish){.max_attempts = 5}), 0);
    assert_string_equal(letter(5)->why_not,
                        "it is not as a worker of this release writes one: it has 3 headers, and a worker adds 11 to a "
                        "record's; drop it, or use the twctl of the release that wrote it");
    assert_string_equal(letter(7)->why_not, "an older one of its key is open: cart/3/5");
    assert_int_equal(choose((struct tw_dlq_wish){0}), 2);
}

static void a_drop__asks_for_no_order_and_no_number_of_attempts(void **state)
{
    (void)state;
    a_bad_night();
    given_up(A, 5, 15, "refused_by_store", 50);
    assert_int_equal(choose((struct tw_dlq_wish){.reason = "parked"}), 2);
    assert_int_equal(choose((struct tw_dlq_wish){.reason = "refused_by_store"}), 4);
}

static void those_behind__follow_when_the_first_of_their_key_is_settled(void **state)
{
    (void)state;
    a_bad_night();
    assert_int_equal(choose((struct tw_dlq_wish){.reason = "refused_by_store", .max_attempts = 5}), 2);
    assert_int_equal(tw_dlq_left_behind(&book), 2);
    settled(A, 5, 20, "succeeded");
    letter(5)->fate = TW_DLQ_SETTLED;
    letter(6)->fate = TW_DLQ_FAILED;
    dead(B, 21, "parked");
    tw_dlq_book_link(&book);
    assert_int_equal(tw_dlq_choose_behind(&book, 5), 2);
    assert_fate(7, TW_DLQ_CHOSEN);
    assert_fate(11, TW_DLQ_CHOSEN);
    assert_fate(9, TW_DLQ_UNTOUCHED);
    assert_fate(21, TW_DLQ_UNTOUCHED);
    assert_int_equal(tw_dlq_left_behind(&book), 1);
}

static void nobody_follows__one_that_parks_nobody(void **state)
{
    (void)state;
    dead(A, 3, "undecodable");
    dead(A, 5, "refused_by_store");
    dead(A, 7, "parked");
    assert_int_equal(choose((struct tw_dlq_wish){.reason = "undecodable", .max_attempts = 5}), 1);
    letter(3)->fate = TW_DLQ_FAILED;
    assert_int_equal(tw_dlq_choose_behind(&book, 5), 0);
    assert_fate(5, TW_DLQ_UNTOUCHED);
}

static void a_key__is_the_same_in_upper_case(void **state)
{
    (void)state;
    a_bad_night();
    assert_int_equal(choose((struct tw_dlq_wish){.key = "8D546DB7-4DB5-8236-B176-2A7B606ECA27", .max_attempts = 5}), 1);
    assert_fate(6, TW_DLQ_CHOSEN);
}

static const char *text(void)
{
    tw_buf_add(&out, "", 1);
    return out.ptr;
}

static void assert_says(const char *words)
{
    if (!strstr(text(), words))
        fail_msg("'%s' is not in:\n%s", words, out.ptr);
}

static void groups__count_by_reason_and_by_what_is_waited_for(void **state)
{
    const struct tw_dlq_wish all = {.reason = "", .key = ""};

    (void)state;
    a_bad_night();
    settled(B, 6, 16, "succeeded");
    tw_dlq_book_link(&book);
    tw_dlq_add_groups(&book, &all, false, false, &out);
    assert_string_equal(
        text(),
        "DOMAIN  REASON            WAITS FOR  STATE  COUNT  KEYS  FIRST FAILED              LAST FAILED\n"
        "cart    parked            cart/3/5   open   2      1     1970-01-01T00:00:01.007Z  1970-01-01T00:00:01.011Z\n"
        "cart    refused_by_store             open   1      1     1970-01-01T00:00:01.005Z  1970-01-01T00:00:01.005Z\n"
        "cart    undecodable                  open   1      1     1970-01-01T00:00:01.009Z  "
        "1970-01-01T00:00:01.009Z\n");
    tw_buf_clear(&out);
    tw_dlq_add_groups(&book, &all, true, true, &out);
    assert_says("{\"domain\":\"cart\",\"reason\":\"refused_by_store\",\"open\":false,\"count\":1,\"keys\":1,");
}

static void each__has_a_line_with_its_settlement(void **state)
{
    const struct tw_dlq_wish all = {.reason = "", .key = ""};

    (void)state;
    a_bad_night();
    settled(B, 6, 16, "succeeded");
    tw_dlq_book_link(&book);
    tw_dlq_add_each(&book, &all, true, true, &out);
    assert_says("\"name\":\"cart/3/6\",\"reason\":\"refused_by_store\"");
    assert_says("\"settled\":{\"as\":\"succeeded\",\"by\":\"ana\",\"at\":\"1970-01-01T00:00:05.000Z\",\"offset\":16,"
                "\"because\":\"mended\"}");
    tw_buf_clear(&out);
    tw_dlq_add_each(&book, &all, false, false, &out);
    assert_says("cart/3/11  parked ");
    assert_null(strstr(out.ptr, "cart/3/6 "));
    settled(A, 5, 20, "repeated");
    tw_buf_clear(&out);
    tw_dlq_add_each(&book, &all, true, false, &out);
    assert_says("repeated (another record of its id has the outcome) by ana at 1970-01-01T00:00:05.000Z (offset 20): "
                "mended");
}

static void fates__say_what_became_of_each_and_of_names_that_nobody_has(void **state)
{
    const struct tw_dlq_place places[] = {{TW_DOMAIN_CART, 3, 99}, {TW_DOMAIN_CART, 3, 5}};
    const struct tw_dlq_wish  wish = {TW_DOMAIN_CART, "", "", places, 2, 5};

    (void)state;
    a_bad_night();
    choose(wish);
    tw_dlq_add_fates(&book, &wish, true, false, &out);
    assert_says(" refused  there is no such dead letter\n");
    assert_says("cart.clear.v1  chosen   so it is");
    letter(5)->fate = TW_DLQ_FAILED;
    tw_buf_clear(&out);
    tw_dlq_add_fates(&book, &wish, false, true, &out);
    assert_says("\"became\":\"failed_again\",\"says\":\"refused_by_store, attempt 1: so it is\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_name__is_domain_partition_and_offset, forget),
        cmocka_unit_test_teardown(names__must_be_of_the_domain_that_is_asked_for, forget),
        cmocka_unit_test_teardown(a_reason__is_one_of_those_there_are, forget),
        cmocka_unit_test_teardown(later_ones_of_a_key__wait_for_its_oldest_that_is_open, forget),
        cmocka_unit_test_teardown(what_was_delivered_again__changes_nothing, forget),
        cmocka_unit_test_teardown(a_requeue_of_all__is_allowed_in_the_order_of_each_key, forget),
        cmocka_unit_test_teardown(what_stands_behind_an_open_one__is_refused_by_name, forget),
        cmocka_unit_test_teardown(what_has_failed_too_often__stands_in_the_way_as_well, forget),
        cmocka_unit_test_teardown(what_was_settled_by_a_record_that_is_given_up_later__is_open_again, forget),
        cmocka_unit_test_teardown(what_is_settled__is_refused_when_it_is_named, forget),
        cmocka_unit_test_teardown(what_is_not_as_a_worker_writes_it__can_only_be_dropped, forget),
        cmocka_unit_test_teardown(a_drop__asks_for_no_order_and_no_number_of_attempts, forget),
        cmocka_unit_test_teardown(those_behind__follow_when_the_first_of_their_key_is_settled, forget),
        cmocka_unit_test_teardown(nobody_follows__one_that_parks_nobody, forget),
        cmocka_unit_test_teardown(a_key__is_the_same_in_upper_case, forget),
        cmocka_unit_test_teardown(groups__count_by_reason_and_by_what_is_waited_for, forget),
        cmocka_unit_test_teardown(each__has_a_line_with_its_settlement, forget),
        cmocka_unit_test_teardown(fates__say_what_became_of_each_and_of_names_that_nobody_has, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
