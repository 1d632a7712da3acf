/**
 * A lane: a connection to a Redis server, of one partition; the reprice policy has one for each server. Commands are
 * put one after the other, sent, and their answers received in order.
 *
 *     tw_lane_command(lane, "GET", 1);
 *     tw_lane_arg(lane, key, key_len);
 *     TW_TRY(tw_lane_send(lane, where, reterr));
 *     TW_TRY(tw_lane_receive(lane, REDIS_REPLY_STRING, where, key, &reply, reterr));
 *
 * A lane keeps its connection only while the server answers as it should: any other answer, or none, closes it, and
 * only tw_lane_open() makes a new one. So no reply, watch or half-queued transaction of the past is ever met again.
 *
 * Threads: that of its owner only: the worker's loop, or the policy's. @p where is the static text of struct tw_err.
 */
#ifndef TILLWIRE_CART_REDIS_LANE_H
#define TILLWIRE_CART_REDIS_LANE_H

#include <hiredis/hiredis.h>

#include "tillwire/cart_keys.h"

enum { TW_LANE_BUFFER = 64 * 1024 };

struct tw_lane {
    int32_t                    partition; /**< for sentences */
    const struct tw_redis_uri *server;
    int                        timeout_ms;
    redisContext              *redis;       /**< NULL: closed */
    int                        version;     /**< of the server: 702 is 7.2 */
    size_t                     unanswered;  /**< commands put whose answer was not received */
    int                        write_errno; /**< of the first write that failed; 0: none did */
    bool                       told_about_eviction;
    size_t                     out_len;
    char                       out[TW_LANE_BUFFER]; /**< commands, as RESP, that were not sent yet */
};

/** Connects, logs in, and checks that the server can hold carts: 6.2 or later, no cluster, no eviction, transactions
 *  allowed. Blocks up to the time-out. UNREACHED: worth retrying. BROKEN: the sentence says what is wrong with it. */
enum tw_rc tw_lane_open(struct tw_lane *lane, const char *where, struct tw_err *reterr);
/** Nothing happens when it is closed. */
void       tw_lane_close(struct tw_lane *lane);

/** Begins a command of exactly @p args arguments behind its name. What is put goes out in pieces as the buffer fills,
 *  so that the server works meanwhile; the last bytes stay here until tw_lane_send(). */
void       tw_lane_command(struct tw_lane *lane, const char *name, size_t args);
void       tw_lane_arg(struct tw_lane *lane, const void *bytes, size_t len);
void       tw_lane_str(struct tw_lane *lane, struct tw_str text);
void       tw_lane_text(struct tw_lane *lane, const char *text);
void       tw_lane_number(struct tw_lane *lane, int64_t number);
void       tw_lane_id(struct tw_lane *lane, struct tw_uuid id);
/** UNREACHED: the server surely did not get the last command whole. */
enum tw_rc tw_lane_send(struct tw_lane *lane, const char *where, struct tw_err *reterr);

/** The next answer, of whatever kind; NULL when there is none, which then is a failure of code @p lost. */
redisReply *tw_lane_answer(struct tw_lane *lane, enum tw_rc lost, const char *where, struct tw_err *reterr);
/** The next answer, which must be of @p type; a missing value (REDIS_REPLY_NIL) is no failure where a string is wanted.
 *  @p what: the command or the key, for the sentence. */
enum tw_rc  tw_lane_receive(struct tw_lane *lane, int type, const char *where, const char *what, redisReply **ret_reply,
                            struct tw_err *reterr);
/** The next answer must be `+OK`. */
enum tw_rc  tw_lane_receive_ok(struct tw_lane *lane, const char *where, const char *what, struct tw_err *reterr);
/** All answers that are left, the last of them that of EXEC, and what became of the transaction. OK: it was written.
 *  FENCED: nothing was, for the watched key had changed. UNKNOWN: no answer. BROKEN: also when a part of it failed, which
 *  does not undo the others. Any other code: refused, nothing was written. All but OK close the lane. */
enum tw_rc  tw_lane_receive_transaction(struct tw_lane *lane, const char *where, struct tw_err *reterr);
/** For TW_AUTO. */
void        tw_reply_free(redisReply **reply);

/** Closes the lane for an answer that should not be. An error reply that no retry mends is BROKEN, any other error
 *  (LOADING, OOM, MISCONF, READONLY, BUSY …) UNREACHED; an answer of a wrong kind is BROKEN. */
enum tw_rc tw_lane_refuse(struct tw_lane *lane, const redisReply *reply, const char *where, const char *what,
                          struct tw_err *reterr);
/** Closes the lane because @p key says what must not be. */
enum tw_rc tw_lane_broken(struct tw_lane *lane, const char *where, const char *key, const char *what,
                          struct tw_err *reterr);

#endif
