#include "canonical.h"

#include <stdio.h>
#include <string.h>

#include "tillwire/cart_keys.h"
#include "tillwire/gen/member_messages.h"
#include "tillwire/json_type.h"
#include "tillwire/settings.h"

/* Members of generated structs are read by their offsets, so by copies: no pointer to another type is followed. */
#define READ(type, from)                               \
    __extension__({                                    \
        type read_value;                               \
        memcpy(&read_value, from, sizeof(read_value)); \
        read_value;                                    \
    })

/* --- what has ended ----------------------------------------------------------------------------------------------- */

static const struct tw_member *without_ended_tokens(const struct tw_member *member, int64_t clock_ms,
                                                    struct tw_arena *arena)
{
    struct tw_member *live = TW_NEW(arena, struct tw_member);

    tw_member_type.copy(member, arena, live);
    live->tokens_len = 0;
    for (uint32_t i = 0; i < member->tokens_len; i++)
        if (member->tokens[i].expires_at_ms > clock_ms)
            live->tokens[live->tokens_len++] = member->tokens[i];
    return live;
}

const void *tw_canonical_live(const struct tw_type *type, const void *state, int64_t clock_ms, struct tw_arena *arena)
{
    if (type == &tw_cart_type)
        return tw_cart_is_live(state, clock_ms) ? state : NULL;
    if (type == &tw_member_type)
        return without_ended_tokens(state, clock_ms, arena);
    return state;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

void tw_canonical_name(const struct tw_type *type, const struct tw_key *key, struct tw_buf *out)
{
    char id[TW_UUID_TEXT + 1];

    tw_uuid_format(key->id, id);
    tw_buf_printf(out, "%s %s", type->name, id);
    if (tw_uuid_is_nil(key->sub))
        return;
    tw_uuid_format(key->sub, id);
    tw_buf_printf(out, "/%s", id);
}

void tw_canonical_entity(const struct tw_type *type, const struct tw_key *key, const void *state, struct tw_buf *out)
{
    struct tw_json json = {.out = out};

    tw_canonical_name(type, key, out);
    tw_buf_add_str(out, TW_STR(" "));
    tw_json_struct(&json, type->layout, state);
}

/* A row's fields in their order; the same walk writes and compares. */
struct row_field {
    const char *name;
    void (*write)(const struct tw_ledger_row *row, struct tw_json *json);
};

static void write_caller(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_uuid(json, row->caller);
}

static void write_fingerprint(const struct tw_ledger_row *row, struct tw_json *json)
{
    char hex[2 * TW_FINGERPRINT_BYTES + 1];

    tw_hex_format(row->fingerprint, TW_FINGERPRINT_BYTES, hex);
    tw_json_text(json, tw_str_of(hex));
}

static void write_type(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_text(json, row->type);
}

static void write_status(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_text(json, tw_str_of(tw_status_name(row->outcome.status)));
}

static void write_http_status(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_int(json, row->outcome.http_status);
}

static void write_problem(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_text(json, tw_str_of(tw_problem_code(row->outcome.problem)));
}

static void write_detail(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_text(json, row->outcome.detail);
}

static void write_resource(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_text(json, row->outcome.resource);
}

static void write_offset(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_int(json, row->offset);
}

static void write_submitted(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_time(json, row->submitted_ms);
}

static void write_decided(const struct tw_ledger_row *row, struct tw_json *json)
{
    tw_json_time(json, row->at_ms);
}

static const struct row_field row_fields[] = {
    {"caller", write_caller},          {"fingerprint", write_fingerprint}, {"type", write_type},
    {"status", write_status},          {"http_status", write_http_status}, {"problem", write_problem},
    {"detail", write_detail},          {"resource", write_resource},       {"offset", write_offset},
    {"submitted_at", write_submitted}, {"decided_at", write_decided},
};

void tw_canonical_row(int32_t partition, const struct tw_ledger_row *row, struct tw_buf *out)
{
    struct tw_json json = {.out = out};
    char           id[TW_UUID_TEXT + 1];

    tw_uuid_format(row->id, id);
    tw_buf_printf(out, "command %s %d ", id, (int)partition);
    tw_json_open(&json, '{');
    for (size_t i = 0; i < TW_LEN(row_fields); i++) {
        tw_json_key(&json, row_fields[i].name);
        row_fields[i].write(row, &json);
    }
    tw_json_close(&json, '}');
}

/* --- differences -------------------------------------------------------------------------------------------------- */

struct comparison {
    const char    *other; /* "the log says" */
    struct tw_buf *out;
    char           path[160]; /* of the field that is compared: "addresses[1]." */
};

static bool differs(struct comparison *comparison, const struct tw_layout *layout, const void *stored,
                    const void *wanted);

/* One field as JSON: a struct of that field alone, without its name and braces. */
static void add_value(const struct tw_field *field, const void *value, struct tw_buf *out)
{
    const struct tw_layout alone = {.name = "", .fields = field, .field_count = 1};
    struct tw_buf          text = {0};
    struct tw_json         json = {.out = &text};
    size_t                 before;

    tw_json_struct(&json, &alone, value);
    before = text.len > 2 ? strlen(field->name) + 4 : 0; /* {"name": */
    if (before)
        tw_buf_add(out, text.ptr + before, text.len - before - 1);
    else
        tw_buf_add_str(out, TW_STR("absent"));
    tw_buf_done(&text);
}

static bool tell(struct comparison *comparison, const struct tw_field *field, const void *stored, const void *wanted)
{
    if (tw_field_is_secret(field)) { /* compared, too, but nobody should read it off a terminal */
        tw_buf_printf(comparison->out, "%s%s is another one than %s", comparison->path, field->name, comparison->other);
        return true;
    }
    tw_buf_printf(comparison->out, "%s%s is ", comparison->path, field->name);
    add_value(field, stored, comparison->out);
    tw_buf_printf(comparison->out, ", %s ", comparison->other);
    add_value(field, wanted, comparison->out);
    return true;
}

static bool has(const struct tw_field *field, const char *value)
{
    return !field->optional || READ(bool, value + field->has_offset);
}

/* Whatever is not a struct or a list of structs is compared as it is written. */
static bool is_written_the_same(const struct tw_field *field, const void *stored, const void *wanted)
{
    struct tw_buf a = {0}, b = {0};
    bool          same;

    add_value(field, stored, &a);
    add_value(field, wanted, &b);
    same = tw_str_eq(tw_buf_str(&a), tw_buf_str(&b));
    tw_buf_done(&a);
    tw_buf_done(&b);
    return same;
}

/* Goes into an embedded struct with its name in front of the fields' names. */
static bool differs_inside(struct comparison *comparison, const struct tw_layout *layout, const char *name,
                           const void *stored, const void *wanted)
{
    size_t len = strlen(comparison->path);
    bool   found;

    snprintf(comparison->path + len, sizeof(comparison->path) - len, "%s.", name);
    found = differs(comparison, layout, stored, wanted);
    comparison->path[len] = '\0';
    return found;
}

static bool list_differs(struct comparison *comparison, const struct tw_field *field, const char *stored,
                         const char *wanted)
{
    struct tw_list a = tw_list_get(stored + field->offset), b = tw_list_get(wanted + field->offset);
    char           name[80];

    for (uint32_t i = 0; i < a.len && i < b.len; i++) {
        size_t at = (size_t)i * field->item_size;

        snprintf(name, sizeof(name), "%s[%u]", field->name, (unsigned int)i);
        if (differs_inside(comparison, field->layout, name, (const char *)a.items + at, (const char *)b.items + at))
            return true;
    }
    if (a.len != b.len)
        tw_buf_printf(comparison->out, "%s%s has %u elements, %s %u", comparison->path, field->name,
                      (unsigned int)a.len, comparison->other, (unsigned int)b.len);
    return a.len != b.len;
}

static bool field_differs(struct comparison *comparison, const struct tw_field *field, const char *stored,
                          const char *wanted)
{
    if (has(field, stored) != has(field, wanted))
        return tell(comparison, field, stored, wanted);
    if (!has(field, stored))
        return false;
    if (field->kind == TW_KIND_STRUCT)
        return differs_inside(comparison, field->layout, field->name, stored + field->offset, wanted + field->offset);
    if (field->kind == TW_KIND_LIST && field->layout)
        return list_differs(comparison, field, stored, wanted);
    return !is_written_the_same(field, stored, wanted) && tell(comparison, field, stored, wanted);
}

static bool differs(struct comparison *comparison, const struct tw_layout *layout, const void *stored,
                    const void *wanted)
{
    for (size_t i = 0; i < layout->field_count; i++)
        if (field_differs(comparison, &layout->fields[i], stored, wanted))
            return true;
    return false;
}

bool tw_canonical_difference(const struct tw_type *type, const void *stored, const void *wanted, const char *other,
                             struct tw_buf *out)
{
    struct comparison comparison = {.other = other, .out = out};

    return differs(&comparison, type->layout, stored, wanted);
}

static void row_value(const struct row_field *field, const struct tw_ledger_row *row, struct tw_buf *out)
{
    struct tw_json json = {.out = out};

    field->write(row, &json);
}

bool tw_canonical_row_difference(const struct tw_ledger_row *stored, const struct tw_ledger_row *wanted,
                                 const char *other, struct tw_buf *out)
{
    struct tw_buf a = {0}, b = {0};
    bool          found = false;

    for (size_t i = 0; i < TW_LEN(row_fields) && !found; i++) {
        tw_buf_clear(&a);
        tw_buf_clear(&b);
        row_value(&row_fields[i], stored, &a);
        row_value(&row_fields[i], wanted, &b);
        found = !tw_str_eq(tw_buf_str(&a), tw_buf_str(&b));
        if (found)
            tw_buf_printf(out, "%s is %.*s, %s %.*s", row_fields[i].name, TW_STR_ARG(tw_buf_str(&a)), other,
                          TW_STR_ARG(tw_buf_str(&b)));
    }
    tw_buf_done(&a);
    tw_buf_done(&b);
    return found;
}
