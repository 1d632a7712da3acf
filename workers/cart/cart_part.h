/**
 * A partition of the carts' store: its connection and its fence. Every write is one optimistic transaction: WATCH the
 * partition's progress and read it, then, on the same connection, MULTI … EXEC. EXEC happens only if nobody touched the
 * progress since. It drops all watches of its connection, so each partition has one of its own (redis_lane.h), and a
 * transaction is only begun while a WATCH of that same connection is pending.
 *
 *     tw_cart_part_put_watch(part);           … more questions
 *     TW_TRY(tw_lane_send(&part->lane, where, reterr));
 *     TW_TRY(tw_cart_part_receive_watch(part, next_offset, where, reterr));    … their answers
 *     tw_lane_command(&part->lane, "MULTI", 0);           … what is to be written
 *     TW_TRY(tw_cart_part_exec(part, where, reterr));
 *
 * Threads: that of the store's owner only.
 */
#ifndef TILLWIRE_CART_PART_H
#define TILLWIRE_CART_PART_H

#include "redis_lane.h"
#include "tillwire/store.h"

enum { TW_CART_CHECKED_HOLDERS = 16384 };

/** Ids in order, handed out page by page. */
struct tw_cart_ids {
    struct tw_uuid *ids;
    size_t          count, cap;
    size_t          next; /**< the first that was not handed out yet */
};

/** All but the lane and `rows` counts for the connection of now only. */
struct tw_cart_part {
    struct tw_lane     lane;
    bool               watching;    /**< a WATCH of the progress is pending, and `known` was read under it */
    struct tw_progress known;       /**< without outbox: as the last watermark, load or commit had it */
    int64_t            epoch;       /**< of the database, as first read; -1: not yet */
    bool               unprojected; /**< readers' keys are left out until all of them are written; in bulk only */
    int64_t            server_ms;   /**< the server's clock when it was last asked */
    struct tw_buf      value;       /**< scratch for one value */
    struct tw_arena    arena;       /**< of one transaction; kept for its memory */
    struct tw_cart_ids rows;        /**< of list_rows() */
    /** Products whose set of holders is a set, or absent; by the first bytes of their id. */
    struct tw_uuid     checked[TW_CART_CHECKED_HOLDERS];
};

struct tw_cart_store {
    struct tw_redis_uri   servers[TW_REDIS_SERVERS_MAX];
    size_t                server_count;
    int                   timeout_ms;
    bool                  is_bulk;
    struct tw_cart_part **parts; /**< by partition; NULL: not owned */
    size_t                part_count;
    struct tw_lane       *lanes;        /**< by server, for what looks at all partitions; NULL: nobody did */
    struct tw_cart_ids    carts;        /**< of list() */
    size_t                stray_server; /**< where the search for strays is */
    uint64_t              stray_cursor;
};

/** NULL: there is none. */
struct tw_cart_part *tw_cart_part_find(const struct tw_cart_store *store, int32_t partition);
/** Makes one, without connection, when there is none. */
struct tw_cart_part *tw_cart_part_own(struct tw_cart_store *store, int32_t partition);
/** One to go on with, or NULL after UNREACHED: it is not connected. */
struct tw_cart_part *tw_cart_part_connected(const struct tw_cart_store *store, int32_t partition, const char *where,
                                            struct tw_err *reterr);
/** As tw_lane_open(), when it is not connected. */
enum tw_rc           tw_cart_part_connect(struct tw_cart_part *part, const char *where, struct tw_err *reterr);
/** Accepts NULL. */
void                 tw_cart_part_free(struct tw_cart_part *part);

/** The lane of a server, for what looks at all partitions; connected. */
enum tw_rc tw_cart_server_lane(struct tw_cart_store *store, size_t server, const char *where, struct tw_lane **ret_lane,
                               struct tw_err *reterr);

/** Is this the server of the member's partition? What an earlier list of servers left on another is read by nobody. */
bool tw_cart_lives_on(const struct tw_cart_store *store, struct tw_uuid member_id, size_t server);

/** GET of the whole progress; the answer is received with tw_cart_part_receive_progress(). */
void       tw_cart_part_put_get(struct tw_cart_part *part);
/** GET of the database's epoch. What was read before a swap must not be taken for what is there now, though the
 *  watermark is the same: so another epoch than the connection has seen is @p changed, with the lane closed. */
void       tw_cart_part_put_epoch(struct tw_cart_part *part);
enum tw_rc tw_cart_part_receive_epoch(struct tw_cart_part *part, enum tw_rc changed, const char *where,
                                      struct tw_err *reterr);
/** The next answer: a progress, with or without its outbox. @p ret_progress views @p ret_reply. */
enum tw_rc tw_cart_part_receive_progress(struct tw_cart_part *part, const char *where, redisReply **ret_reply,
                                         struct tw_progress *ret_progress, struct tw_err *reterr);
/** Keeps a progress as known, without its outbox. */
void       tw_cart_part_know(struct tw_cart_part *part, const struct tw_progress *progress);

/** The next answer: that of TIME, kept in `server_ms`. */
enum tw_rc tw_cart_part_receive_time(struct tw_cart_part *part, const char *where, struct tw_err *reterr);

/** The next answer of @p lane: a member's cart, in the arena, or NULL when there is none. */
enum tw_rc tw_cart_receive_copy(struct tw_lane *lane, struct tw_uuid member_id, struct tw_arena *arena,
                                const char *where, const struct tw_cart **ret_cart, struct tw_err *reterr);

/** EXISTS of the mark that readers' keys are left out; its answer is kept in `unprojected`. */
void       tw_cart_part_put_unprojected(struct tw_cart_part *part);
enum tw_rc tw_cart_part_receive_unprojected(struct tw_cart_part *part, const char *where, struct tw_err *reterr);

/** The fence: watches the progress and asks for it, without the outbox, and for the epoch. */
void       tw_cart_part_put_watch(struct tw_cart_part *part);
/** All answers. FENCED, with the lane closed: the watermark or the epoch is another. A mark is no reason to refuse: `known` has it. */
enum tw_rc tw_cart_part_receive_watch(struct tw_cart_part *part, int64_t next_offset, const char *where,
                                      struct tw_err *reterr);
enum tw_rc tw_cart_part_unwatch(struct tw_cart_part *part, const char *where, struct tw_err *reterr);
/** Ends the transaction that was put since MULTI. Only the answer of EXEC tells whether it was written. */
enum tw_rc tw_cart_part_exec(struct tw_cart_part *part, const char *where, struct tw_err *reterr);

/** tw_store.set_mark. */
enum tw_rc tw_cart_set_mark(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                            struct tw_err *reterr);

#endif
