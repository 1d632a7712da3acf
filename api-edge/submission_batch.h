/**
 * Several commands of one request. Each is a command of its own, with an id, a record and an end of its own; together
 * they get one answer: a 202 that lists them in order, after the last of the broker's reports, or what went wrong.
 */
#ifndef TILLWIRE_EDGE_SUBMISSION_BATCH_H
#define TILLWIRE_EDGE_SUBMISSION_BATCH_H

#include "submission.h"

struct tw_batch_command {
    struct tw_submission submission; /**< its first block, as for tw_command_prepare() */
    const void          *body;       /**< the generated struct of the type */
};

/** Sends all of @p commands, which are of the product domain, and answers within the time a
 *  request has: what is not sent by then is not sent. With an `Idempotency-Key` the id of each follows from the key and its index: a
 *  batch that is sent again is answered alike, and of one that got into the log in part the rest follows. */
void tw_batch_submit(struct tw_request *request, struct tw_batch_command *commands, size_t count,
                     struct tw_reply *reply);

#endif
