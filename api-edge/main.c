/*
 * tillwire-edge: settings, wiring, and the way down. Nothing here knows what a request means.
 *
 * Down, on SIGTERM or SIGINT: not ready; new requests are sent away; waits end; requests in flight finish; the listeners
 * close; the producer is flushed; exit 0. A watchdog ends the process should a library hang on the way. SIGHUP: token keys
 * and log level are read anew.
 */
#include <assert.h>
#include <civetweb.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge.h"
#include "health.h"
#include "own_writes.h"
#include "routes/routes.h"
#include "server.h"
#include "tillwire/clock.h"
#include "tillwire/kafka.h"
#include "tillwire/log.h"
#include "tillwire/reload.h"
#include "tillwire/settings.h"
#include "tillwire/watchdog.h"

enum {
    IN_FLIGHT_MS = 5000,
    FLUSH_MS = 2000,
    WATCHDOG_S = 9,
    ADMIN_THREADS = 4,
    OTHER_DESCRIPTORS = 1024 /* accepted connections that wait, stores, broker, files */
};
enum { RATE_MAX = 1000000 };
enum { CALL_MAX_S = 10 }; /* no question to a server takes longer */
enum { EXIT_WRONG_SETTINGS = 2, EXIT_MISMATCH = 78 /* EX_CONFIG */ };

#define AT(member) offsetof(struct tw_edge_settings, member)

static const struct tw_setting table[] = {
    {"listen", TW_SET_TEXT, AT(listen), "127.0.0.1:8080", 1, 256, NULL, false,
     "Public address and port (plain HTTP; TLS belongs to a proxy)."},
    {"admin_listen", TW_SET_TEXT, AT(admin_listen), "127.0.0.1:8081", 1, 256, NULL, false,
     "Address and port of /healthz, /readyz and /metrics."},
    {"kafka", TW_SET_TEXT, AT(kafka), "127.0.0.1:9092", 1, 1024, NULL, false, "Kafka brokers, comma separated."},
    {"postgres_uri", TW_SET_TEXT, AT(postgres_uri), NULL, 1, 1024, NULL, true,
     "PostgreSQL of the members, with a read-only account."},
    {"mongo_uri", TW_SET_TEXT, AT(mongo_uri), NULL, 1, 1024, NULL, true,
     "MongoDB of the products; names the database."},
    {"redis_uri", TW_SET_TEXT, AT(redis_uri), NULL, 1, 4096, NULL, true,
     "Redis servers of the carts, comma separated, in the order the worker has them."},
    {"id_key_file", TW_SET_TEXT, AT(id_key_file), NULL, 1, 1024, NULL, false,
     "File with the 32 bytes in hex that member ids are made with; pinned for ever."},
    {"edge_key_file", TW_SET_TEXT, AT(edge_key_file), NULL, 1, 1024, NULL, false,
     "File with 32 bytes in hex that all edges share: fingerprints, Location and consistency tokens."},
    {"jwt_algorithm", TW_SET_CHOICE, AT(jwt_algorithm), "HS256", 0, 0, "HS256|ES256", false,
     "How access tokens are signed; ES256: others can verify them by /.well-known/jwks.json."},
    {"jwt_keys_file", TW_SET_TEXT, AT(jwt_keys_file), NULL, 1, 1024, NULL, false,
     "HS256: lines kid:hex. ES256: blocks of a line `kid: NAME` and a PEM key. The first signs, all verify."},
    {"jwt_issuer", TW_SET_TEXT, AT(jwt_issuer), "tillwire", 1, 256, NULL, false, "`iss` of access tokens."},
    {"jwt_audience", TW_SET_TEXT, AT(jwt_audience), "tillwire-api", 1, 256, NULL, false, "`aud` of access tokens."},
    {"access_ttl_s", TW_SET_INT, AT(access_ttl_s), "600", 1, 86400, NULL, false, "Life of an access token, seconds."},
    {"refresh_ttl_s", TW_SET_INT, AT(refresh_ttl_s), "1209600", 1, 31536000, NULL, false,
     "Life of a refresh token, seconds."},
    {"request_threads", TW_SET_INT, AT(request_threads), "512", 2, 2000, NULL, false,
     "Requests that are served at once. A connection has a thread, so this and the next three are added up."},
    {"idle_connections", TW_SET_INT, AT(idle_connections), "512", 0, 4000, NULL, false,
     "Connections that may be kept open between requests; beyond it they are closed after each answer."},
    {"wait_slots", TW_SET_INT, AT(wait_slots), "512", 1, 2000, NULL, false,
     "Requests that may wait for an outcome at once; more go without waiting."},
    {"stream_slots", TW_SET_INT, AT(stream_slots), "1024", 0, 8000, NULL, false,
     "Streams of events at once; beyond it 503."},
    {"streams_per_caller", TW_SET_INT, AT(streams_per_caller), "8", 1, 8000, NULL, false,
     "Streams of events of one member at once; beyond it 429."},
    {"stream_heartbeat_s", TW_SET_INT, AT(stream_heartbeat_s), "15", 1, 300, NULL, false,
     "A stream without events says that it is still there after so many seconds; shorter than what any proxy waits."},
    {"stream_history_kbytes", TW_SET_INT, AT(stream_history_kbytes), "16384", 16, 1048576, NULL, false,
     "Events kept for streams that come back with a Last-Event-ID, KiB; what is older is a reset."},
    {"store_connections", TW_SET_INT, AT(store_connections), "8", 1, 256, NULL, false, "Connections to each store."},
    {"password_threads", TW_SET_INT, AT(password_threads), "0", 0, 64, NULL, false,
     "Threads that hash passwords, 64 MiB each while they do; 0: half as many as the processors that affinity and CPU "
     "quota leave it, one at least."},
    {"password_queue", TW_SET_INT, AT(password_queue), "64", 32, 4096, NULL, false,
     "Passwords that may wait for such a thread; beyond it logins and registrations get 503."},
    {"linger_us", TW_SET_INT, AT(linger_us), "500", 0, 100000, NULL, false,
     "How long a record waits for company before it is sent, microseconds; twice as long when many are under way."},
    {"queue_kbytes", TW_SET_INT, AT(queue_kbytes), "65536", 64, 2097151, NULL, false,
     "Commands waiting for the broker, KiB; a full queue answers 503."},
    {"rate_limits", TW_SET_BOOL, AT(rate_limits), "on", 0, 0, NULL, false,
     "Whether any of the limits below counts; each is COUNT/SECONDS, and beyond it is a 429."},
    {"write_limit", TW_SET_RATE, AT(write_limit), "600/60", 1, RATE_MAX, NULL, false, "Writes of a member."},
    {"read_limit", TW_SET_RATE, AT(read_limit), "3000/60", 1, RATE_MAX, NULL, false, "Reads of a member."},
    {"address_write_limit", TW_SET_RATE, AT(address_write_limit), "6000/60", 1, RATE_MAX, NULL, false,
     "Writes without a token, most of them views, of an address: some hundreds of shoppers may share one."},
    {"address_read_limit", TW_SET_RATE, AT(address_read_limit), "30000/60", 1, RATE_MAX, NULL, false,
     "Reads without a token of an address."},
    {"login_account_limit", TW_SET_RATE, AT(login_account_limit), "5/60", 1, RATE_MAX, NULL, false,
     "Logins that are tried for an account."},
    {"login_address_limit", TW_SET_RATE, AT(login_address_limit), "20/60", 1, RATE_MAX, NULL, false,
     "Logins that are tried from an address."},
    {"registration_limit", TW_SET_RATE, AT(registration_limit), "10/3600", 1, RATE_MAX, NULL, false,
     "Registrations from an address."},
    {"password_limit", TW_SET_RATE, AT(password_limit), "5/60", 1, RATE_MAX, NULL, false,
     "Changes of password that a member tries."},
    {"email_change_limit", TW_SET_RATE, AT(email_change_limit), "10/3600", 1, RATE_MAX, NULL, false,
     "Changes of e-mail address that a member tries."},
    {"uri_max_bytes", TW_SET_INT, AT(uri_max_bytes), "2048", 256, 16384, NULL, false,
     "Longest URI with its query, bytes; beyond it 414."},
    {"headers_max_bytes", TW_SET_INT, AT(headers_max_bytes), "8192", 1024, 32768, NULL, false,
     "All header fields of a request, at most 64, bytes; beyond it 431."},
    {"body_max_kbytes", TW_SET_INT, AT(body_max_kbytes), "64", 1, 256, NULL, false,
     "Largest body of a request, KiB; beyond it 413."},
    {"batch_max_kbytes", TW_SET_INT, AT(batch_max_kbytes), "1024", 1, 8192, NULL, false,
     "Largest body of a batch, KiB."},
    {"request_deadline_ms", TW_SET_INT, AT(request_deadline_ms), "10000", 1000, TW_REQUEST_DEADLINE_MS, NULL, false,
     "How long a body may take to arrive, milliseconds; beyond it 408."},
    {"trusted_proxies", TW_SET_TEXT, AT(trusted_proxies), "", 0, 4096, NULL, false,
     "Addresses and networks (10.0.0.0/8, fd00::/8), comma separated, whose X-Forwarded-For is believed."},
    {"cors_origins", TW_SET_TEXT, AT(cors_origins), "", 0, 4096, NULL, false,
     "Origins (https://shop.example), comma separated, whose pages may use the edge from a browser; exact, no '*'."},
    {"access_log", TW_SET_TEXT, AT(access_log), "stdout", 1, 1024, NULL, false,
     "Where a line a request goes: off, stdout, or the full path of a file, which SIGHUP opens anew."},
    {"hang_timeout_s", TW_SET_INT, AT(hang_timeout_s), "120", 2, 3600, NULL, false,
     "A thread that stands still in one call for longer ends the process, seconds; more than 10."},
    {"log_level", TW_SET_CHOICE, AT(log_level), "info", 0, 0, "error|warn|info|debug", false, "What is logged."},
    TW_SETTING_END,
};

static const char about[] = "The HTTP edge: checks requests, writes commands to Kafka, answers after the broker's "
                            "acknowledgement, and reads from\n"
                            "the stores.";

/* --- keys --------------------------------------------------------------------------------------------------------- */

/** The message of @p reterr gets the name of the setting that is to blame. */
static enum tw_rc refused(const char *setting, struct tw_err *reterr)
{
    return tw_fail(reterr, TW_INVALID, reterr->where, reterr->native, "%s: %s", setting, reterr->msg);
}

static enum tw_rc read_key(const char *path, const char *setting, uint8_t ret_key[32], struct tw_err *reterr)
{
    char *text = NULL;

    if (tw_secret_read(path, 256, &text, reterr) != TW_OK)
        return refused(setting, reterr);
    bool good = tw_hex_parse(tw_str_of(text), ret_key, 32);
    explicit_bzero(text, strlen(text));
    free(text);
    return good ? TW_OK
                : tw_fail(reterr, TW_INVALID, "edge.main", 0, "%s: '%s' does not hold 32 bytes in hex", setting, path);
}

/** One secret per use, all from the one key that edges share. */
static void derive_keys(struct tw_edge *edge, const uint8_t edge_key[32])
{
    static const char idempotency[] = "tillwire/edge/idempotency/v1";
    static const char opaque[] = "tillwire/edge/opaque/v1";
    static const char ticket[] = "tillwire/edge/ticket/v1";

    crypto_generichash(edge->idempotency_key, sizeof(edge->idempotency_key), (const unsigned char *)idempotency,
                       sizeof(idempotency) - 1, edge_key, 32);
    crypto_generichash(edge->opaque_key, sizeof(edge->opaque_key), (const unsigned char *)opaque, sizeof(opaque) - 1,
                       edge_key, 32);
    crypto_generichash(edge->ticket_key, sizeof(edge->ticket_key), (const unsigned char *)ticket, sizeof(ticket) - 1,
                       edge_key, 32);
}

static enum tw_rc read_token_keys(const struct tw_edge_settings *settings, struct tw_token_keys *ret_keys,
                                  struct tw_err *reterr)
{
    return tw_token_keys_read(tw_token_algorithm_of(settings->jwt_algorithm), settings->jwt_keys_file, ret_keys,
                              reterr) == TW_OK
               ? TW_OK
               : refused("jwt_keys_file", reterr);
}

static enum tw_rc read_keys(struct tw_edge *edge, struct tw_err *reterr)
{
    const struct tw_edge_settings *settings = edge->settings;
    struct tw_token_keys           token_keys;
    uint8_t                        edge_key[32];

    TW_TRY(read_key(settings->id_key_file, "id_key_file", edge->id_key, reterr));
    TW_TRY(read_key(settings->edge_key_file, "edge_key_file", edge_key, reterr));
    TW_TRY(read_token_keys(settings, &token_keys, reterr));
    tw_id_key_check(edge->id_key, edge->id_key_check);
    derive_keys(edge, edge_key);
    sodium_memzero(edge_key, sizeof(edge_key));
    edge->keys = tw_key_ring_new(&token_keys, settings->jwt_issuer, settings->jwt_audience);
    sodium_memzero(&token_keys, sizeof(token_keys));
    return TW_OK;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static struct tw_request_limits limits_of(const struct tw_edge_settings *settings)
{
    return (struct tw_request_limits){
        .uri_bytes = (size_t)settings->uri_max_bytes,
        .headers_bytes = (size_t)settings->headers_max_bytes,
        .body_bytes = (size_t)settings->body_max_kbytes * 1024,
        .batch_bytes = (size_t)settings->batch_max_kbytes * 1024,
        .deadline_ms = settings->request_deadline_ms,
    };
}

static enum tw_rc read_lists(struct tw_edge *edge, struct tw_err *reterr)
{
    if (tw_proxies_parse(edge->settings->trusted_proxies, &edge->proxies, reterr) != TW_OK)
        return refused("trusted_proxies", reterr);
    if (tw_cors_parse(edge->settings->cors_origins, &edge->cors, reterr) != TW_OK)
        return refused("cors_origins", reterr);
    return TW_OK;
}

/* --- what is revoked ---------------------------------------------------------------------------------------------- */

static void tell_revoked(void *self, struct tw_uuid token_id, int64_t expires_at_ms)
{
    struct tw_edge *edge = self;

    tw_revocations_add(edge->revocations, token_id, expires_at_ms, tw_now_ms());
}

static enum tw_rc load_revoked(void *self, struct tw_err *reterr)
{
    struct tw_edge *edge = self;

    return tw_sessions_revoked(edge->sessions, tw_now_ms() - TW_REVOCATION_LEEWAY_MS, tell_revoked, edge, reterr);
}

/* --- SIGHUP ------------------------------------------------------------------------------------------------------- */

static void reload_token_keys(struct tw_edge *edge)
{
    const char          *path = edge->settings->jwt_keys_file;
    struct tw_token_keys keys;
    struct tw_err        err = {0};

    if (read_token_keys(edge->settings, &keys, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, "the token keys stay as they were", &err,
                   (const struct tw_log_field[]){TW_F_TEXT("file", path), {0}});
        return;
    }
    tw_key_ring_replace(edge->keys, &keys);
    tw_log(TW_LOG_INFO, "token keys were read anew", TW_F_TEXT("file", path), TW_F_INT("keys", keys.count),
           TW_F_TEXT("signs", keys.keys[0].kid));
    sodium_memzero(&keys, sizeof(keys));
}

/** From the reload thread. */
static void reload_edge(void *self)
{
    struct tw_edge *edge = self;
    struct tw_err   err = {0};

    reload_token_keys(edge);
    if (tw_access_log_reopen(edge->access_log, &err) != TW_OK)
        tw_log_err(TW_LOG_ERROR, "the access log goes on in its old file", &err, NULL);
}

/* --- up ----------------------------------------------------------------------------------------------------------- */

/** Connects to none of them yet. */
static enum tw_rc open_stores(struct tw_edge *edge, struct tw_err *reterr)
{
    const struct tw_edge_settings *settings = edge->settings;
    size_t                         connections = (size_t)settings->store_connections;

    if (tw_products_open(settings->mongo_uri, connections, &edge->products, reterr) != TW_OK)
        return refused("mongo_uri", reterr);
    if (tw_carts_open(settings->redis_uri, connections, &edge->carts, reterr) != TW_OK)
        return refused("redis_uri", reterr);
    if (tw_pg_pool_open(settings->postgres_uri, connections, &edge->postgres, reterr) != TW_OK)
        return refused("postgres_uri", reterr);
    return TW_OK;
}

static void close_stores(struct tw_edge *edge)
{
    tw_pg_pool_free(edge->postgres);
    tw_carts_close(edge->carts);
    tw_products_close(edge->products);
}

/** What is wrong with a setting shows before anybody is asked or anything listens. */
static enum tw_rc check_settings(const struct tw_edge_settings *settings, struct tw_err *reterr)
{
    TW_TRY(tw_kafka_check(settings->kafka, reterr));
    if (settings->hang_timeout_s <= CALL_MAX_S)
        return tw_fail(reterr, TW_INVALID, "edge.main", 0,
                       "hang_timeout_s: %lld s are not more than the %d s a question to a server may take",
                       (long long)settings->hang_timeout_s, CALL_MAX_S);
    if (tw_access_log_check(settings->access_log, reterr) != TW_OK)
        return refused("access_log", reterr);
    if (tw_server_check(settings->listen, reterr) != TW_OK)
        return refused("listen", reterr);
    if (tw_server_check(settings->admin_listen, reterr) != TW_OK)
        return refused("admin_listen", reterr);
    return TW_OK;
}

static enum tw_rc open_parts(struct tw_edge *edge, struct tw_err *reterr)
{
    const struct tw_edge_settings *settings = edge->settings;
    struct tw_sender_options       sender = {settings->kafka, (int)settings->linger_us, (int)settings->queue_kbytes};

    TW_TRY(check_settings(settings, reterr));
    if (tw_access_log_open(settings->access_log, &edge->access_log, reterr) != TW_OK)
        return refused("access_log", reterr);
    TW_TRY(open_stores(edge, reterr));
    edge->members = tw_members_new(edge->postgres);
    edge->sessions = tw_sessions_new(edge->postgres);
    edge->revocations = tw_revocations_new();
    edge->passwords = tw_passwords_new((size_t)settings->password_threads, (size_t)settings->password_queue);
    edge->recent = tw_recent_new();
    edge->categories = tw_kept_new();
    edge->tags = tw_kept_new();
    edge->limits = settings->rate_limits ? tw_limits_new() : NULL;
    edge->hub = tw_hub_new(&(struct tw_hub_options){.history_bytes = (size_t)settings->stream_history_kbytes * 1024,
                                                    .slots = (size_t)settings->stream_slots,
                                                    .per_caller = (size_t)settings->streams_per_caller});
    edge->used_tickets = tw_used_tickets_new();
    edge->tail = tw_tail_new(settings->kafka, (size_t)settings->wait_slots,
                             &(struct tw_revoked_sink){tell_revoked, load_revoked, edge}, edge->hub);
    edge->watermarks = tw_watermarks_new(&(struct tw_watermarks_source){.read = tw_own_writes_watermark, .self = edge});
    tw_tail_tell_watermarks(edge->tail, edge->watermarks);
    edge->callers =
        tw_callers_new(&(struct tw_callers_parts){edge->keys, edge->revocations, edge->tail, edge->sessions});
    edge->sender = tw_sender_new(&sender);
    return TW_OK;
}

/** civetweb has a thread for each connection, whatever it does; so who waits, streams or idles takes none of those that
 *  requests are served by. */
static int threads_of(const struct tw_edge_settings *settings)
{
    return (int)(settings->request_threads + settings->idle_connections + settings->wait_slots +
                 settings->stream_slots);
}

/** As many descriptors as the system lets us have: a connection is one. */
static void raise_descriptors(const struct tw_edge_settings *settings)
{
    rlim_t        wanted = (rlim_t)threads_of(settings) + OTHER_DESCRIPTORS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < wanted)
        tw_log(TW_LOG_WARN, "fewer file descriptors than connections: raise the hard limit, or lower the slots",
               TW_F_INT("hard_limit", limit.rlim_max), TW_F_INT("wanted", wanted));
}

struct servers {
    struct tw_router public_router;
    struct tw_router admin_router;
    struct tw_server *public;
    struct tw_server *admin;
};

static enum tw_rc open_servers(struct tw_edge *edge, struct servers *servers, struct tw_err *reterr)
{
    struct tw_server_options public = {edge->settings->listen, threads_of(edge->settings), true};
    struct tw_server_options admin = {edge->settings->admin_listen, ADMIN_THREADS, false};

    mg_init_library(MG_FEATURES_DEFAULT);
    tw_routes_public(&servers->public_router);
    tw_routes_of_admin(&servers->admin_router);
    TW_TRY(tw_server_open(edge, &servers->admin_router, &admin, &servers->admin, reterr));
    return tw_server_open(edge, &servers->public_router, &public, &servers->public, reterr);
}

/* --- down --------------------------------------------------------------------------------------------------------- */

static atomic_bool mismatch;

/** From the health thread: ends the main thread's wait for a signal. */
static void on_mismatch(void)
{
    if (!atomic_exchange(&mismatch, true))
        kill(getpid(), SIGTERM);
}

static void wait_for_signal(const sigset_t *signals)
{
    int number = 0;

    sigwait(signals, &number);
    tw_log(TW_LOG_INFO, "going down", TW_F_INT("signal", number));
}

static void *watchdog_main(void *unused)
{
    (void)unused;
    sleep(WATCHDOG_S);
    tw_log(TW_LOG_ERROR, "a library hung on the way down");
    _exit(atomic_load(&mismatch) ? EXIT_MISMATCH : 0);
}

static void start_watchdog(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, watchdog_main, NULL) == 0)
        pthread_detach(thread);
}

static void drain(struct tw_edge *edge)
{
    int64_t deadline_us = tw_monotonic_us() + INT64_C(1000) * IN_FLIGHT_MS;

    start_watchdog();
    atomic_store(&edge->draining, true);
    tw_tail_drain(edge->tail);
    tw_hub_drain(edge->hub);
    tw_watermarks_drain(edge->watermarks);
    while (atomic_load(&edge->in_flight) > 0 && tw_monotonic_us() < deadline_us)
        usleep(5000);
}

static void close_parts(struct tw_edge *edge)
{
    tw_tail_free(edge->tail);
    tw_hub_free(edge->hub);
    tw_used_tickets_free(edge->used_tickets);
    tw_watermarks_free(edge->watermarks);
    tw_passwords_free(edge->passwords);
    tw_callers_free(edge->callers);
    tw_revocations_free(edge->revocations);
    tw_sessions_free(edge->sessions);
    tw_members_free(edge->members);
    close_stores(edge);
    tw_recent_free(edge->recent);
    tw_kept_free(edge->categories);
    tw_kept_free(edge->tags);
    tw_limits_free(edge->limits);
    tw_access_log_close(edge->access_log);
    tw_key_ring_free(edge->keys);
    sodium_memzero(edge->id_key, sizeof(edge->id_key));
    sodium_memzero(edge->ticket_key, sizeof(edge->ticket_key));
}

static bool is_ready(void *self, char ret_why[TW_WATCHDOG_TEXT])
{
    struct tw_health_part parts[TW_HEALTH_PARTS];

    static_assert((int)TW_HEALTH_TEXT <= (int)TW_WATCHDOG_TEXT, "it fits");
    return tw_health_look(self, parts, ret_why);
}

static int run(struct tw_edge *edge, struct servers *servers, const sigset_t *signals,
               const struct tw_reload_options *reload_options)
{
    struct tw_err       err = {0};
    struct tw_health   *health;
    struct tw_watchdog *watchdog;
    struct tw_reload   *reload;

    if (read_keys(edge, &err) != TW_OK || read_lists(edge, &err) != TW_OK || open_parts(edge, &err) != TW_OK ||
        open_servers(edge, servers, &err) != TW_OK) {
        tw_log_err(TW_LOG_ERROR, err.rc == TW_INVALID ? "a setting is wrong" : "cannot start", &err, NULL);
        return err.rc == TW_INVALID ? EXIT_WRONG_SETTINGS : 1;
    }
    health = tw_health_start(edge, on_mismatch);
    watchdog = tw_watchdog_start(&(struct tw_watchdog_options){.hang_timeout_s = edge->settings->hang_timeout_s,
                                                               .is_ready = is_ready,
                                                               .self = edge,
                                                               .stopping = &edge->draining});
    reload = tw_reload_start(reload_options);
    tw_log(TW_LOG_INFO, "edge is listening", TW_F_TEXT("listen", edge->settings->listen),
           TW_F_TEXT("admin_listen", edge->settings->admin_listen));
    wait_for_signal(signals);
    tw_reload_stop(reload);
    drain(edge);
    tw_health_end(health); /* told early what they only see between two questions to a server that may be away */
    tw_tail_stop(edge->tail);
    tw_server_close(servers->public);
    tw_server_close(servers->admin); /* before all that its pages look at */
    tw_watchdog_stop(watchdog);      /* as well; from here on the one of the way down is enough */
    tw_sender_free(edge->sender, FLUSH_MS);
    tw_health_stop(health);
    close_parts(edge);
    tw_log(TW_LOG_INFO, "edge is down");
    return atomic_load(&mismatch) ? EXIT_MISMATCH : 0;
}

/** --check: what can be known without asking a server, for a person who looks. */
static int tell_check(struct tw_edge *edge)
{
    struct tw_err err = {0};
    bool          good = read_keys(edge, &err) == TW_OK && read_lists(edge, &err) == TW_OK &&
                check_settings(edge->settings, &err) == TW_OK && open_stores(edge, &err) == TW_OK;

    if (!good)
        fprintf(stderr, "tillwire-edge: %s\n", err.msg);
    close_stores(edge);
    tw_key_ring_free(edge->keys);
    return good ? 0 : EXIT_WRONG_SETTINGS;
}

int main(int argc, char **argv)
{
    static struct tw_edge          edge;
    static struct tw_edge_settings settings;
    static struct servers          servers;
    enum tw_log_level              level = TW_LOG_INFO;
    const struct tw_reload_options reload = {.table = table,
                                             .program = "tillwire-edge",
                                             .argc = argc,
                                             .argv = argv,
                                             .settings = &settings,
                                             .settings_bytes = sizeof(settings),
                                             .also = reload_edge,
                                             .self = &edge};
    sigset_t                       signals;

    tw_reload_block();
    tw_log_init("tillwire-edge", level);
    switch (tw_settings_read(table, "tillwire-edge", about, argc, argv, &settings, NULL)) {
    case TW_SETTINGS_EXIT_OK:
        return 0;
    case TW_SETTINGS_CHECK:
        edge.settings = &settings;
        return tell_check(&edge);
    case TW_SETTINGS_EXIT_BAD:
        return EXIT_WRONG_SETTINGS;
    default:
        break;
    }
    tw_log_level_parse(settings.log_level, &level);
    tw_log_set_level(level);
    /* Blocked before any thread is made, so that only wait_for_signal() takes them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    edge.settings = &settings;
    edge.threads = threads_of(&settings);
    raise_descriptors(&settings);
    edge.request_limits = limits_of(&settings);
    return run(&edge, &servers, &signals, &reload);
}
