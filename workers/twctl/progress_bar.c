#include "progress_bar.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "tillwire/clock.h"

enum { TERMINAL_US = 200000, LINE_US = 10000000, GROUPED = 32 };

/* 1,000,000 */
static const char *grouped(int64_t number, char text[GROUPED])
{
    char digits[GROUPED];
    int  len = snprintf(digits, sizeof(digits), "%" PRId64, number), to = 0;

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

void tw_progress_bar_begin(struct tw_progress_bar *bar, const char *who, const char *what, int64_t all)
{
    *bar = (struct tw_progress_bar){
        .who = who,
        .what = what,
        .all = all,
        .is_terminal = isatty(STDERR_FILENO),
        .began_us = tw_monotonic_us(),
        .shown_us = tw_monotonic_us(),
    };
}

void tw_progress_bar_show(struct tw_progress_bar *bar, int64_t done)
{
    int64_t now_us = tw_monotonic_us();
    int64_t rate = done * 1000000 / (now_us - bar->began_us + 1);
    char    done_text[GROUPED], all_text[GROUPED], rate_text[GROUPED], left_text[GROUPED];

    if (now_us - bar->shown_us < (bar->is_terminal ? TERMINAL_US : LINE_US))
        return;
    bar->shown_us = now_us;
    fprintf(stderr, "%s%s: %s", bar->is_terminal ? "\r" : "", bar->who, grouped(done, done_text));
    if (bar->all)
        fprintf(stderr, " of %s", grouped(bar->all, all_text));
    fprintf(stderr, " %s, %s a second", bar->what, grouped(rate, rate_text));
    if (bar->all > done && rate)
        fprintf(stderr, ", %s s left", grouped((bar->all - done) / rate + 1, left_text));
    fputs(bar->is_terminal ? "\033[K" : "\n", stderr);
}

void tw_progress_bar_end(struct tw_progress_bar *bar)
{
    if (bar->is_terminal)
        fputs("\r\033[K", stderr);
}
