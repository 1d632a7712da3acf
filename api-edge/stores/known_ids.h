/**
 * A bounded set of ids that exist. Forgetting one costs a look-up, so it simply overwrites; adding one that does not
 * exist is impossible even on purpose, because places and marks come from a hash keyed with random bytes.
 *
 * Thread safe without locks: an id is one 64-bit word, read and written whole.
 */
#ifndef TILLWIRE_EDGE_KNOWN_IDS_H
#define TILLWIRE_EDGE_KNOWN_IDS_H

#include <stdatomic.h>

#include "tillwire/uuid.h"

enum { TW_KNOWN_SETS = 16384, TW_KNOWN_WAYS = 4, TW_KNOWN_KEY_BYTES = 16 };

struct tw_known_ids {
    uint8_t          key[TW_KNOWN_KEY_BYTES];
    _Atomic uint64_t marks[TW_KNOWN_SETS][TW_KNOWN_WAYS]; /**< 0: free */
};

/** Empty, with a key of its own. */
void tw_known_ids_init(struct tw_known_ids *ids);
bool tw_known_ids_has(const struct tw_known_ids *ids, struct tw_uuid id);
void tw_known_ids_add(struct tw_known_ids *ids, struct tw_uuid id);

#endif
