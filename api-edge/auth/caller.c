/*
 * The cache is a fixed table; a token's place follows from a keyed hash of its text, and a newcomer overwrites. What is
 * remembered of the text is that hash, not the text. Each place has a lock of its own, held while it is read or written
 * and never during a look-up in the store.
 */
#include "auth/caller.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/revocations.h"
#include "stores/sessions.h"
#include "tail.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

#define WHERE "edge.caller"

enum { PLACES = 4096, HASH_BYTES = 32, ROW_COUNTS_US = 1000000 };

/* What is known of a token. */
struct memory {
    struct tw_token_claims claims;
    unsigned               generation;  /* of the keys that verified it */
    int64_t                row_seen_us; /* when its row was last seen to count; 0: never */
};

struct place {
    pthread_mutex_t lock;
    bool            taken;
    uint8_t         hash[HASH_BYTES];
    struct memory   memory;
};

struct tw_callers {
    struct tw_callers_parts parts;
    uint8_t                 key[crypto_generichash_KEYBYTES];
    struct place            places[PLACES];
};

static struct tw_metric refused = {.name = "tillwire_edge_tokens_refused_total",
                                   .kind = TW_COUNTER,
                                   .help = "Requests whose token was missing or not good."};
static struct tw_metric looked_up = {
    .name = "tillwire_edge_token_rows_read_total", .kind = TW_COUNTER, .help = "Look-ups of a token's row."};
TW_METRICS_SHOWN(&refused, &looked_up)

struct tw_callers *tw_callers_new(const struct tw_callers_parts *parts)
{
    struct tw_callers *callers = tw_alloc_zeroed(1, sizeof(*callers));

    callers->parts = *parts;
    randombytes_buf(callers->key, sizeof(callers->key));
    for (size_t i = 0; i < PLACES; i++)
        pthread_mutex_init(&callers->places[i].lock, NULL);
    return callers;
}

void tw_callers_free(struct tw_callers *callers)
{
    if (!callers)
        return;
    for (size_t i = 0; i < PLACES; i++)
        pthread_mutex_destroy(&callers->places[i].lock);
    free(callers);
}

static struct place *place_of(struct tw_callers *callers, struct tw_str token, uint8_t ret_hash[HASH_BYTES])
{
    uint32_t number;

    crypto_generichash(ret_hash, HASH_BYTES, (const unsigned char *)token.ptr, token.len, callers->key,
                       sizeof(callers->key));
    memcpy(&number, ret_hash, sizeof(number));
    return &callers->places[number % PLACES];
}

static bool remembered(struct place *place, const uint8_t hash[HASH_BYTES], struct memory *ret_memory)
{
    pthread_mutex_lock(&place->lock);
    bool found = place->taken && memcmp(place->hash, hash, HASH_BYTES) == 0;
    if (found)
        *ret_memory = place->memory;
    pthread_mutex_unlock(&place->lock);
    return found;
}

static void remember(struct place *place, const uint8_t hash[HASH_BYTES], const struct memory *memory)
{
    pthread_mutex_lock(&place->lock);
    place->taken = true;
    memcpy(place->hash, hash, HASH_BYTES);
    place->memory = *memory;
    pthread_mutex_unlock(&place->lock);
}

/** `Bearer <token>`; the scheme's case does not matter. */
static bool bearer(const struct tw_request *request, struct tw_str *ret_token)
{
    struct tw_str field = request->fields[TW_HEADER_AUTHORIZATION];

    if (field.len < 8 || strncasecmp(field.ptr, "Bearer ", 7) != 0)
        return false;
    *ret_token = (struct tw_str){field.ptr + 7, field.len - 7};
    return true;
}

/** The claims, from memory or by verifying; expiry is looked at each time. What keys verified that are no longer in
 *  force is verified anew. */
static enum tw_rc claims_of(struct tw_callers *callers, struct tw_str token, struct place *place,
                            const uint8_t hash[HASH_BYTES], struct memory *ret_memory, struct tw_err *reterr)
{
    struct tw_key_ring *keys = callers->parts.keys;
    int64_t             now_s = tw_now_ms() / 1000;

    if (!remembered(place, hash, ret_memory) || ret_memory->generation != tw_key_ring_generation(keys)) {
        ret_memory->row_seen_us = 0;
        TW_TRY(tw_key_ring_verify(keys, token, now_s, &ret_memory->claims, &ret_memory->generation, reterr));
        remember(place, hash, ret_memory);
    }
    if (ret_memory->claims.expires_s <= now_s - TW_TOKEN_SKEW_S)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token has expired");
    return TW_OK;
}

static enum tw_rc check_row(struct tw_callers *callers, struct place *place, const uint8_t hash[HASH_BYTES],
                            struct memory *memory, struct tw_err *reterr)
{
    int64_t now_us = tw_monotonic_us();

    if (memory->row_seen_us > 0 && now_us - memory->row_seen_us < ROW_COUNTS_US)
        return TW_OK;
    tw_metric_add(&looked_up, 1);
    enum tw_rc rc =
        tw_sessions_token_counts(callers->parts.sessions, memory->claims.token_id, memory->claims.subject, reterr);
    if (rc == TW_OK) {
        memory->row_seen_us = now_us;
        remember(place, hash, memory);
    }
    return rc == TW_NOT_FOUND ? TW_INVALID : rc;
}

/** A good signature is of a token that was handed out, which happens after its row is there; so with fresh events the
 *  set of what was revoked is all there is to ask. What the set names is revoked, whatever else is known. */
static enum tw_rc check_revoked(struct tw_callers *callers, struct place *place, const uint8_t hash[HASH_BYTES],
                                struct memory *memory, struct tw_err *reterr)
{
    /* Fresh is asked first: what becomes known in between is then seen in the set. */
    bool is_fresh = tw_tail_is_fresh(callers->parts.tail);

    if (tw_revocations_has(callers->parts.revocations, memory->claims.token_id))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token was revoked");
    return is_fresh ? TW_OK : check_row(callers, place, hash, memory, reterr);
}

enum tw_rc tw_callers_recheck(struct tw_callers *callers, struct tw_uuid token_id, struct tw_uuid member_id,
                              struct tw_err *reterr)
{
    bool is_fresh = tw_tail_is_fresh(callers->parts.tail); /* asked first, as above */

    if (tw_revocations_has(callers->parts.revocations, token_id))
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the token was revoked");
    if (is_fresh)
        return TW_OK;
    enum tw_rc rc = tw_sessions_token_counts(callers->parts.sessions, token_id, member_id, reterr);
    return rc == TW_NOT_FOUND ? TW_INVALID : rc;
}

enum tw_rc tw_callers_identify(struct tw_callers *callers, const struct tw_request *request,
                               struct tw_caller *ret_caller, struct tw_err *reterr)
{
    struct tw_str  token;
    struct memory *memory = TW_NEW(request->arena, struct memory);
    uint8_t        hash[HASH_BYTES];

    if (!bearer(request, &token)) {
        tw_metric_add(&refused, 1);
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "there is no bearer token");
    }
    struct place *place = place_of(callers, token, hash);
    enum tw_rc    rc = claims_of(callers, token, place, hash, memory, reterr);
    if (rc == TW_OK)
        rc = check_revoked(callers, place, hash, memory, reterr);
    if (rc == TW_INVALID)
        tw_metric_add(&refused, 1);
    if (rc != TW_OK)
        return rc;
    *ret_caller = (struct tw_caller){true, memory->claims.subject, memory->claims.token_id, memory->claims.expires_s,
                                     memory->claims.scope};
    return TW_OK;
}
