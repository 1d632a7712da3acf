#include "pace.h"

#define MILLION INT64_C(1000000)

enum { BUCKETS_A_SECOND = 20 };

static int64_t bucket(const struct tw_pace *pace)
{
    int64_t commands = pace->rate / BUCKETS_A_SECOND;

    return (commands > 0 ? commands : 1) * MILLION;
}

/* Half a bucket, and one command at least. */
static int64_t enough(const struct tw_pace *pace)
{
    int64_t half = bucket(pace) / 2;

    return half > MILLION ? half : MILLION;
}

/* A millionth of a command takes 1/rate microseconds. After a long silence the bucket is full, not more. */
static void fill(struct tw_pace *pace, int64_t now_us)
{
    int64_t missing = bucket(pace) - pace->millionths;
    int64_t passed_us = now_us - pace->at_us;

    if (passed_us <= 0)
        return;
    pace->at_us = now_us;
    pace->millionths += passed_us > missing / pace->rate ? missing : passed_us * pace->rate;
}

void tw_pace_init(struct tw_pace *pace, int64_t rate, int64_t now_us)
{
    *pace = (struct tw_pace){.rate = rate, .at_us = now_us};
    pace->millionths = bucket(pace);
}

int64_t tw_pace_allows(struct tw_pace *pace, int64_t now_us)
{
    fill(pace, now_us);
    return pace->millionths >= enough(pace) ? pace->millionths / MILLION : 0;
}

void tw_pace_spend(struct tw_pace *pace, int64_t count)
{
    pace->millionths -= count * MILLION;
}

int64_t tw_pace_wait_us(struct tw_pace *pace, int64_t now_us)
{
    int64_t missing;

    fill(pace, now_us);
    missing = enough(pace) - pace->millionths;
    return missing > 0 ? (missing + pace->rate - 1) / pace->rate : 0;
}
