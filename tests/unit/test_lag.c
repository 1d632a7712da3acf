/* Links: tw_test tw_runtime PkgConfig::RDKAFKA */
#include "lag.h"

#include <string.h>

#include "tillwire/metrics.h"
#include "unit.h"

#define RECORDS "tillwire_consumer_lag_records{messaging_destination_partition_id=\"3\"} "
#define SECONDS "tillwire_consumer_lag_seconds{messaging_destination_partition_id=\"3\"} "

static void lag__is_what_lies_between_watermark_and_end_of_log(void **state)
{
    struct tw_partition partition = {.number = 3, .progress.next_offset = 40};

    (void)state;
    tw_lag_tell(&partition, 40, 1000000);
    assert_non_null(strstr(tw_metrics_page(), RECORDS "0\n"));
    assert_non_null(strstr(tw_metrics_page(), SECONDS "0\n"));
    tw_lag_tell(&partition, 140, 2000000);
    assert_non_null(strstr(tw_metrics_page(), RECORDS "100\n"));
    assert_non_null(strstr(tw_metrics_page(), SECONDS "0\n"));
    tw_lag_tell(&partition, 150, 2009000);
    assert_non_null(strstr(tw_metrics_page(), RECORDS "110\n"));
    assert_non_null(strstr(tw_metrics_page(), SECONDS "9\n"));
    partition.progress.next_offset = 150;
    tw_lag_tell(&partition, 150, 2010000);
    assert_non_null(strstr(tw_metrics_page(), SECONDS "0\n"));
}

static void an_unknown_end__is_no_lag(void **state)
{
    struct tw_partition partition = {.number = 3, .progress.next_offset = 40};

    (void)state;
    tw_lag_tell(&partition, -1001, 1000000);
    assert_non_null(strstr(tw_metrics_page(), RECORDS "0\n"));
}

static void a_partition_that_left__has_no_lines(void **state)
{
    struct tw_partition partition = {.number = 3, .progress.next_offset = 40};

    (void)state;
    tw_lag_tell(&partition, 50, 1000000);
    tw_lag_forget(3);
    assert_null(strstr(tw_metrics_page(), "tillwire_consumer_lag"));
    tw_lag_forget(4);
    tw_lag_tell(&partition, 50, 2000000);
    assert_non_null(strstr(tw_metrics_page(), RECORDS "10\n"));
    assert_non_null(strstr(tw_metrics_page(), SECONDS "0\n")); /* what was before is not its own */
    tw_lag_tell(&(struct tw_partition){.number = TW_LAG_PARTITIONS_MAX}, 50, 2000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lag__is_what_lies_between_watermark_and_end_of_log),
        cmocka_unit_test(an_unknown_end__is_no_lag),
        cmocka_unit_test(a_partition_that_left__has_no_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
