/* The admin port: is it alive, is it ready and if not why, what does it count. */
#include "routes/routes.h"

#include "health.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

/* For whoever would restart it: the watchdog ends a process that hangs, and this is for when even that does not. */
static void get_health(struct tw_request *request, struct tw_reply *reply)
{
    char           late[TW_PULSE_TEXT] = "";
    bool           alive = !tw_pulse_is_late(request->edge->settings->hang_timeout_s * 1000000, late);
    struct tw_json json = {&reply->body, false};

    tw_reply_json(reply, alive ? 200 : 503);
    tw_json_open(&json, '{');
    tw_json_key(&json, "alive");
    tw_json_bool(&json, alive);
    if (!alive) {
        tw_json_key(&json, "why");
        tw_json_text(&json, tw_str_of(late));
    }
    tw_json_close(&json, '}');
}

static void get_ready(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_health_part parts[TW_HEALTH_PARTS];
    char                  why[TW_HEALTH_TEXT];
    struct tw_json        json = {&reply->body, false};
    bool                  ready = tw_health_look(request->edge, parts, why);

    tw_reply_json(reply, ready ? 200 : 503);
    tw_json_open(&json, '{');
    tw_json_key(&json, "ready");
    tw_json_bool(&json, ready);
    tw_json_key(&json, "why");
    tw_json_text(&json, tw_str_of(why));
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
