/**
 * One turn of the loop, without Kafka: records in, changes and outbox out. Decode is total, decide is pure, and the same
 * records folded in any number of turns give the same state. Tests drive it with arrays of records.
 *
 *     decode -> load -> decide -> (wait for the outbox before) -> commit
 */
#ifndef TILLWIRE_RUNTIME_TURN_H
#define TILLWIRE_RUNTIME_TURN_H

#include "cache.h"
#include "tillwire/domain.h"
#include "verdicts.h"

/** What is the same in every turn of a worker. */
struct tw_turn_config {
    const struct tw_domain *domain;
    const struct tw_store  *store;
    uint8_t                 id_key[TW_ID_KEY_BYTES];
    int32_t                 partition_count; /**< of the command topic, by the manifest */
    const char             *program;         /**< "tillwire-cart 0.1.0", into dead letters */
    bool silent; /**< tells nobody: no events, no dead letters, an empty outbox. State and ledger are the same */
};

/** A record the store refused for good, found by bisecting; offset -1: none. */
struct tw_condemned {
    int64_t offset;
    char    message[224];
};

struct tw_item; /* one record of the batch and what became of it */

/** What became of the records, for metrics. */
struct tw_turn_counts {
    size_t succeeded, rejected, repeated, dead, passed_over;
};

struct tw_turn {
    const struct tw_turn_config *config;
    struct tw_arena             *arena;
    int32_t                      partition;
    struct tw_progress           before;       /**< the watermark these records start at */
    const struct tw_record      *records;      /**< contiguous from before.next_offset */
    size_t                       record_count; /**< tw_turn_decode() may leave some for the next turn */
    const struct tw_verdicts    *verdicts;     /**< offsets to pass over, keys that are parked */
    const struct tw_condemned   *condemned;
    /* results */
    struct tw_turn_counts        counts;
    struct tw_changes            changes; /**< after tw_turn_decide(); its outbox is packed */
    /* working state */
    struct tw_item              *items;
    struct tw_entity            *entities;
    uint32_t                     entity_count, entity_cap;
    struct tw_index             *entity_index;
    struct tw_known_row         *rows;
    uint32_t                     row_count, row_cap;
    struct tw_index             *row_index;
    struct tw_event             *events;
    uint32_t                     event_count, event_cap;
    int64_t                      clock_ms;
    struct tw_item              *current; /**< the record being decided */
    struct tw_buf                scratch; /**< for one packed value */
    struct tw_buf                outbox;  /**< what changes.after.outbox views */
};

/** Decodes every record and collects what it touches. Never fails: what cannot be decoded becomes a dead letter. An
 *  operator's requeue or drop, and a condemned record, stand alone in their turn, so that what they open or settle is known
 *  before the next record. */
void       tw_turn_decode(struct tw_turn *turn);
/** Takes states from @p cache and the rest from the store. FENCED, UNREACHED, BROKEN: as tw_store.load. */
enum tw_rc tw_turn_load(struct tw_turn *turn, struct tw_cache *cache, struct tw_err *reterr);
/** Decides all records in order and builds turn->changes. */
void       tw_turn_decide(struct tw_turn *turn);
/** Commits, and puts the new states into @p cache. */
enum tw_rc tw_turn_commit(struct tw_turn *turn, struct tw_cache *cache, struct tw_err *reterr);
/** Frees what is not in the arena; the packed outbox goes with it. Accepts NULL. */
void       tw_turn_done(struct tw_turn *turn);

#endif
