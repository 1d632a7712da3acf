/**
 * A request as the edge sees it: checked framing, decoded path segments, the header fields anybody asks for, and the
 * body. civetweb accepts much that lets two parsers disagree about where a request ends (docs/decisions/edge-http.md);
 * all of that is refused here, before a route is looked for.
 *
 * Pure: works on bytes it is given, so it is tested without a socket. One thread at a time.
 */
#ifndef TILLWIRE_EDGE_REQUEST_H
#define TILLWIRE_EDGE_REQUEST_H

#include "tillwire/arena.h"
#include "tillwire/outcome.h"

struct mg_connection;
struct json_t;
struct tw_route;
struct tw_edge;
struct tw_field_errors;
struct tw_thread;

enum tw_method {
    TW_METHOD_GET,
    TW_METHOD_HEAD,
    TW_METHOD_POST,
    TW_METHOD_PUT,
    TW_METHOD_PATCH,
    TW_METHOD_DELETE,
    TW_METHOD_OPTIONS,
    TW_METHOD_OTHER,
};
const char *tw_method_name(enum tw_method method);

/** The header fields we look at. */
/*    name               on the wire            may it be repeated? */
#define TW_FIELD_MAP(X)                              \
    X(HOST, "host", false)                           \
    X(CONTENT_LENGTH, "content-length", false)       \
    X(TRANSFER_ENCODING, "transfer-encoding", false) \
    X(AUTHORIZATION, "authorization", false)         \
    X(CONTENT_TYPE, "content-type", false)           \
    X(CONNECTION, "connection", true)                \
    X(EXPECT, "expect", true)                        \
    X(IDEMPOTENCY_KEY, "idempotency-key", false)     \
    X(IF_MATCH, "if-match", false)                   \
    X(IF_NONE_MATCH, "if-none-match", true)          \
    X(LAST_EVENT_ID, "last-event-id", false)         \
    X(PREFER, "prefer", true)                        \
    X(CONSISTENCY_TOKEN, "consistency-token", true)  \
    X(TRACEPARENT, "traceparent", true)              \
    X(FORWARDED_FOR, "x-forwarded-for", true)        \
    X(ORIGIN, "origin", false)                       \
    X(REQUEST_METHOD, "access-control-request-method", true)

enum tw_field_name {
#define X(name, text, repeatable) TW_HEADER_##name,
    TW_FIELD_MAP(X)
#undef X
        TW_HEADER_COUNT,
};

enum {
    TW_HEADERS_MAX_COUNT = 64,
    TW_SEGMENTS_MAX = 8,
    TW_JSON_MAX_DEPTH = 32,
    TW_REQUEST_DEADLINE_MS = 10000, /* with all waiting; a body may be given less; an answer is taken in as long */
};

/** What one request may take, from the settings. */
struct tw_request_limits {
    size_t  uri_bytes;
    size_t  headers_bytes;
    size_t  body_bytes;
    size_t  batch_bytes; /**< a body of a row that ends in `:batch` */
    int64_t deadline_ms; /**< from the end of its head to the end of its body */
};

struct tw_raw_field {
    const char *name;
    const char *value;
};

/** What the HTTP library parsed. All texts lie in its one buffer, in the order they came, cut by NULs: their distances
 *  tell what stood between them. */
struct tw_raw_request {
    const char                *method;
    const char                *uri;   /**< as sent, without the query */
    const char                *path;  /**< `uri`, or its end when it is an absolute URI */
    const char                *query; /**< NULL: none */
    const char                *version;
    const struct tw_raw_field *fields;
    size_t                     field_count;
};

struct tw_caller {
    bool           known;     /**< false: anonymous */
    struct tw_uuid member_id; /**< nil when anonymous */
    struct tw_uuid token_id;
    int64_t        expires_s; /**< of the token, seconds since 1970 */
    const char    *scope;     /**< words of the token, "" for none; lives as long as the request */
};

struct tw_request {
    const struct tw_request_limits *limits;
    struct tw_edge                 *edge;
    struct tw_thread               *thread; /**< buffers of the thread that serves it */
    struct tw_arena                *arena;  /**< ends with the request */
    const struct tw_route          *route;  /**< set once it is found; NULL: there is none */
    struct tw_caller                caller;
    struct tw_str                   address; /**< the client's: of the connection, or as trusted proxies tell it */
    struct tw_str                   network; /**< what limits count the address by, see tw_address_network() */
    enum tw_method                  method;
    struct tw_str                   path; /**< as sent: starts with '/', without the query */
    struct tw_str                   query;
    struct tw_str                   segments[TW_SEGMENTS_MAX]; /**< decoded */
    size_t                          segment_count;
    struct tw_str                   fields[TW_HEADER_COUNT]; /**< ptr NULL: absent */
    struct tw_str                   body;
    int64_t                         content_length; /**< 0 when there is no body, -1 when chunked */
    int64_t                         start_us;       /**< tw_monotonic_us() */
    bool                            http_1_0;
    bool                            keep_alive;      /**< the client lets the connection go on */
    struct tw_uuid                  command_id;      /**< of the one command it became; nil: of none, or of several */
    char                            trace_id[33];    /**< of the client's traceparent, or made here */
    char                            traceparent[56]; /**< with a span of our own; goes into the command */
};

/** Checks the head and fills @p ret_request, whose arena is set. NONE, or the problem, with a sentence in @p
 *  ret_detail. After a problem the connection must be closed: what follows cannot be trusted to start a request. */
enum tw_problem tw_request_parse(const struct tw_raw_request *raw, struct tw_request *ret_request,
                                 const char **ret_detail);

/** When the body must be there; tw_monotonic_us(). */
int64_t tw_request_deadline_us(const struct tw_request *request);
/** Reads up to @p len bytes, blocks; < 1 is the end or an error. */
typedef int (*tw_read_fn)(void *self, void *bytes, size_t len);
/** Reads the whole body, at most @p max_bytes of it and not beyond the request's deadline. */
enum tw_problem tw_request_read_body(struct tw_request *request, size_t max_bytes, tw_read_fn read, void *self,
                                     const char **ret_detail);

/** The body as JSON, by content type, nesting, UTF-8 and duplicate rules. PATCH also takes merge patches (RFC 7396).
 *  @p ret_json is the caller's (json_decref). */
enum tw_problem tw_request_json(const struct tw_request *request, struct json_t **ret_json, const char **ret_detail);

/** `Prefer: wait=N` (RFC 7240): 0..10 seconds; -1 when there is none or it makes no sense. */
int tw_request_wait_s(const struct tw_request *request);

enum tw_query {
    TW_QUERY_OK,
    TW_QUERY_ABSENT,
    TW_QUERY_REPEATED,     /**< two values, and no saying which counts */
    TW_QUERY_NO_VALUE,     /**< `name` without a `=`; an empty value has one */
    TW_QUERY_BAD_ENCODING, /**< a bad escape, a control character, or no UTF-8 */
};
/** The value of a query parameter, percent-decoded into the arena. */
enum tw_query tw_request_query(const struct tw_request *request, const char *name, struct tw_str *ret_value);

/** Takes the trace of @p request's traceparent, or begins one with @p random. */
void tw_request_trace(struct tw_request *request, const uint64_t random[3]);

#endif
