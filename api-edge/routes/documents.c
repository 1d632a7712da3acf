/* The descriptions generated from schemas/: for programs, and as a page for people. */
#include "routes/routes.h"

#include "tillwire/gen/documents.h"

static void reply_document(struct tw_reply *reply, struct tw_str document)
{
    tw_reply_json(reply, 200);
    reply->fixed_body = document;
    reply->cache = TW_CACHE_PUBLIC;
}

static void get_openapi(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    reply_document(reply, tw_openapi_json);
}

static void get_asyncapi(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    reply_document(reply, tw_asyncapi_json);
}

static void get_docs(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    reply_document(reply, tw_docs_html);
    reply->content_type = "text/html; charset=utf-8";
    reply->policy = tw_docs_policy;
}

const struct tw_route tw_routes_documents[] = {
    {TW_METHOD_GET, "/openapi.json", TW_ACCESS_PUBLIC, NULL, get_openapi},
    {TW_METHOD_GET, "/asyncapi.json", TW_ACCESS_PUBLIC, NULL, get_asyncapi},
    {TW_METHOD_GET, "/docs", TW_ACCESS_PUBLIC, NULL, get_docs},
    {0},
};
