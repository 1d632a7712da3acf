#include "thread_group.h"

#include <pthread.h>
#include <time.h>

enum { THREADS_MAX = 16 };

struct failure {
    pthread_mutex_t lock; /* guards the two below */
    enum tw_rc      rc;
    struct tw_err   err; /* of whoever failed first */
};

/* What a thread is given. */
struct part {
    struct tw_thread_group *group;
    struct failure         *failure;
};

bool tw_thread_group_must_end(const struct tw_thread_group *group)
{
    return atomic_load(&group->must_end) || atomic_load(&tw_replay_stop);
}

static void give_up(struct tw_thread_group *group, struct failure *failure, const struct tw_err *err)
{
    pthread_mutex_lock(&failure->lock);
    if (failure->rc == TW_OK) {
        failure->err = *err;
        failure->rc = err->rc;
    }
    pthread_mutex_unlock(&failure->lock);
    atomic_store(&group->must_end, true);
}

static void *thread_main(void *argument)
{
    const struct part      *part = argument;
    struct tw_thread_group *group = part->group;
    struct tw_err           err;

    if (group->run(group->self, &err) != TW_OK)
        give_up(group, part->failure, &err);
    atomic_fetch_sub(&group->running, 1);
    return NULL;
}

static int start(struct part *part, pthread_t ids[THREADS_MAX])
{
    int count = 0;

    for (; count < part->group->wanted && count < THREADS_MAX; count++) {
        atomic_fetch_add(&part->group->running, 1);
        if (pthread_create(&ids[count], NULL, thread_main, part) == 0)
            continue;
        atomic_fetch_sub(&part->group->running, 1);
        break;
    }
    return count;
}

static void look_after(struct tw_thread_group *group, struct failure *failure)
{
    while (atomic_load(&group->running)) {
        struct tw_err err;

        if (group->look_after(group->self, &err) != TW_OK)
            give_up(group, failure, &err);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

enum tw_rc tw_thread_group_run(struct tw_thread_group *group, struct tw_err *reterr)
{
    struct failure failure = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct part    part = {group, &failure};
    pthread_t      ids[THREADS_MAX];
    int            count = start(&part, ids);

    if (!count)
        return tw_fail(reterr, TW_UNREACHED, "replay", 0, "cannot start a thread");
    look_after(group, &failure);
    while (count > 0)
        pthread_join(ids[--count], NULL);
    pthread_mutex_destroy(&failure.lock);
    if (failure.rc != TW_OK)
        *reterr = failure.err;
    else if (tw_replay_stop)
        return tw_fail(reterr, TW_UNREACHED, "replay", 0, "interrupted: the same command goes on from here");
    return failure.rc;
}
