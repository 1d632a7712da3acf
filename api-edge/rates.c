#include "rates.h"

#include "edge.h"
#include "tillwire/clock.h"

bool tw_rate_within(const struct tw_request *request, const struct tw_limit *limit, struct tw_str key,
                    struct tw_reply *reply)
{
    struct tw_limits   *limits = request->edge->limits;
    struct tw_allowance allowance;

    if (!limits)
        return true;
    bool fits = tw_limits_take(limits, limit, key, tw_monotonic_us(), &allowance);
    tw_reply_rate(reply, limit, &allowance);
    if (!fits) {
        tw_reply_refuse(reply, request, TW_PROBLEM_TOO_MANY_REQUESTS, "");
        tw_reply_retry_after(reply, allowance.reset_s);
    }
    return fits;
}

bool tw_rate_admit(const struct tw_request *request, struct tw_reply *reply)
{
    if (!request->edge->limits)
        return true;
    const struct tw_edge_settings *settings = request->edge->settings;
    const struct tw_caller        *caller = &request->caller;
    bool                           reads = request->method == TW_METHOD_GET || request->method == TW_METHOD_HEAD;
    struct tw_limit                limit = {reads ? "reads" : "writes", {0}};

    if (caller->known) {
        struct tw_str member = {(const char *)caller->member_id.bytes, sizeof(caller->member_id.bytes)};
        limit.rate = reads ? settings->read_limit : settings->write_limit;
        return tw_rate_within(request, &limit, member, reply);
    }
    limit.rate = reads ? settings->address_read_limit : settings->address_write_limit;
    return tw_rate_within(request, &limit, request->network, reply);
}
