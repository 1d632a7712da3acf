/* Links: tw_ctl */
#include "table.h"
#include "unit.h"

static struct tw_buf out;

static int forget(void **state)
{
    (void)state;
    tw_buf_done(&out);
    return 0;
}

static void assert_table(const char *const *cells, size_t rows, size_t columns, const char *expected)
{
    tw_ctl_table_add(&out, cells, rows, columns);
    tw_buf_add(&out, "", 1);
    assert_string_equal(out.ptr, expected);
}

static void table__columns_are_as_wide_as_their_widest_cell(void **state)
{
    static const char *const cells[] = {"ID", "MEMBER", "LABEL", "1", "operator", "import", "12345", "ada", ""};

    (void)state;
    assert_table(cells, 3, 3,
                 "ID     MEMBER    LABEL\n"
                 "1      operator  import\n"
                 "12345  ada       \n");
}

static void table__without_rows_is_its_heading(void **state)
{
    static const char *const cells[] = {"ID", "MEMBER"};

    (void)state;
    assert_table(cells, 1, 2, "ID  MEMBER\n");
}

static void table__counts_characters_not_bytes(void **state)
{
    static const char *const cells[] = {"\xc3\xa9t\xc3\xa9", "x", "summer", "y"};

    (void)state;
    assert_table(cells, 2, 2, "\xc3\xa9t\xc3\xa9     x\nsummer  y\n");
}

static void table__a_cell_cannot_break_its_line_or_speak_to_the_terminal(void **state)
{
    static const char *const cells[] = {"a\nb\tc", "\x1b[31mred\x7f", "\xc2\x9b\x33\x31m\xc2\xa0", "z"};

    (void)state;
    assert_table(cells, 2, 2, "a?b?c  ?[31mred?\n?31m\xc2\xa0  z\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(table__columns_are_as_wide_as_their_widest_cell, forget),
        cmocka_unit_test_teardown(table__without_rows_is_its_heading, forget),
        cmocka_unit_test_teardown(table__counts_characters_not_bytes, forget),
        cmocka_unit_test_teardown(table__a_cell_cannot_break_its_line_or_speak_to_the_terminal, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
