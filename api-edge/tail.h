/**
 * Follows the event topics, tells the streams' hub of each event, wakes requests that wait for the outcome of their command, and tells of
 * tokens that are revoked.
 *
 * A request takes a seat before its command is produced, because the outcome may be published before the broker's
 * report of the command is seen; the seat is matched by command id and the offset of the command's record once that is
 * known. Seats are counted: when none is free the caller goes without waiting, so waits never starve commands.
 */
#ifndef TILLWIRE_EDGE_TAIL_H
#define TILLWIRE_EDGE_TAIL_H

#include "tillwire/err.h"
#include "tillwire/outcome.h"
#include "tillwire/str.h"

struct tw_hub;
struct tw_tail;
struct tw_seat;
struct tw_watermarks;

/** An outcome as its event told it; texts live in the struct. */
struct tw_told {
    struct tw_outcome outcome;
    bool              repeated; /**< the record was a repeat of a command decided before */
    char              detail[512];
    char              resource[512];
};

/** Who wants to know of revoked tokens. Both are called by threads of the tail, also at the same time; one token may be
 *  told of more than once. */
struct tw_revoked_sink {
    void (*tell)(void *self, struct tw_uuid token_id, int64_t expires_at_ms);
    /** Tells of all that was revoked before now. Blocks. Called whenever the tail begins to read, until it is OK: it is
     *  not fresh before that. */
    enum tw_rc (*load)(void *self, struct tw_err *reterr);
    void *self;
};

/** @p seats: for those who prefer to wait. @p hub, which is told of every event, may be NULL; it and @p sink's self outlive
 *  the tail. */
struct tw_tail *tw_tail_new(const char *brokers, size_t seats, const struct tw_revoked_sink *sink, struct tw_hub *hub);
/** Accepts NULL. No seat may be taken any more. */
void            tw_tail_free(struct tw_tail *tail);

/** From now on every event that is read moves them. They outlive the tail. */
void tw_tail_tell_watermarks(struct tw_tail *tail, struct tw_watermarks *watermarks);

/** NULL: no seat is free. A seat for the nil id is never told anything: it counts a wait of another kind. */
struct tw_seat *tw_tail_sit(struct tw_tail *tail, struct tw_uuid command_id);
/** The same for who cannot be answered without the outcome: there are some more seats that nobody else may take. */
struct tw_seat *tw_tail_must_sit(struct tw_tail *tail, struct tw_uuid command_id);
/** Blocks until the outcome of the record at @p offset is told, at most until @p deadline_us (tw_monotonic_us). False:
 *  not in time, or the edge is draining. */
bool            tw_tail_await(struct tw_tail *tail, struct tw_seat *seat, int64_t offset, int64_t deadline_us,
                              struct tw_told *ret_told);
/** Accepts NULL. */
void            tw_tail_leave(struct tw_tail *tail, struct tw_seat *seat);

/** Requests that sit now. */
size_t tw_tail_seated(const struct tw_tail *tail);
/** Waits end now and new ones end at once. */
void   tw_tail_drain(struct tw_tail *tail);
/** Reading ends soon; tw_tail_free() waits for it. */
void   tw_tail_stop(struct tw_tail *tail);
/** The event topics are being read: the broker answered when it was last asked, and what it has comes. */
bool   tw_tail_is_up(const struct tw_tail *tail);
/** Every token that was revoked a second ago or earlier, by its event, has been told of. */
bool   tw_tail_is_fresh(const struct tw_tail *tail);

#endif
