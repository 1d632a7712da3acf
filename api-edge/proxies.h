/**
 * Whose request it is when proxies stand in front. `X-Forwarded-For` can be written by anybody, so it is believed only as
 * far as proxies that the operator listed have written it: from the right, up to the first address that is not theirs.
 *
 * Nothing else of that family is read. No answer depends on `X-Forwarded-Proto` or `X-Forwarded-Host`, because links
 * and Location are paths; `Forwarded` (RFC 7239) would be a second word on the same matter.
 */
#ifndef TILLWIRE_EDGE_PROXIES_H
#define TILLWIRE_EDGE_PROXIES_H

#include "tillwire/arena.h"
#include "tillwire/err.h"

enum { TW_PROXIES_MAX = 64 };

/** Addresses that begin with the same `bits`; an IPv4 address is ::ffff:a.b.c.d. */
struct tw_network {
    uint8_t      bytes[16];
    unsigned int bits;
};

struct tw_proxies {
    struct tw_network items[TW_PROXIES_MAX];
    size_t            count;
};

/** Reads `10.0.0.0/8, 127.0.0.1, fd00::/8`; an empty list is good. INVALID says which item is not, and why. */
enum tw_rc tw_proxies_parse(const char *list, struct tw_proxies *ret_proxies, struct tw_err *reterr);

/** The client's address: @p peer, or when that is a listed proxy the right-most address of @p forwarded_for that is not.
 *  What cannot be read as an address ends the search at the last one that could. The text lies in @p arena, or is
 *  @p peer itself. */
struct tw_str tw_proxies_client(const struct tw_proxies *proxies, struct tw_str peer, struct tw_str forwarded_for,
                                struct tw_arena *arena);

/** What limits count an address by: itself, or the first half of an IPv6 address, because whoever has one of those has
 *  all the addresses that begin with it. */
struct tw_str tw_address_network(struct tw_str address, struct tw_arena *arena);

#endif
