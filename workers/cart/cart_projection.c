/* Lines keep their order in a cart and new ones are appended: pairing is one walk over both. */
#include "cart_projection.h"

#include <assert.h>
#include <string.h>

#include "tillwire/cart_keys.h"
#include "tillwire/clock.h"
#include "tillwire/money.h"

/* ---- what changed ---- */

size_t tw_cart_pair_lines(const struct tw_cart_change *change, struct tw_cart_line_pair ret_pairs[TW_CART_PAIRS_MAX])
{
    const struct tw_cart *after = change->after;
    uint32_t              before_len = change->before ? change->before->lines_len : 0;
    size_t                count = 0;
    uint32_t              a = 0;

    assert(before_len <= TW_CART_LINES_MAX && after->lines_len <= TW_CART_LINES_MAX);
    for (uint32_t b = 0; b < before_len; b++) {
        const struct tw_cart_line *line = &change->before->lines[b];
        bool kept = a < after->lines_len && tw_uuid_eq(line->product_id, after->lines[a].product_id);
        ret_pairs[count++] = (struct tw_cart_line_pair){line, kept ? &after->lines[a++] : NULL};
    }
    while (a < after->lines_len)
        ret_pairs[count++] = (struct tw_cart_line_pair){NULL, &after->lines[a++]};
    return count;
}

bool tw_cart_reads_the_same(const struct tw_cart_line *a, const struct tw_cart_line *b)
{
    return a->price_minor == b->price_minor && a->quantity == b->quantity && a->added_at_ms == b->added_at_ms &&
           tw_str_eq(a->product_name, b->product_name);
}

/* ---- JSON ---- */

static void add_text(struct tw_buf *out, const char *text)
{
    tw_buf_add(out, text, strlen(text));
}

/* Bytes that stand for themselves in a JSON string: all but quote, backslash and control characters (RFC 8259). */
static size_t plain_run(struct tw_str text)
{
    size_t len = 0;

    while (len < text.len && (unsigned char)text.ptr[len] >= 0x20 && text.ptr[len] != '"' && text.ptr[len] != '\\')
        len++;
    return len;
}

static void add_escaped(struct tw_buf *out, char c)
{
    if (c == '"' || c == '\\')
        tw_buf_add(out, (const char[]){'\\', c}, 2);
    else
        tw_buf_printf(out, "\\u%04x", (unsigned int)c);
}

static void add_string(struct tw_buf *out, struct tw_str text)
{
    size_t run;

    add_text(out, "\"");
    while ((run = plain_run(text)) < text.len) {
        tw_buf_add(out, text.ptr, run);
        add_escaped(out, text.ptr[run]);
        text = (struct tw_str){text.ptr + run + 1, text.len - run - 1};
    }
    tw_buf_add_str(out, text);
    add_text(out, "\"");
}

static void add_id(struct tw_buf *out, struct tw_uuid id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(id, text);
    add_string(out, (struct tw_str){text, TW_UUID_TEXT});
}

static void add_time(struct tw_buf *out, int64_t time_ms)
{
    char text[TW_TIME_TEXT + 1];

    tw_time_format(time_ms, text);
    add_string(out, (struct tw_str){text, TW_TIME_TEXT});
}

static void add_number(struct tw_buf *out, int64_t number)
{
    char text[TW_INT_TEXT];

    tw_buf_add_str(out, tw_str_of_int(number, text));
}

static void add_money(struct tw_buf *out, int64_t minor)
{
    char text[TW_MONEY_TEXT];

    tw_buf_add(out, text, tw_money_format(minor, text));
}

void tw_cart_item_value(const struct tw_cart_line *line, struct tw_buf *out)
{
    tw_buf_clear(out);
    add_text(out, "{\"product_id\":");
    add_id(out, line->product_id);
    add_text(out, ",\"product_name\":");
    add_string(out, line->product_name);
    add_text(out, ",\"price\":");
    add_money(out, line->price_minor);
    add_text(out, ",\"quantity\":");
    add_number(out, line->quantity);
    add_text(out, ",\"added_at\":");
    add_time(out, line->added_at_ms);
    add_text(out, "}");
}

void tw_cart_summary_value(const struct tw_cart *cart, struct tw_buf *out)
{
    struct tw_cart_totals totals = tw_cart_totals(cart);

    tw_buf_clear(out);
    add_text(out, "{\"total_items\":");
    add_number(out, totals.items);
    add_text(out, ",\"total_price\":");
    add_money(out, totals.price_minor);
    add_text(out, ",\"updated_at\":");
    add_time(out, cart->updated_at_ms);
    add_text(out, "}");
}
