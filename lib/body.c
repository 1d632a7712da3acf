/*
 * JSON bodies by the tables of schemas/generate.py. Unlike the codec it does not stop at the first fault: a person
 * fixes all of them at once.
 */
#include "tillwire/body.h"

#include <jansson.h>
#include <string.h>

#include "tillwire/clock.h"

struct reading {
    struct tw_arena        *arena;
    struct tw_field_errors *errors;
};

/* Where in the body we are: a chain on the stack. */
struct place {
    const struct place *up;
    struct tw_str       name;
    size_t              index; /* counts when name.ptr is NULL */
};

static void read_value(const struct reading *reading, const struct tw_field *field, const struct place *place,
                       const json_t *json, char *ret_member);
static void read_object(const struct reading *reading, const struct tw_layout *layout, const struct place *place,
                        const json_t *json, char *ret_base);

/* --- errors ------------------------------------------------------------------------------------------------------- */

static void add_error(struct tw_field_errors *errors, struct tw_str pointer, const char *code, struct tw_str detail)
{
    if (errors->count < TW_FIELD_ERRORS_MAX)
        errors->items[errors->count++] = (struct tw_field_error){pointer, tw_str_of(code), detail};
}

void tw_field_errors_add(struct tw_field_errors *errors, struct tw_arena *arena, struct tw_str pointer,
                         const char *code, const char *detail)
{
    add_error(errors, tw_arena_copy(arena, pointer), code, tw_arena_copy(arena, tw_str_of(detail)));
}

/* RFC 6901: `~` is written ~0, `/` is written ~1. */
static void escaped(struct tw_str name, struct tw_buf *out)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (c == '~' || c == '/')
            tw_buf_add(out, c == '~' ? "~0" : "~1", 2);
        else
            tw_buf_add(out, &c, 1);
    }
}

static void pointer_text(const struct place *place, struct tw_buf *out)
{
    if (!place)
        return;
    pointer_text(place->up, out);
    tw_buf_add(out, "/", 1);
    if (place->name.ptr)
        escaped(place->name, out);
    else
        tw_buf_printf(out, "%zu", place->index);
}

static void wrong(const struct reading *reading, const struct place *place, const char *code, const char *detail)
{
    struct tw_buf pointer = {0};

    pointer_text(place, &pointer);
    tw_field_errors_add(reading->errors, reading->arena, tw_buf_str(&pointer), code, detail);
    tw_buf_done(&pointer);
}

static void out_of_range(const struct reading *reading, const struct place *place, const struct tw_field *field,
                         const char *code)
{
    char text[160];

    tw_field_range_text(field, text, sizeof(text));
    wrong(reading, place, code, text);
}

/* In JSON, times are text and maps are objects. */
static void wrong_type(const struct reading *reading, const struct place *place, const struct tw_field *field)
{
    const char *text = tw_kind_text((enum tw_kind)field->kind);

    if (field->kind == TW_KIND_TIME)
        text = "must be an RFC 3339 time such as \"2026-11-23T10:00:00.000Z\"";
    else if (field->kind == TW_KIND_MAP || field->kind == TW_KIND_STRUCT)
        text = "must be an object";
    wrong(reading, place, TW_BODY_WRONG_TYPE, text);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static bool is_in_range(const struct tw_field *field, int64_t value)
{
    return value >= field->min && value <= field->max;
}

static struct tw_str text_of(const json_t *json)
{
    return (struct tw_str){json_string_value(json), json_string_length(json)};
}

static void read_string(const struct reading *reading, const struct tw_field *field, const struct place *place,
                        const json_t *json, char *ret_member)
{
    struct tw_str text;

    if (!json_is_string(json)) {
        wrong_type(reading, place, field);
        return;
    }
    text = text_of(json);
    if (!is_in_range(field, (int64_t)text.len)) {
        out_of_range(reading, place, field, TW_BODY_LENGTH);
    } else if (!tw_str_is_utf8(text)) {
        wrong(reading, place, TW_BODY_FORMAT, "must be UTF-8 without NUL");
    } else if (!tw_format_matches((enum tw_format)field->format, text)) {
        wrong(reading, place, TW_BODY_FORMAT, tw_format_text((enum tw_format)field->format));
    } else {
        text = tw_arena_copy(reading->arena, text);
        memcpy(ret_member, &text, sizeof(text));
    }
}

static void read_uuid(const struct reading *reading, const struct tw_field *field, const struct place *place,
                      const json_t *json, char *ret_member)
{
    struct tw_uuid id;

    if (!json_is_string(json))
        wrong_type(reading, place, field);
    else if (!tw_uuid_parse(text_of(json), &id))
        wrong(reading, place, TW_BODY_FORMAT, tw_kind_text(TW_KIND_UUID));
    else
        memcpy(ret_member, &id, sizeof(id));
}

static void read_int(const struct reading *reading, const struct tw_field *field, const struct place *place,
                     const json_t *json, char *ret_member)
{
    int64_t value;

    if (!json_is_integer(json)) {
        wrong_type(reading, place, field);
        return;
    }
    value = json_integer_value(json);
    if (!is_in_range(field, value))
        out_of_range(reading, place, field, TW_BODY_OUT_OF_RANGE);
    else
        memcpy(ret_member, &value, sizeof(value));
}

/* Money is a text: a JSON number has been through a double somewhere. */
static void read_decimal(const struct reading *reading, const struct tw_field *field, const struct place *place,
                         const json_t *json, char *ret_member)
{
    int64_t hundredths = 0;

    if (!json_is_string(json))
        wrong_type(reading, place, field);
    else if (!tw_decimal_parse(text_of(json), &hundredths))
        wrong(reading, place, TW_BODY_FORMAT, tw_kind_text(TW_KIND_DECIMAL));
    else if (!is_in_range(field, hundredths))
        out_of_range(reading, place, field, TW_BODY_OUT_OF_RANGE);
    else
        memcpy(ret_member, &hundredths, sizeof(hundredths));
}

static void read_time(const struct reading *reading, const struct tw_field *field, const struct place *place,
                      const json_t *json, char *ret_member)
{
    int64_t time_ms = 0;

    if (!json_is_string(json) || !tw_time_parse(text_of(json), &time_ms))
        wrong_type(reading, place, field);
    else if (!is_in_range(field, time_ms))
        out_of_range(reading, place, field, TW_BODY_OUT_OF_RANGE);
    else
        memcpy(ret_member, &time_ms, sizeof(time_ms));
}

static void read_bool(const struct reading *reading, const struct tw_field *field, const struct place *place,
                      const json_t *json, char *ret_member)
{
    if (!json_is_boolean(json))
        wrong_type(reading, place, field);
    else
        *(bool *)ret_member = json_is_true(json);
}

static void read_enum(const struct reading *reading, const struct tw_field *field, const struct place *place,
                      const json_t *json, char *ret_member)
{
    int      found;
    uint32_t number;

    if (!json_is_string(json)) {
        wrong_type(reading, place, field);
        return;
    }
    found = tw_enum_find(field, text_of(json));
    if (found < 0) {
        out_of_range(reading, place, field, TW_BODY_VALUE);
        return;
    }
    number = (uint32_t)found;
    memcpy(ret_member, &number, sizeof(number));
}

static void read_list(const struct reading *reading, const struct tw_field *field, const struct place *place,
                      const json_t *json, char *ret_member)
{
    struct tw_list list = {0};

    if (!json_is_array(json)) {
        wrong_type(reading, place, field);
        return;
    }
    if (!is_in_range(field, (int64_t)json_array_size(json))) {
        out_of_range(reading, place, field, TW_BODY_COUNT);
        return;
    }
    list.len = list.cap = (uint32_t)json_array_size(json);
    if (list.len > 0)
        list.items = tw_arena_array(reading->arena, list.len, field->item_size);
    for (uint32_t i = 0; i < list.len; i++) {
        struct place here = {place, {NULL, 0}, i};
        char        *item = (char *)list.items + (size_t)i * field->item_size;

        if (field->layout)
            read_object(reading, field->layout, &here, json_array_get(json, i), item);
        else
            read_value(reading, field->item, &here, json_array_get(json, i), item);
    }
    tw_list_set(ret_member, list);
}

/* jansson's iterator takes the object without const, but only reads. */
static json_t *unconst(const json_t *json)
{
    json_t *same;

    memcpy(&same, &json, sizeof(same));
    return same;
}

static struct tw_str name_at(void *at)
{
    return (struct tw_str){json_object_iter_key(at), json_object_iter_key_len(at)};
}

static void read_map(const struct reading *reading, const struct tw_field *field, const struct place *place,
                     const json_t *json, char *ret_member)
{
    struct tw_pair *pairs;
    struct tw_str  *null_names;
    uint32_t        len = 0, null_len = 0;

    if (!json_is_object(json)) {
        wrong_type(reading, place, field);
        return;
    }
    if (!is_in_range(field, (int64_t)json_object_size(json))) {
        out_of_range(reading, place, field, TW_BODY_COUNT);
        return;
    }
    pairs = TW_NEW_ARRAY(reading->arena, json_object_size(json), struct tw_pair);
    null_names = TW_NEW_ARRAY(reading->arena, json_object_size(json), struct tw_str);
    for (void *at = json_object_iter(unconst(json)); at; at = json_object_iter_next(unconst(json), at)) {
        struct tw_str name = name_at(at);
        struct place  here = {place, name, 0};

        if (!tw_map_name_is_valid(name))
            wrong(reading, &here, TW_BODY_NAME, "the name must have 1 to 100 bytes without '$' and '.'");
        if (field->null_clears && json_is_null(json_object_iter_value(at))) {
            null_names[null_len++] = tw_arena_copy(reading->arena, name);
            continue;
        }
        pairs[len].name = tw_arena_copy(reading->arena, name);
        read_value(reading, field->item, &here, json_object_iter_value(at), (char *)&pairs[len++].value);
    }
    tw_list_set(ret_member, (struct tw_list){pairs, len, len});
    if (field->null_clears)
        tw_list_set(ret_member - field->offset + field->null_offset, (struct tw_list){null_names, null_len, null_len});
}

static void read_value(const struct reading *reading, const struct tw_field *field, const struct place *place,
                       const json_t *json, char *ret_member)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
        read_uuid(reading, field, place, json, ret_member);
        return;
    case TW_KIND_STRING:
        read_string(reading, field, place, json, ret_member);
        return;
    case TW_KIND_INT:
        read_int(reading, field, place, json, ret_member);
        return;
    case TW_KIND_TIME:
        read_time(reading, field, place, json, ret_member);
        return;
    case TW_KIND_BOOL:
        read_bool(reading, field, place, json, ret_member);
        return;
    case TW_KIND_DECIMAL:
        read_decimal(reading, field, place, json, ret_member);
        return;
    case TW_KIND_ENUM:
        read_enum(reading, field, place, json, ret_member);
        return;
    case TW_KIND_LIST:
        read_list(reading, field, place, json, ret_member);
        return;
    case TW_KIND_MAP:
        read_map(reading, field, place, json, ret_member);
        return;
    case TW_KIND_STRUCT:
        read_object(reading, field->layout, place, json, ret_member);
        return;
    case TW_KIND_UUID_BIN:
    case TW_KIND_BYTES:
    case TW_KIND_DECIMAL_INT:
    case TW_KIND_ENUM_INT:
        break; /* the generator refuses them in bodies */
    }
    wrong_type(reading, place, field);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

static bool is_member(const struct tw_layout *layout, struct tw_str name)
{
    for (size_t i = 0; i < layout->field_count; i++)
        if (tw_str_is(name, layout->fields[i].name))
            return true;
    return false;
}

static void refuse_unknown(const struct reading *reading, const struct tw_layout *layout, const struct place *place,
                           const json_t *json)
{
    for (void *at = json_object_iter(unconst(json)); at; at = json_object_iter_next(unconst(json), at)) {
        struct place here = {place, name_at(at), 0};

        if (!is_member(layout, here.name))
            wrong(reading, &here, TW_BODY_UNKNOWN, "is no member of this body");
    }
}

static void read_member(const struct reading *reading, const struct tw_field *field, const struct place *place,
                        const json_t *json, char *ret_base)
{
    struct place  here = {place, tw_str_of(field->name), 0};
    const json_t *value = json_object_get(json, field->name);

    if (field->null_clears && field->kind != TW_KIND_MAP && value && json_is_null(value))
        *(bool *)(ret_base + field->null_offset) = true;
    if (field->optional && (!value || json_is_null(value)))
        return;
    if (!value) {
        wrong(reading, &here, TW_BODY_MISSING, "is missing");
        return;
    }
    if (field->optional)
        *(bool *)(ret_base + field->has_offset) = true;
    read_value(reading, field, &here, value, ret_base + field->offset);
}

static void read_object(const struct reading *reading, const struct tw_layout *layout, const struct place *place,
                        const json_t *json, char *ret_base)
{
    if (!json_is_object(json)) {
        wrong(reading, place, TW_BODY_WRONG_TYPE, "must be an object");
        return;
    }
    for (size_t i = 0; i < layout->field_count; i++)
        read_member(reading, &layout->fields[i], place, json, ret_base);
    refuse_unknown(reading, layout, place, json);
}

enum tw_rc tw_body_read(const struct tw_layout *layout, const struct json_t *body, struct tw_arena *arena,
                        void *ret_body, struct tw_field_errors *ret_errors)
{
    struct reading reading = {arena, ret_errors};
    char          *value = tw_arena_alloc(arena, layout->size);

    ret_errors->count = 0;
    read_object(&reading, layout, NULL, body, value);
    if (ret_errors->count > 0)
        return TW_INVALID;
    memcpy(ret_body, value, layout->size);
    return TW_OK;
}
