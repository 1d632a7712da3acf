/**
 * Describes one generated struct: a command, an event or a state. The tables are generated from schemas/.
 */
#ifndef TILLWIRE_TYPE_H
#define TILLWIRE_TYPE_H

#include "tillwire/arena.h"
#include "tillwire/err.h"

struct tw_layout;

struct tw_type {
    const char *name;     /**< "cart.add_item" */
    const char *ce_type;  /**< CloudEvents type: "cart.add_item.v1" */
    const char *key;      /**< the field that is the record's key: "member_id"; NULL for a state */
    uint16_t    version;  /**< of the message: its behaviour is kept for ever */
    uint16_t    number;   /**< the enum value within its domain and kind: TW_CART_ADD_ITEM */
    bool        quiet;    /**< a command without ledger row and outcome event unless it is keyed */
    bool        internal; /**< an event that no member is told of by the edge: it says something of two of them */
    size_t      size;     /**< of the C struct, bytes */
    const struct tw_layout *layout; /**< its fields (tillwire/codec.h) */
    /** Appends the msgpack form: a map with string keys. The value must be valid. */
    void (*pack)(const void *value, struct tw_buf *out);
    /** Total: any bytes give a value or INVALID with a clause that names the field. Views point into @p bytes.
     *  Members this version does not know are skipped (fields are only ever added). */
    enum tw_rc (*unpack)(struct tw_str bytes, struct tw_arena *arena, void *ret_value, struct tw_err *reterr);
    /** A copy whose lists can grow and change independently; strings are shared views. */
    void (*copy)(const void *from, struct tw_arena *arena, void *ret_to);
};

#endif
