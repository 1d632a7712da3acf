/**
 * JSON request bodies into generated `struct tw_…_body`s, by the same tables as the codec (tillwire/codec.h). Used by
 * the edge only. Every fault of a body is collected, not just the first: they become `errors` of the problem document.
 *
 * The parser that made the json_t has already refused duplicate members, bad UTF-8 and trailing bytes.
 */
#ifndef TILLWIRE_BODY_H
#define TILLWIRE_BODY_H

#include "tillwire/codec.h"

struct json_t; /* jansson's */

/** One entry of a problem document's `errors`. */
struct tw_field_error {
    struct tw_str pointer; /**< JSON pointer (RFC 6901): "/quantity"; "" is the whole body */
    struct tw_str code;    /**< see TW_BODY_* */
    struct tw_str detail;  /**< one clause: "must be 1 to 999" */
};

enum { TW_FIELD_ERRORS_MAX = 32 };

/** At most TW_FIELD_ERRORS_MAX are kept; `count` does not grow beyond. Texts are in the arena of the call. */
struct tw_field_errors {
    struct tw_field_error items[TW_FIELD_ERRORS_MAX];
    size_t                count;
};

/** Codes of a field error. Released names: only added to. */
#define TW_BODY_UNKNOWN      "unknown-member"
#define TW_BODY_MISSING      "missing"
#define TW_BODY_WRONG_TYPE   "wrong-type"
#define TW_BODY_OUT_OF_RANGE "out-of-range"
#define TW_BODY_LENGTH       "wrong-length"
#define TW_BODY_FORMAT       "wrong-format"
#define TW_BODY_VALUE        "unknown-value"
#define TW_BODY_COUNT        "wrong-count"
#define TW_BODY_NAME         "wrong-name"
#define TW_BODY_PASSWORD     "wrong-password"
#define TW_BODY_REPEATED     "repeated"

/** Adds an error that a route found itself; pointer "/email". Texts are copied into @p arena. */
void tw_field_errors_add(struct tw_field_errors *errors, struct tw_arena *arena, struct tw_str pointer,
                         const char *code, const char *detail);

/** Reads @p body by @p layout. INVALID: @p ret_errors has what is wrong and @p ret_body is untouched. Texts are copied
 *  into @p arena, so the json_t may go. JSON null for an optional member is the same as leaving it out, unless null
 *  clears it (`body_null` in schemas/): then the bool beside it is set. In a map whose nulls clear, the names that
 *  are null go to the list beside it. */
enum tw_rc tw_body_read(const struct tw_layout *layout, const struct json_t *body, struct tw_arena *arena,
                        void *ret_body, struct tw_field_errors *ret_errors);

#endif
