/* Names of keys, and the packed progress: little-endian, a version byte in front; any bytes give a value or false. */
#include "tillwire/cart_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/settings.h"

/* The version byte: without and with a mark. */
enum { PROGRESS_GOING = 1, PROGRESS_FROZEN = 2 };

#define DAY_MS       (INT64_C(24) * 60 * 60 * 1000)
#define REDIS_SCHEME "redis://"

/* ---- carts ---- */

struct tw_cart_totals tw_cart_totals(const struct tw_cart *cart)
{
    struct tw_cart_totals totals = {0, 0};

    for (uint32_t i = 0; i < cart->lines_len; i++) {
        const struct tw_cart_line *line = &cart->lines[i];
        if (!line->available)
            continue;
        totals.items += line->quantity;
        totals.price_minor += line->price_minor * line->quantity;
    }
    return totals;
}

bool tw_cart_is_live(const struct tw_cart *cart, int64_t at_ms)
{
    return cart && at_ms < cart->ends_at_ms;
}

/* ---- keys ---- */

static char *put_text(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len + 1);
    return at + len;
}

static char *put_uuid(char *at, struct tw_uuid id)
{
    tw_uuid_format(id, at);
    return at + TW_UUID_TEXT;
}

static size_t key_of_number(const char *prefix, int32_t partition, char *ret_key)
{
    return (size_t)snprintf(ret_key, TW_CART_KEY_SIZE, "%s%" PRId32, prefix, partition);
}

size_t tw_cart_key_copy(struct tw_uuid member_id, char ret_key[TW_CART_KEY_SIZE])
{
    return (size_t)(put_uuid(put_text(ret_key, "tw:cart:"), member_id) - ret_key);
}

size_t tw_cart_key_item(struct tw_uuid member_id, struct tw_uuid product_id, char ret_key[TW_CART_KEY_SIZE])
{
    char *at = put_text(put_uuid(put_text(ret_key, "cart:"), member_id), ":");

    return (size_t)(put_uuid(at, product_id) - ret_key);
}

size_t tw_cart_key_summary(struct tw_uuid member_id, char ret_key[TW_CART_KEY_SIZE])
{
    return (size_t)(put_text(put_uuid(put_text(ret_key, "cart:"), member_id), ":summary") - ret_key);
}

size_t tw_cart_key_progress(int32_t partition, char ret_key[TW_CART_KEY_SIZE])
{
    return key_of_number("tw:progress:", partition, ret_key);
}

size_t tw_cart_key_ledger(int32_t partition, int64_t day, char ret_key[TW_CART_KEY_SIZE])
{
    return (size_t)snprintf(ret_key, TW_CART_KEY_SIZE, "tw:ledger:%" PRId32 ":%" PRId64, partition, day);
}

size_t tw_cart_key_holders(int32_t partition, struct tw_uuid product_id, char ret_key[TW_CART_KEY_SIZE])
{
    size_t len = key_of_number("tw:holders:", partition, ret_key);

    return (size_t)(put_uuid(put_text(ret_key + len, ":"), product_id) - ret_key);
}

size_t tw_cart_key_ends(int32_t partition, char ret_key[TW_CART_KEY_SIZE])
{
    return key_of_number("tw:ends:", partition, ret_key);
}

size_t tw_cart_key_unprojected(int32_t partition, char ret_key[TW_CART_KEY_SIZE])
{
    return key_of_number("tw:unprojected:", partition, ret_key);
}

/* The text of an id from @p at on; a key that is shorter has none there. */
static bool uuid_at(struct tw_str key, size_t at, struct tw_uuid *ret_id)
{
    return key.len >= at + TW_UUID_TEXT && tw_uuid_parse((struct tw_str){key.ptr + at, TW_UUID_TEXT}, ret_id);
}

bool tw_cart_key_is_copy(struct tw_str key, struct tw_uuid *ret_member_id)
{
    struct tw_uuid member_id;
    char           again[TW_CART_KEY_SIZE];

    if (!uuid_at(key, sizeof("tw:cart:") - 1, &member_id) ||
        !tw_str_eq(key, (struct tw_str){again, tw_cart_key_copy(member_id, again)}))
        return false;
    *ret_member_id = member_id;
    return true;
}

bool tw_cart_key_is_readers(struct tw_str key, struct tw_uuid *ret_member_id, struct tw_uuid *ret_product_id)
{
    struct tw_uuid member_id, product_id;
    char           again[TW_CART_KEY_SIZE];
    size_t         len;

    if (!uuid_at(key, sizeof("cart:") - 1, &member_id))
        return false;
    if (!uuid_at(key, sizeof("cart::") - 1 + TW_UUID_TEXT, &product_id))
        product_id = tw_uuid_nil;
    len = tw_uuid_is_nil(product_id) ? tw_cart_key_summary(member_id, again)
                                     : tw_cart_key_item(member_id, product_id, again);
    if (!tw_str_eq(key, (struct tw_str){again, len}))
        return false;
    *ret_member_id = member_id;
    *ret_product_id = product_id;
    return true;
}

int64_t tw_cart_day(int64_t time_ms)
{
    return time_ms / DAY_MS - (time_ms % DAY_MS < 0);
}

size_t tw_cart_server_of(int32_t partition, size_t server_count)
{
    return (size_t)partition % server_count;
}

/* ---- progress: version:1 next_offset:8 clock:8 hash:16, frozen: mark:8, outbox ---- */

static void put_int64(struct tw_buf *out, int64_t number)
{
    uint8_t little[8];

    for (size_t i = 0; i < sizeof(little); i++)
        little[i] = (uint8_t)((uint64_t)number >> (8 * i));
    tw_buf_add(out, little, sizeof(little));
}

static int64_t get_int64(const char *little)
{
    uint64_t number = 0;

    for (size_t i = sizeof(number); i-- > 0;)
        number = number << 8 | (uint8_t)little[i];
    return (int64_t)number;
}

void tw_cart_progress_pack(const struct tw_progress *progress, struct tw_buf *out)
{
    tw_buf_add(out, &(const char){progress->mark ? PROGRESS_FROZEN : PROGRESS_GOING}, 1);
    put_int64(out, progress->next_offset);
    put_int64(out, progress->clock_ms);
    tw_buf_add(out, progress->last_hash, sizeof(progress->last_hash));
    if (progress->mark)
        put_int64(out, progress->mark);
    tw_buf_add_str(out, progress->outbox);
}

/* Length of the head that the version byte promises; 0: no version of ours. */
static size_t progress_head(char version)
{
    return version == PROGRESS_GOING    ? TW_CART_PROGRESS_HEAD
           : version == PROGRESS_FROZEN ? TW_CART_PROGRESS_HEAD_MAX
                                        : 0;
}

static struct tw_progress read_progress(struct tw_str bytes, size_t head)
{
    struct tw_progress progress = {
        .next_offset = get_int64(bytes.ptr + 1),
        .clock_ms = get_int64(bytes.ptr + 9),
        .outbox = {bytes.ptr + head, bytes.len - head},
        .mark = head == TW_CART_PROGRESS_HEAD_MAX ? get_int64(bytes.ptr + TW_CART_PROGRESS_HEAD) : 0,
    };

    memcpy(progress.last_hash, bytes.ptr + 17, sizeof(progress.last_hash));
    return progress;
}

bool tw_cart_progress_unpack(struct tw_str bytes, struct tw_progress *ret_progress)
{
    size_t             head = bytes.len > 0 ? progress_head(bytes.ptr[0]) : 0;
    struct tw_progress progress;

    if (bytes.len == 0) {
        *ret_progress = (struct tw_progress){0};
        return true;
    }
    if (head == 0 || bytes.len < head)
        return false;
    progress = read_progress(bytes, head);
    if (progress.next_offset < 0 || (bytes.ptr[0] == PROGRESS_FROZEN && progress.mark == 0))
        return false;
    *ret_progress = progress;
    return true;
}

bool tw_cart_epoch_unpack(struct tw_str bytes, int64_t *ret_epoch)
{
    int64_t epoch = 0;

    if (bytes.len > 0 && (!tw_str_to_int(bytes, &epoch) || epoch < 0))
        return false;
    *ret_epoch = epoch;
    return true;
}

/* ---- addresses ---- */

/** Cuts @p text at its first (or @p last) @p mark: false, and nothing cut, when there is none. */
static bool cut(struct tw_str text, char mark, bool last, struct tw_str *ret_before, struct tw_str *ret_behind)
{
    const char *at = NULL;

    if (text.len > 0)
        at = last ? memrchr(text.ptr, mark, text.len) : memchr(text.ptr, mark, text.len);
    if (!at)
        return false;
    *ret_before = (struct tw_str){text.ptr, (size_t)(at - text.ptr)};
    *ret_behind = (struct tw_str){at + 1, text.len - ret_before->len - 1};
    return true;
}

static bool copy_text(struct tw_str text, char *ret_text, size_t size)
{
    if (text.len >= size || (text.len > 0 && memchr(text.ptr, '\0', text.len)))
        return false;
    if (text.len > 0)
        memcpy(ret_text, text.ptr, text.len);
    ret_text[text.len] = '\0';
    return true;
}

/** Takes `%41` for `A`; false for a broken escape, a NUL, or more than @p size has room for. */
static bool percent_decode(struct tw_str text, char *ret_text, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3 || !tw_hex_parse((struct tw_str){text.ptr + i + 1, 2}, &c, 1))
                return false;
            i += 2;
        }
        if (c == '\0' || len + 1 >= size)
            return false;
        ret_text[len++] = (char)c;
    }
    ret_text[len] = '\0';
    return true;
}

static bool number_between(struct tw_str text, int64_t min, int64_t max, int *ret_number)
{
    int64_t number;

    if (!tw_str_to_int(text, &number) || number < min || number > max)
        return false;
    *ret_number = (int)number;
    return true;
}

static const char *parse_credentials(struct tw_str text, struct tw_redis_uri *uri)
{
    struct tw_str user = text, password = {NULL, 0};

    cut(text, ':', false, &user, &password);
    if (!percent_decode(user, uri->user, sizeof(uri->user)))
        return "has a wrong user";
    if (!percent_decode(password, uri->password, sizeof(uri->password)))
        return "has a wrong password";
    return NULL;
}

static const char *parse_host_and_port(struct tw_str text, struct tw_redis_uri *uri)
{
    struct tw_str host = text, port = {NULL, 0};
    bool          bracketed = text.len > 0 && text.ptr[0] == '[';

    if (bracketed) {
        if (!cut((struct tw_str){text.ptr + 1, text.len - 1}, ']', false, &host, &port))
            return "has a bracket that is not closed";
        if (port.len > 0 && port.ptr[0] != ':')
            return "has a wrong port";
        port = port.len > 0 ? (struct tw_str){port.ptr + 1, port.len - 1} : (struct tw_str){NULL, 0};
    } else {
        cut(text, ':', true, &host, &port);
    }
    if (host.len == 0 || (!bracketed && memchr(host.ptr, ':', host.len)) ||
        !copy_text(host, uri->host, sizeof(uri->host)))
        return "has a wrong host";
    if (port.ptr && !number_between(port, 1, UINT16_MAX, &uri->port))
        return "has a wrong port";
    return NULL;
}

/** NULL, or what is wrong. */
static const char *parse_uri(struct tw_str text, struct tw_redis_uri *uri)
{
    const size_t  scheme_len = sizeof(REDIS_SCHEME) - 1;
    struct tw_str place, credentials, db;
    const char   *wrong;

    *uri = (struct tw_redis_uri){.port = 6379};
    if (text.len < scheme_len || memcmp(text.ptr, REDIS_SCHEME, scheme_len) != 0)
        return "does not begin with " REDIS_SCHEME;
    place = (struct tw_str){text.ptr + scheme_len, text.len - scheme_len};
    if (cut(place, '@', true, &credentials, &place) && (wrong = parse_credentials(credentials, uri)))
        return wrong;
    if (cut(place, '/', false, &place, &db) && db.len > 0 && !number_between(db, 0, INT32_MAX, &uri->db))
        return "has a wrong database number";
    return parse_host_and_port(place, uri);
}

enum tw_rc tw_redis_uris_parse(const char *uris, struct tw_redis_uri ret_uris[TW_REDIS_SERVERS_MAX], size_t *ret_count,
                               struct tw_err *reterr)
{
    struct tw_str rest = tw_str_of(uris);
    size_t        count = 0;

    for (bool more = true; more; count++) {
        struct tw_str one = rest;
        if (count == TW_REDIS_SERVERS_MAX)
            return tw_fail(reterr, TW_INVALID, "cart.redis_uri", 0, "more than %d Redis servers", TW_REDIS_SERVERS_MAX);
        more = cut(rest, ',', false, &one, &rest);
        const char *wrong = parse_uri(one, &ret_uris[count]);
        if (wrong)
            return tw_fail(reterr, TW_INVALID, "cart.redis_uri", 0, "Redis address %zu %s", count + 1, wrong);
    }
    *ret_count = count;
    return TW_OK;
}

void tw_redis_uris_on(const char *uris, const int *dbs, struct tw_buf *out)
{
    struct tw_str rest = tw_str_of(uris);
    size_t        count = 0;

    for (bool more = true; more; count++) {
        struct tw_str one = rest, credentials, place, address, db;

        more = cut(rest, ',', false, &one, &rest);
        place = (struct tw_str){one.ptr + sizeof(REDIS_SCHEME) - 1, one.len - sizeof(REDIS_SCHEME) + 1};
        cut(place, '@', true, &credentials, &place);
        address = place;
        cut(place, '/', false, &address, &db);
        tw_buf_add(out, one.ptr, (size_t)(address.ptr + address.len - one.ptr));
        tw_buf_printf(out, more ? "/%d," : "/%d", dbs[count]);
    }
}

/* ---- memory ---- */

/* hiredis 0.14 takes these by name, and its own end the process by abort() when there is none. Here, because whoever talks to
 * a Redis has read its address above. */
void *hi_malloc(size_t size_bytes);
char *hi_strdup(const char *text);

void *hi_malloc(size_t size_bytes)
{
    return tw_alloc(size_bytes);
}

char *hi_strdup(const char *text)
{
    return tw_strdup(text);
}
