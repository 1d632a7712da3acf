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

static struct tw_metric queue_fill = {
    .name = "tillwire_edge_queue_percent",
    .kind = TW_GAUGE,
    .help = "How full the queue of commands for the broker is; from 80 on the edge is not ready."};
static struct tw_metric active_requests = {
    .name = "http_server_active_requests", .kind = TW_GAUGE, .help = "Requests between their head and their answer."};
static struct tw_metric tail_is_fresh = {
    .name = "tillwire_edge_tail_fresh",
    .kind = TW_GAUGE,
    .help = "1 while the edge has read all member events up to the last second, else 0: tokens are then looked up."};
TW_METRICS_SHOWN(&queue_fill, &active_requests, &tail_is_fresh)

/* What others keep is taken over when somebody looks. */
static void look_around(struct tw_edge *edge)
{
    tw_metric_set(&queue_fill, tw_sender_state(edge->sender).queue_percent);
    tw_metric_set(&active_requests, atomic_load(&edge->in_flight) - 1); /* without this one */
    tw_metric_set(&tail_is_fresh, tw_tail_is_fresh(edge->tail));
}

static void get_metrics(struct tw_request *request, struct tw_reply *reply)
{
    look_around(request->edge);
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
