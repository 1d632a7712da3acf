/* What streams are told, and when they end. Records come as the tail would hand them over. */
#include "streams/hub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "streams/bookmark.h"
#include "tillwire/clock.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"
#include "unit.h"

enum { SLOTS = 4, PER_CALLER = 2, FIRST = 100, END = 110, PATIENCE_US = 60000000 };

static struct tw_hub       *hub;
static int64_t             *from;
static int64_t             *ends;
static int64_t             *bookmark;
static const struct tw_uuid ana = {{1}};
static const struct tw_uuid bob = {{2}};

static void begin(int64_t first, int64_t end)
{
    for (size_t i = 0; i < tw_bookmark_places(); i++) {
        from[i] = first;
        ends[i] = end;
    }
    tw_hub_begin(hub, from, ends);
}

static int setup(void **state)
{
    (void)state;
    hub = tw_hub_new(&(struct tw_hub_options){(size_t)1024 * 1024, SLOTS, PER_CALLER});
    from = tw_alloc_zeroed(tw_bookmark_places(), sizeof(int64_t));
    ends = tw_alloc_zeroed(tw_bookmark_places(), sizeof(int64_t));
    bookmark = tw_alloc_zeroed(tw_bookmark_places(), sizeof(int64_t));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tw_hub_free(hub);
    free(from);
    free(ends);
    free(bookmark);
    return 0;
}

static void tell_of(const struct tw_type *type, const void *value, struct tw_uuid key, size_t place, int64_t offset,
                    int64_t cause)
{
    struct tw_buf    packed = {0};
    char             key_text[TW_UUID_TEXT + 1];
    char             cause_text[TW_INT_TEXT];
    struct tw_header headers[] = {{TW_STR(TW_H_TYPE), tw_str_of(type->ce_type)},
                                  {TW_STR(TW_H_CAUSE_OFFSET), tw_str_of_int(cause, cause_text)},
                                  {TW_STR(TW_H_N), TW_STR("0")}};

    tw_uuid_format(key, key_text);
    type->pack(value, &packed);
    tw_hub_tell(hub, place,
                &(struct tw_record){.offset = offset,
                                    .key = tw_str_of(key_text),
                                    .value = tw_buf_str(&packed),
                                    .headers = headers,
                                    .header_count = TW_LEN(headers)});
    tw_buf_done(&packed);
}

/** A change of @p member's cart. */
static void tell(struct tw_uuid member, size_t place, int64_t offset)
{
    struct tw_cart_cleared event = {.member_id = member, .version = 1};

    tell_of(&tw_cart_cleared_type, &event, member, place, offset, offset);
}

static void tell_view(size_t place, int64_t offset)
{
    struct tw_product_viewed event = {.view_count = 1, .version = 1};

    tell_of(&tw_product_viewed_type, &event, bob, place, offset, offset);
}

static struct tw_stream *open_with(struct tw_stream_wish wish)
{
    struct tw_stream *stream = NULL;

    assert_int_equal(tw_stream_open(hub, &wish, &stream), TW_STREAM_OPENED);
    return stream;
}

static struct tw_stream *open_of(struct tw_uuid caller)
{
    return open_with((struct tw_stream_wish){.caller = caller});
}

/** Offset of the event that is told next; -1: it is quiet; else -10 and what happened. */
static int64_t next(struct tw_stream *stream)
{
    const struct tw_news *news = NULL;
    enum tw_stream_news   what = tw_stream_next(stream, tw_monotonic_us(), &news);

    if (what == TW_STREAM_NEWS)
        return news->offset;
    return what == TW_STREAM_QUIET ? -1 : -10 - (int64_t)what;
}

#define ASSERT_ENDS(stream, how) assert_int_equal(next(stream), -10 - (int64_t)(how))

/** What a client keeps of a stream. */
static void keep_bookmark(const struct tw_stream *stream)
{
    memcpy(bookmark, tw_stream_bookmark(stream), tw_bookmark_places() * sizeof(*bookmark));
}

static struct tw_stream *resume(struct tw_uuid caller)
{
    return open_with((struct tw_stream_wish){.caller = caller, .bookmark = bookmark});
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void stream__is_told_what_is_its_callers_and_nothing_else(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    assert_int_equal(next(stream), -1);
    tell(bob, 0, FIRST);
    tell(ana, 1, FIRST);
    tell_view(0, FIRST + 1);
    tell(ana, 1, FIRST + 1);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

static void stream_that_sees_all__is_told_in_the_order_of_reading(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_with((struct tw_stream_wish){.caller = ana, .sees_all = true});
    assert_int_equal(next(stream), -1);
    tell(bob, 0, FIRST);
    tell_view(1, FIRST + 5);
    tell(ana, 0, FIRST + 1);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(stream), FIRST + 5);
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

static void repeat__is_told_once(void **state)
{
    struct tw_cart_cleared event = {.member_id = ana, .version = 1};

    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    tell_of(&tw_cart_cleared_type, &event, ana, 0, FIRST, 7);
    tell_of(&tw_cart_cleared_type, &event, ana, 0, FIRST + 1, 7);
    tell_of(&tw_cart_cleared_type, &event, ana, 0, FIRST + 2, 8);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(stream), FIRST + 2);
    tw_stream_close(stream);
}

static void new_stream__is_not_told_of_the_past(void **state)
{
    (void)state;
    struct tw_stream *early = open_of(ana); /* before anything is read */
    assert_int_equal(next(early), -1);
    assert_null(tw_stream_bookmark(early));
    begin(FIRST, END);
    assert_int_equal(next(early), -1);
    tell(ana, 0, FIRST);
    struct tw_stream *stream = open_of(ana);
    tell(ana, 0, FIRST + 1);
    assert_int_equal(next(stream), -1);
    tell(ana, 0, END);
    assert_int_equal(next(stream), END);
    assert_int_equal(next(early), END);
    tw_stream_close(stream);
    tw_stream_close(early);
}

/** The client has its answer before its thread asks for the first event, and may cause one in between. */
static void new_stream__begins_when_it_is_opened(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    struct tw_stream *all = open_with((struct tw_stream_wish){.caller = bob, .sees_all = true});
    tell(ana, 0, FIRST);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(all), FIRST);
    tw_stream_close(stream);
    tw_stream_close(all);
}

static void resumed_stream__has_no_gap_and_no_repeat(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    tell(ana, 0, FIRST);
    tell(ana, 1, FIRST);
    tell(bob, 1, FIRST + 1);
    assert_int_equal(next(stream), FIRST);
    keep_bookmark(stream); /* the second one was not written any more */
    tw_stream_close(stream);
    tell(ana, 0, FIRST + 1);
    stream = resume(ana);
    tell(ana, 2, FIRST);
    assert_int_equal(next(stream), FIRST); /* of place 1 */
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

/** Partitions come in another order elsewhere, and history is read from where that edge began. */
static void resume_on_another_edge__has_no_gap_and_no_repeat(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    tell(ana, 0, FIRST);
    tell(ana, 1, FIRST);
    assert_int_equal(next(stream), FIRST);
    assert_int_equal(next(stream), FIRST);
    keep_bookmark(stream);
    tw_stream_close(stream);
    tw_hub_free(hub);
    hub = tw_hub_new(&(struct tw_hub_options){(size_t)1024 * 1024, SLOTS, PER_CALLER});
    stream = resume(ana); /* sooner than that edge reads anything */
    assert_int_equal(next(stream), -1);
    begin(FIRST, FIRST + 2);
    tell(ana, 1, FIRST);
    tell(ana, 1, FIRST + 1);
    tell(ana, 0, FIRST);
    tell(ana, 0, FIRST + 1);
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

/** Else a quiet client would come back with what is too old, though nothing of its own was missed. */
static void bookmark_of_a_quiet_stream__does_not_grow_old(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    for (int64_t i = 0; i < 10; i++)
        tell(bob, 0, FIRST + i);
    assert_int_equal(next(stream), -1);
    assert_int_equal(tw_stream_bookmark(stream)[0], FIRST + 10);
    assert_int_equal(tw_stream_bookmark(stream)[1], FIRST);
    tw_stream_close(stream);
}

static void bookmark_that_is_too_old__is_a_reset_and_then_goes_on(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    bookmark[0] = FIRST - 1;
    for (size_t i = 1; i < tw_bookmark_places(); i++)
        bookmark[i] = FIRST;
    struct tw_stream *stream = resume(ana);
    ASSERT_ENDS(stream, TW_STREAM_RESET);
    assert_int_equal(tw_stream_bookmark(stream)[0], FIRST);
    tell(ana, 0, FIRST);
    assert_int_equal(next(stream), FIRST);
    tw_stream_close(stream);
}

static void bookmark_nobody_can_read__is_a_reset(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_with((struct tw_stream_wish){.caller = ana, .is_lost = true});
    ASSERT_ENDS(stream, TW_STREAM_RESET);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

static void reading_that_begins_anew__is_a_reset_only_where_events_are_missing(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    begin(FIRST - 5, FIRST + 5);
    tell(ana, 0, FIRST - 1);
    tell(ana, 0, FIRST);
    assert_int_equal(next(stream), FIRST);
    begin(END, END);
    ASSERT_ENDS(stream, TW_STREAM_RESET);
    tell(ana, 0, END);
    assert_int_equal(next(stream), END);
    tw_stream_close(stream);
}

static void slow_stream__ends_without_a_gap_before_its_bookmark(void **state)
{
    int64_t told = 0;

    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    for (int64_t i = 0; i <= TW_STREAM_BACKLOG; i++)
        tell(ana, 0, FIRST + i);
    while (next(stream) == FIRST + told)
        told++;
    ASSERT_ENDS(stream, TW_STREAM_SLOW);
    assert_int_equal(tw_stream_bookmark(stream)[0], FIRST + told);
    keep_bookmark(stream);
    tw_stream_close(stream);
    stream = resume(ana);
    for (; told <= TW_STREAM_BACKLOG; told++)
        assert_int_equal(next(stream), FIRST + told);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

static void stream_that_sees_all__ends_when_history_overtakes_it(void **state)
{
    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_with((struct tw_stream_wish){.caller = ana, .sees_all = true});
    next(stream);
    for (int64_t i = 0; i < 20000; i++)
        tell_view(0, FIRST + i);
    ASSERT_ENDS(stream, TW_STREAM_SLOW);
    tw_stream_close(stream);
}

/** Views were forgotten long ago, members' events were not: what is older than the bookmark is nothing it missed. */
static void stream_that_sees_all__resumes_though_a_busy_catalogue_was_forgotten(void **state)
{
    int64_t offset = FIRST;

    (void)state;
    begin(FIRST, FIRST);
    tell(ana, 0, offset);
    for (int i = 0; i < 5000; i++)
        tell_view(1, offset++);
    for (size_t i = 0; i < tw_bookmark_places(); i++)
        bookmark[i] = FIRST + 1;
    bookmark[1] = offset - 1;
    struct tw_stream *stream =
        open_with((struct tw_stream_wish){.caller = bob, .sees_all = true, .bookmark = bookmark});
    assert_int_equal(next(stream), offset - 1);
    tell(ana, 0, FIRST + 1);
    assert_int_equal(next(stream), FIRST + 1);
    assert_int_equal(next(stream), -1);
    tw_stream_close(stream);
}

static void slots__are_counted_in_all_and_for_each_caller(void **state)
{
    struct tw_stream     *streams[SLOTS];
    struct tw_stream     *none = NULL;
    struct tw_stream_wish of_ana = {.caller = ana};
    struct tw_stream_wish of_third = {.caller = {{3}}};

    (void)state;
    for (int i = 0; i < SLOTS; i++)
        streams[i] = open_of(i < PER_CALLER ? ana : bob);
    assert_int_equal(tw_hub_open_streams(hub), SLOTS);
    assert_int_equal(tw_stream_open(hub, &of_ana, &none), TW_STREAM_CALLER_HAS_ALL);
    assert_int_equal(tw_stream_open(hub, &of_third, &none), TW_STREAM_NO_SLOT);
    tw_stream_close(streams[3]);
    streams[3] = open_with(of_third);
    for (int i = 0; i < SLOTS; i++)
        tw_stream_close(streams[i]);
    assert_int_equal(tw_hub_open_streams(hub), 0);
}

static void *tell_soon(void *unused)
{
    usleep(20000);
    tell(ana, 0, FIRST);
    return unused;
}

static void sleeping_stream__is_woken_by_an_event(void **state)
{
    const struct tw_news *news = NULL;
    pthread_t             thread;

    (void)state;
    begin(FIRST, FIRST);
    struct tw_stream *stream = open_of(ana);
    next(stream);
    pthread_create(&thread, NULL, tell_soon, NULL);
    assert_int_equal(tw_stream_next(stream, tw_monotonic_us() + PATIENCE_US, &news), TW_STREAM_NEWS);
    pthread_join(thread, NULL);
    tw_stream_close(stream);
}

static void *drain_soon(void *unused)
{
    usleep(20000);
    tw_hub_drain(hub);
    return unused;
}

static void draining__ends_streams_at_once_and_opens_no_more(void **state)
{
    const struct tw_news *news = NULL;
    struct tw_stream     *none = NULL;
    struct tw_stream_wish wish = {.caller = bob};
    pthread_t             thread;

    (void)state;
    struct tw_stream *stream = open_of(ana);
    pthread_create(&thread, NULL, drain_soon, NULL);
    assert_int_equal(tw_stream_next(stream, tw_monotonic_us() + PATIENCE_US, &news), TW_STREAM_DRAINED);
    pthread_join(thread, NULL);
    assert_int_equal(tw_stream_open(hub, &wish, &none), TW_STREAM_GOING_DOWN);
    tw_stream_close(stream);
}

/** A thread that writes to a client who does not read would hold up the way down. */
static void draining__cuts_off_who_does_not_read(void **state)
{
    int  sockets[2];
    char byte;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    struct tw_stream *closed = open_of(bob);
    struct tw_stream *stream = open_of(ana);
    tw_stream_watch(closed, sockets[1]);
    tw_stream_close(closed); /* its socket may be another's by now */
    tw_stream_watch(stream, sockets[0]);
    assert_int_equal(recv(sockets[1], &byte, 1, MSG_DONTWAIT), -1);
    tw_hub_drain(hub);
    assert_int_equal(recv(sockets[1], &byte, 1, MSG_DONTWAIT), 0);
    assert_int_equal(send(sockets[0], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
    tw_stream_close(stream);
    close(sockets[0]);
    close(sockets[1]);
}

static void client_that_goes__is_noticed_at_once(void **state)
{
    const struct tw_news *news = NULL;
    int                   sockets[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    struct tw_stream *stream = open_of(ana);
    tw_stream_watch(stream, sockets[0]);
    assert_int_equal(next(stream), -1);
    close(sockets[1]);
    assert_int_equal(tw_stream_next(stream, tw_monotonic_us() + PATIENCE_US, &news), TW_STREAM_GONE);
    tw_stream_close(stream);
    close(sockets[0]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(stream__is_told_what_is_its_callers_and_nothing_else),
        TEST(stream_that_sees_all__is_told_in_the_order_of_reading),
        TEST(repeat__is_told_once),
        TEST(new_stream__is_not_told_of_the_past),
        TEST(new_stream__begins_when_it_is_opened),
        TEST(resumed_stream__has_no_gap_and_no_repeat),
        TEST(resume_on_another_edge__has_no_gap_and_no_repeat),
        TEST(bookmark_of_a_quiet_stream__does_not_grow_old),
        TEST(bookmark_that_is_too_old__is_a_reset_and_then_goes_on),
        TEST(bookmark_nobody_can_read__is_a_reset),
        TEST(reading_that_begins_anew__is_a_reset_only_where_events_are_missing),
        TEST(slow_stream__ends_without_a_gap_before_its_bookmark),
        TEST(stream_that_sees_all__ends_when_history_overtakes_it),
        TEST(stream_that_sees_all__resumes_though_a_busy_catalogue_was_forgotten),
        TEST(slots__are_counted_in_all_and_for_each_caller),
        TEST(sleeping_stream__is_woken_by_an_event),
        TEST(draining__ends_streams_at_once_and_opens_no_more),
        TEST(draining__cuts_off_who_does_not_read),
        TEST(client_that_goes__is_noticed_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
