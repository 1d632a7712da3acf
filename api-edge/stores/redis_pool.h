/**
 * A few connections to each Redis server, shared by request threads, for reads. A command that does not answer within
 * its time is given up together with its connection. While a server cannot be reached, callers are told at once.
 */
#ifndef TILLWIRE_EDGE_REDIS_POOL_H
#define TILLWIRE_EDGE_REDIS_POOL_H

#include "tillwire/err.h"

struct tw_redis_pool;
struct redisReply; /* hiredis's */

/** @p uris: comma separated, in the order the worker has them. */
enum tw_rc tw_redis_pool_open(const char *uris, size_t connections, struct tw_redis_pool **ret_pool,
                              struct tw_err *reterr);
/** No command may be under way. Accepts NULL. */
void       tw_redis_pool_close(struct tw_redis_pool *pool);
size_t     tw_redis_pool_servers(const struct tw_redis_pool *pool);

/** Runs one command (binary safe) on a server. The reply is freed with tw_redis_reply_release(); an error
 *  reply is UNREACHED. */
enum tw_rc tw_redis_pool_run(struct tw_redis_pool *pool, size_t server, int argc, const char **argv,
                             const size_t *lengths, struct redisReply **ret_reply, struct tw_err *reterr);

/** For TW_AUTO; accepts a pointer to NULL. */
void tw_redis_reply_release(struct redisReply **reply);

#endif
