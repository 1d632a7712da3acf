/**
 * The edge's parts in one place, as handlers see them. main.c makes it, nothing changes it afterwards but the atomics.
 */
#ifndef TILLWIRE_EDGE_EDGE_H
#define TILLWIRE_EDGE_EDGE_H

#include <stdatomic.h>
#include <time.h>

#include "access_log.h"
#include "auth/caller.h"
#include "auth/key_ring.h"
#include "auth/passwords.h"
#include "auth/revocations.h"
#include "auth/token.h"
#include "cors.h"
#include "deadlines.h"
#include "idempotency.h"
#include "kept.h"
#include "opaque.h"
#include "proxies.h"
#include "rate_limits.h"
#include "recent.h"
#include "reply.h"
#include "sender.h"
#include "stores/carts.h"
#include "stores/members.h"
#include "stores/pg_pool.h"
#include "stores/products.h"
#include "stores/sessions.h"
#include "streams/hub.h"
#include "streams/ticket.h"
#include "tail.h"
#include "watermarks.h"

struct tw_edge_settings {
    const char    *listen;
    const char    *admin_listen;
    const char    *kafka;
    const char    *postgres_uri;
    const char    *mongo_uri;
    const char    *redis_uri;
    const char    *id_key_file;
    const char    *edge_key_file;
    const char    *jwt_algorithm;
    const char    *jwt_keys_file;
    const char    *jwt_issuer;
    const char    *jwt_audience;
    int64_t        access_ttl_s;
    int64_t        refresh_ttl_s;
    int64_t        request_threads;
    int64_t        idle_connections;
    int64_t        wait_slots;
    int64_t        stream_slots;
    int64_t        streams_per_caller;
    int64_t        stream_heartbeat_s;
    int64_t        stream_history_kbytes;
    int64_t        store_connections;
    int64_t        password_threads;
    int64_t        password_queue;
    int64_t        linger_us;
    int64_t        queue_kbytes;
    bool           rate_limits;
    struct tw_rate write_limit;
    struct tw_rate read_limit;
    struct tw_rate address_write_limit;
    struct tw_rate address_read_limit;
    struct tw_rate login_account_limit;
    struct tw_rate login_address_limit;
    struct tw_rate registration_limit;
    struct tw_rate password_limit;
    struct tw_rate email_change_limit;
    int64_t        uri_max_bytes;
    int64_t        headers_max_bytes;
    int64_t        body_max_kbytes;
    int64_t        batch_max_kbytes;
    int64_t        request_deadline_ms;
    int64_t        hang_timeout_s;
    const char    *trusted_proxies;
    const char    *cors_origins;
    const char    *access_log;
    const char    *log_level;
};

/** What /readyz looks at besides sender and tail; kept up to date by health.c. */
struct tw_edge_health {
    atomic_bool postgres;
    atomic_bool mongo;
    atomic_bool redis;
    atomic_bool pins; /**< the id key is the one the members' ids were made with */
};

struct tw_edge {
    const struct tw_edge_settings *settings;
    uint8_t                        id_key[TW_ID_KEY_BYTES];
    char                           id_key_check[17];
    uint8_t                        idempotency_key[TW_IDEMPOTENCY_KEY_BYTES];
    uint8_t                        opaque_key[TW_OPAQUE_KEY_BYTES];
    uint8_t                        ticket_key[TW_TICKET_KEY_BYTES];
    struct tw_key_ring            *keys; /**< of access tokens */
    struct tw_sender              *sender;
    struct tw_tail                *tail;
    struct tw_hub                 *hub;
    struct tw_used_tickets        *used_tickets;
    struct tw_watermarks          *watermarks; /**< how far the stores can be read */
    struct tw_pg_pool             *postgres;
    struct tw_members             *members;
    struct tw_sessions            *sessions;
    struct tw_products            *products;
    struct tw_carts               *carts;
    struct tw_revocations         *revocations;
    struct tw_callers             *callers;
    struct tw_passwords           *passwords;
    struct tw_recent              *recent;
    struct tw_kept                *categories; /**< the body of GET /v1/categories */
    struct tw_kept                *tags;       /**< of GET /v1/tags */
    struct tw_access_log          *access_log; /**< NULL: none is written */
    struct tw_limits              *limits;     /**< NULL: nothing is limited */
    struct tw_request_limits       request_limits;
    struct tw_proxies              proxies;
    struct tw_cors                 cors;
    struct tw_edge_health          health;
    atomic_bool                    draining;    /**< not ready, no new work, waits end */
    atomic_int                     in_flight;   /**< requests between head and answer */
    int                            threads;     /**< of the public port; each has one connection at a time */
    atomic_int                     connections; /**< to the public port, with a thread */
    atomic_llong                   answered;    /**< requests there */
};

/** Buffers of one request thread, used again and again. */
struct tw_thread {
    int         lane;      /**< of the sender; -1: sends nothing */
    uint64_t    random[4]; /**< xoshiro256++: for trace ids, nothing secret */
    time_t      date_at;
    char        date[30];      /**< "Mon, 23 Nov 2026 10:00:00 GMT" */
    const char *buffer_start;  /**< lowest place a request line was seen at: the start of the connection's buffer */
    int64_t     idle_since_us; /**< when the connection began to wait for the next request */
    int         served;        /**< requests on this connection */
    bool        ended;         /**< its last answer was given */
    struct tw_reading reading;
    struct tw_arena   arena;
    struct tw_reply   reply;
    struct tw_buf     pack;
    struct tw_buf     out;
};

#endif
