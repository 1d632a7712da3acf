/* The URI of another database of the same server: what stays, and who may be asked for. */
/* Links: PkgConfig::MONGOC */
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "workers/product/product_connection.h"

static void assert_beside(const char *uri, const char *expected)
{
    struct tw_err   err = {0};
    struct tw_mongo mongo = {0};
    char           *beside = NULL;

    assert_rc(tw_mongo_uri_beside(uri, "other", &beside, &err), TW_OK, err);
    assert_string_equal(beside, expected);
    assert_rc(tw_mongo_init(beside, 1000, &mongo, &err), TW_OK, err);
    assert_string_equal(mongo.database, "other");
    tw_mongo_done(&mongo);
    free(beside);
}

static void a_uri_beside__differs_in_its_database(void **state)
{
    (void)state;
    assert_beside("mongodb://127.0.0.1:27017/shop", "mongodb://127.0.0.1:27017/other");
    assert_beside("mongodb://a,b:27018/shop?replicaSet=rs0&tls=true",
                  "mongodb://a,b:27018/other?replicaSet=rs0&tls=true");
    assert_beside("mongodb://%2Ftmp%2Fmongodb.sock/shop", "mongodb://%2Ftmp%2Fmongodb.sock/other");
}

/* An account is looked up in the database that the URI names, unless it says otherwise. */
static void a_uri_beside__is_for_the_same_account(void **state)
{
    (void)state;
    assert_beside("mongodb://me:secret%2F@h/shop", "mongodb://me:secret%2F@h/other?authSource=shop");
    assert_beside("mongodb://me:secret@h/my%2Bshop?tls=true",
                  "mongodb://me:secret@h/other?tls=true&authSource=my%2Bshop");
    assert_beside("mongodb://me:secret@h/shop?authSource=admin", "mongodb://me:secret@h/other?authSource=admin");
    assert_beside("mongodb+srv://me:secret@shop.example.com/shop", "mongodb+srv://me:secret@shop.example.com/other");
}

static void a_name__that_cannot_be_a_databases_is_refused_by_name(void **state)
{
    static const char *const names[] = {
        "",       "a.b",   "a/b",
        "a b",    "shop",  "admin",
        "config", "local", "a123456789012345678901234567890123456789012345678901234567890123"};

    (void)state;
    for (size_t i = 0; i < TW_LEN(names); i++) {
        struct tw_err err = {0};
        char         *uri = NULL;

        assert_rc(tw_mongo_uri_beside("mongodb://h/shop", names[i], &uri, &err), TW_INVALID, err);
        assert_non_null(strstr(err.msg, names[i]));
        assert_null(uri);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_beside__differs_in_its_database),
        cmocka_unit_test(a_uri_beside__is_for_the_same_account),
        cmocka_unit_test(a_name__that_cannot_be_a_databases_is_refused_by_name),
    };

    return cmocka_run_group_tests_name("product_uri", tests, NULL, NULL);
}
