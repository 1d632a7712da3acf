#include "streams/ticket.h"

#include <string.h>

#include "unit.h"

static const uint8_t          key[TW_TICKET_KEY_BYTES] = {1, 2, 3};
static const uint8_t          other_key[TW_TICKET_KEY_BYTES] = {1, 2, 4};
static const struct tw_ticket ticket = {
    .member_id = {{3, 1}},
    .token_id = {{7, 2}},
    .token_expires_s = 1795432708,
    .ends_ms = INT64_C(1795432138123),
    .sees_all = true,
    .nonce = {1, 2, 3, 4, 5, 6, 7, 8},
};
static char text[TW_TICKET_TEXT + 1];

static int setup(void **state)
{
    (void)state;
    tw_ticket_seal(key, &ticket, text);
    return 0;
}

static void ticket__comes_back_as_it_was_sealed(void **state)
{
    struct tw_ticket opened;

    (void)state;
    assert_int_equal(strlen(text), TW_TICKET_TEXT);
    assert_true(tw_ticket_open(key, tw_str_of(text), ticket.ends_ms - 1, &opened));
    assert_true(tw_uuid_eq(opened.member_id, ticket.member_id));
    assert_true(tw_uuid_eq(opened.token_id, ticket.token_id));
    assert_int_equal(opened.token_expires_s, ticket.token_expires_s);
    assert_int_equal(opened.ends_ms, ticket.ends_ms);
    assert_true(opened.sees_all);
    assert_memory_equal(opened.nonce, ticket.nonce, sizeof(ticket.nonce));
}

static void ticket__ends(void **state)
{
    struct tw_ticket opened;

    (void)state;
    assert_false(tw_ticket_open(key, tw_str_of(text), ticket.ends_ms, &opened));
}

static void ticket__with_any_changed_character_or_another_key_is_refused(void **state)
{
    struct tw_ticket opened;

    (void)state;
    assert_false(tw_ticket_open(other_key, tw_str_of(text), 0, &opened));
    for (size_t i = 0; i < TW_TICKET_TEXT; i++) {
        char before = text[i];

        text[i] = before == 'A' ? 'B' : 'A';
        assert_false(tw_ticket_open(key, tw_str_of(text), 0, &opened));
        text[i] = before;
        assert_false(tw_ticket_open(key, (struct tw_str){text, i}, 0, &opened));
    }
}

static void ticket__is_taken_once(void **state)
{
    struct tw_used_tickets *used = tw_used_tickets_new();
    struct tw_ticket        other = ticket;

    (void)state;
    other.nonce[7] = 9;
    assert_int_equal(tw_used_tickets_take(used, &ticket, 1000), TW_TICKET_TAKEN);
    assert_int_equal(tw_used_tickets_take(used, &ticket, 2000), TW_TICKET_USED_BEFORE);
    assert_int_equal(tw_used_tickets_take(used, &other, 2000), TW_TICKET_TAKEN);
    assert_int_equal(tw_used_tickets_take(used, &ticket, ticket.ends_ms - 1), TW_TICKET_USED_BEFORE);
    tw_used_tickets_free(used);
}

/** Tickets whose nonces fall into one row: those that are still good are never forgotten to make room. */
static void full_memory__refuses_until_tickets_end(void **state)
{
    struct tw_used_tickets *used = tw_used_tickets_new();
    struct tw_ticket        next = ticket;
    int                     taken = 0;

    (void)state;
    while (taken < 1000 && tw_used_tickets_take(used, &next, 1000) == TW_TICKET_TAKEN)
        next.nonce[7] = (uint8_t)(ticket.nonce[7] + ++taken);
    assert_in_range(taken, 2, 999);
    assert_int_equal(tw_used_tickets_take(used, &next, 1000), TW_TICKET_NO_ROOM);
    next.ends_ms += 1000;
    assert_int_equal(tw_used_tickets_take(used, &next, ticket.ends_ms), TW_TICKET_TAKEN);
    tw_used_tickets_free(used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ticket__comes_back_as_it_was_sealed, setup),
        cmocka_unit_test_setup(ticket__ends, setup),
        cmocka_unit_test_setup(ticket__with_any_changed_character_or_another_key_is_refused, setup),
        cmocka_unit_test(ticket__is_taken_once),
        cmocka_unit_test(full_memory__refuses_until_tickets_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
