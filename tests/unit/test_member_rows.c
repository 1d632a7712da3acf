/* Which rows a commit writes: states before and after, and the difference. */
#include "workers/member/member_rows.h"

#include <string.h>

#include "unit.h"

static struct tw_arena arena;

static int teardown(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    return 0;
}

static struct tw_uuid id(int n)
{
    return (struct tw_uuid){{(uint8_t)n}};
}

/* A member with three addresses (11, 12, 13; 12 is the default), three tokens (21, 22, 23) and a change of e-mail. */
static struct tw_member *sample(void)
{
    struct tw_member *member = TW_NEW(&arena, struct tw_member);

    *member = (struct tw_member){
        .member_id = id(1),
        .email = TW_STR("a@b.c"),
        .has_phone_number = true,
        .phone_number = TW_STR("+62"),
        .has_last_login_at = true,
        .version = 1,
        .has_email_change = true,
        .email_change = {.change_id = id(31), .email = TW_STR("n@b.c")},
    };
    member->addresses = TW_NEW_ARRAY(&arena, 3, struct tw_member_address);
    member->tokens = TW_NEW_ARRAY(&arena, 3, struct tw_member_token);
    member->addresses_len = member->addresses_cap = member->tokens_len = member->tokens_cap = 3;
    for (int i = 0; i < 3; i++) {
        member->addresses[i] = (struct tw_member_address){.address_id = id(11 + i), .is_default = i == 1};
        member->tokens[i] = (struct tw_member_token){.token_id = id(21 + i)};
    }
    return member;
}

static struct tw_member_rows difference(const struct tw_member *before, const struct tw_member *after)
{
    struct tw_member_rows rows = {0};

    tw_member_rows_add(&rows, before, after, &arena);
    tw_member_rows_sort(&rows);
    return rows;
}

static uint32_t count_all(const struct tw_member_rows *rows)
{
    return rows->new_members_len + rows->members_len + rows->new_addresses_len + rows->addresses_len +
           rows->new_tokens_len + rows->tokens_len + rows->gone_addresses_len + rows->gone_tokens_len +
           rows->lost_defaults_len + rows->new_changes_len + rows->changes_len + rows->gone_changes_len +
           rows->new_claims_len + rows->claims_len;
}

static void new_members__are_inserted_with_all_their_rows(void **state)
{
    struct tw_member     *after = sample();
    struct tw_member_rows rows = difference(NULL, after);

    (void)state;
    assert_int_equal(rows.new_members_len, 1);
    assert_ptr_equal(rows.new_members[0], after);
    assert_int_equal(rows.new_addresses_len, 3);
    assert_int_equal(rows.new_tokens_len, 3);
    assert_int_equal(rows.new_changes_len, 1);
    assert_int_equal(count_all(&rows), 8);
    assert_true(tw_uuid_eq(rows.new_tokens[2].member_id, id(1)));
    assert_true(tw_uuid_eq(rows.new_changes[0].member_id, id(1)));
    assert_ptr_equal(rows.new_changes[0].change, &after->email_change);
}

static void what_did_not_change__is_not_written(void **state)
{
    struct tw_member_rows rows = difference(sample(), sample());

    (void)state;
    assert_int_equal(count_all(&rows), 0);
}

/* Changes one field of a copy by @p code and asks that exactly the row of @p list is written. */
#define ASSERT_CHANGES(list, ...)               \
    do {                                        \
        struct tw_member     *after = sample(); \
        struct tw_member_rows rows;             \
                                                \
        __VA_ARGS__;                            \
        rows = difference(sample(), after);     \
        assert_int_equal(rows.list##_len, 1);   \
        assert_int_equal(count_all(&rows), 1);  \
    } while (0)

static void every_column_of_a_member__counts(void **state)
{
    (void)state;
    ASSERT_CHANGES(members, after->email = TW_STR("A@b.c"));
    ASSERT_CHANGES(members, after->email_folded = TW_STR("a"));
    ASSERT_CHANGES(members, after->has_password_hash = true);
    ASSERT_CHANGES(members, after->has_password_hash = true, after->password_hash = TW_STR("x"));
    ASSERT_CHANGES(members, after->full_name = TW_STR("a"));
    ASSERT_CHANGES(members, after->has_phone_number = false);
    ASSERT_CHANGES(members, after->status = TW_MEMBER_STATUS_INACTIVE);
    ASSERT_CHANGES(members, after->created_at_ms = 1);
    ASSERT_CHANGES(members, after->updated_at_ms = 1);
    ASSERT_CHANGES(members, after->has_last_login_at = false);
    ASSERT_CHANGES(members, after->phone_number = TW_STR("+628"));
    ASSERT_CHANGES(members, after->last_login_at_ms = 5);
    ASSERT_CHANGES(members, after->version = 2);
    ASSERT_CHANGES(members, after->credential_version = 2);
    ASSERT_CHANGES(members, after->is_service = true);
}

static void the_value_of_an_absent_optional__does_not_count(void **state)
{
    struct tw_member     *before = sample();
    struct tw_member     *after = sample();
    struct tw_member_rows rows;

    (void)state;
    before->has_last_login_at = after->has_last_login_at = false;
    after->last_login_at_ms = 5;
    after->password_hash = TW_STR("left over");
    after->addresses[0].address_line2 = TW_STR("left over");
    before->has_email_change = after->has_email_change = false;
    after->email_change.email = TW_STR("left over");
    rows = difference(before, after);
    assert_int_equal(count_all(&rows), 0);
}

static void every_column_of_an_address__counts(void **state)
{
    (void)state;
    ASSERT_CHANGES(addresses, after->addresses[0].label = TW_STR("a"));
    ASSERT_CHANGES(addresses, after->addresses[1].address_line1 = TW_STR("a"));
    ASSERT_CHANGES(addresses, after->addresses[2].has_address_line2 = true);
    ASSERT_CHANGES(addresses, after->addresses[0].city = TW_STR("a"));
    ASSERT_CHANGES(addresses, after->addresses[0].province = TW_STR("a"));
    ASSERT_CHANGES(addresses, after->addresses[0].postal_code = TW_STR("a"));
    ASSERT_CHANGES(addresses, after->addresses[0].is_default = true);
    ASSERT_CHANGES(addresses, after->addresses[0].created_at_ms = 1);
}

static void every_column_of_a_token__counts(void **state)
{
    (void)state;
    ASSERT_CHANGES(tokens, after->tokens[0].family_id = id(9));
    ASSERT_CHANGES(tokens, after->tokens[1].kind = TW_MEMBER_TOKEN_KIND_SERVICE);
    ASSERT_CHANGES(tokens, after->tokens[2].token_hash[31] = 1);
    ASSERT_CHANGES(tokens, after->tokens[0].scope = TW_STR("a"));
    ASSERT_CHANGES(tokens, after->tokens[0].label = TW_STR("a"));
    ASSERT_CHANGES(tokens, after->tokens[0].expires_at_ms = 1);
    ASSERT_CHANGES(tokens, after->tokens[0].is_revoked = true);
    ASSERT_CHANGES(tokens, after->tokens[0].created_at_ms = 1);
}

static void every_column_of_an_email_change__counts(void **state)
{
    (void)state;
    ASSERT_CHANGES(changes, after->email_change.change_id = id(9));
    ASSERT_CHANGES(changes, after->email_change.email = TW_STR("N@b.c"));
    ASSERT_CHANGES(changes, after->email_change.email_folded = TW_STR("a"));
    ASSERT_CHANGES(changes, after->email_change.caller = id(9));
    ASSERT_CHANGES(changes, after->email_change.fingerprint[15] = 1);
    ASSERT_CHANGES(changes, after->email_change.record_offset = 1);
    ASSERT_CHANGES(changes, after->email_change.submitted_at_ms = 1);
}

static void an_email_change__comes_and_goes_without_the_members_row(void **state)
{
    struct tw_member     *without = sample();
    struct tw_member_rows rows;

    (void)state;
    without->has_email_change = false;
    rows = difference(without, sample());
    assert_int_equal(rows.new_changes_len, 1);
    assert_int_equal(count_all(&rows), 1);
    rows = difference(sample(), without);
    assert_int_equal(rows.gone_changes_len, 1);
    assert_int_equal(count_all(&rows), 1);
    assert_true(tw_uuid_eq(rows.gone_changes[0], id(1)));
}

static struct tw_member_rows claim_difference(const struct tw_member_claim *before, const struct tw_member_claim *after)
{
    struct tw_member_rows rows = {0};

    tw_member_rows_add_claim(&rows, before, after, &arena);
    tw_member_rows_sort(&rows);
    return rows;
}

static void a_claim__is_inserted_once_and_updated_where_it_differs(void **state)
{
    struct tw_member_claim before = {.claim_id = id(1), .member_id = id(2), .created_at_ms = 3};
    struct tw_member_claim after = before;
    struct tw_member_rows  rows = claim_difference(NULL, &before);

    (void)state;
    assert_int_equal(rows.new_claims_len, 1);
    assert_int_equal(count_all(&rows), 1);
    rows = claim_difference(&before, &after);
    assert_int_equal(count_all(&rows), 0);
    after.member_id = id(4);
    rows = claim_difference(&before, &after);
    assert_int_equal(rows.claims_len, 1);
    after = before;
    after.created_at_ms++;
    rows = claim_difference(&before, &after);
    assert_int_equal(rows.claims_len, 1);
    assert_int_equal(count_all(&rows), 1);
}

static void rows_that_are_gone__are_deleted(void **state)
{
    (void)state;
    ASSERT_CHANGES(gone_tokens, after->tokens++, after->tokens_len--);
    ASSERT_CHANGES(gone_tokens, after->tokens_len--);
    ASSERT_CHANGES(gone_tokens, after->tokens[1] = after->tokens[2], after->tokens_len--);
    ASSERT_CHANGES(gone_addresses, after->addresses[1] = after->addresses[2], after->addresses_len--);
}

static void rows_that_came__are_inserted(void **state)
{
    struct tw_member     *after = sample();
    struct tw_member_rows rows;

    (void)state;
    after->tokens[0].token_id = id(31); /* 21 went, 31 came in its place */
    rows = difference(sample(), after);
    assert_int_equal(count_all(&rows), 2);
    assert_true(tw_uuid_eq(rows.new_tokens[0].token->token_id, id(31)));
    assert_true(tw_uuid_eq(rows.gone_tokens[0], id(21)));
}

static void the_order_of_a_list__does_not_count(void **state)
{
    struct tw_member      *after = sample();
    struct tw_member_token first = after->tokens[0];
    struct tw_member_rows  rows;

    (void)state;
    after->tokens[0] = after->tokens[2];
    after->tokens[2] = first;
    rows = difference(sample(), after);
    assert_int_equal(count_all(&rows), 0);
}

static void a_default_that_moves__is_taken_away_first(void **state)
{
    struct tw_member     *after = sample();
    struct tw_member_rows rows;

    (void)state;
    after->addresses[1].is_default = false;
    after->addresses[2].is_default = true;
    rows = difference(sample(), after);
    assert_int_equal(rows.lost_defaults_len, 1);
    assert_true(tw_uuid_eq(rows.lost_defaults[0], id(12)));
    assert_int_equal(rows.addresses_len, 2);
}

static void rows__are_sorted_by_key(void **state)
{
    struct tw_member_rows rows = {0};
    struct tw_member     *a = sample();
    struct tw_member     *b = sample();

    (void)state;
    a->member_id = id(2);
    b->email_change.email = TW_STR("other");
    for (uint32_t i = 0; i < 3; i++)
        b->tokens[i].token_id.bytes[0] = (uint8_t)(10 - i);
    tw_member_rows_add(&rows, NULL, a, &arena);
    tw_member_rows_add(&rows, NULL, b, &arena);
    tw_member_rows_sort(&rows);
    assert_ptr_equal(rows.new_members[0], b);
    assert_ptr_equal(rows.new_changes[0].change, &b->email_change);
    assert_int_equal(rows.new_tokens_len, 6);
    for (uint32_t i = 1; i < rows.new_tokens_len; i++)
        assert_true(tw_uuid_cmp(rows.new_tokens[i - 1].token->token_id, rows.new_tokens[i].token->token_id) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(new_members__are_inserted_with_all_their_rows, teardown),
        cmocka_unit_test_teardown(what_did_not_change__is_not_written, teardown),
        cmocka_unit_test_teardown(every_column_of_a_member__counts, teardown),
        cmocka_unit_test_teardown(the_value_of_an_absent_optional__does_not_count, teardown),
        cmocka_unit_test_teardown(every_column_of_an_address__counts, teardown),
        cmocka_unit_test_teardown(every_column_of_a_token__counts, teardown),
        cmocka_unit_test_teardown(every_column_of_an_email_change__counts, teardown),
        cmocka_unit_test_teardown(an_email_change__comes_and_goes_without_the_members_row, teardown),
        cmocka_unit_test_teardown(a_claim__is_inserted_once_and_updated_where_it_differs, teardown),
        cmocka_unit_test_teardown(rows_that_are_gone__are_deleted, teardown),
        cmocka_unit_test_teardown(rows_that_came__are_inserted, teardown),
        cmocka_unit_test_teardown(the_order_of_a_list__does_not_count, teardown),
        cmocka_unit_test_teardown(a_default_that_moves__is_taken_away_first, teardown),
        cmocka_unit_test_teardown(rows__are_sorted_by_key, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
