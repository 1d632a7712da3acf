/* MongoDB's part of `twctl schema`; what should be there is the products' store's to say. */
#include "parts.h"
#include "product_schema.h"

static void free_bson(bson_t **document)
{
    bson_destroy(*document);
}

static enum tw_rc connect_mongo(const struct tw_ctl_settings *settings, struct tw_mongo *mongo, struct tw_err *reterr)
{
    TW_TRY(tw_mongo_init(settings->mongo_uri, (int)settings->store_timeout_ms, mongo, reterr));
    mongoc_uri_set_appname(mongo->uri, "twctl");
    return tw_mongo_connect(mongo, reterr);
}

enum tw_rc tw_ctl_mongo_apply(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    TW_AUTO(tw_mongo_done) struct tw_mongo mongo = {0};

    TW_TRY(connect_mongo(settings, &mongo, reterr));
    return tw_product_schema_apply(&mongo, ret_lines, reterr);
}

enum tw_rc tw_ctl_mongo_diff(const struct tw_ctl_settings *settings, struct tw_buf *ret_lines, struct tw_err *reterr)
{
    TW_AUTO(tw_mongo_done) struct tw_mongo mongo = {0};

    TW_TRY(connect_mongo(settings, &mongo, reterr));
    return tw_product_schema_diff(&mongo, ret_lines, reterr);
}

enum tw_rc tw_ctl_mongo_ping(const struct tw_ctl_settings *settings, struct tw_err *reterr)
{
    TW_AUTO(tw_mongo_done) struct tw_mongo mongo = {0};
    TW_AUTO(free_bson) bson_t             *build_info = BCON_NEW("buildInfo", BCON_INT32(1));

    TW_TRY(connect_mongo(settings, &mongo, reterr));
    return tw_mongo_command(&mongo, build_info, "asking for its version", NULL, reterr);
}
