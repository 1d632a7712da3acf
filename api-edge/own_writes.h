/**
 * Reads that show the writes a client names by `Consistency-Token`: the tokens of its 202s, one or a list of them.
 *
 * A client may send its newest token with every read, whatever it reads. A token of another domain than the read's is
 * therefore no reason to wait, and no fault: the store that is read knows nothing of that write.
 */
#ifndef TILLWIRE_EDGE_OWN_WRITES_H
#define TILLWIRE_EDGE_OWN_WRITES_H

#include "edge.h"
#include "request.h"

enum { TW_OWN_WRITES_MAX = 100 }; /**< as many as the commands of a batch */

struct tw_own_writes {
    struct tw_consistency *items;
    size_t                 count;
};

/** What the request names of @p domain, in the arena. False: the answer is a 400. */
bool tw_own_writes_read(const struct tw_request *request, enum tw_domain_number domain,
                        struct tw_own_writes *ret_writes, struct tw_reply *reply);

/** Waits until the writes can be read in their store: as long as `Prefer: wait` says, or a second. Waiting takes a seat
 *  of the tail; when none is free, or the time is up, the answer is marked as stale. */
void tw_own_writes_await(const struct tw_request *request, const struct tw_own_writes *writes, struct tw_reply *reply);

/** Both, for a GET of @p domain; any other method goes on at once. False: the answer is a 400. */
bool tw_own_writes_heed(const struct tw_request *request, enum tw_domain_number domain, struct tw_reply *reply);

/** `read` of the watermarks' source, whose self is the edge. */
enum tw_rc tw_own_writes_watermark(void *edge, enum tw_domain_number domain, int32_t partition,
                                   int64_t *ret_next_offset, struct tw_err *reterr);

#endif
