/* The admin port: is it alive, is it ready and if not why, what does it count. */
#include "routes/routes.h"

#include "tillwire/metrics.h"

enum { QUEUE_FULL_PERCENT = 80 };

static void get_health(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    tw_reply_json(reply, 200);
    tw_buf_add_str(&reply->body, TW_STR("{\"alive\":true}"));
}

static void get_ready(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_edge        *edge = request->edge;
    struct tw_sender_state sender = tw_sender_state(edge->sender);
    struct tw_json         json = {&reply->body, false};
    bool                   ready = true;
    const struct {
        const char *name;
        bool        good;
    } parts[] = {
        {"broker", sender.connected},
        {"producer_warm", sender.warm},
        {"queue", sender.queue_percent < QUEUE_FULL_PERCENT},
        {"event_tail", tw_tail_is_up(edge->tail)},
        {"postgres", atomic_load(&edge->health.postgres)},
        {"mongo", atomic_load(&edge->health.mongo)},
        {"redis", atomic_load(&edge->health.redis)},
        {"id_key", atomic_load(&edge->health.pins)},
        {"not_draining", !atomic_load(&edge->draining)},
    };

    for (size_t i = 0; i < TW_LEN(parts); i++)
        ready = ready && parts[i].good;
    tw_reply_json(reply, ready ? 200 : 503);
    tw_json_open(&json, '{');
    tw_json_key(&json, "ready");
    tw_json_bool(&json, ready);
    tw_json_key(&json, "parts");
    tw_json_open(&json, '{');
    for (size_t i = 0; i < TW_LEN(parts); i++) {
        tw_json_key(&json, parts[i].name);
        tw_json_bool(&json, parts[i].good);
    }
    tw_json_close(&json, '}');
    tw_json_close(&json, '}');
}

static void get_metrics(struct tw_request *request, struct tw_reply *reply)
{
    (void)request;
    reply->status = 200;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    tw_metrics_render(&reply->body);
}

const struct tw_route tw_routes_admin[] = {
    {TW_METHOD_GET, "/healthz", TW_ACCESS_PUBLIC, NULL, get_health},
    {TW_METHOD_GET, "/readyz", TW_ACCESS_PUBLIC, NULL, get_ready},
    {TW_METHOD_GET, "/metrics", TW_ACCESS_PUBLIC, NULL, get_metrics},
    {0},
};
