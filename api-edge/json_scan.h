/**
 * Around jansson: a look at JSON text before the recursive parser may see it, and letting go of what it made. jansson
 * recurses up to 2,048 levels, more than a request thread's stack should have to carry.
 */
#ifndef TILLWIRE_EDGE_JSON_SCAN_H
#define TILLWIRE_EDGE_JSON_SCAN_H

#include "tillwire/str.h"

/** Deepest nesting of brackets outside strings; malformed text gives some number, never an error. */
size_t tw_json_depth(struct tw_str text);

/** Writes `0.0` over every number that may be beyond what a parser holds: with an exponent, or of 19 characters and more.
 *  Their places stay, so that the text can be parsed to tell where they stand. */
void tw_json_tame_numbers(char *text, size_t len);

struct json_t; /* jansson's */

/** For TW_AUTO: json_decref(), NULL included. */
void tw_json_release(struct json_t **json);

#endif
