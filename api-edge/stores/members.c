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

enum tw_rc tw_members_open(const char *postgres_uri, size_t connections, struct tw_members **ret_members,
                           struct tw_err *reterr)
{
    struct tw_pg_pool *pool = NULL;

    TW_TRY(tw_pg_pool_open(postgres_uri, connections, &pool, reterr));
    *ret_members = tw_alloc_zeroed(1, sizeof(**ret_members));
    (*ret_members)->pool = pool;
    return TW_OK;
}

void tw_members_free(struct tw_members *members)
{
    if (!members)
        return;
    tw_pg_pool_free(members->pool);
    free(members);
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

/** Times leave the database as milliseconds, so that no text form of a timestamp is read here. */
#define MS(column) "(extract(epoch from " column ") * 1000)::bigint"

static struct tw_str column_str(const PGresult *result, int column, struct tw_arena *arena)
{
    return tw_arena_copy(arena, (struct tw_str){PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column)});
}

static int64_t column_int(const PGresult *result, int column)
{
    int64_t value = 0;

    tw_str_to_int(tw_str_of(PQgetvalue(result, 0, column)), &value);
    return value;
}

static bool column_bool(const PGresult *result, int column)
{
    return PQgetvalue(result, 0, column)[0] == 't';
}

static bool column_uuid(const PGresult *result, int column, struct tw_uuid *ret_id)
{
    return tw_uuid_parse(tw_str_of(PQgetvalue(result, 0, column)), ret_id);
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

static enum tw_rc read_member(const PGresult *result, struct tw_arena *arena, struct tw_member *ret_member,
                              struct tw_err *reterr)
{
    struct tw_member member = {0};

    if (PQntuples(result) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such member");
    if (!column_uuid(result, M_ID, &member.member_id))
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "a member's id is no UUID");
    member.email = column_str(result, M_EMAIL, arena);
    member.has_password_hash = !PQgetisnull(result, 0, M_PASSWORD);
    member.password_hash = column_str(result, M_PASSWORD, arena);
    member.full_name = column_str(result, M_NAME, arena);
    member.has_phone_number = !PQgetisnull(result, 0, M_PHONE);
    member.phone_number = column_str(result, M_PHONE, arena);
    member.status = status_of(PQgetvalue(result, 0, M_STATUS));
    member.created_at_ms = column_int(result, M_CREATED);
    member.updated_at_ms = column_int(result, M_UPDATED);
    member.has_last_login_at = !PQgetisnull(result, 0, M_LOGIN);
    member.last_login_at_ms = column_int(result, M_LOGIN);
    member.version = column_int(result, M_VERSION);
    member.credential_version = column_int(result, M_CREDENTIAL);
    member.is_service = column_bool(result, M_SERVICE);
    *ret_member = member;
    return TW_OK;
}

enum tw_rc tw_members_by_id(struct tw_members *members, struct tw_uuid member_id, struct tw_arena *arena,
                            struct tw_member *ret_member, struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    const char                       *params[] = {id};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(member_id, id);
    TW_TRY(tw_pg_pool_query(members->pool, MEMBER_COLUMNS "where id = $1::uuid", 1, params, &result, reterr));
    return read_member(result, arena, ret_member, reterr);
}

enum tw_rc tw_members_by_email(struct tw_members *members, struct tw_str folded_email, struct tw_arena *arena,
                               struct tw_member *ret_member, struct tw_err *reterr)
{
    const char                       *params[] = {tw_arena_copy(arena, folded_email).ptr};
    TW_AUTO(result_release) PGresult *result = NULL;

    TW_TRY(tw_pg_pool_query(members->pool, MEMBER_COLUMNS "where email_folded = $1", 1, params, &result, reterr));
    return read_member(result, arena, ret_member, reterr);
}

enum tw_rc tw_members_token_counts(struct tw_members *members, struct tw_uuid token_id, struct tw_uuid member_id,
                                   struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    char                              member[TW_UUID_TEXT + 1];
    const char                       *params[] = {id, member};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(token_id, id);
    tw_uuid_format(member_id, member);
    TW_TRY(tw_pg_pool_query(members->pool,
                            "select 1 from tillwire.jwt_tokens where id = $1::uuid and member_id = $2::uuid "
                            "and not is_revoked and kind <> 'refresh'",
                            2, params, &result, reterr));
    return PQntuples(result) > 0 ? TW_OK : tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "the token is revoked or unknown");
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
    if (strcmp(text, "succeeded") == 0)
        return TW_SUCCEEDED;
    return strcmp(text, "rejected") == 0 ? TW_REJECTED : TW_DEAD_LETTERED;
}

static void read_row(const PGresult *result, struct tw_arena *arena, struct tw_ledger_row *row)
{
    if (PQgetisnull(result, 0, L_CALLER) || !column_uuid(result, L_CALLER, &row->caller))
        row->caller = tw_uuid_nil;
    tw_hex_parse(tw_str_of(PQgetvalue(result, 0, L_FINGERPRINT)), row->fingerprint, sizeof(row->fingerprint));
    row->type = column_str(result, L_TYPE, arena);
    row->outcome.status = status_of_command(PQgetvalue(result, 0, L_STATUS));
    row->outcome.http_status = (int)column_int(result, L_HTTP);
    row->outcome.problem = PQgetisnull(result, 0, L_PROBLEM)
                               ? TW_PROBLEM_NONE
                               : tw_problem_of_code(tw_str_of(PQgetvalue(result, 0, L_PROBLEM)));
    row->outcome.detail = column_str(result, L_DETAIL, arena);
    row->outcome.resource = column_str(result, L_RESOURCE, arena);
    row->offset = column_int(result, L_OFFSET);
    row->submitted_ms = column_int(result, L_SUBMITTED);
    row->at_ms = column_int(result, L_DECIDED);
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
    read_row(result, arena, ret_row);
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
    if (column_int(result, 1) > 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "the id key is not the one the members' ids were made with");
    if (column_int(result, 2) > 0)
        return tw_fail(reterr, TW_INVALID, WHERE, 0, "e-mail addresses were folded by another version");
    if (column_int(result, 0) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "no id key is pinned yet");
    return TW_OK;
}
