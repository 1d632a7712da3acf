/* Links: tw_member_domain tw_product_domain tw_cart_domain tw_fold PkgConfig::JANSSON */
/*
 * Hostile msgpack for every command, event and state: the name of a type, a newline, the bytes.
 *
 * Whatever is taken can be written, and what was written is taken again and is written the same; so is a copy. What is
 * refused is refused with a sentence, and the caller's struct is as it was. An event shows as JSON.
 */
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "tillwire/codec.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/json_type.h"
#include "workers/cart/cart_domain.h"
#include "workers/member/member_domain.h"
#include "workers/product/product_domain.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"

enum { TYPES_MAX = 256, UNTOUCHED = 0xa5 };

static const struct tw_type *types[TYPES_MAX];
static size_t                type_count;

static struct tw_arena arena;

static void add_types(const struct tw_type *const *more, size_t count)
{
    must(type_count + count <= TYPES_MAX);
    for (size_t i = 0; i < count; i++)
        types[type_count++] = more[i];
}

static void prepare(void)
{
    if (type_count > 0)
        return;
    add_types(tw_member_commands, tw_member_command_count);
    add_types(tw_product_commands, tw_product_command_count);
    add_types(tw_cart_commands, tw_cart_command_count);
    add_types(tw_member_events, tw_member_event_count);
    add_types(tw_product_events, tw_product_event_count);
    add_types(tw_cart_events, tw_cart_event_count);
    add_types(tw_shared_events, tw_shared_event_count);
    add_types(tw_member_domain.states, tw_member_domain.state_count);
    add_types(tw_product_domain.states, tw_product_domain.state_count);
    add_types(tw_cart_domain.states, tw_cart_domain.state_count);
}

static const struct tw_type *find_type(struct tw_str name)
{
    for (size_t i = 0; i < type_count; i++)
        if (tw_str_is(name, types[i]->ce_type))
            return types[i];
    return NULL;
}

static bool is_untouched(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != UNTOUCHED)
            return false;
    return true;
}

static void must_show_as_json(const struct tw_type *type, const void *value)
{
    struct tw_buf  text = {0};
    struct tw_json json = {&text, false};
    json_t        *parsed;

    tw_json_struct(&json, type->layout, value);
    parsed = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    must(json_is_object(parsed));
    json_decref(parsed);
    tw_buf_done(&text);
}

static void must_come_back(const struct tw_type *type, const void *value)
{
    struct tw_buf first = {0}, second = {0}, third = {0};
    void         *again = tw_arena_alloc(&arena, type->size);
    void         *copy = tw_arena_alloc(&arena, type->size);

    type->pack(value, &first);
    must(type->unpack(tw_buf_str(&first), &arena, again, NULL) == TW_OK);
    type->pack(again, &second);
    must(tw_str_eq(tw_buf_str(&first), tw_buf_str(&second)));
    type->copy(value, &arena, copy);
    type->pack(copy, &third);
    must(tw_str_eq(tw_buf_str(&first), tw_buf_str(&third)));
    tw_buf_done(&first);
    tw_buf_done(&second);
    tw_buf_done(&third);
}

static void try_message(const struct tw_type *type, struct tw_str bytes)
{
    struct tw_err err = {0};
    void         *value = tw_alloc(type->size);

    memset(value, UNTOUCHED, type->size);
    if (type->unpack(bytes, &arena, value, &err) == TW_OK) {
        must_come_back(type, value);
        must_show_as_json(type, value);
    } else {
        must(err.rc == TW_INVALID && err.msg[0] != '\0');
        must(is_untouched(value, type->size));
    }
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct tw_str         rest = {(const char *)bytes, len};
    const struct tw_type *type;

    prepare();
    type = find_type(tw_fuzz_take(&rest, '\n'));
    if (!type)
        return -1; /* not worth keeping */
    struct tw_str own = tw_fuzz_own(rest);
    try_message(type, own);
    tw_arena_reset(&arena);
    free((char *)(uintptr_t)own.ptr);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t len, size_t max, unsigned int seed)
{
    uint64_t      random = seed;
    struct tw_str rest = {(const char *)bytes, len};
    struct tw_str name = tw_fuzz_take(&rest, '\n');
    struct tw_buf out = {0};

    prepare();
    if (tw_fuzz_dice(&random, 32) == 0 || !find_type(name))
        name = tw_str_of(types[tw_fuzz_dice(&random, type_count)]->ce_type);
    tw_buf_add_str(&out, name);
    tw_buf_add(&out, "\n", 1);
    if (tw_fuzz_dice(&random, 4) == 0 || !tw_fuzz_mutate_msgpack(rest, &random, &out))
        tw_fuzz_add_mutated(&out, rest, 64);
    return tw_fuzz_replace(bytes, len, max, &out);
}
