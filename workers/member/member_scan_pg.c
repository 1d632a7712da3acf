/*
 * What looks at a whole store of members: marks that freeze its partitions, and lists of what it holds, page by page
 * along a primary key. A page costs what it holds, wherever it begins.
 */
#include <assert.h>

#include "member_domain.h"
#include "member_store_pg.h"

/* --- marks -------------------------------------------------------------------------------------------------------- */

/* A mark that is lost by a crash would let the worker go on while somebody relies on it: it is written like a commit. */
enum tw_rc tw_member_store_set_mark(void *store, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                    struct tw_err *reterr)
{
    struct tw_member_store *self = store;
    struct tw_pg_args       args = {0};
    enum tw_rc              rc;

    TW_TRY(tw_member_store_connect(self, reterr));
    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_send(self->pg, BEGIN_WRITE, NULL);
    tw_pg_arg_int4(&args, partition);
    tw_pg_arg_int8(&args, next_offset);
    tw_pg_arg_int8(&args, from);
    tw_pg_arg_int8(&args, to);
    tw_pg_send(self->pg, SET_MARK, &args);
    rc = tw_pg_commit(self->pg, COMMIT, reterr);
    self->commit_failed = rc == TW_UNREACHED;
    return rc;
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

/* The id behind @p id; false: it is the last there can be. */
static bool next_id(struct tw_uuid *id)
{
    for (size_t i = sizeof(id->bytes); i-- > 0;)
        if (++id->bytes[i] != 0)
            return true;
    return false;
}

static void move_cursor(struct tw_member_cursor *cursor, const PGresult *result, size_t max)
{
    int count = PQntuples(result);

    cursor->at_end = (size_t)count < max;
    if (cursor->at_end)
        return;
    cursor->next = tw_pg_uuid(result, count - 1, 0);
    cursor->at_end = !next_id(&cursor->next);
}

/* The next page of ids; none behind the end. @p partition below 0: the statement takes none. */
static enum tw_rc read_page(struct tw_member_store *self, enum statement statement, int32_t partition,
                            struct tw_member_cursor *cursor, bool from_start, size_t max,
                            struct tw_pg_results *ret_results, struct tw_err *reterr)
{
    struct tw_pg_args args = {0};

    assert(max > 0);
    if (from_start)
        *cursor = (struct tw_member_cursor){0};
    if (cursor->at_end)
        return TW_OK;
    TW_TRY(tw_member_store_connect(self, reterr));
    TW_TRY(tw_pg_start(self->pg, reterr));
    tw_pg_arg_bytes(&args, (struct tw_str){(const char *)cursor->next.bytes, sizeof(cursor->next.bytes)});
    tw_pg_arg_int8(&args, (int64_t)max);
    if (partition >= 0)
        tw_pg_arg_int4(&args, partition);
    tw_pg_send(self->pg, statement, &args);
    TW_TRY(tw_pg_run(self->pg, ret_results, reterr));
    move_cursor(cursor, ret_results->at[0], max);
    return TW_OK;
}

static size_t count_page(const struct tw_pg_results *results)
{
    return results->count ? (size_t)PQntuples(results->at[0]) : 0;
}

enum tw_rc tw_member_store_list(void *store, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                                size_t *ret_count, struct tw_err *reterr)
{
    struct tw_member_store                          *self = store;
    enum statement                                   statement = LIST_MEMBERS;
    TW_AUTO(tw_pg_results_done) struct tw_pg_results page = {0};

    assert(kind == TW_MEMBER_ENTITY || kind == TW_MEMBER_CLAIM_ENTITY);
    if (kind == TW_MEMBER_CLAIM_ENTITY)
        statement = LIST_CLAIMS;
    TW_TRY(read_page(self, statement, -1, &self->listed, from_start, max, &page, reterr));
    *ret_count = count_page(&page);
    for (size_t i = 0; i < *ret_count; i++)
        ret_keys[i] = (struct tw_key){.kind = kind, .id = tw_pg_uuid(page.at[0], (int)i, 0)};
    return TW_OK;
}

enum tw_rc tw_member_store_list_rows(void *store, int32_t partition, bool from_start, struct tw_uuid *ret_ids,
                                     size_t max, size_t *ret_count, struct tw_err *reterr)
{
    struct tw_member_store                          *self = store;
    TW_AUTO(tw_pg_results_done) struct tw_pg_results page = {0};

    TW_TRY(read_page(self, LIST_LEDGER, partition, &self->listed_rows, from_start, max, &page, reterr));
    *ret_count = count_page(&page);
    for (size_t i = 0; i < *ret_count; i++)
        ret_ids[i] = tw_pg_uuid(page.at[0], (int)i, 0);
    return TW_OK;
}
