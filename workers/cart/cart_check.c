/*
 * Readers' keys are a projection of the copies: what they must be is computed here as commits do it, and compared. Both
 * ways: from the copies to the keys, which finds what is missing or different, and from all keys to the copies, which
 * finds what nobody wrote or nobody took away.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cart_store.h"
#include "cart_write.h"
#include "redis_scan.h"
#include "tillwire/clock.h"

enum {
    CHECKED_CARTS = 100, /* at a time */
    STRAYS_PAGE = 500,
    SLACK_MS = 60000, /* more than passes between a look at the server's clock and the last answer after it */
    SHOWN = 60,       /* bytes of a value */
    SENTENCE_SIZE = 400,
};

static const char where_[] = "cart.store.check";

/* Who is told, and of which key. */
struct finder {
    tw_cart_finding_fn found;
    void              *self;
};

__attribute__((format(printf, 3, 4))) static void tell(const struct finder *finder, const char *key, const char *format,
                                                       ...)
{
    char    sentence[SENTENCE_SIZE];
    size_t  len = (size_t)snprintf(sentence, sizeof(sentence), "%.*s: ", TW_CART_KEY_SIZE, key);
    va_list args;

    va_start(args, format);
    vsnprintf(sentence + len, sizeof(sentence) - len, format, args);
    va_end(args);
    for (char *at = sentence; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    finder->found(finder->self, sentence);
}

/* ---- two values ---- */

/* One member of a flat JSON object, its value as it is written. */
struct member {
    struct tw_str name, value;
};

/* Length of a text with its quotes, or of what ends at a comma or a bracket. */
static size_t value_len(struct tw_str text)
{
    bool   quoted = text.len > 0 && text.ptr[0] == '"';
    size_t len = quoted;

    while (len < text.len && (quoted ? text.ptr[len] != '"' : text.ptr[len] != ',' && text.ptr[len] != '}'))
        len += text.ptr[len] == '\\' ? 2U : 1U;
    len += quoted;
    return len < text.len ? len : text.len;
}

/* Takes the next member, with the bracket or comma before it; false: there is none, or this is no such object. */
static bool next_member(struct tw_str *rest, struct member *ret_member)
{
    struct tw_str text;
    size_t        len;

    if (rest->len < 2 || (rest->ptr[0] != '{' && rest->ptr[0] != ','))
        return false;
    text = (struct tw_str){rest->ptr + 1, rest->len - 1};
    len = value_len(text);
    if (len == text.len || text.ptr[len] != ':')
        return false;
    ret_member->name = (struct tw_str){text.ptr, len};
    text = (struct tw_str){text.ptr + len + 1, text.len - len - 1};
    len = value_len(text);
    ret_member->value = (struct tw_str){text.ptr, len};
    *rest = (struct tw_str){text.ptr + len, text.len - len};
    return true;
}

/* As much of a value as a sentence bears, without cutting a character. */
static int shown(struct tw_str text)
{
    size_t len = text.len < SHOWN ? text.len : SHOWN;

    while (len < text.len && len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
        len--;
    return (int)len;
}

/* Of values that are no such objects, or whose members do not tell them apart. */
static void tell_bytes(const struct finder *finder, const char *key, struct tw_str is, struct tw_str should_be)
{
    size_t same = 0;

    while (same < is.len && same < should_be.len && is.ptr[same] == should_be.ptr[same])
        same++;
    is = (struct tw_str){is.ptr + same, is.len - same};
    should_be = (struct tw_str){should_be.ptr + same, should_be.len - same};
    tell(finder, key, "from byte %zu on it is '%.*s', the copy says '%.*s'", same, shown(is), is.ptr, shown(should_be),
         should_be.ptr);
}

static void tell_value(const struct finder *finder, const char *key, struct tw_str is, struct tw_str should_be)
{
    struct tw_str rest = is, expected_rest = should_be;
    struct member member, expected;

    while (next_member(&rest, &member) && next_member(&expected_rest, &expected)) {
        if (!tw_str_eq(member.name, expected.name))
            break;
        if (tw_str_eq(member.value, expected.value))
            continue;
        tell(finder, key, "%.*s is %.*s, the copy says %.*s", (int)member.name.len - 2, member.name.ptr + 1,
             shown(member.value), member.value.ptr, shown(expected.value), expected.value.ptr);
        return;
    }
    tell_bytes(finder, key, is, should_be);
}

/* ---- from the copies to the keys ---- */

/* A key and what it must be: that of one line, or of the totals. */
struct expected {
    const struct tw_cart *cart;
    char                  key[TW_CART_KEY_SIZE];
    size_t                key_len;
    bool                  may_lack;
};

static void put_questions(struct tw_cart_part *part, const char *key, size_t key_len)
{
    tw_cart_put_on_key(part, "GET", key, key_len);
    tw_cart_put_on_key(part, "PEXPIRETIME", key, key_len);
}

static void put_questions_of_cart(struct tw_cart_part *part, struct tw_uuid member_id, const struct tw_cart *cart)
{
    char key[TW_CART_KEY_SIZE];

    for (uint32_t i = 0; i < cart->lines_len; i++)
        put_questions(part, key, tw_cart_key_item(member_id, cart->lines[i].product_id, key));
    if (cart->lines_len > 0)
        put_questions(part, key, tw_cart_key_summary(member_id, key));
}

static bool is_wrong_type(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "WRONGTYPE", sizeof("WRONGTYPE") - 1);
}

/* The answer of GET against `part->value`. */
static enum tw_rc check_value(struct tw_cart_part *part, const struct expected *expected, const struct finder *finder,
                              struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = tw_lane_answer(&part->lane, TW_UNREACHED, where_, reterr);

    if (!reply)
        return TW_UNREACHED;
    if (reply->type == REDIS_REPLY_NIL && !expected->may_lack)
        tell(finder, expected->key, "it is missing");
    else if (is_wrong_type(reply))
        tell(finder, expected->key, "it is not a string");
    else if (reply->type == REDIS_REPLY_STRING &&
             !tw_str_eq((struct tw_str){reply->str, reply->len}, tw_buf_str(&part->value)))
        tell_value(finder, expected->key, (struct tw_str){reply->str, reply->len}, tw_buf_str(&part->value));
    else if (reply->type != REDIS_REPLY_NIL && reply->type != REDIS_REPLY_STRING)
        return tw_lane_refuse(&part->lane, reply, where_, expected->key, reterr);
    return TW_OK;
}

static enum tw_rc check_end(struct tw_cart_part *part, const struct expected *expected, const struct finder *finder,
                            struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    int64_t                            ends_at_ms = expected->cart->ends_at_ms;
    char                               is[TW_TIME_TEXT + 1], should_be[TW_TIME_TEXT + 1];

    TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_INTEGER, where_, expected->key, &reply, reterr));
    if (reply->integer == ends_at_ms || reply->integer == -2) /* -2: there is no such key, which was told */
        return TW_OK;
    tw_time_format(ends_at_ms, should_be);
    if (reply->integer < 0) {
        tell(finder, expected->key, "it never expires, the cart ends at %s", should_be);
    } else {
        tw_time_format(reply->integer, is);
        tell(finder, expected->key, "it expires at %s, the cart ends at %s", is, should_be);
    }
    return TW_OK;
}

static enum tw_rc check_cart(struct tw_cart_part *part, struct tw_uuid member_id, const struct tw_cart *cart,
                             const struct finder *finder, struct tw_err *reterr)
{
    struct expected expected = {
        .cart = cart,
        .may_lack = !tw_cart_is_live(cart, part->known.clock_ms) || !tw_cart_is_live(cart, part->server_ms + SLACK_MS),
    };

    for (uint32_t i = 0; i < cart->lines_len; i++) {
        tw_cart_key_item(member_id, cart->lines[i].product_id, expected.key);
        tw_cart_item_value(&cart->lines[i], &part->value);
        TW_TRY(check_value(part, &expected, finder, reterr));
        TW_TRY(check_end(part, &expected, finder, reterr));
    }
    if (cart->lines_len == 0)
        return TW_OK;
    tw_cart_key_summary(member_id, expected.key);
    tw_cart_summary_value(cart, &part->value);
    TW_TRY(check_value(part, &expected, finder, reterr));
    return check_end(part, &expected, finder, reterr);
}

/* The copies; and both clocks, once more each time, as carts end meanwhile. */
static enum tw_rc load_copies(struct tw_cart_part *part, const struct tw_uuid *member_ids, size_t count,
                              const struct tw_cart **ret_carts, struct tw_err *reterr)
{
    TW_AUTO(tw_reply_free) redisReply *reply = NULL;
    struct tw_progress                 progress;
    char                               key[TW_CART_KEY_SIZE];

    tw_cart_part_put_get(part);
    tw_lane_command(&part->lane, "TIME", 0);
    for (size_t i = 0; i < count; i++)
        tw_cart_put_on_key(part, "GET", key, tw_cart_key_copy(member_ids[i], key));
    TW_TRY(tw_lane_send(&part->lane, where_, reterr));
    TW_TRY(tw_cart_part_receive_progress(part, where_, &reply, &progress, reterr));
    tw_cart_part_know(part, &progress);
    TW_TRY(tw_cart_part_receive_time(part, where_, reterr));
    for (size_t i = 0; i < count; i++)
        TW_TRY(tw_cart_receive_copy(&part->lane, member_ids[i], &part->arena, where_, &ret_carts[i], reterr));
    return TW_OK;
}

static enum tw_rc check_some(struct tw_cart_part *part, const struct tw_uuid *member_ids, size_t count,
                             const struct finder *finder, struct tw_err *reterr)
{
    const struct tw_cart *carts[CHECKED_CARTS];

    tw_arena_reset(&part->arena);
    TW_TRY(load_copies(part, member_ids, count, carts, reterr));
    for (size_t i = 0; i < count; i++)
        if (carts[i])
            put_questions_of_cart(part, member_ids[i], carts[i]);
    TW_TRY(tw_lane_send(&part->lane, where_, reterr));
    for (size_t i = 0; i < count; i++)
        if (carts[i])
            TW_TRY(check_cart(part, member_ids[i], carts[i], finder, reterr));
    return TW_OK;
}

/* PEXPIRETIME came with 7.0. */
static enum tw_rc check_version(const struct tw_lane *lane, struct tw_err *reterr)
{
    if (lane->version >= 700)
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, where_, lane->version,
                   "Redis of partition %d is %d.%d: 7.0 or later is needed to tell when keys end", lane->partition,
                   lane->version / 100, lane->version % 100);
}

enum tw_rc tw_cart_store_check(struct tw_store *store, int32_t partition, const struct tw_uuid *member_ids,
                               size_t count, tw_cart_finding_fn found, void *self, struct tw_err *reterr)
{
    struct tw_cart_part *part = tw_cart_part_own(store->self, partition);
    const struct finder  finder = {found, self};

    TW_TRY(tw_cart_part_connect(part, where_, reterr));
    TW_TRY(check_version(&part->lane, reterr));
    for (size_t done = 0; done < count; done += CHECKED_CARTS) {
        size_t some = count - done < CHECKED_CARTS ? count - done : CHECKED_CARTS;

        TW_TRY(check_some(part, member_ids + done, some, &finder, reterr));
    }
    return TW_OK;
}

/* ---- from the keys to the copies ---- */

/* A readers' key. */
struct seen {
    const redisReply     *name;
    struct tw_uuid        member_id, product_id; /* product nil: the totals */
    const struct tw_cart *cart;                  /* its copy; NULL: there is none */
};

/* Keys of carts that live on this server; those of no cart are told. */
static size_t read_names(const struct tw_cart_store *store, const redisReply *found, const struct finder *finder,
                         struct seen *ret_seen)
{
    size_t count = 0;

    for (size_t i = 0; i < found->elements; i++) {
        const redisReply *name = found->element[i];
        struct seen      *seen = &ret_seen[count];

        seen->name = name;
        if (!tw_cart_key_is_readers((struct tw_str){name->str, name->len}, &seen->member_id, &seen->product_id))
            tell(finder, name->str, "it is the name of no cart's key");
        else
            count += tw_cart_lives_on(store, seen->member_id, store->stray_server);
    }
    return count;
}

/* Why a key should not be; NULL: it follows from the copy. */
static const char *why_stray(const struct seen *seen)
{
    if (!seen->cart)
        return "it stands there without a copy";
    if (tw_uuid_is_nil(seen->product_id))
        return seen->cart->lines_len > 0 ? NULL : "it stands there, the copy has no lines";
    for (uint32_t i = 0; i < seen->cart->lines_len; i++)
        if (tw_uuid_eq(seen->cart->lines[i].product_id, seen->product_id))
            return NULL;
    return "it stands there, the copy has no such line";
}

static void put_copies(struct tw_lane *lane, const struct seen *seen, size_t count)
{
    char key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++) {
        tw_lane_command(lane, "GET", 1);
        tw_lane_arg(lane, key, tw_cart_key_copy(seen[i].member_id, key));
    }
}

static enum tw_rc receive_copies(struct tw_lane *lane, struct seen *seen, size_t count, struct tw_arena *arena,
                                 struct tw_err *reterr)
{
    for (size_t i = 0; i < count; i++)
        TW_TRY(tw_cart_receive_copy(lane, seen[i].member_id, arena, where_, &seen[i].cart, reterr));
    return TW_OK;
}

/* Keeps those that should not be: in most stores none. */
static enum tw_rc keep_strays(struct tw_lane *lane, struct seen *seen, size_t *count, struct tw_arena *arena,
                              struct tw_err *reterr)
{
    size_t kept = 0;

    put_copies(lane, seen, *count);
    TW_TRY(tw_lane_send(lane, where_, reterr));
    TW_TRY(receive_copies(lane, seen, *count, arena, reterr));
    for (size_t i = 0; i < *count; i++)
        if (why_stray(&seen[i]))
            seen[kept++] = seen[i];
    *count = kept;
    return TW_OK;
}

/* A sweep takes a copy and its keys away at once: so the copy is asked for again, and after it whether the key is still
 * there. */
static enum tw_rc tell_strays(struct tw_lane *lane, struct seen *seen, size_t count, struct tw_arena *arena,
                              const struct finder *finder, struct tw_err *reterr)
{
    put_copies(lane, seen, count);
    for (size_t i = 0; i < count; i++) {
        tw_lane_command(lane, "EXISTS", 1);
        tw_lane_arg(lane, seen[i].name->str, seen[i].name->len);
    }
    TW_TRY(tw_lane_send(lane, where_, reterr));
    TW_TRY(receive_copies(lane, seen, count, arena, reterr));
    for (size_t i = 0; i < count; i++) {
        TW_AUTO(tw_reply_free) redisReply *is_there = NULL;
        const char                        *why = why_stray(&seen[i]);

        TW_TRY(tw_lane_receive(lane, REDIS_REPLY_INTEGER, where_, seen[i].name->str, &is_there, reterr));
        if (why && is_there->integer)
            tell(finder, seen[i].name->str, "%s", why);
    }
    return TW_OK;
}

static enum tw_rc check_page(struct tw_cart_store *store, struct tw_arena *arena, const struct finder *finder,
                             struct tw_err *reterr)
{
    static const struct tw_redis_scan  scan = {.command = "SCAN", .pattern = "cart:*", .count = STRAYS_PAGE};
    TW_AUTO(tw_reply_free) redisReply *found = NULL;
    struct tw_lane                    *lane;
    struct seen                       *seen;
    size_t                             count;

    TW_TRY(tw_cart_server_lane(store, store->stray_server, where_, &lane, reterr));
    TW_TRY(tw_redis_scan(lane, &scan, &store->stray_cursor, where_, &found, reterr));
    seen = TW_NEW_ARRAY(arena, found->elements + 1, struct seen);
    count = read_names(store, found, finder, seen);
    TW_TRY(keep_strays(lane, seen, &count, arena, reterr));
    return tell_strays(lane, seen, count, arena, finder, reterr);
}

enum tw_rc tw_cart_store_check_strays(struct tw_store *port, bool from_start, tw_cart_finding_fn found, void *self,
                                      bool *ret_more, struct tw_err *reterr)
{
    struct tw_cart_store *store = port->self;
    const struct finder   finder = {found, self};
    struct tw_arena       arena = {0};
    enum tw_rc            rc;

    if (from_start)
        store->stray_server = store->stray_cursor = 0;
    rc = check_page(store, &arena, &finder, reterr);
    tw_arena_done(&arena);
    if (rc != TW_OK)
        return rc;
    if (store->stray_cursor == 0)
        store->stray_server++;
    *ret_more = store->stray_server < store->server_count;
    return TW_OK;
}
