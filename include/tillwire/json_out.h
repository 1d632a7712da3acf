/**
 * Writes JSON into a buffer, one call per value; commas come by themselves. The caller keeps braces balanced. Money is
 * a decimal string, times are RFC 3339, as the HTTP contract says.
 */
#ifndef TILLWIRE_JSON_OUT_H
#define TILLWIRE_JSON_OUT_H

#include "tillwire/str.h"
#include "tillwire/uuid.h"

struct tw_json {
    struct tw_buf *out;
    bool           comma; /**< a value stands before the next one */
};

/** '{' or '['; and '}' or ']'. */
void tw_json_open(struct tw_json *json, char bracket);
void tw_json_close(struct tw_json *json, char bracket);
/** A member's name; plain ASCII, not escaped. */
void tw_json_key(struct tw_json *json, const char *name);
/** The same for a name from outside. */
void tw_json_key_text(struct tw_json *json, struct tw_str name);
void tw_json_text(struct tw_json *json, struct tw_str text);
void tw_json_int(struct tw_json *json, int64_t value);
void tw_json_bool(struct tw_json *json, bool value);
void tw_json_null(struct tw_json *json);
void tw_json_uuid(struct tw_json *json, struct tw_uuid id);
void tw_json_time(struct tw_json *json, int64_t time_ms);
/** `"199.00"`: a string. */
void tw_json_money(struct tw_json *json, int64_t minor);
/** `4.50`: a number with exactly two decimals. */
void tw_json_hundredths(struct tw_json *json, int64_t hundredths);

#endif
