/**
 * Stores, log and passwords that are not there, for fuzz_route.c: the linker takes these functions and leaves the edge's
 * own out. What they say is chosen by the input: a letter of it for each answer, and the usual one when none is left.
 */
#ifndef TILLWIRE_TESTS_STAND_INS_H
#define TILLWIRE_TESTS_STAND_INS_H

#include "edge.h"

/** Before a request: the letters, and what is called with each record that is sent. */
void tw_stand_ins_begin(struct tw_str choices, void (*sent)(const struct tw_send *send));
/** Next letter of the input; 0: none is left. */
char tw_stand_ins_choose(void);

#endif
