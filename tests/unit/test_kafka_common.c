#include "kafka_common.h"

#include "unit.h"

#define BROKER(state, idle) "{\"name\":\"b\",\"state\":\"" state "\",\"stateage\":7,\"txidle\":1,\"rxidle\":" idle "}"

static void silence__is_that_of_the_broker_heard_last(void **unused)
{
    (void)unused;
    assert_int_equal(tw_kafka_silent_us(BROKER("UP", "4000000") "," BROKER("UP", "2500")), 2500);
    assert_int_equal(tw_kafka_silent_us(BROKER("DOWN", "1") "," BROKER("UP", "3000000")), 3000000);
}

static void silence__of_nobody_is_none(void **unused)
{
    (void)unused;
    assert_int_equal(tw_kafka_silent_us("{}"), 0);
    assert_int_equal(tw_kafka_silent_us(BROKER("DOWN", "99")), 0);
    assert_int_equal(tw_kafka_silent_us(BROKER("UP", "-1")), 0); /* connected just now */
    assert_int_equal(tw_kafka_silent_us("{\"state\":\"UP\""), 0);
}

static void brokers__are_counted_by_their_state(void **unused)
{
    (void)unused;
    assert_int_equal(tw_kafka_brokers_up(BROKER("UP", "1") "," BROKER("DOWN", "1") "," BROKER("UP", "1")), 2);
    assert_int_equal(tw_kafka_brokers_up("{}"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence__is_that_of_the_broker_heard_last),
        cmocka_unit_test(silence__of_nobody_is_none),
        cmocka_unit_test(brokers__are_counted_by_their_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
