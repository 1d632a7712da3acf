/* The products' store on a real server: what the contract suite (tests/contract) cannot know. TW_MONGO_URI names the
 * server; the database is the one it names with `_crash` behind it, and is EMPTIED. */
/* Links: PkgConfig::MONGOC */
#include "workers/product/product_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample_states.h"
#include "tillwire/money.h"
#include "tillwire/product_document.h"
#include "unit.h"
#include "workers/product/product_apply.h"
#include "workers/product/product_connection.h"
#include "workers/product/product_domain.h"
#include "workers/product/product_redo.h"

enum { TIMEOUT_MS = 5000, PARTITION = 3, FIRST = 10, ROWS = 4, PRODUCTS = 1100, EXIT_AT_FAILPOINT = 86 };

static char           *database_uri;
static struct tw_mongo server; /* the test's own connection */

/* --- the server --------------------------------------------------------------------------------------------------- */

static bool make_database_uri(const char *uri, struct tw_err *reterr)
{
    struct tw_mongo named;
    char            database[64];
    bool            made;

    if (tw_mongo_init(uri, TIMEOUT_MS, &named, reterr) != TW_OK)
        return false;
    snprintf(database, sizeof(database), "%.50s_crash", named.database);
    made = tw_mongo_uri_beside(uri, database, &database_uri, reterr) == TW_OK;
    tw_mongo_done(&named);
    return made;
}

static void run(bson_t *command)
{
    struct tw_mongo_written written;
    struct tw_err           err = {0};

    assert_rc(tw_mongo_write(&server, command, "test", &written, &err), TW_OK, err);
    bson_destroy(command);
}

static int wipe(void **state)
{
    static const char *const collections[] = {TW_MONGO_PRODUCTS, TW_MONGO_RATINGS, TW_MONGO_PROGRESS, TW_MONGO_APPLIED,
                                              TW_MONGO_LEDGER};
    struct tw_err            err = {0};

    (void)state;
    assert_rc(tw_mongo_connect(&server, &err), TW_OK, err);
    for (size_t i = 0; i < TW_LEN(collections); i++)
        run(BCON_NEW("delete", BCON_UTF8(collections[i]), "deletes", "[", "{", "q", "{", "}", "limit", BCON_INT32(0),
                     "}", "]"));
    return 0;
}

static void make_index(const char *collection, const char *field)
{
    run(BCON_NEW("createIndexes", BCON_UTF8(collection), "indexes", "[", "{", "key", "{", "_id", BCON_INT32(1), field,
                 BCON_INT32(1), "}", "name", BCON_UTF8(field), "unique", BCON_BOOL(true), "}", "]"));
}

/* As schemas/mongo has them for servers that need them. */
static int make_indexes(void **state)
{
    struct tw_err err = {0};

    (void)state;
    assert_rc(tw_mongo_connect(&server, &err), TW_OK, err);
    make_index(TW_MONGO_PRODUCTS, "revision");
    make_index(TW_MONGO_RATINGS, "guard");
    return 0;
}

/* The one update of a test that plays a hand in the store. */
static void update(const char *collection, bson_t *filter, bson_t *change)
{
    run(BCON_NEW("update", BCON_UTF8(collection), "updates", "[", "{", "q", BCON_DOCUMENT(filter), "u",
                 BCON_DOCUMENT(change), "}", "]"));
    bson_destroy(filter);
    bson_destroy(change);
}

static void set_number(const char *collection, const char *name, int64_t value)
{
    update(collection, BCON_NEW("_id", BCON_INT32(PARTITION)), BCON_NEW("$set", "{", name, BCON_INT64(value), "}"));
}

static enum tw_rc keep(void *context, const bson_t *document, struct tw_err *reterr)
{
    (void)reterr;
    bson_destroy(*(bson_t **)context);
    *(bson_t **)context = bson_copy(document);
    return TW_OK;
}

/* The document, empty when there is none. */
static bson_t *document_of(const char *collection, bson_t *filter)
{
    bson_t       *document = bson_new();
    struct tw_err err = {0};

    assert_rc(tw_mongo_find(&server, collection, filter, NULL, keep, &document, "test", &err), TW_OK, err);
    bson_destroy(filter);
    return document;
}

/* Of the samples, those that are products. */
static struct tw_key product_key(uint32_t i)
{
    return tw_sample_products.key(4 * i);
}

/* One member rates every product. */
static struct tw_key rating_key(uint32_t i)
{
    return (struct tw_key){.kind = TW_RATING_ENTITY, .id = product_key(i).id, .sub = {{7, 7, 7}}};
}

static bson_t *filter_of_product(uint32_t i)
{
    bson_oid_t id;

    assert_true(tw_product_id_to_object_id(product_key(i).id, id.bytes));
    return BCON_NEW("_id", BCON_OID(&id));
}

static bson_t *filter_of_rating(uint32_t i)
{
    char id[TW_RATING_DOCUMENT_ID + 1];

    tw_rating_document_id(rating_key(i).id, rating_key(i).sub, id);
    return BCON_NEW("_id", BCON_UTF8(id));
}

static int64_t number_in(bson_t *document, const char *name)
{
    bson_iter_t iter;
    int64_t     number = bson_iter_init_find(&iter, document, name) ? bson_iter_as_int64(&iter) : -1;

    bson_destroy(document);
    return number;
}

static int64_t number_of_product(uint32_t i, const char *name)
{
    return number_in(document_of(TW_MONGO_PRODUCTS, filter_of_product(i)), name);
}

static int64_t stars(uint32_t i)
{
    return number_in(document_of(TW_MONGO_RATINGS, filter_of_rating(i)), "stars");
}

static int64_t applied(void)
{
    return number_in(document_of(TW_MONGO_APPLIED, BCON_NEW("_id", BCON_INT32(PARTITION))), "applied");
}

static enum tw_rc count_one(void *context, const bson_t *document, struct tw_err *reterr)
{
    (void)document;
    (void)reterr;
    ++*(int64_t *)context;
    return TW_OK;
}

static int64_t count(const char *collection, bson_t *filter)
{
    int64_t       found = 0;
    struct tw_err err = {0};

    assert_rc(tw_mongo_find(&server, collection, filter, NULL, count_one, &found, "test", &err), TW_OK, err);
    bson_destroy(filter);
    return found;
}

/* Documents that record @p guard changed last. */
static int64_t count_changed(const char *collection, int64_t guard)
{
    return count(collection, BCON_NEW("guard", BCON_INT64(guard)));
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

/* What a batch does to each of its products; RATE gives a star more than there are, WITHDRAW takes all. */
enum deed { MAKE, VIEW, CHANGE, RATE, WITHDRAW };

struct batch {
    int64_t   first;
    int64_t   next;
    uint32_t  products; /* 0 .. products - 1, all changed by record next - 1 */
    enum deed deed;
    uint32_t  rows; /* of records first, first + 1, … */
};

static const struct batch making = {0, FIRST, PRODUCTS, MAKE, 0};

static struct tw_store open_store(void)
{
    struct tw_store store;
    struct tw_err   err = {0};

    assert_rc(tw_product_store_open(database_uri, TIMEOUT_MS, &store, &err), TW_OK, err);
    return store;
}

static enum tw_rc ask_next(struct tw_store *store, int64_t *ret_next, struct tw_err *reterr)
{
    struct tw_arena    arena = {0};
    struct tw_progress progress = {0};
    enum tw_rc         rc = store->watermark(store->self, PARTITION, &arena, &progress, reterr);

    *ret_next = progress.next_offset;
    tw_arena_done(&arena);
    return rc;
}

static void assert_watermark(struct tw_store *store, int64_t expected)
{
    struct tw_err err = {0};
    int64_t       next;

    assert_rc(ask_next(store, &next, &err), TW_OK, err);
    assert_int_equal(next, expected);
}

static bool rates(const struct batch *batch)
{
    return batch->deed == RATE || batch->deed == WITHDRAW;
}

static struct tw_product *make(uint32_t i, struct tw_arena *arena)
{
    struct tw_product *product = tw_sample_products.make(4 * i, 1, arena);

    product->view_count = product->version = product->revision = 1;
    product->rating_sum = product->review_count = 0;
    product->has_discount_price = product->has_description = false;
    return product;
}

static void decide(struct tw_entity *entity, uint32_t i, const struct batch *batch, struct tw_arena *arena)
{
    struct tw_product *product = batch->deed == MAKE ? make(i, arena) : TW_NEW(arena, struct tw_product);

    entity->guard = batch->next - 1;
    entity->changed = true;
    entity->state = product;
    if (batch->deed == MAKE)
        return;
    assert_non_null(entity->before);
    *product = *(const struct tw_product *)entity->before;
    product->view_count += batch->deed == VIEW;
    product->version += batch->deed == CHANGE;
    product->price_minor += batch->deed == CHANGE;
    product->rating_sum = batch->deed == WITHDRAW ? 0 : product->rating_sum + (batch->deed == RATE);
    product->revision += batch->deed != VIEW;
}

static void decide_rating(struct tw_entity *entity, const struct batch *batch, struct tw_arena *arena)
{
    const struct tw_product_rating *before = entity->before;
    struct tw_product_rating       *rating = TW_NEW(arena, struct tw_product_rating);

    *rating = (struct tw_product_rating){
        .product_id = entity->key.id,
        .member_id = entity->key.sub,
        .stars = batch->deed == WITHDRAW ? 0
                 : before                ? before->stars + 1
                                         : 1,
        .rated_at_ms = batch->next,
    };
    entity->guard = batch->next - 1;
    entity->changed = true;
    entity->state = rating;
}

static struct tw_ledger_row row_at(int64_t offset)
{
    struct tw_ledger_row row = {
        .type = TW_STR("product.create"),
        .outcome = tw_succeeded(201, TW_STR("/v1/products/x")),
        .offset = offset,
        .at_ms = 1795428000000 + offset,
    };

    memcpy(row.id.bytes, &offset, sizeof(offset));
    return row;
}

struct turn {
    struct tw_arena          arena;
    struct tw_load           load;
    const struct tw_entity **changed;
    struct tw_changes        changes;
};

static enum tw_rc begin(struct tw_store *store, const struct batch *batch, struct turn *ret_turn, struct tw_err *reterr)
{
    struct turn          *turn = ret_turn;
    struct tw_ledger_row *rows;

    uint32_t entities = rates(batch) ? 2 * batch->products : batch->products;

    *turn = (struct turn){0};
    turn->load.entities = TW_NEW_ARRAY(&turn->arena, entities, struct tw_entity);
    turn->load.entity_count = entities;
    for (uint32_t i = 0; i < entities; i++)
        turn->load.entities[i].key = i < batch->products ? product_key(i) : rating_key(i - batch->products);
    TW_TRY(store->load(store->self, PARTITION, batch->first, &turn->load, &turn->arena, reterr));
    turn->changed = TW_NEW_ARRAY(&turn->arena, entities, const struct tw_entity *);
    for (uint32_t i = 0; i < entities; i++) {
        if (i < batch->products)
            decide(&turn->load.entities[i], i, batch, &turn->arena);
        else
            decide_rating(&turn->load.entities[i], batch, &turn->arena);
        turn->changed[i] = &turn->load.entities[i];
    }
    rows = TW_NEW_ARRAY(&turn->arena, batch->rows, struct tw_ledger_row);
    for (uint32_t i = 0; i < batch->rows; i++)
        rows[i] = row_at(batch->first + i);
    turn->changes = (struct tw_changes){
        .partition = PARTITION,
        .first_offset = batch->first,
        .after = {.next_offset = batch->next, .clock_ms = batch->next, .outbox = TW_STR("outbox")},
        .entities = turn->changed,
        .entity_count = entities,
        .rows = rows,
        .row_count = batch->rows,
    };
    return TW_OK;
}

static enum tw_rc fold(struct tw_store *store, const struct batch *batch, struct tw_err *reterr)
{
    struct turn turn;
    enum tw_rc  rc = begin(store, batch, &turn, reterr);

    if (rc == TW_OK)
        rc = store->commit(store->self, &turn.changes, reterr);
    tw_arena_done(&turn.arena);
    return rc;
}

static void must_fold(struct tw_store *store, const struct batch *batch)
{
    struct tw_err err = {0};

    assert_rc(fold(store, batch, &err), TW_OK, err);
}

/* The store after the first batch, opened. */
static struct tw_store given_products(uint32_t products)
{
    struct tw_store store = open_store();
    struct batch    batch = making;

    batch.products = products;
    assert_watermark(&store, 0);
    must_fold(&store, &batch);
    return store;
}

/* --- documents ---------------------------------------------------------------------------------------------------- */

static void a_price__stands_in_the_server_as_an_exact_decimal(void **state)
{
    static const char *const texts[] = {"199.00", "0.01", "9999999999.99", "0.00"};
    static const int64_t     minor[] = {19900, 1, TW_MONEY_MAX_MINOR, 0};
    struct tw_store          store = open_store();
    struct tw_err            err = {0};
    struct batch             batch = {0, FIRST, TW_LEN(minor), MAKE, 0};
    struct turn              turn;

    (void)state;
    assert_watermark(&store, 0);
    assert_rc(begin(&store, &batch, &turn, &err), TW_OK, err);
    for (size_t i = 0; i < TW_LEN(minor); i++)
        ((struct tw_product *)turn.load.entities[i].state)->price_minor = minor[i];
    assert_rc(store.commit(store.self, &turn.changes, &err), TW_OK, err);
    for (uint32_t i = 0; i < TW_LEN(minor); i++) {
        bson_decimal128_t expected;
        bson_decimal128_t price;
        bson_t           *document = document_of(TW_MONGO_PRODUCTS, filter_of_product(i));
        bson_iter_t       iter;

        assert_true(bson_decimal128_from_string(texts[i], &expected));
        assert_true(bson_iter_init_find(&iter, document, "price") && bson_iter_decimal128(&iter, &price));
        assert_true(price.low == expected.low && price.high == expected.high);
        bson_destroy(document);
    }
    tw_arena_done(&turn.arena);
    tw_product_store_close(&store);
}

static void a_product__keeps_its_types_in_the_server_through_views_and_changes(void **state)
{
    static const struct {
        const char *name;
        bson_type_t type;
    } fields[] = {
        {"_id", BSON_TYPE_OID},        {"price", BSON_TYPE_DECIMAL128},     {"discount_price", BSON_TYPE_NULL},
        {"tags", BSON_TYPE_ARRAY},     {"images", BSON_TYPE_DOCUMENT},      {"view_count", BSON_TYPE_INT64},
        {"version", BSON_TYPE_INT64},  {"guard", BSON_TYPE_INT64},          {"rating", BSON_TYPE_DECIMAL128},
        {"is_active", BSON_TYPE_BOOL}, {"created_at", BSON_TYPE_DATE_TIME},
    };
    struct tw_store    store = given_products(2);
    const struct batch viewing = {FIRST, 20, 2, VIEW, 0}, changing = {20, 30, 2, CHANGE, 0};
    bson_t            *document;

    (void)state;
    must_fold(&store, &viewing);
    must_fold(&store, &changing);
    document = document_of(TW_MONGO_PRODUCTS, filter_of_product(1));
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        bson_iter_t iter;

        assert_true(bson_iter_init_find(&iter, document, fields[i].name));
        assert_int_equal(bson_iter_type(&iter), fields[i].type);
    }
    bson_destroy(document);
    tw_product_store_close(&store);
}

static void a_rating__is_a_document_beside_its_product(void **state)
{
    static const struct {
        const char *name;
        bson_type_t type;
    } fields[] = {
        {"_id", BSON_TYPE_UTF8},    {"product_id", BSON_TYPE_OID},     {"member_id", BSON_TYPE_BINARY},
        {"stars", BSON_TYPE_INT64}, {"rated_at", BSON_TYPE_DATE_TIME}, {"guard", BSON_TYPE_INT64},
    };
    const struct batch rating = {FIRST, 20, 2, RATE, 0}, again = {20, 30, 2, RATE, 0};
    struct tw_store    store = given_products(2);
    bson_t            *document;

    (void)state;
    must_fold(&store, &rating);
    must_fold(&store, &again);
    document = document_of(TW_MONGO_RATINGS, filter_of_rating(1));
    assert_int_equal(bson_count_keys(document), TW_LEN(fields));
    for (size_t i = 0; i < TW_LEN(fields); i++) {
        bson_iter_t iter;

        assert_true(bson_iter_init_find(&iter, document, fields[i].name));
        assert_int_equal(bson_iter_type(&iter), fields[i].type);
    }
    bson_destroy(document);
    assert_int_equal(count(TW_MONGO_RATINGS, bson_new()), 2);
    tw_product_store_close(&store);
}

static void an_id__that_no_sku_can_have_is_of_no_product(void **state)
{
    struct tw_store  store = open_store();
    struct tw_entity entities[] = {
        {.key.id = {{0xff, 0xff}}, .before = &store},
        {.key = {.kind = TW_RATING_ENTITY, .id = {{0xff, 0xff}}, .sub = {{1}}}, .before = &store},
    };
    struct tw_load  load = {.entities = entities, .entity_count = TW_LEN(entities)};
    struct tw_arena arena = {0};
    struct tw_err   err = {0};

    (void)state;
    assert_watermark(&store, 0);
    assert_rc(store.load(store.self, PARTITION, 0, &load, &arena, &err), TW_OK, err);
    for (size_t i = 0; i < TW_LEN(entities); i++) {
        assert_null(entities[i].before);
        assert_int_equal(entities[i].before_guard, -1);
    }
    tw_arena_done(&arena);
    tw_product_store_close(&store);
}

/* --- crash gaps --------------------------------------------------------------------------------------------------- */

/* In a process of its own, which the failpoint ends. */
static int play(const char *deed)
{
    struct batch    batch = {FIRST, 20, PRODUCTS, (enum deed)atoi(deed), ROWS};
    struct tw_store store = open_store();
    struct tw_err   err = {0};
    int64_t         next;

    if (ask_next(&store, &next, &err) != TW_OK)
        return 1;
    batch.first = next;
    return fold(&store, &batch, &err) == TW_OK ? 0 : 2;
}

static void crash(enum deed deed, const char *failpoint)
{
    static struct tw_child child;
    char                   number[2] = {(char)('0' + (int)deed), 0};
    struct tw_str          setting;
    struct tw_arena        arena = {0};

    setting = tw_arena_printf(&arena, "TW_FAIL=%s", failpoint);
    tw_child_exec((const char *const[]){"/proc/self/exe", "play", number, NULL},
                  (const char *const[]){setting.ptr, NULL}, &child);
    assert_int_equal(child.exit_code, EXIT_AT_FAILPOINT);
    tw_arena_done(&arena);
}

/* How far a worker came before it died. A part is written in steps of 1000 documents. */
struct gap {
    const char *failpoint; /* a TW_FAIL value */
    int64_t     products;  /* done */
    int64_t     ratings;
    int64_t     rows;
};

static const struct gap gaps[] = {
    {"in_commit=exit", 0, 0, 0},
    {"after_redo=exit", 0, 0, 0},
    {"in_apply=exit", 1000, 0, 0},
    {"in_apply=exit@2", PRODUCTS, 0, 0},
    {"before_applied=exit", PRODUCTS, PRODUCTS, ROWS},
};

/* The same where there are ratings to write, too. */
static const struct gap rating_gaps[] = {
    {"in_commit=exit", 0, 0, 0},
    {"after_redo=exit", 0, 0, 0},
    {"in_apply=exit", 1000, 0, 0},
    {"in_apply=exit@2", PRODUCTS, 0, 0},
    {"in_apply=exit@3", PRODUCTS, 1000, 0},
    {"in_apply=exit@4", PRODUCTS, PRODUCTS, 0},
    {"before_applied=exit", PRODUCTS, PRODUCTS, ROWS},
};

/* What the crashed batch meets. */
enum given { NOTHING, MADE, RATED };

static struct tw_store given(enum given what)
{
    const struct batch rating = {FIRST, FIRST + 2, PRODUCTS, RATE, 0};
    struct tw_store    store;

    wipe(NULL);
    store = given_products(what == NOTHING ? 0 : PRODUCTS);
    if (what == RATED)
        must_fold(&store, &rating);
    return store;
}

static int64_t expected_stars(enum deed deed, enum given what)
{
    return deed == WITHDRAW ? 0 : (what == RATED) + (deed == RATE);
}

/* Nothing in there twice, nothing forgotten. */
static void assert_done_once(enum deed deed, enum given what)
{
    assert_int_equal(applied(), 20);
    assert_int_equal(count_changed(TW_MONGO_PRODUCTS, 19), PRODUCTS);
    assert_int_equal(count(TW_MONGO_LEDGER, bson_new()), ROWS);
    for (uint32_t i = 0; i < PRODUCTS; i += 499) {
        assert_int_equal(number_of_product(i, "view_count"), deed == VIEW ? 2 : 1);
        assert_int_equal(number_of_product(i, "version"), deed == CHANGE ? 2 : 1);
        assert_int_equal(number_of_product(i, "rating_sum"), expected_stars(deed, what));
        if (deed == RATE || deed == WITHDRAW)
            assert_int_equal(stars(i), expected_stars(deed, what));
    }
}

static void crash_and_go_on(enum deed deed, enum given what, const struct gap *gap)
{
    const struct batch next = {20, 30, PRODUCTS, VIEW, 0};
    struct tw_store    store = given(what);

    crash(deed, gap->failpoint);
    assert_int_equal(applied(), what == RATED ? FIRST + 2 : FIRST);
    assert_int_equal(count_changed(TW_MONGO_PRODUCTS, 19), gap->products);
    if (deed == RATE || deed == WITHDRAW)
        assert_int_equal(count_changed(TW_MONGO_RATINGS, 19), gap->ratings);
    assert_int_equal(count(TW_MONGO_LEDGER, bson_new()), gap->rows);

    assert_watermark(&store, 20);
    assert_done_once(deed, what);
    assert_watermark(&store, 20);
    assert_done_once(deed, what);
    must_fold(&store, &next);
    assert_int_equal(number_of_product(7, "view_count"), deed == VIEW ? 3 : 2);
    tw_product_store_close(&store);
}

static void each_gap(enum deed deed, enum given what, const struct gap *of, size_t count_of)
{
#ifndef TW_FAILPOINTS
    print_message("             not built with TW_FAILPOINTS\n");
    skip();
#endif
    for (size_t i = 0; i < count_of; i++)
        crash_and_go_on(deed, what, &of[i]);
}

static void a_crash__while_products_are_made_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(MAKE, NOTHING, gaps, TW_LEN(gaps));
}

static void a_crash__while_views_are_counted_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(VIEW, MADE, gaps, TW_LEN(gaps));
}

static void a_crash__while_products_change_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(CHANGE, MADE, gaps, TW_LEN(gaps));
}

static void a_crash__while_products_are_rated_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(RATE, MADE, &rating_gaps[4], 1); /* as products are made */
}

static void a_crash__while_ratings_change_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(RATE, RATED, rating_gaps, TW_LEN(rating_gaps));
}

static void a_crash__while_ratings_are_withdrawn_is_finished_by_the_next_owner(void **state)
{
    (void)state;
    each_gap(WITHDRAW, RATED, &rating_gaps[4], 1); /* the form is that of a change */
}

/* --- late writes -------------------------------------------------------------------------------------------------- */

/* The redo record of a batch, made and not committed: what a worker does that was asleep since its step (a). */
static void take_redo(struct tw_store *store, const struct batch *batch, bson_t *ret_redo)
{
    struct turn   turn;
    struct tw_err err = {0};

    assert_rc(begin(store, batch, &turn, &err), TW_OK, err);
    tw_product_redo_build(&turn.changes, ret_redo);
    tw_arena_done(&turn.arena);
}

static void wake(const bson_t *redo)
{
    struct tw_err err = {0};

    assert_rc(tw_product_apply(&server, redo, &err), TW_OK, err);
}

/* The product and its rating, one behind the other; empty documents where there is none. */
static bson_t *both_documents(uint32_t i)
{
    bson_t *product = document_of(TW_MONGO_PRODUCTS, filter_of_product(i));
    bson_t *rating = document_of(TW_MONGO_RATINGS, filter_of_rating(i));
    bson_t *both = BCON_NEW("product", BCON_DOCUMENT(product), "rating", BCON_DOCUMENT(rating));

    bson_destroy(rating);
    bson_destroy(product);
    return both;
}

/* A product that was rated, a write that is late, and what came after it. */
static void wake_after(enum deed late_deed, enum deed after_it)
{
    const struct batch rating = {FIRST, 15, 3, RATE, 0}, late = {15, 20, 3, late_deed, ROWS},
                       viewing = {20, 30, 3, VIEW, 0}, next = {30, 40, 3, after_it, 0};
    struct tw_store store;
    bson_t          redo;
    bson_t         *before;
    bson_t         *after;

    wipe(NULL);
    store = given_products(3);
    must_fold(&store, &rating);
    take_redo(&store, &late, &redo);
    must_fold(&store, &late);
    must_fold(&store, &viewing);
    must_fold(&store, &next);
    before = both_documents(1);
    wake(&redo);
    after = both_documents(1);
    assert_true(bson_equal(before, after));
    bson_destroy(after);
    bson_destroy(before);
    bson_destroy(&redo);
    tw_product_store_close(&store);
}

static void a_late_write__of_any_form_changes_nothing(void **state)
{
    static const enum deed deeds[] = {VIEW, CHANGE, RATE, WITHDRAW};

    (void)state;
    for (size_t late = 0; late < TW_LEN(deeds); late++)
        for (size_t after = 0; after < TW_LEN(deeds); after++)
            wake_after(deeds[late], deeds[after]);
}

/* As often as wanted: it is what happens when two owners finish the same batch at once. */
static void a_write__that_is_done_twice_is_done_once(void **state)
{
    static const enum deed deeds[] = {VIEW, CHANGE, RATE, WITHDRAW};

    (void)state;
    for (size_t i = 0; i < TW_LEN(deeds); i++) {
        const struct batch rating = {FIRST, 20, 3, RATE, 0}, batch = {20, 30, 3, deeds[i], ROWS};
        struct tw_store    store;
        bson_t             redo;
        bson_t            *before;
        bson_t            *after;

        wipe(NULL);
        store = given_products(3);
        must_fold(&store, &rating);
        take_redo(&store, &batch, &redo);
        wake(&redo);
        before = both_documents(1);
        wake(&redo);
        after = both_documents(1);
        assert_true(bson_equal(before, after));
        bson_destroy(after);
        bson_destroy(before);
        bson_destroy(&redo);
        tw_product_store_close(&store);
    }
}

/* A rating does not move the version, so the version could not tell that the change is an old one. */
static void a_late_rating__of_a_product_that_was_rated_again_leaves_its_mean_alone(void **state)
{
    const struct batch late = {FIRST, 20, 3, RATE, 0}, again = {20, 30, 3, RATE, 0};
    struct tw_store    store = given_products(3);
    bson_t             redo;

    (void)state;
    take_redo(&store, &late, &redo);
    must_fold(&store, &late);
    must_fold(&store, &again);
    wake(&redo);
    assert_int_equal(number_of_product(1, "rating_sum"), 2);
    assert_int_equal(number_of_product(1, "version"), 1);
    assert_int_equal(stars(1), 2);
    bson_destroy(&redo);
    tw_product_store_close(&store);
}

/* The first rating is an insert: what was withdrawn must still be there to meet it. */
static void a_late_rating__does_not_bring_a_withdrawn_one_back(void **state)
{
    const struct batch late = {FIRST, 20, 3, RATE, 0}, withdrawing = {20, 30, 3, WITHDRAW, 0};
    struct tw_store    store = given_products(3);
    bson_t             redo;

    (void)state;
    take_redo(&store, &late, &redo);
    must_fold(&store, &late);
    must_fold(&store, &withdrawing);
    wake(&redo);
    assert_int_equal(stars(1), 0);
    assert_int_equal(number_of_product(1, "rating_sum"), 0);
    bson_destroy(&redo);
    tw_product_store_close(&store);
}

static void a_late_insert__does_not_bring_the_first_state_back(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0};
    struct batch       first = making;
    struct tw_store    store = open_store();
    bson_t             redo;

    (void)state;
    first.products = 3;
    assert_watermark(&store, 0);
    take_redo(&store, &first, &redo);
    must_fold(&store, &first);
    must_fold(&store, &viewing);
    wake(&redo);
    assert_int_equal(number_of_product(1, "view_count"), 2);
    assert_int_equal(number_of_product(1, "guard"), 19);
    bson_destroy(&redo);
    tw_product_store_close(&store);
}

/* --- ledger rows -------------------------------------------------------------------------------------------------- */

static void fold_row(struct tw_store *store, int64_t first, struct tw_ledger_row row)
{
    struct batch  batch = {first, first + 10, 0, VIEW, 0};
    struct turn   turn;
    struct tw_err err = {0};

    assert_rc(begin(store, &batch, &turn, &err), TW_OK, err);
    turn.changes.rows = &row;
    turn.changes.row_count = 1;
    assert_rc(store->commit(store->self, &turn.changes, &err), TW_OK, err);
    tw_arena_done(&turn.arena);
}

static int64_t offset_of_row(void)
{
    return number_in(document_of(TW_MONGO_LEDGER, bson_new()), "offset");
}

/* A command id may come again after its 24 hours, or when it was requeued. */
static void a_row__of_the_same_command_takes_the_place_of_an_older_one(void **state)
{
    struct tw_store      store = given_products(1);
    struct tw_ledger_row row = row_at(12);
    struct batch         older = {20, 30, 0, VIEW, 0};
    struct turn          turn;
    struct tw_err        err = {0};
    bson_t               redo;

    (void)state;
    fold_row(&store, 10, row);
    assert_int_equal(offset_of_row(), 12);
    assert_rc(begin(&store, &older, &turn, &err), TW_OK, err);
    turn.changes.rows = &row;
    turn.changes.row_count = 1;
    tw_product_redo_build(&turn.changes, &redo);

    row.offset = 25;
    fold_row(&store, 20, row);
    assert_int_equal(offset_of_row(), 25);
    assert_int_equal(count(TW_MONGO_LEDGER, bson_new()), 1);
    wake(&redo); /* and a late one of the older does not take it back */
    assert_int_equal(offset_of_row(), 25);
    bson_destroy(&redo);
    tw_arena_done(&turn.arena);
    tw_product_store_close(&store);
}

static void sweep__takes_the_oldest_rows_first_and_no_more_than_a_bounded_number(void **state)
{
    const struct batch batch = {FIRST, 5000, 0, VIEW, 1500};
    struct tw_store    store = given_products(1);
    struct tw_err      err = {0};
    int64_t            now_ms = 1795428000000 + TW_LEDGER_LIFE_MS + 5000;
    int64_t            left;

    (void)state;
    must_fold(&store, &batch);
    assert_rc(store.sweep(store.self, PARTITION, 5000, now_ms, &err), TW_OK, err);
    left = count(TW_MONGO_LEDGER, bson_new());
    assert_int_equal(left, 500);
    assert_int_equal(count(TW_MONGO_LEDGER, BCON_NEW("offset", "{", "$gte", BCON_INT64(FIRST + 1000), "}")), 500);
    assert_rc(store.sweep(store.self, PARTITION, 5000, now_ms, &err), TW_OK, err);
    assert_int_equal(count(TW_MONGO_LEDGER, bson_new()), 0);
    tw_product_store_close(&store);
}

/* --- marks and lists ---------------------------------------------------------------------------------------------- */

static void mark(struct tw_store *store, int64_t next, int64_t from, int64_t to)
{
    struct tw_err err = {0};

    assert_rc(store->set_mark(store->self, PARTITION, next, from, to, &err), TW_OK, err);
}

static bool progress_has(const char *name)
{
    bson_t *document = document_of(TW_MONGO_PROGRESS, BCON_NEW("_id", BCON_INT32(PARTITION)));
    bool    has = bson_has_field(document, name);

    bson_destroy(document);
    return has;
}

static void a_mark__is_a_field_that_is_there_only_with_it(void **state)
{
    struct tw_store store = given_products(1);
    struct tw_err   err = {0};

    (void)state;
    assert_false(progress_has("mark"));
    mark(&store, FIRST, 0, -7);
    assert_true(progress_has("mark"));
    assert_rc(store.forget_outbox(store.self, PARTITION, FIRST, &err), TW_OK, err);
    mark(&store, FIRST, -7, 0);
    assert_false(progress_has("mark"));
    tw_product_store_close(&store);
}

static void a_crash__of_a_batch_whose_partition_is_frozen_then_is_finished_all_the_same(void **state)
{
    struct tw_store store = given(NOTHING);

    (void)state;
#ifndef TW_FAILPOINTS
    skip();
#endif
    crash(MAKE, "after_redo=exit");
    mark(&store, 20, 0, -7);
    assert_watermark(&store, 20);
    assert_done_once(MAKE, NOTHING);
    tw_product_store_close(&store);
}

static void list__of_what_is_none_of_ours_is_broken(void **state)
{
    struct tw_store store = given_products(3);
    struct tw_key   keys[10];
    size_t          count;
    struct tw_err   err = {0};

    (void)state;
    run(BCON_NEW("insert", TW_MONGO_PRODUCTS, "documents", "[", "{", "_id", BCON_UTF8("mine"), "}", "]"));
    assert_rc(store.list(store.self, TW_PRODUCT_ENTITY, true, keys, TW_LEN(keys), &count, &err), TW_BROKEN, err);
    assert_non_null(strstr(err.msg, "'products'"));
    /* and what follows is not taken for the rest of it */
    assert_rc(store.list(store.self, TW_PRODUCT_ENTITY, false, keys, TW_LEN(keys), &count, &err), TW_UNREACHED, err);
    assert_rc(store.list(store.self, TW_RATING_ENTITY, true, keys, TW_LEN(keys), &count, &err), TW_OK, err);
    assert_int_equal(count, 0);
    tw_product_store_close(&store);
}

/* --- stores that contradict themselves ---------------------------------------------------------------------------- */

static void assert_broken(enum tw_rc rc, const struct tw_err *err, const char *clause)
{
    assert_rc(rc, TW_BROKEN, *err);
    assert_non_null(strstr(err->msg, clause));
}

static void a_product__ahead_of_the_watermark_stops_the_worker(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};

    (void)state;
    update(TW_MONGO_PRODUCTS, filter_of_product(1), BCON_NEW("$set", "{", "guard", BCON_INT64(FIRST), "}"));
    assert_broken(fold(&store, &viewing, &err), &err, "restored in parts");
    tw_product_store_close(&store);
}

static void a_rating__ahead_of_the_watermark_stops_the_worker(void **state)
{
    const struct batch rating = {FIRST, 20, 3, RATE, 0}, again = {20, 30, 3, RATE, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};

    (void)state;
    must_fold(&store, &rating);
    update(TW_MONGO_RATINGS, filter_of_rating(1), BCON_NEW("$set", "{", "guard", BCON_INT64(20), "}"));
    assert_broken(fold(&store, &again, &err), &err, "restored in parts");
    tw_product_store_close(&store);
}

static void a_product__at_the_watermark_is_just_right(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0};
    struct tw_store    store = given_products(3);

    (void)state;
    assert_int_equal(number_of_product(1, "guard"), FIRST - 1);
    must_fold(&store, &viewing);
    tw_product_store_close(&store);
}

static void applied__ahead_of_the_watermark_stops_the_worker(void **state)
{
    struct tw_store store = given_products(1);
    struct tw_err   err = {0};
    int64_t         next;

    (void)state;
    set_number(TW_MONGO_APPLIED, "applied", FIRST + 1);
    assert_broken(ask_next(&store, &next, &err), &err, "restored in parts");
    tw_product_store_close(&store);
}

static void applied__behind_the_redo_record_stops_the_worker(void **state)
{
    const struct batch viewing = {FIRST, 20, 1, VIEW, 0};
    struct tw_store    store = given_products(1);
    struct tw_err      err = {0};
    int64_t            next;

    (void)state;
    must_fold(&store, &viewing);
    set_number(TW_MONGO_APPLIED, "applied", FIRST - 1);
    assert_broken(ask_next(&store, &next, &err), &err, "restored in parts");
    tw_product_store_close(&store);
}

static void a_product__that_the_redo_record_misses_stops_the_worker(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};
    bson_t            *filter = filter_of_product(1);
    int64_t            next;

    (void)state;
    must_fold(&store, &viewing);
    set_number(TW_MONGO_APPLIED, "applied", FIRST);
    run(BCON_NEW("delete", TW_MONGO_PRODUCTS, "deletes", "[", "{", "q", BCON_DOCUMENT(filter), "limit", BCON_INT32(1),
                 "}", "]"));
    bson_destroy(filter);
    assert_broken(ask_next(&store, &next, &err), &err, "1 documents of 'products' are missing");
    tw_product_store_close(&store);
}

static void a_rating__that_the_redo_record_misses_stops_the_worker(void **state)
{
    const struct batch rating = {FIRST, 20, 3, RATE, 0}, again = {20, 30, 3, RATE, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};
    bson_t            *filter = filter_of_rating(1);
    int64_t            next;

    (void)state;
    must_fold(&store, &rating);
    must_fold(&store, &again);
    set_number(TW_MONGO_APPLIED, "applied", 20);
    run(BCON_NEW("delete", TW_MONGO_RATINGS, "deletes", "[", "{", "q", BCON_DOCUMENT(filter), "limit", BCON_INT32(1),
                 "}", "]"));
    bson_destroy(filter);
    assert_broken(ask_next(&store, &next, &err), &err, "1 documents of 'tw_ratings' are missing");
    tw_product_store_close(&store);
}

/* The server was set back to a moment between (a) and (c), and nobody noticed. */
static void set_back_to_before_views_of_second(void)
{
    set_number(TW_MONGO_APPLIED, "applied", FIRST);
    update(TW_MONGO_PRODUCTS, filter_of_product(1),
           BCON_NEW("$set", "{", "view_count", BCON_INT64(1), "guard", BCON_INT64(FIRST - 1), "}"));
}

static void a_load__of_what_is_not_applied_is_fenced_and_done_after_the_redo(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0}, again = {20, 30, 3, VIEW, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};
    struct turn        turn;

    (void)state;
    must_fold(&store, &viewing);
    set_back_to_before_views_of_second();
    assert_rc(begin(&store, &again, &turn, &err), TW_FENCED, err);
    tw_arena_done(&turn.arena);
    assert_watermark(&store, 20);
    assert_int_equal(number_of_product(1, "view_count"), 2);
    must_fold(&store, &again);
    assert_int_equal(number_of_product(1, "view_count"), 3);
    tw_product_store_close(&store);
}

/* Replacing the redo record now would lose the batch it holds. */
static void a_commit__onto_a_batch_that_is_not_applied_is_fenced(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0}, again = {20, 30, 3, VIEW, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};
    struct turn        turn;

    (void)state;
    must_fold(&store, &viewing);
    assert_rc(begin(&store, &again, &turn, &err), TW_OK, err);
    set_back_to_before_views_of_second();
    assert_rc(store.commit(store.self, &turn.changes, &err), TW_FENCED, err);
    tw_arena_done(&turn.arena);
    assert_watermark(&store, 20);
    assert_int_equal(number_of_product(1, "view_count"), 2);
    must_fold(&store, &again);
    assert_int_equal(number_of_product(1, "view_count"), 3);
    tw_product_store_close(&store);
}

/* Another worker is between (a) and (b), where tw_applied does not tell of it yet. */
static void a_commit__of_what_was_loaded_while_another_batch_is_on_its_way_is_fenced(void **state)
{
    const struct batch viewing = {FIRST, 20, 3, VIEW, 0};
    struct tw_store    store = given_products(3);
    struct tw_err      err = {0};
    struct turn        turn;

    (void)state;
    set_number(TW_MONGO_PROGRESS, "next", 15);
    assert_rc(begin(&store, &viewing, &turn, &err), TW_OK, err);
    assert_rc(store.commit(store.self, &turn.changes, &err), TW_FENCED, err);
    assert_int_equal(number_of_product(1, "view_count"), 1);
    tw_arena_done(&turn.arena);
    tw_product_store_close(&store);
}

static void a_batch__that_no_document_holds_is_refused(void **state)
{
    struct tw_store   store = open_store();
    struct tw_changes changes = {.partition = PARTITION, .after.next_offset = 1};
    struct tw_err     err = {0};
    char             *outbox = tw_alloc_zeroed(1, 16 << 20);

    (void)state;
    changes.after.outbox = (struct tw_str){outbox, 16 << 20};
    assert_watermark(&store, 0);
    assert_rc(store.commit(store.self, &changes, &err), TW_REFUSED, err);
    assert_watermark(&store, 0);
    free(outbox);
    tw_product_store_close(&store);
}

/* --- main --------------------------------------------------------------------------------------------------------- */

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_price__stands_in_the_server_as_an_exact_decimal, wipe),
        cmocka_unit_test_setup(a_product__keeps_its_types_in_the_server_through_views_and_changes, wipe),
        cmocka_unit_test_setup(a_rating__is_a_document_beside_its_product, wipe),
        cmocka_unit_test_setup(an_id__that_no_sku_can_have_is_of_no_product, wipe),
        cmocka_unit_test_setup(a_crash__while_products_are_made_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_crash__while_views_are_counted_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_crash__while_products_change_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_crash__while_products_are_rated_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_crash__while_ratings_change_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_crash__while_ratings_are_withdrawn_is_finished_by_the_next_owner, wipe),
        cmocka_unit_test_setup(a_late_write__of_any_form_changes_nothing, wipe),
        cmocka_unit_test_setup(a_write__that_is_done_twice_is_done_once, wipe),
        cmocka_unit_test_setup(a_late_rating__of_a_product_that_was_rated_again_leaves_its_mean_alone, wipe),
        cmocka_unit_test_setup(a_late_rating__does_not_bring_a_withdrawn_one_back, wipe),
        cmocka_unit_test_setup(a_late_insert__does_not_bring_the_first_state_back, wipe),
        cmocka_unit_test_setup(a_row__of_the_same_command_takes_the_place_of_an_older_one, wipe),
        cmocka_unit_test_setup(sweep__takes_the_oldest_rows_first_and_no_more_than_a_bounded_number, wipe),
        cmocka_unit_test_setup(a_mark__is_a_field_that_is_there_only_with_it, wipe),
        cmocka_unit_test_setup(a_crash__of_a_batch_whose_partition_is_frozen_then_is_finished_all_the_same, wipe),
        cmocka_unit_test_setup(list__of_what_is_none_of_ours_is_broken, wipe),
        cmocka_unit_test_setup(a_product__ahead_of_the_watermark_stops_the_worker, wipe),
        cmocka_unit_test_setup(a_rating__ahead_of_the_watermark_stops_the_worker, wipe),
        cmocka_unit_test_setup(a_product__at_the_watermark_is_just_right, wipe),
        cmocka_unit_test_setup(applied__ahead_of_the_watermark_stops_the_worker, wipe),
        cmocka_unit_test_setup(applied__behind_the_redo_record_stops_the_worker, wipe),
        cmocka_unit_test_setup(a_product__that_the_redo_record_misses_stops_the_worker, wipe),
        cmocka_unit_test_setup(a_rating__that_the_redo_record_misses_stops_the_worker, wipe),
        cmocka_unit_test_setup(a_load__of_what_is_not_applied_is_fenced_and_done_after_the_redo, wipe),
        cmocka_unit_test_setup(a_commit__onto_a_batch_that_is_not_applied_is_fenced, wipe),
        cmocka_unit_test_setup(a_commit__of_what_was_loaded_while_another_batch_is_on_its_way_is_fenced, wipe),
        cmocka_unit_test_setup(a_batch__that_no_document_holds_is_refused, wipe),
    };
    struct tw_err err = {0};
    int           failed;

    if (tw_mongo_init(database_uri, TIMEOUT_MS, &server, &err) != TW_OK) {
        fprintf(stderr, "product_store_mongo: %s\n", err.msg);
        return 1;
    }
    failed = cmocka_run_group_tests_name("product_store_mongo", tests, make_indexes, NULL);
    tw_mongo_done(&server);
    return failed;
}

int main(int argc, char **argv)
{
    const char   *uri = getenv("TW_MONGO_URI");
    const char   *skips = getenv("TW_SKIP_STORES");
    bool          may_skip = skips && !strcmp(skips, "1");
    struct tw_err err = {0};
    int           failed;

    if (!uri || !*uri) {
        fprintf(stderr, "product_store_mongo: TW_MONGO_URI is not set: %s\n",
                may_skip ? "ALL TESTS ARE SKIPPED (TW_SKIP_STORES=1)" : "no server to test against");
        return may_skip ? 0 : 1;
    }
    if (!make_database_uri(uri, &err)) {
        fprintf(stderr, "product_store_mongo: %s\n", err.msg);
        return 1;
    }
    failed = argc == 3 && !strcmp(argv[1], "play") ? play(argv[2]) : run_all();
    free(database_uri);
    return failed;
}
