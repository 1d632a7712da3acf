#include "tillwire/arena.h"

#include <string.h>

#include "unit.h"

static void alloc__is_zeroed_and_aligned_also_after_a_reset(void **state)
{
    struct tw_arena arena = {0};

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 300; size++) {
            unsigned char *memory = tw_arena_alloc(&arena, size);

            assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(memory[i], 0);
            memset(memory, 0xA5, size);
        }
        tw_arena_reset(&arena);
    }
    tw_arena_done(&arena);
}

static void alloc__never_hands_out_the_same_bytes_twice(void **state)
{
    struct tw_arena arena = {0};
    unsigned char  *parts[2000];
    uint64_t        random = 1;
    size_t          sizes[2000];

    (void)state;
    for (size_t i = 0; i < TW_LEN(parts); i++) {
        sizes[i] = tw_random(&random) % (i % 100 == 0 ? 100000 : 100);
        parts[i] = tw_arena_alloc(&arena, sizes[i]);
        memset(parts[i], (int)(i & 0xFF), sizes[i]);
    }
    for (size_t i = 0; i < TW_LEN(parts); i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(parts[i][j], i & 0xFF);
    }
    tw_arena_done(&arena);
}

static void used_bytes__counts_since_the_last_reset(void **state)
{
    struct tw_arena arena = {0};

    (void)state;
    tw_arena_alloc(&arena, 1000);
    assert_in_range(arena.used_bytes, 1000, 1000 + 2 * sizeof(max_align_t));
    tw_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    tw_arena_done(&arena);
}

static void one_batch(struct tw_arena *arena)
{
    for (size_t i = 0; i < 1000; i++)
        tw_arena_alloc(arena, 1000);
}

static void reset__lets_a_steady_loop_work_in_one_chunk(void **state)
{
    struct tw_arena        arena = {0};
    struct tw_arena_chunk *chunk;

    (void)state;
    for (int i = 0; i < 3; i++) {
        one_batch(&arena);
        tw_arena_reset(&arena);
    }
    chunk = arena.chunks;
    assert_non_null(chunk);
    one_batch(&arena);
    assert_ptr_equal(arena.chunks, chunk);
    tw_arena_done(&arena);
}

static void reset__lets_go_of_what_is_far_too_large_to_keep(void **state)
{
    struct tw_arena arena = {0};

    (void)state;
    tw_arena_alloc(&arena, 64U << 20);
    tw_arena_reset(&arena);
    assert_null(arena.chunks);
    tw_arena_done(&arena);
}

static void copy__ends_with_nul(void **state)
{
    struct tw_arena arena = {0};
    char            text[] = "abcdef";
    struct tw_str   copy = tw_arena_copy(&arena, (struct tw_str){text, 3});

    (void)state;
    text[0] = 'X';
    assert_str(copy, "abc");
    assert_int_equal(copy.ptr[3], 0);
    assert_string_equal(tw_arena_copy(&arena, (struct tw_str){NULL, 0}).ptr, "");
    tw_arena_done(&arena);
}

static void print__measures_first(void **state)
{
    struct tw_arena arena = {0};
    struct tw_str   text = tw_arena_printf(&arena, "%s/%05000d", "v1", 7);

    (void)state;
    assert_int_equal(text.len, 5003);
    assert_int_equal(text.ptr[5002], '7');
    assert_int_equal(text.ptr[5003], 0);
    assert_str(tw_arena_printf(&arena, "%s", ""), "");
    tw_arena_done(&arena);
}

static void grow__keeps_the_elements_and_leaves_the_old_array(void **state)
{
    struct tw_arena arena = {0};
    uint32_t       *numbers = NULL;
    uint32_t       *first = NULL;
    uint32_t        cap = 0;

    (void)state;
    for (uint32_t len = 0; len < 1000; len++) {
        numbers = tw_arena_grow(&arena, numbers, len, &cap, sizeof(*numbers));
        numbers[len] = len;
        first = first ? first : numbers;
        assert_true(cap > len);
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    assert_int_equal(first[0], 0);
    assert_ptr_not_equal(first, numbers);
    tw_arena_done(&arena);
}

static int ask_for_an_array_that_overflows(void *arg)
{
    struct tw_arena arena = {0};

    (void)arg;
    tw_arena_array(&arena, SIZE_MAX / 2, 3);
    return 0;
}

static int ask_for_more_than_can_be_rounded(void *arg)
{
    struct tw_arena arena = {0};
    volatile size_t size = SIZE_MAX - 3;

    (void)arg;
    tw_arena_alloc(&arena, size);
    return 0;
}

static void sizes_that_overflow__end_the_process(void **state)
{
    static struct tw_child child;

    (void)state;
    tw_child_run(ask_for_an_array_that_overflows, NULL, &child);
    assert_int_equal(child.exit_code, 71);
    tw_child_run(ask_for_more_than_can_be_rounded, NULL, &child);
    assert_int_equal(child.exit_code, 71);
}

static void done__takes_null_and_twice(void **state)
{
    struct tw_arena arena = {0};

    (void)state;
    tw_arena_done(NULL);
    tw_arena_reset(&arena);
    tw_arena_alloc(&arena, 1);
    tw_arena_done(&arena);
    tw_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc__is_zeroed_and_aligned_also_after_a_reset),
        cmocka_unit_test(alloc__never_hands_out_the_same_bytes_twice),
        cmocka_unit_test(used_bytes__counts_since_the_last_reset),
        cmocka_unit_test(reset__lets_a_steady_loop_work_in_one_chunk),
        cmocka_unit_test(reset__lets_go_of_what_is_far_too_large_to_keep),
        cmocka_unit_test(copy__ends_with_nul),
        cmocka_unit_test(print__measures_first),
        cmocka_unit_test(grow__keeps_the_elements_and_leaves_the_old_array),
        cmocka_unit_test(sizes_that_overflow__end_the_process),
        cmocka_unit_test(done__takes_null_and_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
