/**
 * Reading HTTP strictly, for the fuzzers of what the edge takes and answers.
 */
#ifndef TILLWIRE_TESTS_ANSWER_H
#define TILLWIRE_TESTS_ANSWER_H

#include "edge.h"
#include "fuzz.h"

#define ALPHA "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

/** A line up to its CR LF, neither of which stands alone in it. */
bool          tw_fuzz_take_line(struct tw_str *rest, struct tw_str *ret_line);
/** Is it one byte at least, and all of them among @p allowed? */
bool          tw_fuzz_is_of(struct tw_str text, const char *allowed);
struct tw_str tw_fuzz_trimmed(struct tw_str text);

/** Renders @p reply as the server does. It must be one well-formed answer, with JSON in it where it says so. */
void tw_fuzz_answer(const struct tw_edge *edge, const struct tw_request *request, struct tw_reply *reply);

#endif
