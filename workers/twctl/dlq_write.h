/**
 * Writes an operator's requeues and drops into the command log, and learns what the worker made of them. One thread.
 */
#ifndef TILLWIRE_TWCTL_DLQ_WRITE_H
#define TILLWIRE_TWCTL_DLQ_WRITE_H

#include "dlq_log.h"
#include "progress_bar.h"

struct tw_dlq_writer {
    struct tw_dlq_log      *log;
    enum tw_domain_number   domain;
    bool                    is_drop;
    struct tw_operator_word word;
    struct tw_producer     *producer;
    struct tw_progress_bar  bar;
    int64_t                 all; /**< chosen in this round */
    int64_t                 done;
    size_t                  unreported;
    int64_t                 heard_us; /**< when a broker last took a record */
    int64_t                 next_us;  /**< no record before that time */
    enum tw_rc              rc;       /**< of a report that was bad */
    struct tw_err           err;
};

/** Set `log`, `domain`, `is_drop` and `word` first. Close with tw_dlq_writer_close(). */
enum tw_rc tw_dlq_writer_open(struct tw_dlq_writer *writer, struct tw_err *reterr);
/** Writes those with the fate CHOSEN in the order of their partitions, which gives them the fate WRITTEN once a broker has
 *  them. UNREACHED: not all are written; saying it all again does no harm. */
enum tw_rc tw_dlq_write(struct tw_dlq_writer *writer, struct tw_err *reterr);
/** For TW_AUTO; accepts one that was never opened. */
void       tw_dlq_writer_close(struct tw_dlq_writer *writer);

#endif
