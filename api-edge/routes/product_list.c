/* GET /v1/products: filters, orders, pages; and what there is of categories and tags. */
#include "routes/catalogue.h"

#include <string.h>

#include "paging.h"
#include "tillwire/clock.h"
#include "tillwire/money.h"

enum { NUMBER_BYTES = 8, OBJECT_ID_BYTES = 12, Q_MAX_BYTES = 200, RATING_MAX_HUNDREDTHS = 500, NAMES_WAIT_MS = 2000 };

/* --- filter ------------------------------------------------------------------------------------------------------- */

/** An amount up to @p max; untouched when the parameter is absent. False: the answer is a 400. */
static bool read_amount(const struct tw_request *request, const char *name, int64_t max, const char *detail,
                        int64_t *ret_hundredths, struct tw_reply *reply)
{
    struct tw_str text;
    int64_t       hundredths = 0;

    if (!tw_route_query(request, name, &text, reply))
        return false;
    if (!text.ptr)
        return true;
    if (!tw_money_parse(text, &hundredths))
        return tw_route_refuse_query(request, name, TW_BODY_FORMAT, detail, reply);
    if (hundredths > max)
        return tw_route_refuse_query(request, name, TW_BODY_OUT_OF_RANGE, detail, reply);
    *ret_hundredths = hundredths;
    return true;
}

static bool read_amounts(const struct tw_request *request, struct tw_product_filter *filter, struct tw_reply *reply)
{
    static const char amount[] = "must be an amount such as 9.99";

    return read_amount(request, "min_price", TW_MONEY_MAX_MINOR, amount, &filter->min_price_minor, reply) &&
           read_amount(request, "max_price", TW_MONEY_MAX_MINOR, amount, &filter->max_price_minor, reply) &&
           read_amount(request, "min_rating", RATING_MAX_HUNDREDTHS, "must be 0 to 5, with up to two decimals",
                       &filter->min_rating_hundredths, reply);
}

static bool read_texts(const struct tw_request *request, struct tw_product_filter *filter, struct tw_reply *reply)
{
    if (!tw_route_query(request, "category", &filter->category, reply) ||
        !tw_route_query(request, "tag", &filter->tag, reply) || !tw_route_query(request, "sku", &filter->sku, reply) ||
        !tw_route_query(request, "slug", &filter->slug, reply) || !tw_route_query(request, "q", &filter->q, reply))
        return false;
    if (filter->q.ptr && (filter->q.len > Q_MAX_BYTES || !tw_product_has_words(filter->q)))
        return tw_route_refuse_query(request, "q", TW_BODY_LENGTH, "must be words of up to 200 bytes together", reply);
    return true;
}

static bool read_on_sale(const struct tw_request *request, struct tw_product_filter *filter, struct tw_reply *reply)
{
    struct tw_str text;

    if (!tw_route_query(request, "on_sale", &text, reply))
        return false;
    if (text.ptr && !tw_str_is(text, "true") && !tw_str_is(text, "false"))
        return tw_route_refuse_query(request, "on_sale", TW_BODY_VALUE, "must be true or false", reply);
    if (text.ptr)
        filter->on_sale = tw_str_is(text, "true") ? TW_SALE_ONLY : TW_SALE_NONE;
    return true;
}

static bool read_sort(const struct tw_request *request, struct tw_product_filter *filter, struct tw_reply *reply)
{
    struct tw_str text;

    if (!tw_route_query(request, "sort", &text, reply))
        return false;
    if (text.ptr && !tw_product_sort_parse(text, &filter->sort))
        return tw_route_refuse_query(request, "sort", TW_BODY_VALUE,
                                     "must be newest, price, -price, -rating, -view_count or name", reply);
    return true;
}

/** False: the answer is a 400. */
static bool read_filter(const struct tw_request *request, struct tw_product_filter *ret_filter, struct tw_reply *reply)
{
    *ret_filter = (struct tw_product_filter){
        .with_inactive = tw_catalogue_is_merchant(request),
        .min_price_minor = -1,
        .max_price_minor = -1,
        .min_rating_hundredths = -1,
    };
    return read_texts(request, ret_filter, reply) && read_amounts(request, ret_filter, reply) &&
           read_on_sale(request, ret_filter, reply) && read_sort(request, ret_filter, reply);
}

/** `category=6:shirts `: with its length, so that no value can be taken for two. */
static void add_text(const char *name, struct tw_str value, struct tw_buf *out)
{
    if (value.ptr)
        tw_buf_printf(out, "%s=%zu:%.*s ", name, value.len, TW_STR_ARG(value));
}

/** What a cursor is bound to. */
static struct tw_str name_list(const struct tw_product_filter *filter, struct tw_arena *arena)
{
    struct tw_buf text = {0};

    tw_buf_printf(&text, "products inactive=%d sort=%d on_sale=%d price=%lld..%lld rating=%lld ", filter->with_inactive,
                  (int)filter->sort, (int)filter->on_sale, (long long)filter->min_price_minor,
                  (long long)filter->max_price_minor, (long long)filter->min_rating_hundredths);
    add_text("q", filter->q, &text);
    add_text("category", filter->category, &text);
    add_text("tag", filter->tag, &text);
    add_text("sku", filter->sku, &text);
    add_text("slug", filter->slug, &text);
    struct tw_str list = tw_arena_copy(arena, tw_buf_str(&text));
    tw_buf_done(&text);
    return list;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

/** object id | number, big endian | name */
static struct tw_str pack_place(const struct tw_product_place *place, struct tw_arena *arena)
{
    size_t   len = OBJECT_ID_BYTES + NUMBER_BYTES + place->name.len;
    uint8_t *bytes = tw_arena_alloc(arena, len);

    memcpy(bytes, place->object_id, OBJECT_ID_BYTES);
    for (int i = 0; i < NUMBER_BYTES; i++)
        bytes[OBJECT_ID_BYTES + i] = (uint8_t)((uint64_t)place->number >> (56 - 8 * i));
    if (place->name.len > 0)
        memcpy(bytes + OBJECT_ID_BYTES + NUMBER_BYTES, place->name.ptr, place->name.len);
    return (struct tw_str){(const char *)bytes, len};
}

/** NULL: the page begins at the start. */
static const struct tw_product_place *place_after(const struct tw_page *page, struct tw_product_place *room)
{
    const size_t head = OBJECT_ID_BYTES + NUMBER_BYTES;
    uint64_t     number = 0;

    if (page->after.len < head)
        return NULL;
    for (int i = 0; i < NUMBER_BYTES; i++)
        number = number << 8 | (uint8_t)page->after.ptr[OBJECT_ID_BYTES + i];
    room->number = (int64_t)number;
    memcpy(room->object_id, page->after.ptr, OBJECT_ID_BYTES);
    room->name = (struct tw_str){page->after.ptr + head, page->after.len - head};
    return room;
}

static struct tw_str place_of(const struct tw_product *product, enum tw_product_sort sort, struct tw_arena *arena)
{
    struct tw_product_place place = tw_product_place_of(product, sort);

    return pack_place(&place, arena);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

/** One more than the page holds is asked for: whether it is there tells whether there is a next page. */
static void list_products(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_product_filter filter;
    struct tw_product_place  room;
    struct tw_page           page;
    struct tw_product       *products = NULL;
    size_t                   count = 0;
    struct tw_json           json = {&reply->body, false};
    struct tw_err            err = {0};

    if (!read_filter(request, &filter, reply) ||
        !tw_page_read(request, name_list(&filter, request->arena), &page, reply) ||
        !tw_own_writes_heed(request, TW_DOMAIN_PRODUCT, reply))
        return;
    enum tw_rc rc = tw_products_list(request->edge->products, &filter, place_after(&page, &room), page.limit + 1,
                                     request->arena, &products, &count, &err);
    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    size_t shown = count < page.limit ? count : page.limit;
    tw_reply_json(reply, 200);
    tw_catalogue_cache(request, reply);
    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < shown; i++)
        tw_product_write(&products[i], &json);
    tw_json_close(&json, ']');
    tw_page_end(request, &page,
                count > shown ? place_of(&products[shown - 1], filter.sort, request->arena) : (struct tw_str){0}, &json,
                reply);
    tw_json_close(&json, '}');
}

static void write_names(const struct tw_name_count *names, size_t count, struct tw_buf *out)
{
    struct tw_json json = {out, false};

    tw_json_open(&json, '{');
    tw_json_key(&json, "items");
    tw_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        tw_json_open(&json, '{');
        tw_json_key(&json, "name");
        tw_json_text(&json, names[i].name);
        tw_json_key(&json, "count");
        tw_json_int(&json, names[i].count);
        tw_json_close(&json, '}');
    }
    tw_json_close(&json, ']');
    tw_json_close(&json, '}');
}

typedef enum tw_rc (*names_fn)(struct tw_products *products, struct tw_arena *arena, struct tw_name_count **ret_list,
                               size_t *ret_count, struct tw_err *reterr);

/** How far the store can be read is asked first: all of that shows in what is counted afterwards. */
static enum tw_rc make_names(struct tw_request *request, names_fn ask, struct tw_kept *kept, struct tw_buf *out,
                             struct tw_err *reterr)
{
    struct tw_products   *products = request->edge->products;
    struct tw_name_count *names = NULL;
    size_t                count = 0;
    int64_t              *next_offsets = NULL;
    size_t                partitions = 0;
    enum tw_rc            rc = tw_products_watermarks(products, request->arena, &next_offsets, &partitions, reterr);

    if (rc == TW_OK)
        rc = ask(products, request->arena, &names, &count, reterr);
    if (rc == TW_OK)
        write_names(names, count, out);
    tw_kept_put(kept, rc == TW_OK ? tw_buf_str(out) : (struct tw_str){0}, next_offsets, partitions);
    return rc;
}

/** The body: kept, or made now. */
static enum tw_rc take_names(struct tw_request *request, names_fn ask, struct tw_kept *kept, struct tw_reply *reply,
                             struct tw_kept_answer *ret_answer, struct tw_err *reterr)
{
    struct tw_own_writes writes;

    if (!tw_own_writes_read(request, TW_DOMAIN_PRODUCT, &writes, reply))
        return TW_INVALID;
    tw_own_writes_await(request, &writes, reply);
    struct tw_kept_ask question = {
        .now_us = tw_monotonic_us(),
        .wait_ms = NAMES_WAIT_MS,
        .writes = writes.items,
        .write_count = reply->is_stale ? 0 : writes.count, /* what cannot be read yet is not worth making it for */
    };
    tw_reply_json(reply, 200);
    enum tw_rc rc = tw_kept_get(kept, &question, &reply->body, ret_answer);
    return rc == TW_NOT_FOUND ? make_names(request, ask, kept, &reply->body, reterr) : rc;
}

/** The whole catalogue is read for it: once in the time that caches may keep it, whoever asks, and once for a write that
 *  somebody wants to see. */
static void list_names(struct tw_request *request, names_fn ask, struct tw_kept *kept, struct tw_reply *reply)
{
    struct tw_err         err = {.where = "edge.kept", .msg = "another request asks and had no answer"};
    struct tw_kept_answer answer = {0};
    enum tw_rc            rc = take_names(request, ask, kept, reply, &answer, &err);

    if (rc == TW_INVALID)
        return; /* a 400 */
    if (rc != TW_OK) {
        tw_route_store_failed(request, rc, &err, reply);
        return;
    }
    reply->is_stale |= answer.is_stale;
    reply->cache = TW_CACHE_PUBLIC;
    tw_reply_field(reply, "Vary", TW_STR("Consistency-Token"));
    tw_buf_printf(&reply->fields, "Age: %d\r\n", answer.age_s);
}

static void list_categories(struct tw_request *request, struct tw_reply *reply)
{
    list_names(request, tw_products_categories, request->edge->categories, reply);
}

static void list_tags(struct tw_request *request, struct tw_reply *reply)
{
    list_names(request, tw_products_tags, request->edge->tags, reply);
}

const struct tw_route tw_routes_product_list[] = {
    {TW_METHOD_GET, "/v1/products", TW_ACCESS_OPTIONAL, NULL, list_products},
    {TW_METHOD_GET, "/v1/categories", TW_ACCESS_PUBLIC, NULL, list_categories},
    {TW_METHOD_GET, "/v1/tags", TW_ACCESS_PUBLIC, NULL, list_tags},
    {0},
};
