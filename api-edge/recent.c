#include "recent.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/base.h"

enum { PLACES = 16384, LOCKS = 64 };

struct place {
    struct tw_uuid     command_id; /* nil: free */
    struct tw_uuid     caller;
    struct tw_location location;
};

struct tw_recent {
    pthread_mutex_t locks[LOCKS]; /* each guards every 64th place */
    struct place    places[PLACES];
};

/** Command ids are random or hashes at their end; that is as good as a hash of our own. */
static size_t number_of(struct tw_uuid command_id)
{
    uint32_t tail;

    memcpy(&tail, command_id.bytes + 12, sizeof(tail));
    return tail % PLACES;
}

struct tw_recent *tw_recent_new(void)
{
    struct tw_recent *recent = tw_alloc_zeroed(1, sizeof(*recent));

    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&recent->locks[i], NULL);
    return recent;
}

void tw_recent_free(struct tw_recent *recent)
{
    if (!recent)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&recent->locks[i]);
    free(recent);
}

void tw_recent_add(struct tw_recent *recent, struct tw_uuid command_id, struct tw_uuid caller,
                   const struct tw_location *location)
{
    size_t number = number_of(command_id);

    pthread_mutex_lock(&recent->locks[number % LOCKS]);
    recent->places[number] = (struct place){command_id, caller, *location};
    pthread_mutex_unlock(&recent->locks[number % LOCKS]);
}

bool tw_recent_find(struct tw_recent *recent, struct tw_uuid command_id, struct tw_uuid *ret_caller,
                    struct tw_location *ret_location)
{
    size_t number = number_of(command_id);

    pthread_mutex_lock(&recent->locks[number % LOCKS]);
    struct place place = recent->places[number];
    pthread_mutex_unlock(&recent->locks[number % LOCKS]);
    if (tw_uuid_is_nil(command_id) || !tw_uuid_eq(place.command_id, command_id))
        return false;
    *ret_caller = place.caller;
    *ret_location = place.location;
    return true;
}
