/**
 * Does a partition that is fetched come on? One that waits for its store says so by its state; one whose commits fail
 * again and again, whose events nobody acknowledges, or that is sent no records though its log has some, looks as if all
 * were well. This looks at what counts: whether the watermark moves while there is something to do.
 *
 * Threads: the loop that owns the partition.
 */
#ifndef TILLWIRE_RUNTIME_STALL_H
#define TILLWIRE_RUNTIME_STALL_H

#include "partition.h"

/** For so long may a watermark stand still. A second less than what is promised: a turn may take that. */
enum { TW_STALL_US = 4000000 };

/** Zero-initialised: not looked yet. */
struct tw_stall {
    int64_t next_offset;
    int64_t moved_us; /* when it last moved, or had nothing to do; 0: not known */
};

enum { TW_STALL_TEXT = 256 };
/** @p log_end: the offset the next record of the log will have; negative: not known, or what comes of it may have to wait
 *  its turn. True: it does not come on, and @p ret_text says why. At once when its last turn
 *  failed and no other has worked since; after TW_STALL_US otherwise. */
bool tw_stall_look(struct tw_stall *stall, const struct tw_partition *partition, int64_t log_end, int64_t now_us,
                   char ret_text[TW_STALL_TEXT]);

#endif
