/**
 * Port: a policy. It turns events into commands: the next step of a saga, or what a change in one domain means for
 * another. The runtime (workers/runtime/policy_loop.h) follows the events and writes the commands. Not linked into
 * anything that replays a log: its commands are in the log already.
 *
 * The same event always gives the same commands with the same ids, so an event that comes again changes nothing: the
 * ledger knows the ids for a day, and beyond it the domain must find that there is nothing left to do. Only a quiet
 * command may depend on more than the event, on what was looked up for it: the ledger does not know it, the domain must
 * bear it at any time, and its body is part of its id, so that one id never has two bodies.
 *
 * Most policies are pure: react() sends all that follows. One that must look something up, or whose commands are too many
 * to go at once, keeps the event in mind and does the rest in steps: see struct tw_policy_work.
 *
 * Threads: the policy's own only.
 */
#ifndef TILLWIRE_POLICY_H
#define TILLWIRE_POLICY_H

#include "tillwire/envelope.h"
#include "tillwire/type.h"

/** What a command follows from: its id is made of it. */
struct tw_policy_cause {
    struct tw_str id;      /**< ce_id of the event */
    int64_t       time_ms; /**< its ce_time */
    struct tw_str traceparent;
};

struct tw_policy_event {
    struct tw_policy_cause cause;
    enum tw_domain_number  domain; /**< whose event it is */
    int32_t                partition;
    int64_t                offset;  /**< in the topic of events */
    struct tw_str          type;    /**< ce_type: "member.email_changed.v1" */
    struct tw_str          payload; /**< msgpack; all views live until react() returns */
};

/** A command to write. One event leads to at most one command of a type for an aggregate. */
struct tw_policy_command {
    const struct tw_policy_cause *cause;
    const struct tw_type         *type;
    enum tw_domain_number         domain;
    struct tw_uuid                aggregate; /**< the record's key */
    struct tw_uuid                caller;    /**< the member on whose behalf */
    const void                   *body;      /**< the generated struct of `type`; copied */
};

struct tw_policy_out; /* the runtime's */
void tw_policy_send(struct tw_policy_out *out, const struct tw_policy_command *command);

/** What the worker's settings give to a policy that opens connections. */
struct tw_policy_settings {
    const char *store_uri; /**< of the worker's own store */
    const char *uri;       /**< the policy's setting; see struct tw_worker_spec */
    int         timeout_ms;
};

/**
 * What a policy has that does not finish an event within react(). It says for which event of each partition it still has
 * something to do; the consumer group's offset stays before that one, so a crash begins it again.
 */
struct tw_policy_work {
    /** INVALID: an address cannot be read. Connecting is left to the work. */
    enum tw_rc (*open)(const struct tw_policy_settings *settings, void **ret_self, struct tw_err *reterr);
    void (*close)(void *self); /**< accepts NULL */
    /** Called after each round of events: does what came with the last ones, at once or when enough of it has gathered.
     *  @p now_us: tw_monotonic_us(). Its commands count in the pace, so it may have to wait for it. On an error nothing
     *  is forgotten: it is called again after a while, and spread() goes on meanwhile. */
    enum tw_rc (*settle)(void *self, int64_t now_us, struct tw_arena *arena, struct tw_policy_out *out,
                         struct tw_err *reterr);
    /** Sends about @p max of the commands that are to be spread over time. Errors as in settle(), also after some were
     *  sent. */
    enum tw_rc (*spread)(void *self, size_t max, struct tw_arena *arena, struct tw_policy_out *out,
                         struct tw_err *reterr);
    /** There is something for spread() to do. */
    bool (*is_spreading)(const void *self);
    /** It keeps in mind as much of that domain as it bears: no further events of it, until a good part is done. Others
     *  go on. */
    bool (*is_full)(void *self, enum tw_domain_number domain);
    /** Offset of the oldest event of that partition that is not finished; INT64_MAX: all are. */
    int64_t (*oldest)(const void *self, enum tw_domain_number domain, int32_t partition);
    /** The partition was taken away, perhaps to come back: nothing of it is sent, and none of it counts in
     *  is_spreading, is_full and oldest. When its events come again they may go on where they were. */
    void (*suspend)(void *self, enum tw_domain_number domain, int32_t partition);
    /** The partition is another's now: what is left of it to do is not ours. */
    void (*forget)(void *self, enum tw_domain_number domain, int32_t partition);
};

enum { TW_POLICY_FOLLOWS_MAX = 3 };

struct tw_policy {
    const char                  *name; /**< "member-email": part of command ids, never changes */
    enum tw_domain_number        follows[TW_POLICY_FOLLOWS_MAX]; /**< whose events; 0 behind the last one */
    const struct tw_type *const *types;                          /**< events that react() is called for, then NULL */
    /** Events that come again under the readers' rule are handed over, too: for a policy that must know when a store was
     *  refilled. See docs/decisions/reprice.md. */
    bool                         repeats;
    /** How long an event may wait in its topic for company, milliseconds: every fetch costs the broker as much as many
     *  events. 0: not at all. */
    int                          gather_ms;
    /** Sends what follows from @p event, or keeps it in mind. INVALID: the payload cannot be read, which no event of a
     *  worker ever is. @p self: what work->open() gave, or NULL. */
    enum tw_rc (*react)(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                        struct tw_policy_out *out, struct tw_err *reterr);
    const struct tw_policy_work *work; /**< NULL: react() finishes every event */
};

#endif
