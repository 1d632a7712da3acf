/*
 * Codecs of every message and state: round trips, golden bytes, hostile bytes.
 *
 * Values are made from the field tables, so a new message is tested by one row in `cases`. Golden bytes live in
 * tests/data/golden (TW_GOLDEN overrides the folder): <ce_type>.msgpack.hex and, in words, <ce_type>.txt. They are
 * written once, with TW_WRITE_GOLDEN=1, and never change: they must decode to the same words for ever.
 * TW_MEASURE=1 prints how long packing and reading take, and msgpack_unpack() for comparison.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tillwire/clock.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"

#ifndef TW_GOLDEN_DIR
#define TW_GOLDEN_DIR "tests/data/golden"
#endif

#define CASE(name)                             \
    {                                          \
        &tw_##name##_type, &tw_##name##_layout \
    }

static const struct {
    const struct tw_type   *type;
    const struct tw_layout *layout;
} cases[] = {
    CASE(cart_acknowledge),
    CASE(cart_add_item),
    CASE(cart_clear),
    CASE(cart_remove_item),
    CASE(cart_reprice),
    CASE(cart_set_item),
    CASE(cart_acknowledged),
    CASE(cart_cleared),
    CASE(cart_item_added),
    CASE(cart_item_removed),
    CASE(cart_item_repriced),
    CASE(cart_item_set),
    CASE(cart),
    CASE(member_add_address),
    CASE(member_change_address),
    CASE(member_change_email),
    CASE(member_change_password),
    CASE(member_change_profile),
    CASE(member_claim_email),
    CASE(member_complete_email_change),
    CASE(member_deactivate),
    CASE(member_end_all_sessions),
    CASE(member_end_session),
    CASE(member_issue_token),
    CASE(member_refresh_session),
    CASE(member_register),
    CASE(member_register_service),
    CASE(member_remove_address),
    CASE(member_revoke_token),
    CASE(member_set_default_address),
    CASE(member_set_status),
    CASE(member_start_session),
    CASE(member_address_added),
    CASE(member_address_changed),
    CASE(member_address_removed),
    CASE(member_email_change_asked),
    CASE(member_email_changed),
    CASE(member_email_claim_decided),
    CASE(member_password_changed),
    CASE(member_profile_changed),
    CASE(member_registered),
    CASE(member_service_registered),
    CASE(member_session_refreshed),
    CASE(member_session_started),
    CASE(member_status_changed),
    CASE(member_token_issued),
    CASE(member_tokens_revoked),
    CASE(member),
    CASE(member_claim),
    CASE(product_change),
    CASE(product_create),
    CASE(product_deactivate),
    CASE(product_rate),
    CASE(product_record_view),
    CASE(product_withdraw_rating),
    CASE(product_changed),
    CASE(product_created),
    CASE(product_rated),
    CASE(product_viewed),
    CASE(product),
    CASE(product_rating),
    CASE(command_outcome),
};

static struct tw_arena arena;
static struct tw_buf   packed;

/* --- values from tables ------------------------------------------------------------------------------------------- */

enum fill { LOWEST, HIGHEST, TYPICAL };

struct filler {
    struct tw_arena *arena;
    enum fill        how;
    uint32_t         count; /* makes values differ */
};

static void fill_struct(struct filler *filler, const struct tw_layout *layout, void *ret_value);

static struct tw_str text_of_length(struct filler *filler, const struct tw_field *field, size_t len)
{
    char       *text = tw_arena_alloc(filler->arena, len + 1);
    const char *start = field->format == TW_FORMAT_URI ? "https://" : field->format == TW_FORMAT_E164 ? "+1" : "";

    memset(text, field->format == TW_FORMAT_E164 ? '7' : 'x', len);
    memcpy(text, start, strlen(start) < len ? strlen(start) : len);
    return (struct tw_str){text, len};
}

static struct tw_str typical_text(struct filler *filler, const struct tw_field *field)
{
    switch ((enum tw_format)field->format) {
    case TW_FORMAT_SKU:
        return TW_STR("TEE-BLK-M");
    case TW_FORMAT_SLUG:
        return TW_STR("caf\xc3\xa9-1");
    case TW_FORMAT_E164:
        return TW_STR("+6281234567890");
    case TW_FORMAT_URI:
        return TW_STR("https://cdn.example.com/a.jpg");
    case TW_FORMAT_NONE:
        break;
    }
    return tw_arena_printf(filler->arena, "%s caf\xc3\xa9 %u", field->name ? field->name : "item", filler->count++);
}

static struct tw_str fill_text(struct filler *filler, const struct tw_field *field)
{
    size_t shortest = field->format == TW_FORMAT_URI ? 9 : (size_t)field->min;

    if (filler->how == TYPICAL)
        return typical_text(filler, field);
    return text_of_length(filler, field, filler->how == LOWEST ? shortest : (size_t)field->max);
}

static int64_t fill_number(struct filler *filler, const struct tw_field *field)
{
    if (filler->how == TYPICAL)
        return field->min + (int64_t)(filler->count++ * 7919U % 997U) % (field->max - field->min + 1);
    return filler->how == LOWEST ? field->min : field->max;
}

static uint32_t fill_length(struct filler *filler, const struct tw_field *field)
{
    if (filler->how == TYPICAL)
        return field->max < 2 ? (uint32_t)field->max : 2;
    return (uint32_t)(filler->how == LOWEST ? field->min : field->max);
}

static void fill_value(struct filler *filler, const struct tw_field *field, char *member);

static void fill_list(struct filler *filler, const struct tw_field *field, char *member)
{
    uint32_t       len = fill_length(filler, field);
    struct tw_list list = {len ? tw_arena_array(filler->arena, len, field->item_size) : NULL, len, len};

    for (uint32_t i = 0; i < len; i++) {
        char *item = (char *)list.items + (size_t)i * field->item_size;

        if (field->layout)
            fill_struct(filler, field->layout, item);
        else
            fill_value(filler, field->item, item);
    }
    tw_list_set(member, list);
}

static void fill_map(struct filler *filler, const struct tw_field *field, char *member)
{
    uint32_t        len = fill_length(filler, field);
    struct tw_pair *pairs = len ? TW_NEW_ARRAY(filler->arena, len, struct tw_pair) : NULL;

    for (uint32_t i = 0; i < len; i++) {
        pairs[i].name = tw_arena_printf(filler->arena, "name %u", i);
        pairs[i].value = fill_text(filler, field->item);
    }
    tw_list_set(member, (struct tw_list){pairs, len, len});
}

static void fill_bytes(struct filler *filler, char *member, size_t len)
{
    for (size_t i = 0; i < len; i++)
        member[i] = (char)(filler->how == LOWEST ? 0 : filler->how == HIGHEST ? 0xff : filler->count++);
}

static void fill_value(struct filler *filler, const struct tw_field *field, char *member)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        fill_bytes(filler, member, 16);
        return;
    case TW_KIND_BYTES:
        fill_bytes(filler, member, (size_t)field->max);
        return;
    case TW_KIND_STRING:
        *(struct tw_str *)(void *)member = fill_text(filler, field);
        return;
    case TW_KIND_BOOL:
        *(bool *)member = filler->how != LOWEST;
        return;
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        *(uint32_t *)(void *)member = (uint32_t)fill_number(filler, field);
        return;
    case TW_KIND_INT:
    case TW_KIND_TIME:
    case TW_KIND_DECIMAL:
    case TW_KIND_DECIMAL_INT:
        *(int64_t *)(void *)member = fill_number(filler, field);
        return;
    case TW_KIND_LIST:
        fill_list(filler, field, member);
        return;
    case TW_KIND_MAP:
        fill_map(filler, field, member);
        return;
    case TW_KIND_STRUCT:
        fill_struct(filler, field->layout, member);
        return;
    }
}

static void fill_struct(struct filler *filler, const struct tw_layout *layout, void *ret_value)
{
    char *base = ret_value;

    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (field->optional && filler->how == LOWEST)
            continue;
        if (field->optional)
            *(bool *)(base + field->has_offset) = true;
        fill_value(filler, field, base + field->offset);
    }
}

static void *filled(const struct tw_layout *layout, enum fill how)
{
    struct filler filler = {&arena, how, 1};
    void         *value = tw_arena_alloc(&arena, layout->size);

    fill_struct(&filler, layout, value);
    return value;
}

/* --- values in words ---------------------------------------------------------------------------------------------- */

static void say_struct(struct tw_buf *out, const char *prefix, const struct tw_layout *layout, const char *base);

static void say_bytes(struct tw_buf *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tw_buf_printf(out, "%02x", (unsigned char)bytes[i]);
}

static void say_scalar(struct tw_buf *out, const struct tw_field *field, const char *member)
{
    const struct tw_str *text = (const struct tw_str *)(const void *)member;

    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        say_bytes(out, member, 16);
        return;
    case TW_KIND_BYTES:
        say_bytes(out, member, (size_t)field->max);
        return;
    case TW_KIND_STRING:
        tw_buf_printf(out, "\"%.*s\"", TW_STR_ARG(*text));
        return;
    case TW_KIND_BOOL:
        tw_buf_printf(out, "%s", *(const bool *)member ? "true" : "false");
        return;
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        tw_buf_add_str(out, field->values[*(const uint32_t *)(const void *)member]);
        return;
    case TW_KIND_INT:
    case TW_KIND_TIME:
    case TW_KIND_DECIMAL:
    case TW_KIND_DECIMAL_INT:
        tw_buf_printf(out, "%" PRId64, *(const int64_t *)(const void *)member);
        return;
    case TW_KIND_LIST:
    case TW_KIND_MAP:
    case TW_KIND_STRUCT:
        break;
    }
    fail_msg("'%s' is no scalar", field->name);
}

static void say_list(struct tw_buf *out, const char *name, const struct tw_field *field, const char *member)
{
    struct tw_list list = tw_list_get(member);

    tw_buf_printf(out, "%s has %u\n", name, list.len);
    for (uint32_t i = 0; i < list.len; i++) {
        const char *item = (const char *)list.items + (size_t)i * field->item_size;
        const char *inner = tw_arena_printf(&arena, "%s[%u]", name, i).ptr;

        if (field->kind == TW_KIND_MAP) {
            const struct tw_pair *pair = (const struct tw_pair *)(const void *)item;

            tw_buf_printf(out, "%s = \"%.*s\": \"%.*s\"\n", inner, TW_STR_ARG(pair->name), TW_STR_ARG(pair->value));
        } else if (field->layout) {
            say_struct(out, inner, field->layout, item);
        } else {
            tw_buf_printf(out, "%s = ", inner);
            say_scalar(out, field->item, item);
            tw_buf_printf(out, "\n");
        }
    }
}

static void say_struct(struct tw_buf *out, const char *prefix, const struct tw_layout *layout, const char *base)
{
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];
        const char            *name = tw_arena_printf(&arena, "%s%s%s", prefix, *prefix ? "." : "", field->name).ptr;

        if (field->optional && !*(const bool *)(base + field->has_offset))
            continue;
        if (field->kind == TW_KIND_LIST || field->kind == TW_KIND_MAP) {
            say_list(out, name, field, base + field->offset);
        } else if (field->kind == TW_KIND_STRUCT) {
            say_struct(out, name, field->layout, base + field->offset);
        } else {
            tw_buf_printf(out, "%s = ", name);
            say_scalar(out, field, base + field->offset);
            tw_buf_printf(out, "\n");
        }
    }
}

static void assert_same(const struct tw_layout *layout, const void *a, const void *b)
{
    struct tw_buf left = {0}, right = {0};

    say_struct(&left, "", layout, a);
    say_struct(&right, "", layout, b);
    tw_buf_add(&left, "", 1);
    tw_buf_add(&right, "", 1);
    assert_string_equal(left.ptr, right.ptr);
    tw_buf_done(&left);
    tw_buf_done(&right);
}

/* --- fixture ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state)
{
    (void)state;
    tw_buf_clear(&packed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    tw_buf_done(&packed);
    return 0;
}

static struct tw_str pack_filled(const struct tw_type *type, const struct tw_layout *layout, enum fill how)
{
    tw_buf_clear(&packed);
    type->pack(filled(layout, how), &packed);
    return tw_buf_str(&packed);
}

static void assert_refused(const struct tw_type *type, struct tw_str bytes, const char *message)
{
    char         *value = tw_arena_alloc(&arena, type->size);
    struct tw_err err = {0};

    memset(value, 0x5a, type->size);
    assert_int_equal(type->unpack(bytes, &arena, value, &err), TW_INVALID);
    if (message)
        assert_string_equal(err.msg, message);
    assert_true(err.msg[0] != 0);
    for (size_t i = 0; i < type->size; i++)
        assert_int_equal(value[i], 0x5a); /* a failed call leaves ret_value as it was */
}

/* --- round trips -------------------------------------------------------------------------------------------------- */

static void every_released_message_is_tested(void **state)
{
    const struct tw_type *const *lists[] = {tw_cart_commands, tw_cart_events,      tw_member_commands,
                                            tw_member_events, tw_product_commands, tw_product_events,
                                            tw_shared_events};
    size_t counts[] = {tw_cart_command_count,    tw_cart_event_count,    tw_member_command_count, tw_member_event_count,
                       tw_product_command_count, tw_product_event_count, tw_shared_event_count};
    size_t messages = 5; /* the states are in no list */

    (void)state;
    for (size_t i = 0; i < TW_LEN(lists); i++) {
        messages += counts[i];
        for (size_t n = 0; n < counts[i]; n++) {
            bool found = false;

            assert_int_equal(lists[i][n]->number, n);
            for (size_t c = 0; c < TW_LEN(cases); c++)
                found = found || cases[c].type == lists[i][n];
            assert_true(found);
        }
    }
    assert_int_equal(messages, TW_LEN(cases));
}

static void every_type_survives_a_round_trip_at_its_extremes(void **state)
{
    (void)state;
    for (size_t c = 0; c < TW_LEN(cases); c++) {
        for (enum fill how = LOWEST; how <= TYPICAL; how++) {
            void         *value = filled(cases[c].layout, how);
            void         *back = tw_arena_alloc(&arena, cases[c].type->size);
            struct tw_err err = {0};

            tw_buf_clear(&packed);
            cases[c].type->pack(value, &packed);
            if (cases[c].type->unpack(tw_buf_str(&packed), &arena, back, &err) != TW_OK)
                fail_msg("%s: %s", cases[c].type->ce_type, err.msg);
            assert_same(cases[c].layout, value, back);
        }
        tw_arena_reset(&arena);
    }
}

static void a_copy_has_lists_of_its_own(void **state)
{
    struct tw_cart *cart = filled(&tw_cart_layout, TYPICAL);
    struct tw_cart  copy;

    (void)state;
    tw_cart_type.copy(cart, &arena, &copy);
    assert_same(&tw_cart_layout, cart, &copy);
    assert_ptr_not_equal(copy.lines, cart->lines);
    copy.lines = tw_arena_grow(&arena, copy.lines, copy.lines_len, &copy.lines_cap, sizeof(*copy.lines));
    copy.lines[copy.lines_len++] = copy.lines[0];
    copy.lines[0].quantity = 77;
    assert_int_equal(cart->lines_len, 2);
    assert_int_not_equal(cart->lines[0].quantity, 77);
}

static void a_copy_of_nothing_is_nothing(void **state)
{
    struct tw_member member = {0}, copy;

    (void)state;
    tw_member_type.copy(&member, &arena, &copy);
    assert_null(copy.tokens);
    assert_int_equal(copy.tokens_cap, 0);
}

static void a_message_reads_as_a_stranger_would_expect(void **state)
{
    struct tw_cart_add_item cmd = {
        .quantity = 2, .product_name = TW_STR("Tee"), .price_minor = 14900, .product_version = 7};
    static const char expected[] = "\x86\xa9member_id\xd9\x24"
                                   "00000000-0000-0000-0000-000000000000"
                                   "\xaaproduct_id\xd9\x24"
                                   "00000000-0000-0000-0000-000000000000"
                                   "\xa8quantity\x02\xacproduct_name\xa3Tee\xa5price\xa6"
                                   "149.00"
                                   "\xafproduct_version\x07";

    (void)state;
    tw_cart_add_item_type.pack(&cmd, &packed);
    assert_int_equal(packed.len, sizeof(expected) - 1);
    assert_memory_equal(packed.ptr, expected, packed.len);
}

/* --- golden bytes ------------------------------------------------------------------------------------------------- */

static void golden_path(const char *ce_type, const char *suffix, char *ret_path, size_t size_bytes)
{
    const char *folder = getenv("TW_GOLDEN");

    snprintf(ret_path, size_bytes, "%s/%s.%s", folder ? folder : TW_GOLDEN_DIR, ce_type, suffix);
}

static void read_file(const char *path, struct tw_buf *out)
{
    char   chunk[4096];
    size_t len;
    FILE  *file = fopen(path, "rb");

    if (!file)
        fail_msg("cannot open %s", path);
    while ((len = fread(chunk, 1, sizeof(chunk), file)) > 0)
        tw_buf_add(out, chunk, len);
    fclose(file);
}

static void write_file(const char *path, struct tw_str text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static void write_golden(const struct tw_type *type, const struct tw_layout *layout)
{
    char          path[512];
    void         *value = filled(layout, TYPICAL);
    struct tw_buf hex = {0}, words = {0};

    golden_path(type->ce_type, "msgpack.hex", path, sizeof(path));
    if (access(path, F_OK) == 0)
        return; /* golden bytes never change */
    tw_buf_clear(&packed);
    type->pack(value, &packed);
    say_bytes(&hex, packed.ptr, packed.len);
    tw_buf_add(&hex, "\n", 1);
    write_file(path, tw_buf_str(&hex));
    say_struct(&words, "", layout, value);
    golden_path(type->ce_type, "txt", path, sizeof(path));
    write_file(path, tw_buf_str(&words));
    tw_buf_done(&hex);
    tw_buf_done(&words);
}

static void from_hex(struct tw_str hex, struct tw_buf *out)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        char digits[3] = {hex.ptr[i], hex.ptr[i + 1], 0};
        char byte = (char)strtol(digits, NULL, 16);

        tw_buf_add(out, &byte, 1);
    }
}

static void check_golden(const struct tw_type *type, const struct tw_layout *layout)
{
    char          path[512];
    struct tw_buf hex = {0}, bytes = {0}, expected = {0}, words = {0};
    void         *value = tw_arena_alloc(&arena, type->size);
    struct tw_err err = {0};

    golden_path(type->ce_type, "msgpack.hex", path, sizeof(path));
    read_file(path, &hex);
    from_hex(tw_buf_str(&hex), &bytes);
    golden_path(type->ce_type, "txt", path, sizeof(path));
    read_file(path, &expected);
    if (type->unpack(tw_buf_str(&bytes), &arena, value, &err) != TW_OK)
        fail_msg("golden %s: %s", type->ce_type, err.msg);
    say_struct(&words, "", layout, value);
    tw_buf_add(&words, "", 1);
    tw_buf_add(&expected, "", 1);
    assert_string_equal(words.ptr, expected.ptr);
    tw_buf_done(&hex);
    tw_buf_done(&bytes);
    tw_buf_done(&expected);
    tw_buf_done(&words);
}

static void golden_messages_decode_for_ever(void **state)
{
    (void)state;
    for (size_t c = 0; c < TW_LEN(cases); c++) {
        if (getenv("TW_WRITE_GOLDEN"))
            write_golden(cases[c].type, cases[c].layout);
        check_golden(cases[c].type, cases[c].layout);
    }
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

/* cart.add_item with one thing wrong; NULL leaves a field out. */
struct wrong_item {
    const char *member_id;
    const char *quantity_bytes; /* raw msgpack, one byte or more */
    size_t      quantity_len;
    const char *price;
    const char *extra; /* raw key and value behind all others */
    size_t      extra_len;
    uint8_t     fields;
};

static void put_text(struct tw_buf *out, const char *text)
{
    uint8_t head[2] = {0xd9, (uint8_t)strlen(text)}; /* str8 also where fixstr would do: readers take both */

    tw_buf_add(out, head, 2);
    tw_buf_add(out, text, strlen(text));
}

static struct tw_str item_bytes(const struct wrong_item *wrong)
{
    uint8_t head = (uint8_t)(0x80 | wrong->fields);

    tw_buf_clear(&packed);
    tw_buf_add(&packed, &head, 1);
    put_text(&packed, "price"); /* not in the schema's order */
    put_text(&packed, wrong->price);
    if (wrong->member_id) {
        put_text(&packed, "member_id");
        put_text(&packed, wrong->member_id);
    }
    put_text(&packed, "product_id");
    put_text(&packed, "0192F5C0-7B1E-8D3A-8F27-6C1D2E3F4A5B");
    put_text(&packed, "quantity");
    tw_buf_add(&packed, wrong->quantity_bytes, wrong->quantity_len);
    put_text(&packed, "product_name");
    put_text(&packed, "Tee");
    put_text(&packed, "product_version");
    tw_buf_add(&packed, "\x01", 1);
    if (wrong->extra)
        tw_buf_add(&packed, wrong->extra, wrong->extra_len);
    return tw_buf_str(&packed);
}

#define ID "3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11"

static const struct wrong_item right = {ID, "\x02", 1, "149.00", NULL, 0, 6};

#define QUANTITY(literal) .quantity_bytes = (literal), .quantity_len = sizeof(literal) - 1
#define EXTRA(literal)    .extra = (literal), .extra_len = sizeof(literal) - 1

static void fields_may_come_in_any_order_and_unknown_ones_are_skipped(void **state)
{
    static const char       more[] = "\xa4more\x82\x01\x93\xc0\xcb\0\0\0\0\0\0\0\0\xd4\1\2\xa1x\xc4\1z";
    struct wrong_item       with_more = right;
    struct tw_cart_add_item cmd;

    (void)state;
    assert_int_equal(tw_cart_add_item_type.unpack(item_bytes(&right), &arena, &cmd, NULL), TW_OK);
    assert_int_equal(cmd.quantity, 2);
    assert_int_equal(cmd.price_minor, 14900);
    with_more.extra = more;
    with_more.extra_len = sizeof(more) - 1;
    with_more.fields = 7;
    assert_int_equal(tw_cart_add_item_type.unpack(item_bytes(&with_more), &arena, &cmd, NULL), TW_OK);
}

static void each_integer_width_is_read_and_its_range_kept(void **state)
{
    static const struct {
        const char *bytes;
        size_t      len;
        bool        good;
    } numbers[] = {
        {"\x01", 1, true},
        {"\x00", 1, false},
        {"\xff", 1, false},
        {"\xcc\xc8", 2, true},
        {"\xcd\x03\xe7", 3, true},
        {"\xcd\x03\xe8", 3, false},
        {"\xce\0\0\x03\xe7", 5, true},
        {"\xcf\0\0\0\0\0\0\x03\xe7", 9, true},
        {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, false},
        {"\xd0\x05", 2, true},
        {"\xd0\xfb", 2, false},
        {"\xd1\x03\xe7", 3, true},
        {"\xd2\0\0\x03\xe7", 5, true},
        {"\xd3\0\0\0\0\0\0\x03\xe7", 9, true},
        {"\xd3\x80\0\0\0\0\0\0\0", 9, false},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(numbers); i++) {
        struct wrong_item       item = right;
        struct tw_cart_add_item cmd;

        item.quantity_bytes = numbers[i].bytes;
        item.quantity_len = numbers[i].len;
        if (numbers[i].good)
            assert_int_equal(tw_cart_add_item_type.unpack(item_bytes(&item), &arena, &cmd, NULL), TW_OK);
        else
            assert_refused(&tw_cart_add_item_type, item_bytes(&item), "field 'quantity' must be 1 to 999");
    }
}

static void a_refusal_names_the_field(void **state)
{
    static const struct {
        struct wrong_item item;
        const char       *message;
    } refusals[] = {
        {{"x", QUANTITY("\x02"), "1.00", NULL, 0, 6}, "field 'member_id' must be a UUID"},
        {{NULL, QUANTITY("\x02"), "1.00", NULL, 0, 5}, "field 'member_id' is missing"},
        {{ID,
          QUANTITY("\xa1"
                   "2"),
          "1.00", NULL, 0, 6},
         "field 'quantity' must be an integer"},
        {{ID, QUANTITY("\xca\x40\0\0\0"), "1.00", NULL, 0, 6}, "field 'quantity' must be an integer"},
        {{ID, QUANTITY("\xc0"), "1.00", NULL, 0, 6}, "field 'quantity' must be an integer"},
        {{ID, QUANTITY("\x02"), "1.001", NULL, 0, 6}, "field 'price' must be a decimal text such as \"199.00\""},
        {{ID, QUANTITY("\x02"), "10000000000.00", NULL, 0, 6}, "field 'price' must be 0.00 to 9999999999.99"},
        {{ID, QUANTITY("\x02"), "1.00", EXTRA("\xa8quantity\x03"), 7}, "field 'quantity' is there twice"},
        {{ID, QUANTITY("\x02"), "1.00", EXTRA("\xa1n\x03\xa1n\x03"), 8},
         "cannot decode msgpack: an unknown field is there twice"},
        {{ID, QUANTITY("\x02"), "1.00", EXTRA("\x05\x03"), 7}, "cannot decode msgpack: a key is not text"},
        {{ID, QUANTITY("\x02"), "1.00", EXTRA("\x05"), 6}, "cannot decode msgpack: bytes follow the message"},
        {{ID, QUANTITY("\x02"), "1.00", NULL, 0, 7}, "cannot decode msgpack: it ends too early"},
        {{ID, QUANTITY("\xc1"), "1.00", NULL, 0, 6},
         "cannot decode msgpack: it has the byte 0xc1, which is never used"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(refusals); i++)
        assert_refused(&tw_cart_add_item_type, item_bytes(&refusals[i].item), refusals[i].message);
}

static void a_refusal_inside_a_list_names_the_element(void **state)
{
    struct tw_cart *cart = filled(&tw_cart_layout, TYPICAL);

    (void)state;
    cart->lines[1].quantity = 1000;
    tw_cart_type.pack(cart, &packed);
    assert_refused(&tw_cart_type, tw_buf_str(&packed), "field 'lines[1].quantity' must be 1 to 999");
}

static void texts_must_be_utf8_of_the_right_length_and_form(void **state)
{
    static const struct {
        struct tw_str sku;
        const char   *message;
    } texts[] = {
        {TW_STR(""), "field 'sku' must be 1 to 64 bytes long"},
        {TW_STR("a b"), "field 'sku' must be visible ASCII without spaces"},
        {TW_STR("\xff"), "field 'sku' must be UTF-8 without NUL"},
        {TW_STR("a\0b"), "field 'sku' must be UTF-8 without NUL"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        struct tw_product_create *cmd = filled(&tw_product_create_layout, TYPICAL);

        cmd->sku = texts[i].sku;
        tw_buf_clear(&packed);
        tw_product_create_type.pack(cmd, &packed);
        assert_refused(&tw_product_create_type, tw_buf_str(&packed), texts[i].message);
    }
}

static void map_names_are_checked(void **state)
{
    static const struct {
        struct tw_str name;
        const char   *message;
    } names[] = {
        {TW_STR(""), "field 'images' must have names of 1 to 100 bytes without '$' and '.'"},
        {TW_STR("a.b"), "field 'images' must have names of 1 to 100 bytes without '$' and '.'"},
        {TW_STR("$a"), "field 'images' must have names of 1 to 100 bytes without '$' and '.'"},
        {TW_STR("name 0"), "field 'images' has the same name twice"},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(names); i++) {
        struct tw_product_create *cmd = filled(&tw_product_create_layout, TYPICAL);

        cmd->images[1].name = names[i].name;
        tw_buf_clear(&packed);
        tw_product_create_type.pack(cmd, &packed);
        assert_refused(&tw_product_create_type, tw_buf_str(&packed), names[i].message);
    }
}

static void nil_for_an_optional_field_is_the_same_as_none(void **state)
{
    struct tw_product_create *cmd = filled(&tw_product_create_layout, LOWEST);
    struct tw_product_create  back;

    (void)state;
    tw_product_create_type.pack(cmd, &packed);
    packed.ptr[0]++; /* one field more in the map */
    tw_buf_add(&packed,
               "\xab"
               "description\xc0",
               13);
    assert_int_equal(tw_product_create_type.unpack(tw_buf_str(&packed), &arena, &back, NULL), TW_OK);
    assert_false(back.has_description);
}

static void decimals_are_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t     hundredths; /* -1: refused */
    } decimals[] = {
        {"0", 0},
        {"0.00", 0},
        {"199", 19900},
        {"199.5", 19950},
        {"199.05", 19905},
        {"0.1", 10},
        {"", -1},
        {"01", -1},
        {"1.", -1},
        {".5", -1},
        {"1.000", -1},
        {"-1", -1},
        {"+1", -1},
        {"1e2", -1},
        {" 1", -1},
        {"1 ", -1},
        {"1,5", -1},
        {"00", -1},
        {"1.x", -1},
        {"1..", -1},
        {"9999999999999999.99", INT64_C(999999999999999999)},
        {"10000000000000000.00", -1},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(decimals); i++) {
        int64_t value = -1;
        bool    good = tw_decimal_parse(tw_str_of(decimals[i].text), &value);

        assert_int_equal(good, decimals[i].hundredths >= 0);
        assert_true(value == decimals[i].hundredths);
    }
}

static void formats_are_what_they_say(void **state)
{
    static const struct {
        enum tw_format format;
        const char    *text;
        bool           good;
    } texts[] = {
        {TW_FORMAT_E164, "+6281234567890", true},
        {TW_FORMAT_E164, "+0281234567890", false},
        {TW_FORMAT_E164, "6281234567890", false},
        {TW_FORMAT_E164, "+628123456789012", true},
        {TW_FORMAT_E164, "+6281234567890123", false},
        {TW_FORMAT_E164, "+62 812", false},
        {TW_FORMAT_SLUG, "black-tee_2.0~x", true},
        {TW_FORMAT_SLUG, "Black", false},
        {TW_FORMAT_SLUG, "a b", false},
        {TW_FORMAT_SLUG, "caf\xc3\xa9", true},
        {TW_FORMAT_SLUG, "a/b", false},
        {TW_FORMAT_URI, "https://a", true},
        {TW_FORMAT_URI, "https://", false},
        {TW_FORMAT_URI, "javascript:alert(1)", false},
        {TW_FORMAT_URI, "http://a b", false},
        {TW_FORMAT_URI, "http://a\"", false},
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(texts); i++)
        assert_int_equal(tw_format_matches(texts[i].format, tw_str_of(texts[i].text)), texts[i].good);
}

/* --- hostile bytes ------------------------------------------------------------------------------------------------ */

static void nothing_but_a_map_is_a_message(void **state)
{
    (void)state;
    assert_refused(&tw_cart_add_item_type, TW_STR(""), "cannot decode msgpack: it ends too early");
    assert_refused(&tw_cart_add_item_type, (struct tw_str){NULL, 0}, "cannot decode msgpack: it ends too early");
    assert_refused(&tw_cart_add_item_type, TW_STR("\x05"), "cannot decode msgpack: there must be a map");
    assert_refused(&tw_cart_add_item_type, TW_STR("\x80"), "field 'member_id' is missing");
}

static void huge_counts_cost_nothing(void **state)
{
    static const struct tw_str bytes[] = {
        TW_STR("\xdf\xff\xff\xff\xff"),
        TW_STR("\xdd\xff\xff\xff\xff"),
        TW_STR("\xde\xff\xff"),
        TW_STR("\x81\xa4tags\xdd\xff\xff\xff\xff"),
        TW_STR("\x81\xa4tags\xdc\xff\xff"),
        TW_STR("\x81\xa6images\xdf\x7f\xff\xff\xff"),
        TW_STR("\x81\xa3sku\xdb\xff\xff\xff\xff"),
        TW_STR("\x81\xdb\xff\xff\xff\xff"),
        TW_STR("\x81\xa1x\xc6\xff\xff\xff\xff"),
        TW_STR("\x81\xa1x\xc9\xff\xff\xff\xff\1"),
    };

    (void)state;
    for (size_t i = 0; i < TW_LEN(bytes); i++) {
        size_t before = arena.used_bytes;

        assert_refused(&tw_product_create_type, bytes[i], "cannot decode msgpack: it ends too early");
        assert_true(arena.used_bytes - before < 8192);
    }
}

static void a_count_beyond_the_schema_is_refused_before_anything_is_allocated(void **state)
{
    char *bytes = tw_arena_alloc(&arena, 100000);

    (void)state;
    memcpy(bytes, "\x81\xa4tags\xdc\xff\xff", 9);
    assert_refused(&tw_product_create_type, (struct tw_str){bytes, 100000}, "field 'tags' must have 0 to 20 elements");
}

static void nesting_has_an_end(void **state)
{
    char bytes[4096];

    (void)state;
    memset(bytes, 0x91, sizeof(bytes)); /* [[[[… */
    memcpy(bytes, "\x81\xa1x", 3);
    assert_refused(&tw_cart_add_item_type, (struct tw_str){bytes, sizeof(bytes)},
                   "cannot decode msgpack: it is nested more than 16 deep");
}

static void unknown_fields_have_an_end(void **state)
{
    (void)state;
    tw_buf_add(&packed, "\xde\x00\x64", 3); /* 100 fields */
    for (int i = 0; i < 100; i++) {
        char name[8];

        snprintf(name, sizeof(name), "x%d", i);
        put_text(&packed, name);
        tw_buf_add(&packed, "\xc0", 1);
    }
    assert_refused(&tw_cart_add_item_type, tw_buf_str(&packed),
                   "cannot decode msgpack: it has more than 64 unknown fields");
}

/* @p bytes copied so that its last byte is the last one before a page that must not be touched. */
struct guarded {
    char  *pages;
    size_t size;
    size_t page;
};

static struct guarded guarded_new(size_t at_least)
{
    size_t         page = (size_t)sysconf(_SC_PAGESIZE);
    size_t         room = (at_least + page - 1) / page * page;
    struct guarded guarded = {NULL, room, page};

    guarded.pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guarded.pages != MAP_FAILED);
    assert_int_equal(mprotect(guarded.pages + room, page, PROT_NONE), 0);
    return guarded;
}

static struct tw_str guarded_put(const struct guarded *guarded, struct tw_str bytes)
{
    char *start = guarded->pages + guarded->size - bytes.len;

    memcpy(start, bytes.ptr, bytes.len);
    return (struct tw_str){start, bytes.len};
}

static void every_truncation_is_refused_and_never_read_over(void **state)
{
    struct guarded guarded = guarded_new(64 * 1024);

    (void)state;
    for (size_t c = 0; c < TW_LEN(cases); c++) {
        struct tw_str whole = pack_filled(cases[c].type, cases[c].layout, TYPICAL);

        for (size_t len = 0; len < whole.len; len++) {
            assert_refused(cases[c].type, guarded_put(&guarded, (struct tw_str){whole.ptr, len}), NULL);
            tw_arena_reset(&arena);
        }
    }
    munmap(guarded.pages, guarded.size + guarded.page);
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static void mutate(struct tw_str bytes, char *ret_bytes, size_t *ret_len, uint64_t *random)
{
    uint64_t changes = 1 + next_random(random) % 4;

    memcpy(ret_bytes, bytes.ptr, bytes.len);
    *ret_len = bytes.len;
    while (changes-- > 0) {
        size_t at = (size_t)(next_random(random) % *ret_len);
        size_t other = (size_t)(next_random(random) % *ret_len);

        switch (next_random(random) % 4) {
        case 0:
            ret_bytes[at] = (char)next_random(random);
            break;
        case 1:
            ret_bytes[at] = (char)(ret_bytes[at] ^ 1 << next_random(random) % 8);
            break;
        case 2:
            ret_bytes[at] = ret_bytes[other];
            break;
        default:
            memmove(ret_bytes + at, ret_bytes + at + 1, --*ret_len - at);
            break;
        }
        if (*ret_len == 0)
            return;
    }
}

/* What was read from mutated bytes must itself be a message again. */
static void check_total(const struct tw_type *type, struct tw_str bytes)
{
    void         *value = tw_arena_alloc(&arena, type->size);
    void         *again = tw_arena_alloc(&arena, type->size);
    struct tw_err err = {0};

    if (type->unpack(bytes, &arena, value, &err) != TW_OK) {
        assert_int_equal(err.rc, TW_INVALID);
        assert_true(err.msg[0] != 0);
        return;
    }
    tw_buf_clear(&packed);
    type->pack(value, &packed);
    if (type->unpack(tw_buf_str(&packed), &arena, again, &err) != TW_OK)
        fail_msg("%s: accepted, but not its own packing: %s", type->ce_type, err.msg);
}

static void mutated_bytes_give_a_value_or_a_refusal(void **state)
{
    enum { ROUNDS = 400000 };
    struct guarded  guarded = guarded_new(64 * 1024);
    struct tw_arena kept = {0};
    struct tw_str   wholes[TW_LEN(cases)];
    uint64_t        random = UINT64_C(0x9e3779b97f4a7c15);
    char           *bytes = tw_alloc(64 * 1024);

    (void)state;
    for (size_t c = 0; c < TW_LEN(cases); c++)
        wholes[c] = tw_arena_copy(&kept, pack_filled(cases[c].type, cases[c].layout, TYPICAL));
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t c = i % TW_LEN(cases), len = 0;

        mutate(wholes[c], bytes, &len, &random);
        check_total(cases[c].type, guarded_put(&guarded, (struct tw_str){bytes, len}));
        tw_arena_reset(&arena);
    }
    free(bytes);
    tw_arena_done(&kept);
    munmap(guarded.pages, guarded.size + guarded.page);
}

/* --- speed -------------------------------------------------------------------------------------------------------- */

enum { TURNS = 1000000 };

static void print_ns(const char *what, int64_t since_us)
{
    print_message("           %-34s %6.0f ns\n", what, (double)(tw_monotonic_us() - since_us) * 1000.0 / TURNS);
}

static void measure_msgpack_unpack(struct tw_str bytes)
{
    int64_t        start_us = tw_monotonic_us();
    msgpack_zone   zone;
    msgpack_object object;

    msgpack_zone_init(&zone, 8192);
    for (int i = 0; i < TURNS; i++) {
        size_t at = 0;

        msgpack_unpack(bytes.ptr, bytes.len, &at, &zone, &object);
        msgpack_zone_clear(&zone);
    }
    msgpack_zone_destroy(&zone);
    print_ns("msgpack_unpack() alone, one zone", start_us);
}

static void measure_type(const struct tw_type *type, const struct tw_layout *layout)
{
    struct tw_arena kept = {0};
    struct filler   filler = {&kept, TYPICAL, 1};
    void           *value = tw_arena_alloc(&kept, layout->size);
    void           *back = tw_arena_alloc(&kept, layout->size);
    int64_t         start_us;

    fill_struct(&filler, layout, value);
    start_us = tw_monotonic_us();
    for (int i = 0; i < TURNS; i++) {
        tw_buf_clear(&packed);
        type->pack(value, &packed);
    }
    print_message("           %s, %zu bytes\n", type->ce_type, packed.len);
    print_ns("pack", start_us);
    start_us = tw_monotonic_us();
    for (int i = 0; i < TURNS; i++) {
        assert_int_equal(type->unpack(tw_buf_str(&packed), &arena, back, NULL), TW_OK);
        tw_arena_reset(&arena);
    }
    print_ns("unpack", start_us);
    measure_msgpack_unpack(tw_buf_str(&packed));
    tw_arena_done(&kept);
}

static void speed_is_printed_on_request(void **state)
{
    (void)state;
    if (!getenv("TW_MEASURE"))
        skip();
    measure_type(&tw_cart_add_item_type, &tw_cart_add_item_layout);
    measure_type(&tw_cart_type, &tw_cart_layout);
    measure_type(&tw_command_outcome_type, &tw_command_outcome_layout);
    measure_type(&tw_product_create_type, &tw_product_create_layout);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_released_message_is_tested),
        TEST(every_type_survives_a_round_trip_at_its_extremes),
        TEST(a_copy_has_lists_of_its_own),
        TEST(a_copy_of_nothing_is_nothing),
        TEST(a_message_reads_as_a_stranger_would_expect),
        TEST(golden_messages_decode_for_ever),
        TEST(fields_may_come_in_any_order_and_unknown_ones_are_skipped),
        TEST(each_integer_width_is_read_and_its_range_kept),
        TEST(a_refusal_names_the_field),
        TEST(a_refusal_inside_a_list_names_the_element),
        TEST(texts_must_be_utf8_of_the_right_length_and_form),
        TEST(map_names_are_checked),
        TEST(nil_for_an_optional_field_is_the_same_as_none),
        TEST(decimals_are_exact),
        TEST(formats_are_what_they_say),
        TEST(nothing_but_a_map_is_a_message),
        TEST(huge_counts_cost_nothing),
        TEST(a_count_beyond_the_schema_is_refused_before_anything_is_allocated),
        TEST(nesting_has_an_end),
        TEST(unknown_fields_have_an_end),
        TEST(every_truncation_is_refused_and_never_read_over),
        TEST(mutated_bytes_give_a_value_or_a_refusal),
        TEST(speed_is_printed_on_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
