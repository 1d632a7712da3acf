/**
 * Port: a policy, pure. It turns events into commands: the next step of a saga, or what a change in one domain means for
 * another. It holds no state and touches no store; the runtime (workers/runtime/policy_loop.h) follows the events and
 * writes the commands. Not linked into anything that replays a log: its commands are in the log already.
 *
 * The same event always gives the same commands with the same ids, so an event that comes again changes nothing: within
 * a day the ledger knows the ids, later the domain must find that there is nothing left to do.
 */
#ifndef TILLWIRE_POLICY_H
#define TILLWIRE_POLICY_H

#include "tillwire/envelope.h"
#include "tillwire/type.h"

struct tw_policy_event {
    struct tw_str type;    /**< ce_type: "member.email_changed.v1" */
    struct tw_str payload; /**< msgpack; views live until react() returns */
};

/** A command to write. */
struct tw_policy_command {
    const struct tw_type *type;
    enum tw_domain_number domain;
    struct tw_uuid        aggregate; /**< the record's key */
    struct tw_uuid        caller;    /**< the member on whose behalf */
    const void           *body;      /**< the generated struct of `type`; copied */
};

struct tw_policy_out; /* the runtime's */
void tw_policy_send(struct tw_policy_out *out, const struct tw_policy_command *command);

struct tw_policy {
    const char           *name;    /**< "member-email": part of command ids, so it never changes */
    enum tw_domain_number follows; /**< whose events */
    /** Sends what follows from @p event; nothing for events it does not care about. INVALID: the payload cannot be read,
     *  which no event of a worker ever is. */
    enum tw_rc (*react)(const struct tw_policy_event *event, struct tw_arena *arena, struct tw_policy_out *out,
                        struct tw_err *reterr);
};

#endif
