#include "stores/known_ids.h"

#include <sodium.h>
#include <string.h>

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == TW_KNOWN_KEY_BYTES, "key length");

struct place {
    size_t   set;
    size_t   way; /* to overwrite when all are taken */
    uint64_t mark;
};

static struct place place_of(const struct tw_known_ids *ids, struct tw_uuid id)
{
    uint64_t hash[2];

    crypto_shorthash_siphashx24((unsigned char *)hash, id.bytes, sizeof(id.bytes), ids->key);
    return (struct place){hash[0] % TW_KNOWN_SETS, (hash[0] >> 32) % TW_KNOWN_WAYS, hash[1] | 1};
}

void tw_known_ids_init(struct tw_known_ids *ids)
{
    memset(ids, 0, sizeof(*ids));
    randombytes_buf(ids->key, sizeof(ids->key));
}

bool tw_known_ids_has(const struct tw_known_ids *ids, struct tw_uuid id)
{
    struct place place = place_of(ids, id);

    for (size_t way = 0; way < TW_KNOWN_WAYS; way++) {
        if (atomic_load_explicit(&ids->marks[place.set][way], memory_order_relaxed) == place.mark)
            return true;
    }
    return false;
}

void tw_known_ids_add(struct tw_known_ids *ids, struct tw_uuid id)
{
    struct place place = place_of(ids, id);

    for (size_t way = 0; way < TW_KNOWN_WAYS; way++) {
        uint64_t expected = 0;
        if (atomic_compare_exchange_strong(&ids->marks[place.set][way], &expected, place.mark) ||
            expected == place.mark)
            return;
    }
    atomic_store_explicit(&ids->marks[place.set][place.way], place.mark, memory_order_relaxed);
}
