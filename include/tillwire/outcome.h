/**
 * What a domain answers to a command: an outcome, never a failure. It becomes a ledger row, an outcome event and, at the
 * edge, a status and a problem document.
 */
#ifndef TILLWIRE_OUTCOME_H
#define TILLWIRE_OUTCOME_H

#include "tillwire/uuid.h"

/** Every refusal there is: the code of `type: /problems/<code>`, its HTTP status and its title. Codes are released
 *  names: rows are only added. */
/* clang-format off */
/*    name                    code                       HTTP  title                                               */
#define TW_PROBLEM_MAP(X)                                                                                          \
    X(NONE,                   "",                        200,  "")                                                 \
    X(MALFORMED_REQUEST,      "malformed-request",       400,  "The request is malformed")                         \
    X(UNAUTHENTICATED,        "unauthenticated",         401,  "Authentication failed")                            \
    X(MISSING_SCOPE,          "missing-scope",           403,  "The token lacks the scope for this")               \
    X(NOT_FOUND,              "not-found",               404,  "There is no such resource")                        \
    X(METHOD_NOT_ALLOWED,     "method-not-allowed",      405,  "The resource does not know this method")           \
    X(EMAIL_TAKEN,            "email-taken",             409,  "The e-mail address is taken")                      \
    X(SKU_TAKEN,              "sku-taken",               409,  "The SKU is taken")                                 \
    X(PRODUCT_INACTIVE,       "product-inactive",        409,  "The product is not for sale")                      \
    X(STALE_CREDENTIALS,      "stale-credentials",       409,  "The credentials changed meanwhile")                \
    X(MEMBER_NOT_ACTIVE,      "member-not-active",       409,  "The member is not active")                         \
    X(SUPERSEDED,             "superseded",              409,  "A later request took the place of this one")       \
    X(REQUEST_TIMEOUT,        "request-timeout",         408,  "The request did not arrive in time")               \
    X(GONE,                   "gone",                    410,  "The resource is no longer there")                  \
    X(PRECONDITION_FAILED,    "precondition-failed",     412,  "The resource has another version")                 \
    X(TOO_LARGE,              "too-large",               413,  "The request body is too large")                    \
    X(URI_TOO_LONG,           "uri-too-long",            414,  "The URI is too long")                              \
    X(UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type",  415,  "The content type is not supported")                \
    X(INVALID_BODY,           "invalid-body",            422,  "The body does not fit the schema")                 \
    X(KEY_REUSED,             "idempotency-key-reused",  422,  "The Idempotency-Key was used for another request") \
    X(WRONG_PASSWORD,         "wrong-password",          422,  "The password is wrong")                           \
    X(LINE_QUANTITY_LIMIT,    "line-quantity-limit",     422,  "A cart line holds at most 999 pieces")             \
    X(CART_LINES_LIMIT,       "cart-lines-limit",        422,  "A cart holds at most 100 lines")                   \
    X(SESSION_LIMIT,          "session-limit",           422,  "A member has at most 100 live sessions")           \
    X(ADDRESSES_LIMIT,        "addresses-limit",         422,  "A member has at most 20 addresses")                \
    X(DEFAULT_ADDRESS,        "default-address",         422,  "One address must be the default")                  \
    X(IMAGES_LIMIT,           "images-limit",            422,  "A product has at most 20 images")                  \
    X(PRICE_RULE,             "price-rule",              422,  "The discount price must be below the price")       \
    X(TOO_MANY_REQUESTS,      "too-many-requests",       429,  "Too many requests")                                \
    X(HEADERS_TOO_LARGE,      "headers-too-large",       431,  "The request headers are too large")                \
    X(INTERNAL,               "internal",                500,  "The server failed")                                \
    X(DEAD_LETTERED,          "dead-lettered",           500,  "The command could not be processed and was set aside") \
    X(UNAVAILABLE,            "unavailable",             503,  "A part of the service is not available")           \
    X(ENQUEUE_TIMEOUT,        "enqueue-timeout",         503,  "The broker did not acknowledge in time; safe to retry with the same Idempotency-Key")
/* clang-format on */

enum tw_problem {
#define X(name, code, http, title) TW_PROBLEM_##name,
    TW_PROBLEM_MAP(X)
#undef X
};

const char     *tw_problem_code(enum tw_problem problem);
const char     *tw_problem_title(enum tw_problem problem);
int             tw_problem_http(enum tw_problem problem);
/** TW_PROBLEM_INTERNAL for a code no row has. */
enum tw_problem tw_problem_of_code(struct tw_str code);

/** PENDING: a saga; a later command of the same aggregate ends it. Its ledger row says so until then, and no outcome
 *  event is published before. */
enum tw_status { TW_SUCCEEDED, TW_REJECTED, TW_DEAD_LETTERED, TW_PENDING };
/** "succeeded", "rejected", "dead_lettered", "accepted". */
const char *tw_status_name(enum tw_status status);

struct tw_outcome {
    enum tw_status  status;
    int             http_status; /**< the final code a waiting client gets */
    enum tw_problem problem;     /**< NONE when succeeded */
    struct tw_str   detail;      /**< one sentence for people; static or in the batch's arena; no personal data */
    struct tw_str   resource;    /**< path of what was made or changed, "/v1/cart"; empty when there is none */
    bool            has_effect;  /**< a refusal that changes something all the same; see decide_refresh_session() */
};

struct tw_outcome tw_succeeded(int http_status, struct tw_str resource);
struct tw_outcome tw_rejected(enum tw_problem problem, const char *static_detail);
/** 202: another command of the same aggregate will end this one, see tw_finish(). */
struct tw_outcome tw_pending(struct tw_str resource);

#endif
