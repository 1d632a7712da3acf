/*
 * The field tables of schemas/generate.py at work.
 *
 * Packing uses msgpack-c, compiled into this file: with its callback for every byte or two, a cart takes twice as long.
 * Reading does not, for measured reasons (TW_MEASURE=1 tests/unit/test_codec): msgpack_unpack() builds a tree in a zone
 * before the first field can be looked at. For a cart.add_item that tree alone takes 85 to 110 ns, where this whole
 * reader, checks and conversions included, takes 120 ns. And it allocates count * sizeof(object) on the word of an array
 * or map header, so hostile bytes would need a walk of their own before it may see them, and that walk is most of a
 * reader. Here every length is checked against the bytes that are left, and every count against the schema's limit,
 * before anything is allocated: work and memory are bounded by the input and the schema, and only lists and maps
 * allocate, from the arena.
 */
#include "tillwire/codec.h"

#include <assert.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "tillwire/clock.h"
#include "tillwire/money.h"

enum {
    DEPTH_MAX = 16,          /* of values that are skipped; what the schemas declare is never deeper */
    UNKNOWN_MAX = 64,        /* fields of one map that this version does not know */
    DECIMAL_DIGITS_MAX = 16, /* before the point: times 100 it still fits an int64 */
};

struct tw_list tw_list_get(const void *member)
{
    struct tw_list list;

    memcpy(&list, member, sizeof(list));
    return list;
}

void tw_list_set(void *member, struct tw_list list)
{
    memcpy(member, &list, sizeof(list));
}

/* --- rules ------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_sku(struct tw_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '!' || text.ptr[i] > '~')
            return false;
    return text.len > 0;
}

static bool is_slug(struct tw_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if ((unsigned char)c < 0x80 && !(c >= 'a' && c <= 'z') && !is_digit(c) && (!c || !strchr("-_.~", c)))
            return false;
    }
    return true;
}

static bool is_e164(struct tw_str text)
{
    if (text.len < 3 || text.len > 16 || text.ptr[0] != '+' || text.ptr[1] == '0')
        return false;
    for (size_t i = 1; i < text.len; i++)
        if (!is_digit(text.ptr[i]))
            return false;
    return true;
}

static bool has_prefix(struct tw_str text, struct tw_str prefix)
{
    return text.len > prefix.len && memcmp(text.ptr, prefix.ptr, prefix.len) == 0;
}

static bool is_uri(struct tw_str text)
{
    if (!has_prefix(text, TW_STR("https://")) && !has_prefix(text, TW_STR("http://")))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c <= ' ' || c == 0x7F || c == '"' || c == '<' || c == '>')
            return false;
    }
    return true;
}

bool tw_format_matches(enum tw_format format, struct tw_str text)
{
    switch (format) {
    case TW_FORMAT_SKU:
        return is_sku(text);
    case TW_FORMAT_SLUG:
        return is_slug(text);
    case TW_FORMAT_E164:
        return is_e164(text);
    case TW_FORMAT_URI:
        return is_uri(text);
    case TW_FORMAT_NONE:
        break;
    }
    return true;
}

const char *tw_format_text(enum tw_format format)
{
    switch (format) {
    case TW_FORMAT_SKU:
        return "must be visible ASCII without spaces";
    case TW_FORMAT_SLUG:
        return "must have no ASCII characters but a-z, 0-9 and -_.~";
    case TW_FORMAT_E164:
        return "must be a telephone number in E.164 form, such as +6281234567890";
    case TW_FORMAT_URI:
        return "must be an http or https URL";
    case TW_FORMAT_NONE:
        break;
    }
    return "must be text";
}

/* Digits without leading zeros, but one; returns how many, 0 when there is no such number. */
static size_t whole_digits(struct tw_str text, int64_t *ret_value)
{
    int64_t value = 0;
    size_t  n = 0;

    while (n < text.len && n <= DECIMAL_DIGITS_MAX && is_digit(text.ptr[n]))
        value = value * 10 + (text.ptr[n++] - '0');
    if (n > DECIMAL_DIGITS_MAX || (n > 1 && text.ptr[0] == '0'))
        return 0;
    *ret_value = value;
    return n;
}

bool tw_decimal_parse(struct tw_str text, int64_t *ret_hundredths)
{
    int64_t whole = 0;
    size_t  n = whole_digits(text, &whole);
    size_t  places = text.len - n; /* the point included */
    int64_t hundredths = whole * 100;

    if (n == 0 || places == 1 || places > 3 || (places > 0 && text.ptr[n] != '.'))
        return false;
    for (size_t i = 1, weight = 10; i < places; i++, weight /= 10) {
        if (!is_digit(text.ptr[n + i]))
            return false;
        hundredths += (text.ptr[n + i] - '0') * (int64_t)weight;
    }
    *ret_hundredths = hundredths;
    return true;
}

int tw_enum_find(const struct tw_field *field, struct tw_str text)
{
    for (int i = 0; i <= (int)field->max; i++)
        if (tw_str_eq(field->values[i], text))
            return i;
    return -1;
}

bool tw_map_name_is_valid(struct tw_str name)
{
    return name.len > 0 && name.len <= TW_MAP_NAME_MAX_BYTES && !memchr(name.ptr, '$', name.len) &&
           !memchr(name.ptr, '.', name.len) && tw_str_is_utf8(name);
}

bool tw_field_is_secret(const struct tw_field *field)
{
    static const char ending[] = "_hash";
    const size_t      ending_len = sizeof(ending) - 1;
    size_t            len = strlen(field->name);

    return len >= ending_len && !strcmp(field->name + len - ending_len, ending);
}

const char *tw_kind_text(enum tw_kind kind)
{
    switch (kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        return "must be a UUID";
    case TW_KIND_STRING:
    case TW_KIND_ENUM:
        return "must be text";
    case TW_KIND_BYTES:
        return "must be bytes";
    case TW_KIND_INT:
    case TW_KIND_DECIMAL_INT:
    case TW_KIND_TIME:
    case TW_KIND_ENUM_INT:
        return "must be an integer";
    case TW_KIND_BOOL:
        return "must be true or false";
    case TW_KIND_DECIMAL:
        return "must be a decimal text such as \"199.00\"";
    case TW_KIND_LIST:
        return "must be a list";
    case TW_KIND_MAP:
    case TW_KIND_STRUCT:
        return "must be a map";
    }
    return "is of an unknown kind";
}

/* Appends what fits to a NUL-terminated text. */
static void append(char *text, size_t size_bytes, struct tw_str more)
{
    size_t used = strlen(text);
    size_t room = size_bytes - 1 - used;
    size_t len = more.len < room ? more.len : room;

    memcpy(text + used, more.ptr, len);
    text[used + len] = 0;
}

static void enum_text(const struct tw_field *field, char *ret_text, size_t size_bytes)
{
    snprintf(ret_text, size_bytes, "must be one of ");
    for (int i = 0; i <= (int)field->max; i++) {
        append(ret_text, size_bytes, i ? TW_STR(", ") : TW_STR(""));
        append(ret_text, size_bytes, field->values[i]);
    }
}

static void bounds_text(const struct tw_field *field, const char *unit, char *ret_text, size_t size_bytes)
{
    const char *verb = field->kind == TW_KIND_LIST || field->kind == TW_KIND_MAP ? "have" : "be";

    if (field->min == field->max)
        snprintf(ret_text, size_bytes, "must %s %" PRId64 "%s", verb, field->min, unit);
    else
        snprintf(ret_text, size_bytes, "must %s %" PRId64 " to %" PRId64 "%s", verb, field->min, field->max, unit);
}

void tw_field_range_text(const struct tw_field *field, char *ret_text, size_t size_bytes)
{
    char low[TW_MONEY_TEXT], high[TW_MONEY_TEXT];

    switch ((enum tw_kind)field->kind) {
    case TW_KIND_STRING:
    case TW_KIND_BYTES:
        bounds_text(field, " bytes long", ret_text, size_bytes);
        return;
    case TW_KIND_INT:
    case TW_KIND_DECIMAL_INT:
        bounds_text(field, "", ret_text, size_bytes);
        return;
    case TW_KIND_LIST:
    case TW_KIND_MAP:
        bounds_text(field, " elements", ret_text, size_bytes);
        return;
    case TW_KIND_DECIMAL:
        tw_money_format(field->min, low);
        tw_money_format(field->max, high);
        snprintf(ret_text, size_bytes, "must be %s to %s", low, high);
        return;
    case TW_KIND_TIME:
        snprintf(ret_text, size_bytes, "must be a time in the years 1970 to 9999");
        return;
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        enum_text(field, ret_text, size_bytes);
        return;
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
    case TW_KIND_BOOL:
    case TW_KIND_STRUCT:
        break;
    }
    snprintf(ret_text, size_bytes, "%s", tw_kind_text((enum tw_kind)field->kind));
}

/* --- packing ------------------------------------------------------------------------------------------------------ */

/* msgpack-c's packer, made for our buffer: put_int64(out, 7), put_map(out, count) and so on. */
#define msgpack_pack_inline_func(name)        static inline int put##name
#define msgpack_pack_inline_func_cint(name)   static inline int put##name
#define msgpack_pack_inline_func_fixint(name) static inline int put_fix##name
#define msgpack_pack_user                     struct tw_buf *
#define msgpack_pack_append_buffer(out, bytes, len) \
    do {                                            \
        tw_buf_add(out, bytes, len);                \
        return 0;                                   \
    } while (0)
#include <msgpack/pack_template.h>

static void pack_struct(struct tw_buf *out, const struct tw_layout *layout, const void *value);
static void pack_value(struct tw_buf *out, const struct tw_field *field, const void *member);

static void pack_text(struct tw_buf *out, struct tw_str text)
{
    put_str(out, text.len);
    tw_buf_add_str(out, text);
}

static void pack_bin(struct tw_buf *out, const void *bytes, size_t len)
{
    put_bin(out, len);
    tw_buf_add(out, bytes, len);
}

static void pack_uuid_text(struct tw_buf *out, const struct tw_uuid *id)
{
    char text[TW_UUID_TEXT + 1];

    tw_uuid_format(*id, text);
    pack_text(out, (struct tw_str){text, TW_UUID_TEXT});
}

static void pack_decimal(struct tw_buf *out, int64_t hundredths)
{
    char   text[TW_MONEY_TEXT];
    size_t len = tw_money_format(hundredths, text);

    pack_text(out, (struct tw_str){text, len});
}

static uint32_t enum_get(const struct tw_field *field, const void *member)
{
    uint32_t number;

    memcpy(&number, member, sizeof(number));
    assert(number <= (uint32_t)field->max);
    return number;
}

static void pack_list(struct tw_buf *out, const struct tw_field *field, const void *member)
{
    struct tw_list list = tw_list_get(member);

    put_array(out, list.len);
    for (uint32_t i = 0; i < list.len; i++) {
        const char *item = (const char *)list.items + (size_t)i * field->item_size;

        if (field->layout)
            pack_struct(out, field->layout, item);
        else
            pack_value(out, field->item, item);
    }
}

static void pack_map(struct tw_buf *out, const void *member)
{
    struct tw_list        list = tw_list_get(member);
    const struct tw_pair *pairs = list.items;

    put_map(out, list.len);
    for (uint32_t i = 0; i < list.len; i++) {
        pack_text(out, pairs[i].name);
        pack_text(out, pairs[i].value);
    }
}

static void pack_bool(struct tw_buf *out, bool yes)
{
    if (yes)
        put_true(out);
    else
        put_false(out);
}

static void pack_value(struct tw_buf *out, const struct tw_field *field, const void *member)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
        pack_uuid_text(out, member);
        return;
    case TW_KIND_UUID_BIN:
        pack_bin(out, member, sizeof(struct tw_uuid));
        return;
    case TW_KIND_STRING:
        pack_text(out, *(const struct tw_str *)member);
        return;
    case TW_KIND_BYTES:
        pack_bin(out, member, (size_t)field->max);
        return;
    case TW_KIND_INT:
    case TW_KIND_DECIMAL_INT:
    case TW_KIND_TIME:
        put_int64(out, *(const int64_t *)member);
        return;
    case TW_KIND_BOOL:
        pack_bool(out, *(const bool *)member);
        return;
    case TW_KIND_DECIMAL:
        pack_decimal(out, *(const int64_t *)member);
        return;
    case TW_KIND_ENUM:
        pack_text(out, field->values[enum_get(field, member)]);
        return;
    case TW_KIND_ENUM_INT:
        put_uint32(out, enum_get(field, member));
        return;
    case TW_KIND_LIST:
        pack_list(out, field, member);
        return;
    case TW_KIND_MAP:
        pack_map(out, member);
        return;
    case TW_KIND_STRUCT:
        pack_struct(out, field->layout, member);
        return;
    }
    assert(field->kind <= TW_KIND_STRUCT); /* all kinds have returned */
}

static bool is_there(const struct tw_field *field, const char *value)
{
    return !field->optional || *(const bool *)(value + field->has_offset);
}

static void pack_struct(struct tw_buf *out, const struct tw_layout *layout, const void *value)
{
    const char *base = value;
    size_t      count = 0;

    for (size_t i = 0; i < layout->field_count; i++)
        count += is_there(&layout->fields[i], base);
    put_map(out, count);
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (!is_there(field, base))
            continue;
        tw_buf_add(out, field->key, field->key_len);
        pack_value(out, field, base + field->offset);
    }
}

void tw_codec_pack(const struct tw_layout *layout, const void *value, struct tw_buf *out)
{
    pack_struct(out, layout, value);
}

/* --- reading: tokens ---------------------------------------------------------------------------------------------- */

enum token_type { NIL, BOOL, INTEGER, HUGE_INTEGER, FLOAT, TEXT, BIN, ARRAY, MAP, EXT };

struct token {
    enum token_type type;
    int64_t         number; /* INTEGER, BOOL */
    struct tw_str   bytes;  /* TEXT, BIN */
    uint32_t        count;  /* ARRAY: elements; MAP: pairs */
};

struct reader {
    const uint8_t   *at;
    const uint8_t   *end;
    struct tw_arena *arena;
    struct tw_err   *reterr;
};

/* Where in the message we are, for sentences: a chain on the stack. */
struct path {
    const struct path *up;
    const char        *name;
    int64_t            index; /* in a list; -1: none */
};

static enum tw_rc malformed(struct reader *reader, const char *what)
{
    return tw_fail(reader->reterr, TW_INVALID, "codec.unpack", 0, "cannot decode msgpack: %s", what);
}

static enum tw_rc cut(struct reader *reader)
{
    return malformed(reader, "it ends too early");
}

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static uint64_t big_endian(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* Reads the number of @p len bytes behind a head. */
static bool take_number(struct reader *reader, size_t len, uint64_t *ret_value)
{
    if (left(reader) < len)
        return false;
    *ret_value = big_endian(reader->at, len);
    reader->at += len;
    return true;
}

static enum tw_rc take_unsigned(struct reader *reader, size_t len, struct token *token)
{
    uint64_t value = 0;

    if (!take_number(reader, len, &value))
        return cut(reader);
    token->type = value > INT64_MAX ? HUGE_INTEGER : INTEGER;
    token->number = (int64_t)value;
    return TW_OK;
}

static enum tw_rc take_signed(struct reader *reader, size_t len, struct token *token)
{
    uint64_t value = 0;

    if (!take_number(reader, len, &value))
        return cut(reader);
    token->type = INTEGER;
    switch (len) {
    case 1:
        token->number = (int64_t)(int8_t)value;
        break;
    case 2:
        token->number = (int16_t)value;
        break;
    case 4:
        token->number = (int32_t)value;
        break;
    default:
        token->number = (int64_t)value;
        break;
    }
    return TW_OK;
}

static enum tw_rc take_bytes(struct reader *reader, uint64_t len, enum token_type type, struct token *token)
{
    if (len > left(reader))
        return cut(reader);
    token->type = type;
    token->bytes = (struct tw_str){(const char *)reader->at, (size_t)len};
    reader->at += len;
    return TW_OK;
}

/* Text, bin or ext whose length stands in @p width bytes; an ext has its type byte behind that. */
static enum tw_rc take_sized(struct reader *reader, size_t width, enum token_type type, struct token *token)
{
    uint64_t len = 0;

    if (!take_number(reader, width, &len))
        return cut(reader);
    return take_bytes(reader, len + (type == EXT), type, token);
}

/* An element takes a byte at least, a pair two: a count beyond what is left is a lie. */
static enum tw_rc take_count(struct reader *reader, uint64_t count, enum token_type type, struct token *token)
{
    if (count > left(reader) / (type == MAP ? 2 : 1))
        return cut(reader);
    token->type = type;
    token->count = (uint32_t)count;
    return TW_OK;
}

static enum tw_rc take_counted(struct reader *reader, size_t width, enum token_type type, struct token *token)
{
    uint64_t count = 0;

    if (!take_number(reader, width, &count))
        return cut(reader);
    return take_count(reader, count, type, token);
}

/* The heads 0xc0 to 0xdf, as the msgpack specification lists them. */
static enum tw_rc take_wide(struct reader *reader, uint8_t head, struct token *token)
{
    switch (head) {
    case 0xc0:
        token->type = NIL;
        return TW_OK;
    case 0xc1:
        return malformed(reader, "it has the byte 0xc1, which is never used");
    case 0xc2:
    case 0xc3:
        token->type = BOOL;
        token->number = head & 1;
        return TW_OK;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_sized(reader, (size_t)1 << (head - 0xc4), BIN, token);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_sized(reader, (size_t)1 << (head - 0xc7), EXT, token);
    case 0xca:
        return take_bytes(reader, 4, FLOAT, token);
    case 0xcb:
        return take_bytes(reader, 8, FLOAT, token);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take_unsigned(reader, (size_t)1 << (head - 0xcc), token);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_signed(reader, (size_t)1 << (head - 0xd0), token);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_bytes(reader, (UINT64_C(1) << (head - 0xd4)) + 1, EXT, token);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_sized(reader, (size_t)1 << (head - 0xd9), TEXT, token);
    case 0xdc:
        return take_counted(reader, 2, ARRAY, token);
    case 0xdd:
        return take_counted(reader, 4, ARRAY, token);
    case 0xde:
        return take_counted(reader, 2, MAP, token);
    default:
        return take_counted(reader, 4, MAP, token);
    }
}

/* Reads one head and, for text and bytes, what follows it. */
static enum tw_rc next_token(struct reader *reader, struct token *token)
{
    uint8_t head;

    if (reader->at == reader->end)
        return cut(reader);
    head = *reader->at++;
    if (head < 0x80 || head >= 0xe0) {
        token->type = INTEGER;
        token->number = (int64_t)(int8_t)head;
        return TW_OK;
    }
    if (head < 0x90)
        return take_count(reader, head & 0x0f, MAP, token);
    if (head < 0xa0)
        return take_count(reader, head & 0x0f, ARRAY, token);
    if (head < 0xc0)
        return take_bytes(reader, head & 0x1f, TEXT, token);
    return take_wide(reader, head, token);
}

/* Passes over one value, whatever it is. */
static enum tw_rc skip_value(struct reader *reader, int depth)
{
    struct token token;
    uint64_t     values;

    if (depth > DEPTH_MAX)
        return malformed(reader, "it is nested more than 16 deep");
    TW_TRY(next_token(reader, &token));
    if (token.type != ARRAY && token.type != MAP)
        return TW_OK;
    values = token.type == MAP ? (uint64_t)token.count * 2 : token.count;
    while (values-- > 0)
        TW_TRY(skip_value(reader, depth + 1));
    return TW_OK;
}

/* --- reading: fields ---------------------------------------------------------------------------------------------- */

static void path_text(const struct path *path, struct tw_buf *out)
{
    if (!path)
        return;
    path_text(path->up, out);
    if (path->name)
        tw_buf_printf(out, "%s%s", out->len ? "." : "", path->name);
    if (path->index >= 0)
        tw_buf_printf(out, "[%" PRId64 "]", path->index);
}

/* "field 'lines[3].quantity' must be 1 to 999" */
static enum tw_rc wrong(struct reader *reader, const struct path *path, const struct tw_field *field, const char *what)
{
    struct path   leaf = {path, field->name, -1};
    struct tw_buf name = {0};
    enum tw_rc    rc;

    path_text(&leaf, &name);
    rc = tw_fail(reader->reterr, TW_INVALID, "codec.unpack", 0, "field '%.*s' %s", TW_STR_ARG(tw_buf_str(&name)), what);
    tw_buf_done(&name);
    return rc;
}

static enum tw_rc out_of_range(struct reader *reader, const struct path *path, const struct tw_field *field)
{
    char text[160];

    tw_field_range_text(field, text, sizeof(text));
    return wrong(reader, path, field, text);
}

static enum tw_rc wrong_type(struct reader *reader, const struct path *path, const struct tw_field *field)
{
    return wrong(reader, path, field, tw_kind_text((enum tw_kind)field->kind));
}

static enum tw_rc read_struct(struct reader *reader, const struct tw_layout *layout, const struct path *path,
                              const struct token *head, char *ret_base);
static enum tw_rc read_value(struct reader *reader, const struct tw_field *field, const struct path *path,
                             const struct token *token, char *ret_member);

static bool is_in_range(const struct tw_field *field, int64_t value)
{
    return value >= field->min && value <= field->max;
}

static enum tw_rc read_uuid(struct reader *reader, const struct tw_field *field, const struct path *path,
                            const struct token *token, char *ret_member)
{
    struct tw_uuid id;

    if (field->kind == TW_KIND_UUID_BIN) {
        if (token->type != BIN || token->bytes.len != sizeof(id))
            return wrong_type(reader, path, field);
        memcpy(ret_member, token->bytes.ptr, sizeof(id));
        return TW_OK;
    }
    if (token->type != TEXT || !tw_uuid_parse(token->bytes, &id))
        return wrong_type(reader, path, field);
    memcpy(ret_member, &id, sizeof(id));
    return TW_OK;
}

static enum tw_rc read_string(struct reader *reader, const struct tw_field *field, const struct path *path,
                              const struct token *token, char *ret_member)
{
    if (token->type != TEXT)
        return wrong_type(reader, path, field);
    if (!is_in_range(field, (int64_t)token->bytes.len))
        return out_of_range(reader, path, field);
    if (!tw_str_is_utf8(token->bytes))
        return wrong(reader, path, field, "must be UTF-8 without NUL");
    if (field->format && !tw_format_matches((enum tw_format)field->format, token->bytes))
        return wrong(reader, path, field, tw_format_text((enum tw_format)field->format));
    memcpy(ret_member, &token->bytes, sizeof(token->bytes));
    return TW_OK;
}

static enum tw_rc read_bytes(struct reader *reader, const struct tw_field *field, const struct path *path,
                             const struct token *token, char *ret_member)
{
    if (token->type != BIN)
        return wrong_type(reader, path, field);
    if (!is_in_range(field, (int64_t)token->bytes.len))
        return out_of_range(reader, path, field);
    memcpy(ret_member, token->bytes.ptr, token->bytes.len);
    return TW_OK;
}

static enum tw_rc read_integer(struct reader *reader, const struct tw_field *field, const struct path *path,
                               const struct token *token, char *ret_member)
{
    if (token->type == HUGE_INTEGER)
        return out_of_range(reader, path, field);
    if (token->type != INTEGER)
        return wrong_type(reader, path, field);
    if (!is_in_range(field, token->number))
        return out_of_range(reader, path, field);
    memcpy(ret_member, &token->number, sizeof(token->number));
    return TW_OK;
}

static enum tw_rc read_bool(struct reader *reader, const struct tw_field *field, const struct path *path,
                            const struct token *token, char *ret_member)
{
    if (token->type != BOOL)
        return wrong_type(reader, path, field);
    *(bool *)ret_member = token->number != 0;
    return TW_OK;
}

static enum tw_rc read_decimal(struct reader *reader, const struct tw_field *field, const struct path *path,
                               const struct token *token, char *ret_member)
{
    int64_t hundredths = 0;

    if (token->type != TEXT || !tw_decimal_parse(token->bytes, &hundredths))
        return wrong_type(reader, path, field);
    if (!is_in_range(field, hundredths))
        return out_of_range(reader, path, field);
    memcpy(ret_member, &hundredths, sizeof(hundredths));
    return TW_OK;
}

static enum tw_rc read_enum(struct reader *reader, const struct tw_field *field, const struct path *path,
                            const struct token *token, char *ret_member)
{
    int64_t  number = token->number;
    uint32_t value;

    if (token->type != (field->kind == TW_KIND_ENUM ? TEXT : INTEGER))
        return wrong_type(reader, path, field);
    if (field->kind == TW_KIND_ENUM)
        number = tw_enum_find(field, token->bytes);
    if (number < 0 || number > field->max)
        return out_of_range(reader, path, field);
    value = (uint32_t)number;
    memcpy(ret_member, &value, sizeof(value));
    return TW_OK;
}

static enum tw_rc read_item(struct reader *reader, const struct tw_field *field, const struct path *path,
                            char *ret_item)
{
    struct token token;

    TW_TRY(next_token(reader, &token));
    if (!field->layout)
        return read_value(reader, field->item, path, &token, ret_item);
    return read_struct(reader, field->layout, path, &token, ret_item);
}

static enum tw_rc read_list(struct reader *reader, const struct tw_field *field, const struct path *path,
                            const struct token *token, char *ret_member)
{
    struct path    here = {path, field->name, 0};
    struct tw_list list = {0};

    if (token->type != ARRAY)
        return wrong_type(reader, path, field);
    if (!is_in_range(field, token->count))
        return out_of_range(reader, path, field);
    if (token->count > 0)
        list.items = tw_arena_array(reader->arena, token->count, field->item_size);
    list.len = list.cap = token->count;
    for (uint32_t i = 0; i < list.len; i++) {
        here.index = i;
        TW_TRY(read_item(reader, field, &here, (char *)list.items + (size_t)i * field->item_size));
    }
    tw_list_set(ret_member, list);
    return TW_OK;
}

static bool has_name(const struct tw_pair *pairs, uint32_t count, struct tw_str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tw_str_eq(pairs[i].name, name))
            return true;
    return false;
}

static enum tw_rc read_pair(struct reader *reader, const struct tw_field *field, const struct path *path,
                            struct tw_pair *pairs, uint32_t index)
{
    struct path  here = {path, field->name, (int64_t)index};
    struct token name, value;

    TW_TRY(next_token(reader, &name));
    if (name.type != TEXT || !tw_map_name_is_valid(name.bytes))
        return wrong(reader, path, field, "must have names of 1 to 100 bytes without '$' and '.'");
    if (has_name(pairs, index, name.bytes))
        return wrong(reader, path, field, "has the same name twice");
    pairs[index].name = name.bytes;
    TW_TRY(next_token(reader, &value));
    return read_value(reader, field->item, &here, &value, (char *)&pairs[index].value);
}

static enum tw_rc read_map(struct reader *reader, const struct tw_field *field, const struct path *path,
                           const struct token *token, char *ret_member)
{
    struct tw_pair *pairs = NULL;

    if (token->type != MAP)
        return wrong_type(reader, path, field);
    if (!is_in_range(field, token->count))
        return out_of_range(reader, path, field);
    if (token->count > 0)
        pairs = TW_NEW_ARRAY(reader->arena, token->count, struct tw_pair);
    for (uint32_t i = 0; i < token->count; i++)
        TW_TRY(read_pair(reader, field, path, pairs, i));
    tw_list_set(ret_member, (struct tw_list){pairs, token->count, token->count});
    return TW_OK;
}

static enum tw_rc read_value(struct reader *reader, const struct tw_field *field, const struct path *path,
                             const struct token *token, char *ret_member)
{
    struct path here = {path, field->name, -1};

    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        return read_uuid(reader, field, path, token, ret_member);
    case TW_KIND_STRING:
        return read_string(reader, field, path, token, ret_member);
    case TW_KIND_BYTES:
        return read_bytes(reader, field, path, token, ret_member);
    case TW_KIND_INT:
    case TW_KIND_DECIMAL_INT:
    case TW_KIND_TIME:
        return read_integer(reader, field, path, token, ret_member);
    case TW_KIND_BOOL:
        return read_bool(reader, field, path, token, ret_member);
    case TW_KIND_DECIMAL:
        return read_decimal(reader, field, path, token, ret_member);
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        return read_enum(reader, field, path, token, ret_member);
    case TW_KIND_LIST:
        return read_list(reader, field, path, token, ret_member);
    case TW_KIND_MAP:
        return read_map(reader, field, path, token, ret_member);
    case TW_KIND_STRUCT:
        return read_struct(reader, field->layout, &here, token, ret_member);
    }
    return wrong_type(reader, path, field);
}

static bool is_key_next(const struct reader *reader, const struct tw_field *field)
{
    return left(reader) >= field->key_len && memcmp(reader->at, field->key, field->key_len) == 0;
}

/* Writers keep the schema's order and leave out optional fields, so the next key is nearly always found here. */
static const struct tw_field *expected_field(struct reader *reader, const struct tw_layout *layout, size_t from)
{
    for (size_t i = from; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (is_key_next(reader, field)) {
            reader->at += field->key_len;
            return field;
        }
        if (!field->optional)
            break;
    }
    return NULL;
}

static const struct tw_field *find_field(const struct tw_layout *layout, struct tw_str key)
{
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (key.len + 1 == field->key_len && memcmp(key.ptr, field->key + 1, key.len) == 0)
            return field;
    }
    return NULL;
}

struct names {
    struct tw_str *items;
    uint32_t       len;
    uint32_t       cap;
};

/* A field of a later version: remembered, so that it too is there only once, and passed over. */
static enum tw_rc skip_unknown(struct reader *reader, struct tw_str key, struct names *unknown)
{
    for (uint32_t i = 0; i < unknown->len; i++)
        if (tw_str_eq(unknown->items[i], key))
            return malformed(reader, "an unknown field is there twice");
    if (unknown->len == UNKNOWN_MAX)
        return malformed(reader, "it has more than 64 unknown fields");
    unknown->items = tw_arena_grow(reader->arena, unknown->items, unknown->len, &unknown->cap, sizeof(*unknown->items));
    unknown->items[unknown->len++] = key;
    return skip_value(reader, 2);
}

/* Any key in any order. @p ret_field is NULL when it was an unknown one, which is dealt with. */
static enum tw_rc searched_field(struct reader *reader, const struct tw_layout *layout, struct names *unknown,
                                 const struct tw_field **ret_field)
{
    struct token key;

    TW_TRY(next_token(reader, &key));
    if (key.type != TEXT)
        return malformed(reader, "a key is not text");
    *ret_field = find_field(layout, key.bytes);
    return *ret_field ? TW_OK : skip_unknown(reader, key.bytes, unknown);
}

/* nil for an optional field is the same as leaving it out: some writers do so. */
static enum tw_rc read_field(struct reader *reader, const struct tw_field *field, const struct path *path,
                             char *ret_base)
{
    struct token token;

    TW_TRY(next_token(reader, &token));
    if (field->optional) {
        if (token.type == NIL)
            return TW_OK;
        *(bool *)(ret_base + field->has_offset) = true;
    }
    return read_value(reader, field, path, &token, ret_base + field->offset);
}

static enum tw_rc read_struct(struct reader *reader, const struct tw_layout *layout, const struct path *path,
                              const struct token *head, char *ret_base)
{
    struct names unknown = {0};
    uint64_t     seen = 0, missing;
    size_t       next = 0;

    if (head->type != MAP)
        return malformed(reader, "there must be a map");
    for (uint32_t i = 0; i < head->count; i++) {
        const struct tw_field *field = expected_field(reader, layout, next);

        if (!field)
            TW_TRY(searched_field(reader, layout, &unknown, &field));
        if (!field)
            continue;
        next = (size_t)(field - layout->fields);
        if (seen & UINT64_C(1) << next)
            return wrong(reader, path, field, "is there twice");
        seen |= UINT64_C(1) << next++;
        TW_TRY(read_field(reader, field, path, ret_base));
    }
    missing = layout->required & ~seen;
    if (missing)
        return wrong(reader, path, &layout->fields[__builtin_ctzll(missing)], "is missing");
    return TW_OK;
}

enum tw_rc tw_codec_unpack(const struct tw_layout *layout, struct tw_str bytes, struct tw_arena *arena, void *ret_value,
                           struct tw_err *reterr)
{
    const uint8_t *at = (const uint8_t *)(bytes.len ? bytes.ptr : "");
    struct reader  reader = {at, at + bytes.len, arena, reterr};
    char          *value = tw_arena_alloc(arena, layout->size);
    struct token   head;

    TW_TRY(next_token(&reader, &head));
    TW_TRY(read_struct(&reader, layout, NULL, &head, value));
    if (reader.at != reader.end)
        return malformed(&reader, "bytes follow the message");
    memcpy(ret_value, value, layout->size);
    return TW_OK;
}

/* --- copying ------------------------------------------------------------------------------------------------------ */

static void own_lists(const struct tw_layout *layout, struct tw_arena *arena, char *value);

static void own_list(const struct tw_field *field, struct tw_arena *arena, char *member)
{
    struct tw_list list = tw_list_get(member);
    size_t         size = (size_t)list.len * field->item_size;
    void          *items = NULL;

    if (list.len > 0) {
        items = tw_arena_alloc(arena, size);
        memcpy(items, list.items, size);
    }
    tw_list_set(member, (struct tw_list){items, list.len, list.len});
    if (field->layout && field->layout->has_lists)
        for (uint32_t i = 0; i < list.len; i++)
            own_lists(field->layout, arena, (char *)items + (size_t)i * field->item_size);
}

/* Gives a bitwise copy lists of its own. */
static void own_lists(const struct tw_layout *layout, struct tw_arena *arena, char *value)
{
    for (size_t i = 0; layout->has_lists && i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (field->kind == TW_KIND_LIST || field->kind == TW_KIND_MAP)
            own_list(field, arena, value + field->offset);
        else if (field->kind == TW_KIND_STRUCT)
            own_lists(field->layout, arena, value + field->offset);
    }
}

void tw_codec_copy(const struct tw_layout *layout, const void *from, struct tw_arena *arena, void *ret_to)
{
    memcpy(ret_to, from, layout->size);
    own_lists(layout, arena, ret_to);
}
