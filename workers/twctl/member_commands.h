/**
 * Writing member commands as the edge does, and learning what became of them. One thread.
 */
#ifndef TILLWIRE_CTL_MEMBER_COMMANDS_H
#define TILLWIRE_CTL_MEMBER_COMMANDS_H

#include "postgres.h"
#include "tillwire/kafka.h"
#include "tillwire/outcome.h"
#include "tillwire/type.h"

struct tw_ctl_commands {
    struct tw_producer *producer;
    int                 timeout_ms; /**< for the broker's acknowledgement */
    struct tw_report    report;     /**< of the record on its way; a record at a time */
    bool                reported;
};

/** Close with tw_ctl_commands_close(). UNREACHED: no broker answers. */
enum tw_rc tw_ctl_commands_open(const char *brokers, int timeout_ms, struct tw_ctl_commands *ret_commands,
                                struct tw_err *reterr);
/** For TW_AUTO; accepts a zeroed one. */
void       tw_ctl_commands_close(struct tw_ctl_commands *commands);

/** An id for a command of this member. */
struct tw_uuid tw_ctl_command_id(struct tw_uuid member_id);
/** Returns once the record is in the log. INVALID: @p body does not fit its schema. UNKNOWN: it may be in the log. */
enum tw_rc     tw_ctl_command_send(struct tw_ctl_commands *commands, const struct tw_type *type, struct tw_uuid id,
                                   struct tw_uuid member_id, const void *body, struct tw_err *reterr);
/** Waits for the ledger row of a command that was sent; texts are copied into @p arena. UNREACHED: none within
 *  @p timeout_ms. */
enum tw_rc     tw_ctl_command_wait(PGconn *pg, struct tw_uuid id, int64_t timeout_ms, struct tw_arena *arena,
                                   struct tw_outcome *ret_outcome, struct tw_err *reterr);
/** REFUSED with the outcome's sentence and code, OK when it succeeded. */
enum tw_rc     tw_ctl_command_accepted(const struct tw_outcome *outcome, struct tw_err *reterr);

#endif
