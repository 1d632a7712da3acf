/**
 * Two databases exchange the products, ratings, ledger and progress they hold, on servers that can neither rename
 * collections safely nor write two documents at once. What differs is first written down, both sides of it, in a journal
 * beside the shadow; then it is brought to the live database; then what was there is brought to the shadow, which so
 * becomes the old store. Each step may be done again from its beginning, so a crash costs time and nothing else.
 *
 * The caller sees to it that nobody else writes, remembers which step is next, and is asked before every write.
 */
#ifndef TILLWIRE_PRODUCT_EXCHANGE_H
#define TILLWIRE_PRODUCT_EXCHANGE_H

#include "product_connection.h"
#include "tillwire/shadow.h"

struct tw_exchange {
    struct tw_mongo *live;
    struct tw_mongo *shadow; /**< also keeps the journal */
    int32_t          partition_count;
    enum tw_rc (*may_go_on)(void *asked, struct tw_err *reterr);
    void      *asked;
    tw_swap_fn tell; /**< may be NULL */
    void      *teller;
    int64_t    done;
    int64_t    all;
};

/* Codes as tw_mongo_write(). BROKEN: the stores hold what is none of ours. */

/** Writes the journal. The stores stay as they are. */
enum tw_rc tw_exchange_compare(struct tw_exchange *exchange, struct tw_err *reterr);
/** Makes the live store what the shadow was; marks of its partitions stay. */
enum tw_rc tw_exchange_bring(struct tw_exchange *exchange, struct tw_err *reterr);
/** Makes the shadow what the live store was. */
enum tw_rc tw_exchange_keep(struct tw_exchange *exchange, struct tw_err *reterr);
/** Forgets the journal. */
enum tw_rc tw_exchange_forget(struct tw_exchange *exchange, struct tw_err *reterr);

#endif
