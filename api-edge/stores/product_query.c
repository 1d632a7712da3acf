#include "stores/product_query.h"

#include <bson/bson.h>
#include <string.h>

#include "tillwire/product_document.h"

enum value_kind { KIND_TIME, KIND_DECIMAL, KIND_LONG, KIND_TEXT };

static const struct order {
    const char     *name;  /* in the query of the URI */
    const char     *field; /* in the document */
    int             direction;
    enum value_kind kind;
} orders[] = {
    [TW_SORT_NEWEST] = {"newest", "created_at", -1, KIND_TIME},
    [TW_SORT_PRICE] = {"price", "effective_price", 1, KIND_DECIMAL},
    [TW_SORT_PRICE_DOWN] = {"-price", "effective_price", -1, KIND_DECIMAL},
    [TW_SORT_RATING_DOWN] = {"-rating", "rating", -1, KIND_DECIMAL},
    [TW_SORT_VIEWS_DOWN] = {"-view_count", "view_count", -1, KIND_LONG},
    [TW_SORT_NAME] = {"name", "name", 1, KIND_TEXT},
};

bool tw_product_sort_parse(struct tw_str text, enum tw_product_sort *ret_sort)
{
    for (size_t i = 0; i < TW_LEN(orders); i++) {
        if (tw_str_is(text, orders[i].name)) {
            *ret_sort = (enum tw_product_sort)i;
            return true;
        }
    }
    return false;
}

struct tw_product_place tw_product_place_of(const struct tw_product *product, enum tw_product_sort sort)
{
    const int64_t numbers[] = {
        [TW_SORT_NEWEST] = product->created_at_ms,
        [TW_SORT_PRICE] = product->effective_price_minor,
        [TW_SORT_PRICE_DOWN] = product->effective_price_minor,
        [TW_SORT_RATING_DOWN] = product->rating_hundredths,
        [TW_SORT_VIEWS_DOWN] = product->view_count,
        [TW_SORT_NAME] = 0,
    };
    struct tw_product_place place = {.number = numbers[sort]};

    if (sort == TW_SORT_NAME)
        place.name = product->name;
    tw_product_id_to_object_id(product->product_id, place.object_id);
    return place;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void append_text(bson_t *out, const char *key, struct tw_str text)
{
    bson_append_utf8(out, key, -1, text.ptr, (int)text.len);
}

static void append_decimal(bson_t *out, const char *key, int64_t hundredths)
{
    struct tw_decimal128 decimal = tw_decimal128_of(hundredths);
    bson_decimal128_t    value = {.low = decimal.low, .high = decimal.high};

    bson_append_decimal128(out, key, -1, &value);
}

static void append_value(bson_t *out, const char *key, const struct order *order, const struct tw_product_place *place)
{
    switch (order->kind) {
    case KIND_TIME:
        bson_append_date_time(out, key, -1, place->number);
        return;
    case KIND_DECIMAL:
        append_decimal(out, key, place->number);
        return;
    case KIND_LONG:
        bson_append_int64(out, key, -1, place->number);
        return;
    case KIND_TEXT:
        append_text(out, key, place->name);
        return;
    }
}

/* --- words -------------------------------------------------------------------------------------------------------- */

/** A quote would end the phrase that `$text` is given. */
static bool parts_words(char c)
{
    return c == ' ' || c == '"';
}

/** The next word of @p rest, which moves behind it; len 0: there is none. */
static struct tw_str next_word(struct tw_str *rest)
{
    size_t from = 0;
    size_t to;

    while (from < rest->len && parts_words(rest->ptr[from]))
        from++;
    for (to = from; to < rest->len && !parts_words(rest->ptr[to]);)
        to++;
    struct tw_str word = {rest->ptr + from, to - from};
    *rest = (struct tw_str){rest->ptr + to, rest->len - to};
    return word;
}

bool tw_product_has_words(struct tw_str text)
{
    return next_word(&text).len > 0;
}

/** `"black" "t-shirt"`: the server finds documents with all phrases, where it would take any of bare words. A phrase may
 *  stand inside a word there, so these are candidates only. `none`: no language's stems and stop words, as the index has
 *  it. */
static void append_text_search(struct tw_str q, struct tw_arena *arena, bson_t *out)
{
    char  *search = tw_arena_alloc(arena, 3 * q.len + 4);
    size_t len = 0;
    bson_t text;

    for (struct tw_str word = next_word(&q); word.len > 0; word = next_word(&q)) {
        search[len++] = '"';
        memcpy(search + len, word.ptr, word.len);
        len += word.len;
        search[len++] = '"';
        search[len++] = ' ';
    }
    bson_append_document_begin(out, "$text", -1, &text);
    bson_append_utf8(&text, "$search", -1, search, (int)len);
    BSON_APPEND_UTF8(&text, "$language", "none");
    bson_append_document_end(out, &text);
}

/** Whole words only, as an index of words finds them; whatever has a meaning in expressions is escaped. */
static const char *expression_of(struct tw_str word, struct tw_arena *arena)
{
    static const char before[] = "(^|[^\\p{L}\\p{N}])";
    static const char after[] = "($|[^\\p{L}\\p{N}])";
    char             *text = tw_arena_alloc(arena, sizeof(before) + 2 * word.len + sizeof(after));
    char             *at = text;

    memcpy(at, before, sizeof(before) - 1);
    at += sizeof(before) - 1;
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        bool is_plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
        if (!is_plain)
            *at++ = '\\';
        *at++ = c;
    }
    memcpy(at, after, sizeof(after));
    return text;
}

/** `{$or: [{name: /…/i}, {description: /…/i}, {tags: /…/i}]}` */
static void append_word(struct tw_str word, const char *key, struct tw_arena *arena, bson_t *list)
{
    static const char *const fields[] = {"name", "description", "tags"};
    static const char *const keys[] = {"0", "1", "2"};
    const char              *expression = expression_of(word, arena);
    bson_t                   document;
    bson_t                   any;

    bson_append_document_begin(list, key, -1, &document);
    bson_append_array_begin(&document, "$or", -1, &any);
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        bson_t one;
        bson_append_document_begin(&any, keys[i], -1, &one);
        bson_append_regex(&one, fields[i], -1, expression, "i");
        bson_append_document_end(&any, &one);
    }
    bson_append_array_end(&document, &any);
    bson_append_document_end(list, &document);
}

static void append_expressions(struct tw_str q, struct tw_arena *arena, bson_t *out)
{
    bson_t   all;
    uint32_t count = 0;

    bson_append_array_begin(out, "$and", -1, &all);
    for (struct tw_str word = next_word(&q); word.len > 0; word = next_word(&q)) {
        char        room[16];
        const char *key;
        bson_uint32_to_string(count++, &key, room, sizeof(room));
        append_word(word, key, arena, &all);
    }
    bson_append_array_end(out, &all);
}

/* --- filter and order --------------------------------------------------------------------------------------------- */

static void append_prices(const struct tw_product_filter *filter, bson_t *out)
{
    bson_t range;

    if (filter->min_price_minor < 0 && filter->max_price_minor < 0)
        return;
    bson_append_document_begin(out, "effective_price", -1, &range);
    if (filter->min_price_minor >= 0)
        append_decimal(&range, "$gte", filter->min_price_minor);
    if (filter->max_price_minor >= 0)
        append_decimal(&range, "$lte", filter->max_price_minor);
    bson_append_document_end(out, &range);
}

static void append_rating(const struct tw_product_filter *filter, bson_t *out)
{
    bson_t range;

    if (filter->min_rating_hundredths < 0)
        return;
    bson_append_document_begin(out, "rating", -1, &range);
    append_decimal(&range, "$gte", filter->min_rating_hundredths);
    bson_append_document_end(out, &range);
}

static void append_on_sale(const struct tw_product_filter *filter, bson_t *out)
{
    bson_t not_null;

    if (filter->on_sale == TW_SALE_NONE)
        BSON_APPEND_NULL(out, "discount_price");
    if (filter->on_sale != TW_SALE_ONLY)
        return;
    bson_append_document_begin(out, "discount_price", -1, &not_null);
    BSON_APPEND_NULL(&not_null, "$ne");
    bson_append_document_end(out, &not_null);
}

/** `{$or: [{field: {$gt: value}}, {field: value, _id: {$gt: id}}]}`: what comes behind the place. */
static void append_place(const struct order *order, const struct tw_product_place *after, bson_t *out)
{
    const char *behind = order->direction > 0 ? "$gt" : "$lt";
    bson_t      any;
    bson_t      one;
    bson_t      range;
    bson_oid_t  oid;

    memcpy(oid.bytes, after->object_id, sizeof(oid.bytes));
    bson_append_array_begin(out, "$or", -1, &any);
    bson_append_document_begin(&any, "0", -1, &one);
    bson_append_document_begin(&one, order->field, -1, &range);
    append_value(&range, behind, order, after);
    bson_append_document_end(&one, &range);
    bson_append_document_end(&any, &one);
    bson_append_document_begin(&any, "1", -1, &one);
    append_value(&one, order->field, order, after);
    bson_append_document_begin(&one, "_id", -1, &range);
    bson_append_oid(&range, behind, -1, &oid);
    bson_append_document_end(&one, &range);
    bson_append_document_end(&any, &one);
    bson_append_array_end(out, &any);
}

void tw_product_query_filter(const struct tw_product_filter *filter, const struct tw_product_place *after,
                             bool has_text_index, struct tw_arena *arena, bson_t *ret_query)
{
    const struct {
        const char   *field;
        struct tw_str value;
    } texts[] = {{"category", filter->category}, {"tags", filter->tag}, {"sku", filter->sku}, {"slug", filter->slug}};

    if (!filter->with_inactive)
        BSON_APPEND_BOOL(ret_query, "is_active", true);
    for (size_t i = 0; i < TW_LEN(texts); i++) {
        if (texts[i].value.ptr)
            append_text(ret_query, texts[i].field, texts[i].value);
    }
    append_prices(filter, ret_query);
    append_rating(filter, ret_query);
    append_on_sale(filter, ret_query);
    if (filter->q.ptr && has_text_index)
        append_text_search(filter->q, arena, ret_query);
    if (filter->q.ptr)
        append_expressions(filter->q, arena, ret_query);
    if (after)
        append_place(&orders[filter->sort], after, ret_query);
}

void tw_product_query_order(enum tw_product_sort sort, bson_t *ret_order)
{
    bson_append_int32(ret_order, orders[sort].field, -1, orders[sort].direction);
    BSON_APPEND_INT32(ret_order, "_id", orders[sort].direction);
}
