#include "stores/sessions.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stores/pg_pool.h"
#include "tillwire/settings.h"

#define WHERE "edge.sessions"

enum { MS_TEXT = 24 };

/** Times leave and enter the database as milliseconds, so that no text form of a timestamp is read or written here. */
#define MS(expression)  "(extract(epoch from " expression ") * 1000)::bigint"
#define TIME_OF(number) "(timestamp 'epoch' + " number "::bigint * interval '1 millisecond')"

struct tw_sessions {
    struct tw_pg_pool *pool;
};

static void result_release(PGresult **result)
{
    PQclear(*result);
}

struct tw_sessions *tw_sessions_new(struct tw_pg_pool *pool)
{
    struct tw_sessions *sessions = tw_alloc_zeroed(1, sizeof(*sessions));

    sessions->pool = pool;
    return sessions;
}

void tw_sessions_free(struct tw_sessions *sessions)
{
    free(sessions);
}

/* --- columns ------------------------------------------------------------------------------------------------------ */

static struct tw_str column_text(const PGresult *result, int row, int column)
{
    return (struct tw_str){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

static int64_t column_int(const PGresult *result, int row, int column)
{
    int64_t value = 0;

    tw_str_to_int(column_text(result, row, column), &value);
    return value;
}

static bool column_bool(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

static bool column_uuid(const PGresult *result, int row, int column, struct tw_uuid *ret_id)
{
    return tw_uuid_parse(column_text(result, row, column), ret_id);
}

static enum tw_rc bad_row(struct tw_err *reterr)
{
    return tw_fail(reterr, TW_BROKEN, WHERE, 0, "a token's row holds what no token has");
}

/* --- one token ---------------------------------------------------------------------------------------------------- */

enum tw_rc tw_sessions_token_counts(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid member_id,
                                    struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    char                              member[TW_UUID_TEXT + 1];
    const char                       *params[] = {id, member};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(token_id, id);
    tw_uuid_format(member_id, member);
    TW_TRY(tw_pg_pool_query(sessions->pool,
                            "select 1 from tillwire.jwt_tokens where id = $1::uuid and member_id = $2::uuid "
                            "and not is_revoked and kind <> 'refresh'",
                            2, params, &result, reterr));
    return PQntuples(result) > 0 ? TW_OK : tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "the token is revoked or unknown");
}

static enum tw_member_token_kind kind_of(const char *text)
{
    if (strcmp(text, "access") == 0)
        return TW_MEMBER_TOKEN_KIND_ACCESS;
    return strcmp(text, "refresh") == 0 ? TW_MEMBER_TOKEN_KIND_REFRESH : TW_MEMBER_TOKEN_KIND_SERVICE;
}

enum { T_MEMBER, T_FAMILY, T_KIND, T_HASH, T_REVOKED, T_CREATED, T_EXPIRES };

static enum tw_rc read_token(const PGresult *result, struct tw_uuid *ret_member_id, struct tw_member_token *token,
                             struct tw_err *reterr)
{
    if (!column_uuid(result, 0, T_MEMBER, ret_member_id) || !column_uuid(result, 0, T_FAMILY, &token->family_id) ||
        !tw_hex_parse(column_text(result, 0, T_HASH), token->token_hash, sizeof(token->token_hash)))
        return bad_row(reterr);
    token->kind = kind_of(PQgetvalue(result, 0, T_KIND));
    token->is_revoked = column_bool(result, 0, T_REVOKED);
    token->created_at_ms = column_int(result, 0, T_CREATED);
    token->expires_at_ms = column_int(result, 0, T_EXPIRES);
    return TW_OK;
}

enum tw_rc tw_sessions_token(struct tw_sessions *sessions, struct tw_uuid token_id, struct tw_uuid *ret_member_id,
                             struct tw_member_token *ret_token, struct tw_err *reterr)
{
    char                              id[TW_UUID_TEXT + 1];
    const char                       *params[] = {id};
    struct tw_member_token            token = {.token_id = token_id};
    struct tw_uuid                    member_id;
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(token_id, id);
    TW_TRY(tw_pg_pool_query(sessions->pool,
                            "select member_id, family_id, kind, token_hash, is_revoked, " MS("created_at") ", " MS(
                                "expires_at") " from tillwire.jwt_tokens where id = $1::uuid",
                            1, params, &result, reterr));
    if (PQntuples(result) == 0)
        return tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such token");
    TW_TRY(read_token(result, &member_id, &token, reterr));
    *ret_member_id = member_id;
    *ret_token = token;
    return TW_OK;
}

/* --- live sessions ------------------------------------------------------------------------------------------------ */

/** One row a family. What holds a session is its refresh token that was not spent yet, or an issued token. It began
 *  with the oldest row that is left of it. */
#define HOLDS "kind <> 'access' and not is_revoked and expires_at > " TIME_OF("$2")
#define LIVE_QUERY                                                                                         \
    "select family_id, bool_or(kind = 'service'), max(label), max(scope), " MS("min(created_at)") ", " MS( \
        "max(expires_at) filter (where " HOLDS ")") ", bool_or(id = $3::uuid) from tillwire.jwt_tokens "   \
                                                    "where member_id = $1::uuid group by family_id "       \
                                                    "having bool_or(" HOLDS ") order by min(created_at), family_id"

enum { S_FAMILY, S_ISSUED, S_LABEL, S_SCOPE, S_CREATED, S_EXPIRES, S_CURRENT };

static bool read_session(const PGresult *result, int row, struct tw_arena *arena, struct tw_session *ret_session)
{
    *ret_session = (struct tw_session){
        .is_issued = column_bool(result, row, S_ISSUED),
        .label = tw_arena_copy(arena, column_text(result, row, S_LABEL)),
        .scope = tw_arena_copy(arena, column_text(result, row, S_SCOPE)),
        .created_at_ms = column_int(result, row, S_CREATED),
        .expires_at_ms = column_int(result, row, S_EXPIRES),
        .is_current = column_bool(result, row, S_CURRENT),
    };
    return column_uuid(result, row, S_FAMILY, &ret_session->session_id);
}

enum tw_rc tw_sessions_live(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid current_token_id,
                            int64_t now_ms, struct tw_arena *arena, struct tw_session **ret_sessions, size_t *ret_count,
                            struct tw_err *reterr)
{
    char                              member[TW_UUID_TEXT + 1];
    char                              current[TW_UUID_TEXT + 1];
    char                              now[MS_TEXT];
    const char                       *params[] = {member, now, current};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(member_id, member);
    tw_uuid_format(current_token_id, current);
    snprintf(now, sizeof(now), "%" PRId64, now_ms);
    TW_TRY(tw_pg_pool_query(sessions->pool, LIVE_QUERY, 3, params, &result, reterr));
    int                count = PQntuples(result);
    struct tw_session *found = TW_NEW_ARRAY(arena, (size_t)count, struct tw_session);
    for (int row = 0; row < count; row++) {
        if (!read_session(result, row, arena, &found[row]))
            return bad_row(reterr);
    }
    *ret_sessions = found;
    *ret_count = (size_t)count;
    return TW_OK;
}

enum tw_rc tw_sessions_has(struct tw_sessions *sessions, struct tw_uuid member_id, struct tw_uuid session_id,
                           struct tw_err *reterr)
{
    char                              member[TW_UUID_TEXT + 1];
    char                              session[TW_UUID_TEXT + 1];
    const char                       *params[] = {member, session};
    TW_AUTO(result_release) PGresult *result = NULL;

    tw_uuid_format(member_id, member);
    tw_uuid_format(session_id, session);
    TW_TRY(tw_pg_pool_query(
        sessions->pool, "select 1 from tillwire.jwt_tokens where member_id = $1::uuid and family_id = $2::uuid limit 1",
        2, params, &result, reterr));
    return PQntuples(result) > 0 ? TW_OK : tw_fail(reterr, TW_NOT_FOUND, WHERE, 0, "there is no such session");
}

/* --- what was revoked --------------------------------------------------------------------------------------------- */

enum tw_rc tw_sessions_revoked(struct tw_sessions *sessions, int64_t after_ms, tw_revoked_fn fn, void *self,
                               struct tw_err *reterr)
{
    char                              after[MS_TEXT];
    const char                       *params[] = {after};
    TW_AUTO(result_release) PGresult *result = NULL;

    snprintf(after, sizeof(after), "%" PRId64, after_ms);
    TW_TRY(tw_pg_pool_query(sessions->pool,
                            "select id, " MS("expires_at") " from tillwire.jwt_tokens where is_revoked and "
                                                           "kind <> 'refresh' and expires_at > " TIME_OF("$1"),
                            1, params, &result, reterr));
    for (int row = 0; row < PQntuples(result); row++) {
        struct tw_uuid token_id;

        if (!column_uuid(result, row, 0, &token_id))
            return bad_row(reterr);
        fn(self, token_id, column_int(result, row, 1));
    }
    return TW_OK;
}
