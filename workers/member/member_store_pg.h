/**
 * What the files of the members' store share. Private to them: the port is member_store.h.
 */
#ifndef TILLWIRE_MEMBER_STORE_PG_H
#define TILLWIRE_MEMBER_STORE_PG_H

#include "pg_pipeline.h"
#include "tillwire/store.h"

enum statement {
    BEGIN_READ,
    BEGIN_WRITE,
    ASYNCHRONOUS,
    COMMIT,
    WATERMARK,
    PROGRESS,
    LOAD_MEMBERS,
    LOAD_ADDRESSES,
    LOAD_TOKENS,
    LOAD_EMAIL_CHANGES,
    LOAD_CLAIMS,
    LOAD_LEDGER,
    ADVANCE,
    DELETE_TOKENS,
    DELETE_ADDRESSES,
    DELETE_EMAIL_CHANGES,
    TAKE_DEFAULTS,
    INSERT_MEMBERS,
    UPDATE_MEMBERS,
    INSERT_ADDRESSES,
    UPDATE_ADDRESSES,
    INSERT_TOKENS,
    UPDATE_TOKENS,
    INSERT_EMAIL_CHANGES,
    UPDATE_EMAIL_CHANGES,
    INSERT_CLAIMS,
    UPDATE_CLAIMS,
    DELETE_LEDGER,
    INSERT_LEDGER,
    FORGET_OUTBOX,
    SWEEP,
    END_STUCK,
    SET_MARK,
    LIST_MEMBERS,
    LIST_CLAIMS,
    LIST_LEDGER,
};

/** Where a list goes on. */
struct tw_member_cursor {
    struct tw_uuid next; /**< the smallest id that was not looked at */
    bool           at_end;
};

enum { COLUMNS_MAX = 13 };

struct tw_member_store {
    struct tw_pg           *pg;
    char                   *uri;
    int                     timeout_ms;
    char                    id_key_check[17]; /* empty: not pinned */
    int64_t                *tables;           /* by partition: tw_progress, as watermark() found it; 0: had no row */
    size_t                  table_count;
    bool                    commit_failed; /* the last commit did not get through: somebody may hold its rows */
    struct tw_arena         rows_arena;    /* what a commit gathers; kept for its memory */
    struct tw_pg_array      columns[COLUMNS_MAX];
    bool                    is_bulk;
    bool                    copying; /* rows go by COPY now, and this is how it went */
    enum tw_rc              copy_rc;
    struct tw_err          *copy_err;
    struct tw_buf           copied;              /* kept for its memory */
    struct tw_member_cursor listed, listed_rows; /* where the last list() and list_rows() ended */
};

/** When needed. UNREACHED, or BROKEN: the database is not what it should be. */
enum tw_rc tw_member_store_connect(struct tw_member_store *self, struct tw_err *reterr);

/* Of the port; member_scan_pg.c. */
enum tw_rc tw_member_store_set_mark(void *store, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                                    struct tw_err *reterr);
enum tw_rc tw_member_store_list(void *store, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                                size_t *ret_count, struct tw_err *reterr);
enum tw_rc tw_member_store_list_rows(void *store, int32_t partition, bool from_start, struct tw_uuid *ret_ids,
                                     size_t max, size_t *ret_count, struct tw_err *reterr);

#endif
