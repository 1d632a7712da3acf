/* Links: tw_torture tw_domain_fixture tw_member_domain tw_product_domain tw_cart_domain */
/* Every message and state (schemas/), from the golden bytes of the codec's test, read, copied and written. */
#include <stdio.h>
#include <string.h>

#include "cart_domain.h"
#include "member_domain.h"
#include "product_domain.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/gen/product_messages.h"
#include "tillwire/gen/shared_messages.h"
#include "tillwire/settings.h"
#include "torture.h"

enum { BYTES_MAX = 4096 };

/* A type and its golden bytes. */
static struct {
    const struct tw_type *type;
    char                  bytes[BYTES_MAX];
    size_t                len;
} message;

static void read_golden(const struct tw_type *type)
{
    char  path[200], hex[2 * BYTES_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "tests/data/golden/%s.msgpack.hex", type->ce_type);
    file = fopen(path, "re");
    if (!file)
        fail_msg("there is no %s", path);
    message.type = type;
    message.len = fread(hex, 1, sizeof(hex), file) / 2; /* a line end behind it */
    fclose(file);
    assert_true(tw_hex_parse((struct tw_str){hex, 2 * message.len}, (uint8_t *)message.bytes, message.len));
}

static void answer_packed(const struct tw_type *type, const void *value)
{
    TW_AUTO(tw_buf_done) struct tw_buf packed = {0};

    type->pack(value, &packed);
    tw_torture_answer(tw_buf_str(&packed));
}

static enum tw_rc read_copy_write(void *world, struct tw_err *reterr)
{
    TW_AUTO(tw_arena_done) struct tw_arena arena = {0};
    void                                  *value = tw_arena_alloc(&arena, message.type->size);
    void                                  *copy = tw_arena_alloc(&arena, message.type->size);

    (void)world;
    TW_TRY(message.type->unpack((struct tw_str){message.bytes, message.len}, &arena, value, reterr));
    message.type->copy(value, &arena, copy);
    answer_packed(message.type, value);
    answer_packed(message.type, copy);
    return TW_OK;
}

static void walk(const struct tw_type *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        read_golden(types[i]);
        tw_torture(&(struct tw_torture){.name = types[i]->ce_type, .run = read_copy_write});
    }
}

static void commands__are_read_right_or_not_at_all(void **state)
{
    (void)state;
    walk(tw_member_commands, tw_member_command_count);
    walk(tw_product_commands, tw_product_command_count);
    walk(tw_cart_commands, tw_cart_command_count);
}

static void events__are_read_right_or_not_at_all(void **state)
{
    (void)state;
    walk(tw_member_events, tw_member_event_count);
    walk(tw_product_events, tw_product_event_count);
    walk(tw_cart_events, tw_cart_event_count);
    walk(tw_shared_events, tw_shared_event_count);
}

static void states__are_read_right_or_not_at_all(void **state)
{
    (void)state;
    walk(tw_member_domain.states, tw_member_domain.state_count);
    walk(tw_product_domain.states, tw_product_domain.state_count);
    walk(tw_cart_domain.states, tw_cart_domain.state_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands__are_read_right_or_not_at_all),
        cmocka_unit_test(events__are_read_right_or_not_at_all),
        cmocka_unit_test(states__are_read_right_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
