/*
 * kind 1 | sees all 1 | member 16 | token 16 | the token's end 6 | the ticket's end 6 | nonce 8 | HMAC-SHA-512/256 32
 *
 * Used tickets stand in a table of rows of a few; the row follows from the nonce, which a client cannot choose.
 */
#include "streams/ticket.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { KIND = 'T', LAYOUT = 54, MAC = crypto_auth_BYTES, ROWS = 1024, IN_A_ROW = 16 };

_Static_assert(crypto_auth_KEYBYTES == TW_TICKET_KEY_BYTES, "key length");
_Static_assert(((LAYOUT + MAC) * 4 + 2) / 3 == TW_TICKET_TEXT, "base64 without padding");

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)(value & 0xff);
    return at + bytes;
}

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = (value << 8) | at[i];
    return value;
}

void tw_ticket_seal(const uint8_t key[TW_TICKET_KEY_BYTES], const struct tw_ticket *ticket,
                    char ret_text[TW_TICKET_TEXT + 1])
{
    uint8_t bytes[LAYOUT + MAC] = {KIND, ticket->sees_all ? 1 : 0};

    memcpy(bytes + 2, ticket->member_id.bytes, 16);
    memcpy(bytes + 18, ticket->token_id.bytes, 16);
    put(bytes + 34, (uint64_t)ticket->token_expires_s, 6);
    put(bytes + 40, (uint64_t)ticket->ends_ms, 6);
    memcpy(bytes + 46, ticket->nonce, TW_TICKET_NONCE_BYTES);
    crypto_auth(bytes + LAYOUT, bytes, LAYOUT, key);
    sodium_bin2base64(ret_text, TW_TICKET_TEXT + 1, bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool tw_ticket_open(const uint8_t key[TW_TICKET_KEY_BYTES], struct tw_str text, int64_t now_ms,
                    struct tw_ticket *ret_ticket)
{
    uint8_t bytes[LAYOUT + MAC];
    size_t  len = 0;

    if (text.len != TW_TICKET_TEXT ||
        sodium_base642bin(bytes, sizeof(bytes), text.ptr, text.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        len != sizeof(bytes) || bytes[0] != KIND || crypto_auth_verify(bytes + LAYOUT, bytes, LAYOUT, key) != 0 ||
        (int64_t)get(bytes + 40, 6) <= now_ms)
        return false;
    ret_ticket->sees_all = bytes[1] == 1;
    memcpy(ret_ticket->member_id.bytes, bytes + 2, 16);
    memcpy(ret_ticket->token_id.bytes, bytes + 18, 16);
    ret_ticket->token_expires_s = (int64_t)get(bytes + 34, 6);
    ret_ticket->ends_ms = (int64_t)get(bytes + 40, 6);
    memcpy(ret_ticket->nonce, bytes + 46, TW_TICKET_NONCE_BYTES);
    return true;
}

/* --- used ones ---------------------------------------------------------------------------------------------------- */

struct used {
    uint8_t nonce[TW_TICKET_NONCE_BYTES];
    int64_t ends_ms; /* 0: free */
};

struct tw_used_tickets {
    pthread_mutex_t lock; /* guards all below */
    struct used     rows[ROWS][IN_A_ROW];
};

struct tw_used_tickets *tw_used_tickets_new(void)
{
    struct tw_used_tickets *used = tw_alloc_zeroed(1, sizeof(*used));

    pthread_mutex_init(&used->lock, NULL);
    return used;
}

void tw_used_tickets_free(struct tw_used_tickets *used)
{
    if (!used)
        return;
    pthread_mutex_destroy(&used->lock);
    free(used);
}

/** Locked. */
static enum tw_ticket_use take(struct used *row, const struct tw_ticket *ticket, int64_t now_ms)
{
    struct used *room = NULL;

    for (size_t i = 0; i < IN_A_ROW; i++) {
        bool is_live = row[i].ends_ms > now_ms;
        if (is_live && memcmp(row[i].nonce, ticket->nonce, sizeof(row[i].nonce)) == 0)
            return TW_TICKET_USED_BEFORE;
        if (!is_live)
            room = &row[i];
    }
    if (!room)
        return TW_TICKET_NO_ROOM;
    memcpy(room->nonce, ticket->nonce, sizeof(room->nonce));
    room->ends_ms = ticket->ends_ms;
    return TW_TICKET_TAKEN;
}

enum tw_ticket_use tw_used_tickets_take(struct tw_used_tickets *used, const struct tw_ticket *ticket, int64_t now_ms)
{
    size_t row = (size_t)get(ticket->nonce, 4) % ROWS;

    pthread_mutex_lock(&used->lock);
    enum tw_ticket_use use = take(used->rows[row], ticket, now_ms);
    pthread_mutex_unlock(&used->lock);
    return use;
}
