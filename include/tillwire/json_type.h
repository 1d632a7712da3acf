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

/** Which fields are written, in @p value and in what it holds. */
typedef bool (*tw_json_shows_fn)(const struct tw_field *field);
/** The same with the fields that @p shows, `internal` or not. */
void tw_json_struct_where(struct tw_json *json, const struct tw_layout *layout, const void *value,
                          tw_json_shows_fn shows);

#endif
