/* Changes of JSON texts: one value of the document becomes another, goes, or gets a neighbour. */
#include <jansson.h>
#include <string.h>

#include "fuzz.h"

enum { VALUES_MAX = 256, LONG_TEXT = 9000 };

struct place {
    json_t     *parent; /* NULL: the document itself */
    const char *name;   /* in an object; NULL: in an array, at `index` */
    size_t      index;
    json_t     *value;
};

struct places {
    struct place items[VALUES_MAX];
    size_t       count;
};

static void collect(struct places *places, json_t *parent, const char *name, size_t index, json_t *value)
{
    const char *key;
    json_t     *part;
    size_t      i;

    if (places->count == VALUES_MAX)
        return;
    places->items[places->count++] = (struct place){parent, name, index, value};
    json_object_foreach(value, key, part) collect(places, value, key, 0, part);
    json_array_foreach(value, i, part) collect(places, value, NULL, i, part);
}

static json_t *long_text(uint64_t *random)
{
    static const uint16_t lengths[] = {0,   1,   2,   16,  36,  50,  51,  64,   65,   100,
                                       101, 128, 129, 200, 201, 320, 321, 2048, 2049, LONG_TEXT};
    static char           letters[LONG_TEXT];

    memset(letters, 'a', sizeof(letters));
    return json_stringn_nocheck(letters, lengths[tw_fuzz_dice(random, TW_LEN(lengths))]);
}

static json_t *other_text(uint64_t *random)
{
    static const char *const texts[] = {"0.00",
                                        "0.01",
                                        "199.00",
                                        "9999999999.99",
                                        "-1.00",
                                        "1e3",
                                        "a@example.com",
                                        "https://example.com/x",
                                        "+6281234567890",
                                        "ACTIVE",
                                        "2026-11-23T10:00:00.000Z",
                                        "\xc3\xa9",
                                        "A b",
                                        "$.",
                                        "\xf0\x9f\x9b\x92"};

    return json_string(texts[tw_fuzz_dice(random, TW_LEN(texts))]);
}

static json_t *number(uint64_t *random)
{
    static const json_int_t told[] = {0, 1, -1, 5, 6, 20, 21, 99, 100, 999, 1000, INT64_MAX, INT64_MIN, 1LL << 53};

    return json_integer(told[tw_fuzz_dice(random, TW_LEN(told))]);
}

static json_t *changed_text(const json_t *text, uint64_t *random)
{
    struct tw_buf changed = {0};
    json_t       *value;

    tw_fuzz_add_mutated(&changed, (struct tw_str){json_string_value(text), json_string_length(text)}, 8);
    value = tw_str_is_utf8(tw_buf_str(&changed)) ? json_stringn(changed.ptr, changed.len) : other_text(random);
    tw_buf_done(&changed);
    return value;
}

/* A new reference. */
static json_t *new_value(const struct places *places, const json_t *old, uint64_t *random)
{
    if (json_is_string(old) && tw_fuzz_dice(random, 4) > 0)
        return tw_fuzz_dice(random, 2) ? changed_text(old, random) : long_text(random);
    switch (tw_fuzz_dice(random, 8)) {
    case 0:
        return long_text(random);
    case 1:
        return other_text(random);
    case 2:
        return number(random);
    case 3:
        return json_null();
    case 4:
        return json_boolean(tw_fuzz_dice(random, 2));
    case 5:
        return json_array();
    case 6:
        return json_object();
    default:
        return json_deep_copy(places->items[tw_fuzz_dice(random, places->count)].value);
    }
}

static void put(const struct place *place, json_t *value)
{
    if (place->name)
        json_object_set_new(place->parent, place->name, value);
    else
        json_array_set_new(place->parent, place->index, value);
}

static void drop(const struct place *place)
{
    if (place->name)
        json_object_del(place->parent, place->name);
    else
        json_array_remove(place->parent, place->index);
}

/* Beside the value: in a list a copy, in an object a member whose name is nearly the same. */
static void add_neighbour(const struct places *places, const struct place *place, uint64_t *random)
{
    struct tw_buf name = {0};

    if (!place->name) {
        json_array_insert_new(place->parent, place->index, json_deep_copy(place->value));
        return;
    }
    tw_fuzz_add_mutated(&name, tw_str_of(place->name), 4);
    tw_buf_add(&name, "", 1);
    json_object_set_new(place->parent, name.ptr, new_value(places, place->value, random)); /* a bad name: nothing */
    tw_buf_done(&name);
}

static json_t *change(json_t *document, uint64_t *random)
{
    static struct places places;
    const struct place  *place;

    places.count = 0;
    collect(&places, NULL, NULL, 0, document);
    place = &places.items[tw_fuzz_dice(random, places.count)];
    if (!place->parent)
        return places.count > 1 ? document : (json_decref(document), new_value(&places, NULL, random));
    switch (tw_fuzz_dice(random, 4)) {
    case 0:
        drop(place);
        break;
    case 1:
        add_neighbour(&places, place, random);
        break;
    default:
        put(place, new_value(&places, place->value, random));
        break;
    }
    return document;
}

static int add_text(const char *bytes, size_t len, void *out)
{
    tw_buf_add(out, bytes, len);
    return 0;
}

bool tw_fuzz_mutate_json(struct tw_str text, uint64_t *random, struct tw_buf *out)
{
    json_t *document = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    if (!document)
        return false;
    document = change(document, random);
    json_dump_callback(document, add_text, out,
                       JSON_COMPACT | JSON_ENCODE_ANY | (tw_fuzz_dice(random, 2) ? JSON_ENSURE_ASCII : 0U));
    json_decref(document);
    return true;
}
