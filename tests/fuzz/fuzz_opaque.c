/* Links: tw_edge */
/*
 * Hostile texts that we handed out, or so they say. The first byte says which:
 *
 *   L C P B T   a location, a consistency token, a cursor, a bookmark, a ticket: text
 *   l c p b t   the bytes of one, which are sealed rightly first: gets to what the seal protects
 *   E I K R     If-Match and If-None-Match, an Idempotency-Key, the body a key belongs to, a refresh token
 *
 * A text that is taken is the only spelling of what it says: sealed again it is the same.
 */
#include <sodium.h>
#include <string.h>

#include "auth/refresh_token.h"
#include "conditional.h"
#include "fuzz.h"
#include "idempotency.h"
#include "opaque.h"
#include "streams/bookmark.h"
#include "streams/ticket.h"

enum { BYTES_MAX = 1024, TEXT_MAX = 2 * BYTES_MAX, PLACES_MAX = 1024 };

static const uint8_t        key[32] = {1, 2, 3};
static const struct tw_uuid command_id = {{0x01, 0x92, 0xf5, 0xc0, 0x7b, 0x1e, 0x7c, 0x05, 0x8f}};
static const struct tw_str  list = {"products sort=newest", 20};

static struct tw_arena arena;

/* --- texts -------------------------------------------------------------------------------------------------------- */

static void try_location(struct tw_str text)
{
    struct tw_location location;
    struct tw_uuid     caller;
    char               again[TW_LOCATION_TEXT + 1];

    if (!tw_location_open(key, command_id, text, &caller, &location))
        return;
    must(location.partition >= 0 && location.offset >= 0 && location.submitted_ms >= 0);
    tw_location_seal(key, command_id, caller, &location, again);
    must(tw_str_is(text, again));
}

static void try_consistency(struct tw_str text)
{
    struct tw_consistency consistency;
    char                  again[TW_CONSISTENCY_TEXT + 1];

    if (!tw_consistency_open(key, text, &consistency))
        return;
    must(consistency.partition >= 0 && consistency.offset >= 0);
    tw_consistency_seal(key, &consistency, again);
    must(tw_str_is(text, again));
}

static void try_cursor(struct tw_str text)
{
    struct tw_str position;

    if (tw_cursor_open(key, list, text, &arena, &position))
        must(tw_str_eq(text, tw_cursor_seal(key, list, position, &arena)));
}

static void try_bookmark(struct tw_str text, bool is_sealed_here)
{
    static int64_t next[PLACES_MAX];
    struct tw_buf  again = {0};

    must(tw_bookmark_places() <= PLACES_MAX);
    if (!tw_bookmark_open(key, text, next) || is_sealed_here) /* we would never seal such numbers */
        return;
    tw_bookmark_seal(key, next, &again);
    must(tw_str_eq(text, tw_buf_str(&again)));
    tw_buf_done(&again);
}

static void try_ticket(struct tw_str text, bool is_sealed_here)
{
    struct tw_ticket ticket;
    char             again[TW_TICKET_TEXT + 1];

    if (!tw_ticket_open(key, text, 1000, &ticket))
        return;
    must(ticket.ends_ms > 1000 && ticket.token_expires_s >= 0);
    tw_ticket_seal(key, &ticket, again);
    must(is_sealed_here || tw_str_is(text, again));
}

/* --- putting seals right ------------------------------------------------------------------------------------------ */

static struct tw_str text_of(const uint8_t *bytes, size_t len)
{
    static char text[TEXT_MAX];

    sodium_bin2base64(text, sizeof(text), bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return tw_fuzz_own(tw_str_of(text));
}

/* Seals what the four that have a short hash seal: @p more stands before or behind the bytes and is not in the text. */
static struct tw_str sealed(struct tw_str bytes, struct tw_str before, struct tw_str behind, bool is_short)
{
    uint8_t hashed[2 * BYTES_MAX], out[BYTES_MAX + 16];
    size_t  hash_len = is_short ? crypto_shorthash_BYTES : crypto_shorthash_siphashx24_BYTES;

    memcpy(mempcpy(mempcpy(hashed, before.ptr, before.len), bytes.ptr, bytes.len), behind.ptr, behind.len);
    memcpy(out, bytes.ptr, bytes.len);
    if (is_short)
        crypto_shorthash(out + bytes.len, hashed, before.len + bytes.len + behind.len, key);
    else
        crypto_shorthash_siphashx24(out + bytes.len, hashed, before.len + bytes.len + behind.len, key);
    return text_of(out, bytes.len + hash_len);
}

static struct tw_str sealed_ticket(struct tw_str bytes)
{
    uint8_t out[BYTES_MAX + crypto_auth_BYTES];

    memcpy(out, bytes.ptr, bytes.len);
    crypto_auth(out + bytes.len, out, bytes.len, key);
    return text_of(out, bytes.len + crypto_auth_BYTES);
}

static struct tw_str seal(char kind, struct tw_str bytes)
{
    static const char   list_head[] = "\0\0\0\x14products sort=newest";
    const struct tw_str none = {"", 0};

    switch (kind) {
    case 'l':
        return sealed(bytes, none, (struct tw_str){(const char *)command_id.bytes, 16}, false);
    case 'p':
        return sealed(bytes, (struct tw_str){list_head, sizeof(list_head) - 1}, none, false);
    case 'c':
        return sealed(bytes, none, none, false);
    case 'b':
        return sealed(bytes, none, none, true);
    default:
        return sealed_ticket(bytes);
    }
}

/* --- header fields ------------------------------------------------------------------------------------------------ */

static void try_tags(struct tw_str field)
{
    char    etag[TW_ETAG_TEXT];
    int64_t version = 0;

    tw_etag_format(key, 12, TW_STR("{}"), etag);
    tw_etag_is_among(field, tw_str_of(etag));
    if (tw_if_match_version(field, &version))
        must(version >= -1 && (version >= 0 || tw_str_is(field, "*")));
}

static void try_key(struct tw_str field)
{
    struct tw_str         read;
    uint8_t               fingerprint[TW_FINGERPRINT_BYTES], digest[16];
    struct tw_idempotency idempotency = {
        .method = TW_STR("POST"), .path = TW_STR("/v1/cart/items"), .fingerprint = fingerprint};

    if (!tw_idempotency_key_read(field, &read))
        return;
    must(read.len >= 1 && read.len <= TW_IDEMPOTENCY_KEY_TEXT_MAX);
    for (size_t i = 0; i < read.len; i++)
        must((unsigned char)read.ptr[i] >= ' ' && (unsigned char)read.ptr[i] < 127);
    tw_fingerprint(key, field, fingerprint);
    idempotency.key = read;
    tw_idempotency_digest(key, &idempotency, digest);
}

static void try_body(struct tw_str body)
{
    uint8_t fingerprints[2][TW_FINGERPRINT_BYTES];

    for (size_t i = 0; i < 2; i++)
        tw_fingerprint(key, body, fingerprints[i]);
    must(memcmp(fingerprints[0], fingerprints[1], sizeof(fingerprints[0])) == 0);
}

static void try_refresh_token(struct tw_str text)
{
    struct tw_uuid id;

    if (tw_refresh_token_parse(text, &id))
        must(text.len == TW_REFRESH_TEXT);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */

static bool try_text(char kind, struct tw_str text, bool is_sealed_here)
{
    switch (kind) {
    case 'L':
        return try_location(text), true;
    case 'C':
        return try_consistency(text), true;
    case 'P':
        return try_cursor(text), true;
    case 'B':
        return try_bookmark(text, is_sealed_here), true;
    case 'T':
        return try_ticket(text, is_sealed_here), true;
    case 'E':
        return try_tags(text), true;
    case 'I':
        return try_key(text), true;
    case 'K':
        return try_body(text), true;
    case 'R':
        return try_refresh_token(text), true;
    default:
        return false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str rest = {(const char *)bytes, len};
    char          kind = (char)tw_fuzz_take_byte(&rest);
    bool          seals = kind && strchr("lcpbt", kind);
    struct tw_str text;
    bool          known;

    must(sodium_init() >= 0);
    if (seals && rest.len > BYTES_MAX - 64)
        return -1;
    text = seals ? seal(kind, rest) : tw_fuzz_own(rest);
    known = try_text(seals ? (char)(kind - 'a' + 'A') : kind, text, seals);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)text.ptr);
    return known ? 0 : -1; /* others are not worth keeping */
}
