#include "server.h"

#include <civetweb.h>
#include <pthread.h>
#include <sodium.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_metrics.h"
#include "knock.h"
#include "rates.h"
#include "reserve.h"
#include "streams/socket.h"
#include "tillwire/clock.h"
#include "tillwire/failpoint.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

#define WHERE "edge.server"

enum {
    HEAD_MS = 5000,       /* a first request's head */
    IDLE_MS = 2000,       /* between requests of a connection */
    SERVED_MAX = 10000,   /* requests a connection; then others get its thread */
    BUFFER_BYTES = 65536, /* civetweb's; larger heads than we take still get our own answer */
    DRAIN_BYTES = 196608, /* beyond what is taken: still read of a refused body, so that the client reads our answer */
    STACK_BYTES = 256 * 1024,
};

struct tw_server {
    struct tw_edge         *edge;
    const struct tw_router *router;
    struct mg_context      *context;
    const char             *listen;
    struct tw_deadlines    *deadlines;
    struct tw_reserve      *reserve;
    bool                    is_public;
    int                     threads;
    atomic_int              connections;
};

static struct tw_metric open_connections = {
    .name = "tillwire_edge_connections", .kind = TW_GAUGE, .help = "Connections to the public port."};
TW_METRICS_SHOWN(&open_connections)

/* --- threads ------------------------------------------------------------------------------------------------------ */

/** A batch thread that is woken does not preempt who wakes it. The delivery thread wakes a hundred in a row; when each of
 *  them takes the processor at once, it takes a hundred turns to get through. Measured: a sixth more accepted a second at
 *  120 connections, and nothing lost at 32. Where it is not allowed, only that is missing. */
static void give_way(void)
{
    const struct sched_param none = {0};

    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

static void *on_thread_start(const struct mg_context *context, int type)
{
    const struct tw_server *server = mg_get_user_data(context);

    if (type != 1)
        return NULL;
    give_way();
    tw_reserve_join(server->reserve);
    struct tw_thread *thread = tw_alloc_zeroed(1, sizeof(*thread));
    thread->lane = server->is_public ? tw_sender_lane(server->edge->sender) : -1;
    randombytes_buf(thread->random, sizeof(thread->random));
    tw_deadlines_add(server->deadlines, &thread->reading);
    return thread;
}

static void on_thread_end(const struct mg_context *context, int type, void *pointer)
{
    const struct tw_server *server = mg_get_user_data(context);
    struct tw_thread       *thread = pointer;

    (void)type;
    if (!thread)
        return;
    tw_deadlines_remove(server->deadlines, &thread->reading);
    tw_arena_done(&thread->arena);
    tw_reply_done(&thread->reply);
    tw_buf_done(&thread->pack);
    tw_buf_done(&thread->out);
    free(thread);
}

/** xoshiro256++ (Blackman, Vigna). */
static uint64_t next_random(uint64_t s[4])
{
    uint64_t sum = s[0] + s[3];
    uint64_t result = ((sum << 23) | (sum >> 41)) + s[0];
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

static void trace(struct tw_request *request, struct tw_thread *thread)
{
    uint64_t random[3] = {next_random(thread->random), next_random(thread->random), next_random(thread->random)};

    tw_request_trace(request, random);
}

static const char *date_now(struct tw_thread *thread)
{
    time_t    now = time(NULL);
    struct tm utc;

    if (now != thread->date_at) {
        thread->date_at = now;
        gmtime_r(&now, &utc);
        strftime(thread->date, sizeof(thread->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    }
    return thread->date;
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static int on_connection(const struct mg_connection *connection, void **ret_data)
{
    struct tw_server *server = mg_get_user_data(mg_get_context(connection));
    struct tw_thread *thread = mg_get_thread_pointer(connection);

    *ret_data = NULL;
    thread->served = 0;
    thread->ended = false;
    thread->idle_since_us = tw_monotonic_us();
    tw_reserve_taken(server->reserve, atomic_fetch_add(&server->connections, 1) + 1);
    if (server->is_public) {
        atomic_fetch_add(&server->edge->connections, 1);
        tw_metric_add(&open_connections, 1);
    }
    return 0;
}

static void on_connection_end(const struct mg_connection *connection)
{
    struct tw_server *server = mg_get_user_data(mg_get_context(connection));

    atomic_fetch_sub(&server->connections, 1);
    if (server->is_public) {
        atomic_fetch_sub(&server->edge->connections, 1);
        tw_metric_add(&open_connections, -1);
    }
}

/** A thread serves one connection at a time; when few are left, connections are let go after their answer. Those of waits
 *  and streams have threads of their own and are counted on neither side. */
static bool threads_are_scarce(const struct tw_server *server)
{
    const struct tw_edge *edge = server->edge;
    int                   taken = atomic_load_explicit(&server->connections, memory_order_relaxed);
    int                   threads = server->threads;

    if (server->is_public) {
        int64_t waits = (int64_t)tw_tail_seated(edge->tail); /* a login's is beyond what waits have threads for */
        taken -= (int)tw_hub_open_streams(edge->hub) +
                 (int)(waits < edge->settings->wait_slots ? waits : edge->settings->wait_slots);
        threads -= (int)(edge->settings->wait_slots + edge->settings->stream_slots);
    }
    return taken * 10 > threads * 9;
}

/* --- one request -------------------------------------------------------------------------------------------------- */

static int read_body(void *self, void *bytes, size_t len)
{
    return mg_read(self, bytes, len);
}

static void read_raw(const struct mg_request_info *info, struct tw_raw_field *fields, struct tw_raw_request *ret_raw)
{
    for (int i = 0; i < info->num_headers; i++)
        fields[i] = (struct tw_raw_field){info->http_headers[i].name, info->http_headers[i].value};
    *ret_raw = (struct tw_raw_request){
        .method = info->request_method,
        .uri = info->request_uri,
        .path = info->local_uri_raw,
        .query = info->query_string,
        .version = info->http_version,
        .fields = fields,
        .field_count = (size_t)info->num_headers,
    };
}

/**
 * After blank lines civetweb parses on in bytes that an earlier connection left in the buffer. So a request line must
 * stand where this thread's buffer starts, which is the lowest place one was ever seen at.
 */
static bool starts_the_buffer(struct tw_thread *thread, const char *method)
{
    if (!thread->buffer_start || method < thread->buffer_start)
        thread->buffer_start = method;
    return method == thread->buffer_start;
}

static void begin(struct tw_server *server, struct tw_thread *thread, struct tw_request *ret_request)
{
    tw_arena_reset(&thread->arena);
    tw_reply_reset(&thread->reply);
    *ret_request = (struct tw_request){
        .limits = &server->edge->request_limits,
        .edge = server->edge,
        .thread = thread,
        .arena = &thread->arena,
        .method = TW_METHOD_OTHER, /* until it is known */
        .start_us = tw_monotonic_us(),
        .caller = {.scope = ""},
    };
}

/** What happened, for those who look later. The answer is on its way; the buffer it stood in is free. */
static void record(const struct tw_request *request, int status, size_t bytes)
{
    struct tw_thread  *thread = request->thread;
    struct tw_answered answered = {status, bytes, thread->idle_since_us - request->start_us};

    tw_http_metrics_observe(request, status, answered.duration_us);
    tw_access_log_put(request->edge->access_log, request, &answered, &thread->out);
}

/** A client that takes nothing, or too little in its time, loses the connection: what it took is cut somewhere, and no
 *  other answer may follow on that. */
static void send_answer(struct mg_connection *connection, struct tw_thread *thread)
{
    const struct mg_request_info *info = mg_get_request_info(connection); /* NULL before there is a request */

    if (info)
        tw_writing_begin(&thread->reading, info->remote_addr, info->remote_port,
                         tw_monotonic_us() + INT64_C(1000) * TW_REQUEST_DEADLINE_MS);
    int sent = mg_write(connection, thread->out.ptr, thread->out.len);
    tw_reading_end(&thread->reading);
    if (sent < 0 || (size_t)sent < thread->out.len) {
        thread->ended = true;
        mg_disable_connection_keep_alive(connection);
    }
}

static void answer(struct tw_server *server, struct mg_connection *connection, const struct tw_request *request,
                   struct tw_reply *reply)
{
    struct tw_thread *thread = request->thread;

    reply->close = reply->close || reply->stream || !request->keep_alive || ++thread->served >= SERVED_MAX ||
                   threads_are_scarce(server) || atomic_load_explicit(&server->edge->draining, memory_order_relaxed);
    if (server->is_public) {
        atomic_fetch_add_explicit(&server->edge->answered, 1, memory_order_relaxed);
        tw_cors_fields(&server->edge->cors, request, reply);
        tw_reply_field(reply, "Traceparent", tw_str_of(request->traceparent));
    }
    tw_buf_clear(&thread->out);
    tw_reply_render(reply, date_now(thread), request->method == TW_METHOD_HEAD, request->http_1_0, &thread->out);
    thread->ended = reply->close;
    if (reply->close)
        mg_disable_connection_keep_alive(connection); /* also keeps civetweb from reading on without a limit */
    send_answer(connection, thread);
    thread->idle_since_us = tw_monotonic_us();
    if (server->is_public)
        record(request, reply->status, thread->out.len);
    tw_reply_let_go(&thread->out);
}

/** Before the body only: a large one is read of known callers alone. It is counted like any other, so that guessing
 *  tokens with large bodies is limited, too. */
static bool is_of_caller(enum tw_problem problem)
{
    return problem == TW_PROBLEM_UNAUTHENTICATED || problem == TW_PROBLEM_MISSING_SCOPE ||
           problem == TW_PROBLEM_UNAVAILABLE;
}

/** Was the body left unread, for its length or for who sent it? After other problems nobody could tell where it ends. Who
 *  asks before he sends it has not sent it. */
static bool leaves_body(const struct tw_request *request, enum tw_problem problem)
{
    if (request->fields[TW_HEADER_EXPECT].ptr)
        return false;
    return problem == TW_PROBLEM_TOO_LARGE || is_of_caller(problem);
}

static size_t body_max(const struct tw_request *request)
{
    return tw_router_takes_batch(request->route) ? request->limits->batch_bytes : request->limits->body_bytes;
}

/** From here to tw_reading_end() the client has until the request's deadline. */
static void begin_reading(struct mg_connection *connection, const struct tw_request *request)
{
    const struct mg_request_info *info = mg_get_request_info(connection);

    tw_reading_begin(&request->thread->reading, info->remote_addr, info->remote_port, tw_request_deadline_us(request));
}

/** Closing a socket with unread bytes resets it, and the client may lose the answer it was just sent. So what is not
 *  taken, or only a little too large, is read to its end. */
static void swallow_body(struct mg_connection *connection, const struct tw_request *request)
{
    char   bytes[4096];
    size_t total = 0;
    size_t max = body_max(request) + DRAIN_BYTES;
    int    n = request->content_length <= (int64_t)max ? 1 : 0;

    begin_reading(connection, request);
    while (n > 0 && total < max && tw_monotonic_us() < tw_request_deadline_us(request)) {
        n = mg_read(connection, bytes, sizeof(bytes));
        total += n > 0 ? (size_t)n : 0;
    }
    tw_reading_end(&request->thread->reading);
}

/** `Expect: 100-continue`: say so before the first read; a body that is too large gets the final answer instead. */
static bool expects_continue(const struct tw_request *request, size_t max_bytes)
{
    struct tw_str expect = request->fields[TW_HEADER_EXPECT];

    return expect.ptr && expect.len == 12 && strncasecmp(expect.ptr, "100-continue", 12) == 0 && !request->http_1_0 &&
           request->content_length <= (int64_t)max_bytes;
}

static enum tw_problem refuse(const char **ret_detail, enum tw_problem problem, const char *detail)
{
    *ret_detail = detail;
    return problem;
}

/** Who calls, and may they? */
static enum tw_problem check_caller(struct tw_request *request, const struct tw_route *route, const char **ret_detail)
{
    struct tw_err err = {0};
    enum tw_rc    rc = tw_callers_identify(request->edge->callers, request, &request->caller, &err);

    if (rc != TW_OK)
        tw_log_err(TW_LOG_DEBUG, "caller was refused or could not be looked up", &err, NULL);
    if (rc == TW_INVALID)
        return TW_PROBLEM_UNAUTHENTICATED;
    if (rc != TW_OK)
        return refuse(ret_detail, TW_PROBLEM_UNAVAILABLE, "credentials cannot be checked now");
    if (route->scope && !tw_token_has_scope(request->caller.scope, route->scope))
        return TW_PROBLEM_MISSING_SCOPE;
    return TW_PROBLEM_NONE;
}

/** What a route takes beyond the usual it takes of callers it knows: strangers must not fill the memory. */
static enum tw_problem check_large_body(struct tw_request *request, const char **ret_detail)
{
    bool is_usual = request->content_length >= 0 && request->content_length <= (int64_t)request->limits->body_bytes;

    return is_usual || !tw_router_takes_batch(request->route) ? TW_PROBLEM_NONE
                                                              : check_caller(request, request->route, ret_detail);
}

static enum tw_problem receive(struct mg_connection *connection, struct tw_request *request, const char **ret_detail)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t            max_bytes = body_max(request);
    enum tw_problem   problem = check_large_body(request, ret_detail);

    if (problem != TW_PROBLEM_NONE || request->content_length == 0)
        return problem;
    if (expects_continue(request, max_bytes))
        mg_write(connection, go_on, sizeof(go_on) - 1);
    begin_reading(connection, request);
    problem = tw_request_read_body(request, max_bytes, read_body, connection, ret_detail);
    tw_reading_end(&request->thread->reading);
    return problem;
}

static void take_address(const struct tw_server *server, const struct mg_request_info *info, struct tw_request *request)
{
    request->address = tw_proxies_client(&server->edge->proxies, tw_str_of(info->remote_addr),
                                         request->fields[TW_HEADER_FORWARDED_FOR], request->arena);
    request->network = tw_address_network(request->address, request->arena);
}

/** Everything up to a complete, well-framed request, and its row, which says how long the body may be. A problem here
 *  ends the connection. */
static enum tw_problem take_request(const struct tw_server *server, struct mg_connection *connection,
                                    struct tw_request *request, char ret_allow[TW_ALLOW_TEXT], const char **ret_detail)
{
    const struct mg_request_info *info = mg_get_request_info(connection);
    struct tw_raw_field           fields[MG_MAX_HEADERS];
    struct tw_raw_request         raw;
    enum tw_problem               problem;

    read_raw(info, fields, &raw);
    problem = tw_request_parse(&raw, request, ret_detail);
    take_address(server, info, request);
    trace(request, request->thread);
    if (!starts_the_buffer(request->thread, raw.method))
        return refuse(ret_detail, TW_PROBLEM_MALFORMED_REQUEST, "nothing may stand before the request line");
    if (problem != TW_PROBLEM_NONE)
        return problem;
    request->route = tw_router_find(server->router, request, ret_allow);
    return receive(connection, request, ret_detail);
}

static void reply_problem(const struct tw_request *request, enum tw_problem problem, const char *detail,
                          struct tw_reply *reply)
{
    if (problem == TW_PROBLEM_UNAVAILABLE)
        tw_reply_unavailable(reply, request, detail);
    else
        tw_reply_refuse(reply, request, problem, detail);
}

/** What is wrong with the caller is told after the request was counted, so that guessing tokens is limited, too. */
static bool may_call(const struct tw_server *server, struct tw_request *request, struct tw_reply *reply)
{
    const struct tw_route *route = request->route;
    const char            *detail = "";
    enum tw_problem        problem = TW_PROBLEM_NONE;

    if (route->access == TW_ACCESS_BEARER ||
        (route->access == TW_ACCESS_OPTIONAL && request->fields[TW_HEADER_AUTHORIZATION].ptr))
        problem = check_caller(request, route, &detail);
    if (server->is_public && !tw_rate_admit(request, reply))
        return false;
    if (problem != TW_PROBLEM_NONE)
        reply_problem(request, problem, detail, reply);
    return problem == TW_PROBLEM_NONE;
}

/** @p allow: the methods the path knows when there is no row for this one. */
static void dispatch(struct tw_server *server, struct tw_request *request, const char *allow, struct tw_reply *reply)
{
    const struct tw_route *route = request->route;

    if (server->is_public && atomic_load(&server->edge->draining)) {
        tw_reply_unavailable(reply, request, "this edge is going down");
    } else if (!route && allow[0] == '\0') {
        tw_reply_refuse(reply, request, TW_PROBLEM_NOT_FOUND, "");
    } else if (!route && server->is_public && tw_cors_preflight(&server->edge->cors, request, allow, reply)) {
        return;
    } else if (!route) {
        tw_reply_refuse(reply, request, TW_PROBLEM_METHOD_NOT_ALLOWED, "");
        tw_reply_field(reply, "Allow", tw_str_of(allow));
    } else if (may_call(server, request, reply)) {
        route->handle(request, reply);
    }
}

static bool write_some(void *self, struct tw_str bytes)
{
    return mg_write(self, bytes.ptr, bytes.len) == (int)bytes.len;
}

/** After the head of a stream: everything else, which takes as long as the client stays. */
static void stream(struct mg_connection *connection, struct tw_request *request, const struct tw_reply *reply)
{
    const struct mg_request_info *info = mg_get_request_info(connection);
    struct tw_stream_out out = {write_some, connection, tw_socket_of_peer(info->remote_addr, info->remote_port)};

    reply->stream(request, reply->stream_self, &out);
}

static int on_request(struct mg_connection *connection)
{
    struct tw_server *server = mg_get_user_data(mg_get_context(connection));
    struct tw_thread *thread = mg_get_thread_pointer(connection);
    struct tw_reply  *reply = &thread->reply;
    struct tw_request request;
    const char       *detail = "";
    char              allow[TW_ALLOW_TEXT] = "";

    atomic_fetch_add_explicit(&server->edge->in_flight, 1, memory_order_relaxed);
    begin(server, thread, &request);
    if (tw_failpoint("mutant_descriptor_leaked") && dup(STDIN_FILENO) < 0)
        reply->close = true;
    enum tw_problem problem = take_request(server, connection, &request, allow, &detail);
    if (problem == TW_PROBLEM_NONE) {
        dispatch(server, &request, allow, reply);
    } else {
        if (!is_of_caller(problem) || tw_rate_admit(&request, reply))
            reply_problem(&request, problem, detail, reply);
        reply->close = true;
    }
    answer(server, connection, &request, reply);
    if (reply->stream && request.method != TW_METHOD_HEAD)
        stream(connection, &request, reply);
    if (leaves_body(&request, problem))
        swallow_body(connection, &request);
    atomic_fetch_sub_explicit(&server->edge->in_flight, 1, memory_order_relaxed);
    return reply->status;
}

/* --- what civetweb says by itself --------------------------------------------------------------------------------- */

/** Heads that never became a request. civetweb says 400 for a slow one, too; the clock tells them apart. */
static enum tw_problem problem_of(const struct tw_thread *thread, int status)
{
    int64_t waited_us = tw_monotonic_us() - thread->idle_since_us;

    switch (status) {
    case 400:
        return waited_us >= INT64_C(1000) * (thread->served > 0 ? IDLE_MS : HEAD_MS) ? TW_PROBLEM_REQUEST_TIMEOUT
                                                                                     : TW_PROBLEM_MALFORMED_REQUEST;
    case 413: /* "message too large": the head does not fit the buffer */
        return TW_PROBLEM_HEADERS_TOO_LARGE;
    default:
        return status < 500 || status == 505 ? TW_PROBLEM_MALFORMED_REQUEST : TW_PROBLEM_INTERNAL;
    }
}

static int on_error(struct mg_connection *connection, int status, const char *message)
{
    struct tw_server *server = mg_get_user_data(mg_get_context(connection));
    struct tw_thread *thread = mg_get_thread_pointer(connection);
    struct tw_request request;

    (void)message;
    begin(server, thread, &request);
    trace(&request, thread);
    tw_reply_refuse(&thread->reply, &request, problem_of(thread, status), "");
    thread->reply.close = true;
    answer(server, connection, &request, &thread->reply);
    return 0;
}

/** `OPTIONS *`, and an absolute URI with another host or port than ours, have no local path: civetweb closes their
 *  connection without a word. This is the last moment to say one. */
static void on_connection_close(const struct mg_connection *connection)
{
    const struct mg_request_info *info = mg_get_request_info(connection);
    const struct tw_thread       *thread = mg_get_thread_pointer(connection);

    if (!thread->ended && info && info->request_method && info->request_uri && !info->local_uri)
        on_error((struct mg_connection *)(uintptr_t)connection, 400, "");
}

static int on_log(const struct mg_connection *connection, const char *message)
{
    (void)connection;
    tw_log(TW_LOG_DEBUG, "http library", TW_F_TEXT("text", message));
    return 1;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/** civetweb makes its threads with default attributes: 512 stacks of 8 MiB would frighten a memory limit. */
static void with_small_stacks(pthread_attr_t *ret_before)
{
    pthread_attr_t attr;

    pthread_getattr_default_np(ret_before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

static struct mg_context *start(struct tw_server *server, const struct tw_server_options *options)
{
    static const struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .http_error = on_error,
        .log_message = on_log,
        .init_thread = on_thread_start,
        .exit_thread = on_thread_end,
        .init_connection = on_connection,
        .connection_close = on_connection_close,
        .connection_closed = on_connection_end,
    };
    char        threads[16];
    char        head_ms[16];
    char        idle_ms[16];
    char        buffer[16];
    const char *table[] = {
        "listening_ports",
        options->listen,
        "num_threads",
        threads,
        "enable_keep_alive",
        "yes",
        "tcp_nodelay",
        "1",
        "request_timeout_ms",
        head_ms,
        "keep_alive_timeout_ms",
        idle_ms,
        "max_request_size",
        buffer,
        "connection_queue",
        "512",
        "listen_backlog",
        "1024",
        "decode_url",
        "no",
        "enable_auth_domain_check",
        "no",
        "access_control_allow_methods",
        "",
        NULL,
    };

    snprintf(threads, sizeof(threads), "%d", options->threads);
    snprintf(head_ms, sizeof(head_ms), "%d", HEAD_MS);
    snprintf(idle_ms, sizeof(idle_ms), "%d", IDLE_MS);
    snprintf(buffer, sizeof(buffer), "%d", BUFFER_BYTES);
    return mg_start(&callbacks, server, table);
}

/** "8080s" is how civetweb spells TLS, and its TLS crashes with OpenSSL 3; "8080r" redirects to it. */
static bool is_plain_address(const char *listen)
{
    size_t len = strlen(listen);

    return len > 0 && listen[len - 1] >= '0' && listen[len - 1] <= '9' && !strchr(listen, ',');
}

enum tw_rc tw_server_check(const char *listen, struct tw_err *reterr)
{
    return is_plain_address(listen) ? TW_OK
                                    : tw_fail(reterr, TW_INVALID, WHERE, 0,
                                              "'%s' is not one plain address:port (TLS belongs to a proxy)", listen);
}

enum tw_rc tw_server_open(struct tw_edge *edge, const struct tw_router *router, const struct tw_server_options *options,
                          struct tw_server **ret_server, struct tw_err *reterr)
{
    struct tw_server *server;
    pthread_attr_t    before;

    TW_TRY(tw_server_check(options->listen, reterr));
    server = tw_alloc_zeroed(1, sizeof(*server));
    server->edge = edge;
    server->router = router;
    server->listen = options->listen;
    server->is_public = options->is_public;
    server->threads = options->threads;
    server->deadlines = tw_deadlines_new();
    server->reserve = tw_reserve_new();
    with_small_stacks(&before);
    server->context = start(server, options);
    pthread_setattr_default_np(&before);
    pthread_attr_destroy(&before);
    if (!server->context) {
        tw_deadlines_free(server->deadlines);
        tw_reserve_free(server->reserve);
        free(server);
        return tw_fail(reterr, TW_BROKEN, WHERE, 0, "cannot listen on '%s': is the port taken?", options->listen);
    }
    *ret_server = server;
    return TW_OK;
}

void tw_server_close(struct tw_server *server)
{
    if (!server)
        return;
    struct tw_knock *knock = tw_knock_start(server->listen);

    tw_reserve_end(server->reserve);
    mg_stop(server->context);
    tw_knock_stop(knock);
    tw_deadlines_free(server->deadlines);
    tw_reserve_free(server->reserve);
    free(server);
}
