/* Which of MongoDB's errors mean what; what needs a server is in tests/integration. */
/* Links: PkgConfig::MONGOC */
#include "workers/product/product_connection.h"

#include "unit.h"

static enum tw_rc rc_of(uint32_t domain, uint32_t code)
{
    return tw_mongo_rc(&(bson_error_t){.domain = domain, .code = code});
}

static enum tw_rc rc_of_server(uint32_t code)
{
    return rc_of(MONGOC_ERROR_SERVER, code);
}

static void a_failure__to_find_a_server_wrote_nothing(void **state)
{
    (void)state;
    assert_int_equal(rc_of(MONGOC_ERROR_SERVER_SELECTION, MONGOC_ERROR_SERVER_SELECTION_FAILURE), TW_UNREACHED);
}

static void a_failure__of_the_connection_may_have_written(void **state)
{
    (void)state;
    assert_int_equal(rc_of(MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET), TW_UNKNOWN);
    assert_int_equal(rc_of(MONGOC_ERROR_PROTOCOL, MONGOC_ERROR_PROTOCOL_INVALID_REPLY), TW_UNKNOWN);
    assert_int_equal(rc_of(MONGOC_ERROR_WRITE_CONCERN, 64), TW_UNKNOWN);
}

static void a_server__that_is_not_the_primary_or_full_wrote_nothing(void **state)
{
    (void)state;
    assert_int_equal(rc_of_server(10107), TW_UNREACHED);
    assert_int_equal(rc_of_server(13435), TW_UNREACHED);
    assert_int_equal(rc_of_server(14031), TW_UNREACHED);
}

static void a_server__that_is_going_down_may_have_written(void **state)
{
    (void)state;
    assert_int_equal(rc_of_server(91), TW_UNKNOWN);
    assert_int_equal(rc_of_server(11600), TW_UNKNOWN);
    assert_int_equal(rc_of_server(50), TW_UNKNOWN);
}

static void a_server__that_cannot_take_the_document_refuses_it(void **state)
{
    (void)state;
    assert_int_equal(rc_of_server(10334), TW_REFUSED);
    assert_int_equal(rc_of_server(2), TW_REFUSED);
    assert_int_equal(rc_of(MONGOC_ERROR_BSON, MONGOC_ERROR_BSON_INVALID), TW_REFUSED);
}

static void a_server__that_is_not_set_up_for_us_stops_the_worker(void **state)
{
    (void)state;
    assert_int_equal(rc_of_server(13), TW_BROKEN);
    assert_int_equal(rc_of_server(121), TW_BROKEN);
    assert_int_equal(rc_of(MONGOC_ERROR_CLIENT, MONGOC_ERROR_CLIENT_AUTHENTICATE), TW_BROKEN);
}

static void an_unknown_code__may_have_written(void **state)
{
    (void)state;
    assert_int_equal(rc_of_server(0), TW_UNKNOWN);
    assert_int_equal(rc_of_server(UINT32_MAX), TW_UNKNOWN);
    assert_int_equal(rc_of(0, 0), TW_UNKNOWN);
}

static void a_uri__must_name_a_database(void **state)
{
    struct tw_mongo mongo;
    struct tw_err   err = {0};

    (void)state;
    assert_rc(tw_mongo_init("mongodb://127.0.0.1:1/", 1000, &mongo, &err), TW_INVALID, err);
    assert_rc(tw_mongo_init("http://127.0.0.1/shop", 1000, &mongo, &err), TW_INVALID, err);
    assert_rc(tw_mongo_init("mongodb://127.0.0.1:1/shop", 1000, &mongo, &err), TW_OK, err);
    assert_string_equal(mongo.database, "shop");
    tw_mongo_done(&mongo);
    tw_mongo_done(&mongo);
}

static void a_uri__cannot_ask_for_weaker_writes_or_retries(void **state)
{
    static const char uri[] = "mongodb://127.0.0.1:1/shop?retryWrites=true&retryReads=true&w=1&journal=false";
    struct tw_mongo   mongo;
    struct tw_err     err = {0};
    char             *options;

    (void)state;
    assert_rc(tw_mongo_init(uri, 1000, &mongo, &err), TW_OK, err);
    assert_false(mongoc_uri_get_option_as_bool(mongo.uri, MONGOC_URI_RETRYWRITES, true));
    assert_false(mongoc_uri_get_option_as_bool(mongo.uri, MONGOC_URI_RETRYREADS, true));
    options = bson_as_canonical_extended_json(mongo.write_options, NULL);
    assert_string_equal(options, "{ \"writeConcern\" : { \"w\" : \"majority\", \"j\" : true } }");
    bson_free(options);
    tw_mongo_done(&mongo);
}

/* Nobody goes on with a connection that broke before it was asked for anew. */
static void a_call__without_connect_is_unreached(void **state)
{
    struct tw_mongo         mongo;
    struct tw_mongo_written written;
    struct tw_err           err = {0};
    bson_t                  command = BSON_INITIALIZER;

    (void)state;
    assert_rc(tw_mongo_init("mongodb://127.0.0.1:1/shop", 1000, &mongo, &err), TW_OK, err);
    assert_rc(tw_mongo_write(&mongo, &command, "test", &written, &err), TW_UNREACHED, err);
    assert_rc(tw_mongo_find(&mongo, "products", &command, NULL, NULL, NULL, "test", &err), TW_UNREACHED, err);
    tw_mongo_done(&mongo);
    bson_destroy(&command);
}

static void a_write__without_a_server_is_unreached_and_drops_the_connection(void **state)
{
    struct tw_mongo         mongo;
    struct tw_mongo_written written;
    struct tw_err           err = {0};
    bson_t                 *command = BCON_NEW("insert", "products", "documents", "[", "{", "}", "]");

    (void)state;
    assert_rc(tw_mongo_init("mongodb://127.0.0.1:1/shop", 1000, &mongo, &err), TW_OK, err);
    assert_rc(tw_mongo_connect(&mongo, &err), TW_OK, err);
    assert_rc(tw_mongo_write(&mongo, command, "test", &written, &err), TW_UNREACHED, err);
    assert_null(mongo.client);
    tw_mongo_done(&mongo);
    bson_destroy(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure__to_find_a_server_wrote_nothing),
        cmocka_unit_test(a_failure__of_the_connection_may_have_written),
        cmocka_unit_test(a_server__that_is_not_the_primary_or_full_wrote_nothing),
        cmocka_unit_test(a_server__that_is_going_down_may_have_written),
        cmocka_unit_test(a_server__that_cannot_take_the_document_refuses_it),
        cmocka_unit_test(a_server__that_is_not_set_up_for_us_stops_the_worker),
        cmocka_unit_test(an_unknown_code__may_have_written),
        cmocka_unit_test(a_uri__must_name_a_database),
        cmocka_unit_test(a_uri__cannot_ask_for_weaker_writes_or_retries),
        cmocka_unit_test(a_call__without_connect_is_unreached),
        cmocka_unit_test(a_write__without_a_server_is_unreached_and_drops_the_connection),
    };

    return cmocka_run_group_tests_name("product_connection", tests, NULL, NULL);
}
