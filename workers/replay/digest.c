#include "digest.h"

#include <sodium.h>
#include <string.h>

static struct tw_digest hash_of(const struct tw_type *type, const struct tw_key *key, const void *state,
                                struct tw_buf *scratch)
{
    struct tw_digest hash;
    uint8_t          bytes[TW_DIGEST_BYTES];

    tw_buf_clear(scratch);
    tw_buf_add(scratch, &key->kind, sizeof(key->kind));
    tw_buf_add(scratch, key->id.bytes, sizeof(key->id.bytes));
    tw_buf_add(scratch, key->sub.bytes, sizeof(key->sub.bytes));
    type->pack(state, scratch);
    crypto_generichash(bytes, sizeof(bytes), (const unsigned char *)scratch->ptr, scratch->len, NULL, 0);
    memcpy(&hash, bytes, sizeof(hash));
    return hash;
}

/* Sums of 256 bits, without a carry from word to word: each word is a sum of its own. */
void tw_digest_join(struct tw_digest *digest, const struct tw_digest *other)
{
    for (size_t i = 0; i < TW_DIGEST_WORDS; i++)
        digest->words[i] += other->words[i];
}

void tw_digest_add(struct tw_digest *digest, const struct tw_type *type, const struct tw_key *key, const void *state,
                   struct tw_buf *scratch)
{
    struct tw_digest hash = hash_of(type, key, state, scratch);

    tw_digest_join(digest, &hash);
}

void tw_digest_subtract(struct tw_digest *digest, const struct tw_type *type, const struct tw_key *key,
                        const void *state, struct tw_buf *scratch)
{
    struct tw_digest hash = hash_of(type, key, state, scratch);

    for (size_t i = 0; i < TW_DIGEST_WORDS; i++)
        digest->words[i] -= hash.words[i];
}

bool tw_digest_eq(const struct tw_digest *a, const struct tw_digest *b)
{
    return !memcmp(a->words, b->words, sizeof(a->words));
}

bool tw_digest_read(struct tw_str bytes, struct tw_digest *ret_digest)
{
    *ret_digest = (struct tw_digest){0};
    if (!bytes.len)
        return true;
    if (bytes.len != TW_DIGEST_BYTES)
        return false;
    memcpy(ret_digest->words, bytes.ptr, TW_DIGEST_BYTES);
    return true;
}

void tw_digest_write(const struct tw_digest *digest, char ret_bytes[TW_DIGEST_BYTES])
{
    memcpy(ret_bytes, digest->words, TW_DIGEST_BYTES);
}
