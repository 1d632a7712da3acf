#include "table.h"

#include <assert.h>

enum { GAP = 2, COLUMNS_MAX = 16 };

/* Characters, not bytes; wide and combining ones count as one. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

/* C0, DEL and C1 (two bytes: C2 80 to C2 9F). */
static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1];

    return first < 0x20 || first == 0x7F || (first == 0xC2 && second < 0xA0);
}

static void add_cell(struct tw_buf *out, const char *text)
{
    for (; *text; text++) {
        bool control = is_control(text);

        tw_buf_add(out, control ? "?" : text, 1);
        if (control && (unsigned char)*text == 0xC2)
            text++;
    }
}

static void add_row(struct tw_buf *out, const char *const *cells, size_t columns, const size_t *widths)
{
    for (size_t i = 0; i < columns; i++) {
        add_cell(out, cells[i]);
        if (i + 1 < columns) /* no spaces at the end of a line */
            tw_buf_printf(out, "%*s", (int)(widths[i] - width_of(cells[i]) + GAP), "");
    }
    tw_buf_add(out, "\n", 1);
}

void tw_ctl_table_add(struct tw_buf *out, const char *const *cells, size_t rows, size_t columns)
{
    size_t widths[COLUMNS_MAX] = {0};

    assert(columns <= COLUMNS_MAX);
    for (size_t i = 0; i < rows * columns; i++) {
        size_t width = width_of(cells[i]);

        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t row = 0; row < rows; row++)
        add_row(out, cells + row * columns, columns, widths);
}
