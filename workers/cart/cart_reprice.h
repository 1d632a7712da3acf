/**
 * The policy "cart-reprice": what a change in the catalogue means for carts.
 *
 * A product that changed (product.changed) becomes a cart.reprice command for every cart that holds it; there may be
 * 100,000 of them, so they are spread: page by page, the products that wait taking turns. A line that came into a cart
 * (cart.item_added, cart.item_set) may rest on what the edge read just before such a change: the policy looks the products
 * of these lines up in the catalogue and reprices those that are older. Why no line escapes between the two:
 * docs/decisions/reprice.md.
 *
 * What it asks, it asks through the two ports below; this file includes no vendor.
 */
#ifndef TILLWIRE_CART_REPRICE_H
#define TILLWIRE_CART_REPRICE_H

#include "tillwire/policy.h"

/** Which carts hold a product. */
struct tw_holders {
    int32_t partition_count; /**< of cart.commands: each has a set of its own for a product */
    int32_t server_count;    /**< the set of partition p is on server p % server_count */
    /** The next page of the members of one set, of about @p count. @p cursor 0: from the beginning; ret_cursor 0: that
     *  was the last one. A member who is in the set all the time is on some page; others may be, and some come twice.
     *  UNREACHED: its server is away, and cursors of all sets there are worth nothing any more. BROKEN: this set is none, others may be. */
    enum tw_rc (*page)(void *self, int32_t partition, struct tw_uuid product_id, uint64_t cursor, size_t count,
                       struct tw_arena *arena, struct tw_uuid **ret_members, size_t *ret_count, uint64_t *ret_cursor,
                       struct tw_err *reterr);
    void (*close)(void *self);
    void *self;
};

/** A product as the catalogue has it now. */
struct tw_catalogue_product {
    struct tw_uuid product_id;
    struct tw_str  name;
    int64_t        price_minor; /**< what a customer pays */
    int64_t        version;
    bool           available;
};

struct tw_catalogue {
    /** Those of @p ids that exist, in any order. Everything that was published is seen. One that cannot be read is
     *  logged and left out. */
    enum tw_rc (*look_up)(void *self, const struct tw_uuid *ids, size_t count, struct tw_arena *arena,
                          struct tw_catalogue_product **ret_products, size_t *ret_count, struct tw_err *reterr);
    void (*close)(void *self);
    void *self;
};

enum {
    TW_REPRICE_PRODUCTS_MAX = 10000, /**< that wait for their turn, until no further events of products are taken; not
                                          again before three quarters are left */
    TW_REPRICE_LINES_MAX = 100000,   /**< the same of lines to look up, and of events of carts */
    TW_REPRICE_FEW_LINES = 100, /**< fewer wait FEW_US for others, more wait MANY_US, half of LINES_MAX not at all */
    TW_REPRICE_FEW_US = 100000,
    TW_REPRICE_MANY_US = 2000000,
};

/** The policy's `self`; takes the ports over. */
void *tw_reprice_new(const struct tw_holders *holders, const struct tw_catalogue *catalogue);
/** Accepts NULL. */
void  tw_reprice_free(void *self);

enum tw_rc tw_reprice_react(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                            struct tw_policy_out *out, struct tw_err *reterr);
/* As struct tw_policy_work has them. */
enum tw_rc tw_reprice_settle(void *self, int64_t now_us, struct tw_arena *arena, struct tw_policy_out *out,
                             struct tw_err *reterr);
enum tw_rc tw_reprice_spread(void *self, size_t max, struct tw_arena *arena, struct tw_policy_out *out,
                             struct tw_err *reterr);
bool       tw_reprice_is_spreading(const void *self);
bool       tw_reprice_is_full(void *self, enum tw_domain_number domain);
int64_t    tw_reprice_oldest(const void *self, enum tw_domain_number domain, int32_t partition);
void       tw_reprice_suspend(void *self, enum tw_domain_number domain, int32_t partition);
void       tw_reprice_forget(void *self, enum tw_domain_number domain, int32_t partition);

#endif
