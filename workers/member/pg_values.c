/*
 * An array on the wire is: dimensions (1), has-null flag, element type, number of elements, lower bound (1), then each
 * element as a length and its bytes; length -1 is NULL. A row of a binary COPY is the number of its values, then each in
 * that very form. Numbers are big-endian. A timestamp is microseconds since 2000.
 */
#include "pg_values.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

enum { ARRAY_HEADER_BYTES = 20, COPY_MAX_BYTES = 1 << 30 };

static const int64_t ms_from_1970_to_2000 = INT64_C(946684800000);

static int64_t to_pg_time(int64_t time_ms)
{
    return (time_ms - ms_from_1970_to_2000) * 1000; /* messages hold the years 1970 to 9999 */
}

/* --- arrays ------------------------------------------------------------------------------------------------------- */

void tw_pg_array_start(struct tw_pg_array *array, enum tw_pg_type element)
{
    static const char header[ARRAY_HEADER_BYTES];

    tw_buf_clear(&array->bytes);
    array->bytes.max_bytes = (size_t)1 << 30; /* what PostgreSQL takes; a batch is far below */
    array->element = element;
    array->count = 0;
    array->has_null = false;
    tw_buf_add(&array->bytes, header, sizeof(header)); /* written by tw_pg_arg_array(), when the count is known */
}

void tw_pg_array_done(struct tw_pg_array *array)
{
    tw_buf_done(&array->bytes);
}

static void add_element(struct tw_pg_array *array, const void *bytes, size_t len)
{
    uint32_t wire_len = htobe32((uint32_t)len);

    tw_buf_add(&array->bytes, &wire_len, sizeof(wire_len));
    tw_buf_add(&array->bytes, bytes, len);
    array->count++;
}

void tw_pg_add_null(struct tw_pg_array *array)
{
    static const uint32_t no_value = UINT32_MAX;

    tw_buf_add(&array->bytes, &no_value, sizeof(no_value));
    array->count++;
    array->has_null = true;
}

void tw_pg_add_uuid(struct tw_pg_array *array, struct tw_uuid id)
{
    add_element(array, id.bytes, sizeof(id.bytes));
}

void tw_pg_add_bytes(struct tw_pg_array *array, struct tw_str bytes)
{
    add_element(array, bytes.ptr, bytes.len);
}

void tw_pg_add_bool(struct tw_pg_array *array, bool value)
{
    uint8_t wire = value;

    add_element(array, &wire, sizeof(wire));
}

void tw_pg_add_int2(struct tw_pg_array *array, int16_t value)
{
    uint16_t wire = htobe16((uint16_t)value);

    add_element(array, &wire, sizeof(wire));
}

void tw_pg_add_int4(struct tw_pg_array *array, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);

    add_element(array, &wire, sizeof(wire));
}

void tw_pg_add_int8(struct tw_pg_array *array, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);

    add_element(array, &wire, sizeof(wire));
}

void tw_pg_add_time(struct tw_pg_array *array, int64_t time_ms)
{
    tw_pg_add_int8(array, to_pg_time(time_ms));
}

/* Adds the element at @p at and gives the place of the next. */
static size_t copy_element(const struct tw_pg_array *column, size_t at, struct tw_buf *bytes)
{
    uint32_t wire_len;
    size_t   len = sizeof(wire_len);

    memcpy(&wire_len, column->bytes.ptr + at, sizeof(wire_len));
    if (wire_len != UINT32_MAX)
        len += be32toh(wire_len);
    tw_buf_add(bytes, column->bytes.ptr + at, len);
    return at + len;
}

void tw_pg_copy_rows(const struct tw_pg_array *columns, size_t count, struct tw_buf *ret_bytes)
{
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* no flags, nothing more in the header */
    const uint16_t    fields = htobe16((uint16_t)count), end = UINT16_MAX;
    size_t            at[TW_PG_COLUMNS_MAX];

    assert(count <= TW_LEN(at));
    for (size_t i = 0; i < count; i++)
        at[i] = ARRAY_HEADER_BYTES;
    tw_buf_clear(ret_bytes);
    ret_bytes->max_bytes = COPY_MAX_BYTES;
    tw_buf_add(ret_bytes, header, sizeof(header)); /* the last zero is the literal's own */
    for (uint32_t row = 0; row < columns[0].count; row++) {
        tw_buf_add(ret_bytes, &fields, sizeof(fields));
        for (size_t i = 0; i < count; i++)
            at[i] = copy_element(&columns[i], at[i], ret_bytes);
    }
    tw_buf_add(ret_bytes, &end, sizeof(end));
    assert(!ret_bytes->overflow);
}

/* --- arguments ---------------------------------------------------------------------------------------------------- */

void tw_pg_arg_bytes(struct tw_pg_args *args, struct tw_str bytes)
{
    assert((size_t)args->count < TW_LEN(args->values));
    args->values[args->count] = bytes.ptr ? bytes.ptr : ""; /* a NULL pointer would be an SQL NULL */
    args->lengths[args->count] = (int)bytes.len;
    args->count++;
}

static void add_number(struct tw_pg_args *args, const void *wire, size_t len)
{
    assert((size_t)args->count < TW_LEN(args->numbers));
    memcpy(args->numbers[args->count], wire, len);
    tw_pg_arg_bytes(args, (struct tw_str){args->numbers[args->count], len});
}

void tw_pg_arg_int4(struct tw_pg_args *args, int32_t value)
{
    uint32_t wire = htobe32((uint32_t)value);

    add_number(args, &wire, sizeof(wire));
}

void tw_pg_arg_int8(struct tw_pg_args *args, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);

    add_number(args, &wire, sizeof(wire));
}

void tw_pg_arg_time(struct tw_pg_args *args, int64_t time_ms)
{
    tw_pg_arg_int8(args, to_pg_time(time_ms));
}

void tw_pg_arg_array(struct tw_pg_args *args, struct tw_pg_array *array)
{
    uint32_t header[] = {
        htobe32(1), htobe32(array->has_null), htobe32(array->element), htobe32(array->count), htobe32(1),
    };

    _Static_assert(sizeof(header) == ARRAY_HEADER_BYTES, "the header's size");
    assert(!array->bytes.overflow);
    memcpy(array->bytes.ptr, header, sizeof(header));
    tw_pg_arg_bytes(args, tw_buf_str(&array->bytes));
}

/* --- results ------------------------------------------------------------------------------------------------------ */

bool tw_pg_is_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}

struct tw_str tw_pg_bytes(const PGresult *result, int row, int column)
{
    return (struct tw_str){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

static void read_cell(const PGresult *result, int row, int column, void *ret_wire, size_t len)
{
    struct tw_str cell = tw_pg_bytes(result, row, column);

    assert(cell.len == len); /* our own statements: the column's type is known */
    memcpy(ret_wire, cell.ptr, len);
}

struct tw_uuid tw_pg_uuid(const PGresult *result, int row, int column)
{
    struct tw_uuid id;

    read_cell(result, row, column, id.bytes, sizeof(id.bytes));
    return id;
}

bool tw_pg_bool(const PGresult *result, int row, int column)
{
    uint8_t wire;

    read_cell(result, row, column, &wire, sizeof(wire));
    return wire != 0;
}

int32_t tw_pg_int4(const PGresult *result, int row, int column)
{
    uint32_t wire;

    read_cell(result, row, column, &wire, sizeof(wire));
    return (int32_t)be32toh(wire);
}

int64_t tw_pg_int8(const PGresult *result, int row, int column)
{
    uint64_t wire;

    read_cell(result, row, column, &wire, sizeof(wire));
    return (int64_t)be64toh(wire);
}

int64_t tw_pg_time(const PGresult *result, int row, int column)
{
    return tw_pg_int8(result, row, column) / 1000 + ms_from_1970_to_2000;
}
