/**
 * Packs, unpacks and copies generated structs. schemas/generate.py writes one table of fields per struct (a layout);
 * this code walks it, so a new message costs a table and no code. Callers use struct tw_type (tillwire/type.h); only
 * generated code calls the functions below.
 *
 * Messages are written for strangers: a map with full names, UUIDs as text, money as decimal strings. States (the
 * worker's own copies) may be compact: short names, UUIDs as 16 bytes, money and times and enums as integers.
 *
 * Threads: everything here is reentrant; nothing is kept between calls.
 */
#ifndef TILLWIRE_CODEC_H
#define TILLWIRE_CODEC_H

#include "tillwire/arena.h"
#include "tillwire/err.h"
#include "tillwire/uuid.h"

/** One entry of a `map` field. */
struct tw_pair {
    struct tw_str name;
    struct tw_str value;
};

/** How a field is held in C and written in msgpack. */
enum tw_kind {
    TW_KIND_UUID,        /**< struct tw_uuid; 36 characters */
    TW_KIND_UUID_BIN,    /**< struct tw_uuid; bin of 16 */
    TW_KIND_STRING,      /**< struct tw_str; UTF-8 without NUL, min..max bytes */
    TW_KIND_BYTES,       /**< uint8_t[max]; bin of exactly max */
    TW_KIND_INT,         /**< int64_t min..max */
    TW_KIND_TIME,        /**< int64_t, ms since 1970 */
    TW_KIND_BOOL,        /**< bool */
    TW_KIND_DECIMAL,     /**< int64_t hundredths; text "199.00" */
    TW_KIND_DECIMAL_INT, /**< int64_t hundredths; their number */
    TW_KIND_ENUM,        /**< an enum; its name as text */
    TW_KIND_ENUM_INT,    /**< an enum; its number */
    TW_KIND_LIST,        /**< T *, uint32_t len, uint32_t cap; array of min..max */
    TW_KIND_MAP,         /**< struct tw_pair *, len, cap; map of text to text */
    TW_KIND_STRUCT,      /**< embedded struct; map */
};

/** Rules for the text of a string beyond its length. A closed list: the schemas name them in lower case. */
enum tw_format {
    TW_FORMAT_NONE,
    TW_FORMAT_SKU,  /**< visible ASCII without spaces */
    TW_FORMAT_SLUG, /**< no ASCII but a-z 0-9 - _ . ~ ; letters beyond ASCII are allowed */
    TW_FORMAT_E164, /**< + and 2 to 15 digits, the first not 0 */
    TW_FORMAT_URI,  /**< absolute http or https URL, no spaces, quotes or angle brackets */
};

struct tw_layout;

struct tw_field {
    const char             *name;        /**< "quantity": in JSON, and in what people read */
    const char             *key;         /**< msgpack key with its fixstr header: "\xa8quantity" */
    uint8_t                 key_len;     /**< bytes of `key`, header included */
    uint8_t                 kind;        /**< enum tw_kind */
    uint8_t                 format;      /**< enum tw_format */
    bool                    optional;    /**< then has_offset counts */
    bool                    internal;    /**< of an event: the edge shows it to nobody */
    bool                    null_clears; /**< of a body: then null_offset counts */
    uint16_t                offset;      /**< of the member, bytes */
    uint16_t                has_offset;  /**< of `bool has_<name>` */
    uint16_t                null_offset; /**< of the bool that says the member was null; MAP: of the list of names */
    uint16_t                item_size;   /**< LIST, MAP: bytes of one element */
    int64_t                 min;         /**< range: of the value, the bytes, or the number of elements */
    int64_t                 max;
    const struct tw_str    *values; /**< ENUM: names by number; max is the last number */
    const struct tw_field  *item;   /**< LIST of scalars, MAP (its values): rule of one element, offset 0 */
    const struct tw_layout *layout; /**< STRUCT, LIST of structs */
};

enum { TW_FIELDS_MAX = 64, TW_MAP_NAME_MAX_BYTES = 100 };

struct tw_layout {
    const char            *name; /**< "cart.add_item", "cart_line" */
    const struct tw_field *fields;
    uint16_t               field_count;
    uint16_t               size;      /**< of the C struct, bytes */
    bool                   has_lists; /**< copying takes more than memcpy */
    uint64_t               required;  /**< a bit for each field that is not optional */
};

/** See struct tw_type for the contracts of these three. */
void       tw_codec_pack(const struct tw_layout *layout, const void *value, struct tw_buf *out);
enum tw_rc tw_codec_unpack(const struct tw_layout *layout, struct tw_str bytes, struct tw_arena *arena, void *ret_value,
                           struct tw_err *reterr);
void       tw_codec_copy(const struct tw_layout *layout, const void *from, struct tw_arena *arena, void *ret_to);

/* --- rules shared with tillwire/body.h -------------------------------------------------------------------------- */

bool        tw_format_matches(enum tw_format format, struct tw_str text);
/** What a format asks for, as the end of a sentence: "must be visible ASCII without spaces". */
const char *tw_format_text(enum tw_format format);
/** Decimal text with at most two places, as tw_money_parse() but up to 16 digits before the point (totals are larger
 *  than prices). */
bool        tw_decimal_parse(struct tw_str text, int64_t *ret_hundredths);
/** Number of @p text among an enum's names, -1 when it has none. */
int         tw_enum_find(const struct tw_field *field, struct tw_str text);
/** May @p name be a key of a `map` field? Not empty, no `$` or `.`, at most TW_MAP_NAME_MAX_BYTES. */
bool        tw_map_name_is_valid(struct tw_str name);
/** The range of a field as the end of a sentence: "must be 1 to 999". */
void        tw_field_range_text(const struct tw_field *field, char *ret_text, size_t size_bytes);
/** What a value of this kind is, likewise: "must be text". */
const char *tw_kind_text(enum tw_kind kind);

/** Is it shown to nobody, operators included? Hashes of passwords and tokens: schemas end their names in `_hash`. */
bool tw_field_is_secret(const struct tw_field *field);

/** A list member of a generated struct as this code sees it: three consecutive members. */
struct tw_list {
    void    *items;
    uint32_t len;
    uint32_t cap;
};
struct tw_list tw_list_get(const void *member);
void           tw_list_set(void *member, struct tw_list list);

#endif
