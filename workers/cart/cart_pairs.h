/**
 * Each Redis server of the carts has a live database and, of another number, the shadow's or the old one's. A hash in the
 * latter says which it is: `tw:shadow` or `tw:old`; without it the database is foreign.
 *
 * Threads: that of the owner only.
 */
#ifndef TILLWIRE_CART_PAIRS_H
#define TILLWIRE_CART_PAIRS_H

#include "redis_lane.h"
#include "tillwire/shadow.h"

enum { TW_CART_SERVER_TEXT = 48 };

struct tw_cart_pairs {
    struct tw_redis_uri servers[TW_REDIS_SERVERS_MAX]; /**< with the live databases */
    int                 dbs[TW_REDIS_SERVERS_MAX];     /**< the others */
    size_t              server_count;
    struct tw_lane     *lanes; /**< by server */
};

/** What one server's other database says of itself. */
struct tw_cart_content {
    enum tw_shadow_content what;
    bool                   is_elsewhere; /**< it was made for another list of servers */
    bool                   is_going;     /**< it waits for its part of a swap; see cart_swap.c */
    char                   note[TW_SHADOW_NOTE + 1];
};

/** As tw_cart_shadow_open(); @p pairs is all zero before. */
enum tw_rc tw_cart_pairs_init(struct tw_cart_pairs *pairs, const char *live_uris, const char *name, int timeout_ms,
                              struct tw_err *reterr);
void       tw_cart_pairs_done(struct tw_cart_pairs *pairs);
/** Connects when it is not. */
enum tw_rc tw_cart_pairs_connect(struct tw_cart_pairs *pairs, size_t server, const char *where,
                                 struct tw_lane **ret_lane, struct tw_err *reterr);
/** The other database is selected afterwards. */
enum tw_rc tw_cart_pairs_look(struct tw_cart_pairs *pairs, size_t server, const char *where,
                              struct tw_cart_content *ret_content, struct tw_err *reterr);
enum tw_rc tw_cart_pairs_look_all(struct tw_cart_pairs *pairs, const char *where,
                                  struct tw_cart_content ret_contents[TW_REDIS_SERVERS_MAX], struct tw_err *reterr);
/** Was a swap ended between two servers? */
bool       tw_cart_is_half_swapped(const struct tw_cart_pairs *pairs, const struct tw_cart_content *contents);
/** BROKEN: "database 1 of Redis HOST:PORT" and @p what. */
enum tw_rc tw_cart_pairs_fail(const struct tw_cart_pairs *pairs, size_t server, const char *what, const char *where,
                              struct tw_err *reterr);

/** "2/3": so a database is taken for ours only as part of the list of servers that it was made for. */
const char *tw_cart_server_text(const struct tw_cart_pairs *pairs, size_t server, char ret_text[TW_CART_SERVER_TEXT]);
/** The hash's name. */
const char *tw_cart_key_of_content(enum tw_shadow_content what);
void        tw_cart_put_select(struct tw_lane *lane, int db);
/** A command on a key that is a text, or with another word. */
void        tw_cart_put_on_text(struct tw_lane *lane, const char *name, const char *key);

#endif
