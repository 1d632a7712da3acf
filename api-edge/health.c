#include "health.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "tillwire/log.h"

enum { EVERY_MS = 1000, STEP_MS = 50 };

struct tw_health {
    struct tw_edge *edge;
    void (*on_mismatch)(void);
    pthread_t   thread;
    atomic_bool stopping;
    bool        told; /* the first round is over */
};

/** Said at first and when it changes, not every second. */
static void set_part(const struct tw_health *health, atomic_bool *part, const char *name, bool good,
                     const struct tw_err *err)
{
    bool was_good = atomic_exchange(part, good);

    if (good == was_good && health->told)
        return;
    if (good)
        tw_log(TW_LOG_INFO, "store answers", TW_F_TEXT("store", name));
    else
        tw_log_err(TW_LOG_WARN, "store does not answer", err,
                   (const struct tw_log_field[]){TW_F_TEXT("store", name), {0}});
}

static void check(struct tw_health *health)
{
    struct tw_edge        *edge = health->edge;
    struct tw_edge_health *parts = &edge->health;
    struct tw_err          err = {0};
    enum tw_rc             pins = tw_members_check_pins(edge->members, edge->id_key_check, &err);

    set_part(health, &parts->postgres, "postgres", pins != TW_UNREACHED, &err);
    if (pins != TW_UNREACHED)
        atomic_store(&parts->pins, pins == TW_OK);
    if (pins == TW_INVALID) {
        tw_log_err(TW_LOG_ERROR, "this edge must not run against this database", &err, NULL);
        health->on_mismatch();
    }
    if (atomic_load(&health->stopping)) /* each store may take its time-out */
        return;
    set_part(health, &parts->mongo, "mongo", tw_products_ping(edge->products, &err) == TW_OK, &err);
    if (atomic_load(&health->stopping))
        return;
    set_part(health, &parts->redis, "redis", tw_carts_ping(edge->carts, &err) == TW_OK, &err);
    health->told = true;
}

static void *health_main(void *self)
{
    struct tw_health *health = self;

    pthread_setname_np(pthread_self(), "health");
    while (!atomic_load(&health->stopping)) {
        check(health);
        for (int waited = 0; waited < EVERY_MS && !atomic_load(&health->stopping); waited += STEP_MS)
            usleep(STEP_MS * 1000);
    }
    return NULL;
}

struct tw_health *tw_health_start(struct tw_edge *edge, void (*on_mismatch)(void))
{
    struct tw_health *health = tw_alloc_zeroed(1, sizeof(*health));

    health->edge = edge;
    health->on_mismatch = on_mismatch;
    if (pthread_create(&health->thread, NULL, health_main, health) != 0)
        tw_out_of_memory(sizeof(*health));
    return health;
}

void tw_health_end(struct tw_health *health)
{
    atomic_store(&health->stopping, true);
}

void tw_health_stop(struct tw_health *health)
{
    if (!health)
        return;
    tw_health_end(health);
    pthread_join(health->thread, NULL);
    free(health);
}
