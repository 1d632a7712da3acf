/**
 * Do the threads of this process go on? A thread that must never stand still has a pulse: before each call that may block
 * it says what it is about to do. Whoever looks sees which thread has been silent for how long, and in what: the admin
 * port is not ready then, and the watchdog (watchdog.h) ends a process that only a new one can mend.
 *
 * A pulse belongs to the thread that began it; tw_pulse() is two stores and a look at the clock, and does nothing in a
 * thread that has none, so libraries may call it for whoever they work for.
 */
#ifndef TILLWIRE_PULSE_H
#define TILLWIRE_PULSE_H

#include "tillwire/base.h"

enum { TW_PULSES_MAX = 128, TW_PULSE_NAME = 24 };

/** A thread that has been silent for so long does not do its work. A bound of 5 s is kept with it: the call that hangs may
 *  begin a second after its server does. */
enum { TW_PULSE_LATE_US = 3000000 };

/** For the calling thread. @p name (copied, cut to TW_PULSE_NAME): "loop 0". */
void tw_pulse_begin(const char *name);
/** Before the thread ends; nothing when it has none. */
void tw_pulse_end(void);
/** The thread goes on, with @p what (static text): "the store's commit". */
void tw_pulse(const char *what);
/** It waits for work, and may do so for as long as it likes. */
void tw_pulse_rest(void);

struct tw_pulse_view {
    char        name[TW_PULSE_NAME];
    const char *what;      /**< what it was about to do; NULL: it rests */
    int64_t     silent_us; /**< since it said so; 0 while it rests */
    uint64_t    beats;     /**< of this place in the list, since the process began: equal means not a word since */
};
/** All places, those without a pulse at rest; returns how many there are, always the same. Any thread. */
size_t tw_pulse_look(struct tw_pulse_view ret_views[TW_PULSES_MAX]);

enum { TW_PULSE_TEXT = 160 };
/** Has a thread been silent for longer than @p longer_than_us? Writes which one, in what and for how long: of the one that
 *  has been longest. Any thread. */
bool tw_pulse_is_late(int64_t longer_than_us, char ret_text[TW_PULSE_TEXT]);

#endif
