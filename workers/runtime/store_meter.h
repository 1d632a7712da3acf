/**
 * A store that times its calls: it stands before the real one and counts how long each kind of call takes and how it
 * ends, for /metrics.
 *
 * Threads: those of the store behind it.
 */
#ifndef TILLWIRE_RUNTIME_STORE_METER_H
#define TILLWIRE_RUNTIME_STORE_METER_H

#include "tillwire/store.h"

enum tw_store_system { TW_STORE_POSTGRESQL, TW_STORE_MONGODB, TW_STORE_REDIS, TW_STORE_OTHER, TW_STORE_SYSTEMS };

/** What a setting's name ("redis_uri") says of the store it is the address of. */
enum tw_store_system tw_store_system_of(const char *setting);

struct tw_store_meter {
    const struct tw_store *store;
    enum tw_store_system   system;
};

/** @p ret_metered calls @p store; its `self` is @p meter. Both outlive it. */
void tw_store_meter_wrap(struct tw_store_meter *meter, const struct tw_store *store, enum tw_store_system system,
                         struct tw_store *ret_metered);

#endif
