/**
 * A look at JSON text before a recursive parser may see it: how deep it nests. jansson recurses up to 2,048 levels,
 * more than a request thread's stack should have to carry.
 */
#ifndef TILLWIRE_EDGE_JSON_SCAN_H
#define TILLWIRE_EDGE_JSON_SCAN_H

#include "tillwire/str.h"

/** Deepest nesting of brackets outside strings; malformed text gives some number, never an error. */
size_t tw_json_depth(struct tw_str text);

#endif
