/*
 * Members in PostgreSQL. A turn costs two round trips: a load and a commit, each one pipeline.
 *
 * load: the watermark, then members with what belongs to them, claims of addresses and ledger rows, in one snapshot (repeatable read), so what
 * decide() sees was true at one instant. An owner who commits between our load and our commit does no harm: the commit
 * compares the watermark with the same first offset that the load did.
 *
 * commit: tw_advance() first, which compares and raises; then rows that go, defaults that are lost, rows that come or
 * change, the ledger. Only rows that differ from what was loaded are written. Partitions touch disjoint rows and
 * tw_advance() holds the partition's, so two commits never wait for each other elsewhere.
 *
 * A bulk commit writes the rows that come by COPY, which costs a round trip each kind, as a pipeline takes none, and
 * less of the server. Measured with new members of five rows each, seconds of the server's processor time per 100,000
 * rows by unnest and by COPY: 0.60 and 0.55 in batches of 2,000 members, 0.60 and 0.50 of 20,000, 0.95 and 0.70 of
 * 50,000. It also does not wait for the disk: the transaction is asynchronous.
 */
#include "member_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "member_domain.h"
#include "member_rows.h"
#include "member_store_pg.h"
#include "tillwire/email.h"
#include "tillwire/failpoint.h"
#include "tillwire/settings.h"

/* --- statements --------------------------------------------------------------------------------------------------- */

/* The rows of a statement, one array a column, in the order that send_members() and its like have. */
#define MEMBER_COLUMNS                                                                                 \
    "id, email, email_folded, password_hash, full_name, phone_number, status, created_at, updated_at," \
    " last_login_at, version, credential_version, is_service"
#define MEMBER_ROWS "unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) as row (" MEMBER_COLUMNS ")"
#define MEMBER_TYPES                                                                                                 \
    {                                                                                                                \
        TW_PG_UUIDS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TIMESTAMPS, \
            TW_PG_TIMESTAMPS, TW_PG_TIMESTAMPS, TW_PG_INT8S, TW_PG_INT8S, TW_PG_BOOLS                                \
    }
#define ADDRESS_COLUMNS \
    "id, member_id, label, address_line1, address_line2, city, province, postal_code, is_default, created_at"
#define ADDRESS_ROWS "unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as row (" ADDRESS_COLUMNS ")"
#define ADDRESS_TYPES                                                                                           \
    {                                                                                                           \
        TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, \
            TW_PG_BOOLS, TW_PG_TIMESTAMPS                                                                       \
    }
#define TOKEN_COLUMNS "id, member_id, family_id, kind, token_hash, scope, label, expires_at, is_revoked, created_at"
#define TOKEN_ROWS    "unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as row (" TOKEN_COLUMNS ")"
#define TOKEN_TYPES                                                                                                  \
    {                                                                                                                \
        TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TIMESTAMPS, \
            TW_PG_BOOLS, TW_PG_TIMESTAMPS                                                                            \
    }
#define EMAIL_CHANGE_COLUMNS \
    "member_id, change_id, email, email_folded, caller, fingerprint, record_offset, submitted_at"
#define EMAIL_CHANGE_ROWS "unnest($1, $2, $3, $4, $5, $6, $7, $8) as row (" EMAIL_CHANGE_COLUMNS ")"
#define EMAIL_CHANGE_TYPES                                                                                           \
    {                                                                                                                \
        TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_UUIDS, TW_PG_BYTEAS, TW_PG_INT8S, TW_PG_TIMESTAMPS \
    }
#define CLAIM_COLUMNS "id, member_id, created_at"
#define CLAIM_ROWS    "unnest($1, $2, $3) as row (" CLAIM_COLUMNS ")"
#define CLAIM_TYPES                                \
    {                                              \
        TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_TIMESTAMPS \
    }
#define LEDGER_COLUMNS                                                                                  \
    "partition, id, caller, fingerprint, command_type, status, http_status, problem, detail, resource," \
    " cause_offset, submitted_at, decided_at"

/* Enums are read as text: another schema in this one's place has types of its own, and what a prepared statement
 * results in must not change. */
static const struct tw_pg_statement statements[] = {
    [BEGIN_READ] = {"begin_read", "begin isolation level repeatable read, read only", {0}},
    [BEGIN_WRITE] = {"begin_write", "begin isolation level read committed", {0}},
    [ASYNCHRONOUS] = {"asynchronous", "set local synchronous_commit = off", {0}},
    [COMMIT] = {"commit", "commit", {0}},
    [WATERMARK] = {"watermark", "select next_offset from tw_progress where partition = $1", {TW_PG_INT4}},
    [PROGRESS] = {"progress",
                  "select next_offset, clock_ms, last_hash, outbox, mark, tableoid::bigint from tw_progress"
                  " where partition = $1",
                  {TW_PG_INT4}},
    [LOAD_MEMBERS] = {"load_members",
                      "select id, email, email_folded, password_hash, full_name, phone_number, status::text,"
                      " created_at, updated_at, last_login_at, version, credential_version, is_service"
                      " from members where id = any ($1)",
                      {TW_PG_UUIDS}},
    [LOAD_ADDRESSES] = {"load_addresses",
                        "select member_id, id, label, address_line1, address_line2, city, province, postal_code,"
                        " is_default, created_at"
                        " from member_addresses where member_id = any ($1) order by created_at, id",
                        {TW_PG_UUIDS}},
    [LOAD_TOKENS] = {"load_tokens",
                     "select member_id, id, family_id, kind::text, decode(token_hash, 'hex'), scope, label, expires_at,"
                     " is_revoked, created_at"
                     " from jwt_tokens where member_id = any ($1) order by created_at, id",
                     {TW_PG_UUIDS}},
    [LOAD_EMAIL_CHANGES] = {"load_email_changes",
                            "select member_id, change_id, email, email_folded, caller, fingerprint, record_offset,"
                            " submitted_at from tw_email_changes where member_id = any ($1)",
                            {TW_PG_UUIDS}},
    [LOAD_CLAIMS] = {"load_claims",
                     "select id, member_id, created_at from tw_email_claims where id = any ($1)",
                     {TW_PG_UUIDS}},
    [LOAD_LEDGER] = {"load_ledger",
                     "select id, caller, fingerprint, command_type, status::text, http_status::int, problem, detail,"
                     " resource, cause_offset, submitted_at, decided_at"
                     " from tw_ledger where id = any ($1) and partition = $2",
                     {TW_PG_UUIDS, TW_PG_INT4}},
    [ADVANCE] = {"advance",
                 "select tw_advance($1, $2, $3, $4, $5, $6, $7)",
                 {TW_PG_INT4, TW_PG_INT8, TW_PG_INT8, TW_PG_INT8, TW_PG_BYTEA, TW_PG_BYTEA, TW_PG_INT8}},
    [DELETE_TOKENS] = {"delete_tokens", "delete from jwt_tokens where id = any ($1)", {TW_PG_UUIDS}},
    [DELETE_ADDRESSES] = {"delete_addresses", "delete from member_addresses where id = any ($1)", {TW_PG_UUIDS}},
    [DELETE_EMAIL_CHANGES] = {"delete_email_changes",
                              "delete from tw_email_changes where member_id = any ($1)",
                              {TW_PG_UUIDS}},
    [TAKE_DEFAULTS] = {"take_defaults",
                       "update member_addresses set is_default = false where id = any ($1)",
                       {TW_PG_UUIDS}},
    /* New rows by a plain insert, changed ones by an update: what is not as it was loaded must not go unnoticed. */
    [INSERT_MEMBERS] = {"insert_members",
                        "insert into members (" MEMBER_COLUMNS ")"
                        " select id, email, email_folded, password_hash, full_name, phone_number,"
                        " status::member_status, created_at, updated_at, last_login_at, version, credential_version,"
                        " is_service from " MEMBER_ROWS,
                        MEMBER_TYPES},
    [UPDATE_MEMBERS] = {"update_members",
                        "update members as m set email = row.email, email_folded = row.email_folded,"
                        " password_hash = row.password_hash, full_name = row.full_name,"
                        " phone_number = row.phone_number, status = row.status::member_status,"
                        " created_at = row.created_at, updated_at = row.updated_at,"
                        " last_login_at = row.last_login_at, version = row.version,"
                        " credential_version = row.credential_version, is_service = row.is_service"
                        " from " MEMBER_ROWS " where m.id = row.id",
                        MEMBER_TYPES},
    [INSERT_ADDRESSES] = {"insert_addresses",
                          "insert into member_addresses (" ADDRESS_COLUMNS ") select * from " ADDRESS_ROWS,
                          ADDRESS_TYPES},
    [UPDATE_ADDRESSES] = {"update_addresses",
                          "update member_addresses as a set label = row.label, address_line1 = row.address_line1,"
                          " address_line2 = row.address_line2, city = row.city, province = row.province,"
                          " postal_code = row.postal_code, is_default = row.is_default, created_at = row.created_at"
                          " from " ADDRESS_ROWS " where a.id = row.id",
                          ADDRESS_TYPES},
    [INSERT_TOKENS] = {"insert_tokens",
                       "insert into jwt_tokens (" TOKEN_COLUMNS ")"
                       " select id, member_id, family_id, kind::member_token_kind, token_hash, scope,"
                       " label, expires_at, is_revoked, created_at from " TOKEN_ROWS,
                       TOKEN_TYPES},
    [UPDATE_TOKENS] = {"update_tokens",
                       "update jwt_tokens as t set family_id = row.family_id, kind = row.kind::member_token_kind,"
                       " token_hash = row.token_hash, scope = row.scope, label = row.label,"
                       " expires_at = row.expires_at, is_revoked = row.is_revoked, created_at = row.created_at"
                       " from " TOKEN_ROWS " where t.id = row.id",
                       TOKEN_TYPES},
    [INSERT_EMAIL_CHANGES] = {"insert_email_changes",
                              "insert into tw_email_changes (" EMAIL_CHANGE_COLUMNS
                              ") select * from " EMAIL_CHANGE_ROWS,
                              EMAIL_CHANGE_TYPES},
    [UPDATE_EMAIL_CHANGES] = {"update_email_changes",
                              "update tw_email_changes as c set change_id = row.change_id, email = row.email,"
                              " email_folded = row.email_folded, caller = row.caller, fingerprint = row.fingerprint,"
                              " record_offset = row.record_offset, submitted_at = row.submitted_at"
                              " from " EMAIL_CHANGE_ROWS " where c.member_id = row.member_id",
                              EMAIL_CHANGE_TYPES},
    [INSERT_CLAIMS] = {"insert_claims", "insert into tw_email_claims (" CLAIM_COLUMNS ") select * from " CLAIM_ROWS,
                       CLAIM_TYPES},
    [UPDATE_CLAIMS] = {"update_claims",
                       "update tw_email_claims as c set member_id = row.member_id, created_at = row.created_at"
                       " from " CLAIM_ROWS " where c.id = row.id",
                       CLAIM_TYPES},
    /* A row may be there: older than a day, not swept yet, and its id used again; one that gave the command up; or one of a
     * command that is only ended now. Taking it out first costs half of what ON CONFLICT does. */
    [DELETE_LEDGER] = {"delete_ledger",
                       "delete from tw_ledger where id = any ($1) and partition = $2",
                       {TW_PG_UUIDS, TW_PG_INT4}},
    [INSERT_LEDGER] = {"insert_ledger",
                       "insert into tw_ledger (" LEDGER_COLUMNS ")"
                       " select partition, id, caller, fingerprint, command_type, status::command_status, http_status,"
                       " problem, detail, resource, cause_offset, submitted_at, decided_at"
                       " from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
                       " as row (" LEDGER_COLUMNS ")",
                       {TW_PG_INT4S, TW_PG_UUIDS, TW_PG_UUIDS, TW_PG_BYTEAS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_INT2S,
                        TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_TEXTS, TW_PG_INT8S, TW_PG_TIMESTAMPS, TW_PG_TIMESTAMPS}},
    [FORGET_OUTBOX] = {"forget_outbox", "select tw_forget_outbox($1, $2)", {TW_PG_INT4, TW_PG_INT8}},
    [SWEEP] = {"sweep",
               "select tw_sweep($1, $2, $3, $4, $5)",
               {TW_PG_INT4, TW_PG_INT8, TW_PG_TIMESTAMP, TW_PG_INT4, TW_PG_INT4}},
    [END_STUCK] = {"end_stuck", "select tw_end_stuck($1)", {TW_PG_INT4}},
    [SET_MARK] = {"set_mark", "select tw_set_mark($1, $2, $3, $4)", {TW_PG_INT4, TW_PG_INT8, TW_PG_INT8, TW_PG_INT8}},
    [LIST_MEMBERS] = {"list_members",
                      "select id from members where id >= $1 order by id limit $2",
                      {TW_PG_UUID, TW_PG_INT8}},
    [LIST_CLAIMS] = {"list_claims",
                     "select id from tw_email_claims where id >= $1 order by id limit $2",
                     {TW_PG_UUID, TW_PG_INT8}},
    [LIST_LEDGER] = {"list_ledger",
                     "select id from tw_ledger where id >= $1 and partition = $3 order by id limit $2",
                     {TW_PG_UUID, TW_PG_INT8, TW_PG_INT4}},
};

/* The same rows by COPY, for bulk commits. */
#define COPY(table, columns) "copy " table " (" columns ") from stdin (format binary)"
static const char *const copies[] = {
    [INSERT_MEMBERS] = COPY("members", MEMBER_COLUMNS),
    [INSERT_ADDRESSES] = COPY("member_addresses", ADDRESS_COLUMNS),
    [INSERT_TOKENS] = COPY("jwt_tokens", TOKEN_COLUMNS),
    [INSERT_EMAIL_CHANGES] = COPY("tw_email_changes", EMAIL_CHANGE_COLUMNS),
    [INSERT_CLAIMS] = COPY("tw_email_claims", CLAIM_COLUMNS),
    [INSERT_LEDGER] = COPY("tw_ledger", LEDGER_COLUMNS),
};

enum {
    SWEEP_PAGES = 1024, /* 8 MB, some 50,000 rows: about 10 ms when none of them goes */
    SWEEP_ROWS_MAX = 5000,
    BULK_TIMES = 10, /* a bulk commit takes longer than a worker would wait for, and nobody waits behind it */
};

/* --- connection --------------------------------------------------------------------------------------------------- */

static enum tw_rc broken(struct tw_err *reterr, const char *what)
{
    return tw_fail(reterr, TW_BROKEN, "member.store", 0, "%s", what);
}

static bool cell_is(const struct tw_pg_results *results, int column, const char *text)
{
    return tw_str_is(tw_pg_bytes(results->at[0], 0, column), text);
}

/* A commit we are told of must still be there after a crash: nothing else in the design repairs a lost tail that other
 * systems have seen events of. */
static enum tw_rc check_server(struct tw_member_store *self, struct tw_err *reterr)
{
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};

    TW_TRY(tw_pg_query(self->pg, "checking the server",
                       "select current_setting('fsync'), current_setting('synchronous_commit'),"
                       " to_regclass('tw_meta') is not null",
                       &results, reterr));
    if (!cell_is(&results, 0, "on"))
        return broken(reterr, "the server runs with fsync off");
    if (cell_is(&results, 1, "off"))
        return broken(reterr, "the server runs with synchronous_commit off");
    if (!cell_is(&results, 2, "t"))
        return broken(reterr, "the schema is not there: run `twctl schema apply`");
    return TW_OK;
}

static enum tw_rc check_pins(struct tw_member_store *self, struct tw_err *reterr)
{
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    char                                             folding_version[12];

    snprintf(folding_version, sizeof(folding_version), "%d", TW_FOLDING_VERSION);
    TW_TRY(tw_pg_query(self->pg, "checking the schema",
                       "select max(value) filter (where name = 'schema_version'),"
                       " max(value) filter (where name = 'folding_version'),"
                       " max(value) filter (where name = 'id_key_check') from tw_meta",
                       &results, reterr));
    if (!cell_is(&results, 0, TW_MEMBER_SCHEMA_VERSION))
        return broken(reterr, "the schema has another version than this program: run `twctl schema apply`");
    if (!cell_is(&results, 1, folding_version))
        return broken(reterr, "the database holds e-mail addresses that were folded in another way");
    if (self->id_key_check[0] && !cell_is(&results, 2, self->id_key_check))
        return broken(reterr, "the database holds members that were made with another id key");
    return TW_OK;
}

static enum tw_rc prepare_connection(struct tw_member_store *self, struct tw_err *reterr)
{
    TW_TRY(check_server(self, reterr));
    TW_TRY(check_pins(self, reterr));
    return tw_pg_prepare(self->pg, reterr);
}

enum tw_rc tw_member_store_connect(struct tw_member_store *self, struct tw_err *reterr)
{
    enum tw_rc rc;

    if (tw_pg_is_open(self->pg))
        return TW_OK;
    TW_TRY(tw_pg_open(self->pg, reterr));
    rc = prepare_connection(self, reterr);
    if (rc != TW_OK)
        tw_pg_close(self->pg);
    return rc;
}

/* --- watermark ---------------------------------------------------------------------------------------------------- */

/* A worker that was stopped in the middle of sending a commit holds its partition's row for as long as it sleeps, and
 * no time-out of the server's counts while it waits for the rest. The new owner ends it: nothing is lost by that, the
 * transaction cannot have committed. */
static enum tw_rc end_stuck_sessions(struct tw_member_store *self, struct tw_err *reterr)
{
    struct tw_pg_args args = {0};

    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_arg_int4(&args, self->timeout_ms);
    tw_pg_send(self->pg, END_STUCK, &args);
    TW_TRY(tw_pg_run(self->pg, NULL, reterr));
    self->commit_failed = false;
    return TW_OK;
}

static int64_t *table_of(struct tw_member_store *self, int32_t partition)
{
    size_t wanted = (size_t)partition + 1;

    if (self->table_count < wanted) {
        self->tables = tw_realloc(self->tables, wanted * sizeof(*self->tables));
        memset(self->tables + self->table_count, 0, (wanted - self->table_count) * sizeof(*self->tables));
        self->table_count = wanted;
    }
    return &self->tables[partition];
}

/* What was read before a swap must not be taken for what is there now, though the watermark is the same. So another
 * schema than the last time is told once; the commit of whoever does not look expects the one that was seen. */
static enum tw_rc see_table(struct tw_member_store *self, int32_t partition, int64_t table, struct tw_err *reterr)
{
    int64_t *known = table_of(self, partition);
    int64_t  before = *known;

    *known = before && before != table ? 0 : table;
    if (*known == table)
        return TW_OK;
    return tw_fail(reterr, TW_UNREACHED, "member.store", 0, "partition %d: another schema took the place of this one",
                   (int)partition);
}

static void read_progress(const PGresult *result, struct tw_arena *arena, struct tw_progress *ret_progress)
{
    struct tw_str hash = tw_pg_bytes(result, 0, 2);

    *ret_progress = (struct tw_progress){
        .next_offset = tw_pg_int8(result, 0, 0),
        .clock_ms = tw_pg_int8(result, 0, 1),
        .outbox = tw_arena_copy(arena, tw_pg_bytes(result, 0, 3)),
        .mark = tw_pg_int8(result, 0, 4),
    };
    memcpy(ret_progress->last_hash, hash.ptr, sizeof(ret_progress->last_hash));
}

static enum tw_rc store_watermark(void *store, int32_t partition, struct tw_arena *arena,
                                  struct tw_progress *ret_progress, struct tw_err *reterr)
{
    struct tw_member_store                          *self = store;
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    struct tw_pg_args                                args = {0};

    TW_TRY(tw_member_store_connect(self, reterr));
    if (self->commit_failed)
        TW_TRY(end_stuck_sessions(self, reterr));
    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_arg_int4(&args, partition);
    tw_pg_send(self->pg, PROGRESS, &args);
    TW_TRY(tw_pg_run(self->pg, &results, reterr));
    if (!PQntuples(results.at[0])) {
        *table_of(self, partition) = 0;
        *ret_progress = (struct tw_progress){0};
        return TW_OK;
    }
    TW_TRY(see_table(self, partition, tw_pg_int8(results.at[0], 0, 5), reterr));
    read_progress(results.at[0], arena, ret_progress);
    return TW_OK;
}

/* --- load --------------------------------------------------------------------------------------------------------- */

static struct tw_str read_str(const PGresult *result, int row, int column, struct tw_arena *arena)
{
    return tw_arena_copy(arena, tw_pg_bytes(result, row, column));
}

/* The number of an enum's name. */
static unsigned read_enum(const PGresult *result, int row, int column, const char *const *names, size_t count)
{
    struct tw_str text = tw_pg_bytes(result, row, column);
    unsigned      number = 0;

    while (number < count && !tw_str_is(text, names[number]))
        number++;
    assert(number < count);
    return number;
}

/* Enums of the database have these names in this order, those of schemas/enums.json; only the ledger knows 'accepted'. */
static const char *const member_status_names[] = {
    [TW_MEMBER_STATUS_ACTIVE] = "ACTIVE",
    [TW_MEMBER_STATUS_INACTIVE] = "INACTIVE",
    [TW_MEMBER_STATUS_SUSPENDED] = "SUSPENDED",
};

static const char *const token_kind_names[] = {
    [TW_MEMBER_TOKEN_KIND_ACCESS] = "access",
    [TW_MEMBER_TOKEN_KIND_REFRESH] = "refresh",
    [TW_MEMBER_TOKEN_KIND_SERVICE] = "service",
};

static const char *const command_status_names[] = {
    [TW_SUCCEEDED] = "succeeded",
    [TW_REJECTED] = "rejected",
    [TW_DEAD_LETTERED] = "dead_lettered",
    [TW_PENDING] = "accepted",
};

static int compare_entities(const void *left, const void *right)
{
    return tw_uuid_cmp((*(struct tw_entity *const *)left)->key.id, (*(struct tw_entity *const *)right)->key.id);
}

static int compare_id_with_entity(const void *id, const void *entity)
{
    return tw_uuid_cmp(*(const struct tw_uuid *)id, (*(struct tw_entity *const *)entity)->key.id);
}

/* The entities of one kind in a load, to be looked up by id while their rows are read. */
struct wanted {
    struct tw_entity **entities; /* of the load, by id */
    size_t             count;
    struct tw_member **members; /* kind MEMBER: beside `entities`; NULL: not found */
};

static struct wanted index_entities(const struct tw_load *load, uint32_t kind, struct tw_arena *arena)
{
    struct wanted wanted = {
        .entities = TW_NEW_ARRAY(arena, load->entity_count, struct tw_entity *),
        .members = TW_NEW_ARRAY(arena, load->entity_count, struct tw_member *),
    };

    for (size_t i = 0; i < load->entity_count; i++)
        if (load->entities[i].key.kind == kind)
            wanted.entities[wanted.count++] = &load->entities[i];
    if (wanted.count)
        qsort(wanted.entities, wanted.count, sizeof(struct tw_entity *), compare_entities);
    return wanted;
}

/* Place of the entity whose id is in this cell. The statements ask for no others. */
static size_t place_of(const struct wanted *wanted, const PGresult *result, int row, int column)
{
    struct tw_uuid     id = tw_pg_uuid(result, row, column);
    struct tw_entity **entity =
        bsearch(&id, wanted->entities, wanted->count, sizeof(struct tw_entity *), compare_id_with_entity);

    assert(entity);
    return (size_t)(entity - wanted->entities);
}

static void read_members(const PGresult *result, struct wanted *wanted, struct tw_arena *arena)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_member *member = TW_NEW(arena, struct tw_member);
        size_t            place = place_of(wanted, result, row, 0);

        *member = (struct tw_member){
            .member_id = tw_pg_uuid(result, row, 0),
            .email = read_str(result, row, 1, arena),
            .email_folded = read_str(result, row, 2, arena),
            .has_password_hash = !tw_pg_is_null(result, row, 3),
            .password_hash = read_str(result, row, 3, arena),
            .full_name = read_str(result, row, 4, arena),
            .has_phone_number = !tw_pg_is_null(result, row, 5),
            .phone_number = read_str(result, row, 5, arena),
            .status = read_enum(result, row, 6, member_status_names, TW_LEN(member_status_names)),
            .created_at_ms = tw_pg_time(result, row, 7),
            .updated_at_ms = tw_pg_time(result, row, 8),
            .has_last_login_at = !tw_pg_is_null(result, row, 9),
            .last_login_at_ms = tw_pg_is_null(result, row, 9) ? 0 : tw_pg_time(result, row, 9),
            .version = tw_pg_int8(result, row, 10),
            .credential_version = tw_pg_int8(result, row, 11),
            .is_service = tw_pg_bool(result, row, 12),
        };
        wanted->members[place] = member;
        wanted->entities[place]->before = member;
    }
}

static void read_addresses(const PGresult *result, struct wanted *wanted, struct tw_arena *arena)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_member *member = wanted->members[place_of(wanted, result, row, 0)];

        member->addresses = tw_arena_grow(arena, member->addresses, member->addresses_len, &member->addresses_cap,
                                          sizeof(*member->addresses));
        member->addresses[member->addresses_len++] = (struct tw_member_address){
            .address_id = tw_pg_uuid(result, row, 1),
            .label = read_str(result, row, 2, arena),
            .address_line1 = read_str(result, row, 3, arena),
            .has_address_line2 = !tw_pg_is_null(result, row, 4),
            .address_line2 = read_str(result, row, 4, arena),
            .city = read_str(result, row, 5, arena),
            .province = read_str(result, row, 6, arena),
            .postal_code = read_str(result, row, 7, arena),
            .is_default = tw_pg_bool(result, row, 8),
            .created_at_ms = tw_pg_time(result, row, 9),
        };
    }
}

static void read_tokens(const PGresult *result, struct wanted *wanted, struct tw_arena *arena)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_member      *member = wanted->members[place_of(wanted, result, row, 0)];
        struct tw_str          hash = tw_pg_bytes(result, row, 4);
        struct tw_member_token token = {
            .token_id = tw_pg_uuid(result, row, 1),
            .family_id = tw_pg_uuid(result, row, 2),
            .kind = read_enum(result, row, 3, token_kind_names, TW_LEN(token_kind_names)),
            .scope = read_str(result, row, 5, arena),
            .label = read_str(result, row, 6, arena),
            .expires_at_ms = tw_pg_time(result, row, 7),
            .is_revoked = tw_pg_bool(result, row, 8),
            .created_at_ms = tw_pg_time(result, row, 9),
        };

        assert(hash.len == sizeof(token.token_hash));
        memcpy(token.token_hash, hash.ptr, sizeof(token.token_hash));
        member->tokens =
            tw_arena_grow(arena, member->tokens, member->tokens_len, &member->tokens_cap, sizeof(*member->tokens));
        member->tokens[member->tokens_len++] = token;
    }
}

static void read_email_changes(const PGresult *result, struct wanted *wanted, struct tw_arena *arena)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_member              *member = wanted->members[place_of(wanted, result, row, 0)];
        struct tw_member_email_change *change = &member->email_change;
        struct tw_str                  fingerprint = tw_pg_bytes(result, row, 5);

        member->has_email_change = true;
        *change = (struct tw_member_email_change){
            .change_id = tw_pg_uuid(result, row, 1),
            .email = read_str(result, row, 2, arena),
            .email_folded = read_str(result, row, 3, arena),
            .caller = tw_pg_uuid(result, row, 4),
            .record_offset = tw_pg_int8(result, row, 6),
            .submitted_at_ms = tw_pg_time(result, row, 7),
        };
        assert(fingerprint.len == sizeof(change->fingerprint));
        memcpy(change->fingerprint, fingerprint.ptr, sizeof(change->fingerprint));
    }
}

static void read_claims(const PGresult *result, struct wanted *wanted, struct tw_arena *arena)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_member_claim *claim = TW_NEW(arena, struct tw_member_claim);

        *claim = (struct tw_member_claim){
            .claim_id = tw_pg_uuid(result, row, 0),
            .member_id = tw_pg_uuid(result, row, 1),
            .created_at_ms = tw_pg_time(result, row, 2),
        };
        wanted->entities[place_of(wanted, result, row, 0)]->before = claim;
    }
}

static void read_ledger(const PGresult *result, struct tw_load *load, struct tw_arena *arena)
{
    load->row_count = (size_t)PQntuples(result);
    load->rows = TW_NEW_ARRAY(arena, load->row_count, struct tw_ledger_row);
    for (int i = 0; i < PQntuples(result); i++) {
        struct tw_ledger_row *row = &load->rows[i];
        struct tw_str         fingerprint = tw_pg_bytes(result, i, 2);

        *row = (struct tw_ledger_row){
            .id = tw_pg_uuid(result, i, 0),
            .caller = tw_pg_is_null(result, i, 1) ? tw_uuid_nil : tw_pg_uuid(result, i, 1),
            .type = read_str(result, i, 3, arena),
            .outcome =
                {
                    .status = read_enum(result, i, 4, command_status_names, TW_LEN(command_status_names)),
                    .http_status = tw_pg_int4(result, i, 5),
                    .problem = tw_problem_of_code(tw_pg_bytes(result, i, 6)),
                    .detail = read_str(result, i, 7, arena),
                    .resource = read_str(result, i, 8, arena),
                },
            .offset = tw_pg_int8(result, i, 9),
            .submitted_ms = tw_pg_time(result, i, 10),
            .at_ms = tw_pg_time(result, i, 11),
        };
        assert(fingerprint.len == sizeof(row->fingerprint));
        memcpy(row->fingerprint, fingerprint.ptr, sizeof(row->fingerprint));
    }
}

static void send_partition(struct tw_member_store *self, enum statement statement, int32_t partition)
{
    struct tw_pg_args args = {0};

    tw_pg_arg_int4(&args, partition);
    tw_pg_send(self->pg, statement, &args);
}

/* The argument of a statement that loads entities: the ids of one kind. @p column keeps them until they are sent. */
static void arg_ids(struct tw_pg_args *args, struct tw_pg_array *column, const struct tw_load *load, uint32_t kind)
{
    tw_pg_array_start(column, TW_PG_UUID);
    for (size_t i = 0; i < load->entity_count; i++)
        if (load->entities[i].key.kind == kind)
            tw_pg_add_uuid(column, load->entities[i].key.id);
    tw_pg_arg_array(args, column);
}

static void send_load(struct tw_member_store *self, int32_t partition, const struct tw_load *load)
{
    struct tw_pg_array *ids = &self->columns[0];
    struct tw_pg_args   member_args = {0}, claim_args = {0}, ledger_args = {0};

    tw_pg_send(self->pg, BEGIN_READ, NULL);
    send_partition(self, WATERMARK, partition);
    arg_ids(&member_args, ids, load, TW_MEMBER_ENTITY);
    tw_pg_send(self->pg, LOAD_MEMBERS, &member_args);
    tw_pg_send(self->pg, LOAD_ADDRESSES, &member_args);
    tw_pg_send(self->pg, LOAD_TOKENS, &member_args);
    tw_pg_send(self->pg, LOAD_EMAIL_CHANGES, &member_args);
    arg_ids(&claim_args, ids, load, TW_MEMBER_CLAIM_ENTITY);
    tw_pg_send(self->pg, LOAD_CLAIMS, &claim_args);
    tw_pg_array_start(ids, TW_PG_UUID);
    for (size_t i = 0; i < load->ledger_id_count; i++)
        tw_pg_add_uuid(ids, load->ledger_ids[i]);
    tw_pg_arg_array(&ledger_args, ids);
    tw_pg_arg_int4(&ledger_args, partition);
    tw_pg_send(self->pg, LOAD_LEDGER, &ledger_args);
    tw_pg_send(self->pg, COMMIT, NULL);
}

/* Positions of the answers to send_load(). */
enum { AT_WATERMARK = 1, AT_MEMBERS, AT_ADDRESSES, AT_TOKENS, AT_EMAIL_CHANGES, AT_CLAIMS, AT_LEDGER };

static void read_load(const struct tw_pg_results *results, struct tw_load *load, struct tw_arena *arena)
{
    struct wanted members = index_entities(load, TW_MEMBER_ENTITY, arena);
    struct wanted claims = index_entities(load, TW_MEMBER_CLAIM_ENTITY, arena);

    read_members(results->at[AT_MEMBERS], &members, arena);
    read_addresses(results->at[AT_ADDRESSES], &members, arena);
    read_tokens(results->at[AT_TOKENS], &members, arena);
    read_email_changes(results->at[AT_EMAIL_CHANGES], &members, arena);
    read_claims(results->at[AT_CLAIMS], &claims, arena);
    read_ledger(results->at[AT_LEDGER], load, arena);
}

static enum tw_rc store_load(void *store, int32_t partition, int64_t first_offset, struct tw_load *load,
                             struct tw_arena *arena, struct tw_err *reterr)
{
    struct tw_member_store                          *self = store;
    TW_AUTO(tw_pg_results_done) struct tw_pg_results results = {0};
    int64_t                                          watermark = 0;

    TW_TRY(tw_pg_start(self->pg, reterr));
    send_load(self, partition, load);
    TW_TRY(tw_pg_run(self->pg, &results, reterr));
    if (PQntuples(results.at[AT_WATERMARK]))
        watermark = tw_pg_int8(results.at[AT_WATERMARK], 0, 0);
    if (watermark != first_offset)
        return tw_fail(reterr, TW_FENCED, "member.store.load", 0, "the watermark is %lld, not %lld",
                       (long long)watermark, (long long)first_offset);
    read_load(&results, load, arena);
    return TW_OK;
}

/* --- commit ------------------------------------------------------------------------------------------------------- */

static void start_columns(struct tw_member_store *self, const enum tw_pg_type *elements, size_t count)
{
    assert(count <= COLUMNS_MAX);
    for (size_t i = 0; i < count; i++)
        tw_pg_array_start(&self->columns[i], elements[i]);
}

static void copy_columns(struct tw_member_store *self, enum statement statement, size_t count)
{
    tw_pg_copy_rows(self->columns, count, &self->copied);
    self->copy_rc =
        tw_pg_copy(self->pg, statements[statement].name, copies[statement], tw_buf_str(&self->copied), self->copy_err);
}

/* Of new rows, while a bulk commit is at that, by COPY, as long as that works. */
static void send_columns(struct tw_member_store *self, enum statement statement, size_t count)
{
    struct tw_pg_args args = {0};

    if (self->copying) {
        if (self->copy_rc == TW_OK)
            copy_columns(self, statement, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        tw_pg_arg_array(&args, &self->columns[i]);
    tw_pg_send(self->pg, statement, &args);
}

static void add_optional_str(struct tw_pg_array *column, bool has, struct tw_str text)
{
    if (has)
        tw_pg_add_bytes(column, text);
    else
        tw_pg_add_null(column);
}

static void send_advance(struct tw_member_store *self, const struct tw_changes *changes)
{
    const struct tw_progress *after = &changes->after;
    struct tw_pg_args         args = {0};

    tw_pg_arg_int4(&args, changes->partition);
    tw_pg_arg_int8(&args, changes->first_offset);
    tw_pg_arg_int8(&args, after->next_offset);
    tw_pg_arg_int8(&args, after->clock_ms);
    tw_pg_arg_bytes(&args, (struct tw_str){(const char *)after->last_hash, sizeof(after->last_hash)});
    tw_pg_arg_bytes(&args, after->outbox);
    tw_pg_arg_int8(&args, *table_of(self, changes->partition));
    tw_pg_send(self->pg, ADVANCE, &args);
}

static void send_ids(struct tw_member_store *self, enum statement statement, const struct tw_uuid *ids, uint32_t count)
{
    struct tw_pg_args args = {0};

    if (!count)
        return;
    tw_pg_array_start(&self->columns[0], TW_PG_UUID);
    for (uint32_t i = 0; i < count; i++)
        tw_pg_add_uuid(&self->columns[0], ids[i]);
    tw_pg_arg_array(&args, &self->columns[0]);
    tw_pg_send(self->pg, statement, &args);
}

static void send_members(struct tw_member_store *self, enum statement statement, const struct tw_member *const *members,
                         uint32_t count)
{
    static const enum tw_pg_type elements[] = {
        TW_PG_UUID,      TW_PG_TEXT,      TW_PG_TEXT,      TW_PG_TEXT, TW_PG_TEXT, TW_PG_TEXT, TW_PG_TEXT,
        TW_PG_TIMESTAMP, TW_PG_TIMESTAMP, TW_PG_TIMESTAMP, TW_PG_INT8, TW_PG_INT8, TW_PG_BOOL,
    };
    struct tw_pg_array *column = self->columns;

    if (!count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_member *member = members[i];

        tw_pg_add_uuid(&column[0], member->member_id);
        tw_pg_add_bytes(&column[1], member->email);
        tw_pg_add_bytes(&column[2], member->email_folded);
        add_optional_str(&column[3], member->has_password_hash, member->password_hash);
        tw_pg_add_bytes(&column[4], member->full_name);
        add_optional_str(&column[5], member->has_phone_number, member->phone_number);
        tw_pg_add_bytes(&column[6], tw_str_of(member_status_names[member->status]));
        tw_pg_add_time(&column[7], member->created_at_ms);
        tw_pg_add_time(&column[8], member->updated_at_ms);
        if (member->has_last_login_at)
            tw_pg_add_time(&column[9], member->last_login_at_ms);
        else
            tw_pg_add_null(&column[9]);
        tw_pg_add_int8(&column[10],
                       member->version - (member->version > 1 && tw_failpoint("mutant_version_kept") ? 1 : 0));
        tw_pg_add_int8(&column[11], member->credential_version);
        tw_pg_add_bool(&column[12], member->is_service);
    }
    send_columns(self, statement, TW_LEN(elements));
}

static void send_addresses(struct tw_member_store *self, enum statement statement, const struct tw_address_row *rows,
                           uint32_t count)
{
    static const enum tw_pg_type elements[] = {
        TW_PG_UUID, TW_PG_UUID, TW_PG_TEXT, TW_PG_TEXT, TW_PG_TEXT,
        TW_PG_TEXT, TW_PG_TEXT, TW_PG_TEXT, TW_PG_BOOL, TW_PG_TIMESTAMP,
    };
    struct tw_pg_array *column = self->columns;

    if (!count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_member_address *address = rows[i].address;

        tw_pg_add_uuid(&column[0], address->address_id);
        tw_pg_add_uuid(&column[1], rows[i].member_id);
        tw_pg_add_bytes(&column[2], address->label);
        tw_pg_add_bytes(&column[3], address->address_line1);
        add_optional_str(&column[4], address->has_address_line2, address->address_line2);
        tw_pg_add_bytes(&column[5], address->city);
        tw_pg_add_bytes(&column[6], address->province);
        tw_pg_add_bytes(&column[7], address->postal_code);
        tw_pg_add_bool(&column[8], address->is_default && !tw_failpoint("mutant_no_default"));
        tw_pg_add_time(&column[9], address->created_at_ms);
    }
    send_columns(self, statement, TW_LEN(elements));
}

static void add_token_hash(struct tw_pg_array *column, const struct tw_member_token *token)
{
    char text[2 * sizeof(token->token_hash) + 1];

    tw_hex_format(token->token_hash, sizeof(token->token_hash), text);
    tw_pg_add_bytes(column, tw_str_of(text));
}

static void send_tokens(struct tw_member_store *self, enum statement statement, const struct tw_token_row *rows,
                        uint32_t count)
{
    static const enum tw_pg_type elements[] = {
        TW_PG_UUID, TW_PG_UUID, TW_PG_UUID,      TW_PG_TEXT, TW_PG_TEXT,
        TW_PG_TEXT, TW_PG_TEXT, TW_PG_TIMESTAMP, TW_PG_BOOL, TW_PG_TIMESTAMP,
    };
    struct tw_pg_array *column = self->columns;

    if (!count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_member_token *token = rows[i].token;

        tw_pg_add_uuid(&column[0], token->token_id);
        tw_pg_add_uuid(&column[1], rows[i].member_id);
        tw_pg_add_uuid(&column[2], token->family_id);
        tw_pg_add_bytes(&column[3], tw_str_of(token_kind_names[token->kind]));
        add_token_hash(&column[4], token);
        tw_pg_add_bytes(&column[5], token->scope);
        tw_pg_add_bytes(&column[6], token->label);
        tw_pg_add_time(&column[7], token->expires_at_ms);
        tw_pg_add_bool(&column[8], token->is_revoked);
        tw_pg_add_time(&column[9], token->created_at_ms);
    }
    send_columns(self, statement, TW_LEN(elements));
}

static void send_email_changes(struct tw_member_store *self, enum statement statement,
                               const struct tw_email_change_row *rows, uint32_t count)
{
    static const enum tw_pg_type elements[] = {
        TW_PG_UUID, TW_PG_UUID, TW_PG_TEXT, TW_PG_TEXT, TW_PG_UUID, TW_PG_BYTEA, TW_PG_INT8, TW_PG_TIMESTAMP,
    };
    struct tw_pg_array *column = self->columns;

    if (!count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_member_email_change *change = rows[i].change;

        tw_pg_add_uuid(&column[0], rows[i].member_id);
        tw_pg_add_uuid(&column[1], change->change_id);
        tw_pg_add_bytes(&column[2], change->email);
        tw_pg_add_bytes(&column[3], change->email_folded);
        tw_pg_add_uuid(&column[4], change->caller);
        tw_pg_add_bytes(&column[5], (struct tw_str){(const char *)change->fingerprint, sizeof(change->fingerprint)});
        tw_pg_add_int8(&column[6], change->record_offset);
        tw_pg_add_time(&column[7], change->submitted_at_ms);
    }
    send_columns(self, statement, TW_LEN(elements));
}

static void send_claims(struct tw_member_store *self, enum statement statement,
                        const struct tw_member_claim *const *claims, uint32_t count)
{
    static const enum tw_pg_type elements[] = {TW_PG_UUID, TW_PG_UUID, TW_PG_TIMESTAMP};

    if (!count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (uint32_t i = 0; i < count; i++) {
        tw_pg_add_uuid(&self->columns[0], claims[i]->claim_id);
        tw_pg_add_uuid(&self->columns[1], claims[i]->member_id);
        tw_pg_add_time(&self->columns[2], claims[i]->created_at_ms);
    }
    send_columns(self, statement, TW_LEN(elements));
}

/* Only rows that the load found are taken out: looking for the others would cost a descent of the index each. */
static void send_replaced_rows(struct tw_member_store *self, const struct tw_changes *changes)
{
    struct tw_pg_array *ids = &self->columns[0];
    struct tw_pg_args   args = {0};
    size_t              count = 0;

    tw_pg_array_start(ids, TW_PG_UUID);
    for (size_t i = 0; i < changes->row_count; i++) {
        if (!changes->rows[i].replaces)
            continue;
        tw_pg_add_uuid(ids, changes->rows[i].id);
        count++;
    }
    if (!count)
        return;
    tw_pg_arg_array(&args, ids);
    tw_pg_arg_int4(&args, changes->partition);
    tw_pg_send(self->pg, DELETE_LEDGER, &args);
}

static void send_ledger(struct tw_member_store *self, const struct tw_changes *changes)
{
    static const enum tw_pg_type elements[] = {
        TW_PG_INT4, TW_PG_UUID, TW_PG_UUID, TW_PG_BYTEA, TW_PG_TEXT,      TW_PG_TEXT,      TW_PG_INT2,
        TW_PG_TEXT, TW_PG_TEXT, TW_PG_TEXT, TW_PG_INT8,  TW_PG_TIMESTAMP, TW_PG_TIMESTAMP,
    };
    struct tw_pg_array *column = self->columns;

    if (!changes->row_count)
        return;
    start_columns(self, elements, TW_LEN(elements));
    for (size_t i = 0; i < changes->row_count; i++) {
        const struct tw_ledger_row *row = &changes->rows[i];
        const struct tw_outcome    *outcome = &row->outcome;

        tw_pg_add_int4(&column[0], changes->partition);
        tw_pg_add_uuid(&column[1], row->id);
        if (tw_uuid_is_nil(row->caller))
            tw_pg_add_null(&column[2]);
        else
            tw_pg_add_uuid(&column[2], row->caller);
        tw_pg_add_bytes(&column[3], (struct tw_str){(const char *)row->fingerprint, sizeof(row->fingerprint)});
        tw_pg_add_bytes(&column[4], row->type);
        tw_pg_add_bytes(&column[5], tw_str_of(command_status_names[outcome->status]));
        tw_pg_add_int2(&column[6], (int16_t)outcome->http_status);
        add_optional_str(&column[7], outcome->problem != TW_PROBLEM_NONE, tw_str_of(tw_problem_code(outcome->problem)));
        add_optional_str(&column[8], outcome->detail.len > 0, outcome->detail);
        add_optional_str(&column[9], outcome->resource.len > 0, outcome->resource);
        tw_pg_add_int8(&column[10], row->offset);
        tw_pg_add_time(&column[11], row->submitted_ms);
        tw_pg_add_time(&column[12], row->at_ms);
    }
    send_columns(self, INSERT_LEDGER, TW_LEN(elements));
}

static struct tw_member_rows gather_rows(const struct tw_changes *changes, struct tw_arena *arena)
{
    struct tw_member_rows rows = {0};

    for (size_t i = 0; i < changes->entity_count; i++) {
        const struct tw_entity *entity = changes->entities[i];

        if (entity->key.kind == TW_MEMBER_CLAIM_ENTITY)
            tw_member_rows_add_claim(&rows, entity->before, entity->state, arena);
        else
            tw_member_rows_add(&rows, entity->before, entity->state, arena);
    }
    tw_member_rows_sort(&rows);
    return rows;
}

/* Rows that go or change. */
static void send_changed(struct tw_member_store *self, const struct tw_changes *changes,
                         const struct tw_member_rows *rows)
{
    send_ids(self, DELETE_TOKENS, rows->gone_tokens, rows->gone_tokens_len);
    send_ids(self, DELETE_ADDRESSES, rows->gone_addresses, rows->gone_addresses_len);
    send_ids(self, DELETE_EMAIL_CHANGES, rows->gone_changes, rows->gone_changes_len);
    send_ids(self, TAKE_DEFAULTS, rows->lost_defaults, rows->lost_defaults_len);
    send_members(self, UPDATE_MEMBERS, rows->members, rows->members_len);
    send_addresses(self, UPDATE_ADDRESSES, rows->addresses, rows->addresses_len);
    send_tokens(self, UPDATE_TOKENS, rows->tokens, rows->tokens_len);
    send_email_changes(self, UPDATE_EMAIL_CHANGES, rows->changes, rows->changes_len);
    send_claims(self, UPDATE_CLAIMS, rows->claims, rows->claims_len);
    send_replaced_rows(self, changes);
}

static void send_new(struct tw_member_store *self, const struct tw_changes *changes, const struct tw_member_rows *rows)
{
    send_members(self, INSERT_MEMBERS, rows->new_members, rows->new_members_len);
    send_addresses(self, INSERT_ADDRESSES, rows->new_addresses, rows->new_addresses_len);
    send_tokens(self, INSERT_TOKENS, rows->new_tokens, rows->new_tokens_len);
    send_email_changes(self, INSERT_EMAIL_CHANGES, rows->new_changes, rows->new_changes_len);
    send_claims(self, INSERT_CLAIMS, rows->new_claims, rows->new_claims_len);
    send_ledger(self, changes);
}

/* A pipeline takes no COPY: what is new is written between two of them. */
static enum tw_rc copy_new(struct tw_member_store *self, const struct tw_changes *changes,
                           const struct tw_member_rows *rows, struct tw_err *reterr)
{
    TW_TRY(tw_pg_run(self->pg, NULL, reterr));
    self->copying = true;
    self->copy_rc = TW_OK;
    self->copy_err = reterr;
    send_new(self, changes, rows);
    self->copying = false;
    TW_TRY(self->copy_rc);
    return tw_pg_start(self->pg, reterr);
}

static enum tw_rc send_changes(struct tw_member_store *self, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct tw_member_rows rows = gather_rows(changes, &self->rows_arena);

    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_send(self->pg, BEGIN_WRITE, NULL);
    if (self->is_bulk)
        tw_pg_send(self->pg, ASYNCHRONOUS, NULL);
    send_advance(self, changes);
    send_changed(self, changes, &rows);
    if (self->is_bulk)
        return copy_new(self, changes, &rows, reterr);
    send_new(self, changes, &rows);
    return TW_OK;
}

static enum tw_rc store_commit(void *store, const struct tw_changes *changes, struct tw_err *reterr)
{
    struct tw_member_store *self = store;
    enum tw_rc              rc;

    tw_arena_reset(&self->rows_arena);
    rc = send_changes(self, changes, reterr);
    if (rc == TW_OK)
        rc = tw_pg_commit(self->pg, COMMIT, reterr);
    self->commit_failed = rc == TW_UNREACHED;
    return rc;
}

/* --- housekeeping ------------------------------------------------------------------------------------------------- */

static enum tw_rc store_forget_outbox(void *store, int32_t partition, int64_t next_offset, struct tw_err *reterr)
{
    struct tw_member_store *self = store;
    struct tw_pg_args       args = {0};

    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_arg_int4(&args, partition);
    tw_pg_arg_int8(&args, next_offset);
    tw_pg_send(self->pg, FORGET_OUTBOX, &args);
    return tw_pg_run(self->pg, NULL, reterr);
}

/* Ledger rows only; of a store that is being made anew all there are, for it is swept once a day of its log. Ended tokens
 * are dropped by their member's next change, a function of the log; if a sweep did it, a command id that comes again
 * would be decided by whether the sweep had come by. */
static enum tw_rc store_sweep(void *store, int32_t partition, int64_t next_offset, int64_t clock_ms,
                              struct tw_err *reterr)
{
    struct tw_member_store *self = store;
    struct tw_pg_args       args = {0};

    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_arg_int4(&args, partition);
    tw_pg_arg_int8(&args, next_offset);
    tw_pg_arg_time(&args, clock_ms - TW_LEDGER_LIFE_MS);
    tw_pg_arg_int4(&args, self->is_bulk ? INT32_MAX : SWEEP_PAGES);
    tw_pg_arg_int4(&args, self->is_bulk ? INT32_MAX : SWEEP_ROWS_MAX);
    tw_pg_send(self->pg, SWEEP, &args);
    return tw_pg_run(self->pg, NULL, reterr);
}

static void store_abandon(void *store, int32_t partition)
{
    (void)store; /* a load leaves nothing open */
    (void)partition;
}

static void store_release(void *store, int32_t partition)
{
    *table_of(store, partition) = 0;
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void free_store(struct tw_member_store *self)
{
    tw_pg_free(self->pg);
    for (size_t i = 0; i < COLUMNS_MAX; i++)
        tw_pg_array_done(&self->columns[i]);
    tw_arena_done(&self->rows_arena);
    tw_buf_done(&self->copied);
    free(self->tables);
    free(self->uri);
    free(self);
}

enum tw_rc tw_member_store_open(const char *uri, int timeout_ms, struct tw_store *ret_store, struct tw_err *reterr)
{
    struct tw_member_store *self = tw_alloc_zeroed(1, sizeof(*self));
    enum tw_rc              rc;

    self->uri = tw_strdup(uri);
    self->timeout_ms = timeout_ms;
    rc = tw_pg_new(self->uri, timeout_ms, statements, TW_LEN(statements), &self->pg, reterr);
    if (rc != TW_OK) {
        free_store(self);
        return rc;
    }
    *ret_store = (struct tw_store){
        .watermark = store_watermark,
        .load = store_load,
        .commit = store_commit,
        .abandon = store_abandon,
        .forget_outbox = store_forget_outbox,
        .sweep = store_sweep,
        .release = store_release,
        .set_mark = tw_member_store_set_mark,
        .list = tw_member_store_list,
        .list_rows = tw_member_store_list_rows,
        .self = self,
    };
    return TW_OK;
}

void tw_member_store_pin(struct tw_store *store, const char *id_key_check)
{
    struct tw_member_store *self = store->self;
    size_t                  len = strlen(id_key_check);

    assert(len < sizeof(self->id_key_check));
    memcpy(self->id_key_check, id_key_check, len + 1);
}

void tw_member_store_bulk(struct tw_store *store)
{
    struct tw_member_store *self = store->self;

    assert(!tw_pg_is_open(self->pg));
    self->is_bulk = true;
    tw_pg_wait_longer(self->pg, BULK_TIMES);
}

void tw_member_store_close(struct tw_store *store)
{
    if (!store || !store->self)
        return;
    free_store(store->self);
    store->self = NULL;
}
