/**
 * Opaque texts we hand out and believe when they come back: what `Location` carries about a command the ledger has not
 * seen yet, the consistency token, and a list's cursor. All are sealed with a key all edges share, so that none of it can
 * be made up.
 */
#ifndef TILLWIRE_EDGE_OPAQUE_H
#define TILLWIRE_EDGE_OPAQUE_H

#include "tillwire/arena.h"
#include "tillwire/str.h"
#include "tillwire/uuid.h"

enum { TW_OPAQUE_KEY_BYTES = 16, TW_LOCATION_TEXT = 66, TW_CONSISTENCY_TEXT = 36 };

/** A command that the broker has acknowledged. */
struct tw_location {
    uint16_t type; /**< number of the command within its domain */
    int32_t  partition;
    int64_t  offset;
    int64_t  submitted_ms;
};

/** base64url, TW_LOCATION_TEXT characters and a NUL. Bound to the command; tells who sent it. */
void tw_location_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_uuid command_id, struct tw_uuid caller,
                      const struct tw_location *location, char ret_text[TW_LOCATION_TEXT + 1]);
/** False: not ours, or of another command. */
bool tw_location_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_uuid command_id, struct tw_str text,
                      struct tw_uuid *ret_caller, struct tw_location *ret_location);

/** Where a page of a list ended: @p position, which means something to the list alone, sealed and bound to @p list, a
 *  text that names the list, its order and its filters. base64url in the arena. */
struct tw_str tw_cursor_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str list, struct tw_str position,
                             struct tw_arena *arena);
/** False: not ours, or of another list, order or filter. */
bool          tw_cursor_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str list, struct tw_str text,
                             struct tw_arena *arena, struct tw_str *ret_position);

/** A write that later reads may ask to see. */
struct tw_consistency {
    enum tw_domain_number domain;
    int32_t               partition;
    int64_t               offset;
};

void tw_consistency_seal(const uint8_t key[TW_OPAQUE_KEY_BYTES], const struct tw_consistency *consistency,
                         char ret_text[TW_CONSISTENCY_TEXT + 1]);
bool tw_consistency_open(const uint8_t key[TW_OPAQUE_KEY_BYTES], struct tw_str text,
                         struct tw_consistency *ret_consistency);

#endif
