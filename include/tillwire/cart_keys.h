/**
 * What worker and edge must agree on about the carts in Redis: the names of keys, which server a partition lives on,
 * the packed form of the progress, and what a cart adds up to. Pure: no Redis client here. The layout itself is told in
 * schemas/redis/README.md.
 */
#ifndef TILLWIRE_CART_KEYS_H
#define TILLWIRE_CART_KEYS_H

#include "tillwire/gen/cart_messages.h"
#include "tillwire/store.h"

/** What readers are shown: lines that are not for sale count in neither. */
struct tw_cart_totals {
    int64_t items;
    int64_t price_minor;
};
struct tw_cart_totals tw_cart_totals(const struct tw_cart *cart);

/** False: the cart is empty, by a clock of @p at_ms, whatever it still holds. Accepts NULL. */
bool tw_cart_is_live(const struct tw_cart *cart, int64_t at_ms);

/** Room for the longest key and its NUL: `cart:<36>:<36>`. */
enum { TW_CART_KEY_SIZE = 80 };

/** The worker's own copy of a cart (tw_cart_type, packed): `tw:cart:<member_id>`. All write functions of this file
 *  give the length without the NUL they add. */
size_t tw_cart_key_copy(struct tw_uuid member_id, char ret_key[TW_CART_KEY_SIZE]);
/** One line, for readers: `cart:<member_id>:<product_id>`. */
size_t tw_cart_key_item(struct tw_uuid member_id, struct tw_uuid product_id, char ret_key[TW_CART_KEY_SIZE]);
/** The totals, for readers: `cart:<member_id>:summary`. */
size_t tw_cart_key_summary(struct tw_uuid member_id, char ret_key[TW_CART_KEY_SIZE]);
/** Whose copy a key is; false: it is the name of none. */
bool   tw_cart_key_is_copy(struct tw_str key, struct tw_uuid *ret_member_id);
/** Whose line or totals a key is; ret_product_id nil: the totals. False: it is the name of neither. */
bool   tw_cart_key_is_readers(struct tw_str key, struct tw_uuid *ret_member_id, struct tw_uuid *ret_product_id);
/** Watermark, clock, hash, mark and outbox of a partition: `tw:progress:<partition>`. */
size_t tw_cart_key_progress(int32_t partition, char ret_key[TW_CART_KEY_SIZE]);
/** Commands decided on one day of the partition's clock, a hash: `tw:ledger:<partition>:<day>`. Its fields are the 16
 *  bytes of tw_command_id_ledger(), its values what tillwire/ledger.h packs. A row that still counts is in the hash of
 *  the clock's day or else in that of the day before. */
size_t tw_cart_key_ledger(int32_t partition, int64_t day, char ret_key[TW_CART_KEY_SIZE]);
/** Who has a product in the cart, a set of member ids of 16 bytes: `tw:holders:<partition>:<product_id>`. */
size_t tw_cart_key_holders(int32_t partition, struct tw_uuid product_id, char ret_key[TW_CART_KEY_SIZE]);
/** When carts end, a sorted set of member ids of 16 bytes by tw_cart_day(ends_at): `tw:ends:<partition>`. */
size_t tw_cart_key_ends(int32_t partition, char ret_key[TW_CART_KEY_SIZE]);

/** Of a shadow: the partition was folded in bulk, and its readers' keys are still to be written:
 *  `tw:unprojected:<partition>`. */
size_t tw_cart_key_unprojected(int32_t partition, char ret_key[TW_CART_KEY_SIZE]);
/** Of a database that is not the live one: what it is for (a shadow, `tw:shadow`), or that it was the live one before the
 *  last swap (`tw:old`). Hashes. */
#define TW_CART_KEY_SHADOW "tw:shadow"
#define TW_CART_KEY_OLD    "tw:old"
/** How many databases took the live one's place so far, a number; absent: 0. A worker that knows another one reads anew. */
#define TW_CART_KEY_EPOCH  "tw:epoch"

/** Days since 1970 of a time in milliseconds, rounded down. */
int64_t tw_cart_day(int64_t time_ms);

/** The server of a partition: worker and edge share the list, in the same order. */
size_t tw_cart_server_of(int32_t partition, size_t server_count);

/** The progress value is a head of this many bytes, then the outbox. A frozen partition's has its mark, eight bytes,
 *  between the two; any other has none, so that setting a mark and taking it away change the value for whoever watches
 *  it. GETRANGE 0 40 reads all but the outbox, or but the rest of it. */
enum { TW_CART_PROGRESS_HEAD = 33, TW_CART_PROGRESS_HEAD_MAX = 41 };

void tw_cart_progress_pack(const struct tw_progress *progress, struct tw_buf *out);
/** An empty @p bytes is the progress of a partition nothing was folded of. False: not ours, or of a later release.
 *  ret_progress->outbox is a view into @p bytes: what is left of it when only the head was read. */
bool tw_cart_progress_unpack(struct tw_str bytes, struct tw_progress *ret_progress);

/** The number in TW_CART_KEY_EPOCH; empty @p bytes are 0. False: it is none. */
bool tw_cart_epoch_unpack(struct tw_str bytes, int64_t *ret_epoch);

/** `redis://[user][:password]@host:port[/db]`; user and password may be percent-encoded, an IPv6 host has brackets. */
struct tw_redis_uri {
    char host[256];
    int  port;          /**< 6379 when absent */
    int  db;            /**< 0 when absent */
    char user[128];     /**< empty: the default user */
    char password[256]; /**< empty: no AUTH */
};

enum { TW_REDIS_SERVERS_MAX = 64 };

/** Reads a comma separated list. INVALID says which one is wrong and how, without showing it: it may hold a secret. */
enum tw_rc tw_redis_uris_parse(const char *uris, struct tw_redis_uri ret_uris[TW_REDIS_SERVERS_MAX], size_t *ret_count,
                               struct tw_err *reterr);

/** The same list with other databases: @p dbs has one for each address. @p uris was read by tw_redis_uris_parse(). */
void tw_redis_uris_on(const char *uris, const int *dbs, struct tw_buf *out);

#endif
