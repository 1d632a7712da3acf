#include "kept.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tillwire/clock.h"

struct tw_kept {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t  ended;
    struct tw_buf   body;
    int64_t         made_us;      /* when its asker began: it may show nothing newer */
    int64_t        *next_offsets; /* of the partitions it was made from: it shows what lies below */
    size_t          partitions;
    int64_t         began_us;
    size_t          made_count;
    bool            is_asking;
};

struct tw_kept *tw_kept_new(void)
{
    struct tw_kept    *kept = tw_alloc_zeroed(1, sizeof(*kept));
    pthread_condattr_t attr;

    pthread_mutex_init(&kept->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&kept->ended, &attr);
    pthread_condattr_destroy(&attr);
    return kept;
}

void tw_kept_free(struct tw_kept *kept)
{
    if (!kept)
        return;
    pthread_cond_destroy(&kept->ended);
    pthread_mutex_destroy(&kept->lock);
    tw_buf_done(&kept->body);
    free(kept->next_offsets);
    free(kept);
}

static bool is_younger(const struct tw_kept *kept, int64_t now_us, int seconds)
{
    return kept->made_count > 0 && now_us - kept->made_us < INT64_C(1000000) * seconds;
}

static void await_end(struct tw_kept *kept, int wait_ms)
{
    int64_t         until_us = tw_monotonic_us() + INT64_C(1000) * wait_ms;
    struct timespec until = {until_us / 1000000, (until_us % 1000000) * 1000};
    int             rc = 0;

    while (kept->is_asking && rc == 0)
        rc = pthread_cond_timedwait(&kept->ended, &kept->lock, &until);
}

static bool shows(const struct tw_kept *kept, const struct tw_kept_ask *ask)
{
    for (size_t i = 0; i < ask->write_count; i++) {
        const struct tw_consistency *write = &ask->writes[i];

        if ((size_t)write->partition >= kept->partitions || kept->next_offsets[write->partition] <= write->offset)
            return false;
    }
    return true;
}

static bool is_good(const struct tw_kept *kept, const struct tw_kept_ask *ask)
{
    return is_younger(kept, ask->now_us, TW_KEPT_S) && shows(kept, ask);
}

/** Locked. Makes the asker the one to make it. */
static enum tw_rc begin(struct tw_kept *kept, const struct tw_kept_ask *ask)
{
    kept->is_asking = true;
    kept->began_us = ask->now_us;
    return TW_NOT_FOUND;
}

/** Locked. Who waited in vain does not ask in turn: what failed a moment ago would cost each of them the same again. But
 *  who got what was begun before its write could be read does: once, and then it shows. */
static enum tw_rc get(struct tw_kept *kept, const struct tw_kept_ask *ask)
{
    if (is_good(kept, ask))
        return TW_OK;
    if (!kept->is_asking)
        return begin(kept, ask);
    if (is_younger(kept, ask->now_us, 2 * TW_KEPT_S) && shows(kept, ask))
        return TW_OK;
    size_t made_count = kept->made_count;
    await_end(kept, ask->wait_ms);
    if (!is_good(kept, ask) && !kept->is_asking && kept->made_count != made_count)
        return begin(kept, ask);
    return is_younger(kept, ask->now_us, (ask->write_count > 0 ? 2 : 1) * TW_KEPT_S) ? TW_OK : TW_UNREACHED;
}

enum tw_rc tw_kept_get(struct tw_kept *kept, const struct tw_kept_ask *ask, struct tw_buf *out,
                       struct tw_kept_answer *ret_answer)
{
    pthread_mutex_lock(&kept->lock);
    enum tw_rc rc = get(kept, ask);
    if (rc == TW_OK) {
        tw_buf_add_str(out, tw_buf_str(&kept->body));
        ret_answer->age_s = ask->now_us > kept->made_us ? (int)((ask->now_us - kept->made_us) / 1000000) : 0;
        ret_answer->is_stale = !shows(kept, ask);
    }
    pthread_mutex_unlock(&kept->lock);
    return rc;
}

static void keep_offsets(struct tw_kept *kept, const int64_t *next_offsets, size_t count)
{
    if (kept->partitions != count) {
        free(kept->next_offsets);
        kept->next_offsets = tw_alloc_zeroed(count > 0 ? count : 1, sizeof(*next_offsets));
        kept->partitions = count;
    }
    if (count > 0)
        memcpy(kept->next_offsets, next_offsets, count * sizeof(*next_offsets));
}

void tw_kept_put(struct tw_kept *kept, struct tw_str body, const int64_t *next_offsets, size_t count)
{
    pthread_mutex_lock(&kept->lock);
    if (body.ptr) {
        tw_buf_clear(&kept->body);
        tw_buf_add_str(&kept->body, body);
        keep_offsets(kept, next_offsets, count);
        kept->made_us = kept->began_us;
        kept->made_count++;
    }
    kept->is_asking = false;
    pthread_cond_broadcast(&kept->ended);
    pthread_mutex_unlock(&kept->lock);
}
