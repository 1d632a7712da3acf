/**
 * From a checked request to a record in the log and back to an answer: settles the command's id (and with it what an
 * Idempotency-Key means), writes the envelope, produces, waits for the broker's report, and for the outcome when the
 * client prefers to wait. 202 is said only after the report.
 */
#ifndef TILLWIRE_EDGE_SUBMISSION_H
#define TILLWIRE_EDGE_SUBMISSION_H

#include "edge.h"
#include "tillwire/type.h"

/** A command on its way. Zero it, set the first block, then call the functions below in order. */
struct tw_submission {
    const struct tw_type *type;
    enum tw_domain_number domain;
    struct tw_uuid        aggregate; /**< the record's key */
    struct tw_uuid        item;      /**< what is made or changed within the aggregate, for show(); nil: nothing */
    struct tw_str         resource;  /**< path of what is made or changed, for the 202; lives as long as the request */
    const char           *new_item;  /**< a thing is made whose id derives from the command's with this tag: prepare()
                                          sets `item` and appends it to `resource`, which is the folder. NULL: none is */
    /** Fills the answer with the resource as a GET shows it, status 200; NULL: there is nothing to show (204). */
    void (*show)(struct tw_request *request, const struct tw_submission *submission, struct tw_reply *reply);
    bool ignores_key; /**< login: an Idempotency-Key makes no difference */
    bool has_etag;    /**< the aggregate's version shows in an ETag: If-Match is heeded, If-None-Match refused */

    struct tw_uuid id; /**< set by prepare(); ids of new things derive from it */
    int32_t        partition;
    bool           keyed;
    int64_t        if_version; /**< -1: whatever it is */
    uint8_t        fingerprint[TW_FINGERPRINT_BYTES];
};

/** Gives the submission its id. False: the answer is complete, because the key was used before or makes no sense, or
 *  because If-Match names no version there can be. */
bool tw_command_prepare(struct tw_request *request, struct tw_submission *submission, struct tw_reply *reply);

/** Sends @p body (the generated struct of the type) and answers: 202, the final code under `Prefer: wait`, or 503. */
void tw_command_submit(struct tw_request *request, const struct tw_submission *submission, const void *body,
                       struct tw_reply *reply);

/** Sends @p body and waits for its outcome, at most @p timeout_ms. False: the answer is complete (503). */
bool tw_command_finish(struct tw_request *request, const struct tw_submission *submission, const void *body,
                       int timeout_ms, struct tw_told *ret_told, struct tw_reply *reply);

/** A row of the domain's ledger, by command id. NOT_FOUND, UNREACHED as the stores say; a row that is older than a day
 *  is not there. */
enum tw_rc tw_command_ledger(struct tw_request *request, struct tw_uuid command_id, struct tw_ledger_row *ret_row,
                             struct tw_err *reterr);
/** The same, but waits up to @p wait_s seconds while the command, whose record is at @p offset, has no end: no row yet,
 *  or a saga's PENDING one. Whoever comes back with either did not see the end in time. */
enum tw_rc tw_command_await_end(struct tw_request *request, struct tw_uuid command_id, int64_t offset, int wait_s,
                                struct tw_ledger_row *ret_row, struct tw_err *reterr);

#endif
