/* The shadow of the products' store: folding into it in bulk, and how it takes the live one's place. TW_MONGO_URI names the server; the databases
 * are the one it names with `_live` and `_live_shadow` behind it, and are EMPTIED. */
/* Links: tw_product_shadow tw_test PkgConfig::MONGOC */
#include "workers/product/product_shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample_states.h"
#include "tillwire/product_document.h"
#include "unit.h"
#include "workers/product/product_connection.h"
#include "workers/product/product_domain.h"
#include "workers/product/product_schema.h"
#include "workers/product/product_store.h"

enum { TIMEOUT_MS = 30000, PARTITIONS = 2, SAMPLES_APART = 10000, EXIT_AT_FAILPOINT = 86 };

static char           *live_uri;
static char           *shadow_uri;
static struct tw_mongo live; /* the test's own connections */
static struct tw_mongo beside;

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void run(struct tw_mongo *mongo, bson_t *command)
{
    struct tw_mongo_written written;
    struct tw_err           err = {0};

    assert_rc(tw_mongo_write(mongo, command, "test", &written, &err), TW_OK, err);
    bson_destroy(command);
}

static bool whatever(const char *collection)
{
    (void)collection;
    return true;
}

static void empty_database(struct tw_mongo *mongo)
{
    struct tw_err err = {0};

    assert_rc(tw_mongo_connect(mongo, &err), TW_OK, err);
    assert_rc(tw_mongo_drop(mongo, whatever, &err), TW_OK, err);
}

static int wipe(void **state)
{
    struct tw_buf lines = {0};
    struct tw_err err = {0};

    (void)state;
    empty_database(&live);
    empty_database(&beside);
    assert_rc(tw_product_schema_apply(&live, &lines, &err), TW_OK, err);
    tw_buf_done(&lines);
    return 0;
}

/* --- folding ------------------------------------------------------------------------------------------------------ */

/* What one batch makes or changes: samples from .. from + entities - 1 of a partition. */
struct batch {
    int32_t  partition;
    int64_t  first;
    int64_t  next;
    int64_t  generation;
    uint32_t from;
    uint32_t entities;
    uint32_t rows;
    int64_t  clock_ms;    /* 0: `next` */
    bool     is_snapshot; /* its entities are new and of whatever age: nothing is loaded */
};

static struct tw_store open_store(const char *uri)
{
    struct tw_store store;
    struct tw_err   err = {0};

    assert_rc(tw_product_store_open(uri, TIMEOUT_MS, &store, &err), TW_OK, err);
    return store;
}

static struct tw_progress progress_of(struct tw_store *store, int32_t partition)
{
    struct tw_arena    arena = {0};
    struct tw_progress progress = {0};
    struct tw_err      err = {0};

    store->release(store->self, partition); /* as if for the first time: no swap is noticed */
    assert_rc(store->watermark(store->self, partition, &arena, &progress, &err), TW_OK, err);
    progress.outbox = (struct tw_str){0};
    tw_arena_done(&arena);
    return progress;
}

static bool has_outbox(const char *uri, int32_t partition)
{
    struct tw_store    store = open_store(uri);
    struct tw_arena    arena = {0};
    struct tw_progress progress = {0};
    struct tw_err      err = {0};
    bool               has;

    assert_rc(store.watermark(store.self, partition, &arena, &progress, &err), TW_OK, err);
    has = progress.outbox.len > 0;
    tw_arena_done(&arena);
    tw_product_store_close(&store);
    return has;
}

static struct tw_ledger_row row_at(const struct batch *batch, uint32_t n)
{
    struct tw_ledger_row row = {
        .type = TW_STR("product.create"),
        .outcome = tw_succeeded(201, TW_STR("/v1/products/x")),
        .offset = batch->first + n,
        .at_ms = 1795428000000 + batch->generation,
    };

    memcpy(row.id.bytes, &row.offset, sizeof(row.offset));
    return row;
}

static int compare_rows(const void *a, const void *b)
{
    return tw_uuid_cmp(((const struct tw_ledger_row *)a)->id, ((const struct tw_ledger_row *)b)->id);
}

struct turn {
    struct tw_arena   arena;
    struct tw_changes changes;
};

static uint32_t sample_of(const struct batch *batch, uint32_t i)
{
    return (uint32_t)batch->partition * SAMPLES_APART + batch->from + i;
}

static void load_turn(struct tw_store *store, const struct batch *batch, struct turn *ret_turn)
{
    struct turn             *turn = ret_turn;
    struct tw_load           load = {.entity_count = batch->entities};
    const struct tw_entity **changed;
    struct tw_ledger_row    *rows;
    struct tw_err            err = {0};

    *turn = (struct turn){0};
    load.entities = TW_NEW_ARRAY(&turn->arena, batch->entities, struct tw_entity);
    changed = TW_NEW_ARRAY(&turn->arena, batch->entities, const struct tw_entity *);
    rows = TW_NEW_ARRAY(&turn->arena, batch->rows, struct tw_ledger_row);
    for (uint32_t i = 0; i < batch->entities; i++)
        load.entities[i].key = tw_sample_products.key(sample_of(batch, i));
    if (!batch->is_snapshot)
        assert_rc(store->load(store->self, batch->partition, batch->first, &load, &turn->arena, &err), TW_OK, err);
    for (uint32_t i = 0; i < batch->entities; i++) {
        load.entities[i].state = tw_sample_products.make(sample_of(batch, i), batch->generation, &turn->arena);
        load.entities[i].guard = batch->is_snapshot ? 500 : batch->next - 1;
        load.entities[i].changed = true;
        changed[i] = &load.entities[i];
    }
    for (uint32_t i = 0; i < batch->rows; i++)
        rows[i] = row_at(batch, i);
    qsort(rows, batch->rows, sizeof(*rows), compare_rows);
    turn->changes = (struct tw_changes){
        .partition = batch->partition,
        .first_offset = batch->first,
        .after = {.next_offset = batch->next,
                  .clock_ms = batch->clock_ms ? batch->clock_ms : batch->next,
                  .last_hash = {(uint8_t)batch->next}},
        .entities = changed,
        .entity_count = batch->entities,
        .rows = rows,
        .row_count = batch->rows,
    };
}

static enum tw_rc try_fold(const char *uri, bool bulk, struct batch batch)
{
    struct tw_store store = open_store(uri);
    struct turn     turn;
    struct tw_err   err = {0};
    enum tw_rc      rc;

    if (bulk)
        tw_product_store_bulk(&store);
    batch.first = progress_of(&store, batch.partition).next_offset;
    load_turn(&store, &batch, &turn);
    rc = store.commit(store.self, &turn.changes, &err);
    if (rc != TW_OK)
        fprintf(stderr, "%s\n", err.msg);
    tw_arena_done(&turn.arena);
    tw_product_store_close(&store);
    return rc;
}

static void fold(const char *uri, struct batch batch)
{
    assert_int_equal(try_fold(uri, false, batch), TW_OK);
}

/* --- what a store holds ------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of a partition nothing was folded of there may be a document or none. */
static bool is_of_nothing(const bson_t *document)
{
    bson_iter_t iter;

    return (bson_iter_init_find(&iter, document, "next") || bson_iter_init_find(&iter, document, "applied")) &&
           bson_iter_as_int64(&iter) == 0;
}

/* One line a document, its fields sorted by name; of progress only what a store is at. */
static enum tw_rc print_document(void *context, const bson_t *document, struct tw_err *reterr)
{
    static const char *const unprinted[] = {"mark", "redo", "outbox", "epoch"};
    const char              *names[64];
    size_t                   count = 0;
    bson_iter_t              iter;

    (void)reterr;
    if (is_of_nothing(document))
        return TW_OK;
    assert_true(bson_iter_init(&iter, document));
    while (bson_iter_next(&iter)) {
        bool prints = true;

        for (size_t i = 0; i < TW_LEN(unprinted); i++)
            prints = prints && strcmp(bson_iter_key(&iter), unprinted[i]) != 0;
        assert_true(count < TW_LEN(names));
        if (prints)
            names[count++] = bson_iter_key(&iter);
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count; i++) {
        bson_t field = BSON_INITIALIZER;
        char  *json;

        assert_true(bson_iter_init_find(&iter, document, names[i]) && bson_append_iter(&field, NULL, 0, &iter));
        json = bson_as_canonical_extended_json(&field, NULL);
        tw_buf_printf(context, "%s", json);
        bson_free(json);
        bson_destroy(&field);
    }
    tw_buf_printf(context, "\n");
    return TW_OK;
}

static char *dump(struct tw_mongo *mongo)
{
    static const char *const collections[] = {TW_MONGO_PRODUCTS, TW_MONGO_RATINGS, TW_MONGO_LEDGER, TW_MONGO_PROGRESS,
                                              TW_MONGO_APPLIED};
    struct tw_buf            text = {0};
    bson_t                   all = BSON_INITIALIZER;
    bson_t                  *options = BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}");
    struct tw_err            err = {0};

    for (size_t i = 0; i < TW_LEN(collections); i++) {
        tw_buf_printf(&text, "%s\n", collections[i]);
        assert_rc(tw_mongo_find(mongo, collections[i], &all, options, print_document, &text, "test", &err), TW_OK, err);
    }
    tw_buf_add(&text, "", 1);
    bson_destroy(options);
    return text.ptr;
}

static void assert_holds(struct tw_mongo *mongo, const char *expected)
{
    char  *found = dump(mongo);
    size_t same = 0;

    while (found[same] && found[same] == expected[same])
        same++;
    if (found[same] || expected[same])
        fail_msg("%.300s\n--- instead of\n%.300s", found + same, expected + same);
    free(found);
}

static enum tw_rc count_one(void *context, const bson_t *document, struct tw_err *reterr)
{
    (void)document;
    (void)reterr;
    ++*(int64_t *)context;
    return TW_OK;
}

static int64_t count(struct tw_mongo *mongo, const char *collection)
{
    bson_t        all = BSON_INITIALIZER;
    int64_t       found = 0;
    struct tw_err err = {0};

    assert_rc(tw_mongo_find(mongo, collection, &all, NULL, count_one, &found, "test", &err), TW_OK, err);
    return found;
}

static int64_t count_all(void)
{
    static const char *const collections[] = {TW_MONGO_PRODUCTS, TW_MONGO_RATINGS, TW_MONGO_LEDGER};
    int64_t                  found = 0;

    for (size_t i = 0; i < TW_LEN(collections); i++)
        found += count(&live, collections[i]) + count(&beside, collections[i]);
    return found;
}

/* --- shadows ------------------------------------------------------------------------------------------------------ */

static struct tw_shadow open_shadow(void)
{
    struct tw_shadow shadow;
    struct tw_err    err = {0};

    assert_rc(tw_product_shadow_open(live_uri, "", TIMEOUT_MS, &shadow, &err), TW_OK, err);
    assert_string_equal(shadow.uri, shadow_uri);
    return shadow;
}

static void assert_looks(const struct tw_shadow *shadow, enum tw_shadow_content expected, const char *expected_note)
{
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1] = "?";
    struct tw_err          err = {0};

    assert_rc(shadow->look(shadow->self, &content, note, &err), TW_OK, err);
    assert_int_equal(content, expected);
    assert_string_equal(note, expected_note);
}

static void must_make(const struct tw_shadow *shadow)
{
    struct tw_err err = {0};

    assert_rc(shadow->make(shadow->self, "a rebuild", &err), TW_OK, err);
}

static void assert_refused(enum tw_rc rc, enum tw_rc expected, const struct tw_err *err, const char *clause)
{
    assert_rc(rc, expected, *err);
    if (!strstr(err->msg, clause))
        fail_msg("no '%s' in: %s", clause, err->msg);
}

static void freeze(struct tw_frozen frozen[PARTITIONS])
{
    struct tw_store store = open_store(live_uri);
    struct tw_err   err = {0};

    for (int32_t i = 0; i < PARTITIONS; i++) {
        frozen[i] = (struct tw_frozen){progress_of(&store, i).next_offset, 17 + i};
        assert_rc(store.set_mark(store.self, i, frozen[i].next_offset, 0, frozen[i].mark, &err), TW_OK, err);
    }
    tw_product_store_close(&store);
}

/* As whoever comes after a crash finds it. */
static bool read_frozen(struct tw_frozen frozen[PARTITIONS])
{
    struct tw_store store = open_store(live_uri);
    bool            any = false;

    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct tw_progress progress = progress_of(&store, i);

        frozen[i] = (struct tw_frozen){progress.next_offset, progress.mark};
        any = any || progress.mark;
    }
    tw_product_store_close(&store);
    return any;
}

/* A live store, and a shadow at the same watermarks that differs in all ways it can: documents that are older, newer,
 * missing and too many; in the last partition nothing differs but how documents came to be. */
static void given_both(const struct tw_shadow *shadow)
{
    must_make(shadow);
    fold(live_uri, (struct batch){.partition = 0, .next = 10, .generation = 1, .from = 0, .entities = 20, .rows = 5});
    fold(live_uri, (struct batch){.partition = 0, .next = 20, .generation = 2, .from = 4, .entities = 8, .rows = 2});
    fold(live_uri, (struct batch){.partition = 0, .next = 30, .generation = 3, .from = 20, .entities = 4});
    fold(live_uri, (struct batch){.partition = 1, .next = 10, .generation = 1, .from = 0, .entities = 8, .rows = 3});

    fold(shadow_uri, (struct batch){.partition = 0, .next = 10, .generation = 1, .from = 4, .entities = 24, .rows = 3});
    fold(shadow_uri, (struct batch){.partition = 0, .next = 30, .generation = 4, .from = 8, .entities = 8, .rows = 9});
    fold(shadow_uri, (struct batch){.partition = 1, .next = 10, .generation = 1, .from = 0, .entities = 8, .rows = 3});
}

struct told {
    int     calls;
    int64_t done;
    int64_t all;
};

static void tell(void *self, int64_t done, int64_t all)
{
    struct told *told = self;

    assert_true(done >= told->done && done <= all);
    told->calls++;
    told->done = done;
    told->all = all;
}

static void must_swap(const struct tw_shadow *shadow, bool back, struct told *told)
{
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};

    freeze(frozen);
    assert_rc(
        (back ? shadow->swap_back : shadow->swap)(shadow->self, frozen, PARTITIONS, told ? tell : NULL, told, &err),
        TW_OK, err);
    assert_false(read_frozen(frozen));
}

/* --- look, make, drop --------------------------------------------------------------------------------------------- */

static void a_shadow__is_made_as_the_schema_says_and_dropped(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_buf    lines = {0};
    struct tw_err    err = {0};

    (void)state;
    assert_looks(&shadow, TW_SHADOW_NONE, "");
    must_make(&shadow);
    assert_looks(&shadow, TW_SHADOW_MADE, "a rebuild");
    assert_rc(tw_product_schema_diff(&beside, &lines, &err), TW_OK, err);
    assert_int_equal(lines.len, 0);
    assert_refused(shadow.make(shadow.self, "", &err), TW_BROKEN, &err, "there already");
    assert_rc(shadow.drop(shadow.self, &err), TW_OK, err);
    assert_looks(&shadow, TW_SHADOW_NONE, "");
    assert_rc(shadow.drop(shadow.self, &err), TW_OK, err);
    tw_buf_done(&lines);
    shadow.close(shadow.self);
}

static void a_database__that_is_not_ours_is_never_touched(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};

    (void)state;
    run(&beside, BCON_NEW("insert", "orders", "documents", "[", "{", "_id", BCON_INT32(1), "}", "]"));
    assert_looks(&shadow, TW_SHADOW_FOREIGN, "");
    assert_refused(shadow.make(shadow.self, "", &err), TW_BROKEN, &err, "there already");
    assert_refused(shadow.drop(shadow.self, &err), TW_BROKEN, &err, "not ours");
    freeze(frozen);
    assert_refused(shadow.swap(shadow.self, frozen, PARTITIONS, NULL, NULL, &err), TW_BROKEN, &err, "holds no shadow");
    assert_int_equal(count(&beside, "orders"), 1);
    shadow.close(shadow.self);
}

static void a_shadow__of_another_store_is_not_ours(void **state)
{
    struct tw_shadow shadow = open_shadow();

    (void)state;
    must_make(&shadow);
    run(&beside, BCON_NEW("update", "tw_shadow", "updates", "[", "{", "q", "{", "}", "u", "{", "$set", "{", "of",
                          BCON_UTF8("elsewhere"), "}", "}", "}", "]"));
    assert_looks(&shadow, TW_SHADOW_FOREIGN, "");
    shadow.close(shadow.self);
}

static void a_name__that_cannot_be_a_shadows_is_refused(void **state)
{
    struct tw_shadow shadow;
    struct tw_err    err = {0};

    (void)state;
    assert_refused(tw_product_shadow_open(live_uri, live.database, TIMEOUT_MS, &shadow, &err), TW_INVALID, &err,
                   "the live one");
    assert_refused(tw_product_shadow_open(live_uri, "a.b", TIMEOUT_MS, &shadow, &err), TW_INVALID, &err, "'a.b'");
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

static void swap__exchanges_exactly_what_the_two_hold(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct told      told = {0};
    int64_t          documents;
    char            *of_live;
    char            *of_shadow;

    (void)state;
    given_both(&shadow);
    documents = count_all();
    of_live = dump(&live);
    of_shadow = dump(&beside);
    assert_string_not_equal(of_live, of_shadow);
    must_swap(&shadow, false, &told);
    assert_holds(&live, of_shadow);
    assert_holds(&beside, of_live);
    assert_looks(&shadow, TW_SHADOW_OLD, "");
    assert_int_equal(count(&beside, "tw_swap_products"), 0);
    assert_true(told.calls > 0 && told.done == told.all && told.all > documents);
    fold(live_uri, (struct batch){.partition = 0, .next = 40, .generation = 5, .from = 4, .entities = 8, .rows = 1});
    free(of_shadow);
    free(of_live);
    shadow.close(shadow.self);
}

/* Puts a document of the collection there with its fields in the other order. */
static void turn_fields_round(struct tw_mongo *mongo, const char *collection)
{
    struct tw_mongo_scan scan = {0};
    const bson_t        *document = NULL;
    bson_t               all = BSON_INITIALIZER;
    bson_t               turned = BSON_INITIALIZER;
    struct tw_err        err = {0};
    const char          *names[64];
    size_t               fields = 0;
    bson_iter_t          iter;
    bson_t              *id = bson_new();

    assert_rc(tw_mongo_scan_begin(mongo, collection, &all, NULL, &scan, &err), TW_OK, err);
    assert_rc(tw_mongo_scan_next(&scan, &document, "test", &err), TW_OK, err);
    assert_true(document && bson_iter_init_find(&iter, document, "_id") && bson_append_iter(id, NULL, 0, &iter));
    for (bson_iter_init(&iter, document); bson_iter_next(&iter) && fields < TW_LEN(names);)
        names[fields++] = bson_iter_key(&iter);
    while (fields-- > 0)
        assert_true(bson_iter_init_find(&iter, document, names[fields]) && bson_append_iter(&turned, NULL, 0, &iter));
    run(mongo, BCON_NEW("delete", BCON_UTF8(collection), "deletes", "[", "{", "q", BCON_DOCUMENT(id), "limit",
                        BCON_INT32(1), "}", "]"));
    run(mongo, BCON_NEW("insert", BCON_UTF8(collection), "documents", "[", BCON_DOCUMENT(&turned), "]"));
    tw_mongo_scan_end(&scan);
    bson_destroy(&turned);
    bson_destroy(id);
}

/* The usual end of a rebuild: nothing was wrong. */
static void swap__of_stores_that_are_the_same_writes_no_document(void **state)
{
    const struct batch many = {.partition = 0, .next = 10, .generation = 1, .entities = 60, .rows = 3};
    struct tw_shadow   shadow = open_shadow();
    struct told        told = {0};
    int64_t            documents;
    char              *of_live;

    (void)state;
    must_make(&shadow);
    fold(live_uri, many);
    fold(shadow_uri, many);
    turn_fields_round(&beside, TW_MONGO_PRODUCTS);
    turn_fields_round(&live, TW_MONGO_LEDGER);
    documents = count_all();
    of_live = dump(&live);
    must_swap(&shadow, false, &told);
    assert_int_equal(told.all, documents);
    assert_int_equal(told.done, documents);
    assert_holds(&live, of_live);
    free(of_live);
    shadow.close(shadow.self);
}

static void swap__brings_more_than_one_command_takes(void **state)
{
    struct batch     many = {.partition = 0, .next = 10, .generation = 1, .entities = 2100, .rows = 3};
    struct tw_shadow shadow = open_shadow();
    char            *of_live;
    char            *of_shadow;

    (void)state;
    must_make(&shadow);
    fold(live_uri, (struct batch){.partition = 0, .next = 10, .generation = 2, .from = 1000, .entities = 2, .rows = 1});
    fold(shadow_uri, many);
    of_live = dump(&live);
    of_shadow = dump(&beside);
    must_swap(&shadow, false, NULL);
    assert_holds(&live, of_shadow);
    assert_holds(&beside, of_live);
    free(of_shadow);
    free(of_live);
    shadow.close(shadow.self);
}

/* What it had read is of the store that was there. */
static void a_worker__that_did_not_see_the_swap_commits_nothing(void **state)
{
    const struct batch next = {.partition = 0, .first = 30, .next = 40, .generation = 5, .from = 4, .entities = 8};
    struct tw_shadow   shadow = open_shadow();
    struct tw_store    store = open_store(live_uri);
    struct tw_err      err = {0};
    struct tw_progress seen;
    struct turn        turn;
    char              *before;

    (void)state;
    given_both(&shadow);
    progress_of(&store, 0);
    load_turn(&store, &next, &turn);
    must_swap(&shadow, false, NULL);
    before = dump(&live);
    assert_rc(store.commit(store.self, &turn.changes, &err), TW_FENCED, err);
    assert_holds(&live, before);
    tw_arena_done(&turn.arena);
    assert_rc(store.watermark(store.self, 0, &turn.arena, &seen, &err), TW_UNREACHED, err); /* when it looks, once */
    assert_non_null(strstr(err.msg, "took the place"));
    tw_arena_done(&turn.arena);
    progress_of(&store, 0);
    load_turn(&store, &next, &turn);
    assert_rc(store.commit(store.self, &turn.changes, &err), TW_OK, err);
    tw_arena_done(&turn.arena);
    free(before);
    tw_product_store_close(&store);
    shadow.close(shadow.self);
}

/* A worker died between the steps of its last commit. */
static void swap__finishes_what_was_committed_first(void **state)
{
    struct tw_shadow shadow = open_shadow();
    char            *of_live;

    (void)state;
    given_both(&shadow);
    of_live = dump(&live);
    run(&live, BCON_NEW("update", TW_MONGO_APPLIED, "updates", "[", "{", "q", "{", "_id", BCON_INT32(0), "}", "u", "{",
                        "$set", "{", "applied", BCON_INT64(20), "}", "}", "}", "]"));
    run(&live, BCON_NEW("delete", TW_MONGO_PRODUCTS, "deletes", "[", "{", "q", "{", "guard", BCON_INT64(29), "}",
                        "limit", BCON_INT32(0), "}", "]"));
    must_swap(&shadow, false, NULL);
    assert_holds(&beside, of_live);
    free(of_live);
    shadow.close(shadow.self);
}

/* --- refusals ----------------------------------------------------------------------------------------------------- */

typedef void spoil_fn(struct tw_frozen frozen[PARTITIONS]);

static void set_in_progress(struct tw_mongo *mongo, const char *operator_name, bson_t *values)
{
    run(mongo, BCON_NEW("update", TW_MONGO_PROGRESS, "updates", "[", "{", "q", "{", "_id", BCON_INT32(1), "}", "u", "{",
                        operator_name, BCON_DOCUMENT(values), "}", "}", "]"));
    bson_destroy(values);
}

static void put_into_outbox(struct tw_mongo *mongo)
{
    set_in_progress(mongo, "$set", BCON_NEW("outbox", BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"x", 1)));
}

static void swap__leaves_behind_what_stands_in_the_shadows_outboxes(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct told      told = {0};

    (void)state;
    given_both(&shadow);
    put_into_outbox(&beside);
    assert_true(has_outbox(shadow_uri, 1));
    must_swap(&shadow, false, &told);
    assert_false(has_outbox(live_uri, 1));
    shadow.close(shadow.self);
}

static void spoil_mark(struct tw_frozen frozen[PARTITIONS])
{
    frozen[1].mark++;
}

static void spoil_offset(struct tw_frozen frozen[PARTITIONS])
{
    frozen[1].next_offset++;
}

static void spoil_freeze(struct tw_frozen frozen[PARTITIONS])
{
    set_in_progress(&live, "$unset", BCON_NEW("mark", BCON_INT32(1)));
    frozen[1].mark = 0;
}

static void spoil_outbox(struct tw_frozen frozen[PARTITIONS])
{
    (void)frozen;
    put_into_outbox(&live);
}

static void spoil_shadow(struct tw_frozen frozen[PARTITIONS])
{
    (void)frozen;
    fold(shadow_uri, (struct batch){.partition = 1, .next = 11, .generation = 9, .entities = 1});
}

static void spoil_ids(struct tw_frozen frozen[PARTITIONS])
{
    (void)frozen;
    run(&live, BCON_NEW("insert", TW_MONGO_PRODUCTS, "documents", "[", "{", "_id", BCON_UTF8("mine"), "}", "]"));
}

static void spoil_partitions(struct tw_frozen frozen[PARTITIONS])
{
    (void)frozen;
    run(&live, BCON_NEW("insert", TW_MONGO_PROGRESS, "documents", "[", "{", "_id", BCON_INT32(PARTITIONS), "}", "]"));
}

static const struct refusal {
    const char *clause;
    spoil_fn   *spoil;
    enum tw_rc  rc;
} refusals[] = {
    {"partition 1 of the live store is not frozen at offset 10 with mark 19", spoil_mark, TW_FENCED},
    {"partition 1 of the live store is not frozen at offset 11", spoil_offset, TW_FENCED},
    {"partition 1 of the live store is not frozen", spoil_freeze, TW_FENCED},
    {"partition 1 of the live store still has something to publish", spoil_outbox, TW_FENCED},
    {"partition 2 of the live store is not among the frozen ones", spoil_partitions, TW_FENCED},
    {"partition 1 is folded up to offset 11, the live one up to 10", spoil_shadow, TW_BROKEN},
    {"an '_id' in 'products' is none of ours", spoil_ids, TW_BROKEN},
};

/* Marks, too: leases stay leases, which end by themselves. */
static void assert_refuses(const struct refusal *refusal)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS], after[PARTITIONS];
    struct tw_err    err = {0};
    char            *of_live;
    char            *of_shadow;

    wipe(NULL);
    given_both(&shadow);
    freeze(frozen);
    refusal->spoil(frozen);
    of_live = dump(&live);
    of_shadow = dump(&beside);
    assert_refused(shadow.swap(shadow.self, frozen, PARTITIONS, NULL, NULL, &err), refusal->rc, &err, refusal->clause);
    assert_holds(&live, of_live);
    assert_holds(&beside, of_shadow);
    read_frozen(after);
    assert_int_equal(after[0].mark, 17);
    assert_looks(&shadow, TW_SHADOW_MADE, "a rebuild");
    free(of_shadow);
    free(of_live);
    shadow.close(shadow.self);
}

static void swap__that_cannot_be_leaves_everything_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_LEN(refusals); i++)
        assert_refuses(&refusals[i]);
}

/* Told when all was compared and nothing brought. */
static void take_over(void *self, int64_t done, int64_t all)
{
    bson_oid_t id;

    (void)self;
    (void)done;
    (void)all;
    bson_oid_init(&id, NULL);
    run(&beside, BCON_NEW("update", "tw_shadow", "updates", "[", "{", "q", "{", "}", "u", "{", "$set", "{", "owner",
                          BCON_OID(&id), "}", "}", "}", "]"));
}

static void swap__ends_when_another_call_goes_on_with_it(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};
    char            *of_live;
    char            *of_shadow;

    (void)state;
    given_both(&shadow);
    of_live = dump(&live);
    of_shadow = dump(&beside);
    freeze(frozen);
    assert_refused(shadow.swap(shadow.self, frozen, PARTITIONS, take_over, NULL, &err), TW_FENCED, &err,
                   "another call goes on");
    assert_holds(&live, of_live);
    assert_looks(&shadow, TW_SHADOW_SWAPPING, "");
    read_frozen(frozen);
    assert_int_equal(frozen[0].mark, -17); /* the other's now */
    assert_rc(shadow.swap(shadow.self, frozen, PARTITIONS, NULL, NULL, &err), TW_OK, err);
    assert_holds(&live, of_shadow);
    free(of_shadow);
    free(of_live);
    shadow.close(shadow.self);
}

static void take_mark_away(void *self, int64_t done, int64_t all)
{
    (void)self;
    (void)done;
    (void)all;
    set_in_progress(&live, "$unset", BCON_NEW("mark", BCON_INT32(1)));
}

static void swap__that_loses_a_mark_while_it_compares_brings_nothing(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};
    char            *of_live;

    (void)state;
    given_both(&shadow);
    of_live = dump(&live);
    freeze(frozen);
    assert_refused(shadow.swap(shadow.self, frozen, PARTITIONS, take_mark_away, NULL, &err), TW_FENCED, &err,
                   "partition 1 of the live store lost the mark of the swap: nothing has happened");
    assert_holds(&live, of_live);
    assert_looks(&shadow, TW_SHADOW_MADE, "a rebuild");
    read_frozen(frozen);
    assert_int_equal(frozen[0].mark, 17); /* a lease again */
    assert_int_equal(frozen[1].mark, 0);
    free(of_live);
    shadow.close(shadow.self);
}

static void swap_back__without_an_old_store_is_refused(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};

    (void)state;
    must_make(&shadow);
    freeze(frozen);
    assert_refused(shadow.swap_back(shadow.self, frozen, PARTITIONS, NULL, NULL, &err), TW_BROKEN, &err,
                   "holds no old store");
    shadow.close(shadow.self);
}

/* A real server has a unique index on it; two products that have each other's cannot be put right one by one. */
static void swap__puts_right_what_is_in_another_ones_way(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_err    err = {0};
    bson_t          *command = BCON_NEW("createIndexes", TW_MONGO_PRODUCTS, "indexes", "[", "{", "key", "{", "price",
                                        BCON_INT32(1), "}", "name", "price", "unique", BCON_BOOL(true), "}", "]");
    char            *of_shadow;

    (void)state;
    must_make(&shadow);
    for (uint32_t i = 0; i < 2; i++) { /* two products with prices of their own, and exchanged */
        const int64_t prices[] = {i ? 7 : 8, i ? 8 : 7};

        for (uint32_t k = 0; k < TW_LEN(prices); k++) {
            bson_oid_t id;

            assert_true(tw_product_id_to_object_id(tw_sample_products.key(4 * k).id, id.bytes));
            run(i ? &live : &beside, BCON_NEW("insert", TW_MONGO_PRODUCTS, "documents", "[", "{", "_id", BCON_OID(&id),
                                              "price", BCON_INT64(prices[k]), "}", "]"));
        }
    }
    assert_rc(tw_mongo_command(&live, command, "test", NULL, &err), TW_OK, err);
    of_shadow = dump(&beside);
    assert_non_null(strstr(of_shadow, "price"));
    must_swap(&shadow, false, NULL);
    assert_holds(&live, of_shadow);
    free(of_shadow);
    bson_destroy(command);
    shadow.close(shadow.self);
}

/* --- back --------------------------------------------------------------------------------------------------------- */

static void swap_back__brings_the_old_store_whatever_its_watermarks_and_again_back(void **state)
{
    const struct batch next = {.partition = 0, .next = 40, .generation = 5, .from = 4, .entities = 22, .rows = 2};
    struct tw_shadow   shadow = open_shadow();
    char              *old;
    char              *grown;

    (void)state;
    given_both(&shadow);
    old = dump(&live);
    must_swap(&shadow, false, NULL);
    fold(live_uri, next);
    grown = dump(&live);

    must_swap(&shadow, true, NULL);
    assert_holds(&live, old);
    assert_holds(&beside, grown);
    assert_looks(&shadow, TW_SHADOW_OLD, "");
    must_swap(&shadow, true, NULL);
    assert_holds(&live, grown);
    assert_holds(&beside, old);
    must_swap(&shadow, true, NULL);
    fold(live_uri, next); /* from where the old one was */
    free(grown);
    free(old);
    shadow.close(shadow.self);
}

/* --- bulk --------------------------------------------------------------------------------------------------------- */

static void fold_in_bulk(struct batch batch)
{
    assert_int_equal(try_fold(shadow_uri, true, batch), TW_OK);
}

static const struct batch history[] = {
    {.partition = 0, .next = 10, .generation = 1, .from = 0, .entities = 20, .rows = 5},
    {.partition = 0, .next = 20, .generation = 2, .from = 4, .entities = 20, .rows = 2},
    {.partition = 1, .next = 10, .generation = 1, .from = 0, .entities = 8, .rows = 3},
    {.partition = 0, .next = 30, .generation = 3, .from = 8, .entities = 8},
};

static void a_store_in_bulk__comes_to_hold_the_same(void **state)
{
    struct tw_shadow shadow = open_shadow();
    char            *of_live;

    (void)state;
    must_make(&shadow);
    for (size_t i = 0; i < TW_LEN(history); i++) {
        fold(live_uri, history[i]);
        fold_in_bulk(history[i]);
    }
    of_live = dump(&live);
    assert_holds(&beside, of_live);
    free(of_live);
    shadow.close(shadow.self);
}

/* Nobody can tell whether they are there. */
static void a_row__that_counts_no_more_after_its_batch_is_not_written_in_bulk(void **state)
{
    struct batch     batch = history[0];
    struct tw_shadow shadow = open_shadow();

    (void)state;
    must_make(&shadow);
    batch.clock_ms = 1795428000000 + batch.generation + TW_LEDGER_LIFE_MS;
    fold_in_bulk(batch);
    assert_int_equal(count(&beside, TW_MONGO_LEDGER), 0);
    batch = history[1];
    batch.clock_ms = 1795428000000 + batch.generation + TW_LEDGER_LIFE_MS - 1;
    fold_in_bulk(batch);
    assert_int_equal(count(&beside, TW_MONGO_LEDGER), batch.rows);
    shadow.close(shadow.self);
}

static struct batch part_of_snapshot(uint32_t n, int64_t next)
{
    return (struct batch){
        .partition = 0, .next = next, .generation = 3, .from = 8 * n, .entities = 8, .rows = 0, .is_snapshot = true};
}

static void a_snapshot__is_loaded_by_any_number_of_commits_at_offset_0(void **state)
{
    struct tw_shadow shadow = open_shadow();

    (void)state;
    must_make(&shadow);
    for (uint32_t n = 0; n < 4; n++)
        fold_in_bulk(part_of_snapshot(n, n == 3 ? 501 : 0));
    assert_int_equal(count(&beside, TW_MONGO_PRODUCTS) + count(&beside, TW_MONGO_RATINGS), 32);
    fold_in_bulk((struct batch){.partition = 0, .next = 510, .generation = 4, .from = 0, .entities = 32});
    shadow.close(shadow.self);
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

static bool died(const char *deed, const char *failpoint)
{
    static struct tw_child child;
    char                   setting[64];

    snprintf(setting, sizeof(setting), "TW_FAIL=%s", failpoint);
    tw_child_exec((const char *const[]){"/proc/self/exe", "play", deed, NULL}, (const char *const[]){setting, NULL},
                  &child);
    if (child.exit_code != EXIT_AT_FAILPOINT && child.exit_code != 0)
        fail_msg("%s ended with %d: %.600s", deed, child.exit_code, child.err);
    return child.exit_code == EXIT_AT_FAILPOINT;
}

static void need_failpoints(void)
{
#ifndef TW_FAILPOINTS
    print_message("             not built with TW_FAILPOINTS\n");
    skip();
#endif
}

static const char *const gaps_of_bulk[] = {"in_commit=exit",  "after_redo=exit", "in_apply=exit@1",
                                           "in_apply=exit@2", "in_apply=exit@3", "in_apply=exit@4",
                                           "in_apply=exit@5", "in_apply=exit@*", "before_applied=exit"};

/* New products and ratings, changed ones and rows, all in one batch. */
static const struct batch mixed = {.partition = 0, .next = 20, .generation = 2, .from = 4, .entities = 20, .rows = 2};

static void a_crash__in_bulk_is_finished_by_whoever_goes_on(void **state)
{
    char *uninterrupted = NULL;

    (void)state;
    need_failpoints();
    for (size_t i = 0; i <= TW_LEN(gaps_of_bulk); i++) {
        struct tw_shadow shadow = open_shadow();

        wipe(NULL);
        must_make(&shadow);
        fold_in_bulk(history[0]);
        if (i == 0)
            fold_in_bulk(mixed);
        else
            assert_true(died("bulk", gaps_of_bulk[i - 1]));
        fold_in_bulk((struct batch){.partition = 0, .next = 30, .generation = 3, .from = 0, .entities = 24});
        if (i == 0)
            uninterrupted = dump(&beside);
        assert_holds(&beside, uninterrupted);
        shadow.close(shadow.self);
    }
    free(uninterrupted);
}

static void a_crash__while_a_snapshot_is_loaded_is_finished_by_whoever_goes_on(void **state)
{
    struct tw_shadow shadow = open_shadow();

    (void)state;
    need_failpoints();
    must_make(&shadow);
    fold_in_bulk(part_of_snapshot(0, 0));
    assert_true(died("load", "in_apply=exit@3")); /* the part before is applied once more, in two steps */
    fold_in_bulk(part_of_snapshot(2, 501));
    assert_int_equal(count(&beside, TW_MONGO_PRODUCTS) + count(&beside, TW_MONGO_RATINGS), 24);
    shadow.close(shadow.self);
}

static int play_swap(bool back)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};
    enum tw_rc       rc;

    read_frozen(frozen);
    rc = (back ? shadow.swap_back : shadow.swap)(shadow.self, frozen, PARTITIONS, NULL, NULL, &err);
    if (rc != TW_OK)
        fprintf(stderr, "%s\n", err.msg);
    shadow.close(shadow.self);
    return rc == TW_OK ? 0 : 1;
}

/* In a process of its own, which the failpoint ends. */
static int play(const char *deed)
{
    if (!strcmp(deed, "bulk"))
        return try_fold(shadow_uri, true, mixed) == TW_OK ? 0 : 1;
    if (!strcmp(deed, "load"))
        return try_fold(shadow_uri, true, part_of_snapshot(1, 0)) == TW_OK ? 0 : 1;
    return play_swap(!strcmp(deed, "back"));
}

/* False: it came to its end before. */
static bool crash(bool back, int write)
{
    char failpoint[32];

    snprintf(failpoint, sizeof(failpoint), "in_swap=exit@%d", write);
    return died(back ? "back" : "swap", failpoint);
}

/* One that holds all is gone on with, and one that frees what it has; before and after, only marks may be left. */
static void swap_again(const struct tw_shadow *shadow, bool back)
{
    struct tw_frozen       frozen[PARTITIONS];
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];
    struct tw_err          err = {0};
    bool                   any = read_frozen(frozen);

    assert_rc(shadow->look(shadow->self, &content, note, &err), TW_OK, err);
    if (any && frozen[0].mark < 0 && frozen[1].mark < 0) {
        assert_int_equal(content, back ? TW_SHADOW_SWAPPING_BACK : TW_SHADOW_SWAPPING);
        assert_refused(shadow->drop(shadow->self, &err), TW_BROKEN, &err, "give the rebuild command again");
    }
    if (any)
        assert_rc((back ? shadow->swap_back : shadow->swap)(shadow->self, frozen, PARTITIONS, NULL, NULL, &err), TW_OK,
                  err);
    assert_false(read_frozen(frozen));
    assert_looks(shadow, TW_SHADOW_OLD, "");
}

/* False: it did not die any more. Afterwards the two have exchanged what they held. */
static bool crash_and_go_on(const struct tw_shadow *shadow, bool back, int write)
{
    struct tw_frozen frozen[PARTITIONS];
    char            *of_live = dump(&live);
    char            *of_other = dump(&beside);
    bool             crashed;

    freeze(frozen);
    crashed = crash(back, write);
    swap_again(shadow, back);
    assert_holds(&live, of_other);
    assert_holds(&beside, of_live);
    free(of_other);
    free(of_live);
    return crashed;
}

/* Documents were brought already, and a worker folds on to them. */
static void swap__that_lost_a_mark_half_way_says_so(void **state)
{
    struct tw_shadow shadow = open_shadow();
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err = {0};

    (void)state;
    need_failpoints();
    given_both(&shadow);
    freeze(frozen);
    assert_true(crash(false, 14));
    assert_looks(&shadow, TW_SHADOW_SWAPPING, "");
    take_mark_away(NULL, 0, 0);
    read_frozen(frozen);
    assert_refused(shadow.swap(shadow.self, frozen, PARTITIONS, NULL, NULL, &err), TW_BROKEN, &err,
                   "lost the mark of the swap: restore it");
    assert_refused(shadow.drop(shadow.self, &err), TW_BROKEN, &err, "it ends that");
    run(&live, BCON_NEW("update", TW_MONGO_PROGRESS, "updates", "[", "{", "q", "{", "}", "u", "{", "$unset", "{",
                        "mark", BCON_INT32(1), "}", "}", "multi", BCON_BOOL(true), "}", "]"));
    assert_looks(&shadow, TW_SHADOW_MADE, ""); /* of no use for what it was begun for */
    assert_rc(shadow.drop(shadow.self, &err), TW_OK, err);
    assert_looks(&shadow, TW_SHADOW_NONE, "");
    shadow.close(shadow.self);
}

/* Stores of different watermarks, again and again put into each other's place. */
static void swap_back__that_dies_after_any_of_its_writes_is_ended_by_the_next_call(void **state)
{
    struct tw_shadow shadow = open_shadow();
    int              write = 1;

    (void)state;
    need_failpoints();
    given_both(&shadow);
    must_swap(&shadow, false, NULL);
    fold(live_uri, (struct batch){.partition = 0, .next = 40, .generation = 5, .from = 4, .entities = 22});
    while (crash_and_go_on(&shadow, true, write))
        write++;
    print_message("             died after each of %d writes\n", write - 1);
    assert_true(write > 20);
    shadow.close(shadow.self);
}

/* It writes the same, from another state: some of it is enough. */
static void swap__that_dies_after_any_of_its_writes_is_ended_by_the_next_call(void **state)
{
    (void)state;
    need_failpoints();
    for (int write = 1; write < 32; write += 6) {
        struct tw_shadow shadow = open_shadow();

        wipe(NULL);
        given_both(&shadow);
        assert_true(crash_and_go_on(&shadow, false, write));
        shadow.close(shadow.self);
    }
}

/* --- main --------------------------------------------------------------------------------------------------------- */

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_shadow__is_made_as_the_schema_says_and_dropped, wipe),
        cmocka_unit_test_setup(a_database__that_is_not_ours_is_never_touched, wipe),
        cmocka_unit_test_setup(a_shadow__of_another_store_is_not_ours, wipe),
        cmocka_unit_test_setup(a_name__that_cannot_be_a_shadows_is_refused, wipe),
        cmocka_unit_test_setup(swap__exchanges_exactly_what_the_two_hold, wipe),
        cmocka_unit_test_setup(swap__leaves_behind_what_stands_in_the_shadows_outboxes, wipe),
        cmocka_unit_test_setup(swap__of_stores_that_are_the_same_writes_no_document, wipe),
        cmocka_unit_test_setup(swap__brings_more_than_one_command_takes, wipe),
        cmocka_unit_test_setup(a_worker__that_did_not_see_the_swap_commits_nothing, wipe),
        cmocka_unit_test_setup(swap__finishes_what_was_committed_first, wipe),
        cmocka_unit_test_setup(swap__that_cannot_be_leaves_everything_as_it_was, wipe),
        cmocka_unit_test_setup(swap__ends_when_another_call_goes_on_with_it, wipe),
        cmocka_unit_test_setup(swap__that_loses_a_mark_while_it_compares_brings_nothing, wipe),
        cmocka_unit_test_setup(swap_back__without_an_old_store_is_refused, wipe),
        cmocka_unit_test_setup(swap__puts_right_what_is_in_another_ones_way, wipe),
        cmocka_unit_test_setup(swap_back__brings_the_old_store_whatever_its_watermarks_and_again_back, wipe),
        cmocka_unit_test_setup(a_store_in_bulk__comes_to_hold_the_same, wipe),
        cmocka_unit_test_setup(a_row__that_counts_no_more_after_its_batch_is_not_written_in_bulk, wipe),
        cmocka_unit_test_setup(a_snapshot__is_loaded_by_any_number_of_commits_at_offset_0, wipe),
        cmocka_unit_test_setup(a_crash__in_bulk_is_finished_by_whoever_goes_on, wipe),
        cmocka_unit_test_setup(a_crash__while_a_snapshot_is_loaded_is_finished_by_whoever_goes_on, wipe),
        cmocka_unit_test_setup(swap__that_lost_a_mark_half_way_says_so, wipe),
        cmocka_unit_test_setup(swap__that_dies_after_any_of_its_writes_is_ended_by_the_next_call, wipe),
        cmocka_unit_test_setup(swap_back__that_dies_after_any_of_its_writes_is_ended_by_the_next_call, wipe),
    };
    int failed = cmocka_run_group_tests_name("product_shadow", tests, NULL, NULL);

    empty_database(&live);
    empty_database(&beside);
    return failed;
}

/* The databases beside the one that the environment names. */
static bool open_databases(const char *uri)
{
    struct tw_mongo named = {0};
    struct tw_err   err = {0};
    char            database[64];
    bool            opened;

    if (tw_mongo_init(uri, TIMEOUT_MS, &named, &err) != TW_OK)
        return false;
    snprintf(database, sizeof(database), "%.40s_live", named.database);
    opened = tw_mongo_uri_beside(uri, database, &live_uri, &err) == TW_OK;
    snprintf(database, sizeof(database), "%.40s_live_shadow", named.database);
    opened = opened && tw_mongo_uri_beside(uri, database, &shadow_uri, &err) == TW_OK &&
             tw_mongo_init(live_uri, TIMEOUT_MS, &live, &err) == TW_OK &&
             tw_mongo_init(shadow_uri, TIMEOUT_MS, &beside, &err) == TW_OK;
    tw_mongo_done(&named);
    return opened;
}

int main(int argc, char **argv)
{
    const char *uri = getenv("TW_MONGO_URI");
    const char *skips = getenv("TW_SKIP_STORES");
    bool        may_skip = skips && !strcmp(skips, "1");
    int         failed;

    if (!uri || !*uri) {
        fprintf(stderr, "product_shadow: TW_MONGO_URI is not set: %s\n",
                may_skip ? "ALL TESTS ARE SKIPPED (TW_SKIP_STORES=1)" : "no server to test against");
        return may_skip ? 0 : 1;
    }
    if (!open_databases(uri)) {
        fprintf(stderr, "product_shadow: TW_MONGO_URI cannot be used\n");
        return 1;
    }
    failed = argc == 3 && !strcmp(argv[1], "play") ? play(argv[2]) : run_all();
    tw_mongo_done(&live);
    tw_mongo_done(&beside);
    free(live_uri);
    free(shadow_uri);
    return failed;
}
