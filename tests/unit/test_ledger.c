#include "tillwire/ledger.h"

#include <string.h>

#include "unit.h"

static const struct tw_ledger_row sample = {
    .id = {{1}},
    .caller = {{2, 3}},
    .fingerprint = {4, 5},
    .type = {"cart.add_item", 13},
    .outcome =
        {TW_REJECTED, 422, TW_PROBLEM_LINE_QUANTITY_LIMIT, {"a line holds 999 pieces", 23}, {"/v1/cart", 8}, false},
    .offset = INT64_C(0x0102030405060708),
    .submitted_ms = 1700000000123,
    .at_ms = 1700000000456,
};

static void assert_same(const struct tw_ledger_row *a, const struct tw_ledger_row *b)
{
    assert_true(tw_uuid_eq(a->caller, b->caller));
    assert_memory_equal(a->fingerprint, b->fingerprint, TW_FINGERPRINT_BYTES);
    assert_true(tw_str_eq(a->type, b->type));
    assert_int_equal(a->outcome.status, b->outcome.status);
    assert_int_equal(a->outcome.http_status, b->outcome.http_status);
    assert_int_equal(a->outcome.problem, b->outcome.problem);
    assert_true(tw_str_eq(a->outcome.detail, b->outcome.detail));
    assert_true(tw_str_eq(a->outcome.resource, b->outcome.resource));
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->submitted_ms, b->submitted_ms);
    assert_int_equal(a->at_ms, b->at_ms);
}

static void assert_round_trip(const struct tw_ledger_row *row)
{
    struct tw_arena      arena = {0};
    struct tw_buf        packed = {0};
    struct tw_ledger_row back = {.id = {{99}}};
    struct tw_err        err = {0};

    tw_ledger_row_pack(row, &packed);
    assert_rc(tw_ledger_row_unpack(tw_buf_str(&packed), &arena, &back, &err), TW_OK, err);
    tw_buf_done(&packed); /* nothing of the row points into it */
    assert_same(row, &back);
    assert_int_equal(back.id.bytes[0], 99);
    tw_arena_done(&arena);
}

static void pack_and_unpack__are_inverse(void **state)
{
    struct tw_ledger_row row = sample;
    static char          long_text[UINT16_MAX];

    (void)state;
    assert_round_trip(&sample);
    memset(&row, 0, sizeof(row));
    assert_round_trip(&row);
    row = sample;
    memset(long_text, 'x', sizeof(long_text));
    row.outcome = tw_succeeded(201, (struct tw_str){long_text, sizeof(long_text)});
    row.offset = INT64_MAX;
    row.submitted_ms = INT64_MIN;
    row.at_ms = -1;
    assert_round_trip(&row);
    for (int i = 0; i <= TW_PROBLEM_ENQUEUE_TIMEOUT; i++) {
        row.outcome = tw_rejected((enum tw_problem)i, "no");
        assert_round_trip(&row);
    }
    row.outcome.status = TW_DEAD_LETTERED;
    assert_round_trip(&row);
    row.outcome = tw_pending(TW_STR("/v1/members/me"));
    assert_round_trip(&row);
}

/* Rows of a day are read by the next release. */
static void layout__is_pinned(void **state)
{
    static const char expected[] = "\x01\x01\xa6\x01"
                                   "\x02\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\x04\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\x08\x07\x06\x05\x04\x03\x02\x01"
                                   "\x7b\x68\xe5\xcf\x8b\x01\0\0"
                                   "\xc8\x69\xe5\xcf\x8b\x01\0\0"
                                   "\x0d\0"
                                   "cart.add_item"
                                   "\x13\0"
                                   "line-quantity-limit"
                                   "\x17\0"
                                   "a line holds 999 pieces"
                                   "\x08\0"
                                   "/v1/cart";
    struct tw_buf     packed = {0};

    (void)state;
    tw_ledger_row_pack(&sample, &packed);
    assert_int_equal(packed.len, sizeof(expected) - 1);
    assert_memory_equal(packed.ptr, expected, packed.len);
    tw_buf_done(&packed);
}

static void unpack__refuses_every_cut_and_every_tail(void **state)
{
    struct tw_arena      arena = {0};
    struct tw_buf        packed = {0};
    struct tw_ledger_row row = {.offset = 5};
    struct tw_err        err = {0};

    (void)state;
    tw_ledger_row_pack(&sample, &packed);
    for (size_t len = 0; len < packed.len; len++) {
        struct tw_str guarded = tw_guarded((struct tw_str){packed.ptr, len});

        assert_rc(tw_ledger_row_unpack(guarded, &arena, &row, &err), TW_INVALID, err);
        assert_int_equal(row.offset, 5);
        tw_guarded_free(guarded);
    }
    tw_buf_add_str(&packed, TW_STR("x"));
    assert_rc(tw_ledger_row_unpack(tw_buf_str(&packed), &arena, &row, &err), TW_INVALID, err);
    tw_buf_done(&packed);
    tw_arena_done(&arena);
}

static void unpack__refuses_a_status_there_is_none_of(void **state)
{
    struct tw_arena      arena = {0};
    struct tw_buf        packed = {0};
    struct tw_ledger_row row = {0};
    struct tw_err        err = {0};

    (void)state;
    tw_ledger_row_pack(&sample, &packed);
    packed.ptr[1] = TW_PENDING; /* the last there is */
    assert_rc(tw_ledger_row_unpack(tw_buf_str(&packed), &arena, &row, &err), TW_OK, err);
    assert_int_equal(row.outcome.status, TW_PENDING);
    packed.ptr[1] = TW_PENDING + 1;
    assert_rc(tw_ledger_row_unpack(tw_buf_str(&packed), &arena, &row, &err), TW_INVALID, err);
    tw_buf_done(&packed);
    tw_arena_done(&arena);
}

static void unpack__takes_any_bytes_without_harm(void **state)
{
    struct tw_arena arena = {0};
    struct tw_buf   packed = {0};
    struct tw_err   err = {0};
    uint64_t        random = 7;

    (void)state;
    tw_ledger_row_pack(&sample, &packed);
    for (int i = 0; i < 20000; i++) {
        struct tw_ledger_row row = {0};
        size_t               at = tw_random(&random) % packed.len;
        char                 saved = packed.ptr[at];
        struct tw_str        guarded;
        enum tw_rc           rc;

        packed.ptr[at] = (char)tw_random(&random);
        guarded = tw_guarded(tw_buf_str(&packed));
        rc = tw_ledger_row_unpack(guarded, &arena, &row, &err);
        assert_true(rc == TW_OK || rc == TW_INVALID);
        if (rc == TW_OK)
            assert_in_range(row.outcome.status, TW_SUCCEEDED, TW_PENDING);
        packed.ptr[at] = saved;
        tw_guarded_free(guarded);
        tw_arena_reset(&arena);
    }
    tw_buf_done(&packed);
    tw_arena_done(&arena);
}

static void unpack__refuses_an_unknown_layout_by_name(void **state)
{
    struct tw_arena      arena = {0};
    struct tw_ledger_row row = {0};
    struct tw_err        err = {0};

    (void)state;
    assert_rc(tw_ledger_row_unpack(TW_STR("\x02\x00\x00"), &arena, &row, &err), TW_INVALID, err);
    assert_non_null(strstr(err.msg, "unknown layout 2"));
    tw_arena_done(&arena);
}

static void a_row__counts_for_24_hours_of_the_partitions_clock(void **state)
{
    const struct tw_ledger_row row = {.at_ms = 1000};

    (void)state;
    assert_true(tw_ledger_row_counts(&row, 1000));
    assert_true(tw_ledger_row_counts(&row, 1000 + 86400000 - 1));
    assert_false(tw_ledger_row_counts(&row, 1000 + 86400000));
    assert_false(tw_ledger_row_counts(&row, 1000 + 86400000 + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_and_unpack__are_inverse),
        cmocka_unit_test(layout__is_pinned),
        cmocka_unit_test(unpack__refuses_every_cut_and_every_tail),
        cmocka_unit_test(unpack__refuses_a_status_there_is_none_of),
        cmocka_unit_test(unpack__takes_any_bytes_without_harm),
        cmocka_unit_test(unpack__refuses_an_unknown_layout_by_name),
        cmocka_unit_test(a_row__counts_for_24_hours_of_the_partitions_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
