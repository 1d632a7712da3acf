/**
 * The loop of a policy: a thread beside a worker's own loops that follows the events of one or more domains in a consumer
 * group of its own and writes what the policy makes of them.
 *
 *     consume -> react -> settle -> spread a page -> produce -> every report is in -> tell the group how far it is
 *
 * At least once: a crash between two steps repeats events, and the same event gives the same command ids. Here, unlike in
 * a worker, the group's committed offset decides where reading starts: there is no store to ask. It stays before the
 * oldest event that is not finished, so what is spread over minutes does not hold up the events behind it, and a crash
 * begins it again. Nobody waits for the answer to that commit: from time to time it is told again.
 *
 * What such work writes goes at the setting `policy_rate`; both of its steps may fail and are tried again each for
 * itself, and a topic of which the policy keeps too much in mind rests while the others go on. The thread of a policy
 * with such work is a nice one: it leaves the processor to the worker's own loops.
 *
 * Threads: tw_policy_loop_run() is the whole life of its thread.
 */
#ifndef TILLWIRE_RUNTIME_POLICY_LOOP_H
#define TILLWIRE_RUNTIME_POLICY_LOOP_H

#include "loop.h"
#include "tillwire/policy.h"

/** Runs until the context's `stop`. @p number: its place in the admin page's states. BROKEN: a setting librdkafka refuses.
 *  FENCED: another process is in its place. */
enum tw_rc tw_policy_loop_run(const struct tw_loop_context *context, int number, struct tw_err *reterr);

#endif
