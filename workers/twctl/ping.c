/* `twctl ping`: one line for each server, whether it answers or not. */
#include <stdio.h>

#include "parts.h"
#include "tillwire/kafka.h"

/* Missing topics are differences, not silence. */
static enum tw_rc ping_kafka(const struct tw_ctl_settings *settings, struct tw_err *reterr)
{
    TW_AUTO(tw_buf_done) struct tw_buf differences = {0};

    return tw_topics_diff(settings->kafka, NULL, (int)settings->broker_timeout_ms, &differences, reterr);
}

static enum tw_rc ping_redis(const struct tw_ctl_settings *settings, struct tw_err *reterr)
{
    return tw_ctl_redis_check(settings, NULL, reterr);
}

static const struct {
    const char *name;
    enum tw_rc (*ping)(const struct tw_ctl_settings *settings, struct tw_err *reterr);
} servers[] = {
    {"Kafka", ping_kafka},
    {"PostgreSQL", tw_ctl_postgres_ping},
    {"MongoDB", tw_ctl_mongo_ping},
    {"Redis", ping_redis},
};

enum tw_ctl_exit tw_ctl_ping(const struct tw_ctl_settings *settings)
{
    enum tw_ctl_exit result = TW_CTL_DONE;

    for (size_t i = 0; i < TW_LEN(servers); i++) {
        struct tw_err    err = {0};
        enum tw_rc       rc = servers[i].ping(settings, &err);
        enum tw_ctl_exit code = tw_ctl_exit_of(rc);

        printf("%s: %s\n", servers[i].name, rc == TW_OK ? "answers" : err.msg);
        result = code > result ? code : result;
    }
    return result;
}
