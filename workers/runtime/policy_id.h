/**
 * The id of a policy's command. Pure: the same policy, event, type and aggregate always give the same id, so an event
 * that comes again changes nothing.
 *
 * The ledger remembers what has a keyed id; that of a quiet command is none, and its body is part of it: what a look-up
 * finds is no function of the event, and one id shall not stand for two bodies.
 */
#ifndef TILLWIRE_RUNTIME_POLICY_ID_H
#define TILLWIRE_RUNTIME_POLICY_ID_H

#include "tillwire/policy.h"

/** @p policy: its name. @p body: of the command, packed. @p partition: of its topic. */
struct tw_uuid tw_policy_command_id(const char *policy, const struct tw_policy_command *command, struct tw_str body,
                                    int32_t partition);

#endif
