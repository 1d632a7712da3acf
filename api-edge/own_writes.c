#include "own_writes.h"

#include <string.h>

#include "submission_parts.h"
#include "tillwire/clock.h"
#include "tillwire/gen/topics.h"
#include "tillwire/log.h"

enum { WAIT_S = 1 };

/* --- tokens ------------------------------------------------------------------------------------------------------- */

/** The next member of a list, without the spaces around it; empty members are passed over. False: there is none. */
static bool next_member(struct tw_str *rest, struct tw_str *ret_member)
{
    while (rest->len > 0 && strchr(", \t", rest->ptr[0]))
        *rest = (struct tw_str){rest->ptr + 1, rest->len - 1};
    size_t len = 0;
    while (len < rest->len && !strchr(", \t", rest->ptr[len]))
        len++;
    *ret_member = (struct tw_str){rest->ptr, len};
    *rest = (struct tw_str){rest->ptr + len, rest->len - len};
    return len > 0;
}

/** A partition that its topic does not have: sealed by us, but for another log. */
static bool is_of_this_log(const struct tw_consistency *write)
{
    return write->domain >= TW_DOMAIN_MEMBER && write->domain <= TW_DOMAIN_CART &&
           write->partition < tw_topic_of(write->domain, TW_TOPIC_COMMANDS)->partitions;
}

static bool refuse(const struct tw_request *request, const char *detail, struct tw_reply *reply)
{
    tw_reply_refuse(reply, request, TW_PROBLEM_MALFORMED_REQUEST, detail);
    return false;
}

bool tw_own_writes_read(const struct tw_request *request, enum tw_domain_number domain,
                        struct tw_own_writes *ret_writes, struct tw_reply *reply)
{
    struct tw_str         rest = request->fields[TW_HEADER_CONSISTENCY_TOKEN];
    struct tw_str         text;
    struct tw_consistency write;
    size_t                seen = 0;

    *ret_writes = (struct tw_own_writes){0};
    if (!rest.ptr)
        return true;
    ret_writes->items = TW_NEW_ARRAY(request->arena, TW_OWN_WRITES_MAX, struct tw_consistency);
    while (next_member(&rest, &text)) {
        if (++seen > TW_OWN_WRITES_MAX)
            return refuse(request, "Consistency-Token may name up to 100 writes", reply);
        if (!tw_consistency_open(request->edge->opaque_key, text, &write) || !is_of_this_log(&write))
            return refuse(request, "Consistency-Token is not one that this service gave", reply);
        if (write.domain == domain)
            ret_writes->items[ret_writes->count++] = write;
    }
    return seen > 0 || refuse(request, "Consistency-Token is empty", reply);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

enum tw_rc tw_own_writes_watermark(void *self, enum tw_domain_number domain, int32_t partition,
                                   int64_t *ret_next_offset, struct tw_err *reterr)
{
    struct tw_edge *edge = self;

    switch (domain) {
    case TW_DOMAIN_MEMBER:
        return tw_members_watermark(edge->members, partition, ret_next_offset, reterr);
    case TW_DOMAIN_PRODUCT:
        return tw_products_watermark(edge->products, partition, ret_next_offset, reterr);
    default:
        return tw_carts_watermark(edge->carts, partition, ret_next_offset, reterr);
    }
}

/** One request's waiting: a seat for all its writes, once the first of them wants one. */
struct waiting {
    const struct tw_request *request;
    struct tw_seat          *seat;
    bool                     is_refused; /* there was none */
    int64_t                  until_us;
};

/** A seat without a command: it counts, and nothing is told to it. */
static bool sit(struct waiting *waiting)
{
    if (!waiting->seat && !waiting->is_refused)
        waiting->seat = tw_tail_sit(waiting->request->edge->tail, tw_uuid_nil);
    waiting->is_refused = !waiting->seat;
    return waiting->seat != NULL;
}

static bool await_one(struct waiting *waiting, const struct tw_consistency *write)
{
    struct tw_watermarks *watermarks = waiting->request->edge->watermarks;
    struct tw_err         err = {0};
    enum tw_rc            rc = tw_watermarks_look(watermarks, write->domain, write->partition, write->offset, &err);

    if (rc == TW_NOT_FOUND && tw_monotonic_us() < waiting->until_us && sit(waiting))
        rc = tw_watermarks_await(watermarks, write->domain, write->partition, write->offset, waiting->until_us, &err);
    if (rc != TW_OK && rc != TW_NOT_FOUND)
        tw_log_err(TW_LOG_DEBUG, "a store cannot tell how far it can be read", &err, NULL);
    return rc == TW_OK;
}

void tw_own_writes_await(const struct tw_request *request, const struct tw_own_writes *writes, struct tw_reply *reply)
{
    int            asked_s = tw_request_wait_s(request);
    int64_t        until_us = tw_monotonic_us() + INT64_C(1000000) * (asked_s >= 0 ? asked_s : WAIT_S);
    int64_t        latest_us = tw_request_until_us(request);
    struct waiting waiting = {.request = request, .until_us = until_us < latest_us ? until_us : latest_us};

    for (size_t i = 0; i < writes->count && !reply->is_stale; i++)
        reply->is_stale = !await_one(&waiting, &writes->items[i]);
    tw_tail_leave(request->edge->tail, waiting.seat);
    if (writes->count > 0 && asked_s > 0 && !waiting.is_refused)
        tw_buf_printf(&reply->fields, "Preference-Applied: wait=%d\r\n", asked_s);
}

bool tw_own_writes_heed(const struct tw_request *request, enum tw_domain_number domain, struct tw_reply *reply)
{
    struct tw_own_writes writes;

    if (request->method != TW_METHOD_GET && request->method != TW_METHOD_HEAD)
        return true;
    if (!tw_own_writes_read(request, domain, &writes, reply))
        return false;
    tw_own_writes_await(request, &writes, reply);
    return true;
}
