/* `twctl topics`: lib/kafka_topics.c does the work. */
#include <stdio.h>

#include "ctl.h"
#include "tillwire/kafka.h"

enum tw_ctl_exit tw_ctl_topics_apply(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_buf_done) struct tw_buf done = {0};
    struct tw_err                      err = {0};
    enum tw_rc                         rc =
        tw_topics_apply(settings->kafka, (int)settings->replication, (int)settings->broker_timeout_ms, &done, &err);

    tw_ctl_print_lines("Kafka", tw_buf_str(&done)); /* also what was done before a failure */
    if (rc != TW_OK)
        return tw_ctl_failed("Kafka", &err);
    if (done.len == 0)
        puts("Kafka: all topics are as the manifest says");
    return TW_CTL_DONE;
}

enum tw_ctl_exit tw_ctl_topics_diff(const struct tw_ctl_settings *settings)
{
    TW_AUTO(tw_buf_done) struct tw_buf differences = {0};
    struct tw_err                      err = {0};

    if (tw_topics_diff(settings->kafka, NULL, (int)settings->broker_timeout_ms, &differences, &err) != TW_OK)
        return tw_ctl_failed("Kafka", &err);
    tw_ctl_print_lines("Kafka", tw_buf_str(&differences));
    if (differences.len > 0)
        return TW_CTL_REFUSED;
    puts("Kafka: all topics are as the manifest says");
    return TW_CTL_DONE;
}
