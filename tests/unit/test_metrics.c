/* `test_metrics print` shows a page of metrics: check_metrics_text.py reads it like Prometheus does. */
#include "tillwire/metrics.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static struct tw_metric applied = {.name = "tillwire_records_total",
                                   .labels = "outcome=\"applied\"",
                                   .kind = TW_COUNTER,
                                   .help = "Records \\ so far.\nAll."};
static struct tw_metric lag = {.name = "tillwire_lag_records", .kind = TW_GAUGE, .help = "Behind."};
static struct tw_metric rejected = {.name = "tillwire_records_total",
                                    .labels = "outcome=\"rejected\"",
                                    .kind = TW_COUNTER,
                                    .help = "Records \\ so far.\nAll."};
static struct tw_metric commit_seconds = {
    .name = "tillwire_commit_seconds", .labels = "store=\"redis\"", .kind = TW_HISTOGRAM, .help = "Time of a commit."};
static struct tw_metric turn_seconds = {
    .name = "tillwire_turn_seconds", .kind = TW_HISTOGRAM, .help = "Time of a turn."};
static struct tw_metric batch = {.name = "tillwire_batch_records", .kind = TW_SIZES, .help = "Records of a batch."};
static struct tw_metric shown = {.name = "tillwire_shown_total", .kind = TW_COUNTER, .help = "From the start."};
TW_METRICS_SHOWN(&shown)
static struct tw_metric left = {.name = "tillwire_left", .kind = TW_GAUGE, .help = "Of what may leave."};
static struct tw_metric busy = {.name = "tillwire_busy_total", .kind = TW_COUNTER, .help = "Added to by threads."};
static struct tw_metric never = {.name = "tillwire_never_total", .kind = TW_COUNTER, .help = "Not registered."};

static void fill(void)
{
    tw_metric_add(&applied, 3);
    tw_metric_add(&applied, 4);
    tw_metric_set(&lag, 10);
    tw_metric_set(&lag, -2);
    tw_metric_add(&rejected, 1);
    tw_metric_observe_us(&commit_seconds, 0);
    tw_metric_observe_us(&commit_seconds, 100);
    tw_metric_observe_us(&commit_seconds, 101);
    tw_metric_observe_us(&commit_seconds, 52428800);
    tw_metric_observe_us(&commit_seconds, 52428801);
    tw_metric_observe_us(&turn_seconds, 1500000);
    tw_metric_observe_size(&batch, 1);
    tw_metric_observe_size(&batch, 500);
    tw_metric_observe_size(&batch, 600000);
}

static int setup(void **state)
{
    (void)state;
    fill();
    return 0;
}

static void counters_and_gauges__show_their_value(void **state)
{
    const char *text = tw_metrics_page();

    (void)state;
    assert_non_null(strstr(text, "\ntillwire_records_total{outcome=\"applied\"} 7\n"
                                 "tillwire_records_total{outcome=\"rejected\"} 1\n"));
    assert_non_null(strstr(text, "# TYPE tillwire_lag_records gauge\ntillwire_lag_records -2\n"));
}

static void metrics_of_one_name__share_one_escaped_head(void **state)
{
    static const char head[] =
        "# HELP tillwire_records_total Records \\\\ so far.\\nAll.\n# TYPE tillwire_records_total counter\n";
    const char *first = strstr(tw_metrics_page(), head);

    (void)state;
    assert_non_null(first);
    assert_null(strstr(first + 1, "# HELP tillwire_records_total"));
}

static void histogram__is_cumulative_in_seconds(void **state)
{
    const char *text = tw_metrics_page();

    (void)state;
    assert_non_null(strstr(text, "tillwire_commit_seconds_bucket{store=\"redis\",le=\"0.0001\"} 2\n"
                                 "tillwire_commit_seconds_bucket{store=\"redis\",le=\"0.0002\"} 3\n"));
    assert_non_null(strstr(text, "tillwire_commit_seconds_bucket{store=\"redis\",le=\"52.4288\"} 4\n"
                                 "tillwire_commit_seconds_bucket{store=\"redis\",le=\"+Inf\"} 5\n"
                                 "tillwire_commit_seconds_sum{store=\"redis\"} 104.857802\n"
                                 "tillwire_commit_seconds_count{store=\"redis\"} 5\n"));
    assert_non_null(strstr(text, "tillwire_turn_seconds_bucket{le=\"0.8192\"} 0\n"
                                 "tillwire_turn_seconds_bucket{le=\"1.6384\"} 1\n"));
    assert_non_null(strstr(text, "tillwire_turn_seconds_sum 1.5\ntillwire_turn_seconds_count 1\n"));
}

static void sizes__have_bounds_of_their_own(void **state)
{
    const char *text = tw_metrics_page();

    (void)state;
    assert_non_null(strstr(text, "# TYPE tillwire_batch_records histogram\n"
                                 "tillwire_batch_records_bucket{le=\"1\"} 1\n"));
    assert_non_null(strstr(text, "tillwire_batch_records_bucket{le=\"256\"} 1\n"
                                 "tillwire_batch_records_bucket{le=\"512\"} 2\n"));
    assert_non_null(strstr(text, "tillwire_batch_records_bucket{le=\"+Inf\"} 3\n"
                                 "tillwire_batch_records_sum 600501\ntillwire_batch_records_count 3\n"));
}

static void what_is_shown_from_the_start__is_there_before_it_happens(void **state)
{
    (void)state;
    assert_non_null(strstr(tw_metrics_page(), "\ntillwire_shown_total 0\n"));
}

static void what_left__does_not_show_until_it_is_back(void **state)
{
    (void)state;
    tw_metric_set(&left, 5);
    assert_non_null(strstr(tw_metrics_page(), "\ntillwire_left 5\n"));
    tw_metric_hide(&left);
    assert_null(strstr(tw_metrics_page(), "tillwire_left"));
    tw_metric_set(&left, 6);
    assert_null(strstr(tw_metrics_page(), "tillwire_left"));
    tw_metric_show(&left);
    assert_non_null(strstr(tw_metrics_page(), "\ntillwire_left 6\n"));
}

static double value_of(const char *text, const char *name)
{
    char   start[100];
    double value = -1;

    snprintf(start, sizeof(start), "\n%s ", name);
    text = strstr(text, start);
    assert_non_null(text);
    assert_int_equal(sscanf(text + strlen(start), "%lf", &value), 1);
    return value;
}

static int count_open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void process_metrics__are_plausible(void **state)
{
    const char *text = tw_metrics_page();
    double      started = value_of(text, "process_start_time_seconds");

    (void)state;
    assert_true(value_of(text, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(text, "process_threads") >= 1);
    assert_true(value_of(text, "process_cpu_seconds_total") >= 0);
    assert_true(started > 1.7e9);
    assert_true(value_of(text, "process_open_fds") == count_open_descriptors());
}

static void unused_metrics__do_not_show(void **state)
{
    (void)state;
    assert_null(strstr(tw_metrics_page(), never.name));
}

static void *add_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++)
        tw_metric_add(&busy, 1);
    return NULL;
}

static void threads__register_once_and_lose_nothing(void **state)
{
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < TW_LEN(threads); i++)
        pthread_create(&threads[i], NULL, add_many, NULL);
    for (size_t i = 0; i < TW_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_non_null(strstr(tw_metrics_page(), "counter\ntillwire_busy_total 40000\n# HELP tillwire_commit_seconds"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges__show_their_value),
        cmocka_unit_test(metrics_of_one_name__share_one_escaped_head),
        cmocka_unit_test(histogram__is_cumulative_in_seconds),
        cmocka_unit_test(sizes__have_bounds_of_their_own),
        cmocka_unit_test(what_is_shown_from_the_start__is_there_before_it_happens),
        cmocka_unit_test(what_left__does_not_show_until_it_is_back),
        cmocka_unit_test(process_metrics__are_plausible),
        cmocka_unit_test(unused_metrics__do_not_show),
        cmocka_unit_test(threads__register_once_and_lose_nothing),
    };

    if (argc == 2 && strcmp(argv[1], "print") == 0) {
        fill();
        fputs(tw_metrics_page(), stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, setup, NULL);
}
