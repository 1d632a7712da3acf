#include "freeze.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tillwire/clock.h"

enum { RENEW_US = 5000000, TRIES = 200, OUTBOX_WAIT_US = 30000000 };

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Of a mark: above these bits stands whose it is. */
enum { COUNTER_BITS = 40 };

static int64_t tag_of(const char *place)
{
    uint8_t hash[crypto_generichash_BYTES_MIN];
    int64_t tag;

    crypto_generichash(hash, sizeof(hash), (const unsigned char *)place, strlen(place), NULL, 0);
    memcpy(&tag, hash, sizeof(tag));
    return tag & (INT64_MAX >> COUNTER_BITS);
}

static int64_t new_mark(const char *place)
{
    int64_t counter = 0;

    arc4random_buf(&counter, sizeof(counter));
    counter &= (INT64_C(1) << (COUNTER_BITS - 1)) - 1; /* counted on with each renewal, never into the tag */
    return tag_of(place) << COUNTER_BITS | (counter + 1);
}

bool tw_freeze_is_of(int64_t mark, const char *place)
{
    return (mark < 0 ? -mark : mark) >> COUNTER_BITS == tag_of(place);
}

static enum tw_rc read_partition(struct tw_freeze *freeze, int32_t partition, struct tw_progress *ret_progress,
                                 struct tw_err *reterr)
{
    tw_arena_reset(&freeze->arena);
    return freeze->store->watermark(freeze->store->self, partition, &freeze->arena, ret_progress, reterr);
}

/* --- without holding it ------------------------------------------------------------------------------------------ */

static enum tw_rc interrupted(struct tw_err *reterr)
{
    return tw_fail(reterr, TW_UNREACHED, "freeze", 0, "interrupted");
}

static enum tw_rc nobody_publishes(int32_t partition, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_UNREACHED, "freeze", 0,
                   "nobody publishes the last events of partition %" PRId32 ": is the worker running?", partition);
}

/* A watermark that has moved on, or an outbox that is empty: what stood in the outbox is published. */
static enum tw_rc settle(const struct tw_store *store, int32_t partition, struct tw_arena *arena, int64_t deadline_us,
                         const atomic_bool *stop, struct tw_progress *ret_progress, struct tw_err *reterr)
{
    struct tw_progress now;

    TW_TRY(store->watermark(store->self, partition, arena, ret_progress, reterr));
    for (now = *ret_progress; now.outbox.len && now.next_offset == ret_progress->next_offset;) {
        if (atomic_load(stop))
            return interrupted(reterr);
        if (tw_monotonic_us() > deadline_us)
            return nobody_publishes(partition, reterr);
        pause_ms(20);
        tw_arena_reset(arena);
        TW_TRY(store->watermark(store->self, partition, arena, &now, reterr));
    }
    return TW_OK;
}

enum tw_rc tw_settled_vector(const struct tw_store *store, int32_t partition_count, const atomic_bool *stop,
                             struct tw_progress *ret_vector, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    int64_t                                deadline_us = tw_monotonic_us() + OUTBOX_WAIT_US;
    enum tw_rc                             rc = TW_OK;

    for (int32_t partition = 0; partition < partition_count; partition++) {
        enum tw_rc of_this = settle(store, partition, &arena, deadline_us, stop, &ret_vector[partition], reterr);

        ret_vector[partition].outbox = (struct tw_str){NULL, 0};
        if (of_this != TW_OK && of_this != TW_UNREACHED)
            return of_this;
        rc = of_this == TW_OK ? rc : of_this;
    }
    return rc;
}

/* --- taking ------------------------------------------------------------------------------------------------------- */

static enum tw_rc is_held(int32_t partition, int64_t mark, struct tw_err *reterr)
{
    if (mark < 0)
        return tw_fail(reterr, TW_FENCED, "freeze", 0,
                       "partition %" PRId32 " is held by a swap that was interrupted: give the rebuild command again",
                       partition);
    return tw_fail(reterr, TW_FENCED, "freeze", 0,
                   "partition %" PRId32 " is held by another verify, rebuild or snapshot: wait for it; if none is "
                   "running, the worker ends it within a minute",
                   partition);
}

/* The worker moves on between our look and our mark, but not every time. */
static enum tw_rc take_partition(struct tw_freeze *freeze, int32_t partition, int64_t mark, struct tw_err *reterr)
{
    const struct tw_store *store = freeze->store;
    struct tw_progress    *progress = &freeze->vector[partition];
    enum tw_rc             rc = TW_FENCED;

    for (int i = 0; i < TRIES && (rc == TW_FENCED || rc == TW_UNKNOWN); i++) {
        TW_TRY(read_partition(freeze, partition, progress, reterr));
        if (progress->mark && progress->mark != mark)
            return is_held(partition, progress->mark, reterr);
        if (progress->mark) /* an answer was lost */
            rc = TW_OK;
        else
            rc = store->set_mark(store->self, partition, progress->next_offset, 0, mark, reterr);
    }
    if (rc == TW_FENCED)
        return tw_fail(reterr, TW_FENCED, "freeze", 0,
                       "partition %" PRId32 " moves on faster than it can be held: try again when less is going on",
                       partition);
    TW_TRY(rc);
    progress->mark = 0;
    progress->outbox = (struct tw_str){NULL, 0};
    freeze->frozen[partition] = (struct tw_frozen){progress->next_offset, mark};
    return TW_OK;
}

enum tw_rc tw_freeze_take(struct tw_freeze *freeze, const struct tw_store *store, int32_t partition_count,
                          const char *place, struct tw_err *reterr)
{
    int64_t    mark = new_mark(place);
    enum tw_rc rc = TW_OK;

    *freeze = (struct tw_freeze){
        .store = store,
        .partition_count = partition_count,
        .frozen = tw_alloc_zeroed((size_t)partition_count, sizeof(*freeze->frozen)),
        .vector = tw_alloc_zeroed((size_t)partition_count, sizeof(*freeze->vector)),
        .renewed_at_us = tw_monotonic_us(),
    };
    for (int32_t partition = 0; rc == TW_OK && partition < partition_count; partition++)
        rc = take_partition(freeze, partition, mark, reterr);
    if (rc != TW_OK)
        tw_freeze_release(freeze);
    return rc;
}

/* Another mark, or none, in the place of ours. An answer that is lost is looked up. */
static enum tw_rc replace_mark(struct tw_freeze *freeze, int32_t partition, int64_t to, struct tw_err *reterr)
{
    const struct tw_store *store = freeze->store;
    struct tw_frozen      *frozen = &freeze->frozen[partition];
    enum tw_rc             rc = store->set_mark(store->self, partition, frozen->next_offset, frozen->mark, to, reterr);

    if (rc == TW_UNKNOWN) {
        struct tw_progress progress;

        TW_TRY(read_partition(freeze, partition, &progress, reterr));
        rc = progress.mark == to
                 ? TW_OK
                 : store->set_mark(store->self, partition, frozen->next_offset, frozen->mark, to, reterr);
    }
    TW_TRY(rc);
    frozen->mark = to;
    return TW_OK;
}

static enum tw_rc renew_partition(struct tw_freeze *freeze, int32_t partition, struct tw_err *reterr)
{
    enum tw_rc rc = replace_mark(freeze, partition, freeze->frozen[partition].mark + 1, reterr);

    if (rc == TW_FENCED)
        return tw_fail(reterr, TW_FENCED, "freeze", 0,
                       "partition %" PRId32 " was taken from us, because we did not renew our hold in time: give the "
                       "command again",
                       partition);
    return rc;
}

enum tw_rc tw_freeze_renew(struct tw_freeze *freeze, struct tw_err *reterr)
{
    if (tw_monotonic_us() - freeze->renewed_at_us < RENEW_US)
        return TW_OK;
    freeze->renewed_at_us = tw_monotonic_us();
    for (int32_t partition = 0; partition < freeze->partition_count; partition++)
        TW_TRY(renew_partition(freeze, partition, reterr));
    return TW_OK;
}

enum tw_rc tw_freeze_wait_for_outboxes(struct tw_freeze *freeze, const atomic_bool *stop, struct tw_err *reterr)
{
    int64_t deadline_us = tw_monotonic_us() + OUTBOX_WAIT_US;
    int32_t partition = 0;

    while (partition < freeze->partition_count) {
        struct tw_progress progress;

        TW_TRY(read_partition(freeze, partition, &progress, reterr));
        if (!progress.outbox.len) {
            partition++;
            continue;
        }
        if (atomic_load(stop))
            return interrupted(reterr);
        if (tw_monotonic_us() > deadline_us)
            return nobody_publishes(partition, reterr);
        TW_TRY(tw_freeze_renew(freeze, reterr));
        pause_ms(20);
    }
    return TW_OK;
}

void tw_freeze_hand_over(struct tw_freeze *freeze)
{
    for (int32_t partition = 0; freeze->frozen && partition < freeze->partition_count; partition++)
        freeze->frozen[partition].mark = 0;
}

/* After whatever went wrong: looked at first, as the port asks. The answer to a renewal may have been lost. */
static void release_partition(struct tw_freeze *freeze, int32_t partition)
{
    struct tw_frozen  *frozen = &freeze->frozen[partition];
    struct tw_progress progress;

    if (read_partition(freeze, partition, &progress, NULL) != TW_OK)
        return;
    if (progress.mark == frozen->mark + 1)
        frozen->mark = progress.mark;
    replace_mark(freeze, partition, 0, NULL);
}

void tw_freeze_release(struct tw_freeze *freeze)
{
    for (int32_t partition = 0; freeze->frozen && partition < freeze->partition_count; partition++)
        if (freeze->frozen[partition].mark)
            release_partition(freeze, partition);
    tw_freeze_hand_over(freeze);
}

void tw_freeze_done(struct tw_freeze *freeze)
{
    if (!freeze)
        return;
    tw_freeze_release(freeze);
    free(freeze->frozen);
    free(freeze->vector);
    tw_arena_done(&freeze->arena);
    *freeze = (struct tw_freeze){0};
}
