/**
 * A ticket opens one stream of events for a browser, whose EventSource sends no Authorization header. It stands in a URL,
 * which proxies write into logs, so it is good for 30 seconds and for one use, and for nothing but a stream.
 *
 * It is sealed with a key all edges share, so any of them takes it. That it was used is remembered by the edge that took
 * it; the others cannot know (docs/decisions/streams.md says what that leaves).
 */
#ifndef TILLWIRE_EDGE_TICKET_H
#define TILLWIRE_EDGE_TICKET_H

#include "tillwire/str.h"
#include "tillwire/uuid.h"

enum { TW_TICKET_KEY_BYTES = 32, TW_TICKET_LIFE_S = 30, TW_TICKET_NONCE_BYTES = 8, TW_TICKET_TEXT = 115 };

struct tw_ticket {
    struct tw_uuid member_id;
    struct tw_uuid token_id;        /**< of the token it was made for: its end and its revocation end the stream */
    int64_t        token_expires_s; /**< seconds since 1970 */
    int64_t        ends_ms;         /**< of the ticket itself */
    bool           sees_all;        /**< that token has the scope `events:read` */
    uint8_t        nonce[TW_TICKET_NONCE_BYTES]; /**< tells tickets of one member apart */
};

/** base64url and a NUL. */
void tw_ticket_seal(const uint8_t key[TW_TICKET_KEY_BYTES], const struct tw_ticket *ticket,
                    char ret_text[TW_TICKET_TEXT + 1]);
/** False: not ours, or it ended before @p now_ms. */
bool tw_ticket_open(const uint8_t key[TW_TICKET_KEY_BYTES], struct tw_str text, int64_t now_ms,
                    struct tw_ticket *ret_ticket);

/** The tickets this edge took and that would still be good. Thread safe; of a fixed size. */
struct tw_used_tickets;

struct tw_used_tickets *tw_used_tickets_new(void);
/** Accepts NULL. */
void                    tw_used_tickets_free(struct tw_used_tickets *used);

enum tw_ticket_use { TW_TICKET_TAKEN, TW_TICKET_USED_BEFORE, TW_TICKET_NO_ROOM };
/** NO_ROOM: more of them were taken in half a minute than can be remembered, so this one must be refused for now. */
enum tw_ticket_use tw_used_tickets_take(struct tw_used_tickets *used, const struct tw_ticket *ticket, int64_t now_ms);

#endif
