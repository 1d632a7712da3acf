/*
 * Floor of the member worker: what PostgreSQL takes of the same rows when nothing else is done. Registrations are read
 * from a topic into memory; then the clock runs, and one connection writes them to a table with the columns and indexes
 * of `members`, one `unnest` upsert a batch: the worker's arrays and batches (of one partition each, sorted by id), no
 * Kafka, no load, no ledger, no outbox, no watermark, no transaction around it.
 *
 *   bench_plain_upsert BROKERS TOPIC FROM TO BATCH     offsets by partition, with commas; TO is the first not read
 *
 * TW_POSTGRES_URI names the database. Prints `records=N seconds=S`, from the first batch written to the last. Ends with
 * an error when the table does not hold as many new rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offsets.h"
#include "pg_values.h"
#include "tillwire/clock.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/kafka.h"
#include "tillwire/str.h"

enum { WAIT_MS = 100, POLL_RECORDS = 1000, PATIENCE_US = 60 * 1000000 };

struct row {
    struct tw_member_register member;
    int64_t                   at_ms;
};

/* The rows of one partition. */
struct share {
    struct row *rows;
    size_t      count; /* read so far */
    size_t      wanted;
    size_t      written;
};

struct upsert {
    struct tw_arena arena; /* what rows point to */
    struct share    shares[BENCH_PARTITIONS_MAX];
    size_t          share_count;
    size_t          wanted;
    size_t          first; /* rows of the batch that started the clock: written before it */
    size_t          written;
    int64_t         started_us;
    int64_t         ended_us;
    PGconn         *conn;
};

_Noreturn static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_plain_upsert: %s: %s\n", what, why);
    exit(1);
}

/* --- rows from the topic ------------------------------------------------------------------------------------------ */

static void plan_shares(struct upsert *upsert, const char *topic, const char *from, const char *to,
                        struct tw_position ret_positions[BENCH_PARTITIONS_MAX])
{
    static int64_t starts[BENCH_PARTITIONS_MAX];
    static int64_t ends[BENCH_PARTITIONS_MAX];

    upsert->share_count = bench_offsets_read(from, starts);
    if (!upsert->share_count || bench_offsets_read(to, ends) != upsert->share_count)
        give_up(to, "FROM and TO are not offsets of the same number of partitions");
    for (size_t i = 0; i < upsert->share_count; i++) {
        struct share *share = &upsert->shares[i];

        if (ends[i] < starts[i])
            give_up(to, "TO is before FROM");
        share->wanted = (size_t)(ends[i] - starts[i]);
        share->rows = tw_alloc_zeroed(share->wanted + 1, sizeof(*share->rows));
        upsert->wanted += share->wanted;
        ret_positions[i] = (struct tw_position){topic, (int32_t)i, starts[i]};
    }
}

static void keep_row(void *self, const char *topic, const struct tw_record *record)
{
    struct upsert *upsert = self;
    struct share  *share = &upsert->shares[record->partition];
    struct row    *row = &share->rows[share->count];
    struct tw_err  err;

    if (share->count == share->wanted) /* written since the runner looked */
        return;
    if (tw_member_register_type.unpack(tw_arena_copy(&upsert->arena, record->value), &upsert->arena, &row->member,
                                       &err) != TW_OK)
        give_up(topic, err.msg);
    row->at_ms = record->timestamp_ms;
    share->count++;
}

static bool all_read(const struct upsert *upsert)
{
    for (size_t i = 0; i < upsert->share_count; i++) {
        if (upsert->shares[i].count < upsert->shares[i].wanted)
            return false;
    }
    return true;
}

static void read_rows(struct upsert *upsert, const char *brokers, const struct tw_position *positions)
{
    int64_t           give_up_us = tw_monotonic_us() + PATIENCE_US;
    struct tw_reader *reader;
    struct tw_err     err;
    size_t            count;

    if (tw_reader_open(brokers, "bench-plain-upsert", &reader, &err) != TW_OK ||
        tw_reader_assign(reader, positions, upsert->share_count, &err) != TW_OK)
        give_up("reader", err.msg);
    while (!all_read(upsert)) {
        enum tw_rc rc = tw_reader_poll(reader, WAIT_MS, POLL_RECORDS, keep_row, upsert, &count, &err);

        if (rc != TW_OK && rc != TW_UNREACHED)
            give_up("reader", err.msg);
        if (tw_monotonic_us() > give_up_us)
            give_up("time-out", "not all records came");
    }
    tw_reader_close(reader);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static void must(const PGconn *conn, PGresult *result, const char *what)
{
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        give_up(what, PQerrorMessage(conn));
}

static void run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);

    must(conn, result, sql);
    PQclear(result);
}

/* As many rows to begin with as the worker's own table has: indexes of a table that is empty are cheaper. `like` leaves
 * out only how full pages get. */
static void prepare_table(PGconn *conn)
{
    run(conn, "set client_min_messages = warning");
    run(conn, "create schema if not exists bench");
    run(conn, "create table if not exists bench.plain_members (like tillwire.members including all)"
              " with (fillfactor = 85)");
    run(conn, "truncate bench.plain_members");
    run(conn, "insert into bench.plain_members select * from tillwire.members");
    run(conn, "vacuum analyze bench.plain_members");
}

static size_t count_rows(PGconn *conn)
{
    PGresult *result = PQexec(conn, "select count(*) from bench.plain_members");
    size_t    count;

    must(conn, result, "count");
    count = (size_t)strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return count;
}

/* A row's columns, once: name, types of element and array, and how a row gives its value. */
#define COLUMNS(X)                                                                    \
    X(id, UUID, UUIDS, tw_pg_add_uuid(column, row->member.member_id))                 \
    X(email, TEXT, TEXTS, tw_pg_add_bytes(column, row->member.email))                 \
    X(email_folded, TEXT, TEXTS, tw_pg_add_bytes(column, row->member.email_folded))   \
    X(password_hash, TEXT, TEXTS, tw_pg_add_bytes(column, row->member.password_hash)) \
    X(full_name, TEXT, TEXTS, tw_pg_add_bytes(column, row->member.full_name))         \
    X(phone_number, TEXT, TEXTS, tw_pg_add_bytes(column, row->member.phone_number))   \
    X(status, TEXT, TEXTS, tw_pg_add_bytes(column, TW_STR("ACTIVE")))                 \
    X(created_at, TIMESTAMP, TIMESTAMPS, tw_pg_add_time(column, row->at_ms))          \
    X(updated_at, TIMESTAMP, TIMESTAMPS, tw_pg_add_time(column, row->at_ms))          \
    X(last_login_at, TIMESTAMP, TIMESTAMPS, tw_pg_add_null(column))                   \
    X(version, INT8, INT8S, tw_pg_add_int8(column, 1))                                \
    X(credential_version, INT8, INT8S, tw_pg_add_int8(column, 1))                     \
    X(is_service, BOOL, BOOLS, tw_pg_add_bool(column, false))

#define ELEMENT_TYPE(name, element, array, add) TW_PG_##element,
static const enum tw_pg_type element_types[] = {COLUMNS(ELEMENT_TYPE)};
#undef ELEMENT_TYPE
#define ARRAY_TYPE(name, element, array, add) TW_PG_##array,
static const Oid array_types[] = {COLUMNS(ARRAY_TYPE)};
#undef ARRAY_TYPE
enum { COLUMN_COUNT = TW_LEN(element_types) };

static void prepare_upsert(PGconn *conn)
{
    static const char sql[] =
        "insert into bench.plain_members (id, email, email_folded, password_hash, full_name, phone_number, status,"
        " created_at, updated_at, last_login_at, version, credential_version, is_service)"
        " select id, email, email_folded, password_hash, full_name, phone_number, status::tillwire.member_status,"
        " created_at, updated_at, last_login_at, version, credential_version, is_service"
        " from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) as row (id, email, email_folded,"
        " password_hash, full_name, phone_number, status, created_at, updated_at, last_login_at, version,"
        " credential_version, is_service)"
        " on conflict (id) do update set email = excluded.email, email_folded = excluded.email_folded,"
        " password_hash = excluded.password_hash, full_name = excluded.full_name,"
        " phone_number = excluded.phone_number, status = excluded.status, updated_at = excluded.updated_at,"
        " version = plain_members.version + 1";
    PGresult *result = PQprepare(conn, "upsert", sql, COLUMN_COUNT, array_types);

    must(conn, result, "prepare");
    PQclear(result);
}

static void add_row(struct tw_pg_array *columns, const struct row *row)
{
    struct tw_pg_array *column = columns;

#define ADD(name, element, array, add) \
    add;                               \
    column++;
    COLUMNS(ADD)
#undef ADD
}

static int compare_rows(const void *left, const void *right)
{
    return tw_uuid_cmp(((const struct row *)left)->member.member_id, ((const struct row *)right)->member.member_id);
}

static void write_batch(PGconn *conn, struct row *rows, size_t count)
{
    static struct tw_pg_array columns[COLUMN_COUNT]; /* kept for their memory */
    static const int          binary[COLUMN_COUNT] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct tw_pg_args         args = {0};

    qsort(rows, count, sizeof(*rows), compare_rows);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        tw_pg_array_start(&columns[i], element_types[i]);
    for (size_t i = 0; i < count; i++)
        add_row(columns, &rows[i]);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        tw_pg_arg_array(&args, &columns[i]);
    PGresult *result = PQexecPrepared(conn, "upsert", COLUMN_COUNT, args.values, args.lengths, binary, 1);
    must(conn, result, "upsert");
    PQclear(result);
}

/* A batch of a partition, then one of the next, as they come to a worker. */
static void write_rows(struct upsert *upsert, size_t batch)
{
    for (size_t i = 0; upsert->written < upsert->wanted; i = (i + 1) % upsert->share_count) {
        struct share *share = &upsert->shares[i];
        size_t        left = share->wanted - share->written;
        size_t        count = left < batch ? left : batch;

        if (!count)
            continue;
        write_batch(upsert->conn, share->rows + share->written, count);
        share->written += count;
        upsert->written += count;
        upsert->ended_us = tw_monotonic_us();
        if (!upsert->started_us) {
            upsert->started_us = upsert->ended_us;
            upsert->first = upsert->written;
        }
    }
}

static PGconn *connect_database(void)
{
    const char *uri = getenv("TW_POSTGRES_URI");
    PGconn     *conn = PQconnectdb(uri ? uri : "");

    if (PQstatus(conn) != CONNECTION_OK)
        give_up("TW_POSTGRES_URI", PQerrorMessage(conn));
    return conn;
}

int main(int argc, char **argv)
{
    static struct tw_position positions[BENCH_PARTITIONS_MAX];
    static struct upsert      upsert;
    int64_t                   batch;
    size_t                    before;

    if (argc != 6 || !tw_str_to_int(tw_str_of(argv[5]), &batch) || batch < 1)
        give_up("usage", "BROKERS TOPIC FROM TO BATCH");
    plan_shares(&upsert, argv[2], argv[3], argv[4], positions);
    read_rows(&upsert, argv[1], positions);
    upsert.conn = connect_database();
    prepare_table(upsert.conn);
    prepare_upsert(upsert.conn);
    before = count_rows(upsert.conn);
    write_rows(&upsert, (size_t)batch);
    if (count_rows(upsert.conn) - before != upsert.wanted)
        give_up("upsert", "the table does not hold as many new rows as there were records");
    printf("records=%zu seconds=%.6f\n", upsert.written - upsert.first,
           (double)(upsert.ended_us - upsert.started_us) / 1e6);
    PQfinish(upsert.conn);
    return 0;
}
