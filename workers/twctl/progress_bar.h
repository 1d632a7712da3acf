/**
 * Shows how far long work is: `member: 412,300 of 1,000,000 records, 83,120 a second, 7 s left`, on standard error. On a
 * terminal one line that is written again and again, elsewhere a line every ten seconds.
 */
#ifndef TILLWIRE_TWCTL_PROGRESS_BAR_H
#define TILLWIRE_TWCTL_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct tw_progress_bar {
    const char *who;  /**< "member" */
    const char *what; /**< "records" */
    int64_t     all;  /**< 0: not known */
    bool        is_terminal;
    int64_t     began_us;
    int64_t     shown_us;
};

void tw_progress_bar_begin(struct tw_progress_bar *bar, const char *who, const char *what, int64_t all);
/** Costs nothing when it is not time to show anything. */
void tw_progress_bar_show(struct tw_progress_bar *bar, int64_t done);
/** Takes the line off a terminal. */
void tw_progress_bar_end(struct tw_progress_bar *bar);

#endif
