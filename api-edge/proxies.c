#include "proxies.h"

#include <arpa/inet.h>
#include <string.h>

#define WHERE "edge.proxies"

enum { ADDRESS_BYTES = 16, ADDRESS_BITS = 128, IPV4_OFFSET = 12, IPV4_BITS = 32, HALF_BYTES = 8 };

struct address {
    uint8_t bytes[ADDRESS_BYTES];
};

static const uint8_t ipv4_prefix[IPV4_OFFSET] = {[10] = 0xff, [11] = 0xff};

static bool is_ipv4(const struct address *address)
{
    return memcmp(address->bytes, ipv4_prefix, sizeof(ipv4_prefix)) == 0;
}

static bool address_parse(struct tw_str text, struct address *ret_address)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, ret_address->bytes + IPV4_OFFSET) == 1) {
        memcpy(ret_address->bytes, ipv4_prefix, sizeof(ipv4_prefix));
        return true;
    }
    return inet_pton(AF_INET6, copy, ret_address->bytes) == 1;
}

/** One spelling for each address. */
static struct tw_str address_text(const struct address *address, struct tw_arena *arena)
{
    char *text = tw_arena_alloc(arena, INET6_ADDRSTRLEN);

    if (is_ipv4(address))
        inet_ntop(AF_INET, address->bytes + IPV4_OFFSET, text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address->bytes, text, INET6_ADDRSTRLEN);
    return tw_str_of(text);
}

static struct tw_str trim(struct tw_str text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = (struct tw_str){text.ptr + 1, text.len - 1};
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

static bool bit_of(const uint8_t *bytes, unsigned int bit)
{
    return bytes[bit / 8] >> (7 - bit % 8) & 1;
}

static bool ends_with_its_prefix(const struct tw_network *network)
{
    for (unsigned int bit = network->bits; bit < ADDRESS_BITS; bit++) {
        if (bit_of(network->bytes, bit))
            return false;
    }
    return true;
}

/** NULL, or why it is none. A prefix of 0 would make every client's own word count. */
static const char *network_parse(struct tw_str text, struct tw_network *ret_network)
{
    const char    *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    struct tw_str  host = {text.ptr, slash ? (size_t)(slash - text.ptr) : text.len};
    struct address address;
    int64_t        bits = 0;

    if (!address_parse(host, &address))
        return "is no IPv4 or IPv6 address";
    int64_t most = is_ipv4(&address) && !memchr(host.ptr, ':', host.len) ? IPV4_BITS : ADDRESS_BITS;
    if (!slash)
        bits = most;
    else if (!tw_str_to_int((struct tw_str){slash + 1, text.len - host.len - 1}, &bits) || bits < 1 || bits > most)
        return "has no prefix length that its kind of address can have";
    *ret_network = (struct tw_network){.bits = (unsigned int)(bits + ADDRESS_BITS - most)};
    memcpy(ret_network->bytes, address.bytes, ADDRESS_BYTES);
    return ends_with_its_prefix(ret_network) ? NULL : "has bits set beyond its prefix";
}

enum tw_rc tw_proxies_parse(const char *list, struct tw_proxies *ret_proxies, struct tw_err *reterr)
{
    struct tw_proxies proxies = {.count = 0};

    for (const char *at = list; *at != '\0';) {
        size_t        len = strcspn(at, ",");
        struct tw_str item = trim((struct tw_str){at, len});

        if (proxies.count == TW_PROXIES_MAX)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "more than %d networks", TW_PROXIES_MAX);
        const char *fault = network_parse(item, &proxies.items[proxies.count]);
        if (fault)
            return tw_fail(reterr, TW_INVALID, WHERE, 0, "'%.*s' %s", TW_STR_ARG(item), fault);
        proxies.count++;
        at += len + (at[len] == ',');
    }
    *ret_proxies = proxies;
    return TW_OK;
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

static bool is_in(const struct tw_network *network, const struct address *address)
{
    unsigned int whole = network->bits / 8;

    if (memcmp(network->bytes, address->bytes, whole) != 0)
        return false;
    for (unsigned int bit = whole * 8; bit < network->bits; bit++) {
        if (bit_of(network->bytes, bit) != bit_of(address->bytes, bit))
            return false;
    }
    return true;
}

static bool is_trusted(const struct tw_proxies *proxies, const struct address *address)
{
    for (size_t i = 0; i < proxies->count; i++) {
        if (is_in(&proxies->items[i], address))
            return true;
    }
    return false;
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
static bool hop_parse(struct tw_str text, struct address *ret_address)
{
    const char *bracket = text.len > 0 && text.ptr[0] == '[' ? memchr(text.ptr, ']', text.len) : NULL;
    const char *colon = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;

    if (bracket)
        return address_parse((struct tw_str){text.ptr + 1, (size_t)(bracket - text.ptr - 1)}, ret_address);
    if (colon && memchr(text.ptr, '.', (size_t)(colon - text.ptr)))
        text.len = (size_t)(colon - text.ptr);
    return address_parse(text, ret_address);
}

/** Takes the right-most item off @p rest. */
static struct tw_str last_hop(struct tw_str *rest)
{
    size_t start = rest->len;

    while (start > 0 && rest->ptr[start - 1] != ',')
        start--;
    struct tw_str hop = trim((struct tw_str){rest->ptr + start, rest->len - start});
    rest->len = start > 0 ? start - 1 : 0;
    return hop;
}

struct tw_str tw_proxies_client(const struct tw_proxies *proxies, struct tw_str peer, struct tw_str forwarded_for,
                                struct tw_arena *arena)
{
    struct address client;
    struct address hop;
    bool           moved = false;

    if (proxies->count == 0 || forwarded_for.len == 0 || !address_parse(peer, &client))
        return peer;
    while (forwarded_for.len > 0 && is_trusted(proxies, &client) && hop_parse(last_hop(&forwarded_for), &hop)) {
        client = hop;
        moved = true;
    }
    return moved ? address_text(&client, arena) : peer;
}

struct tw_str tw_address_network(struct tw_str address, struct tw_arena *arena)
{
    struct address parsed;

    if (address.len == 0 || !memchr(address.ptr, ':', address.len) || !address_parse(address, &parsed) ||
        is_ipv4(&parsed))
        return address;
    memset(parsed.bytes + HALF_BYTES, 0, ADDRESS_BYTES - HALF_BYTES);
    return address_text(&parsed, arena);
}
