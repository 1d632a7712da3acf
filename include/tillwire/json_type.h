/**
 * A generated struct as JSON, by the table of its fields: as the HTTP API writes such values. Fields that are marked
 * `internal` in schemas/ are left out. One function for every message there is, so a new one shows without new code.
 */
#ifndef TILLWIRE_JSON_TYPE_H
#define TILLWIRE_JSON_TYPE_H

#include "tillwire/json_out.h"
#include "tillwire/codec.h"

/** One JSON object. @p value is the struct of @p layout and valid. */
void tw_json_struct(struct tw_json *json, const struct tw_layout *layout, const void *value);

#endif
