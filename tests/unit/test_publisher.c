/* How much of an outbox is handed to a producer, without a broker: nothing is ever acknowledged here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "publisher.h"
#include "tillwire/gen/cart_messages.h"

static struct tw_publisher *open_publisher(void)
{
    struct tw_publisher_options options = {.brokers = "127.0.0.1:1",
                                           .client_id = "test",
                                           .domain = "cart",
                                           .events_topic = "cart.events",
                                           .dlq_topic = "cart.dlq",
                                           .queue_kbytes = 1024};
    struct tw_publisher        *publisher;

    assert_int_equal(tw_publisher_open(&options, &publisher, NULL), TW_OK);
    return publisher;
}

static void pack_events(struct tw_buf *out, int count)
{
    for (int i = 0; i < count; i++) {
        struct tw_event event = {
            .type = &tw_cart_item_added_type, .cause_offset = i, .key = TW_STR("k"), .payload = TW_STR("p")};

        tw_outbox_pack_event(out, &event);
    }
}

/* A broker that does not know a producer yet would let a second request in though the first one failed: a gap. */
static void the_first_event_of_a_producer__goes_alone(void **unused)
{
    struct tw_publisher *publisher = open_publisher();
    struct tw_flight     flight = {.partition = 1};
    struct tw_buf        packed = {0};

    (void)unused;
    pack_events(&packed, 3);
    assert_int_equal(tw_publisher_put(publisher, &flight, tw_buf_str(&packed), 3, NULL), TW_OK);
    assert_int_equal(flight.count, 3);
    assert_int_equal(flight.sent, 1);
    assert_true(tw_publisher_is_waiting(publisher));
    tw_publisher_serve(publisher, 0);
    assert_int_equal(flight.sent, 1);
    tw_publisher_withdraw(publisher, &flight);
    assert_true(tw_flight_is_done(&flight));
    tw_publisher_close(publisher, 0);
    tw_flight_done(&flight);
    tw_buf_done(&packed);
}

static void an_empty_outbox__is_done_at_once(void **unused)
{
    struct tw_publisher *publisher = open_publisher();
    struct tw_flight     flight = {0};

    (void)unused;
    assert_int_equal(tw_publisher_put(publisher, &flight, (struct tw_str){NULL, 0}, 3, NULL), TW_OK);
    assert_true(tw_flight_is_done(&flight));
    assert_false(tw_publisher_is_waiting(publisher));
    tw_publisher_close(publisher, 0);
    tw_flight_done(&flight);
}

static void a_damaged_outbox__is_a_broken_invariant(void **unused)
{
    struct tw_publisher *publisher = open_publisher();
    struct tw_flight     flight = {0};
    struct tw_err        err;

    (void)unused;
    assert_int_equal(tw_publisher_put(publisher, &flight, TW_STR("\x07rubbish"), 3, &err), TW_BROKEN);
    tw_publisher_close(publisher, 0);
    tw_flight_done(&flight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_event_of_a_producer__goes_alone),
        cmocka_unit_test(an_empty_outbox__is_done_at_once),
        cmocka_unit_test(a_damaged_outbox__is_a_broken_invariant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
