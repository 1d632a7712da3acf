/*
 * The canonical form shows every field of every state, and names the first one that differs: found by walking the tables
 * that schemas/ generates, so that a new field cannot be forgotten here or there.
 */
#include "canonical.h"

#include <stdio.h>
#include <string.h>

#include "member_domain.h"
#include "product_domain.h"
#include "sample_states.h"
#include "tillwire/codec.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "unit.h"

enum { ENTITIES = 12, GENERATIONS = 12, SEEN_MAX = 200 };

static struct tw_arena arena;
static struct tw_buf   line, other_line, difference;

static int forget(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    tw_buf_done(&line);
    tw_buf_done(&other_line);
    tw_buf_done(&difference);
    return 0;
}

/* --- every field -------------------------------------------------------------------------------------------------- */

/* The state that is changed, and what was found of its fields. */
struct walk {
    const struct tw_type  *type;
    const struct tw_key   *key;
    const void            *before;
    char                  *changed; /* a copy of it, a field of which is another one */
    const struct tw_field *seen[SEEN_MAX];
    size_t                 seen_count;
};

static bool has_seen(const struct walk *walk, const struct tw_field *field)
{
    for (size_t i = 0; i < walk->seen_count; i++)
        if (walk->seen[i] == field)
            return true;
    return false;
}

static void see(struct walk *walk, const struct tw_field *field)
{
    if (has_seen(walk, field))
        return;
    assert_true(walk->seen_count < SEEN_MAX);
    walk->seen[walk->seen_count++] = field;
}

/* The values themselves, as people would read them. */
static void assert_not_shown(const struct tw_field *field, const char *member)
{
    struct tw_str text;
    char          hex[9];

    if (field->kind == TW_KIND_STRING) {
        memcpy(&text, member, sizeof(text));
        tw_buf_add(&difference, "", 1);
        assert_null(memmem(difference.ptr, difference.len, text.ptr, text.len));
        return;
    }
    snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", (uint8_t)member[0], (uint8_t)member[1], (uint8_t)member[2],
             (uint8_t)member[3]);
    assert_null(memmem(difference.ptr, difference.len, hex, 8));
}

static bool is_secret(const struct tw_field *field)
{
    return !strcmp(field->name, "password_hash") || !strcmp(field->name, "token_hash");
}

static void assert_told(const struct walk *walk, const char *path)
{
    tw_buf_clear(&line);
    tw_buf_clear(&other_line);
    tw_buf_clear(&difference);
    tw_canonical_entity(walk->type, walk->key, walk->before, &line);
    tw_canonical_entity(walk->type, walk->key, walk->changed, &other_line);
    if (tw_str_eq(tw_buf_str(&line), tw_buf_str(&other_line)))
        fail_msg("%s: the line does not show '%s'", walk->type->name, path);
    if (!tw_canonical_difference(walk->type, walk->before, walk->changed, "the log says", &difference) ||
        difference.len < strlen(path) || memcmp(difference.ptr, path, strlen(path)) != 0)
        fail_msg("%s: '%s' is not what is named: %.*s", walk->type->name, path, TW_STR_ARG(tw_buf_str(&difference)));
}

/* Another value of the same kind. */
static void change(const struct tw_field *field, char *member)
{
    struct tw_list list;
    struct tw_str  text;
    int64_t        number;
    uint32_t       name;

    switch ((enum tw_kind)field->kind) {
    case TW_KIND_STRING:
        memcpy(&text, member, sizeof(text));
        text = tw_arena_printf(&arena, "%.*s!", TW_STR_ARG(text));
        memcpy(member, &text, sizeof(text));
        break;
    case TW_KIND_INT:
    case TW_KIND_TIME:
    case TW_KIND_DECIMAL:
    case TW_KIND_DECIMAL_INT:
        memcpy(&number, member, sizeof(number));
        number += number > 0 ? -1 : 1;
        memcpy(member, &number, sizeof(number));
        break;
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        memcpy(&name, member, sizeof(name));
        name = (name + 1) % (uint32_t)(field->max + 1);
        memcpy(member, &name, sizeof(name));
        break;
    case TW_KIND_LIST:
    case TW_KIND_MAP:
        list = tw_list_get(member);
        list.len--;
        tw_list_set(member, list);
        break;
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
    case TW_KIND_BYTES:
    case TW_KIND_BOOL:
        member[0] ^= 1;
        break;
    case TW_KIND_STRUCT:
        fail_msg("the fields of a struct are changed, not the struct");
    }
}

static size_t size_of(const struct tw_field *field)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        return sizeof(struct tw_uuid);
    case TW_KIND_STRING:
        return sizeof(struct tw_str);
    case TW_KIND_BYTES:
        return (size_t)field->max;
    case TW_KIND_BOOL:
        return sizeof(bool);
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        return sizeof(uint32_t);
    case TW_KIND_LIST:
    case TW_KIND_MAP:
        return sizeof(struct tw_list);
    default:
        return sizeof(int64_t);
    }
}

static void walk_layout(struct walk *walk, const struct tw_layout *layout, char *value, const char *path);

static void walk_list(struct walk *walk, const struct tw_field *field, const char *member, const char *path)
{
    struct tw_list list = tw_list_get(member);

    for (uint32_t i = 0; field->layout && i < list.len && i < 3; i++)
        walk_layout(walk, field->layout, (char *)list.items + (size_t)i * field->item_size,
                    tw_arena_printf(&arena, "%s[%u].", path, (unsigned)i).ptr);
}

static void walk_value(struct walk *walk, const struct tw_field *field, char *member, const char *path)
{
    char kept[sizeof(struct tw_list) + 64];

    if (field->kind == TW_KIND_STRUCT) {
        walk_layout(walk, field->layout, member, tw_arena_printf(&arena, "%s.", path).ptr);
        see(walk, field);
        return;
    }
    if (field->kind == TW_KIND_LIST || field->kind == TW_KIND_MAP) {
        if (!tw_list_get(member).len)
            return;
        walk_list(walk, field, member, path);
    }
    assert_true(size_of(field) <= sizeof(kept));
    memcpy(kept, member, size_of(field));
    change(field, member);
    assert_told(walk, path);
    if (is_secret(field))
        assert_not_shown(field, member);
    see(walk, field);
    memcpy(member, kept, size_of(field));
}

static void walk_optional(struct walk *walk, const struct tw_field *field, char *value, const char *path)
{
    bool *has = (bool *)(value + field->has_offset);

    *has = false;
    assert_told(walk, path);
    if (is_secret(field))
        assert_not_shown(field, value + field->offset);
    *has = true;
}

static void walk_layout(struct walk *walk, const struct tw_layout *layout, char *value, const char *path)
{
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];
        const char            *name = tw_arena_printf(&arena, "%s%s", path, field->name).ptr;

        if (field->optional && !value[field->has_offset])
            continue;
        if (field->optional)
            walk_optional(walk, field, value, name);
        walk_value(walk, field, value + field->offset, name);
    }
}

/* What no sample had would be proved by nothing. */
static void assert_all_seen(const struct walk *walk, const struct tw_layout *layout)
{
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (!has_seen(walk, field))
            fail_msg("no sample of %s has '%s'", walk->type->name, field->name);
        if (field->layout)
            assert_all_seen(walk, field->layout);
    }
}

static void walk_samples(const struct tw_sample_states *samples, uint32_t kind)
{
    struct walk walk = {.type = samples->domain->states[kind]};

    for (uint32_t i = 0; i < ENTITIES; i++) {
        struct tw_key key = samples->key(i);

        walk.key = &key;
        for (int64_t generation = 1; key.kind == kind && generation <= GENERATIONS; generation++) {
            walk.before = samples->make(i, generation, &arena);
            walk.changed = tw_arena_alloc(&arena, walk.type->size);
            walk.type->copy(walk.before, &arena, walk.changed);
            tw_buf_clear(&difference);
            assert_false(tw_canonical_difference(walk.type, walk.before, walk.changed, "the log says", &difference));
            walk_layout(&walk, walk.type->layout, walk.changed, "");
            tw_arena_reset(&arena);
        }
    }
    assert_all_seen(&walk, walk.type->layout);
}

static void every_field_of_every_state__is_shown_and_named_when_it_differs(void **state)
{
    static const struct tw_sample_states *const all[] = {&tw_sample_members, &tw_sample_products, &tw_sample_carts};

    (void)state;
    for (size_t i = 0; i < TW_LEN(all); i++)
        for (uint32_t kind = 0; kind < all[i]->domain->state_count; kind++)
            walk_samples(all[i], kind);
}

static void a_key__is_part_of_the_line(void **state)
{
    struct tw_key key = tw_sample_products.key(1), other = key;
    const void   *rating = tw_sample_products.make(1, 1, &arena);

    (void)state;
    tw_canonical_entity(&tw_product_rating_type, &key, rating, &line);
    other.sub.bytes[3] ^= 1;
    tw_canonical_entity(&tw_product_rating_type, &other, rating, &other_line);
    assert_false(tw_str_eq(tw_buf_str(&line), tw_buf_str(&other_line)));
}

/* --- differences as people read them ------------------------------------------------------------------------------ */

static const char *told(const struct tw_type *type, const void *stored, const void *wanted)
{
    tw_buf_clear(&difference);
    assert_true(tw_canonical_difference(type, stored, wanted, "the log says", &difference));
    tw_buf_add(&difference, "", 1);
    return difference.ptr;
}

static void a_difference__has_both_values(void **state)
{
    struct tw_cart_line lines[2] = {{.quantity = 1}, {.quantity = 2, .price_minor = 14900}},
                        others[2] = {lines[0], {.quantity = 2, .price_minor = 19905, .has_previous_price = true}};
    struct tw_cart cart = {.lines = lines, .lines_len = 2}, other = {.lines = others, .lines_len = 2};

    (void)state;
    assert_string_equal(told(&tw_cart_type, &cart, &other), "lines[1].price is \"149.00\", the log says \"199.05\"");
    others[1].price_minor = 14900;
    assert_string_equal(told(&tw_cart_type, &cart, &other), "lines[1].previous_price is absent, the log says \"0.00\"");
    others[1].has_previous_price = false;
    other.ends_at_ms = 1;
    assert_string_equal(told(&tw_cart_type, &cart, &other),
                        "ends_at is \"1970-01-01T00:00:00.000Z\", the log says \"1970-01-01T00:00:00.001Z\"");
}

static void lists_of_different_lengths__are_told_by_their_lengths(void **state)
{
    struct tw_member_token tokens[2] = {{.token_hash = {0xab, 0xcd}}, {.token_hash = {0xab, 0xcd}}};
    struct tw_member       member = {.tokens = tokens, .tokens_len = 2};
    struct tw_member       other = {.tokens = tokens, .tokens_len = 1};

    (void)state;
    assert_string_equal(told(&tw_member_type, &member, &other), "tokens has 2 elements, the log says 1");
}

/* --- lines that are kept for ever --------------------------------------------------------------------------------- */

static const struct tw_uuid some_id = {
    {0x3e, 0x7c, 0x2b, 0x7a, 0x1f, 0x60, 0x8c, 0x5d, 0x9a, 0x31, 0x5b, 0x0f, 0x6c, 0x2d, 0x9e, 0x11}};

static void a_cart__is_this_line(void **state)
{
    struct tw_key       key = {.id = some_id};
    struct tw_cart_line cart_line = {
        .product_id = some_id,
        .product_name = TW_STR("T-shirt \"M\"\n"),
        .price_minor = 14905,
        .quantity = 3,
        .added_at_ms = 1795428000123,
        .product_version = 7,
        .available = true,
    };
    struct tw_cart cart = {.member_id = some_id, .version = 4, .ends_at_ms = 1, .lines = &cart_line, .lines_len = 1};

    (void)state;
    tw_canonical_entity(&tw_cart_type, &key, &cart, &line);
    assert_str(
        tw_buf_str(&line),
        "cart 3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11 {\"member_id\":\"3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11\","
        "\"version\":4,\"created_at\":\"1970-01-01T00:00:00.000Z\",\"updated_at\":\"1970-01-01T00:00:00.000Z\","
        "\"ends_at\":\"1970-01-01T00:00:00.001Z\",\"lines\":[{\"product_id\":"
        "\"3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11\",\"product_name\":\"T-shirt \\\"M\\\"\\u000a\",\"price\":\"149.05\","
        "\"quantity\":3,\"added_at\":\"2026-11-23T10:00:00.123Z\",\"product_version\":7,\"available\":true}]}");
}

static void a_document_beside_an_aggregate__has_both_ids_in_its_name(void **state)
{
    struct tw_key key = {.kind = TW_RATING_ENTITY, .id = some_id, .sub = {{0xff}}};

    (void)state;
    tw_canonical_name(&tw_product_rating_type, &key, &line);
    assert_str(tw_buf_str(&line), "product_rating 3e7c2b7a-1f60-8c5d-9a31-5b0f6c2d9e11/"
                                  "ff000000-0000-0000-0000-000000000000");
}

static const struct tw_ledger_row some_row = {
    .id = {{1}},
    .caller = {{2, 3}},
    .fingerprint = {4, 5},
    .type = {"cart.add_item", 13},
    .outcome =
        {TW_REJECTED, 422, TW_PROBLEM_LINE_QUANTITY_LIMIT, {"a line holds 999 pieces", 23}, {"/v1/cart", 8}, false},
    .offset = 4711,
    .submitted_ms = 1795428000123,
    .at_ms = 1795428000456,
};

static void a_remembered_command__is_this_line(void **state)
{
    (void)state;
    tw_canonical_row(3, &some_row, &line);
    assert_str(
        tw_buf_str(&line),
        "command 01000000-0000-0000-0000-000000000000 3 {\"caller\":\"02030000-0000-0000-0000-000000000000\","
        "\"fingerprint\":\"04050000000000000000000000000000\",\"type\":\"cart.add_item\",\"status\":\"rejected\","
        "\"http_status\":422,\"problem\":\"line-quantity-limit\",\"detail\":\"a line holds 999 pieces\","
        "\"resource\":\"/v1/cart\",\"offset\":4711,\"submitted_at\":\"2026-11-23T10:00:00.123Z\","
        "\"decided_at\":\"2026-11-23T10:00:00.456Z\"}");
}

static void assert_row_told(const struct tw_ledger_row *other, const char *name)
{
    tw_buf_clear(&line);
    tw_buf_clear(&other_line);
    tw_buf_clear(&difference);
    tw_canonical_row(3, &some_row, &line);
    tw_canonical_row(3, other, &other_line);
    assert_false(tw_str_eq(tw_buf_str(&line), tw_buf_str(&other_line)));
    assert_true(tw_canonical_row_difference(&some_row, other, "the log says", &difference));
    if (memcmp(difference.ptr, name, strlen(name)) != 0)
        fail_msg("'%s' is not what is named: %.*s", name, TW_STR_ARG(tw_buf_str(&difference)));
}

static void every_field_of_a_remembered_command__is_shown_and_named(void **state)
{
    struct tw_ledger_row row;

    (void)state;
#define DIFFERS(field, value, name)  \
    do {                             \
        row = some_row;              \
        row.field = (value);         \
        assert_row_told(&row, name); \
    } while (0)
    DIFFERS(caller.bytes[15], 1, "caller is");
    DIFFERS(fingerprint[TW_FINGERPRINT_BYTES - 1], 1, "fingerprint is");
    DIFFERS(type, TW_STR("cart.clear"), "type is");
    DIFFERS(outcome.status, TW_DEAD_LETTERED, "status is");
    DIFFERS(outcome.http_status, 409, "http_status is");
    DIFFERS(outcome.problem, TW_PROBLEM_GONE, "problem is");
    DIFFERS(outcome.detail, TW_STR(""), "detail is");
    DIFFERS(outcome.resource, TW_STR(""), "resource is");
    DIFFERS(offset, 4712, "offset is 4711, the log says 4712");
    DIFFERS(submitted_ms, 0, "submitted_at is");
    DIFFERS(at_ms, 0, "decided_at is");
#undef DIFFERS
    row = some_row;
    assert_false(tw_canonical_row_difference(&some_row, &row, "the log says", &difference));
}

/* --- what has ended ----------------------------------------------------------------------------------------------- */

static void a_cart__is_left_out_from_its_end_on(void **state)
{
    struct tw_cart_line cart_line = {.quantity = 1};
    struct tw_cart      cart = {.ends_at_ms = 1000, .lines = &cart_line, .lines_len = 1};

    (void)state;
    assert_ptr_equal(tw_canonical_live(&tw_cart_type, &cart, 999, &arena), &cart);
    assert_null(tw_canonical_live(&tw_cart_type, &cart, 1000, &arena));
}

static void a_token__is_left_out_from_its_end_on(void **state)
{
    struct tw_member_token  tokens[] = {{.label = TW_STR("a"), .expires_at_ms = 1001},
                                        {.label = TW_STR("b"), .expires_at_ms = 1000},
                                        {.label = TW_STR("c"), .expires_at_ms = 1002, .is_revoked = true}};
    struct tw_member        member = {.tokens = tokens, .tokens_len = 3};
    const struct tw_member *live = tw_canonical_live(&tw_member_type, &member, 1000, &arena);

    (void)state;
    assert_int_equal(live->tokens_len, 2);
    assert_str(live->tokens[0].label, "a");
    assert_str(live->tokens[1].label, "c"); /* revoked, and so it stays until it ends */
    assert_int_equal(member.tokens_len, 3);
    assert_str(tokens[1].label, "b");
}

static void what_does_not_end__is_all_there(void **state)
{
    struct tw_product_rating rating = {.stars = 5};

    (void)state;
    assert_ptr_equal(tw_canonical_live(&tw_product_rating_type, &rating, INT64_MAX, &arena), &rating);
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_field_of_every_state__is_shown_and_named_when_it_differs),
        TEST(a_key__is_part_of_the_line),
        TEST(a_difference__has_both_values),
        TEST(lists_of_different_lengths__are_told_by_their_lengths),
        TEST(a_cart__is_this_line),
        TEST(a_document_beside_an_aggregate__has_both_ids_in_its_name),
        TEST(a_remembered_command__is_this_line),
        TEST(every_field_of_a_remembered_command__is_shown_and_named),
        TEST(a_cart__is_left_out_from_its_end_on),
        TEST(a_token__is_left_out_from_its_end_on),
        TEST(what_does_not_end__is_all_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
