/* Links: tw_cart_policy tw_product_document PkgConfig::HIREDIS PkgConfig::MONGOC */
/*
 * What the reprice policy asks Redis and MongoDB, on real servers. EMPTIES the database that TW_REDIS_URI names and the one
 * after it, and the products of the one that TW_MONGO_URI names.
 */
#include <hiredis/hiredis.h>
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tillwire/cart_keys.h"
#include "tillwire/product_document.h"
#include "unit.h"
#include "workers/cart/cart_policy.h"

enum { TIMEOUT_MS = 2000, HOLDERS = 1000 };

static struct tw_redis_uri server;
static redisContext       *link_;
static char                both_uris[2000]; /* two databases as if they were two servers */
static mongoc_uri_t       *mongo_uri;
static mongoc_client_t    *mongo;
static struct tw_arena     arena;

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void say(const char *format, ...)
{
    va_list     args;
    redisReply *reply;

    va_start(args, format);
    reply = redisvCommand(link_, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    freeReplyObject(reply);
}

static void use_database(int db)
{
    say("SELECT %d", server.db + db);
}

static mongoc_collection_t *products(void)
{
    return mongoc_client_get_collection(mongo, mongoc_uri_get_database(mongo_uri), TW_MONGO_PRODUCTS);
}

static int wipe(void **state)
{
    mongoc_collection_t *collection = products();
    bson_t               all = BSON_INITIALIZER;
    bson_error_t         error;

    (void)state;
    for (int db = 0; db < 2; db++) {
        use_database(db);
        say("FLUSHDB");
    }
    if (!mongoc_collection_delete_many(collection, &all, NULL, NULL, &error))
        fail_msg("%s", error.message);
    bson_destroy(&all);
    mongoc_collection_destroy(collection);
    tw_arena_reset(&arena);
    return 0;
}

static void open_redis(const char *uri)
{
    struct tw_redis_uri uris[TW_REDIS_SERVERS_MAX];
    size_t              count;
    struct tw_err       err = {0};

    assert_rc(tw_redis_uris_parse(uri, uris, &count, &err), TW_OK, err);
    server = uris[0];
    snprintf(both_uris, sizeof(both_uris), "redis://%s:%s@%s:%d/%d,redis://%s:%s@%s:%d/%d", server.user,
             server.password, server.host, server.port, server.db, server.user, server.password, server.host,
             server.port, server.db + 1);
    link_ = redisConnect(server.host, server.port);
    assert_true(link_ && !link_->err);
    if (server.password[0])
        say("AUTH %s", server.password);
}

static void open_mongo(const char *uri)
{
    mongoc_init();
    mongo_uri = mongoc_uri_new(uri);
    assert_true(mongo_uri && mongoc_uri_get_database(mongo_uri));
    mongo = mongoc_client_new_from_uri(mongo_uri);
}

static int open_servers(void **state)
{
    (void)state;
    open_redis(getenv("TW_REDIS_URI"));
    open_mongo(getenv("TW_MONGO_URI"));
    return 0;
}

static int close_servers(void **state)
{
    (void)state;
    redisFree(link_);
    mongoc_client_destroy(mongo);
    mongoc_uri_destroy(mongo_uri);
    tw_arena_done(&arena);
    return 0;
}

/* --- holders ------------------------------------------------------------------------------------------------------ */

static const struct tw_uuid shirt = {{0x51}};

static struct tw_uuid member_id(uint16_t n)
{
    return (struct tw_uuid){{0x3e, (uint8_t)(n >> 8), (uint8_t)n}};
}

static void add_holder(int32_t partition, const void *member, size_t len)
{
    char key[TW_CART_KEY_SIZE];

    tw_cart_key_holders(partition, shirt, key);
    say("SADD %s %b", key, member, len);
}

static struct tw_holders open_holders(const char *uris)
{
    struct tw_holders holders;
    struct tw_err     err = {0};

    assert_rc(tw_redis_holders_open(uris, TIMEOUT_MS, &holders, &err), TW_OK, err);
    assert_true(holders.partition_count >= 1);
    return holders;
}

static enum tw_rc page(const struct tw_holders *holders, int32_t partition, uint64_t *cursor,
                       struct tw_uuid **ret_members, size_t *ret_count)
{
    return holders->page(holders->self, partition, shirt, *cursor, 50, &arena, ret_members, ret_count, cursor, NULL);
}

static size_t count_all(const struct tw_holders *holders, int32_t partition)
{
    static bool     seen[HOLDERS];
    uint64_t        cursor = 0;
    struct tw_uuid *members;
    size_t          count, found = 0;

    memset(seen, 0, sizeof(seen));
    do {
        assert_int_equal(page(holders, partition, &cursor, &members, &count), TW_OK);
        for (size_t i = 0; i < count; i++) {
            uint16_t n = (uint16_t)(members[i].bytes[1] << 8 | members[i].bytes[2]);

            assert_true(n < HOLDERS && tw_uuid_eq(members[i], member_id(n)));
            found += !seen[n];
            seen[n] = true;
        }
        assert_true(count < HOLDERS / 2); /* in pages, not all at once */
    } while (cursor);
    return found;
}

static void holders__are_found_page_by_page(void **state)
{
    struct tw_holders holders = open_holders(both_uris);

    (void)state;
    use_database(0);
    for (uint16_t i = 0; i < HOLDERS; i++)
        add_holder(4, member_id(i).bytes, 16);
    assert_int_equal(count_all(&holders, 4), HOLDERS);
    assert_int_equal(count_all(&holders, 2), 0);
    holders.close(holders.self);
}

static void holders__of_a_partition_are_asked_for_on_its_server_only(void **state)
{
    struct tw_holders holders = open_holders(both_uris);

    (void)state;
    use_database(0);
    for (uint16_t i = 0; i < 3; i++)
        add_holder(3, member_id(i).bytes, 16); /* left behind when the list grew */
    use_database(1);
    for (uint16_t i = 0; i < 7; i++)
        add_holder(3, member_id(i).bytes, 16);
    assert_int_equal(count_all(&holders, 3), 7);
    holders.close(holders.self);
}

static void holders__that_are_none_are_told_and_the_next_question_is_answered(void **state)
{
    struct tw_holders holders = open_holders(both_uris);
    uint64_t          cursor = 0;
    struct tw_uuid   *members;
    size_t            count;
    char              key[TW_CART_KEY_SIZE];

    (void)state;
    use_database(0);
    tw_cart_key_holders(2, shirt, key);
    say("SET %s nonsense", key);
    add_holder(4, "short", 5);
    add_holder(0, member_id(1).bytes, 16);
    assert_int_equal(page(&holders, 2, &cursor, &members, &count), TW_BROKEN);
    assert_int_equal(page(&holders, 4, &cursor, &members, &count), TW_BROKEN);
    assert_int_equal(count_all(&holders, 0), 1);
    holders.close(holders.self);
}

static void holders__on_a_server_that_is_away_are_worth_another_try(void **state)
{
    struct tw_holders holders = open_holders("redis://127.0.0.1:1/0");
    uint64_t          cursor = 0;
    struct tw_uuid   *members;
    size_t            count;

    (void)state;
    assert_int_equal(page(&holders, 0, &cursor, &members, &count), TW_UNREACHED);
    assert_int_equal(tw_redis_holders_open("http://x", TIMEOUT_MS, &holders, NULL), TW_INVALID);
    holders.close(holders.self);
}

/* --- the catalogue ------------------------------------------------------------------------------------------------ */

static struct tw_uuid product_of(const char *sku)
{
    return tw_product_id_of_sku(tw_str_of(sku));
}

static bson_oid_t oid_of(const char *sku)
{
    bson_oid_t id;

    tw_product_object_id(tw_str_of(sku), id.bytes);
    return id;
}

static void insert(bson_t *document)
{
    mongoc_collection_t *collection = products();
    bson_error_t         error;

    if (!mongoc_collection_insert_one(collection, document, NULL, NULL, &error))
        fail_msg("%s", error.message);
    bson_destroy(document);
    mongoc_collection_destroy(collection);
}

static void insert_product(const char *sku, const char *price, int64_t version)
{
    bson_oid_t        id = oid_of(sku);
    bson_decimal128_t decimal;

    bson_decimal128_from_string(price, &decimal);
    insert(BCON_NEW("_id", BCON_OID(&id), "sku", BCON_UTF8(sku), "name", BCON_UTF8("Café shirt"), "price",
                    BCON_DECIMAL128(&decimal), "effective_price", BCON_DECIMAL128(&decimal), "is_active",
                    BCON_BOOL(version > 1), "version", BCON_INT64(version), "guard", BCON_INT64(1)));
}

static struct tw_catalogue open_catalogue(void)
{
    struct tw_catalogue catalogue;
    struct tw_err       err = {0};

    assert_rc(tw_mongo_catalogue_open(mongoc_uri_get_string(mongo_uri), TIMEOUT_MS, &catalogue, &err), TW_OK, err);
    return catalogue;
}

static void products__are_looked_up_by_their_public_ids(void **state)
{
    struct tw_catalogue          catalogue = open_catalogue();
    const struct tw_uuid         ids[] = {product_of("A"), product_of("nobody's"), {{0x51}}, product_of("B")};
    struct tw_catalogue_product *found;
    size_t                       count;
    struct tw_err                err = {0};

    (void)state;
    insert_product("A", "149.00", 7);
    insert_product("B", "0.05", 1);
    insert_product("C", "1.00", 1);
    assert_rc(catalogue.look_up(catalogue.self, ids, TW_LEN(ids), &arena, &found, &count, &err), TW_OK, err);
    assert_int_equal(count, 2);
    const struct tw_catalogue_product *a = tw_uuid_eq(found[0].product_id, ids[0]) ? &found[0] : &found[1];
    const struct tw_catalogue_product *b = a == found ? &found[1] : &found[0];
    assert_true(tw_uuid_eq(a->product_id, ids[0]) && tw_uuid_eq(b->product_id, ids[3]));
    assert_str(a->name, "Café shirt");
    assert_true(a->price_minor == 14900 && a->version == 7 && a->available);
    assert_true(b->price_minor == 5 && b->version == 1 && !b->available);
    catalogue.close(catalogue.self);
}

static void a_product_that_cannot_be_read__is_left_out_and_the_others_are_found(void **state)
{
    struct tw_catalogue          catalogue = open_catalogue();
    const struct tw_uuid         ids[] = {product_of("A"), product_of("B"), product_of("C")};
    bson_oid_t                   a = oid_of("A"), b = oid_of("B");
    struct tw_catalogue_product *found;
    size_t                       count;

    (void)state;
    insert(BCON_NEW("_id", BCON_OID(&a), "name", BCON_UTF8("A"), "effective_price", BCON_DOUBLE(1.5), "is_active",
                    BCON_BOOL(true), "version", BCON_INT64(1)));
    insert(
        BCON_NEW("_id", BCON_OID(&b), "name", BCON_UTF8("B"), "is_active", BCON_BOOL(true), "version", BCON_INT64(1)));
    insert_product("C", "1.00", 2);
    assert_int_equal(catalogue.look_up(catalogue.self, ids, 2, &arena, &found, &count, NULL), TW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(catalogue.look_up(catalogue.self, ids, 3, &arena, &found, &count, NULL), TW_OK);
    assert_int_equal(count, 1);
    assert_true(tw_uuid_eq(found[0].product_id, ids[2]));
    catalogue.close(catalogue.self);
}

static void a_catalogue_that_is_away__is_worth_another_try(void **state)
{
    struct tw_catalogue          catalogue;
    const struct tw_uuid         id = product_of("A");
    struct tw_catalogue_product *found;
    size_t                       count;
    struct tw_err                err = {0};

    (void)state;
    assert_rc(tw_mongo_catalogue_open("mongodb://127.0.0.1:1/shop", 200, &catalogue, &err), TW_OK, err);
    assert_int_equal(catalogue.look_up(catalogue.self, &id, 1, &arena, &found, &count, &err), TW_UNREACHED);
    assert_int_equal(catalogue.look_up(catalogue.self, &id, 1, &arena, &found, &count, &err), TW_UNREACHED);
    catalogue.close(catalogue.self);
    assert_int_equal(tw_mongo_catalogue_open("mongodb://127.0.0.1:1/", 200, &catalogue, &err), TW_INVALID);
    assert_int_equal(tw_mongo_catalogue_open("postgres://x", 200, &catalogue, &err), TW_INVALID);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(holders__are_found_page_by_page, wipe),
        cmocka_unit_test_setup(holders__of_a_partition_are_asked_for_on_its_server_only, wipe),
        cmocka_unit_test_setup(holders__that_are_none_are_told_and_the_next_question_is_answered, wipe),
        cmocka_unit_test_setup(holders__on_a_server_that_is_away_are_worth_another_try, wipe),
        cmocka_unit_test_setup(products__are_looked_up_by_their_public_ids, wipe),
        cmocka_unit_test_setup(a_product_that_cannot_be_read__is_left_out_and_the_others_are_found, wipe),
        cmocka_unit_test_setup(a_catalogue_that_is_away__is_worth_another_try, wipe),
    };

    if (!getenv("TW_REDIS_URI") || !getenv("TW_MONGO_URI")) {
        fprintf(stderr, "TW_REDIS_URI and TW_MONGO_URI must name servers of their own: see tests/run\n");
        return 1;
    }
    return cmocka_run_group_tests_name("reprice_stores", tests, open_servers, close_servers);
}
