/**
 * Port: a worker's store. Adapters: PostgreSQL (workers/member), MongoDB (workers/product), Redis (workers/cart),
 * memory (tests/lib). All pass tests/contract.
 *
 * A store holds, per partition of its command topic: the state of aggregates, the ledger of command ids, and the
 * progress (watermark, clock, hash of the last record, outbox). commit() moves all of them in one atomic step that
 * compares the stored watermark with the batch's first offset; so a batch is folded once, whoever tries.
 *
 * Threads: a handle belongs to one, a worker's loop or one of a fold's. Retries belong to the caller: a call tries once
 * and reports. It blocks up to the adapter's time-out. After any code but TW_OK the runtime calls watermark() again before it
 * uses the partition: adapters may drop a broken connection and make a new one there.
 */
#ifndef TILLWIRE_STORE_H
#define TILLWIRE_STORE_H

#include "tillwire/envelope.h"
#include "tillwire/outcome.h"
#include "tillwire/type.h"

/** What a store remembers of one partition. All zero: nothing was ever folded. */
struct tw_progress {
    int64_t       next_offset;                     /**< the watermark: first offset that is not folded yet */
    int64_t       clock_ms;                        /**< largest record timestamp so far */
    uint8_t       last_hash[TW_RECORD_HASH_BYTES]; /**< tw_record_hash() of record next_offset - 1 */
    struct tw_str outbox; /**< what the last commit published or still has to; empty: forgotten or none */
    int64_t       mark;   /**< 0: none. Else the partition is frozen: see set_mark(). Never part of a commit */
};

/** What a batch loads and changes: an aggregate, or (sub not nil) a document beside it under the same partition key. */
struct tw_key {
    uint32_t       kind; /**< of its domain; 0 is the domain's aggregate (struct tw_domain.states[kind]) */
    struct tw_uuid id;   /**< the partition key's aggregate */
    struct tw_uuid sub;  /**< nil for the aggregate itself */
};

struct tw_entity {
    struct tw_key key;
    const void   *before;       /**< as the store has it (domain struct, in the batch's arena); NULL: it has none */
    int64_t       before_guard; /**< offset of the last record that changed `before`; -1: none. Only MongoDB keeps it */
    void         *state;        /**< after the batch: NULL until a command touches it; never NULL when changed */
    int64_t       guard;        /**< offset of the last record that changed `state` */
    bool          changed;      /**< commit writes it */
    int64_t       coalesce_offset; /**< last record whose event is coalesced at the batch's end; -1: none */
};

/** One remembered command. It counts for 24 h of the partition's clock; the runtime compares, adapters only keep it. */
struct tw_ledger_row {
    struct tw_uuid    id;     /**< tw_command_id_ledger() */
    struct tw_uuid    caller; /**< nil: anonymous */
    uint8_t           fingerprint[TW_FINGERPRINT_BYTES];
    struct tw_str     type; /**< "cart.add_item" */
    struct tw_outcome outcome;
    int64_t           offset;
    int64_t           submitted_ms; /**< by the edge's clock */
    int64_t           at_ms;        /**< by the partition's clock */
    bool              replaces;     /**< in a commit: the store may have a row with this id, which goes */
};

/** In: what to look for. Out: what the store has. */
struct tw_load {
    struct tw_entity     *entities; /**< keys in; before and before_guard out */
    size_t                entity_count;
    const struct tw_uuid *ledger_ids; /**< tw_command_id_ledger() of the batch, no duplicates */
    size_t                ledger_id_count;
    struct tw_ledger_row *rows; /**< out, in the arena, any order, only those found in this partition */
    size_t                row_count;
};

/** One batch's effect. Entities and rows are sorted by key / id, without duplicates. */
struct tw_changes {
    int32_t                     partition;
    int64_t                     first_offset; /**< must equal the stored watermark */
    struct tw_progress          after;        /**< the new progress, outbox included */
    const struct tw_entity    **entities;     /**< only changed ones */
    size_t                      entity_count;
    const struct tw_ledger_row *rows;
    size_t                      row_count;
};

struct tw_store {
    /** Comes before the partition's first load(). Connects when needed, finishes what an interrupted commit left half
     *  done, and reads the progress into @p arena. UNREACHED: worth retrying; so it is, once, when another store took
     *  this one's place since the last call. BROKEN: the store contradicts itself or is not set up (the sentence says
     *  which). */
    enum tw_rc (*watermark)(void *self, int32_t partition, struct tw_arena *arena, struct tw_progress *ret_progress,
                            struct tw_err *reterr);
    /** Reads the watermark, then the entities and ledger rows, in one round trip where the store can. Unknown ones are
     *  absent, not errors. FENCED: the watermark is not @p first_offset. A load is followed by commit or abandon. */
    enum tw_rc (*load)(void *self, int32_t partition, int64_t first_offset, struct tw_load *load,
                       struct tw_arena *arena, struct tw_err *reterr);
    /** One atomic step, or nothing. FENCED as above. UNREACHED: surely not written. UNKNOWN: the answer was lost.
     *  REFUSED: something in the batch can never be written (the runtime bisects). A batch from 0 to 0 fills a store that
     *  nothing was folded of, whose watermark the last of such batches moves. All have the clock it will have; guards are
     *  ahead of the watermark until then. */
    enum tw_rc (*commit)(void *self, const struct tw_changes *changes, struct tw_err *reterr);
    /** Ends a turn without commit (Redis: UNWATCH). Never fails. */
    void (*abandon)(void *self, int32_t partition);
    /** Empties the outbox if the watermark still is @p next_offset, else does nothing: FENCED. */
    enum tw_rc (*forget_outbox)(void *self, int32_t partition, int64_t next_offset, struct tw_err *reterr);
    /** Housekeeping nobody can observe: drops what ended before @p clock_ms (ledger rows 24 h old, expired copies), a
     *  bounded amount, under the same fence. */
    enum tw_rc (*sweep)(void *self, int32_t partition, int64_t next_offset, int64_t clock_ms, struct tw_err *reterr);
    /** The partition left this worker: drop what is kept for it. */
    void (*release)(void *self, int32_t partition);

    /* For what looks at a whole store (workers/replay). */

    /** Puts the mark @p to (0: takes it away) where the watermark is @p next_offset and the mark @p from, else FENCED. As
     *  long as there is one the partition is frozen: every commit() of a batch is FENCED, also one whose load() went
     *  before; housekeeping goes on. Marks above 0 are leases: whoever holds one replaces it by another every few seconds,
     *  and a worker takes one away that stands for TW_LEASE_MS. Marks below 0 last until their maker takes them away.
     *  A partition nothing was folded of can be frozen, too. UNKNOWN as in commit(). */
    enum tw_rc (*set_mark)(void *self, int32_t partition, int64_t next_offset, int64_t from, int64_t to,
                           struct tw_err *reterr);
    /** Keys of all entities of @p kind, whatever their partition, ascending by (id, sub): up to @p max of them,
     *  @p from_start or behind those of the last call. Fewer than @p max: these are the last. Only on a store that stands
     *  still (frozen, or nobody's) is it of one moment. Entities that have ended and wait for the sweep may be in it. */
    enum tw_rc (*list)(void *self, uint32_t kind, bool from_start, struct tw_key *ret_keys, size_t max,
                       size_t *ret_count, struct tw_err *reterr);
    /** Ids of the ledger rows of a partition, ascending, likewise. Rows that count no more may be in it. */
    enum tw_rc (*list_rows)(void *self, int32_t partition, bool from_start, struct tw_uuid *ret_ids, size_t max,
                            size_t *ret_count, struct tw_err *reterr);
    void *self; /**< owned by whoever opened the store; closed with its own *_close() */
};

/** A mark above 0 that was not replaced for this long belongs to nobody any more. */
#define TW_LEASE_MS 30000

/** Ledger rows count for this long, by the partition's clock. */
#define TW_LEDGER_LIFE_MS (INT64_C(24) * 60 * 60 * 1000)

#endif
