/**
 * Another process with the same group instance id: Kafka lets the one that came last into the group and fences the other.
 * A broker that was restarted may take a member for its own rival, so the first times a new consumer simply joins under
 * the same name. Two that go on taking each other's place would do so for ever; then one of them has to go.
 *
 * Threads: the loop's.
 */
#ifndef TILLWIRE_RUNTIME_RIVAL_H
#define TILLWIRE_RUNTIME_RIVAL_H

#include "tillwire/err.h"

enum {
    TW_RIVAL_NEAR_US = 10000000, /* not ready for so long after it was last seen */
    TW_RIVAL_GONE_US = 60000000, /* then all before is forgotten */
    TW_RIVAL_WINS = 3,
};

/** Zero-initialised: none was seen. */
struct tw_rival {
    int64_t seen_us;
    int     times;
};

/** It took our place. FENCED: too often; this process is to end. */
enum tw_rc tw_rival_seen(struct tw_rival *rival, int64_t now_us, const char *instance_id, struct tw_err *reterr);
/** It was seen a short time ago. */
bool       tw_rival_is_near(const struct tw_rival *rival, int64_t now_us);

#endif
