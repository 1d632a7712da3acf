#include "cart_write.h"

#include <string.h>

#include "tillwire/failpoint.h"

#define DAY_MS (INT64_C(24) * 60 * 60 * 1000)

/* ---- a cart ---- */

void tw_cart_put_on_key(struct tw_cart_part *part, const char *name, const char *key, size_t key_len)
{
    tw_lane_command(&part->lane, name, 1);
    tw_lane_arg(&part->lane, key, key_len);
}

/* SET of the scratch value, gone by itself at the cart's end. */
static void put_value_until(struct tw_cart_part *part, const char *key, size_t key_len, int64_t ends_at_ms)
{
    tw_lane_command(&part->lane, "SET", 4);
    tw_lane_arg(&part->lane, key, key_len);
    tw_lane_str(&part->lane, tw_buf_str(&part->value));
    tw_lane_text(&part->lane, "PXAT");
    tw_lane_number(&part->lane, ends_at_ms);
}

static void put_expiry(struct tw_cart_part *part, const char *key, size_t key_len, int64_t ends_at_ms)
{
    tw_lane_command(&part->lane, "PEXPIREAT", 2);
    tw_lane_arg(&part->lane, key, key_len);
    tw_lane_number(&part->lane, ends_at_ms);
}

static void put_holder(struct tw_cart_part *part, const char *name, struct tw_uuid product_id, struct tw_uuid member_id)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, name, 2);
    tw_lane_arg(&part->lane, key, tw_cart_key_holders(part->lane.partition, product_id, key));
    tw_lane_id(&part->lane, member_id);
}

/*
 * Is the projection of the cart before surely still there, so that its untouched keys only need a new expiry? It goes
 * by the server's clock, and when an old log is folded again it is gone as soon as it is written. A day is more than
 * anything can last between the load and the EXEC; carts are mostly changed when they are younger than six days.
 */
static bool has_projection(const struct tw_cart_part *part, const struct tw_cart *before)
{
    return before && before->ends_at_ms > part->server_ms + DAY_MS;
}

static void put_line(struct tw_cart_part *part, const struct tw_cart_change *change,
                     const struct tw_cart_line_pair *pair)
{
    const struct tw_cart_line *line = pair->after ? pair->after : pair->before;
    char                       key[TW_CART_KEY_SIZE];
    size_t                     len = tw_cart_key_item(change->member_id, line->product_id, key);

    if (!pair->after) {
        tw_cart_put_on_key(part, "UNLINK", key, len);
        put_holder(part, "SREM", line->product_id, change->member_id);
        return;
    }
    if (!pair->before)
        put_holder(part, "SADD", line->product_id, change->member_id);
    if (part->unprojected)
        return;
    if (pair->before && tw_cart_reads_the_same(pair->before, line) && has_projection(part, change->before)) {
        put_expiry(part, key, len, change->after->ends_at_ms);
    } else {
        tw_cart_item_value(line, &part->value);
        put_value_until(part, key, len, change->after->ends_at_ms);
    }
}

static void put_summary(struct tw_cart_part *part, struct tw_uuid member_id, const struct tw_cart *cart)
{
    char   key[TW_CART_KEY_SIZE];
    size_t len = tw_cart_key_summary(member_id, key);

    tw_cart_summary_value(cart, &part->value);
    put_value_until(part, key, len, cart->ends_at_ms + (tw_failpoint("mutant_summary_lives_on") ? 1000 : 0));
}

void tw_cart_put_projection(struct tw_cart_part *part, const struct tw_cart_change *change)
{
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];
    size_t                   count = tw_cart_pair_lines(change, pairs);
    char                     key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++)
        put_line(part, change, &pairs[i]);
    if (change->after->lines_len == 0)
        tw_cart_put_on_key(part, "UNLINK", key, tw_cart_key_summary(change->member_id, key));
    else if (!part->unprojected)
        put_summary(part, change->member_id, change->after);
}

void tw_cart_put_for_readers(struct tw_cart_part *part, struct tw_uuid member_id, const struct tw_cart *cart)
{
    char key[TW_CART_KEY_SIZE];

    for (uint32_t i = 0; i < cart->lines_len; i++) {
        size_t len = tw_cart_key_item(member_id, cart->lines[i].product_id, key);

        tw_cart_item_value(&cart->lines[i], &part->value);
        put_value_until(part, key, len, cart->ends_at_ms);
    }
    if (cart->lines_len > 0)
        put_summary(part, member_id, cart);
}

void tw_cart_put_end(struct tw_cart_part *part, struct tw_uuid member_id, int64_t ends_at_ms)
{
    char key[TW_CART_KEY_SIZE];

    tw_lane_command(&part->lane, "ZADD", 3);
    tw_lane_arg(&part->lane, key, tw_cart_key_ends(part->lane.partition, key));
    tw_lane_number(&part->lane, tw_cart_day(ends_at_ms));
    tw_lane_id(&part->lane, member_id);
}

void tw_cart_put_change(struct tw_cart_part *part, const struct tw_cart_change *change)
{
    const struct tw_cart *before = change->before;
    const struct tw_cart *after = change->after;

    if (!before || tw_cart_day(before->ends_at_ms) != tw_cart_day(after->ends_at_ms))
        tw_cart_put_end(part, change->member_id, after->ends_at_ms);
    tw_cart_put_projection(part, change);
}

/* ---- sets of holders are sets ---- */

static struct tw_uuid *checked_slot(struct tw_cart_part *part, struct tw_uuid product_id)
{
    return &part->checked[(product_id.bytes[0] << 8 | product_id.bytes[1]) % TW_CART_CHECKED_HOLDERS];
}

/* Asks for the types of the sets that the change touches and this connection has not seen yet. */
static void put_holder_types(struct tw_cart_part *part, const struct tw_cart_change *change)
{
    struct tw_cart_line_pair pairs[TW_CART_PAIRS_MAX];
    size_t                   count = tw_cart_pair_lines(change, pairs);
    char                     key[TW_CART_KEY_SIZE];

    for (size_t i = 0; i < count; i++) {
        struct tw_uuid  product_id = (pairs[i].after ? pairs[i].after : pairs[i].before)->product_id;
        struct tw_uuid *checked = checked_slot(part, product_id);
        bool            stays = pairs[i].before && pairs[i].after;

        if (stays || tw_uuid_eq(*checked, product_id))
            continue;
        *checked = product_id; /* a bad answer closes the connection, and with it forgets all of them */
        tw_cart_put_on_key(part, "TYPE", key, tw_cart_key_holders(part->lane.partition, product_id, key));
    }
}

/* SADD and SREM are the only commands that could fail inside EXEC and were not asked for by the load. */
size_t tw_cart_ask_holders(struct tw_cart_part *part, const struct tw_cart_change *changes, size_t change_count)
{
    for (size_t i = 0; i < change_count; i++)
        put_holder_types(part, &changes[i]);
    return part->lane.unanswered;
}

enum tw_rc tw_cart_check_holders(struct tw_cart_part *part, size_t asked, const char *where, struct tw_err *reterr)
{
    if (asked)
        TW_TRY(tw_lane_send(&part->lane, where, reterr));
    for (; asked > 0; asked--) {
        TW_AUTO(tw_reply_free) redisReply *type = NULL;

        TW_TRY(tw_lane_receive(&part->lane, REDIS_REPLY_STATUS, where, "TYPE", &type, reterr));
        if (strcmp(type->str, "set") != 0 && strcmp(type->str, "none") != 0)
            return tw_lane_broken(&part->lane, where, "tw:holders:*", "one of them is not a set", reterr);
    }
    return TW_OK;
}
