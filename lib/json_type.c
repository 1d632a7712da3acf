#include "tillwire/json_type.h"

#include <string.h>

/** Members of generated structs are read by their offsets, so by copies: no pointer to another type is followed. */
#define READ(type, from)                               \
    __extension__({                                    \
        type read_value;                               \
        memcpy(&read_value, from, sizeof(read_value)); \
        read_value;                                    \
    })

static void write_bytes(struct tw_json *json, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char              text[2 * 64];

    len = len < sizeof(text) / 2 ? len : sizeof(text) / 2;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    tw_json_text(json, (struct tw_str){text, 2 * len});
}

static void write_list(struct tw_json *json, const struct tw_field *field, const void *member, tw_json_shows_fn shows);

static void write_map(struct tw_json *json, const void *member)
{
    struct tw_list        list = tw_list_get(member);
    const struct tw_pair *pairs = list.items;

    tw_json_open(json, '{');
    for (uint32_t i = 0; i < list.len; i++) {
        tw_json_key_text(json, pairs[i].name);
        tw_json_text(json, pairs[i].value);
    }
    tw_json_close(json, '}');
}

static void write_value(struct tw_json *json, const struct tw_field *field, const void *member, tw_json_shows_fn shows)
{
    switch ((enum tw_kind)field->kind) {
    case TW_KIND_UUID:
    case TW_KIND_UUID_BIN:
        tw_json_uuid(json, READ(struct tw_uuid, member));
        break;
    case TW_KIND_STRING:
        tw_json_text(json, READ(struct tw_str, member));
        break;
    case TW_KIND_BYTES:
        write_bytes(json, member, (size_t)field->max);
        break;
    case TW_KIND_INT:
        tw_json_int(json, READ(int64_t, member));
        break;
    case TW_KIND_TIME:
        tw_json_time(json, READ(int64_t, member));
        break;
    case TW_KIND_BOOL:
        tw_json_bool(json, READ(bool, member));
        break;
    case TW_KIND_DECIMAL:
    case TW_KIND_DECIMAL_INT:
        tw_json_money(json, READ(int64_t, member));
        break;
    case TW_KIND_ENUM:
    case TW_KIND_ENUM_INT:
        tw_json_text(json, field->values[READ(uint32_t, member)]);
        break;
    case TW_KIND_LIST:
        write_list(json, field, member, shows);
        break;
    case TW_KIND_MAP:
        write_map(json, member);
        break;
    case TW_KIND_STRUCT:
        tw_json_struct_where(json, field->layout, member, shows);
        break;
    }
}

static void write_list(struct tw_json *json, const struct tw_field *field, const void *member, tw_json_shows_fn shows)
{
    struct tw_list list = tw_list_get(member);
    const char    *items = list.items;

    tw_json_open(json, '[');
    for (uint32_t i = 0; i < list.len; i++) {
        const void *item = items + (size_t)i * field->item_size;

        if (field->layout)
            tw_json_struct_where(json, field->layout, item, shows);
        else
            write_value(json, field->item, item, shows);
    }
    tw_json_close(json, ']');
}

static bool has_value(const struct tw_field *field, const char *value)
{
    return !field->optional || READ(bool, value + field->has_offset);
}

void tw_json_struct_where(struct tw_json *json, const struct tw_layout *layout, const void *value,
                          tw_json_shows_fn shows)
{
    const char *bytes = value;

    tw_json_open(json, '{');
    for (size_t i = 0; i < layout->field_count; i++) {
        const struct tw_field *field = &layout->fields[i];

        if (!shows(field) || !has_value(field, bytes))
            continue;
        tw_json_key(json, field->name);
        write_value(json, field, bytes + field->offset, shows);
    }
    tw_json_close(json, '}');
}

static bool is_for_everybody(const struct tw_field *field)
{
    return !field->internal;
}

void tw_json_struct(struct tw_json *json, const struct tw_layout *layout, const void *value)
{
    tw_json_struct_where(json, layout, value, is_for_everybody);
}
