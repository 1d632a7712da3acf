/**
 * Steps that submission.c, which sends one command of a request, and submission_batch.c, which sends many, have in
 * common. For these two files only.
 */
#ifndef TILLWIRE_EDGE_SUBMISSION_PARTS_H
#define TILLWIRE_EDGE_SUBMISSION_PARTS_H

#include "tillwire/json_out.h"
#include "submission.h"

enum { TW_REPORT_MS = 2000, TW_ACCEPTANCE_PATH_MAX = 128 };

/** What a 202 tells. */
struct tw_acceptance {
    struct tw_location location;
    char               path[TW_ACCEPTANCE_PATH_MAX]; /**< "/v1/commands/<id>?at=<sealed>" */
    size_t             path_len;
};
/** Fills path from location. */
void tw_acceptance_seal(const struct tw_request *request, const struct tw_submission *submission,
                        struct tw_acceptance *acceptance);
/** `{"command_id":…}`: the body of a 202, or one of many in it. */
void tw_acceptance_write(const struct tw_submission *submission, const struct tw_acceptance *acceptance,
                         struct tw_json *json);

/** What a later read sends back as `Consistency-Token` to see the record at @p offset: TW_CONSISTENCY_TEXT characters. */
struct tw_str tw_consistency_text(const struct tw_request *request, const struct tw_submission *submission,
                                  int64_t offset, char ret_text[TW_CONSISTENCY_TEXT + 1]);

/** Until when a request may take, whatever it waits for (tw_monotonic_us()). */
int64_t tw_request_until_us(const struct tw_request *request);

/** What becomes of sending commands; counted. */
enum tw_fate { TW_FATE_ACCEPTED, TW_FATE_NOT_SENT, TW_FATE_UNKNOWN, TW_FATE_REPLAYED, TW_FATES };
void tw_fate_count(enum tw_fate fate, size_t commands);

/** The partition of an aggregate's commands. */
int32_t tw_command_partition(struct tw_uuid aggregate, enum tw_domain_number domain);
/** The id that follows from an Idempotency-Key. @p path: the request's, or what stands for one command of several.
 *  The fingerprint is set. */
void    tw_command_derive_id(struct tw_request *request, struct tw_str path, struct tw_str key,
                             struct tw_submission *submission);

/** Queues the record of a command on @p lane; tw_sender_await() must follow an OK. */
enum tw_rc tw_command_begin(struct tw_request *request, const struct tw_submission *submission, const void *body,
                            int lane, int64_t now_ms, struct tw_err *reterr);

/** Is there an outcome that somebody may ask for? */
bool tw_command_has_outcome(const struct tw_submission *submission);

#endif
