#include "tillwire/base.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

static void alloc__gives_memory_for_a_size_of_0(void **state)
{
    void *a = tw_alloc(0);
    void *b = tw_alloc_zeroed(0, 8);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    free(a);
    free(b);
}

static void alloc_zeroed__is_zeroed(void **state)
{
    char *memory = tw_alloc_zeroed(100, 3);

    (void)state;
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(memory[i], 0);
    free(memory);
}

static void realloc__keeps_the_content(void **state)
{
    char *text = tw_strdup("kept");

    (void)state;
    text = tw_realloc(text, 100000);
    assert_string_equal(text, "kept");
    free(text);
}

static int allocate_more_than_there_is(void *arg)
{
    volatile size_t count = SIZE_MAX / 4;

    (void)arg;
    free(tw_alloc_zeroed(count, 8));
    return 0;
}

static void out_of_memory__ends_with_71_and_one_line(void **state)
{
    static struct tw_child child;

    (void)state;
    tw_child_run(allocate_more_than_there_is, NULL, &child);
    assert_int_equal(child.exit_code, 71);
    assert_non_null(strstr(child.err, "\"message\":\"out of memory\",\"wanted_bytes\":"));
    assert_ptr_equal(strchr(child.err, '\n'), child.err + strlen(child.err) - 1);
}

static void count_cleanup(int *variable)
{
    (*variable)++;
}

static int seen_by_cleanup(int *counter)
{
    TW_AUTO(count_cleanup) int value = 41;

    *counter = value;
    return value;
}

static void auto__runs_after_the_result_was_taken(void **state)
{
    int counter = 0;

    (void)state;
    assert_int_equal(seen_by_cleanup(&counter), 41);
    assert_int_equal(counter, 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc__gives_memory_for_a_size_of_0),
        cmocka_unit_test(alloc_zeroed__is_zeroed),
        cmocka_unit_test(realloc__keeps_the_content),
        cmocka_unit_test(out_of_memory__ends_with_71_and_one_line),
        cmocka_unit_test(auto__runs_after_the_result_was_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
