/*
 * /v1/events: what happens to the caller's things, as server-sent events, and tickets for browsers' EventSource.
 *
 * A stream is served by the thread of its connection. It ends with the caller's token, whatever ends that: its time, or
 * its revocation, which is itself an event of the member and so wakes the stream.
 */
#include <sodium.h>

#include "routes/routes.h"
#include "streams/bookmark.h"
#include "streams/hub.h"
#include "streams/socket.h"
#include "streams/ticket.h"
#include "tillwire/clock.h"
#include "tillwire/log.h"
#include "tillwire/metrics.h"

enum {
    RETRY_MS = 2000,           /* after which EventSource comes back */
    WRITE_BYTES = 32768,       /* one write takes so much of what is there */
    SOCKET_BYTES = 128 * 1024, /* of the kernel, for who does not read */
    SILENT_MS = 20000,         /* a client that lost its network is gone that long after a heartbeat */
    FULL_RETRY_S = 5,
    CHECK_US = 1000000,
};

static const char see_all[] = "events:read";

static struct tw_metric told = {
    .name = "tillwire_edge_stream_events_total", .kind = TW_COUNTER, .help = "Events written to streams."};
TW_METRICS_SHOWN(&told)

/* --- tickets ------------------------------------------------------------------------------------------------------ */

static void post_ticket(struct tw_request *request, struct tw_reply *reply)
{
    struct tw_json   json = {&reply->body, false};
    char             text[TW_TICKET_TEXT + 1];
    struct tw_ticket ticket = {
        .member_id = request->caller.member_id,
        .token_id = request->caller.token_id,
        .token_expires_s = request->caller.expires_s,
        .ends_ms = tw_now_ms() + INT64_C(1000) * TW_TICKET_LIFE_S,
        .sees_all = tw_token_has_scope(request->caller.scope, see_all),
    };

    if (!tw_route_no_members(request, reply))
        return;
    randombytes_buf(ticket.nonce, sizeof(ticket.nonce));
    tw_ticket_seal(request->edge->ticket_key, &ticket, text);
    tw_reply_json(reply, 200);
    tw_json_open(&json, '{');
    tw_json_key(&json, "ticket");
    tw_json_text(&json, tw_str_of(text));
    tw_json_key(&json, "expires_in");
    tw_json_int(&json, TW_TICKET_LIFE_S);
    tw_json_close(&json, '}');
}

/* --- who may have a stream ---------------------------------------------------------------------------------------- */

/** Whose stream it is, and what it lives by. */
struct follower {
    struct tw_stream *stream;
    struct tw_uuid    member_id;
    struct tw_uuid    token_id;
    int64_t           ends_ms; /* of the token */
    bool              sees_all;
    bool              has_ticket; /* and `ticket` is it; not used up yet */
    struct tw_ticket  ticket;
};

/** A token may be taken for some seconds after its end, because clocks differ; a stream that it opens then has those. */
static int64_t end_of_token_ms(int64_t expires_s)
{
    int64_t end_ms = 1000 * expires_s;

    return end_ms > tw_now_ms() ? end_ms : end_ms + INT64_C(1000) * TW_TOKEN_SKEW_S;
}

static void refuse_ticket(const struct tw_request *request, struct tw_reply *reply)
{
    tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
}

/** False: the answer is complete. The stream is open by now: a ticket that finds no room for one is not used up. */
static bool use_ticket(struct tw_request *request, const struct tw_ticket *ticket, struct tw_reply *reply)
{
    enum tw_rc rc = tw_callers_recheck(request->edge->callers, ticket->token_id, ticket->member_id, NULL);

    if (rc != TW_OK && rc != TW_INVALID) {
        tw_reply_unavailable(reply, request, "credentials cannot be checked now");
        return false;
    }
    if (rc == TW_INVALID) {
        refuse_ticket(request, reply);
        return false;
    }
    switch (tw_used_tickets_take(request->edge->used_tickets, ticket, tw_now_ms())) {
    case TW_TICKET_TAKEN:
        return true;
    case TW_TICKET_NO_ROOM:
        tw_reply_unavailable(reply, request, "too many tickets are used at once");
        return false;
    default:
        refuse_ticket(request, reply);
        return false;
    }
}

/** False: the answer is complete. */
static bool follower_by_ticket(struct tw_request *request, struct follower *follower, struct tw_reply *reply)
{
    struct tw_str text;

    if (!tw_route_query(request, "ticket", &text, reply))
        return false;
    if (!text.ptr) {
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAUTHENTICATED, "");
        return false;
    }
    if (!tw_ticket_open(request->edge->ticket_key, text, tw_now_ms(), &follower->ticket)) {
        refuse_ticket(request, reply);
        return false;
    }
    follower->has_ticket = true;
    follower->member_id = follower->ticket.member_id;
    follower->token_id = follower->ticket.token_id;
    follower->ends_ms = end_of_token_ms(follower->ticket.token_expires_s);
    follower->sees_all = follower->ticket.sees_all;
    return true;
}

/** False: the answer is complete. */
static bool find_follower(struct tw_request *request, struct follower *follower, struct tw_reply *reply)
{
    if (!request->caller.known)
        return follower_by_ticket(request, follower, reply);
    follower->member_id = request->caller.member_id;
    follower->token_id = request->caller.token_id;
    follower->ends_ms = end_of_token_ms(request->caller.expires_s);
    follower->sees_all = tw_token_has_scope(request->caller.scope, see_all);
    return true;
}

/** The field, or, for an EventSource that was made anew with another ticket, the parameter. False: a 400 is said. */
static bool last_event_id(const struct tw_request *request, struct tw_str *ret_id, struct tw_reply *reply)
{
    *ret_id = request->fields[TW_HEADER_LAST_EVENT_ID];
    return ret_id->len > 0 || tw_route_query(request, "last_event_id", ret_id, reply);
}

/** No rate, but a limit all the same, of so many at once: it is told like the others. */
static void add_limit(const struct tw_request *request, struct tw_reply *reply)
{
    tw_buf_printf(&reply->fields,
                  "RateLimit-Policy: \"streams\";q=%d;qu=\"concurrent-requests\"\r\nRateLimit: \"streams\";r=0\r\n",
                  (int)request->edge->settings->streams_per_caller);
}

static void reply_not_opened(const struct tw_request *request, enum tw_stream_open opened, struct tw_reply *reply)
{
    if (opened == TW_STREAM_CALLER_HAS_ALL) {
        tw_reply_refuse(reply, request, TW_PROBLEM_TOO_MANY_REQUESTS, "the caller has as many streams as it may have");
        add_limit(request, reply);
    } else {
        tw_reply_refuse(reply, request, TW_PROBLEM_UNAVAILABLE, "there is no room for another stream");
    }
    tw_reply_retry_after(reply, FULL_RETRY_S);
}

/** False: the answer is complete. */
static bool open_stream(struct tw_request *request, struct follower *follower, struct tw_str id, struct tw_reply *reply)
{
    int64_t              *bookmark = TW_NEW_ARRAY(request->arena, tw_bookmark_places(), int64_t);
    bool                  is_read = id.len > 0 && tw_bookmark_open(request->edge->opaque_key, id, bookmark);
    struct tw_stream_wish wish = {
        .caller = follower->member_id,
        .sees_all = follower->sees_all,
        .bookmark = is_read ? bookmark : NULL,
        .is_lost = id.len > 0 && !is_read,
    };
    enum tw_stream_open opened = tw_stream_open(request->edge->hub, &wish, &follower->stream);

    if (opened != TW_STREAM_OPENED) {
        reply_not_opened(request, opened, reply);
        return false;
    }
    if (follower->has_ticket && !use_ticket(request, &follower->ticket, reply)) {
        tw_stream_close(follower->stream);
        return false;
    }
    return true;
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

/** A stream while it is written. */
struct writing {
    struct tw_request          *request;
    struct follower            *follower;
    const struct tw_stream_out *to;
    struct tw_buf              *text;  /* what is not written yet */
    struct tw_arena             arena; /* of one event */
    int64_t                     beat_us;
    int64_t                     checked_us; /* when the token was last looked at in full */
};

static void add_id(struct writing *writing)
{
    const int64_t *bookmark = tw_stream_bookmark(writing->follower->stream);

    if (!bookmark)
        return;
    tw_buf_add_str(writing->text, TW_STR("id: "));
    tw_bookmark_seal(writing->request->edge->opaque_key, bookmark, writing->text);
    tw_buf_add(writing->text, "\n", 1);
}

static void add_news(struct writing *writing, const struct tw_news *news)
{
    if (tw_news_write(news, &writing->arena, writing->text))
        tw_metric_add(&told, 1);
    else
        tw_log(TW_LOG_ERROR, "an event cannot be read", TW_F_STR("type", tw_str_of(news->type->name)));
    add_id(writing);
    tw_buf_add(writing->text, "\n", 1);
}

/** An id without data moves what the client comes back with, and is no event. */
static void add_beat(struct writing *writing)
{
    tw_buf_add_str(writing->text, TW_STR(": still here\n"));
    add_id(writing);
    tw_buf_add(writing->text, "\n", 1);
}

static void add_reset(struct writing *writing)
{
    tw_buf_add_str(writing->text, TW_STR("event: reset\ndata: {}\n"));
    add_id(writing);
    tw_buf_add(writing->text, "\n", 1);
}

/** Revocation is known from events at once; whether they can be relied on is asked once a second. */
static bool is_still_good(struct writing *writing)
{
    const struct follower *follower = writing->follower;
    const struct tw_edge  *edge = writing->request->edge;
    int64_t                now_us = tw_monotonic_us();

    if (tw_now_ms() >= follower->ends_ms || tw_revocations_has(edge->revocations, follower->token_id))
        return false;
    if (now_us - writing->checked_us < CHECK_US)
        return true;
    writing->checked_us = now_us;
    return tw_callers_recheck(edge->callers, follower->token_id, follower->member_id, NULL) == TW_OK;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/** How long to sleep: not at all while something is to be written. */
static int64_t sleep_until_us(const struct writing *writing)
{
    int64_t now_us = tw_monotonic_us();

    if (writing->text->len > 0)
        return now_us;
    return earlier(writing->beat_us, now_us + 1000 * (writing->follower->ends_ms - tw_now_ms()));
}

/** Writes what there is. False: the stream is over. The token is looked at first: what a revoked one may not see. */
static bool flush(struct writing *writing)
{
    const struct tw_edge *edge = writing->request->edge;

    if (!is_still_good(writing) || !writing->to->write(writing->to->self, tw_buf_str(writing->text)))
        return false;
    tw_buf_clear(writing->text);
    writing->beat_us = tw_monotonic_us() + INT64_C(1000000) * edge->settings->stream_heartbeat_s;
    return true;
}

/** False: the stream is over. */
static bool on_quiet(struct writing *writing)
{
    if (tw_monotonic_us() >= writing->beat_us)
        add_beat(writing);
    return writing->text->len > 0 ? flush(writing) : is_still_good(writing);
}

/** False: the stream is over. */
static bool go_on(struct writing *writing)
{
    const struct tw_news *news = NULL;

    switch (tw_stream_next(writing->follower->stream, sleep_until_us(writing), &news)) {
    case TW_STREAM_NEWS:
        add_news(writing, news);
        return writing->text->len < WRITE_BYTES || flush(writing);
    case TW_STREAM_RESET:
        add_reset(writing);
        return true;
    case TW_STREAM_QUIET:
        return on_quiet(writing);
    default:
        return false;
    }
}

static void follow(struct tw_request *request, void *self, const struct tw_stream_out *to)
{
    int64_t        now_us = tw_monotonic_us();
    struct writing writing = {request, self, to, &request->thread->out, {0}, now_us, now_us};

    tw_socket_bound(to->socket, SOCKET_BYTES);
    tw_socket_may_be_silent(to->socket, SILENT_MS);
    tw_stream_watch(writing.follower->stream, to->socket);
    tw_buf_clear(writing.text);
    tw_buf_printf(writing.text, "retry: %d\n", RETRY_MS);
    while (go_on(&writing)) {
    }
    tw_stream_close(writing.follower->stream);
    tw_arena_done(&writing.arena);
    tw_buf_done(writing.text);
}

static void get_events(struct tw_request *request, struct tw_reply *reply)
{
    struct follower *follower = TW_NEW(request->arena, struct follower);
    struct tw_str    id;

    if (!last_event_id(request, &id, reply) || !find_follower(request, follower, reply))
        return;
    if (request->method != TW_METHOD_HEAD && !open_stream(request, follower, id, reply))
        return;
    reply->status = 200;
    reply->content_type = "text/event-stream";
    tw_reply_field(reply, "X-Accel-Buffering", TW_STR("no"));
    reply->stream = follow; /* which HEAD does not come to */
    reply->stream_self = follower;
}

const struct tw_route tw_routes_events[] = {
    {TW_METHOD_GET, "/v1/events", TW_ACCESS_OPTIONAL, NULL, get_events},
    {TW_METHOD_POST, "/v1/events/tickets", TW_ACCESS_BEARER, NULL, post_ticket},
    {0},
};
