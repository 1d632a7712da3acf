/**
 * Learns what a worker made of requeues and drops that were written. One thread.
 */
#ifndef TILLWIRE_TWCTL_DLQ_FOLLOW_H
#define TILLWIRE_TWCTL_DLQ_FOLLOW_H

#include "dlq_log.h"

struct tw_dlq_follow {
    struct tw_dlq_log    *log;
    enum tw_domain_number domain;
    struct part_followed *parts; /**< one for each partition */
    size_t                undecided;
    int64_t               heard_us; /**< when the worker last went on */
    int64_t               asked_us;
    enum tw_rc            rc;
    struct tw_err         err;
};

/** Before anything is written: from here on the worker's events are followed. */
enum tw_rc tw_dlq_follow_begin(struct tw_dlq_follow *follow, struct tw_dlq_log *log, enum tw_domain_number domain,
                               struct tw_err *reterr);
/** Reads on until each that is WRITTEN is SETTLED, FAILED or NOT_HEARD; links the book. UNREACHED: the worker said nothing
 *  for `wait_s`; what it did not decide stays WRITTEN. */
enum tw_rc tw_dlq_follow(struct tw_dlq_follow *follow, struct tw_err *reterr);
/** For TW_AUTO. */
void       tw_dlq_follow_done(struct tw_dlq_follow *follow);

#endif
