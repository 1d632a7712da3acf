#include "kept.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tillwire/clock.h"

struct tw_kept {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t  ended;
    struct tw_buf   body;
    int64_t         made_us; /* when its asker began: it may show nothing newer */
    int64_t         began_us;
    bool            is_made;
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
    free(kept);
}

static bool is_younger(const struct tw_kept *kept, int64_t now_us, int seconds)
{
    return kept->is_made && now_us - kept->made_us < INT64_C(1000000) * seconds;
}

static void await_end(struct tw_kept *kept, int wait_ms)
{
    int64_t         until_us = tw_monotonic_us() + INT64_C(1000) * wait_ms;
    struct timespec until = {until_us / 1000000, (until_us % 1000000) * 1000};
    int             rc = 0;

    while (kept->is_asking && rc == 0)
        rc = pthread_cond_timedwait(&kept->ended, &kept->lock, &until);
}

/** Locked. Who waited in vain does not ask in turn: what failed a moment ago would cost each of them the same again. */
static enum tw_rc get(struct tw_kept *kept, int64_t now_us, int wait_ms)
{
    if (is_younger(kept, now_us, TW_KEPT_S))
        return TW_OK;
    if (!kept->is_asking) {
        kept->is_asking = true;
        kept->began_us = now_us;
        return TW_NOT_FOUND;
    }
    if (is_younger(kept, now_us, 2 * TW_KEPT_S))
        return TW_OK;
    await_end(kept, wait_ms);
    return is_younger(kept, now_us, TW_KEPT_S) ? TW_OK : TW_UNREACHED;
}

enum tw_rc tw_kept_get(struct tw_kept *kept, int64_t now_us, int wait_ms, struct tw_buf *out, int *ret_age_s)
{
    pthread_mutex_lock(&kept->lock);
    enum tw_rc rc = get(kept, now_us, wait_ms);
    if (rc == TW_OK) {
        tw_buf_add_str(out, tw_buf_str(&kept->body));
        *ret_age_s = now_us > kept->made_us ? (int)((now_us - kept->made_us) / 1000000) : 0;
    }
    pthread_mutex_unlock(&kept->lock);
    return rc;
}

void tw_kept_put(struct tw_kept *kept, struct tw_str body)
{
    pthread_mutex_lock(&kept->lock);
    if (body.ptr) {
        tw_buf_clear(&kept->body);
        tw_buf_add_str(&kept->body, body);
        kept->made_us = kept->began_us;
        kept->is_made = true;
    }
    kept->is_asking = false;
    pthread_cond_broadcast(&kept->ended);
    pthread_mutex_unlock(&kept->lock);
}
