#include "admin.h"

#include <civetweb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tillwire/log.h"
#include "tillwire/metrics.h"
#include "tillwire/pulse.h"

enum { RETRY_MS = 1000 };

struct loop_state {
    bool is_ready;
    char text[TW_ADMIN_TEXT]; /* why not; or a remark, empty: none */
};

struct tw_admin {
    struct mg_context *server;
    pthread_mutex_t    lock; /* guards the states */
    int                loop_count;
    int64_t            hang_us;
    struct loop_state *loops;
};

static void answer(struct mg_connection *connection, int status, const char *type, struct tw_str body)
{
    struct tw_buf out = {0};

    tw_buf_printf(&out,
                  "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                  status,
                  status == 200   ? "OK"
                  : status == 404 ? "Not Found"
                                  : "Service Unavailable",
                  type, body.len);
    tw_buf_add_str(&out, body);
    mg_write(connection, out.ptr, out.len);
    tw_buf_done(&out);
}

static void answer_metrics(struct mg_connection *connection)
{
    struct tw_buf text = {0};

    tw_metrics_render(&text);
    answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", tw_buf_str(&text));
    tw_buf_done(&text);
}

static bool is_worse(const struct loop_state *loop, const struct loop_state *other)
{
    if (loop->is_ready != other->is_ready)
        return !loop->is_ready;
    return *loop->text && !*other->text;
}

/* The state of the first loop that is not ready, or has a remark. */
static struct loop_state worst(struct tw_admin *admin)
{
    struct loop_state found;

    pthread_mutex_lock(&admin->lock);
    found = admin->loops[0];
    for (int i = 1; i < admin->loop_count; i++)
        if (is_worse(&admin->loops[i], &found))
            found = admin->loops[i];
    pthread_mutex_unlock(&admin->lock);
    return found;
}

static void answer_health(struct mg_connection *connection, struct tw_admin *admin)
{
    char late[TW_PULSE_TEXT];

    if (tw_pulse_is_late(admin->hang_us, late))
        answer(connection, 503, "text/plain", tw_str_of(late));
    else
        answer(connection, 200, "text/plain", TW_STR("alive\n"));
}

/* A loop that hangs has said "ready" before it did. */
bool tw_admin_is_ready(struct tw_admin *admin, char ret_why[TW_ADMIN_WHY])
{
    struct loop_state state = worst(admin);
    char              late[TW_PULSE_TEXT] = "";
    bool              is_late = tw_pulse_is_late(TW_PULSE_LATE_US, late);

    snprintf(ret_why, TW_ADMIN_WHY, "%s%s%s", state.text, is_late && *state.text ? "; " : "", late);
    return state.is_ready && !is_late;
}

static void answer_ready(struct mg_connection *connection, struct tw_admin *admin)
{
    char why[TW_ADMIN_WHY];
    bool is_ready = tw_admin_is_ready(admin, why);
    char line[sizeof("ready: \n") + sizeof(why)];

    snprintf(line, sizeof(line), "%s%s%s\n", is_ready ? "ready" : "", is_ready && *why ? ": " : "", why);
    answer(connection, is_ready ? 200 : 503, "text/plain", tw_str_of(line));
}

static int on_request(struct mg_connection *connection)
{
    const struct mg_request_info *request = mg_get_request_info(connection);
    struct tw_admin              *admin = request->user_data;

    if (!strcmp(request->local_uri, "/metrics"))
        answer_metrics(connection);
    else if (!strcmp(request->local_uri, "/healthz"))
        answer_health(connection, admin);
    else if (!strcmp(request->local_uri, "/readyz"))
        answer_ready(connection, admin);
    else
        answer(connection, 404, "text/plain", TW_STR("there are /healthz, /readyz and /metrics\n"));
    return 1; /* handled: nothing ever reaches civetweb's own file serving */
}

/* "8080", "127.0.0.1:8080", "[::]:8080". */
static bool ends_in_port(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    int64_t     number;

    return tw_str_to_int(tw_str_of(colon ? colon + 1 : listen), &number) && number > 0 && number <= UINT16_MAX;
}

enum tw_rc tw_admin_open(const char *listen, int loops, int64_t hang_timeout_s, struct tw_admin **ret_admin,
                         struct tw_err *reterr)
{
    const char         *options[] = {"listening_ports", listen, "num_threads", "3", "request_timeout_ms", "2000",
                                     "tcp_nodelay",     "1",    NULL};
    struct mg_callbacks callbacks = {.begin_request = on_request};
    struct tw_admin    *admin;

    if (!ends_in_port(listen))
        return tw_fail(reterr, TW_INVALID, "admin.open", 0, "admin_listen: '%s' is not address:port", listen);
    admin = tw_alloc_zeroed(1, sizeof(*admin));
    pthread_mutex_init(&admin->lock, NULL);
    admin->loop_count = loops;
    admin->hang_us = hang_timeout_s * 1000000;
    admin->loops = tw_alloc_zeroed((size_t)loops, sizeof(*admin->loops));
    tw_admin_set(admin, TW_ALL_LOOPS, "starting");
    admin->server = mg_start(&callbacks, admin, options);
    if (!admin->server) {
        tw_admin_close(admin);
        return tw_fail(reterr, TW_BROKEN, "admin.open", 0, "admin_listen: cannot listen on '%s': is the port taken?",
                       listen);
    }
    *ret_admin = admin;
    return TW_OK;
}

static void set_state(struct tw_admin *admin, int loop, bool is_ready, const char *text)
{
    pthread_mutex_lock(&admin->lock);
    for (int i = 0; i < admin->loop_count; i++) {
        if (loop != TW_ALL_LOOPS && loop != i)
            continue;
        admin->loops[i].is_ready = is_ready;
        snprintf(admin->loops[i].text, sizeof(admin->loops[i].text), "%s", text ? text : "");
    }
    pthread_mutex_unlock(&admin->lock);
}

void tw_admin_set(struct tw_admin *admin, int loop, const char *reason)
{
    set_state(admin, loop, reason == NULL, reason);
}

void tw_admin_set_ready(struct tw_admin *admin, int loop, const char *remark)
{
    set_state(admin, loop, true, remark);
}

void tw_retry_pause(struct tw_retry *retry, struct tw_admin *admin, int loop, const struct tw_err *err)
{
    const struct timespec pause = {RETRY_MS / 1000, RETRY_MS % 1000 * 1000000L};

    if (!retry->told)
        tw_log_err(TW_LOG_WARN, retry->what, err, NULL);
    retry->told = true;
    tw_admin_set(admin, loop, err->msg);
    tw_pulse(retry->what);
    nanosleep(&pause, NULL);
}

void tw_admin_close(struct tw_admin *admin)
{
    if (!admin)
        return;
    if (admin->server)
        mg_stop(admin->server);
    pthread_mutex_destroy(&admin->lock);
    free(admin->loops);
    free(admin);
}
