/*
 * Products, ratings and ledger rows as MongoDB documents; see tillwire/product_document.h.
 *
 * One table says how each field of a product is held in C and in BSON. Writing, reading and comparing walk it, so a new
 * field costs a row.
 */
#include "tillwire/product_document.h"

#include <assert.h>
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void *alloc_aligned(size_t alignment, size_t size_bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, alignment, size_bytes) != 0)
        tw_out_of_memory(size_bytes);
    return memory;
}

void tw_mongo_begin(void)
{
    bson_mem_set_vtable(&(bson_mem_vtable_t){.malloc = tw_alloc,
                                             .calloc = tw_alloc_zeroed,
                                             .realloc = tw_realloc,
                                             .free = free,
                                             .aligned_alloc = alloc_aligned});
    mongoc_init();
}

/* --- fields ------------------------------------------------------------------------------------------------------- */

enum field_kind { FIELD_TEXT, FIELD_DECIMAL, FIELD_INT, FIELD_BOOL, FIELD_TIME, FIELD_TEXTS, FIELD_PAIRS };

struct field {
    const char     *name;
    enum field_kind kind;
    size_t          offset;
    size_t          has_offset; /* of the flag of a field that may be null, or ALWAYS_THERE */
};

#define ALWAYS_THERE SIZE_MAX
#define FIELD(name, kind, member)                                     \
    {                                                                 \
        name, kind, offsetof(struct tw_product, member), ALWAYS_THERE \
    }
#define NULLABLE(name, kind, member, has)                                                 \
    {                                                                                     \
        name, kind, offsetof(struct tw_product, member), offsetof(struct tw_product, has) \
    }

/* In the order documents have them; `_id` stands before and `guard` behind. */
static const struct field fields[] = {
    FIELD("sku", FIELD_TEXT, sku),
    FIELD("name", FIELD_TEXT, name),
    FIELD("slug", FIELD_TEXT, slug),
    NULLABLE("description", FIELD_TEXT, description, has_description),
    FIELD("price", FIELD_DECIMAL, price_minor),
    NULLABLE("discount_price", FIELD_DECIMAL, discount_price_minor, has_discount_price),
    FIELD("category", FIELD_TEXT, category),
    FIELD("tags", FIELD_TEXTS, tags),
    FIELD("images", FIELD_PAIRS, images),
    FIELD("view_count", FIELD_INT, view_count),
    FIELD("rating", FIELD_DECIMAL, rating_hundredths),
    FIELD("review_count", FIELD_INT, review_count),
    FIELD("is_active", FIELD_BOOL, is_active),
    FIELD("created_at", FIELD_TIME, created_at_ms),
    FIELD("updated_at", FIELD_TIME, updated_at_ms),
    FIELD("effective_price", FIELD_DECIMAL, effective_price_minor),
    FIELD("rating_sum", FIELD_INT, rating_sum),
    FIELD("version", FIELD_INT, version),
    FIELD("revision", FIELD_INT, revision),
};

enum { DIGITS_BEHIND_POINT = 2, EXPONENT_BIAS = 6176, EXPONENT_SHIFT = 49 };

struct tw_decimal128 tw_decimal128_of(int64_t hundredths)
{
    uint64_t sign = hundredths < 0 ? UINT64_C(1) << 63 : 0;
    uint64_t exponent = EXPONENT_BIAS - DIGITS_BEHIND_POINT;

    return (struct tw_decimal128){
        .low = hundredths < 0 ? -(uint64_t)hundredths : (uint64_t)hundredths,
        .high = sign | exponent << EXPONENT_SHIFT,
    };
}

bool tw_decimal128_to_hundredths(struct tw_decimal128 decimal, int64_t *ret_hundredths)
{
    const uint64_t    coefficient_bits = (UINT64_C(1) << EXPONENT_SHIFT) - 1;
    unsigned __int128 coefficient = (unsigned __int128)(decimal.high & coefficient_bits) << 64 | decimal.low;
    int               exponent = (int)(decimal.high >> EXPONENT_SHIFT & 0x3fff) - EXPONENT_BIAS;

    if ((decimal.high >> 61 & 3) == 3) /* infinite, not a number, or not canonical */
        return false;
    for (; coefficient && exponent < -DIGITS_BEHIND_POINT; exponent++) {
        if (coefficient % 10)
            return false;
        coefficient /= 10;
    }
    for (; coefficient && exponent > -DIGITS_BEHIND_POINT; exponent--) {
        if (coefficient > INT64_MAX / 10)
            return false;
        coefficient *= 10;
    }
    if (coefficient > INT64_MAX)
        return false;
    *ret_hundredths = decimal.high >> 63 ? -(int64_t)coefficient : (int64_t)coefficient;
    return true;
}

/* --- products to BSON --------------------------------------------------------------------------------------------- */

static const void *member_of(const struct tw_product *product, const struct field *field)
{
    return (const char *)product + field->offset;
}

static bool has(const struct tw_product *product, const struct field *field)
{
    return field->has_offset == ALWAYS_THERE || *(const bool *)((const char *)product + field->has_offset);
}

static int64_t number_of(const struct tw_product *product, const struct field *field)
{
    return *(const int64_t *)member_of(product, field);
}

static void append_text(bson_t *document, const char *name, int name_len, struct tw_str text)
{
    bson_append_utf8(document, name, name_len, text.len ? text.ptr : "", (int)text.len); /* NULL would append null */
}

static void append_texts(bson_t *document, const char *name, struct tw_list list)
{
    const struct tw_str *texts = list.items;
    bson_t               array;

    BSON_APPEND_ARRAY_BEGIN(document, name, &array);
    for (uint32_t i = 0; i < list.len; i++) {
        char        buffer[16];
        const char *key;
        size_t      key_len = bson_uint32_to_string(i, &key, buffer, sizeof(buffer));

        append_text(&array, key, (int)key_len, texts[i]);
    }
    bson_append_array_end(document, &array);
}

static void append_pairs(bson_t *document, const char *name, struct tw_list list)
{
    const struct tw_pair *pairs = list.items;
    bson_t                object;

    BSON_APPEND_DOCUMENT_BEGIN(document, name, &object);
    for (uint32_t i = 0; i < list.len; i++)
        append_text(&object, pairs[i].name.ptr, (int)pairs[i].name.len, pairs[i].value);
    bson_append_document_end(document, &object);
}

static void append_decimal(bson_t *document, const char *name, int64_t hundredths)
{
    struct tw_decimal128 decimal = tw_decimal128_of(hundredths);

    BSON_APPEND_DECIMAL128(document, name, &((bson_decimal128_t){.low = decimal.low, .high = decimal.high}));
}

static void append_field(bson_t *document, const struct tw_product *product, const struct field *field)
{
    const void *member = member_of(product, field);

    if (!has(product, field)) {
        BSON_APPEND_NULL(document, field->name);
        return;
    }
    switch (field->kind) {
    case FIELD_TEXT:
        append_text(document, field->name, -1, *(const struct tw_str *)member);
        break;
    case FIELD_DECIMAL:
        append_decimal(document, field->name, number_of(product, field));
        break;
    case FIELD_INT:
        BSON_APPEND_INT64(document, field->name, number_of(product, field));
        break;
    case FIELD_BOOL:
        BSON_APPEND_BOOL(document, field->name, *(const bool *)member);
        break;
    case FIELD_TIME:
        BSON_APPEND_DATE_TIME(document, field->name, number_of(product, field));
        break;
    case FIELD_TEXTS:
        append_texts(document, field->name, tw_list_get(member));
        break;
    case FIELD_PAIRS:
        append_pairs(document, field->name, tw_list_get(member));
        break;
    }
}

void tw_product_to_document(const struct tw_product *product, int64_t guard, bson_t *ret_document)
{
    for (size_t i = 0; i < TW_LEN(fields); i++)
        append_field(ret_document, product, &fields[i]);
    BSON_APPEND_INT64(ret_document, "guard", guard);
}

/* --- differences -------------------------------------------------------------------------------------------------- */

static bool texts_equal(struct tw_list a, struct tw_list b)
{
    const struct tw_str *of_a = a.items;
    const struct tw_str *of_b = b.items;

    if (a.len != b.len)
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (!tw_str_eq(of_a[i], of_b[i]))
            return false;
    return true;
}

static bool pairs_equal(struct tw_list a, struct tw_list b)
{
    const struct tw_pair *of_a = a.items;
    const struct tw_pair *of_b = b.items;

    if (a.len != b.len)
        return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (!tw_str_eq(of_a[i].name, of_b[i].name) || !tw_str_eq(of_a[i].value, of_b[i].value))
            return false;
    return true;
}

static bool field_equal(const struct tw_product *a, const struct tw_product *b, const struct field *field)
{
    const void *of_a = member_of(a, field);
    const void *of_b = member_of(b, field);

    if (has(a, field) != has(b, field))
        return false;
    if (!has(a, field))
        return true;
    switch (field->kind) {
    case FIELD_TEXT:
        return tw_str_eq(*(const struct tw_str *)of_a, *(const struct tw_str *)of_b);
    case FIELD_DECIMAL:
    case FIELD_INT:
    case FIELD_TIME:
        return number_of(a, field) == number_of(b, field);
    case FIELD_BOOL:
        return *(const bool *)of_a == *(const bool *)of_b;
    case FIELD_TEXTS:
        return texts_equal(tw_list_get(of_a), tw_list_get(of_b));
    case FIELD_PAIRS:
        return pairs_equal(tw_list_get(of_a), tw_list_get(of_b));
    }
    return false;
}

enum tw_product_difference tw_product_compare(const struct tw_product *before, const struct tw_product *after)
{
    for (size_t i = 0; i < TW_LEN(fields); i++)
        if (fields[i].offset != offsetof(struct tw_product, view_count) && !field_equal(before, after, &fields[i]))
            return TW_PRODUCT_CHANGED;
    if (after->view_count == before->view_count)
        return TW_PRODUCT_SAME;
    return after->view_count > before->view_count ? TW_PRODUCT_VIEWED : TW_PRODUCT_CHANGED;
}

void tw_product_append_changes(const struct tw_product *before, const struct tw_product *after, bson_t *ret_fields)
{
    for (size_t i = 0; i < TW_LEN(fields); i++)
        if (!field_equal(before, after, &fields[i]))
            append_field(ret_fields, after, &fields[i]);
}

/* --- products from BSON ------------------------------------------------------------------------------------------- */

static struct tw_str text_at(const bson_iter_t *iter, struct tw_arena *arena)
{
    uint32_t    len;
    const char *text = bson_iter_utf8(iter, &len);

    return tw_arena_copy(arena, (struct tw_str){text, len});
}

static bool read_texts(const bson_iter_t *iter, struct tw_arena *arena, void *member)
{
    struct tw_list list = {0};
    bson_iter_t    item;

    if (!BSON_ITER_HOLDS_ARRAY(iter) || !bson_iter_recurse(iter, &item))
        return false;
    while (bson_iter_next(&item)) {
        if (!BSON_ITER_HOLDS_UTF8(&item))
            return false;
        list.items = tw_arena_grow(arena, list.items, list.len, &list.cap, sizeof(struct tw_str));
        ((struct tw_str *)list.items)[list.len++] = text_at(&item, arena);
    }
    tw_list_set(member, list);
    return true;
}

static bool read_pairs(const bson_iter_t *iter, struct tw_arena *arena, void *member)
{
    struct tw_list list = {0};
    bson_iter_t    item;

    if (!BSON_ITER_HOLDS_DOCUMENT(iter) || !bson_iter_recurse(iter, &item))
        return false;
    while (bson_iter_next(&item)) {
        struct tw_pair pair;

        if (!BSON_ITER_HOLDS_UTF8(&item))
            return false;
        pair.name = tw_arena_copy(arena, (struct tw_str){bson_iter_key(&item), bson_iter_key_len(&item)});
        pair.value = text_at(&item, arena);
        list.items = tw_arena_grow(arena, list.items, list.len, &list.cap, sizeof(struct tw_pair));
        ((struct tw_pair *)list.items)[list.len++] = pair;
    }
    tw_list_set(member, list);
    return true;
}

static bool read_decimal(const bson_iter_t *iter, int64_t *ret_hundredths)
{
    bson_decimal128_t bits;

    return BSON_ITER_HOLDS_DECIMAL128(iter) && bson_iter_decimal128(iter, &bits) &&
           tw_decimal128_to_hundredths((struct tw_decimal128){.low = bits.low, .high = bits.high}, ret_hundredths);
}

/* False when the value is not what the field holds. */
static bool read_field(const struct field *field, const bson_iter_t *iter, struct tw_arena *arena,
                       struct tw_product *product)
{
    void *member = (char *)product + field->offset;

    if (field->has_offset != ALWAYS_THERE) {
        *(bool *)((char *)product + field->has_offset) = !BSON_ITER_HOLDS_NULL(iter);
        if (BSON_ITER_HOLDS_NULL(iter))
            return true;
    }
    switch (field->kind) {
    case FIELD_TEXT:
        if (!BSON_ITER_HOLDS_UTF8(iter))
            return false;
        *(struct tw_str *)member = text_at(iter, arena);
        return true;
    case FIELD_DECIMAL:
        return read_decimal(iter, member);
    case FIELD_INT:
        *(int64_t *)member = BSON_ITER_HOLDS_INT(iter) ? bson_iter_as_int64(iter) : 0;
        return BSON_ITER_HOLDS_INT(iter);
    case FIELD_BOOL:
        *(bool *)member = BSON_ITER_HOLDS_BOOL(iter) && bson_iter_bool(iter);
        return BSON_ITER_HOLDS_BOOL(iter);
    case FIELD_TIME:
        *(int64_t *)member = BSON_ITER_HOLDS_DATE_TIME(iter) ? bson_iter_date_time(iter) : 0;
        return BSON_ITER_HOLDS_DATE_TIME(iter);
    case FIELD_TEXTS:
        return read_texts(iter, arena, member);
    case FIELD_PAIRS:
        return read_pairs(iter, arena, member);
    }
    return false;
}

/* Documents mostly have the fields in the table's order: @p expected is looked at first. */
static const struct field *find_field(const char *name, size_t expected)
{
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        const struct field *field = &fields[(expected + i) % TW_LEN(fields)];

        if (!strcmp(field->name, name))
            return field;
    }
    return NULL;
}

static const char *first_missing(uint32_t seen)
{
    for (size_t i = 0; i < TW_LEN(fields); i++)
        if (fields[i].has_offset == ALWAYS_THERE && !(seen & UINT32_C(1) << i))
            return fields[i].name;
    return NULL;
}

static enum tw_rc broken_product(struct tw_err *reterr, const char *field_name)
{
    return tw_fail(reterr, TW_BROKEN, "product.document", 0, "a product's '%.64s' is missing or malformed", field_name);
}

enum tw_rc tw_product_from_document(const bson_t *document, struct tw_arena *arena, struct tw_product *ret_product,
                                    int64_t *ret_guard, struct tw_err *reterr)
{
    struct tw_product product = {0};
    int64_t           guard = -1;
    bool              has_id = false;
    uint32_t          seen = 0;
    size_t            expected = 0;
    bson_iter_t       iter;

    static_assert(TW_LEN(fields) <= 32, "`seen` has a bit for each field");
    if (!bson_iter_init(&iter, document))
        return broken_product(reterr, "document");
    while (bson_iter_next(&iter)) {
        const char         *name = bson_iter_key(&iter);
        const struct field *field = find_field(name, expected);

        if (field) {
            if (!read_field(field, &iter, arena, &product))
                return broken_product(reterr, name);
            expected = (size_t)(field - fields) + 1;
            seen |= UINT32_C(1) << (field - fields);
        } else if (!strcmp(name, "_id") && BSON_ITER_HOLDS_OID(&iter)) {
            product.product_id = tw_product_id(bson_iter_oid(&iter)->bytes);
            has_id = true;
        } else if (!strcmp(name, "guard") && BSON_ITER_HOLDS_INT(&iter)) {
            guard = bson_iter_as_int64(&iter);
        }
    }
    if (first_missing(seen) || !has_id || guard < 0)
        return broken_product(reterr, first_missing(seen) ? first_missing(seen) : has_id ? "guard" : "_id");
    *ret_product = product;
    *ret_guard = guard;
    return TW_OK;
}

/* --- reading, field by field -------------------------------------------------------------------------------------- */

/* A document being read: after one field was missing or of another type, its name is kept. */
struct reading {
    const bson_t    *document;
    struct tw_arena *arena;
    const char      *broken;
};

static bool find(struct reading *reading, const char *name, bson_type_t type, bson_iter_t *ret_iter)
{
    if (bson_iter_init_find(ret_iter, reading->document, name) && bson_iter_type(ret_iter) == type)
        return true;
    reading->broken = name;
    return false;
}

static struct tw_str read_text(struct reading *reading, const char *name)
{
    bson_iter_t iter;

    return find(reading, name, BSON_TYPE_UTF8, &iter) ? text_at(&iter, reading->arena) : (struct tw_str){NULL, 0};
}

static int64_t read_int64(struct reading *reading, const char *name)
{
    bson_iter_t iter;

    return find(reading, name, BSON_TYPE_INT64, &iter) ? bson_iter_int64(&iter) : 0;
}

static int64_t read_time(struct reading *reading, const char *name)
{
    bson_iter_t iter;

    return find(reading, name, BSON_TYPE_DATE_TIME, &iter) ? bson_iter_date_time(&iter) : 0;
}

static void read_bytes(struct reading *reading, const char *name, uint8_t *ret_bytes, uint32_t size_bytes)
{
    const uint8_t *bytes = NULL;
    uint32_t       len = 0;
    bson_iter_t    iter;

    if (!find(reading, name, BSON_TYPE_BINARY, &iter))
        return;
    bson_iter_binary(&iter, NULL, &len, &bytes);
    if (len == size_bytes)
        memcpy(ret_bytes, bytes, len);
    else
        reading->broken = name;
}

/* --- ratings ------------------------------------------------------------------------------------------------------ */

void tw_rating_document_id(struct tw_uuid product_id, struct tw_uuid member_id, char ret_id[TW_RATING_DOCUMENT_ID + 1])
{
    tw_uuid_format(product_id, ret_id);
    ret_id[TW_UUID_TEXT] = '/';
    tw_uuid_format(member_id, ret_id + TW_UUID_TEXT + 1);
}

void tw_rating_to_document(const struct tw_product_rating *rating, int64_t guard, bson_t *ret_document)
{
    bson_oid_t product_id;
    bool       is_image = tw_product_id_to_object_id(rating->product_id, product_id.bytes);

    assert(is_image);
    (void)is_image;
    BSON_APPEND_OID(ret_document, "product_id", &product_id);
    BSON_APPEND_BINARY(ret_document, "member_id", BSON_SUBTYPE_UUID, rating->member_id.bytes,
                       sizeof(rating->member_id.bytes));
    BSON_APPEND_INT64(ret_document, "stars", rating->stars);
    BSON_APPEND_DATE_TIME(ret_document, "rated_at", rating->rated_at_ms);
    BSON_APPEND_INT64(ret_document, "guard", guard);
}

enum tw_rc tw_rating_from_document(const bson_t *document, struct tw_product_rating *ret_rating, int64_t *ret_guard,
                                   struct tw_err *reterr)
{
    struct reading           reading = {.document = document};
    struct tw_product_rating rating = {
        .stars = read_int64(&reading, "stars"),
        .rated_at_ms = read_time(&reading, "rated_at"),
    };
    int64_t     guard = read_int64(&reading, "guard");
    bson_iter_t iter;

    read_bytes(&reading, "member_id", rating.member_id.bytes, sizeof(rating.member_id.bytes));
    if (find(&reading, "product_id", BSON_TYPE_OID, &iter))
        rating.product_id = tw_product_id(bson_iter_oid(&iter)->bytes);
    if (reading.broken)
        return tw_fail(reterr, TW_BROKEN, "rating.document", 0, "a rating's '%s' is missing or malformed",
                       reading.broken);
    *ret_rating = rating;
    *ret_guard = guard;
    return TW_OK;
}

/* --- ledger rows -------------------------------------------------------------------------------------------------- */

void tw_ledger_document_id(int32_t partition, struct tw_uuid ledger_id, char ret_id[TW_LEDGER_DOCUMENT_ID + 1])
{
    char id[TW_UUID_TEXT + 1];

    tw_uuid_format(ledger_id, id);
    snprintf(ret_id, TW_LEDGER_DOCUMENT_ID + 1, "%d/%s", (int)partition, id);
}

void tw_ledger_to_document(int32_t partition, const struct tw_ledger_row *row, bson_t *ret_document)
{
    const struct tw_outcome *outcome = &row->outcome;
    char                     id[TW_LEDGER_DOCUMENT_ID + 1];

    tw_ledger_document_id(partition, row->id, id);
    BSON_APPEND_UTF8(ret_document, "_id", id);
    BSON_APPEND_INT32(ret_document, "partition", partition);
    BSON_APPEND_BINARY(ret_document, "command_id", BSON_SUBTYPE_UUID, row->id.bytes, sizeof(row->id.bytes));
    BSON_APPEND_BINARY(ret_document, "caller", BSON_SUBTYPE_UUID, row->caller.bytes, sizeof(row->caller.bytes));
    BSON_APPEND_BINARY(ret_document, "fingerprint", BSON_SUBTYPE_BINARY, row->fingerprint, sizeof(row->fingerprint));
    append_text(ret_document, "type", -1, row->type);
    BSON_APPEND_UTF8(ret_document, "status", tw_status_name(outcome->status));
    BSON_APPEND_INT32(ret_document, "http_status", outcome->http_status);
    BSON_APPEND_UTF8(ret_document, "problem", tw_problem_code(outcome->problem));
    append_text(ret_document, "detail", -1, outcome->detail);
    append_text(ret_document, "resource", -1, outcome->resource);
    BSON_APPEND_INT64(ret_document, "offset", row->offset);
    BSON_APPEND_DATE_TIME(ret_document, "submitted_at", row->submitted_ms);
    BSON_APPEND_DATE_TIME(ret_document, "at", row->at_ms);
}

static enum tw_status read_status(struct reading *reading, const char *name)
{
    struct tw_str text = read_text(reading, name);

    for (enum tw_status status = TW_SUCCEEDED; status <= TW_DEAD_LETTERED; status++)
        if (tw_str_is(text, tw_status_name(status)))
            return status;
    reading->broken = name;
    return TW_DEAD_LETTERED;
}

/* A row is found by its `_id`: under another one than its own, nobody would find it, and the command ran twice. */
static enum tw_rc check_row_id(struct reading *reading, struct tw_uuid command_id, struct tw_err *reterr)
{
    struct tw_str id = read_text(reading, "_id");
    char          wanted[TW_LEDGER_DOCUMENT_ID + 1] = "";
    bson_iter_t   iter;

    if (find(reading, "partition", BSON_TYPE_INT32, &iter))
        tw_ledger_document_id(bson_iter_int32(&iter), command_id, wanted);
    if (tw_str_is(id, wanted))
        return TW_OK;
    return tw_fail(reterr, TW_BROKEN, "ledger.document", 0,
                   "a ledger row's '_id' is '%.*s', not '%s' as partition and command_id say", TW_STR_ARG(id), wanted);
}

enum tw_rc tw_ledger_from_document(const bson_t *document, struct tw_arena *arena, struct tw_ledger_row *ret_row,
                                   struct tw_err *reterr)
{
    struct reading       reading = {document, arena, NULL};
    struct tw_ledger_row row = {
        .type = read_text(&reading, "type"),
        .outcome.status = read_status(&reading, "status"),
        .outcome.problem = tw_problem_of_code(read_text(&reading, "problem")),
        .outcome.detail = read_text(&reading, "detail"),
        .outcome.resource = read_text(&reading, "resource"),
        .offset = read_int64(&reading, "offset"),
        .submitted_ms = read_time(&reading, "submitted_at"),
        .at_ms = read_time(&reading, "at"),
    };
    bson_iter_t iter;

    read_bytes(&reading, "command_id", row.id.bytes, sizeof(row.id.bytes));
    read_bytes(&reading, "caller", row.caller.bytes, sizeof(row.caller.bytes));
    read_bytes(&reading, "fingerprint", row.fingerprint, sizeof(row.fingerprint));
    if (find(&reading, "http_status", BSON_TYPE_INT32, &iter))
        row.outcome.http_status = bson_iter_int32(&iter);
    if (reading.broken)
        return tw_fail(reterr, TW_BROKEN, "ledger.document", 0, "a ledger row's '%s' is missing or malformed",
                       reading.broken);
    TW_TRY(check_row_id(&reading, row.id, reterr));
    *ret_row = row;
    return TW_OK;
}
