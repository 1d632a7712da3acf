/* The sleepers read from an eventfd that counts: no futex, which is what is crowded. */
#include "reserve.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tillwire/base.h"

enum { EVERYBODY = 1000000 };

struct tw_reserve {
    int        called_fd; /* counts those that are called and have not come yet */
    atomic_int called;    /* how many were, in all */
};

static void call(struct tw_reserve *reserve, int count)
{
    uint64_t value = (uint64_t)count;

    while (write(reserve->called_fd, &value, sizeof(value)) < 0 && errno == EINTR) {
    }
}

struct tw_reserve *tw_reserve_new(void)
{
    struct tw_reserve *reserve = tw_alloc_zeroed(1, sizeof(*reserve));

    reserve->called_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    if (reserve->called_fd < 0)
        tw_out_of_memory(sizeof(*reserve));
    tw_reserve_taken(reserve, 0);
    return reserve;
}

void tw_reserve_free(struct tw_reserve *reserve)
{
    if (!reserve)
        return;
    close(reserve->called_fd);
    free(reserve);
}

void tw_reserve_join(struct tw_reserve *reserve)
{
    uint64_t one;

    while (read(reserve->called_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void tw_reserve_taken(struct tw_reserve *reserve, int connections)
{
    int wanted = connections + TW_RESERVE_FREE;
    int called = atomic_load_explicit(&reserve->called, memory_order_relaxed);

    while (called < wanted) {
        if (atomic_compare_exchange_weak(&reserve->called, &called, wanted)) {
            call(reserve, wanted - called);
            return;
        }
    }
}

void tw_reserve_end(struct tw_reserve *reserve)
{
    call(reserve, EVERYBODY);
}
