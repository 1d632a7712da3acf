/**
 * Port: a domain, pure. decide() says what a command means: an outcome, events and the new state. No I/O, clock,
 * randomness, logging, globals or vendor headers, so that the same log gives the same state on every machine.
 */
#ifndef TILLWIRE_DOMAIN_H
#define TILLWIRE_DOMAIN_H

#include "tillwire/store.h"

struct tw_event {
    const struct tw_type *type;
    int64_t               cause_offset;
    int32_t               n;     /**< 0, 1, … among the events of one cause */
    int64_t               at_ms; /**< ce_time: the partition's clock at the cause */
    struct tw_uuid        command_id;
    struct tw_str         traceparent;
    struct tw_str         key;     /**< the cause's record key */
    struct tw_str         payload; /**< msgpack */
};

/** A command as decide() sees it. */
struct tw_command {
    const struct tw_type     *type;
    const void               *body; /**< the generated struct of `type` */
    const struct tw_envelope *envelope;
    int64_t                   offset;
    int64_t                   at_ms;    /**< the partition's clock, or the original time of a requeued command */
    int64_t                   clock_ms; /**< the partition's clock: what has ended has ended, for a requeued one too */
    struct tw_uuid            key_id;   /**< the aggregate's id: the record's key */
};

/** Where decide() works: the entities of its keys in the order keys() gave them, and where events go. */
struct tw_turn;
struct tw_decision {
    struct tw_arena         *arena;
    struct tw_entity       **entities;
    struct tw_turn          *turn; /**< the runtime's; use the functions below */
    const struct tw_command *cmd;
};

/** The entity's state to look at: NULL when it does not exist. */
const void *tw_state(const struct tw_decision *d, size_t index);
/** The state to change, zeroed when it does not exist; marks the entity changed by this command. */
void       *tw_state_change(struct tw_decision *d, size_t index);
/** Publishes @p payload (the generated struct of @p type) after the commit. */
void        tw_emit(struct tw_decision *d, const struct tw_type *type, const void *payload);
/** Asks for one coalesced event of this entity at the end of the batch, standing at the last command that asked. */
void        tw_emit_coalesced(struct tw_decision *d, size_t index);
/** Publishes what was asked for so far already now, if anything was: called before a change of what that event tells
 *  besides, so that it speaks of the state at the command where it stands. */
void        tw_tell_coalesced(struct tw_decision *d, size_t index);

/** What a domain keeps of a command that it answered with tw_pending(), to end it later. Texts live as long as the
 *  call. */
struct tw_pending_command {
    struct tw_uuid command_id;
    struct tw_uuid caller;
    uint8_t        fingerprint[TW_FINGERPRINT_BYTES];
    int64_t        offset;       /**< of its record */
    int64_t        submitted_ms; /**< when the edge wrote it */
    const char    *type;         /**< without version: "member.change_email" */
};
/** Ends a pending command of this aggregate with @p outcome: its ledger row and its outcome event. */
void tw_finish(struct tw_decision *d, const struct tw_pending_command *pending, struct tw_outcome outcome);

enum { TW_KEYS_MAX = 4 };

struct tw_domain {
    const char                  *name; /**< "cart": topics cart.commands, cart.events, cart.dlq */
    enum tw_domain_number        number;
    const struct tw_type *const *commands; /**< every released version */
    size_t                       command_count;
    const struct tw_type *const *states; /**< by tw_key.kind */
    size_t                       state_count;
    /** The entities a command touches, the aggregate first; returns how many (at most TW_KEYS_MAX). */
    size_t (*keys)(const struct tw_command *cmd, struct tw_key ret_keys[TW_KEYS_MAX]);
    /** The natural-key rule: false when the id in the body is not the one that follows from its SKU or e-mail.
     *  @p id_key is what pins member ids. NULL: the domain has no natural keys. */
    bool (*owns_its_id)(const struct tw_command *cmd, const uint8_t id_key[TW_ID_KEY_BYTES]);
    struct tw_outcome (*decide)(struct tw_decision *d, const struct tw_command *cmd);
    /** Builds the coalesced event of @p state; NULL when the domain has none. */
    const struct tw_type *(*coalesced)(const void *state, struct tw_arena *arena, const void **ret_payload);
    /** The version of a state for If-Match; 0 when @p state is NULL or has ended by the partition's clock. */
    int64_t (*version)(const void *state, int64_t clock_ms);
};

/** The command of that `ce_type`; NULL: this program does not know it. */
const struct tw_type *tw_domain_command(const struct tw_domain *domain, struct tw_str ce_type);

#endif
