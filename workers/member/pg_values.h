/**
 * PostgreSQL's binary wire format: rows to write as one array per column (for `unnest`), single arguments, and the
 * cells of results. Binary because it needs no quoting, no parsing, and no trust in a session's settings.
 */
#ifndef TILLWIRE_PG_VALUES_H
#define TILLWIRE_PG_VALUES_H

#include <libpq-fe.h>

#include "tillwire/arena.h"
#include "tillwire/uuid.h"

/** Type numbers are part of PostgreSQL's protocol (pg_type.dat), but no client header has them. */
enum tw_pg_type {
    TW_PG_BOOL = 16,
    TW_PG_BYTEA = 17,
    TW_PG_INT8 = 20,
    TW_PG_INT2 = 21,
    TW_PG_INT4 = 23,
    TW_PG_TEXT = 25,
    TW_PG_TIMESTAMP = 1114,
    TW_PG_UUID = 2950,
    /* arrays of these */
    TW_PG_BOOLS = 1000,
    TW_PG_BYTEAS = 1001,
    TW_PG_INT2S = 1005,
    TW_PG_INT4S = 1007,
    TW_PG_TEXTS = 1009,
    TW_PG_INT8S = 1016,
    TW_PG_TIMESTAMPS = 1115,
    TW_PG_UUIDS = 2951,
};

/** Of one statement. */
enum { TW_PG_COLUMNS_MAX = 16 };

/** One column of the rows a statement writes: an array value that grows. Zero-initialised needs tw_pg_array_start(). */
struct tw_pg_array {
    struct tw_buf   bytes;
    enum tw_pg_type element;
    uint32_t        count;
    bool            has_null;
};

/** Empties the array and sets its elements' type; keeps its memory. */
void tw_pg_array_start(struct tw_pg_array *array, enum tw_pg_type element);
void tw_pg_array_done(struct tw_pg_array *array);
void tw_pg_add_null(struct tw_pg_array *array);
void tw_pg_add_uuid(struct tw_pg_array *array, struct tw_uuid id);
/** Text or bytea. */
void tw_pg_add_bytes(struct tw_pg_array *array, struct tw_str bytes);
void tw_pg_add_bool(struct tw_pg_array *array, bool value);
void tw_pg_add_int2(struct tw_pg_array *array, int16_t value);
void tw_pg_add_int4(struct tw_pg_array *array, int32_t value);
void tw_pg_add_int8(struct tw_pg_array *array, int64_t value);
/** @p time_ms since 1970, as a timestamp in UTC. */
void tw_pg_add_time(struct tw_pg_array *array, int64_t time_ms);

/** The rows of @p count columns in the format of a binary COPY; replaces what is in @p ret_bytes. All columns have the
 *  same number of elements. */
void tw_pg_copy_rows(const struct tw_pg_array *columns, size_t count, struct tw_buf *ret_bytes);

/** Arguments of one statement. Zero-initialised is none. Bytes and arrays are views: they live until it was sent. */
struct tw_pg_args {
    const char *values[TW_PG_COLUMNS_MAX];
    int         lengths[TW_PG_COLUMNS_MAX];
    int         count;
    char        numbers[TW_PG_COLUMNS_MAX][8];
};

void tw_pg_arg_int4(struct tw_pg_args *args, int32_t value);
void tw_pg_arg_int8(struct tw_pg_args *args, int64_t value);
void tw_pg_arg_time(struct tw_pg_args *args, int64_t time_ms);
void tw_pg_arg_bytes(struct tw_pg_args *args, struct tw_str bytes);
/** Completes @p array: nothing may be added to it any more. */
void tw_pg_arg_array(struct tw_pg_args *args, struct tw_pg_array *array);

/** Cells of a binary result. The column must be of the type that the name says. */
bool           tw_pg_is_null(const PGresult *result, int row, int column);
struct tw_uuid tw_pg_uuid(const PGresult *result, int row, int column);
/** The view lives as long as the result. Text, enums and bytea; empty for NULL. */
struct tw_str  tw_pg_bytes(const PGresult *result, int row, int column);
bool           tw_pg_bool(const PGresult *result, int row, int column);
int32_t        tw_pg_int4(const PGresult *result, int row, int column);
int64_t        tw_pg_int8(const PGresult *result, int row, int column);
int64_t        tw_pg_time(const PGresult *result, int row, int column);

#endif
