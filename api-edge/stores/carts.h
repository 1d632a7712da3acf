/**
 * Read-only: carts and the cart domain's ledger, from Redis. A cart is one GET of the worker's own copy, on the server
 * that its partition lives on.
 *
 * All calls: UNREACHED when the server is away. Texts are copied into the arena.
 */
#ifndef TILLWIRE_EDGE_CARTS_H
#define TILLWIRE_EDGE_CARTS_H

#include "tillwire/arena.h"
#include "tillwire/gen/cart_messages.h"
#include "tillwire/store.h"

struct tw_carts;

/** INVALID: the list of servers cannot be parsed. */
enum tw_rc tw_carts_open(const char *redis_uris, size_t connections, struct tw_carts **ret_carts,
                         struct tw_err *reterr);
/** Accepts NULL. */
void       tw_carts_close(struct tw_carts *carts);

/** A cart that is past its end, by @p now_ms, or was never there comes back empty (version 0). */
enum tw_rc tw_carts_get(struct tw_carts *carts, struct tw_uuid member_id, int64_t now_ms, struct tw_arena *arena,
                        struct tw_cart *ret_cart, struct tw_err *reterr);

/** NOT_FOUND: the ledger does not know the command. */
enum tw_rc tw_carts_ledger(struct tw_carts *carts, struct tw_uuid command_id, int64_t now_ms, struct tw_arena *arena,
                           struct tw_ledger_row *ret_row, struct tw_err *reterr);

/** The first offset of a partition of cart.commands whose effect cannot be read yet; 0: nothing was folded. */
enum tw_rc tw_carts_watermark(struct tw_carts *carts, int32_t partition, int64_t *ret_next_offset,
                              struct tw_err *reterr);

/** OK: every server answers. */
enum tw_rc tw_carts_ping(struct tw_carts *carts, struct tw_err *reterr);

#endif
