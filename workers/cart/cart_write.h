/**
 * What a change of a cart writes: the index of ends, the sets of holders, and what readers see. To be put between MULTI and
 * EXEC; the copy itself goes with the progress (cart_store_redis.c).
 *
 * EXEC does not undo: a command that fails inside it leaves its neighbours done. Hence every key whose command depends
 * on its type is checked before: ledger and index by the load; sets of holders, when a connection touches them first,
 * by a TYPE that goes out before MULTI and whose answer is read before EXEC goes out.
 */
#ifndef TILLWIRE_CART_WRITE_H
#define TILLWIRE_CART_WRITE_H

#include "cart_part.h"
#include "cart_projection.h"

/** UNLINK, GET, TYPE … of one key. */
void tw_cart_put_on_key(struct tw_cart_part *part, const char *name, const char *key, size_t key_len);
/** In which day's index the member is. */
void tw_cart_put_end(struct tw_cart_part *part, struct tw_uuid member_id, int64_t ends_at_ms);
/** Items, holders and summary. No item without a summary, no summary without items. Where readers' keys are left out,
 *  what left is taken away all the same, so that writing the rest is enough later. */
void tw_cart_put_projection(struct tw_cart_part *part, const struct tw_cart_change *change);
/** All of a cart's readers' keys, whatever there is of them. */
void tw_cart_put_for_readers(struct tw_cart_part *part, struct tw_uuid member_id, const struct tw_cart *cart);
/** All of a change that is not its copy. */
void tw_cart_put_change(struct tw_cart_part *part, const struct tw_cart_change *change);

/** Asks for the types of the sets of holders that the changes touch and this connection has not seen yet; the number is
 *  what tw_cart_check_holders() wants. Goes before MULTI. */
size_t     tw_cart_ask_holders(struct tw_cart_part *part, const struct tw_cart_change *changes, size_t change_count);
/** Reads the answers. Goes before EXEC: by then the server, which was busy queueing, has long given them. */
enum tw_rc tw_cart_check_holders(struct tw_cart_part *part, size_t asked, const char *where, struct tw_err *reterr);

#endif
