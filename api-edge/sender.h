/**
 * Sends command records and lets the sending thread sleep until the broker's report. One delivery thread serves all
 * reports and wakes each waiter with one futex call; nothing is allocated and no lock is taken on the way.
 *
 * Each request thread has a lane, a slot of its own, in which at most one record waits. The record carries the lane's
 * number and a ticket; a report that comes after its waiter gave up finds another ticket and is dropped, so a late
 * report never touches memory that has moved on.
 */
#ifndef TILLWIRE_EDGE_SENDER_H
#define TILLWIRE_EDGE_SENDER_H

#include "tillwire/kafka.h"

struct tw_sender;

enum { TW_SENDER_LANES = 16384, TW_SENDER_SPARE_LANES = 128 };

struct tw_sender_options {
    const char *brokers;
    int         linger_us;
    int         queue_kbytes;
};

struct tw_sender *tw_sender_new(const struct tw_sender_options *options);
/** Waits up to @p flush_ms for what is on its way. Accepts NULL. */
void              tw_sender_free(struct tw_sender *sender, int flush_ms);

/** A lane for the calling thread, its own until the process ends; -1: there are no more. */
int tw_sender_lane(struct tw_sender *sender);

/** Lends up to @p want of the spare lanes to a thread that sends several records at once. How many: 0 when others have
 *  them all; the thread still has its own. Give them back when nothing of theirs is awaited any more. */
size_t tw_sender_borrow(struct tw_sender *sender, size_t want, int *ret_lanes);
void   tw_sender_give_back(struct tw_sender *sender, const int *lanes, size_t count);

struct tw_send {
    const char             *topic;
    int32_t                 partition;
    struct tw_str           key;
    struct tw_str           value;
    const struct tw_header *headers;
    size_t                  header_count;
};
/** Queues the record and arms the lane; await must follow. Copies everything. UNREACHED: queue full, or there is no
 *  producer yet or any more; nothing was sent and there is nothing to wait for. Never blocks. */
enum tw_rc tw_sender_begin(struct tw_sender *sender, int lane, const struct tw_send *send, struct tw_err *reterr);
/** Blocks until the report, at most @p timeout_ms. UNREACHED: surely not in the log. UNKNOWN: no report in time, or one
 *  that leaves it open. */
enum tw_rc tw_sender_await(struct tw_sender *sender, int lane, int timeout_ms, int64_t *ret_offset,
                           struct tw_err *reterr);

/** A report was waited for in vain: for so long nobody is sent here to try again. */
enum { TW_SENDER_STALL_US = 15000000 };

/** What /readyz shows. */
struct tw_sender_state {
    bool connected;
    bool warm; /**< a first send is quick */
    int  queue_percent;
};
struct tw_sender_state tw_sender_state(struct tw_sender *sender);

#endif
