#include "stores/members.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stores/pg_pool.h"
#include "tillwire/email.h"
#include "tillwire/settings.h"

#define WHERE "edge.members"

struct tw_members {
    struct tw_pg_pool *pool;
};

static void result_release(PGresult **result)
{
    PQclear(*result);
}

struct tw_members *tw_members_new(struct tw_pg_pool *pool)
{
    struct tw_members *members = tw_alloc_zeroed(1, sizeof(*members));

    members->pool = pool;
    return members;
}

void tw_members_free(struct tw_members *members)
{
    free(members);
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

/** Times leave the database as milliseconds, so that no text form of a timestamp is read here. */
#define MS(column) "(extract(epoch from " column ") * 1000)::bigint"

/** One row of a result. */
struct row {
    const PGresult *result;
    int             number;
};

static bool column_is_null(struct row row, int column)
{
    return PQgetisnull(row.result, row.number, column);
}

static const char *column_text(struct row row, int column)
{
    return PQgetvalue(row.result, row.number, column);
}

static struct tw_str column_str(struct row row, int column, struct tw_arena *arena)
{
    size_t len = (size_t)PQgetlength(row.result, row.number, column);

    return tw_arena_copy(arena, (struct tw_str){column_text(row, column), len});
}

static int64_t column_int(struct row row, int column)
{
    int64_t value = 0;

    tw_str_to_int(tw_str_of(column_text(row, column)), &value);
    return value;
}

static bool column_bool(struct row row, int column)
{
    return column_text(row, column)[0] == 't';
}

static bool column_uuid(struct row row, int column, struct tw_uuid *ret_id)
{
    return tw_uuid_parse(tw_str_of(column_text(row, column)), ret_id);
}

static enum tw_member_status status_of(const char *text)
{
    if (strcmp(text, "ACTIVE") == 0)
        return TW_MEMBER_STATUS_ACTIVE;
    return strcmp(text, "SUSPENDED") == 0 ? TW_MEMBER_STATUS_SUSPENDED : TW_MEMBER_STATUS_INACTIVE;
}

/* --- members ------------------------------------------------------------------------------------------------------ */

enum {
    M_ID,
    M_EMAIL,
    M_PASSWORD,
    M_NAME,
    M_PHONE,
    M_STATUS,
    M_CREATED,
    M_UPDATED,
    M_LOGIN,
    M_VERSION,
    M_CREDENTIAL,
    M_SERVICE
};
#define MEMBER_COLUMNS                                                                             \
    "select id, email, password_hash, full_name, phone_number, status, " MS("created_at") ", " MS( \
        "updated_at") ", " MS("last_login_at") ", version, credential_version, is_service from tillwire.members "

static enum tw_rc read_member(struct row row, struct tw_arena *arena, struct tw_member *ret_member,
                              struct tw_err *reterr)
{
    struct tw_member member = {0};

    if (!column_uuid(row, M_ID, &member.member_id))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "a member's id is no UUID");
    member.email = column_str(row, M_EMAIL, arena);
    member.has_password_hash = !column_is_null(row, M_PASSWORD);
    member.password_hash = column_str(row, M_PASSWORD, arena);
    member.full_name = column_str(row, M_NAME, arena);
    member.has_phone_number = !column_is_null(row, M_PHONE);
    member.phone_number = column_str(row, M_PHONE, arena);
    member.status = status_of(column_text(row, M_STATUS));
    member.created_at_ms = column_int(row, M_CREATED);
    member.updated_at_ms = column_int(row, M_UPDATED);
    member.has_last_login_at = !column_is_null(row, M_LOGIN);
    member.last_login_at_ms = column_int(row, M_LOGIN);
    member.version = column_int(row, M_VERSION);
    member.credential_version = column_int(row, M_CREDENTIAL);
    member.is_service = column_bool(row, M_SERVICE);
    *ret_member = member;
    return TW_OK;
}

static enum tw_rc read_only_member(const PGresult *result, struct tw_arena *arena, struct tw_member *ret_member,
                                   struct tw_err *reterr)
{
    if (PQntuples(result) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such member");
    return read_member((struct row){result, 0}, arena, ret_member, reterr);
}

enum tw_rc tw_members_by_id(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                            struct tw_member *ret_member, struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    const char                       *params[] = {id};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(member_id, id);
    TW_TRY(tw_pg_pool_query(members->pool, MEMBER_COLUMNS "where id = $1::uuid", 1, params, &result, reterr));
    return read_only_member(result, arena, ret_member, reterr);
}

enum tw_rc tw_members_by_email(struct tw_members *members, struct tw_str folded_email, struct tw_arena *arena,
                               struct tw_member *ret_member, struct tw_err *reterr)
{
    const char                       *params[] = {tw_arena_copy(arena, folded_email).ptr};
    TW_AUTO(result_release) PGresult *result = NULL;

    TW_TRY(tw_pg_pool_query(members->pool, MEMBER_COLUMNS "where email_folded = $1", 1, params, &result, reterr));
    return read_only_member(result, arena, ret_member, reterr);
}

/** The page's place is a row value, so that the index on exactly these two columns finds it. Unset filters are null. */
#define LIST_QUERY                                                            \
    MEMBER_COLUMNS                                                            \
    "where ($1::tillwire.member_status is null or status = $1) "              \
    "and ($2::varchar is null or email_folded = $2) "                         \
    "and ($3::bigint is null or (created_at, id) > "                          \
    "(timestamp 'epoch' + $3::bigint * interval '1 millisecond', $4::uuid)) " \
    "order by created_at, id limit $5::integer"

enum tw_rc tw_members_list(struct tw_members *members, const struct tw_member_filter *filter,
                           const struct tw_member_place *after, size_t limit, struct tw_arena *arena,
                           struct tw_member **ret_list, size_t *ret_count, struct tw_err *reterr)
{
    char        created[TW_INT_TEXT + 1] = "";
    char        id[TW_UUID_TEXT + 1] = "";
    char        count[TW_INT_TEXT + 1];
    const char *params[] = {filter->status, NULL, after ? created : NULL, after ? id : NULL, count};
    TW_AUTO(result_release) PGresult *result = NULL;

    if (filter->folded_email.ptr)
        params[1] = tw_arena_copy(arena, filter->folded_email).ptr;
    if (after) {
        snprintf(created, sizeof(created), "%lld", (long long)after->created_at_ms);
        tw_uuid_format(after->member_id, id);
    }
    snprintf(count, sizeof(count), "%zu", limit);
    TW_TRY(tw_pg_pool_query(members->pool, LIST_QUERY, 5, params, &result, reterr));
    size_t            rows = (size_t)PQntuples(result);
    struct tw_member *list = TW_NEW_ARRAY(arena, rows, struct tw_member);
    for (size_t i = 0; i < rows; i++)
        TW_TRY(read_member((struct row){result, (int)i}, arena, &list[i], reterr));
    *ret_list = list;
    *ret_count = rows;
    return TW_OK;
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

enum { A_VERSION, A_ID, A_LABEL, A_LINE1, A_LINE2, A_CITY, A_PROVINCE, A_POSTAL, A_DEFAULT, A_CREATED };
/** One statement, so that version and addresses are of one moment. A member without any gives one row of nulls. */
#define ADDRESSES_QUERY                                                                                      \
    "select m.version, a.id, a.label, a.address_line1, a.address_line2, a.city, a.province, a.postal_code, " \
    "a.is_default, " MS("a.created_at") " from tillwire.members m left join tillwire.member_addresses a "    \
                                        "on a.member_id = m.id where m.id = $1::uuid order by a.created_at, a.id"

static enum tw_rc read_address(struct row row, struct tw_arena *arena, struct tw_member_address *ret_address,
                               struct tw_err *reterr)
{
    struct tw_member_address address = {0};

    if (!column_uuid(row, A_ID, &address.address_id))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "an address's id is no UUID");
    address.label = column_str(row, A_LABEL, arena);
    address.address_line1 = column_str(row, A_LINE1, arena);
    address.has_address_line2 = !column_is_null(row, A_LINE2);
    address.address_line2 = column_str(row, A_LINE2, arena);
    address.city = column_str(row, A_CITY, arena);
    address.province = column_str(row, A_PROVINCE, arena);
    address.postal_code = column_str(row, A_POSTAL, arena);
    address.is_default = column_bool(row, A_DEFAULT);
    address.created_at_ms = column_int(row, A_CREATED);
    *ret_address = address;
    return TW_OK;
}

enum tw_rc tw_members_addresses(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                                struct tw_member *ret_member, struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    const char                       *params[] = {id};
    TW_AUTO(result_release) PGresult *result = NULL;
    struct tw_member                  member = {.member_id = member_id};

    tw_uuid_format(member_id, id);
    TW_TRY(tw_pg_pool_query(members->pool, ADDRESSES_QUERY, 1, params, &result, reterr));
    uint32_t rows = (uint32_t)PQntuples(result);
    if (rows == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such member");
    member.version = column_int((struct row){result, 0}, A_VERSION);
    member.addresses = TW_NEW_ARRAY(arena, rows, struct tw_member_address);
    for (int i = 0; i < (int)rows && !PQgetisnull(result, i, A_ID); i++)
        TW_TRY(read_address((struct row){result, i}, arena, &member.addresses[member.addresses_len++], reterr));
    *ret_member = member;
    return TW_OK;
}

/* --- ledger ------------------------------------------------------------------------------------------------------- */

enum {
    L_CALLER,
    L_FINGERPRINT,
    L_TYPE,
    L_STATUS,
    L_HTTP,
    L_PROBLEM,
    L_DETAIL,
    L_RESOURCE,
    L_OFFSET,
    L_SUBMITTED,
    L_DECIDED
};
/** A key that went to two partitions has two rows; the first one decided it. */
#define LEDGER_QUERY                                                                                            \
    "select caller, encode(fingerprint, 'hex'), command_type, status, http_status, problem, detail, resource, " \
    "cause_offset, " MS("submitted_at") ", " MS("decided_at") " from tillwire.tw_ledger where id = $1::uuid "   \
                                                              "order by decided_at, partition limit 1"

static enum tw_status status_of_command(const char *text)
{
    static const enum tw_status statuses[] = {TW_SUCCEEDED, TW_REJECTED, TW_PENDING};

    for (size_t i = 0; i < TW_LEN(statuses); i++) {
        if (strcmp(text, tw_status_name(statuses[i])) == 0)
            return statuses[i];
    }
    return TW_DEAD_LETTERED;
}

static void read_ledger_row(struct row row, struct tw_arena *arena, struct tw_ledger_row *ret_row)
{
    if (column_is_null(row, L_CALLER) || !column_uuid(row, L_CALLER, &ret_row->caller))
        ret_row->caller = tw_uuid_nil;
    tw_hex_parse(tw_str_of(column_text(row, L_FINGERPRINT)), ret_row->fingerprint, sizeof(ret_row->fingerprint));
    ret_row->type = column_str(row, L_TYPE, arena);
    ret_row->outcome.status = status_of_command(column_text(row, L_STATUS));
    ret_row->outcome.http_status = (int)column_int(row, L_HTTP);
    ret_row->outcome.problem =
        column_is_null(row, L_PROBLEM) ? TW_PROBLEM_NONE : tw_problem_of_code(tw_str_of(column_text(row, L_PROBLEM)));
    ret_row->outcome.detail = column_str(row, L_DETAIL, arena);
    ret_row->outcome.resource = column_str(row, L_RESOURCE, arena);
    ret_row->offset = column_int(row, L_OFFSET);
    ret_row->submitted_ms = column_int(row, L_SUBMITTED);
    ret_row->at_ms = column_int(row, L_DECIDED);
}

enum tw_rc tw_members_ledger(struct tw_members *members, struct tw_uuid command_id, struct tw_arena *arena,
                             struct tw_ledger_row *ret_row, struct tw_err *reterr)
{
    struct tw_uuid                    ledger_id = tw_command_id_ledger(command_id);
    char                              id[TW_UUID_TEXT + 1];
    const char                       *params[] = {id};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(ledger_id, id);
    TW_TRY(tw_pg_pool_query(members->pool, LEDGER_QUERY, 1, params, &result, reterr));
    if (PQntuples(result) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "the ledger does not know the command");
    *ret_row = (struct tw_ledger_row){.id = ledger_id};
    read_ledger_row((struct row){result, 0}, arena, ret_row);
    return TW_OK;
}

/* --- watermark ---------------------------------------------------------------------------------------------------- */

enum tw_rc tw_members_watermark(struct tw_members *members, int32_t partition, int64_t *ret_next_offset,
                                struct tw_err *reterr)
{
    char                              number[16];
    const char                       *params[] = {number};
    TW_AUTO(result_release) PGresult *result = NULL;

    snprintf(number, sizeof(number), "%d", (int)partition);
    TW_TRY(tw_pg_pool_query(members->pool, "select next_offset from tillwire.tw_progress where partition = $1::integer",
                            1, params, &result, reterr));
    *ret_next_offset = PQntuples(result) > 0 ? column_int((struct row){result, 0}, 0) : 0;
    return TW_OK;
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

enum tw_rc tw_members_check_pins(struct tw_members *members, const char *id_key_check, struct tw_err *reterr)
{
    char                              folding[16];
    const char                       *params[] = {id_key_check, folding};
    TW_AUTO(result_release) PGresult *result = NULL;

    snprintf(folding, sizeof(folding), "%d", TW_FOLDING_VERSION);
    TW_TRY(tw_pg_pool_query(members->pool,
                            "select count(*) filter (where name = 'id_key_check'),"
                            " count(*) filter (where name = 'id_key_check' and value <> $1),"
                            " count(*) filter (where name = 'folding_version' and value <> $2) from tillwire.tw_meta",
                            2, params, &result, reterr));
    struct row counts = {result, 0};
    if (column_int(counts, 1) > 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the id key is not the one the members' ids were made with");
    if (column_int(counts, 2) > 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "e-mail addresses were folded by another version");
    if (column_int(counts, 0) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "no id key is pinned yet");
    return TW_OK;
}
